/* Conv, Gemm or MatMul followed by an Add of one number per channel: the Add is a bias. Integer arithmetic then adds it
 * to the exact sum, where an Add of its own would round twice. A MatMul of matrices with a bias is a Gemm. */
#include <string.h>

#include "ptq/ptq.h"

/* out[c] = bias[c] + addend[c], where either may have one element for all channels and bias may be absent. */
static void add_vectors(float *out, const qn_tensor *bias, const qn_tensor *addend, int64_t n)
{
    int64_t n_bias = bias != NULL ? qn_tensor_count(bias) : 0, n_addend = qn_tensor_count(addend);
    for (int64_t c = 0; c < n; c++) {
        double sum = (double)((const float *)addend->data)[n_addend > 1 ? c : 0];
        if (n_bias > 0) {
            sum += (double)((const float *)bias->data)[n_bias > 1 ? c : 0];
        }
        out[c] = (float)sum;
    }
}

/* The bias already there, in *bias; false when it is not a vector that can be added to. */
static bool present_bias(const qn_graph *graph, const qn_node *node, int64_t n, const qn_tensor **bias)
{
    *bias = NULL;
    if (node->n_inputs < 3 || node->inputs[2] == QN_NO_VALUE) {
        return true;
    }
    *bias = qn_ptq_float_constant(graph, node->inputs[2]);
    return *bias != NULL && qn_ptq_is_channel_vector(*bias, 1, 0, n) && qn_node_float(node, "beta", 1) == 1;
}

static qn_status give_bias(qn_graph *graph, qn_node *node, const qn_tensor *bias, const qn_tensor *addend, int64_t n,
                           const char *stem, qn_error *err)
{
    qn_tensor sum = {0};
    qn_value_id id = QN_NO_VALUE;
    QN_TRY(qn_tensor_alloc(&sum, QN_DTYPE_F32, 1, &n, err));
    add_vectors(sum.data, bias, addend, n);
    qn_status status = qn_ptq_add_constant(graph, stem, &sum, &id, err);
    qn_tensor_free(&sum);
    QN_TRY(status);
    qn_value_id inputs[3] = {node->inputs[0], node->inputs[1], id};
    if (node->op == QN_OP_MATMUL) {
        node->op = QN_OP_GEMM;
        node->op_type = qn_op_type(QN_OP_GEMM);
    }
    return qn_ptq_set_inputs(graph, node, inputs, 3, err);
}

/* `add` reads a sum of products in input `side` and a constant in the other. */
static qn_status try_fuse(qn_ptq *ptq, const qn_binding *binding, qn_node *add, int side, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    const qn_tensor *addend = qn_ptq_float_constant(graph, add->inputs[1 - side]), *bias;
    qn_node *node = qn_ptq_only_producer(ptq, add->inputs[side]);
    if (addend == NULL || node == NULL || !qn_ptq_rule_of(node->op)->has_weights) {
        return QN_OK;
    }
    const qn_bound_value *sum = &binding->values[add->inputs[side]];
    int axis = node->op == QN_OP_CONV ? 1 : sum->rank - 1;
    if (axis < 0 || axis >= sum->rank || (node->op == QN_OP_MATMUL && sum->rank != 2) ||
        !qn_ptq_is_channel_vector(addend, sum->rank, axis, sum->dims[axis]) ||
        !present_bias(graph, node, sum->dims[axis], &bias)) {
        return QN_OK;
    }
    const char *stem = graph->values[add->inputs[1 - side]].name;
    QN_TRY(give_bias(graph, node, bias, addend, sum->dims[axis], stem, err));
    QN_TRY(qn_ptq_add_note(ptq, add->outputs[0], 0, err, "%s '%s' became its bias", add->op_type, add->name));
    qn_ptq_absorb(graph, node, add);
    return QN_OK;
}

qn_status qn_ptq_fuse_bias(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_binding binding = {0};
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        for (int side = 0; status == QN_OK && graph->nodes[n].op == QN_OP_ADD && side < 2; side++) {
            status = try_fuse(ptq, &binding, &graph->nodes[n], side, err);
        }
    }
    qn_binding_free(&binding);
    return status;
}
