/* The operators quern knows: one row each in op_table.inc. */
#ifndef QN_GRAPH_OPS_H
#define QN_GRAPH_OPS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum qn_op {
    QN_OP_UNKNOWN = 0,
    QN_OP_REMOVED, /* dead node, dropped by qn_graph_tidy */
#define QN_OP_ROW(op, domain, type, min_inputs, max_inputs, max_outputs, infer) op,
#include "graph/op_table.inc"
#undef QN_OP_ROW
    QN_OP_COUNT
} qn_op;

/* "Conv" for QN_OP_CONV; "?" for values without a row. */
const char *qn_op_type(qn_op op);
/* Is input i of the operator a parameter: a bound, a size, a shape, a scale; nothing that is held as codes? */
bool qn_op_is_parameter(qn_op op, int i);
/* Who defines an operator. Several names of a file mean the same domain: "" and "ai.onnx" are ONNX;
 * "qonnx.custom_op.general", "onnx.brevitas" and "finn.custom_op.general" are QONNX; "com.microsoft" is MICROSOFT. */
typedef enum qn_domain { QN_DOMAIN_OTHER = 0, QN_DOMAIN_ONNX, QN_DOMAIN_QONNX, QN_DOMAIN_MICROSOFT } qn_domain;
qn_domain qn_domain_find(const char *name);
/* The name by which nodes of a domain are written; "" for ONNX. */
const char *qn_domain_name(qn_domain domain);
qn_domain qn_op_domain(qn_op op);
/* QN_OP_UNKNOWN when there is no row. QONNX' IntQuant is its Quant. */
qn_op qn_op_find(qn_domain domain, const char *type);

/* The opsets that an operator of the default domain is in, of all that quern reads: first to last, 7 to INT64_MAX without
 * limits. `from`: the first in whose files it is read all the same. */
typedef struct qn_op_versions {
    int64_t first, last, from;
} qn_op_versions;
qn_op_versions qn_op_versions_of(qn_op op);
bool qn_op_in_opset(qn_op op, int64_t opset);

#endif
