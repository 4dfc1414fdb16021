/* In the place of requantization: the sums themselves, s32, on AVX2. */
#ifndef QN_KERNELS_EPILOGUE_SUMS_AVX2_H
#define QN_KERNELS_EPILOGUE_SUMS_AVX2_H

#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"

#define CONV_SUMS
#define EPILOGUE_TARGET __attribute__((target("avx2")))

typedef struct constants {
    int none;
} constants;

EPILOGUE_TARGET QN_INLINE constants make_constants(const qn_conv_job *job)
{
    (void)job;
    return (constants){0};
}

typedef __m256i vec;

EPILOGUE_TARGET QN_INLINE vec load_bias(const int32_t *bias, int v)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(bias + v * 8));
}

EPILOGUE_TARGET QN_INLINE void store_codes(uint8_t *y, const vec *acc, const float *multiplier, const constants *c)
{
    (void)multiplier, (void)c;
    _mm256_storeu_si256((__m256i *)(void *)y, acc[0]);
    _mm256_storeu_si256((__m256i *)(void *)(y + 32), acc[1]);
}

EPILOGUE_TARGET QN_INLINE void store_codes_masked(uint8_t *y, unsigned mask, const vec *acc, const float *multiplier,
                                                  const constants *c)
{
    (void)multiplier, (void)c;
    int32_t sums[16];
    store_codes((uint8_t *)sums, acc, NULL, NULL);
    for (int i = 0; i < 16; i++) {
        if (mask >> i & 1) {
            __builtin_memcpy(y + i * 4, &sums[i], 4);
        }
    }
}

#endif
