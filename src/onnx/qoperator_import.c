/* QLinearConv, QLinearMatMul and the operators on codes of domain com.microsoft: each becomes DequantizeLinear of its
 * inputs, the operator in float, and QuantizeLinear of its output, with the same parameters. */
#include <stdio.h>
#include <string.h>

#include "onnx/onnx.h"
#include "onnx/qoperator.h"

/* Where the inputs of an operator are; -1: there is none.
 *  plain        the first input of the float operator that is no code (a condition)
 *  operands     of each the input with its codes, the scale and zero point following; `apart`: they follow the codes of
 *               all operands
 *  list         operands from the first one on, as many as there are
 *  scale        of the result, its zero point following
 *  bias         int32 at the product of the scales of both operands
 *  axis         along which the scales of an operand lie where there are several
 *  last         the attribute channels_last says that channels come last */
typedef struct row {
    const char *type, *becomes;
    bool microsoft, list, last;
    int plain, operands[2], scale, bias;
    int64_t axis[2];
} row;

static const row rows[] = {
    {.type = "QGemm", .becomes = "Gemm", .microsoft = true, .plain = -1, .operands = {0, 3}, .scale = 7, .bias = 6},
    {.type = "QLinearAdd",
     .becomes = "Add",
     .microsoft = true,
     .plain = -1,
     .operands = {0, 3},
     .scale = 6,
     .bias = -1},
    {.type = "QLinearAveragePool",
     .becomes = "AveragePool",
     .microsoft = true,
     .last = true,
     .plain = -1,
     .operands = {0, -1},
     .scale = 3,
     .bias = -1},
    {.type = "QLinearConcat",
     .becomes = "Concat",
     .microsoft = true,
     .list = true,
     .plain = -1,
     .operands = {2, -1},
     .scale = 0,
     .bias = -1},
    {.type = "QLinearConv", .becomes = "Conv", .last = true, .plain = -1, .operands = {0, 3}, .scale = 6, .bias = 8},
    {.type = "QLinearGlobalAveragePool",
     .becomes = "GlobalAveragePool",
     .microsoft = true,
     .last = true,
     .plain = -1,
     .operands = {0, -1},
     .scale = 3,
     .bias = -1},
    {.type = "QLinearLeakyRelu",
     .becomes = "LeakyRelu",
     .microsoft = true,
     .plain = -1,
     .operands = {0, -1},
     .scale = 3,
     .bias = -1},
    {.type = "QLinearMatMul",
     .becomes = "MatMul",
     .plain = -1,
     .operands = {0, 3},
     .scale = 6,
     .bias = -1,
     .axis = {-2, -1}},
    {.type = "QLinearMul",
     .becomes = "Mul",
     .microsoft = true,
     .plain = -1,
     .operands = {0, 3},
     .scale = 6,
     .bias = -1},
    {.type = "QLinearReduceMean",
     .becomes = "ReduceMean",
     .microsoft = true,
     .plain = -1,
     .operands = {0, -1},
     .scale = 3,
     .bias = -1},
    {.type = "QLinearSigmoid",
     .becomes = "Sigmoid",
     .microsoft = true,
     .plain = -1,
     .operands = {0, -1},
     .scale = 3,
     .bias = -1},
    {.type = "QLinearSoftmax",
     .becomes = "Softmax",
     .microsoft = true,
     .plain = -1,
     .operands = {0, -1},
     .scale = 3,
     .bias = -1},
    {.type = "QLinearWhere",
     .becomes = "Where",
     .microsoft = true,
     .plain = 0,
     .operands = {1, 4},
     .scale = 7,
     .bias = -1},
};

/* QLinearConv and QLinearMatMul are in both domains. */
static const row *find_row(const qn_node *node)
{
    const bool microsoft = strcmp(node->domain, "com.microsoft") == 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].type, node->op_type) == 0 &&
            (microsoft || (node->domain[0] == '\0' && !rows[i].microsoft))) {
            return &rows[i];
        }
    }
    return NULL;
}

static qn_value_id input(const qn_node *node, int i)
{
    return i >= 0 && i < node->n_inputs ? node->inputs[i] : QN_NO_VALUE;
}

static qn_code_inputs operand_at(const qn_node *node, int first, int64_t axis)
{
    return (qn_code_inputs){input(node, first), input(node, first + 1), input(node, first + 2), axis};
}

static bool is_missing(const qn_code_inputs *coded)
{
    return coded->codes == QN_NO_VALUE || coded->scale == QN_NO_VALUE;
}

/* Scales of one dimension lie along the columns of B. */
static int64_t axis_of(const row *r, const qn_node *node, int operand)
{
    return strcmp(r->type, "QGemm") == 0 && operand == 1 ? qn_node_int(node, "transB", 0) == 0 : r->axis[operand];
}

static float scale_at(const qn_tensor *t, int64_t i)
{
    return ((const float *)t->data)[qn_tensor_count(t) == 1 ? 0 : i];
}

/* (alpha * s_x) * s_w, one f32 product for each output channel. */
static qn_status bias_scale(const qn_qoperator_importer *in, const qn_node *node, const qn_code_inputs operands[2],
                            qn_value_id *id)
{
    const qn_value *x = &in->graph->values[operands[0].scale], *w = &in->graph->values[operands[1].scale];
    const float alpha = qn_node_float(node, "alpha", 1);
    if (x->constant == NULL || w->constant == NULL || x->constant->dtype != QN_DTYPE_F32 ||
        w->constant->dtype != QN_DTYPE_F32 || qn_tensor_count(x->constant) != 1) {
        *id = QN_NO_VALUE;
        qn_value_id factors[2] = {operands[0].scale, operands[1].scale};
        return alpha != 1 ? QN_OK : qn_qoperator_add_node(in, "Mul", node->name, 2, factors, 0, NULL, id);
    }
    qn_tensor t;
    QN_TRY(qn_tensor_alloc(&t, QN_DTYPE_F32, w->constant->rank, w->constant->dims, in->err));
    for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
        ((float *)t.data)[i] = alpha * scale_at(x->constant, 0) * scale_at(w->constant, i);
    }
    const qn_status status = qn_qoperator_add_constant(in, "bias_scale", &t, id);
    qn_tensor_free(&t);
    return status;
}

static qn_status add_transpose(const qn_qoperator_importer *in, const qn_node *node, int rank, bool to_first,
                               qn_value_id from, qn_value_id *y)
{
    int64_t perm[QN_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        perm[i] = i == 0 ? 0 : to_first ? (i == 1 ? rank - 1 : i - 1) : i < rank - 1 ? i + 1 : 1;
    }
    qn_attribute attribute = {.name = "perm", .type = QN_ATTRIBUTE_INTS, .ints = perm, .n = rank};
    return qn_qoperator_add_node(in, "Transpose", node->name, 1, &from, 1, &attribute, y);
}

/* Dimensions of the operands, where anything says how many they are; else 0. */
static int rank_of(const qn_graph *graph, const qn_node *node)
{
    const int64_t *kernel;
    const int64_t n = qn_node_ints(node, "kernel_shape", &kernel);
    const qn_value *x = &graph->values[node->inputs[0]];
    const qn_value *w = input(node, 3) != QN_NO_VALUE ? &graph->values[node->inputs[3]] : x;
    const int rank = n > 0                                          ? (int)n + 2
                     : w->constant != NULL && w->constant->rank > 2 ? w->constant->rank
                     : x->rank > 2                                  ? x->rank
                                                                    : 0;
    return rank <= QN_MAX_RANK ? rank : 0;
}

/* The attributes that the float operator has, too. */
static void keep_attributes(qn_node *node)
{
    int kept = 0;
    for (int i = 0; i < node->n_attributes; i++) {
        const char *name = node->attributes[i].name;
        if (strcmp(name, "channels_last") != 0 && strcmp(name, "opset") != 0) {
            node->attributes[kept++] = node->attributes[i];
        }
    }
    node->n_attributes = kept;
}

/* Before opset 13 a Softmax is over all axes from one on. */
static const char *softmax_reason(const qn_graph *graph, const qn_node *node)
{
    const int64_t opset = qn_node_int(node, "opset", graph->opset);
    const bool last = qn_node_int(node, "axis", -1) == -1;
    return strcmp(node->op_type, "QLinearSoftmax") == 0 && !last && (opset < 13) != (graph->opset < 13)
               ? "its attribute opset and that of the file mean different operators"
               : NULL;
}

static const char *reason_of(const qn_qoperator_importer *in, const row *r, const qn_node *node)
{
    const qn_code_inputs result = operand_at(node, r->scale - 1, 0);
    bool missing = node->n_outputs < 1 || node->outputs[0] == QN_NO_VALUE;
    missing |= result.scale == QN_NO_VALUE && strcmp(r->type, "QGemm") != 0;
    for (int i = r->operands[0]; r->list && i < node->n_inputs; i += 3) {
        const qn_code_inputs operand = operand_at(node, i, 0);
        missing |= is_missing(&operand);
    }
    for (int k = 0; !r->list && k < 2; k++) {
        const qn_code_inputs operand = operand_at(node, r->operands[k], 0);
        missing |= r->operands[k] >= 0 && is_missing(&operand);
    }
    if (missing || (r->list && node->n_inputs < 5)) {
        return "codes, scales or zero points are missing";
    }
    if (r->last && qn_node_int(node, "channels_last", 0) != 0 && rank_of(in->graph, node) == 0) {
        return "with channels_last it needs an input of declared rank";
    }
    return softmax_reason(in->graph, node);
}

/* The float operator's operands, in the order it takes them. */
static qn_status decode_operands(const qn_qoperator_importer *in, const row *r, const qn_node *node,
                                 qn_value_id *inputs, int *n)
{
    qn_code_inputs operands[2];
    *n = 0;
    if (r->plain >= 0) {
        inputs[(*n)++] = node->inputs[r->plain];
    }
    for (int k = 0, at = r->operands[0]; r->list ? at < node->n_inputs : k < 2 && r->operands[k] >= 0; k++, at += 3) {
        const qn_code_inputs operand =
            operand_at(node, r->list ? at : r->operands[k], r->list ? 0 : axis_of(r, node, k));
        operands[k % 2] = operand;
        QN_TRY(qn_qoperator_decode(in, &operand, &inputs[(*n)++]));
    }
    qn_code_inputs bias = {input(node, r->bias), QN_NO_VALUE, QN_NO_VALUE, 0};
    if (r->bias >= 0 && bias.codes != QN_NO_VALUE) {
        QN_TRY(bias_scale(in, node, operands, &bias.scale));
        const qn_value *codes = &in->graph->values[bias.codes];
        bias.axis = codes->constant != NULL && codes->constant->rank == 2 ? 1 : 0;
        QN_TRY(qn_qoperator_decode(in, &bias, &inputs[(*n)++]));
    }
    return QN_OK;
}

/* A zero point that is absent is 0, of the type that the operands have. */
static qn_status complete_zero_point(const qn_qoperator_importer *in, qn_code_inputs *result, qn_value_id operand)
{
    const qn_dtype dtype = qn_dtype_of_onnx(qn_qoperator_type(in->graph, operand));
    if (result->zero_point != QN_NO_VALUE || dtype == QN_DTYPE_NONE || dtype == QN_DTYPE_U8) {
        return QN_OK;
    }
    qn_tensor zero;
    QN_TRY(qn_tensor_alloc(&zero, dtype, 0, NULL, in->err));
    memset(zero.data, 0, qn_tensor_bytes(&zero));
    const qn_status status = qn_qoperator_add_constant(in, "zero_point", &zero, &result->zero_point);
    qn_tensor_free(&zero);
    return status;
}

/* From the float result y to the codes of the node. */
static qn_status encode_result(const qn_qoperator_importer *in, const qn_node *node, const qn_code_inputs *result,
                               int rank, qn_value_id y)
{
    if (rank > 0) {
        qn_value_id coded, moved = QN_NO_VALUE;
        qn_code_inputs inner = *result;
        QN_TRY(qn_qoperator_add_float(in, result->codes, &inner.codes));
        QN_TRY(qn_qoperator_encode(in, &inner, y));
        QN_TRY(qn_qoperator_decode(in, &inner, &coded));
        QN_TRY(add_transpose(in, node, rank, false, coded, &moved));
        y = moved;
    }
    return qn_qoperator_encode(in, result, y);
}

/* The node itself stays as the float operator, of the same name. */
static qn_status expand(qn_qoperator_importer *in, size_t index, const row *r)
{
    const qn_node node = in->graph->nodes[index]; /* nodes move as others come */
    const bool last = r->last && qn_node_int(&node, "channels_last", 0) != 0;
    const int rank = last ? rank_of(in->graph, &node) : 0;
    qn_code_inputs result = operand_at(&node, r->scale - 1, r->axis[0]); /* rows of a are rows of the result */
    qn_value_id y = node.outputs[0], *inputs = qn_arena_array(&in->graph->arena, (size_t)node.n_inputs, sizeof y);
    int n;
    result.codes = y;
    if (inputs == NULL) {
        return qn_fail_memory(in->err, NULL, 0);
    }
    QN_TRY(decode_operands(in, r, &node, inputs, &n));
    if (rank > 0) {
        qn_value_id moved = QN_NO_VALUE;
        QN_TRY(add_transpose(in, &node, rank, true, inputs[0], &moved));
        inputs[0] = moved;
    }
    if (result.scale != QN_NO_VALUE) {
        QN_TRY(complete_zero_point(in, &result, input(&node, r->operands[0])));
        QN_TRY(qn_qoperator_add_float(in, y, &y));
        QN_TRY(encode_result(in, &node, &result, rank, y));
    }
    qn_node *stays = &in->graph->nodes[index];
    stays->op = qn_op_find(QN_DOMAIN_ONNX, r->becomes);
    stays->op_type = r->becomes;
    stays->domain = "";
    stays->inputs = inputs;
    stays->n_inputs = n;
    stays->n_outputs = 1;
    stays->outputs[0] = y;
    keep_attributes(stays);
    in->graph->values[y].producer = (int32_t)index;
    return QN_OK;
}

/* Attributes whose default differs from the float operator's. */
static qn_status set_defaults(const qn_qoperator_importer *in, qn_node *node)
{
    if (node->op != QN_OP_SOFTMAX || qn_node_attribute(node, "axis") != NULL) {
        return QN_OK;
    }
    node->attributes = qn_arena_alloc(&in->graph->arena, sizeof *node->attributes);
    if (node->attributes == NULL) {
        return qn_fail_memory(in->err, NULL, sizeof *node->attributes);
    }
    node->attributes[0] = (qn_attribute){.name = "axis", .type = QN_ATTRIBUTE_INT, .i = -1};
    node->n_attributes = 1;
    return QN_OK;
}

static qn_status import(qn_qoperator_importer *in)
{
    qn_graph *graph = in->graph;
    const size_t n_nodes = graph->n_nodes;
    for (size_t i = 0; i < n_nodes; i++) {
        const row *r = find_row(&graph->nodes[i]);
        const char *reason = r != NULL ? reason_of(in, r, &graph->nodes[i]) : NULL;
        if (reason != NULL) {
            QN_TRY(qn_node_list_add(&in->refused, &graph->nodes[i], reason, in->err));
        } else if (r != NULL) {
            QN_TRY(expand(in, i, r));
            QN_TRY(set_defaults(in, &graph->nodes[i]));
        }
    }
    QN_TRY(
        qn_node_list_fail(&in->refused, graph, QN_EUNSUPPORTED, "operators on codes that quern cannot read", in->err));
    QN_TRY(qn_graph_tidy(graph, in->err));
    QN_TRY(qn_qoperator_move(in));
    return qn_graph_tidy(graph, in->err);
}

qn_status qn_qoperator_import(qn_graph *graph, qn_error *err)
{
    qn_qoperator_importer in = {.graph = graph, .err = err};
    const qn_status status = import(&in);
    qn_node_list_free(&in.refused);
    qn_arena_free(&in.scratch);
    return status;
}
