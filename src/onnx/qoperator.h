/* Operators on codes (QLinearConv and its kin) become QuantizeLinear, DequantizeLinear and a float operator between them;
 * qdq_import.c then folds those. Inside the onnx room only. */
#ifndef QN_ONNX_QOPERATOR_H
#define QN_ONNX_QOPERATOR_H

#include "graph/node_list.h"
#include "onnx/qdq.h"

/*  decoders  per value, in scratch: the first DequantizeLinear that decodes it by one constant set, -1 for none; of
 *            n_decoders values, and the first n_noted nodes */
typedef struct qn_qoperator_importer {
    qn_graph *graph;
    qn_arena scratch;
    int32_t *decoders;
    size_t n_decoders, n_noted;
    qn_node_list refused;
    qn_error *err;
} qn_qoperator_importer;

/* How a value is coded: values of the graph. zero_point may be QN_NO_VALUE; axis is that of several scales. */
typedef struct qn_code_inputs {
    qn_value_id codes, scale, zero_point;
    int64_t axis;
} qn_code_inputs;

/* A new value, called like the codes without "_quantized", or with "_float" behind. */
qn_status qn_qoperator_add_float(const qn_qoperator_importer *in, qn_value_id codes, qn_value_id *id);
/* A new node `type` of ONNX' own domain, with one output; *output is made when it is QN_NO_VALUE. */
qn_status qn_qoperator_add_node(const qn_qoperator_importer *in, const char *type, const char *name, int n_inputs,
                                qn_value_id *inputs, int n_attributes, qn_attribute *attributes, qn_value_id *output);
/* DequantizeLinear of codes: *y is the float. */
qn_status qn_qoperator_decode(const qn_qoperator_importer *in, const qn_code_inputs *coded, qn_value_id *y);
/* QuantizeLinear of y makes coded->codes. Whatever made these no longer does. */
qn_status qn_qoperator_encode(const qn_qoperator_importer *in, const qn_code_inputs *coded, qn_value_id y);
/* A new constant, called nearly so. */
qn_status qn_qoperator_add_constant(const qn_qoperator_importer *in, const char *name, const qn_tensor *t,
                                    qn_value_id *id);
/* The ONNX data type of codes: of a constant, a declared value, or what QuantizeLinear or a move of such makes; 0 when
 * nothing says. */
int32_t qn_qoperator_type(const qn_graph *graph, qn_value_id id);

/* Nodes that only move codes, or choose among them, become nodes that move floats: those behind a QuantizeLinear, and
 * those in front of a DequantizeLinear. The graph is sorted. */
qn_status qn_qoperator_move(qn_qoperator_importer *in);

#endif
