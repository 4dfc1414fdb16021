/* The operators the float engine runs: those with a lowering of their own in float32, one row each; functions of one value
 * (graph/compute/unary.h); and whatever graph/compute has loops for. Operators that only shape arithmetic needs (Shape and
 * ConstantOfShape) are always folded when a graph is bound; their rows run what is left of them, which is nothing. */
#include "engine/float/ops.h"
#include "graph/compute/compute.h"
#include "graph/compute/unary.h"

static qn_status lower_folded(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    return qn_float_fail(b, err, QN_EUNSUPPORTED, "the result of %s is not known before the run", node->op_type);
}

typedef qn_status (*qn_float_lower)(qn_float_builder *b, const qn_node *node, qn_error *err);

static const qn_float_lower lowerings[QN_OP_COUNT] = {
    [QN_OP_ADD] = qn_float_lower_binary,
    [QN_OP_AVERAGE_POOL] = qn_float_lower_pool,
    [QN_OP_BATCH_NORMALIZATION] = qn_float_lower_batchnorm,
    [QN_OP_CLIP] = qn_float_lower_clip,
    [QN_OP_CONCAT] = qn_float_lower_concat,
    [QN_OP_CONSTANT_OF_SHAPE] = lower_folded,
    [QN_OP_CONV] = qn_float_lower_conv,
    [QN_OP_CONV_TRANSPOSE] = qn_float_lower_deconv,
    [QN_OP_DIV] = qn_float_lower_binary,
    [QN_OP_DROPOUT] = qn_float_lower_view,
    [QN_OP_FLATTEN] = qn_float_lower_view,
    [QN_OP_GATHER] = qn_float_lower_gather,
    [QN_OP_GEMM] = qn_float_lower_gemm,
    [QN_OP_GLOBAL_AVERAGE_POOL] = qn_float_lower_pool,
    [QN_OP_GLOBAL_MAX_POOL] = qn_float_lower_pool,
    [QN_OP_IDENTITY] = qn_float_lower_view,
    [QN_OP_LEAKY_RELU] = qn_float_lower_unary,
    [QN_OP_MATMUL] = qn_float_lower_matmul,
    [QN_OP_MAX_POOL] = qn_float_lower_pool,
    [QN_OP_MUL] = qn_float_lower_binary,
    [QN_OP_NEG] = qn_float_lower_unary,
    [QN_OP_POW] = qn_float_lower_binary,
    [QN_OP_RELU] = qn_float_lower_unary,
    [QN_OP_RESHAPE] = qn_float_lower_view,
    [QN_OP_SHAPE] = lower_folded,
    [QN_OP_SIZE] = lower_folded,
    [QN_OP_SLICE] = qn_float_lower_slice,
    [QN_OP_SOFTMAX] = qn_float_lower_softmax,
    [QN_OP_SQRT] = qn_float_lower_unary,
    [QN_OP_SQUEEZE] = qn_float_lower_view,
    [QN_OP_SUB] = qn_float_lower_binary,
    [QN_OP_TRANSPOSE] = qn_float_lower_transpose,
    [QN_OP_UNSQUEEZE] = qn_float_lower_view,
};

qn_status qn_float_lower_node(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    if (qn_compute_alone(b->binding, node)) {
        return qn_float_lower_compute(b, node, err);
    }
    if (lowerings[node->op] != NULL) {
        return lowerings[node->op](b, node, err);
    }
    return (qn_unary_has(node->op) ? qn_float_lower_function : qn_float_lower_compute)(b, node, err);
}

bool qn_float_supports(const qn_graph *graph, const qn_node *node, const char **reason)
{
    (void)graph;
    (void)reason;
    return (unsigned)node->op < QN_OP_COUNT && (lowerings[node->op] != NULL || qn_compute_has(node->op));
}
