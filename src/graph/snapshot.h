/* What a graph's nodes were, for passes that may find that they were wrong; inside the graph room only. */
#ifndef QN_GRAPH_SNAPSHOT_H
#define QN_GRAPH_SNAPSHOT_H

#include "graph/graph.h"

/* Nodes, their operands and results, and the graph's outputs; not attributes and constants, which passes replace and
 * do not change in place. Released by qn_snapshot_free. */
typedef struct qn_snapshot {
    qn_arena arena;
    qn_node *nodes;
    size_t n_nodes;
    qn_value_id **ids; /* of every node, inputs and then outputs */
    qn_value_id *outputs;
} qn_snapshot;

qn_status qn_snapshot_take(qn_snapshot *snapshot, const qn_graph *graph, qn_error *err);
/* Values that were made meanwhile stay, and nothing makes or reads them. */
qn_status qn_snapshot_restore(const qn_snapshot *snapshot, qn_graph *graph, qn_error *err);
void qn_snapshot_free(qn_snapshot *snapshot);

#endif
