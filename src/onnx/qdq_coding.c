/* What a QuantizeLinear or DequantizeLinear node says. */
#include "onnx/qdq.h"

#include <string.h>

#include "tensor/tensor_proto.h"

static bool is_type(const qn_node *node, const char *op_type)
{
    return strcmp(node->op_type, op_type) == 0 &&
           (node->domain[0] == '\0' || strcmp(node->domain, "com.microsoft") == 0);
}

bool qn_is_quantize_linear(const qn_node *node)
{
    return is_type(node, "QuantizeLinear");
}

bool qn_is_dequantize_linear(const qn_node *node)
{
    return is_type(node, "DequantizeLinear");
}

const qn_tensor *qn_constant_input(const qn_graph *graph, const qn_node *node, int input)
{
    return input < node->n_inputs && node->inputs[input] != QN_NO_VALUE ? graph->values[node->inputs[input]].constant
                                                                        : NULL;
}

static bool format_of_dtype(qn_format *format, qn_dtype dtype)
{
    switch (dtype) {
    case QN_DTYPE_U8:
    case QN_DTYPE_U16:
        *format = (qn_format){.bits = dtype == QN_DTYPE_U8 ? 8 : 16, .is_signed = false};
        return true;
    case QN_DTYPE_S8:
    case QN_DTYPE_S16:
    case QN_DTYPE_S32:
        *format = (qn_format){.bits = dtype == QN_DTYPE_S8 ? 8 : dtype == QN_DTYPE_S16 ? 16 : 32, .is_signed = true};
        return true;
    default:
        return false;
    }
}

int32_t qn_integer_at(const qn_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case QN_DTYPE_S8:
        return ((const int8_t *)t->data)[i];
    case QN_DTYPE_U8:
        return ((const uint8_t *)t->data)[i];
    case QN_DTYPE_S16:
        return ((const int16_t *)t->data)[i];
    case QN_DTYPE_U16:
        return ((const uint16_t *)t->data)[i];
    default:
        return ((const int32_t *)t->data)[i];
    }
}

/* Attributes that would change the meaning; NULL when there is none. */
static const char *attribute_reason(const qn_node *node, qn_dtype *dtype)
{
    if (qn_node_int(node, "block_size", 0) != 0) {
        return "blocked quantization is not supported";
    }
    if (qn_node_int(node, "saturate", 1) != 1) {
        return "saturate 0 is not supported";
    }
    int64_t output = qn_is_quantize_linear(node) ? qn_node_int(node, "output_dtype", 0) : 0;
    if (output != 0) {
        qn_format ignored;
        qn_dtype wanted = qn_dtype_of_onnx(output);
        if (!format_of_dtype(&ignored, wanted)) {
            return "output_dtype is not an integer type that quern knows";
        }
        if (*dtype != QN_DTYPE_NONE && *dtype != wanted) {
            return "output_dtype and zero point have different types";
        }
        *dtype = wanted;
    }
    return NULL;
}

/* The value whose shape tells about the coded one: codes have the shape of what QuantizeLinear encodes. */
static const qn_value *shape_source(const qn_graph *graph, qn_value_id id)
{
    const qn_value *value = &graph->values[id];
    if (value->rank < 0 && value->producer >= 0) {
        const qn_node *node = &graph->nodes[value->producer];
        if (qn_is_quantize_linear(node) && node->n_inputs > 0 && node->inputs[0] != QN_NO_VALUE) {
            return &graph->values[node->inputs[0]];
        }
    }
    return value;
}

/* Where the parameters lie along: -1 for one set for the whole tensor. */
static const char *find_axis(const qn_graph *graph, const qn_node *node, const qn_tensor *scale, int *axis)
{
    const qn_value *x = shape_source(graph, node->inputs[0]);
    int rank = x->rank;
    int64_t declared = qn_node_int(node, "axis", 1);
    *axis = -1;
    if (scale->rank == 0) {
        return NULL;
    }
    if (declared < 0 && rank < 0 && scale->dims[0] != 1) {
        return "a negative axis needs an input of declared rank";
    }
    int64_t at = declared < 0 ? declared + rank : declared;
    bool inside = at >= 0 && at < (rank >= 0 ? rank : QN_MAX_RANK);
    if (scale->dims[0] == 1) { /* one set: along an axis only when the node says so and the axis has one element */
        bool along = inside && rank >= 0 && x->dims[at] == 1 && qn_node_attribute(node, "axis") != NULL;
        *axis = along ? (int)at : -1;
        return NULL;
    }
    if (!inside) {
        return "axis is outside the input's dimensions";
    }
    *axis = (int)at;
    return NULL;
}

static const char *check_parameters(const qn_node *node, const qn_tensor *scale, const qn_tensor *zero_point)
{
    qn_format ignored;
    if (node->n_inputs < 2 || node->n_inputs > 3 || node->n_outputs != 1 || node->inputs[0] == QN_NO_VALUE ||
        node->outputs[0] == QN_NO_VALUE) {
        return "it must have 2 or 3 inputs and 1 output";
    }
    if (scale == NULL || (zero_point == NULL && node->n_inputs == 3 && node->inputs[2] != QN_NO_VALUE)) {
        return "scale and zero point must be constants";
    }
    if (scale->dtype != QN_DTYPE_F32) {
        return "the scale must be float32";
    }
    if (scale->rank > 1 || qn_tensor_count(scale) == 0) {
        return "the scale must be a scalar or have one dimension, not empty";
    }
    if (zero_point != NULL && !format_of_dtype(&ignored, zero_point->dtype)) {
        return "the zero point is not of an integer type that quern knows";
    }
    if (zero_point != NULL && qn_tensor_count(zero_point) != qn_tensor_count(scale)) {
        return "scale and zero point have different sizes";
    }
    return NULL;
}

qn_status qn_coding_read(qn_coding *c, qn_arena *arena, const qn_graph *graph, const qn_node *node, qn_error *err)
{
    const qn_tensor *scale = qn_constant_input(graph, node, 1), *zero_point = qn_constant_input(graph, node, 2);
    *c = (qn_coding){.dtype = zero_point != NULL ? zero_point->dtype : QN_DTYPE_NONE};
    c->reason = check_parameters(node, scale, zero_point);
    c->reason = c->reason != NULL ? c->reason : attribute_reason(node, &c->dtype);
    c->reason = c->reason != NULL ? c->reason : find_axis(graph, node, scale, &c->quantizer.axis);
    if (c->reason != NULL) {
        return QN_OK;
    }
    if (c->dtype == QN_DTYPE_NONE && qn_is_quantize_linear(node)) {
        c->dtype = QN_DTYPE_U8;
    }
    int64_t n = qn_tensor_count(scale);
    int32_t *zeros = qn_arena_array(arena, (size_t)n, sizeof *zeros);
    if (zeros == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *zeros);
    }
    for (int64_t i = 0; zero_point != NULL && i < n; i++) {
        zeros[i] = qn_integer_at(zero_point, i);
    }
    c->quantizer.n = n;
    c->quantizer.scale = scale->data;
    c->quantizer.zero_point = zeros;
    return QN_OK;
}

qn_status qn_coding_complete(qn_coding *c, const qn_graph *graph, const qn_node *node, int rank, const int64_t *dims,
                             qn_error *err)
{
    qn_quantizer *q = &c->quantizer;
    if (!format_of_dtype(&q->format, c->dtype)) {
        c->reason = "its codes are not of an integer type that quern knows";
        return QN_OK;
    }
    int64_t assumed[QN_MAX_RANK] = {0};
    if (dims == NULL) {
        rank = q->axis + 1;
        assumed[q->axis < 0 ? 0 : q->axis] = q->n;
    }
    char where[QN_NODE_WHERE_MAX];
    qn_error inner;
    qn_error_init(&inner);
    if (qn_quantizer_check(q, rank, dims != NULL ? dims : assumed, NULL, &inner) != QN_OK) {
        /* the file's fault, not the caller's */
        return qn_fail(err, QN_EFORMAT, qn_node_where(where, graph, node), "%s", inner.message);
    }
    return QN_OK;
}

const char *qn_coding_mismatch(const qn_coding *q, const qn_coding *dq)
{
    if (dq->reason != NULL) {
        return dq->reason;
    }
    if (dq->dtype != QN_DTYPE_NONE && dq->dtype != q->dtype) {
        return "it decodes another integer type than its QuantizeLinear encodes";
    }
    if (dq->quantizer.axis != q->quantizer.axis || dq->quantizer.n != q->quantizer.n) {
        return "its QuantizeLinear works along another axis";
    }
    for (int64_t i = 0; i < q->quantizer.n; i++) {
        if (q->quantizer.scale[i] != dq->quantizer.scale[i]) {
            return "its QuantizeLinear has another scale";
        }
        if (q->quantizer.zero_point[i] != dq->quantizer.zero_point[i]) {
            return "its QuantizeLinear has another zero point";
        }
    }
    return NULL;
}
