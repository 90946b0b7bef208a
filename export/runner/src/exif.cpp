#include "exif.h"

#include <cstring>
#include <utility>

namespace edgedet::runner {
namespace {

using Bytes = std::vector<unsigned char>;

unsigned number(const Bytes& data, std::size_t at, std::size_t count, bool little) {
    unsigned value = 0;
    for (std::size_t place = 0; place < count; ++place) {
        const std::size_t byte = at + (little ? count - 1 - place : place);
        value = value << 8 | (byte < data.size() ? data[byte] : 0u);
    }
    return value;
}

// Of the TIFF structure in `[begin, end)`.
int orientation_in(const Bytes& data, std::size_t begin, std::size_t end) {
    if (end < begin + 8) return 1;
    const bool little = data[begin] == 'I' && data[begin + 1] == 'I';
    if (!little && !(data[begin] == 'M' && data[begin + 1] == 'M')) return 1;
    const std::size_t directory = begin + number(data, begin + 4, 4, little);
    if (directory + 2 > end) return 1;
    const unsigned count = number(data, directory, 2, little);
    for (std::size_t entry = directory + 2; entry + 12 <= end && entry < directory + 2 + std::size_t{12} * count; entry += 12) {
        if (number(data, entry, 2, little) != 274) continue;
        const unsigned kind = number(data, entry + 2, 2, little);
        if ((kind != 3 && kind != 4) || number(data, entry + 4, 4, little) != 1) return 1;
        const unsigned found = number(data, entry + 8, kind == 3 ? 2 : 4, little);
        return found >= 1 && found <= 8 ? static_cast<int>(found) : 1;
    }
    return 1;
}

}  // namespace

int exif_orientation(const Bytes& jpeg) {
    if (jpeg.size() < 4 || jpeg[0] != 0xFF || jpeg[1] != 0xD8) return 1;
    for (std::size_t at = 2; at + 4 <= jpeg.size();) {
        if (jpeg[at] != 0xFF) return 1;
        const unsigned marker = jpeg[at + 1];
        if (marker == 0xFF) {
            ++at;
            continue;
        }
        if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
            at += 2;
            continue;
        }
        const std::size_t length = number(jpeg, at + 2, 2, false), end = at + 2 + length;
        if (marker == 0xD9 || marker == 0xDA || length < 2 || end > jpeg.size()) return 1;
        if (marker == 0xE1 && length >= 8 && std::memcmp(jpeg.data() + at + 4, "Exif\0", 5) == 0)
            return orientation_in(jpeg, at + 10, end);
        at = end;
    }
    return 1;
}

Image upright(Image image, int orientation) {
    if (orientation <= 1 || orientation > 8) return image;
    const bool swaps = orientation >= 5;
    Image turned;
    turned.order = image.order;
    turned.height = swaps ? image.width : image.height;
    turned.width = swaps ? image.height : image.width;
    turned.pixels.resize(image.pixels.size());
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const auto channels = static_cast<std::size_t>(channels_of(image.order));
    for (int y = 0; y < turned.height; ++y)
        for (int x = 0; x < turned.width; ++x) {
            int source_y = swaps ? x : y, source_x = swaps ? y : x;
            if (from_below) source_y = image.height - 1 - source_y;
            if (from_right) source_x = image.width - 1 - source_x;
            const std::size_t from = (static_cast<std::size_t>(source_y) * static_cast<std::size_t>(image.width) + static_cast<std::size_t>(source_x)) * channels;
            const std::size_t to = (static_cast<std::size_t>(y) * static_cast<std::size_t>(turned.width) + static_cast<std::size_t>(x)) * channels;
            std::memcpy(turned.pixels.data() + to, image.pixels.data() + from, channels);
        }
    return turned;
}

}  // namespace edgedet::runner
