#include "graph/passes.h"

/* Per value: what to read instead (itself when nothing), and what is known of its readers. */
typedef struct redirect {
    qn_arena arena;
    qn_value_id *instead;
    unsigned char *is_output;
    unsigned char *used;
} redirect;

static qn_status redirect_alloc(redirect *r, const qn_graph *graph, qn_error *err)
{
    r->instead = qn_arena_array(&r->arena, graph->n_values, sizeof *r->instead);
    r->is_output = qn_arena_array(&r->arena, graph->n_values, sizeof *r->is_output);
    r->used = qn_arena_array(&r->arena, graph->n_values, sizeof *r->used);
    if (r->instead == NULL || r->is_output == NULL || r->used == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *r->instead);
    }
    for (size_t i = 0; i < graph->n_values; i++) {
        r->instead[i] = (qn_value_id)i;
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        r->is_output[graph->outputs[i]] = r->used[graph->outputs[i]] = 1;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        for (int i = 0; i < graph->nodes[n].n_inputs; i++) {
            if (graph->nodes[n].inputs[i] != QN_NO_VALUE) {
                r->used[graph->nodes[n].inputs[i]] = 1;
            }
        }
    }
    return QN_OK;
}

static qn_value_id resolve(redirect *r, qn_value_id id)
{
    while (r->instead[id] != id) {
        r->instead[id] = r->instead[r->instead[id]]; /* halve the path for the next one */
        id = r->instead[id];
    }
    return id;
}

static bool is_false_constant(const qn_graph *graph, qn_value_id id)
{
    const qn_tensor *t = graph->values[id].constant;
    return t != NULL && t->dtype == QN_DTYPE_BOOL && qn_tensor_count(t) == 1 && *(const unsigned char *)t->data == 0;
}

static bool is_identity(const qn_graph *graph, const redirect *r, const qn_node *node)
{
    if (node->n_inputs < 1 || node->n_outputs < 1 || node->inputs[0] == QN_NO_VALUE ||
        node->outputs[0] == QN_NO_VALUE || graph->values[node->outputs[0]].quantizer != NULL) {
        return false;
    }
    if (node->op == QN_OP_IDENTITY) {
        return true;
    }
    bool mask_used = node->n_outputs > 1 && node->outputs[1] != QN_NO_VALUE && r->used[node->outputs[1]];
    bool training = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE && !is_false_constant(graph, node->inputs[2]);
    return node->op == QN_OP_DROPOUT && !mask_used && !training;
}

/* The producer of `from` makes `to` instead, which is what a graph output is called. */
static void move_product(qn_graph *graph, qn_value_id from, qn_value_id to)
{
    int32_t producer = graph->values[from].producer;
    qn_node *node = &graph->nodes[producer];
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] == from) {
            node->outputs[i] = to;
        }
    }
    graph->values[to].producer = producer;
    graph->values[to].quantizer = graph->values[from].quantizer;
    graph->values[from].producer = -1;
}

static void drop(qn_graph *graph, redirect *r, qn_node *node)
{
    qn_value_id from = resolve(r, node->inputs[0]), to = node->outputs[0];
    if (!r->is_output[to]) {
        r->instead[to] = from;
    } else if (graph->values[from].producer >= 0 && !r->is_output[from]) {
        move_product(graph, from, to);
        r->instead[from] = to;
    } else {
        return;
    }
    node->op = QN_OP_REMOVED;
}

qn_status qn_graph_drop_identities(qn_graph *graph, qn_error *err)
{
    redirect r = {0};
    qn_status status = redirect_alloc(&r, graph, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        if (is_identity(graph, &r, &graph->nodes[n])) {
            drop(graph, &r, &graph->nodes[n]);
        }
    }
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_inputs; i++) {
            node->inputs[i] = node->inputs[i] == QN_NO_VALUE ? QN_NO_VALUE : resolve(&r, node->inputs[i]);
        }
    }
    qn_arena_free(&r.arena);
    return status == QN_OK ? qn_graph_tidy(graph, err) : status;
}
