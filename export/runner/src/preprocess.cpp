#include "preprocess.h"

#include <algorithm>

#include "error.h"

namespace edgedet::runner {
namespace {

// A row of pixels to one of each plane; a pixel takes one of 256 values, so that a table is exact, and fast.
template <int Channels>
void look_up(const std::uint8_t* pixels, int width, const float* red, const float* green, const float* blue,
             const std::array<int, 3>& places, std::array<float*, 3> planes) {
    for (int x = 0; x < width; ++x) {
        planes[0][x] = red[pixels[x * Channels + places[0]]];
        planes[1][x] = green[pixels[x * Channels + places[1]]];
        planes[2][x] = blue[pixels[x * Channels + places[2]]];
    }
}

}  // namespace

Preprocessor::Preprocessor(const Preprocess& spec) : spec_(spec) {
    for (std::size_t channel = 0; channel < 3; ++channel)
        for (std::size_t pixel = 0; pixel < 256; ++pixel)
            tables_[channel][pixel] = static_cast<float>(
                (static_cast<double>(pixel) / 255 - spec.mean[channel]) / spec.std[channel]);
}

Letterbox Preprocessor::run(const ImageView& image, float* out) {
    if (image.data == nullptr || image.height < 1 || image.width < 1)
        throw Error("an image without pixels", "", "give one of at least 1x1");
    const Letterbox box(image.height, image.width, spec_.height, spec_.width);
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(spec_.height) * spec_.width;
    const std::array<int, 3> places = image.order == Order::gray  ? std::array<int, 3>{{0, 0, 0}}
                                      : image.order == Order::bgr ? std::array<int, 3>{{2, 1, 0}}
                                                                  : std::array<int, 3>{{0, 1, 2}};
    resizer_.start(image, box.height, box.width);
    for (int y = 0; y < box.height; ++y) {
        const std::uint8_t* pixels = resizer_.row(y);
        float* row = out + static_cast<std::ptrdiff_t>(y) * spec_.width;
        const auto lookup = image.order == Order::gray ? look_up<1> : look_up<3>;
        lookup(pixels, box.width, tables_[0].data(), tables_[1].data(), tables_[2].data(), places,
               {{row, row + plane, row + 2 * plane}});
    }
    for (std::size_t channel = 0; channel < 3; ++channel) {
        float* begin = out + static_cast<std::ptrdiff_t>(channel) * plane;
        const float padding = tables_[channel][static_cast<std::size_t>(spec_.pad_value)];
        for (int y = 0; y < box.height; ++y) {
            float* row = begin + static_cast<std::ptrdiff_t>(y) * spec_.width;
            std::fill(row + box.width, row + spec_.width, padding);
        }
        std::fill(begin + static_cast<std::ptrdiff_t>(box.height) * spec_.width, begin + plane, padding);
    }
    return box;
}

}  // namespace edgedet::runner
