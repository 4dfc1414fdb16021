#include <float.h>

#include "format/compat/qkeras.h"

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

float qn_qkeras_least_squares(const qn_format *f, float s, const double *x, int64_t n, float unit, bool po2,
                              float (*z_of)(const qn_format *f, float s, float x))
{
    double xz = 0.0, zz = 0.0;
    for (int64_t i = 0; i < n; i++) {
        float real = (float)x[i] / unit, z = z_of(f, s, real);
        xz += (double)real * (double)z;
        zz += (double)z * (double)z;
    }
    float scale = (float)(xz / (double)n) / ((float)(zz / (double)n) + QN_QKERAS_EPSILON);
    return (po2 ? qn_qkeras_po2(scale) : scale) * unit;
}

/* Half away from zero, saturating at +-h; in f32, where 0.49999997 + 0.5 is 1. */
static float bits_z(const qn_format *f, float s, float x)
{
    float h = ldexpf(1.0f, f->bits - 1) - 1.0f;
    return copysignf(fminf(floorf(fabsf(x) / s + 0.5f), h), x);
}

float qn_qkeras_bits_step(const qn_format *f, const double *x, int64_t n, int integer, bool po2)
{
    float h = ldexpf(1.0f, f->bits - 1) - 1.0f, unit = ldexpf(1.0f, integer), max = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        max = fmaxf(max, fabsf((float)x[i]));
    }
    float s = max / unit / h;
    if (!po2) {
        return s * unit;
    }
    s = qn_qkeras_po2(s);
    for (int i = 0; i < QN_QKERAS_PASSES; i++) {
        s = qn_qkeras_least_squares(f, s, x, n, unit, true, bits_z) / unit;
    }
    return s * unit;
}
