/* What rules for clamps need to know of values: sums in an order of their own, which vectors keep, too. */
#ifndef QN_FORMAT_MOMENTS_H
#define QN_FORMAT_MOMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/cpu.h"

/* n finite numbers, as doubles, or as floats where x is NULL; what follows from them is the same. */
typedef struct qn_reals {
    const double *x;
    const float *narrow;
    int64_t n;
} qn_reals;

typedef struct qn_moments {
    double n, n_zeros, mean, variance, mean_square, mean_magnitude;
    double deviation; /* mean of |x - mean| */
    double min, max;
} qn_moments;

/* What is asked of numbers; what is not is 0. Extremes always are. */
enum { QN_MOMENT_MEAN = 1, QN_MOMENT_SQUARE = 2, QN_MOMENT_MAGNITUDE = 4, QN_MOMENT_SPREAD = 8, QN_MOMENT_ALL = 15 };

/* Of n > 0 numbers: mean, mean_square, mean_magnitude and n_zeros, variance and deviation (a second pass). Number k is
 * added to sum k mod 8; the eight are added in pairs. */
qn_moments qn_moments_of(const qn_reals *reals, unsigned wanted);

/* Sum of magnitudes, each narrowed to f32, in f32 and in numpy's order: pairwise, eight lanes in blocks of 128. */
float qn_magnitudes_sum(const qn_reals *reals);

/* Sum of squared (or absolute) differences of n numbers from others, each times its weight where there are weights, in
 * the same order. */
typedef double (*qn_differences_fn)(const float *x, const float *y, const double *weights, int64_t n, bool squared);
/* The best for a level. */
qn_differences_fn qn_differences_for(qn_cpu cpu);

/* How many numbers, narrowed to f32, are in each of n_bins bins, of which bin i starts at edges[i]; the last one ends
 * with edges[n_bins]. Edges do not descend, and are about equally far apart. */
void qn_reals_count(int64_t *counts, const qn_reals *reals, const float *edges, int n_bins);

#endif
