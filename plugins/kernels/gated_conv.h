// The attributes of the gated convolution, for every library around a kernel. What they mean is written in
// edgedet/ops/gated_conv/definition.py.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>

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

// Beyond these sums of high parts, in steps, the gate of a channel is open.
struct GateLimits {
    int32_t above, below;

    static constexpr int32_t never_above() { return std::numeric_limits<int32_t>::max(); }
    static constexpr int32_t never_below() { return std::numeric_limits<int32_t>::min(); }
    // No sum comes near the ends of its 32 bits.
    bool is_always_open() const { return above == never_below() || below == never_above(); }
};

// Of a threshold in units of the result; `unit` is the result of a code of 1 and a weight of 1.
inline GateLimits limits_of(double threshold, double unit, float sign, int64_t step) {
    const auto whole = [](double bound) {
        if (!(bound > GateLimits::never_below())) return GateLimits::never_below();
        return bound < GateLimits::never_above() ? static_cast<int32_t>(bound) : GateLimits::never_above();
    };
    const double bound = threshold / unit / static_cast<double>(step);
    const bool is_number = !std::isnan(bound);
    return {is_number && sign > 0 ? whole(std::floor(bound)) : GateLimits::never_above(),
            is_number && sign < 0 ? whole(std::ceil(bound)) : GateLimits::never_below()};
}

// What a channel's sums are multiplied with: the high ones, in steps, and the low ones.
struct Factors {
    float high, low;
};

inline Factors factors_of(double unit, int64_t step) {
    const auto low = static_cast<float>(unit);
    return {low * static_cast<float>(step), low};
}

}  // namespace edgedet
