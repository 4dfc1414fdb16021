#include <string.h>

#include "graph/compute/qonnx.h"
#include "graph/compute/real_math.h"

double qn_qonnx_power(double e)
{
    if (rint(e) == e && fabs(e) < 4096) {
        return ldexp(1.0, (int)e);
    }
    if (isnan(e)) {
        return e;
    }
    lane_reals lanes =
        LANE_ALL(e * 0x1.62e42fefa39efp-1); /* ln 2; of e beyond +-1000 only that it is far out matters */
    lane_exp(&lanes, &lanes);
    return lanes[0];
}

double qn_qonnx_log2(double ratio)
{
    if (!(ratio > 0) || isinf(ratio)) {
        return ratio > 0 ? ratio : ratio == 0 ? -(double)INFINITY : (double)NAN;
    }
    return (double)(float)(real_log(ratio) * 0x1.71547652b82fep+0);
}

void qn_qonnx_range(double bits, bool is_signed, bool narrow, double *lo, double *hi)
{
    const double top = qn_qonnx_power(is_signed ? bits - 1 : bits);
    *hi = top - (narrow && !is_signed ? 2 : 1);
    *lo = is_signed ? -top + (narrow ? 1 : 0) : 0;
}

/* With v = 2^n (1 - k 2^-24), n - log2 v is k 2^-24 / ln 2 and a little; it is lost when it is at most half the distance from n to
 * the next float toward v. That is 2^p 2^-24, where 2^p <= |n| (a negative n has the wider distance on that side) or 2^p < n; so k
 * is at most 2^p ln 2, which is no integer. */
int qn_qonnx_exponent(float v)
{
    static const int most[] = {0, 1, 2, 5, 11, 22, 44, 88};
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const int n = (int)(bits >> 23) - 126; /* v < 2^n */
    const int k = (1 << 23) - (int)(bits & 0x7fffff);
    const int magnitude = n > 0 ? n - 1 : -n; /* its leading bit is p */
    const int p = magnitude > 0 ? 31 - __builtin_clz((unsigned)magnitude) : 0;
    return k <= most[p] ? n : n - 1;
}
