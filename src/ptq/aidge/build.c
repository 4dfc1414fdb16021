/* A prepared graph as a network of doubles. */
#include <string.h>

#include "graph/node_list.h"
#include "ptq/aidge/aidge.h"
#include "ptq/ptq.h"

/* What a graph value is made by: a node index, QN_AIDGE_INPUT, or neither. */
enum { NOT_MADE = -2 };

typedef struct building {
    qn_aidge_net *net;
    const qn_graph *graph;
    const qn_binding *binding;
    int *maker; /* per graph value */
    qn_node_list refused;
    qn_error *err;
} building;

static const char *name_of(const building *b, const qn_node *node)
{
    return node->name[0] != '\0' ? node->name : b->graph->values[node->outputs[0]].name;
}

/* Shape of a value without its batch; false when it has none. */
static bool item_shape(const qn_bound_value *v, int64_t batch, int *rank, int64_t *dims, int64_t *n)
{
    if (v->rank < 1 || v->dims[0] != batch) {
        return false;
    }
    *rank = v->rank - 1;
    *n = 1;
    for (int d = 0; d < *rank; d++) {
        dims[d] = v->dims[d + 1];
        *n *= dims[d];
    }
    return true;
}

static double *widen(qn_aidge_net *net, const qn_tensor *t)
{
    int64_t n = qn_tensor_count(t);
    double *x = qn_arena_array(&net->arena, (size_t)n, sizeof *x);
    for (int64_t i = 0; x != NULL && i < n; i++) {
        x[i] = (double)((const float *)t->data)[i];
    }
    return x;
}

static qn_status read_bias(building *b, const qn_node *node, int64_t n, qn_aidge_node *made, const char **reason)
{
    if (node->n_inputs < 3 || node->inputs[2] == QN_NO_VALUE) {
        return QN_OK;
    }
    const qn_tensor *bias = qn_ptq_float_constant(b->graph, node->inputs[2]);
    if (bias == NULL || qn_tensor_count(bias) != n) {
        *reason = "the bias is not a constant with one number per output channel";
        return QN_OK;
    }
    made->bias = widen(b->net, bias);
    return made->bias != NULL ? QN_OK : qn_fail_memory(b->err, made->name, (size_t)n * sizeof *made->bias);
}

static qn_status read_conv(building *b, const qn_node *node, qn_aidge_node *made, const char **reason)
{
    const qn_tensor *w = qn_ptq_float_constant(b->graph, node->inputs[1]);
    if (w == NULL || w->rank != 4) {
        *reason = w == NULL ? "the weights are not constant" : "only images have a Conv";
        return QN_OK;
    }
    QN_TRY(qn_window_of_node(&made->window, b->binding, node, b->err));
    made->op = QN_AIDGE_CONV;
    made->weight_rank = 4;
    memcpy(made->weight_dims, w->dims, sizeof made->weight_dims);
    made->n_weights = qn_tensor_count(w);
    made->weight = widen(b->net, w);
    if (made->weight == NULL) {
        return qn_fail_memory(b->err, made->name, qn_tensor_bytes(w) * 2);
    }
    return read_bias(b, node, w->dims[0], made, reason);
}

static qn_status read_gemm(building *b, const qn_node *node, qn_aidge_node *made, const char **reason)
{
    qn_gemm gemm;
    QN_TRY(qn_gemm_of_node(&gemm, b->binding, node, b->err));
    const qn_tensor *w = qn_ptq_float_constant(b->graph, node->inputs[1]);
    if (w == NULL || w->rank != 2 || gemm.trans_a || gemm.alpha != 1 || gemm.beta != 1) {
        *reason = "not a layer of constant weights";
        return QN_OK;
    }
    made->op = QN_AIDGE_FC;
    made->weight_rank = 2;
    made->weight_dims[0] = gemm.n;
    made->weight_dims[1] = gemm.k;
    made->n_weights = qn_tensor_count(w);
    made->weight = qn_arena_array(&b->net->arena, (size_t)made->n_weights, sizeof *made->weight);
    if (made->weight == NULL) {
        return qn_fail_memory(b->err, made->name, qn_tensor_bytes(w) * 2);
    }
    const float *from = w->data;
    for (int64_t o = 0; o < gemm.n; o++) {
        for (int64_t i = 0; i < gemm.k; i++) {
            made->weight[o * gemm.k + i] = (double)(gemm.trans_b ? from[o * gemm.k + i] : from[i * gemm.n + o]);
        }
    }
    return read_bias(b, node, gemm.n, made, reason);
}

static qn_status read_pool(building *b, const qn_node *node, qn_aidge_node *made, const char **reason)
{
    (void)reason;
    made->op =
        node->op == QN_OP_MAX_POOL || node->op == QN_OP_GLOBAL_MAX_POOL ? QN_AIDGE_MAX_POOL : QN_AIDGE_AVERAGE_POOL;
    return qn_window_of_node(&made->window, b->binding, node, b->err);
}

static qn_status read_simple(building *b, const qn_node *node, qn_aidge_node *made, const char **reason)
{
    (void)b;
    (void)reason;
    made->op = node->op == QN_OP_RELU         ? QN_AIDGE_RELU
               : node->op == QN_OP_LEAKY_RELU ? QN_AIDGE_LEAKY
               : node->op == QN_OP_ADD        ? QN_AIDGE_ADD
               : node->op == QN_OP_SUB        ? QN_AIDGE_SUB
                                              : QN_AIDGE_COPY;
    made->slope = made->op == QN_AIDGE_LEAKY ? (double)qn_node_float(node, "alpha", 0.01F) : 0;
    return QN_OK;
}

static qn_status read_concat(building *b, const qn_node *node, qn_aidge_node *made, const char **reason)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, b->binding, node, b->err));
    made->op = QN_AIDGE_CONCAT;
    made->axis = axis - 1;
    *reason = axis == 0 ? "it joins the items of a batch" : NULL;
    return QN_OK;
}

static qn_status read_transpose(building *b, const qn_node *node, qn_aidge_node *made, const char **reason)
{
    int perm[QN_MAX_RANK];
    QN_TRY(qn_transpose_of_node(perm, b->binding, node, b->err));
    made->op = QN_AIDGE_TRANSPOSE;
    for (int d = 0; d < made->rank; d++) {
        made->perm[d] = perm[d + 1] - 1;
    }
    *reason = perm[0] != 0 ? "it moves the batch" : NULL;
    return QN_OK;
}

static qn_status read_pad(building *b, const qn_node *node, qn_aidge_node *made, const char **reason)
{
    QN_TRY(qn_pad_of_node(&made->pad, b->binding, node, b->err));
    made->op = QN_AIDGE_PAD;
    *reason = made->pad.mode != QN_PAD_CONSTANT || made->pad.value != 0 ? "it pads with something else than 0"
              : made->pad.begin[0] != 0 || made->pad.end[0] != 0        ? "it pads the batch"
                                                                        : NULL;
    return QN_OK;
}

/* Operators of Aidge's check_architecture; `n_operands` of them are activations, 0 for all. */
static const struct {
    qn_op op;
    int n_operands;
    qn_status (*read)(building *b, const qn_node *node, qn_aidge_node *made, const char **reason);
} forms[] = {
    {QN_OP_CONV, 1, read_conv},         {QN_OP_GEMM, 1, read_gemm},
    {QN_OP_RELU, 1, read_simple},       {QN_OP_LEAKY_RELU, 1, read_simple},
    {QN_OP_MAX_POOL, 1, read_pool},     {QN_OP_GLOBAL_MAX_POOL, 1, read_pool},
    {QN_OP_AVERAGE_POOL, 1, read_pool}, {QN_OP_GLOBAL_AVERAGE_POOL, 1, read_pool},
    {QN_OP_RESHAPE, 1, read_simple},    {QN_OP_SQUEEZE, 1, read_simple},
    {QN_OP_UNSQUEEZE, 1, read_simple},  {QN_OP_TRANSPOSE, 1, read_transpose},
    {QN_OP_PAD, 1, read_pad},           {QN_OP_ADD, 0, read_simple},
    {QN_OP_SUB, 0, read_simple},        {QN_OP_CONCAT, 0, read_concat},
};
enum { N_FORMS = sizeof forms / sizeof forms[0] };

static qn_status read_parents(building *b, const qn_node *node, int n_operands, qn_aidge_node *made,
                              const char **reason)
{
    made->n_parents = n_operands > 0 ? n_operands : node->n_inputs;
    made->parents = qn_arena_array(&b->net->arena, (size_t)made->n_parents, sizeof *made->parents);
    if (made->parents == NULL) {
        return qn_fail_memory(b->err, made->name, sizeof *made->parents);
    }
    for (int i = 0; i < made->n_parents; i++) {
        made->parents[i] = b->maker[node->inputs[i]];
        if (made->parents[i] == NOT_MADE) {
            *reason = "an operand is a constant";
        }
    }
    return QN_OK;
}

static bool same_shapes(const building *b, const qn_node *node)
{
    const qn_bound_value *x = &b->binding->values[node->inputs[0]], *y = &b->binding->values[node->inputs[1]];
    return x->rank == y->rank && memcmp(x->dims, y->dims, (size_t)x->rank * sizeof x->dims[0]) == 0;
}

static qn_status add_node(building *b, const qn_node *node, qn_error *err)
{
    qn_aidge_net *net = b->net;
    qn_aidge_node *made = &net->nodes[net->n_nodes];
    const char *reason = NULL;
    int form = 0;
    while (form < N_FORMS && forms[form].op != node->op) {
        form++;
    }
    if (form == N_FORMS) {
        return qn_node_list_add(&b->refused, node, NULL, err);
    }
    *made = (qn_aidge_node){.value = node->outputs[0], .scale = 1, .gain = 1};
    made->name = qn_arena_string(&net->arena, name_of(b, node));
    if (made->name == NULL) {
        return qn_fail_memory(err, node->name, strlen(node->name));
    }
    if (!item_shape(&b->binding->values[node->outputs[0]], b->binding->batch, &made->rank, made->dims, &made->n)) {
        reason = "its output has no batch dimension in front";
    } else if ((node->op == QN_OP_ADD || node->op == QN_OP_SUB) && !same_shapes(b, node)) {
        reason = "its operands differ in shape";
    } else if (node->n_outputs > 1 && node->outputs[1] != QN_NO_VALUE) {
        reason = "only its first output is known";
    } else {
        QN_TRY(read_parents(b, node, forms[form].n_operands, made, &reason));
        QN_TRY(reason == NULL ? forms[form].read(b, node, made, &reason) : QN_OK);
    }
    if (reason != NULL) {
        QN_TRY(qn_node_list_add(&b->refused, node, reason, err));
    }
    b->maker[node->outputs[0]] = net->n_nodes++;
    return QN_OK;
}

static bool is_known(const building *b, const qn_node *node)
{
    bool known = true;
    for (int i = 0; i < node->n_outputs; i++) {
        known = known && (node->outputs[i] == QN_NO_VALUE || b->binding->values[node->outputs[i]].known != NULL);
    }
    return known;
}

static qn_status add_nodes(building *b, qn_error *err)
{
    const qn_graph *graph = b->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        if (is_known(b, node)) {
            continue;
        }
        if (node->op == QN_OP_FLATTEN) { /* removed: layers read elements in order anyway */
            b->maker[node->outputs[0]] = b->maker[node->inputs[0]];
        } else {
            QN_TRY(add_node(b, node, err));
        }
    }
    return QN_OK;
}

static qn_status check_io(building *b, qn_error *err)
{
    const qn_graph *graph = b->graph;
    if (graph->n_inputs != 1 || graph->n_outputs != 1) {
        return qn_fail(err, QN_EUNSUPPORTED, graph->file, "%zu inputs and %zu outputs; the recipe knows one of each",
                       graph->n_inputs, graph->n_outputs);
    }
    const qn_bound_value *x = &b->binding->values[graph->inputs[0]];
    if (!item_shape(x, b->binding->batch, &b->net->input_rank, b->net->input_dims, &b->net->n_input)) {
        return qn_fail(err, QN_EUNSUPPORTED, graph->file, "the input has no batch dimension in front");
    }
    return QN_OK;
}

static qn_status build(building *b, qn_error *err)
{
    const qn_graph *graph = b->graph;
    qn_aidge_net *net = b->net;
    QN_TRY(check_io(b, err));
    b->maker = qn_arena_array(&net->arena, graph->n_values, sizeof *b->maker);
    net->nodes = qn_arena_array(&net->arena, graph->n_nodes, sizeof *net->nodes);
    if (b->maker == NULL || net->nodes == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_nodes * sizeof *net->nodes);
    }
    for (size_t v = 0; v < graph->n_values; v++) {
        b->maker[v] = NOT_MADE;
    }
    b->maker[graph->inputs[0]] = QN_AIDGE_INPUT;
    QN_TRY(add_nodes(b, err));
    QN_TRY(qn_node_list_fail(&b->refused, graph, QN_EUNSUPPORTED,
                             "these nodes have no form in the recipe 'aidge'; choose another recipe", err));
    net->output = b->maker[graph->outputs[0]];
    if (net->output < 0) {
        return qn_fail(err, QN_EUNSUPPORTED, graph->file, "the output is not computed from the input");
    }
    return QN_OK;
}

qn_status qn_aidge_build(qn_aidge_net *net, const qn_graph *graph, qn_error *err)
{
    qn_binding binding = {0};
    building b = {.net = net, .graph = graph, .binding = &binding, .err = err};
    net->last_note = &net->notes;
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    if (status == QN_OK) {
        status = build(&b, err);
    }
    if (status != QN_OK) {
        qn_node_list_free(&b.refused);
    }
    qn_binding_free(&binding);
    return status;
}
