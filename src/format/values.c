#include "format/values.h"

#include <math.h>

#include "base/memory.h"
#include "format/kernels/finite.h"
#include "format/walk.h"

static double element(const qn_tensor *x, int64_t i)
{
    return x->dtype == QN_DTYPE_F32 ? (double)((const float *)x->data)[i] : ((const double *)x->data)[i];
}

qn_status qn_values_check(const qn_tensor *x, qn_nan_policy nan, qn_inf_policy inf, bool *has_nan, qn_error *err)
{
    if (x->dtype != QN_DTYPE_F32 && x->dtype != QN_DTYPE_F64) {
        return qn_fail(err, QN_EINVAL, NULL, "elements are %s; formats take float32 and float64",
                       qn_dtype_text(x->dtype));
    }
    *has_nan = false;
    int64_t n = qn_tensor_count(x);
    if (x->dtype == QN_DTYPE_F32 && qn_all_finite_f32(x->data, n)) {
        return QN_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        double v = element(x, i);
        *has_nan = *has_nan || isnan(v);
        if (isfinite(v) || (isnan(v) && nan == QN_NAN_ZERO) || (isinf(v) && inf == QN_INF_CLAMP)) {
            continue;
        }
        return qn_fail(err, QN_ERANGE, NULL, "element %lld is %s; clean the data, or choose %s", (long long)i,
                       isnan(v) ? "NaN" : "infinite", isnan(v) ? "nan=zero" : "inf=clamp");
    }
    return QN_OK;
}

qn_status qn_values_without_nan(qn_tensor *clean, const qn_tensor *x, qn_error *err)
{
    QN_TRY(qn_tensor_alloc(clean, x->dtype, x->rank, x->dims, err));
    int64_t n = qn_tensor_count(x);
    for (int64_t i = 0; i < n; i++) {
        double v = isnan(element(x, i)) ? 0.0 : element(x, i);
        if (x->dtype == QN_DTYPE_F32) {
            ((float *)clean->data)[i] = (float)v;
        } else {
            ((double *)clean->data)[i] = v;
        }
    }
    return QN_OK;
}

typedef struct gathering {
    const qn_tensor *tensor;
    qn_values *values;
} gathering;

static void count_span(void *ctx, const qn_span *span)
{
    gathering *g = ctx;
    for (int64_t i = 0; i < span->n; i++) {
        g->values->start[span->set] += isinf(element(g->tensor, span->first + i * span->stride)) ? 0 : 1;
    }
}

/* start[set] is where the set's next value goes; when all are placed it has moved to the set's end. */
static void place_span(void *ctx, const qn_span *span)
{
    gathering *g = ctx;
    for (int64_t i = 0; i < span->n; i++) {
        double v = element(g->tensor, span->first + i * span->stride);
        if (!isinf(v)) {
            g->values->x[g->values->start[span->set]++] = isnan(v) ? 0.0 : v;
        }
    }
}

void qn_values_place(qn_values *values, const qn_tensor *x, int axis, int64_t group)
{
    gathering g = {x, values};
    qn_walk(axis, group, x->rank, x->dims, count_span, &g);
    int64_t at = 0;
    for (int64_t set = 0; set < values->n_sets; set++) {
        int64_t n = values->start[set];
        values->start[set] = at;
        at += n;
    }
    qn_walk(axis, group, x->rank, x->dims, place_span, &g);
    for (int64_t set = values->n_sets; set > 0; set--) {
        values->start[set] = values->start[set - 1];
    }
    values->start[0] = 0;
}

qn_status qn_values_gather(qn_values *values, const qn_tensor *x, int axis, int64_t group, qn_error *err)
{
    int64_t n_sets;
    QN_TRY(qn_quantizer_sets(&n_sets, axis, group, x->rank, x->dims, err));
    size_t x_bytes, start_bytes;
    if (!qn_mul_size((size_t)qn_tensor_count(x), sizeof(double), &x_bytes) ||
        !qn_mul_size((size_t)n_sets + 1, sizeof(int64_t), &start_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "the tensor is too large");
    }
    *values = (qn_values){.n_sets = n_sets, .start = qn_alloc(start_bytes), .x = qn_alloc(x_bytes)};
    if (values->start == NULL || values->x == NULL) {
        qn_values_free(values);
        return qn_fail_memory(err, NULL, x_bytes + start_bytes);
    }
    qn_values_place(values, x, axis, group);
    return QN_OK;
}

void qn_values_free(qn_values *values)
{
    qn_free(values->start);
    qn_free(values->x);
    *values = (qn_values){0};
}
