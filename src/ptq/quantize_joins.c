/* Constant operands of Add, Concat and other joins are coded like activations, from their own range; but for a single
 * number that is no summand, with which the node is a function of its other operand. */
#include "format/row.h"
#include "ptq/settings.h"

static qn_status code_constant(qn_graph *graph, qn_value_id id, qn_format format, qn_error *err)
{
    const qn_tensor *t = graph->values[id].constant;
    float min = 0, max = 0;
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        float x = ((const float *)t->data)[i];
        min = x < min ? x : min;
        max = x > max ? x : max;
    }
    qn_params params = qn_format_params_neutral();
    format = qn_ptq_fit_sign(format, min >= 0);
    if (format.kind == QN_FORMAT_INT && format.fit == QN_FIT_AFFINE) {
        qn_ptq_affine(format, (double)min, (double)max, &params.scale, &params.zero_point);
    } else if (format.block > 0) {
        return QN_OK; /* blocks are fitted as they run; a constant among them stays */
    } else {
        qn_format_params_from_range(format, (double)min, (double)max, &params);
    }
    QN_TRY(qn_ptq_set_params(graph, id, format, &params, err));
    qn_tensor codes = {0};
    QN_TRY(qn_tensor_alloc(&codes, qn_format_dtype(format), t->rank, t->dims, err));
    qn_quantizer_encode(codes.data, t->data, graph->values[id].quantizer, t->rank, t->dims);
    qn_status status = qn_ptq_set_coded(graph, id, graph->values[id].quantizer, &codes, err);
    qn_tensor_free(&codes);
    return status;
}

/* Does the node compute on codes? All it makes and all activations it reads are coded. */
static bool on_codes(const qn_graph *graph, const qn_node *node)
{
    if (node->op == QN_OP_REMOVED || !qn_ptq_rule_of(node->op)->joins) {
        return false;
    }
    bool coded = graph->values[node->outputs[0]].quantizer != NULL;
    for (int i = 0; i < node->n_inputs; i++) {
        const qn_value *value = &graph->values[node->inputs[i]];
        coded = coded && (value->constant != NULL || value->quantizer != NULL);
    }
    return coded;
}

qn_status qn_ptq_quantize_joins(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        if (!on_codes(graph, node)) {
            continue;
        }
        const qn_ptq_formats formats = qn_ptq_formats_of(ptq->settings, node, node->name);
        for (int i = 0; i < node->n_inputs; i++) {
            const qn_tensor *constant = qn_ptq_float_constant(graph, node->inputs[i]);
            const bool number = constant != NULL && qn_tensor_count(constant) == 1;
            if (constant != NULL && (!number || node->op == QN_OP_ADD || node->op == QN_OP_CONCAT) &&
                graph->values[node->inputs[i]].codes == NULL) {
                qn_value_id id;
                QN_TRY(qn_ptq_own_constant(ptq, node, i, &id, err));
                QN_TRY(code_constant(graph, id, formats.activations, err));
            }
        }
    }
    return QN_OK;
}
