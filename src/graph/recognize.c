/* Decomposed operators become the operator that was meant: rows of patterns.inc, from the outputs backwards, so that a
 * pattern is found at its last node. */
#include "graph/recognize.h"

#include <string.h>

#include "graph/passes.h"

typedef struct row {
    const char *pass;
    qn_op op;
    const char *operands;
    qn_finish_fn *finish;
    const char *text;
} row;

static const row rows[] = {
#define QN_PATTERN(pass, op, operands, finish, text) {pass, QN_OP_##op, operands, finish, text},
#include "graph/patterns.inc"
#undef QN_PATTERN
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static void set_operands(qn_rewrite *r, const char *operands)
{
    char text[40], *rest = NULL;
    strncpy(text, operands, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (const char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        r->inputs[r->n_inputs++] = qn_match_value(r->match, word);
    }
}

static qn_status replace(qn_rewrite *r, size_t root)
{
    qn_graph *graph = r->graph;
    qn_node *node = &graph->nodes[root];
    while (r->n_inputs > 1 && r->inputs[r->n_inputs - 1] == QN_NO_VALUE) {
        r->n_inputs--;
    }
    qn_value_id *inputs = qn_arena_array(&graph->arena, (size_t)r->n_inputs, sizeof *inputs);
    qn_attribute *attributes = qn_arena_array(&graph->arena, (size_t)r->n_attributes + 1, sizeof *attributes);
    if (inputs == NULL || attributes == NULL) {
        return qn_fail_memory(r->err, graph->file, sizeof *attributes);
    }
    memcpy(inputs, r->inputs, (size_t)r->n_inputs * sizeof *inputs);
    memcpy(attributes, r->attributes, (size_t)r->n_attributes * sizeof *attributes);
    for (int i = 1; i < r->match->n_nodes; i++) {
        graph->nodes[r->match->nodes[i]].op = QN_OP_REMOVED;
    }
    node->op = r->op;
    node->op_type = qn_op_type(r->op);
    node->inputs = inputs;
    node->n_inputs = r->n_inputs;
    node->attributes = attributes;
    node->n_attributes = r->n_attributes;
    node->n_outputs = 1;
    return QN_OK;
}

/* [N, C, 1, ...] to [N, C], for all that read the value. */
static qn_status add_flatten(qn_graph *graph, qn_value_id id, qn_error *err)
{
    const char *stem = qn_arena_printf(&graph->arena, "%s_flat", graph->values[id].name);
    const char *name = stem != NULL ? qn_graph_unique_name(graph, stem) : NULL;
    qn_value_id flat;
    if (name == NULL) {
        return qn_fail_memory(err, graph->file, 0);
    }
    QN_TRY(qn_graph_add_value(graph, name, &flat, err));
    qn_graph_replace_uses(graph, id, flat);
    graph->values[id].rank = -1; /* it is declared without the dimensions that it has now */
    graph->values[flat].quantizer = graph->values[id].quantizer;
    qn_node node = {.name = name, .op_type = qn_op_type(QN_OP_FLATTEN), .domain = "", .op = QN_OP_FLATTEN};
    node.n_inputs = node.n_outputs = 1;
    node.inputs = &id;
    node.outputs = &flat;
    return qn_graph_add_node(graph, &node, err);
}

/* Shapes and readers, as long as nothing has changed. */
typedef struct known {
    bool is_ready;
    qn_binding binding;
    int32_t *uses;
} known;

static void forget(known *k)
{
    if (k->is_ready) {
        qn_binding_free(&k->binding);
        qn_free(k->uses);
    }
    *k = (known){0};
}

static qn_status learn(known *k, const qn_graph *graph, qn_error *err)
{
    if (k->is_ready) {
        return QN_OK;
    }
    QN_TRY(qn_graph_bind(&k->binding, graph, 1, err));
    k->is_ready = true;
    k->uses = qn_graph_count_uses(graph);
    return k->uses != NULL ? QN_OK : qn_fail_memory(err, graph->file, graph->n_values * sizeof *k->uses);
}

static bool may_occur(const qn_graph *graph, const qn_pattern *pattern)
{
    bool may = false;
    for (size_t n = 0; n < graph->n_nodes && !may; n++) {
        may = qn_pattern_may_end(pattern, graph->nodes[n].op);
    }
    return may;
}

/* One sweep over the graph with one pattern. */
static qn_status sweep(qn_graph *graph, const row *p, known *k, int64_t *count, qn_error *err)
{
    qn_pattern pattern;
    const int64_t before = *count;
    QN_TRY(qn_pattern_parse(&pattern, p->text, err));
    if (!may_occur(graph, &pattern)) {
        return QN_OK;
    }
    QN_TRY(learn(k, graph, err));
    for (size_t n = graph->n_nodes; n-- > 0;) {
        qn_match match = {.pattern = &pattern, .binding = &k->binding, .uses = k->uses};
        if (!qn_pattern_match(&match, n)) {
            continue;
        }
        qn_rewrite r = {.graph = graph, .match = &match, .op = p->op, .err = err};
        set_operands(&r, p->operands);
        const bool fits = p->finish(&r);
        QN_TRY(r.status);
        if (fits) {
            const qn_value_id made = graph->nodes[n].outputs[0];
            QN_TRY(replace(&r, n));
            QN_TRY(r.flatten ? add_flatten(graph, made, err) : QN_OK);
            ++*count;
        }
    }
    if (*count > before) {
        forget(k);
        return qn_graph_tidy(graph, err);
    }
    return QN_OK;
}

qn_status qn_graph_recognize(qn_graph *graph, const char *pass, int64_t *count, qn_error *err)
{
    int64_t ignored;
    known k = {0};
    qn_status status = QN_OK;
    count = count != NULL ? count : &ignored;
    *count = 0;
    for (size_t i = 0; i < N_ROWS && status == QN_OK; i++) {
        if (pass == NULL || strcmp(pass, rows[i].pass) == 0) {
            status = sweep(graph, &rows[i], &k, count, err);
        }
    }
    forget(&k);
    return status;
}

qn_status qn_graph_check_patterns(qn_error *err)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        qn_pattern pattern;
        QN_TRY(qn_pattern_parse(&pattern, rows[i].text, err));
        char text[40], *rest = NULL;
        strncpy(text, rows[i].operands, sizeof text - 1);
        text[sizeof text - 1] = '\0';
        for (const char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
            bool found = false;
            for (int k = 0; k < pattern.n_names; k++) {
                found |= strcmp(word, pattern.names[k].text) == 0;
            }
            if (!found) {
                return qn_fail(err, QN_EINVAL, rows[i].text, "has no operand '%s'", word);
            }
        }
    }
    return QN_OK;
}

qn_status qn_graph_clean_up(qn_graph *graph, qn_error *err)
{
    QN_TRY(qn_graph_settle_constants(graph, err));
    QN_TRY(qn_graph_drop_identities(graph, err));
    QN_TRY(qn_graph_recognize(graph, NULL, NULL, err));
    QN_TRY(qn_graph_move_transposes(graph, NULL, err));
    return qn_graph_fold_scales(graph, NULL, err);
}
