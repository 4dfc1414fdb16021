/* Moments: what a layer's inputs are like over a data set, as its rounding needs it.
 *
 * Column x of a node is what one output element of it reads: the window of a Conv (per group; zeros in the padding), a row of
 * the input of a Gemm or MatMul. It has k elements, in the order of the weights of one output channel. x comes from
 * the float network, z from the quantized one. */
#ifndef QN_PTQ_MOMENTS_H
#define QN_PTQ_MOMENTS_H

#include "engine/program.h"
#include "ptq/ptq.h"

/* Where the columns of a node's input are.
 *  window   of a Conv; group counts groups of k inputs. Else rows of k elements: k follow each other, group is 1
 *  n_positions  columns of one item */
typedef struct qn_columns {
    bool is_conv;
    qn_window window;
    int64_t k, n_groups, n_positions;
    int64_t n_elems; /* of one item of the input */
    int rank;        /* of one item */
    int64_t dims[QN_MAX_RANK];
} qn_columns;

/* false when the node's input has no columns: weights that are no constant matrix, a Gemm that transposes its input, or an
 * input whose first axis is not the batch. Errors: those of the geometry. */
qn_status qn_columns_of_node(qn_columns *columns, bool *has, const qn_binding *binding, const qn_node *node,
                             qn_error *err);
/* Column `position` of an item, all groups: f32[n_groups][stride]; elements k..stride-1 are not written. */
void qn_columns_read(const qn_columns *columns, const float *item, int64_t position, float *out, int64_t stride);
/* The s-th of n sampled positions of item `item`, 0 <= s < n <= n_positions: ascending, all different, one from each of n
 * equal stretches, the same whatever machine asks. */
int64_t qn_columns_sample(const qn_columns *columns, int64_t item, int64_t s, int64_t n);

/* Sums over n columns.
 *  h       [n_groups][k][k], sum z z'
 *  g       [n_groups][k][k], sum z x' (row z, column x); NULL where it was not asked for
 *  z, x    [n_groups][k], sums of z and x */
typedef struct qn_moments {
    int64_t n_groups, k, n;
    double *h, *g, *z, *x;
} qn_moments;

/* products: h and g too, not only the sums. Errors: QN_ENOMEM, QN_ELIMIT. */
qn_status qn_moments_make(qn_moments *moments, const qn_columns *columns, bool products, bool cross, qn_error *err);
void qn_moments_free(qn_moments *moments);

/* Add n rows of columns: f32[n][n_groups][stride], stride a multiple of 16 and zeros from k on. Every element is summed in
 * the order of rows, in f32 over at most QN_MOMENTS_CHUNK and in double beyond: exact for z that are integers of at most 8
 * bits (and in every case the same at every `cpu`). first and last bound rows of h and g that are added to, so that
 * threads can share the work; the first of them adds the sums too. */
enum { QN_MOMENTS_CHUNK = 256, QN_COLUMN_LANES = 16 };
void qn_moments_add(qn_moments *moments, int64_t group, int64_t first, int64_t last, const float *z, const float *x,
                    int64_t n, int64_t stride, qn_cpu cpu);

/* From columns in units to reals; and the half of h that symmetry gives. Errors: QN_ERANGE when a sum is not finite. */
qn_status qn_moments_finish(qn_moments *moments, double unit, const char *where, qn_error *err);

/* What to gather of one node of ptq->graph.
 *  n_columns  how many columns to sum, about, at least 1; items with more positions than their share are sampled */
typedef struct qn_moments_wish {
    const qn_node *node;
    qn_columns columns;
    bool products, cross;
    int64_t n_columns;
    int n_folds;         /* 1, or 2: every other item apart */
    qn_moments *moments; /* [n_folds], made here */
} qn_moments_wish;

/* How to gather.
 *  float_only   z is x encoded and decoded by the value's quantizer: one run of one network; otherwise z comes from a run
 *               of the network quantized so far, with whatever constants it has now
 *  reference    the float network: the graph without quantizers, with the constants it had before any was rounded */
typedef struct qn_moments_options {
    bool float_only;
    const qn_graph *reference;
} qn_moments_options;

/* One run of ptq->data, which is not empty, for all wishes. Results depend neither on the number of threads nor on the CPU level of our kernels.
 * Errors: those of making and running programs and of the data; QN_ENOMEM, QN_ELIMIT, QN_ECANCELED. */
qn_status qn_moments_gather(qn_ptq *ptq, const qn_moments_options *options, qn_moments_wish *wishes, size_t n_wishes,
                            qn_error *err);

#endif
