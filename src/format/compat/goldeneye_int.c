/* goldeneye-int<b>, goldeneye-uint<b>: GoldenEye's INT path (quantizeSigned_INPLACE, quantizeUnsigned). In f32, with the
 * layer's maximum R (scale), k = 1/R (multiplier) and n = 2^(b-1) (unsigned: 2^b):
 * x' = min(rint(x * k * n) / n, 1 - 1/n) * R.
 * There is no lower clamp, so negatives go as far below as they please and no code of b bits holds them: a code is the
 * f32 pattern of the integer that rounding gives. */
#include <float.h>

#include "format/compat/compat.h"

/* `mode` is b. */
static void derive(qn_format *f)
{
    f->bits = 32;
    f->exponent_bits = 8;
    f->mantissa_bits = 23;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    f->is_signed = head == 0;
    return qn_format_text_int(&f->mode, text, 0, "bits", err);
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    b[0] = QN_BOUND("bits", mode, f->is_signed ? 2 : 1, 24);
    return 1;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "goldeneye-%sint<%d>", f->is_signed ? "" : "u", f->mode);
}

/* log2 of the levels up to R. */
static int level_bits(const qn_format *f)
{
    return f->mode - (f->is_signed ? 1 : 0);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    float ratio = (float)x * p->multiplier, top = ldexpf(1.0f, level_bits(f)) - 1.0f;
    float q = rintf(ldexpf(ratio, level_bits(f)));
    q = isnan(q) ? 0.0f : q > top ? top : q < -FLT_MAX ? -FLT_MAX : q;
    uint32_t code;
    memcpy(&code, &q, sizeof code);
    return code;
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    float q, value;
    memcpy(&q, &code, sizeof q);
    value = ldexpf(q, -level_bits(f)) * p->scale;
    return isinf(value) && isfinite(q) ? (double)copysignf(FLT_MAX, value) : (double)value;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    float q;
    memcpy(&q, &code, sizeof q);
    return isfinite(q) && q == rintf(q) && q <= ldexpf(1.0f, level_bits(f)) - 1.0f;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    double n = ldexp(1.0, level_bits(f));
    l->highest = (double)p->scale * (1.0 - 1.0 / n);
    l->lowest = -(double)FLT_MAX;
    l->smallest = (double)p->scale / n;
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    (void)f;
    double max = fmax(fabs(lo), fabs(hi));
    if (max == 0.0) {
        return; /* neutral */
    }
    max = max < (double)FLT_MIN ? FLT_MIN : fmin(max, FLT_MAX);
    p->scale = (float)max;
    p->multiplier = (float)(1.0 / max);
}

static const char *const heads[] = {"goldeneye-int", "goldeneye-uint", NULL};

const qn_format_row qn_format_row_goldeneye_int = {
    .about =
        {QN_FORMAT_GOLDENEYE_INT, "goldeneye-int<bits>, goldeneye-uint<bits>",
         "GoldenEye's INT path, bit for bit: 1 or 2 to 24 bits, no lower clamp; codes are f32 patterns of integers",
         "GoldenEye", "goldeneye-int<8> goldeneye-uint<8>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 1,
    .digits = true,
    .parameters = QN_PARAM_SCALE | QN_PARAM_MULTIPLIER,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .print = print,
    .fields = qn_compat_float_fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = qn_compat_magnitude_order,
    .limits = limits,
    .from_range = from_range,
};
