/* Lists of nodes for messages, grouped by reason and operator: "Foo (2 nodes: 'a', 'b'), Bar (1 node: 'c'): no kernel". */
#ifndef QN_GRAPH_NODE_LIST_H
#define QN_GRAPH_NODE_LIST_H

#include "graph/graph.h"

/* A list under way. Starts as {0}; released with qn_node_list_free. */
typedef struct qn_node_list {
    const qn_node **nodes;
    const char **reasons;
    size_t n, nodes_capacity, reasons_capacity;
} qn_node_list;

/* `reason` may be NULL. Kept by reference. */
qn_status qn_node_list_add(qn_node_list *list, const qn_node *node, const char *reason, qn_error *err);
/* The text, in order of each group's first node; a node without a name is called by its first output. Operators of
 * other domains are "domain.Type". Each reason follows its groups once. Released with free(); NULL
 * when out of memory. */
char *qn_node_list_text(const qn_node_list *list, const qn_graph *graph);
/* Fail with "<lead>: <text>" and free the list; QN_OK when it is empty. */
qn_status qn_node_list_fail(qn_node_list *list, const qn_graph *graph, qn_status status, const char *lead,
                            qn_error *err);
void qn_node_list_free(qn_node_list *list);

#endif
