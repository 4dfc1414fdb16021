/* How weights will be coded: a format and its parameters for each constant weight of Conv, Gemm and MatMul, kept as grids
 * beside the graph. The weights stay float until quantize_weights, so that other passes can move them to better points of
 * the grid. */
#include <math.h>
#include <string.h>

#include "format/row.h"
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

/* Squared error of one channel's weights (all of them for channel -1) with a scale. */
static double squared_error(const qn_tensor *weights, int axis, int64_t channel, const qn_format *format, float scale)
{
    const qn_params params = {.scale = scale, .multiplier = 1};
    const float *w = weights->data;
    int64_t n = qn_tensor_count(weights), inner = 1;
    double sum = 0;
    for (int d = axis + 1; axis >= 0 && d < weights->rank; d++) {
        inner *= weights->dims[d];
    }
    for (int64_t i = 0; i < n; i++) {
        if (channel < 0 || i / inner % weights->dims[axis] == channel) {
            uint32_t code = qn_format_code(*format, &params, (double)w[i], 0);
            double error = qn_format_value(*format, &params, code) - (double)w[i];
            sum += error * error;
        }
    }
    return sum;
}

/* Arithmetics that shift want exact ratios: each scale becomes the better of the two next ones that give one, before the
 * weights' only rounding. */
static void fold_ratios(const qn_ptq *ptq, const qn_node *node, const qn_tensor *weights, qn_quantizer *q)
{
    const qn_arithmetic *arithmetic = &ptq->settings->arithmetic;
    const qn_quantizer *q_x = ptq->graph->values[node->inputs[0]].quantizer;
    const float scale_y = qn_ptq_result_scale(ptq, node);
    bool shifts = arithmetic->requantize == QN_REQUANTIZE_SHIFT || arithmetic->requantize == QN_REQUANTIZE_DOUBLE_SHIFT;
    if (!shifts || q_x == NULL || q_x->dynamic || q_x->n != 1 || scale_y <= 0 || q->group > 0 ||
        !qn_ptq_is_integer_code(q->format) || !qn_ptq_is_integer_code(q_x->format)) {
        return;
    }
    for (int64_t c = 0; c < q->n; c++) {
        float candidates[2];
        qn_params params = qn_quantizer_get(q, c);
        int n = qn_ptq_ratio_candidates(arithmetic, q_x->scale[0], scale_y, params.scale, candidates);
        const int64_t channel = q->axis < 0 ? -1 : c;
        if (n == 2 && squared_error(weights, q->axis, channel, &q->format, candidates[1]) <
                          squared_error(weights, q->axis, channel, &q->format, candidates[0])) {
            candidates[0] = candidates[1];
        }
        params.scale = n > 0 ? candidates[0] : params.scale; /* coding says so where there is none */
        qn_quantizer_set(q, c, params);
    }
}

static qn_status choose(qn_ptq *ptq, const qn_binding *binding, qn_node *node, const char *rule, qn_error *err)
{
    const qn_ptq_formats formats = qn_ptq_formats_of(ptq->settings, node, node->name);
    const bool alone = qn_ptq_rule_of(node->op)->only_weights;
    const char *reason;
    if (formats.keep_float || formats.weights_float || ptq->graph->values[node->inputs[1]].codes != NULL ||
        (alone ? qn_ptq_float_constant(ptq->graph, node->inputs[1]) == NULL
               : !qn_ptq_has_form(ptq->graph, binding, node, &reason))) {
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
    fold_ratios(ptq, node, weights, q);
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
        const qn_ptq_rule *of = qn_ptq_rule_of(graph->nodes[n].op);
        if (of->has_weights || of->only_weights) {
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
