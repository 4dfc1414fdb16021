/* Softmax and ReduceMean (doc/spec/arithmetic.md 6.3). */
#include <math.h>
#include <string.h>

#include "engine/float/walk.h"
#include "engine/integer/island.h"
#include "graph/compute/real_math.h"

typedef struct softmax_params {
    qn_softmax shape;
    const qn_island_lanes *lanes;
} softmax_params;

static float greatest_of(const float *x, int64_t n, int64_t step)
{
    float greatest = x[0];
    for (int64_t i = 1; i < n; i++) {
        greatest = x[i * step] > greatest ? x[i * step] : greatest;
    }
    return greatest;
}

/* Sums of rows that adjoin, several at a time, as each by itself would wait for its last addition. */
enum { ROWS = 8 };
static void sum_rows(const float *x, int64_t n, int64_t n_rows, double sums[ROWS])
{
    memset(sums, 0, ROWS * sizeof *sums);
    if (n_rows < ROWS) {
        for (int64_t row = 0; row < n_rows; row++) {
            for (int64_t i = 0; i < n; i++) {
                sums[row] += (double)x[row * n + i];
            }
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        QN_UNROLL for (int row = 0; row < ROWS; row++)
        {
            sums[row] += (double)x[row * n + i];
        }
    }
}

static void softmax_rows(const softmax_params *p, float *y, const float *x, int64_t n_rows)
{
    const int64_t n = p->shape.n;
    double sums[ROWS];
    for (int64_t row = 0; row < n_rows; row++) {
        p->lanes->exp_below(y + row * n, x + row * n, greatest_of(x + row * n, n, 1), n);
    }
    sum_rows(y, n, n_rows, sums);
    for (int64_t row = 0; row < n_rows; row++) {
        const float factor = (float)(1 / sums[row]);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            y[row * n + i] *= factor;
        }
    }
}

static void softmax_strided(const softmax_params *p, float *y, const float *x)
{
    const int64_t n = p->shape.n, step = p->shape.inner;
    const float greatest = greatest_of(x, n, step);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        y[i * step] = real_exp_one(x[i * step] - greatest);
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
    const qn_softmax *s = &p->shape;
    for (int64_t o = 0; s->inner == 1 && o < s->outer; o += ROWS) {
        softmax_rows(p, y + o * s->n, x[0] + o * s->n, s->outer - o < ROWS ? s->outer - o : ROWS);
    }
    for (int64_t i = 0; s->inner > 1 && i < s->outer * s->inner; i++) {
        const int64_t start = i / s->inner * s->n * s->inner + i % s->inner;
        softmax_strided(p, y + start, x[0] + start);
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
