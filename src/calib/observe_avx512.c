/* Observation kernels for AVX-512: sixteen elements at a time, two chains each. _mm512_min_ps(x, m) is x < m ? x : m,
 * as in the reference, so that a NaN in x leaves m alone. */
#include "calib/calib.h"

#ifdef __x86_64__
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
    __mmask16 unordered;
} range16;

AVX512 static inline range16 observe16(range16 r, __m512 x)
{
    r.min = _mm512_min_ps(x, r.min);
    r.max = _mm512_max_ps(x, r.max);
    r.unordered = (__mmask16)(r.unordered | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q));
    return r;
}

AVX512 bool qn_observe_row_f32_avx512(const float *x, int64_t n, float *min, float *max)
{
    range16 a = {_mm512_set1_ps(*min), _mm512_set1_ps(*max), 0};
    range16 b = a;
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        a = observe16(a, _mm512_loadu_ps(x + i));
        b = observe16(b, _mm512_loadu_ps(x + i + LANES));
    }
    for (; i < n; i += LANES) {
        __mmask16 mask = lane_mask(n - i < LANES ? n - i : LANES);
        a = observe16(a,
                      _mm512_mask_loadu_ps(_mm512_set1_ps(x[i]), mask, x + i)); /* lanes past the end see x[i] again */
    }
    float lanes_min[2 * LANES], lanes_max[2 * LANES];
    _mm512_storeu_ps(lanes_min, a.min);
    _mm512_storeu_ps(lanes_min + LANES, b.min);
    _mm512_storeu_ps(lanes_max, a.max);
    _mm512_storeu_ps(lanes_max + LANES, b.max);
    qn_observe_join_lanes(lanes_min, lanes_max, 2 * LANES, min, max);
    return (a.unordered | b.unordered) == 0;
}

AVX512 bool qn_observe_columns_f32_avx512(const float *x, int64_t n_rows, int64_t stride, int64_t width, float *min,
                                          float *max)
{
    __mmask16 unordered = 0;
    __m512 zero = _mm512_setzero_ps();
    for (int64_t c = 0; c < width; c += LANES) {
        __mmask16 mask = lane_mask(width - c < LANES ? width - c : LANES);
        range16 a = {_mm512_maskz_loadu_ps(mask, min + c), _mm512_maskz_loadu_ps(mask, max + c), 0};
        range16 b = a;
        const float *column = x + c;
        int64_t row = 0;
        for (; row + 2 <= n_rows; row += 2) {
            a = observe16(a, _mm512_maskz_loadu_ps(mask, column + row * stride));
            b = observe16(b, _mm512_maskz_loadu_ps(mask, column + (row + 1) * stride));
        }
        if (row < n_rows) {
            a = observe16(a, _mm512_maskz_loadu_ps(mask, column + row * stride));
        }
        _mm512_mask_storeu_ps(min + c, mask, _mm512_add_ps(_mm512_min_ps(a.min, b.min), zero));
        _mm512_mask_storeu_ps(max + c, mask, _mm512_add_ps(_mm512_max_ps(a.max, b.max), zero));
        unordered = (__mmask16)(unordered | a.unordered | b.unordered);
    }
    return unordered == 0;
}
#endif
