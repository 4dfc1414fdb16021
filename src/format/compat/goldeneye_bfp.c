/* goldeneye-bfp<n,e>: GoldenEye's block_fp with one exponent for the whole tensor, kept as exp_bias.
 * With m = n-1-e: magnitudes under 2^(2-2^(e-1)) become 0, those over 2^(2^(e-1)-1) (2 - 2^-m) become that;
 * x' = sign * rint(|x| * 2^(m-exponent)) * 2^(exponent-m), half to even. Codes are sign | m+2 bits of magnitude, of
 * which the top one is only there for a mantissa that rounds up to 2. */
#include "format/compat/compat.h"

static void derive(qn_format *f)
{
    f->bits = f->mantissa_bits + 3;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    int n;
    QN_TRY(qn_format_text_int(&n, text, 0, "bits n", err));
    QN_TRY(qn_format_text_int(&f->exponent_bits, text, 1, "exponent bits e", err));
    f->mantissa_bits = n - 1 - f->exponent_bits;
    return QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("exponent bits e", exponent_bits, 2, 8);
    b[1] = QN_BOUND("mantissa bits n-1-e", mantissa_bits, 0, 23);
    return 2;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "goldeneye-bfp<%d,%d>", f->mantissa_bits + 1 + f->exponent_bits,
             f->exponent_bits);
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    out[0] = (qn_field){"sign", f->bits - 1, 1};
    out[1] = (qn_field){"mantissa", 0, f->bits - 1};
    return 2;
}

/* |x| as the format's exponents let it be. */
static double reach(const qn_format *f, double x)
{
    int middle = 1 << (f->exponent_bits - 1);
    double magnitude = fabs(x), greatest = ldexp(2.0 - ldexp(1.0, -f->mantissa_bits), middle - 1);
    return magnitude < ldexp(1.0, 2 - middle) ? 0.0 : fmin(magnitude, greatest);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    double magnitude =
        isnan(x) ? 0.0 : rint(qn_scale_exact(reach(f, (double)(float)x), f->mantissa_bits - p->exp_bias));
    double greatest = ldexp(1.0, f->mantissa_bits + 1);
    uint32_t code = (uint32_t)fmin(magnitude, greatest);
    return x < 0.0 ? code | (uint32_t)1 << (f->bits - 1) : code;
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    uint32_t sign = (uint32_t)1 << (f->bits - 1);
    double value = ldexp((double)(code & (sign - 1)), p->exp_bias - f->mantissa_bits);
    return (code & sign) != 0 ? -value : value;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    uint32_t sign = (uint32_t)1 << (f->bits - 1);
    return (code & (sign - 1)) <= (uint32_t)1 << (f->mantissa_bits + 1);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, (uint32_t)1 << (f->mantissa_bits + 1));
    l->lowest = -l->highest;
    l->smallest = decode(f, p, 1);
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    double greatest = reach(f, fmax(fabs(lo), fabs(hi)));
    p->exp_bias = greatest > 0.0 ? qn_exponent_of(greatest) : 0;
}

/* A zero has the exponent -1 there (that of frexp, less one), and takes part in the maximum. */
static bool from_values(qn_params *p, const qn_format *f, double *x, int64_t n)
{
    enum { EXPONENT_OF_ZERO = -1 };
    double greatest = 0.0;
    bool has_zero = false;
    for (int64_t i = 0; i < n; i++) {
        double magnitude = reach(f, (double)(float)x[i]);
        greatest = fmax(greatest, magnitude);
        has_zero = has_zero || magnitude == 0.0;
    }
    p->exp_bias = greatest > 0.0 ? qn_exponent_of(greatest) : 0;
    if (greatest > 0.0 && has_zero && p->exp_bias < EXPONENT_OF_ZERO) {
        p->exp_bias = EXPONENT_OF_ZERO;
    }
    return true;
}

static const char *const heads[] = {"goldeneye-bfp", NULL};

const qn_format_row qn_format_row_goldeneye_bfp = {
    .about =
        {QN_FORMAT_GOLDENEYE_BFP, "goldeneye-bfp<n,e>",
         "GoldenEye's block_fp(bit_width n, exp_len e), bit for bit: one exponent for all; e 2 to 8, n-1-e 0 to 23",
         "GoldenEye", "goldeneye-bfp<8,3> goldeneye-bfp<16,8>"},
    .heads = heads,
    .args_min = 2,
    .args_max = 2,
    .parameters = QN_PARAM_EXP_BIAS,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = qn_compat_magnitude_order,
    .limits = limits,
    .from_range = from_range,
    .from_values = from_values,
};
