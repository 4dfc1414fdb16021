/* Inside of export: a graph with quantizers becomes one with nodes for them. Inside the onnx room only. */
#ifndef QN_ONNX_UNFOLD_H
#define QN_ONNX_UNFOLD_H

#include "graph/graph.h"

typedef struct qn_unfolder {
    const qn_graph *from;
    qn_graph *to;
    int64_t opset; /* of the file */
    qn_arena scratch;
    unsigned char *used;  /* per value of `from`: read, or an input or output of graph or node */
    qn_value_id *written; /* per value of `from`: the value of `to` that its producer writes */
    qn_value_id *read;    /* and the one its readers read */
    qn_error *err;
} qn_unfolder;

/* New values called stem + suffix, or nearly so. */
qn_status qn_unfold_add_value(const qn_unfolder *u, const char *stem, const char *suffix, qn_value_id *id);
qn_status qn_unfold_add_constant(const qn_unfolder *u, const char *stem, const char *suffix, const qn_tensor *tensor,
                                 qn_value_id *id);

/* Pairs: x -> QuantizeLinear -> DequantizeLinear -> y for a value called `name`; codes -> DequantizeLinear -> y. `type` is
 * what qn_qdq_type says. */
qn_status qn_qdq_add_pair(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type, qn_value_id x,
                          qn_value_id y);
qn_status qn_qdq_add_constant(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type,
                              const qn_tensor *codes, qn_value_id y);

/* The nodes of domain org.quern. x -> FakeQuantize -> y for a value called `name`; codes -> Dequantize -> y. */
qn_status qn_org_add_fake(const qn_unfolder *u, const char *name, const qn_quantizer *q, qn_value_id x, qn_value_id y);
qn_status qn_org_add_constant(const qn_unfolder *u, const char *name, const qn_quantizer *q, const qn_tensor *codes,
                              qn_value_id y);

#endif
