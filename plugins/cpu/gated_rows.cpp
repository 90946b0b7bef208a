#include "cpu/gated_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/for_each_cpu.h"
#include "cpu/int8/kernels.h"
#include "kernels/diou.h"

namespace edgedet::cpu {
namespace {

// Inlined into what is compiled for each CPU.
#define EDGEDET_INLINED inline __attribute__((always_inline))

// A panel's columns as the compiler's vectors: codes and parts have 16 bits at most.
template <typename Lane>
using Lanes __attribute__((vector_size(PANEL * sizeof(Lane)))) = Lane;

constexpr float ROUNDER = 12582912.0F;  // 1.5 * 2^23: what is added to it loses its fraction, ties to even
constexpr int32_t ROUNDED = 0x4B400000;

EDGEDET_INLINED void read_codes(const float* values, const Split& split, Lanes<int16_t>& codes) {
    const auto lowest = static_cast<float>(split.lowest), highest = static_cast<float>(split.highest);
    int16_t whole[PANEL];
    for (int i = 0; i < PANEL; ++i) {
        const float code = values[i] * split.codes_of_value;
        const float at_least = code > lowest ? code : lowest;  // and so is what is not a number
        whole[i] = static_cast<int16_t>(std::bit_cast<int32_t>(smaller(at_least, highest) + ROUNDER) - ROUNDED);
    }
    std::memcpy(&codes, whole, sizeof codes);
}

EDGEDET_INLINED void read_codes(const uint8_t* values, const Split& split, Lanes<int16_t>& codes) {
    Lanes<uint8_t> x;
    std::memcpy(&x, values, sizeof x);
    const Lanes<int16_t> lowest = Lanes<int16_t>{} + static_cast<int16_t>(split.lowest);
    const Lanes<int16_t> highest = Lanes<int16_t>{} + static_cast<int16_t>(split.highest);
    codes = __builtin_convertvector(x, Lanes<int16_t>) - static_cast<int16_t>(split.zero_point);
    codes = codes > lowest ? codes : lowest;
    codes = codes < highest ? codes : highest;
}

// Four channels' parts as the bytes of one number.
EDGEDET_INLINED void join(const Lanes<int16_t>* parts, int16_t added, uint32_t flipped, uint32_t* to) {
    const Lanes<int16_t> first = (parts[0] + added) + ((parts[1] + added) << 8);
    const Lanes<int16_t> second = (parts[2] + added) + ((parts[3] + added) << 8);
    const auto low = __builtin_convertvector(reinterpret_cast<const Lanes<uint16_t>&>(first), Lanes<uint32_t>);
    const auto high = __builtin_convertvector(reinterpret_cast<const Lanes<uint16_t>&>(second), Lanes<uint32_t>);
    using Stored __attribute__((vector_size(PANEL * sizeof(uint32_t)), aligned(alignof(uint32_t)))) = uint32_t;
    *reinterpret_cast<Stored*>(to) = (low | high << 16) ^ flipped;  // std::memcpy goes through memory
}

EDGEDET_INLINED void write(float value, int32_t, float* y) { *y = value; }

EDGEDET_INLINED void write(float value, int32_t zero_point, uint8_t* y) {
    const float at_least = larger(value, static_cast<float>(-zero_point));
    const float shifted = smaller(at_least, static_cast<float>(255 - zero_point)) + ROUNDER;
    *y = static_cast<uint8_t>(std::bit_cast<int32_t>(shifted) - ROUNDED + zero_point);
}

// Four channels of a panel.
template <typename Value>
EDGEDET_INLINED void split_panel(const Value* const* rows, const Split& split, uint32_t* __restrict high,
                                 uint32_t* __restrict low) {
    const auto bits = static_cast<int16_t>(split.bits), below_half = static_cast<int16_t>((1 << split.bits) / 2 - 1);
    const Lanes<int16_t> highest = Lanes<int16_t>{} + static_cast<int16_t>(split.highest_step);
    const Lanes<int16_t> most = Lanes<int16_t>{} + int16_t{127};
    Lanes<int16_t> high_parts[CHANNELS], low_parts[CHANNELS];
    for (int channel = 0; channel < CHANNELS; ++channel) {
        Lanes<int16_t> code;
        read_codes(rows[channel], split, code);
        const Lanes<int16_t> nearest = (code + below_half + ((code >> bits) & 1)) >> bits;  // ties to even
        const Lanes<int16_t> steps = nearest < highest ? nearest : highest, rest = code - (steps << bits);
        high_parts[channel] = steps;
        low_parts[channel] = rest < most ? rest : most;
    }
    join(high_parts, split.high_added, split.flipped, high);
    join(low_parts, split.low_added, split.flipped, low);
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
EDGEDET_INLINED void predict(const int32_t* sums, int64_t count, const Finish finish, const GateLimits gate,
                             Value* __restrict y, int32_t* __restrict wanted) {
    for (int64_t i = 0; i < count; ++i) {
        write(static_cast<float>(sums[i]) * finish.high + finish.bias, finish.zero_point, y + i);
        wanted[i] |= (sums[i] > gate.above) | (sums[i] < gate.below);
    }
}

template <typename Value>
EDGEDET_INLINED void update(const int32_t* sums, const int32_t* low, const int32_t* open, int64_t count,
                            const Finish finish, Value* __restrict y) {
    for (int64_t i = 0; i < count; ++i) {
        const float added = open[i] != 0 ? static_cast<float>(low[i]) * finish.low : 0.0F;
        write(static_cast<float>(sums[i]) * finish.high + added + finish.bias, finish.zero_point, y + i);
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
            write(value + finish.bias, finish.zero_point, made + i);
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
    EDGEDET_FOR_EACH_CPU void predict_row(const int32_t* sums, int64_t count, const Finish& finish, const GateLimits& gate,  \
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
