/* The ptq room: post-training quantization.
 *
 * A recipe is an ordered table of passes; each pass is one file and edits the graph in place. Passes before
 * choose_ranges bring the network into the forms that the integer engine knows; the others give values their
 * quantizers. Between passes the graph is tidy (qn_graph_tidy). Invariants at the end: every float value that a node
 * makes or reads at run time carries a quantizer; weights and biases are coded constants; operators that only move
 * codes have equal quantizers on both sides. Ownership: the caller of the recipe owns the graph; notes and scratch live
 * in the context. One thread. */
#ifndef QN_PTQ_PTQ_H
#define QN_PTQ_PTQ_H

#include "graph/bind.h"
#include "graph/graph.h"
#include "quern/quantize.h"

/* A remark on a value for the report. */
typedef struct qn_ptq_note {
    struct qn_ptq_note *next;
    qn_value_id value;
    int64_t n_raised;
    const char *text;
} qn_ptq_note;

/* Weights that a pass has put on a grid: the constant holds reals that are codes * scale[channel], each rounded once to
 * float, which encode to these codes with these scales and no others. What it was before stays for comparing. */
typedef struct qn_ptq_pin {
    struct qn_ptq_pin *next;
    qn_value_id weights;
    int64_t n;          /* scales: output channels */
    const float *scale; /* normal */
    const qn_tensor *original;
    qn_value_id bias; /* QN_NO_VALUE: none; and its constant before a pass corrected it */
    const qn_tensor *original_bias;
} qn_ptq_pin;

/* What a BatchNormalization says of the value that it makes: mean and standard deviation per channel. */
typedef struct qn_ptq_normal {
    struct qn_ptq_normal *next;
    qn_value_id value;
    int64_t n;
    const double *mean, *deviation;
} qn_ptq_normal;

/* What a pass works on. */
typedef struct qn_ptq {
    qn_graph *graph;
    const qn_calibration *calibration;
    qn_ptq_note *notes; /* newest first */
    int32_t *uses;      /* of the first n_uses values, counted as a pass starts and never less than there are */
    size_t n_uses;
    qn_arena scratch;
    const qn_dataset *data; /* for passes that run the network; NULL without */
    int n_threads;          /* for these; less than 1 is 1 */
    qn_progress_fn progress;
    void *progress_ctx;
    qn_ptq_pin *pins; /* newest first */
    int weight_bits;  /* 2..8; 0 is 8 */
    qn_ptq_normal *normals;
} qn_ptq;

typedef qn_status (*qn_ptq_pass_fn)(qn_ptq *ptq, qn_error *err);

/* A recipe; its name ends up in metadata_props ("quern.recipe"). The first n_forms passes read no calibration: they alone
 * decide whether a network can be quantized. */
typedef struct qn_ptq_recipe {
    const char *name;
    const qn_ptq_pass_fn *passes;
    size_t n_forms, n_passes;
} qn_ptq_recipe;

/* Run one pass between a count of uses and a tidying. */
qn_status qn_ptq_run_pass(qn_ptq *ptq, qn_ptq_pass_fn pass, qn_error *err);

/* The passes, one file each. */
qn_status qn_ptq_settle_constants(qn_ptq *ptq, qn_error *err); /* float values known ahead become constants */
qn_status qn_ptq_drop_identities(qn_ptq *ptq, qn_error *err);
qn_status qn_ptq_fold_batchnorm(qn_ptq *ptq, qn_error *err);   /* into Conv and Gemm; the rest becomes depthwise Conv */
qn_status qn_ptq_fuse_bias(qn_ptq *ptq, qn_error *err);        /* an Add of a vector goes into Conv, Gemm, MatMul */
qn_status qn_ptq_plain_gemm(qn_ptq *ptq, qn_error *err);       /* alpha and beta 1; bias of shape [N] */
qn_status qn_ptq_floor_pool(qn_ptq *ptq, qn_error *err);       /* AveragePool without ceil_mode */
qn_status qn_ptq_whole_map_pool(qn_ptq *ptq, qn_error *err);   /* AveragePool over the map: GlobalAveragePool */
qn_status qn_ptq_constant_second(qn_ptq *ptq, qn_error *err);  /* Add, Mul: the constant operand last */
qn_status qn_ptq_choose_ranges(qn_ptq *ptq, qn_error *err);    /* quantizers of activations */
qn_status qn_ptq_fuse_activation(qn_ptq *ptq, qn_error *err);  /* Relu, Clip that the producer's codes imply */
qn_status qn_ptq_check_forms(qn_ptq *ptq, qn_error *err);      /* refuse nodes without an integer form, all at once */
qn_status qn_ptq_quantize_joins(qn_ptq *ptq, qn_error *err);   /* constant operands of Add, Concat, ... */
qn_status qn_ptq_settle_sums(qn_ptq *ptq, qn_error *err);      /* scales of sums that every runtime rounds alike */
qn_status qn_ptq_quantize_weights(qn_ptq *ptq, qn_error *err); /* weights and biases of Conv, Gemm, MatMul */

/* Passes that run the network on ptq->data, between choose_ranges and fuse_activation (doc/passes.md). */
qn_status qn_ptq_gptq(qn_ptq *ptq, qn_error *err);             /* weights by error feedback */
qn_status qn_ptq_learned_rounding(qn_ptq *ptq, qn_error *err); /* and descent from there */
qn_status qn_ptq_correct_bias(qn_ptq *ptq, qn_error *err);     /* biases by means, for weights on grids */

/* Biases without data, from what BatchNormalizations say of their outputs: note before fold_batchnorm, correct after
 * weights are on their grids (others are put on theirs) and before fuse_activation. */
qn_status qn_ptq_note_batchnorm(qn_ptq *ptq, qn_error *err);
qn_status qn_ptq_correct_bias_analytic(qn_ptq *ptq, qn_error *err);
/* Mean and variance of a normal variable clipped to lo..hi, which may be infinite; deviation >= 0. */
void qn_ptq_clipped_normal(double mean, double deviation, double lo, double hi, double *clipped_mean, double *variance);

/* What these passes do; each is a preset.
 *  feed, descend  how to round: qn_round_feed, qn_round_descend, both, or each weight by itself
 *  search         look for each channel's scale, from half to all of what its greatest weight needs
 *  target         round towards the best real weights for the quantized input, not the weights themselves
 *  float_only     take quantized inputs from the float network: one run for all layers, not one for each
 *  correct        correct biases, and leave means out of the rounding
 *  n_columns      of a layer's input to sum; 0: 16384, or 4 per weight of a channel when that is more
 *  damp           of the mean of the diagonal; 0: 0.01
 *  reach          qn_round_descend's; 0: any */
typedef struct qn_ptq_round_options {
    bool feed, descend, search, target, float_only, correct;
    int64_t n_columns;
    double damp;
    int32_t reach;
} qn_ptq_round_options;
qn_status qn_ptq_round_weights(qn_ptq *ptq, const qn_ptq_round_options *options, qn_error *err);
/* How an operator's float inputs and output are coded. */
typedef enum qn_ptq_role {
    QN_PTQ_OWN,  /* computes: its output has parameters of its own */
    QN_PTQ_MOVE, /* moves codes about: its output has its first input's parameters */
} qn_ptq_role;
typedef struct qn_ptq_rule {
    qn_op op;
    qn_ptq_role role;
    bool joins;       /* all inputs are activations, otherwise only the first */
    bool has_weights; /* input 1 is a constant weight, input 2 a constant bias */
} qn_ptq_rule;
/* Operators without a row of their own compute from their first input. */
const qn_ptq_rule *qn_ptq_rule_of(qn_op op);

/* The axis of a Conv's, Gemm's or MatMul's weights that counts output channels. */
int qn_ptq_channel_axis(const qn_node *node);
/* Lower and upper bound of a Relu or Clip; false for other operators, and for bounds that are not constant. */
bool qn_ptq_bounds(const qn_graph *graph, const qn_node *node, float *lo, float *hi);

/* uint8 parameters for real values from `min` to `max`, both finite (arithmetic.md 2.3). */
void qn_ptq_affine_u8(float min, float max, float *scale, int32_t *zero_point);
/* Give value `id` the uint8 quantizer of [min, max]. */
qn_status qn_ptq_set_affine_u8(qn_graph *graph, qn_value_id id, float min, float max, qn_error *err);

/* Codes lo..hi of a value coded per tensor. */
typedef struct qn_ptq_code {
    float scale;
    int32_t zero_point, lo, hi;
} qn_ptq_code;
/* The least scale y->scale * (1 + k * 2^-20), 0 <= k < 64, at which every pair of codes of a and b has the same sum in
 * whatever order its floats are evaluated; y->scale when there is none. */
float qn_ptq_sum_scale(const qn_ptq_code *a, const qn_ptq_code *b, const qn_ptq_code *y);

/* One output channel to be coded. */
typedef struct qn_ptq_channel {
    const float *weights; /* element k is weights[(k / run) * step + k % run] */
    int64_t n, run, step;
    bool has_bias;
    float bias;
    float scale_x; /* of the input, normal */
    int32_t max_x; /* greatest |code - zero point| of the input */
    float pinned;  /* > 0: the scale to start from; 0: from the weights */
} qn_ptq_channel;
/* Symmetric int8 parameters and codes (arithmetic.md 2.3, 2.4).
 *  scale    normal, and so is the f32 product scale_x * scale
 *  codes    laid out as the weights, -127..127
 *  raised   whether the scale had to exceed max|w| / 127
 * Errors: QN_ERANGE for NaN and infinities, or when no scale fits. */
qn_status qn_ptq_channel_encode(const qn_ptq_channel *channel, float *scale, int8_t *codes, int32_t *bias_code,
                                bool *raised, const char *where, qn_error *err);

/* The f32 constant of a value, or NULL. */
const qn_tensor *qn_ptq_float_constant(const qn_graph *graph, qn_value_id id);
/* QN_ERANGE naming the constant and the element when one is NaN or infinite. */
qn_status qn_ptq_check_finite(const qn_graph *graph, qn_value_id id, qn_error *err);
/* A new constant named after `stem`, holding a copy of `t`. */
qn_status qn_ptq_add_constant(qn_graph *graph, const char *stem, const qn_tensor *t, qn_value_id *id, qn_error *err);
/* The constant that input `index` of `node` reads; when others read it too, the node gets a copy of its own, so that it
 * may be changed. */
qn_status qn_ptq_own_constant(qn_ptq *ptq, qn_node *node, int index, qn_value_id *id, qn_error *err);
/* Readers of `id` as the pass started; 1 for values that the pass made. */
int32_t qn_ptq_uses(const qn_ptq *ptq, qn_value_id id);
qn_status qn_ptq_set_inputs(qn_graph *graph, qn_node *node, const qn_value_id *ids, int n, qn_error *err);
/* The node that makes `id`, when that is its only output and has exactly one reader; NULL otherwise. */
qn_node *qn_ptq_only_producer(const qn_ptq *ptq, qn_value_id id);
/* Let `producer` make the output of `consumer`, the only reader of its own, and remove `consumer`. */
void qn_ptq_absorb(qn_graph *graph, qn_node *producer, qn_node *consumer);
/* Does `t`, broadcast to a tensor of this rank, vary along `axis` only, which has n elements, or not at all? */
bool qn_ptq_is_channel_vector(const qn_tensor *t, int rank, int axis, int64_t n);
/* Make `id` a coded constant: quantizer, codes, and the reals they mean. */
qn_status qn_ptq_set_coded(qn_graph *graph, qn_value_id id, const qn_quantizer *q, const qn_tensor *codes,
                           qn_error *err);

/* Pin constant `weights`, which is float and still as the network has it, to `on_grid` (the same shape) with n scales; all
 * is copied. Pinned weights may be pinned again: their original stays the first. */
qn_status qn_ptq_pin_scale(qn_ptq *ptq, qn_value_id weights, const qn_tensor *on_grid, int64_t n, const float *scale,
                           qn_error *err);
/* NULL when `weights` is not pinned. */
qn_ptq_pin *qn_ptq_find_pin(const qn_ptq *ptq, qn_value_id weights);

/* The format of a node's weights, which have one scale per output channel along qn_ptq_channel_axis. A pass that rounds
 * asks for it here. Errors: QN_EINVAL. */
qn_status qn_ptq_weight_format(const qn_ptq *ptq, const qn_node *node, qn_format *format, qn_error *err);

/* `text` is copied. */
qn_status qn_ptq_add_note(qn_ptq *ptq, qn_value_id value, int64_t n_raised, qn_error *err, const char *format, ...)
    QN_PRINTF(5, 6);

/* The report of a finished graph. */
qn_status qn_ptq_report_make(qn_quantize_report **report, const qn_ptq *ptq, const qn_ptq_recipe *recipe,
                             qn_error *err);

#endif
