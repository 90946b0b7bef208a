#include "cpu/int8/kernels.h"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace edgedet::cpu {

#if defined(__x86_64__)
extern const Int8Kernel AVX512_VNNI, AVX2;
#elif defined(__aarch64__)
extern const Int8Kernel DOTPROD, NEON;
#endif

const std::vector<const Int8Kernel*>& int8_kernels() {
    static const std::vector<const Int8Kernel*> found = [] {
        std::vector<const Int8Kernel*> kernels;
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni")) kernels.push_back(&AVX512_VNNI);
        if (__builtin_cpu_supports("avx2")) kernels.push_back(&AVX2);
#elif defined(__aarch64__)
        if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) kernels.push_back(&DOTPROD);
        kernels.push_back(&NEON);
#endif
        kernels.push_back(&PLAIN);
        return kernels;
    }();
    return found;
}

}  // namespace edgedet::cpu
