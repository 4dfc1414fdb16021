#include <float.h>

#include "format/compat/qkeras.h"

/* The index of the argument that `text` names up to its '='. */
static qn_status find_argument(int *index, const char *text, const qn_qkeras_argument *arguments, const char *where,
                               qn_error *err)
{
    const char *names[QN_TEXT_ARGS];
    char name[QN_TEXT_PART];
    int n = 0;
    for (; arguments[n].name != NULL; n++) {
        names[n] = arguments[n].name;
    }
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text, "="), text);
    return qn_format_text_word(index, name, names, n, "argument", where, err);
}

qn_status qn_qkeras_text_arrange(qn_format_text *arranged, const qn_format_text *text,
                                 const qn_qkeras_argument *arguments, qn_error *err)
{
    bool given[QN_TEXT_ARGS] = {false}, named = false;
    *arranged = *text;
    for (int i = 0; i < text->n_args; i++) {
        const char *value = text->args[i];
        const size_t length = strcspn(value, "=");
        int index = i;
        if (value[length] == '=') {
            QN_TRY(find_argument(&index, value, arguments, text->where, err));
            named = true;
            value += length + 1;
        } else if (named) {
            return qn_fail(err, QN_EINVAL, text->where, "'%s' has no name, but what stands before it has one", value);
        }
        if (given[index] || value[0] == '\0') {
            return qn_fail(err, QN_EINVAL, text->where, "argument %s %s", arguments[index].name,
                           given[index] ? "stands there twice" : "has no value");
        }
        given[index] = true;
        memcpy(arranged->args[index], value, strlen(value) + 1);
        arranged->n_args = index + 1 > arranged->n_args ? index + 1 : arranged->n_args;
    }
    while (named && !given[arranged->n_args - 1]) {
        arranged->n_args--;
    }
    for (int i = 0; i < arranged->n_args; i++) {
        if (!given[i]) {
            snprintf(arranged->args[i], sizeof arranged->args[i], "%s", arguments[i].fallback);
        }
    }
    return QN_OK;
}

qn_status qn_qkeras_text_alpha(qn_format *f, const qn_format_text *text, int index, qn_error *err)
{
    if (strcmp(text->args[index], "auto") == 0) {
        f->fit = QN_FIT_QKERAS_AUTO;
        return QN_OK;
    }
    if (strcmp(text->args[index], "auto_po2") == 0) {
        f->fit = QN_FIT_QKERAS_PO2;
        return QN_OK;
    }
    return qn_compat_text_float(&f->alpha, text, index, 1e-30f, 1e30f, "alpha: None, auto, auto_po2 or a number", err);
}

qn_status qn_qkeras_text_flag(bool *flag, const qn_format_text *text, int index, const char *what, qn_error *err)
{
    static const char *const names[] = {"0", "1", "False", "True"};
    int value;
    QN_TRY(qn_format_text_word(&value, text->args[index], names, 4, what, text->where, err));
    *flag = value % 2 == 1;
    return QN_OK;
}

void qn_qkeras_print_alpha(char text[24], const qn_format *f)
{
    text[0] = '\0';
    if (f->alpha != 0.0f) {
        snprintf(text, 24, ",%.9g", (double)f->alpha);
    }
}

float qn_qkeras_po2(float v)
{
    double exponent = rint(log2((double)(v + QN_QKERAS_EPSILON)));
    return ldexpf(1.0f, (int)fmin(exponent, FLT_MAX_EXP - 1));
}

/* What least squares sums up, over one set of values or several. */
typedef struct sums {
    double xz, zz;
    int64_t n;
} sums;

static void add_values(sums *t, const qn_format *f, float s, const double *x, int64_t n, float unit,
                       float (*z_of)(const qn_format *f, float s, float x))
{
    for (int64_t i = 0; i < n; i++) {
        float real = (float)x[i] / unit, z = z_of(f, s, real);
        t->xz += (double)real * (double)z;
        t->zz += (double)z * (double)z;
    }
    t->n += n;
}

static float scale_of(const sums *t)
{
    return (float)(t->xz / (double)t->n) / ((float)(t->zz / (double)t->n) + QN_QKERAS_EPSILON);
}

float qn_qkeras_least_squares(const qn_format *f, float s, const double *x, int64_t n, float unit, bool po2,
                              float (*z_of)(const qn_format *f, float s, float x))
{
    sums t = {0};
    add_values(&t, f, s, x, n, unit, z_of);
    float scale = scale_of(&t);
    return (po2 ? qn_qkeras_po2(scale) : scale) * unit;
}

/* Half away from zero, saturating at +-h; in f32, where 0.49999997 + 0.5 is 1. */
static float bits_z(const qn_format *f, float s, float x)
{
    float h = ldexpf(1.0f, f->bits - 1) - 1.0f;
    return copysignf(fminf(floorf(fabsf(x) / s + 0.5f), h), x);
}

/* The greatest magnitude in h levels of `unit`. */
static float first_step(const qn_format *f, const double *x, int64_t n, float unit)
{
    float max = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        max = fmaxf(max, fabsf((float)x[i]));
    }
    return max / unit / (ldexpf(1.0f, f->bits - 1) - 1.0f);
}

static float within_limits(const qn_format *f, float s)
{
    return f->mode == 0 ? s
                        : fminf(fmaxf(s, ldexpf(1.0f, f->exponent_bias - QN_QKERAS_LIMIT)),
                                ldexpf(1.0f, f->mode - QN_QKERAS_LIMIT));
}

float qn_qkeras_bits_step(const qn_format *f, const double *x, int64_t n, bool po2)
{
    float unit = ldexpf(1.0f, f->integer_bits), s = first_step(f, x, n, unit);
    if (!po2) {
        return s * unit;
    }
    s = qn_qkeras_po2(s);
    for (int i = 0; i < QN_QKERAS_PASSES; i++) {
        s = within_limits(f, qn_qkeras_least_squares(f, s, x, n, unit, true, bits_z) / unit);
    }
    return s * unit;
}

static void set_step(qn_quantizer *q, int64_t set, float step)
{
    qn_params p = qn_quantizer_get(q, set);
    p.scale = fminf(step, FLT_MAX);
    qn_quantizer_set(q, set, p);
}

/* One pass over sets [first, last), which get the same step. The steps before are those in q. */
static void shared_pass(qn_quantizer *q, const qn_values *v, int64_t first, int64_t last, float unit)
{
    sums t = {0};
    for (int64_t set = first; set < last; set++) {
        add_values(&t, &q->format, q->scale[set] / unit, v->x + v->start[set], v->start[set + 1] - v->start[set], unit,
                   bits_z);
    }
    for (int64_t set = first; t.n > 0 && set < last; set++) {
        set_step(q, set, within_limits(&q->format, qn_qkeras_po2(scale_of(&t))) * unit);
    }
}

void qn_qkeras_bits_steps(qn_quantizer *q, const qn_values *values, int64_t share, bool one_start)
{
    const qn_format *f = &q->format;
    const int64_t n = values->n_sets, *start = values->start;
    float unit = ldexpf(1.0f, f->integer_bits), common = first_step(f, values->x, start[n], unit);
    for (int64_t set = 0; set < n; set++) {
        float s = one_start ? common : first_step(f, values->x + start[set], start[set + 1] - start[set], unit);
        set_step(q, set, qn_qkeras_po2(s) * unit);
    }
    for (int64_t first = 0; first < n; first += share) {
        for (int i = 0; i < QN_QKERAS_PASSES; i++) {
            shared_pass(q, values, first, first + share < n ? first + share : n, unit);
        }
    }
}
