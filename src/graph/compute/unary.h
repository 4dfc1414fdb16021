/* Functions of one float32, element by element: one row each in unary.c (doc/spec/arithmetic.md, 6.2 and 6.4). */
#ifndef QN_GRAPH_UNARY_H
#define QN_GRAPH_UNARY_H

#include "graph/graph.h"
#include "quern/cpu.h"

/* n values; y may be x. c: the operator's constants. The same bits from every instruction set. */
typedef void qn_unary_fn(float *y, const float *x, int64_t n, const float *c);

typedef struct qn_unary {
    qn_unary_fn *run;
    float c[2];
    bool keeps_zero; /* f(0) = 0 */
} qn_unary;

/* False when the node's operator is none of these. QN_EUNSUPPORTED for an unknown `approximate`. */
bool qn_unary_has(qn_op op);
qn_status qn_unary_of_node(qn_unary *unary, const qn_graph *graph, const qn_node *node, qn_cpu cpu, qn_error *err);
/* Exp as these functions are; `c` is not read. */
qn_unary_fn *qn_unary_exp(qn_cpu cpu);

#endif
