/* In the place of requantization: the sums themselves, s32, on AVX-512. */
#ifndef QN_KERNELS_EPILOGUE_SUMS_AVX512_H
#define QN_KERNELS_EPILOGUE_SUMS_AVX512_H

#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"

#define CONV_SUMS
#define EPILOGUE_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

typedef struct constants {
    int none;
} constants;

EPILOGUE_TARGET QN_INLINE constants make_constants(const qn_conv_job *job)
{
    (void)job;
    return (constants){0};
}

typedef __m512i vec;

EPILOGUE_TARGET QN_INLINE vec load_bias(const int32_t *bias, int v)
{
    return _mm512_loadu_si512(bias + v * 16);
}

EPILOGUE_TARGET QN_INLINE void store_codes(uint8_t *y, const vec *acc, const float *multiplier, const constants *c)
{
    (void)multiplier, (void)c;
    _mm512_storeu_si512(y, acc[0]);
}

EPILOGUE_TARGET QN_INLINE void store_codes_masked(uint8_t *y, unsigned mask, const vec *acc, const float *multiplier,
                                                  const constants *c)
{
    (void)multiplier, (void)c;
    _mm512_mask_storeu_epi32(y, (__mmask16)mask, acc[0]);
}

#endif
