/* Nodes of domain org.quern, version 1 (doc/spec/onnx.md), which hold the quantizers that QuantizeLinear and
 * DequantizeLinear cannot. Inside the onnx room only. */
#ifndef QN_ONNX_ORG_QUERN_H
#define QN_ONNX_ORG_QUERN_H

#include "onnx/qdq.h"

enum { QN_ORG_VERSION = 1 };
extern const char qn_org_domain[];

/* The inputs after the first, in order. */
typedef struct qn_org_parameter {
    const char *name;
    unsigned bit; /* QN_PARAM_* */
    qn_dtype dtype;
    size_t offset; /* of the array's pointer in qn_quantizer */
} qn_org_parameter;
enum { QN_ORG_PARAMETERS = 5 };
extern const qn_org_parameter qn_org_parameters[QN_ORG_PARAMETERS];

bool qn_org_is_fake_quantize(const qn_node *node);
bool qn_org_is_dequantize(const qn_node *node);

/* The quantizer of a FakeQuantize, checked as far as an unknown shape allows. Its arrays are the graph's.
 * QN_EFORMAT naming the node and what is wrong with it. */
qn_status qn_org_read_fake(qn_coding *c, const qn_graph *graph, const qn_node *node, qn_error *err);
/* The same where the input is the constant x, whose shape is known. */
qn_status qn_org_check_constant(const qn_coding *c, const qn_graph *graph, const qn_node *node, const qn_tensor *x,
                                qn_error *err);
/* The codes and the quantizer of a Dequantize. The codes, of dtype qn_format_dtype, are in the graph's arena.
 * Errors: QN_EFORMAT naming the node, QN_ENOMEM. */
qn_status qn_org_read_constant(qn_tensor **codes, qn_coding *c, qn_graph *graph, const qn_node *node, qn_error *err);

#endif
