/* Which values cannot be negative, proven along the graph: what Relu and its like make, what moves or averages such
 * values, joins whose operands all agree. Of a graph input the calibration is the only witness. */
#include <string.h>

#include "ptq/ptq.h"

bool qn_ptq_nonnegative(const qn_ptq *ptq, qn_value_id id)
{
    return id != QN_NO_VALUE && (size_t)id < ptq->n_nonnegative && ptq->nonnegative[id] != 0;
}

static bool constant_is(const qn_tensor *t)
{
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        if (!(((const float *)t->data)[i] >= 0)) {
            return false;
        }
    }
    return true;
}

static bool input_is(const qn_ptq *ptq, const qn_node *node, int index)
{
    return index < node->n_inputs && qn_ptq_nonnegative(ptq, node->inputs[index]);
}

static bool always(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    (void)ptq;
    (void)binding;
    (void)node;
    return true;
}

static bool as_first(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    (void)binding;
    return input_is(ptq, node, 0);
}

/* Sums, products, quotients; layers, whose absent bias counts as 0. */
static bool as_all(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    (void)binding;
    for (int i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] != QN_NO_VALUE && !input_is(ptq, node, i)) {
            return false;
        }
    }
    return true;
}

static bool of_product(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    return node->inputs[0] == node->inputs[1] || as_all(ptq, binding, node);
}

static bool of_gemm(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    return qn_node_float(node, "alpha", 1) >= 0 && qn_node_float(node, "beta", 1) >= 0 && as_all(ptq, binding, node);
}

static bool of_clip(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    (void)binding;
    float lo, hi;
    return qn_ptq_bounds(ptq->graph, node, &lo, &hi) && hi >= 0 && (lo >= 0 || input_is(ptq, node, 0));
}

static bool of_pad(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    qn_pad pad;
    return input_is(ptq, node, 0) && qn_pad_of_node(&pad, binding, node, NULL) == QN_OK &&
           (pad.mode != QN_PAD_CONSTANT || pad.value >= 0);
}

static bool of_leaky(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    (void)binding;
    return qn_node_float(node, "alpha", 0.01f) <= 0 || input_is(ptq, node, 0);
}

static const struct {
    qn_op op;
    bool (*is)(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node);
} rows[] = {
    {QN_OP_RELU, always},
    {QN_OP_SIGMOID, always},
    {QN_OP_SOFTMAX, always},
    {QN_OP_EXP, always},
    {QN_OP_SQRT, always},
    {QN_OP_CLIP, of_clip},
    {QN_OP_LEAKY_RELU, of_leaky},
    {QN_OP_TANH, as_first},
    {QN_OP_ERF, as_first},
    {QN_OP_MAX_POOL, as_first},
    {QN_OP_AVERAGE_POOL, as_first},
    {QN_OP_GLOBAL_AVERAGE_POOL, as_first},
    {QN_OP_GLOBAL_MAX_POOL, as_first},
    {QN_OP_REDUCE_MEAN, as_first},
    {QN_OP_IDENTITY, as_first},
    {QN_OP_DROPOUT, as_first},
    {QN_OP_FLATTEN, as_first},
    {QN_OP_RESHAPE, as_first},
    {QN_OP_SQUEEZE, as_first},
    {QN_OP_UNSQUEEZE, as_first},
    {QN_OP_TRANSPOSE, as_first},
    {QN_OP_SLICE, as_first},
    {QN_OP_GATHER, as_first},
    {QN_OP_PAD, of_pad},
    {QN_OP_ADD, as_all},
    {QN_OP_DIV, as_all},
    {QN_OP_CONCAT, as_all},
    {QN_OP_MUL, of_product},
    {QN_OP_CONV, as_all},
    {QN_OP_MATMUL, as_all},
    {QN_OP_GEMM, of_gemm},
};

static bool output_is(const qn_ptq *ptq, const qn_binding *binding, const qn_node *node)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].op == node->op) {
            return rows[i].is(ptq, binding, node);
        }
    }
    return false;
}

static void walk(qn_ptq *ptq, const qn_binding *binding)
{
    const qn_graph *graph = ptq->graph;
    for (size_t id = 0; id < graph->n_values; id++) {
        const qn_tensor *t = binding->values[id].known;
        ptq->nonnegative[id] = t != NULL && t->dtype == QN_DTYPE_F32 && constant_is(t);
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        qn_value_id id = graph->inputs[i];
        const qn_range *range =
            ptq->calibration != NULL ? qn_calibration_find(ptq->calibration, graph->values[id].name) : NULL;
        ptq->nonnegative[id] = range != NULL && range->min >= 0;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        qn_value_id id = node->n_outputs > 0 ? node->outputs[0] : QN_NO_VALUE;
        if (id != QN_NO_VALUE && binding->values[id].known == NULL && binding->values[id].dtype == QN_DTYPE_F32) {
            ptq->nonnegative[id] = output_is(ptq, binding, node);
        }
    }
}

qn_status qn_ptq_sign_map(qn_ptq *ptq, qn_error *err)
{
    qn_binding binding = {0};
    ptq->n_nonnegative = 0;
    ptq->nonnegative = qn_arena_array(&ptq->scratch, ptq->graph->n_values, sizeof *ptq->nonnegative);
    if (ptq->nonnegative == NULL) {
        return qn_fail_memory(err, ptq->graph->file, ptq->graph->n_values);
    }
    QN_TRY(qn_graph_bind(&binding, ptq->graph, 1, err));
    ptq->n_nonnegative = ptq->graph->n_values;
    walk(ptq, &binding);
    qn_binding_free(&binding);
    return QN_OK;
}
