/* Einsum of one or two operands (doc/spec/arithmetic.md 6.3): sums in f32, over the letters that the output lacks, in the
 * order in which they come in the alphabet. */
#include <string.h>

#include "graph/compute/job.h"

enum { COLUMNS = 256 };

typedef struct einsum_params {
    qn_einsum e;
    int n; /* operands */
} einsum_params;

/* Advance index over axes first..end-1 and both offsets; false after the last. */
static bool next(const qn_einsum *e, int first, int end, int64_t *index, int64_t offsets[QN_EINSUM_OPERANDS])
{
    for (int i = end - 1; i >= first; i--) {
        for (int k = 0; k < QN_EINSUM_OPERANDS; k++) {
            offsets[k] += e->strides[k][i];
        }
        if (++index[i] < e->dims[i]) {
            return true;
        }
        for (int k = 0; k < QN_EINSUM_OPERANDS; k++) {
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
            } while (next(e, e->rank, rank, term, at));
        }
        y += n;
    } while (next(e, 0, last, index, offsets));
}

qn_status qn_prepare_einsum(qn_compute *compute, const qn_compute_job *job)
{
    einsum_params p = {.n = job->node->n_inputs};
    QN_TRY(qn_einsum_of_node(&p.e, job->binding, job->node, job->err));
    if (job->items > 1) {
        p.e.dims[0] /= job->items; /* the first letter counts items, or the node is not taken apart */
    }
    for (int i = p.e.rank; i < p.e.rank + p.e.summed; i++) {
        if (p.e.dims[i] == 0) {
            const qn_infer c = qn_job_infer(job);
            return qn_infer_fail(&c, QN_ESHAPE, NULL, "a sum over nothing");
        }
    }
    if (p.e.rank == 0) { /* one output: an axis of one element */
        memmove(p.e.dims + 1, p.e.dims, (size_t)p.e.summed * sizeof p.e.dims[0]);
        p.e.dims[0] = p.e.rank = 1;
        for (int k = 0; k < QN_EINSUM_OPERANDS; k++) {
            memmove(p.e.strides[k] + 1, p.e.strides[k], (size_t)p.e.summed * sizeof p.e.strides[k][0]);
            p.e.strides[k][0] = 0;
        }
    }
    return qn_job_set(compute, job, run_einsum, &p, sizeof p, p.n);
}
