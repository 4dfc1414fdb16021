/* Older nodes rewritten for a later opset: attributes that became inputs, defaults that changed. */
#include <string.h>

#include "graph/bind.h"
#include "onnx/onnx.h"

typedef struct raiser {
    qn_graph *graph;
    qn_error *err;
} raiser;

typedef qn_status (*rewrite_fn)(const raiser *r, qn_node *node);

static qn_status refuse(const raiser *r, const qn_node *node, const char *reason)
{
    char where[QN_NODE_WHERE_MAX];
    return qn_fail(r->err, QN_EUNSUPPORTED, qn_node_where(where, r->graph, node),
                   "cannot be written for a later opset: %s", reason);
}

static void drop_attribute(qn_node *node, const char *name)
{
    int kept = 0;
    for (int i = 0; i < node->n_attributes; i++) {
        if (strcmp(node->attributes[i].name, name) != 0) {
            node->attributes[kept++] = node->attributes[i];
        }
    }
    node->n_attributes = kept;
}

/* Make input number `index` exist, absent ones before it included. */
static qn_status extend_inputs(const raiser *r, qn_node *node, int index)
{
    if (index < node->n_inputs) {
        return QN_OK;
    }
    qn_value_id *inputs = qn_arena_array(&r->graph->arena, (size_t)index + 1, sizeof *inputs);
    if (inputs == NULL) {
        return qn_fail_memory(r->err, NULL, (size_t)index * sizeof *inputs);
    }
    for (int i = 0; i <= index; i++) {
        inputs[i] = i < node->n_inputs ? node->inputs[i] : QN_NO_VALUE;
    }
    node->inputs = inputs;
    node->n_inputs = index + 1;
    return QN_OK;
}

/* Lists become vectors of int64 or float32, an integer a vector of one, a float a scalar. Nothing happens when there is no
 * such attribute. */
static qn_status attribute_to_input(const raiser *r, qn_node *node, const char *name, int index)
{
    const qn_attribute *a = qn_node_attribute(node, name);
    if (a == NULL) {
        return QN_OK;
    }
    qn_tensor tensor = {.dtype = QN_DTYPE_F32, .data = (void *)(uintptr_t)&a->f};
    if (a->type == QN_ATTRIBUTE_INTS) {
        tensor = (qn_tensor){.dtype = QN_DTYPE_S64, .rank = 1, .dims = {a->n}, .data = (void *)(uintptr_t)a->ints};
    } else if (a->type == QN_ATTRIBUTE_INT) {
        tensor = (qn_tensor){.dtype = QN_DTYPE_S64, .rank = 1, .dims = {1}, .data = (void *)(uintptr_t)&a->i};
    } else if (a->type == QN_ATTRIBUTE_FLOATS) {
        tensor = (qn_tensor){.dtype = QN_DTYPE_F32, .rank = 1, .dims = {a->n}, .data = (void *)(uintptr_t)a->floats};
    } else if (a->type != QN_ATTRIBUTE_FLOAT) {
        return refuse(r, node, "an attribute is of the wrong type");
    }
    const char *owner = node->name[0] != '\0'                          ? node->name
                        : node->n_outputs > 0 && node->outputs[0] >= 0 ? r->graph->values[node->outputs[0]].name
                                                                       : node->op_type;
    const char *stem = qn_arena_printf(&r->graph->arena, "%s_%s", owner, name);
    const char *unique = stem != NULL ? qn_graph_unique_name(r->graph, stem) : NULL;
    if (unique == NULL) {
        return qn_fail_memory(r->err, NULL, strlen(owner));
    }
    qn_value_id id;
    QN_TRY(qn_graph_add_value(r->graph, unique, &id, r->err));
    QN_TRY(qn_graph_set_constant(r->graph, id, &tensor, r->err));
    QN_TRY(extend_inputs(r, node, index));
    node->inputs[index] = id;
    drop_attribute(node, name);
    return QN_OK;
}

static qn_status raise_axes(const raiser *r, qn_node *node)
{
    return attribute_to_input(r, node, "axes", 1);
}

static qn_status raise_clip(const raiser *r, qn_node *node)
{
    QN_TRY(attribute_to_input(r, node, "min", 1));
    return attribute_to_input(r, node, "max", 2);
}

static qn_status raise_pad(const raiser *r, qn_node *node)
{
    QN_TRY(attribute_to_input(r, node, "pads", 1));
    return attribute_to_input(r, node, "value", 2);
}

static qn_status raise_slice(const raiser *r, qn_node *node)
{
    QN_TRY(attribute_to_input(r, node, "starts", 1));
    QN_TRY(attribute_to_input(r, node, "ends", 2));
    return attribute_to_input(r, node, "axes", 3);
}

static qn_status raise_dropout(const raiser *r, qn_node *node)
{
    return attribute_to_input(r, node, "ratio", 1);
}

static qn_status raise_batch_normalization_9(const raiser *r, qn_node *node)
{
    if (qn_node_int(node, "spatial", 1) != 1) {
        return refuse(r, node, "spatial 0 has no counterpart");
    }
    drop_attribute(node, "spatial");
    return QN_OK;
}

static qn_status raise_batch_normalization_14(const raiser *r, qn_node *node)
{
    for (int i = 1; i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE) {
            return refuse(r, node, "its training outputs have no counterpart");
        }
    }
    node->n_outputs = 1;
    return QN_OK;
}

/* An attribute that the node does not have yet. */
static qn_status add_attribute(const raiser *r, qn_node *node, const qn_attribute *attribute)
{
    if (qn_node_attribute(node, attribute->name) != NULL) {
        return QN_OK;
    }
    qn_attribute *all = qn_arena_array(&r->graph->arena, (size_t)node->n_attributes + 1, sizeof *all);
    if (all == NULL) {
        return qn_fail_memory(r->err, NULL, (size_t)node->n_attributes * sizeof *all);
    }
    for (int i = 0; i < node->n_attributes; i++) {
        all[i] = node->attributes[i];
    }
    all[node->n_attributes++] = *attribute;
    node->attributes = all;
    return QN_OK;
}

static qn_status raise_split_13(const raiser *r, qn_node *node)
{
    return attribute_to_input(r, node, "split", 1);
}

/* The shape of what the node works on: as the file declares it, or else inferred. */
static bool find_shape(const raiser *r, const qn_node *node, qn_bound_value *shape)
{
    const qn_value_id ids[] = {node->inputs[0], node->outputs[0]};
    for (int i = 0; i < 2; i++) {
        const qn_value *value = ids[i] != QN_NO_VALUE ? &r->graph->values[ids[i]] : NULL;
        if (value != NULL && value->rank > 0) {
            shape->rank = value->rank;
            memcpy(shape->dims, value->dims, sizeof shape->dims);
            return true;
        }
    }
    qn_binding binding = {0};
    const bool bound = qn_graph_bind(&binding, r->graph, 1, NULL) == QN_OK;
    if (bound) {
        *shape = binding.values[node->outputs[0]];
    }
    qn_binding_free(&binding);
    return bound && shape->rank > 0;
}

/* Before opset 13 Softmax works over all dimensions from axis (1 by default) on; since then over axis alone. The two
 * agree when only one of those dimensions has more than one element. */
static qn_status raise_softmax(const raiser *r, qn_node *node)
{
    const int64_t from = qn_node_int(node, "axis", 1);
    qn_bound_value shape = {0};
    int64_t axis = -1, n_wide = 0;
    if (from != -1 && !find_shape(r, node, &shape)) {
        return refuse(r, node, "its rank is not declared");
    }
    for (int64_t i = from < 0 ? from + shape.rank : from; from != -1 && i < shape.rank; i++) {
        if (shape.dims[i] != 1) {
            axis = i == shape.rank - 1 ? -1 : i;
            n_wide++;
        }
    }
    if (n_wide > 1) {
        return refuse(r, node, "it works over several dimensions");
    }
    drop_attribute(node, "axis");
    const qn_attribute attribute = {.name = "axis", .type = QN_ATTRIBUTE_INT, .i = axis};
    return axis == -1 ? QN_OK : add_attribute(r, node, &attribute); /* the default is the last one now */
}

/* Without lengths, the number of parts has to be said. */
static qn_status raise_split_18(const raiser *r, qn_node *node)
{
    const qn_attribute parts = {.name = "num_outputs", .type = QN_ATTRIBUTE_INT, .i = node->n_outputs};
    return node->n_inputs > 1 && node->inputs[1] != QN_NO_VALUE ? QN_OK : add_attribute(r, node, &parts);
}

static qn_status raise_top_k(const raiser *r, qn_node *node)
{
    return attribute_to_input(r, node, "k", 1);
}

static qn_status raise_upsample_9(const raiser *r, qn_node *node)
{
    return attribute_to_input(r, node, "scales", 1);
}

/* Resize got a region of interest before the scales, and other defaults. */
static qn_status raise_resize_11(const raiser *r, qn_node *node)
{
    static const qn_attribute asymmetric = {
        .name = "coordinate_transformation_mode", .type = QN_ATTRIBUTE_STRING, .s = "asymmetric"};
    static const qn_attribute floor = {.name = "nearest_mode", .type = QN_ATTRIBUTE_STRING, .s = "floor"};
    QN_TRY(extend_inputs(r, node, 2));
    node->inputs[2] = node->inputs[1];
    node->inputs[1] = QN_NO_VALUE;
    QN_TRY(add_attribute(r, node, &asymmetric));
    return add_attribute(r, node, &floor);
}

static qn_status raise_upsample_11(const raiser *r, qn_node *node)
{
    node->op_type = "Resize";
    node->op = QN_OP_RESIZE;
    for (int i = 0; i < node->n_attributes; i++) {
        if (strcmp(node->attributes[i].name, "mode") == 0 && strcmp(node->attributes[i].s, "bilinear") == 0) {
            node->attributes[i].s = "linear";
        }
    }
    return raise_resize_11(r, node);
}

static qn_status raise_group_normalization(const raiser *r, qn_node *node)
{
    return refuse(r, node, "its scales are those of groups, and became those of channels");
}

/* Sorted by opset within an operator: a node may take several steps. */
static const struct {
    qn_op op;
    int64_t opset;
    rewrite_fn rewrite;
} steps[] = {
    {QN_OP_BATCH_NORMALIZATION, 9, raise_batch_normalization_9},
    {QN_OP_BATCH_NORMALIZATION, 14, raise_batch_normalization_14},
    {QN_OP_CLIP, 11, raise_clip},
    {QN_OP_DROPOUT, 12, raise_dropout},
    {QN_OP_GROUP_NORMALIZATION, 21, raise_group_normalization},
    {QN_OP_HARDMAX, 13, raise_softmax},
    {QN_OP_LOG_SOFTMAX, 13, raise_softmax},
    {QN_OP_PAD, 11, raise_pad},
    {QN_OP_REDUCE_L1, 18, raise_axes},
    {QN_OP_REDUCE_L2, 18, raise_axes},
    {QN_OP_REDUCE_LOG_SUM, 18, raise_axes},
    {QN_OP_REDUCE_LOG_SUM_EXP, 18, raise_axes},
    {QN_OP_REDUCE_MAX, 18, raise_axes},
    {QN_OP_REDUCE_MEAN, 18, raise_axes},
    {QN_OP_REDUCE_MIN, 18, raise_axes},
    {QN_OP_REDUCE_PROD, 18, raise_axes},
    {QN_OP_REDUCE_SUM, 13, raise_axes},
    {QN_OP_REDUCE_SUM_SQUARE, 18, raise_axes},
    {QN_OP_RESIZE, 11, raise_resize_11},
    {QN_OP_SLICE, 10, raise_slice},
    {QN_OP_SOFTMAX, 13, raise_softmax},
    {QN_OP_SPLIT, 13, raise_split_13},
    {QN_OP_SPLIT, 18, raise_split_18},
    {QN_OP_SQUEEZE, 13, raise_axes},
    {QN_OP_TOP_K, 10, raise_top_k},
    {QN_OP_UNSQUEEZE, 13, raise_axes},
    {QN_OP_UPSAMPLE, 9, raise_upsample_9},
    {QN_OP_UPSAMPLE, 11, raise_upsample_11},
};

qn_status qn_opset_raise(qn_graph *graph, int64_t opset, qn_error *err)
{
    raiser r = {.graph = graph, .err = err};
    size_t n_nodes = graph->n_nodes;
    for (size_t n = 0; n < n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        const qn_op op = node->op; /* Upsample becomes another */
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            if (steps[i].op == op && graph->opset < steps[i].opset && steps[i].opset <= opset) {
                QN_TRY(steps[i].rewrite(&r, node));
            }
        }
    }
    graph->opset = graph->opset < opset ? opset : graph->opset;
    return QN_OK;
}
