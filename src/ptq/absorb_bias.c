/* High biases absorbed (Nagel et al. 2019, section 4.1.3): where a channel before a Relu hardly ever falls below c > 0,
 *   relu(x) = relu(x - c) + c,
 * so the layer before gives c up from its bias, and each layer behind adds W c to its own: the value between loses an
 * offset that only widened its range.
 * c is the least the calibration saw of the channel (then nothing changes on the calibration set), without calibration mean - 3
 * deviations of the BatchNormalization that was folded there. A border of zeros would have to become one of -c: layers and
 * pools that pad stop it, as does whatever does not pass an offset on. */
#include <math.h>
#include <string.h>

#include "ptq/ptq.h"

typedef struct {
    qn_ptq *ptq;
    const qn_binding *binding;
    qn_error *err;
} absorber;

/* The offset that a channel can give up. */
static double spare(const absorber *a, qn_value_id id, int64_t channel)
{
    double c = 0;
    if (a->ptq->calibration != NULL) {
        const qn_range *range = qn_calibration_find(a->ptq->calibration, a->ptq->graph->values[id].name);
        bool fresh = range != NULL && !qn_ptq_is_stale(a->ptq, id);
        bool by_channel = fresh && range->channel_min != NULL && channel < range->n_channels;
        c = by_channel ? (double)range->channel_min[channel] : fresh ? (double)range->min : 0;
    } else {
        const qn_ptq_norm *norm = qn_ptq_find_norm(a->ptq, id);
        c = norm != NULL && channel < norm->n ? norm->mean[channel] - 3 * norm->deviation[channel] : 0;
    }
    return c > 0 && isfinite(c) ? (double)(float)c : 0;
}

static bool is_padded(const absorber *a, const qn_node *node)
{
    qn_window window;
    return qn_window_of_node(&window, a->binding, node, NULL) != QN_OK || window.pad_begin[0] != 0 ||
           window.pad_begin[1] != 0 || window.pad_end[0] != 0 || window.pad_end[1] != 0 || window.ceil_mode;
}

/* Has or can have a bias of one number per output channel; weights constant. */
static bool takes_bias(const absorber *a, const qn_node *node)
{
    const qn_graph *graph = a->ptq->graph;
    const qn_tensor *weights = qn_ptq_float_constant(graph, node->inputs[1]);
    bool has_bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    const qn_tensor *bias = has_bias ? qn_ptq_float_constant(graph, node->inputs[2]) : NULL;
    if (weights == NULL || weights->rank < 2 || (node->op != QN_OP_CONV && weights->rank != 2) ||
        graph->values[node->inputs[1]].quantizer != NULL || qn_node_int(node, "transA", 0) != 0 ||
        qn_node_float(node, "alpha", 1) != 1 || qn_node_float(node, "beta", 1) != 1 ||
        (node->op == QN_OP_MATMUL && a->binding->values[node->inputs[0]].rank != 2)) {
        return false;
    }
    return !has_bias || (bias != NULL && bias->rank == 1 && bias->dims[0] == weights->dims[qn_ptq_channel_axis(node)] &&
                         graph->values[node->inputs[2]].quantizer == NULL);
}

/* bias += delta; made of nothing where there is none. */
static qn_status add_to_bias(const absorber *a, qn_node *node, const double *delta, int64_t n)
{
    qn_graph *graph = a->ptq->graph;
    bool has_bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    qn_value_id id = QN_NO_VALUE;
    qn_tensor bias = {0};
    QN_TRY(qn_tensor_alloc(&bias, QN_DTYPE_F32, 1, &n, a->err));
    const float *before = has_bias ? graph->values[node->inputs[2]].constant->data : NULL;
    for (int64_t k = 0; k < n; k++) {
        ((float *)bias.data)[k] = (float)((before != NULL ? (double)before[k] : 0) + delta[k]);
    }
    const char *stem = graph->values[node->inputs[has_bias ? 2 : 1]].name;
    qn_status status = qn_ptq_add_constant(graph, stem, &bias, &id, a->err);
    qn_tensor_free(&bias);
    QN_TRY(status);
    qn_value_id inputs[3] = {node->inputs[0], node->inputs[1], id};
    if (node->op == QN_OP_MATMUL) {
        node->op = QN_OP_GEMM;
        node->op_type = qn_op_type(QN_OP_GEMM);
    }
    return qn_ptq_set_inputs(graph, node, inputs, 3, a->err);
}

/* delta[o] = sum over inputs and kernel of w * offset[input channel]. */
static void weigh(const absorber *a, const qn_node *node, const double *offset, double *delta, int64_t n_out)
{
    const qn_tensor *t = a->ptq->graph->values[node->inputs[1]].constant;
    const float *w = t->data;
    int axis = qn_ptq_channel_axis(node);
    int64_t n_in = t->dims[1 - axis], n_kernel = qn_tensor_count(t) / (n_in * n_out);
    int64_t group = n_out / (node->op == QN_OP_CONV ? qn_node_int(node, "group", 1) : 1);
    for (int64_t o = 0; o < n_out; o++) {
        delta[o] = 0;
        for (int64_t j = 0; j < n_in; j++) {
            const float *at = w + (axis == 0 ? (o * n_in + j) * n_kernel : j * n_out + o);
            for (int64_t k = 0; k < n_kernel; k++) {
                delta[o] += (double)at[k] * offset[o / group * n_in + j];
            }
        }
    }
}

static qn_status give_to_layer(const absorber *a, qn_node *node, const double *offset)
{
    const qn_tensor *weights = a->ptq->graph->values[node->inputs[1]].constant;
    int64_t n = weights->dims[qn_ptq_channel_axis(node)];
    double *delta = qn_alloc((size_t)n * sizeof *delta);
    if (delta == NULL) {
        return qn_fail_memory(a->err, node->name, (size_t)n * sizeof *delta);
    }
    weigh(a, node, offset, delta, n);
    qn_status status = add_to_bias(a, node, delta, n);
    qn_free(delta);
    return status;
}

/* Elements of `to` per channel of `from` when a Flatten or Reshape makes rows of maps; 0 for other shapes. */
static int64_t flattened(const absorber *a, qn_value_id from, qn_value_id to)
{
    const qn_bound_value *x = &a->binding->values[from], *y = &a->binding->values[to];
    bool fits = x->rank >= 2 && y->rank == 2 && x->dims[0] == y->dims[0] && x->dims[1] > 0;
    return fits ? y->dims[1] / x->dims[1] : 0;
}

/* Does everything that reads `id` pass an offset per channel on to biases? With `offset` it is passed on, too: ask without
 * it first. */
static bool passes(const absorber *a, qn_value_id id, const double *offset, qn_status *status);

static bool passes_flat(const absorber *a, const qn_node *node, const double *offset, qn_status *status)
{
    qn_value_id out = node->outputs[0];
    int64_t per_channel = flattened(a, node->inputs[0], out), n = a->binding->values[out].dims[1];
    if (per_channel == 0 || offset == NULL) {
        return per_channel != 0 && passes(a, out, NULL, status);
    }
    double *longer = qn_alloc((size_t)n * sizeof *longer);
    if (longer == NULL) {
        *status = qn_fail_memory(a->err, node->name, (size_t)n * sizeof *longer);
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        longer[i] = offset[i / per_channel];
    }
    bool passed = passes(a, out, longer, status);
    qn_free(longer);
    return passed;
}

static bool passes_node(const absorber *a, qn_node *node, const double *offset, qn_status *status)
{
    switch (node->op) {
    case QN_OP_CONV:
    case QN_OP_GEMM:
    case QN_OP_MATMUL:
        if (!takes_bias(a, node) || (node->op == QN_OP_CONV && is_padded(a, node))) {
            return false;
        }
        *status = offset != NULL ? give_to_layer(a, node, offset) : QN_OK;
        return *status == QN_OK;
    case QN_OP_MAX_POOL:
    case QN_OP_AVERAGE_POOL:
        return node->n_outputs == 1 && !is_padded(a, node) && passes(a, node->outputs[0], offset, status);
    case QN_OP_GLOBAL_AVERAGE_POOL:
    case QN_OP_GLOBAL_MAX_POOL:
    case QN_OP_IDENTITY:
        return passes(a, node->outputs[0], offset, status);
    case QN_OP_FLATTEN:
    case QN_OP_RESHAPE:
        return passes_flat(a, node, offset, status);
    default:
        return false;
    }
}

static bool passes(const absorber *a, qn_value_id id, const double *offset, qn_status *status)
{
    qn_graph *graph = a->ptq->graph;
    if (qn_graph_is_output(graph, id) || graph->values[id].quantizer != NULL) {
        return false;
    }
    if (offset != NULL && (*status = qn_ptq_mark_stale(a->ptq, id, a->err)) != QN_OK) {
        return false;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        for (int i = 0; node->op != QN_OP_REMOVED && i < node->n_inputs; i++) {
            if (node->inputs[i] == id && (i != 0 || !passes_node(a, node, offset, status))) {
                return false;
            }
        }
    }
    return true;
}

static qn_status absorb(const absorber *a, qn_node *relu)
{
    qn_ptq *ptq = a->ptq;
    qn_value_id id = relu->inputs[0];
    qn_node *layer = qn_ptq_only_producer(ptq, id);
    const qn_bound_value *x = &a->binding->values[id];
    qn_status status = QN_OK;
    if (layer == NULL || !qn_ptq_rule_of(layer->op)->has_weights || !takes_bias(a, layer) || x->rank < 2 ||
        (layer->op != QN_OP_CONV && x->rank != 2) || !passes(a, relu->outputs[0], NULL, &status)) {
        return status;
    }
    int64_t n = x->dims[1], n_high = 0;
    double *offset = qn_arena_array(&ptq->scratch, 2 * (size_t)n, sizeof *offset), *most = offset;
    if (offset == NULL) {
        return qn_fail_memory(a->err, relu->name, (size_t)n * sizeof *offset);
    }
    for (int64_t c = 0; c < n; c++) {
        offset[c] = spare(a, id, c);
        offset[n + c] = -offset[c];
        n_high += offset[c] > 0;
        most = offset[c] > *most ? &offset[c] : most;
    }
    if (n_high == 0) {
        return QN_OK;
    }
    QN_TRY(add_to_bias(a, layer, offset + n, n));
    qn_ptq_norm *norm = qn_ptq_find_norm(ptq, id);
    for (int64_t c = 0; norm != NULL && c < n && c < norm->n; c++) {
        norm->mean[c] -= offset[c];
    }
    QN_TRY(qn_ptq_mark_stale(ptq, id, a->err));
    passes(a, relu->outputs[0], offset, &status);
    QN_TRY(status);
    return qn_ptq_add_note(ptq, relu->outputs[0], 0, a->err,
                           "the next layers absorbed a bias of up to %.4g in %lld of %lld channels", *most,
                           (long long)n_high, (long long)n);
}

qn_status qn_ptq_absorb_bias(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_binding binding = {0};
    absorber a = {.ptq = ptq, .binding = &binding, .err = err};
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        if (graph->nodes[n].op == QN_OP_RELU) {
            status = absorb(&a, &graph->nodes[n]);
        }
    }
    qn_binding_free(&binding);
    return status;
}
