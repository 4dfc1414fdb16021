/* Functions of one value: nodes each element of whose result follows from one element of one value. */
#include "engine/integer/function.h"

#include "graph/compute/unary.h"

/*  fuses   is computed where its input is made, or narrows codes: no chain begins with it
 *  coded   has a form of its own with coded constants, which then goes first */
typedef struct function_row {
    qn_op op;
    bool fuses, coded;
} function_row;

/* Besides those of graph/compute/unary.h. */
static const function_row rows[] = {
    {QN_OP_ADD, false, true},    {QN_OP_CLIP, true, false},        {QN_OP_DIV, false, false},
    {QN_OP_ERF, false, false},   {QN_OP_EXP, false, false},        {QN_OP_MAX, false, false},
    {QN_OP_MEAN, false, false},  {QN_OP_LEAKY_RELU, false, false}, {QN_OP_MIN, false, false},
    {QN_OP_MUL, false, true},    {QN_OP_NEG, false, false},        {QN_OP_POW, false, false},
    {QN_OP_PRELU, false, false}, {QN_OP_RELU, true, false},        {QN_OP_SIGMOID, false, false},
    {QN_OP_SQRT, false, false},  {QN_OP_SUB, false, true},         {QN_OP_SUM, false, false},
    {QN_OP_TANH, false, false},
};

static bool find_row(qn_op op, function_row *row)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].op == op) {
            *row = rows[i];
            return true;
        }
    }
    *row = (function_row){op, false, false};
    return qn_unary_has(op);
}

bool qn_function_has(qn_op op)
{
    function_row row;
    return find_row(op, &row);
}

bool qn_function_fuses(qn_op op)
{
    function_row row;
    return find_row(op, &row) && row.fuses;
}

static bool same_dims(const qn_bound_value *a, const qn_bound_value *b)
{
    bool same = a->rank == b->rank && a->dtype == QN_DTYPE_F32 && b->dtype == QN_DTYPE_F32;
    for (int i = 0; same && i < a->rank; i++) {
        same = a->dims[i] == b->dims[i];
    }
    return same;
}

/* A look for a function. `planned`: no value has a quantizer yet, and whatever can be computed inside will be. */
typedef struct search {
    const qn_graph *graph;
    const qn_binding *binding;
    const int32_t *uses;
    qn_value_id source;
    bool planned;
} search;

static bool node_follows(const search *s, const qn_node *node, int depth);

/* Does each element of the value follow from one of the source? */
static bool follows(const search *s, qn_value_id value, int depth)
{
    const qn_value *v = &s->graph->values[value];
    if (value == s->source) {
        return true;
    }
    if (depth == 0 || v->producer < 0 || (!s->planned && v->quantizer != NULL)) {
        return false;
    }
    return node_follows(s, &s->graph->nodes[v->producer], depth - 1);
}

static bool node_follows(const search *s, const qn_node *node, int depth)
{
    function_row row;
    if (!find_row(node->op, &row) || node->n_outputs != 1) {
        return false;
    }
    for (int i = 0; i < node->n_inputs; i++) {
        const qn_value_id id = node->inputs[i];
        const qn_bound_value *x = id != QN_NO_VALUE ? &s->binding->values[id] : NULL;
        const bool number =
            x != NULL && x->known != NULL && x->n_elems == 1 && !(row.coded && s->graph->values[id].codes != NULL);
        if (x != NULL && !number && (x->known != NULL || !follows(s, id, depth))) {
            return false;
        }
    }
    const qn_bound_value *y = &s->binding->values[node->outputs[0]];
    return y->rank > 0 && y->n_elems > 0 && same_dims(&s->binding->values[s->source], y);
}

/* The first input that is not constant. */
static qn_value_id source_of(const qn_binding *binding, const qn_node *node)
{
    for (int i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] != QN_NO_VALUE && binding->values[node->inputs[i]].known == NULL) {
            return node->inputs[i];
        }
    }
    return QN_NO_VALUE;
}

bool qn_function_of(const qn_graph *graph, const qn_binding *binding, const qn_node *node, qn_value_id *source)
{
    *source = source_of(binding, node);
    const search s = {.graph = graph, .binding = binding, .source = *source};
    return *source != QN_NO_VALUE && node_follows(&s, node, 1);
}

static bool add_node(qn_function *f, const qn_node *node)
{
    for (int i = 0; i < f->n; i++) {
        if (f->nodes[i] == node) {
            return true;
        }
    }
    if (f->n == QN_FUNCTION_NODES) {
        return false;
    }
    f->nodes[f->n++] = node;
    return true;
}

static int count_reads(const qn_node *node, qn_value_id value)
{
    int n = 0;
    for (int i = 0; node->op != QN_OP_REMOVED && i < node->n_inputs; i++) {
        n += node->inputs[i] == value;
    }
    return n;
}

enum { NEAR = 256, DEEP = 8 };

/* Are all that read what the node makes functions of the source? Then they belong to the function. */
static bool add_readers(const search *s, qn_function *f, const qn_node *node)
{
    const qn_value_id value = node->outputs[0];
    const qn_node *end = s->graph->nodes + s->graph->n_nodes, *from = f->n > 0 ? f->nodes[0] : node;
    const int n = f->n;
    int32_t left = s->uses[value];
    for (const qn_node *reader = from + 1; left > 0 && reader < end && reader - from < NEAR; reader++) {
        const int reads = count_reads(reader, value);
        if (reads > 0 && (!node_follows(s, reader, DEEP) || !add_node(f, reader))) {
            break;
        }
        left -= reads;
    }
    f->n = left == 0 ? f->n : n;
    return left == 0 && s->uses[value] > 0;
}

/* What a node of the function reads belongs to it. */
static bool add_makers(const search *s, qn_function *f, const qn_node *node)
{
    for (int i = 0; i < node->n_inputs; i++) {
        const qn_value_id id = node->inputs[i];
        if (id != QN_NO_VALUE && id != s->source && s->binding->values[id].known == NULL &&
            !add_node(f, &s->graph->nodes[s->graph->values[id].producer])) {
            return false;
        }
    }
    return true;
}

static void sort_nodes(qn_function *f)
{
    for (int i = 1; i < f->n; i++) {
        for (int k = i; k > 0 && f->nodes[k] < f->nodes[k - 1]; k--) {
            const qn_node *node = f->nodes[k];
            f->nodes[k] = f->nodes[k - 1];
            f->nodes[k - 1] = node;
        }
    }
}

bool qn_function_find(qn_function *f, const qn_graph *graph, const qn_binding *binding, const int32_t *uses,
                      bool planned, const qn_node *node)
{
    const search s = {graph, binding, uses, source_of(binding, node), planned};
    bool only_clips = true;
    int n_results = 0;
    *f = (qn_function){.source = s.source, .result = QN_NO_VALUE};
    if (s.source == QN_NO_VALUE || !qn_function_has(node->op) || !node_follows(&s, node, 1)) {
        return false;
    }
    add_node(f, node);
    for (int i = 0; i < f->n; i++) {
        const qn_value_id value = f->nodes[i]->outputs[0];
        const bool coded = graph->values[value].quantizer != NULL;
        only_clips = only_clips && qn_function_fuses(f->nodes[i]->op);
        if (!add_makers(&s, f, f->nodes[i])) {
            return false;
        }
        if (planned ? !add_readers(&s, f, f->nodes[i]) : coded) {
            f->result = value;
            n_results++;
        } else if (!planned && !add_readers(&s, f, f->nodes[i])) {
            return false;
        }
    }
    sort_nodes(f);
    return n_results == 1 && !only_clips && f->nodes[0] == node;
}
