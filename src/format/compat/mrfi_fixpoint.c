/* mrfi-fixpoint<i,d>: FixPointQuantization(integer_bit, decimal_bit) of MRFI. In f32, with U = 2^(i+d)-1:
 * q = rint(clamp(x * k, -U, U)), x' = q * kd. The step is 2^i/U, no power of two: 0.5 in <3,4> comes back as 0.5039.
 * Codes have i+d+1 bits. integer_bits is i. */
#include "format/compat/mrfi.h"

static void derive(qn_format *f)
{
    f->bits = f->integer_bits + f->mantissa_bits + 1;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    QN_TRY(qn_format_text_int(&f->integer_bits, text, 0, "integer bits i", err));
    return qn_format_text_int(&f->mantissa_bits, text, 1, "decimal bits d", err);
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    int i = f->integer_bits < 0 ? 0 : f->integer_bits > 31 ? 31 : f->integer_bits;
    b[0] = QN_BOUND("integer bits i", integer_bits, 0, 31);
    b[1] = QN_BOUND("decimal bits d", mantissa_bits, i > 0 ? 0 : 1, 31 - i);
    return 2;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "mrfi-fixpoint<%d,%d>", f->integer_bits, f->mantissa_bits);
}

/* U before it is rounded to f32. */
static double top_of(const qn_format *f)
{
    return ldexp(1.0, f->bits - 1) - 1.0;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p;
    (void)random;
    float k = (float)(top_of(f) / ldexp(1.0, f->integer_bits)), top = qn_mrfi_top(f);
    float scaled = isnan(x) ? 0.0f : (float)x * k;
    return qn_compat_integer_code(f, qn_mrfi_clamp_round(scaled, 0.0, -top, top));
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)p;
    return (double)((float)qn_compat_integer(f, code) * (float)(ldexp(1.0, f->integer_bits) / top_of(f)));
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return code != (uint32_t)1 << (f->bits - 1) || f->bits > 25;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, qn_code_mask(f->bits - 1));
    l->lowest = -l->highest;
    l->smallest = decode(f, p, 1);
}

static const char *const heads[] = {"mrfi-fixpoint", NULL};

const qn_format_row qn_format_row_mrfi_fixpoint = {
    .about = {QN_FORMAT_MRFI_FIXPOINT, "mrfi-fixpoint<i,d>",
              "MRFI's FixPointQuantization(integer_bit, decimal_bit), bit for bit: codes of i+d+1 bits (at most 32)",
              "MRFI", "mrfi-fixpoint<3,4> mrfi-fixpoint<10,14>"},
    .heads = heads,
    .args_min = 2,
    .args_max = 2,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .print = print,
    .fields = qn_compat_integer_fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = qn_compat_integer,
    .limits = limits,
};
