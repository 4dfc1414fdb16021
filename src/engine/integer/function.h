/* Functions of one value: nodes, and chains of them, each element of whose result follows from one element of one value
 * and from single constants. On codes they are tables (doc/spec/arithmetic.md 3.7). */
#ifndef QN_ENGINE_FUNCTION_H
#define QN_ENGINE_FUNCTION_H

#include "graph/bind.h"

/* Nodes in the order of the graph. They read the source, each other's results, which carry no quantizers and which
 * nobody else reads, and constants of one number. Others read the result, which is that of the last node. */
enum { QN_FUNCTION_NODES = 20 };
typedef struct qn_function {
    qn_value_id source, result;
    int n;
    const qn_node *nodes[QN_FUNCTION_NODES];
} qn_function;

/* Is it an operator that can be such a function? */
bool qn_function_has(qn_op op);
/* Is it one that is rather computed with what makes its input (Relu, Clip)? */
bool qn_function_fuses(qn_op op);
/* Is the node by itself a function of one value, *source? */
bool qn_function_of(const qn_graph *graph, const qn_binding *binding, const qn_node *node, qn_value_id *source);
/* The function whose first node this is: it ends with the only value in it that carries a quantizer. uses: of each value
 * (qn_graph_count_uses). planned: nothing has quantizers yet; it ends where others than such functions read. False where
 * there is none, and for nothing but Relu and Clip, which narrow codes. */
bool qn_function_find(qn_function *f, const qn_graph *graph, const qn_binding *binding, const int32_t *uses,
                      bool planned, const qn_node *node);

#endif
