/* Nodes that quantize, read one by one; qdq_import.c folds them. Inside the onnx room only. */
#ifndef QN_ONNX_QDQ_H
#define QN_ONNX_QDQ_H

#include "graph/graph.h"

/* What a Q, DQ or org.quern node says.
 *  type     ONNX data type of the codes; 0 when a DQ leaves it to its input
 *  reason   why no quantizer can hold what it does, NULL when one can
 *  refused  nor can anything else: there is no such node
 *  scaled   the reason is that codes of a format without scale have one */
typedef struct qn_coding {
    int32_t type;
    qn_quantizer quantizer;
    const char *reason;
    bool refused, scaled;
} qn_coding;

bool qn_is_quantize_linear(const qn_node *node);
bool qn_is_dequantize_linear(const qn_node *node);

/* Element i of a tensor of int8, uint8, int16, uint16 or int32. */
int32_t qn_integer_at(const qn_tensor *t, int64_t i);

/* ONNX data type number of a constant value. */
int32_t qn_constant_type(const qn_value *value);

/* The constant that input number `input` of the node reads, NULL when there is none. */
const qn_tensor *qn_constant_input(const qn_graph *graph, const qn_node *node, int input);

/* Read axis, block, scale and zero point; `arena` holds the latter. What no quantizer holds goes to c->reason, with
 * QN_OK. */
qn_status qn_coding_read(qn_coding *c, qn_arena *arena, const qn_graph *graph, const qn_node *node, qn_error *err);
/* Once c->type is known for sure: set the format and check the parameters against the shape of the tensor that is
 * coded, or only by themselves when dims is NULL. QN_EFORMAT naming the node. */
qn_status qn_coding_complete(qn_coding *c, const qn_graph *graph, const qn_node *node, int rank, const int64_t *dims,
                             qn_error *err);
/* Does a DequantizeLinear undo a QuantizeLinear? Neither has a reason. */
bool qn_coding_undoes(const qn_coding *q, const qn_coding *dq);
/* y times the scales of q, in f32; y has these dimensions, in C order. */
void qn_scale_sets(float *y, const qn_quantizer *q, int rank, const int64_t *dims);

/* QONNX' Quant, BipolarQuant, FloatQuant and Trunc (doc/spec/onnx.md 6). c->quantizer is one on whose grid all finite results lie;
 * c->reason says why there is none.
 *  arena       for its parameters
 *  rank, dims  of the result, as far as they are known: rank -1, dimensions -1
 *  exact       encoding a finite input gives the code of the result, too; else the node has to compute it */
bool qn_is_qonnx(const qn_node *node);
qn_status qn_qonnx_read(qn_coding *c, bool *exact, qn_arena *arena, const qn_graph *graph, const qn_node *node,
                        int rank, const int64_t *dims, qn_error *err);
/* Before folding: what such nodes quantize has a rank, where parameters along an axis ask for one and shapes can be
 * inferred. */
qn_status qn_qonnx_find_ranks(qn_graph *graph, qn_error *err);

/* Codes of 2 to 7 bits that a file holds as int8: their bits are in metadata_props, in a key for each constant. */
bool qn_qdq_is_bits_key(const char *key);
qn_status qn_qdq_write_bits(qn_graph *graph, const char *constant, int bits, qn_error *err);
/* After folding: constants of int8 get the bits that the file says. QN_EFORMAT when these are not 2 to 7, or too few for
 * the codes. */
qn_status qn_qdq_read_bits(qn_graph *graph, qn_error *err);

/* The quantizer of a value whose shape is not known (rank -1), or only its rank: everything is checked that does not
 * depend on the dimensions. QN_EINVAL. */
qn_status qn_quantizer_check_alone(const qn_quantizer *q, int rank, qn_error *err);

#endif
