/* Scale and zero point of integers, one function a fit (formats.md). All arithmetic is f32 where it says so. */
#include <float.h>
#include <math.h>

#include "format/int.h"
#include "format/round.h"
#include "format/row.h"

/* Scales are normal and finite; a range too small or too large for that is met as nearly as a float can. */
static float legal_scale(double scale)
{
    return scale < (double)FLT_MIN ? FLT_MIN : scale > (double)FLT_MAX ? FLT_MAX : (float)scale;
}

/* numerator / n rounded once to f32; the numerator is an f32 or twice one. (The double quotient of such numbers,
 * rounded to f32, is the f32 quotient: 53 >= 2 * 24 + 2.) */
static float scale_of(double numerator, int64_t n)
{
    return legal_scale(numerator / (double)n);
}

static int64_t top_of(const qn_format *f)
{
    int32_t lo, hi;
    qn_int_range(f, &lo, &hi);
    return hi;
}

static void fit_symmetric(qn_params *p, const qn_format *f, float lo, float hi)
{
    p->scale = scale_of((double)fmaxf(fabsf(lo), fabsf(hi)), top_of(f));
}

static void fit_symmetric_full(qn_params *p, const qn_format *f, float lo, float hi)
{
    p->scale = scale_of(2.0 * (double)fmaxf(fabsf(lo), fabsf(hi)), 2 * top_of(f) + 1);
}

static void fit_lltfi(qn_params *p, const qn_format *f, float lo, float hi)
{
    p->scale = scale_of(2.0 * (double)fmaxf(fabsf(lo), fabsf(hi)), top_of(f));
}

static void fit_affine(qn_params *p, const qn_format *f, float lo, float hi)
{
    int32_t least, greatest;
    qn_int_range(f, &least, &greatest);
    lo = fminf(lo, 0.0f), hi = fmaxf(hi, 0.0f);
    float width = hi - lo;
    /* A range wider than f32 reaches is divided before it is subtracted. */
    double n = (double)((int64_t)greatest - least);
    p->scale = legal_scale(isfinite(width) ? (double)width / n : (double)hi / n - (double)lo / n);
    float zero_point = rintf((float)least - lo / p->scale);
    p->zero_point = zero_point < (float)least ? least : zero_point > (float)greatest ? greatest : (int32_t)zero_point;
}

static void fit_positive(qn_params *p, const qn_format *f, float lo, float hi)
{
    (void)lo;
    p->scale = hi > 0.0f ? scale_of((double)hi, top_of(f)) : 1.0f;
}

/* The exponent of a power of two that is a normal f32, as near to e as can be. */
static int normal_exponent(int e)
{
    return e < FLT_MIN_EXP - 1 ? FLT_MIN_EXP - 1 : e > FLT_MAX_EXP - 1 ? FLT_MAX_EXP - 1 : e;
}

/* Least e with top * 2^e >= max, where 2^e is a normal f32. */
static int covering_exponent(const qn_format *f, double max)
{
    double top = (double)top_of(f);
    int e = qn_exponent_of(max) - qn_exponent_of(top);
    while (ldexp(top, e) < max) {
        e++;
    }
    while (ldexp(top, e - 1) >= max) {
        e--;
    }
    return normal_exponent(e);
}

static void fit_po2(qn_params *p, const qn_format *f, float lo, float hi)
{
    p->scale = (float)ldexp(1.0, covering_exponent(f, (double)fmaxf(fabsf(lo), fabsf(hi))));
}

/* 2^rint(log2(scale + epsilon)), QKeras' power of two for a finite scale; the epsilon holds the exponent at -23 or
 * above. */
static float qkeras_power(float scale)
{
    const float epsilon = 1e-7f;
    return ldexpf(1.0f, normal_exponent((int)rintf(log2f(scale + epsilon))));
}

/* Where QKeras' alternation starts. */
static void fit_qkeras_po2(qn_params *p, const qn_format *f, float lo, float hi)
{
    p->scale = qkeras_power(fmaxf(fabsf(lo), fabsf(hi)) / (float)top_of(f));
}

void qn_int_from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    static void (*const fits[])(qn_params *, const qn_format *, float, float) = {
        [QN_FIT_SYMMETRIC] = fit_symmetric,   [QN_FIT_SYMMETRIC_FULL] = fit_symmetric_full,
        [QN_FIT_LLTFI] = fit_lltfi,           [QN_FIT_AFFINE] = fit_affine,
        [QN_FIT_POSITIVE] = fit_positive,     [QN_FIT_QKERAS_AUTO] = fit_symmetric,
        [QN_FIT_QKERAS_PO2] = fit_qkeras_po2, [QN_FIT_PO2] = fit_po2,
    };
    float low = (float)lo, high = (float)hi;
    if (low == 0.0f && high == 0.0f) {
        return; /* neutral: everything is zero */
    }
    qn_fit_kind fit = f->fit;
    if (fit == QN_FIT_DEFAULT) {
        fit = !f->is_signed ? QN_FIT_AFFINE : f->bits == 1 ? QN_FIT_SYMMETRIC_FULL : QN_FIT_SYMMETRIC;
    }
    fits[fit](p, f, isfinite(low) ? low : -FLT_MAX, isfinite(high) ? high : FLT_MAX);
}

/* Sum of squared errors when the scale is 2^exponent. */
static double squared_error(const qn_format *f, int exponent, const double *x, int64_t n)
{
    const qn_format_row *row = qn_format_row_of(QN_FORMAT_INT);
    const qn_params p = {.scale = (float)ldexp(1.0, exponent)};
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double difference = row->decode(f, &p, row->encode(f, &p, x[i], 0)) - x[i];
        sum += difference * difference;
    }
    return sum;
}

static void search_po2(qn_params *p, const qn_format *f, const double *x, int64_t n, double max)
{
    enum { BELOW = 4 }; /* how far under the covering exponent clipping can pay */
    int highest = covering_exponent(f, max), best = highest;
    double best_error = squared_error(f, highest, x, n);
    for (int e = highest - 1; e >= highest - BELOW && e >= FLT_MIN_EXP - 1; e--) {
        double error = squared_error(f, e, x, n);
        if (error < best_error) {
            best = e, best_error = error;
        }
    }
    p->scale = (float)ldexp(1.0, best);
}

/* QKeras' alternation: with the codes fixed, the least-squares scale; with that rounded to a power of two, new codes. */
static void alternate_qkeras_po2(qn_params *p, const qn_format *f, const double *x, int64_t n, double max)
{
    enum { PASSES = 5 };
    const float epsilon = 1e-7f;
    const qn_format_row *row = qn_format_row_of(QN_FORMAT_INT);
    fit_qkeras_po2(p, f, (float)-max, (float)max);
    for (int pass = 0; pass < PASSES; pass++) {
        const qn_params unit = {.scale = 1.0f};
        double xz = 0.0, zz = 0.0;
        for (int64_t i = 0; i < n; i++) {
            double z = row->decode(f, &unit, row->encode(f, p, x[i], 0));
            xz += x[i] * z;
            zz += z * z;
        }
        float mean = (float)fmin(xz / (double)n, (double)FLT_MAX);
        p->scale = qkeras_power(mean / ((float)(zz / (double)n) + epsilon));
    }
}

bool qn_int_from_values(qn_params *p, const qn_format *f, double *x, int64_t n)
{
    if (f->fit != QN_FIT_PO2 && f->fit != QN_FIT_QKERAS_PO2) {
        return false;
    }
    double max = 0.0;
    for (int64_t i = 0; i < n; i++) {
        max = fmax(max, fabs(x[i]));
    }
    if (max > 0.0) {
        (f->fit == QN_FIT_PO2 ? search_po2 : alternate_qkeras_po2)(p, f, x, n, max);
    }
    return true;
}
