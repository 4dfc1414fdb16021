/* One output channel after a change of one of its weights, on AVX-512. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#define WEIGHT_DELTA_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi,lzcnt")))
#define WEIGHT_DELTA_LANES  16

typedef struct weight_constants {
    __m512i zero_x, delta, low, zero_point;
    __m512 multiplier, high;
} weight_constants;

WEIGHT_DELTA_TARGET QN_INLINE weight_constants make_constants(const qn_weight_delta_job *job)
{
    return (weight_constants){
        .zero_x = _mm512_set1_epi32(job->zero_x),
        .delta = _mm512_set1_epi32(job->delta),
        .low = _mm512_set1_epi32(job->lo - job->zero_point),
        .zero_point = _mm512_set1_epi32(job->zero_point),
        .multiplier = _mm512_set1_ps(job->multiplier),
        .high = _mm512_set1_ps((float)(job->hi - job->zero_point)),
    };
}

WEIGHT_DELTA_TARGET QN_INLINE __m512i widen(const uint8_t *x)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)x));
}

WEIGHT_DELTA_TARGET QN_INLINE uint32_t moved_lanes(const uint8_t *x, const weight_constants *c)
{
    return _mm512_cmpneq_epi32_mask(widen(x), c->zero_x);
}

WEIGHT_DELTA_TARGET QN_INLINE __m512i sums_of(const uint8_t *x, const int32_t *before, const weight_constants *c)
{
    const __m512i product = _mm512_mullo_epi32(_mm512_sub_epi32(widen(x), c->zero_x), c->delta);
    return _mm512_add_epi32(_mm512_loadu_si512(before), product);
}

WEIGHT_DELTA_TARGET QN_INLINE void sum_lanes(int32_t *to, const uint8_t *x, const int32_t *before,
                                             const weight_constants *c)
{
    _mm512_storeu_si512(to, sums_of(x, before, c));
}

/* As in epilogue_avx512.h. */
WEIGHT_DELTA_TARGET QN_INLINE uint32_t code_lanes(int32_t *to, const uint8_t *x, const int32_t *before,
                                                  const uint8_t *golden, const weight_constants *c)
{
    const __m512 real = _mm512_mul_ps(_mm512_cvtepi32_ps(sums_of(x, before, c)), c->multiplier);
    const __m512i code = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_min_ps(real, c->high)), c->low);
    const __m512i codes = _mm512_add_epi32(code, c->zero_point);
    _mm512_storeu_si512(to, codes);
    return _mm512_cmpneq_epi32_mask(codes, widen(golden));
}

#include "engine/integer/kernels/weight_delta_template.h"

qn_weight_delta_result qn_weight_delta_avx512(const qn_weight_delta_job *job)
{
    return weight_delta_run(job);
}
#endif
