/* Products and differences of two tensors of codes, vectorized (arithmetic.md 3.13, 3.14). Codes are in 0..255 in the end: no
 * pack saturates. What is far too great is cut as a float, what is far too small comes out of the conversion as the least
 * integer. */
#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"

#define TARGET_AVX2   __attribute__((target("avx2")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

TARGET_AVX2 QN_INLINE __m256i centred8(const uint8_t *x, int32_t zero)
{
    return _mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x)),
                            _mm256_set1_epi32(zero));
}

/* Eight codes of reals that lack `offset`, between low and high before it is added. */
TARGET_AVX2 QN_INLINE void store8(uint8_t *y, __m256 x, int32_t low, int32_t high, int32_t offset)
{
    __m256i code = _mm256_cvtps_epi32(_mm256_min_ps(x, _mm256_set1_ps((float)high)));
    code = _mm256_add_epi32(_mm256_max_epi32(code, _mm256_set1_epi32(low)), _mm256_set1_epi32(offset));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    _mm_storel_epi64((__m128i *)(void *)y, _mm_packus_epi16(words, words));
}

TARGET_AVX2 void qn_mul_avx2(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    const int32_t raised = params->raised;
    const __m256 ratio = _mm256_set1_ps(params->ratio_a), zero = _mm256_set1_ps((float)(params->zero_point - raised));
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i product = _mm256_mullo_epi32(centred8(a + i, params->zero_a), centred8(b + i, params->zero_b));
        const __m256 x = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(product), ratio), zero);
        store8(y + i, x, params->lo - raised, params->hi - raised, raised);
    }
    qn_mul_reference(y + i, a + i, b + i, n - i, params);
}

TARGET_AVX2 void qn_sub_avx2(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    const __m256 ratio_a = _mm256_set1_ps(params->ratio_a), ratio_b = _mm256_set1_ps(params->ratio_b);
    const __m256 scale = _mm256_set1_ps(params->scale);
    const int32_t zero = params->zero_point;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 left = _mm256_mul_ps(_mm256_cvtepi32_ps(centred8(a + i, params->zero_a)), ratio_a);
        const __m256 right = _mm256_mul_ps(_mm256_cvtepi32_ps(centred8(b + i, params->zero_b)), ratio_b);
        const __m256 x = _mm256_div_ps(_mm256_sub_ps(left, right), scale);
        store8(y + i, x, params->lo - zero, params->hi - zero, zero);
    }
    qn_sub_reference(y + i, a + i, b + i, n - i, params);
}

TARGET_AVX512 QN_INLINE __m512i centred16(__mmask16 mask, const uint8_t *x, int32_t zero)
{
    return _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x)), _mm512_set1_epi32(zero));
}

TARGET_AVX512 QN_INLINE void store16(uint8_t *y, __mmask16 mask, __m512 x, int32_t low, int32_t high, int32_t offset)
{
    __m512i code = _mm512_cvtps_epi32(_mm512_min_ps(x, _mm512_set1_ps((float)high)));
    code = _mm512_add_epi32(_mm512_max_epi32(code, _mm512_set1_epi32(low)), _mm512_set1_epi32(offset));
    _mm_mask_storeu_epi8(y, mask, _mm512_cvtepi32_epi8(code));
}

QN_INLINE __mmask16 mask_of(size_t n)
{
    return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
}

TARGET_AVX512 void qn_mul_avx512(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    const int32_t raised = params->raised;
    const __m512 ratio = _mm512_set1_ps(params->ratio_a), zero = _mm512_set1_ps((float)(params->zero_point - raised));
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = mask_of(n - i);
        const __m512i product =
            _mm512_mullo_epi32(centred16(mask, a + i, params->zero_a), centred16(mask, b + i, params->zero_b));
        const __m512 x = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(product), ratio), zero);
        store16(y + i, mask, x, params->lo - raised, params->hi - raised, raised);
    }
}

TARGET_AVX512 void qn_sub_avx512(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    const __m512 ratio_a = _mm512_set1_ps(params->ratio_a), ratio_b = _mm512_set1_ps(params->ratio_b);
    const __m512 scale = _mm512_set1_ps(params->scale);
    const int32_t zero = params->zero_point;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = mask_of(n - i);
        const __m512 left = _mm512_mul_ps(_mm512_cvtepi32_ps(centred16(mask, a + i, params->zero_a)), ratio_a);
        const __m512 right = _mm512_mul_ps(_mm512_cvtepi32_ps(centred16(mask, b + i, params->zero_b)), ratio_b);
        const __m512 x = _mm512_div_ps(_mm512_sub_ps(left, right), scale);
        store16(y + i, mask, x, params->lo - zero, params->hi - zero, zero);
    }
}
#endif
