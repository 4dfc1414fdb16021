/* An AveragePool whose window is the whole map, without padding, is a GlobalAveragePool: its integer form is one sum
 * and one multiply, where a windowed AveragePool has an order of float additions to keep. So is a ReduceMean over height and
 * width, and a ReduceMax is a GlobalMaxPool. */
#include "graph/passes.h"
#include "ptq/ptq.h"

static bool covers_map(const qn_window *w)
{
    bool covers = true;
    for (int d = 0; d < 2; d++) {
        covers = covers && w->kernel[d] == w->in[d] && w->dilation[d] == 1 && w->out[d] == 1 && w->pad_begin[d] == 0 &&
                 w->pad_end[d] == 0;
    }
    return covers;
}

qn_status qn_ptq_whole_map_pool(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_binding binding = {0};
    QN_TRY(qn_graph_recognize(graph, "whole-map-pool", NULL, err));
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        qn_window window;
        if (node->op != QN_OP_AVERAGE_POOL || binding.values[node->inputs[0]].rank > 4) {
            continue;
        }
        status = qn_window_of_node(&window, &binding, node, err);
        if (status == QN_OK && covers_map(&window)) {
            node->op = QN_OP_GLOBAL_AVERAGE_POOL;
            node->op_type = qn_op_type(QN_OP_GLOBAL_AVERAGE_POOL);
            node->n_attributes = 0;
        }
    }
    qn_binding_free(&binding);
    return status;
}
