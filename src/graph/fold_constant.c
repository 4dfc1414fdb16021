/* One node over constants, without binding its graph. */
#include <string.h>

#include "graph/fold.h"

static bool see(qn_bound_value *bound, const qn_value *value)
{
    const qn_tensor *t = value->constant;
    if (t == NULL || value->stored_type != 0 || qn_computed_dtype(t->dtype) != t->dtype) {
        return false;
    }
    *bound = (qn_bound_value){.dtype = t->dtype, .rank = t->rank, .known = t};
    memcpy(bound->dims, t->dims, sizeof bound->dims);
    return qn_count_elems(t->rank, t->dims, &bound->n_elems);
}

/* The node alone, its values numbered anew, so that what it takes does not grow with the graph around it. */
static qn_status isolate(qn_graph *alone, qn_node *node, const qn_graph *graph, const qn_node *from, qn_arena *arena,
                         qn_error *err)
{
    const size_t n_inputs = (size_t)from->n_inputs, n = n_inputs + (size_t)from->n_outputs;
    qn_value_id *ids = qn_arena_array(arena, n, sizeof *ids);
    *alone = *graph;
    *node = *from;
    alone->values = qn_arena_array(arena, n, sizeof *alone->values);
    alone->n_values = n;
    if (ids == NULL || alone->values == NULL) {
        return qn_fail_memory(err, graph->file, n * sizeof *alone->values);
    }
    for (size_t i = 0; i < n; i++) {
        const qn_value_id id = i < n_inputs ? from->inputs[i] : from->outputs[i - n_inputs];
        ids[i] = id != QN_NO_VALUE ? (qn_value_id)i : QN_NO_VALUE;
        if (id != QN_NO_VALUE) {
            alone->values[i] = graph->values[id];
        }
    }
    node->inputs = ids;
    node->outputs = ids + n_inputs;
    return QN_OK;
}

static qn_status compute(qn_tensor *y, qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    binding->values = qn_arena_array(&binding->arena, binding->graph->n_values, sizeof *binding->values);
    binding->used = qn_arena_array(&binding->arena, binding->graph->n_values, sizeof *binding->used);
    if (binding->values == NULL || binding->used == NULL) {
        return qn_fail_memory(err, binding->graph->file, binding->graph->n_values);
    }
    for (int i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] != QN_NO_VALUE &&
            !see(&binding->values[node->inputs[i]], &binding->graph->values[node->inputs[i]])) {
            return qn_infer_fail(&c, QN_EUNSUPPORTED, NULL, "input %d is no constant that can be computed with", i);
        }
    }
    QN_TRY(qn_infer_node(&c));
    const qn_bound_value *made = qn_infer_output(&c, 0);
    QN_TRY(qn_tensor_alloc(y, made->dtype, made->rank, made->dims, err));
    const qn_status status = made->n_elems > 0 ? qn_fold_compute(&c, y->data) : QN_OK;
    if (status != QN_OK) {
        qn_tensor_free(y);
    }
    return status;
}

qn_status qn_node_of_constants(qn_tensor *y, const qn_graph *graph, const qn_node *node, qn_error *err)
{
    qn_graph alone;
    qn_node copy;
    qn_binding binding = {.graph = &alone, .batch = 1};
    QN_TRY(qn_node_check(graph, node, err));
    qn_status status = isolate(&alone, &copy, graph, node, &binding.arena, err);
    status = status == QN_OK ? compute(y, &binding, &copy, err) : status;
    qn_binding_free(&binding);
    return status;
}
