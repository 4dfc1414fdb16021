/* A Relu or Clip whose output's codes cannot leave its bounds does nothing that saturation does not do: its producer
 * takes over its output, quantizer included. That is so exactly when the bounds encode as the lowest and the highest
 * code, since encoding is monotonic. Consumers come first, so that in a chain each bound is tested against the
 * quantizer that stays. */
#include "ptq/ptq.h"

static bool implied(const qn_quantizer *q, float lo, float hi)
{
    int32_t lowest, highest;
    uint8_t code_lo, code_hi;
    qn_format_range(q->format, &lowest, &highest);
    qn_quantizer_encode(&code_lo, &lo, q, 0, NULL);
    qn_quantizer_encode(&code_hi, &hi, q, 0, NULL);
    return code_lo == lowest && code_hi == highest;
}

qn_status qn_ptq_fuse_activation(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    for (size_t n = graph->n_nodes; n-- > 0;) {
        qn_node *node = &graph->nodes[n];
        float lo, hi;
        if (!qn_ptq_bounds(graph, node, &lo, &hi) || graph->values[node->outputs[0]].quantizer == NULL) {
            continue;
        }
        qn_node *producer = qn_ptq_only_producer(ptq, node->inputs[0]);
        if (producer != NULL && qn_ptq_rule_of(producer->op)->role == QN_PTQ_OWN &&
            implied(graph->values[node->outputs[0]].quantizer, lo, hi)) {
            QN_TRY(qn_ptq_add_note(ptq, node->outputs[0], 0, err, "%s '%s' is part of its range", node->op_type,
                                   node->name));
            qn_ptq_absorb(graph, producer, node);
        }
    }
    return QN_OK;
}
