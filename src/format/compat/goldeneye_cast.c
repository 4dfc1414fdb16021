/* goldeneye-fp32, goldeneye-fp16, goldeneye-bfloat16: GoldenEye's casts, which are torch's: IEEE 754, to nearest even.
 * What torch sends to infinity saturates. */
#include "format/compat/compat.h"
#include "format/float.h"

static const struct {
    int exponent_bits, mantissa_bits;
} casts[] = {{8, 23}, {5, 10}, {8, 7}};
enum { N_CASTS = sizeof casts / sizeof casts[0] };
static const char *const heads[] = {"goldeneye-fp32", "goldeneye-fp16", "goldeneye-bfloat16", NULL};

/* `mode` is the index of the cast. */
static void derive(qn_format *f)
{
    int cast = f->mode < 0 || f->mode >= N_CASTS ? 0 : f->mode;
    f->exponent_bits = casts[cast].exponent_bits;
    f->mantissa_bits = casts[cast].mantissa_bits;
    f->exponent_bias = (1 << (f->exponent_bits - 1)) - 1;
    f->bits = 1 + f->exponent_bits + f->mantissa_bits;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)text;
    (void)err;
    f->mode = head;
    return QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("cast", mode, 0, N_CASTS - 1);
    return 1;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "%s", f->mode >= 0 && f->mode < N_CASTS ? heads[f->mode] : "goldeneye-?");
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p;
    return qn_float_encode(f, (double)(float)x, random);
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

const qn_format_row qn_format_row_goldeneye_cast = {
    .about = {QN_FORMAT_GOLDENEYE_CAST, "goldeneye-fp32, goldeneye-fp16, goldeneye-bfloat16",
              "GoldenEye's casts, bit for bit: IEEE floats of 32 and 16 bits and bfloat16", "GoldenEye",
              "goldeneye-fp32 goldeneye-fp16 goldeneye-bfloat16"},
    .heads = heads,
    .args_min = 0,
    .args_max = 0,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .print = print,
    .fields = qn_compat_float_fields,
    .encode = encode,
    .decode = decode,
    .canonical = qn_float_canonical,
    .order = qn_float_order,
    .limits = limits,
};
