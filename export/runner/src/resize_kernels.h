// The two inner loops of bilinear resizing, with the vector instructions that every x86-64 and every 64-bit ARM has.
//
// Weights are of 11 bits, so that a sum of two weighted bytes has 19: its upper 15 are kept between the passes, as OpenCV
// keeps them, and 10 of the products of the second pass.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace edgedet::runner {

// What one column takes: bytes from the row's begin to the left and the right pixel, and their weights.
struct Column {
    std::int32_t left, right;
    std::int16_t left_weight, right_weight;
};

constexpr int LINE_SLACK = 1;  // values behind a line that may be written

// Columns `[0, count)` of pixels of three bytes, of which four can be read.
inline void resize_columns(const std::uint8_t* pixels, const Column* columns, int count, std::int16_t* out) {
    for (int x = 0; x < count; ++x, out += 3) {
        const Column& column = columns[x];
        std::uint32_t left, right;
        std::memcpy(&left, pixels + column.left, sizeof left);
        std::memcpy(&right, pixels + column.right, sizeof right);
#if defined(__SSE2__)
        std::int32_t weights;
        std::memcpy(&weights, &column.left_weight, sizeof weights);
        const __m128i pairs = _mm_unpacklo_epi8(_mm_cvtsi32_si128(static_cast<int>(left)), _mm_cvtsi32_si128(static_cast<int>(right)));
        const __m128i sums = _mm_madd_epi16(_mm_unpacklo_epi8(pairs, _mm_setzero_si128()), _mm_set1_epi32(weights));
        const __m128i kept = _mm_srli_epi32(sums, 4);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packs_epi32(kept, kept));
#elif defined(__aarch64__)
        const uint16x4_t wide_left = vget_low_u16(vmovl_u8(vcreate_u8(left)));
        const uint16x4_t wide_right = vget_low_u16(vmovl_u8(vcreate_u8(right)));
        const uint32x4_t sums = vmlal_n_u16(vmull_n_u16(wide_left, static_cast<std::uint16_t>(column.left_weight)), wide_right,
                                            static_cast<std::uint16_t>(column.right_weight));
        vst1_s16(out, vreinterpret_s16_u16(vshrn_n_u32(sums, 4)));
#else
        for (int channel = 0; channel < 3; ++channel)
            out[channel] = static_cast<std::int16_t>((pixels[column.left + channel] * column.left_weight +
                                                      pixels[column.right + channel] * column.right_weight) >> 4);
#endif
    }
}

// One row of two lines.
inline void blend_lines(const std::int16_t* upper, const std::int16_t* lower, int upper_weight, int lower_weight, int count,
                        std::uint8_t* out) {
    int at = 0;
#if defined(__SSE2__)
    const __m128i above = _mm_set1_epi16(static_cast<short>(upper_weight)), below = _mm_set1_epi16(static_cast<short>(lower_weight));
    const auto eight = [&](int place) {
        const __m128i sum = _mm_add_epi16(
            _mm_mulhi_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(upper + place)), above),
            _mm_mulhi_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lower + place)), below));
        return _mm_srai_epi16(_mm_add_epi16(sum, _mm_set1_epi16(2)), 2);
    };
    for (; at + 16 <= count; at += 16)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + at), _mm_packus_epi16(eight(at), eight(at + 8)));
#elif defined(__aarch64__)
    const auto four = [&](int place) {
        return vadd_s16(vshrn_n_s32(vmull_n_s16(vld1_s16(upper + place), static_cast<std::int16_t>(upper_weight)), 16),
                        vshrn_n_s32(vmull_n_s16(vld1_s16(lower + place), static_cast<std::int16_t>(lower_weight)), 16));
    };
    for (; at + 8 <= count; at += 8)
        vst1_u8(out + at, vqmovun_s16(vshrq_n_s16(vaddq_s16(vcombine_s16(four(at), four(at + 4)), vdupq_n_s16(2)), 2)));
#endif
    for (; at < count; ++at)
        out[at] = static_cast<std::uint8_t>(((upper[at] * upper_weight >> 16) + (lower[at] * lower_weight >> 16) + 2) >> 2);
}

}  // namespace edgedet::runner
