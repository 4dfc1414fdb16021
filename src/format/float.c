/* float<e,m,variant,bias> and the named small floats: IEEE 754 (fp16), bfloat16, OCP 8-bit floating point 1.0 and OCP
 * Microscaling 1.0. sign | e exponent bits | m mantissa bits, with subnormals. */
#include "format/float.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/round.h"
#include "format/row.h"

static const struct {
    const char *name;
    int exponent_bits, mantissa_bits;
    qn_float_variant variant;
} named[] = {
    {"fp16", 5, 10, QN_FLOAT_IEEE},     {"bf16", 8, 7, QN_FLOAT_IEEE},      {"fp8e4m3", 4, 3, QN_FLOAT_FN},
    {"fp8e5m2", 5, 2, QN_FLOAT_IEEE},   {"fp6e3m2", 3, 2, QN_FLOAT_FINITE}, {"fp6e2m3", 2, 3, QN_FLOAT_FINITE},
    {"fp4e2m1", 2, 1, QN_FLOAT_FINITE},
};
static const char *const heads[] = {"float",   "fp16",    "bf16",    "fp8e4m3", "fp8e5m2",
                                    "fp6e3m2", "fp6e2m3", "fp4e2m1", NULL};
enum { N_NAMED = sizeof named / sizeof named[0], EXPONENT_MAX = 10 };

static const char *const variants[] = {
    [QN_FLOAT_IEEE] = "ieee", [QN_FLOAT_FN] = "fn", [QN_FLOAT_FNUZ] = "fnuz", [QN_FLOAT_FINITE] = "finite"};
enum { N_VARIANTS = sizeof variants / sizeof variants[0] };

static int default_bias(int exponent_bits, qn_float_variant variant)
{
    int e = exponent_bits < 1 ? 1 : exponent_bits > EXPONENT_MAX ? EXPONENT_MAX : exponent_bits;
    return (1 << (e - 1)) - (variant == QN_FLOAT_FNUZ ? 0 : 1);
}

static void derive(qn_format *f)
{
    f->bits = 1 + f->exponent_bits + f->mantissa_bits;
}

bool qn_float_named(qn_format *f, const char *name)
{
    for (int i = 0; i < N_NAMED; i++) {
        if (strcmp(name, named[i].name) == 0) {
            f->exponent_bits = named[i].exponent_bits;
            f->mantissa_bits = named[i].mantissa_bits;
            f->variant = named[i].variant;
            f->exponent_bias = default_bias(f->exponent_bits, f->variant);
            derive(f);
            return true;
        }
    }
    return false;
}

const char *qn_float_name(const qn_format *f)
{
    for (int i = 0; i < N_NAMED; i++) {
        if (f->exponent_bits == named[i].exponent_bits && f->mantissa_bits == named[i].mantissa_bits &&
            f->variant == named[i].variant && f->exponent_bias == default_bias(f->exponent_bits, f->variant)) {
            return named[i].name;
        }
    }
    return NULL;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    if (head > 0) {
        qn_float_named(f, heads[head]);
        return text->n_args == 0 ? QN_OK
                                 : qn_fail(err, QN_EINVAL, text->where,
                                           "%s takes no arguments; float<e,m,variant> does", heads[head]);
    }
    if (text->n_args < 2) {
        return qn_fail(err, QN_EINVAL, text->where, "%d arguments; write float<e,m,variant>, as in float<4,3,fn>",
                       text->n_args);
    }
    QN_TRY(qn_format_text_int(&f->exponent_bits, text, 0, "exponent bits e", err));
    QN_TRY(qn_format_text_int(&f->mantissa_bits, text, 1, "mantissa bits m", err));
    int variant = QN_FLOAT_IEEE;
    if (text->n_args > 2) {
        QN_TRY(qn_format_text_word(&variant, text->args[2], variants, N_VARIANTS, "variant", text->where, err));
    }
    f->variant = (qn_float_variant)variant;
    f->exponent_bias = default_bias(f->exponent_bits, f->variant);
    return text->n_args > 3 ? qn_format_text_int(&f->exponent_bias, text, 3, "bias", err) : QN_OK;
}

static bool word(qn_format *f, const char *text)
{
    bool infinity = strcmp(text, "inf") == 0;
    f->overflow = infinity ? QN_OVERFLOW_INFINITY : f->overflow;
    return infinity;
}

/* The bias keeps every exponent within those of doubles, which carry the exact values. */
static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    int e = f->exponent_bits < 1 ? 1 : f->exponent_bits > EXPONENT_MAX ? EXPONENT_MAX : f->exponent_bits;
    b[0] = QN_BOUND("exponent bits e", exponent_bits, 1, EXPONENT_MAX);
    b[1] = QN_BOUND("mantissa bits m", mantissa_bits, 0, 15 - e);
    b[2] = QN_BOUND("variant", variant, 0, N_VARIANTS - 1);
    b[3] = QN_BOUND("bias", exponent_bias, (1 << e) - 1024, 1000);
    return 4;
}

static const char *refuse(const qn_format *f)
{
    if (f->overflow != QN_OVERFLOW_SATURATE && f->overflow != QN_OVERFLOW_INFINITY) {
        return "floats saturate, or overflow to infinity (':inf')";
    }
    return f->overflow == QN_OVERFLOW_INFINITY && f->variant != QN_FLOAT_IEEE
               ? "only the ieee variant has infinities to overflow to"
               : NULL;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    const char *inf = f->overflow == QN_OVERFLOW_INFINITY ? ":inf" : "";
    const char *known = qn_float_name(f);
    if (known != NULL) {
        snprintf(name, QN_FORMAT_NAME_MAX, "%s%s", known, inf);
        return;
    }
    const char *variant = (unsigned)f->variant < N_VARIANTS ? variants[f->variant] : "?";
    char bias[16] = "";
    if (f->exponent_bias != default_bias(f->exponent_bits, f->variant)) {
        snprintf(bias, sizeof bias, ",%d", f->exponent_bias);
    }
    snprintf(name, QN_FORMAT_NAME_MAX, "float<%d,%d,%s%s>%s", f->exponent_bits, f->mantissa_bits, variant, bias, inf);
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    out[0] = (qn_field){"sign", f->bits - 1, 1};
    out[1] = (qn_field){"exponent", f->mantissa_bits, f->exponent_bits};
    out[2] = (qn_field){"mantissa", 0, f->mantissa_bits};
    return f->mantissa_bits > 0 ? 3 : 2;
}

static uint32_t sign_bit(const qn_format *f)
{
    return (uint32_t)1 << (f->exponent_bits + f->mantissa_bits);
}

uint32_t qn_float_greatest(const qn_format *f)
{
    uint32_t all = sign_bit(f) - 1;
    switch (f->variant) {
    case QN_FLOAT_IEEE:
        return (((uint32_t)1 << f->exponent_bits) - 1) * ((uint32_t)1 << f->mantissa_bits) - 1;
    case QN_FLOAT_FN:
        return all - 1;
    default:
        return all;
    }
}

/* The positive quiet NaN; 0 where there is none (finite; ieee without mantissa). */
uint32_t qn_float_nan(const qn_format *f)
{
    switch (f->variant) {
    case QN_FLOAT_IEEE:
        return f->mantissa_bits > 0 ? qn_float_greatest(f) + 1 + ((uint32_t)1 << (f->mantissa_bits - 1)) : 0;
    case QN_FLOAT_FN:
        return sign_bit(f) - 1;
    case QN_FLOAT_FNUZ:
        return sign_bit(f);
    default:
        return 0;
    }
}

double qn_float_decode(const qn_format *f, uint32_t code)
{
    uint32_t magnitude = code & (sign_bit(f) - 1), hidden = (uint32_t)1 << f->mantissa_bits;
    bool negative = (code & sign_bit(f)) != 0;
    double value;
    if (f->variant == QN_FLOAT_FNUZ && negative && magnitude == 0) {
        value = NAN;
    } else if (magnitude > qn_float_greatest(f)) {
        value = f->variant == QN_FLOAT_IEEE && magnitude == qn_float_greatest(f) + 1 ? INFINITY : NAN;
    } else {
        uint32_t exponent = magnitude >> f->mantissa_bits, mantissa = magnitude & (hidden - 1);
        uint32_t significand = exponent > 0 ? mantissa | hidden : mantissa;
        value = ldexp((double)significand, (exponent > 0 ? (int)exponent : 1) - f->exponent_bias - f->mantissa_bits);
    }
    return negative ? -value : value;
}

uint32_t qn_float_encode(const qn_format *f, double x, uint32_t random)
{
    uint32_t greatest = qn_float_greatest(f), code = 0;
    bool negative = signbit(x);
    if (isnan(x)) {
        return qn_float_nan(f);
    }
    if (isinf(x)) {
        code = greatest + (f->overflow == QN_OVERFLOW_INFINITY ? 1 : 0);
    } else if (x != 0.0) {
        /* With the exponent held at the least one, the significand of subnormals loses its leading bit, and the code is
         * the same sum: the carry of rounding goes into the exponent. */
        int least = 1 - f->exponent_bias, exponent = qn_exponent_of(x);
        exponent = exponent < least ? least : exponent;
        double scaled = qn_scale_exact(x, f->mantissa_bits - exponent);
        uint64_t significand = (uint64_t)fabs(qn_round_to_integer(scaled, f->rounding, random));
        uint64_t magnitude = ((uint64_t)(exponent - least) << f->mantissa_bits) + significand;
        bool inward = f->rounding == QN_ROUND_TOWARD_ZERO || (f->rounding == QN_ROUND_FLOOR && !negative);
        bool infinite = f->overflow == QN_OVERFLOW_INFINITY && !inward;
        code = magnitude <= greatest ? (uint32_t)magnitude : greatest + (infinite ? 1 : 0);
    }
    bool no_negative_zero = f->variant == QN_FLOAT_FNUZ && code == 0;
    return negative && !no_negative_zero ? code | sign_bit(f) : code;
}

bool qn_float_canonical(const qn_format *f, uint32_t code)
{
    uint32_t magnitude = code & (sign_bit(f) - 1);
    bool infinity = magnitude == qn_float_greatest(f) + 1 && f->overflow == QN_OVERFLOW_INFINITY;
    return (magnitude <= qn_float_greatest(f) || infinity) && !(f->variant == QN_FLOAT_FNUZ && code == sign_bit(f));
}

int64_t qn_float_order(const qn_format *f, uint32_t code)
{
    int64_t magnitude = code & (sign_bit(f) - 1);
    return (code & sign_bit(f)) != 0 ? -magnitude : magnitude;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p;
    return qn_float_encode(f, x, random);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)p;
    return qn_float_decode(f, code);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    (void)p;
    l->highest = qn_float_decode(f, qn_float_greatest(f));
    l->lowest = -l->highest;
    l->smallest = qn_float_decode(f, 1);
}

const qn_format_row qn_format_row_float = {
    .about =
        {QN_FORMAT_FLOAT, "float<e,m,variant,bias>",
         "float of 1+e+m bits (at most 16, e 1 to 10), variant ieee, fn, fnuz or finite; ':inf' overflows to infinity "
         "instead of saturating",
         "IEEE 754, bfloat16, OCP 8-bit floating point 1.0, OCP Microscaling 1.0",
         "fp16 bf16 fp8e4m3 fp8e5m2 fp6e3m2 fp6e2m3 fp4e2m1 float<4,3,fnuz> float<3,4,ieee,5>"},
    .heads = heads,
    .args_min = 0,
    .args_max = 4,
    .roundings = 1u << QN_ROUND_NEAREST_EVEN | 1u << QN_ROUND_NEAREST_AWAY | 1u << QN_ROUND_TOWARD_ZERO |
                 1u << QN_ROUND_FLOOR | 1u << QN_ROUND_STOCHASTIC,
    .parse = parse,
    .word = word,
    .derive = derive,
    .bounds = bounds,
    .refuse = refuse,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .canonical = qn_float_canonical,
    .order = qn_float_order,
    .limits = limits,
};
