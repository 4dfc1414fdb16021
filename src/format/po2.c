/* po2<b>: signed powers of two, for multiplication by shifts. sign | field f of b-1 bits: 0 is zero, f > 0 is
 * 2^(exp_bias + f). With `nozero` f = 0 is 2^exp_bias. With `log` (which has no zero, as in QKeras' quantized_po2) the nearest
 * power is the one nearest in the logarithm: the boundary is sqrt 2 between two powers; else it is 1.5, and 1.5 itself goes
 * up. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/round.h"
#include "format/row.h"

/* An all-zero tensor without a code for zero: every power is 0 in any float. */
enum { NOTHING = -4096 };

/* No double lies between this one and the square root of 2, which is below it. */
static const double sqrt_2 = 0x1.6a09e667f3bcdp0;

static const char *const options[] = {"nozero", "log"};

static void set_option(qn_format *f, int option)
{
    f->no_zero = true;
    f->log = f->log || option == 1;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    for (int i = 1; i < text->n_args; i++) {
        int option;
        QN_TRY(qn_format_text_word(&option, text->args[i], options, 2, "option of po2", text->where, err));
        set_option(f, option);
    }
    return qn_format_text_int(&f->bits, text, 0, "bits b", err);
}

static bool word(qn_format *f, const char *text)
{
    for (int i = 0; i < 2; i++) {
        if (strcmp(text, options[i]) == 0) {
            set_option(f, i);
            return true;
        }
    }
    return false;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits b", bits, 2, 8);
    return 1;
}

static const char *refuse(const qn_format *f)
{
    return f->log && !f->no_zero ? "rounding in the logarithm has no zero" : NULL;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "po2<%d%s>", f->bits, f->log ? ",log" : f->no_zero ? ",nozero" : "");
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    out[0] = (qn_field){"sign", f->bits - 1, 1};
    out[1] = (qn_field){"exponent", 0, f->bits - 1};
    return 2;
}

static uint32_t sign_bit(const qn_format *f)
{
    return (uint32_t)1 << (f->bits - 1);
}

/* Exponent of the power of two nearest to a magnitude > 0. */
static int nearest_exponent(const qn_format *f, double magnitude)
{
    int exponent = qn_exponent_of(magnitude);
    return exponent + (ldexp(magnitude, -exponent) >= (f->log ? sqrt_2 : 1.5) ? 1 : 0);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    if (isnan(x) || x == 0.0) {
        return 0;
    }
    double magnitude = fabs(x);
    uint32_t sign = x < 0.0 ? sign_bit(f) : 0, top = sign_bit(f) - 1;
    int field = isinf(x) ? (int)top : nearest_exponent(f, magnitude) - p->exp_bias;
    int least = f->no_zero ? 0 : 1;
    if (field < least) {
        /* Halfway between 0 and the least power is 2^(exponent - 1), which goes up. */
        bool rounds_up = !isinf(x) && magnitude >= ldexp(1.0, p->exp_bias + least - 1);
        return f->no_zero || rounds_up ? sign | (uint32_t)least : 0;
    }
    return sign | (field > (int)top ? top : (uint32_t)field);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    uint32_t field = code & (sign_bit(f) - 1);
    if (field == 0 && !f->no_zero) {
        return 0.0;
    }
    double value = ldexp(1.0, p->exp_bias + (int)field);
    return (code & sign_bit(f)) != 0 ? -value : value;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return f->no_zero || code != sign_bit(f);
}

static int64_t order(const qn_format *f, uint32_t code)
{
    int64_t magnitude = (int64_t)(code & (sign_bit(f) - 1)) + (f->no_zero ? 1 : 0);
    return (code & sign_bit(f)) != 0 ? -magnitude : magnitude;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, sign_bit(f) - 1);
    l->lowest = -l->highest;
    l->smallest = decode(f, p, f->no_zero ? 0 : 1);
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    double max = fmax(fabs(lo), fabs(hi));
    if (max > 0.0) {
        p->exp_bias = nearest_exponent(f, max) - (int)(sign_bit(f) - 1);
    } else {
        p->exp_bias = f->no_zero ? NOTHING : 0;
    }
}

static const char *const heads[] = {"po2", NULL};

const qn_format_row qn_format_row_po2 = {
    .about = {QN_FORMAT_PO2, "po2<b>, po2<b,nozero>, po2<b,log>",
              "signed powers of two, b bits (2 to 8); nozero: no code for 0; log: nearest in the logarithm",
              "powers of two; log: QKeras quantized_po2", "po2<4> po2<4,nozero> po2<8,log>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 3,
    .parameters = QN_PARAM_EXP_BIAS,
    .parse = parse,
    .word = word,
    .bounds = bounds,
    .refuse = refuse,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = order,
    .limits = limits,
    .from_range = from_range,
};
