/* Between the files of form qoperator. Inside the onnx room only. */
#ifndef QN_ONNX_QOPERATOR_EXPORT_H
#define QN_ONNX_QOPERATOR_EXPORT_H

#include "onnx/unfold.h"

/* ONNX data types of codes. */
enum { QN_ONNX_UINT8 = 2, QN_ONNX_INT8 = 3, QN_ONNX_INT32 = 6 };

/* Are codes of `v` uint8 or int8 with one set of parameters? */
bool qn_qop_is_coded(const qn_unfolder *u, qn_value_id v);
/* The codes of a value; its scale and zero point; all three. */
qn_status qn_qop_codes(qn_unfolder *u, qn_value_id v, qn_value_id *id);
qn_status qn_qop_parameters(qn_unfolder *u, qn_value_id v, qn_value_id *scale, qn_value_id *zero_point);
qn_status qn_qop_operand(qn_unfolder *u, qn_value_id v, qn_value_id inputs[3]);
/* Add an operator in place of `node`; its output are the codes of the node's only one. */
qn_status qn_qop_finish(qn_unfolder *u, const qn_node *node, const char *domain, const char *op_type,
                        const qn_value_id *inputs, int n_inputs, const qn_attribute *attributes, int n_attributes);
/* A node that computes, as an integer operator where there is one that computes the same (qoperator_export_rows.c). */
qn_status qn_qop_compute(qn_unfolder *u, const qn_node *node, bool *done);

#endif
