/* Sums of two tensors of codes, vectorized (arithmetic.md 3.4). */
#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"

#define TARGET_AVX2   __attribute__((target("avx2")))
#define TARGET_FMA    __attribute__((target("avx2,fma")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

TARGET_AVX2 QN_INLINE __m256 term8(const uint8_t *x, int32_t zero, float ratio)
{
    __m256i codes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x));
    __m256i centred = _mm256_sub_epi32(codes, _mm256_set1_epi32(zero));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(centred), _mm256_set1_ps(ratio));
}

TARGET_FMA QN_INLINE __m256 raw8(const uint8_t *x, int32_t raised)
{
    __m256i codes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(codes, _mm256_set1_epi32(raised)));
}

TARGET_FMA static void add_fused_avx2(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n,
                                      const qn_add_params *params)
{
    const __m256 high = _mm256_set1_ps((float)(params->hi - params->raised)), fixed = _mm256_set1_ps(params->fixed);
    const __m256 low = _mm256_set1_ps((float)(params->lo - params->raised));
    const __m256 ratio_a = _mm256_set1_ps(params->ratio_a), ratio_b = _mm256_set1_ps(params->ratio_b);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 sum = _mm256_fmadd_ps(raw8(b + i, params->raised_b), ratio_b, fixed);
        sum = _mm256_fmadd_ps(raw8(a + i, params->raised_a), ratio_a, sum);
        __m256i code = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(sum, low), high));
        code = _mm256_add_epi32(code, _mm256_set1_epi32(params->raised));
        __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
        _mm_storel_epi64((__m128i *)(void *)(y + i), _mm_packus_epi16(words, words));
    }
    qn_add_reference(y + i, a + i, b + i, n - i, params);
}

TARGET_AVX2 void qn_add_avx2(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    if (params->fused) {
        add_fused_avx2(y, a, b, n, params);
        return;
    }
    const __m256 high = _mm256_set1_ps((float)(params->hi - params->zero_point));
    const __m256i low = _mm256_set1_epi32(params->lo - params->zero_point);
    const __m256i zero_point = _mm256_set1_epi32(params->zero_point);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 sum =
            _mm256_add_ps(term8(a + i, params->zero_a, params->ratio_a), term8(b + i, params->zero_b, params->ratio_b));
        __m256i code = _mm256_cvtps_epi32(_mm256_min_ps(sum, high));
        code = _mm256_add_epi32(_mm256_max_epi32(code, low), zero_point);
        /* Codes are in 0..255: no pack saturates. */
        __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
        _mm_storel_epi64((__m128i *)(void *)(y + i), _mm_packus_epi16(words, words));
    }
    qn_add_reference(y + i, a + i, b + i, n - i, params);
}

TARGET_AVX512 QN_INLINE __m512 term16(__m128i codes, __m512i zero, __m512 ratio)
{
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(codes), zero)), ratio);
}

typedef struct add_constants {
    __m512 high, ratio_a, ratio_b;
    __m512i low, zero_point, zero_a, zero_b;
} add_constants;

/* Sums of 16 codes each, rounded, at most hi - zero_point. */
TARGET_AVX512 QN_INLINE __m512i add16(__m128i a, __m128i b, const add_constants *c)
{
    __m512 sum = _mm512_add_ps(term16(a, c->zero_a, c->ratio_a), term16(b, c->zero_b, c->ratio_b));
    return _mm512_cvtps_epi32(_mm512_min_ps(sum, c->high));
}

/* 64 codes. The packs saturate only below, where everything ends at lo all the same; they interleave 128-bit lanes, which
 * the permutation undoes. */
TARGET_AVX512 QN_INLINE __m512i add64(const uint8_t *a, const uint8_t *b, const add_constants *c,
                                      const qn_add_params *params)
{
    const __m512i transpose = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i zero_point = _mm512_set1_epi16((short)params->zero_point);
    __m512i code[4];
    QN_UNROLL for (int i = 0; i < 4; i++)
    {
        code[i] = add16(_mm_loadu_si128((const __m128i *)(const void *)(a + i * 16)),
                        _mm_loadu_si128((const __m128i *)(const void *)(b + i * 16)), c);
    }
    __m512i first = _mm512_adds_epi16(_mm512_packs_epi32(code[0], code[1]), zero_point);
    __m512i second = _mm512_adds_epi16(_mm512_packs_epi32(code[2], code[3]), zero_point);
    __m512i codes = _mm512_max_epu8(_mm512_packus_epi16(first, second), _mm512_set1_epi8((char)params->lo));
    return _mm512_permutexvar_epi32(transpose, codes);
}

TARGET_AVX512 QN_INLINE __m512 raw16(__m128i codes, __m512i raised)
{
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(codes), raised));
}

TARGET_AVX512 static void add_fused_avx512(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n,
                                           const qn_add_params *params)
{
    const __m512 high = _mm512_set1_ps((float)(params->hi - params->raised)), fixed = _mm512_set1_ps(params->fixed);
    const __m512 low = _mm512_set1_ps((float)(params->lo - params->raised));
    const __m512 ratio_a = _mm512_set1_ps(params->ratio_a), ratio_b = _mm512_set1_ps(params->ratio_b);
    const __m512i raised_a = _mm512_set1_epi32(params->raised_a), raised_b = _mm512_set1_epi32(params->raised_b);
    const __m512i raised = _mm512_set1_epi32(params->raised);
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        __m512 sum = _mm512_fmadd_ps(raw16(_mm_maskz_loadu_epi8(mask, b + i), raised_b), ratio_b, fixed);
        sum = _mm512_fmadd_ps(raw16(_mm_maskz_loadu_epi8(mask, a + i), raised_a), ratio_a, sum);
        __m512i code = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(sum, low), high));
        _mm_mask_storeu_epi8(y + i, mask, _mm512_cvtepi32_epi8(_mm512_add_epi32(code, raised)));
    }
}

TARGET_AVX512 void qn_add_avx512(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    if (params->fused) {
        add_fused_avx512(y, a, b, n, params);
        return;
    }
    const add_constants c = {
        .high = _mm512_set1_ps((float)(params->hi - params->zero_point)),
        .ratio_a = _mm512_set1_ps(params->ratio_a),
        .ratio_b = _mm512_set1_ps(params->ratio_b),
        .low = _mm512_set1_epi32(params->lo - params->zero_point),
        .zero_point = _mm512_set1_epi32(params->zero_point),
        .zero_a = _mm512_set1_epi32(params->zero_a),
        .zero_b = _mm512_set1_epi32(params->zero_b),
    };
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        _mm512_storeu_si512(y + i, add64(a + i, b + i, &c, params));
    }
    for (; i < n; i += 16) {
        const __mmask16 mask = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        __m512i code = add16(_mm_maskz_loadu_epi8(mask, a + i), _mm_maskz_loadu_epi8(mask, b + i), &c);
        code = _mm512_add_epi32(_mm512_max_epi32(code, c.low), c.zero_point);
        _mm_mask_storeu_epi8(y + i, mask, _mm512_cvtepi32_epi8(code));
    }
}
#endif
