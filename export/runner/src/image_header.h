// What an image file says of itself before any pixel is decoded, as edgedet/data/image_header.py reads it.
#pragma once

#include <vector>

namespace edgedet::runner {

enum class Format { unknown, jpeg, png, bmp, webp, tiff, ppm };

struct ImageHeader {
    Format format = Format::unknown;
    long long height = 0, width = 0;  // as stored; 0 where the kind's header is not read here
    bool complete = true;             // JPEG and PNG hold their end: decoders fill what is missing with grey
};

ImageHeader inspect_image(const std::vector<unsigned char>& data);

}  // namespace edgedet::runner
