/* Numbers pass in blocks of doubles that stay in the first level of cache. */
#include "format/moments.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/arch.h"

enum { BLOCK = 512, LANES = 8 };

/* Numbers first to first + n, n <= BLOCK, as doubles. */
static const double *block_of(const qn_reals *r, int64_t first, int64_t n, double buffer[BLOCK])
{
    if (r->x != NULL) {
        return r->x + first;
    }
    const float *narrow = r->narrow + first;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        buffer[i] = (double)narrow[i];
    }
    return buffer;
}

static int64_t block_length(const qn_reals *r, int64_t first)
{
    return r->n - first < BLOCK ? r->n - first : BLOCK;
}

/* Four numbers; eight lanes are two of these. Passed by pointer, as their place in registers differs between levels. */
enum { QUARTER = 4, HALVES = LANES / QUARTER };
typedef double four __attribute__((vector_size(QUARTER * sizeof(double))));
typedef float narrow_four __attribute__((vector_size(QUARTER * sizeof(float))));
typedef int64_t masks __attribute__((vector_size(QUARTER * sizeof(int64_t))));

#define ALWAYS_INLINE static inline __attribute__((always_inline))

static double total(const double *sum)
{
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* Sums by lanes of numbers less `center`, and their extremes. */
typedef struct sums {
    four x[HALVES], square[HALVES], magnitude[HALVES], zeros[HALVES], min[HALVES], max[HALVES];
} sums;

/* *a = *b where the mask is set. */
ALWAYS_INLINE void choose(four *a, const masks *mask, const four *b)
{
    *a = (four)(((masks)*b & *mask) | ((masks)*a & ~*mask));
}

ALWAYS_INLINE void add_half(sums *s, int half, const four *x, unsigned wanted, bool extremes)
{
    if ((wanted & QN_MOMENT_MEAN) != 0) {
        s->x[half] += *x;
    }
    if ((wanted & QN_MOMENT_SQUARE) != 0) {
        s->square[half] += *x * *x;
    }
    if ((wanted & QN_MOMENT_MAGNITUDE) != 0) {
        const four zero = {0}, one = zero + 1.0;
        const masks is_zero = *x == zero;
        s->magnitude[half] += (four)((masks)*x & INT64_MAX);
        s->zeros[half] += (four)((masks)one & is_zero);
    }
    if (extremes) {
        const masks less = *x<s->min[half], more = *x> s->max[half];
        choose(&s->min[half], &less, x);
        choose(&s->max[half], &more, x);
    }
}

/* The last numbers, fewer than LANES, are added to the first sums. */
ALWAYS_INLINE void add_rest(sums *s, const qn_reals *r, int64_t first, double center, unsigned wanted, bool extremes)
{
    for (int64_t i = first; i < r->n; i++) {
        const int half = (int)(i - first) / QUARTER, lane = (int)(i - first) % QUARTER;
        const double x = (r->x != NULL ? r->x[i] : (double)r->narrow[i]) - center;
        s->x[half][lane] += (wanted & QN_MOMENT_MEAN) != 0 ? x : 0.0;
        s->square[half][lane] += (wanted & QN_MOMENT_SQUARE) != 0 ? x * x : 0.0;
        s->magnitude[half][lane] += (wanted & QN_MOMENT_MAGNITUDE) != 0 ? fabs(x) : 0.0;
        s->zeros[half][lane] += (wanted & QN_MOMENT_MAGNITUDE) != 0 && x == 0.0 ? 1.0 : 0.0;
        s->min[half][lane] = extremes && x < s->min[half][lane] ? x : s->min[half][lane];
        s->max[half][lane] = extremes && x > s->max[half][lane] ? x : s->max[half][lane];
    }
}

ALWAYS_INLINE void add_all(sums *s, const qn_reals *r, double center, unsigned wanted, bool extremes)
{
    const four zero = {0}, infinity = zero + (double)INFINITY;
    sums made = {.min = {infinity, infinity}, .max = {-infinity, -infinity}};
    int64_t i = 0;
    for (; r->x != NULL && i + LANES <= r->n; i += LANES) {
        four x[HALVES];
        memcpy(x, r->x + i, sizeof x);
#pragma GCC unroll 2
        for (int half = 0; half < HALVES; half++) {
            x[half] -= center;
            add_half(&made, half, &x[half], wanted, extremes);
        }
    }
    for (; r->x == NULL && i + LANES <= r->n; i += LANES) {
#pragma GCC unroll 2
        for (int half = 0; half < HALVES; half++) {
            narrow_four narrow;
            memcpy(&narrow, r->narrow + i + half * QUARTER, sizeof narrow);
            const four x = __builtin_convertvector(narrow, four) - center;
            add_half(&made, half, &x, wanted, extremes);
        }
    }
    add_rest(&made, r, i, center, wanted, extremes);
    *s = made;
}

/* Constants for what is asked most often. */
ALWAYS_INLINE void add_wanted(sums *s, const qn_reals *r, double center, unsigned wanted, bool extremes)
{
    if (extremes && wanted == QN_MOMENT_MEAN) {
        add_all(s, r, center, QN_MOMENT_MEAN, true);
    } else if (extremes && wanted == QN_MOMENT_SQUARE) {
        add_all(s, r, center, QN_MOMENT_SQUARE, true);
    } else if (extremes && wanted == 0) {
        add_all(s, r, center, 0, true);
    } else if (!extremes && wanted == QN_MOMENT_SQUARE) {
        add_all(s, r, center, QN_MOMENT_SQUARE, false);
    } else {
        add_all(s, r, center, QN_MOMENT_ALL, true);
    }
}

static void add_portable(sums *s, const qn_reals *r, double center, unsigned wanted, bool extremes)
{
    add_wanted(s, r, center, wanted, extremes);
}

#if QN_X86_64
__attribute__((target("avx2"))) static void add_avx2(sums *s, const qn_reals *r, double center, unsigned wanted,
                                                     bool extremes)
{
    add_wanted(s, r, center, wanted, extremes);
}
#else
#define add_avx2 add_portable
#endif

qn_moments qn_moments_of(const qn_reals *reals, unsigned wanted)
{
    qn_cpu cpu;
    if (qn_cpu_from_environment(&cpu, NULL, NULL) != QN_OK) {
        cpu = qn_cpu_best();
    }
    void (*const add)(sums *, const qn_reals *, double, unsigned, bool) = cpu >= QN_CPU_AVX2 ? add_avx2 : add_portable;
    const bool spread = (wanted & QN_MOMENT_SPREAD) != 0;
    sums s;
    double by_lane[LANES];
    const double n = (double)reals->n;
    qn_moments m = {.n = n, .min = INFINITY, .max = -INFINITY};
    add(&s, reals, 0.0, wanted & ~(unsigned)QN_MOMENT_SPREAD, true);
    for (int lane = 0; lane < LANES; lane++) {
        m.min = fmin(m.min, s.min[lane / QUARTER][lane % QUARTER]);
        m.max = fmax(m.max, s.max[lane / QUARTER][lane % QUARTER]);
    }
#define TOTAL(part) (memcpy(by_lane, &s.part, sizeof by_lane), total(by_lane))
    m.mean = TOTAL(x) / n;
    m.mean_square = TOTAL(square) / n;
    m.mean_magnitude = TOTAL(magnitude) / n;
    m.n_zeros = TOTAL(zeros);
    if (spread) {
        add(&s, reals, m.mean, wanted == QN_MOMENT_ALL ? QN_MOMENT_ALL : QN_MOMENT_SQUARE, false);
        m.variance = TOTAL(square) / n;
        m.deviation = TOTAL(magnitude) / n;
    }
#undef TOTAL
    return m;
}

/* Four differences from x[i] on, weighted. */
ALWAYS_INLINE void add_differences(four *sum, const float *x, const float *y, const double *weights, bool squared)
{
    narrow_four a, b;
    memcpy(&a, x, sizeof a);
    memcpy(&b, y, sizeof b);
    four error = __builtin_convertvector(b, four) - __builtin_convertvector(a, four);
    error = squared ? error * error : (four)((masks)error & INT64_MAX);
    if (weights != NULL) {
        four weight;
        memcpy(&weight, weights, sizeof weight);
        error *= weight;
    }
    *sum += error;
}

ALWAYS_INLINE double differences(const float *x, const float *y, const double *weights, int64_t n, bool squared)
{
    four sum[HALVES] = {{0}};
    double by_lane[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        add_differences(&sum[0], x + i, y + i, weights != NULL ? weights + i : NULL, squared);
        add_differences(&sum[1], x + i + QUARTER, y + i + QUARTER, weights != NULL ? weights + i + QUARTER : NULL,
                        squared);
    }
    memcpy(by_lane, sum, sizeof by_lane);
    for (int lane = 0; i < n; i++, lane++) {
        const double difference = (double)y[i] - (double)x[i];
        const double error = squared ? difference * difference : fabs(difference);
        by_lane[lane] += weights != NULL ? error * weights[i] : error;
    }
    return total(by_lane);
}

/* Constants for what is asked most often. */
ALWAYS_INLINE double differences_of(const float *x, const float *y, const double *weights, int64_t n, bool squared)
{
    return weights == NULL && squared ? differences(x, y, NULL, n, true) : differences(x, y, weights, n, squared);
}

static double differences_portable(const float *x, const float *y, const double *weights, int64_t n, bool squared)
{
    return differences_of(x, y, weights, n, squared);
}

#if QN_X86_64
__attribute__((target("avx2"))) static double differences_avx2(const float *x, const float *y, const double *weights,
                                                               int64_t n, bool squared)
{
    return differences_of(x, y, weights, n, squared);
}
#else
#define differences_avx2 differences_portable
#endif

qn_differences_fn qn_differences_for(qn_cpu cpu)
{
    return cpu >= QN_CPU_AVX2 ? differences_avx2 : differences_portable;
}

static float pairwise_sum(const qn_reals *r, int64_t first, int64_t n)
{
    enum { LEAF = 128 };
    if (n > LEAF) {
        const int64_t half = n / 2 - n / 2 % LANES;
        return pairwise_sum(r, first, half) + pairwise_sum(r, first + half, n - half);
    }
    double buffer[BLOCK];
    const double *x = block_of(r, first, n, buffer);
    float sum = 0.0f, lane_sums[LANES];
    int64_t i = 0;
    if (n >= LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            lane_sums[lane] = fabsf((float)x[lane]);
        }
        for (i = LANES; i + LANES <= n; i += LANES) {
#pragma omp simd
            for (int lane = 0; lane < LANES; lane++) {
                lane_sums[lane] += fabsf((float)x[i + lane]);
            }
        }
        sum = ((lane_sums[0] + lane_sums[1]) + (lane_sums[2] + lane_sums[3])) +
              ((lane_sums[4] + lane_sums[5]) + (lane_sums[6] + lane_sums[7]));
    }
    for (; i < n; i++) {
        sum += fabsf((float)x[i]);
    }
    return sum;
}

float qn_magnitudes_sum(const qn_reals *reals)
{
    return pairwise_sum(reals, 0, reals->n);
}

void qn_reals_count(int64_t *counts, const qn_reals *reals, const float *edges, int n_bins)
{
    double buffer[BLOCK];
    int guesses[BLOCK];
    const double start = (double)edges[0], range = (double)edges[n_bins] - start;
    const double per_unit = range > DBL_MIN ? (double)n_bins / range : 0.0; /* only the first guess */
    memset(counts, 0, (size_t)n_bins * sizeof *counts);
    for (int64_t first = 0; first < reals->n; first += BLOCK) {
        const int64_t n = block_length(reals, first);
        const double *x = block_of(reals, first, n, buffer);
        for (int64_t i = 0; i < n; i++) {
            const double at = ((double)(float)x[i] - start) * per_unit;
            const int guess = (int)at;
            guesses[i] = guess < 0 ? 0 : guess > n_bins - 1 ? n_bins - 1 : guess;
        }
        for (int64_t i = 0; i < n; i++) {
            const float v = (float)x[i];
            int bin = guesses[i];
            while (bin > 0 && v < edges[bin]) {
                bin--;
            }
            while (bin < n_bins - 1 && v >= edges[bin + 1]) {
                bin++;
            }
            counts[bin]++;
        }
    }
}
