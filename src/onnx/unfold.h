/* Inside of export: a graph with quantizers becomes one with nodes for them. Inside the onnx room only. */
#ifndef QN_ONNX_UNFOLD_H
#define QN_ONNX_UNFOLD_H

#include "graph/graph.h"
#include "quern/model.h"

typedef struct qn_unfolder {
    const qn_graph *from;
    qn_graph *to;
    qn_onnx_form form;
    int64_t opset; /* of the file */
    qn_arena scratch;
    unsigned char *used;  /* per value of `from`: read, or an input or output of graph or node */
    qn_value_id *written; /* per value of `from`: the value of `to` that its producer writes */
    qn_value_id *read;    /* and the one its readers read */
    /* Of form qoperator: per value of `from`, its codes, their scale and zero point; QN_NO_VALUE where `to` has none yet.
     * read_made: DequantizeLinear writes `read` already. readers: how many read it, graph outputs included; reader: the
     * last node that does. gone: per node, 1 when another does its work. */
    qn_value_id *codes, *scale, *zero_point;
    unsigned char *read_made, *gone;
    int32_t *readers, *reader;
    qn_error *err;
} qn_unfolder;

/* Refuse what cannot be written: QN_EUNSUPPORTED for unknown operators, values (for some forms only), QN_EINVAL for
 * quantizers that break their rules. */
qn_status qn_unfold_check(const qn_graph *graph, qn_error *err);
qn_status qn_unfold_check_form(qn_unfolder *u);

/* The ONNX data type of a value's codes in a file of this form; 0: it is no pair of QuantizeLinear and
 * DequantizeLinear. */
int32_t qn_unfold_type(const qn_unfolder *u, qn_value_id v);
/* The codes of a quantized constant, encoded if need be; NULL when out of memory. They last as long as `u`. */
const qn_tensor *qn_unfold_constant_codes(qn_unfolder *u, qn_value_id v);
/* New values called stem + suffix, or nearly so. */
qn_status qn_unfold_add_value(const qn_unfolder *u, const char *stem, const char *suffix, qn_value_id *id);
qn_status qn_unfold_add_constant(const qn_unfolder *u, const char *stem, const char *suffix, const qn_tensor *tensor,
                                 qn_value_id *id);
/* Type, shape and names of dimensions, as value `from` of another graph declares them. */
qn_status qn_unfold_declare(const qn_unfolder *u, qn_value_id id, const qn_value *from);
/* A node of several inputs and one output. */
qn_status qn_unfold_add_node(const qn_unfolder *u, const char *domain, const char *op_type, const char *name,
                             const qn_value_id *inputs, int n_inputs, const qn_attribute *attributes, int n_attributes,
                             qn_value_id output);

/* Pairs: x -> QuantizeLinear -> DequantizeLinear -> y for a value called `name`; codes -> DequantizeLinear -> y.
 * `type` is what qn_unfold_type says. */
qn_status qn_qdq_add_pair(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type, qn_value_id x,
                          qn_value_id y);
qn_status qn_qdq_add_constant(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type,
                              const qn_tensor *codes, qn_value_id y);
/* Their parts: codes of a constant, scale and zero point as the initializers that Q and DQ share, one node. */
qn_status qn_qdq_add_codes(const qn_unfolder *u, const char *name, int32_t type, const qn_tensor *codes,
                           const qn_quantizer *q, qn_value_id *id);
qn_status qn_qdq_add_parameters(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type,
                                qn_value_id *scale, qn_value_id *zero_point);
qn_status qn_qdq_add_step(const qn_unfolder *u, const char *op_type, const char *name, const qn_quantizer *q,
                          const qn_value_id inputs[3], qn_value_id output);

/* The nodes of domain org.quern. x -> FakeQuantize -> y for a value called `name`; codes -> Dequantize -> y. */
qn_status qn_org_add_fake(const qn_unfolder *u, const char *name, const qn_quantizer *q, qn_value_id x, qn_value_id y);
qn_status qn_org_add_constant(const qn_unfolder *u, const char *name, const qn_quantizer *q, const qn_tensor *codes,
                              qn_value_id y);

/* The nodes of domain qonnx.custom_op.general (qonnx_export.c). Why a value cannot have one; NULL when it can. */
const char *qn_qonnx_reason(qn_unfolder *u, qn_value_id v);
/* x -> Quant (FloatQuant, BipolarQuant) -> y; of a constant x is what its codes stand for. */
qn_status qn_qonnx_add(qn_unfolder *u, qn_value_id v, qn_value_id x, qn_value_id y);
qn_status qn_qonnx_add_constant(qn_unfolder *u, qn_value_id v, qn_value_id y);

/* Form qoperator (qoperator_export.c). Arrays per value; QuantizeLinear behind a value that is in floats; the floats
 * of a value, DequantizeLinear added if need be; a node as an integer operator, `done` when it has become one. */
qn_status qn_qop_start(qn_unfolder *u);
qn_status qn_qop_quantize(qn_unfolder *u, qn_value_id v);
qn_status qn_qop_read(qn_unfolder *u, qn_value_id v, qn_value_id *id);
qn_status qn_qop_add_node(qn_unfolder *u, const qn_node *node, bool *done);

#endif
