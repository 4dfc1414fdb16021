/* goldeneye-fxp<i,f>: GoldenEye's fxp_n, which is QPyTorch's fixed_point_quantize with nearest rounding (half to even):
 * two's complement of 1+i+f bits, step 2^-f, saturating. */
#include "format/compat/compat.h"

static void derive(qn_format *f)
{
    f->bits = 1 + f->integer_bits + f->mantissa_bits;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    QN_TRY(qn_format_text_int(&f->integer_bits, text, 0, "integer bits i", err));
    return qn_format_text_int(&f->mantissa_bits, text, 1, "fraction bits f", err);
}

/* Codes of more than 24 bits are not all floats. */
static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    int i = f->integer_bits < 0 ? 0 : f->integer_bits > 23 ? 23 : f->integer_bits;
    b[0] = QN_BOUND("integer bits i", integer_bits, 0, 23);
    b[1] = QN_BOUND("fraction bits f", mantissa_bits, 0, 23 - i);
    return 2;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "goldeneye-fxp<%d,%d>", f->integer_bits, f->mantissa_bits);
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    int n = 0;
    out[n++] = (qn_field){"sign", f->bits - 1, 1};
    if (f->integer_bits > 0) {
        out[n++] = (qn_field){"integer", f->mantissa_bits, f->integer_bits};
    }
    if (f->mantissa_bits > 0) {
        out[n++] = (qn_field){"fraction", 0, f->mantissa_bits};
    }
    return n;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p;
    (void)random;
    return isnan(x) ? 0 : qn_compat_integer_code(f, rintf(ldexpf((float)x, f->mantissa_bits)));
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)p;
    return ldexp((double)qn_compat_integer(f, code), -f->mantissa_bits);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, qn_code_mask(f->bits) >> 1);
    l->lowest = decode(f, p, (uint32_t)1 << (f->bits - 1));
    l->smallest = decode(f, p, 1);
}

static const char *const heads[] = {"goldeneye-fxp", NULL};

const qn_format_row qn_format_row_goldeneye_fxp = {
    .about = {QN_FORMAT_GOLDENEYE_FXP, "goldeneye-fxp<i,f>",
              "GoldenEye's fxp_n (QPyTorch's fixed_point_quantize) with nearest rounding, bit for bit: 1+i+f bits, at "
              "most 24",
              "GoldenEye, QPyTorch", "goldeneye-fxp<3,4> goldeneye-fxp<0,7>"},
    .heads = heads,
    .args_min = 2,
    .args_max = 2,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .canonical = qn_compat_all_canonical,
    .order = qn_compat_integer,
    .limits = limits,
};
