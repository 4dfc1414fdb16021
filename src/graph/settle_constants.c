/* What is known before anything runs becomes a constant: weights that arrive through Transpose, Identity, Cast and the
 * like, sizes that follow from shapes, arithmetic on constants. What depends on the batch size stays as it is: two
 * batch sizes are tried, where the network takes two items at all (a Reshape to [1, -1] does not). Of a Reshape's
 * shape one entry may depend on it. */
#include <string.h>

#include "graph/bind.h"
#include "graph/passes.h"

static bool same_tensor(const qn_tensor *a, const qn_tensor *b)
{
    return a != NULL && b != NULL && a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0 &&
           memcmp(a->data, b->data, qn_tensor_bytes(a)) == 0;
}

static qn_status settle(qn_graph *graph, const qn_binding *one, const qn_binding *two, qn_error *err)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        qn_value_id id = node->n_outputs == 1 ? node->outputs[0] : QN_NO_VALUE;
        if (node->op == QN_OP_REMOVED || id == QN_NO_VALUE || qn_graph_is_output(graph, id)) {
            continue;
        }
        const qn_tensor *known = one->values[id].known;
        if (!one->values[id].of_codes && same_tensor(known, two->values[id].known)) {
            node->op = QN_OP_REMOVED;
            graph->values[id].producer = -1;
            QN_TRY(qn_graph_set_constant(graph, id, known, err));
        }
    }
    return QN_OK;
}

/* The one entry of a Reshape's shape that depends on the batch; -1 where there are none or more, or another entry says
 * that it follows from the rest. */
static int64_t find_varying(const qn_tensor *one, const qn_tensor *two)
{
    int64_t varying = -1;
    if (one == NULL || two == NULL || one->dtype != QN_DTYPE_S64 || one->rank != 1 || two->rank != 1 ||
        one->dims[0] != two->dims[0] || one->dims[0] > QN_MAX_RANK) {
        return -1;
    }
    const int64_t *a = one->data, *b = two->data;
    for (int64_t i = 0; i < one->dims[0]; i++) {
        if (a[i] < 1 || b[i] < 1 || (a[i] != b[i] && varying >= 0)) {
            return -1;
        }
        varying = a[i] != b[i] ? i : varying;
    }
    return varying;
}

/* Shapes that are put together from the batch and known sizes become constants that leave the batch to be found. */
static qn_status settle_shapes(qn_graph *graph, const qn_binding *one, const qn_binding *two, qn_error *err)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        const qn_value_id id = node->op == QN_OP_RESHAPE && node->n_inputs > 1 ? node->inputs[1] : QN_NO_VALUE;
        if (id == QN_NO_VALUE || (size_t)id >= one->n_values || graph->values[id].constant != NULL) {
            continue;
        }
        const int64_t varying = find_varying(one->values[id].known, two->values[id].known);
        if (varying < 0) {
            continue;
        }
        int64_t shape[QN_MAX_RANK];
        qn_tensor t = *one->values[id].known;
        memcpy(shape, t.data, (size_t)t.dims[0] * sizeof *shape);
        shape[varying] = -1;
        t.data = shape;
        const char *stem = qn_arena_printf(&graph->arena, "%s_shape", graph->values[node->outputs[0]].name);
        const char *name = stem != NULL ? qn_graph_unique_name(graph, stem) : NULL;
        if (name == NULL) {
            return qn_fail_memory(err, graph->file, 0);
        }
        QN_TRY(qn_graph_add_value(graph, name, &node->inputs[1], err));
        QN_TRY(qn_graph_set_constant(graph, node->inputs[1], &t, err));
    }
    return QN_OK;
}

qn_status qn_graph_settle_constants(qn_graph *graph, qn_error *err)
{
    qn_binding one = {0}, two = {0};
    qn_status status = qn_graph_bind_folding(&one, graph, 1, err);
    qn_error only_one;
    qn_error_init(&only_one);
    bool takes_two = status == QN_OK && qn_graph_bind_folding(&two, graph, 2, &only_one) == QN_OK;
    if (only_one.status == QN_ENOMEM) {
        status = qn_fail(err, QN_ENOMEM, only_one.where, "%s", only_one.message);
    }
    if (status == QN_OK) {
        status = settle(graph, &one, takes_two ? &two : &one, err);
    }
    if (status == QN_OK && takes_two) {
        status = settle_shapes(graph, &one, &two, err);
    }
    qn_binding_free(&one);
    qn_binding_free(&two);
    return status == QN_OK ? qn_graph_tidy(graph, err) : status;
}
