/* How weights will be coded: a format and its parameters for each constant weight of Conv, Gemm and MatMul, kept as grids
 * beside the graph. The weights stay float until quantize_weights, so that other passes can move them to better points of
 * the grid. */
#include <math.h>
#include <string.h>

#include "ptq/recipe.h"

/* The axis of weights that counts input channels. */
static int input_axis(const qn_node *node)
{
    return node->op == QN_OP_CONV ? 1 : 1 - qn_ptq_channel_axis(node);
}

static void granularity(const qn_ptq_formats *formats, const qn_node *node, qn_fit_options *options)
{
    if (formats->weights.block > 0) {
        options->axis = input_axis(node);
        options->group = formats->weights.block;
    } else if (formats->per == QN_PTQ_PER_CHANNEL) {
        options->axis = qn_ptq_channel_axis(node);
    } else if (formats->per == QN_PTQ_PER_GROUP) {
        options->axis = input_axis(node);
        options->group = formats->group;
    }
}

static qn_status choose(qn_ptq *ptq, const qn_binding *binding, qn_node *node, const char *rule, qn_error *err)
{
    const qn_ptq_formats formats = qn_ptq_formats_of(ptq->settings, node, node->name);
    const char *reason;
    if (formats.keep_float || formats.weights_float || !qn_ptq_has_form(ptq->graph, binding, node, &reason)) {
        return QN_OK;
    }
    qn_value_id id;
    QN_TRY(qn_ptq_own_constant(ptq, node, 1, &id, err));
    const qn_tensor *weights = ptq->graph->values[id].constant;
    qn_fit_options options;
    qn_fit_options_init(&options);
    granularity(&formats, node, &options);
    options.rule = rule;
    qn_quantizer *q;
    char where[QN_NODE_WHERE_MAX];
    if (qn_fit(&q, weights, formats.weights, &options, err) != QN_OK) {
        if (err != NULL) {
            qn_error_prefix(err, qn_node_where(where, ptq->graph, node));
        }
        return err != NULL ? err->status : QN_EINVAL;
    }
    qn_status status = qn_ptq_set_grid(ptq, id, q, err);
    qn_quantizer_free(q);
    return status;
}

qn_status qn_ptq_choose_weights(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    const char *rule = qn_ptq_option(ptq, "rule");
    rule = strcmp(rule, "minmax") == 0 ? NULL : rule; /* the format's own fit */
    qn_binding binding = {0};
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        if (qn_ptq_rule_of(graph->nodes[n].op)->has_weights) {
            status = choose(ptq, &binding, &graph->nodes[n], rule, err);
        }
    }
    qn_binding_free(&binding);
    return status;
}

const qn_quantizer *qn_ptq_grid_of(const qn_ptq *ptq, qn_value_id weights)
{
    for (const qn_ptq_grid *grid = ptq->grids; grid != NULL; grid = grid->next) {
        if (grid->value == weights) {
            return grid->quantizer;
        }
    }
    return NULL;
}

qn_status qn_ptq_set_grid(qn_ptq *ptq, qn_value_id weights, const qn_quantizer *q, qn_error *err)
{
    qn_ptq_grid *grid = qn_arena_alloc(&ptq->scratch, sizeof *grid);
    if (grid == NULL) {
        return qn_fail_memory(err, ptq->graph->values[weights].name, sizeof *grid);
    }
    *grid = (qn_ptq_grid){.next = ptq->grids, .value = weights};
    QN_TRY(qn_quantizer_copy_to_arena(&ptq->scratch, &grid->quantizer, q, err));
    ptq->grids = grid;
    return QN_OK;
}
