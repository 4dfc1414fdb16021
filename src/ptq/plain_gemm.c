/* Gemm with alpha and beta of 1 and a bias of shape [N], which is what integer engines know. */
#include <string.h>

#include "ptq/ptq.h"

static qn_status scaled_copy(qn_ptq *ptq, qn_node *node, int index, float factor, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_value_id id;
    QN_TRY(qn_ptq_own_constant(ptq, node, index, &id, err));
    const qn_tensor *t = graph->values[id].constant;
    qn_tensor copy = {0};
    QN_TRY(qn_tensor_alloc(&copy, QN_DTYPE_F32, t->rank, t->dims, err));
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        ((float *)copy.data)[i] = (float)((double)((const float *)t->data)[i] * (double)factor);
    }
    qn_status status = qn_graph_set_constant(graph, id, &copy, err);
    qn_tensor_free(&copy);
    return status;
}

static qn_status vector_bias(qn_graph *graph, qn_node *node, int64_t n, qn_error *err)
{
    const qn_tensor *bias = qn_ptq_float_constant(graph, node->inputs[2]);
    float beta = qn_node_float(node, "beta", 1);
    if (bias == NULL || !qn_ptq_is_channel_vector(bias, 2, 1, n)) {
        return QN_OK; /* refused later, together with all others */
    }
    if (bias->rank == 1 && bias->dims[0] == n && beta == 1) {
        return QN_OK;
    }
    qn_tensor vector = {0};
    qn_value_id id = QN_NO_VALUE;
    QN_TRY(qn_tensor_alloc(&vector, QN_DTYPE_F32, 1, &n, err));
    bool one = qn_tensor_count(bias) == 1;
    for (int64_t c = 0; c < n; c++) {
        ((float *)vector.data)[c] = (float)((double)((const float *)bias->data)[one ? 0 : c] * (double)beta);
    }
    qn_status status = qn_ptq_add_constant(graph, graph->values[node->inputs[2]].name, &vector, &id, err);
    qn_tensor_free(&vector);
    node->inputs[2] = id;
    return status;
}

/* Without alpha and beta, which are 1 now. */
static qn_status drop_factors(qn_graph *graph, qn_node *node, qn_error *err)
{
    qn_attribute *kept = qn_arena_array(&graph->arena, (size_t)node->n_attributes, sizeof *kept);
    int n = 0;
    if (kept == NULL) {
        return qn_fail_memory(err, node->name, (size_t)node->n_attributes * sizeof *kept);
    }
    for (int i = 0; i < node->n_attributes; i++) {
        if (strcmp(node->attributes[i].name, "alpha") != 0 && strcmp(node->attributes[i].name, "beta") != 0) {
            kept[n++] = node->attributes[i];
        }
    }
    node->attributes = kept;
    node->n_attributes = n;
    return QN_OK;
}

static qn_status make_plain(qn_ptq *ptq, const qn_binding *binding, qn_node *node, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_gemm gemm;
    QN_TRY(qn_gemm_of_node(&gemm, binding, node, err));
    bool has_bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    const qn_tensor *bias = has_bias ? qn_ptq_float_constant(graph, node->inputs[2]) : NULL;
    if (qn_ptq_float_constant(graph, node->inputs[1]) == NULL ||
        (has_bias && (bias == NULL || !qn_ptq_is_channel_vector(bias, 2, 1, gemm.n)))) {
        return QN_OK; /* refused later, together with all others */
    }
    if (gemm.alpha != 1) {
        QN_TRY(scaled_copy(ptq, node, 1, gemm.alpha, err));
    }
    if (has_bias) {
        QN_TRY(vector_bias(graph, node, gemm.n, err));
    }
    return drop_factors(graph, node, err);
}

qn_status qn_ptq_plain_gemm(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_binding binding = {0};
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        if (graph->nodes[n].op == QN_OP_GEMM) {
            status = make_plain(ptq, &binding, &graph->nodes[n], err);
        }
    }
    qn_binding_free(&binding);
    return status;
}
