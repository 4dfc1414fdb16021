/* The float engine's life: lower a bound graph, make workspaces, run. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "engine/float/ops.h"
#include "graph/passes.h"

int qn_float_hold_threads(void)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
}

/* A float network is cleaned up where nobody looks at its values: operators written in pieces run as one. What a quantized
 * network rounds follows from every bit before: there only BatchNormalizations are folded. */
static qn_status prepare(qn_program *program, qn_error *err)
{
    qn_graph *graph = &program->graph;
    if (program->options.keep_values || program->watched) {
        return QN_OK;
    }
    bool coded = false;
    for (size_t i = 0; i < graph->n_values; i++) {
        coded |= graph->values[i].quantizer != NULL;
    }
    qn_binding binding;
    qn_error reason;
    qn_error_init(&reason);
    if (!coded && qn_graph_bind(&binding, graph, 1, &reason) == QN_OK) { /* others take more than one item only */
        qn_binding_free(&binding);
        QN_TRY(qn_graph_clean_up(graph, err));
    }
    return qn_graph_fold_batchnorm(graph, err);
}

static void count_uses(qn_float_builder *b)
{
    const qn_graph *graph = b->graph;
    for (size_t i = 0; i < graph->n_values; i++) {
        b->reader[i] = -1;
        b->watch[i] = -1;
        b->code->of_value[i] = QN_FLOAT_NONE;
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        for (int j = 0; j < graph->nodes[i].n_inputs; j++) {
            qn_value_id id = graph->nodes[i].inputs[j];
            if (id != QN_NO_VALUE) {
                b->n_uses[id]++;
                b->reader[id] = (int32_t)i;
            }
        }
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        b->n_uses[graph->outputs[i]]++;
    }
}

/* Keep a tensor's slot alive from before the first step, or until after the last. */
static void extend_life(qn_float_builder *b, qn_float_id id, bool from_start)
{
    qn_float_slot *slot = &b->code->slots[qn_float_at(b, id)->slot];
    slot->last = from_start ? slot->last : (int32_t)b->code->n_steps;
    slot->first = from_start ? -1 : slot->first;
    slot->last = slot->last < 0 ? 0 : slot->last;
}

static qn_status lower_inputs(qn_float_builder *b, qn_error *err)
{
    b->node = -1;
    for (size_t i = 0; i < b->graph->n_inputs; i++) {
        qn_value_id value = b->graph->inputs[i];
        const qn_bound_value *bound = qn_float_bound(b, value);
        qn_float_id id, typed;
        QN_TRY(qn_float_new(b, QN_DTYPE_F32, bound->rank, bound->dims, &id, err));
        b->code->inputs[i] = id;
        QN_TRY(qn_float_convert(b, id, bound->dtype, &typed, err));
        QN_TRY(qn_float_define(b, value, typed, err));
        extend_life(b, id, true);
    }
    return QN_OK;
}

static bool all_known(const qn_float_builder *b, const qn_node *node)
{
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE && qn_float_bound(b, node->outputs[i])->known == NULL) {
            return false;
        }
    }
    return true;
}

static qn_status lower_nodes(qn_float_builder *b, qn_error *err)
{
    for (size_t i = 0; i < b->graph->n_nodes; i++) {
        const qn_node *node = &b->graph->nodes[i];
        b->node = (int32_t)i;
        if (node->op == QN_OP_REMOVED || b->done[i] || all_known(b, node)) {
            continue;
        }
        QN_TRY(qn_float_lower_node(b, node, err));
    }
    return QN_OK;
}

static qn_status lower_outputs(qn_float_builder *b, qn_error *err)
{
    b->node = -1;
    for (size_t i = 0; i < b->graph->n_outputs; i++) {
        qn_float_id id;
        QN_TRY(qn_float_read_any(b, b->graph->outputs[i], &id, err));
        QN_TRY(qn_float_convert(b, id, QN_DTYPE_F32, &id, err));
        b->code->outputs[i] = id;
    }
    for (size_t i = 0; i < b->graph->n_outputs; i++) {
        extend_life(b, b->code->outputs[i], false);
    }
    return QN_OK;
}

static qn_status lower(qn_float_builder *b, qn_arena *scratch, qn_error *err)
{
    const qn_graph *graph = b->graph;
    b->n_uses = qn_arena_array(scratch, graph->n_values, sizeof *b->n_uses);
    b->reader = qn_arena_array(scratch, graph->n_values, sizeof *b->reader);
    b->watch = qn_arena_array(scratch, graph->n_values, sizeof *b->watch);
    b->done = qn_arena_array(scratch, graph->n_nodes, sizeof *b->done);
    b->batched = qn_arena_array(scratch, graph->n_values, sizeof *b->batched);
    if (b->batched == NULL || b->n_uses == NULL || b->reader == NULL || b->watch == NULL || b->done == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *b->n_uses);
    }
    count_uses(b);
    QN_TRY(qn_float_find_batched(b, b->program->whole, err));
    QN_TRY(lower_inputs(b, err));
    QN_TRY(lower_nodes(b, err));
    QN_TRY(lower_outputs(b, err));
    return qn_float_plan(b->code, b->program->options.keep_values, scratch, err);
}

static qn_status make_code(qn_program *program, qn_float_program *code, qn_error *err)
{
    const qn_graph *graph = &program->graph;
    code->of_value = qn_arena_array(&program->arena, graph->n_values, sizeof *code->of_value);
    code->inputs = qn_arena_array(&program->arena, graph->n_inputs, sizeof *code->inputs);
    code->outputs = qn_arena_array(&program->arena, graph->n_outputs, sizeof *code->outputs);
    if (code->of_value == NULL || code->inputs == NULL || code->outputs == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *code->of_value);
    }
    code->lanes = qn_float_lanes_for(program->options.cpu);
    if (dnnl_engine_create(&code->engine, dnnl_cpu, 0) != dnnl_success) {
        code->engine = NULL;
        return qn_fail(err, QN_EINTERNAL, graph->file, "oneDNN offers no engine on this machine");
    }
    return QN_OK;
}

static qn_status compile(qn_program *program, qn_error *err)
{
    qn_float_program *code = qn_alloc(sizeof *code);
    if (code == NULL) {
        return qn_fail_memory(err, program->graph.file, sizeof *code);
    }
    program->code = code; /* released with the program from here on */
    QN_TRY(make_code(program, code, err));
    qn_float_builder builder = {
        .program = program, .code = code, .graph = &program->graph, .binding = &program->binding, .node = -1};
    qn_arena scratch = {0};
    int threads = qn_float_hold_threads();
    qn_status status = lower(&builder, &scratch, err);
    omp_set_num_threads(threads);
    qn_arena_free(&scratch);
    return status;
}

static void release(qn_program *program)
{
    qn_float_program *code = program->code;
    if (code == NULL) {
        return;
    }
    for (size_t i = 0; i < code->n_steps; i++) {
        (void)dnnl_primitive_destroy(code->steps[i].primitive);
    }
    for (size_t i = 0; i < code->n_made; i++) {
        (void)dnnl_primitive_destroy(code->made[i].primitive);
    }
    (void)dnnl_engine_destroy(code->engine);
    qn_free(code->slots);
    qn_free(code->tensors);
    qn_free(code->steps);
    qn_free(code->shown);
    qn_free(code->made);
    qn_free(code->quantized);
    qn_free(code);
}

static void *address(const qn_float_program *code, const qn_float_workspace *memory, qn_float_id id)
{
    if (id == QN_FLOAT_NONE) {
        return NULL;
    }
    const qn_float_slot *slot = &code->slots[code->tensors[id].slot];
    return slot->constant != NULL ? slot->constant : memory->arena + slot->offset;
}

static dnnl_status_t describe_memory(const qn_float_program *code, qn_float_workspace *memory, qn_float_id id)
{
    if (memory->memories[id] != NULL) {
        return dnnl_success;
    }
    return dnnl_memory_create(&memory->memories[id], &code->tensors[id].md, code->engine, address(code, memory, id));
}

static dnnl_status_t bind_primitive(const qn_float_program *code, qn_float_workspace *memory, size_t index,
                                    dnnl_exec_arg_t *args)
{
    const qn_float_step *step = &code->steps[index];
    for (int i = 0; i < step->n_args; i++) {
        dnnl_status_t status = describe_memory(code, memory, step->args[i]);
        if (status != dnnl_success) {
            return status;
        }
        args[i] = (dnnl_exec_arg_t){step->kinds[i], memory->memories[step->args[i]]};
    }
    dnnl_status_t status =
        dnnl_memory_create(&memory->scratch[index], &step->scratch, code->engine, memory->arena + code->arena_bytes);
    args[step->n_args] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, memory->scratch[index]};
    return status;
}

static qn_status bind_steps(const qn_float_program *code, qn_float_workspace *memory, qn_error *err)
{
    void **args = memory->args;
    dnnl_exec_arg_t *exec_args = memory->exec_args;
    for (size_t i = 0; i < code->n_steps; i++) {
        const qn_float_step *step = &code->steps[i];
        for (int j = 0; j < step->n_args; j++) {
            args[j] = address(code, memory, step->args[j]);
        }
        if (step->primitive != NULL && bind_primitive(code, memory, i, exec_args) != dnnl_success) {
            return qn_fail_memory(err, "oneDNN's memory objects", 0);
        }
        args += step->n_args;
        exec_args += step->n_args + 1;
    }
    return QN_OK;
}

static qn_status workspace_create(qn_workspace *workspace, qn_error *err)
{
    const qn_float_program *code = workspace->program->code;
    qn_float_workspace *memory = qn_alloc(sizeof *memory);
    if (memory == NULL) {
        return qn_fail_memory(err, NULL, sizeof *memory);
    }
    workspace->memory = memory; /* released with the workspace from here on */
    size_t n_bytes;
    if (!qn_add_size(code->arena_bytes, code->scratch_bytes, &n_bytes)) {
        return qn_fail_memory(err, workspace->program->graph.file, code->arena_bytes);
    }
    memory->arena = qn_alloc(n_bytes);
    memory->args = qn_alloc(code->n_args * sizeof *memory->args);
    memory->exec_args = qn_alloc((code->n_args + code->n_steps) * sizeof *memory->exec_args);
    memory->memories = qn_alloc(code->n_tensors * sizeof *memory->memories);
    memory->scratch = qn_alloc(code->n_steps * sizeof *memory->scratch);
    if (memory->arena == NULL || memory->args == NULL || memory->exec_args == NULL || memory->memories == NULL ||
        memory->scratch == NULL) {
        return qn_fail_memory(err, workspace->program->graph.file, n_bytes);
    }
    if (dnnl_stream_create(&memory->stream, code->engine, dnnl_stream_default_flags) != dnnl_success) {
        memory->stream = NULL;
        return qn_fail_memory(err, "oneDNN's stream", 0);
    }
    return bind_steps(code, memory, err);
}

static void destroy_memories(dnnl_memory_t *memories, size_t n)
{
    for (size_t i = 0; memories != NULL && i < n; i++) {
        (void)dnnl_memory_destroy(memories[i]);
    }
    qn_free(memories);
}

static void workspace_release(qn_workspace *workspace)
{
    qn_float_workspace *memory = workspace->memory;
    if (memory == NULL) {
        return;
    }
    const qn_float_program *code = workspace->program->code;
    destroy_memories(memory->memories, code->n_tensors);
    destroy_memories(memory->scratch, code->n_steps);
    (void)dnnl_stream_destroy(memory->stream);
    qn_free(memory->exec_args);
    qn_free(memory->args);
    qn_free(memory->arena);
    qn_free(memory);
}

/* Items that are not there repeat the last one, so that nothing computed from the rest of the batch is out of the
 * ordinary (slow denormals, NaN, ranges that no given item has). */
static void load_input(float *to, const float *from, int64_t count, int64_t n, int64_t batch)
{
    size_t item = (size_t)count * sizeof *to;
    memcpy(to, from, item * (size_t)n);
    for (int64_t i = n; i < batch; i++) {
        memcpy(to + i * count, from + (n - 1) * count, item);
    }
}

/* Show what is complete before step `step`, from entry `next` on; the first that is not is returned. */
static size_t show(const qn_workspace *workspace, size_t next, size_t step, int64_t n)
{
    const qn_program *program = workspace->program;
    const qn_float_program *code = program->code;
    for (; next < code->n_shown && code->shown[next].step <= step; next++) {
        const qn_float_shown *shown = &code->shown[next];
        const qn_value_view view = qn_float_layout_view(
            &code->tensors[shown->id], address(code, workspace->memory, shown->id), n, program->options.batch);
        workspace->watcher->show(workspace->watcher->ctx, shown->entry, &view);
    }
    return next;
}

qn_status qn_float_run_step(const qn_workspace *workspace, size_t index, void *const *args,
                            const dnnl_exec_arg_t *exec_args, qn_error *err)
{
    const qn_program *program = workspace->program;
    const qn_float_workspace *memory = workspace->memory;
    const qn_float_step *step = &((const qn_float_program *)program->code)->steps[index];
    if (step->primitive == NULL) {
        step->kernel(step->params, args);
    } else if (dnnl_primitive_execute(step->primitive, memory->stream, step->n_args + 1, exec_args) != dnnl_success) {
        char where[QN_NODE_WHERE_MAX];
        return qn_fail(err, QN_EINTERNAL,
                       step->node < 0 ? NULL : qn_node_where(where, &program->graph, &program->graph.nodes[step->node]),
                       "oneDNN failed to run it");
    }
    return QN_OK;
}

static qn_status run_steps(const qn_workspace *workspace, int64_t n, qn_error *err)
{
    const qn_program *program = workspace->program;
    const qn_float_workspace *memory = workspace->memory;
    const qn_float_program *code = program->code;
    size_t next = workspace->watcher != NULL ? show(workspace, 0, 0, n) : code->n_shown;
    void *const *args = memory->args;
    const dnnl_exec_arg_t *exec_args = memory->exec_args;
    for (size_t i = 0; i < code->n_steps; i++) {
        const qn_float_step *step = &code->steps[i];
        QN_TRY(qn_float_run_step(workspace, i, args, exec_args, err));
        args += step->n_args;
        exec_args += step->n_args + 1;
        if (next < code->n_shown) {
            next = show(workspace, next, i + 1, n);
        }
    }
    return dnnl_stream_wait(memory->stream) == dnnl_success ? QN_OK : qn_fail(err, QN_EINTERNAL, NULL, "oneDNN failed");
}

void qn_float_load_input(const qn_workspace *workspace, size_t index, const float *input, int64_t n)
{
    const qn_program *program = workspace->program;
    const qn_float_program *code = program->code;
    load_input(address(code, workspace->memory, code->inputs[index]), input, program->inputs[index].count, n,
               program->options.batch);
}

static qn_status run(const qn_program *program, qn_workspace *workspace, const float *const *inputs, int64_t n,
                     float *const *outputs, qn_error *err)
{
    const qn_float_program *code = program->code;
    const qn_float_workspace *memory = workspace->memory;
    for (size_t i = 0; i < program->n_inputs; i++) {
        qn_float_load_input(workspace, i, inputs[i], n);
    }
    int threads = qn_float_hold_threads();
    qn_status status = run_steps(workspace, n, err);
    omp_set_num_threads(threads);
    QN_TRY(status);
    for (size_t i = 0; i < program->n_outputs; i++) {
        memcpy(outputs[i], address(code, memory, code->outputs[i]),
               (size_t)n * (size_t)program->outputs[i].count * sizeof(float));
    }
    return QN_OK;
}

const qn_engine_ops qn_engine_float_ops = {
    .name = "float",
    .supports = qn_float_supports,
    .prepare = prepare,
    .compile = compile,
    .release = release,
    .workspace_create = workspace_create,
    .workspace_release = workspace_release,
    .run = run,
};

const qn_engine_ops qn_engine_simulate_ops = {
    .name = "simulate",
    .supports = qn_float_supports,
    .prepare = prepare,
    .compile = compile,
    .release = release,
    .workspace_create = workspace_create,
    .workspace_release = workspace_release,
    .run = run,
};

bool qn_program_view(const qn_program *program, const qn_workspace *workspace, qn_value_id value, int64_t n,
                     qn_value_view *view)
{
    const qn_float_program *code = program->code;
    if (program->engine->run != run || !program->options.keep_values || value < 0 ||
        (size_t)value >= program->graph.n_values || program->binding.values[value].known != NULL ||
        code->of_value[value] == QN_FLOAT_NONE) {
        return false;
    }
    const qn_float_tensor *tensor = &code->tensors[code->of_value[value]];
    if (tensor->dtype != QN_DTYPE_F32) {
        return false;
    }
    *view = qn_float_layout_view(tensor, address(code, workspace->memory, code->of_value[value]), n,
                                 program->options.batch);
    return true;
}
