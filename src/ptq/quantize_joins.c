/* Constant operands of Add, Concat and other joins are coded like activations: uint8, affine, from their own range. */
#include "ptq/ptq.h"

static qn_status code_constant(qn_graph *graph, qn_value_id id, qn_error *err)
{
    const qn_tensor *t = graph->values[id].constant;
    float min = 0, max = 0;
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        float x = ((const float *)t->data)[i];
        min = x < min ? x : min;
        max = x > max ? x : max;
    }
    QN_TRY(qn_ptq_set_affine_u8(graph, id, min, max, err));
    qn_tensor codes = {0};
    QN_TRY(qn_tensor_alloc(&codes, QN_DTYPE_U8, t->rank, t->dims, err));
    qn_quantizer_encode(codes.data, t->data, graph->values[id].quantizer, t->rank, t->dims);
    qn_status status = qn_ptq_set_coded(graph, id, graph->values[id].quantizer, &codes, err);
    qn_tensor_free(&codes);
    return status;
}

qn_status qn_ptq_quantize_joins(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        for (int i = 0; qn_ptq_rule_of(node->op)->joins && i < node->n_inputs; i++) {
            if (qn_ptq_float_constant(graph, node->inputs[i]) != NULL) {
                qn_value_id id;
                QN_TRY(qn_ptq_own_constant(ptq, node, i, &id, err));
                QN_TRY(code_constant(graph, id, err));
            }
        }
    }
    return QN_OK;
}
