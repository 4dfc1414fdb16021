/* Arithmetic of QONNX' quantizers, one element at a time (doc/spec/onnx.md 6). All of it is NumPy's on float32. A
 * double holds twice the digits of a float and more, so +, -, * and / of floats done in double and then rounded to float are those
 * of float: one text serves both types. */
#ifndef QN_GRAPH_COMPUTE_QONNX_H
#define QN_GRAPH_COMPUTE_QONNX_H

#include <math.h>
#include <stdbool.h>

#include "graph/infer.h"

/* A result in the type of the computation. */
static inline double qn_qonnx_kept(double v, bool wide)
{
    return wide ? v : (double)(float)v;
}

/* NumPy's sign: 0 for -0, NaN for NaN. */
static inline double qn_qonnx_sign(double v)
{
    return v > 0 ? 1 : v < 0 ? -1 : v == 0 ? 0 : v;
}

/* The two HALF modes add and subtract in the type of the computation, which moves some values (0.49999997f up to 1). */
static inline double qn_qonnx_round(double v, qn_qonnx_rounding rounding, bool wide)
{
    switch (rounding) {
    case QN_QONNX_CEIL:
        return ceil(v);
    case QN_QONNX_FLOOR:
        return floor(v);
    case QN_QONNX_UP:
        return qn_qonnx_sign(v) * ceil(fabs(v));
    case QN_QONNX_DOWN:
        return trunc(v);
    case QN_QONNX_HALF_UP:
        return qn_qonnx_sign(v) * floor(qn_qonnx_kept(fabs(v) + 0.5, wide));
    case QN_QONNX_HALF_DOWN:
        return qn_qonnx_sign(v) * ceil(qn_qonnx_kept(fabs(v) - 0.5, wide));
    default:
        return rint(v);
    }
}

/* Ends of a range of integers of so many bits, as reals: fractional widths have some, too. */
void qn_qonnx_range(double bits, bool is_signed, bool narrow, double *lo, double *hi);
/* 2^e for any e; exactly for integers. */
double qn_qonnx_power(double e);
/* log2 of a ratio, rounded to float. */
double qn_qonnx_log2(double ratio);
/* floor of log2 as float32 has it: just below a power of two the logarithm rounds up to an integer. v is a normal float above
 * 0. */
int qn_qonnx_exponent(float v);

#endif
