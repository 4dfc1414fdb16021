#include "format/dynamic.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "format/codec.h"
#include "format/histogram.h"
#include "format/kernels/kernels.h"
#include "format/quantizer.h"
#include "format/round.h"
#include "format/row.h"
#include "format/walk.h"

/* Scratch holds the parameters, then what they are fitted to: an extent per set; or where each set starts, and the values
 * of all sets as doubles. */
static bool place_bytes(const qn_dynamic *d, size_t *offset, size_t *n_bytes)
{
    size_t n = (size_t)d->quantizer.n, part;
    if (!qn_quantizer_bytes(offset, d->quantizer.n) || !qn_add_size(*offset, sizeof(double) - 1, offset)) {
        return false;
    }
    *offset = *offset / sizeof(double) * sizeof(double);
    if (d->of_range) {
        return qn_mul_size(n, sizeof(qn_extent), &part) && qn_add_size(*offset, part, n_bytes);
    }
    return qn_add_size(n, (size_t)d->n_elems + 1, &part) && qn_mul_size(part, sizeof(double), &part) &&
           qn_add_size(*offset, part, n_bytes);
}

/* Blocks in one row of the tensor, or that fill rows of it. */
static bool shares_exponents(const qn_dynamic *d)
{
    const qn_quantizer *q = &d->quantizer;
    bool consecutive = q->group > 0 && (q->axis < 0 || q->axis == d->rank - 1);
    return consecutive && qn_format_row_of(q->format.kind)->by_exponent;
}

static void tabulate(qn_dynamic *d)
{
    for (int i = 0; i < QN_DYNAMIC_EXPONENTS; i++) {
        double magnitude = i == 0 ? 0.0 : ldexp(1.0, i + QN_DYNAMIC_LEAST);
        qn_params params;
        qn_fit_range(&params, &d->quantizer.format, -magnitude, magnitude);
        d->bias_of[i] = params.exp_bias;
    }
}

qn_status qn_dynamic_init(qn_dynamic *dynamic, const qn_quantizer *q, int rank, const int64_t *dims, qn_cpu cpu,
                          qn_error *err)
{
    qn_dynamic d = {.quantizer = {.format = q->format, .axis = q->axis, .group = q->group},
                    .rank = rank,
                    .of_range = qn_fit_is_of_range(&q->format),
                    .kernel = qn_format_kernel_select(&q->format, cpu),
                    .widen = qn_extent_for(cpu),
                    .widen_columns = qn_columns_for(cpu),
                    .magnitudes = qn_magnitudes_for(cpu)};
    memcpy(d.dims, dims, (size_t)rank * sizeof *dims);
    QN_TRY(qn_shape_count(dims, rank, &d.n_elems, err));
    QN_TRY(qn_quantizer_sets(&d.quantizer.n, q->axis, q->group, rank, dims, err));
    d.by_exponent = shares_exponents(&d);
    if (d.by_exponent) {
        tabulate(&d);
    }
    size_t offset;
    if (!place_bytes(&d, &offset, &d.n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "%lld parameter sets are too many", (long long)d.quantizer.n);
    }
    *dynamic = d;
    return QN_OK;
}

typedef struct ranging {
    const qn_dynamic *dynamic;
    const float *x;
    qn_extent *extents;
} ranging;

static void widen_span(void *ctx, const qn_span *span)
{
    const ranging *r = ctx;
    r->dynamic->widen(&r->extents[span->set], r->x + span->first, span->n, span->stride);
}

static void fit_ranges(const qn_dynamic *d, qn_quantizer *q, const float *x, qn_extent *extents)
{
    for (int64_t set = 0; set < q->n; set++) {
        extents[set] = qn_extent_none();
    }
    ranging r = {d, x, extents};
    if (q->axis >= 0 && q->axis == d->rank - 1 && q->group == 0) {
        d->widen_columns(extents, x, q->n > 0 ? d->n_elems / q->n : 0, q->n);
    } else {
        qn_walk(q->axis, q->group, d->rank, d->dims, widen_span, &r);
    }
    for (int64_t set = 0; set < q->n; set++) {
        if (extents[set].lo <= extents[set].hi) {
            qn_params params;
            qn_fit_range(&params, &q->format, (double)qn_extent_float(extents[set].lo),
                         (double)qn_extent_float(extents[set].hi));
            qn_quantizer_set(q, set, params);
        }
    }
}

static void fit_values(const qn_dynamic *d, qn_quantizer *q, const float *x, int64_t *start)
{
    /* qn_tensor knows no constant data; gathering only reads it */
    qn_tensor tensor = {.dtype = QN_DTYPE_F32, .rank = d->rank, .data = (void *)(uintptr_t)x};
    memcpy(tensor.dims, d->dims, sizeof d->dims);
    memset(start, 0, (size_t)(q->n + 1) * sizeof *start);
    qn_values values = {.n_sets = q->n, .start = start, .x = (double *)(void *)(start + q->n + 1)};
    qn_values_place(&values, &tensor, q->axis, q->group);
    qn_fit_values(q, d->rank, &values);
}

/* Exponents of blocks straight from the bits of floats, where a fit for each would take longer than its work. */
static void fit_blocks(const qn_dynamic *d, int32_t *exponents, const float *x)
{
    const qn_quantizer *q = &d->quantizer;
    const int64_t row = q->axis < 0 ? d->n_elems : d->dims[q->axis];
    int32_t *at = exponents;
    for (int64_t first = 0; first < d->n_elems; first += row) {
        d->magnitudes(at, x + first, row, q->group);
        at += row / q->group + (row % q->group != 0 ? 1 : 0);
    }
    for (int64_t set = 0; set < q->n && d->n_elems > 0; set++) {
        int32_t exponent = exponents[set] >> QN_F32_MANTISSA;
        if (exponent == 0 && exponents[set] != 0) {
            exponent = qn_exponent_of((double)qn_extent_float(exponents[set])) + QN_F32_BIAS;
        }
        exponents[set] = exponents[set] == 0 ? d->bias_of[0] : d->bias_of[exponent - QN_F32_BIAS - QN_DYNAMIC_LEAST];
    }
}

static void fake_blocks(const qn_dynamic *d, float *y, const float *x, int32_t *exponents)
{
    qn_quantizer q = d->quantizer;
    fit_blocks(d, exponents, x);
    q.exp_bias = exponents;
    qn_codec codec = {.x = x, .y = y};
    qn_codec_run(&codec, &q, &d->kernel, d->rank, d->dims);
}

const qn_quantizer *qn_dynamic_fit(const qn_dynamic *dynamic, const float *x, void *scratch)
{
    size_t offset, n_bytes;
    qn_quantizer *q = qn_quantizer_place(scratch, &dynamic->quantizer);
    (void)place_bytes(dynamic, &offset, &n_bytes); /* as when it was made */
    if (dynamic->by_exponent) {
        fit_blocks(dynamic, (int32_t *)(uintptr_t)q->exp_bias, x); /* in scratch */
        return q;
    }
    void *rest = (unsigned char *)scratch + offset;
    (dynamic->of_range ? fit_ranges(dynamic, q, x, rest) : fit_values(dynamic, q, x, rest));
    return q;
}

void qn_dynamic_fake(const qn_dynamic *dynamic, float *y, const float *x, void *scratch)
{
    if (dynamic->by_exponent) {
        fake_blocks(dynamic, y, x, scratch);
        return;
    }
    qn_codec codec = {.x = x, .y = y};
    qn_codec_run(&codec, qn_dynamic_fit(dynamic, x, scratch), &dynamic->kernel, dynamic->rank, dynamic->dims);
}
