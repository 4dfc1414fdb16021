/* Quantizers of activations, one per value, from the calibrated range. */
#include <math.h>
#include <string.h>

#include "format/row.h"
#include "ptq/recipe.h"

typedef struct chooser {
    qn_ptq *ptq;
    const qn_binding *binding;
    qn_ptq_plan plan;
} chooser;

/* The calibrated range of a value; its channels must be those of the network. */
static qn_status find_range(const chooser *c, qn_value_id id, const qn_range **range, qn_error *err)
{
    const qn_ptq *ptq = c->ptq;
    const char *name = ptq->graph->values[id].name;
    const qn_bound_value *bound = &c->binding->values[id];
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

/* The activation that shapes the value: formats of a Relu that goes into a layer are the layer's. */
static qn_ptq_formats formats_of_value(const chooser *c, const qn_node *node, qn_value_id id)
{
    const qn_ptq *ptq = c->ptq;
    float lo, hi;
    const qn_node *layer =
        node != NULL && qn_ptq_bounds(ptq->graph, node, &lo, &hi) ? qn_ptq_only_producer(ptq, node->inputs[0]) : NULL;
    bool inherits = layer != NULL && qn_ptq_rule_of(layer->op)->has_weights;
    return qn_ptq_formats_of(ptq->settings, inherits ? layer : node, ptq->graph->values[id].name);
}

qn_format qn_ptq_fit_sign(qn_format format, bool nonnegative)
{
    bool symmetric = format.kind == QN_FORMAT_INT && format.fit != QN_FIT_AFFINE && format.fit != QN_FIT_LLTFI;
    if (symmetric && nonnegative && format.is_signed) {
        format.is_signed = format.narrow = false;
        format.fit = format.fit == QN_FIT_PO2 ? QN_FIT_PO2 : QN_FIT_POSITIVE;
    } else if (symmetric && !nonnegative && !format.is_signed) {
        format.is_signed = true;
        format.fit = format.fit == QN_FIT_POSITIVE ? QN_FIT_SYMMETRIC : format.fit;
        format.narrow = format.fit == QN_FIT_SYMMETRIC;
    }
    return format;
}

static qn_status set_dynamic(const chooser *c, qn_value_id id, qn_format format, qn_error *err)
{
    const int rank = c->binding->values[id].rank;
    qn_quantizer q = {.format = format, .axis = -1, .dynamic = true};
    if (format.block > 0) {
        q.group = format.block;
        q.axis = rank == 3 ? 2 : rank >= 2 ? 1 : 0; /* tokens have their features last, maps their channels first */
    }
    return qn_graph_set_quantizer(c->ptq->graph, id, &q, err);
}

/* shares: what Softmax makes, whose range is known, as ONNX Runtime's tools have it. */
static qn_status fit_params(const chooser *c, const qn_range *range, bool shares, qn_format format, double lo,
                            double hi, qn_params *params, qn_error *err)
{
    const char *rule = qn_ptq_option(c->ptq, "rule");
    *params = qn_format_params_neutral();
    if (shares && format.kind == QN_FORMAT_INT && format.fit == QN_FIT_AFFINE) {
        qn_ptq_affine(format, 0, 1, &params->scale, &params->zero_point);
        return QN_OK;
    }
    if (format.kind == QN_FORMAT_INT && format.fit == QN_FIT_AFFINE && strcmp(rule, "minmax") == 0) {
        double min = (double)range->min < lo ? lo : (double)range->min;
        double max = (double)range->max > hi ? hi : (double)range->max;
        qn_ptq_affine(format, min, max, &params->scale, &params->zero_point);
        return QN_OK;
    }
    return qn_calibration_fit(c->ptq->calibration, range->value_name, format, rule, lo, hi, params, err);
}

static qn_status choose_own(const chooser *c, const qn_node *node, qn_value_id id, qn_error *err)
{
    qn_ptq *ptq = c->ptq;
    const qn_ptq_formats formats = formats_of_value(c, node, id);
    if (formats.activations_float) {
        return QN_OK;
    }
    const qn_range *range;
    QN_TRY(find_range(c, id, &range, err));
    float lo = -INFINITY, hi = INFINITY;
    if (node != NULL && (!qn_ptq_bounds(ptq->graph, node, &lo, &hi) || lo > hi)) {
        lo = -INFINITY;
        hi = INFINITY;
    }
    qn_format format = qn_ptq_fit_sign(formats.activations, range->min >= 0 || lo >= 0 || qn_ptq_nonnegative(ptq, id));
    if (format.block > 0 || ptq->settings->dynamic) {
        return set_dynamic(c, id, format, err);
    }
    qn_params params;
    QN_TRY(
        fit_params(c, range, node != NULL && node->op == QN_OP_SOFTMAX, format, (double)lo, (double)hi, &params, err));
    return qn_ptq_set_params(ptq->graph, id, format, &params, err);
}

static qn_status choose_output(const chooser *c, const qn_node *node, qn_value_id id, qn_error *err)
{
    qn_graph *graph = c->ptq->graph;
    const qn_quantizer *moved =
        node->n_inputs > 0 && node->inputs[0] != QN_NO_VALUE ? graph->values[node->inputs[0]].quantizer : NULL;
    if (id == QN_NO_VALUE || !c->plan.coded[id] || graph->values[id].quantizer != NULL) {
        return QN_OK; /* or somebody else chose already */
    }
    if (qn_ptq_rule_of(node->op)->role == QN_PTQ_MOVE && moved != NULL) {
        return qn_graph_set_quantizer(graph, id, moved, err);
    }
    return choose_own(c, node, id, err);
}

static qn_status choose_all(const chooser *c, qn_error *err)
{
    const qn_graph *graph = c->ptq->graph;
    for (size_t i = 0; i < graph->n_inputs; i++) {
        if (c->plan.coded[graph->inputs[i]] && graph->values[graph->inputs[i]].quantizer == NULL) {
            QN_TRY(choose_own(c, NULL, graph->inputs[i], err));
        }
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_outputs; i++) {
            QN_TRY(choose_output(c, node, node->outputs[i], err));
        }
    }
    return QN_OK;
}

qn_status qn_ptq_choose_ranges(qn_ptq *ptq, qn_error *err)
{
    qn_binding binding = {0};
    chooser c = {.ptq = ptq, .binding = &binding};
    qn_status status = qn_graph_bind(&binding, ptq->graph, 1, err);
    if (status == QN_OK) {
        status = qn_ptq_make_plan(ptq, &binding, &c.plan, err);
    }
    if (status == QN_OK) {
        status = choose_all(&c, err);
    }
    if (status == QN_OK) {
        qn_ptq_round_behind_clamps(ptq);
    }
    qn_binding_free(&binding);
    return status;
}
