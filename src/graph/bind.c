/* Binding a graph to a batch size: constants, inputs, then one inference per node in topological order. */
#include "graph/bind.h"

#include <string.h>

#include "graph/compute/compute.h"
#include "graph/fold.h"

/* What folding may allocate in all; a file could multiply a constant over and over. */
#define FOLD_BUDGET_BYTES ((int64_t)1 << 30)

void qn_binding_free(qn_binding *binding)
{
    if (binding != NULL) {
        qn_arena_free(&binding->arena);
        *binding = (qn_binding){0};
    }
}

static bool lead_with_batch(const qn_binding *binding, const qn_value_id *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const qn_bound_value *value = &binding->values[ids[i]];
        if (value->rank < 1 || value->dims[0] != binding->batch) {
            return false;
        }
    }
    return true;
}

bool qn_binding_has_items(const qn_binding *binding, const qn_graph *graph)
{
    return lead_with_batch(binding, graph->inputs, graph->n_inputs) &&
           lead_with_batch(binding, graph->outputs, graph->n_outputs);
}

static qn_status fail_value(const qn_graph *graph, const qn_value *value, qn_status status, const char *reason,
                            qn_error *err)
{
    return qn_fail(err, status, graph->file, "value '%s' %s", value->name, reason);
}

/* float64, float16 and bfloat16 are computed in float32. */
static qn_status widen_constant(qn_binding *binding, const qn_value *value, const qn_tensor **t, int64_t n_elems,
                                qn_error *err)
{
    qn_tensor *wide = qn_arena_alloc(&binding->arena, sizeof *wide);
    float *data = qn_arena_array(&binding->arena, (size_t)n_elems, sizeof *data);
    if (wide == NULL || data == NULL) {
        return qn_fail_memory(err, value->name, (size_t)n_elems * sizeof *data);
    }
    qn_convert_elements(QN_DTYPE_F32, data, (*t)->dtype, (*t)->data, n_elems);
    *wide = **t;
    wide->dtype = QN_DTYPE_F32;
    wide->data = data;
    wide->owns_data = false;
    *t = wide;
    return QN_OK;
}

static qn_status bind_constant(qn_binding *binding, qn_value_id id, qn_error *err)
{
    const qn_value *value = &binding->graph->values[id];
    const qn_tensor *t = value->constant;
    int64_t n_elems;
    if (!qn_count_elems(t->rank, t->dims, &n_elems)) {
        return fail_value(binding->graph, value, QN_ELIMIT, "has more than 2^31 elements", err);
    }
    if (qn_computed_dtype(t->dtype) != t->dtype) {
        QN_TRY(widen_constant(binding, value, &t, n_elems, err));
    }
    qn_bound_value *bound = &binding->values[id];
    *bound = (qn_bound_value){.dtype = t->dtype, .rank = t->rank, .n_elems = n_elems, .known = t};
    bound->of_codes = value->quantizer != NULL;
    memcpy(bound->dims, t->dims, sizeof bound->dims);
    return QN_OK;
}

static qn_status bind_input(qn_binding *binding, qn_value_id id, qn_error *err)
{
    const qn_value *value = &binding->graph->values[id];
    if (value->rank < 0 || value->dtype == QN_DTYPE_NONE) {
        return fail_value(binding->graph, value, QN_EUNSUPPORTED, "is a graph input without a declared type and shape",
                          err);
    }
    qn_bound_value *bound = &binding->values[id];
    *bound = (qn_bound_value){.dtype = qn_computed_dtype(value->dtype), .rank = value->rank};
    memcpy(bound->dims, value->dims, sizeof bound->dims);
    if (value->rank > 0 && bound->dims[0] < 0) {
        bound->dims[0] = binding->batch;
    }
    for (int i = 0; i < bound->rank; i++) {
        if (bound->dims[i] < 0) {
            return qn_fail(
                err, QN_EUNSUPPORTED, binding->graph->file,
                "dimension %d of graph input '%s' is dynamic; only the first may be: export the model with a fixed "
                "size there",
                i, value->name);
        }
    }
    if (!qn_count_elems(bound->rank, bound->dims, &bound->n_elems)) {
        return fail_value(binding->graph, value, QN_ELIMIT, "has more than 2^31 elements", err);
    }
    return QN_OK;
}

/* The batch asked for, or the first input's own when no input's leading dimension is dynamic. */
static int64_t effective_batch(const qn_graph *graph, int64_t wanted)
{
    for (size_t i = 0; i < graph->n_inputs; i++) {
        const qn_value *value = &graph->values[graph->inputs[i]];
        if (value->rank > 0 && value->dims[0] < 0) {
            return wanted;
        }
    }
    const qn_value *first = graph->n_inputs > 0 ? &graph->values[graph->inputs[0]] : NULL;
    return first != NULL && first->rank > 0 ? first->dims[0] : 1;
}

static void mark_used(qn_binding *binding)
{
    const qn_graph *graph = binding->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_inputs && node->op != QN_OP_REMOVED; i++) {
            if (node->inputs[i] != QN_NO_VALUE) {
                binding->used[node->inputs[i]] = 1;
            }
        }
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        binding->used[graph->outputs[i]] = 1;
    }
}

static qn_status bind_node(qn_binding *binding, const qn_node *node, int64_t *fold_budget, qn_error *err)
{
    qn_infer c = {binding, node, err};
    for (int i = 0; i < node->n_inputs; i++) {
        const qn_bound_value *input = qn_infer_input(&c, i);
        if (input != NULL && input->dtype == QN_DTYPE_NONE) {
            return qn_infer_fail(&c, QN_EFORMAT, NULL, "input %d, '%s', is not made by any earlier node", i,
                                 binding->graph->values[node->inputs[i]].name);
        }
    }
    QN_TRY(qn_infer_node(&c));
    return qn_fold_node(&c, binding, fold_budget);
}

/* What a node's function reports names the node; the user wants the file, too. */
static void name_file(const qn_graph *graph, qn_error *err)
{
    if (graph->file != NULL && graph->file[0] != '\0') {
        qn_error_prefix(err, graph->file);
    }
}

static qn_status bind_all(qn_binding *binding, qn_error *err)
{
    const qn_graph *graph = binding->graph;
    binding->n_values = graph->n_values;
    binding->values = qn_arena_array(&binding->arena, graph->n_values, sizeof *binding->values);
    binding->used = qn_arena_array(&binding->arena, graph->n_values, sizeof *binding->used);
    if (binding->values == NULL || binding->used == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *binding->values);
    }
    mark_used(binding);
    for (size_t i = 0; i < graph->n_values; i++) {
        if (graph->values[i].constant != NULL) {
            QN_TRY(bind_constant(binding, (qn_value_id)i, err));
        }
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        QN_TRY(bind_input(binding, graph->inputs[i], err));
    }
    int64_t fold_budget = FOLD_BUDGET_BYTES;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op != QN_OP_REMOVED) {
            qn_status status = bind_node(binding, &graph->nodes[i], &fold_budget, err);
            if (status != QN_OK) {
                name_file(graph, err);
                return status;
            }
        }
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (binding->values[graph->outputs[i]].dtype == QN_DTYPE_NONE) {
            return fail_value(graph, &graph->values[graph->outputs[i]], QN_EFORMAT,
                              "is a graph output, but nothing in the graph makes it", err);
        }
    }
    return QN_OK;
}

static qn_status bind(qn_binding *binding, const qn_graph *graph, int64_t batch, bool fold_floats, qn_error *err)
{
    *binding = (qn_binding){0};
    if (batch < 1) {
        return qn_fail(err, QN_EINVAL, NULL, "batch %lld, expected at least 1", (long long)batch);
    }
    QN_TRY(qn_graph_check(graph, err));
    binding->graph = graph;
    binding->fold_floats = fold_floats;
    binding->batch = effective_batch(graph, batch);
    qn_status status = bind_all(binding, err);
    if (status != QN_OK) {
        qn_binding_free(binding);
    }
    return status;
}

qn_status qn_graph_bind(qn_binding *binding, const qn_graph *graph, int64_t batch, qn_error *err)
{
    return bind(binding, graph, batch, false, err);
}

qn_status qn_graph_bind_folding(qn_binding *binding, const qn_graph *graph, int64_t batch, qn_error *err)
{
    return bind(binding, graph, batch, true, err);
}
