/* From three scales to what a channel's sums are multiplied with (doc/spec/arithmetic.md 3.3, 3.9, 4.2): one formula for
 * whoever lowers a layer and whoever changes a scale of one. scale_x is alpha times the input's. */
#ifndef QN_ENGINE_MULTIPLIER_H
#define QN_ENGINE_MULTIPLIER_H

#include <math.h>

#include "base/ratio.h"

/* To codes, in f32. False where it is not finite or is negative. */
static inline bool qn_integer_multiplier(float *m, float scale_x, float scale_w, float scale_y)
{
    *m = scale_x * scale_w / scale_y;
    return isfinite(*m) && *m >= 0;
}

/* To codes, as a real that becomes an integer ratio. product_in_f32: of matrices. */
static inline double qn_integer_real_ratio(float scale_x, float scale_w, float scale_y, bool product_in_f32)
{
    const double product = product_in_f32 ? (double)(scale_x * scale_w) : (double)scale_x * (double)scale_w;
    return product / (double)scale_y;
}

/* To floats. */
static inline bool qn_integer_decode_scale(float *scale, float scale_x, float scale_w)
{
    *scale = scale_x * scale_w;
    return isfinite(*scale);
}

#endif
