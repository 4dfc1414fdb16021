/* What a QuantizeLinear or DequantizeLinear node says. */
#include "onnx/qdq.h"

#include <string.h>

#include "graph/qdq_opset.h"
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

int32_t qn_constant_type(const qn_value *value)
{
    return value->stored_type != 0 ? value->stored_type : qn_dtype_to_onnx(value->constant->dtype);
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
static const char *attribute_reason(const qn_node *node, int32_t *type)
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
        int32_t wanted = output > 0 && output < INT32_MAX ? (int32_t)output : 0;
        if (!qn_qdq_format(&ignored, wanted)) {
            return "output_dtype is not a type of codes that quern knows";
        }
        if (*type != 0 && *type != wanted) {
            return "output_dtype and zero point have different types";
        }
        *type = wanted;
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

static const char *check_parameters(const qn_node *node, const qn_tensor *scale, const qn_tensor *zero_point,
                                    int32_t type)
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
    if (zero_point != NULL && !qn_qdq_format(&ignored, type)) {
        return "the zero point is not of a type of codes that quern knows";
    }
    if (zero_point != NULL && qn_tensor_count(zero_point) != qn_tensor_count(scale)) {
        return "scale and zero point have different sizes";
    }
    return NULL;
}

qn_status qn_coding_read(qn_coding *c, qn_arena *arena, const qn_graph *graph, const qn_node *node, qn_error *err)
{
    const qn_tensor *scale = qn_constant_input(graph, node, 1), *zero_point = qn_constant_input(graph, node, 2);
    *c = (qn_coding){.type = zero_point != NULL ? qn_constant_type(&graph->values[node->inputs[2]]) : 0};
    c->reason = check_parameters(node, scale, zero_point, c->type);
    c->reason = c->reason != NULL ? c->reason : attribute_reason(node, &c->type);
    c->reason = c->reason != NULL ? c->reason : find_axis(graph, node, scale, &c->quantizer.axis);
    if (c->reason != NULL) {
        return QN_OK;
    }
    if (c->type == 0 && qn_is_quantize_linear(node)) {
        c->type = qn_dtype_to_onnx(QN_DTYPE_U8);
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

qn_status qn_quantizer_check_alone(const qn_quantizer *q, int rank, qn_error *err)
{
    int64_t dims[QN_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    int64_t length = q->n;
    if (q->axis < -1 || q->axis >= (rank >= 0 ? rank : QN_MAX_RANK)) {
        return qn_fail(err, QN_EINVAL, NULL, "quantization axis %d is outside a tensor of rank %d", q->axis,
                       rank >= 0 ? rank : QN_MAX_RANK);
    }
    if (q->n < 0 || q->group < 0 || (q->group > 0 && __builtin_mul_overflow(q->n, q->group, &length))) {
        return qn_fail(err, QN_EINVAL, NULL, "%lld sets of parameters for groups of %lld elements", (long long)q->n,
                       (long long)q->group);
    }
    /* A tensor that has just these sets. */
    if (q->axis >= 0 || q->group > 0) {
        dims[q->axis < 0 ? 0 : q->axis] = length;
    }
    return qn_quantizer_check(q, q->axis < 0 ? 1 : q->axis + 1, dims, NULL, err);
}

/* Formats of floats have no scale: 1 is the only one they can be read with. */
static const char *drop_neutral(qn_quantizer *q)
{
    if ((qn_format_parameters(q->format) & QN_PARAM_SCALE) != 0 || q->scale == NULL) {
        return NULL;
    }
    for (int64_t i = 0; i < q->n; i++) {
        if (q->scale[i] != 1.0f || q->zero_point[i] != 0) {
            return "float8 codes with a scale other than 1, or a zero point other than 0, are not supported";
        }
    }
    q->scale = NULL;
    q->zero_point = NULL;
    return NULL;
}

qn_status qn_coding_complete(qn_coding *c, const qn_graph *graph, const qn_node *node, int rank, const int64_t *dims,
                             qn_error *err)
{
    qn_quantizer *q = &c->quantizer;
    if (!qn_qdq_format(&q->format, c->type)) {
        c->reason = "its codes are not of a type that quern knows";
        return QN_OK;
    }
    c->reason = drop_neutral(q);
    if (c->reason != NULL) {
        return QN_OK;
    }
    char where[QN_NODE_WHERE_MAX];
    qn_error inner;
    qn_error_init(&inner);
    qn_status status =
        dims != NULL ? qn_quantizer_check(q, rank, dims, NULL, &inner) : qn_quantizer_check_alone(q, -1, &inner);
    if (status != QN_OK) { /* the file's fault, not the caller's */
        return qn_fail(err, QN_EFORMAT, qn_node_where(where, graph, node), "%s", inner.message);
    }
    return QN_OK;
}

const char *qn_coding_mismatch(const qn_coding *q, const qn_coding *dq)
{
    if (dq->reason != NULL) {
        return dq->reason;
    }
    if (dq->type != 0 && dq->type != q->type) {
        return "it decodes another type than its QuantizeLinear encodes";
    }
    if (dq->quantizer.axis != q->quantizer.axis || dq->quantizer.n != q->quantizer.n) {
        return "its QuantizeLinear works along another axis";
    }
    for (int64_t i = 0; i < q->quantizer.n; i++) {
        qn_params p = qn_quantizer_get(&q->quantizer, i), r = qn_quantizer_get(&dq->quantizer, i);
        if (p.scale != r.scale) {
            return "its QuantizeLinear has another scale";
        }
        if (p.zero_point != r.zero_point) {
            return "its QuantizeLinear has another zero point";
        }
    }
    return NULL;
}
