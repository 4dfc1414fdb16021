/* Sums after a change of the input on AVX2, weights widened to s16: products of changes, at most 255 * 2^15 in size, add
 * up to an s32 in pairs. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#include "engine/integer/kernels/epilogue_avx2.h"

#define DELTA_TARGET      EPILOGUE_TARGET
#define DELTA_VECTORS     2
#define DELTA_GROUP_BYTES 128
#define DELTA_BLOCKS      2
#define DELTA_LANES       8

/* Lanes of vector v whose bits are set. */
DELTA_TARGET QN_INLINE __m256i lanes(unsigned mask, int v)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)(mask >> v * 8)), bit), bit);
}

DELTA_TARGET QN_INLINE uint32_t delta_differ(const uint8_t *after, const uint8_t *before, int n)
{
    const __m256i there = lanes((1u << n) - 1, 0);
    const __m256i a = _mm256_maskload_epi32((const int *)(const void *)after, there);
    const __m256i b = _mm256_maskload_epi32((const int *)(const void *)before, there);
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b))) ^ 0xff;
}

/* Elements 0, 2 and 1, 3 of a group as s16. */
typedef struct delta4 {
    __m256i even, odd;
} delta4;

typedef __m256i delta_sums;

DELTA_TARGET QN_INLINE delta4 load_delta(const uint8_t *after, const uint8_t *before)
{
    int32_t a, b;
    __builtin_memcpy(&a, after, 4);
    __builtin_memcpy(&b, before, 4);
    const __m256i low = _mm256_set1_epi16(0xff), x = _mm256_set1_epi32(a), old = _mm256_set1_epi32(b);
    return (delta4){_mm256_sub_epi16(_mm256_and_si256(x, low), _mm256_and_si256(old, low)),
                    _mm256_sub_epi16(_mm256_srli_epi16(x, 8), _mm256_srli_epi16(old, 8))};
}

DELTA_TARGET QN_INLINE delta_sums no_sums(void)
{
    return _mm256_setzero_si256();
}

DELTA_TARGET QN_INLINE delta_sums add_delta(delta_sums sums, int v, delta4 x, const uint8_t *w)
{
    const __m256i *at = (const __m256i *)(const void *)w + v;
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(x.even, _mm256_load_si256(at)));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(x.odd, _mm256_load_si256(at + 2)));
}

DELTA_TARGET QN_INLINE vec total(delta_sums sums, vec before)
{
    return _mm256_add_epi32(before, sums);
}

DELTA_TARGET QN_INLINE vec load_sums(const int32_t *from, int v)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(from + v * 8));
}

DELTA_TARGET QN_INLINE vec load_sums_masked(const int32_t *from, unsigned mask, int v)
{
    return _mm256_maskload_epi32(from + v * 8, lanes(mask, v));
}

DELTA_TARGET QN_INLINE void store_sums(int32_t *to, int v, vec sums)
{
    _mm256_storeu_si256((__m256i *)(void *)(to + v * 8), sums);
}

DELTA_TARGET QN_INLINE void store_sums_masked(int32_t *to, unsigned mask, int v, vec sums)
{
    _mm256_maskstore_epi32(to + v * 8, lanes(mask, v), sums);
}

#include "engine/integer/kernels/conv_delta_template.h"

void qn_conv_delta_u8s16_avx2(const qn_conv_delta_job *job)
{
    delta_general(job);
}
#endif
