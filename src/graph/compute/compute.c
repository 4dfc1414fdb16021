#include "graph/compute/compute.h"

#include <string.h>

#include "graph/compute/job.h"

/* Which nodes can be computed item by item, of those that have their own function here. */
typedef enum {
    ROWS_NEVER = 0,
    ROWS_ALWAYS,
    ROWS_AXIS,     /* where the attribute axis is another than the first */
    ROWS_LAYER,    /* where all but the first input are constant */
    ROWS_SUMS,     /* along another axis than the first */
    ROWS_HOT,      /* where the new axis is not the first */
    ROWS_EINSUM,   /* where the first letter of the output is the first, and only there, of all that varies */
    ROWS_ELEMENTS, /* ROWS_AXIS and ROWS_BROADCAST */
    ROWS_TUPLES,   /* where the first axis is a batch dimension */
    ROWS_GATHER,   /* along another axis than the first; or from a constant, where the items are those of the indices */
    ROWS_PAD,      /* where nothing is padded before or behind the first axis */
    ROWS_MATRIX,   /* where matrices are of more than two dimensions */
    ROWS_FACTORS,  /* of rows by a constant; of activations, where matrices of both are of more than two dimensions */
    ROWS_RECURRENT, /* where the batch leads, and weights are constant */
    ROWS_REDUCE,    /* where the first axis is not reduced */
    ROWS_LINEAR,    /* parameters are constant, and not along the first axis, nor in blocks */
    ROWS_PRODUCT,   /* the second matrix and all zero points are constant, and these not per row */
    ROWS_BROADCAST, /* where all operands that vary have the first axis of the result */
} rows_rule;

static const struct {
    qn_prepare_fn *prepare;
    rows_rule rows;
} table[QN_OP_COUNT] = {
    [QN_OP_ABS] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_ACOS] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_ACOSH] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_ADD] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_AND] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_ARG_MAX] = {qn_prepare_arg, ROWS_AXIS},
    [QN_OP_ARG_MIN] = {qn_prepare_arg, ROWS_AXIS},
    [QN_OP_ASIN] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_ASINH] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_ATAN] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_ATANH] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_AVERAGE_POOL] = {qn_prepare_average_pool, ROWS_ALWAYS},
    [QN_OP_BITWISE_AND] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_BITWISE_NOT] = {qn_prepare_elementwise, ROWS_ALWAYS},
    [QN_OP_BITWISE_OR] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_BITWISE_XOR] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_BIT_SHIFT] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_BIPOLAR_QUANT] = {qn_prepare_qonnx, ROWS_BROADCAST},
    [QN_OP_CAST] = {qn_prepare_cast, ROWS_ALWAYS},
    [QN_OP_CAST_LIKE] = {qn_prepare_cast, ROWS_ALWAYS},
    [QN_OP_CEIL] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_CELU] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_CLIP] = {qn_prepare_clip, ROWS_ALWAYS},
    [QN_OP_COMPRESS] = {qn_prepare_compress, ROWS_NEVER},
    [QN_OP_CONV] = {qn_prepare_conv, ROWS_LAYER},
    [QN_OP_CONV_INTEGER] = {qn_prepare_conv_integer, ROWS_LAYER},
    [QN_OP_CONV_TRANSPOSE] = {qn_prepare_transposed, ROWS_LAYER},
    [QN_OP_COS] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_COSH] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_CUM_SUM] = {qn_prepare_sums, ROWS_SUMS},
    [QN_OP_DEPTH_TO_SPACE] = {qn_prepare_depth, ROWS_ALWAYS},
    [QN_OP_DEQUANTIZE_LINEAR] = {qn_prepare_dequantize, ROWS_LINEAR},
    [QN_OP_DIV] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_DROPOUT] = {qn_prepare_dropout, ROWS_ALWAYS},
    [QN_OP_DYNAMIC_QUANTIZE_LINEAR] = {qn_prepare_dynamic_quantize, ROWS_NEVER},
    [QN_OP_EINSUM] = {qn_prepare_einsum, ROWS_EINSUM},
    [QN_OP_ELU] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_EQUAL] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_ERF] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_EXP] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_EXPAND] = {qn_prepare_repeat, ROWS_BROADCAST},
    [QN_OP_EYE_LIKE] = {qn_prepare_eye, ROWS_NEVER},
    [QN_OP_FLOAT_QUANT] = {qn_prepare_qonnx, ROWS_BROADCAST},
    [QN_OP_FLOOR] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_GATHER] = {qn_prepare_gather, ROWS_GATHER},
    [QN_OP_GATHER_ELEMENTS] = {qn_prepare_elements, ROWS_ELEMENTS},
    [QN_OP_GATHER_ND] = {qn_prepare_tuples, ROWS_TUPLES},
    [QN_OP_GELU] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_GEMM] = {qn_prepare_product, ROWS_FACTORS},
    [QN_OP_GLOBAL_AVERAGE_POOL] = {qn_prepare_average_pool, ROWS_ALWAYS},
    [QN_OP_GLOBAL_LP_POOL] = {qn_prepare_norm_pool, ROWS_ALWAYS},
    [QN_OP_GLOBAL_MAX_POOL] = {qn_prepare_max_pool, ROWS_ALWAYS},
    [QN_OP_GREATER] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_GREATER_OR_EQUAL] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_GRID_SAMPLE] = {qn_prepare_grid_sample, ROWS_BROADCAST},
    [QN_OP_GROUP_NORMALIZATION] = {qn_prepare_normalize, ROWS_ALWAYS},
    [QN_OP_GRU] = {qn_prepare_recurrent, ROWS_RECURRENT},
    [QN_OP_HARDMAX] = {qn_prepare_softmax, ROWS_AXIS},
    [QN_OP_HARD_SIGMOID] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_HARD_SWISH] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_INSTANCE_NORMALIZATION] = {qn_prepare_normalize, ROWS_ALWAYS},
    [QN_OP_IS_INF] = {qn_prepare_elementwise, ROWS_ALWAYS},
    [QN_OP_IS_NAN] = {qn_prepare_elementwise, ROWS_ALWAYS},
    [QN_OP_LAYER_NORMALIZATION] = {qn_prepare_normalize, ROWS_AXIS},
    [QN_OP_LESS] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_LESS_OR_EQUAL] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_LOG] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_LOG_SOFTMAX] = {qn_prepare_softmax, ROWS_AXIS},
    [QN_OP_LP_NORMALIZATION] = {qn_prepare_lp_normalization, ROWS_AXIS},
    [QN_OP_LP_POOL] = {qn_prepare_norm_pool, ROWS_ALWAYS},
    [QN_OP_LRN] = {qn_prepare_response, ROWS_ALWAYS},
    [QN_OP_LSTM] = {qn_prepare_recurrent, ROWS_RECURRENT},
    [QN_OP_MATMUL] = {qn_prepare_product, ROWS_FACTORS},
    [QN_OP_MATMUL_INTEGER] = {qn_prepare_matmul_integer, ROWS_PRODUCT},
    [QN_OP_MAX] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_MAX_POOL] = {qn_prepare_max_pool, ROWS_ALWAYS},
    [QN_OP_MEAN] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_MEAN_VARIANCE_NORMALIZATION] = {qn_prepare_variance, ROWS_NEVER},
    [QN_OP_MIN] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_MISH] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_MOD] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_MUL] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_NEG] = {qn_prepare_elementwise, ROWS_ALWAYS},
    [QN_OP_NON_MAX_SUPPRESSION] = {qn_prepare_boxes, ROWS_NEVER},
    [QN_OP_NON_ZERO] = {qn_prepare_non_zero, ROWS_NEVER},
    [QN_OP_NOT] = {qn_prepare_elementwise, ROWS_ALWAYS},
    [QN_OP_ONE_HOT] = {qn_prepare_hot, ROWS_HOT},
    [QN_OP_OR] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_PAD] = {qn_prepare_pad, ROWS_PAD},
    [QN_OP_POW] = {qn_prepare_power, ROWS_BROADCAST},
    [QN_OP_PRELU] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_QUANT] = {qn_prepare_qonnx, ROWS_BROADCAST},
    [QN_OP_QUANTIZE_LINEAR] = {qn_prepare_quantize, ROWS_LINEAR},
    [QN_OP_RANGE] = {qn_prepare_range, ROWS_NEVER},
    [QN_OP_RECIPROCAL] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_REDUCE_L1] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_L2] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_LOG_SUM] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_LOG_SUM_EXP] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_MAX] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_MEAN] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_MIN] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_PROD] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_SUM] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_REDUCE_SUM_SQUARE] = {qn_prepare_reduce, ROWS_REDUCE},
    [QN_OP_RELU] = {qn_prepare_elementwise, ROWS_ALWAYS},
    [QN_OP_RESIZE] = {qn_prepare_resize, ROWS_BROADCAST},
    [QN_OP_REVERSE_SEQUENCE] = {qn_prepare_reverse, ROWS_NEVER},
    [QN_OP_RNN] = {qn_prepare_recurrent, ROWS_RECURRENT},
    [QN_OP_ROUND] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SCATTER] = {qn_prepare_elements, ROWS_ELEMENTS},
    [QN_OP_SCATTER_ELEMENTS] = {qn_prepare_elements, ROWS_ELEMENTS},
    [QN_OP_SCATTER_ND] = {qn_prepare_tuples, ROWS_NEVER},
    [QN_OP_SELU] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SHRINK] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SIGMOID] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SIGN] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SIN] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SINH] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SOFTPLUS] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SOFTSIGN] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_SPACE_TO_DEPTH] = {qn_prepare_depth, ROWS_ALWAYS},
    [QN_OP_SPLIT] = {qn_prepare_split, ROWS_AXIS},
    [QN_OP_SUB] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_SUM] = {qn_prepare_elementwise, ROWS_BROADCAST},
    [QN_OP_TAN] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_TANH] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_THRESHOLDED_RELU] = {qn_prepare_unary, ROWS_ALWAYS},
    [QN_OP_TILE] = {qn_prepare_repeat, ROWS_BROADCAST},
    [QN_OP_TOP_K] = {qn_prepare_top, ROWS_AXIS},
    [QN_OP_TRILU] = {qn_prepare_trilu, ROWS_MATRIX},
    [QN_OP_UNIQUE] = {qn_prepare_unique, ROWS_NEVER},
    [QN_OP_TRUNC] = {qn_prepare_qonnx, ROWS_BROADCAST},
    [QN_OP_UPSAMPLE] = {qn_prepare_resize, ROWS_BROADCAST},
    [QN_OP_WHERE] = {qn_prepare_where, ROWS_BROADCAST},
    [QN_OP_XOR] = {qn_prepare_elementwise, ROWS_BROADCAST},
};

bool qn_compute_has(qn_op op)
{
    return (unsigned)op < QN_OP_COUNT && table[op].prepare != NULL;
}

bool qn_compute_has_volume(const qn_binding *binding, const qn_node *node)
{
    const bool window = node->op == QN_OP_CONV || node->op == QN_OP_AVERAGE_POOL || node->op == QN_OP_MAX_POOL ||
                        node->op == QN_OP_GLOBAL_AVERAGE_POOL || node->op == QN_OP_GLOBAL_MAX_POOL;
    return window && binding->values[node->inputs[0]].rank == 5;
}

bool qn_compute_alone(const qn_binding *binding, const qn_node *node)
{
    const int n = node->op == QN_OP_POW ? 2 : node->n_inputs > 0 ? 1 : 0; /* what follows are parameters */
    const bool more = (node->op == QN_OP_MAX_POOL || node->op == QN_OP_DROPOUT) && node->n_outputs > 1 &&
                      node->outputs[1] != QN_NO_VALUE && binding->used[node->outputs[1]];
    bool alone = more || qn_compute_has_volume(binding, node) ||
                 binding->values[node->outputs[0]].dtype != QN_DTYPE_F32 ||
                 (node->op == QN_OP_GATHER && binding->values[node->inputs[1]].known == NULL);
    for (int i = 0; i < n; i++) {
        alone |= binding->values[node->inputs[i]].dtype != QN_DTYPE_F32;
    }
    return alone && qn_compute_has(node->op);
}

qn_status qn_compute_prepare(qn_compute *compute, const qn_compute_job *job)
{
    *compute = (qn_compute){.parts = 1};
    return table[job->node->op].prepare(compute, job);
}

/* All that varies has the result's rank and its first dimension. */
static bool rows_match(const qn_binding *binding, const qn_node *node)
{
    const qn_bound_value *y = &binding->values[node->outputs[0]];
    bool match = y->rank > 0;
    for (int i = 0; i < node->n_inputs; i++) {
        const qn_bound_value *x = node->inputs[i] != QN_NO_VALUE ? &binding->values[node->inputs[i]] : NULL;
        const bool whole = x != NULL && x->rank == y->rank && x->rank > 0;
        match &= x == NULL || (x->known == NULL ? whole && x->dims[0] == y->dims[0] : !whole || x->dims[0] == 1);
    }
    return match;
}

static bool constant_rest(const qn_binding *binding, const qn_node *node)
{
    bool constant = true;
    for (int i = 1; i < node->n_inputs; i++) {
        constant &= node->inputs[i] == QN_NO_VALUE || binding->values[node->inputs[i]].known != NULL;
    }
    return constant;
}

/* The axis of a CumSum; -1 for errors. */
static int sums_along(const qn_binding *binding, const qn_node *node)
{
    const qn_infer c = {binding, node, NULL};
    double given = 0;
    int axis;
    return qn_infer_scalar(&c, 1, &given) == QN_OK &&
                   qn_infer_axis(&c, "input 1", (int64_t)given, binding->values[node->inputs[0]].rank, &axis) == QN_OK
               ? axis
               : -1;
}

static bool shares_first_letter(const qn_binding *binding, const qn_node *node)
{
    qn_einsum e;
    bool shares = qn_einsum_of_node(&e, binding, node, NULL) == QN_OK && e.rank > 0;
    for (int k = 0; shares && k < node->n_inputs; k++) {
        const qn_bound_value *x = &binding->values[node->inputs[k]];
        shares = x->known != NULL ? e.strides[k][0] == 0
                                  : x->rank > 0 && x->dims[0] == e.dims[0] &&
                                        e.strides[k][0] == qn_dims_product(x->dims, 1, x->rank);
    }
    return shares;
}

/* No input is constant. */
static bool rows_vary(const qn_binding *binding, const qn_node *node)
{
    bool vary = true;
    for (int i = 0; i < node->n_inputs; i++) {
        vary &= node->inputs[i] == QN_NO_VALUE || binding->values[node->inputs[i]].known == NULL;
    }
    return vary;
}

bool qn_compute_keeps_rows(const qn_binding *binding, const qn_node *node)
{
    int axis;
    qn_reduce reduce;
    qn_pad pad;
    qn_linear linear;
    switch (table[node->op].rows) {
    case ROWS_AXIS:
        return qn_axis_of_node(&axis, binding, node, NULL) == QN_OK && axis > 0;
    case ROWS_LAYER:
        return constant_rest(binding, node);
    case ROWS_SUMS:
        return sums_along(binding, node) > 0;
    case ROWS_HOT:
        return qn_node_int(node, "axis", -1) != 0 &&
               qn_node_int(node, "axis", -1) >= -binding->values[node->inputs[0]].rank &&
               binding->values[node->inputs[2]].known != NULL;
    case ROWS_EINSUM:
        return shares_first_letter(binding, node);
    case ROWS_ELEMENTS:
        return qn_axis_of_node(&axis, binding, node, NULL) == QN_OK && axis > 0 && rows_match(binding, node);
    case ROWS_TUPLES:
        return qn_node_int(node, "batch_dims", 0) > 0 && rows_vary(binding, node);
    case ROWS_GATHER:
        return qn_axis_of_node(&axis, binding, node, NULL) == QN_OK &&
               (binding->values[node->inputs[1]].known != NULL
                    ? axis > 0
                    : axis == 0 && binding->values[node->inputs[0]].known != NULL);
    case ROWS_PAD:
        return qn_pad_of_node(&pad, binding, node, NULL) == QN_OK && pad.begin[0] == 0 && pad.end[0] == 0;
    case ROWS_MATRIX:
        return binding->values[node->inputs[0]].rank > 2;
    case ROWS_FACTORS:
        return qn_node_int(node, "transA", 0) == 0 &&
               ((constant_rest(binding, node) && binding->values[node->inputs[0]].rank > 1 &&
                 binding->values[node->inputs[1]].rank == 2) ||
                (node->op == QN_OP_MATMUL && rows_match(binding, node) && binding->values[node->outputs[0]].rank > 2));
    case ROWS_RECURRENT:
        return qn_node_int(node, "layout", 0) != 0 && constant_rest(binding, node) && node->n_inputs < 5;
    case ROWS_REDUCE:
        return qn_reduce_of_node(&reduce, binding, node, NULL) == QN_OK && !reduce.reduced[0];
    case ROWS_LINEAR:
        return constant_rest(binding, node) && qn_linear_of_node(&linear, binding, node, NULL) == QN_OK &&
               linear.by_outer == 0 &&
               (linear.outer > 1 || linear.by_block == 0 || binding->values[node->inputs[0]].dims[0] == 1);
    case ROWS_PRODUCT:
        return constant_rest(binding, node) && binding->values[node->inputs[0]].rank > 1 &&
               binding->values[node->inputs[1]].rank == 2 &&
               (node->n_inputs < 3 || node->inputs[2] == QN_NO_VALUE || binding->values[node->inputs[2]].n_elems == 1);
    case ROWS_ALWAYS:
        return true;
    case ROWS_BROADCAST:
        return rows_match(binding, node);
    default:
        return false;
    }
}

static qn_bound_value seen(const qn_compute_job *job, qn_value_id id)
{
    qn_bound_value value = job->binding->values[id];
    if (job->items > 1 && value.known == NULL && value.rank > 0) {
        value.dims[0] /= job->items;
        value.n_elems /= job->items;
    }
    return value;
}

qn_bound_value qn_job_input(const qn_compute_job *job, int i)
{
    const qn_node *node = job->node;
    return i < node->n_inputs && node->inputs[i] != QN_NO_VALUE ? seen(job, node->inputs[i]) : (qn_bound_value){0};
}

qn_bound_value qn_job_output(const qn_compute_job *job)
{
    return seen(job, job->node->outputs[job->output]);
}

qn_infer qn_job_infer(const qn_compute_job *job)
{
    return (qn_infer){job->binding, job->node, job->err};
}

qn_status qn_job_set(qn_compute *compute, const qn_compute_job *job, qn_compute_fn *run, const void *params,
                     size_t n_bytes, int n_args)
{
    compute->run = run;
    compute->params = qn_arena_bytes(job->arena, params, n_bytes);
    compute->n_args = n_args;
    for (int i = 0; i < n_args; i++) {
        compute->args[i] = i;
    }
    return compute->params != NULL ? QN_OK : qn_fail_memory(job->err, NULL, n_bytes);
}
