/* What happens to values before they are codes: options, the policy for what is not a number, clamps, parameters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/dynamic.h"
#include "format/histogram.h"
#include "format/kernels/finite.h"
#include "format/quantizer.h"
#include "link/link.h"

static const char *const per_texts[] = {
#define PER_TEXT(name, value, text) [name] = text,
    QN_LINK_PER_LIST(PER_TEXT)
#undef PER_TEXT
};
static const char *const clamp_texts[] = {
#define CLAMP_TEXT(name, value, text) [name] = text,
    QN_LINK_CLAMP_LIST(CLAMP_TEXT)
#undef CLAMP_TEXT
};
enum { N_PER = sizeof per_texts / sizeof per_texts[0], N_CLAMPS = sizeof clamp_texts / sizeof clamp_texts[0] };

void qn_link_options_init(qn_link_options *options)
{
    *options = (qn_link_options){.struct_size = sizeof *options, .format = qn_link_raw_name};
}

qn_status qn_link_take_options(qn_link_options *taken, const qn_link_options *options, qn_error *err)
{
    qn_link_options_init(taken);
    if (options != NULL) {
        QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_link_options_init", err));
        *taken = *options;
    }
    if (taken->format == NULL || (unsigned)taken->per >= N_PER || (unsigned)taken->clamp >= N_CLAMPS) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "the options of a link have no format, or an unknown granularity or clamp");
    }
    return QN_OK;
}

qn_status qn_link_per_parse(qn_link_per *per, int64_t *group, const char *text, qn_error *err)
{
    static const char prefix[] = "group:";
    const size_t length = sizeof prefix - 1;
    if (strncmp(text, prefix, length) == 0 && text[length] >= '0' && text[length] <= '9') {
        char *end;
        long long n = strtoll(text + length, &end, 10);
        if (*end == '\0' && n >= 1 && n < INT64_MAX) {
            *per = QN_LINK_PER_GROUP;
            *group = n;
            return QN_OK;
        }
    }
    for (int i = 0; i < N_PER; i++) {
        if (i != QN_LINK_PER_GROUP && strcmp(text, per_texts[i]) == 0) {
            *per = (qn_link_per)i;
            *group = 0;
            return QN_OK;
        }
    }
    return qn_fail(
        err, QN_EINVAL, NULL,
        "'%.64s' is no granularity; write item, tensor, channel, token, block, or group:N with N of 1 or more", text);
}

qn_status qn_link_clamp_parse(qn_link_clamp *clamp, const char *text, qn_error *err)
{
    for (int i = 0; i < N_CLAMPS; i++) {
        if (strcmp(text, clamp_texts[i]) == 0) {
            *clamp = (qn_link_clamp)i;
            return QN_OK;
        }
    }
    return qn_fail(err, QN_EINVAL, NULL, "'%.64s' is no clamp; write none, laplace, gelu, ds-aciq or mse", text);
}

static double element(const qn_tensor *x, int64_t i)
{
    return x->dtype == QN_DTYPE_F32 ? (double)((const float *)x->data)[i] : ((const double *)x->data)[i];
}

static void set_element(qn_tensor *x, int64_t i, double v)
{
    if (x->dtype == QN_DTYPE_F32) {
        ((float *)x->data)[i] = (float)v;
    } else {
        ((double *)x->data)[i] = v;
    }
}

/* Has the format a code of its own for this, which its encoder gives? */
static bool has_code_for(const qn_format *f, double v)
{
    qn_params params = {.scale = 1.0f, .multiplier = 1.0f};
    double value = qn_format_value(*f, &params, qn_format_code(*f, &params, v, 0));
    return isnan(v) ? isnan(value) : value == v;
}

static qn_status refuse(int64_t i, double v, const qn_format *f, qn_error *err)
{
    char name[QN_FORMAT_NAME_MAX];
    qn_format_name(name, *f);
    return qn_fail(err, QN_ERANGE, NULL, "element %lld is %s, which %s has no code for; clean the data, or choose %s",
                   (long long)i, isnan(v) ? "NaN" : "infinite", name, isnan(v) ? "nan=zero" : "inf=clamp");
}

/* Does any element need the policy? *flags tells what the policy will do; refusals end here. */
static qn_status check_finite(unsigned *flags, const qn_tensor *x, const qn_format *f, const qn_link_options *o,
                              qn_error *err)
{
    const int64_t n = qn_tensor_count(x);
    if (x->dtype == QN_DTYPE_F32 && qn_all_finite_f32(x->data, n)) {
        return QN_OK;
    }
    const bool nan = has_code_for(f, (double)NAN), plus = has_code_for(f, INFINITY), minus = has_code_for(f, -INFINITY);
    for (int64_t i = 0; i < n; i++) {
        double v = element(x, i);
        if (isfinite(v) || (isnan(v) ? nan : v > 0.0 ? plus : minus)) {
            continue;
        }
        if (isnan(v) ? o->nan != QN_NAN_ZERO : o->inf != QN_INF_CLAMP) {
            return refuse(i, v, f, err);
        }
        *flags |= isnan(v) ? QN_FRAME_NAN_ZEROED : QN_FRAME_INF_CLAMPED;
    }
    return QN_OK;
}

/* The range of all finite values under a rule, NaN counting as 0; lo > hi when there are none. */
static qn_status range_of(double *lo, double *hi, const qn_tensor *x, const qn_format *f, qn_link_clamp clamp,
                          qn_error *err)
{
    const qn_fit_rule rule = {.kind = clamp == QN_LINK_CLAMP_LAPLACE ? QN_RULE_ACIQ_LAPLACE
                                      : clamp == QN_LINK_CLAMP_GELU  ? QN_RULE_ACIQ_GELU
                                                                     : QN_RULE_DS_ACIQ};
    qn_values values;
    *lo = 1.0;
    *hi = 0.0;
    QN_TRY(qn_values_gather(&values, x, -1, 0, err));
    if (values.start[1] > 0) {
        qn_range_of_values(lo, hi, &rule, f, values.x, values.start[1]);
    }
    qn_values_free(&values);
    return QN_OK;
}

qn_status qn_link_prepare(qn_link_values *values, const qn_tensor *x, const qn_format *f, const qn_link_options *o,
                          qn_error *err)
{
    *values = (qn_link_values){.x = x};
    if (x->dtype != QN_DTYPE_F32 && x->dtype != QN_DTYPE_F64) {
        return qn_fail(err, QN_EINVAL, NULL, "elements are %s; links take float32 and float64",
                       qn_dtype_text(x->dtype));
    }
    QN_TRY(check_finite(&values->flags, x, f, o, err));
    double lo = 1.0, hi = 0.0;
    if (o->clamp != QN_LINK_CLAMP_NONE && o->clamp != QN_LINK_CLAMP_MSE) {
        QN_TRY(range_of(&lo, &hi, x, f, o->clamp, err));
    }
    const bool zero_nan = (values->flags & QN_FRAME_NAN_ZEROED) != 0, clamps = lo <= hi;
    if (!zero_nan && !clamps) {
        return QN_OK;
    }
    QN_TRY(qn_tensor_alloc(&values->copy, x->dtype, x->rank, x->dims, err));
    for (int64_t i = 0, n = qn_tensor_count(x); i < n; i++) {
        double v = element(x, i);
        v = isnan(v) && zero_nan ? 0.0 : v;
        if (clamps && (v < lo || v > hi)) {
            v = v < lo ? lo : hi;
            values->flags |= QN_FRAME_VALUES_CLAMPED;
        }
        set_element(&values->copy, i, v);
    }
    values->x = &values->copy;
    return QN_OK;
}

/* The format's own fit at the speed of reading; the same as qn_fit. */
static qn_status fit_fast(const qn_quantizer **q, void **memory, const qn_tensor *x, const qn_quantizer *like,
                          qn_error *err)
{
    qn_cpu cpu;
    if (qn_cpu_from_environment(&cpu, NULL, NULL) != QN_OK) {
        cpu = qn_cpu_best();
    }
    qn_dynamic dynamic;
    QN_TRY(qn_dynamic_init(&dynamic, like, x->rank, x->dims, cpu, err));
    *memory = qn_alloc_uncleared(dynamic.n_bytes);
    if (*memory == NULL) {
        return qn_fail_memory(err, NULL, dynamic.n_bytes);
    }
    *q = qn_dynamic_fit(&dynamic, x->data, *memory);
    return QN_OK;
}

qn_status qn_link_fit(const qn_quantizer **q, void **memory, const qn_tensor *x, const qn_format *f, int axis,
                      int64_t group, qn_link_clamp clamp, qn_error *err)
{
    if (x->dtype == QN_DTYPE_F32 && clamp != QN_LINK_CLAMP_MSE) {
        const qn_quantizer like = {.format = *f, .axis = axis, .group = group, .dynamic = true};
        return fit_fast(q, memory, x, &like, err);
    }
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = axis;
    fit.group = group;
    fit.rule = clamp == QN_LINK_CLAMP_MSE ? "mse" : NULL;
    fit.nan = QN_NAN_ZERO; /* what may not be was refused before */
    fit.inf = QN_INF_CLAMP;
    qn_quantizer *made;
    QN_TRY(qn_fit(&made, x, *f, &fit, err));
    *q = made;
    *memory = made; /* which qn_quantizer_free gives to qn_free */
    return QN_OK;
}
