/* The variables of channels.h, made in one walk over the graph. */
#include "ptq/channels_walk.h"

#include <math.h>
#include <string.h>

/* Forests with path halving. */
static int32_t find(int32_t *leader, int32_t v)
{
    while (leader[v] != v) {
        leader[v] = leader[leader[v]];
        v = leader[v];
    }
    return v;
}

static void unite(int32_t *leader, int32_t a, int32_t b)
{
    a = find(leader, a);
    b = find(leader, b);
    leader[a > b ? a : b] = a > b ? b : a;
}

int32_t qn_ptq_channels_leader(const qn_ptq_channels *channels, int32_t variable)
{
    return find(channels->leader, variable);
}

int32_t qn_ptq_channels_family(const qn_ptq_channels *channels, int32_t variable)
{
    return find(channels->family, variable);
}

void qn_channels_tie(const qn_channels_walk *w, int32_t a, int32_t b)
{
    unite(w->c->leader, a, b);
    unite(w->c->family, a, b);
}

/* Pinning must not make families of strangers. */
void qn_channels_pin(const qn_channels_walk *w, int32_t v)
{
    unite(w->c->leader, v, 0);
}

int64_t qn_channels_count(const qn_channels_walk *w, qn_value_id id)
{
    return w->binding->values[id].dims[w->c->axis[id]];
}

bool qn_channels_has(const qn_channels_walk *w, qn_value_id id)
{
    return id != QN_NO_VALUE && w->c->first[id] >= 0;
}

static void pin(const qn_channels_walk *w, qn_value_id id)
{
    for (int64_t i = 0; qn_channels_has(w, id) && i < qn_channels_count(w, id); i++) {
        qn_channels_pin(w, w->c->first[id] + (int32_t)i);
    }
}

void qn_channels_pin_inputs(const qn_channels_walk *w)
{
    for (int i = 0; i < w->node->n_inputs; i++) {
        pin(w, w->node->inputs[i]);
    }
}

/* Grow both forests in step. */
static qn_status grow(qn_ptq_channels *c, qn_arena *arena, size_t n, qn_error *err)
{
    size_t capacity = c->capacity * 2 > n ? c->capacity * 2 : n + 256;
    int32_t *leader = qn_arena_array(arena, capacity, sizeof *leader);
    int32_t *family = qn_arena_array(arena, capacity, sizeof *family);
    if (leader == NULL || family == NULL || capacity > INT32_MAX) {
        return qn_fail_memory(err, NULL, capacity * sizeof *leader);
    }
    memcpy(leader, c->leader, (size_t)c->n_variables * sizeof *leader);
    memcpy(family, c->family, (size_t)c->n_variables * sizeof *family);
    c->leader = leader;
    c->family = family;
    c->capacity = capacity;
    return QN_OK;
}

/* New variables for the channels of `id` along `axis`. */
qn_status qn_channels_give(const qn_channels_walk *w, qn_value_id id, int axis)
{
    qn_ptq_channels *c = w->c;
    int64_t n = w->binding->values[id].dims[axis];
    if (w->graph->values[id].quantizer != NULL || n <= 0) {
        return QN_OK;
    }
    if (n > INT32_MAX / 2 - c->n_variables) {
        return qn_fail(w->err, QN_ELIMIT, w->graph->file, "too many channels to scale");
    }
    if ((size_t)(c->n_variables + n) > c->capacity) {
        QN_TRY(grow(c, w->arena, (size_t)(c->n_variables + n), w->err));
    }
    c->first[id] = c->n_variables;
    c->axis[id] = axis;
    for (int64_t i = 0; i < n; i++) {
        c->leader[c->n_variables] = c->n_variables;
        c->family[c->n_variables] = c->first[id];
        c->n_variables++;
    }
    return QN_OK;
}

/* The output's channels are those of `from`. */
void qn_channels_share(const qn_channels_walk *w, qn_value_id from, int axis)
{
    qn_value_id out = w->node->outputs[0];
    if (!qn_channels_has(w, from) || w->node->n_outputs != 1 || w->graph->values[out].quantizer != NULL ||
        w->binding->values[out].dims[axis] != qn_channels_count(w, from)) {
        pin(w, from);
        return;
    }
    w->c->first[out] = w->c->first[from];
    w->c->axis[out] = axis;
}

static bool bias_fits(const qn_channels_walk *w, int64_t n)
{
    if (w->node->n_inputs < 3 || w->node->inputs[2] == QN_NO_VALUE) {
        return true;
    }
    const qn_tensor *bias = qn_ptq_float_constant(w->graph, w->node->inputs[2]);
    return bias != NULL && w->graph->values[w->node->inputs[2]].codes == NULL && bias->rank == 1 && bias->dims[0] == n;
}

/* Shape of the weights; false when the node is not a layer by constant weights. */
static bool describe_layer(const qn_channels_walk *w, qn_ptq_layer *layer)
{
    const qn_node *node = w->node;
    const qn_tensor *weights = qn_ptq_float_constant(w->graph, node->inputs[1]);
    if (weights == NULL || w->graph->values[node->inputs[1]].quantizer != NULL || weights->rank < 2 ||
        (node->op != QN_OP_CONV && weights->rank != 2) || qn_tensor_count(weights) == 0 ||
        qn_node_int(node, "transA", 0) != 0) {
        return false;
    }
    int axis = qn_ptq_channel_axis(node);
    int64_t n_out = weights->dims[axis], n_in = weights->dims[1 - axis];
    int64_t groups = node->op == QN_OP_CONV ? qn_node_int(node, "group", 1) : 1;
    if (groups < 1 || n_out % groups != 0 || !bias_fits(w, n_out)) {
        return false;
    }
    *layer = (qn_ptq_layer){.node = (size_t)(node - w->graph->nodes),
                            .n_out = n_out,
                            .n_in = n_in,
                            .n_kernel = qn_tensor_count(weights) / (n_out * n_in),
                            .group_outputs = n_out / groups,
                            .in = -1,
                            .out = -1};
    layer->step_o = axis == 0 ? n_in * layer->n_kernel : 1;
    layer->step_j = axis == 0 ? layer->n_kernel : n_out;
    return true;
}

static qn_status walk_layer(const qn_channels_walk *w)
{
    qn_value_id in = w->node->inputs[0], out = w->node->outputs[0];
    qn_ptq_layer layer;
    if (!describe_layer(w, &layer)) {
        qn_channels_pin_inputs(w);
        return QN_OK;
    }
    bool conv = w->node->op == QN_OP_CONV;
    int axis_in = conv ? 1 : w->binding->values[in].rank - 1, axis_out = conv ? 1 : w->binding->values[out].rank - 1;
    if (qn_channels_has(w, in) && w->c->axis[in] == axis_in) {
        layer.in = w->c->first[in];
    } else {
        pin(w, in);
    }
    if (axis_out > 0 && w->binding->values[out].dims[axis_out] == layer.n_out) {
        QN_TRY(qn_channels_give(w, out, axis_out));
        layer.out = w->c->first[out];
    }
    w->c->layers[w->c->n_layers++] = layer;
    return QN_OK;
}

bool qn_ptq_cap_is_free(const qn_ptq *ptq, const qn_node *node)
{
    float lo, hi;
    if (node->op != QN_OP_CLIP || ptq->calibration == NULL || !qn_ptq_bounds(ptq->graph, node, &lo, &hi) ||
        (lo != 0 && lo != -INFINITY) || !(hi > 0)) {
        return false;
    }
    const qn_range *range = qn_calibration_find(ptq->calibration, ptq->graph->values[node->inputs[0]].name);
    return range != NULL && range->max < hi;
}

qn_status qn_channels_visit_same(const qn_channels_walk *w)
{
    if (qn_channels_has(w, w->node->inputs[0])) {
        qn_channels_share(w, w->node->inputs[0], w->c->axis[w->node->inputs[0]]);
    }
    return QN_OK;
}

static qn_status walk_clip(const qn_channels_walk *w)
{
    float lo, hi;
    bool homogeneous = qn_ptq_bounds(w->graph, w->node, &lo, &hi) && (lo == 0 || lo == -INFINITY) && hi == INFINITY;
    if (homogeneous || (w->free_caps && qn_ptq_cap_is_free(w->ptq, w->node))) {
        return qn_channels_visit_same(w);
    }
    qn_channels_pin_inputs(w);
    return QN_OK;
}

static qn_status walk_pool(const qn_channels_walk *w)
{
    qn_value_id in = w->node->inputs[0];
    if (qn_channels_has(w, in) && w->c->axis[in] == 1) {
        return qn_channels_visit_same(w);
    }
    qn_channels_pin_inputs(w);
    return QN_OK;
}

static bool same_dims(const qn_channels_walk *w, qn_value_id a, qn_value_id b)
{
    const qn_bound_value *x = &w->binding->values[a], *y = &w->binding->values[b];
    return x->rank == y->rank && memcmp(x->dims, y->dims, (size_t)x->rank * sizeof x->dims[0]) == 0;
}

/* A constant operand can be scaled with the other one when it varies along the channel axis. */
static bool note_addend(const qn_channels_walk *w, int constant)
{
    qn_value_id in = w->node->inputs[1 - constant], id = w->node->inputs[constant];
    const qn_tensor *t = qn_ptq_float_constant(w->graph, id);
    int rank = w->binding->values[in].rank;
    int axis = t != NULL && qn_channels_has(w, in) ? w->c->axis[in] - (rank - t->rank) : -1;
    if (axis < 0 || t->dims[axis] != qn_channels_count(w, in) || w->graph->values[id].quantizer != NULL ||
        !same_dims(w, in, w->node->outputs[0])) {
        return false;
    }
    int64_t inner = 1;
    for (int d = axis + 1; d < t->rank; d++) {
        inner *= t->dims[d];
    }
    w->c->addends[w->c->n_addends++] = (qn_ptq_addend){.node = (size_t)(w->node - w->graph->nodes),
                                                       .input = constant,
                                                       .inner = inner,
                                                       .n = t->dims[axis],
                                                       .first = w->c->first[in]};
    return true;
}

static qn_status walk_sum(const qn_channels_walk *w)
{
    qn_value_id a = w->node->inputs[0], b = w->node->inputs[1];
    if (qn_channels_has(w, a) && qn_channels_has(w, b) && w->c->axis[a] == w->c->axis[b] && same_dims(w, a, b)) {
        for (int64_t i = 0; i < qn_channels_count(w, a); i++) {
            qn_channels_tie(w, w->c->first[a] + (int32_t)i, w->c->first[b] + (int32_t)i);
        }
        qn_channels_share(w, a, w->c->axis[a]);
        return QN_OK;
    }
    for (int side = 0; side < 2; side++) {
        if (w->graph->values[w->node->inputs[side]].constant != NULL && note_addend(w, side)) {
            qn_channels_share(w, w->node->inputs[1 - side], w->c->axis[w->node->inputs[1 - side]]);
            return QN_OK;
        }
    }
    qn_channels_pin_inputs(w);
    return QN_OK;
}

/* x * constant and x / constant are linear in x. */
static qn_status walk_product(const qn_channels_walk *w)
{
    for (int side = 0; side < (w->node->op == QN_OP_MUL ? 2 : 1); side++) {
        qn_value_id in = w->node->inputs[side], other = w->node->inputs[1 - side];
        if (qn_channels_has(w, in) && w->graph->values[other].constant != NULL &&
            same_dims(w, in, w->node->outputs[0])) {
            qn_channels_share(w, in, w->c->axis[in]);
            return QN_OK;
        }
    }
    qn_channels_pin_inputs(w);
    return QN_OK;
}

static const struct {
    qn_op op;
    qn_channels_visit visit;
} visits[] = {
    {QN_OP_CONV, walk_layer},
    {QN_OP_GEMM, walk_layer},
    {QN_OP_MATMUL, walk_layer},
    {QN_OP_RELU, qn_channels_visit_same},
    {QN_OP_LEAKY_RELU, qn_channels_visit_same},
    {QN_OP_NEG, qn_channels_visit_same},
    {QN_OP_IDENTITY, qn_channels_visit_same},
    {QN_OP_DROPOUT, qn_channels_visit_same},
    {QN_OP_CLIP, walk_clip},
    {QN_OP_MAX_POOL, walk_pool},
    {QN_OP_AVERAGE_POOL, walk_pool},
    {QN_OP_GLOBAL_AVERAGE_POOL, walk_pool},
    {QN_OP_GLOBAL_MAX_POOL, walk_pool},
    {QN_OP_ADD, walk_sum},
    {QN_OP_SUB, walk_sum},
    {QN_OP_MUL, walk_product},
    {QN_OP_DIV, walk_product},
    {QN_OP_CONCAT, qn_channels_visit_concat},
    {QN_OP_FLATTEN, qn_channels_visit_reshape},
    {QN_OP_RESHAPE, qn_channels_visit_reshape},
    {QN_OP_SQUEEZE, qn_channels_visit_reshape},
    {QN_OP_UNSQUEEZE, qn_channels_visit_reshape},
    {QN_OP_TRANSPOSE, qn_channels_visit_transpose},
    {QN_OP_SLICE, qn_channels_visit_slice},
    {QN_OP_PAD, qn_channels_visit_pad},
    {QN_OP_REDUCE_MEAN, qn_channels_visit_mean},
};

/* Values known ahead are constants in disguise: nobody scales what makes them. */
static qn_status visit(const qn_channels_walk *w)
{
    qn_value_id out = w->node->n_outputs > 0 ? w->node->outputs[0] : QN_NO_VALUE;
    bool computes =
        out != QN_NO_VALUE && w->binding->values[out].dtype == QN_DTYPE_F32 && w->binding->values[out].known == NULL;
    for (size_t i = 0; computes && i < sizeof visits / sizeof visits[0]; i++) {
        if (visits[i].op == w->node->op) {
            return visits[i].visit(w);
        }
    }
    /* The shape of a value is the same whatever its scale. */
    if (w->node->op != QN_OP_SHAPE) {
        qn_channels_pin_inputs(w);
    }
    return QN_OK;
}

static qn_status make_arrays(const qn_channels_walk *w)
{
    qn_ptq_channels *c = w->c;
    c->first = qn_arena_array(w->arena, w->graph->n_values, sizeof *c->first);
    c->axis = qn_arena_array(w->arena, w->graph->n_values, sizeof *c->axis);
    c->layers = qn_arena_array(w->arena, w->graph->n_nodes, sizeof *c->layers);
    c->addends = qn_arena_array(w->arena, w->graph->n_nodes, sizeof *c->addends);
    c->leader = qn_arena_array(w->arena, 1, sizeof *c->leader);
    c->family = qn_arena_array(w->arena, 1, sizeof *c->family);
    if (c->first == NULL || c->axis == NULL || c->layers == NULL || c->addends == NULL || c->leader == NULL ||
        c->family == NULL) {
        return qn_fail_memory(w->err, w->graph->file, w->graph->n_values * sizeof *c->first);
    }
    c->n_values = w->graph->n_values;
    memset(c->first, -1, w->graph->n_values * sizeof *c->first);
    c->capacity = 1;
    c->n_variables = 1; /* the pinned one */
    return QN_OK;
}

qn_status qn_ptq_channels_make(qn_ptq_channels *channels, const qn_ptq *ptq, const qn_binding *binding, bool free_caps,
                               qn_arena *arena, qn_error *err)
{
    const qn_graph *graph = ptq->graph;
    *channels = (qn_ptq_channels){0};
    qn_channels_walk w = {.c = channels,
                          .ptq = ptq,
                          .graph = graph,
                          .binding = binding,
                          .free_caps = free_caps,
                          .err = err,
                          .arena = arena};
    QN_TRY(make_arrays(&w));
    for (size_t n = 0; n < graph->n_nodes; n++) {
        w.node = &graph->nodes[n];
        if (w.node->op != QN_OP_REMOVED) {
            QN_TRY(visit(&w));
        }
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        pin(&w, graph->outputs[i]);
    }
    return QN_OK;
}
