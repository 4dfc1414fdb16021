/* Lowering: from a bound graph whose values carry quantizers to tensors and steps. This file walks the graph; the
 * nodes' own functions are in lower_*.c. */
#include "engine/integer/lower.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"

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
    {QN_OP_DROPOUT, qn_lower_reshape},
    {QN_OP_FLATTEN, qn_lower_reshape},
    {QN_OP_GEMM, qn_lower_gemm},
    {QN_OP_GLOBAL_AVERAGE_POOL, qn_lower_pool},
    {QN_OP_GLOBAL_MAX_POOL, qn_lower_pool},
    {QN_OP_IDENTITY, qn_lower_reshape},
    {QN_OP_MATMUL, qn_lower_gemm},
    {QN_OP_MAX_POOL, qn_lower_pool},
    {QN_OP_RELU, qn_lower_unary},
    {QN_OP_RESHAPE, qn_lower_reshape},
    {QN_OP_SQUEEZE, qn_lower_reshape},
    {QN_OP_TRANSPOSE, qn_lower_transpose},
    {QN_OP_UNSQUEEZE, qn_lower_reshape},
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

bool qn_integer_supports(const qn_graph *graph, const qn_node *node, const char **reason)
{
    (void)graph;
    (void)reason; /* there is no more to say than that it has no row */
    return find_row(node->op) != NULL;
}

bool qn_lower_shape(qn_lowering *l, qn_value_id value, qn_item_shape *shape)
{
    const qn_bound_value *bound = &l->binding->values[value];
    if (bound->rank < 2 || bound->dims[0] != l->binding->batch) {
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

bool qn_lower_params(qn_lowering *l, qn_value_id value, qn_code_params *params)
{
    const qn_quantizer *q = l->graph->values[value].quantizer;
    if (q == NULL) {
        l->reason = "a value without quantizer";
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

qn_value_id qn_lower_result(qn_lowering *l, const qn_node *node, qn_code_params *params, qn_status *status,
                            qn_error *err)
{
    qn_value_id first = node->outputs[0], last = first;
    for (int next; (next = l->consumer[last]) >= 0;) {
        const qn_node *after = &l->graph->nodes[next];
        bool fuses = after->op == QN_OP_RELU || (after->op == QN_OP_CLIP && after->inputs[0] == last);
        if (!fuses || !same_quantizer(l, last, after->outputs[0])) {
            break;
        }
        last = after->outputs[0];
    }
    *status = QN_OK;
    if (!qn_lower_params(l, last, params)) {
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
                                                   .first_step = -1,
                                                   .last_step = -1};
    l->code->tensor_of[value] = tensor;
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

static qn_status lower_inputs(qn_lowering *l, qn_error *err)
{
    for (size_t i = 0; i < l->program->n_inputs; i++) {
        qn_value_id value = l->program->inputs[i].value;
        if (!l->binding->used[value]) {
            continue;
        }
        qn_item_shape shape;
        qn_code_params params;
        if (!qn_lower_shape(l, value, &shape) || !qn_lower_params(l, value, &params)) {
            return qn_fail(err, QN_EUNSUPPORTED, l->graph->file,
                           "the integer engine cannot take input '%s': %s; quantize the model first",
                           l->graph->values[value].name, l->reason);
        }
        qn_integer_step *step = qn_lower_step(l, QN_STEP_ENCODE, NULL, -1, qn_lower_tensor(l, value, &shape, &params));
        step->io = i;
        step->kernel = qn_kernel_select(QN_KERNEL_ENCODE, l->cpu, 0);
        step->u.encode = (qn_encode_params){params.scale, params.zero_point, params.lo, params.hi};
    }
    return QN_OK;
}

static qn_status lower_outputs(qn_lowering *l, qn_error *err)
{
    for (size_t i = 0; i < l->program->n_outputs; i++) {
        qn_value_id value = l->program->outputs[i].value;
        int tensor = l->code->tensor_of[value];
        if (tensor < 0) {
            return qn_fail(
                err, QN_EUNSUPPORTED, l->graph->file,
                "the integer engine does not compute output '%s' from coded values; quantize the model first",
                l->graph->values[value].name);
        }
        qn_lower_step(l, QN_STEP_DECODE, NULL, tensor, -1)->io = i;
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

static qn_status lower_node(qn_lowering *l, size_t index, qn_error *err)
{
    const qn_node *node = &l->graph->nodes[index];
    if (l->done[index] || node->op == QN_OP_REMOVED || needs_no_step(l, node)) {
        return QN_OK;
    }
    l->reason = NULL;
    qn_lower_fn *lower = find_row(node->op);
    bool follows = reads_refused(l, node);
    if (lower == NULL) {
        l->reason = "no integer form";
    } else if (!follows) {
        QN_TRY(lower(l, node, err));
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

/* Who reads each value: the index of its only reader, -1 for none or several. */
static void find_consumers(qn_lowering *l)
{
    enum { NOBODY = -1, MANY = -2 };
    for (size_t i = 0; i < l->graph->n_values; i++) {
        l->consumer[i] = NOBODY;
    }
    for (size_t n = 0; n < l->graph->n_nodes; n++) {
        const qn_node *node = &l->graph->nodes[n];
        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] != QN_NO_VALUE && node->op != QN_OP_REMOVED) {
                int *consumer = &l->consumer[node->inputs[i]];
                *consumer = *consumer == NOBODY ? (int)n : MANY;
            }
        }
    }
    for (size_t i = 0; i < l->graph->n_outputs; i++) {
        l->consumer[l->graph->outputs[i]] = MANY;
    }
}

/* Upper bounds: a node makes at most one step per input and two more, and as many tensors. */
static qn_status allocate(qn_lowering *l, qn_error *err)
{
    size_t n = 2 * (l->program->n_inputs + l->program->n_outputs) + 1;
    for (size_t i = 0; i < l->graph->n_nodes; i++) {
        n += 2 * (size_t)l->graph->nodes[i].n_inputs + 3;
    }
    size_t n_values = l->graph->n_values, n_nodes = l->graph->n_nodes;
    l->code = qn_arena_alloc(l->arena, sizeof *l->code);
    l->consumer = qn_arena_array(l->arena, n_values + 1, sizeof *l->consumer);
    l->refused = qn_arena_array(l->arena, n_values + 1, sizeof *l->refused);
    l->done = qn_arena_array(l->arena, n_nodes + 1, sizeof *l->done);
    if (n > INT32_MAX || l->code == NULL || l->consumer == NULL || l->refused == NULL || l->done == NULL) {
        return qn_fail_memory(err, l->graph->file, n);
    }
    l->code->steps = qn_arena_array(l->arena, n, sizeof *l->code->steps);
    l->code->tensors = qn_arena_array(l->arena, n, sizeof *l->code->tensors);
    l->code->tensor_of = qn_arena_array(l->arena, n_values + 1, sizeof *l->code->tensor_of);
    if (l->code->steps == NULL || l->code->tensors == NULL || l->code->tensor_of == NULL) {
        return qn_fail_memory(err, l->graph->file, n * sizeof *l->code->steps);
    }
    memset(l->code->tensor_of, 0xff, n_values * sizeof *l->code->tensor_of); /* all -1 */
    find_consumers(l);
    return QN_OK;
}

static qn_status lower_graph(qn_lowering *l, qn_error *err)
{
    QN_TRY(qn_graph_get_arithmetic(l->graph, &l->arithmetic, err));
    QN_TRY(allocate(l, err));
    QN_TRY(lower_inputs(l, err));
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

qn_status qn_integer_lower(qn_program *program, qn_error *err)
{
    qn_lowering l = {.program = program,
                     .graph = &program->graph,
                     .binding = &program->binding,
                     .arena = &program->arena,
                     .cpu = program->options.cpu};
    qn_status status = lower_graph(&l, err);
    qn_node_list_free(&l.unsupported);
    program->code = status == QN_OK ? l.code : NULL;
    return status;
}
