/* Softmax of a line of adjoining codes on AVX-512: shares and parts are gathered 16 at a time, quotients estimated in f64,
 * and those that come near a tie taken from integers (arithmetic.md 3.10). */
#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>

#include "engine/integer/kernels/rows.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

enum { LANES = 16, BYTES = 64 };

static __mmask16 mask_of(int64_t left)
{
    return left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1);
}

TARGET static uint8_t greatest_of(const uint8_t *x, int64_t n)
{
    __m512i most = _mm512_setzero_si512();
    for (int64_t i = 0; i < n; i += BYTES) {
        const __mmask64 mask = n - i >= BYTES ? UINT64_MAX : (UINT64_C(1) << (n - i)) - 1;
        most = _mm512_max_epu8(most, _mm512_maskz_loadu_epi8(mask, x + i));
    }
    const __m256i half = _mm256_max_epu8(_mm512_castsi512_si256(most), _mm512_extracti64x4_epi64(most, 1));
    const __m128i quarter = _mm_max_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    const __m128i least = _mm_xor_si128(quarter, _mm_set1_epi8(-1)); /* the least of complements, by 16 bits */
    const __m128i words = _mm_minpos_epu16(_mm_min_epu8(least, _mm_srli_epi16(least, 8)));
    return (uint8_t)(255 - _mm_cvtsi128_si32(words) % 256);
}

/* Entries of a table by how far 16 codes lie below the greatest; 0 beyond the mask. */
TARGET QN_INLINE __m512i entries(const uint8_t *x, __mmask16 mask, __m512i most, const uint32_t *table)
{
    const __m512i d = _mm512_sub_epi32(most, _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x)));
    return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), mask, d, table, 4);
}

typedef struct constants {
    __m512d factor, top, limit;
    __m512i most, zero_point, lo, hi;
} constants;

/* Eight quotients to integers; *doubtful where one lies near a tie. */
TARGET QN_INLINE __m256i divide8(__m256i part, const constants *c, int *doubtful)
{
    const __m512d q = _mm512_min_pd(_mm512_mul_pd(_mm512_cvtepu32_pd(part), c->factor), c->top);
    const __m512d whole = _mm512_roundscale_pd(q, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    *doubtful |= _mm512_cmp_pd_mask(_mm512_abs_pd(_mm512_sub_pd(q, whole)), c->limit, _CMP_GT_OQ);
    return _mm512_cvtpd_epi32(whole);
}

TARGET void qn_softmax_avx512(uint8_t *y, const uint8_t *x, int64_t n, const qn_softmax_codes *p)
{
    const __m512i low = _mm512_set1_epi64(UINT32_MAX);
    const uint8_t greatest = greatest_of(x, n);
    constants c = {.most = _mm512_set1_epi32(greatest)};
    __m512i sums = _mm512_setzero_si512();
    for (int64_t i = 0; i < n; i += LANES) {
        const __m512i share = entries(x + i, mask_of(n - i), c.most, p->share);
        sums = _mm512_add_epi64(sums, _mm512_add_epi64(_mm512_and_si512(share, low), _mm512_srli_epi64(share, 32)));
    }
    const uint64_t sum = (uint64_t)_mm512_reduce_add_epi64(sums);
    c.factor = _mm512_set1_pd((double)(UINT64_C(1) << p->left) / (double)(sum << p->right));
    c.top = _mm512_set1_pd(512); /* beyond all codes */
    c.limit = _mm512_set1_pd(0.5 - 0x1p-30);
    c.zero_point = _mm512_set1_epi32(p->zero_point);
    c.lo = _mm512_set1_epi32(p->lo);
    c.hi = _mm512_set1_epi32(p->hi);
    for (int64_t i = 0; i < n; i += LANES) {
        int doubtful = 0;
        const __mmask16 mask = mask_of(n - i);
        const __m512i part = entries(x + i, mask, c.most, p->part);
        const __m256i first = divide8(_mm512_castsi512_si256(part), &c, &doubtful);
        const __m256i second = divide8(_mm512_extracti64x4_epi64(part, 1), &c, &doubtful);
        __m512i code = _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
        code = _mm512_min_epi32(_mm512_max_epi32(_mm512_add_epi32(code, c.zero_point), c.lo), c.hi);
        if (doubtful == 0) {
            _mm_mask_storeu_epi8(y + i, mask, _mm512_cvtepi32_epi8(code));
            continue;
        }
        for (int64_t j = i; j < n && j < i + LANES; j++) {
            y[j] = qn_softmax_code(p->part[greatest - x[j]], sum, p);
        }
    }
}
#endif
