/* Weights and activations of all spans from one position on, in one pass: what qn_cuts_span says of each. */
#include "link/cut.h"

qn_status qn_cut_rows_make(qn_cut_rows *rows, qn_arena *arena, const qn_cuts *cuts, qn_error *err)
{
    const size_t n = cuts->n_nodes + 1;
    *rows = (qn_cut_rows){.cuts = cuts,
                          .alive = qn_arena_array(arena, n, sizeof(int64_t)),
                          .macs = qn_arena_array(arena, n, sizeof(int64_t)),
                          .weights = qn_arena_array(arena, n, sizeof(int64_t)),
                          .activations = qn_arena_array(arena, n, sizeof(int64_t)),
                          .seen = qn_arena_array(arena, cuts->model->graph.n_values + 1, sizeof(size_t))};
    if (rows->alive == NULL || rows->macs == NULL || rows->weights == NULL || rows->activations == NULL ||
        rows->seen == NULL) {
        return qn_fail_memory(err, cuts->model->graph.file, n * sizeof(int64_t));
    }
    for (size_t p = 1; p < n; p++) {
        const qn_cut_span node = qn_cuts_span(cuts, p - 1, p);
        rows->alive[p] = node.activation_bytes;
        rows->macs[p] = rows->macs[p - 1] + node.macs;
    }
    return QN_OK;
}

void qn_cut_row(qn_cut_rows *rows, size_t from)
{
    const qn_graph *g = &rows->cuts->model->graph;
    int64_t weights = 0, most = 0;
    rows->weights[from] = rows->activations[from] = 0;
    rows->round++;
    for (size_t p = from; p < rows->cuts->n_nodes; p++) {
        const qn_node *node = &g->nodes[rows->cuts->order[p]];
        for (int i = 0; i < node->n_inputs; i++) {
            const qn_value_id id = node->inputs[i];
            if (id != QN_NO_VALUE && rows->seen[id] != rows->round) {
                rows->seen[id] = rows->round;
                weights += qn_cut_constant_bytes(rows->cuts, id);
            }
        }
        most = rows->alive[p + 1] > most ? rows->alive[p + 1] : most;
        rows->weights[p + 1] = weights;
        rows->activations[p + 1] = most;
    }
}
