/* Transposes move towards the outputs, through all that does not mind the order of axes, until they meet: two that
 * undo each other are gone, others become one. All of it is undone where that leaves no fewer. */
#include "graph/transposes.h"

#include <string.h>

#include "graph/passes.h"
#include "graph/snapshot.h"

typedef struct mover {
    qn_graph *graph;
    qn_binding binding, two; /* for one item and for two; `two` has no graph where the network takes one only */
    qn_value_id *former; /* per value that was made here: the one whose elements it holds in another order; n of them */
    size_t n;
    qn_error *err;
} mover;

static qn_node *transpose_of(const mover *m, qn_value_id id)
{
    const int32_t producer = id != QN_NO_VALUE ? m->graph->values[id].producer : -1;
    qn_node *node = producer >= 0 ? &m->graph->nodes[producer] : NULL;
    return node != NULL && node->op == QN_OP_TRANSPOSE && m->graph->values[id].quantizer == NULL ? node : NULL;
}

/* The permutation of a Transpose, over the axes of its output; its rank, 0 when that is not known. */
static int permutation(const mover *m, const qn_node *node, int perm[QN_MAX_RANK])
{
    const int64_t *list;
    const int n = (int)qn_node_ints(node, "perm", &list);
    const size_t id = (size_t)node->outputs[0];
    const int rank = n > 0 ? n : id < m->binding.n_values ? m->binding.values[id].rank : 0;
    for (int i = 0; i < rank; i++) {
        perm[i] = n > 0 ? (int)list[i] : rank - 1 - i;
    }
    return rank;
}

static bool is_identity(const int *perm, int rank)
{
    for (int i = 0; i < rank; i++) {
        if (perm[i] != i) {
            return false;
        }
    }
    return true;
}

static qn_status new_value(mover *m, qn_value_id like, qn_value_id *id)
{
    qn_graph *graph = m->graph;
    const char *stem = qn_arena_printf(&graph->arena, "%s_moved", graph->values[like].name);
    const char *name = stem != NULL ? qn_graph_unique_name(graph, stem) : NULL;
    if (name == NULL) {
        return qn_fail_memory(m->err, graph->file, 0);
    }
    QN_TRY(qn_graph_add_value(graph, name, id, m->err));
    graph->values[*id].dtype = graph->values[like].dtype;
    graph->values[*id].rank = -1;
    if ((size_t)*id >= m->n) {
        const size_t n = 2 * (size_t)*id + 64;
        qn_value_id *former = qn_arena_array(&graph->arena, n, sizeof *former);
        if (former == NULL) {
            return qn_fail_memory(m->err, graph->file, n * sizeof *former);
        }
        for (size_t i = 0; i < n; i++) {
            former[i] = i < m->n ? m->former[i] : QN_NO_VALUE;
        }
        m->former = former;
        m->n = n;
    }
    m->former[*id] = like;
    return QN_OK;
}

/* `to` becomes a Transpose of `from`. */
static qn_status add_transpose(mover *m, qn_value_id from, qn_value_id to, const int *perm, int rank)
{
    int64_t list[QN_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        list[i] = perm[i];
    }
    qn_attribute attribute = {.name = "perm", .type = QN_ATTRIBUTE_INTS, .ints = list, .n = rank};
    const char *name = qn_arena_printf(&m->graph->arena, "%s_transpose", m->graph->values[to].name);
    if (name == NULL) {
        return qn_fail_memory(m->err, m->graph->file, 0);
    }
    const qn_node node = {.name = name,
                          .op_type = qn_op_type(QN_OP_TRANSPOSE),
                          .domain = "",
                          .op = QN_OP_TRANSPOSE,
                          .n_inputs = 1,
                          .n_outputs = 1,
                          .n_attributes = 1,
                          .inputs = &from,
                          .outputs = &to,
                          .attributes = &attribute};
    m->graph->values[to].producer = -1;
    return qn_graph_add_node(m->graph, &node, m->err);
}

/* What the constant is before a Transpose that makes it. One element needs none. */
static qn_status untranspose_constant(mover *m, qn_value_id *id, const int *perm, int rank)
{
    const qn_tensor *t = m->graph->values[*id].constant;
    if (qn_tensor_count(t) == 1 && t->rank <= 1) {
        return QN_OK;
    }
    const size_t size = qn_dtype_size(t->dtype);
    int64_t dims[QN_MAX_RANK], stride[QN_MAX_RANK]; /* of t with leading ones */
    qn_tensor moved = {.dtype = t->dtype, .rank = rank};
    for (int i = rank - 1; i >= 0; i--) {
        const int at = i - (rank - t->rank);
        dims[i] = at >= 0 ? t->dims[at] : 1;
        stride[i] = i == rank - 1 ? 1 : stride[i + 1] * dims[i + 1];
        moved.dims[perm[i]] = dims[i];
    }
    const int64_t n = qn_tensor_count(t);
    moved.data = qn_arena_array(&m->graph->arena, (size_t)n, size);
    if (moved.data == NULL) {
        return qn_fail_memory(m->err, m->graph->file, (size_t)n * size);
    }
    int64_t from_stride[QN_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        from_stride[perm[i]] = stride[i];
    }
    for (int64_t k = 0; k < n; k++) {
        int64_t rest = k, from = 0;
        for (int i = rank - 1; i >= 0; i--) {
            from += rest % moved.dims[i] * from_stride[i];
            rest /= moved.dims[i];
        }
        memcpy((char *)moved.data + (size_t)k * size, (const char *)t->data + (size_t)from * size, size);
    }
    return qn_transpose_constant(m->graph, m->graph->values[*id].name, &moved, id, m->err);
}

/* Does operand i come from a Transpose, from the same as the others? Constants join, without codes and no larger. */
static bool operand_fits(const mover *m, qn_value_id id, const int *perm, int rank)
{
    const qn_value *value = id != QN_NO_VALUE ? &m->graph->values[id] : NULL;
    int own[QN_MAX_RANK];
    if (value == NULL) {
        return false;
    }
    if (value->constant != NULL) {
        return value->quantizer == NULL && value->constant->rank <= rank;
    }
    const qn_node *transpose = transpose_of(m, id);
    return transpose != NULL && permutation(m, transpose, own) == rank &&
           memcmp(own, perm, (size_t)rank * sizeof *perm) == 0;
}

static bool can_push(const mover *m, qn_pushed *p, int n_operands)
{
    const qn_node *node = p->node;
    p->rank = 0;
    for (int i = 0; i < n_operands && p->rank == 0; i++) {
        const qn_node *transpose = transpose_of(m, node->inputs[i]);
        p->rank = transpose != NULL ? permutation(m, transpose, p->perm) : 0;
    }
    if (p->rank == 0) {
        return false;
    }
    for (int i = 0; i < n_operands; i++) {
        if (!operand_fits(m, node->inputs[i], p->perm, p->rank)) {
            return false;
        }
    }
    for (int i = 0; i < node->n_outputs; i++) {
        const qn_value_id id = node->outputs[i];
        if (id != QN_NO_VALUE && ((size_t)id >= m->binding.n_values || m->graph->values[id].quantizer != NULL)) {
            return false;
        }
    }
    return true;
}

static qn_status push(mover *m, size_t index, bool *moved)
{
    qn_graph *graph = m->graph;
    qn_node *node = &graph->nodes[index];
    qn_error reason;
    qn_error_init(&reason);
    qn_pushed p = {.graph = graph, .binding = &m->binding, .node = node, .err = &reason};
    const int n_operands = qn_transpose_operands(graph, node);
    if (n_operands == 0 || node->n_inputs < 1 || !can_push(m, &p, n_operands) || !qn_transpose_plan(&p)) {
        return QN_OK;
    }
    p.err = m->err;
    QN_TRY(qn_transpose_apply(&p));
    for (int i = 0; i < n_operands; i++) {
        const qn_node *transpose = transpose_of(m, node->inputs[i]);
        if (transpose != NULL) {
            node->inputs[i] = transpose->inputs[0];
        } else {
            QN_TRY(untranspose_constant(m, &node->inputs[i], p.perm, p.rank));
        }
    }
    *moved = true;
    for (int i = 0; i < graph->nodes[index].n_outputs && !is_identity(p.out_perm, p.out_rank); i++) {
        const qn_value_id made = graph->nodes[index].outputs[i];
        qn_value_id before;
        if (made != QN_NO_VALUE) {
            QN_TRY(new_value(m, made, &before));
            graph->nodes[index].outputs[i] = before;
            graph->values[before].producer = (int32_t)index;
            QN_TRY(add_transpose(m, before, made, p.out_perm, p.out_rank)); /* moves the nodes in memory */
        }
    }
    return QN_OK;
}

/* A Transpose of a Transpose is one, or none. */
static qn_status join(mover *m, qn_node *node, bool *moved)
{
    int outer[QN_MAX_RANK], inner[QN_MAX_RANK];
    int64_t both[QN_MAX_RANK];
    const qn_node *first = transpose_of(m, node->inputs[0]);
    const qn_value_id made = node->outputs[0];
    if (first == NULL || m->graph->values[made].quantizer != NULL) {
        return QN_OK;
    }
    const int rank = permutation(m, node, outer);
    if (rank == 0 || permutation(m, first, inner) != rank) {
        return QN_OK;
    }
    for (int i = 0; i < rank; i++) {
        both[i] = inner[outer[i]];
    }
    node->inputs[0] = first->inputs[0];
    *moved = true;
    QN_TRY(qn_transpose_set_ints(m->graph, node, "perm", both, rank, m->err));
    permutation(m, node, outer);
    if (is_identity(outer, rank) && !qn_graph_is_output(m->graph, made)) {
        qn_graph_replace_uses(m->graph, made, node->inputs[0]);
        node->op = QN_OP_REMOVED;
        m->graph->values[made].producer = -1;
    }
    return QN_OK;
}

/* Has the axis one element, for every batch? */
static bool has_one(const mover *m, size_t id, int axis)
{
    return m->binding.values[id].dims[axis] == 1 && (m->two.graph == NULL || m->two.values[id].dims[axis] == 1);
}

/* A Transpose that only moves axes of one element is a Reshape, which the Reshape or Flatten behind it can do as well.
 * The batch stays first, and a 0 in the shape means what it meant. */
static void absorb(mover *m, qn_node *node, bool *moved)
{
    int perm[QN_MAX_RANK], last = -1;
    const qn_node *transpose = transpose_of(m, node->inputs[0]);
    const size_t id = (size_t)node->inputs[0];
    if (transpose == NULL || id >= m->binding.n_values) {
        return;
    }
    const qn_bound_value *x = &m->binding.values[id];
    const int rank = permutation(m, transpose, perm);
    bool plain = rank == x->rank && rank > 0 && perm[0] == 0;
    for (int i = 1; plain && i < rank; i++) {
        if (!has_one(m, id, i)) {
            plain = perm[i] > last;
            last = perm[i];
        }
    }
    if (node->op == QN_OP_FLATTEN) {
        plain = plain && qn_node_int(node, "axis", 1) == 1;
    } else {
        const qn_tensor *shape =
            node->n_inputs > 1 && node->inputs[1] != QN_NO_VALUE ? m->graph->values[node->inputs[1]].constant : NULL;
        plain = plain && shape != NULL && shape->dtype == QN_DTYPE_S64;
        for (int64_t i = 1; plain && i < qn_tensor_count(shape); i++) {
            plain = ((const int64_t *)shape->data)[i] != 0;
        }
    }
    if (plain) {
        node->inputs[0] = transpose->inputs[0];
        *moved = true;
    }
}

static qn_status sweep(mover *m, bool *moved)
{
    for (size_t n = 0; n < m->graph->n_nodes; n++) {
        qn_node *node = &m->graph->nodes[n];
        if (node->op == QN_OP_TRANSPOSE) {
            QN_TRY(join(m, node, moved));
        } else if ((node->op == QN_OP_RESHAPE || node->op == QN_OP_FLATTEN) && node->inputs[0] != QN_NO_VALUE) {
            absorb(m, node, moved);
        } else if (node->op != QN_OP_REMOVED) {
            QN_TRY(push(m, n, moved));
        }
    }
    return QN_OK;
}

/* May `same`, which reads what `node` reads, be left out? */
static bool makes_same(const mover *m, const qn_node *node, const qn_node *same)
{
    const qn_graph *graph = m->graph;
    int perm[QN_MAX_RANK], other[QN_MAX_RANK];
    const int rank = permutation(m, node, perm);
    return rank > 0 && permutation(m, same, other) == rank && memcmp(perm, other, (size_t)rank * sizeof *perm) == 0 &&
           !qn_graph_is_output(graph, same->outputs[0]) && graph->values[same->outputs[0]].quantizer == NULL &&
           graph->values[node->outputs[0]].quantizer == NULL;
}

/* Of several Transposes that make the same, one is enough. */
static qn_status share(mover *m)
{
    qn_graph *graph = m->graph;
    qn_arena scratch = {0};
    /* per value: the last Transpose so far that reads it, plus one; per node: the one before it */
    size_t *last = qn_arena_array(&scratch, graph->n_values, sizeof *last);
    size_t *before = qn_arena_array(&scratch, graph->n_nodes, sizeof *before);
    const bool failed = last == NULL || before == NULL;
    for (size_t n = 0; !failed && n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        if (node->op != QN_OP_TRANSPOSE) {
            continue;
        }
        const qn_value_id from = node->inputs[0];
        size_t k = last[from];
        while (k > 0 && !makes_same(m, &graph->nodes[k - 1], node)) {
            k = before[k - 1];
        }
        if (k > 0) {
            qn_graph_replace_uses(graph, node->outputs[0], graph->nodes[k - 1].outputs[0]);
            node->op = QN_OP_REMOVED;
        } else {
            before[n] = last[from];
            last[from] = n + 1;
        }
    }
    qn_arena_free(&scratch);
    return failed ? qn_fail_memory(m->err, graph->file, graph->n_nodes * sizeof *before) : QN_OK;
}

/* A value keeps its name where what was called so is gone. */
static qn_status keep_names(mover *m)
{
    qn_graph *graph = m->graph;
    for (size_t i = m->binding.n_values; i < graph->n_values && i < m->n; i++) {
        const qn_value_id former = m->former[i];
        const bool gone = former != QN_NO_VALUE && graph->values[former].producer < 0;
        if (!gone || graph->values[i].producer < 0) {
            continue;
        }
        const char *name = graph->values[former].name;
        const char *aside = qn_graph_unique_name(graph, name);
        if (aside == NULL) {
            return qn_fail_memory(m->err, graph->file, 0);
        }
        QN_TRY(qn_graph_rename(graph, former, aside, m->err));
        QN_TRY(qn_graph_rename(graph, (qn_value_id)i, name, m->err));
    }
    return QN_OK;
}

static int64_t count_transposes(const qn_graph *graph)
{
    int64_t n = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        n += graph->nodes[i].op == QN_OP_TRANSPOSE ? 1 : 0;
    }
    return n;
}

/* Identities among those that are graph outputs are left to drop_identities, and count. */
static qn_status move_all(qn_graph *graph, int64_t n_before, bool *kept, qn_error *err)
{
    enum { MAX_SWEEPS = 100 };
    mover m = {.graph = graph, .err = err};
    qn_error only_one;
    qn_error_init(&only_one);
    QN_TRY(qn_graph_bind(&m.binding, graph, 1, err));
    qn_status status = qn_graph_bind(&m.two, graph, 2, &only_one) == QN_ENOMEM
                           ? qn_fail(err, QN_ENOMEM, only_one.where, "%s", only_one.message)
                           : QN_OK;
    bool moved = true;
    for (int i = 0; i < MAX_SWEEPS && moved && status == QN_OK; i++) {
        moved = false;
        status = sweep(&m, &moved);
        status = status == QN_OK ? qn_graph_tidy(graph, err) : status;
    }
    if (status == QN_OK) {
        status = share(&m);
        status = status == QN_OK ? qn_graph_tidy(graph, err) : status;
    }
    *kept = status == QN_OK && count_transposes(graph) < n_before;
    status = *kept ? keep_names(&m) : status;
    qn_binding_free(&m.binding);
    qn_binding_free(&m.two);
    return *kept && status == QN_OK ? qn_graph_drop_identities(graph, err) : status;
}

qn_status qn_graph_move_transposes(qn_graph *graph, int64_t *count, qn_error *err)
{
    const int64_t before = count_transposes(graph);
    int64_t ignored;
    count = count != NULL ? count : &ignored;
    *count = 0;
    if (before == 0) {
        return QN_OK;
    }
    qn_snapshot former;
    qn_status status = qn_snapshot_take(&former, graph, err);
    bool kept = false;
    status = status == QN_OK ? move_all(graph, before, &kept, err) : status;
    if (kept) {
        *count = before - count_transposes(graph);
    } else if (status == QN_OK) {
        status = qn_snapshot_restore(&former, graph, err);
    }
    qn_snapshot_free(&former);
    return status;
}
