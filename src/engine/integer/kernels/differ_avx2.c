/* Where two arrays of codes differ on AVX2. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#define DIFFER_TARGET __attribute__((target("avx2")))
#define DIFFER_BYTES  32

DIFFER_TARGET QN_INLINE uint64_t differ_16(const uint8_t *a, const uint8_t *b)
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)a);
    const __m128i y = _mm_loadu_si128((const __m128i *)(const void *)b);
    return (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)) ^ 0xffff;
}

DIFFER_TARGET QN_INLINE uint64_t differ_8(const uint8_t *a, const uint8_t *b)
{
    const __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)a);
    const __m128i y = _mm_loadl_epi64((const __m128i *)(const void *)b);
    return ((uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)) ^ 0xffff) & 0xff;
}

/* Runs are covered by two vectors that may overlap. */
DIFFER_TARGET QN_INLINE uint64_t differ_unit(const uint8_t *a, const uint8_t *b, int n, uint64_t mask)
{
    if (n == 32) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)a);
        const __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)b);
        return ~(uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y)) & mask;
    }
    if (n >= 16) {
        return (differ_16(a, b) | differ_16(a + n - 16, b + n - 16) << (n - 16)) & mask;
    }
    if (n >= 8) {
        return (differ_8(a, b) | differ_8(a + n - 8, b + n - 8) << (n - 8)) & mask;
    }
    uint64_t bits = 0;
    for (int i = 0; i < n; i++) {
        bits |= (uint64_t)(a[i] != b[i]) << i;
    }
    return bits & mask;
}

#include "engine/integer/kernels/differ_template.h"

DIFFER_TARGET bool qn_differ_avx2(const uint8_t *a, const uint8_t *b, ptrdiff_t row, ptrdiff_t pixel, qn_box *box)
{
    return differ_run(a, b, row, pixel, box);
}
#endif
