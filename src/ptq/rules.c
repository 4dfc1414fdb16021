/* What quantization needs to know of each operator, as tables. */
#include <math.h>
#include <string.h>

#include "ptq/ptq.h"

/* A row per operator that is not the default: computes, one activation input. */
static const qn_ptq_rule rules[] = {
    {.op = QN_OP_ADD, .role = QN_PTQ_OWN, .joins = true},
    {.op = QN_OP_SUB, .role = QN_PTQ_OWN, .joins = true},
    {.op = QN_OP_MUL, .role = QN_PTQ_OWN, .joins = true},
    {.op = QN_OP_DIV, .role = QN_PTQ_OWN, .joins = true},
    {.op = QN_OP_CONCAT, .role = QN_PTQ_OWN, .joins = true},
    {.op = QN_OP_CONV, .role = QN_PTQ_OWN, .has_weights = true},
    {.op = QN_OP_CONV_TRANSPOSE, .role = QN_PTQ_OWN, .only_weights = true},
    {.op = QN_OP_GEMM, .role = QN_PTQ_OWN, .has_weights = true},
    {.op = QN_OP_MATMUL, .role = QN_PTQ_OWN, .has_weights = true},
    {.op = QN_OP_MAX_POOL, .role = QN_PTQ_MOVE},
    {.op = QN_OP_GLOBAL_MAX_POOL, .role = QN_PTQ_MOVE},
    {.op = QN_OP_FLATTEN, .role = QN_PTQ_MOVE},
    {.op = QN_OP_RESHAPE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_SQUEEZE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_UNSQUEEZE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_TRANSPOSE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_SLICE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_GATHER, .role = QN_PTQ_MOVE},
    {.op = QN_OP_DEPTH_TO_SPACE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_EXPAND, .role = QN_PTQ_MOVE},
    {.op = QN_OP_GATHER_ELEMENTS, .role = QN_PTQ_MOVE},
    {.op = QN_OP_GATHER_ND, .role = QN_PTQ_MOVE},
    {.op = QN_OP_PAD, .role = QN_PTQ_MOVE},
    {.op = QN_OP_RESIZE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_SPACE_TO_DEPTH, .role = QN_PTQ_MOVE},
    {.op = QN_OP_SPLIT, .role = QN_PTQ_MOVE},
    {.op = QN_OP_TILE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_UPSAMPLE, .role = QN_PTQ_MOVE},
    {.op = QN_OP_IDENTITY, .role = QN_PTQ_MOVE},
    {.op = QN_OP_DROPOUT, .role = QN_PTQ_MOVE},
};

const qn_ptq_rule *qn_ptq_rule_of(qn_op op)
{
    static const qn_ptq_rule otherwise = {.op = QN_OP_UNKNOWN, .role = QN_PTQ_OWN};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].op == op) {
            return &rules[i];
        }
    }
    return &otherwise;
}

int qn_ptq_channel_axis(const qn_node *node)
{
    bool rows = node->op == QN_OP_CONV || (node->op == QN_OP_GEMM && qn_node_int(node, "transB", 0) != 0);
    return rows ? 0 : 1;
}

/* A Clip bound is an input since opset 11 and an attribute before; absent it bounds nothing. */
static bool clip_bound(const qn_graph *graph, const qn_node *node, int input, const char *attribute, float fallback,
                       float *bound)
{
    *bound = qn_node_float(node, attribute, fallback);
    if (node->n_inputs <= input || node->inputs[input] == QN_NO_VALUE) {
        return !isnan(*bound);
    }
    const qn_tensor *t = qn_ptq_float_constant(graph, node->inputs[input]);
    if (t == NULL || qn_tensor_count(t) != 1) {
        return false;
    }
    *bound = ((const float *)t->data)[0];
    return !isnan(*bound);
}

bool qn_ptq_bounds(const qn_graph *graph, const qn_node *node, float *lo, float *hi)
{
    if (node->op == QN_OP_RELU) {
        *lo = 0;
        *hi = INFINITY;
        return true;
    }
    return node->op == QN_OP_CLIP && clip_bound(graph, node, 1, "min", -INFINITY, lo) &&
           clip_bound(graph, node, 2, "max", INFINITY, hi);
}
