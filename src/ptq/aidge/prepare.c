/* The graph as Aidge's prepare_network leaves it: BatchNormalization in the layer before it, no Softmax at the end. */
#include <math.h>

#include "graph/model.h"
#include "graph/passes.h"
#include "ptq/aidge/aidge.h"
#include "ptq/ptq.h"

enum { GAMMA = 1, BETA, MEAN, VARIANCE };

/* The Conv or Gemm that this BatchNormalization folds into, NULL when there is none. */
static qn_node *layer_of(const qn_ptq *ptq, const qn_node *norm, int64_t *n)
{
    const qn_graph *graph = ptq->graph;
    qn_node *layer = qn_ptq_only_producer(ptq, norm->inputs[0]);
    if (layer == NULL || (layer->op != QN_OP_CONV && layer->op != QN_OP_GEMM) ||
        qn_node_int(norm, "training_mode", 0) != 0) {
        return NULL;
    }
    const qn_tensor *w = qn_ptq_float_constant(graph, layer->inputs[1]);
    bool has_bias = layer->n_inputs > 2 && layer->inputs[2] != QN_NO_VALUE;
    const qn_tensor *b = has_bias ? qn_ptq_float_constant(graph, layer->inputs[2]) : NULL;
    if (w == NULL || (has_bias && b == NULL)) {
        return NULL;
    }
    *n = w->dims[qn_ptq_channel_axis(layer)];
    bool fits = b == NULL || qn_tensor_count(b) == *n;
    for (int i = GAMMA; i <= VARIANCE; i++) {
        const qn_tensor *t = qn_ptq_float_constant(graph, norm->inputs[i]);
        fits = fits && t != NULL && qn_tensor_count(t) == *n;
    }
    for (int i = 1; i < norm->n_outputs; i++) {
        fits = fits && (norm->outputs[i] == QN_NO_VALUE || qn_ptq_uses(ptq, norm->outputs[i]) == 0);
    }
    return fits ? layer : NULL;
}

/* All in f32, as the library's kernels for BatchNormalization are: W * m and beta + (b - mean) * m. */
static void fold_numbers(const qn_graph *graph, const qn_node *norm, const qn_tensor *from, int axis, float *weight,
                         float *bias, const float *old_bias)
{
    const float *p[VARIANCE + 1];
    for (int i = GAMMA; i <= VARIANCE; i++) {
        p[i] = graph->values[norm->inputs[i]].constant->data;
    }
    float epsilon = qn_node_float(norm, "epsilon", 1e-5F);
    int64_t n = from->dims[axis], count = qn_tensor_count(from), inner = 1;
    for (int d = axis + 1; d < from->rank; d++) {
        inner *= from->dims[d];
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i / inner % n;
        weight[i] = ((const float *)from->data)[i] * (p[GAMMA][c] / sqrtf(p[VARIANCE][c] + epsilon));
    }
    for (int64_t c = 0; c < n; c++) {
        float m = p[GAMMA][c] / sqrtf(p[VARIANCE][c] + epsilon);
        bias[c] = p[BETA][c] + ((old_bias != NULL ? old_bias[c] : 0.0F) - p[MEAN][c]) * m;
    }
}

static qn_status fold_into(qn_ptq *ptq, qn_node *norm, qn_node *layer, int64_t n, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    const qn_tensor *old = graph->values[layer->inputs[1]].constant;
    bool has_bias = layer->n_inputs > 2 && layer->inputs[2] != QN_NO_VALUE;
    const float *old_bias = has_bias ? graph->values[layer->inputs[2]].constant->data : NULL;
    qn_tensor weight = {0}, bias = {0};
    qn_value_id inputs[3] = {layer->inputs[0]};
    qn_status status = qn_tensor_alloc(&weight, QN_DTYPE_F32, old->rank, old->dims, err);
    status = status == QN_OK ? qn_tensor_alloc(&bias, QN_DTYPE_F32, 1, &n, err) : status;
    if (status == QN_OK) {
        fold_numbers(graph, norm, old, qn_ptq_channel_axis(layer), weight.data, bias.data, old_bias);
        status = qn_ptq_add_constant(graph, graph->values[layer->inputs[1]].name, &weight, &inputs[1], err);
    }
    if (status == QN_OK) {
        status = qn_ptq_add_constant(graph, graph->values[norm->inputs[BETA]].name, &bias, &inputs[2], err);
    }
    status = status == QN_OK ? qn_ptq_set_inputs(graph, layer, inputs, 3, err) : status;
    if (status == QN_OK) {
        qn_ptq_absorb(graph, layer, norm);
    }
    qn_tensor_free(&weight);
    qn_tensor_free(&bias);
    return status;
}

static qn_status fold_batchnorm(qn_ptq *ptq, qn_error *err)
{
    for (size_t n = 0; n < ptq->graph->n_nodes; n++) {
        qn_node *norm = &ptq->graph->nodes[n];
        int64_t channels = 0;
        qn_node *layer = norm->op == QN_OP_BATCH_NORMALIZATION ? layer_of(ptq, norm, &channels) : NULL;
        if (layer != NULL) {
            QN_TRY(fold_into(ptq, norm, layer, channels, err));
        }
    }
    return QN_OK;
}

/* The order of the outputs stays the same without it. */
static qn_status pop_softmax(qn_ptq *ptq, qn_error *err)
{
    (void)err;
    qn_graph *graph = ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        if (node->op == QN_OP_SOFTMAX && qn_graph_is_output(graph, node->outputs[0]) &&
            qn_ptq_uses(ptq, node->outputs[0]) == 1) {
            qn_node *producer = qn_ptq_only_producer(ptq, node->inputs[0]);
            if (producer != NULL) {
                qn_ptq_absorb(graph, producer, node);
            }
        }
    }
    return QN_OK;
}

static qn_status check_constants(const qn_graph *graph, qn_error *err)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; node->op != QN_OP_CLIP && i < node->n_inputs; i++) {
            QN_TRY(qn_ptq_check_finite(graph, node->inputs[i], err));
        }
    }
    return QN_OK;
}

qn_status qn_aidge_prepare(qn_graph *graph, const qn_model *model, qn_error *err)
{
    static const qn_ptq_pass_fn passes[] = {qn_ptq_settle_constants, qn_ptq_drop_identities, qn_ptq_plain_gemm,
                                            fold_batchnorm, pop_softmax};
    if (qn_model_is_quantized(model)) {
        return qn_fail(err, QN_EINVAL, model->graph.file, "is quantized already; give the float network");
    }
    QN_TRY(qn_graph_clone(graph, &model->graph, err));
    qn_ptq ptq = {.graph = graph};
    qn_status status = check_constants(graph, err);
    for (size_t i = 0; status == QN_OK && i < sizeof passes / sizeof passes[0]; i++) {
        status = qn_ptq_run_pass(&ptq, passes[i], err);
    }
    qn_arena_free(&ptq.scratch);
    if (status != QN_OK) {
        qn_graph_free(graph);
        *graph = (qn_graph){0};
    }
    return status;
}
