/* qkeras-ternary<alpha,threshold>, qkeras-binary<use_01,alpha>: ternary and binary of QKeras, x' = z * scale.
 * ternary: z = sign(x) where |x| >= threshold (fitted: >), else 0; threshold 0.33 unless given; two's complement codes of 2 bits.
 * binary: z = +1 for x >= 0, else -1 (use_01: 0); codes 1 and 0.
 * alpha None or a number is the scale; auto fits scale = mean(x z) / (mean(z^2) + 1e-7), five times over for ternary, each
 * time with the threshold at half of the scale before; auto_po2 takes the nearest power of two each time.
 * Parameters: scale, and the threshold as shift. `mode` is use_01. */
#include "format/compat/qkeras.h"

static const char *const heads[] = {"qkeras-ternary", "qkeras-binary", NULL};
static const float DEFAULT_THRESHOLD = 0.33f;

static bool is_ternary(const qn_format *f)
{
    return f->bits == 2;
}

static void derive(qn_format *f)
{
    f->is_signed = is_ternary(f);
    if (f->fit != QN_FIT_DEFAULT || !is_ternary(f)) {
        f->threshold = 0.0f;
    } else if (f->threshold == 0.0f) {
        f->threshold = DEFAULT_THRESHOLD;
    }
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    f->bits = head == 0 ? 2 : 1;
    if (head == 0) {
        if (text->n_args > 0) {
            QN_TRY(qn_qkeras_text_alpha(f, text, 0, err));
        }
        return text->n_args > 1 ? qn_compat_text_float(&f->threshold, text, 1, 1e-30f, 1e30f, "threshold", err) : QN_OK;
    }
    bool use_01 = false;
    if (text->n_args > 0) {
        QN_TRY(qn_qkeras_text_flag(&use_01, text, 0, "value of use_01", err));
    }
    f->mode = use_01 ? 1 : 0;
    return text->n_args > 1 ? qn_qkeras_text_alpha(f, text, 1, err) : QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    b[0] = QN_BOUND("bits", bits, 1, 2);
    b[1] = QN_BOUND("use_01", mode, 0, is_ternary(f) ? 0 : 1);
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
    if (!is_ternary(f)) {
        snprintf(name, QN_FORMAT_NAME_MAX, "qkeras-binary<%d%s>", f->mode, alpha);
    } else if (f->fit != QN_FIT_DEFAULT) {
        snprintf(name, QN_FORMAT_NAME_MAX, "qkeras-ternary");
    } else {
        snprintf(name, QN_FORMAT_NAME_MAX, "qkeras-ternary<%s,%.9g>", alpha[0] != '\0' ? alpha + 1 : "None",
                 (double)f->threshold);
    }
}

static float ternary_z(const qn_format *f, float threshold, float x)
{
    bool small = fabsf(x) < threshold || (f->fit != QN_FIT_DEFAULT && fabsf(x) == threshold);
    return x == 0.0f || small ? 0.0f : copysignf(1.0f, x);
}

static float binary_z(const qn_format *f, float unused, float x)
{
    (void)unused;
    return x >= 0.0f ? 1.0f : f->mode != 0 ? 0.0f : -1.0f;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    float v = isnan(x) ? 0.0f : (float)x;
    return is_ternary(f) ? qn_compat_integer_code(f, ternary_z(f, p->shift, v)) : x >= 0.0 ? 1 : 0;
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    if (is_ternary(f)) {
        int64_t z = qn_compat_integer(f, code);
        return (double)p->scale * (z > 0 ? 1.0 : z < 0 ? -1.0 : 0.0);
    }
    return (double)p->scale * ((code & 1) != 0 ? 1.0 : f->mode != 0 ? 0.0 : -1.0);
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return !is_ternary(f) || code != 2;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = l->smallest = (double)p->scale;
    l->lowest = f->mode != 0 ? 0.0 : -l->highest;
}

static bool from_values(qn_params *p, const qn_format *f, double *x, int64_t n)
{
    bool po2 = f->fit == QN_FIT_QKERAS_PO2;
    if (f->fit == QN_FIT_DEFAULT) {
        p->scale = qn_qkeras_alpha(f);
        p->shift = f->threshold;
    } else if (!is_ternary(f)) {
        p->scale = qn_qkeras_least_squares(f, 0.0f, x, n, 1.0f, po2, binary_z);
    } else {
        float max = 0.0f;
        for (int64_t i = 0; i < n; i++) {
            max = fmaxf(max, fabsf((float)x[i]));
        }
        p->scale = 2.0f * max / 3.0f;
        for (int i = 0; i < QN_QKERAS_PASSES; i++) {
            p->shift = p->scale / 2.0f;
            p->scale = qn_qkeras_least_squares(f, p->shift, x, n, 1.0f, po2, ternary_z);
        }
    }
    return true;
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    double ends[] = {lo, hi};
    from_values(p, f, ends, 2);
}

const qn_format_row qn_format_row_qkeras_ternary = {
    .about = {QN_FORMAT_QKERAS_TERNARY, "qkeras-ternary<alpha,threshold>, qkeras-binary<use_01,alpha>",
              "QKeras' ternary and binary, bit for bit: alpha None, a number, auto or auto_po2", "QKeras 0.9.0",
              "qkeras-ternary<1,0.5> qkeras-ternary<auto> qkeras-binary<0> qkeras-binary<0,auto_po2>"},
    .heads = heads,
    .args_min = 0,
    .args_max = 2,
    .fits = QN_QKERAS_FITS,
    .parameters = QN_PARAM_SCALE | QN_PARAM_SHIFT,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .refuse = refuse,
    .print = print,
    .fields = qn_compat_integer_fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = qn_compat_integer,
    .limits = limits,
    .from_range = from_range,
    .from_values = from_values,
};
