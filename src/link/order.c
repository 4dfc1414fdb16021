/* The order of nodes that positions count. */
#include "link/cut.h"

#include <string.h>

/* A node need not run when all it makes is known, or unused. */
static bool runs(const qn_binding *b, const qn_node *node)
{
    for (int i = 0; i < node->n_outputs && node->op != QN_OP_REMOVED; i++) {
        const qn_value_id id = node->outputs[i];
        if (id != QN_NO_VALUE && b->used[id] && b->values[id].known == NULL) {
            return true;
        }
    }
    return false;
}

void qn_cuts_live(const qn_cuts *cuts, const int32_t *order, qn_cut_life *life)
{
    const qn_graph *g = &cuts->model->graph;
    const qn_binding *b = &cuts->binding;
    for (size_t v = 0; v < g->n_values; v++) {
        life[v] = (qn_cut_life){-1, -1};
    }
    for (size_t i = 0; i < g->n_inputs; i++) {
        life[g->inputs[i]].made = 0;
    }
    for (size_t p = 0; p < cuts->n_nodes; p++) {
        const qn_node *node = &g->nodes[order[p]];
        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] != QN_NO_VALUE && life[node->inputs[i]].made >= 0) {
                life[node->inputs[i]].last = (int32_t)p + 1;
            }
        }
        for (int i = 0; i < node->n_outputs; i++) {
            const qn_value_id id = node->outputs[i];
            if (id != QN_NO_VALUE && b->values[id].known == NULL) {
                life[id].made = (int32_t)p + 1;
            }
        }
    }
    for (size_t i = 0; i < g->n_outputs; i++) {
        if (life[g->outputs[i]].made >= 0) {
            life[g->outputs[i]].last = (int32_t)cuts->n_nodes + 1;
        }
    }
}

/* Elements that cross, summed over the positions between the first node and the last. */
static double crossing(const qn_cuts *cuts, const qn_cut_life *life)
{
    double sum = 0;
    for (size_t v = 0; v < cuts->model->graph.n_values; v++) {
        const int32_t first = life[v].made > 1 ? life[v].made : 1;
        const int32_t end = life[v].last < (int32_t)cuts->n_nodes ? life[v].last : (int32_t)cuts->n_nodes;
        if (life[v].made >= 0 && end > first) {
            sum += (double)(end - first) * (double)cuts->binding.values[v].n_elems;
        }
    }
    return sum;
}

typedef struct greedy {
    const qn_cuts *cuts;
    unsigned char *done; /* per entry of `file` */
    int32_t *left;       /* per value: readers to come, outputs of the graph counted */
    unsigned char *there;
} greedy;

/* How much more is alive behind a node than before it. */
static double growth(const greedy *s, const qn_node *node)
{
    const qn_binding *b = &s->cuts->binding;
    double sum = 0;
    for (int i = 0; i < node->n_outputs; i++) {
        const qn_value_id id = node->outputs[i];
        sum += id != QN_NO_VALUE && s->left[id] > 0 ? (double)b->values[id].n_elems : 0;
    }
    for (int i = 0; i < node->n_inputs; i++) {
        const qn_value_id id = node->inputs[i];
        int reads = 0;
        bool again = false;
        for (int k = 0; id != QN_NO_VALUE && k < node->n_inputs; k++) {
            reads += node->inputs[k] == id;
            again = again || (k < i && node->inputs[k] == id);
        }
        if (id != QN_NO_VALUE && !again && b->values[id].known == NULL && s->left[id] == reads) {
            sum -= (double)b->values[id].n_elems;
        }
    }
    return sum;
}

static bool is_ready(const greedy *s, const qn_node *node)
{
    for (int i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] != QN_NO_VALUE && !s->there[node->inputs[i]]) {
            return false;
        }
    }
    return true;
}

static void order_greedily(greedy *s, const int32_t *file, int32_t *order)
{
    const qn_graph *g = &s->cuts->model->graph;
    const qn_binding *b = &s->cuts->binding;
    const size_t n = s->cuts->n_nodes;
    for (size_t v = 0; v < g->n_values; v++) {
        s->there[v] = b->values[v].known != NULL;
    }
    for (size_t i = 0; i < g->n_inputs; i++) {
        s->there[g->inputs[i]] = 1;
    }
    for (size_t p = 0; p < n; p++) {
        const qn_node *node = &g->nodes[file[p]];
        for (int i = 0; i < node->n_inputs; i++) {
            s->left[node->inputs[i] != QN_NO_VALUE ? node->inputs[i] : 0] += node->inputs[i] != QN_NO_VALUE;
        }
    }
    for (size_t i = 0; i < g->n_outputs; i++) {
        s->left[g->outputs[i]]++;
    }
    size_t first = 0; /* all before it are done */
    for (size_t placed = 0; placed < n; placed++) {
        size_t best = n;
        double least = 0;
        for (size_t k = first; k < n; k++) {
            const qn_node *node = &g->nodes[file[k]];
            if (!s->done[k] && is_ready(s, node)) {
                const double more = growth(s, node);
                if (best == n || more < least) {
                    best = k;
                    least = more;
                }
            }
        }
        const qn_node *node = &g->nodes[file[best]]; /* the file's order is one: something is always ready */
        order[placed] = file[best];
        s->done[best] = 1;
        for (int i = 0; i < node->n_inputs; i++) {
            s->left[node->inputs[i] != QN_NO_VALUE ? node->inputs[i] : 0] -= node->inputs[i] != QN_NO_VALUE;
        }
        for (int i = 0; i < node->n_outputs; i++) {
            if (node->outputs[i] != QN_NO_VALUE) {
                s->there[node->outputs[i]] = 1;
            }
        }
        while (first < n && s->done[first]) {
            first++;
        }
    }
}

qn_status qn_cuts_order(qn_cuts *cuts, qn_error *err)
{
    const qn_graph *g = &cuts->model->graph;
    qn_arena scratch = {0};
    int32_t *file = qn_arena_array(&cuts->arena, g->n_nodes + 1, sizeof *file);
    int32_t *other = qn_arena_array(&cuts->arena, g->n_nodes + 1, sizeof *other);
    qn_cut_life *life = qn_arena_array(&scratch, g->n_values + 1, sizeof *life);
    greedy s = {.cuts = cuts,
                .done = qn_arena_array(&scratch, g->n_nodes + 1, 1),
                .left = qn_arena_array(&scratch, g->n_values + 1, sizeof(int32_t)),
                .there = qn_arena_array(&scratch, g->n_values + 1, 1)};
    if (file == NULL || other == NULL || life == NULL || s.done == NULL || s.left == NULL || s.there == NULL) {
        qn_arena_free(&scratch);
        return qn_fail_memory(err, g->file, g->n_values * sizeof *life);
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (runs(&cuts->binding, &g->nodes[i])) {
            file[cuts->n_nodes++] = (int32_t)i;
        }
    }
    order_greedily(&s, file, other);
    qn_cuts_live(cuts, file, life);
    const double as_filed = crossing(cuts, life);
    qn_cuts_live(cuts, other, life);
    cuts->order = crossing(cuts, life) < as_filed ? other : file;
    qn_arena_free(&scratch);
    return QN_OK;
}
