/* Where inputs lie, and the operators that only rename codes: Reshape and its kin, constants. */
#include "engine/integer/lower.h"

#include <string.h>

static bool same_shape(const qn_integer_tensor *t, const qn_item_shape *shape)
{
    return t->height == shape->height && t->width == shape->width && t->channels == shape->channels;
}

static int64_t count(const qn_item_shape *shape)
{
    return (int64_t)shape->height * shape->width * shape->channels;
}

/* Element of a constant that lies at byte i of a tensor of `shape`: elements are numbered channel by channel. */
static int64_t element_of_byte(int64_t byte, int64_t pixels, int64_t channels)
{
    return byte % channels * pixels + byte / channels;
}

/* Codes of a quantized constant, right-aligned to the node's output. What an Add, Sub or Mul broadcasts from one channel is repeated
 * for all. A tensor of its own for each use: the next node may align the constant otherwise. */
static int constant_tensor(qn_lowering *l, const qn_node *node, qn_value_id value, qn_status *status, qn_error *err)
{
    const qn_value *v = &l->graph->values[value];
    const qn_bound_value *out = &l->binding->values[node->outputs[0]];
    qn_code_params params;
    if (v->codes == NULL || (v->codes->dtype != QN_DTYPE_S8 && v->codes->dtype != QN_DTYPE_U8)) {
        l->reason = "a constant operand has no quantizer";
        return -1;
    }
    if (!qn_lower_params(l, value, &params)) {
        return -1;
    }
    int64_t dims[QN_MAX_RANK] = {1, 1, 1, 1};
    int skipped = out->rank - v->codes->rank;
    if (skipped < 0 || out->rank > 4 || out->rank < 2 || (skipped == 0 && v->codes->dims[0] != 1)) {
        l->reason = "a constant operand with a batch dimension or more than two spatial ones";
        return -1;
    }
    for (int i = 0; i < out->rank; i++) {
        dims[i] = i < skipped ? 1 : v->codes->dims[i - skipped];
    }
    const qn_item_shape stored = {out->rank == 4 ? (int)dims[2] : 1, out->rank > 2 ? (int)dims[out->rank - 1] : 1,
                                  (int)dims[1]};
    const bool repeated = stored.channels == 1 && qn_lower_is_pair(node->op);
    qn_item_shape shape = stored;
    shape.channels = repeated ? (int)out->dims[1] : stored.channels;
    const int64_t n = count(&shape), pixels = (int64_t)shape.height * shape.width;
    uint8_t *initial = qn_arena_alloc(l->arena, (size_t)n);
    if (initial == NULL) {
        *status = qn_fail_memory(err, v->name, (size_t)n);
        return -1;
    }
    const uint8_t flip = v->codes->dtype == QN_DTYPE_S8 ? 0x80 : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t element = element_of_byte(i, pixels, shape.channels);
        element = repeated ? element % pixels : element;
        initial[i] = ((const uint8_t *)v->codes->data)[element] ^ flip;
    }
    int tensor = qn_lower_tensor(l, value, &shape, &params);
    l->code->tensors[tensor].initial = initial;
    return tensor;
}

int qn_lower_input_flat(qn_lowering *l, const qn_node *node, int index)
{
    qn_status status; /* making codes of floats fails with a reason only */
    return qn_lower_codes(l, node->inputs[index], true, &status, NULL);
}

int qn_lower_input(qn_lowering *l, const qn_node *node, int index, qn_status *status, qn_error *err)
{
    *status = QN_OK;
    qn_value_id value = node->inputs[index];
    if (l->binding->values[value].known != NULL) {
        return constant_tensor(l, node, value, status, err);
    }
    int tensor = qn_lower_input_flat(l, node, index);
    qn_item_shape shape;
    if (tensor < 0 || !qn_lower_shape(l, value, &shape)) {
        return -1;
    }
    const qn_integer_tensor *t = qn_lower_tensor_at(l, tensor);
    if (same_shape(t, &shape) && (!t->plain || qn_lower_is_one_pixel(t))) {
        return tensor;
    }
    return qn_lower_gather(l, node, value, &shape, false, tensor, NULL, status, err);
}

/* Renames its input, or, where the result has a quantizer of its own, looks the codes up. */
qn_status qn_lower_reshape(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_status status; /* making codes of floats fails with a reason only */
    qn_value_id value = node->outputs[0];
    int tensor = qn_lower_codes(l, node->inputs[0], !qn_lower_wants_plain(l, value), &status, NULL);
    qn_item_shape shape;
    if (tensor < 0 || !qn_lower_plain_shape(l, value, &shape)) {
        return QN_OK;
    }
    const qn_integer_tensor *t = qn_lower_tensor_at(l, tensor);
    const qn_code_params from = qn_code_params_of(t);
    qn_code_params to = from;
    if (l->graph->values[value].quantizer != NULL && !qn_lower_params(l, value, &to)) {
        return QN_OK;
    }
    if (qn_code_params_equal(&from, &to)) {
        qn_lower_map(l, l->code->tensor_of, value, tensor);
        return QN_OK;
    }
    const uint8_t *table = qn_lower_table(l, &from, &to);
    if (table == NULL) {
        return l->reason != NULL ? QN_OK : qn_fail_memory(err, NULL, 256);
    }
    const qn_item_shape as_it_lies = {t->height, t->width, t->channels};
    const bool plain = t->plain;
    int output = qn_lower_tensor(l, value, &as_it_lies, &to);
    l->code->tensors[output].plain = plain;
    qn_integer_step *step = qn_lower_step(l, QN_STEP_LOOKUP, node, tensor, output);
    step->kernel = qn_kernel_select(QN_KERNEL_LOOKUP, l->cpu, 0);
    step->u.lookup = (qn_integer_lookup){.table = table};
    return QN_OK;
}
