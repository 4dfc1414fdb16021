/* adaptivfloat<n,e>: Tambe et al., "Algorithm-hardware co-design of adaptive floating-point encodings for resilient
 * deep learning inference", DAC 2020, Algorithm 1. sign | e exponent bits | m = n-e-1 mantissa bits; no subnormals, no
 * infinity, no NaN; exponent and mantissa 0 is zero, so the smallest magnitude is 2^exp_bias * (1 + 2^-m). */
#include <math.h>
#include <stdio.h>

#include "format/round.h"
#include "format/row.h"

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    QN_TRY(qn_format_text_int(&f->bits, text, 0, "bits n", err));
    return qn_format_text_int(&f->exponent_bits, text, 1, "exponent bits e", err);
}

static void derive(qn_format *f)
{
    f->mantissa_bits = f->bits - f->exponent_bits - 1;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    b[0] = QN_BOUND("bits n", bits, 2, 16);
    b[1] = QN_BOUND("exponent bits e", exponent_bits, 1, f->bits - 1 < 8 ? f->bits - 1 : 8);
    return 2;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "adaptivfloat<%d,%d>", f->bits, f->exponent_bits);
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    out[0] = (qn_field){"sign", f->bits - 1, 1};
    out[1] = (qn_field){"exponent", f->mantissa_bits, f->exponent_bits};
    out[2] = (qn_field){"mantissa", 0, f->mantissa_bits};
    return f->mantissa_bits > 0 ? 3 : 2;
}

static uint32_t sign_of(const qn_format *f)
{
    return (uint32_t)1 << (f->bits - 1);
}

/* Is a magnitude below value_min, code 1, rounded up to it? To nearest, the half goes up. */
static bool reaches_least(double magnitude, double least, bool negative, qn_rounding rounding, uint32_t random)
{
    switch (rounding) {
    case QN_ROUND_TOWARD_ZERO:
        return false;
    case QN_ROUND_FLOOR:
        return negative;
    case QN_ROUND_STOCHASTIC:
        return magnitude / least * 0x1p32 > (double)random;
    default:
        return magnitude >= least / 2.0;
    }
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    uint32_t magnitude = code & (sign_of(f) - 1), m = (uint32_t)f->mantissa_bits;
    if (magnitude == 0) {
        return 0.0;
    }
    double significand = (double)((magnitude & ((1u << m) - 1)) | 1u << m);
    double value = ldexp(significand, (int)(magnitude >> m) + p->exp_bias - (int)m);
    return (code & sign_of(f)) != 0 ? -value : value;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    double magnitude = fabs(x), least = decode(f, p, 1), greatest = decode(f, p, sign_of(f) - 1);
    bool negative = signbit(x);
    uint32_t code;
    if (magnitude == 0.0 || isnan(x)) {
        return 0;
    }
    if (magnitude >= greatest) {
        code = sign_of(f) - 1;
    } else if (magnitude < least) {
        code = reaches_least(magnitude, least, negative, f->rounding, random) ? 1 : 0;
    } else {
        int exponent = qn_exponent_of(magnitude);
        double scaled = ldexp(x, f->mantissa_bits - exponent); /* magnitude in [2^m, 2^(m+1)) */
        uint32_t significand = (uint32_t)fabs(qn_round_to_integer(scaled, f->rounding, random));
        code = ((uint32_t)(exponent - p->exp_bias) << f->mantissa_bits) + significand - (1u << f->mantissa_bits);
    }
    return negative && code != 0 ? code | sign_of(f) : code;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return code != sign_of(f);
}

static int64_t order(const qn_format *f, uint32_t code)
{
    int64_t magnitude = code & (sign_of(f) - 1);
    return (code & sign_of(f)) != 0 ? -magnitude : magnitude;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, sign_of(f) - 1);
    l->lowest = -l->highest;
    l->smallest = decode(f, p, 1);
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    double max = fmax(fabs(lo), fabs(hi));
    p->exp_bias = max == 0.0 ? 0 : qn_exponent_of(max) - ((1 << f->exponent_bits) - 1);
}

static const char *const heads[] = {"adaptivfloat", NULL};

const qn_format_row qn_format_row_adaptivfloat = {
    .about =
        {QN_FORMAT_ADAPTIVFLOAT, "adaptivfloat<n,e>",
         "float of n bits (2 to 16), e of them exponent (1 to 8), with an exponent bias for each tensor or channel",
         "Tambe et al., DAC 2020, Algorithm 1", "adaptivfloat<8,3> adaptivfloat<4,2> adaptivfloat<16,5>"},
    .heads = heads,
    .args_min = 2,
    .args_max = 2,
    .roundings = 1u << QN_ROUND_NEAREST_EVEN | 1u << QN_ROUND_NEAREST_AWAY | 1u << QN_ROUND_TOWARD_ZERO |
                 1u << QN_ROUND_FLOOR | 1u << QN_ROUND_STOCHASTIC,
    .parameters = QN_PARAM_EXP_BIAS,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = order,
    .limits = limits,
    .from_range = from_range,
};
