#include <immintrin.h>

#include "cpu/int8/tile.h"

namespace edgedet::cpu {
namespace {

struct Ymm {
    static constexpr int ROWS = 4, VECTORS = 2, LANES = 8;
    using Sum = __m256i;
    using Part = __m256i;

    static Sum fill(int32_t value) { return _mm256_set1_epi32(value); }
    static Part nothing() { return _mm256_setzero_si256(); }
    static Sum load_sum(const int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
    static void store(int32_t* to, Sum sum) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sum); }
    static __m256i read(const uint32_t* codes) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
    }
};

// Sums of 16 bits, of as many products as surely fit: small codes need few instructions.
struct Narrow : Ymm {
    static constexpr bool IN_16_BITS = true;
    using Codes = __m256i;
    using Weights = __m256i;

    static Codes load(const uint32_t* codes) { return read(codes); }
    static Weights spread(uint32_t weights) { return _mm256_set1_epi32(static_cast<int32_t>(weights)); }
    static Part add(Part part, Codes codes, Weights weights) {
        return _mm256_add_epi16(part, _mm256_maddubs_epi16(codes, weights));
    }
    static Sum widen(Sum sum, Part part) {
        return _mm256_add_epi32(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1)));
    }
};

// As above where few products fit: widened at once, in registers.
struct Widened : Narrow {
    static constexpr bool IN_16_BITS = false;

    static Part add(Part part, Codes codes, Weights weights) {
        return Narrow::widen(part, _mm256_maddubs_epi16(codes, weights));
    }
    static Sum widen(Sum sum, Part part) { return _mm256_add_epi32(sum, part); }
};

// Products of which two may not fit into 16 bits: channels 0 and 2 are multiplied apart from 1 and 3.
struct Wide : Ymm {
    static constexpr bool IN_16_BITS = false;
    struct Pair { __m256i even, odd; };
    using Codes = Pair;
    using Weights = Pair;

    static Codes load(const uint32_t* codes) {
        const __m256i x = read(codes);
        return {_mm256_and_si256(x, _mm256_set1_epi16(0xFF)), _mm256_srli_epi16(x, 8)};
    }
    static Weights spread(uint32_t weights) {
        const __m256i w = _mm256_set1_epi32(static_cast<int32_t>(weights));
        return {_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(w, 8)};
    }
    static Part add(Part part, const Codes& x, const Weights& w) {
        part = _mm256_add_epi32(part, _mm256_madd_epi16(x.even, w.even));
        return _mm256_add_epi32(part, _mm256_madd_epi16(x.odd, w.odd));
    }
    static Sum widen(Sum sum, Part part) { return _mm256_add_epi32(sum, part); }
};

void multiply_by_avx2(const Int8Products& products) {
    constexpr int64_t FEW = 3;
    if (products.groups_in_16_bits > FEW)
        multiply<Narrow>(products);
    else if (products.groups_in_16_bits > 0)
        multiply<Widened>(products);
    else
        multiply<Wide>(products);
}

}  // namespace

extern const Int8Kernel AVX2;
const Int8Kernel AVX2{"avx2", true, Ymm::ROWS, 2, multiply_by_avx2};

}  // namespace edgedet::cpu
