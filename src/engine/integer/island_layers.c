/* Pools and BatchNormalization in float (doc/spec/arithmetic.md 6.3). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/float/lanes.h"
#include "engine/integer/island.h"

typedef struct pool_params {
    qn_window window;
    bool max;
} pool_params;

/* Padding counts, where it does, only inside the padded input; windows of ceil_mode may reach beyond it. */
static float average(const qn_window *w, const float *plane, const int64_t from[2], const int64_t to[2])
{
    double sum = 0;
    int64_t inside = 0, counted = 0;
    for (int64_t h = from[0]; h < to[0]; h += w->dilation[0]) {
        for (int64_t v = from[1]; v < to[1]; v += w->dilation[1]) {
            if (h >= 0 && h < w->in[0] && v >= 0 && v < w->in[1]) {
                sum += (double)plane[h * w->in[1] + v];
                inside++;
            }
            counted += h < w->in[0] + w->pad_end[0] && v < w->in[1] + w->pad_end[1];
        }
    }
    const int64_t n = w->count_include_pad ? counted : inside;
    return n > 0 ? (float)(sum / (double)n) : 0.0f;
}

static float greatest(const qn_window *w, const float *plane, const int64_t from[2], const int64_t to[2])
{
    float result = -INFINITY;
    for (int64_t h = from[0]; h < to[0]; h += w->dilation[0]) {
        for (int64_t v = from[1]; v < to[1]; v += w->dilation[1]) {
            if (h >= 0 && h < w->in[0] && v >= 0 && v < w->in[1]) {
                const float x = plane[h * w->in[1] + v];
                result = x > result ? x : result;
            }
        }
    }
    return result;
}

static void run_pool(const void *params, float *y, const float *const *x)
{
    const pool_params *p = params;
    const qn_window *w = &p->window;
    const float *plane = x[0];
    for (int64_t c = 0; c < w->n * w->c_in; c++, plane += w->in[0] * w->in[1]) {
        for (int64_t row = 0; row < w->out[0]; row++) {
            for (int64_t column = 0; column < w->out[1]; column++) {
                const int64_t from[2] = {row * w->stride[0] - w->pad_begin[0], column * w->stride[1] - w->pad_begin[1]};
                const int64_t to[2] = {from[0] + (w->kernel[0] - 1) * w->dilation[0] + 1,
                                       from[1] + (w->kernel[1] - 1) * w->dilation[1] + 1};
                *y++ = p->max ? greatest(w, plane, from, to) : average(w, plane, from, to);
            }
        }
    }
}

qn_status qn_island_pool(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_pool};
    pool_params p = {.max = node->op == QN_OP_MAX_POOL || node->op == QN_OP_GLOBAL_MAX_POOL};
    qn_status status;
    QN_TRY(qn_window_of_node(&p.window, l->binding, node, err));
    p.window.n /= l->items;
    if (!qn_island_input(l, &island, node, 0, &status, err)) {
        return status;
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}

typedef struct batchnorm_params {
    const qn_float_lanes *lanes;
    int64_t n, channels, inner; /* element (i, c, j) at (i * channels + c) * inner + j */
    float epsilon;
} batchnorm_params;

static void run_batchnorm(const void *params, float *y, const float *const *x)
{
    const batchnorm_params *p = params;
    for (int64_t i = 0; i < p->n * p->channels; i++) {
        const int64_t c = i % p->channels;
        const double scale = (double)x[1][c] / sqrt((double)x[4][c] + (double)p->epsilon);
        const double shift = (double)x[2][c] - (double)x[3][c] * scale;
        p->lanes->affine(y + i * p->inner, x[0] + i * p->inner, (float)scale, (float)shift, p->inner);
    }
}

qn_status qn_island_batchnorm(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_batchnorm};
    batchnorm_params p = {.lanes = qn_float_lanes_for(l->cpu),
                          .inner = 1,
                          .channels = 1,
                          .n = 1,
                          .epsilon = qn_node_float(node, "epsilon", 1e-5f)};
    int64_t dims[QN_MAX_RANK];
    int rank;
    qn_status status;
    if (!qn_lower_dims(l, node->inputs[0], dims, &rank)) {
        return QN_OK;
    }
    for (int i = 0; i < 5; i++) {
        if (!qn_island_input(l, &island, node, i, &status, err)) {
            return status;
        }
    }
    for (int i = 0; i < rank; i++) {
        int64_t *n = i == 0 ? &p.n : i == 1 ? &p.channels : &p.inner;
        *n *= dims[i];
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}
