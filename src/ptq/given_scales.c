/* Quantizers that somebody else chose: the scales and zero points of a .tflite file, for the same network as ONNX.
 *
 * The two are walked together along the data: the input first, then every node whose inputs have their counterparts
 * takes the first unused operator of its kind that reads these and has weights of its shape. */
#include <math.h>
#include <string.h>

#include "ptq/settings.h"
#include "ptq/tflite_json.h"

enum { NONE = -1, S8_MOST = 127 };

typedef struct matching {
    qn_ptq *ptq;
    qn_graph *graph;
    const qn_binding *binding;
    const char *path;
    qn_tflite_network network;
    int *tensor_of; /* per value: its tensor, NONE */
    int *origin_of; /* per tensor */
    qn_error *err;
} matching;

static const struct {
    qn_op op;
    const char *types[2];
} kinds[] = {
    {QN_OP_CONV, {"CONV_2D", "DEPTHWISE_CONV_2D"}},
    {QN_OP_GEMM, {"FULLY_CONNECTED", NULL}},
    {QN_OP_MATMUL, {"FULLY_CONNECTED", NULL}},
    {QN_OP_ADD, {"ADD", NULL}},
    {QN_OP_CONCAT, {"CONCATENATION", NULL}},
    {QN_OP_AVERAGE_POOL, {"AVERAGE_POOL_2D", "MEAN"}},
    {QN_OP_GLOBAL_AVERAGE_POOL, {"AVERAGE_POOL_2D", "MEAN"}},
    {QN_OP_MAX_POOL, {"MAX_POOL_2D", NULL}},
    {QN_OP_GLOBAL_MAX_POOL, {"MAX_POOL_2D", NULL}},
};

static bool is_kind(qn_op op, const char *type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (int j = 0; kinds[i].op == op && j < 2 && kinds[i].types[j] != NULL; j++) {
            if (strcmp(kinds[i].types[j], type) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* The tensor whose codes these are: a RESHAPE moves none. Operators stand in the order in which they run. */
static int origin(const matching *m, int tensor)
{
    return m->origin_of[tensor];
}

static qn_status find_origins(matching *m)
{
    const qn_tflite_network *network = &m->network;
    m->origin_of = qn_arena_array(&m->ptq->scratch, (size_t)network->n_tensors + 1, sizeof *m->origin_of);
    if (m->origin_of == NULL) {
        return qn_fail_memory(m->err, m->path, (size_t)network->n_tensors * sizeof *m->origin_of);
    }
    for (int i = 0; i < network->n_tensors; i++) {
        m->origin_of[i] = i;
    }
    for (int i = 0; i < network->n_ops; i++) {
        const qn_tflite_op *op = &network->ops[i];
        if ((strcmp(op->type, "RESHAPE") == 0 || strcmp(op->type, "SQUEEZE") == 0) && op->n_inputs > 0 &&
            op->inputs[0] >= 0) {
            m->origin_of[op->output] = m->origin_of[op->inputs[0]];
        }
    }
    return QN_OK;
}

static const char *value_name(const matching *m, qn_value_id id)
{
    return m->graph->values[id].name;
}

static qn_status mismatch(const matching *m, int tensor, qn_value_id id, const char *reason)
{
    return qn_fail(m->err, QN_EINVAL, m->path, "tensor %d '%.100s', for value '%s': %s", tensor,
                   m->network.tensors[tensor].name, value_name(m, id), reason);
}

/* Do the item dimensions of a value, channels first, hold those of a tensor, channels last? */
static bool same_shape(const qn_bound_value *value, const qn_tflite_tensor *t)
{
    int64_t n = 1;
    for (int i = 1; i < t->rank; i++) {
        n = n > INT64_MAX / t->dims[i] ? INT64_MAX : n * t->dims[i];
    }
    int64_t own = value->n_elems / (value->rank > 0 && value->dims[0] > 0 ? value->dims[0] : 1);
    bool fits = n == own && t->rank >= 2;
    if (value->rank == 4 && t->rank == 4) {
        fits = fits && value->dims[1] == t->dims[3] && value->dims[2] == t->dims[1] && value->dims[3] == t->dims[2];
    }
    return fits;
}

/* Give a value the parameters of an activation. */
static qn_status assign(matching *m, qn_value_id id, int tensor)
{
    const qn_tflite_tensor *t = &m->network.tensors[tensor];
    if (!t->is_int8 || t->n_scales != 1) {
        return mismatch(m, tensor, id, "it is not int8 with one scale");
    }
    if (!same_shape(&m->binding->values[id], t)) {
        return mismatch(m, tensor, id, "the shapes differ; is this file about another network?");
    }
    qn_quantizer q = {
        .format = {.bits = 8, .is_signed = true}, .axis = -1, .n = 1, .scale = t->scale, .zero_point = t->zero_point};
    m->tensor_of[id] = tensor;
    return qn_graph_set_quantizer(m->graph, id, &q, m->err);
}

/* Weights of a node and of an operator: height, width, inputs, outputs. */
typedef struct weight_shape {
    int64_t rows, columns, in, out;
} weight_shape;

static weight_shape shape_of_node(const matching *m, const qn_node *node)
{
    const qn_tensor *w = m->graph->values[node->inputs[1]].constant;
    const int axis = qn_ptq_channel_axis(node);
    if (w == NULL || w->rank < 2) {
        return (weight_shape){0};
    }
    if (node->op != QN_OP_CONV) {
        return (weight_shape){1, 1, w->dims[1 - axis], w->dims[axis]};
    }
    return (weight_shape){w->rank == 4 ? w->dims[2] : 1, w->dims[w->rank - 1], w->dims[1], w->dims[0]};
}

static weight_shape shape_of_op(const matching *m, const qn_tflite_op *op)
{
    const qn_tflite_tensor *t = op->n_inputs > 1 && op->inputs[1] >= 0 ? &m->network.tensors[op->inputs[1]] : NULL;
    if (t != NULL && t->rank == 2) {
        return (weight_shape){1, 1, t->dims[1], t->dims[0]};
    }
    if (t != NULL && t->rank == 4 && strcmp(op->type, "DEPTHWISE_CONV_2D") == 0) {
        return (weight_shape){t->dims[1], t->dims[2], 1, t->dims[3]};
    }
    return t != NULL && t->rank == 4 ? (weight_shape){t->dims[1], t->dims[2], t->dims[3], t->dims[0]}
                                     : (weight_shape){-1, -1, -1, -1};
}

static bool same_weights(const matching *m, const qn_node *node, const qn_tflite_op *op)
{
    const weight_shape a = shape_of_node(m, node), b = shape_of_op(m, op);
    return a.rows == b.rows && a.columns == b.columns && a.in == b.in && a.out == b.out;
}

/* Activations that a node reads, and an operator: the weights are none. */
static int n_activations(const qn_node *node)
{
    return qn_ptq_rule_of(node->op)->joins ? node->n_inputs : 1;
}

/* Does the operator read the node's inputs: in their order, or an Add's in any? */
static bool same_inputs(const matching *m, const qn_node *node, const qn_tflite_op *op)
{
    const int n = n_activations(node);
    if (op->n_inputs < n || (qn_ptq_rule_of(node->op)->joins && op->n_inputs != n)) {
        return false;
    }
    bool same = true, crossed = node->op == QN_OP_ADD;
    for (int i = 0; i < n; i++) {
        const int mine = origin(m, m->tensor_of[node->inputs[i]]);
        same = same && op->inputs[i] >= 0 && origin(m, op->inputs[i]) == mine;
        crossed = crossed && op->inputs[n - 1 - i] >= 0 && origin(m, op->inputs[n - 1 - i]) == mine;
    }
    return same || crossed;
}

static qn_tflite_op *find_op(const matching *m, const qn_node *node)
{
    const bool weighs = qn_ptq_rule_of(node->op)->has_weights;
    for (int i = 0; i < m->network.n_ops; i++) {
        qn_tflite_op *op = &m->network.ops[i];
        if (!op->used && is_kind(node->op, op->type) && same_inputs(m, node, op) &&
            (!weighs || same_weights(m, node, op))) {
            op->used = true;
            return op;
        }
    }
    return NULL;
}

/* What the converter multiplies weights with before it rounds them, half away from zero, all in f32: 127 over the
 * greatest magnitude, where the file tells that and it is what the scale was made of. */
static float weight_factor(const qn_tflite_tensor *t, int64_t k)
{
    const float most = t->absmax != NULL ? t->absmax[k] : 0;
    const bool agrees = fabs((double)most / S8_MOST - (double)t->scale[k]) <= 0x1p-20 * (double)t->scale[k];
    return agrees ? S8_MOST / most : 1 / t->scale[k];
}

static int8_t weight_code(float w, float factor)
{
    const float code = roundf(w * factor);
    return (int8_t)(code < -S8_MOST ? -S8_MOST : code > S8_MOST ? S8_MOST : code);
}

/* Codes of a node's weights and bias under given scales. */
typedef struct given {
    qn_tensor weights, bias;
    const qn_tflite_tensor *t;
    float *bias_scale;
    int32_t *zeros;
} given;

static qn_status encode(matching *m, const qn_node *node, given *g)
{
    const qn_tensor *w = qn_ptq_float_constant(m->graph, node->inputs[1]);
    const bool has_bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    const qn_tensor *b = has_bias ? qn_ptq_float_constant(m->graph, node->inputs[2]) : NULL;
    const int axis = qn_ptq_channel_axis(node);
    const int64_t n = w->dims[axis];
    int64_t inner = 1;
    for (int d = axis + 1; d < w->rank; d++) {
        inner *= w->dims[d];
    }
    QN_TRY(qn_tensor_alloc(&g->weights, QN_DTYPE_S8, w->rank, w->dims, m->err));
    for (int64_t i = 0; i < qn_tensor_count(w); i++) {
        const int64_t k = g->t->n_scales == 1 ? 0 : i / inner % n;
        ((int8_t *)g->weights.data)[i] = weight_code(((const float *)w->data)[i], weight_factor(g->t, k));
    }
    if (!has_bias) {
        return QN_OK;
    }
    if (b == NULL || qn_tensor_count(b) != n) {
        return mismatch(m, m->tensor_of[node->inputs[0]], node->inputs[2], "the bias is not one constant per channel");
    }
    QN_TRY(qn_tensor_alloc(&g->bias, QN_DTYPE_S32, 1, &n, m->err));
    for (int64_t k = 0; k < n; k++) {
        const double scale = (double)g->bias_scale[g->t->n_scales == 1 ? 0 : k];
        const double code = round((double)((const float *)b->data)[k] / scale);
        if (!(fabs(code) < 0x1p31)) {
            return mismatch(m, m->tensor_of[node->inputs[0]], node->inputs[2], "the bias does not fit an int32");
        }
        ((int32_t *)g->bias.data)[k] = (int32_t)code;
    }
    return QN_OK;
}

static qn_status install(matching *m, qn_node *node, const given *g)
{
    qn_value_id weights, bias;
    const qn_tflite_tensor *t = g->t;
    qn_quantizer q = {.format = {.bits = 8, .is_signed = true},
                      .axis = t->n_scales == 1 ? -1 : qn_ptq_channel_axis(node),
                      .n = t->n_scales,
                      .scale = t->scale,
                      .zero_point = g->zeros};
    QN_TRY(qn_ptq_own_constant(m->ptq, node, 1, &weights, m->err));
    QN_TRY(qn_ptq_set_coded(m->graph, weights, &q, &g->weights, m->err));
    if (g->bias.data == NULL) {
        return QN_OK;
    }
    q.format.bits = 32;
    q.axis = t->n_scales == 1 ? -1 : 0;
    q.scale = g->bias_scale;
    QN_TRY(qn_ptq_own_constant(m->ptq, node, 2, &bias, m->err));
    return qn_ptq_set_coded(m->graph, bias, &q, &g->bias, m->err);
}

static qn_status code_weights(matching *m, qn_node *node, const qn_tflite_op *op)
{
    const qn_tflite_tensor *t = &m->network.tensors[op->inputs[1]];
    const float scale_x = m->graph->values[node->inputs[0]].quantizer->scale[0];
    const int64_t n = shape_of_node(m, node).out;
    if (qn_ptq_float_constant(m->graph, node->inputs[1]) == NULL || !t->is_int8 ||
        (t->n_scales != 1 && t->n_scales != n)) {
        return mismatch(m, op->inputs[1], node->inputs[1], "weights are int8 with one scale, or one per channel");
    }
    given g = {.t = t};
    g.bias_scale = qn_arena_array(&m->ptq->scratch, (size_t)t->n_scales, sizeof *g.bias_scale);
    g.zeros = qn_arena_array(&m->ptq->scratch, (size_t)t->n_scales, sizeof *g.zeros);
    if (g.bias_scale == NULL || g.zeros == NULL) {
        return qn_fail_memory(m->err, m->path, (size_t)t->n_scales * sizeof *g.zeros);
    }
    for (int64_t k = 0; k < t->n_scales; k++) {
        g.bias_scale[k] = scale_x * t->scale[k];
        if (t->zero_point[k] != 0 || !isnormal(g.bias_scale[k])) {
            return mismatch(m, op->inputs[1], node->inputs[1],
                            "weights have zero point 0, and a scale whose product with the input's is a normal f32");
        }
    }
    qn_status status = encode(m, node, &g);
    if (status == QN_OK) {
        status = install(m, node, &g);
    }
    qn_tensor_free(&g.weights);
    qn_tensor_free(&g.bias);
    return status;
}

/* A Relu or Clip is part of the operator before it: both its sides have that one's output. */
static bool is_activation(const qn_node *node)
{
    return node->op == QN_OP_RELU || node->op == QN_OP_CLIP;
}

static qn_status unknown_node(const matching *m, const qn_node *node)
{
    char where[QN_NODE_WHERE_MAX];
    return qn_fail(m->err, QN_EINVAL, m->path,
                   "it has no operator for %s: none is left of its kind that reads the same values%s",
                   qn_node_where(where, m->graph, node),
                   qn_ptq_rule_of(node->op)->has_weights ? " with weights of its shape" : "");
}

static qn_status match_node(matching *m, qn_node *node)
{
    for (int i = 0; i < n_activations(node); i++) {
        if (node->inputs[i] == QN_NO_VALUE || m->tensor_of[node->inputs[i]] == NONE) {
            return unknown_node(m, node);
        }
    }
    if (qn_ptq_rule_of(node->op)->role == QN_PTQ_MOVE && !is_kind(node->op, "MAX_POOL_2D")) {
        m->tensor_of[node->outputs[0]] = m->tensor_of[node->inputs[0]];
        return qn_graph_set_quantizer(m->graph, node->outputs[0], m->graph->values[node->inputs[0]].quantizer, m->err);
    }
    if (is_activation(node)) {
        return assign(m, node->outputs[0], m->tensor_of[node->inputs[0]]);
    }
    const qn_tflite_op *op = find_op(m, node);
    if (op == NULL) {
        return unknown_node(m, node);
    }
    QN_TRY(assign(m, node->outputs[0], op->output));
    return qn_ptq_rule_of(node->op)->has_weights ? code_weights(m, node, op) : QN_OK;
}

static qn_status match(matching *m)
{
    qn_graph *graph = m->graph;
    QN_TRY(find_origins(m));
    m->tensor_of = qn_arena_array(&m->ptq->scratch, graph->n_values + 1, sizeof *m->tensor_of);
    if (m->tensor_of == NULL) {
        return qn_fail_memory(m->err, m->path, graph->n_values * sizeof *m->tensor_of);
    }
    memset(m->tensor_of, 0xff, (graph->n_values + 1) * sizeof *m->tensor_of); /* all NONE */
    if (graph->n_inputs != (size_t)m->network.n_inputs) {
        return qn_fail(m->err, QN_EINVAL, m->path, "it has %d inputs, the network %d", m->network.n_inputs,
                       (int)graph->n_inputs);
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        QN_TRY(assign(m, graph->inputs[i], m->network.inputs[i]));
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        QN_TRY(match_node(m, &graph->nodes[n]));
    }
    return QN_OK;
}

qn_status qn_ptq_given_scales(qn_ptq *ptq, const char *json_path, qn_error *err)
{
    qn_binding binding = {0};
    matching m = {.ptq = ptq, .graph = ptq->graph, .binding = &binding, .path = json_path, .err = err};
    QN_TRY(qn_tflite_read_json(&m.network, json_path, &ptq->scratch, err));
    qn_status status = qn_graph_bind(&binding, ptq->graph, 1, err);
    if (status == QN_OK) {
        status = match(&m);
    }
    qn_binding_free(&binding);
    return status;
}

qn_status qn_ptq_take_given_scales(qn_ptq *ptq, qn_error *err)
{
    const char *path = qn_ptq_option(ptq, "scales");
    if (path[0] != '\0' && ptq->settings->no_rounding) {
        return qn_fail(err, QN_EINVAL, path, "given scales are of codes: there is nothing to take without rounding");
    }
    return path[0] != '\0' ? qn_ptq_given_scales(ptq, path, err) : QN_OK;
}
