/* mrfi-positive<b>: PositiveQuantization of MRFI. In f32, with U = 2^b-1: q = rint(clamp(x * k, 0, U)), x' = q * kd.
 * Parameters: multiplier k, scale kd. */
#include <float.h>

#include "format/compat/mrfi.h"

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    f->is_signed = false;
    return qn_format_text_int(&f->bits, text, 0, "bits", err);
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits", bits, 1, 32);
    return 1;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "mrfi-positive<%d>", f->bits);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    float scaled = isnan(x) ? 0.0f : (float)x * p->multiplier;
    return qn_compat_integer_code(f, qn_mrfi_clamp_round(scaled, x * (double)p->multiplier, 0.0f, qn_mrfi_top(f)));
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    float value = (float)qn_compat_integer(f, code) * p->scale;
    return (double)fminf(value, FLT_MAX);
}

/* As in mrfi-symmetric: a number is a double, rounded once. */
static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    double range = fmax(fabs(lo), fabs(hi)), top = ldexp(1.0, f->bits) - 1.0;
    if (range != 0.0 && isfinite((float)(top / range)) && isfinite((float)(range / top))) {
        p->multiplier = (float)(top / range);
        p->scale = (float)(range / top);
    }
}

static void from_measured(qn_params *p, const qn_format *f, double lo, double hi)
{
    float range = (float)fmax(fabs(lo), fabs(hi)), top = qn_mrfi_top(f), reciprocal = 1.0f / range;
    if (!isfinite(reciprocal) || !isfinite(reciprocal * top)) {
        from_range(p, f, lo, hi);
        return;
    }
    p->multiplier = reciprocal * top;
    p->scale = range / top;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, qn_code_mask(f->bits));
    l->lowest = 0.0;
    l->smallest = (double)p->scale;
}

static const char *const heads[] = {"mrfi-positive", NULL};

const qn_format_row qn_format_row_mrfi_positive = {
    .about =
        {QN_FORMAT_MRFI_POSITIVE, "mrfi-positive<bits>",
         "MRFI's PositiveQuantization, bit for bit: 1 to 32 bits; its dynamic_range is the fit, 'auto' the default",
         "MRFI", "mrfi-positive<8> mrfi-positive<24>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 1,
    .digits = true,
    .parameters = QN_PARAM_SCALE | QN_PARAM_MULTIPLIER,
    .parse = parse,
    .bounds = bounds,
    .print = print,
    .fields = qn_compat_integer_fields,
    .encode = encode,
    .decode = decode,
    .canonical = qn_compat_all_canonical,
    .order = qn_compat_integer,
    .limits = limits,
    .from_range = from_range,
    .from_measured = from_measured,
};
