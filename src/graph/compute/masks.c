/* Trilu, ReverseSequence; LpNormalization. */
#include <math.h>
#include <string.h>

#include "graph/compute/job.h"

typedef struct trilu_params {
    int64_t matrices, rows, columns, k;
    bool upper;
    size_t size;
} trilu_params;

static void run_trilu(const void *params, void *to, const void *const *x)
{
    const trilu_params *p = params;
    memcpy(to, x[0], (size_t)(p->matrices * p->rows * p->columns) * p->size);
    for (int64_t i = 0; i < p->matrices * p->rows; i++) {
        char *row = (char *)to + (size_t)(i * p->columns) * p->size;
        int64_t edge = i % p->rows + p->k + (p->upper ? 0 : 1);
        edge = edge < 0 ? 0 : edge > p->columns ? p->columns : edge;
        memset(row + (size_t)(p->upper ? 0 : edge) * p->size, 0,
               (size_t)(p->upper ? edge : p->columns - edge) * p->size);
    }
}

qn_status qn_prepare_trilu(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    const qn_infer c = qn_job_infer(job);
    double k = 0;
    QN_TRY(qn_infer_scalar(&c, 1, &k));
    const double most = (double)QN_MAX_ELEMS; /* further than any edge */
    const trilu_params p = {.matrices = qn_dims_product(x.dims, 0, x.rank - 2),
                            .rows = x.dims[x.rank - 2],
                            .columns = x.dims[x.rank - 1],
                            .k = (int64_t)(k < -most  ? -most
                                           : k > most ? most
                                                      : k),
                            .upper = qn_node_int(job->node, "upper", 1) != 0,
                            .size = qn_dtype_size(x.dtype)};
    return qn_job_set(compute, job, run_trilu, &p, sizeof p, 1);
}

/* Element (t, b) of `inner` bytes is at (t * time + b * batch) * inner. */
typedef struct reverse_params {
    int64_t times, batches, time, batch;
    size_t inner;
} reverse_params;

static void run_reverse(const void *params, void *to, const void *const *x)
{
    const reverse_params *p = params;
    const int64_t *lengths = x[1];
    for (int64_t b = 0; b < p->batches; b++) {
        const int64_t n = lengths[b] < 0 ? 0 : lengths[b] > p->times ? p->times : lengths[b];
        for (int64_t t = 0; t < p->times; t++) {
            const int64_t from = t < n ? n - 1 - t : t;
            memcpy((char *)to + (size_t)(t * p->time + b * p->batch) * p->inner,
                   (const char *)x[0] + (size_t)(from * p->time + b * p->batch) * p->inner, p->inner);
        }
    }
}

qn_status qn_prepare_reverse(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    const bool leads = qn_node_int(job->node, "time_axis", 0) == 0;
    const reverse_params p = {.times = x.dims[leads ? 0 : 1],
                              .batches = x.dims[leads ? 1 : 0],
                              .time = leads ? x.dims[1] : 1,
                              .batch = leads ? 1 : x.dims[1],
                              .inner = (size_t)qn_dims_product(x.dims, 2, x.rank) * qn_dtype_size(x.dtype)};
    return qn_job_set(compute, job, run_reverse, &p, sizeof p, 2);
}

typedef struct norm_params {
    int64_t outer, n, inner;
    bool root;
} norm_params;

/* All zeros stay zeros. */
static void run_norm(const void *params, void *to, const void *const *x)
{
    const norm_params *p = params;
    for (int64_t row = 0; row < p->outer * p->inner; row++) {
        const int64_t first = row / p->inner * p->n * p->inner + row % p->inner;
        const float *from = (const float *)x[0] + first;
        float *y = (float *)to + first;
        double sum = 0;
        for (int64_t k = 0; k < p->n; k++) {
            const double v = (double)from[k * p->inner];
            sum += p->root ? v * v : fabs(v);
        }
        sum = p->root ? sqrt(sum) : sum;
        for (int64_t k = 0; k < p->n; k++) {
            y[k * p->inner] = sum == 0 ? 0 : (float)((double)from[k * p->inner] / sum);
        }
    }
}

qn_status qn_prepare_lp_normalization(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    int axis;
    QN_TRY(qn_axis_of_node(&axis, job->binding, job->node, job->err));
    const norm_params p = {.outer = qn_dims_product(x.dims, 0, axis),
                           .n = x.dims[axis],
                           .inner = qn_dims_product(x.dims, axis + 1, x.rank),
                           .root = qn_node_int(job->node, "p", 2) == 2};
    return qn_job_set(compute, job, run_norm, &p, sizeof p, 1);
}
