/* Weight scales at which the ratio of scales is one that shifts have exactly: the float weights are then rounded once,
 * with that scale, and nothing is rounded again when the network runs (doc/spec/arithmetic.md, 4.8). */
#include <float.h>
#include <math.h>

#include "base/ratio.h"
#include "ptq/ptq.h"

/* What the engine carries out exactly. */
enum { LEAST_EXPONENT = -32, GREATEST_EXPONENT = 30 };

/* Relative; more than the roundings of f32 scales and their product. */
static const double ROUNDING = 0x1p-22;

/* Significands in [1, 2], ascending: 1, then 1 + 2^-20 to 1 + 2^-1 with two shifts, then 2. */
static double significand(int i, bool two)
{
    if (i == 0) {
        return 1;
    }
    return two && i <= QN_SHIFT_DISTANCE ? 1 + ldexp(1, i - 1 - QN_SHIFT_DISTANCE) : 2;
}

/* The least representable ratio that is at least `ratio`, and the greatest below it. */
static void neighbours(double ratio, bool two, double *above, double *below)
{
    int exponent, i = 0;
    const double q = 2 * frexp(ratio, &exponent);
    exponent--;
    while (significand(i, two) < q) {
        i++;
    }
    *above = ldexp(significand(i, two), exponent);
    *below = i > 0 ? ldexp(significand(i - 1, two), exponent) : ldexp(two ? 1.5 : 1, exponent - 1);
}

static bool is_exact(double ratio)
{
    return ratio >= ldexp(1, LEAST_EXPONENT) && ratio < ldexp(1, GREATEST_EXPONENT + 1);
}

/* The f32 weight scale of a ratio; 0 when there is no normal one. */
static float scale_of(double ratio, float scale_x, float scale_y)
{
    const double scale = ratio * (double)scale_y / (double)scale_x;
    return is_exact(ratio) && scale >= (double)FLT_MIN && scale <= (double)FLT_MAX ? (float)scale : 0;
}

int qn_ptq_ratio_candidates(const qn_arithmetic *a, float scale_x, float scale_y, float wanted, float candidates[2])
{
    const bool two = a->requantize == QN_REQUANTIZE_DOUBLE_SHIFT;
    candidates[0] = wanted;
    if (!two && a->requantize != QN_REQUANTIZE_SHIFT) {
        return 1;
    }
    double above, below, ratio = (double)scale_x * (double)wanted / (double)scale_y;
    qn_ratio near;
    if (!(ratio > 0) || !isfinite(ratio)) {
        return 0;
    }
    if (qn_ratio_of(&near, ratio, a->requantize) && fabs(qn_ratio_value(&near) - ratio) <= ROUNDING * ratio) {
        ratio = qn_ratio_value(&near); /* what `wanted` means, before it was rounded to f32 */
    }
    neighbours(ratio, two, &above, &below);
    float upper = scale_of(above, scale_x, scale_y), lower = scale_of(below, scale_x, scale_y);
    upper = upper != 0 && upper < wanted ? wanted : upper; /* rounded below, by less than an ulp */
    int n = 0;
    if (upper != 0) {
        candidates[n++] = upper;
    }
    if (lower != 0) {
        candidates[n++] = lower;
    }
    return n;
}

float qn_ptq_ratio_scale(const qn_arithmetic *a, float scale_x, float scale_y, float wanted)
{
    float candidates[2];
    const int n = qn_ptq_ratio_candidates(a, scale_x, scale_y, wanted, candidates);
    return n > 0 && candidates[0] >= wanted ? candidates[0] : 0;
}
