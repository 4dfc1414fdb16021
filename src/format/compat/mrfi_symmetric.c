/* mrfi-symmetric<b>: SymmericQuantization of MRFI (sic). In f32, with L = 2^(b-1)-1 and R = range * scale_factor:
 * q = rint(clamp((x + R) * k - L, -L, L)), x' = (q + L) * kd - R. Parameters: multiplier k, scale kd, shift R. */
#include <float.h>

#include "format/compat/mrfi.h"

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    return qn_format_text_int(&f->bits, text, 0, "bits", err);
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits", bits, 2, 32);
    return 1;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "mrfi-symmetric<%d>", f->bits);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    float top = qn_mrfi_top(f), r = p->shift, k = p->multiplier;
    float shifted = (float)x + r, scaled = shifted * k, v = scaled - top;
    double exact = (x + (double)r) * (double)k - (double)top;
    return qn_compat_integer_code(f, isnan(x) ? 0.0f : qn_mrfi_clamp_round(v, exact, -top, top));
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    float q = (float)qn_compat_integer(f, code), from_low = q + qn_mrfi_top(f), scaled = from_low * p->scale;
    if (!isfinite(scaled)) { /* 2R is beyond f32 */
        double exact = (double)from_low * (double)p->scale - (double)p->shift;
        return fmin(fmax(exact, -FLT_MAX), FLT_MAX);
    }
    return (double)(scaled - p->shift);
}

/* A range of zero: codes 0, which decode to 0. */
static void fit_zero(qn_params *p, const qn_format *f)
{
    p->scale = p->multiplier = 1.0f;
    p->shift = qn_mrfi_top(f);
}

/* A range given as a number: Python's doubles, rounded once. */
static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    double range = fmax(fabs(lo), fabs(hi)), top = ldexp(1.0, f->bits - 1) - 1.0;
    float k = (float)(2.0 * top / (2.0 * range));
    if (range == 0.0 || !isfinite(k) || range > (double)FLT_MAX) {
        fit_zero(p, f);
        return;
    }
    p->multiplier = k;
    p->scale = (float)(2.0 * range / (2.0 * top));
    p->shift = (float)range;
}

/* dynamic_range auto: an f32 tensor, and torch divides a number by a tensor as reciprocal times number. */
static void from_measured(qn_params *p, const qn_format *f, double lo, double hi)
{
    float range = (float)fmax(fabs(lo), fabs(hi)), width = 2.0f * range;
    float levels = (float)(2.0 * (ldexp(1.0, f->bits - 1) - 1.0)), reciprocal = 1.0f / width;
    if (!isfinite(width) || !isfinite(reciprocal) || !isfinite(reciprocal * levels)) {
        from_range(p, f, lo, hi);
        return;
    }
    p->multiplier = reciprocal * levels;
    p->scale = width / levels;
    p->shift = range;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return code != (uint32_t)1 << (f->bits - 1) || f->bits > 25;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, qn_code_mask(f->bits - 1));
    l->lowest = decode(f, p, ((uint32_t)1 << (f->bits - 1)) + 1);
    l->smallest = (double)p->scale;
}

static const char *const heads[] = {"mrfi-symmetric", NULL};

const qn_format_row qn_format_row_mrfi_symmetric = {
    .about =
        {QN_FORMAT_MRFI_SYMMETRIC, "mrfi-symmetric<bits>",
         "MRFI's SymmericQuantization, bit for bit: 2 to 32 bits; its dynamic_range is the fit, 'auto' the default",
         "MRFI", "mrfi-symmetric<8> mrfi-symmetric<32>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 1,
    .digits = true,
    .parameters = QN_PARAM_SCALE | QN_PARAM_SHIFT | QN_PARAM_MULTIPLIER,
    .parse = parse,
    .bounds = bounds,
    .print = print,
    .fields = qn_compat_integer_fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = qn_compat_integer,
    .limits = limits,
    .from_range = from_range,
    .from_measured = from_measured,
};
