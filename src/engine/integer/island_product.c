/* MatMul, Gemm and Conv in float: sums from 0 in the order of their index (doc/spec/arithmetic.md 6.3). */
#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "engine/integer/island.h"

typedef struct matmul_params {
    const qn_island_lanes *lanes;
    qn_island_product product;
    qn_float_walk batch; /* strides[0] of the left factor, strides[1] of the right */
} matmul_params;

typedef struct code_product_params {
    matmul_params matmul;
    qn_island_codes codes;
    bool saturate;
} code_product_params;

static void run_matmul(const void *params, float *y, const float *const *x)
{
    const matmul_params *p = params;
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0};
    const int last = p->batch.rank - 1;
    do {
        for (int64_t i = 0; i < p->batch.dims[last]; i++) {
            p->lanes->product(y, x[0] + offsets[0] + i * p->batch.strides[0][last],
                              x[1] + offsets[1] + i * p->batch.strides[1][last], &p->product);
            y += p->product.m * p->product.n;
        }
    } while (qn_float_walk_next(&p->batch, index, offsets));
}

/* numpy's matmul: a factor of rank 1 becomes a row or a column, leading dimensions broadcast. */
static void extend(int64_t *dims, int *rank, bool column)
{
    if (*rank == 1) {
        dims[1] = column ? 1 : dims[0];
        dims[0] = column ? dims[0] : 1;
        *rank = 2;
    }
}

static int64_t leading(const int64_t *dims, int rank, int of_rank, int axis)
{
    int own = axis - (of_rank - rank);
    return own < 0 ? 1 : dims[own];
}

bool qn_island_find_product(qn_lowering *l, const qn_node *node, qn_island_product *product, qn_float_walk *batch)
{
    matmul_params p = {0};
    int64_t a[QN_MAX_RANK], b[QN_MAX_RANK], a_step[QN_MAX_RANK], b_step[QN_MAX_RANK];
    int a_rank, b_rank;
    if (!qn_lower_dims(l, node->inputs[0], a, &a_rank) || !qn_lower_dims(l, node->inputs[1], b, &b_rank)) {
        return false;
    }
    extend(a, &a_rank, false);
    extend(b, &b_rank, true);
    qn_float_strides(a_rank, a, a_step);
    qn_float_strides(b_rank, b, b_step);
    p.product = (qn_island_product){.m = a[a_rank - 2], .n = b[b_rank - 1], .k = a[a_rank - 1], .a_k = 1};
    p.product.a_row = p.product.k;
    p.product.b_k = p.product.n;
    const int rank = a_rank > b_rank ? a_rank : b_rank;
    for (int axis = 0; axis < rank - 2; axis++) {
        int64_t of_a = leading(a, a_rank, rank, axis), of_b = leading(b, b_rank, rank, axis);
        p.batch.dims[axis] = of_a == 1 ? of_b : of_a;
        p.batch.strides[0][axis] = of_a == 1 ? 0 : a_step[axis - (rank - a_rank)];
        p.batch.strides[1][axis] = of_b == 1 ? 0 : b_step[axis - (rank - b_rank)];
    }
    p.batch.rank = rank - 2;
    qn_float_walk_simplify(&p.batch);
    if (b_rank == 2 && a_rank > 2) { /* one matrix for all is one product of more rows */
        p.product.m = 1;
        for (int i = 0; i < a_rank - 1; i++) {
            p.product.m *= a[i];
        }
        p.batch = (qn_float_walk){.rank = 1, .dims = {1}};
    }
    *product = p.product;
    *batch = p.batch;
    return true;
}

static bool find_product(qn_lowering *l, const qn_node *node, matmul_params *p)
{
    p->lanes = qn_island_lanes_for(l->cpu);
    return qn_island_find_product(l, node, &p->product, &p->batch);
}

qn_status qn_island_matmul(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_matmul};
    matmul_params p;
    qn_status status;
    if (!find_product(l, node, &p)) {
        return QN_OK;
    }
    for (int i = 0; i < 2; i++) {
        if (!qn_island_input(l, &island, node, i, &status, err)) {
            return status;
        }
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}

/* Sums that saturate after every product (4.5). */
static void saturating_product(float *y, const uint8_t *a, const uint8_t *b, const qn_island_product *p,
                               const qn_island_codes *codes)
{
    const int64_t limit = INT64_C(1) << (codes->bits - 1);
    for (int64_t i = 0; i < p->m * p->n; i++) {
        int64_t sum = 0;
        for (int64_t k = 0; k < p->k; k++) {
            const int32_t left = a[i / p->n * p->a_row + k * p->a_k] - codes->zero_a;
            const int32_t right = b[k * p->b_k + i % p->n] - codes->zero_b;
            sum = qn_clamp_s64(sum + (int64_t)left * right, -limit, limit - 1);
        }
        y[i] = (float)sum * codes->scale;
    }
}

static void run_code_product(const void *params, float *y, const float *const *x)
{
    const code_product_params *c = params;
    const matmul_params *p = &c->matmul;
    const uint8_t *a = (const void *)x[0], *b = (const void *)x[1];
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0};
    const int last = p->batch.rank - 1;
    do {
        for (int64_t i = 0; i < p->batch.dims[last]; i++) {
            (c->saturate ? saturating_product : p->lanes->product_codes)(
                y, a + offsets[0] + i * p->batch.strides[0][last], b + offsets[1] + i * p->batch.strides[1][last],
                &p->product, &c->codes);
            y += p->product.m * p->product.n;
        }
    } while (qn_float_walk_next(&p->batch, index, offsets));
}

/* The greatest |code - zero point|. */
static int64_t greatest(const qn_integer_tensor *t)
{
    const int32_t below = t->zero_point - t->lo, above = t->hi - t->zero_point;
    return below > above ? below : above;
}

/* Both factors are codes, the result is not: sums in integers (6.7). */
qn_status qn_lower_code_product(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_code_product, .n_args = 2};
    code_product_params p = {.saturate = l->arithmetic.saturate};
    const qn_integer_tensor *t[2] = {NULL, NULL};
    qn_status status;
    qn_code_params unused;
    const qn_quantizer *q = l->graph->values[node->outputs[0]].quantizer;
    if ((q != NULL && !qn_lower_params(l, node->outputs[0], &unused)) || !find_product(l, node, &p.matmul)) {
        return QN_OK;
    }
    for (int i = 0; i < 2; i++) {
        qn_item_shape shape;
        if (!qn_lower_plain_shape(l, node->inputs[i], &shape)) {
            return QN_OK;
        }
        island.input[i] = qn_lower_plain_codes(l, node, node->inputs[i], &shape, &status, err);
        if (island.input[i] < 0) {
            return status;
        }
        t[i] = qn_lower_tensor_at(l, island.input[i]);
    }
    p.codes = (qn_island_codes){.zero_a = t[0]->zero_point, .zero_b = t[1]->zero_point};
    p.codes.scale = t[0]->scale * t[1]->scale;
    if (!isfinite(p.codes.scale)) {
        l->reason = "scales whose product is beyond float32";
        return QN_OK;
    }
    const int64_t most = greatest(t[0]) * greatest(t[1]);
    p.codes.bits = qn_lower_accumulator_bits(l, p.matmul.product.k, most > 0 ? most : 1);
    p.saturate = p.saturate && (p.codes.bits < 32 || p.matmul.product.k > INT32_MAX / (most > 0 ? most : 1));
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}

typedef struct gemm_params {
    const qn_island_lanes *lanes;
    qn_island_product product;
    bool strided; /* the columns of the right factor do not adjoin */
    float alpha, beta;
    int64_t c_row, c_column;
} gemm_params;

/* As qn_island_lanes.product for a transposed right factor: b_k is 1 and a column is k elements away from the next. */
static void product_transposed(float *y, const float *a, const float *b, const qn_island_product *p)
{
    for (int64_t m = 0; m < p->m; m++) {
        for (int64_t n = 0; n < p->n; n++) {
            float sum = 0;
            for (int64_t k = 0; k < p->k; k++) {
                sum = sum + a[m * p->a_row + k * p->a_k] * b[n * p->k + k];
            }
            *y++ = sum;
        }
    }
}

static void run_gemm(const void *params, float *y, const float *const *x)
{
    const gemm_params *p = params;
    const float *c = x[2];
    (p->strided ? product_transposed : p->lanes->product)(y, x[0], x[1], &p->product);
    for (int64_t m = 0; m < p->product.m; m++) {
        for (int64_t n = 0; n < p->product.n; n++, y++) {
            *y = p->alpha * *y;
            if (c != NULL) {
                *y = *y + p->beta * c[m * p->c_row + n * p->c_column];
            }
        }
    }
}

/* A constant right factor in the order in which its columns adjoin. */
static const float *transposed(qn_lowering *l, const float *b, const qn_gemm *g, qn_status *status, qn_error *err)
{
    float *copy = qn_arena_array(l->arena, (size_t)(g->k * g->n), sizeof *copy);
    if (copy == NULL) {
        *status = qn_fail_memory(err, NULL, (size_t)(g->k * g->n) * sizeof *copy);
        return NULL;
    }
    for (int64_t k = 0; k < g->k; k++) {
        for (int64_t n = 0; n < g->n; n++) {
            copy[k * g->n + n] = b[n * g->k + k];
        }
    }
    return copy;
}

qn_status qn_island_gemm(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_gemm};
    gemm_params p = {.lanes = qn_island_lanes_for(l->cpu)};
    qn_gemm g;
    qn_status status = QN_OK;
    QN_TRY(qn_gemm_of_node(&g, l->binding, node, err));
    p.product = (qn_island_product){.m = g.m / l->items, .n = g.n, .k = g.k};
    p.product.a_row = g.trans_a ? 1 : g.k;
    p.product.a_k = g.trans_a ? g.m : 1;
    p.product.b_k = g.n;
    p.alpha = g.alpha;
    p.beta = g.beta;
    for (int i = 0; i < 2 + (g.beta != 0); i++) {
        if (!qn_island_input(l, &island, node, i, &status, err)) {
            return status;
        }
    }
    p.strided = g.trans_b && island.constant[1] == NULL;
    if (g.trans_b && !p.strided) {
        island.constant[1] = transposed(l, island.constant[1], &g, &status, err);
        QN_TRY(status);
    }
    if (node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE) {
        const qn_bound_value *c = &l->binding->values[node->inputs[2]];
        int64_t columns = c->rank > 0 ? c->dims[c->rank - 1] : 1;
        p.c_column = columns > 1;
        p.c_row = c->rank > 1 && c->dims[0] > 1 ? columns : 0;
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}

typedef struct conv_params {
    const qn_island_lanes *lanes;
    qn_window window;
} conv_params;

/* One row of one output channel: products of one weight at a time, over the outputs whose windows hold that place. */
static void conv_row(const conv_params *p, float *y, const float *x, const float *w, int64_t row)
{
    const qn_window *g = &p->window;
    memset(y, 0, (size_t)g->out[1] * sizeof *y);
    for (int64_t c = 0; c < g->c_in / g->group; c++, x += g->in[0] * g->in[1]) {
        for (int64_t r = 0; r < g->kernel[0]; r++) {
            const int64_t from = row * g->stride[0] + r * g->dilation[0] - g->pad_begin[0];
            for (int64_t s = 0; s < g->kernel[1]; s++, w++) {
                const int64_t shift = s * g->dilation[1] - g->pad_begin[1];
                int64_t first = shift < 0 ? (-shift + g->stride[1] - 1) / g->stride[1] : 0;
                int64_t end = g->in[1] - shift <= 0 ? 0 : (g->in[1] - shift + g->stride[1] - 1) / g->stride[1];
                end = end < g->out[1] ? end : g->out[1];
                if (from >= 0 && from < g->in[0] && first < end) {
                    p->lanes->add_scaled(y + first, x + from * g->in[1] + first * g->stride[1] + shift, *w, end - first,
                                         g->stride[1]);
                }
            }
        }
    }
}

static void run_conv(const void *params, float *y, const float *const *x)
{
    const conv_params *p = params;
    const qn_window *g = &p->window;
    const int64_t inputs = g->c_in / g->group, outputs = g->c_out / g->group, plane = g->in[0] * g->in[1];
    for (int64_t i = 0; i < g->n * g->c_out; i++) {
        const int64_t k = i % g->c_out;
        const float *from = x[0] + (i / g->c_out * g->c_in + k / outputs * inputs) * plane;
        const float *w = x[1] + k * inputs * g->kernel[0] * g->kernel[1];
        for (int64_t row = 0; row < g->out[0]; row++, y += g->out[1]) {
            conv_row(p, y, from, w, row);
            for (int64_t column = 0; x[2] != NULL && column < g->out[1]; column++) {
                y[column] = y[column] + x[2][k];
            }
        }
    }
}

qn_status qn_island_conv(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_conv};
    conv_params p = {.lanes = qn_island_lanes_for(l->cpu)};
    qn_status status;
    QN_TRY(qn_window_of_node(&p.window, l->binding, node, err));
    p.window.n /= l->items;
    for (int i = 0; i < 3; i++) {
        if (!qn_island_input(l, &island, node, i, &status, err)) {
            return status;
        }
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}
