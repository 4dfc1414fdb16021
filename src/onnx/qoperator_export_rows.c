/* Nodes as integer operators of ONNX and com.microsoft: one row for each operator that has one. A row refuses, and
 * the node stays in floats, where ONNX Runtime has no kernel for these types, or computes something else. */
#include <math.h>
#include <string.h>

#include "onnx/qoperator_export.h"

enum { MAX_INPUTS = 9, MAX_ATTRIBUTES = 8 };

typedef struct draft {
    qn_value_id inputs[MAX_INPUTS];
    int n_inputs;
    qn_attribute attributes[MAX_ATTRIBUTES];
    int n_attributes;
} draft;

typedef qn_status row_fn(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done);

static const qn_quantizer *quantizer(const qn_unfolder *u, qn_value_id v)
{
    return u->from->values[v].quantizer;
}

static qn_value_id input(const qn_node *node, int i)
{
    return i < node->n_inputs ? node->inputs[i] : QN_NO_VALUE;
}

/* Coded operands of the type of the coded result. */
static bool same_types(const qn_unfolder *u, const qn_node *node, int n_operands)
{
    if (node->n_outputs != 1 || !qn_qop_is_coded(u, node->outputs[0])) {
        return false;
    }
    for (int i = 0; i < n_operands; i++) {
        const qn_value_id v = input(node, i);
        if (!qn_qop_is_coded(u, v) || qn_unfold_type(u, v) != qn_unfold_type(u, node->outputs[0])) {
            return false;
        }
    }
    return true;
}

/* A constant of codes of 8 bits, with one set of parameters or one for each index of `axis`, and one zero point. */
static bool is_weight(const qn_unfolder *u, qn_value_id v, int axis)
{
    const qn_value *value = v != QN_NO_VALUE ? &u->from->values[v] : NULL;
    const qn_quantizer *q = value != NULL ? value->quantizer : NULL;
    if (q == NULL || (value->constant == NULL && value->codes == NULL)) {
        return false;
    }
    const int32_t type = qn_unfold_type(u, v);
    bool fits = (type == QN_ONNX_UINT8 || type == QN_ONNX_INT8) && (q->axis == axis || (q->axis < 0 && q->n == 1));
    for (int64_t i = 1; fits && i < q->n; i++) {
        fits = qn_quantizer_get(q, i).zero_point == qn_quantizer_get(q, 0).zero_point;
    }
    return fits;
}

/* int8 activations go with int8 weights; uint8 ones with both. */
static bool kernel_takes(const qn_unfolder *u, qn_value_id x, qn_value_id w)
{
    return qn_unfold_type(u, x) == QN_ONNX_UINT8 || qn_unfold_type(u, w) == QN_ONNX_INT8;
}

/* int32 codes at the scale of the sums, which the operators have no input for. */
static bool is_bias(const qn_unfolder *u, qn_value_id v, qn_value_id x, qn_value_id w)
{
    if (v == QN_NO_VALUE) {
        return true;
    }
    const qn_value *value = &u->from->values[v];
    const qn_quantizer *q = value->quantizer, *qx = quantizer(u, x), *qw = quantizer(u, w);
    const qn_tensor *t = value->codes != NULL ? value->codes : value->constant;
    if (q == NULL || t == NULL || t->rank != 1 || qn_unfold_type(u, v) != QN_ONNX_INT32 || q->n > qw->n ||
        (q->axis < 0) != (qw->axis < 0)) {
        return false;
    }
    for (int64_t i = 0; i < q->n; i++) {
        const qn_params p = qn_quantizer_get(q, i);
        if (p.zero_point != 0 || p.scale != qn_quantizer_get(qx, 0).scale * qn_quantizer_get(qw, i).scale) {
            return false;
        }
    }
    return true;
}

static qn_status put_operand(qn_unfolder *u, draft *d, qn_value_id v)
{
    QN_TRY(qn_qop_operand(u, v, d->inputs + d->n_inputs));
    d->n_inputs += 3;
    return QN_OK;
}

/* Scale and zero point of the result. */
static qn_status put_result(qn_unfolder *u, draft *d, const qn_node *node)
{
    QN_TRY(qn_qop_parameters(u, node->outputs[0], &d->inputs[d->n_inputs], &d->inputs[d->n_inputs + 1]));
    d->n_inputs += 2;
    return QN_OK;
}

/* The node's attributes but those that the operator lacks. False when there are too many. */
static bool put_attributes(draft *d, const qn_node *node, const char *dropped)
{
    for (int i = 0; i < node->n_attributes; i++) {
        if (dropped != NULL && strcmp(node->attributes[i].name, dropped) == 0) {
            continue;
        }
        if (d->n_attributes == MAX_ATTRIBUTES) {
            return false;
        }
        d->attributes[d->n_attributes++] = node->attributes[i];
    }
    return true;
}

static qn_status finish(qn_unfolder *u, const draft *d, const qn_node *node, const char *op_type, bool *done)
{
    *done = true;
    const bool is_onnx = strcmp(op_type, "QLinearConv") == 0 || strcmp(op_type, "QLinearMatMul") == 0;
    return qn_qop_finish(u, node, is_onnx ? "" : qn_domain_name(QN_DOMAIN_MICROSOFT), op_type, d->inputs, d->n_inputs,
                         d->attributes, d->n_attributes);
}

static qn_status add_conv(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done)
{
    const qn_value_id x = input(node, 0), w = input(node, 1), bias = input(node, 2);
    draft d = {0};
    *done = false;
    if (!same_types(u, node, 1) || !is_weight(u, w, 0) || !kernel_takes(u, x, w) || !is_bias(u, bias, x, w) ||
        !put_attributes(&d, node, NULL)) {
        return QN_OK;
    }
    QN_TRY(put_operand(u, &d, x));
    QN_TRY(put_operand(u, &d, w));
    QN_TRY(put_result(u, &d, node));
    if (bias != QN_NO_VALUE) {
        QN_TRY(qn_qop_codes(u, bias, &d.inputs[d.n_inputs++]));
    }
    return finish(u, &d, node, op_type, done);
}

static qn_status add_matmul(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done)
{
    const qn_value_id a = input(node, 0), b = input(node, 1);
    draft d = {0};
    *done = false;
    const qn_value *value = &u->from->values[b];
    const qn_tensor *t = value->codes != NULL ? value->codes : value->constant;
    const bool is_matrix = t != NULL && t->rank == 2 && is_weight(u, b, 1);
    if (!same_types(u, node, 1) || !(is_matrix || qn_qop_is_coded(u, b)) || !kernel_takes(u, a, b)) {
        return QN_OK;
    }
    QN_TRY(put_operand(u, &d, a));
    QN_TRY(put_operand(u, &d, b));
    QN_TRY(put_result(u, &d, node));
    return finish(u, &d, node, op_type, done);
}

/* y = a b + c; with factors before either, the scale of c is another one than that of the sums. */
static qn_status add_gemm(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done)
{
    const qn_value_id a = input(node, 0), b = input(node, 1), c = input(node, 2);
    const int axis = qn_node_int(node, "transB", 0) != 0 ? 0 : 1;
    const bool plain = qn_node_float(node, "alpha", 1.0f) == 1.0f &&
                       (c == QN_NO_VALUE || qn_node_float(node, "beta", 1.0f) == 1.0f) &&
                       qn_node_int(node, "transA", 0) == 0;
    draft d = {0};
    *done = false;
    if (!plain || !same_types(u, node, 1) || !is_weight(u, b, axis) || !kernel_takes(u, a, b) || !is_bias(u, c, a, b) ||
        !put_attributes(&d, node, "beta")) {
        return QN_OK;
    }
    QN_TRY(put_operand(u, &d, a));
    QN_TRY(put_operand(u, &d, b));
    d.inputs[d.n_inputs] = QN_NO_VALUE;
    if (c != QN_NO_VALUE) {
        QN_TRY(qn_qop_codes(u, c, &d.inputs[d.n_inputs]));
    }
    d.n_inputs++;
    QN_TRY(put_result(u, &d, node));
    return finish(u, &d, node, op_type, done);
}

static qn_status add_binary(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done)
{
    draft d = {0};
    *done = false;
    if (node->n_attributes > 0 || !same_types(u, node, 2)) {
        return QN_OK;
    }
    QN_TRY(put_operand(u, &d, node->inputs[0]));
    QN_TRY(put_operand(u, &d, node->inputs[1]));
    QN_TRY(put_result(u, &d, node));
    return finish(u, &d, node, op_type, done);
}

static qn_status add_unary(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done)
{
    draft d = {0};
    *done = false;
    if (!same_types(u, node, 1) || !put_attributes(&d, node, NULL)) {
        return QN_OK;
    }
    QN_TRY(put_operand(u, &d, node->inputs[0]));
    QN_TRY(put_result(u, &d, node));
    return finish(u, &d, node, op_type, done);
}

/* Of opset 13 and later, along one axis; the operator wants to be told. */
static qn_status add_softmax(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done)
{
    enum { OPSET = 13 };
    draft d = {.attributes = {{.name = "opset", .type = QN_ATTRIBUTE_INT, .i = OPSET}}, .n_attributes = 1};
    *done = false;
    if ((u->from->opset != 0 && u->from->opset < OPSET) || !same_types(u, node, 1) || !put_attributes(&d, node, NULL)) {
        return QN_OK;
    }
    QN_TRY(put_operand(u, &d, node->inputs[0]));
    QN_TRY(put_result(u, &d, node));
    return finish(u, &d, node, op_type, done);
}

/* Of uint8 alone: that of int8 rounds ties by codes of another magnitude than arithmetic.md 3.6 and the pairs do. */
static qn_status add_average_pool(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done)
{
    const int64_t *dilations;
    const int64_t n = qn_node_ints(node, "dilations", &dilations);
    draft d = {0};
    *done = false;
    for (int64_t i = 0; i < n; i++) {
        if (dilations[i] != 1) {
            return QN_OK;
        }
    }
    if (!same_types(u, node, 1) || qn_unfold_type(u, node->inputs[0]) != QN_ONNX_UINT8 ||
        !put_attributes(&d, node, "dilations")) {
        return QN_OK;
    }
    QN_TRY(put_operand(u, &d, node->inputs[0]));
    QN_TRY(put_result(u, &d, node));
    return finish(u, &d, node, op_type, done);
}

static qn_status add_concat(qn_unfolder *u, const qn_node *node, const char *op_type, bool *done)
{
    *done = false;
    if (!same_types(u, node, node->n_inputs)) {
        return QN_OK;
    }
    const size_t n = 2 + 3 * (size_t)node->n_inputs;
    qn_value_id *inputs = qn_arena_array(&u->scratch, n, sizeof *inputs);
    if (inputs == NULL) {
        return qn_fail_memory(u->err, node->name, n);
    }
    QN_TRY(qn_qop_parameters(u, node->outputs[0], &inputs[0], &inputs[1]));
    for (int i = 0; i < node->n_inputs; i++) {
        QN_TRY(qn_qop_operand(u, node->inputs[i], inputs + 2 + 3 * i));
    }
    *done = true;
    return qn_qop_finish(u, node, qn_domain_name(QN_DOMAIN_MICROSOFT), op_type, inputs, (int)n, node->attributes,
                         node->n_attributes);
}

static const struct {
    qn_op op;
    const char *op_type;
    row_fn *add;
} rows[] = {
    {QN_OP_ADD, "QLinearAdd", add_binary},
    {QN_OP_AVERAGE_POOL, "QLinearAveragePool", add_average_pool},
    {QN_OP_CONCAT, "QLinearConcat", add_concat},
    {QN_OP_CONV, "QLinearConv", add_conv},
    {QN_OP_GEMM, "QGemm", add_gemm},
    {QN_OP_GLOBAL_AVERAGE_POOL, "QLinearGlobalAveragePool", add_unary},
    {QN_OP_LEAKY_RELU, "QLinearLeakyRelu", add_unary},
    {QN_OP_MATMUL, "QLinearMatMul", add_matmul},
    {QN_OP_MUL, "QLinearMul", add_binary},
    {QN_OP_SIGMOID, "QLinearSigmoid", add_unary},
    {QN_OP_SOFTMAX, "QLinearSoftmax", add_softmax},
};

/* A bound of Clip: attribute, or constant input i; `fallback` where there is none, NaN where it is not known. */
static float bound(const qn_unfolder *u, const qn_node *node, const char *name, int i, float fallback)
{
    const qn_value_id v = input(node, i);
    const qn_tensor *t = v != QN_NO_VALUE ? u->from->values[v].constant : NULL;
    if (v == QN_NO_VALUE) {
        return qn_node_float(node, name, fallback);
    }
    return t != NULL && t->dtype == QN_DTYPE_F32 && qn_tensor_count(t) == 1 ? *(const float *)t->data : NAN;
}

/* Does a Relu or Clip cut off nothing that the codes of its result do not cut off, too? */
static bool is_idle_clamp(const qn_unfolder *u, const qn_node *node)
{
    if ((node->op != QN_OP_RELU && node->op != QN_OP_CLIP) || !qn_qop_is_coded(u, node->outputs[0])) {
        return false;
    }
    const bool is_clip = node->op == QN_OP_CLIP;
    const float low = is_clip ? bound(u, node, "min", 1, -INFINITY) : 0;
    const float high = is_clip ? bound(u, node, "max", 2, INFINITY) : INFINITY;
    const qn_quantizer *q = quantizer(u, node->outputs[0]);
    const qn_params p = qn_quantizer_get(q, 0);
    int32_t lowest, highest;
    qn_format_range(q->format, &lowest, &highest);
    return low <= high && (uint8_t)qn_format_code(q->format, &p, (double)low, 0) == (uint8_t)lowest &&
           (uint8_t)qn_format_code(q->format, &p, (double)high, 0) == (uint8_t)highest;
}

/* The one node behind `node` that may be left out, as the codes of its result clamp already; NULL: there is none. */
static const qn_node *idle_clamp_behind(const qn_unfolder *u, const qn_node *node)
{
    const qn_value_id y = node->n_outputs == 1 ? node->outputs[0] : QN_NO_VALUE;
    if (y == QN_NO_VALUE || quantizer(u, y) != NULL || u->readers[y] != 1 || qn_graph_is_output(u->from, y)) {
        return NULL;
    }
    const qn_node *clamp = &u->from->nodes[u->reader[y]];
    return clamp->inputs[0] == y && is_idle_clamp(u, clamp) ? clamp : NULL;
}

qn_status qn_qop_compute(qn_unfolder *u, const qn_node *node, bool *done)
{
    *done = false;
    size_t i = 0;
    while (i < sizeof rows / sizeof rows[0] && rows[i].op != node->op) {
        i++;
    }
    if (i == sizeof rows / sizeof rows[0]) {
        return QN_OK;
    }
    const qn_node *clamp = idle_clamp_behind(u, node);
    qn_node whole = *node;
    whole.outputs = clamp != NULL ? clamp->outputs : node->outputs;
    QN_TRY(rows[i].add(u, &whole, rows[i].op_type, done));
    if (*done && clamp != NULL) {
        u->gone[clamp - u->from->nodes] = 1;
    }
    return QN_OK;
}
