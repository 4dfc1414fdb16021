/* Plain codes: the operators that compute on them or move them, whatever the rank (doc/spec/arithmetic.md 3.4, 3.7). */
#include <math.h>
#include <string.h>

#include "engine/integer/lower.h"

/* The quantizer of the node's own output; a value without one keeps its input's. */
static bool result_or_same(qn_lowering *l, qn_value_id value, const qn_code_params *same, qn_code_params *params)
{
    if (l->graph->values[value].quantizer == NULL) {
        *params = *same;
        return true;
    }
    return qn_lower_params(l, value, params);
}

/* Every dimension but the last is 1. */
static bool is_row(const int64_t *dims, int rank)
{
    for (int i = 0; i < rank - 1; i++) {
        if (dims[i] != 1) {
            return false;
        }
    }
    return true;
}

/* Element of a constant that lies at element i of an output of these dimensions. */
static int64_t broadcast_element(const qn_tensor *t, const int64_t *dims, int rank, int64_t i)
{
    int64_t at = 0, stride = 1;
    for (int axis = rank - 1, own = t->rank - 1; own >= 0; axis--, own--) {
        int64_t position = i % dims[axis];
        i /= dims[axis];
        at += t->dims[own] == 1 ? 0 : position * stride;
        stride *= t->dims[own];
    }
    return at;
}

/* A quantized constant as it is broadcast to `dims`: one row, or all of it. */
static int constant_operand(qn_lowering *l, qn_value_id value, const int64_t *dims, int rank,
                            const qn_item_shape *shape, qn_status *status, qn_error *err)
{
    const qn_value *v = &l->graph->values[value];
    qn_code_params params;
    if (v->codes == NULL || (v->codes->dtype != QN_DTYPE_S8 && v->codes->dtype != QN_DTYPE_U8)) {
        l->reason = "a constant operand has no quantizer";
        return -1;
    }
    if (!qn_lower_params(l, value, &params)) {
        return -1;
    }
    qn_item_shape own = *shape;
    own.width = is_row(v->codes->dims, v->codes->rank) ? 1 : own.width;
    const int64_t n = (int64_t)own.width * own.channels;
    uint8_t *initial = qn_arena_alloc(l->arena, (size_t)n);
    if (initial == NULL) {
        *status = qn_fail_memory(err, v->name, (size_t)n);
        return -1;
    }
    const uint8_t flip = v->codes->dtype == QN_DTYPE_S8 ? 0x80 : 0;
    for (int64_t i = 0; i < n; i++) {
        initial[i] = ((const uint8_t *)v->codes->data)[broadcast_element(v->codes, dims, rank, i)] ^ flip;
    }
    int tensor = qn_lower_tensor(l, value, &own, &params);
    l->code->tensors[tensor].initial = initial;
    l->code->tensors[tensor].plain = true;
    return tensor;
}

/* An operand of the output's shape, or one row for all. */
static int operand(qn_lowering *l, const qn_node *node, int index, const qn_item_shape *shape, qn_status *status,
                   qn_error *err)
{
    qn_value_id value = node->inputs[index];
    int64_t out[QN_MAX_RANK], dims[QN_MAX_RANK];
    int rank, own_rank;
    *status = QN_OK;
    if (!qn_lower_dims(l, node->outputs[0], out, &rank) || !qn_lower_dims(l, value, dims, &own_rank)) {
        return -1;
    }
    if (l->binding->values[value].known != NULL) {
        return constant_operand(l, value, out, rank, shape, status, err);
    }
    qn_item_shape own;
    if (!qn_lower_plain_shape(l, value, &own)) {
        return -1;
    }
    if (node->op != QN_OP_ADD &&
        (own.channels != shape->channels || (own.width != shape->width && !is_row(dims, own_rank)))) {
        return qn_lower_stretched(l, node, index, shape, true, status, err);
    }
    if (own.channels != shape->channels || (own.width != shape->width && !is_row(dims, own_rank))) {
        l->reason = "an operand broadcast along other axes than the leading ones";
        return -1;
    }
    return qn_lower_plain_codes(l, node, value, &own, status, err);
}

qn_status qn_lower_plain_add(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_status status;
    qn_item_shape shape;
    int input[2];
    if (!qn_lower_plain_shape(l, node->outputs[0], &shape)) {
        return QN_OK;
    }
    for (int i = 0; i < 2; i++) {
        input[i] = operand(l, node, i, &shape, &status, err);
        if (input[i] < 0) {
            return status;
        }
    }
    return qn_lower_add_step(l, node, input, &shape, true, err);
}

/* Relu and Clip by themselves, over codes as they lie. */
qn_status qn_lower_plain_unary(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_status status;
    int input = qn_lower_codes(l, node->inputs[0], false, &status, err);
    if (input < 0) {
        return status;
    }
    const qn_integer_tensor x = *qn_lower_tensor_at(l, input);
    return qn_lower_unary_step(l, node, input, &(qn_item_shape){x.height, x.width, x.channels}, x.plain, err);
}

static int64_t product(const int64_t *dims, int first, int end)
{
    int64_t n = 1;
    for (int i = first; i < end; i++) {
        n *= dims[i];
    }
    return n;
}

/* Output and inputs as rows of all that lies behind the leading axes: one step per input, each into its columns. */
qn_status qn_lower_plain_concat(qn_lowering *l, const qn_node *node, qn_error *err)
{
    int axis, rank;
    int64_t dims[QN_MAX_RANK];
    qn_status status;
    qn_item_shape shape;
    qn_code_params to;
    QN_TRY(qn_axis_of_node(&axis, l->binding, node, err));
    if (!qn_lower_plain_shape(l, node->outputs[0], &shape) || !qn_lower_params(l, node->outputs[0], &to) ||
        !qn_lower_dims(l, node->outputs[0], dims, &rank)) {
        return QN_OK;
    }
    const int outer = (int)product(dims, 0, axis);
    shape = (qn_item_shape){1, outer, (int)product(dims, axis, rank)};
    int inputs[2], output = -1; /* a tensor is made after those it is made of */
    qn_integer_lookup place = {0};
    for (int i = 0; i < node->n_inputs; i++) {
        int64_t own[QN_MAX_RANK];
        if (!qn_lower_dims(l, node->inputs[i], own, &rank)) {
            return QN_OK;
        }
        const qn_item_shape part = {1, outer, (int)product(own, axis, rank)};
        if (part.channels == 0) {
            continue;
        }
        inputs[0] = l->binding->values[node->inputs[i]].known != NULL
                        ? constant_operand(l, node->inputs[i], own, rank, &part, &status, err)
                        : qn_lower_plain_codes(l, node, node->inputs[i], &part, &status, err);
        if (inputs[0] < 0) {
            return status;
        }
        output = output < 0 ? qn_lower_tensor(l, node->outputs[0], &shape, &to) : output;
        l->code->tensors[output].plain = true;
        const qn_code_params from = qn_code_params_of(qn_lower_tensor_at(l, inputs[0]));
        place.table = qn_code_params_equal(&from, &to) ? NULL : qn_lower_table(l, &from, &to);
        if (place.table == NULL && !qn_code_params_equal(&from, &to)) {
            return qn_fail_memory(err, NULL, 256);
        }
        qn_integer_step *step = qn_lower_step(l, QN_STEP_LOOKUP, node, inputs[0], output);
        step->kernel = qn_kernel_select(QN_KERNEL_LOOKUP, l->cpu, 0);
        step->u.lookup = place;
        place.k += part.channels;
    }
    return QN_OK;
}

/* Does move_index.c know where the elements come from? */
static bool has_own_index(const qn_node *node)
{
    return node->op == QN_OP_TRANSPOSE || node->op == QN_OP_SLICE || node->op == QN_OP_GATHER;
}

/* The code of what a Pad puts around: exactly that value, or what a quantizer of the result's own makes of it. */
static bool fill_code(qn_lowering *l, const qn_node *node, const qn_code_params *x, bool rounds, uint8_t *fill)
{
    qn_pad pad;
    if (node->op != QN_OP_PAD || qn_pad_of_node(&pad, l->binding, node, NULL) != QN_OK) {
        l->reason = "elements that are none of its input's";
        return false;
    }
    const float value = (float)pad.value;
    *fill = qn_code_of(x, value);
    if (!rounds && (float)((int32_t)*fill - x->zero_point) * x->scale != value) {
        l->reason = "a padding value that has no code";
        return false;
    }
    return true;
}

/* One output: in the order that the readers want; a quantizer of its own is applied by a table. */
static qn_status lower_moved(qn_lowering *l, const qn_node *node, int o, qn_error *err)
{
    qn_status status;
    qn_item_shape shape;
    qn_value_id value = node->outputs[o];
    const bool plain = qn_lower_wants_plain(l, value) || !qn_lower_has_pixels(l, value);
    int tensor = qn_lower_codes(l, node->inputs[0], !plain, &status, err);
    if (tensor < 0 || !(plain ? qn_lower_plain_shape(l, value, &shape) : qn_lower_shape(l, value, &shape))) {
        return status;
    }
    const qn_code_params from = qn_code_params_of(qn_lower_tensor_at(l, tensor));
    qn_code_params to;
    if (!result_or_same(l, value, &from, &to)) {
        return QN_OK;
    }
    const int32_t *index = has_own_index(node) ? qn_lower_move_index(l, node, &status, err)
                                               : qn_lower_numbered_index(l, node, o, &status, err);
    if (index == NULL) {
        return status;
    }
    int moved = qn_lower_gather(l, node, value, &shape, plain, tensor, index, &status, err);
    if (moved < 0) {
        return status;
    }
    qn_integer_gather *gather = &l->code->steps[l->code->n_steps - 1].u.gather;
    const bool equal = qn_code_params_equal(&from, &to);
    if (gather->fills &&
        !fill_code(l, node, &from, equal && l->graph->values[value].quantizer != NULL, &gather->fill)) {
        return QN_OK;
    }
    if (equal) {
        return QN_OK;
    }
    const uint8_t *table = qn_lower_table(l, &from, &to);
    if (table == NULL) {
        return l->reason != NULL ? QN_OK : qn_fail_memory(err, NULL, 256);
    }
    int output = qn_lower_tensor(l, value, &shape, &to);
    l->code->tensors[output].plain = plain;
    qn_integer_step *step = qn_lower_step(l, QN_STEP_LOOKUP, node, moved, output);
    step->kernel = qn_kernel_select(QN_KERNEL_LOOKUP, l->cpu, 0);
    step->u.lookup = (qn_integer_lookup){.table = table};
    return QN_OK;
}

/* Nodes that only move elements of their first input; indices and sizes are constant. */
qn_status qn_lower_move(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_resize resize;
    for (int i = 1; i < node->n_inputs && !has_own_index(node); i++) {
        if (node->inputs[i] != QN_NO_VALUE && l->binding->values[node->inputs[i]].known == NULL) {
            l->reason = "indices or sizes that are computed while the network runs";
            return QN_OK;
        }
    }
    if (node->op == QN_OP_RESIZE || node->op == QN_OP_UPSAMPLE) {
        QN_TRY(qn_resize_of_node(&resize, l->binding, node, err));
        if (resize.mode != QN_RESIZE_NEAREST) {
            l->reason = "elements between those of the input";
            return QN_OK;
        }
    }
    for (int o = 0; o < node->n_outputs && l->reason == NULL; o++) {
        const qn_value_id value = node->outputs[o];
        if (value != QN_NO_VALUE && l->binding->used[value]) {
            QN_TRY(lower_moved(l, node, o, err));
        }
    }
    return QN_OK;
}
