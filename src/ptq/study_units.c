/* The nodes that a study takes one at a time, and the size of a network. */
#include <string.h>

#include "ptq/study.h"

const char *qn_study_escape(qn_arena *arena, const char *name)
{
    char *glob = qn_arena_array(arena, 2 * strlen(name) + 1, 1);
    for (size_t n = 0; glob != NULL && *name != '\0'; name++) {
        if (strchr("*?[\\", *name) != NULL) {
            glob[n++] = '\\';
        }
        glob[n++] = *name;
    }
    return glob;
}

static const qn_node *find_node(const qn_graph *graph, const char *name)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        if (strcmp(graph->nodes[n].name, name) == 0) {
            return &graph->nodes[n];
        }
    }
    return NULL;
}

static qn_status add_glob(qn_study *study, qn_study_unit *unit, const char *name, qn_error *err)
{
    if (unit->n_globs == 1 + QN_STUDY_FOLLOWERS || find_node(&study->model->graph, name) == NULL) {
        return QN_OK;
    }
    const char *glob = qn_study_escape(&study->arena, name);
    if (glob == NULL) {
        return qn_fail_memory(err, NULL, strlen(name));
    }
    unit->globs[unit->n_globs++] = glob;
    return QN_OK;
}

/* The activations that became part of the node, in the float network, and those that follow it still. */
static qn_status add_followers(qn_study *study, qn_study_unit *unit, const qn_graph *graph, const qn_node *node,
                               qn_error *err)
{
    const qn_graph *plain = &study->model->graph;
    float lo, hi;
    qn_value_id id = qn_graph_find(plain, graph->values[node->outputs[0]].name);
    while (id != QN_NO_VALUE && plain->values[id].producer >= 0) {
        const qn_node *maker = &plain->nodes[plain->values[id].producer];
        if (!qn_ptq_bounds(plain, maker, &lo, &hi)) {
            break;
        }
        QN_TRY(add_glob(study, unit, maker->name, err));
        id = maker->inputs[0];
    }
    int32_t *uses = qn_graph_count_uses(graph);
    if (uses == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values);
    }
    qn_status status = QN_OK;
    qn_value_id last = node->outputs[0];
    for (size_t n = 0; n < graph->n_nodes && status == QN_OK && uses[last] == 1; n++) {
        const qn_node *reader = &graph->nodes[n];
        if (reader->n_inputs > 0 && reader->inputs[0] == last && qn_ptq_bounds(graph, reader, &lo, &hi)) {
            status = add_glob(study, unit, reader->name, err);
            last = reader->outputs[0];
        }
    }
    qn_free(uses);
    return status;
}

/* Has the node coded weights, or does it join coded values? */
static bool is_unit(const qn_graph *graph, const qn_node *node)
{
    const qn_ptq_rule *rule = qn_ptq_rule_of(node->op);
    bool coded = false;
    if (node->op == QN_OP_REMOVED || node->n_outputs < 1 || node->n_inputs < 2) {
        return false;
    }
    if (rule->has_weights) {
        coded = node->inputs[1] != QN_NO_VALUE && graph->values[node->inputs[1]].quantizer != NULL;
    }
    for (int i = 0; rule->joins && i < node->n_inputs; i++) {
        coded = node->inputs[i] != QN_NO_VALUE && graph->values[node->inputs[i]].quantizer != NULL && (i == 0 || coded);
    }
    return coded;
}

static qn_status fill_unit(qn_study *study, qn_study_unit *unit, const qn_binding *binding, const qn_node *node,
                           qn_error *err)
{
    const qn_graph *graph = binding->graph;
    unit->name = qn_arena_string(&study->arena, node->name);
    unit->op_type = qn_arena_string(&study->arena, node->op_type);
    unit->output_name = qn_arena_string(&study->arena, graph->values[node->outputs[0]].name);
    if (unit->name == NULL || unit->op_type == NULL || unit->output_name == NULL) {
        return qn_fail_memory(err, graph->file, 0);
    }
    if (qn_ptq_rule_of(node->op)->has_weights) {
        const qn_tensor *weights = graph->values[node->inputs[1]].constant;
        unit->n_weights = weights != NULL ? qn_tensor_count(weights) : 0;
        unit->macs = qn_node_macs(binding, node);
    }
    QN_TRY(add_glob(study, unit, node->name, err));
    return add_followers(study, unit, graph, node, err);
}

static qn_status find_units(qn_study *study, const qn_binding *binding, qn_study_unit **units, size_t *n_units,
                            qn_error *err)
{
    const qn_graph *graph = binding->graph;
    *units = qn_arena_array(&study->arena, graph->n_nodes + 1, sizeof **units);
    *n_units = 0;
    if (*units == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_nodes * sizeof **units);
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        if (is_unit(graph, node) && find_node(&study->model->graph, node->name) != NULL) {
            QN_TRY(fill_unit(study, &(*units)[(*n_units)++], binding, node, err));
        }
    }
    return *n_units > 0 ? QN_OK
                        : qn_fail(err, QN_EINVAL, graph->file, "no node of the quantized network computes on codes");
}

qn_status qn_study_find_units(qn_study *study, const qn_model *quantized, qn_study_unit **units, size_t *n_units,
                              qn_error *err)
{
    qn_binding binding = {0};
    QN_TRY(qn_graph_bind(&binding, &quantized->graph, 1, err));
    qn_status status = find_units(study, &binding, units, n_units, err);
    qn_binding_free(&binding);
    return status;
}

/* Bits of one parameter set. */
static int parameter_bits(const qn_quantizer *q)
{
    if (q->format.kind == QN_FORMAT_INT && q->format.bits == 32) {
        return 0;
    }
    const unsigned has = qn_format_parameters(q->format);
    int bits = (has & QN_PARAM_SCALE) != 0 ? 32 : 0;
    bits += (has & QN_PARAM_EXP_BIAS) != 0 ? 8 : 0;
    bits += (has & QN_PARAM_SHIFT) != 0 ? 32 : 0;
    bits += (has & QN_PARAM_MULTIPLIER) != 0 ? 32 : 0;
    bool zero = true;
    for (int64_t i = 0; i < q->n && q->zero_point != NULL; i++) {
        zero = zero && q->zero_point[i] == 0;
    }
    return bits + ((has & QN_PARAM_ZERO_POINT) != 0 && !zero ? q->format.bits <= 8 ? 8 : 32 : 0);
}

static qn_status add_constant(qn_model_size *size, const qn_value *value, qn_error *err)
{
    const qn_quantizer *q = value->quantizer;
    int64_t n = qn_tensor_count(value->constant), bits;
    if (value->constant->dtype != QN_DTYPE_F32) {
        return QN_OK; /* shapes and axes */
    }
    if (__builtin_mul_overflow(n, q != NULL ? q->format.bits : 32, &bits) ||
        __builtin_add_overflow(size->weight_bits, bits, &size->weight_bits)) {
        return qn_fail(err, QN_ELIMIT, value->name, "constants of more than 2^63 bits");
    }
    size->n_weights += n;
    size->parameter_bits += q != NULL ? q->n * parameter_bits(q) : 0;
    return QN_OK;
}

qn_status qn_model_measure(qn_model_size *size, const qn_model *model, qn_error *err)
{
    const qn_graph *graph = &model->graph;
    int32_t *uses = qn_graph_count_uses(graph);
    if (uses == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *uses);
    }
    *size = (qn_model_size){0};
    qn_status status = QN_OK;
    for (size_t v = 0; v < graph->n_values && status == QN_OK; v++) {
        if (graph->values[v].constant != NULL && uses[v] > 0) {
            status = add_constant(size, &graph->values[v], err);
        }
    }
    qn_free(uses);
    return status;
}
