/* Deep copies of a graph's parts into an arena; inside the graph room only. */
#ifndef QN_GRAPH_GRAPH_COPY_H
#define QN_GRAPH_GRAPH_COPY_H

#include "graph/graph.h"

/* *copy is untouched unless QN_OK. NULL strings of a node become "". Errors: QN_ENOMEM, QN_ELIMIT. */
qn_status qn_tensor_copy_to_arena(qn_arena *arena, const qn_tensor **copy, const qn_tensor *t, qn_error *err);
qn_status qn_node_copy(qn_arena *arena, qn_node *copy, const qn_node *node, qn_error *err);

#endif
