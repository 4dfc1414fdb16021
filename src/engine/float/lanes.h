/* Loops over contiguous floats, once per instruction set. The variants differ in speed only: every element is one
 * rounded operation, and nothing is summed across elements. */
#ifndef QN_ENGINE_FLOAT_LANES_H
#define QN_ENGINE_FLOAT_LANES_H

#include <stdint.h>

#include "quern/cpu.h"

/* The first QN_FLOAT_N_LANES have loops here; powers take the library's powf. */
typedef enum qn_float_binary {
    QN_FLOAT_ADD,
    QN_FLOAT_SUB,
    QN_FLOAT_MUL,
    QN_FLOAT_DIV,
    QN_FLOAT_N_LANES,
    QN_FLOAT_POW = QN_FLOAT_N_LANES
} qn_float_binary;

/* Which operand is a single element. */
typedef enum qn_float_shape {
    QN_FLOAT_BOTH_VECTORS,
    QN_FLOAT_SCALAR_RIGHT,
    QN_FLOAT_SCALAR_LEFT,
    QN_FLOAT_N_SHAPES
} qn_float_shape;

/* y may be a or b, never a part of them. */
typedef void (*qn_float_binary_fn)(float *y, const float *a, const float *b, int64_t n);

typedef struct qn_float_lanes {
    qn_float_binary_fn binary[QN_FLOAT_N_LANES][QN_FLOAT_N_SHAPES];
    /* y = min(max(x, lo), hi), lo <= hi */
    void (*clamp)(float *y, const float *x, float lo, float hi, int64_t n);
    /* y = x * scale + shift, rounded twice, for n_rows rows of `width` elements, with one scale and shift per column */
    void (*affine_rows)(float *y, const float *x, const float *scale, const float *shift, int64_t n_rows,
                        int64_t width);
    /* the same with one scale and shift for all n elements */
    void (*affine)(float *y, const float *x, float scale, float shift, int64_t n);
    /* y = x < 0 ? x * slope : x */
    void (*leaky)(float *y, const float *x, float slope, int64_t n);
} qn_float_lanes;

/* The best variant for instruction sets up to `cpu`. */
const qn_float_lanes *qn_float_lanes_for(qn_cpu cpu);

#endif
