/* Scopes of an expansion, subgraphs that are written out; and If. */
#include "onnx/control_flow.h"

#include <stdio.h>
#include <string.h>

enum { WHERE_MAX = 256, MOST_EDGES = 1 << 16 };

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static qn_status fail_memory(qn_expansion *e)
{
    return qn_fail_memory(e->err, e->where, 0);
}

static bool is_control(const Onnx__NodeProto *node, const char *type)
{
    const char *domain = text_or_empty(node->domain);
    return strcmp(text_or_empty(node->op_type), type) == 0 && (domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0);
}

bool qn_control_flow_has(const Onnx__GraphProto *graph)
{
    for (size_t i = 0; i < graph->n_node; i++) {
        if (is_control(graph->node[i], "If") || is_control(graph->node[i], "Loop") ||
            is_control(graph->node[i], "Scan")) {
            return true;
        }
    }
    return false;
}

void qn_scope_end(qn_scope *scope)
{
    qn_graph_free(&scope->local);
    qn_free(scope->means);
    scope->means = NULL;
}

qn_status qn_scope_bind(qn_expansion *e, qn_scope *scope, const char *name, qn_value_id id)
{
    qn_value_id local;
    void *means = scope->means;
    if (qn_graph_find(&scope->local, name) != QN_NO_VALUE) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "'%s' is made twice in one graph", name);
    }
    QN_TRY(qn_graph_add_value(&scope->local, name, &local, e->err));
    const qn_status status = qn_grow(&means, &scope->capacity, (size_t)local, sizeof *scope->means, e->err);
    scope->means = means;
    QN_TRY(status);
    scope->means[local] = id;
    return QN_OK;
}

qn_status qn_scope_find(qn_expansion *e, const qn_scope *scope, const char *name, qn_value_id *id)
{
    *id = QN_NO_VALUE;
    for (; name[0] != '\0' && scope != NULL; scope = scope->outer) {
        const qn_value_id local = qn_graph_find(&scope->local, name);
        if (local != QN_NO_VALUE) {
            *id = scope->means[local];
            return QN_OK;
        }
    }
    return name[0] == '\0'
               ? QN_OK
               : qn_fail(e->err, QN_EFORMAT, e->where, "reads '%s', which nothing in the graph makes", name);
}

/* Constants of a subgraph are written out once, however often it is. *id: QN_NO_VALUE the first time. */
static qn_status find_shared(qn_expansion *e, const void *message, qn_value_id *id, const char **key)
{
    *key = qn_arena_printf(e->arena, "%p", message);
    if (*key == NULL) {
        return fail_memory(e);
    }
    const qn_value_id at = qn_graph_find(&e->shared, *key);
    *id = at != QN_NO_VALUE ? e->shared_means[at] : QN_NO_VALUE;
    return QN_OK;
}

static qn_status remember_shared(qn_expansion *e, const char *key, qn_value_id id)
{
    qn_value_id at;
    void *means = e->shared_means;
    QN_TRY(qn_graph_add_value(&e->shared, key, &at, e->err));
    const qn_status status = qn_grow(&means, &e->shared_capacity, (size_t)at, sizeof *e->shared_means, e->err);
    e->shared_means = means;
    QN_TRY(status);
    e->shared_means[at] = id;
    return QN_OK;
}

static qn_status resolve(qn_expansion *e, const qn_scope *scope, char *const *names, size_t n, qn_value_id **ids)
{
    *ids = qn_arena_array(e->arena, n + 1, sizeof **ids);
    if (*ids == NULL) {
        return fail_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        QN_TRY(qn_scope_find(e, scope, names[i], &(*ids)[i]));
    }
    return QN_OK;
}

qn_status qn_expansion_graph(qn_expansion *e, const Onnx__NodeProto *node, const char *name,
                             const Onnx__GraphProto **graph)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__AttributeProto *a = node->attribute[i];
        if (strcmp(text_or_empty(a->name), name) == 0 && a->g != NULL) {
            *graph = a->g;
            return qn_expansion_want_tensors(e, a->g->output, a->g->n_output);
        }
    }
    return qn_fail(e->err, QN_EFORMAT, e->where, "attribute %s, a graph, is missing", name);
}

qn_status qn_expansion_want_tensors(qn_expansion *e, Onnx__ValueInfoProto *const *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const Onnx__TypeProto *type = values[i]->type;
        if (type != NULL && type->value_case != ONNX__TYPE_PROTO__VALUE__NOT_SET &&
            type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
            return qn_fail(e->err, QN_EUNSUPPORTED, e->where,
                           "'%s' is a sequence, map, optional or sparse tensor; quern has dense tensors only",
                           text_or_empty(values[i]->name));
        }
    }
    return QN_OK;
}

/* A known condition leaves one branch; otherwise both are computed, and the condition chooses from their results. */
static qn_status expand_if(qn_expansion *e, const qn_scope *scope, const Onnx__NodeProto *node)
{
    const Onnx__GraphProto *branches[2];
    qn_value_id *results[2], cond, scalar = QN_NO_VALUE, *to;
    bool known;
    int64_t value = 0;
    char why[QN_AHEAD_WHY];
    QN_TRY(qn_expansion_graph(e, node, "then_branch", &branches[0]));
    QN_TRY(qn_expansion_graph(e, node, "else_branch", &branches[1]));
    if (node->n_input != 1 || branches[0]->n_output != node->n_output || branches[1]->n_output != node->n_output) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "%zu inputs, %zu outputs, branches of %zu and %zu outputs",
                       node->n_input, node->n_output, branches[0]->n_output, branches[1]->n_output);
    }
    QN_TRY(qn_scope_find(e, scope, node->input[0], &cond));
    if (cond == QN_NO_VALUE) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "input 0, the condition, is missing");
    }
    QN_TRY(resolve(e, scope, node->output, node->n_output, &to));
    QN_TRY(qn_expansion_scalar_ahead(e, cond, &known, &value, why));
    for (int i = 0; i < 2; i++) {
        results[i] = qn_arena_array(e->arena, node->n_output + 1, sizeof *results[i]);
        if (results[i] == NULL) {
            return fail_memory(e);
        }
        if (!known || (value != 0) == (i == 0)) {
            QN_TRY(qn_expansion_inline(e, scope, branches[i], NULL, -1, results[i]));
        }
    }
    QN_TRY(known ? QN_OK : qn_expansion_scalar(e, cond, &scalar));
    for (size_t i = 0; i < node->n_output; i++) {
        if (to[i] != QN_NO_VALUE) {
            QN_TRY(known ? qn_expansion_equal(e, results[value == 0][i], to[i])
                         : qn_expansion_where(e, scalar, results[0][i], results[1][i], to[i]));
        }
    }
    return QN_OK;
}

static qn_status copy_node(qn_expansion *e, const qn_scope *scope, const Onnx__NodeProto *node, int64_t turn)
{
    qn_value_id *inputs, *outputs;
    QN_TRY(resolve(e, scope, node->input, node->n_input, &inputs));
    QN_TRY(resolve(e, scope, node->output, node->n_output, &outputs));
    Onnx__NodeProto like = *node;
    const bool numbered = turn >= 0 && text_or_empty(node->name)[0] != '\0';
    if (numbered) {
        like.name = qn_arena_printf(e->arena, "%s.%lld", text_or_empty(node->name), (long long)turn);
    }
    return like.name != NULL || !numbered
               ? qn_expansion_append(e, &like, node->n_input, inputs, node->n_output, outputs, NULL)
               : fail_memory(e);
}

static qn_status expand_node(qn_expansion *e, const qn_scope *scope, const Onnx__NodeProto *node, size_t index,
                             int64_t turn)
{
    char where[WHERE_MAX];
    const char *before = e->where;
    if (text_or_empty(node->op_type)[0] == '\0' || node->n_input > MOST_EDGES || node->n_output > MOST_EDGES) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "node %zu has no operator type, or too many inputs or outputs",
                       index);
    }
    snprintf(where, sizeof where, "node %zu %s '%s'", index, node->op_type, text_or_empty(node->name));
    e->where = where;
    const qn_status status = is_control(node, "If")     ? expand_if(e, scope, node)
                             : is_control(node, "Loop") ? qn_expand_loop(e, scope, node)
                             : is_control(node, "Scan") ? qn_expand_scan(e, scope, node)
                                                        : copy_node(e, scope, node, turn);
    e->where = before;
    return status;
}

static bool is_shared_constant(const Onnx__NodeProto *node)
{
    return is_control(node, "Constant") && node->n_input == 0 && node->n_output == 1;
}

/* A value of a subgraph, under a name of its own. */
static qn_status bind_new(qn_expansion *e, qn_scope *scope, const char *name, int64_t turn, qn_value_id *id)
{
    const char *stem = turn < 0 ? name : qn_arena_printf(e->arena, "%s.%lld", name, (long long)turn);
    if (stem == NULL) {
        return fail_memory(e);
    }
    QN_TRY(qn_expansion_name(e, stem, id));
    return qn_scope_bind(e, scope, name, *id);
}

/* What a subgraph makes gets its names before any of it is read, in whatever order it comes. */
static qn_status bind_constants(qn_expansion *e, qn_scope *scope, const Onnx__GraphProto *graph)
{
    for (size_t i = 0; i < graph->n_initializer; i++) {
        qn_value_id id;
        const char *key, *name = text_or_empty(graph->initializer[i]->name);
        if (qn_graph_find(&scope->local, name) != QN_NO_VALUE) {
            continue; /* the default of an input that is given */
        }
        QN_TRY(find_shared(e, graph->initializer[i], &id, &key));
        if (id == QN_NO_VALUE) {
            QN_TRY(bind_new(e, scope, name, -1, &id));
            QN_TRY(qn_expansion_append_initializer(e, graph->initializer[i], id));
            QN_TRY(remember_shared(e, key, id));
        } else {
            QN_TRY(qn_scope_bind(e, scope, name, id));
        }
    }
    return QN_OK;
}

static qn_status bind_products(qn_expansion *e, qn_scope *scope, const Onnx__GraphProto *graph, int64_t turn)
{
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        qn_value_id id = QN_NO_VALUE;
        const char *key = NULL;
        if (is_shared_constant(node)) {
            QN_TRY(find_shared(e, node, &id, &key));
        }
        for (size_t k = 0; k < node->n_output; k++) {
            if (node->output[k][0] == '\0') {
                continue;
            }
            if (id != QN_NO_VALUE) {
                QN_TRY(qn_scope_bind(e, scope, node->output[k], id));
                continue;
            }
            qn_value_id made;
            QN_TRY(bind_new(e, scope, node->output[k], key != NULL ? -1 : turn, &made));
            if (key != NULL) {
                QN_TRY(qn_expansion_append(e, node, 0, NULL, 1, &made, NULL));
                QN_TRY(remember_shared(e, key, made));
            }
        }
    }
    return QN_OK;
}

static qn_status inline_in(qn_expansion *e, qn_scope *scope, const Onnx__GraphProto *graph, const qn_value_id *inputs,
                           int64_t turn, qn_value_id *outputs)
{
    for (size_t i = 0; inputs != NULL && i < graph->n_input; i++) {
        QN_TRY(qn_scope_bind(e, scope, text_or_empty(graph->input[i]->name), inputs[i]));
    }
    QN_TRY(bind_constants(e, scope, graph));
    QN_TRY(bind_products(e, scope, graph, turn));
    for (size_t i = 0; i < graph->n_node; i++) {
        if (!is_shared_constant(graph->node[i])) {
            QN_TRY(expand_node(e, scope, graph->node[i], i, turn));
        }
    }
    for (size_t i = 0; i < graph->n_output; i++) {
        const char *name = text_or_empty(graph->output[i]->name);
        QN_TRY(qn_scope_find(e, scope, name, &outputs[i]));
        if (outputs[i] == QN_NO_VALUE) {
            return qn_fail(e->err, QN_EFORMAT, e->where, "output %zu of its graph has no name", i);
        }
    }
    return QN_OK;
}

qn_status qn_expansion_inline(qn_expansion *e, const qn_scope *scope, const Onnx__GraphProto *graph,
                              const qn_value_id *inputs, int64_t turn, qn_value_id *outputs)
{
    qn_scope inner = {.outer = scope};
    if (++e->turns > QN_CONTROL_MOST) {
        return qn_fail(e->err, QN_ELIMIT, e->where, "is written out more than %d times", QN_CONTROL_MOST);
    }
    e->names_met += graph->n_input + graph->n_initializer + graph->n_node + graph->n_output;
    if (e->names_met > QN_CONTROL_NAMES) {
        return qn_fail(e->err, QN_ELIMIT, e->where,
                       "its graphs have more than %d names when they are written out as often as it runs them",
                       QN_CONTROL_NAMES);
    }
    if (inputs == NULL && graph->n_input > 0) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "a branch of an If has no inputs");
    }
    if (graph->n_sparse_initializer > 0) {
        return qn_fail(e->err, QN_EUNSUPPORTED, e->where,
                       "its graph has a sparse initializer; quern has dense tensors only");
    }
    const qn_status status = inline_in(e, &inner, graph, inputs, turn, outputs);
    qn_scope_end(&inner);
    return status;
}

/* The outermost names stay as they are. What is wrong with them is found when the nodes are read. */
static qn_status begin_top(qn_expansion *e, qn_scope *scope)
{
    const Onnx__GraphProto *top = e->top;
    qn_value_id id;
    for (size_t i = 0; i < top->n_initializer; i++) {
        const char *name = text_or_empty(top->initializer[i]->name);
        if (name[0] == '\0' || qn_graph_find(&e->names, name) != QN_NO_VALUE) {
            return qn_fail(e->err, QN_EFORMAT, NULL, "initializer %zu '%s' has no name, or that of another", i, name);
        }
        QN_TRY(qn_expansion_outer_name(e, name, &id));
        QN_TRY(qn_scope_bind(e, scope, name, id));
        QN_TRY(qn_expansion_append_initializer(e, top->initializer[i], id));
    }
    for (size_t i = 0; i < top->n_input; i++) {
        const char *name = text_or_empty(top->input[i]->name);
        if (name[0] == '\0') {
            return qn_fail(e->err, QN_EFORMAT, NULL, "graph input %zu has no name", i);
        }
        if (qn_graph_find(&e->names, name) == QN_NO_VALUE) {
            QN_TRY(qn_expansion_outer_name(e, name, &id));
            QN_TRY(qn_scope_bind(e, scope, name, id));
            e->origins[id].input = (int64_t)i;
        }
    }
    for (size_t i = 0; i < top->n_node; i++) {
        for (size_t k = 0; k < top->node[i]->n_output; k++) {
            const char *name = top->node[i]->output[k];
            if (name[0] != '\0' && qn_graph_find(&e->names, name) == QN_NO_VALUE) {
                QN_TRY(qn_expansion_outer_name(e, name, &id));
                QN_TRY(qn_scope_bind(e, scope, name, id));
            }
        }
    }
    return QN_OK;
}

/* Values of subgraphs keep their names where nothing else has them: all outer names are there first. */
static qn_status expand(qn_expansion *e, Onnx__GraphProto **expanded)
{
    qn_scope scope = {.outer = NULL};
    qn_status status = begin_top(e, &scope);
    for (size_t i = 0; status == QN_OK && i < e->top->n_node; i++) {
        status = expand_node(e, &scope, e->top->node[i], i, -1);
    }
    qn_scope_end(&scope);
    QN_TRY(status);
    Onnx__GraphProto *graph = qn_arena_alloc(e->arena, sizeof *graph);
    Onnx__NodeProto **nodes = qn_arena_array(e->arena, e->n_nodes, sizeof *nodes);
    Onnx__TensorProto **initializers = qn_arena_array(e->arena, e->n_initializers, sizeof *initializers);
    if (graph == NULL || nodes == NULL || initializers == NULL) {
        return fail_memory(e);
    }
    memcpy(nodes, e->nodes, e->n_nodes * sizeof *nodes);
    memcpy(initializers, e->initializers, e->n_initializers * sizeof *initializers);
    for (size_t i = 0; i < e->n_nodes; i++) { /* names outlive the list that holds them */
        for (size_t k = 0; k < nodes[i]->n_input + nodes[i]->n_output; k++) {
            char **name = k < nodes[i]->n_input ? &nodes[i]->input[k] : &nodes[i]->output[k - nodes[i]->n_input];
            *name = qn_arena_string(e->arena, *name);
            if (*name == NULL) {
                return fail_memory(e);
            }
        }
        nodes[i]->name = nodes[i]->name != NULL ? qn_arena_string(e->arena, nodes[i]->name) : NULL;
    }
    for (size_t i = 0; i < e->n_initializers; i++) {
        initializers[i]->name = qn_arena_string(e->arena, initializers[i]->name);
        if (initializers[i]->name == NULL) {
            return fail_memory(e);
        }
    }
    *graph = *e->top;
    graph->node = nodes;
    graph->n_node = e->n_nodes;
    graph->initializer = initializers;
    graph->n_initializer = e->n_initializers;
    *expanded = graph;
    return QN_OK;
}

qn_status qn_control_flow_expand(Onnx__GraphProto **expanded, const Onnx__GraphProto *graph, int64_t opset,
                                 const qn_tensor_home *home, qn_arena *arena, qn_error *err)
{
    qn_expansion e = {.arena = arena, .top = graph, .home = home, .opset = opset, .yes = QN_NO_VALUE, .err = err};
    const qn_status status = expand(&e, expanded);
    qn_graph_free(&e.names);
    qn_graph_free(&e.node_names);
    qn_graph_free(&e.shared);
    qn_free(e.numbers);
    qn_free(e.origins);
    qn_free(e.nodes);
    qn_free(e.initializers);
    qn_free(e.shared_means);
    return status;
}
