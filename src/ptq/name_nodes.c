/* Names of nodes: what globs of settings, and studies of single nodes, mean them by. */
#include <string.h>

#include "ptq/ptq.h"

qn_status qn_ptq_name_nodes(qn_graph *graph, qn_error *err)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_outputs && node->name[0] == '\0'; i++) {
            if (node->outputs[i] != QN_NO_VALUE) {
                node->name = qn_arena_string(&graph->arena, graph->values[node->outputs[i]].name);
            }
            if (node->name == NULL) {
                node->name = "";
                return qn_fail_memory(err, graph->file, 0);
            }
        }
    }
    return QN_OK;
}

/* Passes make Conv and Gemm of other nodes. */
static bool is_taken(const qn_graph *graph, size_t index, const char *name)
{
    bool taken = name[0] == '\0' || strcmp(name, "Conv") == 0 || strcmp(name, "Gemm") == 0;
    for (size_t n = 0; n < graph->n_nodes && !taken; n++) {
        taken = strcmp(name, graph->nodes[n].op_type) == 0 || (n != index && strcmp(name, graph->nodes[n].name) == 0);
    }
    for (size_t i = 0; i < graph->n_inputs && !taken; i++) {
        taken = strcmp(name, graph->values[graph->inputs[i]].name) == 0;
    }
    return taken;
}

qn_status qn_ptq_name_nodes_apart(qn_graph *graph, qn_error *err)
{
    QN_TRY(qn_ptq_name_nodes(graph, err));
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const char *name = graph->nodes[n].name;
        for (int k = 2; is_taken(graph, n, name); k++) {
            name = qn_arena_printf(&graph->arena, "%s_%d", graph->nodes[n].name, k);
            if (name == NULL) {
                return qn_fail_memory(err, graph->file, 0);
            }
        }
        graph->nodes[n].name = name;
    }
    return QN_OK;
}
