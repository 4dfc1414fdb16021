/* Requantization of 16 channels in two AVX2 registers (arithmetic.md 3.3). */
#ifndef QN_KERNELS_EPILOGUE_AVX2_H
#define QN_KERNELS_EPILOGUE_AVX2_H

#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"

#define EPILOGUE_TARGET __attribute__((target("avx2")))

typedef __m256i vec;

typedef struct constants {
    __m256 high;             /* hi - zero_point */
    __m256i low, zero_point; /* lo - zero_point */
} constants;

EPILOGUE_TARGET QN_INLINE constants make_constants(const qn_conv_job *job)
{
    const qn_requantize *r = &job->requantize;
    return (constants){_mm256_set1_ps((float)(r->hi - r->zero_point)), _mm256_set1_epi32(r->lo - r->zero_point),
                       _mm256_set1_epi32(r->zero_point)};
}

EPILOGUE_TARGET QN_INLINE vec load_bias(const int32_t *bias, int v)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(bias + v * 8));
}

/* 8 codes as s32 in 0..255. As on AVX-512, the upper bound comes before the conversion. */
EPILOGUE_TARGET QN_INLINE __m256i requantize8(__m256i acc, const float *multiplier, const constants *c)
{
    __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(multiplier));
    __m256i code = _mm256_cvtps_epi32(_mm256_min_ps(x, c->high));
    return _mm256_add_epi32(_mm256_max_epi32(code, c->low), c->zero_point);
}

/* The packs cannot saturate: every code is in 0..255. */
EPILOGUE_TARGET QN_INLINE __m128i requantize16(const vec *acc, const float *multiplier, const constants *c)
{
    __m256i a = requantize8(acc[0], multiplier, c), b = requantize8(acc[1], multiplier + 8, c);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

EPILOGUE_TARGET QN_INLINE void store_codes(uint8_t *y, const vec *acc, const float *multiplier, const constants *c)
{
    _mm_storeu_si128((__m128i *)(void *)y, requantize16(acc, multiplier, c));
}

EPILOGUE_TARGET QN_INLINE void store_codes_masked(uint8_t *y, unsigned mask, const vec *acc, const float *multiplier,
                                                  const constants *c)
{
    uint8_t codes[16];
    _mm_storeu_si128((__m128i *)(void *)codes, requantize16(acc, multiplier, c));
    for (int i = 0; i < 16; i++) {
        if (mask >> i & 1) {
            y[i] = codes[i];
        }
    }
}

#endif
