// JPEG, PNG and BMP by stb_image, where there is no OpenCV. PNG and BMP give the pixels that every decoder gives; a JPEG's
// differ from libjpeg's by a few units.
#include "decode.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#include <stb_image.h>

namespace edgedet::runner {

std::string decoder_name() { return "stb"; }

Image decode_by_library(const std::vector<unsigned char>& data) {
    int width = 0, height = 0, channels = 0;
    const int size = static_cast<int>(data.size());
    if (stbi_info_from_memory(data.data(), size, &width, &height, &channels) == 0) return {};
    const int wanted = channels <= 2 ? 1 : 3;  // alpha is dropped
    unsigned char* pixels = stbi_load_from_memory(data.data(), size, &width, &height, &channels, wanted);
    if (pixels == nullptr) return {};
    Image image;
    image.height = height, image.width = width;
    image.order = wanted == 1 ? Order::gray : Order::rgb;
    image.pixels.assign(pixels, pixels + static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * static_cast<std::size_t>(wanted));
    stbi_image_free(pixels);
    return image;
}

}  // namespace edgedet::runner
