/* Moves as lists of where each element comes from; the same for codes and floats. And which nodes work item by item. */
#include <string.h>

#include "engine/integer/lower.h"
#include "graph/compute/compute.h"

typedef struct grid {
    int rank; /* of the output */
    int64_t dims[QN_MAX_RANK];
    const int64_t *from[QN_MAX_RANK]; /* per axis: offset in the source of each coordinate */
} grid;

static void c_strides(const int64_t *dims, int rank, int64_t *strides)
{
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= dims[i];
    }
}

static int64_t known_index(const qn_tensor *t, int64_t i, int64_t length)
{
    int64_t index = t->dtype == QN_DTYPE_S64 ? ((const int64_t *)t->data)[i] : ((const int32_t *)t->data)[i];
    return index < 0 ? index + length : index;
}

/* What the node says, read once. */
typedef struct move {
    const qn_node *node;
    int perm[QN_MAX_RANK], axis, index_rank;
    qn_slice slice;
    const qn_tensor *indices;
} move;

static qn_status read_move(move *m, const qn_lowering *l, const qn_node *node, qn_error *err)
{
    m->node = node;
    switch (node->op) {
    case QN_OP_TRANSPOSE:
        return qn_transpose_of_node(m->perm, l->binding, node, err);
    case QN_OP_SLICE:
        return qn_slice_of_node(&m->slice, l->binding, node, err);
    default:
        m->indices = l->binding->values[node->inputs[1]].known; /* binding has checked them */
        m->index_rank = l->binding->values[node->inputs[1]].rank;
        return qn_axis_of_node(&m->axis, l->binding, node, err);
    }
}

/* Source offset of coordinate o of output axis `axis`. A Gather's indices count as one axis. */
static int64_t offset_of(const move *m, int axis, int64_t o, const int64_t *x_dims, const int64_t *strides)
{
    switch (m->node->op) {
    case QN_OP_TRANSPOSE:
        return o * strides[m->perm[axis]];
    case QN_OP_SLICE:
        return (m->slice.start[axis] + o * m->slice.step[axis]) * strides[axis];
    default:
        return (axis == m->axis ? known_index(m->indices, o, x_dims[axis]) : o) * strides[axis];
    }
}

static void fill(const grid *g, int axis, int64_t offset, int32_t **to)
{
    if (axis == g->rank) {
        *(*to)++ = (int32_t)offset;
        return;
    }
    for (int64_t o = 0; o < g->dims[axis]; o++) {
        int64_t part = g->from[axis][o];
        fill(g, axis + 1, offset + part, to);
    }
}

const int32_t *qn_lower_move_index(qn_lowering *l, const qn_node *node, qn_status *status, qn_error *err)
{
    move m = {0};
    grid g = {0};
    int64_t x_dims[QN_MAX_RANK], strides[QN_MAX_RANK], n = 1;
    int x_rank;
    *status = read_move(&m, l, node, err);
    if (*status != QN_OK || !qn_lower_dims(l, node->inputs[0], x_dims, &x_rank) ||
        !qn_lower_dims(l, node->outputs[0], g.dims, &g.rank)) {
        return NULL;
    }
    if (node->op == QN_OP_GATHER && m.indices == NULL) {
        l->reason = "indices that are computed while the network runs";
        return NULL;
    }
    c_strides(x_dims, x_rank, strides);
    if (m.indices != NULL) { /* its axis is as long as there are indices */
        g.rank = x_rank;
        memcpy(g.dims, x_dims, sizeof g.dims);
        g.dims[m.axis] = qn_tensor_count(m.indices);
    }
    for (int axis = 0; axis < g.rank; axis++) {
        int64_t *from = qn_arena_array(l->arena, (size_t)g.dims[axis], sizeof *from);
        if (from == NULL) {
            *status = qn_fail_memory(err, NULL, (size_t)g.dims[axis] * sizeof *from);
            return NULL;
        }
        for (int64_t o = 0; o < g.dims[axis]; o++) {
            from[o] = offset_of(&m, axis, o, x_dims, strides);
        }
        g.from[axis] = from;
        n *= g.dims[axis];
    }
    int32_t *index = qn_arena_array(l->arena, (size_t)n, sizeof *index), *to = index;
    if (index == NULL) {
        *status = qn_fail_memory(err, NULL, (size_t)n * sizeof *index);
        return NULL;
    }
    fill(&g, 0, 0, &to);
    return index;
}

/* Does the node mix what lies at different places of axis 0? */
static qn_status mixes_items(const qn_lowering *l, const qn_node *node, bool *mixes, qn_error *err)
{
    int axis = 1;
    move m = {0};
    const qn_bound_value *a = &l->binding->values[node->inputs[0]];
    const qn_bound_value *b =
        node->n_inputs > 1 && node->inputs[1] != QN_NO_VALUE ? &l->binding->values[node->inputs[1]] : NULL;
    switch (node->op) {
    case QN_OP_CONCAT:
    case QN_OP_SOFTMAX:
        QN_TRY(qn_axis_of_node(&axis, l->binding, node, err));
        *mixes = axis == 0;
        return QN_OK;
    case QN_OP_TRANSPOSE:
    case QN_OP_SLICE:
        QN_TRY(read_move(&m, l, node, err));
        *mixes = (node->op == QN_OP_TRANSPOSE && m.perm[0] != 0) ||
                 (node->op == QN_OP_SLICE && (m.slice.start[0] != 0 || m.slice.step[0] != 1));
        return QN_OK;
    case QN_OP_GEMM:
        *mixes = qn_node_int(node, "transA", 0) != 0 || b->known == NULL;
        return QN_OK;
    case QN_OP_MATMUL:
        *mixes = a->rank < 2 || (b->known == NULL && (a->rank < 3 || b->rank != a->rank)) ||
                 (b->known != NULL && b->rank > 2);
        return QN_OK;
    default:
        *mixes = qn_compute_has(node->op) && !qn_compute_keeps_rows(l->binding, node);
        return QN_OK;
    }
}

static bool broadcasts(qn_op op)
{
    return op == QN_OP_ADD || op == QN_OP_SUB || op == QN_OP_MUL || op == QN_OP_DIV || op == QN_OP_POW;
}

bool qn_lower_separable(qn_lowering *l, const qn_node *node, qn_status *status, qn_error *err)
{
    bool mixes = false;
    *status = QN_OK;
    if (l->items == 1) {
        return true;
    }
    const int rank = l->binding->values[node->outputs[0]].rank;
    for (int i = 0; i < node->n_inputs + node->n_outputs; i++) {
        qn_value_id id = i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs];
        const qn_bound_value *v = id != QN_NO_VALUE && l->binding->used[id] ? &l->binding->values[id] : NULL;
        if (v == NULL || (v->known != NULL && v->dtype != QN_DTYPE_F32)) {
            continue;
        }
        bool weights =
            i > 0 && (node->op == QN_OP_CONV || node->op == QN_OP_MATMUL || (node->op == QN_OP_GEMM && i == 1));
        if (v->known == NULL) {
            mixes |= v->rank < 1 || v->dims[0] != l->items || (broadcasts(node->op) && v->rank != rank);
        } else {
            mixes |= !weights && v->rank == rank && v->dims[0] != 1;
        }
    }
    if (!mixes) {
        *status = mixes_items(l, node, &mixes, err);
    }
    if (mixes && *status == QN_OK) {
        l->reason = "an operation across the fixed batch of the model";
    }
    return !mixes && *status == QN_OK;
}
