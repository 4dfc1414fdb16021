/* Requantization of sums on AVX-512: products of 64 bits, the even channels and then the odd ones of 16. */
#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"
#include "engine/integer/kernels/requantize.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

/* What is added to a product before it is shifted by p, 0 < p < 63, rounds it; see qn_shift_round_s64. */
TARGET QN_INLINE __m512i nudge(__m512i product, __m512i p, qn_rounding rounding)
{
    const __m512i one = _mm512_set1_epi64(1);
    const __m512i half = _mm512_sllv_epi64(one, _mm512_sub_epi64(p, one));
    switch (rounding) {
    case QN_ROUND_FLOOR:
        return _mm512_setzero_si512();
    case QN_ROUND_NEAREST_UP:
        return half;
    case QN_ROUND_NEAREST_AWAY:
        return _mm512_add_epi64(half, _mm512_srai_epi64(product, 63));
    default:
        return _mm512_add_epi64(_mm512_sub_epi64(half, one), _mm512_and_si512(_mm512_srav_epi64(product, p), one));
    }
}

TARGET QN_INLINE __m512i round_twice(__m512i product, __m512i p)
{
    const __m512i zero = _mm512_setzero_si512(), right = _mm512_sub_epi64(p, _mm512_set1_epi64(31));
    const __m512i high = _mm512_srai_epi64(_mm512_add_epi64(product, _mm512_set1_epi64(1 << 30)), 31);
    const __mmask8 shifts = _mm512_cmpgt_epi64_mask(right, zero);
    const __m512i added = _mm512_maskz_mov_epi64(shifts, nudge(high, right, QN_ROUND_NEAREST_AWAY));
    return _mm512_srav_epi64(_mm512_add_epi64(high, added), right);
}

/* Eight channels: s64 products and shifts to s64 codes, without zero point. */
TARGET QN_INLINE __m512i round8(__m512i x, __m512i multiplier, __m512i p, const qn_requantize_params *params)
{
    const __m512i product = _mm512_mul_epi32(x, multiplier);
    __m512i y = params->how.twice
                    ? round_twice(product, p)
                    : _mm512_srav_epi64(_mm512_add_epi64(product, nudge(product, p, params->how.rounding)), p);
    y = _mm512_max_epi64(y, _mm512_set1_epi64(params->lo - params->zero_point));
    return _mm512_min_epi64(y, _mm512_set1_epi64(params->hi - params->zero_point));
}

TARGET QN_INLINE __m128i codes16(__m512i x, __m512i multiplier, __m512i shift, const qn_requantize_params *params)
{
    const __m512i low = _mm512_set1_epi64(UINT32_MAX);
    const __m512i even = round8(x, multiplier, _mm512_and_si512(shift, low), params);
    const __m512i odd =
        round8(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(multiplier, 32), _mm512_srli_epi64(shift, 32), params);
    const __m512i both = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(both, _mm512_set1_epi32(params->zero_point)));
}

/* One vector of channels of all pixels. */
TARGET static void some_channels(uint8_t *y, ptrdiff_t y_pixel, const int32_t *sums, size_t pixels, size_t n,
                                 size_t left, const qn_requantize_params *params, size_t k)
{
    const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
    const __m512i least = _mm512_set1_epi32(params->how.twice ? 31 : 1);
    const __m512i shift = _mm512_mask_loadu_epi32(least, mask, params->shift + k);
    const __m512i multiplier = _mm512_maskz_loadu_epi32(mask, params->multiplier + k);
    const __m128i unused = _mm_cvtsi32_si128(32 - params->bits);
    const bool to_the_left = _mm512_cmplt_epi32_mask(shift, least) != 0; /* rare */
    for (size_t p = 0; p < pixels; p++, y += y_pixel, sums += n) {
        if (to_the_left) {
            qn_requantize_reference(y, 0, sums, 1, left < 16 ? left : 16, params, k);
            continue;
        }
        const __m512i x = _mm512_sll_epi32(_mm512_maskz_loadu_epi32(mask, sums), unused);
        _mm_mask_storeu_epi8(y, mask, codes16(_mm512_sra_epi32(x, unused), multiplier, shift, params));
    }
}

/* The same by f32 ratios; v is finite or infinite, never NaN, as ratios are finite. */
TARGET static void some_floats(uint8_t *y, ptrdiff_t y_pixel, const int32_t *sums, size_t pixels, size_t n, size_t left,
                               const qn_requantize_params *params, size_t k)
{
    const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
    const __m512 ratio = _mm512_maskz_loadu_ps(mask, params->ratio + k);
    const __m512 low = _mm512_set1_ps((float)(params->lo - params->zero_point));
    const __m512 high = _mm512_set1_ps((float)(params->hi - params->zero_point));
    const __m512i zero_point = _mm512_set1_epi32(params->zero_point);
    const __m128i unused = _mm_cvtsi32_si128(32 - params->bits);
    for (size_t p = 0; p < pixels; p++, y += y_pixel, sums += n) {
        const __m512i x = _mm512_sra_epi32(_mm512_sll_epi32(_mm512_maskz_loadu_epi32(mask, sums), unused), unused);
        const __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(x), ratio);
        const __m512i code = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, low), high));
        _mm_mask_storeu_epi8(y, mask, _mm512_cvtepi32_epi8(_mm512_add_epi32(code, zero_point)));
    }
}

void qn_requantize_avx512(uint8_t *y, ptrdiff_t y_pixel, const int32_t *sums, size_t pixels, size_t n,
                          const qn_requantize_params *params, size_t first)
{
    for (size_t i = 0; i < n; i += 16) {
        (params->ratio != NULL ? some_floats : some_channels)(y + i, y_pixel, sums + i, pixels, n, n - i, params,
                                                              first + i);
    }
}
#endif
