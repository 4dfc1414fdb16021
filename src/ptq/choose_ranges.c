/* Quantizers of activations: uint8, affine, one per value, from the calibrated range. */
#include <string.h>

#include "ptq/ptq.h"

/* The calibrated range of a value; its channels must be those of the network. */
static qn_status find_range(const qn_ptq *ptq, const qn_binding *binding, qn_value_id id, const qn_range **range,
                            qn_error *err)
{
    const char *name = ptq->graph->values[id].name;
    const qn_bound_value *bound = &binding->values[id];
    *range = qn_calibration_find(ptq->calibration, name);
    if (*range == NULL) {
        return qn_fail(err, QN_EINVAL, ptq->graph->file,
                       "the calibration has no range for value '%s'; calibrate this model again", name);
    }
    int64_t n_channels = bound->rank >= 2 ? bound->dims[1] : 0;
    if ((*range)->n_channels != n_channels) {
        return qn_fail(err, QN_EINVAL, ptq->graph->file,
                       "the calibration has %lld channels for value '%s', the network %lld; calibrate this model again",
                       (long long)(*range)->n_channels, name, (long long)n_channels);
    }
    return QN_OK;
}

static qn_status choose_own(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node, qn_value_id id,
                            qn_error *err)
{
    const qn_range *range;
    float lo, hi;
    QN_TRY(find_range(ptq, binding, id, &range, err));
    float min = range->min, max = range->max;
    if (node != NULL && qn_ptq_bounds(ptq->graph, node, &lo, &hi) && lo <= hi) {
        min = min < lo ? lo : min;
        max = max > hi ? hi : max;
    }
    return qn_ptq_set_affine_u8(ptq->graph, id, min, max, err);
}

static bool is_activation(const qn_binding *binding, qn_value_id id)
{
    return id != QN_NO_VALUE && binding->values[id].dtype == QN_DTYPE_F32 && binding->values[id].known == NULL;
}

static qn_status choose_output(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node, qn_value_id id,
                               qn_error *err)
{
    qn_graph *graph = ptq->graph;
    const qn_quantizer *moved = node->n_inputs > 0 ? graph->values[node->inputs[0]].quantizer : NULL;
    if (!is_activation(binding, id)) {
        return QN_OK;
    }
    if (qn_ptq_rule_of(node->op)->role == QN_PTQ_MOVE && moved != NULL) {
        return qn_graph_set_quantizer(graph, id, moved, err);
    }
    return choose_own(ptq, binding, node, id, err);
}

static qn_status choose_all(const qn_ptq *ptq, const qn_binding *binding, qn_error *err)
{
    const qn_graph *graph = ptq->graph;
    for (size_t i = 0; i < graph->n_inputs; i++) {
        qn_value_id id = graph->inputs[i];
        if (is_activation(binding, id) && qn_ptq_uses(ptq, id) > 0) {
            QN_TRY(choose_own(ptq, binding, NULL, id, err));
        }
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_outputs; i++) {
            QN_TRY(choose_output(ptq, binding, node, node->outputs[i], err));
        }
    }
    return QN_OK;
}

qn_status qn_ptq_choose_ranges(qn_ptq *ptq, qn_error *err)
{
    qn_binding binding = {0};
    qn_status status = qn_graph_bind(&binding, ptq->graph, 1, err);
    if (status == QN_OK) {
        status = choose_all(ptq, &binding, err);
    }
    qn_binding_free(&binding);
    return status;
}
