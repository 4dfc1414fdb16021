/* Lowering: from a bound graph whose values carry quantizers to tensors and steps. This file walks the graph; the
 * nodes' own functions are in lower_*.c. */
#include "engine/integer/function.h"
#include "engine/integer/island.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "graph/compute/compute.h"

/* Operators with an integer form. */
static const struct {
    qn_op op;
    qn_lower_fn *lower;
} rows[] = {
    {QN_OP_ADD, qn_lower_add},
    {QN_OP_AVERAGE_POOL, qn_lower_pool},
    {QN_OP_CLIP, qn_lower_unary},
    {QN_OP_CONCAT, qn_lower_concat},
    {QN_OP_CONV, qn_lower_conv},
    {QN_OP_DEPTH_TO_SPACE, qn_lower_move},
    {QN_OP_DROPOUT, qn_lower_reshape},
    {QN_OP_EXPAND, qn_lower_move},
    {QN_OP_FLATTEN, qn_lower_reshape},
    {QN_OP_GATHER, qn_lower_move},
    {QN_OP_GATHER_ELEMENTS, qn_lower_move},
    {QN_OP_GATHER_ND, qn_lower_move},
    {QN_OP_GEMM, qn_lower_gemm},
    {QN_OP_GLOBAL_AVERAGE_POOL, qn_lower_pool},
    {QN_OP_GLOBAL_MAX_POOL, qn_lower_pool},
    {QN_OP_IDENTITY, qn_lower_reshape},
    {QN_OP_LAYER_NORMALIZATION, qn_lower_layer_norm},
    {QN_OP_MATMUL, qn_lower_matmul},
    {QN_OP_MAX_POOL, qn_lower_pool},
    {QN_OP_MUL, qn_lower_add},
    {QN_OP_PAD, qn_lower_move},
    {QN_OP_REDUCE_MEAN, qn_lower_mean},
    {QN_OP_RELU, qn_lower_unary},
    {QN_OP_RESHAPE, qn_lower_reshape},
    {QN_OP_RESIZE, qn_lower_move},
    {QN_OP_SLICE, qn_lower_move},
    {QN_OP_SOFTMAX, qn_lower_softmax},
    {QN_OP_SPACE_TO_DEPTH, qn_lower_move},
    {QN_OP_SPLIT, qn_lower_move},
    {QN_OP_SQUEEZE, qn_lower_reshape},
    {QN_OP_SUB, qn_lower_add},
    {QN_OP_TILE, qn_lower_move},
    {QN_OP_TRANSPOSE, qn_lower_move},
    {QN_OP_UNSQUEEZE, qn_lower_reshape},
    {QN_OP_UPSAMPLE, qn_lower_move},
};

static qn_lower_fn *find_row(qn_op op)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].op == op) {
            return rows[i].lower;
        }
    }
    return NULL;
}

bool qn_integer_supports_codes(qn_op op)
{
    return find_row(op) != NULL || qn_function_has(op);
}

bool qn_integer_supports(const qn_graph *graph, const qn_node *node, const char **reason)
{
    (void)graph;
    (void)reason; /* there is no more to say than that it has no row */
    return find_row(node->op) != NULL || qn_island_supports(node->op);
}

bool qn_lower_shape(qn_lowering *l, qn_value_id value, qn_item_shape *shape)
{
    const qn_bound_value *bound = &l->binding->values[value];
    if (bound->rank < 2 || bound->dims[0] != l->items) {
        l->reason = "a value whose first dimension is not the batch";
        return false;
    }
    int64_t height = 1, width = bound->rank > 2 ? bound->dims[bound->rank - 1] : 1, channels = bound->dims[1];
    for (int i = 2; i < bound->rank - 1; i++) {
        height *= bound->dims[i]; /* the binding limits the product */
    }
    if (height > INT32_MAX || width > INT32_MAX || channels > INT32_MAX || bound->n_elems == 0) {
        l->reason = bound->n_elems == 0 ? "an empty value" : "a dimension beyond 31 bits";
        return false;
    }
    *shape = (qn_item_shape){(int)height, (int)width, (int)channels};
    return true;
}

bool qn_lower_has_pixels(qn_lowering *l, qn_value_id value)
{
    const char *reason = l->reason;
    qn_item_shape shape;
    const bool has = qn_lower_shape(l, value, &shape);
    l->reason = reason;
    return has;
}

bool qn_lower_params(qn_lowering *l, qn_value_id value, qn_code_params *params)
{
    const qn_quantizer *q = l->graph->values[value].quantizer;
    if (q == NULL) {
        l->reason = "a value has no quantizer";
        return false;
    }
    if (q->dynamic || q->format.kind != QN_FORMAT_INT) {
        l->reason = "an activation that is not coded as integers with fixed parameters";
        return false;
    }
    if (q->n != 1 || q->format.bits > 8) {
        l->reason = q->n != 1 ? "an activation quantized per channel" : "an activation of more than 8 bits";
        return false;
    }
    qn_format_range(q->format, &params->lo, &params->hi);
    int32_t raised = q->format.is_signed ? 128 : 0;
    params->scale = q->scale[0];
    params->zero_point = q->zero_point[0] + raised;
    params->lo += raised;
    params->hi += raised;
    params->raised = raised;
    params->bits = q->format.bits;
    return true;
}

bool qn_code_params_equal(const qn_code_params *a, const qn_code_params *b)
{
    return a->scale == b->scale && a->zero_point == b->zero_point && a->lo == b->lo && a->hi == b->hi;
}

uint8_t qn_code_of(const qn_code_params *params, float x)
{
    return (uint8_t)qn_round_clamp(x / params->scale, params->zero_point, params->lo, params->hi);
}

/* Encoding is monotonic: bounds on the reals are bounds on the codes. */
qn_status qn_lower_narrow(qn_lowering *l, const qn_node *node, qn_code_params *params, qn_error *err)
{
    qn_clip clip = {0, INFINITY};
    if (node->op == QN_OP_CLIP) {
        QN_TRY(qn_clip_of_node(&clip, l->binding, node, err));
    }
    int32_t low = qn_code_of(params, (float)clip.lo), high = qn_code_of(params, (float)clip.hi);
    params->lo = params->lo > low ? params->lo : low;
    params->hi = params->hi < high ? params->hi : high;
    params->lo = params->lo < params->hi ? params->lo : params->hi;
    return QN_OK;
}

static bool same_quantizer(const qn_lowering *l, qn_value_id a, qn_value_id b)
{
    const qn_quantizer *qa = l->graph->values[a].quantizer, *qb = l->graph->values[b].quantizer;
    return qb != NULL && (qa == NULL || qn_quantizer_equal(qa, qb));
}

/* Behind the Relus and Clips that fuse into a value's codes. */
static qn_value_id last_in_codes(const qn_lowering *l, qn_value_id last)
{
    for (int next; (next = l->consumer[last]) >= 0;) {
        const qn_node *after = &l->graph->nodes[next];
        bool fuses = after->op == QN_OP_RELU || (after->op == QN_OP_CLIP && after->inputs[0] == last);
        if (!fuses || !same_quantizer(l, last, after->outputs[0])) {
            break;
        }
        last = after->outputs[0];
    }
    return last;
}

bool qn_lower_is_coded(const qn_lowering *l, const qn_node *node)
{
    return l->graph->values[last_in_codes(l, node->outputs[0])].quantizer != NULL;
}

qn_value_id qn_lower_result(qn_lowering *l, const qn_node *node, qn_code_params *params, qn_status *status,
                            qn_error *err)
{
    qn_value_id first = node->outputs[0], last = last_in_codes(l, first);
    *status = QN_OK;
    if (!qn_lower_params(l, last, params)) {
        l->reason = l->graph->values[last].quantizer == NULL ? "its output has no quantizer" : l->reason;
        return QN_NO_VALUE;
    }
    for (qn_value_id at = first; at != last;) {
        int next = l->consumer[at];
        l->done[next] = true;
        *status = qn_lower_narrow(l, &l->graph->nodes[next], params, err);
        if (*status != QN_OK) {
            return QN_NO_VALUE;
        }
        at = l->graph->nodes[next].outputs[0];
    }
    return last;
}

static float clamp(float x, float lo, float hi)
{
    x = x > lo ? x : lo;
    return x < hi ? x : hi;
}

qn_value_id qn_lower_float_result(qn_lowering *l, const qn_node *node, float *lo, float *hi, qn_status *status,
                                  qn_error *err)
{
    qn_value_id last = node->outputs[0];
    qn_code_params params;
    *lo = -INFINITY, *hi = INFINITY;
    *status = QN_OK;
    for (int next; l->graph->values[last].quantizer == NULL && (next = l->consumer[last]) >= 0;) {
        const qn_node *after = &l->graph->nodes[next];
        qn_clip clip = {0, INFINITY};
        if (after->op == QN_OP_CLIP && after->inputs[0] == last) {
            *status = qn_clip_of_node(&clip, l->binding, after, err);
        } else if (after->op != QN_OP_RELU) {
            break;
        }
        if (*status != QN_OK) {
            return QN_NO_VALUE;
        }
        *lo = clamp(*lo, (float)clip.lo, (float)clip.hi);
        *hi = clamp(*hi, (float)clip.lo, (float)clip.hi);
        l->done[next] = true;
        last = after->outputs[0];
    }
    return l->graph->values[last].quantizer == NULL || qn_lower_params(l, last, &params) ? last : QN_NO_VALUE;
}

int qn_lower_tensor(qn_lowering *l, qn_value_id value, const qn_item_shape *shape, const qn_code_params *params)
{
    int tensor = l->code->n_tensors++;
    l->code->tensors[tensor] = (qn_integer_tensor){.value = value,
                                                   .height = shape->height,
                                                   .width = shape->width,
                                                   .channels = shape->channels,
                                                   .scale = params->scale,
                                                   .zero_point = params->zero_point,
                                                   .lo = params->lo,
                                                   .hi = params->hi,
                                                   .raised = params->raised,
                                                   .bits = params->bits,
                                                   .base = -1,
                                                   .first_step = -1,
                                                   .last_step = -1};
    qn_lower_map(l, l->code->tensor_of, value, tensor);
    return tensor;
}

const qn_integer_tensor *qn_lower_tensor_at(const qn_lowering *l, int tensor)
{
    return &l->code->tensors[tensor];
}

qn_integer_step *qn_lower_step(qn_lowering *l, qn_integer_kind kind, const qn_node *node, int input, int output)
{
    qn_integer_step *step = &l->code->steps[l->code->n_steps++];
    *step = (qn_integer_step){.kind = kind, .node = node, .input = {input, -1}, .output = output};
    return step;
}

/* What reads an input makes its codes, or loads its floats. */
static void lower_inputs(qn_lowering *l)
{
    for (size_t i = 0; i < l->program->n_inputs; i++) {
        l->input_of[l->program->inputs[i].value] = (int)i;
    }
}

static qn_status lower_output(qn_lowering *l, size_t io, qn_error *err)
{
    qn_value_id value = l->program->outputs[io].value;
    const qn_tensor *known = l->binding->values[value].known;
    l->reason = NULL;
    if (known != NULL && l->items == 1) {
        const int64_t n = l->program->outputs[io].count;
        float *constant =
            known->dtype == QN_DTYPE_F32 ? known->data : qn_arena_array(l->arena, (size_t)n, sizeof(float));
        if (constant == NULL) {
            return qn_fail_memory(err, l->graph->file, (size_t)n * sizeof(float));
        }
        qn_convert_elements(QN_DTYPE_F32, constant, known->dtype, known->data, known->dtype == QN_DTYPE_F32 ? 0 : n);
        qn_integer_step *step = qn_lower_step(l, QN_STEP_STORE, NULL, -1, -1);
        step->io = io;
        step->u.store = (qn_integer_store){constant, n};
        return QN_OK;
    }
    qn_status status = QN_OK;
    bool coded = l->graph->values[value].quantizer != NULL || l->code->tensor_of[value] >= 0;
    int tensor = coded ? qn_lower_codes(l, value, qn_lower_has_pixels(l, value), &status, err)
                       : qn_lower_as_floats(l, value, &status, err);
    QN_TRY(status);
    if (tensor < 0) {
        return qn_fail(err, QN_EUNSUPPORTED, l->graph->file, "the integer engine does not compute output '%s': %s",
                       l->graph->values[value].name, l->reason);
    }
    qn_integer_step *step = qn_lower_step(l, coded ? QN_STEP_DECODE : QN_STEP_STORE, NULL, tensor, -1);
    step->io = io;
    if (!coded) {
        step->u.store.n = l->program->outputs[io].count;
    }
    return QN_OK;
}

static qn_status lower_outputs(qn_lowering *l, qn_error *err)
{
    for (size_t i = 0; i < l->program->n_outputs; i++) {
        l->n_changes = 0;
        if (l->binding->values[l->program->outputs[i].value].n_elems > 0) {
            QN_TRY(lower_output(l, i, err));
        }
    }
    return QN_OK;
}

/* Nodes downstream of a refused one are not named again. */
static bool reads_refused(const qn_lowering *l, const qn_node *node)
{
    for (int i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] != QN_NO_VALUE && l->refused[node->inputs[i]]) {
            return true;
        }
    }
    return false;
}

/* A node nobody needs, or whose results were computed while binding. */
static bool needs_no_step(const qn_lowering *l, const qn_node *node)
{
    for (int i = 0; i < node->n_outputs; i++) {
        qn_value_id value = node->outputs[i];
        if (value != QN_NO_VALUE && l->binding->used[value] && l->binding->values[value].known == NULL) {
            return false;
        }
    }
    return true;
}

/* An input without channels behind the batch, or in C order already: what follows stays so. */
static bool reads_plain(const qn_lowering *l, const qn_node *node)
{
    for (int i = 0; i < node->n_inputs; i++) {
        qn_value_id value = node->inputs[i];
        int tensor = value == QN_NO_VALUE || l->binding->values[value].known != NULL ? -1 : l->code->tensor_of[value];
        if (tensor >= 0 ? l->code->tensors[tensor].plain
                        : value != QN_NO_VALUE && l->binding->values[value].known == NULL &&
                              qn_lower_wants_plain(l, node->outputs[0])) {
            return true;
        }
    }
    return l->binding->values[node->outputs[0]].rank < 2;
}

static qn_lower_fn *plain_row(qn_op op)
{
    static const struct {
        qn_op op;
        qn_lower_fn *lower;
    } plain_rows[] = {{QN_OP_ADD, qn_lower_plain_add},       {QN_OP_CLIP, qn_lower_plain_unary},
                      {QN_OP_CONCAT, qn_lower_plain_concat}, {QN_OP_MUL, qn_lower_plain_add},
                      {QN_OP_RELU, qn_lower_plain_unary},    {QN_OP_SUB, qn_lower_plain_add}};
    for (size_t i = 0; i < sizeof plain_rows / sizeof plain_rows[0]; i++) {
        if (plain_rows[i].op == op) {
            return plain_rows[i].lower;
        }
    }
    return NULL;
}

void qn_lower_take_back(qn_lowering *l, int n_steps, int n_tensors, size_t n_changes)
{
    l->code->n_steps = n_steps;
    l->code->n_tensors = n_tensors;
    while (l->n_changes > n_changes) {
        const qn_map_change *change = &l->changes[--l->n_changes];
        *change->slot = change->old;
    }
}

/* Everything the node has made, undone. */
static void take_back(qn_lowering *l, const qn_node *node, int n_steps, int n_tensors)
{
    qn_lower_take_back(l, n_steps, n_tensors, 0);
    qn_value_id value = node->outputs[0]; /* nodes fused behind it */
    for (int next; value != QN_NO_VALUE && (next = l->consumer[value]) >= 0 && l->done[next];) {
        l->done[next] = false;
        value = l->graph->nodes[next].outputs[0];
    }
}

static qn_status try_row(qn_lowering *l, const qn_node *node, qn_lower_fn *lower, qn_error *err)
{
    const int n_steps = l->code->n_steps, n_tensors = l->code->n_tensors;
    l->reason = NULL;
    l->n_changes = 0;
    qn_status status = lower(l, node, err);
    if (status == QN_OK && l->reason != NULL) {
        take_back(l, node, n_steps, n_tensors);
    }
    return status;
}

/* With a reason, and nothing made, when the node has to run in float. Codes stay in the order they have, if that works. */
static qn_status lower_in_codes(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_lower_fn *lower[2] = {find_row(node->op), plain_row(node->op)};
    qn_function f;
    qn_status status;
    if (lower[0] == NULL && !qn_function_has(node->op)) {
        l->reason = "no integer form";
        return QN_OK;
    }
    if (qn_compute_has_volume(l->binding, node)) {
        l->reason = "three spatial dimensions";
        return QN_OK;
    }
    if (!qn_lower_separable(l, node, &status, err)) {
        return status;
    }
    const bool function = qn_function_find(&f, l->graph, l->binding, l->uses, false, node);
    if (lower[0] == NULL || (function && f.n > 1)) {
        QN_TRY(try_row(l, node, qn_lower_function, err));
    }
    if (lower[0] == NULL || (function && f.n > 1 && l->reason == NULL)) {
        return QN_OK;
    }
    const int first = lower[1] != NULL && reads_plain(l, node);
    QN_TRY(try_row(l, node, lower[first], err));
    if (l->reason != NULL && lower[1 - first] != NULL) {
        QN_TRY(try_row(l, node, lower[1 - first], err));
    }
    return l->reason != NULL && function && f.n == 1 ? try_row(l, node, qn_lower_function, err) : QN_OK;
}

static qn_status note_island(qn_lowering *l, const qn_node *node, size_t index, qn_error *err)
{
    const bool has_form = qn_integer_has_form(l->graph, l->binding, node, NULL);
    const char *text =
        !qn_integer_supports_codes(node->op)
            ? "no integer form"
            : qn_arena_printf(l->arena, "%s: %s", has_form ? "kept in float" : "no integer form", l->reason);
    l->code->island_reason[index] = text;
    return text != NULL ? QN_OK : qn_fail_memory(err, l->graph->file, 64);
}

static qn_status lower_node(qn_lowering *l, size_t index, qn_error *err)
{
    const qn_node *node = &l->graph->nodes[index];
    if (l->done[index] || node->op == QN_OP_REMOVED || needs_no_step(l, node)) {
        return QN_OK;
    }
    l->reason = NULL;
    l->final = false;
    l->n_changes = 0;
    bool follows = reads_refused(l, node);
    if (!follows) {
        QN_TRY(lower_in_codes(l, node, err));
        if (l->reason != NULL && !l->final) {
            QN_TRY(note_island(l, node, index, err));
            l->reason = NULL;
            l->n_changes = 0;
            QN_TRY(qn_lower_island(l, node, err));
        }
    }
    if (l->reason == NULL && !follows) {
        return QN_OK;
    }
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE) {
            l->refused[node->outputs[i]] = true;
        }
    }
    return l->reason != NULL ? qn_node_list_add(&l->unsupported, node, l->reason, err) : QN_OK;
}

/* Who reads each value: the index of its only reader, -1 for none or several; and of its first; and how often. */
static void find_consumers(qn_lowering *l)
{
    enum { NOBODY = -1, MANY = -2 };
    for (size_t i = 0; i < l->graph->n_values; i++) {
        l->consumer[i] = NOBODY;
        l->reader[i] = NOBODY;
    }
    for (size_t n = 0; n < l->graph->n_nodes; n++) {
        const qn_node *node = &l->graph->nodes[n];
        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] != QN_NO_VALUE && node->op != QN_OP_REMOVED) {
                l->uses[node->inputs[i]]++;
                int *consumer = &l->consumer[node->inputs[i]];
                *consumer = *consumer == NOBODY ? (int)n : MANY;
                int *reader = &l->reader[node->inputs[i]];
                *reader = *reader == NOBODY ? (int)n : *reader;
            }
        }
    }
    for (size_t i = 0; i < l->graph->n_outputs; i++) {
        l->consumer[l->graph->outputs[i]] = MANY;
        l->uses[l->graph->outputs[i]]++;
    }
}

/* Upper bounds: for each input a node may encode it, bring it to another order and decode it, and then makes a step per
 * input and three more, for each of its outputs; and as many tensors. */
static qn_status allocate(qn_lowering *l, qn_error *err)
{
    size_t n = 4 * (l->program->n_inputs + l->program->n_outputs) + 8, most = 1;
    for (size_t i = 0; i < l->graph->n_nodes; i++) {
        const qn_node *node = &l->graph->nodes[i];
        const size_t n_inputs = (size_t)node->n_inputs, n_outputs = (size_t)node->n_outputs;
        n += (6 * n_inputs + 6) * (n_outputs > 1 ? n_outputs : 1);
        most = most > n_inputs + n_outputs ? most : n_inputs + n_outputs;
    }
    size_t n_values = l->graph->n_values, n_nodes = l->graph->n_nodes;
    l->code = qn_arena_alloc(l->arena, sizeof *l->code);
    l->consumer = qn_arena_array(l->arena, n_values + 1, sizeof *l->consumer);
    l->uses = qn_arena_array(l->arena, n_values + 1, sizeof *l->uses);
    l->refused = qn_arena_array(l->arena, n_values + 1, sizeof *l->refused);
    l->done = qn_arena_array(l->arena, n_nodes + 1, sizeof *l->done);
    l->max_changes = 8 * most + 16;
    l->changes = qn_arena_array(l->arena, l->max_changes, sizeof *l->changes);
    if (n > INT32_MAX || l->code == NULL || l->consumer == NULL || l->uses == NULL || l->refused == NULL ||
        l->done == NULL || l->changes == NULL) {
        return qn_fail_memory(err, l->graph->file, n);
    }
    l->code->steps = qn_arena_array(l->arena, n, sizeof *l->code->steps);
    l->code->tensors = qn_arena_array(l->arena, n, sizeof *l->code->tensors);
    l->code->tensor_of = qn_arena_array(l->arena, n_values + 1, sizeof *l->code->tensor_of);
    l->code->island_reason = qn_arena_array(l->arena, n_nodes + 1, sizeof *l->code->island_reason);
    if (l->code->island_reason == NULL || l->code->steps == NULL || l->code->tensors == NULL ||
        l->code->tensor_of == NULL) {
        return qn_fail_memory(err, l->graph->file, n * sizeof *l->code->steps);
    }
    memset(l->code->tensor_of, 0xff, n_values * sizeof *l->code->tensor_of); /* all -1 */
    int **maps[] = {&l->plain_of, &l->real_of, &l->raw_of, &l->input_of, &l->reader};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        *maps[i] = qn_arena_array(l->arena, n_values + 1, sizeof **maps[i]);
        if (*maps[i] == NULL) {
            return qn_fail_memory(err, l->graph->file, n_values * sizeof **maps[i]);
        }
        memset(*maps[i], 0xff, n_values * sizeof **maps[i]);
    }
    find_consumers(l);
    return QN_OK;
}

static qn_status lower_graph(qn_lowering *l, qn_error *err)
{
    QN_TRY(qn_graph_get_arithmetic(l->graph, &l->arithmetic, err));
    QN_TRY(allocate(l, err));
    lower_inputs(l);
    for (size_t i = 0; i < l->graph->n_nodes; i++) {
        qn_status status = lower_node(l, i, err);
        if (status != QN_OK) {
            char where[QN_NODE_WHERE_MAX];
            if (err != NULL && err->where[0] == '\0') {
                qn_error_prefix(err, qn_node_where(where, l->graph, &l->graph->nodes[i]));
            }
            return status;
        }
    }
    QN_TRY(qn_node_list_fail(&l->unsupported, l->graph, QN_EUNSUPPORTED, "the integer engine cannot run", err));
    QN_TRY(lower_outputs(l, err));
    QN_TRY(qn_integer_plan(l->program, l->code, err));
    return qn_lower_reserve_sums(l, err);
}

/* Does an item hold everything, the leading dimension included? */
static bool is_whole(const qn_program *program)
{
    const qn_program_io *io = program->n_inputs > 0 ? program->inputs : program->outputs;
    return io->rank == program->binding.values[io->value].rank;
}

qn_status qn_integer_lower(qn_program *program, qn_error *err)
{
    qn_lowering l = {.program = program,
                     .graph = &program->graph,
                     .binding = &program->binding,
                     .arena = &program->arena,
                     .cpu = program->options.cpu,
                     .items = is_whole(program) ? 1 : program->binding.batch};
    qn_status status = lower_graph(&l, err);
    qn_node_list_free(&l.unsupported);
    program->code = status == QN_OK ? l.code : NULL;
    return status;
}
