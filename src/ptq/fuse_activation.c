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

/* Values round once, behind the Relu or Clip: what lies between is not coded, whether the codes imply the bounds or not.
 * Affine integers that do not imply them keep parameters of their own there, as other runtimes want. */
static bool rounds_behind(const qn_quantizer *q)
{
    return q->format.kind != QN_FORMAT_INT || q->format.fit != QN_FIT_AFFINE || q->dynamic;
}

/* The producer of what a Relu or Clip reads, when it can take over the clamp; NULL otherwise. */
static qn_node *clamped_producer(const qn_ptq *ptq, const qn_node *node, float *lo, float *hi)
{
    if (node->op == QN_OP_REMOVED || !qn_ptq_bounds(ptq->graph, node, lo, hi) ||
        ptq->graph->values[node->outputs[0]].quantizer == NULL) {
        return NULL;
    }
    qn_node *producer = qn_ptq_only_producer(ptq, node->inputs[0]);
    return producer != NULL && qn_ptq_rule_of(producer->op)->role == QN_PTQ_OWN ? producer : NULL;
}

void qn_ptq_round_behind_clamps(qn_ptq *ptq)
{
    qn_graph *graph = ptq->graph;
    for (size_t n = graph->n_nodes; n-- > 0;) {
        const qn_node *node = &graph->nodes[n];
        float lo, hi;
        if (clamped_producer(ptq, node, &lo, &hi) != NULL) {
            const qn_quantizer *q = graph->values[node->outputs[0]].quantizer;
            if (implied(q, lo, hi) || rounds_behind(q)) {
                graph->values[node->inputs[0]].quantizer = NULL;
            }
        }
    }
}

qn_status qn_ptq_fuse_activation(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    for (size_t n = graph->n_nodes; n-- > 0;) {
        qn_node *node = &graph->nodes[n];
        float lo, hi;
        qn_node *producer = clamped_producer(ptq, node, &lo, &hi);
        if (producer != NULL && implied(graph->values[node->outputs[0]].quantizer, lo, hi)) {
            QN_TRY(qn_ptq_add_note(ptq, node->outputs[0], 0, err, "%s '%s' is part of its range", node->op_type,
                                   node->name));
            qn_ptq_absorb(graph, producer, node);
        }
    }
    return QN_OK;
}
