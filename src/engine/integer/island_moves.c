/* Moves of elements of any type: renaming, lists of places, parts side by side. */
#include <string.h>

#include "engine/integer/island.h"

typedef struct move_params {
    int64_t n;
    const int32_t *index;
    size_t size; /* of an element */
} move_params;

static void run_move(const void *params, float *y, const float *const *x)
{
    const move_params *p = params;
    for (int64_t i = 0; i < p->n; i++) {
        y[i] = x[0][p->index[i]];
    }
}

static void run_typed_move(const void *params, float *y, const float *const *x)
{
    const move_params *p = params;
    char *to = (char *)y;
    const char *from = (const char *)x[0];
    for (int64_t i = 0; i < p->n; i++) {
        memcpy(to + (size_t)i * p->size, from + (size_t)p->index[i] * p->size, p->size);
    }
}

static size_t size_of(const qn_lowering *l, qn_value_id value)
{
    return qn_dtype_size(l->binding->values[value].dtype);
}

qn_status qn_island_move(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_move};
    move_params p = {0};
    qn_status status;
    p.size = size_of(l, node->outputs[0]);
    island.run = l->binding->values[node->outputs[0]].dtype == QN_DTYPE_F32 ? run_move : run_typed_move;
    if (!qn_island_typed_argument(l, &island, node->inputs[0], &status, err) ||
        !qn_island_count(l, node->outputs[0], &p.n)) {
        return status;
    }
    p.index = qn_lower_move_index(l, node, &status, err);
    if (p.index == NULL) {
        return status;
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}

/* Parts follow each other `outer` times; this one brings n bytes at `offset` of every `stride`. */
typedef struct part_params {
    int64_t outer, n, offset, stride;
} part_params;

static void run_part(const void *params, float *y, const float *const *x)
{
    const part_params *p = params;
    for (int64_t o = 0; o < p->outer; o++) {
        memcpy((char *)y + o * p->stride + p->offset, (const char *)x[0] + o * p->n, (size_t)p->n);
    }
}

/* The same elements under another shape: the same tensor, but for constants. */
qn_status qn_island_view(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_part};
    part_params p = {.outer = 1};
    qn_status status;
    if (!qn_island_typed_argument(l, &island, node->inputs[0], &status, err) ||
        !qn_island_count(l, node->outputs[0], &p.n)) {
        return status;
    }
    p.n *= (int64_t)size_of(l, node->outputs[0]);
    if (island.input[0] >= 0) {
        qn_island_define(l, node->outputs[0], island.input[0]);
        return QN_OK;
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}

qn_status qn_island_concat(qn_lowering *l, const qn_node *node, qn_error *err)
{
    int axis, rank, output = -1;
    int64_t dims[QN_MAX_RANK];
    part_params p = {.outer = 1, .stride = 1};
    QN_TRY(qn_axis_of_node(&axis, l->binding, node, err));
    if (!qn_lower_dims(l, node->outputs[0], dims, &rank)) {
        return QN_OK;
    }
    p.stride = (int64_t)size_of(l, node->outputs[0]);
    for (int i = 0; i < rank; i++) {
        *(i < axis ? &p.outer : &p.stride) *= dims[i];
    }
    for (int i = 0; i < node->n_inputs; i++) {
        qn_integer_island island = {.run = run_part};
        qn_status status;
        if (!qn_island_count(l, node->inputs[i], &p.n)) {
            return QN_OK;
        }
        if (p.n == 0) {
            continue;
        }
        if (!qn_island_typed_argument(l, &island, node->inputs[i], &status, err)) {
            return status;
        }
        p.n = p.n / p.outer * (int64_t)size_of(l, node->outputs[0]);
        output = output < 0 ? qn_island_output(l, node) : output;
        QN_TRY(qn_island_step(l, node, output, &island, &p, sizeof p, err));
        p.offset += p.n;
    }
    return QN_OK;
}
