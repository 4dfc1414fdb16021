#include "graph/graph_copy.h"

#include <string.h>

/* A copy of n elements in the arena; a valid pointer for n = 0. *failed is set, never cleared. */
static void *copy_array(qn_arena *arena, const void *source, size_t n, size_t elem_size, bool *failed)
{
    void *copy = qn_arena_array(arena, n, elem_size);
    if (copy == NULL) {
        *failed = true;
    } else if (n > 0) {
        memcpy(copy, source, n * elem_size);
    }
    return copy;
}

static const char *copy_string(qn_arena *arena, const char *text, bool *failed)
{
    const char *copy = qn_arena_string(arena, text != NULL ? text : "");
    if (copy == NULL) {
        *failed = true;
    }
    return copy;
}

qn_status qn_tensor_copy_to_arena(qn_arena *arena, const qn_tensor **copy, const qn_tensor *t, qn_error *err)
{
    int64_t n_elems;
    QN_TRY(qn_shape_count(t->dims, t->rank, &n_elems, err));
    size_t n_bytes;
    if (!qn_mul_size((size_t)n_elems, qn_dtype_size(t->dtype), &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "a tensor of %lld elements is too large", (long long)n_elems);
    }
    qn_tensor *tensor = qn_arena_alloc(arena, sizeof *tensor);
    bool failed = tensor == NULL;
    void *data = qn_arena_alloc_uncleared(arena, n_bytes);
    if (failed || data == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    if (n_bytes > 0) {
        memcpy(data, t->data, n_bytes);
    }
    *tensor = *t;
    tensor->data = data;
    tensor->owns_data = false;
    *copy = tensor;
    return QN_OK;
}

static const char *const *copy_strings(qn_arena *arena, const char *const *strings, size_t n, bool *failed)
{
    const char **copy = qn_arena_array(arena, n, sizeof *copy);
    if (copy == NULL) {
        *failed = true;
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        copy[i] = copy_string(arena, strings[i], failed);
    }
    return copy;
}

static qn_status copy_attribute(qn_arena *arena, qn_attribute *copy, const qn_attribute *attribute, qn_error *err)
{
    bool failed = false;
    size_t n = (size_t)attribute->n;
    *copy = *attribute;
    copy->name = copy_string(arena, attribute->name, &failed);
    switch (attribute->type) {
    case QN_ATTRIBUTE_INT:
    case QN_ATTRIBUTE_FLOAT:
        break;
    case QN_ATTRIBUTE_STRING:
        copy->s = copy_string(arena, attribute->s, &failed);
        break;
    case QN_ATTRIBUTE_INTS:
        copy->ints = copy_array(arena, attribute->ints, n, sizeof *attribute->ints, &failed);
        break;
    case QN_ATTRIBUTE_FLOATS:
        copy->floats = copy_array(arena, attribute->floats, n, sizeof *attribute->floats, &failed);
        break;
    case QN_ATTRIBUTE_STRINGS:
        copy->strings = copy_strings(arena, attribute->strings, n, &failed);
        break;
    case QN_ATTRIBUTE_TENSOR:
        QN_TRY(qn_tensor_copy_to_arena(arena, &copy->tensor, attribute->tensor, err));
        break;
    }
    return failed ? qn_fail_memory(err, NULL, n * sizeof(int64_t)) : QN_OK;
}

qn_status qn_node_copy(qn_arena *arena, qn_node *copy, const qn_node *node, qn_error *err)
{
    bool failed = false;
    qn_node result = *node;
    result.name = copy_string(arena, node->name, &failed);
    result.op_type = copy_string(arena, node->op_type, &failed);
    result.domain = copy_string(arena, node->domain, &failed);
    result.inputs = copy_array(arena, node->inputs, (size_t)node->n_inputs, sizeof *node->inputs, &failed);
    result.outputs = copy_array(arena, node->outputs, (size_t)node->n_outputs, sizeof *node->outputs, &failed);
    result.attributes = qn_arena_array(arena, (size_t)node->n_attributes, sizeof *node->attributes);
    if (failed || result.attributes == NULL) {
        return qn_fail_memory(err, NULL, sizeof *node);
    }
    for (int i = 0; i < node->n_attributes; i++) {
        QN_TRY(copy_attribute(arena, &result.attributes[i], &node->attributes[i], err));
    }
    *copy = result;
    return QN_OK;
}

static qn_status copy_value(qn_graph *copy, const qn_value *value, qn_error *err)
{
    qn_value_id id;
    QN_TRY(qn_graph_add_value(copy, value->name, &id, err));
    qn_value *target = &copy->values[id];
    const char *name = target->name;
    *target = *value;
    target->name = name;
    target->producer = -1;
    bool failed = false;
    for (int i = 0; i < QN_MAX_RANK; i++) {
        if (value->dim_names[i] != NULL) {
            target->dim_names[i] = copy_string(&copy->arena, value->dim_names[i], &failed);
        }
    }
    if (failed) {
        return qn_fail_memory(err, NULL, sizeof *value);
    }
    if (value->constant != NULL) {
        QN_TRY(qn_tensor_copy_to_arena(&copy->arena, &target->constant, value->constant, err));
    }
    if (value->codes != NULL) {
        QN_TRY(qn_tensor_copy_to_arena(&copy->arena, &target->codes, value->codes, err));
    }
    if (value->quantizer != NULL) {
        QN_TRY(qn_quantizer_copy_to_arena(&copy->arena, &target->quantizer, value->quantizer, err));
    }
    return QN_OK;
}

/* Everything but the header's strings; ids and node indices stay the same. */
static qn_status copy_parts(qn_graph *copy, const qn_graph *graph, qn_error *err)
{
    for (size_t i = 0; i < graph->n_values; i++) {
        QN_TRY(copy_value(copy, &graph->values[i], err));
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        QN_TRY(qn_graph_add_node(copy, &graph->nodes[i], err));
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        QN_TRY(qn_graph_add_io(copy, false, graph->inputs[i], err));
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        QN_TRY(qn_graph_add_io(copy, true, graph->outputs[i], err));
    }
    for (size_t i = 0; i < graph->n_metadata; i++) {
        QN_TRY(qn_graph_set_metadata(copy, graph->metadata[i].key, graph->metadata[i].value, err));
    }
    return QN_OK;
}

qn_status qn_graph_clone(qn_graph *copy, const qn_graph *graph, qn_error *err)
{
    qn_graph result = {.opset = graph->opset, .ir_version = graph->ir_version};
    memcpy(result.sha256, graph->sha256, sizeof result.sha256);
    bool failed = false;
    result.name = copy_string(&result.arena, graph->name, &failed);
    result.file = copy_string(&result.arena, graph->file, &failed);
    result.producer = copy_string(&result.arena, graph->producer, &failed);
    qn_status status = failed ? qn_fail_memory(err, NULL, sizeof result) : copy_parts(&result, graph, err);
    if (status != QN_OK) {
        qn_graph_free(&result);
        return status;
    }
    *copy = result;
    return QN_OK;
}
