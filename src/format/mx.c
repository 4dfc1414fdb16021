/* mx<element,block>: OCP Microscaling Formats 1.0. A block shares a power of two, stored as an E8M0 byte (exponent + 127;
 * 0xFF, exponent 128, is NaN); elements are small floats, or int8 with six bits after the point. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/float.h"
#include "format/round.h"
#include "format/row.h"

enum { DEFAULT_BLOCK = 32, SCALE_LIMIT = 127, SCALE_NAN = 128, INT8_BITS = 8, INT8_FRACTION = 6, N_ELEMENTS = 6 };

static const char *const elements[N_ELEMENTS] = {"fp8e4m3", "fp8e5m2", "fp6e3m2", "fp6e2m3", "fp4e2m1", "int8"};

static bool is_int8(const qn_format *f)
{
    return f->exponent_bits == 0;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    int element;
    QN_TRY(qn_format_text_word(&element, text->args[0], elements, N_ELEMENTS, "element of mx", text->where, err));
    f->bits = INT8_BITS;
    qn_float_named(f, elements[element]); /* int8 is none: all float fields stay 0 */
    f->block = DEFAULT_BLOCK;
    return text->n_args > 1 ? qn_format_text_int(&f->block, text, 1, "block", err) : QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("block", block, 1, QN_BLOCK_MAX);
    return 1;
}

static const char *element_name(const qn_format *f)
{
    bool plain = f->mantissa_bits == 0 && f->exponent_bias == 0 && f->variant == QN_FLOAT_IEEE;
    const char *name = is_int8(f) ? (plain ? "int8" : "?") : qn_float_name(f);
    for (int i = 0; i < N_ELEMENTS && name != NULL; i++) {
        if (strcmp(name, elements[i]) == 0) {
            return elements[i];
        }
    }
    return NULL;
}

static const char *refuse(const qn_format *f)
{
    int bits = is_int8(f) ? INT8_BITS : 1 + f->exponent_bits + f->mantissa_bits;
    return element_name(f) == NULL || bits != f->bits || f->overflow != QN_OVERFLOW_SATURATE
               ? "elements of mx are fp8e4m3, fp8e5m2, fp6e3m2, fp6e2m3, fp4e2m1 or int8, and saturate"
               : NULL;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    const char *element = element_name(f);
    char block[16] = "";
    if (f->block != DEFAULT_BLOCK) {
        snprintf(block, sizeof block, ",%d", f->block);
    }
    snprintf(name, QN_FORMAT_NAME_MAX, "mx<%s%s>", element != NULL ? element : "?", block);
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    out[0] = (qn_field){"sign", f->bits - 1, 1};
    if (is_int8(f)) {
        out[1] = (qn_field){"integer", INT8_FRACTION, 1};
        out[2] = (qn_field){"fraction", 0, INT8_FRACTION};
        return 3;
    }
    out[1] = (qn_field){"exponent", f->mantissa_bits, f->exponent_bits};
    out[2] = (qn_field){"mantissa", 0, f->mantissa_bits};
    return 3;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    double scaled = isfinite(x) ? qn_scale_exact(x, -p->exp_bias) : x;
    if (!is_int8(f)) {
        return qn_float_encode(f, scaled, random);
    }
    if (isnan(scaled)) {
        return 0;
    }
    double v = qn_round_to_integer(qn_scale_exact(scaled, INT8_FRACTION), f->rounding, random);
    v = v < -128.0 ? -128.0 : v > 127.0 ? 127.0 : v;
    return (uint32_t)(int32_t)v & qn_code_mask(INT8_BITS);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    if (p->exp_bias == SCALE_NAN) {
        return NAN;
    }
    double element =
        is_int8(f) ? ldexp((double)qn_code_signed(code, INT8_BITS), -INT8_FRACTION) : qn_float_decode(f, code);
    return ldexp(element, p->exp_bias);
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return is_int8(f) || qn_float_canonical(f, code);
}

static int64_t order(const qn_format *f, uint32_t code)
{
    return is_int8(f) ? qn_code_signed(code, INT8_BITS) : qn_float_order(f, code);
}

static uint32_t greatest(const qn_format *f)
{
    return is_int8(f) ? 127 : qn_float_greatest(f);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, greatest(f));
    l->lowest = is_int8(f) ? decode(f, p, 128) : -l->highest;
    l->smallest = decode(f, p, 1);
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    double max = fmax(fabs(lo), fabs(hi));
    if (max == 0.0) {
        return;
    }
    const qn_params unscaled = {.scale = 1.0f};
    int exponent = qn_exponent_of(max) - qn_exponent_of(decode(f, &unscaled, greatest(f)));
    p->exp_bias = exponent < -SCALE_LIMIT ? -SCALE_LIMIT : exponent > SCALE_LIMIT ? SCALE_LIMIT : exponent;
}

static const char *const heads[] = {"mx", NULL};

const qn_format_row qn_format_row_mx = {
    .about = {QN_FORMAT_MX, "mx<element,block>",
              "elements fp8e4m3, fp8e5m2, fp6e3m2, fp6e2m3, fp4e2m1 or int8; a block (32) shares a power of two",
              "OCP Microscaling Formats 1.0", "mx<fp8e4m3> mx<fp4e2m1> mx<int8> mx<fp6e3m2,16>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 2,
    .roundings = 1u << QN_ROUND_NEAREST_EVEN | 1u << QN_ROUND_NEAREST_AWAY | 1u << QN_ROUND_TOWARD_ZERO |
                 1u << QN_ROUND_FLOOR | 1u << QN_ROUND_STOCHASTIC,
    .parameters = QN_PARAM_EXP_BIAS,
    .parse = parse,
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
    .by_exponent = true,
};
