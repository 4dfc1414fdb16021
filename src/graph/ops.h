/* The operators quern knows: one row each in op_table.inc. */
#ifndef QN_GRAPH_OPS_H
#define QN_GRAPH_OPS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum qn_op {
    QN_OP_UNKNOWN = 0,
    QN_OP_REMOVED, /* dead node, dropped by qn_graph_tidy */
#define QN_OP_ROW(op, type, min_inputs, max_inputs, max_outputs, infer) op,
#include "graph/op_table.inc"
#undef QN_OP_ROW
    QN_OP_COUNT
} qn_op;

/* "Conv" for QN_OP_CONV; "?" for values without a row. */
const char *qn_op_type(qn_op op);
/* Is input i of the operator a parameter, read once when a graph is bound: a bound, a size, a shape? */
bool qn_op_is_parameter(qn_op op, int i);
/* QN_OP_UNKNOWN when there is no row. Only for the default ONNX domain ("" or "ai.onnx"). */
qn_op qn_op_find(const char *type);

#endif
