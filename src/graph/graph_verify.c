/* The graph's invariants, checked. */
#include <string.h>

#include "graph/graph.h"

static qn_status fail_value(const qn_graph *graph, const qn_value *value, const char *reason, qn_error *err)
{
    return qn_fail(err, QN_EFORMAT, graph->file, "value '%s' %s", value->name, reason);
}

static qn_status verify_value(const qn_graph *graph, qn_value_id id, bool is_input, qn_error *err)
{
    const qn_value *value = &graph->values[id];
    if (value->name == NULL || value->name[0] == '\0') {
        return qn_fail(err, QN_EFORMAT, graph->file, "value %d has no name", (int)id);
    }
    if (qn_graph_find(graph, value->name) != id) {
        return fail_value(graph, value, "shares its name with another value", err);
    }
    if (is_input && value->constant != NULL) {
        return fail_value(graph, value, "is a graph input and also an initializer", err);
    }
    if (value->rank > QN_MAX_RANK) {
        return fail_value(graph, value, "has too many dimensions", err);
    }
    return QN_OK;
}

/* Outputs in order, made once, agreeing with `producer`. `made` marks what inputs, constants and earlier nodes offer.
 */
static qn_status verify_node(const qn_graph *graph, size_t index, unsigned char *made, qn_error *err)
{
    const qn_node *node = &graph->nodes[index];
    char where[QN_NODE_WHERE_MAX];
    qn_node_where(where, graph, node);
    for (int i = 0; i < node->n_inputs; i++) {
        qn_value_id id = node->inputs[i];
        if (id == QN_NO_VALUE) {
            continue;
        }
        if (id < 0 || (size_t)id >= graph->n_values) {
            return qn_fail(err, QN_EFORMAT, where, "input %d is not a value", i);
        }
        if (!made[id]) {
            return qn_fail(err, QN_EFORMAT, where,
                           graph->values[id].producer >= 0 ? "input %d, '%s', is made by a later node"
                                                           : "input %d, '%s', is made by nothing in the graph",
                           i, graph->values[id].name);
        }
    }
    for (int i = 0; i < node->n_outputs; i++) {
        qn_value_id id = node->outputs[i];
        if (id == QN_NO_VALUE) {
            continue;
        }
        if (id < 0 || (size_t)id >= graph->n_values) {
            return qn_fail(err, QN_EFORMAT, where, "output %d is not a value", i);
        }
        if (made[id]) {
            return qn_fail(err, QN_EFORMAT, where,
                           "output %d, '%s', is also a graph input, an initializer or another node's output", i,
                           graph->values[id].name);
        }
        if (graph->values[id].producer != (int32_t)index) {
            return qn_fail(err, QN_EFORMAT, where, "output %d, '%s', does not know its producer", i,
                           graph->values[id].name);
        }
        made[id] = 1;
    }
    return QN_OK;
}

static qn_status verify_all(const qn_graph *graph, unsigned char *made, qn_error *err)
{
    for (size_t i = 0; i < graph->n_inputs; i++) {
        qn_value_id id = graph->inputs[i];
        if (made[id]) {
            return fail_value(graph, &graph->values[id], "is listed twice as a graph input", err);
        }
        made[id] = 1;
    }
    for (size_t i = 0; i < graph->n_values; i++) {
        QN_TRY(verify_value(graph, (qn_value_id)i, made[i], err));
        made[i] |= graph->values[i].constant != NULL;
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op != QN_OP_REMOVED) {
            QN_TRY(verify_node(graph, i, made, err));
        }
    }
    if (graph->n_outputs == 0) {
        return qn_fail(err, QN_EFORMAT, graph->file, "the graph has no outputs");
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        const qn_value *value = &graph->values[graph->outputs[i]];
        if (!made[graph->outputs[i]]) {
            return fail_value(graph, value, "is a graph output, but nothing in the graph makes it", err);
        }
    }
    return QN_OK;
}

qn_status qn_graph_verify(const qn_graph *graph, qn_error *err)
{
    unsigned char *made = qn_alloc(graph->n_values);
    if (made == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values);
    }
    qn_status status = verify_all(graph, made, err);
    qn_free(made);
    return status;
}
