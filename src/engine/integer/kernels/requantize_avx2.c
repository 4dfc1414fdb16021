/* Requantization of sums on AVX2: as on AVX-512, with 8 channels to a vector. */
#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"
#include "engine/integer/kernels/requantize.h"

#define TARGET __attribute__((target("avx2")))

/* x >> p of s64, which AVX2 has for unsigned numbers only: raised by 2^63 and lowered again. */
TARGET QN_INLINE __m256i shift_right(__m256i x, __m256i p)
{
    const __m256i top = _mm256_set1_epi64x(INT64_MIN);
    return _mm256_sub_epi64(_mm256_srlv_epi64(_mm256_xor_si256(x, top), p), _mm256_srlv_epi64(top, p));
}

/* -1 where x is negative. */
TARGET QN_INLINE __m256i sign(__m256i x)
{
    return _mm256_cmpgt_epi64(_mm256_setzero_si256(), x);
}

TARGET QN_INLINE __m256i nudge(__m256i product, __m256i p, qn_rounding rounding)
{
    const __m256i one = _mm256_set1_epi64x(1);
    const __m256i half = _mm256_sllv_epi64(one, _mm256_sub_epi64(p, one));
    switch (rounding) {
    case QN_ROUND_FLOOR:
        return _mm256_setzero_si256();
    case QN_ROUND_NEAREST_UP:
        return half;
    case QN_ROUND_NEAREST_AWAY:
        return _mm256_add_epi64(half, sign(product));
    default:
        return _mm256_add_epi64(_mm256_sub_epi64(half, one), _mm256_and_si256(shift_right(product, p), one));
    }
}

TARGET QN_INLINE __m256i round_twice(__m256i product, __m256i p)
{
    const __m256i bits = _mm256_set1_epi64x(31), right = _mm256_sub_epi64(p, bits);
    const __m256i high = shift_right(_mm256_add_epi64(product, _mm256_set1_epi64x(1 << 30)), bits);
    const __m256i shifts = _mm256_cmpgt_epi64(right, _mm256_setzero_si256());
    const __m256i added = _mm256_and_si256(shifts, nudge(high, right, QN_ROUND_NEAREST_AWAY));
    return shift_right(_mm256_add_epi64(high, added), right);
}

TARGET QN_INLINE __m256i clamp4(__m256i x, int32_t lo, int32_t hi)
{
    const __m256i low = _mm256_set1_epi64x(lo), high = _mm256_set1_epi64x(hi);
    x = _mm256_blendv_epi8(x, low, _mm256_cmpgt_epi64(low, x));
    return _mm256_blendv_epi8(x, high, _mm256_cmpgt_epi64(x, high));
}

/* Four channels, in the lower halves of 64 bits. */
TARGET QN_INLINE __m256i round4(__m256i x, __m256i multiplier, __m256i p, const qn_requantize_params *params)
{
    const __m256i product = _mm256_mul_epi32(x, multiplier);
    const __m256i y = params->how.twice
                          ? round_twice(product, p)
                          : shift_right(_mm256_add_epi64(product, nudge(product, p, params->how.rounding)), p);
    return clamp4(y, params->lo - params->zero_point, params->hi - params->zero_point);
}

TARGET QN_INLINE void codes8(uint8_t *y, __m256i x, __m256i multiplier, __m256i shift,
                             const qn_requantize_params *params)
{
    const __m256i even = round4(x, multiplier, _mm256_and_si256(shift, _mm256_set1_epi64x(UINT32_MAX)), params);
    const __m256i odd =
        round4(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(multiplier, 32), _mm256_srli_epi64(shift, 32), params);
    __m256i both = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    both = _mm256_add_epi32(both, _mm256_set1_epi32(params->zero_point));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    _mm_storel_epi64((__m128i *)(void *)y, _mm_packus_epi16(words, words));
}

/* Eight channels of all pixels. */
TARGET static void some_channels(uint8_t *y, ptrdiff_t y_pixel, const int32_t *sums, size_t pixels, size_t n,
                                 const qn_requantize_params *params, size_t k)
{
    const __m256i least = _mm256_set1_epi32(params->how.twice ? 31 : 1);
    const __m256i shift = _mm256_loadu_si256((const __m256i *)(const void *)(params->shift + k));
    const __m256i multiplier = _mm256_loadu_si256((const __m256i *)(const void *)(params->multiplier + k));
    const __m128i unused = _mm_cvtsi32_si128(32 - params->bits);
    const bool to_the_left = _mm256_movemask_epi8(_mm256_cmpgt_epi32(least, shift)) != 0; /* rare */
    for (size_t p = 0; p < pixels; p++, y += y_pixel, sums += n) {
        if (to_the_left) {
            qn_requantize_reference(y, 0, sums, 1, 8, params, k);
            continue;
        }
        const __m256i x = _mm256_sll_epi32(_mm256_loadu_si256((const __m256i *)(const void *)sums), unused);
        codes8(y, _mm256_sra_epi32(x, unused), multiplier, shift, params);
    }
}

/* The same by f32 ratios; v is finite or infinite, never NaN, as ratios are finite. */
TARGET static void some_floats(uint8_t *y, ptrdiff_t y_pixel, const int32_t *sums, size_t pixels, size_t n,
                               const qn_requantize_params *params, size_t k)
{
    const __m256 ratio = _mm256_loadu_ps(params->ratio + k);
    const __m256 low = _mm256_set1_ps((float)(params->lo - params->zero_point));
    const __m256 high = _mm256_set1_ps((float)(params->hi - params->zero_point));
    const __m256i zero_point = _mm256_set1_epi32(params->zero_point);
    const __m128i unused = _mm_cvtsi32_si128(32 - params->bits);
    for (size_t p = 0; p < pixels; p++, y += y_pixel, sums += n) {
        const __m256i raw = _mm256_loadu_si256((const __m256i *)(const void *)sums);
        const __m256i x = _mm256_sra_epi32(_mm256_sll_epi32(raw, unused), unused);
        const __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(x), ratio);
        const __m256i code = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, low), high));
        const __m256i both = _mm256_add_epi32(code, zero_point);
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
        _mm_storel_epi64((__m128i *)(void *)y, _mm_packus_epi16(words, words));
    }
}

void qn_requantize_avx2(uint8_t *y, ptrdiff_t y_pixel, const int32_t *sums, size_t pixels, size_t n,
                        const qn_requantize_params *params, size_t first)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        (params->ratio != NULL ? some_floats : some_channels)(y + i, y_pixel, sums + i, pixels, n, params, first + i);
    }
    for (size_t p = 0; i < n && p < pixels; p++) {
        qn_requantize_reference(y + (ptrdiff_t)p * y_pixel + i, 0, sums + p * n + i, 1, n - i, params, first + i);
    }
}
#endif
