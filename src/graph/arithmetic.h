/* A network's arithmetic as metadata: keys "quern.requantize", "quern.rounding", "quern.sums", "quern.accumulator". Absent
 * keys mean the default. */
#ifndef QN_GRAPH_ARITHMETIC_H
#define QN_GRAPH_ARITHMETIC_H

#include "graph/graph.h"
#include "quern/arithmetic.h"

/* "float", "fused" or "fixed". */
const char *qn_sums_text(const qn_arithmetic *arithmetic);
/* Errors of _get: QN_EFORMAT naming the key. */
qn_status qn_graph_get_arithmetic(const qn_graph *graph, qn_arithmetic *arithmetic, qn_error *err);
qn_status qn_graph_set_arithmetic(qn_graph *graph, const qn_arithmetic *arithmetic, qn_error *err);

#endif
