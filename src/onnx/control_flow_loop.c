/* Loop and Scan, turn by turn. */
#include <string.h>

#include "onnx/control_flow.h"

static qn_status fail_memory(const qn_expansion *e)
{
    return qn_fail_memory(e->err, e->where, 0);
}

/* One Loop or Scan that is taken apart.
 *  state     what the next turn begins with
 *  last      what the outputs are, if no turn follows
 *  results   of the turn's graph: first `skip` others, then states, then what is collected
 *  pieces    per turn and collected output
 *  axes      along which pieces are joined; NULL: all along the first */
typedef struct turns {
    qn_expansion *e;
    const qn_scope *scope;
    const Onnx__NodeProto *node;
    const Onnx__GraphProto *body;
    size_t n_states, n_collected, skip;
    qn_value_id *state, *last, *inputs, *results, *pieces;
    size_t pieces_capacity;
    int64_t n_turns;
    const int64_t *axes;
} turns;

static qn_status begin(turns *t, const qn_value_id *initial)
{
    qn_arena *arena = t->e->arena;
    t->state = qn_arena_array(arena, t->n_states + 1, sizeof *t->state);
    t->last = qn_arena_array(arena, t->n_states + 1, sizeof *t->last);
    t->inputs = qn_arena_array(arena, t->body->n_input + 1, sizeof *t->inputs);
    t->results = qn_arena_array(arena, t->body->n_output + 1, sizeof *t->results);
    if (t->state == NULL || t->last == NULL || t->inputs == NULL || t->results == NULL) {
        return fail_memory(t->e);
    }
    memcpy(t->state, initial, t->n_states * sizeof *initial);
    memcpy(t->last, initial, t->n_states * sizeof *initial);
    return qn_expansion_want_tensors(t->e, t->body->input, t->body->n_input);
}

static qn_status run_turn(turns *t)
{
    QN_TRY(qn_expansion_inline(t->e, t->scope, t->body, t->inputs, t->n_turns, t->results));
    for (size_t i = 0; i < t->n_collected; i++) {
        void *pieces = t->pieces;
        const size_t at = (size_t)t->n_turns * t->n_collected + i;
        const qn_status status = qn_grow(&pieces, &t->pieces_capacity, at, sizeof *t->pieces, t->e->err);
        t->pieces = pieces;
        QN_TRY(status);
        t->pieces[at] = t->results[t->skip + t->n_states + i];
    }
    t->n_turns++;
    return QN_OK;
}

static qn_status output(const turns *t, size_t i, qn_value_id *id)
{
    *id = QN_NO_VALUE;
    return i < t->node->n_output ? qn_scope_find(t->e, t->scope, t->node->output[i], id) : QN_OK;
}

/* No turn, no pieces: an empty tensor, if the body declares what its elements are like. */
static qn_status collect_nothing(turns *t, size_t i, qn_value_id y)
{
    static const Onnx__TensorProto initial = ONNX__TENSOR_PROTO__INIT;
    const Onnx__ValueInfoProto *info = t->body->output[t->skip + t->n_states + i];
    const Onnx__TypeProto__Tensor *type = info->type != NULL ? info->type->tensor_type : NULL;
    bool declared = type != NULL && type->shape != NULL;
    for (size_t k = 0; declared && k < type->shape->n_dim; k++) {
        declared = type->shape->dim[k]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    }
    if (!declared || t->axes != NULL) {
        return qn_fail(t->e->err, QN_EUNSUPPORTED, t->e->where,
                       "makes no turn, and the shape of what output '%s' would collect is not declared", info->name);
    }
    Onnx__NodeProto *node;
    Onnx__TensorProto *value = qn_arena_alloc(t->e->arena, sizeof *value);
    Onnx__AttributeProto *a = qn_arena_alloc(t->e->arena, sizeof *a);
    int64_t *dims = qn_arena_array(t->e->arena, type->shape->n_dim + 1, sizeof *dims);
    Onnx__AttributeProto **list = qn_arena_alloc(t->e->arena, sizeof *list);
    static char name[] = "value", nothing[1];
    if (value == NULL || a == NULL || dims == NULL || list == NULL) {
        return fail_memory(t->e);
    }
    for (size_t k = 0; k < type->shape->n_dim; k++) {
        dims[k + 1] = type->shape->dim[k]->dim_value;
    }
    *value = initial;
    value->has_data_type = value->has_raw_data = 1;
    value->data_type = type->elem_type;
    value->n_dims = type->shape->n_dim + 1;
    value->dims = dims;
    value->raw_data.data = (uint8_t *)nothing;
    *a = (Onnx__AttributeProto)ONNX__ATTRIBUTE_PROTO__INIT;
    a->name = name;
    a->has_type = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
    a->t = value;
    QN_TRY(qn_expansion_add(t->e, "Constant", 0, NULL, y, &node));
    list[0] = a;
    node->attribute = list;
    node->n_attribute = 1;
    return QN_OK;
}

static qn_status unsqueeze(turns *t, qn_value_id x, int64_t axis, qn_value_id *y)
{
    qn_expansion *e = t->e;
    Onnx__NodeProto *node;
    qn_value_id inputs[2] = {x, QN_NO_VALUE};
    QN_TRY(qn_expansion_name(e, "piece", y));
    if (e->opset >= 13) {
        QN_TRY(qn_expansion_constant(e, "piece_axis", false, 1, 1, &axis, &inputs[1]));
        return qn_expansion_add(e, "Unsqueeze", 2, inputs, *y, NULL);
    }
    QN_TRY(qn_expansion_add(e, "Unsqueeze", 1, inputs, *y, &node));
    QN_TRY(qn_expansion_int(e, node, "axes", axis));
    Onnx__AttributeProto *a = node->attribute[0];
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
    a->has_i = 0;
    a->n_ints = 1;
    a->ints = &a->i;
    return QN_OK;
}

static qn_status collect(turns *t, size_t i, qn_value_id y)
{
    qn_expansion *e = t->e;
    const int64_t axis = t->axes != NULL ? t->axes[i] : 0;
    qn_value_id *parts = qn_arena_array(e->arena, (size_t)t->n_turns + 1, sizeof *parts);
    Onnx__NodeProto *node;
    if (parts == NULL) {
        return fail_memory(e);
    }
    if (t->n_turns == 0) {
        return collect_nothing(t, i, y);
    }
    for (int64_t k = 0; k < t->n_turns; k++) {
        QN_TRY(unsqueeze(t, t->pieces[(size_t)k * t->n_collected + i], axis, &parts[k]));
    }
    QN_TRY(qn_expansion_add(e, "Concat", (int)t->n_turns, parts, y, &node));
    return qn_expansion_int(e, node, "axis", axis);
}

static qn_status end(turns *t)
{
    qn_value_id y;
    for (size_t i = 0; i < t->n_states; i++) {
        QN_TRY(output(t, i, &y));
        QN_TRY(y != QN_NO_VALUE ? qn_expansion_equal(t->e, t->last[i], y) : QN_OK);
    }
    for (size_t i = 0; i < t->n_collected; i++) {
        QN_TRY(output(t, t->n_states + i, &y));
        QN_TRY(y != QN_NO_VALUE ? collect(t, i, y) : QN_OK);
    }
    return QN_OK;
}

/* A condition as it is known: 0 or 1; -1 computed while the network runs; -2 the same, but it may yet be known to be 0.
 * Exporters join what bounds a loop with what leaves it early: of an And one side that does not hold is enough, of an
 * Or (torch.jit's `a and b` is an If of bools: (a and b) or (not a and false)) it takes both. */
static qn_status read_condition(qn_expansion *e, qn_value_id id, int depth, int *condition)
{
    enum { DEEPEST = 8 };
    bool known;
    int64_t value = 1;
    char why[QN_AHEAD_WHY];
    *condition = 1;
    if (id == QN_NO_VALUE) {
        return QN_OK;
    }
    QN_TRY(qn_expansion_scalar_ahead(e, id, &known, &value, why));
    *condition = known ? value != 0 : -1;
    const Onnx__NodeProto *node = e->origins[id].node >= 0 ? e->nodes[e->origins[id].node] : NULL;
    const bool all = node != NULL && strcmp(node->op_type, "And") == 0;
    const bool any = node != NULL && strcmp(node->op_type, "Or") == 0;
    if (*condition >= 0 || depth >= DEEPEST || !(all || any) || node->n_input != 2) {
        return QN_OK;
    }
    int parts[2] = {-1, -1};
    for (size_t i = 0; i < 2; i++) {
        const qn_value_id input = qn_graph_find(&e->names, node->input[i]);
        QN_TRY(input != QN_NO_VALUE ? read_condition(e, input, depth + 1, &parts[i]) : QN_OK);
    }
    const bool fails = all ? parts[0] == 0 || parts[1] == 0 : parts[0] == 0 && parts[1] == 0;
    const bool bounded = all ? parts[0] != -1 || parts[1] != -1 : parts[0] != -1 && parts[1] != -1;
    *condition = fails ? 0 : bounded ? -2 : -1;
    return QN_OK;
}

/* The trip count; INT64_MAX where there is none. */
static qn_status read_trips(qn_expansion *e, qn_value_id id, int64_t *trips)
{
    bool known;
    char why[QN_AHEAD_WHY];
    *trips = INT64_MAX;
    if (id == QN_NO_VALUE) {
        return QN_OK;
    }
    QN_TRY(qn_expansion_scalar_ahead(e, id, &known, trips, why));
    if (!known) {
        return qn_fail(
            e->err, QN_EUNSUPPORTED, e->where,
            "its trip count is not known before the run: %s; export the network with a fixed number of turns", why);
    }
    return QN_OK;
}

/* Once a condition is computed, turns go on, but count only where it holds, and held before: outputs are of the last one
 * that counts.
 *  keep  whether this turn does; QN_NO_VALUE while that is known */
static qn_status end_turn(turns *t, qn_value_id keep)
{
    for (size_t i = 0; i < t->n_states; i++) {
        const qn_value_id made = t->results[t->skip + i];
        qn_value_id chosen = made;
        if (keep != QN_NO_VALUE && made != t->last[i]) {
            QN_TRY(qn_expansion_name(t->e, "state", &chosen));
            QN_TRY(qn_expansion_where(t->e, keep, made, t->last[i], chosen));
        }
        t->state[i] = made;
        t->last[i] = chosen;
    }
    return QN_OK;
}

static qn_status join_condition(turns *t, qn_value_id *keep, qn_value_id condition)
{
    qn_value_id scalar, both;
    if (t->n_collected > 0) {
        return qn_fail(t->e->err, QN_EUNSUPPORTED, t->e->where,
                       "its condition is computed while the network runs, and so is the size of what it collects");
    }
    QN_TRY(qn_expansion_scalar(t->e, condition, &scalar));
    if (*keep == QN_NO_VALUE) {
        *keep = scalar;
        return QN_OK;
    }
    QN_TRY(qn_expansion_name(t->e, "keep", &both));
    QN_TRY(qn_expansion_add(t->e, "And", 2, (qn_value_id[]){*keep, scalar}, both, NULL));
    *keep = both;
    return QN_OK;
}

/* What is written as an endless loop has to end by a condition that is known. */
enum { UNBOUNDED_MOST = 4096 };

static qn_status next_turn(turns *t, int64_t trips, qn_value_id condition, qn_value_id *keep, bool *ends)
{
    qn_expansion *e = t->e;
    const bool bounded = trips <= QN_CONTROL_MOST;
    int holds;
    QN_TRY(read_condition(e, condition, 0, &holds));
    *ends = holds == 0;
    if (holds == 0) {
        return QN_OK;
    }
    if (!bounded && (condition == QN_NO_VALUE || t->n_turns >= UNBOUNDED_MOST)) {
        return qn_fail(e->err, QN_ELIMIT, e->where, "%lld turns, the limit is %d, or %d where a condition ends them",
                       (long long)trips, QN_CONTROL_MOST, UNBOUNDED_MOST);
    }
    if (!bounded && holds == -1 &&
        t->n_turns > 0) { /* exporters fold the bound out of the condition before the first */
        return qn_fail(e->err, QN_EUNSUPPORTED, e->where,
                       "runs until a condition that is computed while the network runs, and nothing else bounds its "
                       "turns; export it with a greatest number of turns (while condition and i < N)");
    }
    QN_TRY(holds < 0 ? join_condition(t, keep, condition) : QN_OK);
    QN_TRY(qn_expansion_number(e, t->n_turns, &t->inputs[0]));
    t->inputs[1] = *keep;
    QN_TRY(*keep == QN_NO_VALUE ? qn_expansion_yes(e, &t->inputs[1]) : QN_OK);
    memcpy(t->inputs + 2, t->state, t->n_states * sizeof *t->state);
    QN_TRY(run_turn(t));
    return end_turn(t, *keep);
}

static qn_status run_loop(turns *t, int64_t trips, qn_value_id condition)
{
    qn_value_id keep = QN_NO_VALUE;
    bool ends = false;
    while (t->n_turns < trips) {
        QN_TRY(next_turn(t, trips, condition, &keep, &ends));
        if (ends) {
            break;
        }
        condition = t->results[0] == t->inputs[1] ? QN_NO_VALUE : t->results[0];
    }
    return end(t);
}

static qn_status resolve_inputs(qn_expansion *e, const qn_scope *scope, const Onnx__NodeProto *node, qn_value_id **ids)
{
    *ids = qn_arena_array(e->arena, node->n_input + 2, sizeof **ids);
    if (*ids == NULL) {
        return fail_memory(e);
    }
    (*ids)[0] = (*ids)[1] = QN_NO_VALUE;
    for (size_t i = 0; i < node->n_input; i++) {
        QN_TRY(qn_scope_find(e, scope, node->input[i], &(*ids)[i]));
    }
    return QN_OK;
}

qn_status qn_expand_loop(qn_expansion *e, const qn_scope *scope, const Onnx__NodeProto *node)
{
    turns t = {.e = e, .scope = scope, .node = node, .skip = 1};
    qn_value_id *inputs;
    int64_t trips;
    QN_TRY(qn_expansion_graph(e, node, "body", &t.body));
    QN_TRY(resolve_inputs(e, scope, node, &inputs));
    t.n_states = node->n_input > 2 ? node->n_input - 2 : 0;
    if (t.body->n_input != t.n_states + 2 || t.body->n_output < t.n_states + 1 ||
        node->n_output > t.body->n_output - 1) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "%zu inputs and %zu outputs, a body of %zu inputs and %zu outputs",
                       node->n_input, node->n_output, t.body->n_input, t.body->n_output);
    }
    for (size_t i = 0; i < t.n_states; i++) {
        if (inputs[2 + i] == QN_NO_VALUE) {
            return qn_fail(e->err, QN_EFORMAT, e->where, "input %zu is missing", 2 + i);
        }
    }
    t.n_collected = t.body->n_output - 1 - t.n_states;
    QN_TRY(begin(&t, inputs + 2));
    QN_TRY(read_trips(e, inputs[0], &trips));
    const qn_status status = run_loop(&t, trips, inputs[1]);
    qn_free(t.pieces);
    return status;
}

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (node->attribute[i]->name != NULL && strcmp(node->attribute[i]->name, name) == 0) {
            return node->attribute[i];
        }
    }
    return NULL;
}

static int64_t entry(const Onnx__NodeProto *node, const char *list, size_t i)
{
    const Onnx__AttributeProto *a = attribute(node, list);
    return a != NULL && i < a->n_ints ? a->ints[i] : 0;
}

/* Slice `turn` of scan input i. */
static qn_status slice(turns *t, qn_value_id x, size_t i, int64_t n, qn_value_id *y)
{
    const bool backwards = entry(t->node, "scan_input_directions", i) == 1;
    const int64_t at = backwards ? n - 1 - t->n_turns : t->n_turns;
    Onnx__NodeProto *node;
    qn_value_id index;
    QN_TRY(qn_expansion_number(t->e, at, &index));
    QN_TRY(qn_expansion_name(t->e, "slice", y));
    QN_TRY(qn_expansion_add(t->e, "Gather", 2, (qn_value_id[]){x, index}, *y, &node));
    return qn_expansion_int(t->e, node, "axis", entry(t->node, "scan_input_axes", i));
}

/* How many slices the scan inputs have, which are as many for each. */
static qn_status count_slices(qn_expansion *e, const Onnx__NodeProto *node, size_t n, const qn_value_id *inputs,
                              int64_t *slices)
{
    for (size_t i = 0; i < n; i++) {
        qn_ahead ahead;
        bool seen;
        char why[QN_AHEAD_WHY];
        QN_TRY(qn_expansion_look(e, 1, &inputs[i], &ahead, &seen, why));
        if (!seen) {
            return qn_fail(e->err, QN_EUNSUPPORTED, e->where, "the shape of what it scans is not known: %s", why);
        }
        int64_t axis = entry(node, "scan_input_axes", i);
        axis += axis < 0 ? ahead.rank : 0;
        if (axis < 0 || axis >= ahead.rank || (i > 0 && ahead.dims[axis] != *slices)) {
            return qn_fail(e->err, QN_ESHAPE, e->where, "scan input %zu has no axis %lld, or another length along it",
                           i, (long long)axis);
        }
        *slices = ahead.dims[axis];
    }
    if (*slices > QN_CONTROL_MOST) {
        return qn_fail(e->err, QN_ELIMIT, e->where, "%lld turns, the limit is %d", (long long)*slices, QN_CONTROL_MOST);
    }
    return QN_OK;
}

static qn_status run_scan(turns *t, size_t n_scanned, const qn_value_id *scanned, int64_t n)
{
    while (t->n_turns < n) {
        memcpy(t->inputs, t->state, t->n_states * sizeof *t->state);
        for (size_t i = 0; i < n_scanned; i++) {
            QN_TRY(slice(t, scanned[i], i, n, &t->inputs[t->n_states + i]));
        }
        QN_TRY(run_turn(t));
        memcpy(t->state, t->results, t->n_states * sizeof *t->state);
        memcpy(t->last, t->results, t->n_states * sizeof *t->last);
    }
    for (size_t i = 0; i < t->n_collected; i++) { /* those that are collected backwards */
        for (int64_t k = 0; entry(t->node, "scan_output_directions", i) == 1 && k < n / 2; k++) {
            qn_value_id *a = &t->pieces[(size_t)k * t->n_collected + i],
                        *b = &t->pieces[(size_t)(n - 1 - k) * t->n_collected + i], swapped = *a;
            *a = *b;
            *b = swapped;
        }
    }
    return end(t);
}

qn_status qn_expand_scan(qn_expansion *e, const qn_scope *scope, const Onnx__NodeProto *node)
{
    turns t = {.e = e, .scope = scope, .node = node};
    const Onnx__AttributeProto *count = attribute(node, "num_scan_inputs");
    qn_value_id *inputs;
    int64_t n = 0;
    if (e->opset < 9) {
        return qn_fail(e->err, QN_EUNSUPPORTED, e->where,
                       "is of opset 8, where a batch is scanned; raise the opset to 9");
    }
    QN_TRY(qn_expansion_graph(e, node, "body", &t.body));
    QN_TRY(resolve_inputs(e, scope, node, &inputs));
    const size_t n_scanned = count != NULL && count->i > 0 && (size_t)count->i <= node->n_input ? (size_t)count->i : 0;
    t.n_states = node->n_input - n_scanned;
    if (n_scanned == 0 || t.body->n_input != node->n_input || t.body->n_output < t.n_states ||
        node->n_output > t.body->n_output) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "%zu inputs and %zu outputs, a body of %zu inputs and %zu outputs",
                       node->n_input, node->n_output, t.body->n_input, t.body->n_output);
    }
    for (size_t i = 0; i < node->n_input; i++) {
        if (inputs[i] == QN_NO_VALUE) {
            return qn_fail(e->err, QN_EFORMAT, e->where, "input %zu is missing", i);
        }
    }
    t.n_collected = t.body->n_output - t.n_states;
    const Onnx__AttributeProto *axes = attribute(node, "scan_output_axes");
    if (axes != NULL && axes->n_ints > 0 && axes->n_ints != t.n_collected) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "scan_output_axes of %zu entries for %zu outputs", axes->n_ints,
                       t.n_collected);
    }
    t.axes = axes != NULL && axes->n_ints > 0 ? axes->ints : NULL;
    QN_TRY(begin(&t, inputs));
    QN_TRY(count_slices(e, node, n_scanned, inputs + t.n_states, &n));
    const qn_status status = run_scan(&t, n_scanned, inputs + t.n_states, n);
    qn_free(t.pieces);
    return status;
}
