/* Binding: the shapes of all values for one batch size, and the values that can be computed ahead.
 *
 * The graph stays unchanged; a binding belongs to it and to one batch. Constant folding covers shape arithmetic
 * (Shape, Gather, Concat, ... on small integer tensors) and moves of constants (Identity, Cast, Reshape, Transpose, ...). */
#ifndef QN_GRAPH_BIND_H
#define QN_GRAPH_BIND_H

#include "graph/graph.h"

typedef struct qn_bound_value {
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t n_elems;
    const qn_tensor *known; /* the value itself when it is constant or folded, else NULL */
} qn_bound_value;

typedef struct qn_binding {
    qn_arena arena;
    const qn_graph *graph;
    int64_t batch;
    qn_bound_value *values; /* graph->n_values of them */
} qn_binding;

/* `batch` replaces the leading dimension of every graph input where it is dynamic. A model with a fixed leading dimension
 * keeps it; *batch of the binding says which.
 * Errors: QN_EUNSUPPORTED listing every node without a row in the table (type and names), and for other dynamic dimensions;
 * QN_ESHAPE or QN_EFORMAT naming node, attribute or input; QN_ELIMIT. */
qn_status qn_graph_bind(qn_binding *binding, const qn_graph *graph, int64_t batch, qn_error *err);
void qn_binding_free(qn_binding *binding);

/* Geometry shared by inference, engines and MAC counts: 2-d convolution and pooling after auto_pad, defaults and checks. */
typedef struct qn_window {
    int64_t kernel[2], stride[2], dilation[2];
    int64_t pad_begin[2], pad_end[2]; /* height, width */
    int64_t in[2], out[2];
    int64_t n, c_in, c_out, group;    /* pooling: c_out == c_in, group == c_in */
    bool ceil_mode, count_include_pad;
} qn_window;

/* `node` is Conv, MaxPool, AveragePool or a global pool over rank 3 or 4 inputs (rank 3 is seen as height 1).
 * QN_EFORMAT / QN_EUNSUPPORTED naming the attribute. */
qn_status qn_window_of_node(qn_window *window, const qn_binding *binding, const qn_node *node, qn_error *err);

/* C = alpha * A' * B' + beta * C for Gemm, and MatMul seen the same way when B is a matrix. */
typedef struct qn_gemm {
    int64_t m, n, k;
    bool trans_a, trans_b;
    float alpha, beta;
} qn_gemm;
qn_status qn_gemm_of_node(qn_gemm *gemm, const qn_binding *binding, const qn_node *node, qn_error *err);

/* Multiply-accumulate operations of one node for the bound batch (Conv, Gemm, MatMul; 0 for others). */
int64_t qn_node_macs(const qn_binding *binding, const qn_node *node);

#endif
