/* Changing a graph: uses, removal of dead nodes, topological order. */
#include <string.h>

#include "graph/graph.h"
#include "graph/node_list.h"

void qn_graph_replace_uses(qn_graph *graph, qn_value_id from, qn_value_id to)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_inputs && node->op != QN_OP_REMOVED; i++) {
            if (node->inputs[i] == from) {
                node->inputs[i] = to;
            }
        }
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == from) {
            graph->outputs[i] = to;
        }
    }
}

qn_status qn_graph_settle(qn_graph *graph, qn_value_id id, const qn_tensor *known, qn_error *err)
{
    const char *name = qn_graph_unique_name(graph, graph->values[id].name);
    qn_value_id other;
    if (name == NULL) {
        return qn_fail_memory(err, graph->file, 0);
    }
    QN_TRY(qn_graph_add_value(graph, name, &other, err));
    const int32_t producer = graph->values[id].producer;
    for (int i = 0; producer >= 0 && i < graph->nodes[producer].n_outputs; i++) {
        if (graph->nodes[producer].outputs[i] == id) {
            graph->nodes[producer].outputs[i] = other;
        }
    }
    graph->values[other].producer = producer;
    graph->values[id].producer = -1;
    return qn_graph_set_constant(graph, id, known, err);
}

int32_t *qn_graph_count_uses(const qn_graph *graph)
{
    int32_t *uses = qn_alloc(graph->n_values * sizeof *uses);
    for (size_t n = 0; uses != NULL && n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_inputs && node->op != QN_OP_REMOVED; i++) {
            if (node->inputs[i] != QN_NO_VALUE) {
                uses[node->inputs[i]]++;
            }
        }
    }
    for (size_t i = 0; uses != NULL && i < graph->n_outputs; i++) {
        uses[graph->outputs[i]]++;
    }
    return uses;
}

bool qn_graph_is_output(const qn_graph *graph, qn_value_id id)
{
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == id) {
            return true;
        }
    }
    return false;
}

/* Depth-first search from the graph outputs: what it reaches lives, and leaving a node is its place in the order. */
enum { UNSEEN = 0, OPEN = 1, DONE = 2 };

typedef struct search {
    qn_graph *graph;
    int32_t *stack;       /* open nodes, each a producer for the one below */
    int32_t *next_input;  /* per node: the input to look at next */
    unsigned char *state; /* per node */
    unsigned char *live;  /* per node */
    int32_t *order;
    size_t n_order;
    qn_arena arena;
} search;

static qn_status search_alloc(search *s, qn_graph *graph, qn_error *err)
{
    s->graph = graph;
    size_t n = graph->n_nodes;
    s->stack = qn_arena_array(&s->arena, n, sizeof *s->stack);
    s->next_input = qn_arena_array(&s->arena, n, sizeof *s->next_input);
    s->state = qn_arena_array(&s->arena, n, sizeof *s->state);
    s->live = qn_arena_array(&s->arena, n, sizeof *s->live);
    s->order = qn_arena_array(&s->arena, n, sizeof *s->order);
    if (s->stack == NULL || s->next_input == NULL || s->state == NULL || s->live == NULL || s->order == NULL) {
        return qn_fail_memory(err, graph->file, n * sizeof *s->stack);
    }
    return QN_OK;
}

static int32_t producer_of(const qn_graph *graph, qn_value_id id)
{
    return id == QN_NO_VALUE ? -1 : graph->values[id].producer;
}

static void mark_live(search *s)
{
    const qn_graph *graph = s->graph;
    size_t depth = 0;
    for (size_t i = 0; i < graph->n_outputs; i++) {
        int32_t node = producer_of(graph, graph->outputs[i]);
        if (node >= 0 && !s->live[node]) {
            s->live[node] = 1;
            s->stack[depth++] = node;
        }
    }
    while (depth > 0) {
        const qn_node *node = &graph->nodes[s->stack[--depth]];
        for (int i = 0; i < node->n_inputs; i++) {
            int32_t before = producer_of(graph, node->inputs[i]);
            if (before >= 0 && !s->live[before]) {
                s->live[before] = 1;
                s->stack[depth++] = before;
            }
        }
    }
}

/* The stack from the second visit of `again` up is a cycle. */
static qn_status fail_cycle(const search *s, size_t depth, int32_t again, qn_error *err)
{
    qn_node_list list = {0};
    size_t first = depth;
    while (first > 0 && s->stack[first - 1] != again) {
        first--;
    }
    for (size_t i = first > 0 ? first - 1 : 0; i < depth; i++) {
        qn_status status = qn_node_list_add(&list, &s->graph->nodes[s->stack[i]], NULL, err);
        if (status != QN_OK) {
            qn_node_list_free(&list);
            return status;
        }
    }
    return qn_node_list_fail(&list, s->graph, QN_EFORMAT, "the graph has a cycle through", err);
}

static qn_status visit(search *s, int32_t root, qn_error *err)
{
    size_t depth = 0;
    s->stack[depth++] = root;
    s->state[root] = OPEN;
    while (depth > 0) {
        int32_t index = s->stack[depth - 1];
        const qn_node *node = &s->graph->nodes[index];
        if (s->next_input[index] == node->n_inputs) {
            s->state[index] = DONE;
            s->order[s->n_order++] = index;
            depth--;
            continue;
        }
        int32_t before = producer_of(s->graph, node->inputs[s->next_input[index]++]);
        if (before < 0 || s->state[before] == DONE) {
            continue;
        }
        if (s->state[before] == OPEN) {
            return fail_cycle(s, depth, before, err);
        }
        s->state[before] = OPEN;
        s->stack[depth++] = before;
    }
    return QN_OK;
}

/* Producers from the nodes that are not removed; a value that two of them make is refused. */
static qn_status set_producers(qn_graph *graph, qn_error *err)
{
    for (size_t i = 0; i < graph->n_values; i++) {
        graph->values[i].producer = -1;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_outputs && node->op != QN_OP_REMOVED; i++) {
            if (node->outputs[i] == QN_NO_VALUE) {
                continue;
            }
            qn_value *value = &graph->values[node->outputs[i]];
            if (value->producer >= 0) {
                return qn_fail(err, QN_EFORMAT, graph->file, "value '%s' is the output of two nodes", value->name);
            }
            value->producer = (int32_t)n;
        }
    }
    return QN_OK;
}

/* Nodes already in order stay in it: the search starts from each in turn and visits only what it needs before. */
static qn_status sort_live(search *s, qn_error *err)
{
    mark_live(s);
    for (size_t n = 0; n < s->graph->n_nodes; n++) {
        if (s->live[n] && s->state[n] == UNSEEN) {
            QN_TRY(visit(s, (int32_t)n, err));
        }
    }
    qn_node *sorted = qn_arena_array(&s->arena, s->n_order, sizeof *sorted);
    if (sorted == NULL) {
        return qn_fail_memory(err, s->graph->file, s->n_order * sizeof *sorted);
    }
    for (size_t i = 0; i < s->n_order; i++) {
        sorted[i] = s->graph->nodes[s->order[i]];
    }
    if (s->n_order > 0) {
        memcpy(s->graph->nodes, sorted, s->n_order * sizeof *sorted);
    }
    s->graph->n_nodes = s->n_order;
    return set_producers(s->graph, err);
}

qn_status qn_graph_tidy(qn_graph *graph, qn_error *err)
{
    QN_TRY(set_producers(graph, err));
    search s = {0};
    qn_status status = search_alloc(&s, graph, err);
    if (status == QN_OK) {
        status = sort_live(&s, err);
    }
    qn_arena_free(&s.arena);
    return status;
}
