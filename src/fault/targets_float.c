/* Targets of the float and the simulate engine: values as nodes make them, coded where the engine rounds. */
#include "engine/float/float_program.h"
#include "fault/targets.h"

/* Has the node, whose operands have to be coded, a form on codes? */
static bool is_on_codes(const qn_targets_builder *b, const qn_node *node)
{
    const int n = node->op == QN_OP_MUL || node->op == QN_OP_SUB ? 2 : 1;
    for (int i = 0; i < n; i++) {
        if (b->graph->values[node->inputs[i]].quantizer == NULL) {
            return false;
        }
    }
    return qn_integer_has_form(b->graph, b->binding, node, NULL);
}

/* As the integer engine fuses: a Relu or Clip that alone reads what a step on codes makes, and carries the quantizer of
 * both. */
static bool fuses(const qn_targets_builder *b, const qn_node *node)
{
    const qn_value *x, *y;
    if ((node->op != QN_OP_RELU && node->op != QN_OP_CLIP) || b->readers[node->inputs[0]] != 1) {
        return false;
    }
    x = &b->graph->values[node->inputs[0]];
    y = &b->graph->values[node->outputs[0]];
    if (x->producer < 0 || y->quantizer == NULL ||
        (x->quantizer != NULL && !qn_quantizer_equal(x->quantizer, y->quantizer))) {
        return false;
    }
    switch (b->graph->nodes[x->producer].op) {
    case QN_OP_CONV:
    case QN_OP_GEMM:
    case QN_OP_MATMUL:
    case QN_OP_ADD:
    case QN_OP_AVERAGE_POOL:
    case QN_OP_MAX_POOL:
    case QN_OP_GLOBAL_AVERAGE_POOL:
    case QN_OP_GLOBAL_MAX_POOL:
    case QN_OP_RELU:
    case QN_OP_CLIP:
        return true;
    case QN_OP_LAYER_NORMALIZATION:
    case QN_OP_MUL:
    case QN_OP_REDUCE_MEAN:
    case QN_OP_SOFTMAX:
    case QN_OP_SUB:
        return is_on_codes(b, &b->graph->nodes[x->producer]);
    default:
        return false;
    }
}

/* What the walk over nodes needs.
 *  owner  per node: the node whose result its own is, itself for most
 *  inner  per value: it lies between a node and what is fused into it
 *  larger  the graph bound for a larger batch; NULL: it takes no other */
typedef struct walk {
    qn_targets_builder *b;
    int32_t *owner;
    bool *inner;
    const qn_binding *larger;
} walk;

/* Do the items of a batch lie one after another? Of what has another dimension first, such as time, no element belongs to one item
 * by its place; only a larger batch tells. */
static bool item_by_item(const walk *w, qn_value_id value)
{
    const qn_targets_builder *b = w->b;
    const qn_bound_value *v = &b->binding->values[value];
    const int64_t batch = b->binding->batch;
    if (b->program->whole) {
        return true;
    }
    if (v->rank < 1 || v->dims[0] % batch != 0) {
        return false;
    }
    return w->larger == NULL || w->larger->values[value].dims[0] == v->dims[0] / batch * w->larger->batch;
}

static void find_owners(const walk *w)
{
    const qn_graph *graph = w->b->graph;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        w->owner[i] = (int32_t)i;
    }
    for (size_t i = 0; i < graph->n_nodes && w->b->program->options.engine == QN_ENGINE_SIMULATE; i++) {
        const qn_node *node = &graph->nodes[i];
        qn_value_id bias;
        const int32_t add = qn_targets_runs(w->b, node) ? qn_targets_added_bias(w->b, (int32_t)i, &bias) : -1;
        if (add >= 0) {
            w->owner[add] = (int32_t)i;
            w->inner[node->outputs[0]] = true;
        }
        qn_function f;
        const bool function = qn_targets_runs(w->b, node) && qn_targets_function(w->b, node, &f);
        for (int k = 0; function && k + 1 < f.n; k++) {
            w->inner[f.nodes[k]->outputs[0]] = true;
        }
        if (qn_targets_runs(w->b, node) && fuses(w->b, node)) {
            w->owner[i] = w->owner[graph->values[node->inputs[0]].producer];
            w->inner[node->inputs[0]] = true;
        }
    }
}

static qn_status add_node(const walk *w, int32_t index, qn_error *err)
{
    qn_targets_builder *b = w->b;
    const qn_float_program *code = b->program->code;
    const qn_node *node = &b->graph->nodes[index];
    qn_value_id bias;
    const int32_t add = qn_targets_added_bias(b, index, &bias);
    if (add >= 0) {
        QN_TRY(qn_targets_add_constant(b, w->owner[index], bias, true, err));
    }
    QN_TRY(qn_targets_add_constants(b, index, err));
    for (int i = 0; i < node->n_outputs && !qn_targets_shows(b, node); i++) {
        const qn_value_id value = node->outputs[i];
        if (value == QN_NO_VALUE || w->inner[value] || !item_by_item(w, value) ||
            code->of_value[value] == QN_FLOAT_NONE || b->binding->values[value].known != NULL ||
            b->binding->values[value].dtype != QN_DTYPE_F32) {
            continue;
        }
        const bool rounds = b->program->options.engine == QN_ENGINE_SIMULATE;
        const qn_quantizer *q = rounds ? b->graph->values[value].quantizer : NULL;
        QN_TRY(qn_targets_add_activation(b, w->owner[index], value, q, err));
    }
    return QN_OK;
}

static qn_status walk_nodes(const walk *w, qn_error *err)
{
    qn_targets_builder *b = w->b;
    const bool rounds = b->program->options.engine == QN_ENGINE_SIMULATE;
    for (size_t i = 0; i < b->program->n_inputs; i++) {
        const qn_value_id value = b->program->inputs[i].value;
        if (b->binding->used[value] && b->binding->values[value].dtype == QN_DTYPE_F32) {
            const qn_quantizer *q = rounds ? b->graph->values[value].quantizer : NULL;
            QN_TRY(qn_targets_add_activation(b, -1, value, q, err));
        }
    }
    find_owners(w);
    for (size_t i = 0; i < b->graph->n_nodes; i++) {
        if (qn_targets_runs(b, &b->graph->nodes[i])) {
            QN_TRY(add_node(w, (int32_t)i, err));
        }
    }
    return QN_OK;
}

qn_status qn_targets_float(qn_targets_builder *b, qn_error *err)
{
    qn_error none; /* a graph that takes no other batch is no error */
    qn_error_init(&none);
    qn_binding larger = {0};
    const bool bound = !b->program->whole && qn_graph_bind(&larger, b->graph, b->binding->batch + 1, &none) == QN_OK &&
                       larger.batch != b->binding->batch;
    walk w = {.b = b,
              .owner = qn_alloc((b->graph->n_nodes + 1) * sizeof *w.owner),
              .inner = qn_alloc(b->graph->n_values + 1),
              .larger = bound ? &larger : NULL};
    const qn_status status = w.owner != NULL && w.inner != NULL
                                 ? walk_nodes(&w, err)
                                 : qn_fail_memory(err, b->graph->file, b->graph->n_nodes * sizeof *w.owner);
    qn_binding_free(&larger);
    qn_free(w.owner);
    qn_free(w.inner);
    return status;
}
