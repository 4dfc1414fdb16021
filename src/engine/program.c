/* What all engines share: options, the shapes of inputs and outputs, the list of what cannot run, dispatch. */
#include "engine/program.h"

#include <stdio.h>
#include <string.h>

#include "graph/model.h"
#include "graph/node_list.h"

enum { MAX_BATCH = 4096 };

/* Indexed by qn_engine. */
static const struct {
    const qn_engine_ops *ops;
    int64_t default_batch;
} engines[] = {
    [QN_ENGINE_FLOAT] = {&qn_engine_float_ops, 8},
    [QN_ENGINE_INTEGER] = {&qn_engine_integer_ops, 1},
    [QN_ENGINE_SIMULATE] = {&qn_engine_simulate_ops, 8},
};
enum { N_ENGINES = sizeof engines / sizeof engines[0] };

static qn_status check_engine(qn_engine engine, qn_error *err)
{
    if ((unsigned)engine >= N_ENGINES) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "unknown engine %d; use QN_ENGINE_FLOAT, QN_ENGINE_INTEGER or QN_ENGINE_SIMULATE", (int)engine);
    }
    return QN_OK;
}

const char *qn_engine_text(qn_engine engine)
{
    return (unsigned)engine < N_ENGINES ? engines[engine].ops->name : NULL;
}

qn_status qn_program_options_init(qn_program_options *options, qn_engine engine, qn_error *err)
{
    QN_TRY(check_engine(engine, err));
    qn_cpu cpu;
    QN_TRY(qn_cpu_from_environment(&cpu, NULL, err));
    *options = (qn_program_options){.struct_size = sizeof *options,
                                    .engine = engine,
                                    .cpu = cpu,
                                    .batch = engines[engine].default_batch,
                                    .keep_values = false};
    return QN_OK;
}

/* Limits of the integer engine may show only when it plans a network, so it is made to. */
qn_status qn_engine_choose(qn_engine *engine, const qn_model *model, qn_error *err)
{
    if (!qn_model_is_quantized(model)) {
        *engine = QN_ENGINE_FLOAT;
        return QN_OK;
    }
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, QN_ENGINE_INTEGER, err));
    qn_program *program = NULL;
    qn_error reason;
    qn_error_init(&reason);
    qn_status status = qn_program_create(&program, model, &options, &reason);
    const bool on_codes = status == QN_OK && qn_integer_computes_on_codes(program);
    qn_program_free(program);
    if (status == QN_ENOMEM) {
        return qn_fail(err, status, model->graph.file, "%s", reason.message);
    }
    *engine = on_codes ? QN_ENGINE_INTEGER : QN_ENGINE_SIMULATE;
    return QN_OK;
}

static qn_status check_options(const qn_program_options *options, qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_program_options_init", err));
    QN_TRY(check_engine(options->engine, err));
    if (options->batch < 1 || options->batch > MAX_BATCH) {
        return qn_fail(err, QN_EINVAL, NULL, "batch is %lld, must be between 1 and %d", (long long)options->batch,
                       MAX_BATCH);
    }
    if (options->cpu > qn_cpu_best()) {
        return qn_fail(err, QN_EINVAL, NULL, "CPU level %s asked for, this machine offers %s",
                       qn_cpu_text(options->cpu), qn_cpu_text(qn_cpu_best()));
    }
    return QN_OK;
}

/* Every node the engine cannot run, with its reason, in one message. */
static qn_status check_nodes(const qn_program *program, const qn_model *model, qn_error *err)
{
    const qn_graph *graph = &program->graph;
    qn_node_list list = {0};
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        const char *reason = NULL;
        if (node->op == QN_OP_REMOVED || program->engine->supports(graph, node, &reason)) {
            continue;
        }
        qn_status status = qn_node_list_add(&list, node, reason, err);
        if (status != QN_OK) {
            qn_node_list_free(&list);
            return status;
        }
    }
    bool unready = program->options.engine == QN_ENGINE_INTEGER && !qn_model_is_quantized(model);
    char lead[128];
    snprintf(lead, sizeof lead, "%sthe %s engine cannot run %zu of %zu nodes",
             unready ? "is not quantized; quantize the model first; " : "", program->engine->name, list.n,
             graph->n_nodes);
    return qn_node_list_fail(&list, graph, QN_EUNSUPPORTED, lead, err);
}

/* Integer arithmetic is planned from the parameters of integers: what has others, or none before it runs, is simulated. */
static qn_status check_quantizers(const qn_program *program, qn_error *err)
{
    const qn_graph *graph = &program->graph;
    for (size_t i = 0; program->options.engine == QN_ENGINE_INTEGER && i < graph->n_values; i++) {
        const qn_quantizer *q = graph->values[i].quantizer;
        if (q != NULL && (q->dynamic || q->format.kind != QN_FORMAT_INT)) {
            char name[QN_FORMAT_NAME_MAX];
            qn_format_name(name, q->format);
            return qn_fail(err, QN_EUNSUPPORTED, graph->file,
                           "the integer engine cannot run '%s', which is %s%s; use the simulate engine",
                           graph->values[i].name, q->dynamic ? "dynamic " : "", name);
        }
    }
    return QN_OK;
}

static bool has_dynamic_batch(const qn_graph *graph)
{
    for (size_t i = 0; i < graph->n_inputs; i++) {
        const qn_value *value = &graph->values[graph->inputs[i]];
        if (value->rank > 0 && value->dims[0] < 0) {
            return true;
        }
    }
    return false;
}

/* The items of one run: slices of the leading dimension where all inputs and outputs share it. A model of fixed shapes
 * that share none runs whole: one item, which is everything. */
static qn_status choose_items(qn_program *program, bool *whole, qn_error *err)
{
    const qn_graph *graph = &program->graph;
    const qn_binding *binding = &program->binding;
    *whole = !qn_binding_has_items(binding, graph) || (program->options.whole && binding->batch != 1);
    if (!*whole && binding->batch < 1) {
        return qn_fail(err, QN_EUNSUPPORTED, graph->file, "the batch dimension is 0; fix it in the model");
    }
    const bool dynamic = has_dynamic_batch(graph);
    if (!*whole) {
        program->options.batch = program->engine->one_by_one && dynamic ? program->options.batch : binding->batch;
        return QN_OK;
    }
    if (dynamic) {
        return qn_fail(err, QN_EUNSUPPORTED, graph->file,
                       "the batch dimension is not the leading one of every input and output; fix it in the model");
    }
    program->options.batch = 1;
    return QN_OK;
}

static qn_status bind_batch(qn_program *program, int64_t batch, bool *whole, qn_error *err)
{
    QN_TRY(qn_graph_bind(&program->binding, &program->graph, batch, err));
    return choose_items(program, whole, err);
}

/* Do codes depend on all that is computed together? Then that is one item, in every engine. */
static bool quantizes_dynamically(const qn_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op == QN_OP_DYNAMIC_QUANTIZE_LINEAR) {
            return true;
        }
    }
    return false;
}

/* A network that takes one item at a time in spite of a dynamic batch (it reshapes to [1, -1], say) gets one. */
static qn_status bind(qn_program *program, bool *whole, qn_error *err)
{
    qn_error reason;
    qn_error_init(&reason);
    const bool single = program->engine->one_by_one || quantizes_dynamically(&program->graph);
    qn_status status = bind_batch(program, single ? 1 : program->options.batch, whole, &reason);
    if (program->options.batch > 1 && !single && (status == QN_ESHAPE || status == QN_EUNSUPPORTED)) {
        qn_binding_free(&program->binding);
        if (bind_batch(program, 1, whole, NULL) == QN_OK) {
            return QN_OK;
        }
    }
    if (status != QN_OK && err != NULL && err->status == QN_OK) {
        *err = reason;
    }
    return status;
}

static qn_status describe_io(qn_program *program, const qn_value_id *ids, size_t n, bool whole, qn_program_io **io,
                             qn_error *err)
{
    *io = qn_arena_array(&program->arena, n, sizeof **io);
    if (*io == NULL) {
        return qn_fail_memory(err, program->graph.file, n * sizeof **io);
    }
    for (size_t i = 0; i < n; i++) {
        const qn_bound_value *value = &program->binding.values[ids[i]];
        int skipped = whole ? 0 : 1;
        (*io)[i].value = ids[i];
        (*io)[i].rank = value->rank - skipped;
        memcpy((*io)[i].dims, value->dims + skipped, (size_t)(value->rank - skipped) * sizeof value->dims[0]);
        QN_TRY(qn_shape_count((*io)[i].dims, (*io)[i].rank, &(*io)[i].count, err));
    }
    return QN_OK;
}

static qn_status build(qn_program *program, const qn_model *model, qn_error *err)
{
    QN_TRY(qn_graph_clone(&program->graph, &model->graph, err));
    QN_TRY(check_nodes(program, model, err));
    QN_TRY(check_quantizers(program, err));
    if (program->engine->prepare != NULL) {
        QN_TRY(program->engine->prepare(program, err));
    }
    const qn_graph *graph = &program->graph;
    QN_TRY(bind(program, &program->whole, err));
    program->n_inputs = graph->n_inputs;
    program->n_outputs = graph->n_outputs;
    QN_TRY(describe_io(program, graph->inputs, graph->n_inputs, program->whole, &program->inputs, err));
    QN_TRY(describe_io(program, graph->outputs, graph->n_outputs, program->whole, &program->outputs, err));
    return program->engine->compile(program, err);
}

static qn_status create(qn_program **program, const qn_model *model, const qn_program_options *options, bool watched,
                        qn_error *err)
{
    QN_TRY(check_options(options, err));
    qn_program *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, model->graph.file, sizeof *made);
    }
    made->engine = engines[options->engine].ops;
    made->options = *options;
    made->watched = watched;
    qn_status status = build(made, model, err);
    if (status != QN_OK) {
        qn_program_free(made);
        return status;
    }
    *program = made;
    return QN_OK;
}

qn_status qn_program_create(qn_program **program, const qn_model *model, const qn_program_options *options,
                            qn_error *err)
{
    return create(program, model, options, false, err);
}

qn_status qn_program_create_watched(qn_program **program, const qn_model *model, const qn_program_options *options,
                                    qn_error *err)
{
    if (options->engine == QN_ENGINE_INTEGER) {
        return qn_fail(err, QN_EINVAL, NULL, "only programs of the float and the simulate engine can be watched");
    }
    return create(program, model, options, true, err);
}

void qn_program_free(qn_program *program)
{
    if (program == NULL) {
        return;
    }
    program->engine->release(program);
    qn_binding_free(&program->binding);
    qn_graph_free(&program->graph);
    qn_arena_free(&program->arena);
    qn_free(program->watch);
    qn_free(program);
}

qn_status qn_workspace_create(qn_workspace **workspace, const qn_program *program, qn_error *err)
{
    qn_workspace *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, program->graph.file, sizeof *made);
    }
    made->program = program;
    qn_status status = program->engine->workspace_create(made, err);
    if (status != QN_OK) {
        qn_workspace_free(made);
        return status;
    }
    *workspace = made;
    return QN_OK;
}

void qn_workspace_free(qn_workspace *workspace)
{
    if (workspace == NULL) {
        return;
    }
    workspace->program->engine->workspace_release(workspace);
    qn_free(workspace);
}

int64_t qn_program_batch(const qn_program *program)
{
    return program->options.batch;
}

size_t qn_program_n_inputs(const qn_program *program)
{
    return program->n_inputs;
}

size_t qn_program_n_outputs(const qn_program *program)
{
    return program->n_outputs;
}

int64_t qn_program_input_count(const qn_program *program, size_t index)
{
    return program->inputs[index].count;
}

int64_t qn_program_output_count(const qn_program *program, size_t index)
{
    return program->outputs[index].count;
}

static int item_shape(const qn_program_io *io, int64_t *dims)
{
    memcpy(dims, io->dims, (size_t)io->rank * sizeof *dims);
    return io->rank;
}

int qn_program_input_shape(const qn_program *program, size_t index, int64_t *dims)
{
    return item_shape(&program->inputs[index], dims);
}

int qn_program_output_shape(const qn_program *program, size_t index, int64_t *dims)
{
    return item_shape(&program->outputs[index], dims);
}

qn_status qn_program_run(const qn_program *program, qn_workspace *workspace, const float *const *inputs, int64_t n,
                         float *const *outputs, qn_error *err)
{
    if (workspace->program != program) {
        return qn_fail(err, QN_EINVAL, program->graph.file, "the workspace was made for another program");
    }
    if (n < 1 || n > program->options.batch) {
        return qn_fail(err, QN_EINVAL, program->graph.file, "run of %lld items with a program for batches of %lld",
                       (long long)n, (long long)program->options.batch);
    }
    return program->engine->run(program, workspace, inputs, n, outputs, err);
}

qn_status qn_program_run_watched(const qn_program *program, qn_workspace *workspace, const float *const *inputs,
                                 int64_t n, float *const *outputs, const qn_watcher *watcher, qn_error *err)
{
    if (!program->watched) {
        return qn_fail(err, QN_EINVAL, program->graph.file, "the program was not made to be watched");
    }
    workspace->watcher = watcher;
    qn_status status = qn_program_run(program, workspace, inputs, n, outputs, err);
    workspace->watcher = NULL;
    return status;
}
