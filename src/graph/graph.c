/* Building a graph: values, nodes, inputs and outputs, metadata. */
#include "graph/graph.h"

#include <string.h>

#include "graph/graph_copy.h"
#include "graph/name_index.h"

/* Ids are int32 and files are untrusted. */
enum { MAX_VALUES = 1 << 28, MAX_NODES = 1 << 27, MAX_NODE_ARRAY = 1 << 24, MAX_METADATA = 4096 };

void qn_graph_free(qn_graph *graph)
{
    if (graph == NULL) {
        return;
    }
    qn_free(graph->nodes);
    qn_free(graph->values);
    qn_free(graph->inputs);
    qn_free(graph->outputs);
    qn_free(graph->metadata);
    qn_name_index_free(graph->index);
    qn_arena_free(&graph->arena);
    *graph = (qn_graph){0};
}

qn_value_id qn_graph_find(const qn_graph *graph, const char *name)
{
    return qn_name_index_find(graph->index, graph->values, name);
}

qn_status qn_graph_add_value(qn_graph *graph, const char *name, qn_value_id *id, qn_error *err)
{
    if (name[0] == '\0') {
        return qn_fail(err, QN_EFORMAT, NULL, "a value has no name");
    }
    if (qn_graph_find(graph, name) != QN_NO_VALUE) {
        return qn_fail(err, QN_EFORMAT, NULL, "the name '%s' is used for two values", name);
    }
    if (graph->n_values >= MAX_VALUES) {
        return qn_fail(err, QN_ELIMIT, NULL, "the graph has more than %d values", MAX_VALUES);
    }
    void *values = graph->values;
    qn_status status = qn_grow(&values, &graph->values_capacity, graph->n_values, sizeof *graph->values, err);
    graph->values = values;
    QN_TRY(status);
    QN_TRY(qn_name_index_reserve(&graph->index, err));
    const char *copy = qn_arena_string(&graph->arena, name);
    if (copy == NULL) {
        return qn_fail_memory(err, NULL, strlen(name) + 1);
    }
    *id = (qn_value_id)graph->n_values++;
    graph->values[*id] = (qn_value){.name = copy, .rank = -1, .producer = -1};
    qn_name_index_insert(graph->index, graph->values, *id);
    return QN_OK;
}

const char *qn_graph_unique_name(qn_graph *graph, const char *stem)
{
    if (stem[0] != '\0' && qn_graph_find(graph, stem) == QN_NO_VALUE) {
        return qn_arena_string(&graph->arena, stem);
    }
    if (stem[0] == '\0') {
        stem = "value";
    }
    /* Double the suffix until a name is free, then halve the gap to the last taken one: logarithmic in the number of
     * names on one stem, and with no holes the least free suffix. */
    uint64_t taken = 1, free = 1;
    const char *name = NULL;
    while (free - taken != 1) {
        uint64_t suffix = free > taken ? taken + (free - taken) / 2 : taken * 2;
        const char *candidate = qn_arena_printf(&graph->arena, "%s_%llu", stem, (unsigned long long)suffix);
        if (candidate == NULL) {
            return NULL;
        }
        if (qn_graph_find(graph, candidate) != QN_NO_VALUE) {
            taken = suffix;
        } else {
            free = suffix;
            name = candidate;
        }
    }
    return name;
}

qn_status qn_graph_rename(qn_graph *graph, qn_value_id id, const char *name, qn_error *err)
{
    qn_value_id holder = qn_graph_find(graph, name);
    if (holder == id) {
        return QN_OK;
    }
    if (holder != QN_NO_VALUE || name[0] == '\0') {
        return qn_fail(err, QN_EFORMAT, NULL, "value '%s' cannot be renamed: '%s' is %s", graph->values[id].name, name,
                       holder != QN_NO_VALUE ? "taken" : "no name");
    }
    const char *copy = qn_arena_string(&graph->arena, name);
    if (copy == NULL) {
        return qn_fail_memory(err, NULL, strlen(name) + 1);
    }
    qn_name_index_remove(graph->index, graph->values, id);
    graph->values[id].name = copy;
    qn_name_index_insert(graph->index, graph->values, id);
    return QN_OK;
}

/* Are all ids of one list values of the graph, or absent where that is allowed? */
static qn_status check_ids(const qn_graph *graph, const qn_node *node, const qn_value_id *ids, int n, qn_error *err)
{
    if (n < 0 || n > MAX_NODE_ARRAY) {
        return qn_fail(err, QN_ELIMIT, NULL, "node '%s' has %d inputs or outputs, the limit is %d", node->name, n,
                       MAX_NODE_ARRAY);
    }
    for (int i = 0; i < n; i++) {
        if (ids[i] != QN_NO_VALUE && (ids[i] < 0 || (size_t)ids[i] >= graph->n_values)) {
            return qn_fail(err, QN_EINTERNAL, NULL, "node '%s' refers to value %d of %zu", node->name, (int)ids[i],
                           graph->n_values);
        }
    }
    return QN_OK;
}

/* Mark the values that `node` makes; undoes itself on failure. */
static qn_status claim_outputs(qn_graph *graph, const qn_node *node, int32_t index, qn_error *err)
{
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] == QN_NO_VALUE) {
            continue;
        }
        qn_value *value = &graph->values[node->outputs[i]];
        if (value->producer >= 0 || value->constant != NULL) {
            bool has_producer = value->producer >= 0;
            for (int k = 0; k < i; k++) {
                if (node->outputs[k] != QN_NO_VALUE) {
                    graph->values[node->outputs[k]].producer = -1;
                }
            }
            return qn_fail(err, QN_EFORMAT, NULL, "value '%s' is the output of node '%s' and also %s", value->name,
                           node->name, has_producer ? "of another node" : "an initializer");
        }
        value->producer = index;
    }
    return QN_OK;
}

qn_status qn_graph_add_node(qn_graph *graph, const qn_node *proto, qn_error *err)
{
    qn_node node = *proto; /* may lie in the array that grows */
    if (graph->n_nodes >= MAX_NODES) {
        return qn_fail(err, QN_ELIMIT, NULL, "the graph has more than %d nodes", MAX_NODES);
    }
    QN_TRY(check_ids(graph, &node, node.inputs, node.n_inputs, err));
    QN_TRY(check_ids(graph, &node, node.outputs, node.n_outputs, err));
    QN_TRY(qn_node_copy(&graph->arena, &node, proto, err));
    void *nodes = graph->nodes;
    qn_status status = qn_grow(&nodes, &graph->nodes_capacity, graph->n_nodes, sizeof *graph->nodes, err);
    graph->nodes = nodes;
    QN_TRY(status);
    QN_TRY(claim_outputs(graph, &node, (int32_t)graph->n_nodes, err));
    graph->nodes[graph->n_nodes++] = node;
    return QN_OK;
}

qn_status qn_graph_add_io(qn_graph *graph, bool is_output, qn_value_id id, qn_error *err)
{
    qn_value_id **list = is_output ? &graph->outputs : &graph->inputs;
    size_t *n = is_output ? &graph->n_outputs : &graph->n_inputs;
    size_t *capacity = is_output ? &graph->outputs_capacity : &graph->inputs_capacity;
    if (id < 0 || (size_t)id >= graph->n_values) {
        return qn_fail(err, QN_EINTERNAL, NULL, "graph %s %d is not a value", is_output ? "output" : "input", (int)id);
    }
    void *grown = *list;
    qn_status status = qn_grow(&grown, capacity, *n, sizeof **list, err);
    *list = grown;
    QN_TRY(status);
    (*list)[(*n)++] = id;
    return QN_OK;
}

qn_status qn_graph_set_metadata(qn_graph *graph, const char *key, const char *value, qn_error *err)
{
    const char *copy = qn_arena_string(&graph->arena, value);
    if (copy == NULL) {
        return qn_fail_memory(err, NULL, strlen(value) + 1);
    }
    for (size_t i = 0; i < graph->n_metadata; i++) {
        if (strcmp(graph->metadata[i].key, key) == 0) {
            graph->metadata[i].value = copy;
            return QN_OK;
        }
    }
    if (graph->n_metadata >= MAX_METADATA) { /* looked up by linear search */
        return qn_fail(err, QN_ELIMIT, NULL, "the model has more than %d metadata entries", MAX_METADATA);
    }
    void *grown = graph->metadata;
    qn_status status = qn_grow(&grown, &graph->metadata_capacity, graph->n_metadata, sizeof *graph->metadata, err);
    graph->metadata = grown;
    QN_TRY(status);
    const char *key_copy = qn_arena_string(&graph->arena, key);
    if (key_copy == NULL) {
        return qn_fail_memory(err, NULL, strlen(key) + 1);
    }
    graph->metadata[graph->n_metadata++] = (qn_metadata){key_copy, copy};
    return QN_OK;
}

const char *qn_graph_get_metadata(const qn_graph *graph, const char *key)
{
    for (size_t i = 0; i < graph->n_metadata; i++) {
        if (strcmp(graph->metadata[i].key, key) == 0) {
            return graph->metadata[i].value;
        }
    }
    return NULL;
}

static qn_status check_not_made(const qn_value *value, qn_error *err)
{
    if (value->producer >= 0) {
        return qn_fail(err, QN_EFORMAT, NULL, "value '%s' is an initializer and also the output of a node",
                       value->name);
    }
    return QN_OK;
}

static void make_constant(qn_value *value, const qn_tensor *constant)
{
    value->constant = constant;
    value->dtype = constant->dtype;
    value->rank = constant->rank;
    memcpy(value->dims, constant->dims, sizeof value->dims);
}

qn_status qn_graph_set_constant(qn_graph *graph, qn_value_id id, const qn_tensor *t, qn_error *err)
{
    QN_TRY(check_not_made(&graph->values[id], err));
    const qn_tensor *copy;
    QN_TRY(qn_tensor_copy_to_arena(&graph->arena, &copy, t, err));
    make_constant(&graph->values[id], copy);
    return QN_OK;
}

qn_status qn_graph_share_constant(qn_graph *graph, qn_value_id id, const qn_tensor *t, qn_error *err)
{
    QN_TRY(check_not_made(&graph->values[id], err));
    qn_tensor *view = qn_arena_alloc(&graph->arena, sizeof *view);
    if (view == NULL) {
        return qn_fail_memory(err, NULL, sizeof *view);
    }
    *view = *t;
    view->owns_data = false;
    make_constant(&graph->values[id], view);
    return QN_OK;
}

qn_status qn_graph_set_quantizer(qn_graph *graph, qn_value_id id, const qn_quantizer *q, qn_error *err)
{
    const qn_quantizer *copy;
    QN_TRY(qn_quantizer_copy_to_arena(&graph->arena, &copy, q, err));
    graph->values[id].quantizer = copy;
    return QN_OK;
}

qn_status qn_graph_set_codes(qn_graph *graph, qn_value_id id, const qn_tensor *codes, qn_error *err)
{
    const qn_tensor *copy;
    QN_TRY(qn_tensor_copy_to_arena(&graph->arena, &copy, codes, err));
    graph->values[id].codes = copy;
    return QN_OK;
}
