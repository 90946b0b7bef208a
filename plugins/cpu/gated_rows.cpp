#include "cpu/gated_rows.h"

#include <algorithm>
#include <bit>

#include "cpu/for_each_cpu.h"
#include "cpu/int8/kernels.h"
#include "kernels/diou.h"

namespace edgedet::cpu {
namespace {

// Inlined into what is compiled for each CPU.
#define EDGEDET_INLINED inline __attribute__((always_inline))

// Ties to even, from -2^22 to 2^22.
EDGEDET_INLINED int32_t rounded(float value) {
    constexpr float ROUNDER = 12582912.0F;  // 1.5 * 2^23: what is added to it loses its fraction
    return std::bit_cast<int32_t>(value + ROUNDER) - 0x4B400000;
}

EDGEDET_INLINED int32_t code_of(float value, const Split& split) {
    const float code = value * split.codes_of_value, lowest = static_cast<float>(split.lowest);
    const float at_least = code > lowest ? code : lowest;  // and so is what is not a number
    return rounded(smaller(at_least, static_cast<float>(split.highest)));
}

EDGEDET_INLINED int32_t code_of(uint8_t value, const Split& split) {
    return smaller(larger(value - split.zero_point, split.lowest), split.highest);
}

EDGEDET_INLINED void write(float value, int32_t, float* y) { *y = value; }

EDGEDET_INLINED void write(float value, int32_t zero_point, uint8_t* y) {
    const float at_least = larger(value, static_cast<float>(-zero_point));
    *y = static_cast<uint8_t>(rounded(smaller(at_least, static_cast<float>(255 - zero_point))) + zero_point);
}

// Four channels of a panel.
template <typename Value>
EDGEDET_INLINED void split_panel(const Value* const* rows, const Split& split, uint32_t* __restrict high,
                                 uint32_t* __restrict low) {
    const int32_t below_half = (1 << split.bits) / 2 - 1;
    for (int i = 0; i < PANEL; ++i) {
        uint32_t packed_high = split.high_added, packed_low = split.low_added;
        for (int channel = 0; channel < CHANNELS; ++channel) {
            const int32_t code = code_of(rows[channel][i], split);
            const int32_t nearest = (code + below_half + ((code >> split.bits) & 1)) >> split.bits;  // ties to even
            const int32_t steps = smaller(nearest, split.highest_step);
            const int32_t rest = smaller(code - (steps << split.bits), 127);
            packed_high += static_cast<uint32_t>(steps) << 8 * channel;
            packed_low += static_cast<uint32_t>(rest) << 8 * channel;
        }
        high[i] = packed_high ^ split.flipped;
        low[i] = packed_low ^ split.flipped;
    }
}

template <typename Value>
EDGEDET_INLINED void split_rows(const Value* const* rows, int64_t count, const Split split, int64_t stride,
                                uint32_t* high, uint32_t* low) {
    Value rest[CHANNELS][PANEL];
    for (int64_t first = 0; first < count; first += PANEL, high += stride, low += stride) {
        const Value* panel[CHANNELS];
        for (int channel = 0; channel < CHANNELS; ++channel) {
            panel[channel] = rows[channel] + first;
            if (count - first >= PANEL) continue;
            std::fill_n(std::copy_n(panel[channel], count - first, rest[channel]), PANEL - (count - first), Value{});
            panel[channel] = rest[channel];
        }
        split_panel(panel, split, high, low);
    }
}

template <typename Value>
EDGEDET_INLINED void predict(const int32_t* sums, int64_t count, const Finish finish, const Gate gate,
                             Value* __restrict y, int32_t* __restrict wanted) {
    for (int64_t i = 0; i < count; ++i) {
        write(static_cast<float>(sums[i]) * finish.high, finish.zero_point, y + i);
        wanted[i] |= (sums[i] > gate.above) | (sums[i] < gate.below);
    }
}

template <typename Value>
EDGEDET_INLINED void update(const int32_t* sums, const int32_t* low, const int32_t* open, int64_t count,
                            const Finish finish, Value* __restrict y) {
    for (int64_t i = 0; i < count; ++i) {
        const float added = open[i] != 0 ? static_cast<float>(low[i]) * finish.low : 0.0F;
        write(static_cast<float>(sums[i]) * finish.high + added, finish.zero_point, y + i);
    }
}

// The arithmetic on values side by side.
template <typename Value>
EDGEDET_INLINED void update_gathered(const int32_t* sums, const int32_t* low, const int32_t* places, int64_t count,
                                     const Finish finish, Value* y) {
    constexpr int64_t AT_ONCE = 64;
    int32_t gathered[AT_ONCE];
    Value made[AT_ONCE];
    for (int64_t first = 0; first < count; first += AT_ONCE, low += AT_ONCE, places += AT_ONCE) {
        const int64_t here = std::min(count - first, AT_ONCE);
        for (int64_t i = 0; i < here; ++i) gathered[i] = sums[places[i]];
        for (int64_t i = 0; i < here; ++i) {
            const float value = static_cast<float>(gathered[i]) * finish.high + static_cast<float>(low[i]) * finish.low;
            write(value, finish.zero_point, made + i);
        }
        for (int64_t i = 0; i < here; ++i) y[places[i]] = made[i];
    }
}

}  // namespace

#define EDGEDET_ROWS(Value)                                                                                            \
    EDGEDET_FOR_EACH_CPU void split_channels(const Value* const* rows, int64_t count, const Split& split,              \
                                             int64_t stride, uint32_t* high, uint32_t* low) {                         \
        split_rows(rows, count, split, stride, high, low);                                                             \
    }                                                                                                                  \
    EDGEDET_FOR_EACH_CPU void predict_row(const int32_t* sums, int64_t count, const Finish& finish, const Gate& gate,  \
                                          Value* y, int32_t* wanted) {                                                \
        predict(sums, count, finish, gate, y, wanted);                                                                 \
    }                                                                                                                  \
    EDGEDET_FOR_EACH_CPU void update_row(const int32_t* sums, const int32_t* low, const int32_t* open, int64_t count,  \
                                         const Finish& finish, Value* y) {                                            \
        update(sums, low, open, count, finish, y);                                                                     \
    }                                                                                                                  \
    EDGEDET_FOR_EACH_CPU void update_places(const int32_t* sums, const int32_t* low, const int32_t* places,            \
                                            int64_t count, const Finish& finish, Value* y) {                          \
        update_gathered(sums, low, places, count, finish, y);                                                          \
    }
EDGEDET_ROWS(float)
EDGEDET_ROWS(uint8_t)
#undef EDGEDET_ROWS
#undef EDGEDET_INLINED

}  // namespace edgedet::cpu
