/* A Relu or Clip whose output's codes cannot leave its bounds does nothing that saturation does not do: its producer
 * takes over its output, quantizer included. That is so exactly when the bounds encode as the lowest and the highest
 * code, since encoding is monotonic. Consumers come first, so that in a chain each bound is tested against the
 * quantizer that stays. */
#include "ptq/ptq.h"

static bool implied(const qn_quantizer *q, float lo, float hi)
{
    int32_t lowest, highest;
    if (q->dynamic || q->format.kind != QN_FORMAT_INT) {
        return false;
    }
    qn_format_range(q->format, &lowest, &highest);
    const qn_params params = qn_quantizer_get(q, 0);
    const uint32_t mask = q->format.bits < 32 ? ((uint32_t)1 << q->format.bits) - 1 : UINT32_MAX;
    return qn_format_code(q->format, &params, (double)lo, 0) == ((uint32_t)lowest & mask) &&
           qn_format_code(q->format, &params, (double)hi, 0) == ((uint32_t)highest & mask);
}

/* Formats that cannot imply the bounds round once, behind the Relu or Clip: what lies between is not coded. Affine
 * integers keep their own parameters there, as other runtimes want. */
static bool rounds_behind(const qn_quantizer *q)
{
    return q->format.kind != QN_FORMAT_INT || q->format.fit != QN_FIT_AFFINE || q->dynamic;
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
        bool owns = producer != NULL && qn_ptq_rule_of(producer->op)->role == QN_PTQ_OWN;
        if (owns && !implied(graph->values[node->outputs[0]].quantizer, lo, hi)) {
            graph->values[node->inputs[0]].quantizer = rounds_behind(graph->values[node->outputs[0]].quantizer)
                                                           ? NULL
                                                           : graph->values[node->inputs[0]].quantizer;
        } else if (owns && implied(graph->values[node->outputs[0]].quantizer, lo, hi)) {
            QN_TRY(qn_ptq_add_note(ptq, node->outputs[0], 0, err, "%s '%s' is part of its range", node->op_type,
                                   node->name));
            qn_ptq_absorb(graph, producer, node);
        }
    }
    return QN_OK;
}
