// What the host knows of a gated convolution, and how its weights lie on the device.
#pragma once

#include "cuda/gated_conv.h"
#include "kernels/diou.h"

namespace edgedet {
namespace cuda {

// What a lane of a warp has of 16 rows of weights, 32 deep: see int8_products.h.
constexpr uint32_t PRODUCT_ROWS = 16, PRODUCT_COLUMNS = 8, PRODUCT_DEPTH = 32, PRODUCT_LANES = 32;

struct alignas(16) Fragment {
    uint32_t words[4];
};

// Of an output channel.
struct Channel {
    float high, low, bias;
    GateLimits limits;
};

inline int64_t divided(int64_t count, int64_t by) { return (count + by - 1) / by; }

inline int64_t depth_of(const GatedSizes& sizes) { return sizes.inputs * sizes.height * sizes.width; }

// [groups, rows / 16, depth / 32, lanes]; behind them stand the channels.
inline size_t fragments_of(const GatedConv& gate, const GatedSizes& sizes) {
    const int64_t blocks = divided(sizes.outputs / gate.groups, PRODUCT_ROWS);
    return static_cast<size_t>(gate.groups * blocks * divided(depth_of(sizes), PRODUCT_DEPTH) * PRODUCT_LANES);
}

// Positions, and what decides together, of an image.
struct Map {
    int64_t rows, columns, side_y, side_x, units_y, units_x;

    // Positions alone, one by one, where nothing is decided.
    Map(const GatedConv& gate, const GatedSizes& sizes, const GatedImages& images, bool is_decided)
        : rows(result_height(gate, sizes, images.height)), columns(result_width(gate, sizes, images.width)) {
        const int64_t side = gate.granularity == Granularity::tile && is_decided ? gate.tile : 1;
        side_y = larger<int64_t>(1, smaller(side, rows));
        side_x = larger<int64_t>(1, smaller(side, columns));
        units_y = divided(rows, side_y);
        units_x = divided(columns, side_x);
    }
    int64_t units() const { return units_y * units_x; }
    int64_t area() const { return side_y * side_x; }
};

}  // namespace cuda
}  // namespace edgedet
