#include "graph/snapshot.h"

#include <string.h>

static qn_status copy_ids(qn_snapshot *s, size_t n, const qn_node *node, qn_error *err)
{
    const size_t n_in = (size_t)node->n_inputs, n_out = (size_t)node->n_outputs;
    s->ids[n] = qn_arena_array(&s->arena, n_in + n_out + 1, sizeof **s->ids);
    if (s->ids[n] == NULL) {
        return qn_fail_memory(err, NULL, (n_in + n_out) * sizeof **s->ids);
    }
    if (n_in > 0) {
        memcpy(s->ids[n], node->inputs, n_in * sizeof **s->ids);
    }
    if (n_out > 0) {
        memcpy(s->ids[n] + n_in, node->outputs, n_out * sizeof **s->ids);
    }
    return QN_OK;
}

qn_status qn_snapshot_take(qn_snapshot *snapshot, const qn_graph *graph, qn_error *err)
{
    *snapshot = (qn_snapshot){.n_nodes = graph->n_nodes};
    snapshot->nodes = qn_arena_array(&snapshot->arena, graph->n_nodes + 1, sizeof *snapshot->nodes);
    snapshot->ids = qn_arena_array(&snapshot->arena, graph->n_nodes + 1, sizeof *snapshot->ids);
    snapshot->outputs = qn_arena_array(&snapshot->arena, graph->n_outputs + 1, sizeof *snapshot->outputs);
    if (snapshot->nodes == NULL || snapshot->ids == NULL || snapshot->outputs == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_nodes * sizeof *snapshot->nodes);
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        snapshot->nodes[n] = graph->nodes[n];
        QN_TRY(copy_ids(snapshot, n, &graph->nodes[n], err));
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        snapshot->outputs[i] = graph->outputs[i];
    }
    return QN_OK;
}

qn_status qn_snapshot_restore(const qn_snapshot *snapshot, qn_graph *graph, qn_error *err)
{
    for (size_t n = 0; n < snapshot->n_nodes; n++) { /* there is room: nodes are never given back */
        qn_node *node = &graph->nodes[n];
        *node = snapshot->nodes[n];
        for (int i = 0; i < node->n_inputs; i++) {
            node->inputs[i] = snapshot->ids[n][i];
        }
        for (int i = 0; i < node->n_outputs; i++) {
            node->outputs[i] = snapshot->ids[n][node->n_inputs + i];
        }
    }
    graph->n_nodes = snapshot->n_nodes;
    for (size_t i = 0; i < graph->n_outputs; i++) {
        graph->outputs[i] = snapshot->outputs[i];
    }
    return qn_graph_tidy(graph, err);
}

void qn_snapshot_free(qn_snapshot *snapshot)
{
    qn_arena_free(&snapshot->arena);
}
