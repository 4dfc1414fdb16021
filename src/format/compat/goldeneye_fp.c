/* goldeneye-fp<e,m>: GoldenEye's fp_n, which is QPyTorch's float_quantize with nearest rounding (GoldenEye calls it with
 * stochastic rounding that no seed reproduces). Nearest is half away from zero; the top exponent holds numbers;
 * subnormals are rounded twice, to f32 at the least exponent and then to the mantissa; there is no -0. With 8 exponent
 * bits the top exponent is that of f32's infinities, and what would round to those saturates. */
#include "format/compat/compat.h"
#include "format/float.h"

static void derive(qn_format *f)
{
    int e = f->exponent_bits < 2 ? 2 : f->exponent_bits > 8 ? 8 : f->exponent_bits;
    f->bits = 1 + f->exponent_bits + f->mantissa_bits;
    f->exponent_bias = (1 << (e - 1)) - 1;
    f->variant = e == 8 ? QN_FLOAT_IEEE : QN_FLOAT_FINITE;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    QN_TRY(qn_format_text_int(&f->exponent_bits, text, 0, "exponent bits e", err));
    return qn_format_text_int(&f->mantissa_bits, text, 1, "mantissa bits m", err);
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("exponent bits e", exponent_bits, 2, 8);
    b[1] = QN_BOUND("mantissa bits m", mantissa_bits, 1, 22);
    return 2;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "goldeneye-fp<%d,%d>", f->exponent_bits, f->mantissa_bits);
}

/* Half of the last kept bit is added to the pattern, and the rest cut. */
static float round_pattern(float x, int mantissa_bits)
{
    uint32_t bits, half = (uint32_t)1 << (22 - mantissa_bits), mask = 2 * half - 1;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + half) & ~mask;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

static float quantized(const qn_format *f, float x)
{
    float least = ldexpf(1.0f, 1 - f->exponent_bias);
    if (fabsf(x) < least) {
        float offset = copysignf(least, x), sum = x + offset;
        return round_pattern(sum, f->mantissa_bits) - offset;
    }
    return round_pattern(x, f->mantissa_bits);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p;
    if (isnan(x)) {
        return 0;
    }
    float narrow = (float)x;
    return qn_float_encode(f, isinf(narrow) ? (double)narrow : (double)quantized(f, narrow), random);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)p;
    return qn_float_decode(f, code);
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return qn_float_canonical(f, code) && code != (uint32_t)1 << (f->bits - 1);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    (void)p;
    l->highest = qn_float_decode(f, qn_float_greatest(f));
    l->lowest = -l->highest;
    l->smallest = qn_float_decode(f, 1);
}

static const char *const heads[] = {"goldeneye-fp", NULL};

const qn_format_row qn_format_row_goldeneye_fp = {
    .about = {QN_FORMAT_GOLDENEYE_FP, "goldeneye-fp<e,m>",
              "GoldenEye's fp_n (QPyTorch's float_quantize) with nearest rounding, bit for bit: e 2 to 8, m 1 to 22",
              "GoldenEye, QPyTorch", "goldeneye-fp<4,3> goldeneye-fp<5,2> goldeneye-fp<8,7>"},
    .heads = heads,
    .args_min = 2,
    .args_max = 2,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .print = print,
    .fields = qn_compat_float_fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = qn_float_order,
    .limits = limits,
};
