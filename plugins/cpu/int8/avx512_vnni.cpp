#include <immintrin.h>

#include "cpu/int8/tile.h"

namespace edgedet::cpu {
namespace {

struct Zmm {
    static constexpr int ROWS = 8, VECTORS = 1, LANES = 16;
    static constexpr bool IN_16_BITS = false;
    using Sum = __m512i;
    using Part = __m512i;
    using Codes = __m512i;
    using Weights = __m512i;

    static Sum fill(int32_t value) { return _mm512_set1_epi32(value); }
    static Part nothing() { return _mm512_setzero_si512(); }
    static Codes load(const uint32_t* codes) { return _mm512_loadu_si512(codes); }
    static Weights spread(uint32_t weights) { return _mm512_set1_epi32(static_cast<int32_t>(weights)); }
    static Part add(Part part, Codes codes, Weights weights) { return _mm512_dpbusd_epi32(part, codes, weights); }
    static Sum widen(Sum sum, Part part) { return _mm512_add_epi32(sum, part); }
    static Sum load_sum(const int32_t* from) { return _mm512_loadu_si512(from); }
    static void store(int32_t* to, Sum sum) { _mm512_storeu_si512(to, sum); }
};

}  // namespace

extern const Int8Kernel AVX512_VNNI;
const Int8Kernel AVX512_VNNI{"avx512_vnni", true, Zmm::ROWS, 0, multiply<Zmm>};

}  // namespace edgedet::cpu
