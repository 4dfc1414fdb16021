/* The recipe `aidge`: aidge_quantization 0.3.1 restated (quern/aidge.h, doc/passes.md).
 *
 * The graph becomes a small network of doubles of its own: nodes in topological order, one output each, one item at a
 * time. Its stages, one file each, run in this order and change it in place:
 *   build.c      layers with weights, activations, joins and moves of a prepared graph; BatchNormalization folded in f32
 *   scalings.c   a scaling node behind every layer and join, and on every forked branch of a join
 *   normalize.c  weights to -1..1; later all scaling nodes' outputs to -1..1
 *   observe.c    ranges and histograms of the scaling nodes' outputs;  clip.c  how far a range is cut
 *   signs.c      which activations cannot be negative
 *   integers.c   integers, quantizers in place of scaling nodes, single shifts
 *   forward.c    running it, at any stage
 *   npz.c        its numbers in a file;  codings.c, to_model.c  the network as a model for the integer engine
 * Everything is exact to the order of sums: integer networks below 2^53 are exact. A network belongs to one thread while it
 * changes and may be run by many. Memory is the network's arena. */
#ifndef QN_PTQ_AIDGE_AIDGE_H
#define QN_PTQ_AIDGE_AIDGE_H

#include "graph/bind.h"
#include "graph/graph.h"
#include "quern/aidge.h"

typedef enum qn_aidge_op {
    QN_AIDGE_CONV,
    QN_AIDGE_FC,
    QN_AIDGE_RELU,
    QN_AIDGE_LEAKY,
    QN_AIDGE_MAX_POOL,
    QN_AIDGE_AVERAGE_POOL,
    QN_AIDGE_COPY, /* Reshape and the like: no element moves */
    QN_AIDGE_TRANSPOSE,
    QN_AIDGE_PAD,
    QN_AIDGE_ADD,
    QN_AIDGE_SUB,
    QN_AIDGE_CONCAT,
    QN_AIDGE_SCALING,
} qn_aidge_op;

enum { QN_AIDGE_INPUT = -1 }; /* as a parent: the network's input */

/* One node.
 *  name       of the ONNX node; "X_Scaling" or "X_Res" for scaling nodes
 *  value      of the prepared graph, which this node makes; QN_NO_VALUE for scaling nodes
 *  parents    node indices, below its own, or QN_AIDGE_INPUT
 *  dims       of one item of the output, without batch
 *  weight     conv [out, in / group, h, w], fc [out, in]; bias [out] or NULL
 *  scale      scaling: y = x * scale; once is_quantizer y = clip(rint(x * coef * scale), lo, hi)
 *  coef       integer factor of a quantizer that follows no layer (single shift), NaN when there is none
 *  range      scaling, average pool: greatest magnitude over the calibration data; of scaling nodes clipped later
 *  gain       of layers: real weights * gain = weights (before rounding) */
typedef struct qn_aidge_node {
    const char *name;
    qn_aidge_op op;
    qn_value_id value;
    int n_parents;
    int *parents;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t n; /* product of dims */
    qn_window window;
    qn_pad pad;
    int perm[QN_MAX_RANK]; /* transpose, over dims without batch */
    int axis;              /* concat, over dims without batch */
    double slope;
    int weight_rank;
    int64_t weight_dims[4];
    int64_t n_weights;
    double *weight, *bias;
    double scale, coef, lo, hi, range, gain;
    bool is_residual, is_quantizer;
    bool in_unsigned, out_unsigned;
} qn_aidge_node;

typedef struct qn_aidge_remark {
    struct qn_aidge_remark *next;
    const char *text;
} qn_aidge_remark;

typedef struct qn_aidge_net {
    qn_arena arena;
    qn_aidge_node *nodes;
    int n_nodes;
    int output; /* node index */
    int input_rank;
    int64_t input_dims[QN_MAX_RANK]; /* of one item */
    int64_t n_input;
    double output_scale; /* real output = output * output_scale */
    qn_aidge_remark *notes, **last_note;
} qn_aidge_net;

/* Opaque to users; plain here. `bits` levels: signed -S-1..S, unsigned 0..U. */
struct qn_aidge {
    qn_aidge_net net;
    qn_aidge_options options;
    qn_preprocess preprocess; /* of the calibration data */
    char model_sha256[65], data_sha256[65];
};

static inline double qn_aidge_signed_max(int bits)
{
    return (double)((1 << (bits - 1)) - 1);
}
static inline double qn_aidge_unsigned_max(int bits)
{
    return (double)((1 << bits) - 1);
}
static inline bool qn_aidge_is_affine(const qn_aidge_node *node)
{
    return node->op == QN_AIDGE_CONV || node->op == QN_AIDGE_FC;
}
static inline bool qn_aidge_is_join(const qn_aidge_node *node)
{
    return node->op == QN_AIDGE_ADD || node->op == QN_AIDGE_SUB || node->op == QN_AIDGE_CONCAT;
}

qn_status qn_aidge_note_add(qn_aidge_net *net, qn_error *err, const char *format, ...) QN_PRINTF(3, 4);
/* Per node: how many distinct nodes read it. In the arena; NULL when out of memory. */
int *qn_aidge_count_children(qn_aidge_net *net);
/* The scaling node that the output of `index` comes from, QN_AIDGE_INPUT when there is none. */
int qn_aidge_previous_scaling(const qn_aidge_net *net, int index);

qn_status qn_aidge_check_options(const qn_aidge_options *options, qn_error *err);
/* A copy of the model's graph in the form that qn_aidge_build takes. `graph` starts as {0}. */
qn_status qn_aidge_prepare(qn_graph *graph, const qn_model *model, qn_error *err);
/* Errors: QN_EUNSUPPORTED listing all nodes without a form. */
qn_status qn_aidge_build(qn_aidge_net *net, const qn_graph *graph, qn_error *err);
qn_status qn_aidge_insert_scalings(qn_aidge_net *net, const qn_aidge_options *options, qn_error *err);
qn_status qn_aidge_equalize(qn_aidge_net *net, qn_error *err);
qn_status qn_aidge_normalize_parameters(qn_aidge_net *net, double input, qn_error *err);
qn_status qn_aidge_normalize_activations(qn_aidge_net *net, qn_error *err);
void qn_aidge_map_signs(qn_aidge_net *net);
void qn_aidge_make_integers(qn_aidge_net *net, const qn_aidge_options *options);
void qn_aidge_single_shift(qn_aidge_net *net, const qn_aidge_options *options);

/* One item through the network. values[k] holds nodes[k].n doubles; input n_input doubles. */
double **qn_aidge_values_new(const qn_aidge_net *net); /* qn_free; NULL when out of memory */
void qn_aidge_forward(const qn_aidge_net *net, const double *input, double *const *values);

/* Ranges of all scaling nodes over the data. */
qn_status qn_aidge_observe_ranges(qn_aidge_net *net, const qn_dataset *data, const qn_aidge_options *options,
                                  qn_error *err);
/* Histograms of all scaling nodes: counts[k * n_bins + bin] for node k (rows of other nodes stay 0). */
qn_status qn_aidge_observe_histograms(const qn_aidge_net *net, const qn_dataset *data, const qn_aidge_options *options,
                                      int64_t n_bins, int64_t *counts, qn_error *err);
/* 2^(bits + 4). */
int64_t qn_aidge_n_bins(int bits);
/* The part of a range to keep, 0.02..0.99. Value of bin i is (i + 0.5) / n_bins of the range. */
double qn_aidge_clip_error(const int64_t *counts, int64_t n_bins, int bits, int exponent);
double qn_aidge_clip_divergence(const int64_t *counts, int64_t n_bins, int bits, double *scratch);
/* Cut the ranges as options->clip says. */
qn_status qn_aidge_adjust_ranges(qn_aidge_net *net, const qn_dataset *data, const qn_aidge_options *options,
                                 qn_error *err);

/* How a model of integers codes a node's output.
 *  weight_scale  of layers
 *  finer         codes are 2^finer times the network's numbers: averages, which the library does not round */
typedef struct qn_aidge_coding {
    float scale, weight_scale;
    bool is_unsigned;
    int finer;
} qn_aidge_coding;
qn_aidge_coding qn_aidge_input_coding(const qn_aidge_options *options);
/* One per node, in `arena`. */
qn_status qn_aidge_choose_codings(const qn_aidge_coding **codings, const qn_aidge_net *net,
                                  const qn_aidge_options *options, qn_arena *arena, qn_error *err);

/* Scaling nodes in the order of their names: indices into nodes, in `arena`. */
qn_status qn_aidge_sorted_scalings(const qn_aidge_net *net, qn_arena *arena, const int **indices, int *n,
                                   qn_error *err);

#endif
