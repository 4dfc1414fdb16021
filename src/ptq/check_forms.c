/* Nodes that no engine can run are refused before any parameter is chosen, and all of them together. */
#include "engine/program.h"
#include "graph/node_list.h"
#include "ptq/ptq.h"

/* Shape arithmetic: everything the node makes is known before anything runs. */
static bool is_known(const qn_binding *binding, const qn_node *node)
{
    bool known = true;
    for (int i = 0; i < node->n_outputs; i++) {
        known = known && (node->outputs[i] == QN_NO_VALUE || binding->values[node->outputs[i]].known != NULL);
    }
    return known;
}

static bool weights_fit(const qn_graph *graph, const qn_node *node, const char **reason)
{
    const qn_tensor *weights = qn_ptq_float_constant(graph, node->inputs[1]);
    bool has_bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    const qn_tensor *bias = has_bias ? qn_ptq_float_constant(graph, node->inputs[2]) : NULL;
    int axis = qn_ptq_channel_axis(node);
    if (weights == NULL || weights->rank <= axis || (node->op != QN_OP_CONV && weights->rank != 2)) {
        *reason = node->op == QN_OP_CONV ? "weights are not constant" : "second input is not a constant matrix";
        return false;
    }
    if (has_bias && (bias == NULL || bias->rank != 1 || bias->dims[0] != weights->dims[axis])) {
        *reason = "bias is not a constant with one number per output channel";
        return false;
    }
    return true;
}

bool qn_ptq_has_form(const qn_graph *graph, const qn_binding *binding, const qn_node *node, const char **reason)
{
    return qn_integer_has_form(graph, binding, node, reason) &&
           (!qn_ptq_rule_of(node->op)->has_weights || weights_fit(graph, node, reason));
}

static bool can_run(const qn_graph *graph, const qn_binding *binding, const qn_node *node, const char **reason)
{
    return qn_ptq_has_form(graph, binding, node, reason) || qn_engine_float_ops.supports(graph, node, reason);
}

qn_status qn_ptq_check_forms(qn_ptq *ptq, qn_error *err)
{
    const qn_graph *graph = ptq->graph;
    qn_binding binding = {0};
    qn_node_list list = {0};
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        const char *reason;
        if (!is_known(&binding, &graph->nodes[n]) && !can_run(graph, &binding, &graph->nodes[n], &reason)) {
            status = qn_node_list_add(&list, &graph->nodes[n], reason, err);
        }
    }
    qn_binding_free(&binding);
    if (status != QN_OK) {
        qn_node_list_free(&list);
        return status;
    }
    return qn_node_list_fail(&list, graph, QN_EUNSUPPORTED,
                             "no engine can run these nodes, so the network cannot be quantized", err);
}
