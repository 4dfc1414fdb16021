/* Facts about models that need shapes and engines: quern inspect. */
#include "quern/inspect.h"

#include <stdio.h>
#include <string.h>

#include "engine/inspect_formats.h"

#include "engine/integer/integer.h"
#include "engine/program.h"
#include "graph/model.h"
#include "graph/passes.h"

struct qn_inspection {
    qn_arena arena;
    qn_model_info model;
    qn_node_info *nodes;
};

/* Elements of a constant that counts as parameter: floats, or the codes of a quantized one. */
static int64_t parameters_of(const qn_value *value)
{
    if (value->constant == NULL || (value->codes == NULL && value->constant->dtype != QN_DTYPE_F32)) {
        return 0;
    }
    return qn_tensor_count(value->constant);
}

static int64_t add_count(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* Counted once, however many nodes read it. `seen` has one entry per value. */
static void count_parameters(const qn_graph *graph, qn_inspection *inspection, bool *seen)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; k < node->n_inputs; k++) {
            qn_value_id id = node->inputs[k];
            if (id == QN_NO_VALUE) {
                continue;
            }
            int64_t n = parameters_of(&graph->values[id]);
            inspection->nodes[i].n_parameters = add_count(inspection->nodes[i].n_parameters, n);
            if (!seen[id]) {
                seen[id] = true;
                inspection->model.n_parameters = add_count(inspection->model.n_parameters, n);
            }
        }
    }
}

static void describe_format(char text[QN_FORMAT_NAME_MAX], const qn_value *value)
{
    char name[QN_FORMAT_NAME_MAX];
    text[0] = '\0';
    if (value->quantizer != NULL) {
        qn_format_name(name, value->quantizer->format);
        snprintf(text, QN_FORMAT_NAME_MAX, "%.40s%s", name, value->quantizer->axis >= 0 ? " per channel" : "");
    }
}

static void describe_node(qn_node_info *info, const qn_graph *graph, const qn_node *node)
{
    info->name = node->name;
    info->op_type = node->op_type;
    info->domain = node->domain;
    info->output_name = "";
    info->rank = -1;
    info->org_quern = qn_node_is_org_quern(graph, node);
    info->supported = qn_engine_float_ops.supports(graph, node, NULL);
    info->integer = qn_integer_supports_codes(node->op); /* until shapes tell more */
    if (node->n_outputs > 0 && node->outputs[0] != QN_NO_VALUE) {
        info->output_name = graph->values[node->outputs[0]].name;
        describe_format(info->output_format, &graph->values[node->outputs[0]]);
    }
    if (node->n_inputs > 1 && node->inputs[1] != QN_NO_VALUE && graph->values[node->inputs[1]].codes != NULL) {
        describe_format(info->weight_format, &graph->values[node->inputs[1]]);
    }
}

/* A model that keeps its own batch is bound for that many items at once. */
static void describe_shape(qn_node_info *info, const qn_binding *binding, const qn_node *node)
{
    int64_t batch = binding->batch > 0 ? binding->batch : 1;
    info->macs = qn_node_macs(binding, node) / batch;
    if (node->n_outputs == 0 || node->outputs[0] == QN_NO_VALUE) {
        return;
    }
    const qn_bound_value *output = &binding->values[node->outputs[0]];
    info->rank = output->rank;
    memcpy(info->dims, output->dims, sizeof info->dims);
    if (output->rank > 0 && output->dims[0] == batch) {
        info->dims[0] = 1;
    }
}

static qn_status describe_shapes(qn_inspection *inspection, const qn_graph *graph, qn_error *err)
{
    qn_binding binding;
    qn_error reason;
    qn_error_init(&reason);
    qn_status status = qn_graph_bind(&binding, graph, 1, &reason);
    if (status == QN_ENOMEM) {
        return qn_fail(err, QN_ENOMEM, graph->file, "%s", reason.message);
    }
    if (status != QN_OK) {
        inspection->model.shape_error = qn_arena_printf(&inspection->arena, "%s: %s", reason.where, reason.message);
        return inspection->model.shape_error != NULL ? QN_OK : qn_fail_memory(err, graph->file, sizeof reason);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        describe_shape(&inspection->nodes[i], &binding, &graph->nodes[i]);
        inspection->nodes[i].integer = qn_integer_has_form(graph, &binding, &graph->nodes[i], NULL);
        inspection->model.macs = add_count(inspection->model.macs, inspection->nodes[i].macs);
    }
    qn_binding_free(&binding);
    return QN_OK;
}

/* Which BatchNormalizations go: fold a copy, and see whose output another operator makes there. */
static qn_status find_folded(qn_inspection *inspection, const qn_graph *graph, qn_error *err)
{
    qn_graph copy;
    QN_TRY(qn_graph_clone(&copy, graph, err));
    qn_error reason;
    qn_error_init(&reason);
    qn_status status = qn_graph_fold_batchnorm(&copy, &reason);
    for (size_t i = 0; status == QN_OK && i < graph->n_nodes; i++) {
        if (graph->nodes[i].op != QN_OP_BATCH_NORMALIZATION) {
            continue;
        }
        qn_value_id id = qn_graph_find(&copy, inspection->nodes[i].output_name);
        int32_t producer = id != QN_NO_VALUE ? copy.values[id].producer : -1;
        inspection->nodes[i].folded = producer >= 0 && copy.nodes[producer].op != QN_OP_BATCH_NORMALIZATION;
        inspection->nodes[i].integer |= inspection->nodes[i].folded;
    }
    qn_graph_free(&copy);
    /* A malformed node is shape inference's to tell. */
    return status == QN_ENOMEM ? qn_fail(err, status, graph->file, "%s", reason.message) : QN_OK;
}

/* What the integer engine makes of a quantized model, or why it refuses it. */
static qn_status find_islands(qn_inspection *inspection, const qn_model *model, qn_error *err)
{
    qn_program_options options;
    qn_program *program;
    qn_error reason;
    qn_error_init(&reason);
    if (!qn_model_is_quantized(model)) {
        return QN_OK;
    }
    QN_TRY(qn_program_options_init(&options, QN_ENGINE_INTEGER, err));
    qn_status status = qn_program_create(&program, model, &options, &reason);
    if (status == QN_ENOMEM) {
        return qn_fail(err, status, model->graph.file, "%s", reason.message);
    }
    if (status != QN_OK || !qn_integer_computes_on_codes(program)) {
        const char *why = status != QN_OK ? reason.message : "nothing would run on codes";
        inspection->model.integer_error = qn_arena_string(&inspection->arena, why);
        if (inspection->model.integer_error == NULL) {
            status = qn_fail_memory(err, model->graph.file, sizeof reason);
        } else if (status != QN_OK) {
            return QN_OK;
        }
    }
    const qn_integer_code *code = program->code;
    for (size_t i = 0; i < model->graph.n_nodes && status == QN_OK; i++) {
        if (code->island_reason[i] != NULL) {
            inspection->nodes[i].island_reason = qn_arena_string(&inspection->arena, code->island_reason[i]);
            inspection->nodes[i].island = true;
            inspection->model.n_islands++;
            status = inspection->nodes[i].island_reason != NULL ? QN_OK : qn_fail_memory(err, model->graph.file, 64);
        }
    }
    qn_program_free(program);
    return status;
}

static qn_status inspect(qn_inspection *inspection, const qn_model *model, qn_error *err)
{
    const qn_graph *graph = &model->graph;
    inspection->model = (qn_model_info){.file = graph->file,
                                        .graph_name = graph->name,
                                        .producer = graph->producer,
                                        .opset = graph->opset,
                                        .ir_version = graph->ir_version,
                                        .n_nodes = graph->n_nodes,
                                        .n_inputs = graph->n_inputs,
                                        .n_outputs = graph->n_outputs};
    memcpy(inspection->model.sha256, graph->sha256, sizeof inspection->model.sha256);
    inspection->nodes = qn_arena_array(&inspection->arena, graph->n_nodes, sizeof *inspection->nodes);
    bool *seen = qn_arena_array(&inspection->arena, graph->n_values, sizeof *seen);
    if (inspection->nodes == NULL || seen == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_nodes * sizeof *inspection->nodes);
    }
    count_parameters(graph, inspection, seen);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        describe_node(&inspection->nodes[i], graph, &graph->nodes[i]);
    }
    QN_TRY(describe_shapes(inspection, graph, err));
    QN_TRY(find_folded(inspection, graph, err));
    QN_TRY(find_islands(inspection, model, err));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        inspection->model.n_unsupported += !inspection->nodes[i].supported;
        inspection->model.n_no_integer += !inspection->nodes[i].integer;
    }
    for (size_t i = 0; i < graph->n_values; i++) {
        inspection->model.n_quantized_values += graph->values[i].quantizer != NULL;
    }
    return QN_OK;
}

qn_status qn_inspect(qn_inspection **inspection, const qn_model *model, qn_error *err)
{
    qn_inspection *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, model->graph.file, sizeof *made);
    }
    qn_status status = inspect(made, model, err);
    if (status != QN_OK) {
        qn_inspection_free(made);
        return status;
    }
    *inspection = made;
    return QN_OK;
}

void qn_inspection_free(qn_inspection *inspection)
{
    if (inspection != NULL) {
        qn_arena_free(&inspection->arena);
        qn_free(inspection);
    }
}

const qn_model_info *qn_inspection_model(const qn_inspection *inspection)
{
    return &inspection->model;
}

const qn_node_info *qn_inspection_node(const qn_inspection *inspection, size_t index)
{
    return index < inspection->model.n_nodes ? &inspection->nodes[index] : NULL;
}
