#include <arm_neon.h>

#include "cpu/int8/tile.h"

namespace edgedet::cpu {
namespace {

struct DotProd {
    static constexpr int ROWS = 4, VECTORS = 4, LANES = 4;
    static constexpr bool IN_16_BITS = false;
    using Sum = int32x4_t;
    using Part = int32x4_t;
    using Codes = int8x16_t;
    using Weights = int8x16_t;

    static Sum fill(int32_t value) { return vdupq_n_s32(value); }
    static Part nothing() { return vdupq_n_s32(0); }
    static Codes load(const uint32_t* codes) { return vreinterpretq_s8_u32(vld1q_u32(codes)); }
    static Weights spread(uint32_t weights) { return vreinterpretq_s8_u32(vdupq_n_u32(weights)); }
    static Part add(Part part, Codes codes, Weights weights) { return vdotq_s32(part, codes, weights); }
    static Sum widen(Sum sum, Part part) { return vaddq_s32(sum, part); }
    static Sum load_sum(const int32_t* from) { return vld1q_s32(from); }
    static void store(int32_t* to, Sum sum) { vst1q_s32(to, sum); }
};

}  // namespace

extern const Int8Kernel DOTPROD;
const Int8Kernel DOTPROD{"dotprod", false, DotProd::ROWS, 0, multiply<DotProd>};

}  // namespace edgedet::cpu
