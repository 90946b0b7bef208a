// Mish, x * tanh(softplus(x)) (Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", BMVC 2020), for host
// and device.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/diou.h"

namespace edgedet {

// Beyond it tanh(softplus(x)) is 1 in float32; and its exponential, squared, is far from overflow.
constexpr float MISH_IS_IDENTITY = 20.0F;

// With e = exp(x), tanh(log(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2): nothing cancels for negative x.
// `e` is of the smaller of x and MISH_IS_IDENTITY.
EDGEDET_HOST_DEVICE float mish_by_exp(float x, float e) {
    const float n = e * (e + 2.0F);
    return x * (n / (n + 2.0F));
}

// In float64, where nothing overflows that matters: for tables, and for float64 itself.
inline double mish(double x) { return x * std::tanh(std::log1p(std::exp(x))); }

// INT8 in, INT8 out: what each of the 256 values becomes; the entry of value q is number q + 128.
// Scales are those of the quantizers around it, above 0; rounds half to even.
inline void fill_mish_table(float input_scale, float output_scale, int8_t* table) {
    for (int value = -128; value <= 127; ++value) {
        const double steps = std::nearbyint(mish(value * static_cast<double>(input_scale)) / output_scale);
        table[value + 128] = static_cast<int8_t>(smaller(larger(steps, -128.0), 127.0));
    }
}

}  // namespace edgedet
