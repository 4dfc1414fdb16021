/* Scaling nodes behind every layer and join, and on branches of joins that come from a fork. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ptq/aidge/aidge.h"

qn_status qn_aidge_note_add(qn_aidge_net *net, qn_error *err, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    qn_aidge_remark *note = qn_arena_alloc(&net->arena, sizeof *note);
    char *copy = qn_arena_string(&net->arena, text);
    if (note == NULL || copy == NULL) {
        return qn_fail_memory(err, NULL, sizeof text);
    }
    note->text = copy;
    *net->last_note = note;
    net->last_note = &note->next;
    return QN_OK;
}

int *qn_aidge_count_children(qn_aidge_net *net)
{
    int *n_children = qn_arena_array(&net->arena, (size_t)net->n_nodes, sizeof *n_children);
    for (int k = 0; n_children != NULL && k < net->n_nodes; k++) {
        const qn_aidge_node *node = &net->nodes[k];
        for (int i = 0; i < node->n_parents; i++) {
            bool first = node->parents[i] != QN_AIDGE_INPUT;
            for (int j = 0; j < i; j++) {
                first = first && node->parents[j] != node->parents[i];
            }
            if (first) {
                n_children[node->parents[i]]++;
            }
        }
    }
    return n_children;
}

int qn_aidge_previous_scaling(const qn_aidge_net *net, int index)
{
    while (index != QN_AIDGE_INPUT && net->nodes[index].op != QN_AIDGE_SCALING) {
        index = net->nodes[index].parents[0];
    }
    return index;
}

/* How the branch of a join that ends in node `index` hangs on the rest of the network. */
typedef enum branch_kind {
    BRANCH_OWN,         /* everything down to a scaling node is read by this join alone */
    BRANCH_FORKED,      /* its last node has other readers, too: Aidge gives it a scaling node */
    BRANCH_FORKED_ABOVE /* one further up has: Aidge does not see that */
} branch_kind;

static branch_kind classify(const qn_aidge_net *net, const int *n_children, int index)
{
    if (n_children[index] > 1) {
        return BRANCH_FORKED;
    }
    while (index != QN_AIDGE_INPUT && n_children[index] <= 1 && !qn_aidge_is_affine(&net->nodes[index]) &&
           !qn_aidge_is_join(&net->nodes[index])) {
        index = net->nodes[index].parents[0];
    }
    return index != QN_AIDGE_INPUT && n_children[index] > 1 ? BRANCH_FORKED_ABOVE : BRANCH_OWN;
}

/* The network with scaling nodes, under way; `tail[k]` is what reads as the output of the old node k. */
typedef struct insertion {
    const qn_aidge_net *old;
    qn_aidge_net *net;
    const int *n_children;
    int *tail;
    const qn_aidge_options *options;
    qn_error *err;
} insertion;

static bool is_name_taken(const qn_aidge_net *net, const char *name)
{
    bool taken = false;
    for (int k = 0; k < net->n_nodes; k++) {
        taken = taken || strcmp(net->nodes[k].name, name) == 0;
    }
    return taken;
}

static const char *unique_name(qn_aidge_net *net, const char *stem, const char *suffix)
{
    const char *name = qn_arena_printf(&net->arena, "%s%s", stem, suffix);
    for (int i = 1; name != NULL && is_name_taken(net, name); i++) {
        name = qn_arena_printf(&net->arena, "%s%s_%d", stem, suffix, i);
    }
    return name;
}

static qn_status add_scaling(insertion *s, const char *stem, const char *suffix, int parent, int *index)
{
    qn_aidge_net *net = s->net;
    qn_aidge_node *scaling = &net->nodes[net->n_nodes];
    *scaling = (qn_aidge_node){.op = QN_AIDGE_SCALING, .value = QN_NO_VALUE, .n_parents = 1, .scale = 1, .gain = 1};
    const qn_aidge_node *source = &net->nodes[parent];
    scaling->rank = source->rank;
    scaling->n = source->n;
    memcpy(scaling->dims, source->dims, sizeof scaling->dims);
    scaling->name = unique_name(net, stem, suffix);
    scaling->parents = qn_arena_array(&net->arena, 1, sizeof *scaling->parents);
    if (scaling->name == NULL || scaling->parents == NULL) {
        return qn_fail_memory(s->err, stem, sizeof *scaling);
    }
    scaling->parents[0] = parent;
    *index = net->n_nodes++;
    return QN_OK;
}

static qn_status add_residual(insertion *s, const qn_aidge_node *join, int old_parent, int *index)
{
    const qn_aidge_node *parent = &s->old->nodes[old_parent];
    branch_kind kind = classify(s->old, s->n_children, old_parent);
    *index = s->tail[old_parent];
    if (kind == BRANCH_FORKED_ABOVE) {
        if (s->options->forks == QN_AIDGE_FORKS_RESIDUAL) {
            QN_TRY(qn_aidge_note_add(s->net, s->err,
                                     "%s: its branch '%s' comes from a fork further up, where aidge_quantization 0.3.1 "
                                     "gives wrong results; it got a scaling node of its own",
                                     join->name, parent->name));
        } else if (s->options->signs) {
            return qn_fail(s->err, QN_EUNSUPPORTED, join->name,
                           "its branch '%s' comes from a fork further up, for which the library's signs contradict "
                           "each other; use forks=residual or signs=0",
                           parent->name);
        } else {
            return qn_aidge_note_add(
                s->net, s->err,
                "%s: its branch '%s' comes from a fork further up: the numbers are the library's, and "
                "wrong; forks=residual gives right ones",
                join->name, parent->name);
        }
    }
    if (kind == BRANCH_OWN) {
        return QN_OK;
    }
    QN_TRY(add_scaling(s, parent->name, "_Res", s->tail[old_parent], index));
    s->net->nodes[*index].is_residual = true;
    return QN_OK;
}

static qn_status fail_unscalable(const qn_aidge_node *join, qn_error *err)
{
    return qn_fail(err, QN_EUNSUPPORTED, join->name,
                   "a branch comes from the network's input without a layer with weights in between, which the recipe "
                   "'aidge' cannot scale; choose another recipe");
}

/* The parents of `node` in the new network, residual nodes included. */
static qn_status connect(insertion *s, qn_aidge_node *node)
{
    const int *old_parents = node->parents;
    node->parents = qn_arena_array(&s->net->arena, (size_t)node->n_parents, sizeof *node->parents);
    if (node->parents == NULL) {
        return qn_fail_memory(s->err, node->name, sizeof *node->parents);
    }
    for (int i = 0; i < node->n_parents; i++) {
        int parent = old_parents[i], same = 0;
        while (old_parents[same] != parent) {
            same++;
        }
        if (same < i) {
            node->parents[i] = node->parents[same];
        } else if (!qn_aidge_is_join(node)) {
            node->parents[i] = parent == QN_AIDGE_INPUT ? parent : s->tail[parent];
        } else if (parent == QN_AIDGE_INPUT) {
            return fail_unscalable(node, s->err);
        } else {
            QN_TRY(add_residual(s, node, parent, &node->parents[i]));
        }
    }
    return QN_OK;
}

static qn_status insert(insertion *s)
{
    qn_aidge_net *net = s->net;
    for (int k = 0; k < s->old->n_nodes; k++) {
        qn_aidge_node node = s->old->nodes[k];
        QN_TRY(connect(s, &node));
        s->tail[k] = net->n_nodes;
        net->nodes[net->n_nodes++] = node;
        if (qn_aidge_is_affine(&node) || qn_aidge_is_join(&node)) {
            QN_TRY(add_scaling(s, node.name, "_Scaling", s->tail[k], &s->tail[k]));
        }
    }
    net->output = s->tail[net->output];
    return QN_OK;
}

/* A join's branch that no layer precedes has nothing to scale; and without any layer there is nothing to quantize. */
static qn_status check_branches(const qn_aidge_net *net, qn_error *err)
{
    for (int k = 0; k < net->n_nodes; k++) {
        const qn_aidge_node *node = &net->nodes[k];
        for (int i = 0; qn_aidge_is_join(node) && i < node->n_parents; i++) {
            if (qn_aidge_previous_scaling(net, node->parents[i]) == QN_AIDGE_INPUT) {
                return fail_unscalable(node, err);
            }
        }
    }
    if (qn_aidge_previous_scaling(net, net->output) == QN_AIDGE_INPUT) {
        return qn_fail(err, QN_EUNSUPPORTED, NULL, "the network has no layer with weights before its output");
    }
    return QN_OK;
}

qn_status qn_aidge_insert_scalings(qn_aidge_net *net, const qn_aidge_options *options, qn_error *err)
{
    int *n_children = qn_aidge_count_children(net);
    qn_aidge_net old = *net;
    size_t n_edges = 0;
    for (int k = 0; k < old.n_nodes; k++) {
        n_edges += (size_t)old.nodes[k].n_parents;
    }
    int *tail = qn_arena_array(&net->arena, (size_t)old.n_nodes, sizeof *tail);
    net->nodes = qn_arena_array(&net->arena, 2 * (size_t)old.n_nodes + n_edges, sizeof *net->nodes);
    net->n_nodes = 0;
    if (n_children == NULL || tail == NULL || net->nodes == NULL) {
        return qn_fail_memory(err, NULL, (size_t)old.n_nodes * sizeof *net->nodes);
    }
    insertion s = {&old, net, n_children, tail, options, err};
    QN_TRY(insert(&s));
    return check_branches(net, err);
}

qn_status qn_aidge_sorted_scalings(const qn_aidge_net *net, qn_arena *arena, const int **indices, int *n, qn_error *err)
{
    *n = 0;
    int *sorted = qn_arena_array(arena, (size_t)net->n_nodes, sizeof *sorted);
    if (sorted == NULL) {
        return qn_fail_memory(err, NULL, (size_t)net->n_nodes * sizeof *sorted);
    }
    for (int k = 0; k < net->n_nodes; k++) {
        if (net->nodes[k].op != QN_AIDGE_SCALING) {
            continue;
        }
        int at = (*n)++;
        for (; at > 0 && strcmp(net->nodes[sorted[at - 1]].name, net->nodes[k].name) > 0; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = k;
    }
    *indices = sorted;
    return QN_OK;
}
