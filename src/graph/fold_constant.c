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

static qn_status compute(qn_tensor *y, qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    QN_TRY(qn_node_check(binding->graph, node, err));
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
    qn_binding binding = {.graph = graph, .batch = 1};
    const qn_status status = compute(y, &binding, node, err);
    qn_binding_free(&binding);
    return status;
}
