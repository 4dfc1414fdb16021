/* Einsum (doc/spec/arithmetic.md 6.3): sums in f32, over the letters that the output lacks, in the order in which they come
 * in the alphabet. MatMul and Gemm of integers are Einsums, too. */
#include <string.h>

#include "graph/compute/job.h"

enum { COLUMNS = 256 };

typedef struct einsum_params {
    qn_einsum e;
    int n; /* operands */
    qn_dtype dtype;
} einsum_params;

/* Advance index over axes first..end-1 and both offsets; false after the last. */
static bool next(const qn_einsum *e, int n, int first, int end, int64_t *index, int64_t offsets[QN_EINSUM_OPERANDS])
{
    for (int i = end - 1; i >= first; i--) {
        for (int k = 0; k < n; k++) {
            offsets[k] += e->strides[k][i];
        }
        if (++index[i] < e->dims[i]) {
            return true;
        }
        for (int k = 0; k < n; k++) {
            offsets[k] -= e->strides[k][i] * e->dims[i];
        }
        index[i] = 0;
    }
    return false;
}

static void add_products(float *sum, const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t n)
{
    if (a_step == 0 && b_step == 1) {
        const float w = *a;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            sum[i] = sum[i] + w * b[i];
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        sum[i] = sum[i] + a[i * a_step] * b[i * b_step];
    }
}

static void run_einsum(const void *params, void *to, const void *const *x)
{
    static const float one = 1;
    const einsum_params *p = params;
    const qn_einsum *e = &p->e;
    const int last = e->rank - 1, rank = e->rank + e->summed;
    const float *operands[QN_EINSUM_OPERANDS] = {x[0], p->n > 1 ? x[1] : &one};
    const int64_t n = e->dims[last], a_step = e->strides[0][last], b_step = e->strides[1][last];
    int64_t index[QN_EINSUM_AXES] = {0}, offsets[QN_EINSUM_OPERANDS] = {0};
    float *y = to;
    do {
        for (int64_t i = 0; i < n; i += COLUMNS) {
            const int64_t now = n - i < COLUMNS ? n - i : COLUMNS;
            int64_t term[QN_EINSUM_AXES] = {0}, at[QN_EINSUM_OPERANDS] = {offsets[0], offsets[1]};
            memset(y + i, 0, (size_t)now * sizeof *y);
            do {
                add_products(y + i, operands[0] + at[0] + i * a_step, a_step, operands[1] + at[1] + i * b_step, b_step,
                             now);
            } while (next(e, 2, e->rank, rank, term, at));
        }
        y += n;
    } while (next(e, 2, 0, last, index, offsets));
}

/* More than two operands: products from the first to the last. */
static void run_many(const void *params, void *to, const void *const *x)
{
    const einsum_params *p = params;
    const qn_einsum *e = &p->e;
    int64_t index[QN_EINSUM_AXES] = {0}, offsets[QN_EINSUM_OPERANDS] = {0};
    float *y = to;
    do {
        int64_t term[QN_EINSUM_AXES] = {0}, at[QN_EINSUM_OPERANDS];
        float sum = 0;
        memcpy(at, offsets, sizeof at);
        do {
            float product = ((const float *)x[0])[at[0]];
            for (int k = 1; k < p->n; k++) {
                product = product * ((const float *)x[k])[at[k]];
            }
            sum = sum + product;
        } while (next(e, p->n, e->rank, e->rank + e->summed, term, at));
        *y++ = sum;
    } while (next(e, p->n, 0, e->rank, index, offsets));
}

/* Modulo 2^64, then as the type holds it. */
static void run_integers(const void *params, void *to, const void *const *x)
{
    const einsum_params *p = params;
    const qn_einsum *e = &p->e;
    const size_t size = qn_dtype_size(p->dtype);
    int64_t index[QN_EINSUM_AXES] = {0}, offsets[QN_EINSUM_OPERANDS] = {0};
    char *y = to;
    do {
        int64_t term[QN_EINSUM_AXES] = {0}, at[QN_EINSUM_OPERANDS], sum = 0;
        memcpy(at, offsets, sizeof at);
        do {
            int64_t product = 1;
            for (int k = 0; k < p->n; k++) {
                int64_t v;
                qn_convert_elements(QN_DTYPE_S64, &v, p->dtype, (const char *)x[k] + at[k] * (int64_t)size, 1);
                product = (int64_t)((uint64_t)product * (uint64_t)v);
            }
            sum = (int64_t)((uint64_t)sum + (uint64_t)product);
        } while (next(e, p->n, e->rank, e->rank + e->summed, term, at));
        qn_convert_elements(p->dtype, y, QN_DTYPE_S64, &sum, 1);
        y += size;
    } while (next(e, p->n, 0, e->rank, index, offsets));
}

static qn_status set_einsum(qn_compute *compute, const qn_compute_job *job, einsum_params *p);

qn_status qn_prepare_einsum(qn_compute *compute, const qn_compute_job *job)
{
    einsum_params p = {.n = job->node->n_inputs, .dtype = qn_job_input(job, 0).dtype};
    QN_TRY(qn_einsum_of_node(&p.e, job->binding, job->node, job->err));
    if (job->items > 1) {
        p.e.dims[0] /= job->items; /* the first letter counts items, or the node is not taken apart */
    }
    return set_einsum(compute, job, &p);
}

static qn_status set_einsum(qn_compute *compute, const qn_compute_job *job, einsum_params *p)
{
    for (int i = p->e.rank; i < p->e.rank + p->e.summed; i++) {
        if (p->e.dims[i] == 0) {
            const qn_infer c = qn_job_infer(job);
            return qn_infer_fail(&c, QN_ESHAPE, NULL, "a sum over nothing");
        }
    }
    if (p->e.rank == 0) { /* one output: an axis of one element */
        memmove(p->e.dims + 1, p->e.dims, (size_t)p->e.summed * sizeof p->e.dims[0]);
        p->e.dims[0] = p->e.rank = 1;
        for (int k = 0; k < QN_EINSUM_OPERANDS; k++) {
            memmove(p->e.strides[k] + 1, p->e.strides[k], (size_t)p->e.summed * sizeof p->e.strides[k][0]);
            p->e.strides[k][0] = 0;
        }
    }
    qn_compute_fn *run = p->dtype != QN_DTYPE_F32 ? run_integers : p->n > 2 ? run_many : run_einsum;
    return qn_job_set(compute, job, run, p, sizeof *p, p->n);
}

/* MatMul: rows and columns are the last two axes, or absent where an operand is a vector; those before are stretched. */
static void matmul_axes(qn_einsum *e, const qn_bound_value *a, const qn_bound_value *b, const qn_bound_value *y)
{
    const int rows = a->rank > 1, columns = b->rank > 1, batch = y->rank - rows - columns;
    const qn_bound_value *operands[2] = {a, b};
    *e = (qn_einsum){.rank = y->rank, .summed = 1};
    memcpy(e->dims, y->dims, sizeof y->dims);
    e->dims[y->rank] = a->dims[a->rank - 1];
    for (int k = 0; k < 2; k++) {
        const qn_bound_value *x = operands[k];
        const int own = x->rank > 2 ? x->rank - 2 : 0;
        for (int i = 0; i < own; i++) {
            e->strides[k][batch - own + i] = x->dims[i] == 1 ? 0 : qn_dims_product(x->dims, i + 1, x->rank);
        }
    }
    if (rows) {
        e->strides[0][batch] = a->dims[a->rank - 1];
    }
    if (columns) {
        e->strides[1][y->rank - 1] = 1;
    }
    e->strides[0][y->rank] = 1;
    e->strides[1][y->rank] = columns ? b->dims[b->rank - 1] : 1;
}

/* C, to be added to the product. */
static qn_status prepare_addend(qn_compute *compute, const qn_compute_job *job)
{
    QN_TRY(qn_prepare_sum_of_previous(compute, job, 2));
    compute->parts = 2;
    return QN_OK;
}

/* MatMul and Gemm of integers, and of short lists that follow from shapes. */
qn_status qn_prepare_product(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value a = qn_job_input(job, 0), b = qn_job_input(job, 1), y = qn_job_output(job);
    einsum_params p = {.n = 2, .dtype = a.dtype};
    qn_gemm gemm;
    if (job->node->op == QN_OP_MATMUL) {
        matmul_axes(&p.e, &a, &b, &y);
        return set_einsum(compute, job, &p);
    }
    if (job->part == 1) {
        return prepare_addend(compute, job);
    }
    QN_TRY(qn_gemm_of_node(&gemm, job->binding, job->node, job->err));
    const bool adds = qn_job_input(job, 2).dtype != QN_DTYPE_NONE;
    if (gemm.alpha != 1 || (adds && gemm.beta != 1)) {
        const qn_infer c = qn_job_infer(job);
        return qn_infer_fail(&c, QN_EUNSUPPORTED, "attributes alpha and beta", "of integers only 1 is supported");
    }
    p.e = (qn_einsum){.rank = 2, .summed = 1, .dims = {y.dims[0], y.dims[1], gemm.k}};
    p.e.strides[0][0] = gemm.trans_a ? 1 : a.dims[1];
    p.e.strides[0][2] = gemm.trans_a ? a.dims[1] : 1;
    p.e.strides[1][1] = gemm.trans_b ? b.dims[1] : 1;
    p.e.strides[1][2] = gemm.trans_b ? 1 : b.dims[1];
    QN_TRY(set_einsum(compute, job, &p));
    compute->parts = adds ? 2 : 1;
    return QN_OK;
}
