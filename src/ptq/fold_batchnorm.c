/* BatchNormalization: folded into the Conv or Gemm before it where that is possible; over images otherwise a depthwise
 * 1x1 convolution, which is the same affine map per channel. */
#include "graph/passes.h"

#include <math.h>

#include "ptq/ptq.h"

enum { SCALE = 1, SHIFT, MEAN, VARIANCE };

/* weight = scale / sqrt(variance + epsilon), bias = shift - mean * weight, in double, rounded once. */
static qn_status affine_of(const qn_graph *graph, const qn_node *node, int64_t n, qn_tensor *weight, qn_tensor *bias,
                           qn_error *err)
{
    const float *parameters[VARIANCE + 1];
    for (int i = SCALE; i <= VARIANCE; i++) {
        parameters[i] = graph->values[node->inputs[i]].constant->data;
    }
    double epsilon = (double)qn_node_float(node, "epsilon", 1e-5f);
    QN_TRY(qn_tensor_alloc(weight, QN_DTYPE_F32, 4, (int64_t[]){n, 1, 1, 1}, err));
    QN_TRY(qn_tensor_alloc(bias, QN_DTYPE_F32, 1, &n, err));
    for (int64_t c = 0; c < n; c++) {
        double w = (double)parameters[SCALE][c] / sqrt((double)parameters[VARIANCE][c] + epsilon);
        ((float *)weight->data)[c] = (float)w;
        ((float *)bias->data)[c] = (float)((double)parameters[SHIFT][c] - (double)parameters[MEAN][c] * w);
    }
    return QN_OK;
}

static qn_status become_conv(qn_graph *graph, qn_node *node, int64_t n, const qn_tensor *weight, const qn_tensor *bias,
                             qn_error *err)
{
    qn_value_id inputs[3] = {node->inputs[0]};
    QN_TRY(qn_ptq_add_constant(graph, graph->values[node->inputs[SCALE]].name, weight, &inputs[1], err));
    QN_TRY(qn_ptq_add_constant(graph, graph->values[node->inputs[SHIFT]].name, bias, &inputs[2], err));
    qn_attribute *group = qn_arena_alloc(&graph->arena, sizeof *group);
    if (group == NULL) {
        return qn_fail_memory(err, node->name, sizeof *group);
    }
    *group = (qn_attribute){.name = "group", .type = QN_ATTRIBUTE_INT, .i = n};
    QN_TRY(qn_ptq_set_inputs(graph, node, inputs, 3, err));
    node->op = QN_OP_CONV;
    node->op_type = qn_op_type(QN_OP_CONV);
    node->n_outputs = 1;
    node->attributes = group;
    node->n_attributes = 1;
    return QN_OK;
}

/* Four constant vectors of n floats over a rank 4 input. */
static bool is_convertible(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    const qn_graph *graph = ptq->graph;
    const qn_bound_value *x = &binding->values[node->inputs[0]];
    bool fits = x->rank == 4 && qn_node_int(node, "training_mode", 0) == 0;
    for (int i = SCALE; fits && i <= VARIANCE; i++) {
        const qn_tensor *t = qn_ptq_float_constant(graph, node->inputs[i]);
        fits = t != NULL && qn_tensor_count(t) == x->dims[1];
    }
    for (int i = 1; fits && i < node->n_outputs; i++) {
        fits = node->outputs[i] == QN_NO_VALUE || qn_ptq_uses(ptq, node->outputs[i]) == 0;
    }
    return fits;
}

static qn_status convert(qn_ptq *ptq, const qn_binding *binding, qn_node *node, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    if (node->op != QN_OP_BATCH_NORMALIZATION || !is_convertible(ptq, binding, node)) {
        return QN_OK;
    }
    int64_t n = binding->values[node->inputs[0]].dims[1];
    qn_tensor weight = {0}, bias = {0};
    qn_status status = affine_of(graph, node, n, &weight, &bias, err);
    if (status == QN_OK) {
        status = become_conv(graph, node, n, &weight, &bias, err);
    }
    qn_tensor_free(&weight);
    qn_tensor_free(&bias);
    QN_TRY(status);
    return qn_ptq_add_note(ptq, node->outputs[0], 0, err, "BatchNormalization became a depthwise Conv");
}

/* The output of a normalization has mean `shift` and deviation |scale|, as far as its running statistics were true. */
static qn_status remember(qn_ptq *ptq, const qn_node *node, qn_error *err)
{
    const qn_tensor *scale = qn_ptq_float_constant(ptq->graph, node->inputs[SCALE]);
    const qn_tensor *shift = qn_ptq_float_constant(ptq->graph, node->inputs[SHIFT]);
    if (scale == NULL || shift == NULL || qn_tensor_count(scale) != qn_tensor_count(shift)) {
        return QN_OK;
    }
    size_t n = (size_t)qn_tensor_count(scale);
    qn_ptq_norm *norm = qn_arena_alloc(&ptq->scratch, sizeof *norm);
    double *mean = qn_arena_array(&ptq->scratch, n, sizeof *mean);
    double *deviation = qn_arena_array(&ptq->scratch, n, sizeof *deviation);
    if (norm == NULL || mean == NULL || deviation == NULL) {
        return qn_fail_memory(err, ptq->graph->file, n * sizeof *mean);
    }
    for (size_t c = 0; c < n; c++) {
        mean[c] = (double)((const float *)shift->data)[c];
        deviation[c] = fabs((double)((const float *)scale->data)[c]);
    }
    *norm = (qn_ptq_norm){ptq->norms, node->outputs[0], (int64_t)n, mean, deviation};
    ptq->norms = norm;
    return QN_OK;
}

qn_ptq_norm *qn_ptq_find_norm(const qn_ptq *ptq, qn_value_id id)
{
    qn_ptq_norm *norm = ptq->norms;
    while (norm != NULL && norm->value != id) {
        norm = norm->next;
    }
    return norm;
}

qn_status qn_ptq_fold_batchnorm(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_binding binding = {0};
    for (size_t n = 0; n < graph->n_nodes; n++) {
        if (graph->nodes[n].op == QN_OP_BATCH_NORMALIZATION) {
            QN_TRY(remember(ptq, &graph->nodes[n], err));
        }
    }
    QN_TRY(qn_graph_fold_batchnorm(graph, err));
    QN_TRY(qn_graph_tidy(graph, err));
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        status = convert(ptq, &binding, &graph->nodes[n], err);
    }
    qn_binding_free(&binding);
    return status;
}
