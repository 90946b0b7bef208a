// float16 as CUDA's header has it, by the compiler's own type.
#pragma once

#if defined(__aarch64__)
using Float16 = __fp16;
#else
using Float16 = _Float16;
#endif

struct __half {
    Float16 value;
};

inline float __half2float(__half half) { return static_cast<float>(half.value); }
inline __half __float2half_rn(float number) { return {static_cast<Float16>(number)}; }
