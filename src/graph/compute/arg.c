/* ArgMax and ArgMin, LogSoftmax and Hardmax: along one axis. Element (o, k, i) is at (o * n + k) * inner + i. */
#include <math.h>
#include <string.h>

#include "graph/compute/job.h"
#include "graph/compute/real_math.h"

typedef struct arg_params {
    int64_t outer, n, inner;
    qn_dtype dtype;
    bool least, last;
} arg_params;

/* Is v a better one than the best so far? NaN is beyond all numbers. */
static bool wins(const arg_params *p, float v, float best)
{
    const bool equal = v == best || (isnan(v) && isnan(best));
    if (equal || isnan(v) || isnan(best)) {
        return equal ? p->last : isnan(v);
    }
    return p->least ? v < best : v > best;
}

static bool wins_integer(const arg_params *p, int64_t v, int64_t best)
{
    return v == best ? p->last : p->least ? v < best : v > best;
}

static int64_t find_float(const arg_params *p, const float *x)
{
    int64_t at = 0;
    for (int64_t k = 1; k < p->n; k++) {
        at = wins(p, x[k * p->inner], x[at * p->inner]) ? k : at;
    }
    return at;
}

static int64_t find_integer(const arg_params *p, const char *x)
{
    const int64_t step = p->inner * (int64_t)qn_dtype_size(p->dtype);
    int64_t at = 0, best = 0;
    for (int64_t k = 0; k < p->n; k++) {
        int64_t v;
        qn_convert_elements(QN_DTYPE_S64, &v, p->dtype, x + k * step, 1);
        at = k == 0 || wins_integer(p, v, best) ? k : at;
        best = at == k ? v : best;
    }
    return at;
}

static void run_arg(const void *params, void *to, const void *const *x)
{
    const arg_params *p = params;
    int64_t *y = to;
    for (int64_t o = 0; o < p->outer; o++) {
        for (int64_t i = 0; i < p->inner; i++) {
            const int64_t first = o * p->n * p->inner + i;
            *y++ = p->dtype == QN_DTYPE_F32
                       ? find_float(p, (const float *)x[0] + first)
                       : find_integer(p, (const char *)x[0] + first * (int64_t)qn_dtype_size(p->dtype));
        }
    }
}

qn_status qn_prepare_arg(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    int axis;
    QN_TRY(qn_axis_of_node(&axis, job->binding, job->node, job->err));
    const arg_params p = {.outer = qn_dims_product(x.dims, 0, axis),
                          .n = x.dims[axis],
                          .inner = qn_dims_product(x.dims, axis + 1, x.rank),
                          .dtype = x.dtype,
                          .least = job->node->op == QN_OP_ARG_MIN,
                          .last = qn_node_int(job->node, "select_last_index", 0) != 0};
    return qn_job_set(compute, job, run_arg, &p, sizeof p, 1);
}

static float greatest_of(const float *x, int64_t n, int64_t step)
{
    float greatest = x[0];
    for (int64_t i = 1; i < n; i++) {
        greatest = x[i * step] > greatest ? x[i * step] : greatest;
    }
    return greatest;
}

static void log_softmax_row(float *y, const float *x, int64_t n, int64_t step)
{
    const float greatest = greatest_of(x, n, step);
    double sum = 0;
    for (int64_t k = 0; k < n; k += LANE_COUNT) {
        const int64_t now = n - k < LANE_COUNT ? n - k : LANE_COUNT;
        float e[LANE_COUNT] = {0};
        for (int64_t j = 0; j < now; j++) {
            e[j] = x[(k + j) * step] - greatest;
        }
        lane_expf(e, e);
        for (int64_t j = 0; j < now; j++) {
            sum += (double)e[j];
        }
    }
    const float log = (float)real_log(sum);
    for (int64_t k = 0; k < n; k++) {
        y[k * step] = (x[k * step] - greatest) - log;
    }
}

static void hardmax_row(float *y, const float *x, int64_t n, int64_t step)
{
    int64_t at = 0;
    for (int64_t k = 0; k < n; k++) {
        at = x[k * step] > x[at * step] ? k : at;
        y[k * step] = 0;
    }
    y[at * step] = 1;
}

typedef struct rows_params {
    qn_softmax shape;
    void (*row)(float *y, const float *x, int64_t n, int64_t step);
} rows_params;

static void run_rows(const void *params, void *y, const void *const *x)
{
    const rows_params *p = params;
    for (int64_t o = 0; o < p->shape.outer; o++) {
        for (int64_t i = 0; i < p->shape.inner; i++) {
            const int64_t first = o * p->shape.n * p->shape.inner + i;
            p->row((float *)y + first, (const float *)x[0] + first, p->shape.n, p->shape.inner);
        }
    }
}

qn_status qn_prepare_softmax(qn_compute *compute, const qn_compute_job *job)
{
    rows_params p = {.row = job->node->op == QN_OP_HARDMAX ? hardmax_row : log_softmax_row};
    QN_TRY(qn_softmax_of_node(&p.shape, job->binding, job->node, job->err));
    p.shape.outer /= job->items;
    return qn_job_set(compute, job, run_rows, &p, sizeof p, 1);
}
