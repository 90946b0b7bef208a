// Image files to pixels: upright, 8-bit, three channels or grey.
#pragma once

#include <string>
#include <vector>

#include "image.h"

namespace edgedet::runner {

// The image in a file. Throws `Error`: missing, unknown kind, truncated, broken, or too large.
Image read_image(const std::string& path);

Image decode_image(const std::vector<unsigned char>& data, const std::string& where);

// Whether a file of that name is taken for an image.
bool has_image_suffix(const std::string& path);

// What decodes JPEG, PNG and the rest: `opencv 4.6.0`, `stb` or `none`. Binary PPM and PGM are read in any case.
std::string decoder_name();

// By the decoder that was built in; an empty image where it cannot. As stored: not turned.
Image decode_by_library(const std::vector<unsigned char>& data);

}  // namespace edgedet::runner
