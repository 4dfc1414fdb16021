/* Everything but the rounding: each quantizer becomes a clip to the reals that its codes reach, and weights keep their real
 * values within theirs. What is then lost against the float network is lost to scales and clipping, the rest to rounding. */
#include <math.h>
#include <string.h>

#include "format/row.h"
#include "ptq/ptq.h"

static qn_status scalar(qn_graph *graph, const char *stem, float x, qn_value_id *id, qn_error *err)
{
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 0, .data = &x};
    return qn_ptq_add_constant(graph, stem, &t, id, err);
}

/* x -> Clip -> readers; where x is a graph output, what makes it gets another name. */
static qn_status clip_value(qn_graph *graph, qn_value_id id, double lowest, double highest, qn_error *err)
{
    qn_value_id lo, hi, y;
    const char *name = qn_graph_unique_name(graph, "clipped");
    if (name == NULL) {
        return qn_fail_memory(err, NULL, 0);
    }
    QN_TRY(scalar(graph, "clip_lo", (float)lowest, &lo, err));
    QN_TRY(scalar(graph, "clip_hi", (float)highest, &hi, err));
    QN_TRY(qn_graph_add_value(graph, name, &y, err));
    graph->values[y].dtype = QN_DTYPE_F32;
    graph->values[y].rank = -1;
    const bool is_output = qn_graph_is_output(graph, id);
    if (is_output) {
        qn_node *producer = &graph->nodes[graph->values[id].producer];
        for (int i = 0; i < producer->n_outputs; i++) {
            producer->outputs[i] = producer->outputs[i] == id ? y : producer->outputs[i];
        }
        graph->values[y].producer = graph->values[id].producer;
        graph->values[id].producer = -1;
    } else {
        qn_graph_replace_uses(graph, id, y);
    }
    qn_node clip = {.name = name,
                    .op_type = qn_op_type(QN_OP_CLIP),
                    .domain = "",
                    .op = QN_OP_CLIP,
                    .n_inputs = 3,
                    .n_outputs = 1,
                    .inputs = (qn_value_id[]){is_output ? y : id, lo, hi},
                    .outputs = is_output ? &id : &y};
    return qn_graph_add_node(graph, &clip, err);
}

/* Weights within the limits of their channel's codes. */
static qn_status clip_weights(qn_ptq *ptq, const qn_node *node, const qn_quantizer *grid, qn_error *err)
{
    const qn_tensor *weights = ptq->graph->values[node->inputs[1]].constant;
    if (grid->group > 0) {
        return QN_OK; /* fitted to their greatest element, which nothing exceeds */
    }
    qn_tensor clipped;
    QN_TRY(qn_tensor_alloc(&clipped, QN_DTYPE_F32, weights->rank, weights->dims, err));
    const float *from = weights->data;
    float *to = clipped.data;
    int64_t n = qn_tensor_count(weights), inner = 1;
    for (int d = grid->axis + 1; grid->axis >= 0 && d < weights->rank; d++) {
        inner *= weights->dims[d];
    }
    for (int64_t i = 0; i < n; i++) {
        const qn_params params = qn_quantizer_get(grid, grid->axis < 0 ? 0 : i / inner % grid->n);
        qn_format_limits limits;
        qn_format_limits_get(&limits, grid->format, &params);
        double x = (double)from[i];
        x = x < limits.lowest ? limits.lowest : x > limits.highest ? limits.highest : x;
        to[i] = (float)x;
    }
    qn_status status = qn_graph_set_constant(ptq->graph, node->inputs[1], &clipped, err);
    qn_tensor_free(&clipped);
    return status;
}

static qn_status clip_all_weights(qn_ptq *ptq, qn_error *err)
{
    for (size_t n = 0; n < ptq->graph->n_nodes; n++) {
        const qn_node *node = &ptq->graph->nodes[n];
        const qn_quantizer *grid = qn_ptq_rule_of(node->op)->has_weights ? qn_ptq_grid_of(ptq, node->inputs[1]) : NULL;
        QN_TRY(grid != NULL ? clip_weights(ptq, node, grid, err) : QN_OK);
    }
    return QN_OK;
}

qn_status qn_ptq_no_rounding(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    const size_t n_values = graph->n_values;
    QN_TRY(clip_all_weights(ptq, err));
    for (size_t v = 0; v < n_values; v++) {
        const qn_quantizer *q = graph->values[v].quantizer;
        if (q == NULL) {
            continue;
        }
        if (q->dynamic) {
            graph->values[v].quantizer = NULL; /* reaches everything */
            continue;
        }
        const qn_params params = qn_quantizer_get(q, 0);
        qn_format_limits limits;
        qn_format_limits_get(&limits, q->format, &params);
        graph->values[v].quantizer = NULL;
        QN_TRY(clip_value(graph, (qn_value_id)v, limits.lowest, limits.highest, err));
    }
    return QN_OK;
}
