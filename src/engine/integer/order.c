/* The orders in which a value's elements lie: NHWC codes, plain codes, plain floats; and the steps from one to another. */
#include <assert.h>
#include <string.h>

#include "engine/integer/function.h"
#include "engine/integer/lower.h"

void qn_lower_map(qn_lowering *l, int *map, qn_value_id value, int tensor)
{
    assert(l->n_changes < l->max_changes);
    l->changes[l->n_changes++] = (qn_map_change){&map[value], map[value]};
    map[value] = tensor;
}

bool qn_lower_dims(qn_lowering *l, qn_value_id value, int64_t dims[QN_MAX_RANK], int *rank)
{
    const qn_bound_value *bound = &l->binding->values[value];
    *rank = bound->rank;
    memcpy(dims, bound->dims, sizeof bound->dims);
    if (l->items == 1 || bound->known != NULL) {
        return true;
    }
    if (bound->rank < 1 || dims[0] != l->items) {
        l->reason = "a value whose first dimension is not the batch";
        return false;
    }
    dims[0] = 1;
    return true;
}

bool qn_lower_plain_shape(qn_lowering *l, qn_value_id value, qn_item_shape *shape)
{
    int64_t dims[QN_MAX_RANK], rows = 1;
    int rank;
    if (!qn_lower_dims(l, value, dims, &rank)) {
        return false;
    }
    for (int i = 0; i < rank - 1; i++) {
        rows *= dims[i]; /* the binding limits the product */
    }
    int64_t channels = rank > 0 ? dims[rank - 1] : 1;
    if (rows == 0 || channels == 0 || rows * channels > INT32_MAX) {
        l->reason = rows * channels == 0 ? "an empty value" : "a value of more than 2^31 elements";
        return false;
    }
    *shape = (qn_item_shape){1, (int)rows, (int)channels};
    return true;
}

/* Places of elements: a value's elements are numbered channel by channel, an NHWC tensor's bytes pixel by pixel. */
static int64_t byte_of_element(const qn_integer_tensor *t, int64_t element)
{
    const int64_t pixels = (int64_t)t->height * t->width;
    return t->plain ? element : element % pixels * t->channels + element / pixels;
}

static int64_t element_of_byte(const qn_item_shape *shape, bool plain, int64_t byte)
{
    return plain ? byte : byte % shape->channels * ((int64_t)shape->height * shape->width) + byte / shape->channels;
}

int qn_lower_gather(qn_lowering *l, const qn_node *node, qn_value_id value, const qn_item_shape *shape, bool plain,
                    int from, const int32_t *source, qn_status *status, qn_error *err)
{
    const qn_integer_tensor *x = qn_lower_tensor_at(l, from);
    const int64_t n = (int64_t)shape->height * shape->width * shape->channels;
    int32_t *index = n > INT32_MAX ? NULL : qn_arena_array(l->arena, (size_t)n, sizeof *index);
    if (index == NULL) {
        *status = qn_fail_memory(err, NULL, (size_t)n * sizeof *index);
        return -1;
    }
    bool fills = false;
    for (int64_t i = 0; i < n; i++) {
        int64_t element = element_of_byte(shape, plain, i);
        const int64_t from_element = source != NULL ? source[element] : element;
        index[i] = from_element < 0 ? -1 : (int32_t)byte_of_element(x, from_element);
        fills = fills || index[i] < 0;
    }
    const qn_code_params params = qn_code_params_of(x);
    int to = qn_lower_tensor(l, value, shape, &params);
    l->code->tensors[to].plain = plain;
    qn_lower_step(l, QN_STEP_GATHER, node, from, to)->u.gather =
        (qn_integer_gather){.index = index, .fills = fills, .fill = (uint8_t)params.zero_point};
    return to;
}

int qn_lower_view(qn_lowering *l, int tensor, int width, int channels)
{
    const qn_integer_tensor t = l->code->tensors[tensor];
    if (t.plain && t.width == width && t.channels == channels) {
        return tensor;
    }
    int view = l->code->n_tensors++;
    l->code->tensors[view] = t;
    l->code->tensors[view].plain = true;
    l->code->tensors[view].height = 1;
    l->code->tensors[view].width = width;
    l->code->tensors[view].channels = channels;
    l->code->tensors[view].base = t.base >= 0 ? t.base : tensor;
    return view;
}

/* Codes of a value that so far is an input of the program or the float result of an island. */
static int encode(qn_lowering *l, qn_value_id value, bool pixels)
{
    qn_item_shape shape;
    qn_code_params params;
    if (!(pixels ? qn_lower_shape(l, value, &shape) : qn_lower_plain_shape(l, value, &shape)) ||
        !qn_lower_params(l, value, &params)) {
        return -1;
    }
    int tensor = qn_lower_tensor(l, value, &shape, &params);
    l->code->tensors[tensor].plain = !pixels;
    qn_integer_step *step = qn_lower_step(l, QN_STEP_ENCODE, NULL, l->raw_of[value], tensor);
    step->io = l->input_of[value] >= 0 ? (size_t)l->input_of[value] : 0;
    step->kernel = qn_kernel_select(QN_KERNEL_ENCODE, l->cpu, 0);
    step->u.encode = (qn_encode_params){params.scale, params.zero_point, params.lo, params.hi};
    return tensor;
}

int qn_lower_codes(qn_lowering *l, qn_value_id value, bool pixels, qn_status *status, qn_error *err)
{
    (void)err;
    *status = QN_OK;
    int tensor = l->code->tensor_of[value];
    if (tensor >= 0) {
        return tensor;
    }
    if (l->graph->values[value].quantizer == NULL || (l->raw_of[value] < 0 && l->input_of[value] < 0)) {
        l->reason = "an input has no quantizer";
        return -1;
    }
    const qn_bound_value *bound = &l->binding->values[value];
    return encode(l, value, pixels && bound->rank >= 2 && bound->dims[0] == l->items); /* steps first: no channels */
}

int qn_lower_plain_codes(qn_lowering *l, const qn_node *node, qn_value_id value, const qn_item_shape *shape,
                         qn_status *status, qn_error *err)
{
    int tensor = qn_lower_codes(l, value, false, status, err);
    if (tensor < 0) {
        return -1;
    }
    if (!qn_lower_is_plain(qn_lower_tensor_at(l, tensor))) {
        if (l->plain_of[value] < 0) {
            int made = qn_lower_gather(l, node, value, shape, true, tensor, NULL, status, err);
            if (made < 0) {
                return -1;
            }
            qn_lower_map(l, l->code->tensor_of, value, tensor); /* stays what the others read */
            qn_lower_map(l, l->plain_of, value, made);
        }
        tensor = l->plain_of[value];
    }
    return qn_lower_view(l, tensor, shape->width, shape->channels);
}

static bool moves_codes(qn_op op)
{
    static const qn_op ops[] = {QN_OP_ADD,       QN_OP_CLIP,
                                QN_OP_CONCAT,    QN_OP_DROPOUT,
                                QN_OP_FLATTEN,   QN_OP_GATHER,
                                QN_OP_IDENTITY,  QN_OP_RELU,
                                QN_OP_RESHAPE,   QN_OP_SLICE,
                                QN_OP_SQUEEZE,   QN_OP_TRANSPOSE,
                                QN_OP_UNSQUEEZE, QN_OP_DEPTH_TO_SPACE,
                                QN_OP_EXPAND,    QN_OP_GATHER_ELEMENTS,
                                QN_OP_GATHER_ND, QN_OP_PAD,
                                QN_OP_RESIZE,    QN_OP_SPACE_TO_DEPTH,
                                QN_OP_SPLIT,     QN_OP_TILE,
                                QN_OP_UPSAMPLE};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (ops[i] == op) {
            return true;
        }
    }
    return false;
}

/* The first reader decides. */
bool qn_lower_wants_plain(const qn_lowering *l, qn_value_id value)
{
    for (int hop = 0; hop < 16; hop++) {
        if (l->reader[value] < 0 || l->binding->values[value].known != NULL) {
            return false;
        }
        const qn_node *reader = &l->graph->nodes[l->reader[value]];
        if (reader->op == QN_OP_MATMUL) {
            return l->binding->values[value].rank > 2;
        }
        if (reader->op == QN_OP_SOFTMAX || reader->op == QN_OP_LAYER_NORMALIZATION || reader->op == QN_OP_REDUCE_MEAN) {
            return true;
        }
        if (!moves_codes(reader->op) && !qn_function_has(reader->op)) {
            return !qn_integer_supports_codes(reader->op);
        }
        value = reader->outputs[0];
    }
    return false;
}
