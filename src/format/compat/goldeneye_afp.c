/* goldeneye-afp<n,e>, goldeneye-afp<n,e,bias>: GoldenEye's adaptive_float, which is the current public AdaptivFloat: of
 * the 2^e exponents it uses 2^e - 2, and what is below the least of them becomes 0.
 * sign | e | m = n-1-e; field f > 0 is exponent exp_bias + f, field 0 is zero. The bias is counted as GoldenEye does; -1
 * is no bias there but asks for the one that the tensor's maximum gives, and so it does here. */
#include <float.h>

#include "format/compat/compat.h"

enum { AUTOMATIC = -1 };

static void derive(qn_format *f)
{
    f->bits = 1 + f->exponent_bits + f->mantissa_bits;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    int n;
    QN_TRY(qn_format_text_int(&n, text, 0, "bits n", err));
    QN_TRY(qn_format_text_int(&f->exponent_bits, text, 1, "exponent bits e", err));
    f->mantissa_bits = n - 1 - f->exponent_bits;
    f->exponent_bias = AUTOMATIC;
    return text->n_args > 2 ? qn_format_text_int(&f->exponent_bias, text, 2, "bias", err) : QN_OK;
}

/* Every value is within the reach of f32. */
static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    int e = f->exponent_bits < 2 ? 2 : f->exponent_bits > 8 ? 8 : f->exponent_bits;
    b[0] = QN_BOUND("exponent bits e", exponent_bits, 2, 8);
    b[1] = QN_BOUND("mantissa bits n-1-e", mantissa_bits, 0, 23);
    b[2] = QN_BOUND("bias", exponent_bias, (1 << (e - 1)) - 128, 126 - (1 << (e - 1)) + 3);
    return 3;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    char bias[16] = "";
    if (f->exponent_bias != AUTOMATIC) {
        snprintf(bias, sizeof bias, ",%d", f->exponent_bias);
    }
    snprintf(name, QN_FORMAT_NAME_MAX, "goldeneye-afp<%d,%d%s>", f->bits, f->exponent_bits, bias);
}

static uint32_t sign_of(const qn_format *f)
{
    return (uint32_t)1 << (f->bits - 1);
}

/* The code of the greatest value: the top exponent field is never used. */
static uint32_t greatest_code(const qn_format *f)
{
    return sign_of(f) - 1 - ((uint32_t)1 << f->mantissa_bits);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    uint32_t magnitude = code & (sign_of(f) - 1), hidden = (uint32_t)1 << f->mantissa_bits;
    int exponent = (int)(magnitude >> f->mantissa_bits);
    double significand = (double)((magnitude & (hidden - 1)) | hidden);
    double value = exponent > 0 ? ldexp(significand, exponent + p->exp_bias - f->mantissa_bits) : 0.0;
    return (code & sign_of(f)) != 0 ? -value : value;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    double magnitude = isnan(x) ? 0.0 : fabs((double)(float)x);
    uint32_t code;
    if (magnitude < ldexp(1.0, p->exp_bias + 1)) {
        code = 0;
    } else if (magnitude >= decode(f, p, greatest_code(f))) {
        code = greatest_code(f);
    } else { /* the carry of rounding goes into the exponent */
        int exponent = qn_exponent_of(magnitude);
        uint32_t significand = (uint32_t)rint(ldexp(magnitude, f->mantissa_bits - exponent));
        code = ((uint32_t)(exponent - p->exp_bias - 1) << f->mantissa_bits) + significand;
    }
    return x < 0.0 ? code | sign_of(f) : code;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    uint32_t magnitude = code & (sign_of(f) - 1);
    return magnitude <= greatest_code(f) && (magnitude == 0 || magnitude >= (uint32_t)1 << f->mantissa_bits);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, greatest_code(f));
    l->lowest = -l->highest;
    l->smallest = ldexp(1.0, p->exp_bias + 1);
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    double max = (double)(float)fmin(fmax(fabs(lo), fabs(hi)), (double)FLT_MAX);
    if (f->exponent_bias != AUTOMATIC) {
        p->exp_bias = 1 - (1 << (f->exponent_bits - 1)) - f->exponent_bias;
    } else {
        p->exp_bias = max == 0.0 ? 0 : qn_exponent_of(max) - (1 << f->exponent_bits) + 2;
    }
}

static const char *const heads[] = {"goldeneye-afp", "goldeneye-adaptivfloat", NULL};

const qn_format_row qn_format_row_goldeneye_afp = {
    .about = {QN_FORMAT_GOLDENEYE_AFP, "goldeneye-afp<n,e,bias>",
              "GoldenEye's adaptive_float(bit_width n, exp_len e, exp_bias), bit for bit (also AdaptivFloat's current "
              "release): two exponents fewer than adaptivfloat<n,e>",
              "GoldenEye, AdaptivFloat e107ec4", "goldeneye-afp<8,3> goldeneye-afp<8,4,7> goldeneye-adaptivfloat<8,3>"},
    .heads = heads,
    .args_min = 2,
    .args_max = 3,
    .parameters = QN_PARAM_EXP_BIAS,
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
