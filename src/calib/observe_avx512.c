/* Observation kernels for AVX-512: sixteen elements at a time, four chains each. _mm512_min_ps(x, m) is x < m ? x : m,
 * as in the reference, so that a NaN in x leaves m alone. */
#include "base/arch.h"
#include "calib/calib.h"

#if QN_X86_64
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))
enum { LANES = 16 };

/* Lanes 0..n-1 of a vector, 0 <= n <= 16. */
static inline __mmask16 lane_mask(int64_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

typedef struct {
    __m512 min, max;
} range16;

typedef struct {
    range16 r[4];
    __mmask16 unordered;
} chains;

AVX512 static inline range16 observe16(range16 r, __m512 x)
{
    return (range16){_mm512_min_ps(x, r.min), _mm512_max_ps(x, r.max)};
}

AVX512 static inline range16 join16(range16 a, range16 b)
{
    return (range16){_mm512_min_ps(a.min, b.min), _mm512_max_ps(a.max, b.max)};
}

/* Four vectors; one comparison finds the NaNs of two. */
AVX512 static inline void observe64(chains *c, __m512 x0, __m512 x1, __m512 x2, __m512 x3)
{
    c->r[0] = observe16(c->r[0], x0);
    c->r[1] = observe16(c->r[1], x1);
    c->r[2] = observe16(c->r[2], x2);
    c->r[3] = observe16(c->r[3], x3);
    c->unordered =
        (__mmask16)(c->unordered | _mm512_cmp_ps_mask(x0, x1, _CMP_UNORD_Q) | _mm512_cmp_ps_mask(x2, x3, _CMP_UNORD_Q));
}

AVX512 static inline void observe_last(chains *c, __m512 x)
{
    c->r[0] = observe16(c->r[0], x);
    c->unordered = (__mmask16)(c->unordered | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q));
}

AVX512 static inline range16 join64(const chains *c)
{
    return join16(join16(c->r[0], c->r[1]), join16(c->r[2], c->r[3]));
}

AVX512 bool qn_observe_row_f32_avx512(const float *x, int64_t n, float *min, float *max)
{
    range16 start = {_mm512_set1_ps(*min), _mm512_set1_ps(*max)};
    chains c = {{start, start, start, start}, 0};
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        observe64(&c, _mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + LANES), _mm512_loadu_ps(x + i + 2 * LANES),
                  _mm512_loadu_ps(x + i + 3 * LANES));
    }
    for (; i < n; i += LANES) {
        __mmask16 mask = lane_mask(n - i < LANES ? n - i : LANES);
        observe_last(&c, _mm512_mask_loadu_ps(_mm512_set1_ps(x[i]), mask, x + i)); /* past the end: x[i] again */
    }
    range16 all = join64(&c);
    *min = _mm512_reduce_min_ps(all.min) + 0.0f;
    *max = _mm512_reduce_max_ps(all.max) + 0.0f;
    return c.unordered == 0;
}

AVX512 bool qn_observe_columns_f32_avx512(const float *x, int64_t n_rows, int64_t stride, int64_t width, float *min,
                                          float *max)
{
    __mmask16 unordered = 0;
    __m512 zero = _mm512_setzero_ps();
    for (int64_t first = 0; first < width; first += LANES) {
        __mmask16 mask = lane_mask(width - first < LANES ? width - first : LANES);
        range16 start = {_mm512_maskz_loadu_ps(mask, min + first), _mm512_maskz_loadu_ps(mask, max + first)};
        chains c = {{start, start, start, start}, 0};
        const float *column = x + first;
        int64_t row = 0;
        for (; row + 4 <= n_rows; row += 4, column += 4 * stride) {
            observe64(&c, _mm512_maskz_loadu_ps(mask, column), _mm512_maskz_loadu_ps(mask, column + stride),
                      _mm512_maskz_loadu_ps(mask, column + 2 * stride),
                      _mm512_maskz_loadu_ps(mask, column + 3 * stride));
        }
        for (; row < n_rows; row++, column += stride) {
            observe_last(&c, _mm512_maskz_loadu_ps(mask, column));
        }
        range16 all = join64(&c);
        _mm512_mask_storeu_ps(min + first, mask, _mm512_add_ps(all.min, zero));
        _mm512_mask_storeu_ps(max + first, mask, _mm512_add_ps(all.max, zero));
        unordered = (__mmask16)(unordered | c.unordered);
    }
    return unordered == 0;
}

/* Sums of sixteen lanes in double, and of squares, which are exact before they are added. */
typedef struct {
    __m512d sum[2], squares[2];
} moments16;

AVX512 static inline void moments_add(moments16 *m, __m512 x)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    __m512d high = _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
    m->sum[0] = _mm512_add_pd(m->sum[0], low);
    m->sum[1] = _mm512_add_pd(m->sum[1], high);
    m->squares[0] = _mm512_fmadd_pd(low, low, m->squares[0]);
    m->squares[1] = _mm512_fmadd_pd(high, high, m->squares[1]);
}

/* Lane k takes lane k + 8, then k + 4, k + 2 and k + 1. */
AVX512 static inline double lanes_sum(__m512d low, __m512d high)
{
    __m512d eight = _mm512_add_pd(low, high);
    __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

AVX512 void qn_moments_row_f32_avx512(const float *x, int64_t n, float lo, double *sum, double *squares)
{
    __m512 floor = _mm512_set1_ps(lo);
    __m512d zero = _mm512_setzero_pd();
    moments16 m = {{zero, zero}, {zero, zero}};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        moments_add(&m, _mm512_max_ps(_mm512_loadu_ps(x + i), floor));
    }
    if (i < n) {
        __mmask16 mask = lane_mask(n - i);
        moments_add(&m, _mm512_maskz_max_ps(mask, _mm512_maskz_loadu_ps(mask, x + i), floor));
    }
    *sum = lanes_sum(m.sum[0], m.sum[1]);
    *squares = lanes_sum(m.squares[0], m.squares[1]);
}

AVX512 void qn_moments_columns_f32_avx512(const float *x, int64_t n_rows, int64_t stride, int64_t width, float lo,
                                          double *sum, double *squares)
{
    __m512 floor = _mm512_set1_ps(lo);
    __m512d zero = _mm512_setzero_pd();
    for (int64_t first = 0; first < width; first += LANES) {
        __mmask16 mask = lane_mask(width - first < LANES ? width - first : LANES);
        __mmask8 low = (__mmask8)mask, high = (__mmask8)(mask >> 8);
        moments16 m = {{zero, zero}, {zero, zero}};
        for (int64_t row = 0; row < n_rows; row++) {
            moments_add(&m, _mm512_max_ps(_mm512_maskz_loadu_ps(mask, x + first + row * stride), floor));
        }
        _mm512_mask_storeu_pd(sum + first, low, m.sum[0]);
        _mm512_mask_storeu_pd(squares + first, low, m.squares[0]);
        if (high != 0) {
            _mm512_mask_storeu_pd(sum + first + 8, high, m.sum[1]);
            _mm512_mask_storeu_pd(squares + first + 8, high, m.squares[1]);
        }
    }
}

/* The bins of sixteen elements, and which are not zero. */
AVX512 static inline __m512i bins16(__m512 x, const qn_count_grid *grid, __mmask16 *some)
{
    __m512 zero = _mm512_setzero_ps();
    __mmask16 negative = _mm512_cmp_ps_mask(x, zero, _CMP_LT_OQ);
    __m512 inverse = _mm512_mask_blend_ps(negative, _mm512_set1_ps(grid->inverse[1]), _mm512_set1_ps(grid->inverse[0]));
    __m512i bin = _mm512_cvt_roundps_epi32(_mm512_mul_ps(x, inverse), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    *some = _mm512_cmp_ps_mask(x, zero, _CMP_NEQ_OQ);
    return _mm512_mask_min_epi32(bin, negative, bin, _mm512_set1_epi32(-1));
}

/* Taking bins out of registers in pairs is faster than through memory. */
AVX512 static inline void count4(int64_t *counts, __m128i bins)
{
    uint64_t low = (uint64_t)_mm_cvtsi128_si64(bins), high = (uint64_t)_mm_extract_epi64(bins, 1);
    counts[(int32_t)(uint32_t)low]++;
    counts[(int32_t)(uint32_t)(low >> 32)]++;
    counts[(int32_t)(uint32_t)high]++;
    counts[(int32_t)(uint32_t)(high >> 32)]++;
}

AVX512 int64_t qn_count_f32_avx512(const float *x, int64_t n, const qn_count_grid *grid)
{
    _Alignas(64) int32_t left[LANES];
    int64_t *counts = grid->counts, n_counted = 0;
    for (int64_t i = 0; i < n; i += LANES) {
        __mmask16 mask = lane_mask(n - i < LANES ? n - i : LANES), some;
        __m512i bins = bins16(_mm512_maskz_loadu_ps(mask, x + i), grid, &some);
        int n_bins = __builtin_popcount(some);
        n_counted += n_bins;
        if (n_bins == LANES) {
            count4(counts, _mm512_castsi512_si128(bins));
            count4(counts, _mm512_extracti32x4_epi32(bins, 1));
            count4(counts, _mm512_extracti32x4_epi32(bins, 2));
            count4(counts, _mm512_extracti32x4_epi32(bins, 3));
            continue;
        }
        _mm512_store_si512(left, _mm512_maskz_compress_epi32(some, bins));
        for (int k = 0; k < n_bins; k++) {
            counts[left[k]]++;
        }
    }
    return n - n_counted;
}
#endif
