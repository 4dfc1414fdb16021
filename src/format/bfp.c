/* bfp<m,block>: block floating point. A block of consecutive elements shares the exponent floor(log2 max |x|); elements are
 * m-bit two's complement integers of step 2^(exponent - m + 2), so that the greatest magnitude uses all bits. */
#include <math.h>
#include <stdio.h>

#include "format/round.h"
#include "format/row.h"

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    QN_TRY(qn_format_text_int(&f->bits, text, 0, "bits m", err));
    return qn_format_text_int(&f->block, text, 1, "block", err);
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits m", bits, 2, 16);
    b[1] = QN_BOUND("block", block, 1, QN_BLOCK_MAX);
    return 2;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "bfp<%d,%d>", f->bits, f->block);
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    out[0] = (qn_field){"sign", f->bits - 1, 1};
    out[1] = (qn_field){"mantissa", 0, f->bits - 1};
    return 2;
}

static int step_exponent(const qn_format *f, const qn_params *p)
{
    return p->exp_bias - f->bits + 2;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    double hi = ldexp(1.0, f->bits - 1) - 1.0, lo = -hi - 1.0;
    if (isnan(x)) {
        return 0;
    }
    double v = qn_round_to_integer(qn_scale_exact(x, -step_exponent(f, p)), f->rounding, random);
    v = v < lo ? lo : v > hi ? hi : v;
    return (uint32_t)(int32_t)v & qn_code_mask(f->bits);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    return ldexp((double)qn_code_signed(code, f->bits), step_exponent(f, p));
}

static bool canonical(const qn_format *f, uint32_t code)
{
    (void)f, (void)code;
    return true;
}

static int64_t order(const qn_format *f, uint32_t code)
{
    return qn_code_signed(code, f->bits);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    uint32_t top = (uint32_t)1 << (f->bits - 1);
    l->lowest = decode(f, p, top);
    l->highest = decode(f, p, top - 1);
    l->smallest = decode(f, p, 1);
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    (void)f;
    double max = fmax(fabs(lo), fabs(hi));
    p->exp_bias = max == 0.0 ? 0 : qn_exponent_of(max);
}

static const char *const heads[] = {"bfp", NULL};

const qn_format_row qn_format_row_bfp = {
    .about = {QN_FORMAT_BFP, "bfp<m,block>",
              "m-bit integers (2 to 16); a block of consecutive elements shares an exponent", "block floating point",
              "bfp<8,16> bfp<4,32>"},
    .heads = heads,
    .args_min = 2,
    .args_max = 2,
    .roundings = 1u << QN_ROUND_NEAREST_EVEN | 1u << QN_ROUND_NEAREST_AWAY | 1u << QN_ROUND_TOWARD_ZERO |
                 1u << QN_ROUND_FLOOR | 1u << QN_ROUND_STOCHASTIC,
    .parameters = QN_PARAM_EXP_BIAS,
    .parse = parse,
    .bounds = bounds,
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
