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
#include "quern/arithmetic.h"
#include "quern/quantize.h"

/* A remark on a value for the report. */
typedef struct qn_ptq_note {
    struct qn_ptq_note *next;
    qn_value_id value;
    int64_t n_raised;
    const char *text;
} qn_ptq_note;

/* A remark on no value in particular: what was left out, and why. */
typedef struct qn_ptq_remark {
    struct qn_ptq_remark *next;
    const char *text;
} qn_ptq_remark;

/* How a weight is going to be coded: chosen by choose_weights for the passes that move weights and for quantize_weights.
 * The quantizer fits the constant's shape. */
typedef struct qn_ptq_grid {
    struct qn_ptq_grid *next;
    qn_value_id value;
    const qn_quantizer *quantizer;
} qn_ptq_grid;

typedef struct qn_ptq_settings qn_ptq_settings; /* settings.h */
struct qn_ptq_step;                             /* recipe.h */

/* What a folded BatchNormalization said of a value: per channel (axis 1) its mean and standard deviation over the training
 * set, n of them. Equalization keeps them true. */
typedef struct qn_ptq_norm {
    struct qn_ptq_norm *next;
    qn_value_id value;
    int64_t n;
    double *mean, *deviation;
} qn_ptq_norm;

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

/* What a pass works on.
 *  model        holds graph
 *  calibration  of the graph as it is, but for stale values; `own` is the one to be released
 *  settings     what formats the user and the recipe want
 *  step         the pass under way with its options
 *  data         NULL when there is none */
typedef struct qn_ptq {
    qn_model *model;
    qn_graph *graph;
    const qn_calibration *calibration;
    qn_calibration *own;
    const qn_ptq_settings *settings;
    const struct qn_ptq_step *step;
    const qn_dataset *data;
    int n_threads;
    qn_progress_fn progress;
    void *progress_ctx;
    qn_ptq_note *notes;     /* newest first */
    qn_ptq_remark *remarks; /* newest first */
    qn_ptq_grid *grids;
    unsigned char
        *stale; /* per value, n_stale of them: passes changed it, so that its calibrated range no longer holds */
    size_t n_stale;
    qn_ptq_norm *norms;         /* of all BatchNormalizations that qn_ptq_fold_batchnorm met */
    unsigned char *nonnegative; /* per value, n_nonnegative of them; see qn_ptq_sign_map */
    size_t n_nonnegative;
    int32_t *uses; /* of the first n_uses values, counted as a pass starts and never less than there are */
    size_t n_uses;
    qn_arena scratch;
    qn_ptq_pin *pins;    /* newest first */
    bool has_arithmetic; /* the graph records one already: settings.arithmetic is not the one to record */
} qn_ptq;

typedef qn_status (*qn_ptq_pass_fn)(qn_ptq *ptq, qn_error *err);

/* Run one pass between a count of uses and a tidying. */
qn_status qn_ptq_run_pass(qn_ptq *ptq, qn_ptq_pass_fn pass, qn_error *err);
/* An option of the pass under way; never NULL for options that the pass's row lists. */
const char *qn_ptq_option(const qn_ptq *ptq, const char *name);
/* The same as a number; the pass table says the limits. */
double qn_ptq_option_number(const qn_ptq *ptq, const char *name);
/* Make sure that ptq->calibration is of the graph as it is; needs data when it is not. */
qn_status qn_ptq_calibrate(qn_ptq *ptq, qn_error *err);

const qn_quantizer *qn_ptq_grid_of(const qn_ptq *ptq, qn_value_id weights); /* NULL when there is none */
/* Copied. */
qn_status qn_ptq_set_grid(qn_ptq *ptq, qn_value_id weights, const qn_quantizer *q, qn_error *err);

/* The passes, one file each. */
qn_status qn_ptq_settle_constants(qn_ptq *ptq, qn_error *err); /* float values known ahead become constants */
qn_status qn_ptq_drop_identities(qn_ptq *ptq, qn_error *err);
qn_status qn_ptq_recognize(qn_ptq *ptq, qn_error *err);       /* decomposed operators, by the pass's name */
qn_status qn_ptq_move_transposes(qn_ptq *ptq, qn_error *err); /* until they undo each other */
qn_status qn_ptq_fold_scales(qn_ptq *ptq, qn_error *err);     /* numbers that multiply go into weights */
qn_status qn_ptq_fold_batchnorm(qn_ptq *ptq, qn_error *err);  /* into Conv and Gemm; the rest becomes depthwise Conv */
qn_status qn_ptq_fuse_bias(qn_ptq *ptq, qn_error *err);       /* an Add of a vector goes into Conv, Gemm, MatMul */
qn_status qn_ptq_plain_gemm(qn_ptq *ptq, qn_error *err);      /* alpha and beta 1; bias of shape [N] */
qn_status qn_ptq_floor_pool(qn_ptq *ptq, qn_error *err);      /* AveragePool without ceil_mode */
qn_status qn_ptq_whole_map_pool(qn_ptq *ptq, qn_error *err);  /* AveragePool over the map: GlobalAveragePool */
qn_status qn_ptq_constant_second(qn_ptq *ptq, qn_error *err); /* Add, Mul: the constant operand last */
qn_status qn_ptq_equalize(qn_ptq *ptq, qn_error *err);        /* channel scales between layers: weights */
qn_status qn_ptq_smooth(qn_ptq *ptq, qn_error *err);          /* the same: activations against weights */
qn_status qn_ptq_absorb_bias(qn_ptq *ptq, qn_error *err);     /* high biases through Relu into the next layer */
qn_status qn_ptq_sign_map(qn_ptq *ptq, qn_error *err);        /* which values cannot be negative; edits nothing */
qn_status qn_ptq_choose_ranges(qn_ptq *ptq, qn_error *err);   /* quantizers of activations */
qn_status qn_ptq_arbitrate_joins(qn_ptq *ptq, qn_error *err); /* optional: operands of sums and joins share a scale */
qn_status qn_ptq_tune_ranges(qn_ptq *ptq, qn_error *err);     /* ranges by the network's output */
/* Take the quantizers from what a Relu or Clip reads that its producer will apply itself; choose_ranges does. */
void qn_ptq_round_behind_clamps(qn_ptq *ptq);
qn_status qn_ptq_fuse_activation(qn_ptq *ptq, qn_error *err);  /* Relu, Clip that the producer's codes imply */
qn_status qn_ptq_check_forms(qn_ptq *ptq, qn_error *err);      /* refuse nodes without an integer form, all at once */
qn_status qn_ptq_quantize_joins(qn_ptq *ptq, qn_error *err);   /* constant operands of Add, Concat, ... */
qn_status qn_ptq_settle_sums(qn_ptq *ptq, qn_error *err);      /* scales of sums that every runtime rounds alike */
qn_status qn_ptq_choose_weights(qn_ptq *ptq, qn_error *err);   /* grids of weights */
qn_status qn_ptq_quantize_weights(qn_ptq *ptq, qn_error *err); /* weights and biases of Conv, Gemm, MatMul */
qn_status qn_ptq_no_rounding(qn_ptq *ptq, qn_error *err);      /* quantizers become clips */

/* Remarks on weights that serve each other badly, asked when they have grids and are reals still; and on values with
 * quantizers, of what the calibration knows. They edit nothing. Errors: QN_ENOMEM. */
qn_status qn_ptq_warn_of_weights(qn_ptq *ptq, qn_error *err);
qn_status qn_ptq_warn_of_values(qn_ptq *ptq, qn_error *err);

/* Could the node compute on codes, if its values were coded? *reason says why not. */
bool qn_ptq_has_form(const qn_graph *graph, const qn_binding *binding, const qn_node *node, const char **reason);

/* Quantizers of everything from the JSON description of a .tflite file for the same network: int8 activations, weights in
 * [-127, 127], per channel or per tensor as the file has them, int32 biases. In the place of choose_ranges,
 * quantize_joins, settle_sums and quantize_weights; fuse_activation may follow. Errors: those of reading a file;
 * QN_EFORMAT for malformed JSON and QN_EINVAL where the two networks differ, naming file, tensor or node, and reason;
 * QN_ENOMEM. */
qn_status qn_ptq_given_scales(qn_ptq *ptq, const char *json_path, qn_error *err);
qn_status qn_ptq_take_given_scales(qn_ptq *ptq, qn_error *err); /* from the file that option scales names, if any */
qn_status qn_ptq_aidge(qn_ptq *ptq, qn_error *err);             /* the graph becomes what Aidge makes of it */

/* The statistics of a value; NULL when there are none. */
qn_ptq_norm *qn_ptq_find_norm(const qn_ptq *ptq, qn_value_id id);

/* Mark a value as changed; and whether one is, or any (QN_NO_VALUE). Who has the data calibrates again then. */
qn_status qn_ptq_mark_stale(qn_ptq *ptq, qn_value_id id, qn_error *err);
bool qn_ptq_is_stale(const qn_ptq *ptq, qn_value_id id);

/* Whether the last qn_ptq_sign_map proved that a value has no element below 0 (for graph inputs: the calibration saw none):
 * symmetric formats then code it unsigned, with zero point 0 and twice the resolution. False for values made since. */
bool qn_ptq_nonnegative(const qn_ptq *ptq, qn_value_id id);

/* Equalization: factors per channel between layers, which leave what the float network computes as it is.
 *  weights      balance each layer's weights against the next one's (Nagel et al. 2019, section 4.1): for weights
 *               quantized per tensor. Reads no calibration
 *  activations  balance the calibrated per-channel magnitudes of a value against the weights that read it (smooth.c): for
 *               weights quantized per channel
 *  alpha        of activations, 0..1: how far magnitudes are made equal; negative: chosen for each value by estimated noise
 *               at activation_bits and weight_bits
 *  powers_of_two  round factors to powers of two: every float of the network stays the same but for its exponent, so
 *               the outputs are bit-equal (unless a weight leaves the normal floats), but ranges are less even. Otherwise
 *               each weight rounds once, which is far below any quantization
 *  free_caps    go through a Clip whose upper bound the calibration never reached, and drop that bound
 *  tolerance    sweeps end when no factor changes by more than this ratio
 *  max_exponent factors stay within 2^-max_exponent..2^max_exponent, 1..60 */
typedef enum qn_ptq_balance { QN_PTQ_BALANCE_WEIGHTS, QN_PTQ_BALANCE_ACTIVATIONS } qn_ptq_balance;
typedef struct qn_ptq_equalize_options {
    qn_ptq_balance balance;
    double alpha;
    int activation_bits, weight_bits; /* 2..16 */
    bool powers_of_two, free_caps;
    double tolerance;
    int max_sweeps, max_exponent;
} qn_ptq_equalize_options;
/* The defaults of a balance. */
qn_ptq_equalize_options qn_ptq_equalize_defaults(qn_ptq_balance balance);
/* Marks what it scales as stale, with a note per value. Errors: QN_EINVAL (options; activations without calibration, or
 * with values that are stale already); QN_ERANGE (a constant leaves float32); QN_ENOMEM. */
qn_status qn_ptq_equalize_with(qn_ptq *ptq, const qn_ptq_equalize_options *options, qn_error *err);

/* Passes that run the network on ptq->data, between choose_ranges and fuse_activation (doc/passes.md). */
qn_status qn_ptq_gptq(qn_ptq *ptq, qn_error *err);             /* weights by error feedback */
qn_status qn_ptq_learned_rounding(qn_ptq *ptq, qn_error *err); /* and descent from there */
qn_status qn_ptq_correct_bias(qn_ptq *ptq, qn_error *err);     /* biases by means, for weights on grids */

/* Biases without data, from what BatchNormalizations said of their outputs (ptq->norms); after weights are on their grids
 * (others are put on theirs) and before fuse_activation. */
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
    bool only_weights; /* input 1 is a constant weight that is coded, while all the rest stays float */
} qn_ptq_rule;
/* Operators without a row of their own compute from their first input. */
const qn_ptq_rule *qn_ptq_rule_of(qn_op op);

/* The axis of a Conv's, Gemm's or MatMul's weights that counts output channels. */
int qn_ptq_channel_axis(const qn_node *node);
/* Lower and upper bound of a Relu or Clip; false for other operators, and for bounds that are not constant. */
bool qn_ptq_bounds(const qn_graph *graph, const qn_node *node, float *lo, float *hi);

/* Affine integer parameters for real values from `min` to `max`, both finite (arithmetic.md 2.3). */
void qn_ptq_affine(qn_format format, double min, double max, float *scale, int32_t *zero_point);
/* Give value `id` a quantizer per tensor. */
qn_status qn_ptq_set_params(qn_graph *graph, qn_value_id id, qn_format format, const qn_params *params, qn_error *err);

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
    float scale_x;           /* of the input, normal */
    int32_t max_x;           /* greatest |code - zero point| of the input */
    int bits;                /* of a weight, 2..8: codes -h..h, h = 2^(bits-1) - 1 */
    float wanted;            /* scale asked for; 0: max|w| / h */
    const qn_format *format; /* NULL, or whose codes are taken where the scale is unit * own_scale */
    float own_scale, unit;
    bool po2;                        /* scales are powers of two */
    double limit_b;                  /* |bias code| stays below: 2^31 or less */
    const qn_arithmetic *arithmetic; /* NULL, or what the ratio scale_x * scale / scale_y has to fit */
    float scale_y;
} qn_ptq_channel;
/* Symmetric integer parameters and codes (arithmetic.md 2.3, 2.4).
 *  scale    normal, and so is the f32 product scale_x * scale
 *  codes    laid out as the weights
 *  raised   whether the scale had to exceed the one that was asked for, so that bias and sums fit
 * Errors: QN_ERANGE for NaN and infinities, or when no scale fits. */
qn_status qn_ptq_channel_encode(const qn_ptq_channel *channel, float *scale, int8_t *codes, int32_t *bias_code,
                                bool *raised, const char *where, qn_error *err);

/* The least weight scale, not below `wanted`, at which scale_x * scale / scale_y is a ratio that the arithmetic has
 * exactly: a power of two with one shift, the sum of two of them with two; `wanted` itself in fixed and float. All scales
 * are normal. The ratio of the f32 result is within 2^-22 of the exact one, which is what the engine then takes. Weights
 * are rounded once, with it. 0 when there is none among the normal f32, or the ratio is below 2^-32 or above 2^31. */
float qn_ptq_ratio_scale(const qn_arithmetic *a, float scale_x, float scale_y, float wanted);
/* The same and the greatest one below `wanted`, with which the greatest weights saturate: what is better, squared errors
 * tell. Returns how many there are, the scale not below `wanted` first. */
int qn_ptq_ratio_candidates(const qn_arithmetic *a, float scale_x, float scale_y, float wanted, float candidates[2]);

/* The f32 constant of a value, or NULL. */
const qn_tensor *qn_ptq_float_constant(const qn_graph *graph, qn_value_id id);
/* QN_ERANGE naming the constant and the element when one is NaN or infinite. */
qn_status qn_ptq_check_finite(const qn_graph *graph, qn_value_id id, qn_error *err);
/* A new constant named after `stem`, holding a copy of `t`. */
qn_status qn_ptq_add_constant(qn_graph *graph, const char *stem, const qn_tensor *t, qn_value_id *id, qn_error *err);
/* Why a node may suffer from quantization, as far as weights and calibration tell: sentences separated by "; ", the
 * gravest first, as many as fit; "" when nothing is conspicuous. To be asked before or after the passes.
 *  text  n > 0 bytes, always terminated
 * Errors: QN_ENOMEM. */
qn_status qn_ptq_diagnose(const qn_ptq *ptq, const qn_node *node, char *text, size_t n, qn_error *err);

/* The constant that input `index` of `node` reads; when others read it too, the node gets a copy of its own, so that it
 * may be changed. */
qn_status qn_ptq_own_constant(qn_ptq *ptq, qn_node *node, int index, qn_value_id *id, qn_error *err);
/* Readers of `id` as the pass started; 1 for values that the pass made. */
int32_t qn_ptq_uses(const qn_ptq *ptq, qn_value_id id);
qn_status qn_ptq_set_inputs(qn_graph *graph, qn_node *node, const qn_value_id *ids, int n, qn_error *err);
/* The node that makes `id`, when that is its only output and has exactly one reader; NULL otherwise. */
qn_node *qn_ptq_only_producer(const qn_ptq *ptq, qn_value_id id);
/* The Add that alone reads the product of a MatMul by a constant and adds one number per column to it: a bias, for which
 * MatMul has no input. *operand is the input of the Add that holds the numbers. NULL when there is none. */
qn_node *qn_ptq_bias_add(const qn_ptq *ptq, const qn_node *node, int *operand);
/* The scale of the codes that a layer's sums become, behind the bias, Relu or Clip that is applied to them; 0 when they stay
 * float. */
float qn_ptq_result_scale(const qn_ptq *ptq, const qn_node *node);
/* Let `producer` make the output of `consumer`, the only reader of its own, and remove `consumer`. */
void qn_ptq_absorb(qn_graph *graph, qn_node *producer, qn_node *consumer);
/* Does `t`, broadcast to a tensor of this rank, vary along `axis` only, which has n elements, or not at all? */
bool qn_ptq_is_channel_vector(const qn_tensor *t, int rank, int axis, int64_t n);
/* Make `id` a coded constant: quantizer, codes, and the reals they mean. */
qn_status qn_ptq_set_coded(qn_graph *graph, qn_value_id id, const qn_quantizer *q, const qn_tensor *codes,
                           qn_error *err);

/* Pin constant `weights`, which is float and still as the network has it, to `on_grid` (the same shape) with n scales along
 * `axis`, which also become the scales of its grid; 0 is a channel of zeros. All is copied. Pinned weights may be pinned again: their original stays the first. */
qn_status qn_ptq_pin_scale(qn_ptq *ptq, qn_value_id weights, const qn_tensor *on_grid, int axis, int64_t n,
                           const float *scale, qn_error *err);
/* NULL when `weights` is not pinned. */
qn_ptq_pin *qn_ptq_find_pin(const qn_ptq *ptq, qn_value_id weights);

/* Can the weights of a node be rounded by data? They have a grid with one set of parameters per output channel or for all,
 * in an integer format of 2 to 8 bits or another of at most 8 whose values are a scale times fixed ones. */
bool qn_ptq_can_round(const qn_ptq *ptq, const qn_node *node);
/* Scale of output channel `channel` on the grid of such a node: what integers or neutral values are multiplied by. */
double qn_ptq_grid_scale(const qn_quantizer *grid, int64_t channel);
/* May a pass look for other scales? Not where one serves all channels, where they are powers of two by their format, or
 * where the arithmetic wants exact ratios. */
bool qn_ptq_may_scale(const qn_ptq *ptq, const qn_quantizer *grid);

/* `text` is copied. */
qn_status qn_ptq_add_note(qn_ptq *ptq, qn_value_id value, int64_t n_raised, qn_error *err, const char *format, ...)
    QN_PRINTF(5, 6);

qn_status qn_ptq_add_remark(qn_ptq *ptq, qn_error *err, const char *format, ...) QN_PRINTF(3, 4);

/* Nodes without a name get that of their first output, so that settings can name them whatever passes make of it. */
qn_status qn_ptq_name_nodes(qn_graph *graph, qn_error *err);
/* The same, and no node shares its name with another, with an operator type or with an input: a glob can then mean it alone. */
qn_status qn_ptq_name_nodes_apart(qn_graph *graph, qn_error *err);

/* The report of a finished graph. */
qn_status qn_ptq_report_make(qn_quantize_report **report, const qn_ptq *ptq, const char *recipe, qn_error *err);

#endif
