#include "image_header.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace edgedet::runner {
namespace {

using Bytes = std::vector<unsigned char>;

bool starts_with(const Bytes& data, const std::string& start, std::size_t at = 0) {
    return data.size() >= at + start.size() && std::memcmp(data.data() + at, start.data(), start.size()) == 0;
}

std::size_t big_endian(const Bytes& data, std::size_t at, std::size_t count) {
    std::size_t value = 0;
    for (std::size_t place = at; place < at + count; ++place) value = value << 8 | (place < data.size() ? data[place] : 0u);
    return value;
}

bool is_frame(unsigned marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

// Steps over the segments: inside a scan a 0xFF is always escaped, and an embedded thumbnail's end is not the image's.
ImageHeader inspect_jpeg(const Bytes& data) {
    ImageHeader header{Format::jpeg, 0, 0, false};
    for (std::size_t at = 2; at + 4 <= data.size();) {
        const unsigned marker = data[at + 1];
        if (data[at] != 0xFF) return header;
        if (marker == 0xFF) {
            ++at;
        } else if ((marker >= 0xD0 && marker <= 0xD8) || marker == 0x01) {
            at += 2;
        } else if (marker == 0xDA) {
            for (; at + 1 < data.size() && !header.complete; ++at) header.complete = data[at] == 0xFF && data[at + 1] == 0xD9;
            return header;
        } else {
            if (is_frame(marker)) {
                header.height = static_cast<long long>(big_endian(data, at + 5, 2));
                header.width = static_cast<long long>(big_endian(data, at + 7, 2));
            }
            at += 2 + big_endian(data, at + 2, 2);
        }
    }
    return header;
}

ImageHeader inspect_png(const Bytes& data) {
    ImageHeader header{Format::png, static_cast<long long>(big_endian(data, 20, 4)),
                       static_cast<long long>(big_endian(data, 16, 4)), false};
    for (std::size_t at = 8; at + 12 <= data.size();) {
        const bool last = starts_with(data, "IEND", at + 4);
        at += 12 + big_endian(data, at, 4);
        if (last) {
            header.complete = at <= data.size();
            break;
        }
    }
    return header;
}

long long side_of_bmp(const Bytes& data, std::size_t at) {
    std::int32_t side = 0;
    for (int place = 3; place >= 0; --place) {
        const std::size_t byte = at + static_cast<std::size_t>(place);
        side = static_cast<std::int32_t>(static_cast<std::uint32_t>(side) << 8 | (byte < data.size() ? data[byte] : 0u));
    }
    return std::llabs(static_cast<long long>(side));
}

}  // namespace

ImageHeader inspect_image(const Bytes& data) {
    if (starts_with(data, "\xFF\xD8")) return inspect_jpeg(data);
    if (starts_with(data, "\x89PNG\r\n\x1A\n")) return inspect_png(data);
    if (starts_with(data, "BM")) return {Format::bmp, side_of_bmp(data, 22), side_of_bmp(data, 18), true};
    if (starts_with(data, "RIFF") && starts_with(data, "WEBP", 8)) return {Format::webp, 0, 0, true};
    if (starts_with(data, std::string("II*\0", 4)) || starts_with(data, std::string("MM\0*", 4)))
        return {Format::tiff, 0, 0, true};
    if (starts_with(data, "P6") || starts_with(data, "P5")) return {Format::ppm, 0, 0, true};
    return {};
}

}  // namespace edgedet::runner
