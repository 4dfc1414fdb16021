/* Nodes that hand on what they read: Identity, Dropout, and moves, casts and arithmetic that turn out to change
 * nothing. Of shapes that holds when it does for two batch sizes, the other one being no number that a network cuts or
 * stretches its batch to. */
#include <string.h>

#include "graph/infer.h"
#include "graph/passes.h"
#include "graph/pattern.h"

/* Per value: what to read instead (itself when nothing), and what is known of its readers. */
typedef struct redirect {
    qn_arena arena;
    qn_value_id *instead;
    unsigned char *is_output;
    unsigned char *used;
    qn_binding one, two; /* graph NULL where the network cannot be bound, or takes one item only */
    bool one_float;      /* no value is of a floating-point type other than float32 */
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

static bool is_other_float(qn_dtype dtype)
{
    return dtype != qn_computed_dtype(dtype);
}

static bool has_one_float(const qn_graph *graph)
{
    for (size_t i = 0; i < graph->n_values; i++) {
        const qn_value *value = &graph->values[i];
        if (is_other_float(value->dtype) || (value->constant != NULL && is_other_float(value->constant->dtype))) {
            return false;
        }
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        if (graph->nodes[n].op == QN_OP_CAST && is_other_float(qn_infer_type(&graph->nodes[n], "to", QN_DTYPE_NONE))) {
            return false;
        }
    }
    return true;
}

static bool same_shape(const qn_binding *binding, const qn_node *node)
{
    const qn_bound_value *x = &binding->values[node->inputs[0]], *y = &binding->values[node->outputs[0]];
    return binding->graph == NULL ||
           (x->rank == y->rank && memcmp(x->dims, y->dims, (size_t)x->rank * sizeof x->dims[0]) == 0);
}

/* The operand that is not the neutral one, if the other is. */
static int neutral_side(const qn_binding *binding, const qn_node *node)
{
    const double neutral = node->op == QN_OP_MUL || node->op == QN_OP_DIV ? 1 : 0;
    const bool either = node->op == QN_OP_MUL || node->op == QN_OP_ADD;
    double number;
    for (int side = 1; node->n_inputs == 2 && side >= (either ? 0 : 1); side--) {
        if (qn_known_number(binding, node->inputs[side], &number) && number == neutral) {
            return side;
        }
    }
    return -1;
}

static bool moves_nothing(const redirect *r, const qn_node *node)
{
    int perm[QN_MAX_RANK];
    qn_slice slice;
    qn_pad pad;
    qn_error err;
    qn_error_init(&err);
    const int rank = r->one.values[node->inputs[0]].rank;
    bool nothing = true;
    switch (node->op) {
    case QN_OP_TRANSPOSE:
        nothing = qn_transpose_of_node(perm, &r->one, node, &err) == QN_OK;
        for (int i = 0; nothing && i < rank; i++) {
            nothing = perm[i] == i;
        }
        return nothing;
    case QN_OP_SLICE:
        nothing = qn_slice_of_node(&slice, &r->one, node, &err) == QN_OK;
        for (int i = 0; nothing && i < rank; i++) {
            nothing = slice.start[i] == 0 && slice.step[i] == 1;
        }
        return nothing;
    case QN_OP_PAD:
        nothing = qn_pad_of_node(&pad, &r->one, node, &err) == QN_OK;
        for (int i = 0; nothing && i < rank; i++) {
            nothing = pad.begin[i] == 0 && pad.end[i] == 0;
        }
        return nothing;
    default:
        return true;
    }
}

/* Does the node hand on its input number *side, given that shapes are the same? */
static bool is_no_op(const redirect *r, const qn_node *node, int *side)
{
    const qn_bound_value *x = &r->one.values[node->inputs[0]], *y = &r->one.values[node->outputs[0]];
    *side = 0;
    switch (node->op) {
    case QN_OP_RESHAPE:
    case QN_OP_FLATTEN:
    case QN_OP_SQUEEZE:
    case QN_OP_UNSQUEEZE:
    case QN_OP_EXPAND:
        return true;
    case QN_OP_TRANSPOSE:
    case QN_OP_SLICE:
    case QN_OP_PAD:
        return moves_nothing(r, node);
    case QN_OP_CONCAT:
    case QN_OP_SUM:
    case QN_OP_MAX:
    case QN_OP_MIN:
    case QN_OP_MEAN:
        return node->n_inputs == 1;
    case QN_OP_CAST:
        return x->dtype == y->dtype && (x->dtype != QN_DTYPE_F32 || r->one_float);
    case QN_OP_ADD:
    case QN_OP_SUB:
    case QN_OP_MUL:
    case QN_OP_DIV:
        *side = neutral_side(&r->one, node);
        *side = *side >= 0 ? 1 - *side : -1;
        return *side >= 0;
    default:
        return false;
    }
}

/* Which input the node hands on as it is; -1 for none. */
static int handed_on(const qn_graph *graph, const redirect *r, const qn_node *node)
{
    if (node->n_inputs < 1 || node->n_outputs < 1 || node->inputs[0] == QN_NO_VALUE ||
        node->outputs[0] == QN_NO_VALUE || graph->values[node->outputs[0]].quantizer != NULL) {
        return -1;
    }
    if (node->op == QN_OP_IDENTITY) {
        return 0;
    }
    if (node->op == QN_OP_DROPOUT) {
        bool mask_used = node->n_outputs > 1 && node->outputs[1] != QN_NO_VALUE && r->used[node->outputs[1]];
        bool training =
            node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE && !is_false_constant(graph, node->inputs[2]);
        return mask_used || training ? -1 : 0;
    }
    int side;
    if (r->one.graph == NULL || !is_no_op(r, node, &side)) {
        return -1;
    }
    qn_value_id input = node->inputs[side];
    const qn_node seen = {.inputs = &input, .outputs = node->outputs};
    return same_shape(&r->one, &seen) && same_shape(&r->two, &seen) ? side : -1;
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

static void drop(qn_graph *graph, redirect *r, qn_node *node, int input)
{
    qn_value_id from = resolve(r, node->inputs[input]), to = node->outputs[0];
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

/* Networks that cannot be bound lose what needs no shapes. */
static qn_status bind_twice(redirect *r, const qn_graph *graph, qn_error *err)
{
    qn_error reason;
    qn_error_init(&reason);
    r->one_float = has_one_float(graph);
    enum { OTHER_BATCH = 13 };
    if (qn_graph_bind(&r->one, graph, 1, &reason) != QN_OK ||
        qn_graph_bind(&r->two, graph, OTHER_BATCH, &reason) != QN_OK) {
        qn_binding_free(&r->one); /* what failed half-way has no shapes */
        qn_binding_free(&r->two);
        return reason.status == QN_ENOMEM ? qn_fail(err, QN_ENOMEM, reason.where, "%s", reason.message) : QN_OK;
    }
    return QN_OK;
}

static qn_status drop_all(qn_graph *graph, bool by_shapes, qn_error *err)
{
    redirect r = {0};
    qn_status status = redirect_alloc(&r, graph, err);
    status = status == QN_OK && by_shapes ? bind_twice(&r, graph, err) : status;
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        const int input = handed_on(graph, &r, &graph->nodes[n]);
        if (input >= 0) {
            drop(graph, &r, &graph->nodes[n], input);
        }
    }
    qn_binding_free(&r.one);
    qn_binding_free(&r.two);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_inputs; i++) {
            node->inputs[i] = node->inputs[i] == QN_NO_VALUE ? QN_NO_VALUE : resolve(&r, node->inputs[i]);
        }
    }
    qn_arena_free(&r.arena);
    return status == QN_OK ? qn_graph_tidy(graph, err) : status;
}

qn_status qn_graph_drop_identities(qn_graph *graph, qn_error *err)
{
    return drop_all(graph, true, err);
}

qn_status qn_graph_drop_copies(qn_graph *graph, qn_error *err)
{
    return drop_all(graph, false, err);
}
