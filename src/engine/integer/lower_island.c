/* Nodes that run in float: which can, what they read, where their results go. */
#include <string.h>

#include "engine/integer/island.h"
#include "graph/compute/compute.h"

/* Operators with a form of their own in float, but those that binding always computes; what
 * graph/compute has loops for follows. */
static const struct {
    qn_op op;
    qn_lower_fn *lower;
} rows[] = {
    {QN_OP_ADD, qn_island_binary},
    {QN_OP_AVERAGE_POOL, qn_island_pool},
    {QN_OP_BATCH_NORMALIZATION, qn_island_batchnorm},
    {QN_OP_CLIP, qn_island_unary},
    {QN_OP_CONCAT, qn_island_concat},
    {QN_OP_CONSTANT_OF_SHAPE, NULL},
    {QN_OP_CONV, qn_island_conv},
    {QN_OP_DIV, qn_island_binary},
    {QN_OP_DROPOUT, qn_island_view},
    {QN_OP_ERF, qn_island_unary},
    {QN_OP_EXP, qn_island_unary},
    {QN_OP_FLATTEN, qn_island_view},
    {QN_OP_GATHER, qn_island_move},
    {QN_OP_GEMM, qn_island_gemm},
    {QN_OP_GLOBAL_AVERAGE_POOL, qn_island_pool},
    {QN_OP_GLOBAL_MAX_POOL, qn_island_pool},
    {QN_OP_IDENTITY, qn_island_view},
    {QN_OP_LEAKY_RELU, qn_island_unary},
    {QN_OP_MATMUL, qn_island_matmul},
    {QN_OP_MAX_POOL, qn_island_pool},
    {QN_OP_MUL, qn_island_binary},
    {QN_OP_NEG, qn_island_unary},
    {QN_OP_POW, qn_island_binary},
    {QN_OP_RELU, qn_island_unary},
    {QN_OP_RESHAPE, qn_island_view},
    {QN_OP_SHAPE, NULL},
    {QN_OP_SIZE, NULL},
    {QN_OP_SIGMOID, qn_island_unary},
    {QN_OP_SLICE, qn_island_move},
    {QN_OP_SOFTMAX, qn_island_softmax},
    {QN_OP_SQRT, qn_island_unary},
    {QN_OP_SQUEEZE, qn_island_view},
    {QN_OP_SUB, qn_island_binary},
    {QN_OP_TANH, qn_island_unary},
    {QN_OP_TRANSPOSE, qn_island_move},
    {QN_OP_UNSQUEEZE, qn_island_view},
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

bool qn_island_supports(qn_op op)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].op == op) {
            return true;
        }
    }
    return qn_compute_has(op);
}

bool qn_island_only_folds(qn_op op)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].op == op) {
            return rows[i].lower == NULL && !qn_compute_has(op);
        }
    }
    return false;
}

/* NULL for results that only binding computes. */
static qn_lower_fn *lowering_of(const qn_lowering *l, const qn_node *node)
{
    if (qn_compute_alone(l->binding, node)) {
        return qn_island_compute;
    }
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].op == node->op) {
            return rows[i].lower;
        }
    }
    return qn_compute_has(node->op) ? qn_island_compute : NULL;
}

bool qn_island_count(qn_lowering *l, qn_value_id value, int64_t *n)
{
    int64_t dims[QN_MAX_RANK];
    int rank;
    if (!qn_lower_dims(l, value, dims, &rank)) {
        return false;
    }
    *n = 1;
    for (int i = 0; i < rank; i++) {
        *n *= dims[i]; /* the binding limits the product to 2^31 */
    }
    if (*n > INT32_MAX) {
        l->reason = "a value of 2^31 elements";
        return false;
    }
    return true;
}

int qn_lower_real_tensor(qn_lowering *l, qn_value_id value, const qn_item_shape *shape, bool plain)
{
    int tensor = l->code->n_tensors++;
    l->code->tensors[tensor] = (qn_integer_tensor){.value = value,
                                                   .plain = plain,
                                                   .real = true,
                                                   .base = -1,
                                                   .height = shape->height,
                                                   .width = shape->width,
                                                   .channels = shape->channels,
                                                   .first_step = -1,
                                                   .last_step = -1};
    return tensor;
}

static int new_real(qn_lowering *l, qn_value_id value, int64_t n)
{
    const qn_item_shape shape = {1, 1, (int)n};
    return qn_lower_real_tensor(l, value, &shape, false);
}

int qn_lower_real(qn_lowering *l, qn_value_id value, qn_status *status, qn_error *err)
{
    *status = QN_OK;
    if (l->real_of[value] >= 0) {
        return l->real_of[value];
    }
    const bool loaded = l->code->tensor_of[value] < 0 && l->graph->values[value].quantizer == NULL;
    int64_t n;
    int codes = -1;
    if (!qn_island_count(l, value, &n)) {
        return -1;
    }
    if (loaded && l->input_of[value] < 0) {
        l->reason = "an input that is not computed in float32";
        return -1;
    }
    if (!loaded) {
        codes = qn_lower_codes(l, value, !qn_lower_wants_plain(l, value), status, err);
        if (codes < 0) {
            return -1;
        }
    }
    int real = new_real(l, value, n);
    qn_integer_step *step = qn_lower_step(l, loaded ? QN_STEP_LOAD : QN_STEP_DECODE, NULL, codes, real);
    step->io = loaded ? (size_t)l->input_of[value] : 0;
    qn_lower_map(l, l->real_of, value, real);
    return real;
}

bool qn_island_argument(qn_lowering *l, qn_integer_island *island, qn_value_id value, qn_status *status, qn_error *err)
{
    const qn_tensor *known = l->binding->values[value].known;
    int i = island->n_args++;
    *status = QN_OK;
    island->input[i] = -1;
    if (l->binding->values[value].dtype != QN_DTYPE_F32) {
        l->reason = "an operand that is not float32";
        return false;
    }
    if (known != NULL) {
        island->constant[i] = known->data;
        return true;
    }
    island->input[i] = qn_lower_real(l, value, status, err);
    return island->input[i] >= 0;
}

bool qn_island_input(qn_lowering *l, qn_integer_island *island, const qn_node *node, int index, qn_status *status,
                     qn_error *err)
{
    if (index >= node->n_inputs || node->inputs[index] == QN_NO_VALUE) {
        island->input[island->n_args++] = -1;
        *status = QN_OK;
        return true;
    }
    return qn_island_argument(l, island, node->inputs[index], status, err);
}

void qn_island_define(qn_lowering *l, qn_value_id value, int tensor)
{
    qn_lower_map(l, l->graph->values[value].quantizer != NULL ? l->raw_of : l->real_of, value, tensor);
}

int qn_island_output(qn_lowering *l, const qn_node *node)
{
    int64_t n = 0;
    (void)qn_island_count(l, node->outputs[0], &n); /* qn_lower_island has checked it */
    const int64_t size = (int64_t)qn_dtype_size(l->binding->values[node->outputs[0]].dtype);
    int tensor = new_real(l, node->outputs[0], (n * size + 3) / 4);
    qn_island_define(l, node->outputs[0], tensor);
    return tensor;
}

qn_status qn_island_step(qn_lowering *l, const qn_node *node, int output, const qn_integer_island *island,
                         const void *params, size_t n_bytes, qn_error *err)
{
    void *copy = qn_arena_alloc(l->arena, n_bytes);
    if (copy == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    memcpy(copy, params, n_bytes);
    qn_integer_step *step = qn_lower_step(l, QN_STEP_ISLAND, node, -1, output);
    step->u.island = *island;
    step->u.island.params = copy;
    return QN_OK;
}

/* An activation whose codes the engine cannot hold is refused: its rounding would be lost. */
static bool quantizer_fits(qn_lowering *l, qn_value_id value)
{
    qn_code_params params;
    return l->graph->values[value].quantizer == NULL || qn_lower_params(l, value, &params);
}

qn_status qn_lower_island(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_lower_fn *lower = lowering_of(l, node);
    qn_status status;
    int64_t n;
    if (lower == NULL) {
        l->reason = "a result that is not known before the run";
        return QN_OK;
    }
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE && l->binding->used[node->outputs[i]] &&
            !quantizer_fits(l, node->outputs[i])) {
            return QN_OK;
        }
    }
    if (!qn_island_count(l, node->outputs[0], &n)) {
        return QN_OK;
    }
    if (!qn_lower_separable(l, node, &status, err)) {
        return status;
    }
    if (n == 0 && lower != qn_island_compute) {
        (void)qn_island_output(l, node);
        return QN_OK;
    }
    return lower(l, node, err);
}
