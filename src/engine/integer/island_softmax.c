/* Softmax (doc/spec/arithmetic.md 6.3). */
#include <math.h>
#include <string.h>

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
