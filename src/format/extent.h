/* Least and greatest of floats, at the speed of reading them. */
#ifndef QN_FORMAT_EXTENT_H
#define QN_FORMAT_EXTENT_H

#include <stdint.h>

#include "quern/cpu.h"

/* Floats as integers in the same order, so that nothing depends on how a compiler orders comparisons of floats; -0 comes
 * before 0. lo > hi: nothing was seen. */
typedef struct qn_extent {
    int32_t lo, hi;
} qn_extent;

static inline qn_extent qn_extent_none(void)
{
    return (qn_extent){INT32_MAX, INT32_MIN};
}

float qn_extent_float(int32_t key);

/* Widen by n floats, the first at x, each `stride` elements from the one before. NaN counts as 0, infinities do not
 * count. */
typedef void (*qn_extent_fn)(qn_extent *extent, const float *x, int64_t n, int64_t stride);
/* The bits of the greatest magnitude in each of the blocks that n floats make, the last of which may be short. NaN counts as
 * 0, infinities do not count. */
typedef void (*qn_magnitudes_fn)(int32_t *magnitudes, const float *x, int64_t n, int64_t block);
/* Widen the extent of each column of a matrix, by the same rule. */
typedef void (*qn_columns_fn)(qn_extent *extents, const float *x, int64_t rows, int64_t length);
/* The best for a level. */
qn_extent_fn qn_extent_for(qn_cpu cpu);
qn_magnitudes_fn qn_magnitudes_for(qn_cpu cpu);
qn_columns_fn qn_columns_for(qn_cpu cpu);

#endif
