/* Requantization of 16 channels in one AVX-512 register (arithmetic.md 3.3). */
#ifndef QN_KERNELS_EPILOGUE_AVX512_H
#define QN_KERNELS_EPILOGUE_AVX512_H

#include <immintrin.h>

#include "engine/kernels/kernels.h"

#define EPILOGUE_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

typedef __m512i vec;

typedef struct constants {
    __m512 high;             /* hi - zero_point */
    __m512i low, zero_point; /* lo - zero_point */
} constants;

EPILOGUE_TARGET QN_INLINE constants make_constants(const qn_conv_job *job)
{
    const qn_requantize *r = &job->requantize;
    return (constants){_mm512_set1_ps((float)(r->hi - r->zero_point)), _mm512_set1_epi32(r->lo - r->zero_point),
                       _mm512_set1_epi32(r->zero_point)};
}

EPILOGUE_TARGET QN_INLINE vec load_bias(const int32_t *bias, int v)
{
    return _mm512_loadu_si512(bias + v * 16);
}

/* The upper bound is taken before the conversion, which would turn sums beyond 2^31 into the least s32; below, that is
 * what the lower bound catches. */
EPILOGUE_TARGET QN_INLINE __m128i requantize16(__m512i acc, const float *multiplier, const constants *c)
{
    __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(multiplier));
    __m512i code = _mm512_cvtps_epi32(_mm512_min_ps(x, c->high));
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_max_epi32(code, c->low), c->zero_point));
}

EPILOGUE_TARGET QN_INLINE void store_codes(uint8_t *y, const vec *acc, const float *multiplier, const constants *c)
{
    _mm_storeu_si128((__m128i *)(void *)y, requantize16(acc[0], multiplier, c));
}

EPILOGUE_TARGET QN_INLINE void store_codes_masked(uint8_t *y, unsigned mask, const vec *acc, const float *multiplier,
                                                  const constants *c)
{
    _mm_mask_storeu_epi8(y, (__mmask16)mask, requantize16(acc[0], multiplier, c));
}

#endif
