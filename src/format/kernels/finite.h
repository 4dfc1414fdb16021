/* The first look at a tensor, before anything else is done with it. */
#ifndef QN_FORMAT_FINITE_H
#define QN_FORMAT_FINITE_H

#include <stdbool.h>
#include <stdint.h>

/* No NaN and no infinity among n floats? At the speed of reading them. */
bool qn_all_finite_f32(const float *x, int64_t n);

#endif
