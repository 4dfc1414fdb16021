/* Binding: the shapes of all values for one batch size, and the values that can be computed ahead.
 *
 * The graph stays unchanged; a binding belongs to it and to one batch. Constant folding covers Shape, integer arithmetic
 * and moves of constants (Gather, Concat, Cast, Reshape, Transpose, ...), but no value that carries a quantizer. A node
 * whose used outputs are all known need not run. */
#ifndef QN_GRAPH_BIND_H
#define QN_GRAPH_BIND_H

#include "graph/graph.h"

/*  dtype  that in which the value is computed: never float64, float16 or bfloat16, which are float32 here; their constants
 *         are converted */
typedef struct qn_bound_value {
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t n_elems;
    const qn_tensor *known; /* the value itself when it is constant or folded, else NULL */
    bool of_shape;          /* folded, and made of a Shape or Size among others */
    bool of_codes;          /* a coded constant, or folded and made of one among others */
} qn_bound_value;

typedef struct qn_binding {
    qn_arena arena;
    const qn_graph *graph;
    int64_t batch;
    bool fold_floats;       /* float arithmetic on constants, too: see qn_graph_bind_folding */
    size_t n_values;        /* graph->n_values when it was bound */
    qn_bound_value *values; /* of each; dtype QN_DTYPE_NONE where nothing makes the value */
    unsigned char *used;    /* per value: 1 when a node or a graph output reads it */
} qn_binding;

/* `batch` replaces the leading dimension of every graph input where it is dynamic. A model with a fixed leading
 * dimension keeps it; *batch of the binding says which. Errors: QN_EUNSUPPORTED listing every node without a row in the
 * table (type and names), and for other dynamic dimensions; QN_ESHAPE or QN_EFORMAT naming node, attribute or input;
 * QN_ELIMIT. */
qn_status qn_graph_bind(qn_binding *binding, const qn_graph *graph, int64_t batch, qn_error *err);
/* The same, and float arithmetic on constants is folded, too, but where the result would take more memory than the constants
 * do (4096 elements may be). Nothing is computed of a constant that carries a quantizer: its codes are what counts. */
qn_status qn_graph_bind_folding(qn_binding *binding, const qn_graph *graph, int64_t batch, qn_error *err);
void qn_binding_free(qn_binding *binding);
/* A node against its row of the operator table: arity, presence of needed inputs, attribute names and types. */
qn_status qn_node_check(const qn_graph *graph, const qn_node *node, qn_error *err);
/* All nodes so, at once: operators that quern does not know, or not in the file's opset, wrong arities and attributes, in one
 * list with the nodes' names and what to do. QN_EUNSUPPORTED; where it is only one thing, with a node that is known, as
 * qn_node_check says it. */
qn_status qn_graph_check(const qn_graph *graph, qn_error *err);
/* The first output of a node whose inputs are all constants, while the graph is still being made; released with
 * qn_tensor_free. Errors: as binding has for the node; QN_EUNSUPPORTED where an input is no constant of a type that is computed
 * with. */
qn_status qn_node_of_constants(qn_tensor *y, const qn_graph *graph, const qn_node *node, qn_error *err);
/* Do all inputs and outputs lead with the batch? Its slices are items then; else the one item is everything. */
bool qn_binding_has_items(const qn_binding *binding, const qn_graph *graph);

/* Geometry shared by inference, engines and MAC counts: 2-d convolution and pooling after auto_pad, defaults and
 * checks. */
typedef struct qn_window {
    int64_t kernel[2], stride[2], dilation[2];
    int64_t pad_begin[2], pad_end[2]; /* height, width */
    int64_t in[2], out[2];
    int64_t n, c_in, c_out, group; /* pooling: c_out == c_in, group == c_in */
    bool ceil_mode, count_include_pad;
} qn_window;

/* `node` is Conv, ConvInteger, MaxPool, AveragePool, LpPool or a global pool over rank 3 or 4 inputs (rank 3 is seen as
 * height 1).
 * QN_EFORMAT / QN_EUNSUPPORTED naming the attribute. */
qn_status qn_window_of_node(qn_window *window, const qn_binding *binding, const qn_node *node, qn_error *err);

/* The same of rank 3 to 5: depth, height, width; axes that the input lacks have one element. */
typedef struct qn_volume {
    int64_t kernel[3], stride[3], dilation[3], pad_begin[3], pad_end[3], in[3], out[3];
    int64_t n, c_in, c_out, group;
    bool ceil_mode, count_include_pad;
} qn_volume;
qn_status qn_volume_of_node(qn_volume *volume, const qn_binding *binding, const qn_node *node, qn_error *err);

/* ConvTranspose: input i of an axis and tap k meet in output i * stride + k * dilation - pad. Depth, height, width; axes that
 * the input lacks have one element. */
typedef struct qn_transposed {
    int64_t kernel[3], stride[3], dilation[3], pad[3], in[3], out[3];
    int64_t n, c_in, c_out, group;
} qn_transposed;
qn_status qn_transposed_of_node(qn_transposed *transposed, const qn_binding *binding, const qn_node *node,
                                qn_error *err);

/* Einsum: rank axes of the output, then those that are summed over; strides of each operand along them, 0 where it is
 * stretched. */
enum { QN_EINSUM_OPERANDS = 8, QN_EINSUM_AXES = 2 * QN_MAX_RANK };
typedef struct qn_einsum {
    int rank, summed;
    int64_t dims[QN_EINSUM_AXES], strides[QN_EINSUM_OPERANDS][QN_EINSUM_AXES];
} qn_einsum;
qn_status qn_einsum_of_node(qn_einsum *einsum, const qn_binding *binding, const qn_node *node, qn_error *err);

/* QuantizeLinear and DequantizeLinear: element (o, k, i), at (o * n + k) * inner + i, is coded with parameter set
 * o * by_outer + k / block * by_block + i * by_inner.
 *  type   ONNX data type of the codes, `codes` the one in which they are computed: float8 is carried as the f32 that it
 *         stands for, of int4 each in a byte; a constant of float8 is its bytes */
typedef struct qn_linear {
    int32_t type;
    qn_dtype codes;
    int64_t outer, n, inner, block;
    int64_t by_outer, by_block, by_inner;
} qn_linear;
qn_status qn_linear_of_node(qn_linear *linear, const qn_binding *binding, const qn_node *node, qn_error *err);

/* C = alpha * A' * B' + beta * C for Gemm, and MatMul seen the same way when B is a matrix. */
typedef struct qn_gemm {
    int64_t m, n, k;
    bool trans_a, trans_b;
    float alpha, beta;
} qn_gemm;
qn_status qn_gemm_of_node(qn_gemm *gemm, const qn_binding *binding, const qn_node *node, qn_error *err);

/* Attributes and constant inputs of the other operators, after defaults, checks and differences between opsets. Dims of
 * inputs and outputs are in the binding. Errors: QN_EFORMAT, QN_ESHAPE; QN_EUNSUPPORTED for parameters that are not
 * known when binding. */
typedef struct qn_softmax {
    int64_t outer, n, inner; /* element (o, k, i) at (o * n + k) * inner + i; the sum runs over k */
} qn_softmax;
qn_status qn_softmax_of_node(qn_softmax *softmax, const qn_binding *binding, const qn_node *node, qn_error *err);

typedef struct qn_clip {
    double lo, hi; /* -inf, inf when absent; lo > hi gives hi everywhere, as ONNX says */
} qn_clip;
qn_status qn_clip_of_node(qn_clip *clip, const qn_binding *binding, const qn_node *node, qn_error *err);

/* Output element (o0, o1, ...) is input element (start[0] + o0 * step[0], ...). */
typedef struct qn_slice {
    int64_t start[QN_MAX_RANK], step[QN_MAX_RANK];
    int64_t out[QN_MAX_RANK];
} qn_slice;
qn_status qn_slice_of_node(qn_slice *slice, const qn_binding *binding, const qn_node *node, qn_error *err);

typedef enum qn_pad_mode { QN_PAD_CONSTANT, QN_PAD_REFLECT, QN_PAD_EDGE, QN_PAD_WRAP } qn_pad_mode;
/* Output element o along an axis is input element o - begin. Negative pads crop (constant mode only); a reflection is
 * shorter than the axis. */
typedef struct qn_pad {
    qn_pad_mode mode;
    double value;
    int64_t begin[QN_MAX_RANK], end[QN_MAX_RANK];
} qn_pad;
qn_status qn_pad_of_node(qn_pad *pad, const qn_binding *binding, const qn_node *node, qn_error *err);

/* Resize, and Upsample seen the same way.
 *  resized     whether the axis changes at all; the others are copied
 *  antialias   taps are as far apart as outputs are where an axis shrinks
 *  by_scale    scales are given, not sizes
 *  scale       output over input
 *  start, end  of the region of interest, in 0..1 along each axis */
typedef enum qn_resize_mode { QN_RESIZE_NEAREST, QN_RESIZE_LINEAR, QN_RESIZE_CUBIC } qn_resize_mode;
typedef enum qn_resize_coordinate {
    QN_RESIZE_HALF_PIXEL,
    QN_RESIZE_PYTORCH_HALF_PIXEL,
    QN_RESIZE_HALF_PIXEL_SYMMETRIC,
    QN_RESIZE_TF_HALF_PIXEL,
    QN_RESIZE_ALIGN_CORNERS,
    QN_RESIZE_ASYMMETRIC,
    QN_RESIZE_CROP,
} qn_resize_coordinate;
typedef enum qn_resize_rounding {
    QN_RESIZE_PREFER_FLOOR,
    QN_RESIZE_PREFER_CEIL,
    QN_RESIZE_FLOOR,
    QN_RESIZE_CEIL,
} qn_resize_rounding;
typedef struct qn_resize {
    qn_resize_mode mode;
    qn_resize_coordinate coordinate;
    qn_resize_rounding rounding;
    double cubic_a, extrapolation;
    bool antialias, exclude_outside, by_scale, resized[QN_MAX_RANK];
    double scale[QN_MAX_RANK], start[QN_MAX_RANK], end[QN_MAX_RANK];
    int64_t out[QN_MAX_RANK];
} qn_resize;
qn_status qn_resize_of_node(qn_resize *resize, const qn_binding *binding, const qn_node *node, qn_error *err);
/* Where output coordinate o lies on an input axis of `length` elements. */
double qn_resize_coordinate_of(const qn_resize *resize, int axis, int64_t o, int64_t length);

typedef struct qn_reduce {
    bool reduced[QN_MAX_RANK]; /* per axis of the input */
    bool keepdims;
} qn_reduce;
qn_status qn_reduce_of_node(qn_reduce *reduce, const qn_binding *binding, const qn_node *node, qn_error *err);

/* Over which axes a MeanVarianceNormalization takes its means. */
qn_status qn_variance_axes_of_node(bool over[QN_MAX_RANK], const qn_binding *binding, const qn_node *node,
                                   qn_error *err);

/* The axis attribute: of Flatten 0..rank, in 0..rank-1 otherwise. */
qn_status qn_axis_of_node(int *axis, const qn_binding *binding, const qn_node *node, qn_error *err);
/* Output axis i of a Transpose is input axis perm[i]. */
qn_status qn_transpose_of_node(int perm[QN_MAX_RANK], const qn_binding *binding, const qn_node *node, qn_error *err);

/* Multiply-accumulate operations of one node for the bound batch (Conv, Gemm, MatMul; 0 for others). */
int64_t qn_node_macs(const qn_binding *binding, const qn_node *node);

/* Attributes of QONNX' quantizers, after defaults. */
typedef enum qn_qonnx_rounding {
    QN_QONNX_ROUND,
    QN_QONNX_CEIL,
    QN_QONNX_FLOOR,
    QN_QONNX_UP,
    QN_QONNX_DOWN,
    QN_QONNX_HALF_UP,
    QN_QONNX_HALF_DOWN,
} qn_qonnx_rounding;
/*  max_val  of a FloatQuant that has it as an attribute; infinite when it has not */
typedef struct qn_qonnx {
    qn_qonnx_rounding rounding;
    bool is_signed, narrow, saturate, has_inf, has_nan;
    float max_val;
} qn_qonnx;
qn_status qn_qonnx_of_node(qn_qonnx *qonnx, const qn_graph *graph, const qn_node *node, qn_error *err);

#endif
