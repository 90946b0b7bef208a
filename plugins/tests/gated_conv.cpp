// Runs the CPU kernel of the gated convolution on one image, without Python: for machines that are emulated.
//   gated_conv_test          prints the kernels of 8-bit products that this CPU has, a line each
//   gated_conv_test KERNEL   runs one of them
// Standard input, little endian: int64 step, lowest, highest, granularity (0 element, 1 pixel, 2 tile), tile, stride,
// padding, groups, outputs, inputs, side of the weights, height, width; float32 x_scale; float32 weight scale, threshold,
// sign and bias, each [outputs]; int8 weights [outputs, inputs, side, side]; float32 x [inputs * groups, height, width].
// Standard output: float32, the result.
#include <cstdio>
#include <cstring>
#include <vector>

#include "cpu/gated_conv.h"

namespace {

template <typename Type>
bool read(std::vector<Type>& values, int64_t count) {
    values.resize(static_cast<size_t>(count));
    return std::fread(values.data(), sizeof(Type), values.size(), stdin) == values.size();
}

int run(const edgedet::cpu::Int8Kernel& kernel) {
    std::vector<int64_t> sizes;
    std::vector<float> x_scale, scale, threshold, sign, bias, x;
    std::vector<int8_t> codes;
    if (!read(sizes, 13)) return 2;
    const int64_t stride = sizes[5], pad = sizes[6], outputs = sizes[8], inputs = sizes[9], side = sizes[10];
    const int64_t height = sizes[11], width = sizes[12];
    const edgedet::GatedConv gate{sizes[0], sizes[1], sizes[2], static_cast<edgedet::Granularity>(sizes[3]),
                                  sizes[4], stride,   stride,   pad,
                                  pad,      pad,      pad,      sizes[7]};
    if (edgedet::fault_of(gate) != nullptr || !read(x_scale, 1) || !read(scale, outputs) || !read(threshold, outputs) ||
        !read(sign, outputs) || !read(bias, outputs) || !read(codes, outputs * inputs * side * side) ||
        !read(x, inputs * gate.groups * height * width))
        return 2;
    const edgedet::cpu::GatedWeights weights{codes.data(), outputs,      inputs,           side,
                                             side,         scale.data(), threshold.data(), sign.data(),
                                             bias.data()};
    const edgedet::cpu::GatedConvolution<float> convolution(gate, {x_scale[0], 0}, {}, weights, kernel);
    std::vector<float> y(static_cast<size_t>(outputs * convolution.result_height(height) * convolution.result_width(width)));
    for (int64_t band = 0; band < convolution.bands(height, width); ++band)
        convolution.run(x.data(), height, width, band, y.data());
    return std::fwrite(y.data(), sizeof(float), y.size(), stdout) == y.size() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    for (const auto* kernel : edgedet::cpu::int8_kernels()) {
        if (count < 2)
            std::puts(kernel->name);
        else if (std::strcmp(kernel->name, arguments[1]) == 0)
            return run(*kernel);
    }
    return count < 2 ? 0 : 2;
}
