/* TopK, CumSum, OneHot; and Range and EyeLike, whose results are known when a graph is bound. */
#include <math.h>
#include <string.h>

#include "graph/compute/job.h"

/* Element (o, k, i) is at (o * n + k) * inner + i. */
typedef struct top_params {
    int64_t outer, n, inner, k;
    qn_dtype dtype;
    bool largest, indices;
} top_params;

typedef struct candidate {
    double real;
    int64_t integer, at; /* at -1: none */
} candidate;

static candidate candidate_at(const top_params *p, const void *x, int64_t first, int64_t at)
{
    candidate c = {.at = at};
    const int64_t i = first + at * p->inner;
    if (p->dtype == QN_DTYPE_F32) {
        c.real = (double)((const float *)x)[i];
    } else {
        qn_convert_elements(QN_DTYPE_S64, &c.integer, p->dtype, (const char *)x + (size_t)i * qn_dtype_size(p->dtype),
                            1);
    }
    return c;
}

/* Does a come before b? Of equals the first; NaN is greater than all numbers. */
static bool before(const top_params *p, const candidate *a, const candidate *b)
{
    const bool equal = a->integer == b->integer && (a->real == b->real || (isnan(a->real) && isnan(b->real)));
    if (equal) {
        return a->at < b->at;
    }
    const bool greater = p->dtype != QN_DTYPE_F32 ? a->integer > b->integer
                         : isnan(a->real)         ? true
                         : isnan(b->real)         ? false
                                                  : a->real > b->real;
    return greater == p->largest;
}

/* Each pick is the first behind the one before it: no memory is needed, and k passes over the row are made. */
static void run_top(const void *params, void *to, const void *const *x)
{
    const top_params *p = params;
    const size_t size = p->indices ? sizeof(int64_t) : qn_dtype_size(p->dtype);
    for (int64_t row = 0; row < p->outer * p->inner; row++) {
        const int64_t first = row / p->inner * p->n * p->inner + row % p->inner;
        candidate last = {.at = -1};
        for (int64_t k = 0; k < p->k; k++) {
            candidate best = {.at = -1};
            for (int64_t at = 0; at < p->n; at++) {
                const candidate c = candidate_at(p, x[0], first, at);
                if ((k == 0 || before(p, &last, &c)) && (best.at < 0 || before(p, &c, &best))) {
                    best = c;
                }
            }
            last = best;
            char *y = (char *)to + (size_t)((row / p->inner * p->k + k) * p->inner + row % p->inner) * size;
            const char *from = (const char *)x[0] + (size_t)(first + best.at * p->inner) * qn_dtype_size(p->dtype);
            memcpy(y, p->indices ? (const char *)&best.at : from, size);
        }
    }
}

qn_status qn_prepare_top(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    int axis;
    QN_TRY(qn_axis_of_node(&axis, job->binding, job->node, job->err));
    const top_params p = {.outer = qn_dims_product(x.dims, 0, axis),
                          .n = x.dims[axis],
                          .inner = qn_dims_product(x.dims, axis + 1, x.rank),
                          .k = qn_job_output(job).dims[axis],
                          .dtype = x.dtype,
                          .largest = qn_node_int(job->node, "largest", 1) != 0,
                          .indices = job->output == 1};
    return qn_job_set(compute, job, run_top, &p, sizeof p, 1);
}

/*  exclusive  each element is left out of its own sum
 *  reverse    from the end */
typedef struct sum_params {
    int64_t outer, n, inner;
    qn_dtype dtype;
    bool exclusive, reverse;
} sum_params;

static void run_sums(const void *params, void *to, const void *const *x)
{
    const sum_params *p = params;
    const size_t size = qn_dtype_size(p->dtype);
    for (int64_t row = 0; row < p->outer * p->inner; row++) {
        const int64_t first = row / p->inner * p->n * p->inner + row % p->inner;
        double real = 0;
        int64_t integer = 0;
        for (int64_t k = 0; k < p->n; k++) {
            const size_t at = (size_t)(first + (p->reverse ? p->n - 1 - k : k) * p->inner) * size;
            const char *from = (const char *)x[0] + at;
            char *y = (char *)to + at;
            double real_next = real;
            int64_t integer_next = integer, v = 0;
            if (p->dtype == QN_DTYPE_F32) {
                float f;
                memcpy(&f, from, sizeof f);
                real_next += (double)f;
                f = (float)(p->exclusive ? real : real_next);
                memcpy(y, &f, sizeof f);
            } else {
                qn_convert_elements(QN_DTYPE_S64, &v, p->dtype, from, 1);
                integer_next = (int64_t)((uint64_t)integer + (uint64_t)v);
                qn_convert_elements(p->dtype, y, QN_DTYPE_S64, p->exclusive ? &integer : &integer_next, 1);
            }
            real = real_next;
            integer = integer_next;
        }
    }
}

qn_status qn_prepare_sums(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    const qn_infer c = qn_job_infer(job);
    int axis;
    double given = 0;
    QN_TRY(qn_infer_scalar(&c, 1, &given));
    QN_TRY(qn_infer_axis(&c, "input 1", (int64_t)given, x.rank, &axis));
    const sum_params p = {.outer = qn_dims_product(x.dims, 0, axis),
                          .n = x.dims[axis],
                          .inner = qn_dims_product(x.dims, axis + 1, x.rank),
                          .dtype = x.dtype,
                          .exclusive = qn_node_int(job->node, "exclusive", 0) != 0,
                          .reverse = qn_node_int(job->node, "reverse", 0) != 0};
    return qn_job_set(compute, job, run_sums, &p, sizeof p, 1);
}

/* Index (o, i) switches element (o, index, i) on. */
typedef struct hot_params {
    int64_t outer, depth, inner;
    qn_dtype index_type;
    size_t size;
} hot_params;

static void run_hot(const void *params, void *to, const void *const *x)
{
    const hot_params *p = params;
    char *y = to;
    for (int64_t o = 0; o < p->outer; o++) {
        for (int64_t k = 0; k < p->depth; k++) {
            for (int64_t i = 0; i < p->inner; i++, y += p->size) {
                int64_t index;
                const size_t at = (size_t)(o * p->inner + i) * qn_dtype_size(p->index_type);
                qn_convert_elements(QN_DTYPE_S64, &index, p->index_type, (const char *)x[0] + at, 1);
                const bool on = index == k || index == k - p->depth;
                memcpy(y, (const char *)x[1] + (on ? p->size : 0), p->size);
            }
        }
    }
}

qn_status qn_prepare_hot(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value indices = qn_job_input(job, 0), y = qn_job_output(job);
    const qn_infer c = qn_job_infer(job);
    int axis;
    QN_TRY(qn_infer_axis(&c, "attribute axis", qn_node_int(job->node, "axis", -1), y.rank, &axis));
    const hot_params p = {.outer = qn_dims_product(indices.dims, 0, axis),
                          .depth = y.dims[axis],
                          .inner = qn_dims_product(indices.dims, axis, indices.rank),
                          .index_type = indices.dtype,
                          .size = qn_dtype_size(y.dtype)};
    QN_TRY(qn_job_set(compute, job, run_hot, &p, sizeof p, 2));
    compute->args[1] = 2;
    return QN_OK;
}

typedef struct range_params {
    int64_t n;
    qn_dtype dtype;
} range_params;

static void run_range(const void *params, void *to, const void *const *x)
{
    const range_params *p = params;
    const size_t size = qn_dtype_size(p->dtype);
    for (int64_t i = 0; i < p->n; i++) {
        char *y = (char *)to + (size_t)i * size;
        if (p->dtype == QN_DTYPE_F32) {
            const float v = (float)((double)*(const float *)x[0] + (double)i * (double)*(const float *)x[1]);
            memcpy(y, &v, sizeof v);
        } else {
            int64_t start, step;
            qn_convert_elements(QN_DTYPE_S64, &start, p->dtype, x[0], 1);
            qn_convert_elements(QN_DTYPE_S64, &step, p->dtype, x[1], 1);
            start = (int64_t)((uint64_t)start + (uint64_t)i * (uint64_t)step);
            qn_convert_elements(p->dtype, y, QN_DTYPE_S64, &start, 1);
        }
    }
}

qn_status qn_prepare_range(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value y = qn_job_output(job);
    const range_params p = {.n = y.n_elems, .dtype = y.dtype};
    QN_TRY(qn_job_set(compute, job, run_range, &p, sizeof p, 2));
    compute->args[1] = 2;
    return QN_OK;
}

typedef struct eye_params {
    int64_t rows, columns, diagonal;
    qn_dtype dtype;
} eye_params;

static void run_eye(const void *params, void *to, const void *const *x)
{
    (void)x;
    const eye_params *p = params;
    for (int64_t i = 0; i < p->rows * p->columns; i++) {
        const int64_t on = i % p->columns == i / p->columns + p->diagonal;
        qn_convert_elements(p->dtype, (char *)to + (size_t)i * qn_dtype_size(p->dtype), QN_DTYPE_S64, &on, 1);
    }
}

qn_status qn_prepare_eye(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value y = qn_job_output(job);
    const eye_params p = {y.dims[0], y.dims[1], qn_node_int(job->node, "k", 0), y.dtype};
    return qn_job_set(compute, job, run_eye, &p, sizeof p, 0);
}
