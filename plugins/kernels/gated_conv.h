// The attributes of the gated convolution, for every library around a kernel. What they mean is written in
// edgedet/ops/gated_conv/definition.py.
#pragma once

#include <cstdint>

namespace edgedet {

enum class Granularity { element, pixel, tile };

struct GatedConv {
    int64_t step;             // 2^k
    int64_t lowest, highest;  // of the codes
    Granularity granularity;
    int64_t tile;
    int64_t stride_y, stride_x;
    int64_t top, left, bottom, right;  // padding
    int64_t groups;

    int64_t highest_high() const { return highest / step * step; }
};

// What an attribute should be that is not; null where all are in their ranges. Both parts of a code fit into 8 bits.
inline const char* fault_of(const GatedConv& gate) {
    if (gate.step < 2 || gate.step > 256 || (gate.step & (gate.step - 1)) != 0) return "step: a power of 2, from 2 to 256";
    if (gate.lowest > 0 || gate.highest < 1) return "lowest and highest: 0 and more than 0 between them";
    if (gate.lowest < -128 * gate.step) return "lowest: -128 times the step or more";
    if (gate.highest >= 128 * gate.step) return "highest: less than 128 times the step";
    if (gate.highest - gate.lowest < gate.step) return "step: less than there are codes";
    if (gate.tile < 1 || gate.tile > 4096) return "tile: from 1 to 4096";
    if (gate.stride_y < 1 || gate.stride_x < 1 || gate.stride_y > 4096 || gate.stride_x > 4096)
        return "strides: two, from 1 to 4096";
    for (int64_t pad : {gate.top, gate.left, gate.bottom, gate.right})
        if (pad < 0 || pad > 4096) return "pads: four, from 0 to 4096";
    if (gate.groups < 1) return "group: 1 or more";
    return nullptr;
}

}  // namespace edgedet
