/* Shape inference: one function per row of op_table.inc; inside the graph room only.
 *
 * A function reads the bound inputs of its node and sets the bound outputs. It is called once per node in topological
 * order, after qn_node_check: the number of inputs and outputs is right, the inputs that the operator needs are there,
 * attributes have the types their operator wants. Dimensions and attribute values are untrusted. */
#ifndef QN_GRAPH_INFER_H
#define QN_GRAPH_INFER_H

#include "graph/bind.h"

typedef struct qn_infer {
    const qn_binding *binding;
    const qn_node *node;
    qn_error *err;
} qn_infer;

typedef qn_status (*qn_infer_fn)(const qn_infer *c);

#define QN_OP_ROW(op, domain, type, min_inputs, max_inputs, max_outputs, infer) qn_status infer(const qn_infer *c);
#include "graph/op_table.inc"
#undef QN_OP_ROW

/* Elements of one value, and of each dimension even of empty ones; larger ones are refused. */
#define QN_MAX_ELEMS ((int64_t)1 << 31)

/* Infer the outputs of a checked node. */
qn_status qn_infer_node(const qn_infer *c);

/* Input or output i, NULL when absent. */
const qn_bound_value *qn_infer_input(const qn_infer *c, int i);
const qn_bound_value *qn_infer_output(const qn_infer *c, int i);
bool qn_infer_output_used(const qn_infer *c, int i);
/* The type that an attribute names (TensorProto.DataType); `fallback` when absent, QN_DTYPE_NONE for unknown ones. */
qn_dtype qn_infer_type(const qn_node *node, const char *attribute, qn_dtype fallback);
/* The type that a CastLike casts to. */
qn_dtype qn_like_type(const qn_binding *binding, const qn_node *node);
/* The type in which values of a type are computed: float32 for all floating point. */
qn_dtype qn_computed_dtype(qn_dtype dtype);
/* Set output i, of the type that `dtype` is computed in; nothing happens when it is absent. QN_ELIMIT for too many elements or dimensions. */
qn_status qn_infer_set(const qn_infer *c, int i, qn_dtype dtype, int rank, const int64_t *dims);

/* Fail naming the node and `what` ("attribute axis", "input 1"; NULL for the node as a whole). */
qn_status qn_infer_fail(const qn_infer *c, qn_status status, const char *what, const char *format, ...) QN_PRINTF(4, 5);
/* QN_EUNSUPPORTED unless input i is absent or float32. */
qn_status qn_infer_want_float(const qn_infer *c, int i);
/* QN_EFORMAT unless all inputs are numbers of one type. */
qn_status qn_infer_want_one_type(const qn_infer *c);
/* QN_EUNSUPPORTED when output i is read by anything. */
qn_status qn_infer_refuse_output(const qn_infer *c, int i, const char *meaning);

/* Set output 0 of a product of matrices (MatMul and its kin), of a convolution or pooling; output 1 of the latter, where
 * there is one, is int64. */
qn_status qn_infer_product(const qn_infer *c, qn_dtype dtype);
qn_status qn_infer_window(const qn_infer *c, qn_dtype dtype);

/* -rank..rank-1 to 0..rank-1. */
qn_status qn_infer_axis(const qn_infer *c, const char *what, int64_t given, int rank, int *axis);

/* Input `input` is int64 or int32 and, where it is known, within an axis of `dim` elements. */
qn_status qn_infer_indices(const qn_infer *c, int input, int64_t dim);

/* A short list of integers that newer opsets give as an input and older ones as an attribute. */
enum { QN_MAX_LIST = 2 * QN_MAX_RANK };
typedef struct qn_int_list {
    bool present;
    int n;
    int64_t v[QN_MAX_LIST];
} qn_int_list;
/* input -1: attribute only; attribute NULL: input only. Refuses both at once, longer lists, and inputs not known. */
qn_status qn_infer_list(const qn_infer *c, const char *attribute, int input, qn_int_list *list);
/* Element i of a known int32 or int64 tensor. */
int64_t qn_known_int(const qn_tensor *t, int64_t i);
/* A known scalar input of a numeric type as double; absent: *value stays. */
qn_status qn_infer_scalar(const qn_infer *c, int input, double *value);

/* "2x3x4", "scalar" for rank 0. */
enum { QN_DIMS_TEXT_MAX = QN_MAX_RANK * 21 + 8 };
const char *qn_dims_text(char buffer[QN_DIMS_TEXT_MAX], int rank, const int64_t *dims);

/* Product of dims[first..end-1]; INT64_MAX when it overflows. */
int64_t qn_dims_product(const int64_t *dims, int first, int end);
/* Count elements; false beyond the limits: a dimension negative or above QN_MAX_ELEMS, or the product so. */
bool qn_count_elems(int rank, const int64_t *dims, int64_t *n_elems);
/* Which dimensions a Shape node tells: n from `first` on (attributes start and end, opset 15). */
void qn_shape_range(const qn_infer *c, int64_t *first, int64_t *n);

/* The shape of a joined with b by ONNX's multidirectional broadcasting. false when they do not fit. */
bool qn_broadcast_dims(int *rank, int64_t dims[QN_MAX_RANK], int a_rank, const int64_t *a, int b_rank,
                       const int64_t *b);

#endif
