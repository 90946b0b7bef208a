#include "decode.h"

#include <utility>

#include "error.h"
#include "exif.h"
#include "files.h"
#include "image_header.h"

namespace edgedet::runner {
namespace {

constexpr std::size_t MAX_BYTES = std::size_t{256} << 20;
constexpr long long MAX_PIXELS = 1LL << 27;
const char* const FIX = "save the image again";

void require_size(long long height, long long width, const std::string& where) {
    if (height * width > MAX_PIXELS)
        throw Error("the image states " + std::to_string(width) + "x" + std::to_string(height) + " pixels, more than the " +
                        std::to_string(MAX_PIXELS) + " that are decoded",
                    where, "cut it into tiles or make it smaller");
}

// Netpbm's binary formats (netpbm.sourceforge.net/doc/ppm.html): a header of numbers and comments, then pixels.
class PpmReader {
public:
    PpmReader(const std::vector<unsigned char>& data, const std::string& where) : data_(data), where_(where) {}

    Image read() {
        Image image;
        image.order = data_[1] == '6' ? Order::rgb : Order::gray;
        const long long width = number(), height = number(), highest = number();
        if (width < 1 || height < 1) throw Error("broken image: a PPM without pixels", where_, FIX);
        if (highest != 255) throw Error("a PPM whose highest value is not 255", where_, FIX);
        require_size(height, width, where_);
        image.height = static_cast<int>(height), image.width = static_cast<int>(width);
        const std::size_t bytes = static_cast<std::size_t>(height * width * channels_of(image.order));
        if (data_.size() < at_ + 1 + bytes) throw Error("truncated image: the PPM ends too early", where_, FIX);
        const auto begin = data_.begin() + static_cast<std::ptrdiff_t>(at_ + 1);
        image.pixels.assign(begin, begin + static_cast<std::ptrdiff_t>(bytes));
        return image;
    }

private:
    long long number() {
        while (at_ < data_.size() && (is_space() || data_[at_] == '#')) {
            if (data_[at_] == '#')
                while (at_ < data_.size() && data_[at_] != '\n') ++at_;
            else
                ++at_;
        }
        long long value = -1;
        for (; at_ < data_.size() && data_[at_] >= '0' && data_[at_] <= '9'; ++at_) {
            value = (value < 0 ? 0 : value) * 10 + (data_[at_] - '0');
            if (value > MAX_PIXELS) require_size(value, 1, where_);
        }
        return value;
    }

    bool is_space() const { return data_[at_] == ' ' || (data_[at_] >= '\t' && data_[at_] <= '\r'); }

    const std::vector<unsigned char>& data_;
    const std::string& where_;
    std::size_t at_ = 2;
};

}  // namespace

Image decode_image(const std::vector<unsigned char>& data, const std::string& where) {
    const ImageHeader header = inspect_image(data);
    if (header.format == Format::unknown)
        throw Error(data.empty() ? "empty file" : "not an image of a known format (JPEG, PNG, BMP, WebP, TIFF, PPM)", where, FIX);
    if (header.format == Format::ppm) return PpmReader(data, where).read();
    require_size(header.height, header.width, where);
    if (!header.complete) throw Error("truncated image: it ends too early", where, FIX);
    Image image = decode_by_library(data);
    if (image.pixels.empty())
        throw Error("cannot be decoded by this program's decoder (" + decoder_name() + "): broken, or of a kind it does not know",
                    where, "save the image as PNG, or build edgedet-run with OpenCV");
    require_size(image.height, image.width, where);
    return header.format == Format::jpeg ? upright(std::move(image), exif_orientation(data)) : image;
}

Image read_image(const std::string& path) { return decode_image(read_file(path, MAX_BYTES), path); }

bool has_image_suffix(const std::string& path) {
    const std::string suffix = suffix_of(path);
    for (const char* known : {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
        if (suffix == known) return true;
    return false;
}

}  // namespace edgedet::runner
