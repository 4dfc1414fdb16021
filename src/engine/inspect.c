/* Facts about models that need shapes and engines: quern inspect. */
#include <stdio.h>
#include <string.h>

#include "engine/program.h"
#include "graph/model.h"
#include "quern/model.h"

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

/* Counted once, however many nodes read it. */
static qn_status count_parameters(const qn_graph *graph, qn_model_info *info, qn_error *err)
{
    bool *seen = qn_alloc(graph->n_values * sizeof *seen);
    if (seen == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; k < node->n_inputs; k++) {
            qn_value_id id = node->inputs[k];
            if (id != QN_NO_VALUE && !seen[id]) {
                seen[id] = true;
                info->n_parameters = add_count(info->n_parameters, parameters_of(&graph->values[id]));
            }
        }
    }
    qn_free(seen);
    return QN_OK;
}

static bool runs_on(const qn_engine_ops *engine, const qn_graph *graph, const qn_node *node)
{
    return engine->supports(graph, node, NULL);
}

/* A model that keeps its own batch runs that many items at once. */
static int64_t macs_per_item(const qn_binding *binding, const qn_node *node)
{
    int64_t batch = binding->batch > 0 ? binding->batch : 1;
    return qn_node_macs(binding, node) / batch;
}

qn_status qn_model_info_get(const qn_model *model, qn_model_info *info, qn_error *err)
{
    const qn_graph *graph = &model->graph;
    *info = (qn_model_info){.file = graph->file,
                            .graph_name = graph->name,
                            .producer = graph->producer,
                            .opset = graph->opset,
                            .ir_version = graph->ir_version,
                            .n_nodes = graph->n_nodes,
                            .n_inputs = graph->n_inputs,
                            .n_outputs = graph->n_outputs};
    memcpy(info->sha256, graph->sha256, sizeof info->sha256);
    QN_TRY(count_parameters(graph, info, err));
    for (size_t i = 0; i < graph->n_values; i++) {
        info->n_quantized_values += graph->values[i].quantizer != NULL;
    }
    qn_binding binding;
    bool bound = qn_graph_bind(&binding, graph, 1, NULL) == QN_OK;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        info->n_unsupported += !runs_on(&qn_engine_float_ops, graph, node);
        info->n_no_integer += !runs_on(&qn_engine_integer_ops, graph, node);
        info->macs = bound ? add_count(info->macs, macs_per_item(&binding, node)) : 0;
    }
    if (bound) {
        qn_binding_free(&binding);
    }
    return QN_OK;
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

static void describe_shape(const qn_graph *graph, const qn_node *node, qn_node_info *info)
{
    qn_binding binding;
    if (qn_graph_bind(&binding, graph, 1, NULL) != QN_OK) {
        return;
    }
    const qn_bound_value *output = &binding.values[node->outputs[0]];
    info->rank = output->rank;
    memcpy(info->dims, output->dims, sizeof info->dims);
    if (output->rank > 0 && binding.batch > 1 && output->dims[0] == binding.batch) {
        info->dims[0] = 1;
    }
    info->macs = macs_per_item(&binding, node);
    qn_binding_free(&binding);
}

qn_status qn_model_node(const qn_model *model, size_t index, qn_node_info *info, qn_error *err)
{
    const qn_graph *graph = &model->graph;
    if (index >= graph->n_nodes) {
        return qn_fail(err, QN_EINVAL, graph->file, "node %zu asked for, there are %zu", index, graph->n_nodes);
    }
    const qn_node *node = &graph->nodes[index];
    *info = (qn_node_info){.name = node->name,
                           .op_type = node->op_type,
                           .domain = node->domain,
                           .output_name = "",
                           .rank = -1,
                           .supported = runs_on(&qn_engine_float_ops, graph, node),
                           .integer = runs_on(&qn_engine_integer_ops, graph, node)};
    for (int k = 0; k < node->n_inputs; k++) {
        if (node->inputs[k] != QN_NO_VALUE) {
            info->n_parameters = add_count(info->n_parameters, parameters_of(&graph->values[node->inputs[k]]));
        }
    }
    if (node->n_outputs > 0 && node->outputs[0] != QN_NO_VALUE) {
        const qn_value *output = &graph->values[node->outputs[0]];
        info->output_name = output->name;
        describe_format(info->output_format, output);
        describe_shape(graph, node, info);
    }
    if (node->n_inputs > 1 && node->inputs[1] != QN_NO_VALUE && graph->values[node->inputs[1]].codes != NULL) {
        describe_format(info->weight_format, &graph->values[node->inputs[1]]);
    }
    return QN_OK;
}
