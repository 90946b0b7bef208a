// The network's input for images that are given as raw bytes: for machines that are emulated, too.
// Standard input, little endian, image after image: int32 height, width, order (0 BGR, 1 RGB, 2 grey), canvas height, canvas
// width, bytes of padding behind each row; then the rows. Standard output: float32 `[3, H, W]` of each, mean 0 and std 1/255.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "preprocess.h"

using namespace edgedet::runner;

int main() {
    std::int32_t sizes[6];
    while (std::fread(sizes, sizeof sizes, 1, stdin) == 1) {
        const auto order = static_cast<Order>(sizes[2]);
        const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(sizes[1]) * channels_of(order) + sizes[5];
        // To the byte: a read beyond the last pixel is one beyond the memory.
        std::vector<std::uint8_t> pixels(static_cast<std::size_t>(stride * sizes[0] - sizes[5]));
        std::vector<std::uint8_t> rest(static_cast<std::size_t>(sizes[5]));
        if (std::fread(pixels.data(), 1, pixels.size(), stdin) != pixels.size()) return 2;
        if (std::fread(rest.data(), 1, rest.size(), stdin) != rest.size()) return 2;
        Preprocess spec;
        spec.height = sizes[3], spec.width = sizes[4];
        spec.mean = {{0, 0, 0}}, spec.std = {{1.0 / 255, 1.0 / 255, 1.0 / 255}};
        std::vector<float> out(static_cast<std::size_t>(3 * sizes[3] * sizes[4]));
        Preprocessor(spec).run({pixels.data(), sizes[0], sizes[1], stride, order}, out.data());
        std::fwrite(out.data(), sizeof(float), out.size(), stdout);
    }
    return 0;
}
