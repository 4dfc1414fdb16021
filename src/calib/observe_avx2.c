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
#endif
