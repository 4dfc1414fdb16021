/* What a QuantizeLinear or DequantizeLinear node says. */
#include "onnx/qdq.h"

#include <string.h>

#include "graph/qdq_opset.h"
#include "tensor/tensor_proto.h"

enum { TYPE_FLOAT8 = 17 };

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

/* Attributes that would change the meaning. */
static void read_attributes(qn_coding *c, const qn_node *node)
{
    int64_t output = qn_is_quantize_linear(node) ? qn_node_int(node, "output_dtype", 0) : 0;
    if (output != 0) {
        qn_format ignored;
        int32_t wanted = output > 0 && output < INT32_MAX ? (int32_t)output : 0;
        c->refused = true;
        if (!qn_qdq_format(&ignored, wanted)) {
            c->reason = "output_dtype is not a type of codes that quern knows";
            return;
        }
        if (c->type != 0 && c->type != wanted) {
            c->reason = "output_dtype and zero point have different types";
            return;
        }
        c->refused = false;
        c->type = wanted;
    }
    if (qn_node_int(node, "saturate", 1) != 1 && c->type >= TYPE_FLOAT8) {
        c->reason = "it does not saturate";
    }
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
    int64_t declared = qn_node_int(node, "axis", 1), block = qn_node_int(node, "block_size", 0);
    *axis = -1;
    if (scale->rank == 0 && block == 0) {
        return NULL;
    }
    if (scale->rank > 1 && block == 0) {
        return "the scale has several dimensions, but the node no blocks";
    }
    if (scale->rank > 1) {
        const int64_t at = declared < 0 ? declared + scale->rank : declared;
        *axis = (int)at;
        return block < 0 || at < 0 || at >= scale->rank ? "the blocks lie along no axis" : NULL;
    }
    if (block != 0) {
        return "the node has blocks, but the scale does not have the dimensions of the input";
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

static void check_parameters(qn_coding *c, const qn_node *node, const qn_tensor *scale, const qn_tensor *zero_point)
{
    qn_format ignored;
    c->refused = true;
    if (node->n_inputs < 2 || node->n_inputs > 3 || node->n_outputs != 1 || node->inputs[0] == QN_NO_VALUE ||
        node->inputs[1] == QN_NO_VALUE || node->outputs[0] == QN_NO_VALUE) {
        c->reason = "it must have 2 or 3 inputs and 1 output";
        return;
    }
    if (zero_point != NULL && !qn_qdq_format(&ignored, c->type)) {
        c->reason = "the zero point is not of a type of codes that quern knows";
        return;
    }
    c->refused = false;
    if (scale == NULL || (zero_point == NULL && node->n_inputs == 3 && node->inputs[2] != QN_NO_VALUE)) {
        c->reason = "scale and zero point are computed";
    } else if (scale->dtype != QN_DTYPE_F32) {
        c->reason = "the scale is not float32";
    } else if (qn_tensor_count(scale) == 0 ||
               (zero_point != NULL && qn_tensor_count(zero_point) != qn_tensor_count(scale))) {
        c->reason = "scale and zero point have different sizes, or are empty";
        c->refused = true;
    }
}

qn_status qn_coding_read(qn_coding *c, qn_arena *arena, const qn_graph *graph, const qn_node *node, qn_error *err)
{
    const qn_tensor *scale = qn_constant_input(graph, node, 1), *zero_point = qn_constant_input(graph, node, 2);
    *c = (qn_coding){.type = zero_point != NULL ? qn_constant_type(&graph->values[node->inputs[2]]) : 0};
    check_parameters(c, node, scale, zero_point);
    if (c->reason == NULL) {
        read_attributes(c, node);
    }
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
    c->quantizer.group = qn_node_int(node, "block_size", 0);
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

/* Formats of floats have no scale: 1 is the only one that a quantizer of theirs can have. */
static void drop_neutral(qn_coding *c)
{
    qn_quantizer *q = &c->quantizer;
    if ((qn_format_parameters(q->format) & QN_PARAM_SCALE) != 0 || q->scale == NULL) {
        return;
    }
    for (int64_t i = 0; i < q->n; i++) {
        if (q->zero_point[i] != 0) {
            c->reason = "float8 codes with a zero point other than 0 are not supported";
            c->refused = true;
            return;
        }
        c->scaled |= q->scale[i] != 1.0f;
    }
    if (c->scaled) {
        c->reason = "float8 codes have a scale other than 1";
        return;
    }
    q->scale = NULL;
    q->zero_point = NULL;
}

qn_status qn_coding_complete(qn_coding *c, const qn_graph *graph, const qn_node *node, int rank, const int64_t *dims,
                             qn_error *err)
{
    qn_quantizer *q = &c->quantizer;
    if (!qn_qdq_format(&q->format, c->type)) {
        c->reason = "its codes are not of a type that quern knows";
        c->refused = true;
        return QN_OK;
    }
    drop_neutral(c);
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

bool qn_coding_undoes(const qn_coding *q, const qn_coding *dq)
{
    const qn_quantizer *a = &q->quantizer, *b = &dq->quantizer;
    bool undoes = (dq->type == 0 || dq->type == q->type) && a->axis == b->axis && a->n == b->n && a->group == b->group;
    for (int64_t i = 0; undoes && i < a->n; i++) {
        const qn_params p = qn_quantizer_get(a, i), r = qn_quantizer_get(b, i);
        undoes = p.scale == r.scale && p.zero_point == r.zero_point;
    }
    return undoes;
}

void qn_scale_sets(float *y, const qn_quantizer *q, int rank, const int64_t *dims)
{
    int64_t outer = 1, n = 1, inner = 1;
    for (int i = 0; i < rank; i++) {
        *(i < q->axis ? &outer : i == q->axis ? &n : &inner) *= dims[i];
    }
    const int64_t blocks = q->group > 0 ? (n + q->group - 1) / q->group : 0;
    for (int64_t at = 0; at < outer * n * inner; at++) {
        const int64_t k = at / inner % n;
        const int64_t set = q->axis < 0     ? 0
                            : q->group == 0 ? k
                                            : (at / inner / n * blocks + k / q->group) * inner + at % inner;
        y[at] *= q->scale[set];
    }
}
