/* Targets: what all engines share. */
#include "fault/targets.h"

#include <stdlib.h>
#include <string.h>

static const qn_bound_value *bound(const qn_targets_builder *b, qn_value_id value)
{
    return &b->binding->values[value];
}

const qn_quantizer *qn_targets_quantizer(const qn_graph *graph, qn_value_id value)
{
    while (graph->values[value].quantizer == NULL && graph->values[value].producer >= 0) {
        const qn_node *node = &graph->nodes[graph->values[value].producer];
        if (node->n_inputs < 1 || node->inputs[0] == QN_NO_VALUE) {
            break;
        }
        value = node->inputs[0];
    }
    return graph->values[value].quantizer;
}

bool qn_targets_runs(const qn_targets_builder *b, const qn_node *node)
{
    for (int i = 0; node->op != QN_OP_REMOVED && i < node->n_outputs; i++) {
        const qn_value_id value = node->outputs[i];
        if (value != QN_NO_VALUE && b->binding->used[value] && bound(b, value)->known == NULL) {
            return true;
        }
    }
    return false;
}

bool qn_targets_shows(const qn_targets_builder *b, const qn_node *node)
{
    switch (node->op) {
    case QN_OP_RESHAPE:
    case QN_OP_FLATTEN:
    case QN_OP_IDENTITY:
    case QN_OP_DROPOUT:
    case QN_OP_SQUEEZE:
    case QN_OP_UNSQUEEZE:
        break;
    default:
        return false;
    }
    const qn_quantizer *from = b->graph->values[node->inputs[0]].quantizer;
    const qn_quantizer *to = b->graph->values[node->outputs[0]].quantizer;
    return to == NULL || (from != NULL && qn_quantizer_equal(from, to));
}

int32_t qn_targets_added_bias(const qn_targets_builder *b, int32_t node, qn_value_id *bias)
{
    const qn_node *product = &b->graph->nodes[node];
    const qn_value_id sum = product->outputs[0];
    if (product->op != QN_OP_MATMUL || b->readers[sum] != 1 || b->graph->values[sum].quantizer != NULL ||
        bound(b, product->inputs[1])->known == NULL) {
        return -1;
    }
    for (size_t i = (size_t)node + 1; i < b->graph->n_nodes; i++) {
        const qn_node *add = &b->graph->nodes[i];
        if (add->op != QN_OP_ADD || (add->inputs[0] != sum && add->inputs[1] != sum)) {
            continue;
        }
        *bias = add->inputs[add->inputs[0] == sum];
        const qn_tensor *codes = b->graph->values[*bias].codes;
        return codes != NULL && codes->dtype == QN_DTYPE_S32 && codes->rank == 1 ? (int32_t)i : -1;
    }
    return -1;
}

/* Dimensions of one item: without the batch, or with its share of a dimension that holds batch and more. */
static void set_item_dims(const qn_targets_builder *b, qn_fault_target *t, qn_value_id value)
{
    const qn_bound_value *v = bound(b, value);
    const int64_t batch = b->program->whole ? 1 : b->binding->batch;
    const bool strip = !b->program->whole && v->rank > 0 && v->dims[0] == batch;
    t->rank = v->rank - strip;
    memcpy(t->dims, v->dims + strip, (size_t)t->rank * sizeof *t->dims);
    if (!strip && t->rank > 0 && t->dims[0] % batch == 0) {
        t->dims[0] /= batch;
    }
}

static void set_axes(const qn_targets_builder *b, qn_fault_target *t, qn_value_id value)
{
    const bool last = b->last[value];
    if (t->rank > 0) {
        t->channel_axis = last ? t->rank - 1 : 0;
    }
    if (last) {
        t->row_axis = t->rank - 2; /* -1 of a vector */
    } else {
        t->row_axis = t->rank > 2 ? t->rank - 2 : -1;
        t->column_axis = t->rank > 1 ? t->rank - 1 : -1;
    }
}

static int64_t count(const qn_fault_target *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) {
        n *= t->dims[i]; /* the binding has checked it */
    }
    return n;
}

static qn_status add(qn_targets_builder *b, qn_fault_target *t, qn_error *err)
{
    qn_fault_targets *targets = b->targets;
    const qn_graph *graph = b->graph;
    const qn_node *node = t->node >= 0 ? &graph->nodes[t->node] : NULL;
    const char *name = graph->values[t->value].name;
    t->value_name = qn_arena_string(&targets->arena, name);
    t->op_type = node != NULL ? qn_arena_string(&targets->arena, node->op_type) : "input";
    t->layer = node == NULL         ? t->value_name
               : node->name[0] != 0 ? qn_arena_string(&targets->arena, node->name)
                                    : qn_arena_printf(&targets->arena, "%s#%d", node->op_type, (int)t->node);
    if (t->value_name == NULL || t->op_type == NULL || t->layer == NULL) {
        return qn_fail_memory(err, graph->file, sizeof *t);
    }
    t->n_elems = count(t);
    if (t->n_elems == 0) {
        return QN_OK;
    }
    QN_TRY(qn_grow((void **)&targets->list, &b->capacity, (size_t)targets->n, sizeof *targets->list, err));
    targets->list[targets->n++] = *t;
    return QN_OK;
}

static qn_fault_target new_target(qn_fault_where where, int32_t node, qn_value_id value)
{
    return (qn_fault_target){.where = where,
                             .node = node,
                             .value = value,
                             .n_terms = 1,
                             .channel_axis = -1,
                             .row_axis = -1,
                             .column_axis = -1,
                             .frame = -1};
}

/* The parameters that the format has outside its codes, as far as they can be struck. */
static qn_status add_parameters(qn_targets_builder *b, int32_t node, qn_value_id value, const qn_quantizer *q,
                                qn_error *err)
{
    const unsigned has = qn_format_parameters(q->format);
    const bool shared = q->format.block > 0;
    const struct {
        unsigned parameter;
        qn_fault_where where;
        qn_fault_coding coding;
        int bits;
    } kinds[] = {
        {QN_PARAM_SCALE, QN_FAULT_SCALES, QN_FAULT_F32, 32},
        {QN_PARAM_ZERO_POINT, QN_FAULT_ZERO_POINTS, QN_FAULT_S32, q->format.bits},
        {QN_PARAM_EXP_BIAS, shared ? QN_FAULT_SHARED_EXPONENTS : QN_FAULT_EXPONENT_BIASES, QN_FAULT_S32, 8},
    };
    for (size_t i = 0; !q->dynamic && i < sizeof kinds / sizeof kinds[0]; i++) {
        if ((has & kinds[i].parameter) != 0) {
            qn_fault_target t = new_target(kinds[i].where, node, value);
            t.coding = kinds[i].coding;
            t.bits = kinds[i].bits;
            t.format = q->format;
            t.rank = 1;
            t.dims[0] = q->n;
            t.channel_axis = q->n > 1 && q->group == 0 ? 0 : -1;
            QN_TRY(add(b, &t, err));
        }
    }
    return QN_OK;
}

static void set_coding(qn_fault_target *t, const qn_quantizer *q)
{
    t->coding = q != NULL ? QN_FAULT_CODED : QN_FAULT_F32;
    t->bits = q != NULL ? q->format.bits : 32;
    t->format = q != NULL ? q->format : (qn_format){0};
}

qn_status qn_targets_add_activation(qn_targets_builder *b, int32_t node, qn_value_id value, const qn_quantizer *q,
                                    qn_error *err)
{
    if (b->listed[value]) {
        return QN_OK;
    }
    b->listed[value] = true;
    qn_fault_target t = new_target(node < 0 ? QN_FAULT_INPUTS : QN_FAULT_ACTIVATIONS, node, value);
    set_coding(&t, q);
    set_item_dims(b, &t, value);
    set_axes(b, &t, value);
    QN_TRY(add(b, &t, err));
    const bool own = q != NULL && q == b->graph->values[value].quantizer;
    return own ? add_parameters(b, node, value, q, err) : QN_OK;
}

qn_status qn_targets_add_tables(qn_targets_builder *b, int32_t node, qn_value_id value, int64_t n, qn_error *err)
{
    qn_fault_target t = new_target(QN_FAULT_TABLES, node, value);
    set_coding(&t, qn_targets_quantizer(b->graph, value)); /* a Relu or Clip may keep its input's */
    t.rank = 1;
    t.dims[0] = n;
    return add(b, &t, err);
}

qn_status qn_targets_add_sums(qn_targets_builder *b, int32_t node, qn_value_id value, int bits, int64_t n_terms,
                              qn_error *err)
{
    static const qn_fault_where kinds[] = {QN_FAULT_ACCUMULATORS, QN_FAULT_PARTIAL_SUMS, QN_FAULT_PRODUCTS};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        qn_fault_target t = new_target(kinds[i], node, value);
        t.coding = QN_FAULT_S32;
        t.bits = kinds[i] == QN_FAULT_PRODUCTS ? 32 : bits;
        t.n_terms = kinds[i] == QN_FAULT_ACCUMULATORS ? 1 : n_terms;
        set_item_dims(b, &t, value);
        set_axes(b, &t, value);
        QN_TRY(add(b, &t, err));
    }
    return QN_OK;
}

/* Which axis of a constant lies along axis `axis` of an item of the node's result, when it is broadcast to that. */
static int broadcast_axis(const qn_targets_builder *b, const qn_node *node, const qn_fault_target *t, int axis)
{
    qn_fault_target result = {0};
    set_item_dims(b, &result, node->outputs[0]);
    const int found = axis + t->rank - result.rank;
    return axis >= 0 && found >= 0 && t->dims[found] > 1 ? found : -1;
}

static void set_constant_axes(const qn_targets_builder *b, const qn_node *node, qn_fault_target *t)
{
    qn_fault_target result = {.channel_axis = -1, .row_axis = -1, .column_axis = -1};
    switch (node->op) {
    case QN_OP_CONV:
        t->channel_axis = 0;
        t->row_axis = t->rank > 3 ? t->rank - 2 : -1;
        t->column_axis = t->rank > 2 ? t->rank - 1 : -1;
        return;
    case QN_OP_GEMM:
        t->channel_axis = t->rank == 2 && qn_node_int(node, "transB", 0) != 0 ? 0 : t->rank - 1;
        return;
    case QN_OP_MATMUL:
        t->channel_axis = t->rank - 1;
        return;
    case QN_OP_BATCH_NORMALIZATION:
        t->channel_axis = 0;
        return;
    case QN_OP_ADD:
    case QN_OP_SUB:
    case QN_OP_MUL:
    case QN_OP_DIV:
    case QN_OP_POW:
        set_item_dims(b, &result, node->outputs[0]);
        set_axes(b, &result, node->outputs[0]);
        t->channel_axis = broadcast_axis(b, node, t, result.channel_axis);
        t->row_axis = broadcast_axis(b, node, t, result.row_axis);
        t->column_axis = broadcast_axis(b, node, t, result.column_axis);
        return;
    default:
        return;
    }
}

qn_status qn_targets_add_constant(qn_targets_builder *b, int32_t node, qn_value_id value, bool biases, qn_error *err)
{
    if (value == QN_NO_VALUE || b->listed[value]) {
        return QN_OK;
    }
    const qn_bound_value *v = bound(b, value);
    const qn_value *stored = &b->graph->values[value];
    if (v->known == NULL || v->known->dtype != QN_DTYPE_F32 || v->of_shape) { /* of another batch it is another */
        return QN_OK;
    }
    b->listed[value] = true;
    qn_fault_target t = new_target(biases ? QN_FAULT_BIASES : QN_FAULT_WEIGHTS, node, value);
    set_coding(&t, stored->quantizer);
    if (biases && stored->codes != NULL && stored->codes->dtype == QN_DTYPE_S32) {
        t.coding = QN_FAULT_S32;
    }
    t.rank = v->rank;
    memcpy(t.dims, v->dims, sizeof t.dims);
    if (biases) {
        t.channel_axis = t.rank - 1;
    } else {
        set_constant_axes(b, &b->graph->nodes[node], &t);
    }
    QN_TRY(add(b, &t, err));
    return t.coding == QN_FAULT_CODED ? add_parameters(b, node, value, stored->quantizer, err) : QN_OK;
}

qn_status qn_targets_add_constants(qn_targets_builder *b, int32_t node, qn_error *err)
{
    const qn_node *n = &b->graph->nodes[node];
    const bool layer = n->op == QN_OP_CONV || n->op == QN_OP_GEMM || n->op == QN_OP_BATCH_NORMALIZATION;
    for (int i = 0; i < n->n_inputs && (i < 1 || !qn_op_is_parameter(n->op, i)); i++) {
        QN_TRY(qn_targets_add_constant(b, node, n->inputs[i], layer && i == 2, err));
    }
    return QN_OK;
}

bool qn_targets_function(const qn_targets_builder *b, const qn_node *node, qn_function *f)
{
    return qn_function_find(f, b->graph, b->binding, b->readers, false, node) &&
           qn_targets_quantizer(b->graph, f->source) != NULL;
}

/* Where channels are: last behind matrices, first behind convolutions and pools; nodes that act on each element keep them
 * where they were. */
static bool channels_last(const qn_targets_builder *b, const qn_node *node)
{
    const int rank = bound(b, node->outputs[0])->rank;
    switch (node->op) {
    case QN_OP_MATMUL:
    case QN_OP_GEMM:
        return true;
    case QN_OP_CONV:
    case QN_OP_MAX_POOL:
    case QN_OP_AVERAGE_POOL:
    case QN_OP_GLOBAL_AVERAGE_POOL:
    case QN_OP_GLOBAL_MAX_POOL:
    case QN_OP_BATCH_NORMALIZATION:
        return false;
    case QN_OP_RESHAPE:
    case QN_OP_FLATTEN:
    case QN_OP_TRANSPOSE:
    case QN_OP_SQUEEZE:
    case QN_OP_UNSQUEEZE:
    case QN_OP_GATHER:
    case QN_OP_REDUCE_MEAN:
        return rank - !b->program->whole < 3;
    default:
        break;
    }
    for (int i = 0; i < node->n_inputs; i++) {
        const qn_value_id value = node->inputs[i];
        if (value != QN_NO_VALUE && bound(b, value)->known == NULL && bound(b, value)->rank == rank) {
            return b->last[value];
        }
    }
    return false;
}

static qn_status prepare(qn_targets_builder *b, qn_error *err)
{
    const qn_graph *graph = b->graph;
    b->readers = qn_graph_count_uses(graph);
    b->last = qn_alloc(graph->n_values + 1);
    b->listed = qn_alloc(graph->n_values + 1);
    if (b->readers == NULL || b->last == NULL || b->listed == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; qn_targets_runs(b, node) && k < node->n_outputs; k++) {
            if (node->outputs[k] != QN_NO_VALUE && node->outputs[0] != QN_NO_VALUE) {
                b->last[node->outputs[k]] = channels_last(b, node);
            }
        }
    }
    return QN_OK;
}

/* By node; then, as weights and biases of a node come before what it makes, by kind; then as they were found. */
static int compare(const void *x, const void *y)
{
    const qn_fault_target *a = x, *b = y;
    if (a->node != b->node) {
        return a->node < b->node ? -1 : 1;
    }
    if (a->where != b->where) {
        return a->where < b->where ? -1 : 1;
    }
    return a->value < b->value ? -1 : a->value > b->value;
}

qn_status qn_fault_targets_make(qn_fault_targets *targets, const qn_program *program, qn_error *err)
{
    *targets = (qn_fault_targets){0};
    qn_targets_builder b = {
        .program = program, .graph = &program->graph, .binding = &program->binding, .targets = targets};
    qn_status status = prepare(&b, err);
    if (status == QN_OK) {
        status = program->options.engine == QN_ENGINE_INTEGER ? qn_targets_integer(&b, err) : qn_targets_float(&b, err);
    }
    qn_free(b.readers);
    qn_free(b.last);
    qn_free(b.listed);
    if (status == QN_OK && targets->n > 1) {
        qsort(targets->list, (size_t)targets->n, sizeof *targets->list, compare);
    }
    return status;
}

void qn_fault_targets_free(qn_fault_targets *targets)
{
    qn_free(targets->list);
    qn_arena_free(&targets->arena);
    *targets = (qn_fault_targets){0};
}
