/* qkeras-linear<bits,integer,symmetric,keep_negative,alpha>: quantized_linear of QKeras. z = rint(clip(x / scale)), the
 * clip before the rounding; x' = z * scale. alpha scales the range, too: scale = alpha 2^(integer-bits+keep_negative).
 * alpha auto: scale = max(2 max|x| / (hi-lo), 1e-7) with [lo, hi] the integers (max x / (hi-lo) without negatives);
 * auto_po2: the nearest power of two, then least squares. With 1 bit and negatives, z = -1/2 or +1/2. */
#include "format/compat/qkeras.h"

static bool is_sign(const qn_format *f)
{
    return f->bits == 1 && f->is_signed;
}

static void derive(qn_format *f)
{
    if (f->bits == 1 || !f->is_signed) {
        f->narrow = false; /* says nothing there */
    }
}

static qn_status parse(qn_format *f, int head, const qn_format_text *given, qn_error *err)
{
    static const qn_qkeras_argument arguments[] = {{"bits", "8"},          {"integer", "0"},  {"symmetric", "1"},
                                                   {"keep_negative", "1"}, {"alpha", "None"}, {NULL, NULL}};
    qn_format_text arranged, *text = &arranged;
    (void)head;
    QN_TRY(qn_qkeras_text_arrange(&arranged, given, arguments, err));
    f->narrow = true;
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

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits", bits, 1, 24);
    b[1] = QN_BOUND("integer", integer_bits, -60, 60);
    return 2;
}

static const char *refuse(const qn_format *f)
{
    return f->fit != QN_FIT_DEFAULT && f->alpha != 0.0f ? "alpha is either a number or fitted" : NULL;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    char alpha[24];
    qn_qkeras_print_alpha(alpha, f);
    snprintf(name, QN_FORMAT_NAME_MAX, "qkeras-linear<%d,%d,%d,%d%s>", f->bits, f->integer_bits, f->narrow,
             f->is_signed, alpha);
}

static void integers(const qn_format *f, float *lo, float *hi)
{
    float top = ldexpf(1.0f, f->bits - (f->is_signed ? 1 : 0)) - 1.0f;
    *hi = is_sign(f) ? 0.5f : top;
    *lo = is_sign(f) ? -0.5f : !f->is_signed ? 0.0f : f->narrow ? -top : -top - 1.0f;
}

static float z_of(const qn_format *f, float s, float x)
{
    float lo, hi;
    integers(f, &lo, &hi);
    float v = fmaxf(fminf(x / s, hi), lo);
    return is_sign(f) ? rintf(v - 0.5f) + 0.5f : rintf(v);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    float z = isnan(x) ? 0.0f : z_of(f, p->scale, (float)x);
    return is_sign(f) ? (z > 0.0f ? 1 : 0) : qn_compat_integer_code(f, z);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    float z = is_sign(f) ? ((code & 1) != 0 ? 0.5f : -0.5f) : (float)qn_compat_integer(f, code);
    return (double)(z * p->scale);
}

static int64_t order(const qn_format *f, uint32_t code)
{
    return is_sign(f) ? (int64_t)(code & 1) : qn_compat_integer(f, code);
}

static bool integers_of(qn_format *as, float *unit, const qn_format *f)
{
    float lo, hi;
    integers(f, &lo, &hi);
    *unit = is_sign(f) ? 0.5f : 1.0f;
    *as = qn_format_holding((int32_t)(lo / *unit), (int32_t)(hi / *unit));
    return true;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return !(f->narrow && code == (uint32_t)1 << (f->bits - 1));
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    float lo, hi;
    integers(f, &lo, &hi);
    l->lowest = (double)(lo * p->scale);
    l->highest = (double)(hi * p->scale);
    l->smallest = is_sign(f) ? l->highest : (double)p->scale;
}

/* The step of alpha auto for values from lo to hi. */
static float auto_step(const qn_format *f, double lo, double hi)
{
    float least, most;
    integers(f, &least, &most);
    float max = f->is_signed ? 2.0f * (float)fmax(fabs(lo), fabs(hi)) : (float)hi;
    return fmaxf(max / (most - least), QN_QKERAS_EPSILON);
}

static float fitted_step(const qn_format *f, double lo, double hi, const double *x, int64_t n)
{
    float s = auto_step(f, lo, hi);
    if (f->fit != QN_FIT_QKERAS_PO2) {
        return s;
    }
    s = qn_qkeras_po2(s);
    for (int i = 0; i < (f->bits == 1 ? 1 : QN_QKERAS_PASSES); i++) {
        s = qn_qkeras_least_squares(f, s, x, n, 1.0f, true, z_of);
    }
    return s;
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    if (f->fit == QN_FIT_DEFAULT) {
        p->scale = qn_qkeras_alpha(f) * ldexpf(1.0f, f->integer_bits - f->bits + (f->is_signed ? 1 : 0));
        return;
    }
    const double ends[] = {lo, hi};
    p->scale = fitted_step(f, lo, hi, ends, 2);
}

static bool from_values(qn_params *p, const qn_format *f, double *x, int64_t n)
{
    if (f->fit == QN_FIT_DEFAULT) {
        return false;
    }
    double lo = x[0], hi = x[0];
    for (int64_t i = 1; i < n; i++) {
        lo = fmin(lo, x[i]);
        hi = fmax(hi, x[i]);
    }
    p->scale = fitted_step(f, lo, hi, x, n);
    return true;
}

static const char *const heads[] = {"qkeras-linear", NULL};

const qn_format_row qn_format_row_qkeras_linear = {
    .about = {QN_FORMAT_QKERAS_LINEAR, "qkeras-linear<bits,integer,symmetric,keep_negative,alpha>",
              "QKeras' quantized_linear, bit for bit: 1 to 24 bits, alpha None, a number, auto or auto_po2",
              "QKeras 0.9.0", "qkeras-linear<8,0> qkeras-linear<4,0,0>:qkeras-auto qkeras-linear<4,0>:qkeras-po2"},
    .heads = heads,
    .args_min = 1,
    .args_max = 5,
    .fits = QN_QKERAS_FITS,
    .parameters = QN_PARAM_SCALE,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .refuse = refuse,
    .print = print,
    .fields = qn_compat_integer_fields,
    .encode = encode,
    .decode = decode,
    .integers = integers_of,
    .canonical = canonical,
    .order = order,
    .limits = limits,
    .from_range = from_range,
    .from_values = from_values,
};
