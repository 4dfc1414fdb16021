/* qkeras-po2<bits,max_value,quadratic_approximation,rnd|floor>, qkeras-relu-po2<the same>: quantized_po2 and
 * quantized_relu_po2 of QKeras: x' = sign * 2^e, sign(0) = +1 (relu: no sign), e = rint(log2|x|),
 * clipped to the exponents that bits-1 (relu: bits) can count, with one of them a sign unless max_value is at most 1.
 * There is no zero: below 1e-7 it is the least exponent. quadratic_approximation takes even exponents.
 * Without that sign QKeras has one exponent more than bits can tell apart, so codes have one bit more: sign | e - least.
 * `mode` is quadratic_approximation, `threshold` max_value. */
#include "format/compat/qkeras.h"

static const char *const heads[] = {"qkeras-po2", "qkeras-relu-po2", NULL};

/* Bits that count exponents, and QKeras' least and greatest ones (before they are doubled). */
static int exponent_field(const qn_format *f)
{
    return f->bits - (f->is_signed ? 1 : 0);
}

static void exponents(const qn_format *f, int *least, int *greatest)
{
    bool need_sign = f->threshold == 0.0f || f->threshold > 1.0f;
    int counted = f->bits - 1 - (f->is_signed ? 1 : 0) - (need_sign ? 1 : 0);
    *least = -(1 << counted);
    *greatest = (1 << counted) - 1;
    if (f->mode != 0) {
        *greatest -= *greatest % 2;
    }
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    static const char *const roundings[] = {"rnd", "floor"};
    bool quadratic = false;
    int rounding = 0;
    f->is_signed = head == 0;
    QN_TRY(qn_format_text_int(&f->bits, text, 0, "bits", err));
    f->bits++;
    if (text->n_args > 1) {
        QN_TRY(qn_compat_text_float(&f->threshold, text, 1, 1e-30f, 1e30f, "max_value: None or a number", err));
    }
    if (text->n_args > 2) {
        QN_TRY(qn_qkeras_text_flag(&quadratic, text, 2, "value of quadratic_approximation", err));
    }
    if (text->n_args > 3) {
        QN_TRY(qn_format_text_word(&rounding, text->args[3], roundings, 2, "log2_rounding", text->where, err));
    }
    f->mode = quadratic ? 1 : 0;
    f->rounding = rounding == 1 ? QN_ROUND_FLOOR : QN_ROUND_NEAREST_EVEN;
    return QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    b[0] = QN_BOUND("bits + 1", bits, f->is_signed ? 4 : 3, f->is_signed ? 9 : 8);
    b[1] = QN_BOUND("quadratic_approximation", mode, 0, 1);
    return 2;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    implied->rounding = f->rounding;
    char max_value[24] = "None";
    if (f->threshold != 0.0f) {
        snprintf(max_value, sizeof max_value, "%.9g", (double)f->threshold);
    }
    snprintf(name, QN_FORMAT_NAME_MAX, "%s<%d,%s,%d,%s>", heads[f->is_signed ? 0 : 1], f->bits - 1, max_value, f->mode,
             f->rounding == QN_ROUND_FLOOR ? "floor" : "rnd");
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    int n = 0;
    if (f->is_signed) {
        out[n++] = (qn_field){"sign", f->bits - 1, 1};
    }
    out[n++] = (qn_field){"exponent", 0, exponent_field(f)};
    return n;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p;
    (void)random;
    int least, greatest, e;
    exponents(f, &least, &greatest);
    float magnitude = isnan(x) ? 0.0f : f->is_signed ? fabsf((float)x) : fmaxf((float)x, 0.0f);
    if (magnitude < QN_QKERAS_EPSILON) {
        e = f->mode != 0 ? least / 2 : least; /* there the exponent is not doubled */
    } else {
        magnitude = f->threshold != 0.0f ? fminf(magnitude, f->threshold) : fminf(magnitude, 0x1.fffffep127f);
        magnitude = f->mode != 0 ? sqrtf(magnitude) : magnitude;
        float log2_of = (float)log2((double)magnitude); /* rounded once to f32, which decides what is a tie */
        log2_of = f->rounding == QN_ROUND_FLOOR ? floorf(log2_of) : rintf(log2_of);
        e = log2_of < (float)least ? least : log2_of > (float)greatest ? greatest : (int)log2_of;
    }
    uint32_t code = (uint32_t)(e - least);
    return f->is_signed && x < 0.0 ? code | (uint32_t)1 << (f->bits - 1) : code;
}

/* The least exponents of quadratic_approximation may be below all floats. */
static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)p;
    int least, greatest;
    exponents(f, &least, &greatest);
    int step = f->mode != 0 ? 2 : 1, field = (int)(code & qn_code_mask(exponent_field(f)));
    double value = ldexp(1.0, step * (field + least));
    return f->is_signed && (code >> (f->bits - 1) & 1) != 0 ? -value : value;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    int least, greatest;
    exponents(f, &least, &greatest);
    return (int)(code & qn_code_mask(exponent_field(f))) <= greatest - least && decode(f, NULL, code) > 1e-7;
}

static int64_t order(const qn_format *f, uint32_t code)
{
    int64_t field = code & qn_code_mask(exponent_field(f));
    return f->is_signed && (code >> (f->bits - 1) & 1) != 0 ? -field - 1 : field + 1;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    int least, greatest;
    exponents(f, &least, &greatest);
    l->highest = decode(f, p, encode(f, p, 3e38, 0));
    l->smallest = decode(f, p, 0);
    l->lowest = f->is_signed ? -l->highest : l->smallest;
}

const qn_format_row qn_format_row_qkeras_po2 = {
    .about = {QN_FORMAT_QKERAS_PO2, "qkeras-po2<bits,max_value,quadratic,rounding>, qkeras-relu-po2<...>",
              "QKeras' quantized_po2 and quantized_relu_po2, bit for bit: powers of two, no zero; max_value None or a "
              "number, quadratic_approximation 0 or 1, log2_rounding rnd or floor",
              "QKeras 0.9.0", "qkeras-po2<4> qkeras-po2<8,4,1,floor> qkeras-relu-po2<4,4>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 4,
    .parse = parse,
    .bounds = bounds,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = order,
    .limits = limits,
};
