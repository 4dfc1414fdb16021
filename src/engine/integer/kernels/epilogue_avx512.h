/* Requantization of 16 channels in one AVX-512 register (arithmetic.md 3.3). */
#ifndef QN_KERNELS_EPILOGUE_AVX512_H
#define QN_KERNELS_EPILOGUE_AVX512_H

#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"

#define EPILOGUE_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

typedef __m512i vec;

typedef struct constants {
    __m512 high;                                       /* hi - zero_point */
    __m512i low, zero_point;                           /* s32: lo - zero_point */
    __m512i quad_low, quad_zero_point, quad_transpose; /* u8 lo, s16, and the order of requantize_quad's parts */
} constants;

EPILOGUE_TARGET QN_INLINE constants make_constants(const qn_conv_job *job)
{
    const qn_requantize *r = &job->requantize;
    return (constants){
        .high = _mm512_set1_ps((float)(r->hi - r->zero_point)),
        .low = _mm512_set1_epi32(r->lo - r->zero_point),
        .zero_point = _mm512_set1_epi32(r->zero_point),
        .quad_low = _mm512_set1_epi8((char)r->lo),
        .quad_zero_point = _mm512_set1_epi16((short)r->zero_point),
        .quad_transpose = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
    };
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

/* Four times 16 channels; the codes of acc[i] are the i-th 16 bytes. The packs saturate only below: the upper bound has
 * been taken, and whatever is below -32768 ends at lo all the same. */
EPILOGUE_TARGET QN_INLINE __m512i requantize_quad(const __m512i acc[4], const float *const multiplier[4],
                                                  const constants *c)
{
    __m512i code[4];
    QN_UNROLL for (int i = 0; i < 4; i++)
    {
        __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i]), _mm512_loadu_ps(multiplier[i]));
        code[i] = _mm512_cvtps_epi32(_mm512_min_ps(x, c->high));
    }
    __m512i first = _mm512_adds_epi16(_mm512_packs_epi32(code[0], code[1]), c->quad_zero_point);
    __m512i second = _mm512_adds_epi16(_mm512_packs_epi32(code[2], code[3]), c->quad_zero_point);
    __m512i codes = _mm512_max_epu8(_mm512_packus_epi16(first, second), c->quad_low);
    return _mm512_permutexvar_epi32(c->quad_transpose, codes);
}

EPILOGUE_TARGET QN_INLINE void store_part(uint8_t *y, __m512i codes, const int part)
{
    __m128i *to = (__m128i *)(void *)y;
    switch (part) { /* the instruction wants a literal */
    case 0:
        _mm_storeu_si128(to, _mm512_castsi512_si128(codes));
        break;
    case 1:
        _mm_storeu_si128(to, _mm512_extracti32x4_epi32(codes, 1));
        break;
    case 2:
        _mm_storeu_si128(to, _mm512_extracti32x4_epi32(codes, 2));
        break;
    default:
        _mm_storeu_si128(to, _mm512_extracti32x4_epi32(codes, 3));
    }
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
