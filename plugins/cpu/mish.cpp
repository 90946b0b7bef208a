#include "cpu/mish.h"

#include <bit>

#include "cpu/for_each_cpu.h"
#include "kernels/mish.h"

namespace edgedet::cpu {
namespace {

// Below it the exponential is no normal float32, and Mish is 0 to every digit that counts.
constexpr float LOWEST = -87.0F;

// exp(x) for LOWEST <= x <= MISH_IS_IDENTITY, else NaN for NaN and anything for other x: 2^k * exp(rest), the rest by
// Taylor's series, whose first term left out is below a tenth of a unit in the last place.
inline float exp_lane(float x) {
    constexpr float LOG2_E = 1.44269504F, LN_2_HIGH = 0.693359375F, LN_2_LOW = -2.12194440e-4F;
    constexpr float ROUNDER = 12582912.0F;  // 1.5 * 2^23: what is added to it loses its fraction
    const float shifted = x * LOG2_E + ROUNDER, k = shifted - ROUNDER;
    const float rest = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    float series = 1.0F / 5040;
    series = series * rest + 1.0F / 720;
    series = series * rest + 1.0F / 120;
    series = series * rest + 1.0F / 24;
    series = series * rest + 1.0F / 6;
    series = series * rest + 0.5F;
    series = series * rest + 1.0F;
    series = series * rest + 1.0F;
    return series * std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) + 127U) << 23);
}

}  // namespace

EDGEDET_FOR_EACH_CPU
void mish(const float* input, float* output, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const float x = input[i], e = exp_lane(smaller(x, MISH_IS_IDENTITY));
        output[i] = mish_by_exp(x, x < LOWEST ? 0.0F : e);
    }
}

}  // namespace edgedet::cpu
