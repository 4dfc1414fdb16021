/* Axes, by operator: which nodes work the same on transposed data, and what changes in them. */
#include <string.h>

#include "graph/transposes.h"

typedef enum axes_kind {
    AXES_BARRIER = 0, /* the order of axes is part of what it does */
    AXES_NONE,        /* element by element, one operand */
    AXES_BROADCAST,   /* element by element, all operands */
    AXES_ONE,         /* attribute axis, one operand */
    AXES_JOIN,        /* attribute axis, all operands */
    AXES_LIST,        /* axes as attribute or input 1: a Reduce, Squeeze */
    AXES_PADS,
    AXES_SLICE,
} axes_kind;

static const unsigned char kinds[QN_OP_COUNT] = {
    [QN_OP_ABS] = AXES_NONE,
    [QN_OP_ADD] = AXES_BROADCAST,
    [QN_OP_CAST] = AXES_NONE,
    [QN_OP_CEIL] = AXES_NONE,
    [QN_OP_CELU] = AXES_NONE,
    [QN_OP_CLIP] = AXES_NONE,
    [QN_OP_CONCAT] = AXES_JOIN,
    [QN_OP_COS] = AXES_NONE,
    [QN_OP_DIV] = AXES_BROADCAST,
    [QN_OP_DROPOUT] = AXES_NONE,
    [QN_OP_ELU] = AXES_NONE,
    [QN_OP_ERF] = AXES_NONE,
    [QN_OP_EXP] = AXES_NONE,
    [QN_OP_FLOOR] = AXES_NONE,
    [QN_OP_GELU] = AXES_NONE,
    [QN_OP_HARD_SIGMOID] = AXES_NONE,
    [QN_OP_HARD_SWISH] = AXES_NONE,
    [QN_OP_IDENTITY] = AXES_NONE,
    [QN_OP_LEAKY_RELU] = AXES_NONE,
    [QN_OP_LOG] = AXES_NONE,
    [QN_OP_LOG_SOFTMAX] = AXES_ONE,
    [QN_OP_MAX] = AXES_BROADCAST,
    [QN_OP_MEAN] = AXES_BROADCAST,
    [QN_OP_MIN] = AXES_BROADCAST,
    [QN_OP_MISH] = AXES_NONE,
    [QN_OP_MUL] = AXES_BROADCAST,
    [QN_OP_NEG] = AXES_NONE,
    [QN_OP_PAD] = AXES_PADS,
    [QN_OP_POW] = AXES_BROADCAST,
    [QN_OP_PRELU] = AXES_BROADCAST,
    [QN_OP_RECIPROCAL] = AXES_NONE,
    [QN_OP_REDUCE_L1] = AXES_LIST,
    [QN_OP_REDUCE_L2] = AXES_LIST,
    [QN_OP_REDUCE_LOG_SUM] = AXES_LIST,
    [QN_OP_REDUCE_LOG_SUM_EXP] = AXES_LIST,
    [QN_OP_REDUCE_MAX] = AXES_LIST,
    [QN_OP_REDUCE_MEAN] = AXES_LIST,
    [QN_OP_REDUCE_MIN] = AXES_LIST,
    [QN_OP_REDUCE_PROD] = AXES_LIST,
    [QN_OP_REDUCE_SUM] = AXES_LIST,
    [QN_OP_REDUCE_SUM_SQUARE] = AXES_LIST,
    [QN_OP_RELU] = AXES_NONE,
    [QN_OP_ROUND] = AXES_NONE,
    [QN_OP_SELU] = AXES_NONE,
    [QN_OP_SIGMOID] = AXES_NONE,
    [QN_OP_SIGN] = AXES_NONE,
    [QN_OP_SIN] = AXES_NONE,
    [QN_OP_SLICE] = AXES_SLICE,
    [QN_OP_SOFTMAX] = AXES_ONE,
    [QN_OP_SOFTPLUS] = AXES_NONE,
    [QN_OP_SOFTSIGN] = AXES_NONE,
    [QN_OP_SPLIT] = AXES_ONE,
    [QN_OP_SQRT] = AXES_NONE,
    [QN_OP_SQUEEZE] = AXES_LIST,
    [QN_OP_SUB] = AXES_BROADCAST,
    [QN_OP_SUM] = AXES_BROADCAST,
    [QN_OP_TANH] = AXES_NONE,
    [QN_OP_THRESHOLDED_RELU] = AXES_NONE,
};

int qn_transpose_operands(const qn_graph *graph, const qn_node *node)
{
    const axes_kind kind = kinds[node->op];
    const bool matrix = graph->opset < 13 && (node->op == QN_OP_SOFTMAX || node->op == QN_OP_LOG_SOFTMAX);
    if (kind == AXES_BARRIER || matrix) { /* an early Softmax runs over all axes from one on */
        return 0;
    }
    return kind == AXES_BROADCAST || kind == AXES_JOIN ? node->n_inputs : 1;
}

/* The axes that are left keep their order among each other. */
static void drop_axes(qn_pushed *p, const bool dropped[QN_MAX_RANK])
{
    int left[QN_MAX_RANK]; /* where an axis of what is read now goes */
    int n = 0;
    for (int i = 0; i < p->rank; i++) {
        left[i] = dropped[i] ? -1 : n++;
    }
    p->out_rank = 0;
    for (int i = 0; i < p->rank; i++) {
        if (left[p->perm[i]] >= 0) {
            p->out_perm[p->out_rank++] = left[p->perm[i]];
        }
    }
}

static bool plan_list(qn_pushed *p)
{
    bool dropped[QN_MAX_RANK] = {false};
    const qn_infer c = {p->binding, p->node, p->err};
    qn_int_list axes;
    if (qn_infer_list(&c, "axes", 1, &axes) != QN_OK || axes.n > p->rank) {
        return false;
    }
    const bool squeeze = p->node->op == QN_OP_SQUEEZE, keep = !squeeze && qn_node_int(p->node, "keepdims", 1) != 0;
    if (axes.n == 0 && (squeeze || qn_node_int(p->node, "noop_with_empty_axes", 0) != 0)) {
        return false;
    }
    for (int i = 0; i < axes.n; i++) {
        int axis;
        if (qn_infer_axis(&c, "axes", axes.v[i], p->rank, &axis) != QN_OK) {
            return false;
        }
        p->axes[p->n_axes++] = p->perm[axis];
        dropped[p->perm[axis]] = true;
    }
    if (!keep) {
        for (int i = 0; axes.n == 0 && i < p->rank; i++) {
            dropped[i] = true;
        }
        drop_axes(p, dropped);
    }
    return true;
}

static bool plan_slice(qn_pushed *p)
{
    const qn_infer c = {p->binding, p->node, p->err};
    qn_int_list starts, axes;
    const qn_bound_value *types = p->node->n_inputs > 2 ? qn_infer_input(&c, 1) : NULL;
    if (types == NULL || types->dtype != QN_DTYPE_S64 || qn_infer_list(&c, NULL, 1, &starts) != QN_OK ||
        qn_infer_list(&c, NULL, 3, &axes) != QN_OK || starts.n > p->rank || (axes.present && axes.n != starts.n)) {
        return false;
    }
    for (int i = 0; i < starts.n; i++) {
        int axis;
        if (qn_infer_axis(&c, "axes", axes.present ? axes.v[i] : i, p->rank, &axis) != QN_OK) {
            return false;
        }
        p->axes[p->n_axes++] = p->perm[axis];
    }
    return true;
}

bool qn_transpose_plan(qn_pushed *p)
{
    int axis;
    p->n_axes = 0;
    p->out_rank = p->rank;
    memcpy(p->out_perm, p->perm, sizeof p->out_perm);
    switch (kinds[p->node->op]) {
    case AXES_NONE:
        for (int i = 1; i < p->node->n_outputs; i++) {
            if (p->node->outputs[i] != QN_NO_VALUE && p->binding->used[p->node->outputs[i]]) {
                return false;
            }
        }
        return true;
    case AXES_BROADCAST:
        return true;
    case AXES_ONE:
    case AXES_JOIN:
        if (qn_axis_of_node(&axis, p->binding, p->node, p->err) != QN_OK) {
            return false;
        }
        p->axes[p->n_axes++] = p->perm[axis];
        return true;
    case AXES_LIST:
        return plan_list(p);
    case AXES_PADS:
        return p->node->n_inputs < 4 || p->node->inputs[3] == QN_NO_VALUE;
    case AXES_SLICE:
        return plan_slice(p);
    default:
        return false;
    }
}

qn_status qn_transpose_constant(qn_graph *graph, const char *stem, const qn_tensor *t, qn_value_id *id, qn_error *err)
{
    const char *name = qn_graph_unique_name(graph, stem);
    if (name == NULL) {
        return qn_fail_memory(err, graph->file, strlen(stem));
    }
    QN_TRY(qn_graph_add_value(graph, name, id, err));
    return qn_graph_set_constant(graph, *id, t, err);
}

static qn_status set_attribute(qn_graph *graph, qn_node *node, const qn_attribute *attribute, qn_error *err)
{
    qn_attribute *all = qn_arena_array(&graph->arena, (size_t)node->n_attributes + 1, sizeof *all);
    int n = 0;
    if (all == NULL) {
        return qn_fail_memory(err, graph->file, (size_t)node->n_attributes * sizeof *all);
    }
    for (int i = 0; i < node->n_attributes; i++) {
        if (strcmp(node->attributes[i].name, attribute->name) != 0) {
            all[n++] = node->attributes[i];
        }
    }
    all[n++] = *attribute;
    node->attributes = all;
    node->n_attributes = n;
    return QN_OK;
}

qn_status qn_transpose_set_ints(qn_graph *graph, qn_node *node, const char *name, const int64_t *list, int n,
                                qn_error *err)
{
    int64_t *copy = qn_arena_array(&graph->arena, (size_t)n + 1, sizeof *copy);
    if (copy == NULL) {
        return qn_fail_memory(err, graph->file, (size_t)n * sizeof *copy);
    }
    memcpy(copy, list, (size_t)n * sizeof *copy);
    const qn_attribute attribute = {.name = name, .type = QN_ATTRIBUTE_INTS, .ints = copy, .n = n};
    return set_attribute(graph, node, &attribute, err);
}

/* A list of integers where the node has it now: as an attribute, or as an input of its own. */
static qn_status set_list(qn_pushed *p, const char *name, int input, const int64_t *list, int n)
{
    qn_node *node = p->node;
    if (input < 0 || input >= node->n_inputs || node->inputs[input] == QN_NO_VALUE) {
        return qn_transpose_set_ints(p->graph, node, name, list, n, p->err);
    }
    const qn_tensor t = {.dtype = QN_DTYPE_S64, .rank = 1, .dims = {n}, .data = (void *)(uintptr_t)list};
    const char *stem = qn_arena_printf(&p->graph->arena, "%s_%s", p->graph->values[node->outputs[0]].name, name);
    return stem != NULL ? qn_transpose_constant(p->graph, stem, &t, &node->inputs[input], p->err)
                        : qn_fail_memory(p->err, p->graph->file, 0);
}

static qn_status apply_pads(qn_pushed *p)
{
    qn_pad pad;
    int64_t pads[2 * QN_MAX_RANK] = {0};
    QN_TRY(qn_pad_of_node(&pad, p->binding, p->node, p->err));
    for (int i = 0; i < p->rank; i++) {
        pads[p->perm[i]] = pad.begin[i];
        pads[p->rank + p->perm[i]] = pad.end[i];
    }
    return set_list(p, "pads", 1, pads, 2 * p->rank);
}

/* Axes may not have been given, as they were the first ones. */
static qn_status apply_slice(qn_pushed *p)
{
    qn_node *node = p->node;
    if (node->n_inputs < 4) {
        qn_value_id *inputs = qn_arena_array(&p->graph->arena, 4, sizeof *inputs);
        if (inputs == NULL) {
            return qn_fail_memory(p->err, p->graph->file, 4 * sizeof *inputs);
        }
        memcpy(inputs, node->inputs, (size_t)node->n_inputs * sizeof *inputs);
        inputs[3] = QN_NO_VALUE;
        node->inputs = inputs;
        node->n_inputs = 4;
    }
    if (node->inputs[3] == QN_NO_VALUE) {
        node->inputs[3] = node->inputs[1]; /* any: it is replaced */
    }
    return set_list(p, "axes", 3, p->axes, p->n_axes);
}

qn_status qn_transpose_apply(qn_pushed *p)
{
    const qn_attribute axis = {.name = "axis", .type = QN_ATTRIBUTE_INT, .i = p->axes[0]};
    switch (kinds[p->node->op]) {
    case AXES_ONE:
    case AXES_JOIN:
        return set_attribute(p->graph, p->node, &axis, p->err);
    case AXES_LIST:
        return p->n_axes > 0 ? set_list(p, "axes", 1, p->axes, p->n_axes) : QN_OK;
    case AXES_PADS:
        return apply_pads(p);
    case AXES_SLICE:
        return apply_slice(p);
    default:
        return QN_OK;
    }
}
