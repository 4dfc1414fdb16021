/* qkeras-bits<bits,integer,symmetric,keep_negative,alpha>: quantized_bits of QKeras.
 * alpha None or a number: z = clip(rint(x 2^(u-I))), u = bits - keep_negative; x' = z * scale, scale = alpha 2^(I-u);
 * with bits 1 and negatives, z = -1 or +1 and scale = alpha. alpha auto and auto_po2: z = sign(x) min(floor(|x|/scale + 0.5), h),
 * h = 2^(bits-1)-1, all in f32; symmetric and keep_negative count for nothing there. auto_po2 knows ":exp=LO..HI" (QKeras'
 * min_po2_exponent and max_po2_exponent, limits of log2(scale) - I in the passes) and ":share=K" (elements_per_scale: K
 * consecutive channels have one scale after the first pass), kept in exponent_bias, mode and exponent_bits. */
#include <ctype.h>
#include <stdlib.h>

#include "format/compat/qkeras.h"

enum { LEAST_EXPONENT = -126, GREATEST_EXPONENT = 127, SHARE_MAX = 9999 };

static bool is_auto(const qn_format *f)
{
    return f->fit != QN_FIT_DEFAULT;
}

static void derive(qn_format *f)
{
    if (is_auto(f)) {
        f->is_signed = f->narrow = true;
    }
    if (f->bits == 1 || !f->is_signed) {
        f->narrow = false; /* says nothing there */
    }
}

static qn_status parse(qn_format *f, int head, const qn_format_text *given, qn_error *err)
{
    static const qn_qkeras_argument arguments[] = {{"bits", "8"},          {"integer", "0"},  {"symmetric", "0"},
                                                   {"keep_negative", "1"}, {"alpha", "None"}, {NULL, NULL}};
    qn_format_text arranged, *text = &arranged;
    (void)head;
    QN_TRY(qn_qkeras_text_arrange(&arranged, given, arguments, err));
    QN_TRY(qn_format_text_int(&f->bits, text, 0, "bits", err));
    if (text->n_args > 1) {
        QN_TRY(qn_format_text_int(&f->integer_bits, text, 1, "integer", err));
    }
    if (text->n_args > 2) {
        QN_TRY(qn_qkeras_text_flag(&f->narrow, text, 2, "value of symmetric", err));
    }
    if (text->n_args > 3) {
        QN_TRY(qn_qkeras_text_flag(&f->is_signed, text, 3, "value of keep_negative", err));
    }
    return text->n_args > 4 ? qn_qkeras_text_alpha(f, text, 4, err) : QN_OK;
}

/* An integer at *at, which moves behind it; false when there is none in [lo, hi]. */
static bool take_int(int *value, const char **at, int lo, int hi)
{
    char *end;
    const char *digits = **at == '-' ? *at + 1 : *at;
    if (!isdigit((unsigned char)*digits)) {
        return false;
    }
    long parsed = strtol(*at, &end, 10);
    *at = end;
    *value = (int)(parsed < lo ? lo : parsed > hi ? hi : parsed);
    return *value == parsed;
}

static bool word(qn_format *f, const char *text)
{
    int least, greatest;
    const char *at = text + strcspn(text, "=");
    if (*at++ == '\0') {
        return false;
    }
    if (strncmp(text, "share=", 6) == 0) {
        return take_int(&f->exponent_bits, &at, 1, SHARE_MAX) && *at == '\0';
    }
    if (strncmp(text, "exp=", 4) != 0 || !take_int(&least, &at, LEAST_EXPONENT, GREATEST_EXPONENT) ||
        strncmp(at, "..", 2) != 0) {
        return false;
    }
    at += 2;
    if (!take_int(&greatest, &at, LEAST_EXPONENT, GREATEST_EXPONENT) || *at != '\0') {
        return false;
    }
    f->exponent_bias = least + QN_QKERAS_LIMIT;
    f->mode = greatest + QN_QKERAS_LIMIT;
    return true;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    b[0] = QN_BOUND("bits", bits, is_auto(f) ? 2 : 1, 24);
    b[1] = QN_BOUND("integer", integer_bits, -60, 60);
    b[2] = QN_BOUND("share", exponent_bits, 0, SHARE_MAX);
    b[3] = QN_BOUND("least exponent + 127", exponent_bias, f->mode == 0 ? 0 : 1, f->mode);
    b[4] = QN_BOUND("greatest exponent + 127", mode, 0, GREATEST_EXPONENT + QN_QKERAS_LIMIT);
    return 5;
}

static const char *refuse(const qn_format *f)
{
    if ((f->exponent_bits != 0 || f->mode != 0) && f->fit != QN_FIT_QKERAS_PO2) {
        return "share and exp belong to qkeras-po2";
    }
    return is_auto(f) && f->alpha != 0.0f ? "alpha is either a number or fitted" : NULL;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    char alpha[24];
    qn_qkeras_print_alpha(alpha, f);
    char exponents[40] = "", share[24] = "";
    if (f->mode != 0) {
        snprintf(exponents, sizeof exponents, ":exp=%d..%d", f->exponent_bias - QN_QKERAS_LIMIT,
                 f->mode - QN_QKERAS_LIMIT);
    }
    if (f->exponent_bits != 0) {
        snprintf(share, sizeof share, ":share=%d", f->exponent_bits);
    }
    /* a valid format's numbers have few digits: the precisions cut nothing, and compilers see that all fits */
    snprintf(name, QN_FORMAT_NAME_MAX, "qkeras-bits<%d,%d,%d,%d%.16s>%.15s%.11s", f->bits, f->integer_bits, f->narrow,
             f->is_signed, alpha, exponents, share);
}

static bool is_sign(const qn_format *f)
{
    return f->bits == 1 && f->is_signed;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    if (isnan(x)) {
        return 0;
    }
    if (is_sign(f)) {
        return x >= 0.0 ? 1 : 0;
    }
    int u = f->bits - (f->is_signed ? 1 : 0);
    float top = ldexpf(1.0f, u) - 1.0f, z;
    if (is_auto(f)) {
        float v = fminf(floorf(fabsf((float)x) / p->scale + 0.5f), top);
        z = x == 0.0 ? 0.0f : copysignf(v, (float)x); /* also where the scale is 0 */
    } else {
        float lowest = !f->is_signed ? 0.0f : f->narrow ? -top : -top - 1.0f;
        z = fmaxf(fminf(rintf(ldexpf((float)x, u - f->integer_bits)), top), lowest);
    }
    return qn_compat_integer_code(f, z);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    float z = is_sign(f) ? ((code & 1) != 0 ? 1.0f : -1.0f) : (float)qn_compat_integer(f, code);
    return (double)(z * p->scale);
}

static int64_t order(const qn_format *f, uint32_t code)
{
    return is_sign(f) ? (int64_t)(code & 1) : qn_compat_integer(f, code);
}

static bool integers(qn_format *as, float *unit, const qn_format *f)
{
    const int32_t top = (int32_t)(((uint32_t)1 << (f->bits - (f->is_signed ? 1 : 0))) - 1);
    *as = is_sign(f) ? qn_format_holding(-1, 1)
                     : qn_format_holding(!f->is_signed ? 0
                                         : f->narrow   ? -top
                                                       : -top - 1,
                                         top);
    *unit = 1.0f;
    return true;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return !(f->narrow && code == (uint32_t)1 << (f->bits - 1));
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    uint32_t sign = (uint32_t)1 << (f->bits - 1);
    l->highest = decode(f, p, f->is_signed && !is_sign(f) ? sign - 1 : qn_code_mask(f->bits));
    l->lowest = !f->is_signed ? 0.0 : decode(f, p, is_sign(f) ? 0 : f->narrow ? sign + 1 : sign);
    l->smallest = (double)p->scale;
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    int u = f->bits - (f->is_signed ? 1 : 0);
    if (!is_auto(f)) {
        p->scale = qn_qkeras_alpha(f) * (is_sign(f) ? 1.0f : ldexpf(1.0f, f->integer_bits - u));
        return;
    }
    const double max = fmax(fabs(lo), fabs(hi));
    p->scale = max == 0.0 ? 1.0f : qn_qkeras_bits_step(f, &max, 1, f->fit == QN_FIT_QKERAS_PO2);
}

static bool from_values(qn_params *p, const qn_format *f, double *x, int64_t n)
{
    if (is_auto(f)) {
        float step = qn_qkeras_bits_step(f, x, n, f->fit == QN_FIT_QKERAS_PO2);
        p->scale = step == 0.0f ? 1.0f : step;
    }
    return is_auto(f);
}

/* A vector with a step per element begins with one step for all, as QKeras does. */
static bool from_tensor(qn_quantizer *q, int rank, const qn_values *values)
{
    bool vector = rank == 1 && q->axis == 0 && q->group == 0;
    if (q->format.fit != QN_FIT_QKERAS_PO2 || (!vector && q->format.exponent_bits == 0)) {
        return false;
    }
    qn_qkeras_bits_steps(q, values, q->format.exponent_bits == 0 ? 1 : q->format.exponent_bits, vector);
    return true;
}

static const char *const heads[] = {"qkeras-bits", NULL};

const qn_format_row qn_format_row_qkeras_bits = {
    .about = {QN_FORMAT_QKERAS_BITS, "qkeras-bits<bits,integer,symmetric,keep_negative,alpha>",
              "QKeras' quantized_bits, bit for bit: 1 to 24 bits, alpha None, a number, auto or auto_po2 (then "
              ":exp=LO..HI and :share=K)",
              "QKeras 0.9.0",
              "qkeras-bits<8,0> qkeras-bits<8,0,1,1,0.75> qkeras-bits<4,0>:qkeras-auto "
              "qkeras-bits<4,0>:exp=-3..4:share=2:qkeras-po2"},
    .heads = heads,
    .args_min = 1,
    .args_max = 5,
    .fits = QN_QKERAS_FITS,
    .parameters = QN_PARAM_SCALE,
    .parse = parse,
    .word = word,
    .derive = derive,
    .bounds = bounds,
    .refuse = refuse,
    .print = print,
    .fields = qn_compat_integer_fields,
    .encode = encode,
    .decode = decode,
    .integers = integers,
    .canonical = canonical,
    .order = order,
    .limits = limits,
    .from_range = from_range,
    .from_values = from_values,
    .from_tensor = from_tensor,
};
