/* ReduceMean and Softmax. Sums run in double over memory order, so that they do not depend on the instruction set. */
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"

typedef struct {
    qn_float_walk kept, reduced; /* strides[0]: of the input */
    int64_t n_reduced;
} reduce_params;

static double sum_of(const qn_float_walk *walk, const float *x)
{
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0};
    int64_t n = walk->dims[walk->rank - 1], stride = walk->strides[0][walk->rank - 1];
    double sum = 0;
    do {
        for (int64_t i = 0; i < n; i++) {
            sum += x[offsets[0] + i * stride];
        }
    } while (qn_float_walk_next(walk, index, offsets));
    return sum;
}

static void run_mean(const void *params, void *const *args)
{
    const reduce_params *p = params;
    float *y = args[0];
    const float *x = args[1];
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0};
    int64_t n = p->kept.dims[p->kept.rank - 1], stride = p->kept.strides[0][p->kept.rank - 1];
    do {
        for (int64_t i = 0; i < n; i++) {
            *y++ = (float)(sum_of(&p->reduced, x + offsets[0] + i * stride) / (double)p->n_reduced);
        }
    } while (qn_float_walk_next(&p->kept, index, offsets));
}

qn_status qn_float_lower_reduce_mean(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_float_id x, y;
    QN_TRY(qn_float_read_plain(b, node->inputs[0], &x, err));
    const qn_float_tensor source = *qn_float_at(b, x);
    qn_reduce reduce;
    QN_TRY(qn_reduce_of_node(&reduce, b->binding, node, err));
    int64_t strides[QN_MAX_RANK];
    qn_float_strides(source.rank, source.dims, strides);
    reduce_params params = {.n_reduced = 1};
    for (int i = 0; i < source.rank; i++) {
        qn_float_walk *walk = reduce.reduced[i] ? &params.reduced : &params.kept;
        walk->dims[walk->rank] = source.dims[i];
        walk->strides[0][walk->rank] = walk->strides[1][walk->rank] = strides[i];
        walk->rank++;
        params.n_reduced *= reduce.reduced[i] ? source.dims[i] : 1;
    }
    qn_float_walk_simplify(&params.kept);
    qn_float_walk_simplify(&params.reduced);
    QN_TRY(qn_float_new_output(b, node->outputs[0], &y, err));
    if (qn_float_at(b, y)->n_elems > 0) {
        if (params.n_reduced == 0) {
            return qn_float_fail(b, err, QN_ESHAPE, "the mean of no elements does not exist");
        }
        QN_TRY(qn_float_add_kernel(b, run_mean, &params, sizeof params, y, 1, &x, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}

static void softmax_row(float *y, const float *x, int64_t n, int64_t stride)
{
    float greatest = x[0];
    for (int64_t i = 1; i < n; i++) {
        greatest = x[i * stride] > greatest ? x[i * stride] : greatest;
    }
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float e = expf(x[i * stride] - greatest);
        y[i * stride] = e;
        sum += e;
    }
    float factor = (float)(1.0 / sum);
    for (int64_t i = 0; i < n; i++) {
        y[i * stride] *= factor;
    }
}

static void run_softmax(const void *params, void *const *args)
{
    const qn_softmax *p = params;
    float *y = args[0];
    const float *x = args[1];
    for (int64_t o = 0; o < p->outer; o++) {
        for (int64_t i = 0; i < p->inner; i++) {
            int64_t start = o * p->n * p->inner + i;
            softmax_row(y + start, x + start, p->n, p->inner);
        }
    }
}

qn_status qn_float_lower_softmax(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_softmax params;
    QN_TRY(qn_softmax_of_node(&params, b->binding, node, err));
    qn_float_id x, y;
    QN_TRY(qn_float_read_plain(b, node->inputs[0], &x, err));
    QN_TRY(qn_float_new_output(b, node->outputs[0], &y, err));
    if (qn_float_at(b, x)->n_elems > 0) {
        QN_TRY(qn_float_add_kernel(b, run_softmax, &params, sizeof params, y, 1, &x, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}
