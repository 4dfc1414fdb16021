/* Codes that are moved: where a QuantizeLinear makes what a node moves, or a DequantizeLinear reads what it moved, the node
 * moves floats instead, between DequantizeLinear and QuantizeLinear. For decode(move(codes)) is move(decode(codes)), where one
 * set of parameters is for all elements, and encode(decode(code)) is code. */
#include <string.h>

#include "graph/qdq_opset.h"
#include "onnx/qoperator.h"
#include "tensor/tensor_proto.h"

/* Nodes whose first input is codes, and whose first outputs are some of these. */
static bool moves(const qn_node *node)
{
    switch (node->op) {
    case QN_OP_CLIP:
    case QN_OP_CONCAT:
    case QN_OP_DEPTH_TO_SPACE:
    case QN_OP_DROPOUT:
    case QN_OP_EXPAND:
    case QN_OP_FLATTEN:
    case QN_OP_GATHER:
    case QN_OP_GATHER_ELEMENTS:
    case QN_OP_GATHER_ND:
    case QN_OP_GLOBAL_MAX_POOL:
    case QN_OP_IDENTITY:
    case QN_OP_MAX_POOL:
    case QN_OP_PAD:
    case QN_OP_RELU:
    case QN_OP_RESHAPE:
    case QN_OP_SLICE:
    case QN_OP_SPACE_TO_DEPTH:
    case QN_OP_SPLIT:
    case QN_OP_SQUEEZE:
    case QN_OP_TILE:
    case QN_OP_TRANSPOSE:
    case QN_OP_UNSQUEEZE:
        return true;
    case QN_OP_RESIZE:
    case QN_OP_UPSAMPLE:
        return strcmp(qn_node_string(node, "mode", "nearest"), "nearest") == 0 &&
               strcmp(qn_node_string(node, "coordinate_transformation_mode", "half_pixel"), "tf_crop_and_resize") != 0;
    default:
        return false;
    }
}

static int n_coded_inputs(const qn_node *node)
{
    return node->op == QN_OP_CONCAT ? node->n_inputs : 1;
}

static int n_coded_outputs(const qn_node *node)
{
    return node->op == QN_OP_SPLIT ? node->n_outputs : 1;
}

int32_t qn_qoperator_type(const qn_graph *graph, qn_value_id id)
{
    for (int depth = 0; depth < 64; depth++) {
        const qn_value *value = &graph->values[id];
        const qn_node *node = value->producer >= 0 ? &graph->nodes[value->producer] : NULL;
        if (value->constant != NULL) {
            return qn_constant_type(value);
        }
        if (value->stored_type != 0 || value->dtype != QN_DTYPE_NONE) {
            return value->stored_type != 0 ? value->stored_type : qn_dtype_to_onnx(value->dtype);
        }
        if (node == NULL || (!qn_is_quantize_linear(node) && !moves(node))) {
            return 0;
        }
        const int next = qn_is_quantize_linear(node) ? 2 : 0;
        if (next >= node->n_inputs || node->inputs[next] == QN_NO_VALUE) {
            return next == 2 ? (int32_t)qn_node_int(node, "output_dtype", qn_dtype_to_onnx(QN_DTYPE_U8)) : 0;
        }
        id = node->inputs[next];
    }
    return 0;
}

/* Is it a constant of codes, one at least? */
static bool is_code(const qn_graph *graph, qn_value_id id)
{
    qn_format ignored;
    const qn_value *value = &graph->values[id];
    return value->constant != NULL && qn_tensor_count(value->constant) > 0 &&
           qn_qdq_format(&ignored, qn_constant_type(value));
}

/* The parameters of a Q or DQ node where they are one constant set; false otherwise. */
static bool read_set(const qn_graph *graph, const qn_node *node, qn_code_inputs *coded, qn_params *params)
{
    const qn_tensor *scale = qn_constant_input(graph, node, 1), *zero = qn_constant_input(graph, node, 2);
    const bool has_zero = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    if (scale == NULL || scale->dtype != QN_DTYPE_F32 || qn_tensor_count(scale) != 1 ||
        (has_zero && (!is_code(graph, node->inputs[2]) || qn_tensor_count(zero) != 1)) ||
        qn_node_int(node, "block_size", 0) != 0) {
        return false;
    }
    *coded = (qn_code_inputs){QN_NO_VALUE, node->inputs[1], has_zero ? node->inputs[2] : QN_NO_VALUE, 0};
    *params = (qn_params){.scale = *(const float *)scale->data};
    params->zero_point = has_zero ? qn_integer_at(zero, 0) : 0;
    return true;
}

/* The coding of what the node moves, when QuantizeLinear nodes made all of it alike. */
static bool coded_before(const qn_graph *graph, const qn_node *node, qn_code_inputs *coded, qn_params *params)
{
    bool found = false;
    for (int i = 0; i < n_coded_inputs(node); i++) {
        const qn_value *x = &graph->values[node->inputs[i]];
        qn_code_inputs one;
        qn_params set;
        if (x->constant != NULL && node->op == QN_OP_CONCAT) {
            continue;
        }
        if (x->producer < 0 || !qn_is_quantize_linear(&graph->nodes[x->producer]) ||
            !read_set(graph, &graph->nodes[x->producer], &one, &set)) {
            return false;
        }
        if (found && (set.scale != params->scale || set.zero_point != params->zero_point)) {
            return false;
        }
        *coded = one;
        *params = set;
        found = true;
    }
    return found;
}

/* See to it that decoders[] knows the nodes and values that have come. */
static qn_status note_decoders(qn_qoperator_importer *in)
{
    const qn_graph *graph = in->graph;
    if (graph->n_values > in->n_decoders) {
        const size_t n = 2 * graph->n_values;
        int32_t *decoders = qn_arena_array(&in->scratch, n, sizeof *decoders);
        if (decoders == NULL) {
            return qn_fail_memory(in->err, NULL, n * sizeof *decoders);
        }
        for (size_t i = 0; i < n; i++) {
            decoders[i] = i < in->n_decoders ? in->decoders[i] : -1;
        }
        in->decoders = decoders;
        in->n_decoders = n;
    }
    for (; in->n_noted < graph->n_nodes; in->n_noted++) {
        const qn_node *node = &graph->nodes[in->n_noted];
        qn_code_inputs coded;
        qn_params params;
        if (qn_is_dequantize_linear(node) && node->n_inputs > 1 && node->inputs[0] != QN_NO_VALUE &&
            in->decoders[node->inputs[0]] < 0 && read_set(graph, node, &coded, &params)) {
            in->decoders[node->inputs[0]] = (int32_t)in->n_noted;
        }
    }
    return QN_OK;
}

/* The coding in which a DequantizeLinear reads what the node moved, from values that something else made. */
static bool coded_behind(const qn_qoperator_importer *in, const qn_node *node, qn_code_inputs *coded, qn_params *params)
{
    const qn_graph *graph = in->graph;
    int32_t first = -1;
    for (int i = 0; i < n_coded_inputs(node); i++) {
        const qn_value *x = &graph->values[node->inputs[i]];
        if (x->constant != NULL || (x->producer >= 0 && qn_is_quantize_linear(&graph->nodes[x->producer]))) {
            return false;
        }
    }
    for (int i = 0; i < n_coded_outputs(node); i++) {
        const int32_t reader = node->outputs[i] != QN_NO_VALUE ? in->decoders[node->outputs[i]] : -1;
        first = reader >= 0 && (first < 0 || reader < first) ? reader : first;
    }
    return first >= 0 && read_set(graph, &graph->nodes[first], coded, params);
}

static qn_status add_real(const qn_qoperator_importer *in, const char *name, float x, qn_value_id *id)
{
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .data = &x};
    return qn_qoperator_add_constant(in, name, &t, id);
}

static float decoded(const qn_params *params, int32_t code)
{
    return (float)(code - params->zero_point) * params->scale;
}

/* Inputs that are codes, too: bounds, and what padding is filled with. */
static qn_status decode_numbers(const qn_qoperator_importer *in, const qn_node *node, const qn_params *params,
                                qn_value_id *inputs, int *n_inputs)
{
    const bool is_relu = node->op == QN_OP_RELU && params->zero_point != 0;
    const int first = node->op == QN_OP_CLIP ? 1 : 2, end = node->op == QN_OP_CLIP || node->op == QN_OP_PAD ? 3 : 0;
    for (int i = first; i < end && i < *n_inputs; i++) {
        const qn_tensor *t = inputs[i] != QN_NO_VALUE ? in->graph->values[inputs[i]].constant : NULL;
        if (t != NULL) {
            QN_TRY(add_real(in, in->graph->values[inputs[i]].name, decoded(params, qn_integer_at(t, 0)), &inputs[i]));
        }
    }
    const bool fills = node->op == QN_OP_PAD && strcmp(qn_node_string(node, "mode", "constant"), "constant") == 0;
    if (is_relu || (fills && params->zero_point != 0 && (*n_inputs < 3 || inputs[2] == QN_NO_VALUE))) {
        const int at = is_relu ? 1 : 2; /* there is room for it */
        inputs[at] = QN_NO_VALUE;
        QN_TRY(add_real(in, "zero", decoded(params, 0), &inputs[at]));
        *n_inputs = *n_inputs > at + 1 ? *n_inputs : at + 1;
    }
    return QN_OK;
}

/* Can the numbers of the node be decoded? Before opset 11 those of Clip and Pad are attributes, and not for codes. */
static bool has_known_numbers(const qn_graph *graph, const qn_node *node)
{
    const int first = node->op == QN_OP_CLIP ? 1 : 2;
    if (node->op != QN_OP_CLIP && node->op != QN_OP_PAD && node->op != QN_OP_RELU) {
        return true;
    }
    bool known = graph->opset >= 11;
    for (int i = first; node->op != QN_OP_RELU && i < 3 && i < node->n_inputs; i++) {
        known &= node->inputs[i] == QN_NO_VALUE || is_code(graph, node->inputs[i]);
    }
    return known;
}

static qn_status move_floats(const qn_qoperator_importer *in, size_t index, const qn_code_inputs *coded,
                             const qn_params *params)
{
    const qn_node node = in->graph->nodes[index];
    int n_inputs = node.n_inputs;
    qn_value_id *inputs = qn_arena_array(&in->graph->arena, (size_t)n_inputs + 2, sizeof *inputs);
    qn_value_id *outputs = qn_arena_array(&in->graph->arena, (size_t)node.n_outputs, sizeof *outputs);
    if (inputs == NULL || outputs == NULL) {
        return qn_fail_memory(in->err, NULL, 0);
    }
    memcpy(inputs, node.inputs, (size_t)n_inputs * sizeof *inputs);
    memcpy(outputs, node.outputs, (size_t)node.n_outputs * sizeof *outputs);
    QN_TRY(decode_numbers(in, &node, params, inputs, &n_inputs));
    for (int i = 0; i < n_coded_inputs(&node); i++) {
        qn_code_inputs from = *coded;
        from.codes = node.inputs[i];
        QN_TRY(qn_qoperator_decode(in, &from, &inputs[i]));
    }
    for (int i = 0; i < n_coded_outputs(&node); i++) {
        qn_code_inputs to = *coded;
        to.codes = node.outputs[i];
        if (to.codes == QN_NO_VALUE) {
            continue;
        }
        QN_TRY(qn_qoperator_add_float(in, to.codes, &outputs[i]));
        in->graph->values[outputs[i]].producer = (int32_t)index;
        QN_TRY(qn_qoperator_encode(in, &to, outputs[i]));
    }
    qn_node *stays = &in->graph->nodes[index];
    if (node.op == QN_OP_RELU && params->zero_point != 0) {
        stays->op = QN_OP_CLIP;
        stays->op_type = "Clip";
    }
    stays->inputs = inputs;
    stays->outputs = outputs;
    stays->n_inputs = n_inputs;
    return QN_OK;
}

/* Codes that a QuantizeLinear can make, *complete; with a zero point, which says of what type they are. */
static qn_status complete_set(const qn_qoperator_importer *in, const qn_node *node, qn_code_inputs *coded,
                              bool *complete)
{
    enum { UINT8 = 2, INT32 = 6 };
    const int32_t type = qn_qoperator_type(in->graph, node->inputs[0]);
    const qn_dtype dtype = qn_dtype_of_onnx(type);
    qn_format ignored;
    *complete = qn_qdq_format(&ignored, type) && type != INT32 &&
                (coded->zero_point != QN_NO_VALUE || type == UINT8 || dtype != QN_DTYPE_NONE);
    if (!*complete || coded->zero_point != QN_NO_VALUE || type == UINT8) {
        return QN_OK;
    }
    const int32_t nothing = 0; /* as many bytes as the widest type has */
    const qn_tensor zero = {.dtype = dtype, .data = (void *)(uintptr_t)&nothing};
    return qn_qoperator_add_constant(in, "zero_point", &zero, &coded->zero_point);
}

static qn_status try_move(qn_qoperator_importer *in, size_t index, bool behind)
{
    const qn_graph *graph = in->graph;
    const qn_node *node = &graph->nodes[index];
    qn_code_inputs coded;
    qn_params params;
    bool complete = moves(node) && node->n_inputs > 0 && node->n_outputs > 0;
    for (int i = 0; complete && i < n_coded_inputs(node); i++) {
        complete = node->inputs[i] != QN_NO_VALUE;
    }
    if (!complete || !has_known_numbers(graph, node)) {
        return QN_OK;
    }
    QN_TRY(behind ? note_decoders(in) : QN_OK);
    if (!(behind ? coded_behind(in, node, &coded, &params) : coded_before(graph, node, &coded, &params))) {
        return QN_OK;
    }
    QN_TRY(complete_set(in, node, &coded, &complete));
    return complete ? move_floats(in, index, &coded, &params) : QN_OK;
}

qn_status qn_qoperator_move(qn_qoperator_importer *in)
{
    const size_t n_nodes = in->graph->n_nodes;
    for (size_t n = 0; n < n_nodes; n++) { /* what is moved again follows */
        QN_TRY(try_move(in, n, false));
    }
    for (size_t n = n_nodes; n > 0; n--) { /* what was moved before follows */
        QN_TRY(try_move(in, n - 1, true));
    }
    return QN_OK;
}
