/* A factor for a whole value goes into the weights that made it: attention divides its scores, or the queries, by the
 * root of their length. The way up leads through moves, products of activations (on one side), sums with constants and
 * other factors. */
#include <math.h>
#include <string.h>

#include "graph/bind.h"
#include "graph/passes.h"
#include "graph/pattern.h"

enum { MAX_STEPS = 16 };

/*  constants  inputs that are to be multiplied: node and operand
 *  values     what is made on the way, which will be `factor` times what it was */
typedef struct scaling {
    qn_graph *graph;
    const qn_binding *binding;
    const int32_t *uses;
    double factor;
    int n_constants, n_values;
    struct {
        int32_t node;
        int operand;
    } constants[MAX_STEPS];
    qn_value_id values[MAX_STEPS];
    qn_error *err;
} scaling;

static bool is_plain(const scaling *s, const qn_node *node, int i)
{
    const qn_value *value =
        i < node->n_inputs && node->inputs[i] != QN_NO_VALUE ? &s->graph->values[node->inputs[i]] : NULL;
    return value != NULL && value->constant != NULL && value->constant->dtype == QN_DTYPE_F32 &&
           value->quantizer == NULL && (size_t)node->inputs[i] < s->binding->n_values;
}

static bool take(scaling *s, int32_t node, int operand)
{
    if (s->n_constants == MAX_STEPS) {
        return false;
    }
    s->constants[s->n_constants].node = node;
    s->constants[s->n_constants++].operand = operand;
    return true;
}

static bool climb(scaling *s, qn_value_id id);

static bool enter_layer(scaling *s, int32_t index)
{
    const qn_node *node = &s->graph->nodes[index];
    const bool bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    return (!bias || (node->op != QN_OP_MATMUL && is_plain(s, node, 2) && take(s, index, 2))) && take(s, index, 1);
}

/* One side of a product carries the factor: the first that gets it to a constant. */
static bool enter_product(scaling *s, const qn_node *node)
{
    const int n_constants = s->n_constants, n_values = s->n_values;
    for (int side = 0; side < 2; side++) {
        if (climb(s, node->inputs[side])) {
            return true;
        }
        s->n_constants = n_constants;
        s->n_values = n_values;
    }
    return false;
}

/* Does what makes the value lead to constants? */
static bool climb_node(scaling *s, int32_t index)
{
    const qn_node *node = &s->graph->nodes[index];
    int constant;
    switch (node->op) {
    case QN_OP_FLATTEN:
    case QN_OP_RESHAPE:
    case QN_OP_SQUEEZE:
    case QN_OP_TRANSPOSE:
    case QN_OP_UNSQUEEZE:
        return climb(s, node->inputs[0]);
    case QN_OP_CONV:
    case QN_OP_CONV_TRANSPOSE:
    case QN_OP_GEMM:
        return is_plain(s, node, 1) && enter_layer(s, index);
    case QN_OP_MATMUL:
        return is_plain(s, node, 1) ? enter_layer(s, index) : enter_product(s, node);
    case QN_OP_ADD:
        constant = is_plain(s, node, 0) ? 0 : 1;
        return is_plain(s, node, constant) && take(s, index, constant) && climb(s, node->inputs[1 - constant]);
    default:
        return false;
    }
}

/* The value is read on this way only; it and what it is made of take the factor. */
static bool climb(scaling *s, qn_value_id id)
{
    const qn_value *value = id != QN_NO_VALUE ? &s->graph->values[id] : NULL;
    if (value == NULL || (size_t)id >= s->binding->n_values || value->constant != NULL || value->quantizer != NULL ||
        value->producer < 0 || s->uses[id] != 1 || s->n_values == MAX_STEPS ||
        s->graph->nodes[value->producer].n_outputs != 1 || s->graph->nodes[value->producer].op == QN_OP_REMOVED) {
        return false;
    }
    s->values[s->n_values++] = id;
    return climb_node(s, value->producer);
}

/* The factor of a Mul or Div by a constant of one element, and the operand that is multiplied. */
static bool find_factor(scaling *s, const qn_node *node, int *operand)
{
    const qn_bound_value *y =
        node->op == QN_OP_MUL || node->op == QN_OP_DIV ? &s->binding->values[node->outputs[0]] : NULL;
    for (int i = 1; y != NULL && i >= (node->op == QN_OP_MUL ? 0 : 1); i--) {
        const qn_value_id other = node->inputs[1 - i];
        double number;
        if (y->dtype == QN_DTYPE_F32 && (size_t)other < s->binding->n_values && is_plain(s, node, i) &&
            qn_known_number(s->binding, node->inputs[i], &number) && number != 0 && isfinite(number) &&
            s->binding->values[other].rank == y->rank) {
            s->factor = node->op == QN_OP_MUL ? number : 1 / number;
            *operand = 1 - i;
            return true;
        }
    }
    return false;
}

/* Constants are multiplied in double and rounded once; all stay finite, and none that was not 0 becomes 0. */
static bool stays_in_range(const scaling *s)
{
    for (int i = 0; i < s->n_constants; i++) {
        const qn_node *node = &s->graph->nodes[s->constants[i].node];
        const qn_tensor *t = s->graph->values[node->inputs[s->constants[i].operand]].constant;
        const int64_t n = qn_tensor_count(t);
        for (int64_t k = 0; k < n; k++) {
            const float x = ((const float *)t->data)[k], scaled = (float)((double)x * s->factor);
            if ((isfinite(x) && !isfinite(scaled)) || (x != 0 && fabsf(scaled) < 0x1p-126F)) {
                return false;
            }
        }
    }
    return true;
}

static qn_status add_value(qn_graph *graph, const char *owner, qn_value_id *id, qn_error *err)
{
    const char *stem = qn_arena_printf(&graph->arena, "%s_scaled", owner);
    const char *name = stem != NULL ? qn_graph_unique_name(graph, stem) : NULL;
    return name != NULL ? qn_graph_add_value(graph, name, id, err) : qn_fail_memory(err, graph->file, 0);
}

static qn_status scale_constant(const scaling *s, qn_node *node, int operand)
{
    const qn_value *value = &s->graph->values[node->inputs[operand]];
    qn_tensor t = *value->constant;
    const int64_t n = qn_tensor_count(&t);
    float *data = qn_arena_array(&s->graph->arena, (size_t)n, sizeof *data);
    if (data == NULL) {
        return qn_fail_memory(s->err, s->graph->file, (size_t)n * sizeof *data);
    }
    for (int64_t k = 0; k < n; k++) {
        data[k] = (float)((double)((const float *)t.data)[k] * s->factor);
    }
    t.data = data;
    qn_value_id id;
    QN_TRY(add_value(s->graph, value->name, &id, s->err));
    QN_TRY(qn_graph_set_constant(s->graph, id, &t, s->err));
    node->inputs[operand] = id;
    return QN_OK;
}

/* What makes the factor's operand makes its result instead; values before it are others than they were, with other
 * names. */
static qn_status apply(const scaling *s, qn_node *node)
{
    qn_graph *graph = s->graph;
    for (int i = 0; i < s->n_constants; i++) {
        QN_TRY(scale_constant(s, &graph->nodes[s->constants[i].node], s->constants[i].operand));
    }
    for (int i = 0; i < s->n_values; i++) {
        const qn_value_id id = s->values[i];
        const int32_t producer = graph->values[id].producer;
        qn_value_id now = node->outputs[0];
        if (i > 0) {
            QN_TRY(add_value(graph, graph->values[id].name, &now, s->err));
            graph->values[now].dtype = graph->values[id].dtype;
            graph->values[now].rank = graph->values[id].rank;
            memcpy(graph->values[now].dims, graph->values[id].dims, sizeof graph->values[id].dims);
            memcpy(graph->values[now].dim_names, graph->values[id].dim_names, sizeof graph->values[id].dim_names);
            qn_graph_replace_uses(graph, id, now);
        }
        graph->nodes[producer].outputs[0] = now;
        graph->values[now].producer = producer;
        graph->values[id].producer = -1;
    }
    node->op = QN_OP_REMOVED;
    return QN_OK;
}

static qn_status fold_all(qn_graph *graph, const qn_binding *binding, const int32_t *uses, int64_t *count,
                          qn_error *err)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        scaling s = {.graph = graph, .binding = binding, .uses = uses, .err = err};
        int operand;
        if (node->op != QN_OP_REMOVED && node->n_inputs == 2 && node->n_outputs == 1 &&
            (size_t)node->outputs[0] < binding->n_values && find_factor(&s, node, &operand) &&
            climb(&s, node->inputs[operand]) && stays_in_range(&s)) {
            QN_TRY(apply(&s, node));
            ++*count;
        }
    }
    return QN_OK;
}

qn_status qn_graph_fold_scales(qn_graph *graph, int64_t *count, qn_error *err)
{
    qn_binding binding = {0};
    int64_t ignored;
    count = count != NULL ? count : &ignored;
    *count = 0;
    int64_t before;
    do { /* what was scaled is new to the binding: a second factor on the way takes another turn */
        before = *count;
        QN_TRY(qn_graph_bind(&binding, graph, 1, err));
        int32_t *uses = qn_graph_count_uses(graph);
        qn_status status = uses != NULL ? fold_all(graph, &binding, uses, count, err)
                                        : qn_fail_memory(err, graph->file, graph->n_values * sizeof *uses);
        qn_free(uses);
        qn_binding_free(&binding);
        QN_TRY(status);
        QN_TRY(qn_graph_tidy(graph, err));
    } while (*count > before);
    return QN_OK;
}
