#include "cuda/gated_weights.h"

#include <cmath>
#include <cstring>

namespace edgedet {
namespace cuda {
namespace {

constexpr int64_t MOST_DEPTH = 65536;  // sums of more might not fit into 32 bits
constexpr int64_t MOST_BLOCKS = 65535;

double unit_of(const GatedWeights& weights, int64_t channel) {
    return static_cast<double>(weights.x_scale) * weights.scale[channel];
}

GateLimits limits_of(const GatedConv& gate, const GatedWeights& weights, int64_t channel) {
    return edgedet::limits_of(weights.threshold[channel], unit_of(weights, channel), weights.sign[channel], gate.step);
}

}  // namespace

int64_t result_height(const GatedConv& gate, const GatedSizes& sizes, int64_t height) {
    const int64_t room = height + gate.top + gate.bottom - sizes.height;
    return room < 0 ? 0 : room / gate.stride_y + 1;
}

int64_t result_width(const GatedConv& gate, const GatedSizes& sizes, int64_t width) {
    const int64_t room = width + gate.left + gate.right - sizes.width;
    return room < 0 ? 0 : room / gate.stride_x + 1;
}

const char* limit_of(const GatedConv& gate, const GatedSizes& sizes) {
    for (int64_t length : {sizes.outputs, sizes.inputs, sizes.height, sizes.width})
        if (length < 1 || length > MOST_DEPTH) return "weights of 1 to 65536 channels and taps";
    if (sizes.inputs * sizes.height > MOST_DEPTH || depth_of(sizes) > MOST_DEPTH)
        return "weights of at most 65536 values for each output";
    if (gate.groups > sizes.outputs || sizes.outputs % gate.groups != 0) return "as many output channels for each group";
    if (divided(sizes.outputs / gate.groups, PRODUCT_ROWS) * gate.groups > MOST_BLOCKS) return "65535 groups or fewer";
    return nullptr;
}

const char* limit_of(const GatedConv& gate, const GatedSizes& sizes, const GatedImages& images) {
    constexpr int64_t MOST_PIXELS = int64_t{1} << 30, MOST_RESULTS = (int64_t{1} << 32) - 1;
    if (images.count < 0 || images.count > MOST_PIXELS) return "2^30 images or fewer";
    for (int64_t side : {images.height, images.width})
        if (side < 0 || side > MOST_DEPTH) return "images of 65536 pixels a side or less";
    const Map map(gate, sizes, images, true);
    if (map.rows < 1 || map.columns < 1) return "images that the weights fit into";
    const int64_t columns = images.count * map.units() * map.area();
    if (images.count * images.height * images.width > MOST_PIXELS || columns > MOST_PIXELS)
        return "2^30 positions or fewer";
    if (columns * sizes.outputs >= MOST_RESULTS) return "fewer than 2^32 results";
    return nullptr;
}

const char* fault_of(const GatedSizes& sizes, const GatedWeights& weights) {
    if (!std::isnormal(weights.x_scale) || weights.x_scale < 0) return "x_scale above 0";
    for (int64_t channel = 0; channel < sizes.outputs; ++channel)
        if (!std::isfinite(weights.scale[channel]) || !(weights.scale[channel] > 0)) return "weight_scale above 0";
    return nullptr;
}

size_t packed_bytes(const GatedConv& gate, const GatedSizes& sizes) {
    return fragments_of(gate, sizes) * sizeof(Fragment) + static_cast<size_t>(sizes.outputs) * sizeof(Channel);
}

void pack(const GatedConv& gate, const GatedSizes& sizes, const GatedWeights& weights, void* packed) {
    const int64_t rows = sizes.outputs / gate.groups, depth = depth_of(sizes);
    const int64_t blocks = divided(rows, PRODUCT_ROWS), products = divided(depth, PRODUCT_DEPTH);
    auto* to = static_cast<Fragment*>(packed);
    for (int64_t block = 0; block < gate.groups * blocks; ++block)
        for (int64_t product = 0; product < products; ++product)
            for (int64_t lane = 0; lane < PRODUCT_LANES; ++lane, ++to)
                for (int64_t word = 0; word < 4; ++word) {
                    const int64_t row = block % blocks * PRODUCT_ROWS + lane / 4 + word % 2 * (PRODUCT_ROWS / 2);
                    const int64_t first = product * PRODUCT_DEPTH + lane % 4 * 4 + word / 2 * (PRODUCT_DEPTH / 2);
                    int8_t four[4] = {};
                    for (int64_t i = 0; i < 4; ++i)
                        if (row < rows && first + i < depth)
                            four[i] = weights.codes[(block / blocks * rows + row) * depth + first + i];
                    std::memcpy(&to->words[word], four, sizeof four);
                }
    auto* channels = reinterpret_cast<Channel*>(to);
    for (int64_t index = 0; index < sizes.outputs; ++index) {
        const Factors factors = factors_of(unit_of(weights, index), gate.step);
        channels[index] = {factors.high, factors.low, weights.bias[index], limits_of(gate, weights, index)};
    }
}

bool is_always_open(const GatedConv& gate, const GatedSizes& sizes, const GatedWeights& weights) {
    int64_t open = 0;
    for (int64_t index = 0; index < sizes.outputs; ++index)
        open += limits_of(gate, weights, index).is_always_open() ? 1 : 0;
    return gate.granularity == Granularity::element ? open == sizes.outputs : open > 0;
}

}  // namespace cuda
}  // namespace edgedet
