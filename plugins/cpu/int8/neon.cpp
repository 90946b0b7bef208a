#include <arm_neon.h>

#include "cpu/int8/tile.h"

namespace edgedet::cpu {
namespace {

// Sums of 16 bits, of as many products as surely fit, for CPUs without dot products.
struct Neon {
    static constexpr int ROWS = 4, VECTORS = 2, LANES = 4;
    static constexpr bool IN_16_BITS = true;
    struct Part { int16x8_t low, high; };
    using Sum = int32x4_t;
    using Codes = int8x16_t;
    using Weights = int8x8_t;

    static Sum fill(int32_t value) { return vdupq_n_s32(value); }
    static Part nothing() { return {vdupq_n_s16(0), vdupq_n_s16(0)}; }
    static Codes load(const uint32_t* codes) { return vreinterpretq_s8_u32(vld1q_u32(codes)); }
    static Weights spread(uint32_t weights) { return vreinterpret_s8_u32(vdup_n_u32(weights)); }
    static Part add(const Part& part, Codes codes, Weights weights) {
        return {vmlal_s8(part.low, vget_low_s8(codes), weights), vmlal_s8(part.high, vget_high_s8(codes), weights)};
    }
    static Sum widen(Sum sum, const Part& part) {
        return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(part.low), vpaddlq_s16(part.high)));
    }
    static Sum load_sum(const int32_t* from) { return vld1q_s32(from); }
    static void store(int32_t* to, Sum sum) { vst1q_s32(to, sum); }
};

}  // namespace

extern const Int8Kernel NEON;
const Int8Kernel NEON{"neon", false, Neon::ROWS, 1, multiply<Neon>};

}  // namespace edgedet::cpu
