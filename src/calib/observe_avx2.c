/* Observation kernels for AVX2: eight elements at a time, two chains each. _mm256_min_ps(x, m) is x < m ? x : m, as in
 * the reference, so that a NaN in x leaves m alone. */
#include "base/arch.h"
#include "calib/calib.h"

#if QN_X86_64
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
enum { LANES = 8 };

/* Lanes 0..n-1 of a vector, 0 <= n <= 8. */
AVX2 static inline __m256i lane_mask(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

typedef struct {
    __m256 min, max, unordered;
} range8;

AVX2 static inline range8 observe8(range8 r, __m256 x)
{
    r.min = _mm256_min_ps(x, r.min);
    r.max = _mm256_max_ps(x, r.max);
    r.unordered = _mm256_or_ps(r.unordered, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return r;
}

/* The least or greatest of eight. */
AVX2 static inline float least(__m256 x)
{
    __m128 y = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_min_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_min_ss(y, _mm_movehdup_ps(y)));
}

AVX2 static inline float greatest(__m256 x)
{
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

AVX2 bool qn_observe_row_f32_avx2(const float *x, int64_t n, float *min, float *max)
{
    range8 a = {_mm256_set1_ps(*min), _mm256_set1_ps(*max), _mm256_setzero_ps()};
    range8 b = a;
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        a = observe8(a, _mm256_loadu_ps(x + i));
        b = observe8(b, _mm256_loadu_ps(x + i + LANES));
    }
    for (; i < n; i += LANES) {
        __m256i mask = lane_mask(n - i < LANES ? n - i : LANES);
        __m256 loaded = _mm256_maskload_ps(x + i, mask);
        /* lanes past the end see an element again */
        a = observe8(a, _mm256_blendv_ps(_mm256_set1_ps(x[i]), loaded, _mm256_castsi256_ps(mask)));
    }
    *min = least(_mm256_min_ps(a.min, b.min)) + 0.0f;
    *max = greatest(_mm256_max_ps(a.max, b.max)) + 0.0f;
    return _mm256_movemask_ps(_mm256_or_ps(a.unordered, b.unordered)) == 0;
}

AVX2 bool qn_observe_columns_f32_avx2(const float *x, int64_t n_rows, int64_t stride, int64_t width, float *min,
                                      float *max)
{
    __m256 unordered = _mm256_setzero_ps(), zero = _mm256_setzero_ps();
    for (int64_t c = 0; c < width; c += LANES) {
        __m256i mask = lane_mask(width - c < LANES ? width - c : LANES);
        range8 a = {_mm256_maskload_ps(min + c, mask), _mm256_maskload_ps(max + c, mask), zero};
        range8 b = a;
        const float *column = x + c;
        int64_t row = 0;
        for (; row + 2 <= n_rows; row += 2) {
            a = observe8(a, _mm256_maskload_ps(column + row * stride, mask));
            b = observe8(b, _mm256_maskload_ps(column + (row + 1) * stride, mask));
        }
        if (row < n_rows) {
            a = observe8(a, _mm256_maskload_ps(column + row * stride, mask));
        }
        _mm256_maskstore_ps(min + c, mask, _mm256_add_ps(_mm256_min_ps(a.min, b.min), zero));
        _mm256_maskstore_ps(max + c, mask, _mm256_add_ps(_mm256_max_ps(a.max, b.max), zero));
        unordered = _mm256_or_ps(unordered, _mm256_or_ps(a.unordered, b.unordered));
    }
    return _mm256_movemask_ps(unordered) == 0;
}

/* Sums of eight lanes in double, and of squares, which are exact before they are added. */
typedef struct {
    __m256d sum[2], squares[2];
} moments8;

AVX2 static inline void moments_add(moments8 *m, __m256 x)
{
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(x)), high = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
    m->sum[0] = _mm256_add_pd(m->sum[0], low);
    m->sum[1] = _mm256_add_pd(m->sum[1], high);
    m->squares[0] = _mm256_add_pd(m->squares[0], _mm256_mul_pd(low, low));
    m->squares[1] = _mm256_add_pd(m->squares[1], _mm256_mul_pd(high, high));
}

/* Lane k of sixteen takes lane k + 8, then k + 4, k + 2 and k + 1. */
AVX2 static inline double lanes_sum(const __m256d a[2], const __m256d b[2])
{
    __m256d four = _mm256_add_pd(_mm256_add_pd(a[0], b[0]), _mm256_add_pd(a[1], b[1]));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* max(x, floor) of the first n of eight elements, 0 for the others; n may be negative. */
AVX2 static inline __m256 load_floored(const float *x, int64_t n, __m256 floor)
{
    if (n >= LANES) {
        return _mm256_max_ps(_mm256_loadu_ps(x), floor);
    }
    __m256i mask = lane_mask(n < 0 ? 0 : n);
    return _mm256_and_ps(_mm256_max_ps(_mm256_maskload_ps(x, mask), floor), _mm256_castsi256_ps(mask));
}

AVX2 void qn_moments_row_f32_avx2(const float *x, int64_t n, float lo, double *sum, double *squares)
{
    __m256 floor = _mm256_set1_ps(lo);
    __m256d zero = _mm256_setzero_pd();
    moments8 a = {{zero, zero}, {zero, zero}}, b = a;
    for (int64_t i = 0; i < n; i += 2 * LANES) {
        moments_add(&a, load_floored(x + i, n - i, floor));
        if (n - i > LANES) {
            moments_add(&b, load_floored(x + i + LANES, n - i - LANES, floor));
        }
    }
    *sum = lanes_sum(a.sum, b.sum);
    *squares = lanes_sum(a.squares, b.squares);
}

AVX2 void qn_moments_columns_f32_avx2(const float *x, int64_t n_rows, int64_t stride, int64_t width, float lo,
                                      double *sum, double *squares)
{
    __m256 floor = _mm256_set1_ps(lo);
    __m256d zero = _mm256_setzero_pd();
    for (int64_t first = 0; first < width; first += LANES) {
        int64_t n = width - first < LANES ? width - first : LANES;
        moments8 m = {{zero, zero}, {zero, zero}};
        for (int64_t row = 0; row < n_rows; row++) {
            moments_add(&m, load_floored(x + first + row * stride, n, floor));
        }
        double lanes[2][LANES];
        for (int half = 0; half < 2; half++) {
            _mm256_storeu_pd(&lanes[0][half * LANES / 2], m.sum[half]);
            _mm256_storeu_pd(&lanes[1][half * LANES / 2], m.squares[half]);
        }
        for (int64_t c = 0; c < n; c++) {
            sum[first + c] = lanes[0][c];
            squares[first + c] = lanes[1][c];
        }
    }
}

/* The bins of eight elements; zeros go to the spare bins, one a lane, where they do not wait for each other. */
AVX2 static inline __m256i bins8(__m256 x, const qn_count_grid *grid)
{
    __m256 zero = _mm256_setzero_ps();
    __m256 negative = _mm256_cmp_ps(x, zero, _CMP_LT_OQ), none = _mm256_cmp_ps(x, zero, _CMP_EQ_OQ);
    __m256 inverse = _mm256_blendv_ps(_mm256_set1_ps(grid->inverse[1]), _mm256_set1_ps(grid->inverse[0]), negative);
    __m256i bin = _mm256_cvttps_epi32(_mm256_floor_ps(_mm256_mul_ps(x, inverse)));
    __m256i below = _mm256_min_epi32(bin, _mm256_set1_epi32(-1));
    bin = _mm256_blendv_epi8(bin, below, _mm256_castps_si256(negative));
    __m256i spare = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(QN_TALLY_HALF));
    return _mm256_blendv_epi8(bin, spare, _mm256_castps_si256(none));
}

/* Taking bins out of registers in pairs is faster than through memory. */
AVX2 static inline void count4(int64_t *counts, __m128i bins)
{
    uint64_t low = (uint64_t)_mm_cvtsi128_si64(bins), high = (uint64_t)_mm_extract_epi64(bins, 1);
    counts[(int32_t)(uint32_t)low]++;
    counts[(int32_t)(uint32_t)(low >> 32)]++;
    counts[(int32_t)(uint32_t)high]++;
    counts[(int32_t)(uint32_t)(high >> 32)]++;
}

AVX2 int64_t qn_count_f32_avx2(const float *x, int64_t n, const qn_count_grid *grid)
{
    _Alignas(32) int32_t left[LANES];
    int64_t *counts = grid->counts, i = 0, n_zeros = 0;
    for (; i + LANES <= n; i += LANES) {
        __m256i bins = bins8(_mm256_loadu_ps(x + i), grid);
        count4(counts, _mm256_castsi256_si128(bins));
        count4(counts, _mm256_extracti128_si256(bins, 1));
    }
    if (i < n) {
        __m256i bins = bins8(_mm256_maskload_ps(x + i, lane_mask(n - i)), grid);
        _mm256_store_si256((__m256i *)(void *)left, bins);
        for (int64_t k = 0; i + k < n; k++) {
            counts[left[k]]++;
        }
    }
    for (int k = 0; k < QN_TALLY_SPARE; k++) {
        n_zeros += counts[QN_TALLY_HALF + k];
        counts[QN_TALLY_HALF + k] = 0;
    }
    return n_zeros;
}
#endif
