/* Operators of domain com.microsoft that ONNX Runtime's optimizations leave in files: each becomes operators of ONNX' own
 * domain (doc/spec/onnx.md 5.7). What is not known here stays, and is refused by name where the network would run. */
#include <string.h>

#include "onnx/onnx.h"
#include "onnx/qoperator.h"

/* One node under way: a copy, since nodes move as others come. */
typedef struct rewrite {
    const qn_qoperator_importer *in;
    size_t index;
    qn_node node;
} rewrite;

static qn_value_id input(const rewrite *r, int i)
{
    return i < r->node.n_inputs ? r->node.inputs[i] : QN_NO_VALUE;
}

/* A node more, called like what it makes: runtimes want names that no other node has. */
static qn_status add_node(const rewrite *r, const char *type, int n, qn_value_id *inputs, int n_attributes,
                          qn_attribute *attributes, qn_value_id *y)
{
    qn_graph *graph = r->in->graph;
    QN_TRY(qn_qoperator_add_node(r->in, type, r->node.name, n, inputs, n_attributes, attributes, y));
    graph->nodes[graph->n_nodes - 1].name = graph->values[*y].name;
    return QN_OK;
}

static qn_status add(const rewrite *r, const char *type, int n, const qn_value_id *inputs, qn_value_id *y)
{
    qn_value_id copy[3] = {QN_NO_VALUE, QN_NO_VALUE, QN_NO_VALUE};
    memcpy(copy, inputs, (size_t)n * sizeof *copy);
    *y = QN_NO_VALUE;
    return add_node(r, type, n, copy, 0, NULL, y);
}

static qn_status number(const rewrite *r, const char *name, float v, qn_value_id *id)
{
    qn_tensor t = {.dtype = QN_DTYPE_F32, .data = &v};
    return qn_qoperator_add_constant(r->in, name, &t, id);
}

/* The node itself becomes another, with the first n_outputs of its outputs. */
static qn_status become(const rewrite *r, const char *type, int n, const qn_value_id *inputs, int n_attributes,
                        const qn_attribute *attributes, int n_outputs)
{
    qn_graph *graph = r->in->graph;
    qn_node *node = &graph->nodes[r->index];
    qn_value_id *ids = qn_arena_array(&graph->arena, (size_t)n, sizeof *ids);
    qn_attribute *own = qn_arena_array(&graph->arena, (size_t)n_attributes + 1, sizeof *own);
    if (ids == NULL || own == NULL) {
        return qn_fail_memory(r->in->err, NULL, 0);
    }
    memcpy(ids, inputs, (size_t)n * sizeof *ids);
    if (n_attributes > 0) {
        memcpy(own, attributes, (size_t)n_attributes * sizeof *own);
    }
    for (int i = n_outputs; i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE && graph->values[node->outputs[i]].producer == (int32_t)r->index) {
            graph->values[node->outputs[i]].producer = -1;
        }
    }
    node->op_type = type;
    node->op = qn_op_find(QN_DOMAIN_ONNX, type);
    node->domain = "";
    node->inputs = ids;
    node->n_inputs = n;
    node->attributes = own;
    node->n_attributes = n_attributes;
    node->n_outputs = n_outputs < node->n_outputs ? n_outputs : node->n_outputs;
    return QN_OK;
}

static qn_status plus_bias(const rewrite *r, qn_value_id *x)
{
    return input(r, 1) == QN_NO_VALUE ? QN_OK : add(r, "Add", 2, (qn_value_id[]){*x, input(r, 1)}, x);
}

static qn_status gelu(const rewrite *r)
{
    const qn_attribute tanh = {.name = "approximate", .type = QN_ATTRIBUTE_STRING, .s = "tanh"};
    qn_value_id x = input(r, 0);
    QN_TRY(plus_bias(r, &x));
    return become(r, "Gelu", 1, &x, strcmp(r->node.op_type, "FastGelu") == 0, &tanh, 1);
}

static qn_status quick_gelu(const rewrite *r)
{
    qn_value_id alpha, x = input(r, 0), t;
    QN_TRY(number(r, "alpha", qn_node_float(&r->node, "alpha", 1.702f), &alpha));
    QN_TRY(add(r, "Mul", 2, (qn_value_id[]){x, alpha}, &t));
    QN_TRY(add(r, "Sigmoid", 1, &t, &t));
    return become(r, "Mul", 2, (qn_value_id[]){x, t}, 0, NULL, 1);
}

/* An Einsum where a factor is turned: of how many dimensions is known only when the graph is bound. */
static qn_status fused_matmul(const rewrite *r)
{
    static const char *const equations[2][2] = {{NULL, "...ij,...kj->...ik"},
                                                {"...ji,...jk->...ik", "...ji,...kj->...ik"}};
    const bool a = qn_node_int(&r->node, "transA", 0) != 0, b = qn_node_int(&r->node, "transB", 0) != 0;
    const float alpha = qn_node_float(&r->node, "alpha", 1);
    const qn_value_id factors[2] = {input(r, 0), input(r, 1)};
    qn_attribute equation = {.name = "equation", .type = QN_ATTRIBUTE_STRING, .s = equations[a][b]};
    const char *type = a || b ? "Einsum" : "MatMul";
    qn_value_id y = QN_NO_VALUE, scale, copy[2] = {factors[0], factors[1]};
    if (qn_node_int(&r->node, "transBatchA", 0) != 0 || qn_node_int(&r->node, "transBatchB", 0) != 0) {
        return QN_OK;
    }
    if (alpha == 1) {
        return become(r, type, 2, factors, a || b, &equation, 1);
    }
    QN_TRY(add_node(r, type, 2, copy, a || b, &equation, &y));
    QN_TRY(number(r, "alpha", alpha, &scale));
    return become(r, "Mul", 2, (qn_value_id[]){y, scale}, 0, NULL, 1);
}

/* x + skip + bias, which may be an output, too: the one of that number. */
static qn_status add_skip(const rewrite *r, int bias, int output, qn_value_id *sum)
{
    qn_graph *graph = r->in->graph;
    qn_node *node = &graph->nodes[r->index];
    qn_value_id told = output < node->n_outputs ? node->outputs[output] : QN_NO_VALUE;
    if (told != QN_NO_VALUE) {
        graph->values[told].producer = -1;
        node->n_outputs = output;
    }
    const bool has_bias = input(r, bias) != QN_NO_VALUE;
    qn_value_id first[2] = {input(r, 0), input(r, 1)}, second[2] = {QN_NO_VALUE, input(r, bias)};
    qn_value_id *y = has_bias ? &second[0] : &told;
    QN_TRY(add_node(r, "Add", 2, first, 0, NULL, y));
    QN_TRY(has_bias ? add_node(r, "Add", 2, second, 0, NULL, &told) : QN_OK);
    *sum = told;
    return QN_OK;
}

static qn_attribute epsilon_of(const rewrite *r)
{
    return (qn_attribute){
        .name = "epsilon", .type = QN_ATTRIBUTE_FLOAT, .f = qn_node_float(&r->node, "epsilon", 1e-12f)};
}

static qn_status skip_normalization(const rewrite *r)
{
    const qn_attribute attributes[] = {{.name = "axis", .type = QN_ATTRIBUTE_INT, .i = -1}, epsilon_of(r)};
    qn_value_id inputs[3] = {QN_NO_VALUE, input(r, 2), input(r, 3)};
    QN_TRY(add_skip(r, 4, 3, &inputs[0]));
    return become(r, "LayerNormalization", inputs[2] != QN_NO_VALUE ? 3 : 2, inputs, 2, attributes, 3);
}

/* x / sqrt(mean of x^2 + epsilon) * gamma, along the last axis. */
static qn_status normalize_by_root(const rewrite *r, qn_value_id x, qn_value_id gamma, float least)
{
    static const int64_t last[] = {-1};
    const bool has_input = r->in->graph->opset >= 18;
    qn_attribute axes = {.name = "axes", .type = QN_ATTRIBUTE_INTS, .ints = last, .n = 1};
    qn_tensor list = {.dtype = QN_DTYPE_S64, .rank = 1, .dims = {1}, .data = (void *)(uintptr_t)last};
    qn_value_id t[2] = {QN_NO_VALUE, QN_NO_VALUE}, mean = QN_NO_VALUE, epsilon;
    QN_TRY(add(r, "Mul", 2, (qn_value_id[]){x, x}, &t[0]));
    QN_TRY(has_input ? qn_qoperator_add_constant(r->in, "axes", &list, &t[1]) : QN_OK);
    QN_TRY(add_node(r, "ReduceMean", has_input ? 2 : 1, t, has_input ? 0 : 1, &axes, &mean));
    QN_TRY(number(r, "epsilon", least, &epsilon));
    QN_TRY(add(r, "Add", 2, (qn_value_id[]){mean, epsilon}, &mean));
    QN_TRY(add(r, "Sqrt", 1, &mean, &mean));
    QN_TRY(add(r, "Div", 2, (qn_value_id[]){x, mean}, &x));
    return become(r, "Mul", 2, (qn_value_id[]){x, gamma}, 0, NULL, 1);
}

static qn_status simple_normalization(const rewrite *r)
{
    const float epsilon = qn_node_float(&r->node, "epsilon", 1e-5f);
    qn_value_id x = input(r, 0);
    if (strcmp(r->node.op_type, "SkipSimplifiedLayerNormalization") == 0) {
        QN_TRY(add_skip(r, 3, 3, &x));
        return normalize_by_root(r, x, input(r, 2), qn_node_float(&r->node, "epsilon", 1e-12f));
    }
    return qn_node_int(&r->node, "axis", -1) != -1 ? QN_OK : normalize_by_root(r, x, input(r, 1), epsilon);
}

/* A layer's attributes without those of its activation. */
static int keep_attributes(const rewrite *r, qn_attribute *kept)
{
    int n = 0;
    for (int i = 0; i < r->node.n_attributes; i++) {
        if (strncmp(r->node.attributes[i].name, "activation", strlen("activation")) != 0) {
            kept[n++] = r->node.attributes[i];
        }
    }
    return n;
}

/* Number i of the activation: of a list (FusedConv), or alpha and beta (FusedGemm). */
static float constant_of(const rewrite *r, int i, float fallback)
{
    static const char *const names[] = {"activation_alpha", "activation_beta"};
    const qn_attribute *list = qn_node_attribute(&r->node, "activation_params");
    return list != NULL && list->type == QN_ATTRIBUTE_FLOATS && i < list->n
               ? list->floats[i]
               : qn_node_float(&r->node, names[i], fallback);
}

static qn_status fused_layer(const rewrite *r)
{
    static const char *const plain[] = {"Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Clip"};
    enum { MOST = 3, CLIP = 5 };
    const bool conv = strcmp(r->node.op_type, "FusedConv") == 0;
    const char *activation = qn_node_string(&r->node, "activation", "Relu");
    qn_attribute *kept = qn_arena_array(&r->in->graph->arena, (size_t)r->node.n_attributes + 1, sizeof *kept);
    const qn_attribute constants[] = {{.name = "alpha", .type = QN_ATTRIBUTE_FLOAT, .f = constant_of(r, 0, 0.01f)},
                                      {.name = "beta", .type = QN_ATTRIBUTE_FLOAT, .f = constant_of(r, 1, 0)}};
    qn_value_id inputs[MOST] = {input(r, 0), input(r, 1), input(r, 2)}, y = QN_NO_VALUE;
    size_t which = 0;
    while (which < sizeof plain / sizeof plain[0] && strcmp(plain[which], activation) != 0) {
        which++;
    }
    if (kept == NULL || which == sizeof plain / sizeof plain[0]) {
        return kept == NULL ? qn_fail_memory(r->in->err, NULL, 0) : QN_OK;
    }
    QN_TRY(add_node(r, conv ? "Conv" : "Gemm", inputs[2] != QN_NO_VALUE ? 3 : 2, inputs, keep_attributes(r, kept), kept,
                    &y));
    if (conv && input(r, 3) != QN_NO_VALUE) {
        QN_TRY(add(r, "Add", 2, (qn_value_id[]){y, input(r, 3)}, &y));
    }
    qn_value_id bounded[3] = {y, QN_NO_VALUE, QN_NO_VALUE};
    if (which == CLIP && r->in->graph->opset < 11) {
        const qn_attribute bounds[] = {{.name = "min", .type = QN_ATTRIBUTE_FLOAT, .f = constants[0].f},
                                       {.name = "max", .type = QN_ATTRIBUTE_FLOAT, .f = constants[1].f}};
        return become(r, "Clip", 1, bounded, 2, bounds, 1);
    }
    if (which == CLIP) {
        QN_TRY(number(r, "min", constants[0].f, &bounded[1]));
        QN_TRY(number(r, "max", constants[1].f, &bounded[2]));
    }
    return become(r, plain[which], which == CLIP ? 3 : 1, bounded, which == 3 ? 1 : which == 4 ? 2 : 0, constants, 1);
}

static const struct {
    const char *type;
    int least, most; /* inputs */
    qn_status (*apply)(const rewrite *r);
} rows[] = {
    {"BiasGelu", 2, 2, gelu},
    {"FastGelu", 1, 2, gelu},
    {"FusedConv", 2, 4, fused_layer},
    {"FusedGemm", 2, 3, fused_layer},
    {"FusedMatMul", 2, 2, fused_matmul},
    {"Gelu", 1, 1, gelu},
    {"QuickGelu", 1, 1, quick_gelu},
    {"SimplifiedLayerNormalization", 2, 2, simple_normalization},
    {"SkipLayerNormalization", 3, 5, skip_normalization},
    {"SkipSimplifiedLayerNormalization", 3, 4, simple_normalization},
};

/* SimplifiedLayerNormalization is written in ONNX' domain, too. */
static size_t find_row(const qn_node *node)
{
    size_t row = 0;
    const bool own = strcmp(node->domain, "com.microsoft") == 0;
    while (row < sizeof rows / sizeof rows[0] &&
           (strcmp(rows[row].type, node->op_type) != 0 || (!own && rows[row].apply != simple_normalization))) {
        row++;
    }
    const bool fits = row < sizeof rows / sizeof rows[0] && node->op == QN_OP_UNKNOWN && node->n_outputs > 0 &&
                      node->outputs[0] != QN_NO_VALUE && node->n_inputs >= rows[row].least &&
                      node->n_inputs <= rows[row].most && (own || node->domain[0] == '\0');
    for (int i = 0; fits && i < rows[row].least; i++) {
        if (node->inputs[i] == QN_NO_VALUE) {
            return sizeof rows / sizeof rows[0];
        }
    }
    return fits ? row : sizeof rows / sizeof rows[0];
}

qn_status qn_microsoft_import(qn_graph *graph, qn_error *err)
{
    const qn_qoperator_importer in = {.graph = graph, .err = err};
    const size_t n = graph->n_nodes;
    bool changed = false;
    for (size_t i = 0; i < n; i++) {
        const size_t row = find_row(&graph->nodes[i]);
        if (row < sizeof rows / sizeof rows[0]) {
            const rewrite r = {.in = &in, .index = i, .node = graph->nodes[i]};
            QN_TRY(rows[row].apply(&r));
            changed = true;
        }
    }
    return changed ? qn_graph_tidy(graph, err) : QN_OK;
}
