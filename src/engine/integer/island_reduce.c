/* Softmax and ReduceMean (doc/spec/arithmetic.md 6.3). */
#include <math.h>
#include <string.h>

#include "engine/float/walk.h"
#include "engine/integer/island.h"
#include "engine/integer/island_math.h"

typedef struct softmax_params {
    qn_softmax shape;
    const qn_island_lanes *lanes;
} softmax_params;

static void softmax_row(const softmax_params *p, float *y, const float *x)
{
    const int64_t n = p->shape.n, step = p->shape.inner;
    float greatest = x[0];
    for (int64_t i = 1; i < n; i++) {
        greatest = x[i * step] > greatest ? x[i * step] : greatest;
    }
    if (step == 1) {
        p->lanes->exp_below(y, x, greatest, n);
    } else {
        for (int64_t i = 0; i < n; i++) {
            y[i * step] = island_exp_one(x[i * step] - greatest);
        }
    }
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)y[i * step];
    }
    const float factor = (float)(1 / sum);
    for (int64_t i = 0; i < n; i++) {
        y[i * step] *= factor;
    }
}

static void run_softmax(const void *params, float *y, const float *const *x)
{
    const softmax_params *p = params;
    for (int64_t o = 0; o < p->shape.outer; o++) {
        for (int64_t i = 0; i < p->shape.inner; i++) {
            const int64_t start = o * p->shape.n * p->shape.inner + i;
            softmax_row(p, y + start, x[0] + start);
        }
    }
}

qn_status qn_island_softmax(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_softmax};
    softmax_params p = {.lanes = qn_island_lanes_for(l->cpu)};
    qn_status status;
    QN_TRY(qn_softmax_of_node(&p.shape, l->binding, node, err));
    p.shape.outer /= l->items;
    if (!qn_island_input(l, &island, node, 0, &status, err)) {
        return status;
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}

typedef struct mean_params {
    qn_float_walk kept, reduced; /* strides[0]: of the input */
    int64_t n_reduced;
} mean_params;

static double sum_of(const qn_float_walk *walk, const float *x)
{
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0};
    const int64_t n = walk->dims[walk->rank - 1], stride = walk->strides[0][walk->rank - 1];
    double sum = 0;
    do {
        for (int64_t i = 0; i < n; i++) {
            sum += (double)x[offsets[0] + i * stride];
        }
    } while (qn_float_walk_next(walk, index, offsets));
    return sum;
}

static void run_mean(const void *params, float *y, const float *const *x)
{
    const mean_params *p = params;
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0};
    const int64_t n = p->kept.dims[p->kept.rank - 1], stride = p->kept.strides[0][p->kept.rank - 1];
    do {
        for (int64_t i = 0; i < n; i++) {
            *y++ = (float)(sum_of(&p->reduced, x[0] + offsets[0] + i * stride) / (double)p->n_reduced);
        }
    } while (qn_float_walk_next(&p->kept, index, offsets));
}

qn_status qn_island_reduce_mean(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_mean};
    mean_params p = {.n_reduced = 1};
    qn_reduce reduce;
    qn_status status;
    int64_t dims[QN_MAX_RANK], strides[QN_MAX_RANK];
    int rank;
    QN_TRY(qn_reduce_of_node(&reduce, l->binding, node, err));
    if (!qn_lower_dims(l, node->inputs[0], dims, &rank) || !qn_island_input(l, &island, node, 0, &status, err)) {
        return l->reason != NULL ? QN_OK : status;
    }
    qn_float_strides(rank, dims, strides);
    for (int i = 0; i < rank; i++) {
        qn_float_walk *walk = reduce.reduced[i] ? &p.reduced : &p.kept;
        walk->dims[walk->rank] = dims[i];
        walk->strides[0][walk->rank] = walk->strides[1][walk->rank] = strides[i];
        walk->rank++;
        p.n_reduced *= reduce.reduced[i] ? dims[i] : 1;
    }
    if (p.n_reduced == 0) {
        l->reason = "the mean of no elements";
        return QN_OK;
    }
    qn_float_walk_simplify(&p.kept);
    qn_float_walk_simplify(&p.reduced);
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}
