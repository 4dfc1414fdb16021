/* One output channel after a change of one of its weights, on AVX2. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#define WEIGHT_DELTA_TARGET __attribute__((target("avx2")))
#define WEIGHT_DELTA_LANES  8

typedef struct weight_constants {
    __m256i zero_x, delta, low, zero_point;
    __m256 multiplier, high;
} weight_constants;

WEIGHT_DELTA_TARGET QN_INLINE weight_constants make_constants(const qn_weight_delta_job *job)
{
    return (weight_constants){
        .zero_x = _mm256_set1_epi32(job->zero_x),
        .delta = _mm256_set1_epi32(job->delta),
        .low = _mm256_set1_epi32(job->lo - job->zero_point),
        .zero_point = _mm256_set1_epi32(job->zero_point),
        .multiplier = _mm256_set1_ps(job->multiplier),
        .high = _mm256_set1_ps((float)(job->hi - job->zero_point)),
    };
}

WEIGHT_DELTA_TARGET QN_INLINE __m256i widen(const uint8_t *x)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x));
}

WEIGHT_DELTA_TARGET QN_INLINE uint32_t unequal(__m256i a, __m256i b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b))) ^ 0xff;
}

WEIGHT_DELTA_TARGET QN_INLINE uint32_t moved_lanes(const uint8_t *x, const weight_constants *c)
{
    return unequal(widen(x), c->zero_x);
}

WEIGHT_DELTA_TARGET QN_INLINE __m256i sums_of(const uint8_t *x, const int32_t *before, const weight_constants *c)
{
    const __m256i product = _mm256_mullo_epi32(_mm256_sub_epi32(widen(x), c->zero_x), c->delta);
    return _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(const void *)before), product);
}

WEIGHT_DELTA_TARGET QN_INLINE void sum_lanes(int32_t *to, const uint8_t *x, const int32_t *before,
                                             const weight_constants *c)
{
    _mm256_storeu_si256((__m256i *)(void *)to, sums_of(x, before, c));
}

/* As in epilogue_avx2.h. */
WEIGHT_DELTA_TARGET QN_INLINE uint32_t code_lanes(int32_t *to, const uint8_t *x, const int32_t *before,
                                                  const uint8_t *golden, const weight_constants *c)
{
    const __m256 real = _mm256_mul_ps(_mm256_cvtepi32_ps(sums_of(x, before, c)), c->multiplier);
    const __m256i code = _mm256_max_epi32(_mm256_cvtps_epi32(_mm256_min_ps(real, c->high)), c->low);
    const __m256i codes = _mm256_add_epi32(code, c->zero_point);
    _mm256_storeu_si256((__m256i *)(void *)to, codes);
    return unequal(codes, widen(golden));
}

#include "engine/integer/kernels/weight_delta_template.h"

qn_weight_delta_result qn_weight_delta_avx2(const qn_weight_delta_job *job)
{
    return weight_delta_run(job);
}
#endif
