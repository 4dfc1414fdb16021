/* What happens to values before they are codes: options, the policy for what is not a number, clamps, parameters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
static const char *const checksum_texts[] = {
#define CHECKSUM_TEXT(name, value, text) [name] = text,
    QN_LINK_CHECKSUM_LIST(CHECKSUM_TEXT)
#undef CHECKSUM_TEXT
};
enum {
    N_PER = sizeof per_texts / sizeof per_texts[0],
    N_CLAMPS = sizeof clamp_texts / sizeof clamp_texts[0],
    N_CHECKSUMS = sizeof checksum_texts / sizeof checksum_texts[0]
};

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
    if (taken->format == NULL || (unsigned)taken->per >= N_PER || (unsigned)taken->clamp >= N_CLAMPS ||
        (unsigned)taken->checksum >= N_CHECKSUMS) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "the options of a link have no format, or an unknown granularity, clamp or checksum");
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

qn_status qn_link_checksum_parse(qn_link_checksum *checksum, const char *text, qn_error *err)
{
    for (int i = 0; i < N_CHECKSUMS; i++) {
        if (strcmp(text, checksum_texts[i]) == 0) {
            *checksum = (qn_link_checksum)i;
            return QN_OK;
        }
    }
    return qn_fail(err, QN_EINVAL, NULL, "'%.64s' is not on or off", text);
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

/* Does any element need the policy? *flags tells what the policy will do; refusals end here. *finite: x is f32, and all
 * of it is finite. */
static qn_status check_finite(unsigned *flags, bool *finite, const qn_tensor *x, const qn_format *f,
                              const qn_link_options *o, qn_error *err)
{
    const int64_t n = qn_tensor_count(x);
    *finite = x->dtype == QN_DTYPE_F32 && qn_all_finite_f32(x->data, n);
    if (*finite) {
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

/* Room for a tensor's finite values as doubles and the starts of n_sets sets, and those values. */
static qn_status gather(qn_values *values, qn_frame_coder *coder, const qn_tensor *x, int axis, int64_t group,
                        int64_t n_sets, qn_error *err)
{
    size_t x_bytes, start_bytes, n_bytes;
    void *memory;
    if (!qn_mul_size((size_t)qn_tensor_count(x), sizeof(double), &x_bytes) ||
        !qn_mul_size((size_t)n_sets + 1, sizeof(int64_t), &start_bytes) ||
        !qn_add_size(x_bytes, start_bytes, &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "the tensor is too large");
    }
    QN_TRY(qn_coder_take(&memory, coder, QN_SLOT_VALUES, n_bytes, err));
    memset(memory, 0, start_bytes);
    *values =
        (qn_values){.n_sets = n_sets, .start = memory, .x = (double *)(void *)((unsigned char *)memory + start_bytes)};
    qn_values_place(values, x, axis, group);
    return QN_OK;
}

/* The range of all finite values under a rule, NaN counting as 0; lo > hi when there are none. */
static qn_status range_of(double *lo, double *hi, qn_frame_coder *coder, const qn_tensor *x, bool finite,
                          const qn_format *f, qn_link_clamp clamp, qn_error *err)
{
    const qn_fit_rule rule = {.kind = clamp == QN_LINK_CLAMP_LAPLACE ? QN_RULE_ACIQ_LAPLACE
                                      : clamp == QN_LINK_CLAMP_GELU  ? QN_RULE_ACIQ_GELU
                                                                     : QN_RULE_DS_ACIQ};
    qn_values values;
    *lo = 1.0;
    *hi = 0.0;
    if (finite && qn_tensor_count(x) > 0) {
        qn_range_of_reals(lo, hi, &rule, f, &(qn_reals){.narrow = x->data, .n = qn_tensor_count(x)});
        return QN_OK;
    }
    QN_TRY(gather(&values, coder, x, -1, 0, 1, err));
    if (values.start[1] > 0) {
        qn_range_of_values(lo, hi, &rule, f, values.x, values.start[1]);
    }
    return QN_OK;
}

/* Clamp finite numbers; the range of f32 numbers under a clamp has f32 ends. Was any outside? */
static bool clamp_floats(float *y, const float *x, int64_t n, float lo, float hi)
{
    uint32_t changed = 0;
#pragma omp simd reduction(| : changed)
    for (int64_t i = 0; i < n; i++) {
        uint32_t before, after;
        float v = x[i];
        memcpy(&before, &v, sizeof before);
        v = lo > v ? lo : v;
        v = hi < v ? hi : v;
        memcpy(&after, &v, sizeof after);
        changed |= before ^ after;
        y[i] = v;
    }
    return changed != 0;
}

qn_status qn_link_prepare(qn_link_values *values, qn_frame_coder *coder, const qn_tensor *x, const qn_format *f,
                          const qn_link_options *o, qn_error *err)
{
    *values = (qn_link_values){.x = x};
    if (x->dtype != QN_DTYPE_F32 && x->dtype != QN_DTYPE_F64) {
        return qn_fail(err, QN_EINVAL, NULL, "elements are %s; links take float32 and float64",
                       qn_dtype_text(x->dtype));
    }
    bool finite;
    QN_TRY(check_finite(&values->flags, &finite, x, f, o, err));
    double lo = 1.0, hi = 0.0;
    if (o->clamp != QN_LINK_CLAMP_NONE && o->clamp != QN_LINK_CLAMP_MSE) {
        QN_TRY(range_of(&lo, &hi, coder, x, finite, f, o->clamp, err));
    }
    const bool zero_nan = (values->flags & QN_FRAME_NAN_ZEROED) != 0, clamps = lo <= hi;
    if (!zero_nan && !clamps) {
        return QN_OK;
    }
    values->copy = *x;
    values->copy.owns_data = false;
    QN_TRY(qn_coder_take(&values->copy.data, coder, QN_SLOT_COPY, qn_tensor_bytes(x), err));
    if (finite) {
        const bool some = clamp_floats(values->copy.data, x->data, qn_tensor_count(x), (float)lo, (float)hi);
        values->flags |= some ? QN_FRAME_VALUES_CLAMPED : 0;
        values->x = &values->copy;
        return QN_OK;
    }
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
static qn_status fit_fast(const qn_quantizer **q, qn_frame_coder *coder, const qn_tensor *x, const qn_quantizer *like,
                          qn_error *err)
{
    qn_dynamic *d = &coder->dynamic;
    qn_cpu cpu;
    if (qn_cpu_from_environment(&cpu, NULL, NULL) != QN_OK) {
        cpu = qn_cpu_best();
    }
    const bool as_before = coder->has_dynamic && coder->cpu == cpu && d->rank == x->rank &&
                           memcmp(d->dims, x->dims, (size_t)x->rank * sizeof x->dims[0]) == 0 &&
                           d->quantizer.axis == like->axis && d->quantizer.group == like->group &&
                           qn_format_equal(d->quantizer.format, like->format);
    if (!as_before) {
        coder->has_dynamic = false;
        QN_TRY(qn_dynamic_init(d, like, x->rank, x->dims, cpu, err));
        coder->has_dynamic = true;
        coder->cpu = cpu;
    }
    void *scratch;
    QN_TRY(qn_coder_take(&scratch, coder, QN_SLOT_FIT, d->n_bytes, err));
    *q = qn_dynamic_fit(d, x->data, scratch);
    return QN_OK;
}

/* Where a fit needs the values all at hand: doubles, and searches. */
static qn_status fit_gathered(const qn_quantizer **q, qn_frame_coder *coder, const qn_tensor *x,
                              const qn_quantizer *like, bool search, qn_error *err)
{
    static const qn_fit_rule mse = {.kind = QN_RULE_MSE};
    qn_quantizer sets = *like;
    size_t n_bytes;
    void *memory;
    qn_values values;
    QN_TRY(qn_quantizer_sets(&sets.n, sets.axis, sets.group, x->rank, x->dims, err));
    if (!qn_quantizer_bytes(&n_bytes, sets.n)) {
        return qn_fail(err, QN_ELIMIT, NULL, "%lld parameter sets are too many", (long long)sets.n);
    }
    QN_TRY(gather(&values, coder, x, sets.axis, sets.group, sets.n, err));
    QN_TRY(qn_coder_take(&memory, coder, QN_SLOT_FIT, n_bytes, err));
    qn_quantizer *made = qn_quantizer_place(memory, &sets);
    if (!search) {
        qn_fit_values(made, x->rank, &values);
    }
    for (int64_t set = 0; search && set < sets.n; set++) {
        const int64_t n = values.start[set + 1] - values.start[set];
        qn_params params;
        if (n > 0) {
            QN_TRY(qn_search_values(&params, &like->format, &mse, values.x + values.start[set], n, err));
            qn_quantizer_set(made, set, params);
        }
    }
    *q = made;
    return QN_OK;
}

qn_status qn_link_fit(const qn_quantizer **q, qn_frame_coder *coder, const qn_tensor *x, const qn_format *f, int axis,
                      int64_t group, qn_link_clamp clamp, qn_error *err)
{
    const qn_quantizer like = {.format = *f, .axis = axis, .group = group, .dynamic = true};
    const bool search = clamp == QN_LINK_CLAMP_MSE;
    return search || x->dtype != QN_DTYPE_F32 ? fit_gathered(q, coder, x, &like, search, err)
                                              : fit_fast(q, coder, x, &like, err);
}
