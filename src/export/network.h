/* The export room: an integer network written down for hardware, and what was written checked against the model.
 *
 * network*.c read a program of the integer engine as a list of tensors and layers in the model's own terms: codes signed or
 * not as their quantizers have them, zero points as the model has them, weights not packed, no borders, one entry per
 * output channel in order. Every target prints from this list and from nothing else, so all of them state the same
 * numbers. run.c gives the codes and sums of an image, by the engine. A target is a row of a table (target.h) and a
 * folder of its own. `qn_export` (quern/export.h) writes them into a directory that appears whole or not at all.
 * Ownership: a network owns all that its fields point to but what belongs to its model's graph, which it keeps too.
 * Threads: a network is immutable; a run belongs to one thread. */
#ifndef QN_EXPORT_NETWORK_H
#define QN_EXPORT_NETWORK_H

#include "base/ratio.h"
#include "engine/program.h"
#include "quern/model.h"

/* Codes of one item's value. Order "pixels": element (y, x, c) at (y * width + x) * channels + c, whatever the value's
 * shape in the model (NCHW); `plain`: the value's own C order, as one row: height 1. Element i of either is i.
 *  name       of the value in the model
 *  id         an identifier of its own among all ids of the network: [a-z][a-z0-9_]*
 *  dims       item shape in the model, `rank` of them
 *  base       the tensor whose elements this one shows in another shape (same order of elements); -1: none
 *  bits, is_signed, scale, zero_point   as the quantizer has them: x = (code - zero_point) * scale
 *  lo, hi     codes that occur: the quantizer's range, narrowed by what was fused into the layer that makes it
 *  real       no codes: f32 in C order (an island's operands, a layer's float result)
 *  constant   codes of a constant, count of them; else NULL
 *  used       a layer or an output has to do with it; others are left-overs of the engine
 *  maker      the first layer that writes it, -1: an input or a constant; last_reader: -1 when it is only an output. Of a
 *             tensor with a base those of the base are meant */
typedef struct qn_export_tensor {
    const char *name, *id;
    qn_value_id value;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int height, width, channels;
    int64_t count;
    bool used, plain, real, is_signed;
    int base, bits;
    float scale;
    int32_t zero_point, lo, hi;
    const int16_t *constant;
    int maker, last_reader;
} qn_export_tensor;

typedef enum qn_export_kind {
    QN_EXPORT_CONV, /* Conv, Gemm, MatMul by constants */
    QN_EXPORT_ADD,  /* of two tensors */
    QN_EXPORT_MUL,
    QN_EXPORT_SUB,
    QN_EXPORT_MAX_POOL,
    QN_EXPORT_AVERAGE, /* average pools */
    QN_EXPORT_LOOKUP,  /* each code through a table, or copied, into a part of the output (Concat) */
    QN_EXPORT_GATHER,  /* output element i is input element index[i] */
    QN_EXPORT_PAD,     /* the same, or `fill` where index[i] is -1 */
    QN_EXPORT_SOFTMAX,
    QN_EXPORT_NORM,    /* LayerNormalization */
    QN_EXPORT_PRODUCT, /* MatMul of two activations */
    QN_EXPORT_FLOAT,   /* a node in float, or what goes between codes and floats inside the network */
} qn_export_kind;
/* "convolution", "add", "max pool", ... */
const char *qn_export_kind_text(qn_export_kind kind);

/* How a sum becomes a code (doc/spec/arithmetic.md 3.3, 4): of channel k,
 *  float   ratio[k]:  clamp(rint((f32)sum * ratio[k]), lo - zero, hi - zero) + zero
 *  fixed, shift, double-shift   clamp(round(sum * multiplier[k] / 2^shift[k]) + zero, lo, hi), rounded as `how` says
 * where lo, hi and zero are those of the output tensor.
 *  kind        of the model's arithmetic; n entries: channels, or 1 */
typedef struct qn_export_requantize {
    qn_requantization kind;
    qn_ratio_rounding how;
    int n;
    const float *ratio;                /* float; else NULL */
    const int32_t *multiplier, *shift; /* else; shift -31..62, to the right where positive */
} qn_export_requantize;

/* sum(k) = bias[k] + sum over r, s, c of (x - zero_x) * (w - zero_w[k]); padding counts 0.
 * Output channel k of group g = k / group_outputs reads input channels g * group_inputs ... of the input. A matrix over a
 * flattened map has a kernel as large as the map. Over a plain input (one row of pixels) a matrix is a 1 x 1 kernel.
 *  weights    w of [k][r][s][c], codes of the model; weight_bits, weight_signed: their format
 *  weight_name, weight_quantizer  the constant in the model, and its parameters; bias the same. bias_quantizer NULL: none
 *  zero_w     per k
 *  bias       per k, s32; all 0 where there is none
 *  accumulator_bits  sums wrap to, or saturate at, so many bits; 32 where none leaves the model's accumulator
 *  saturate   then sums are formed one product after another, from the bias (4.5): rows, columns, channels; `by_matrix`:
 *             channels, rows, columns
 *  bound      per k: no finished or partial sum is greater in magnitude (3.8)
 *  least, greatest  no finished or partial sum, in any order, leaves these; proven_bits: of two's complement that hold both
 *  decodes    the result is float (3.9): clamp((f32)sum * out_scale[k] + out_bias[k], out_lo, out_hi), the output is a real
 *             tensor; out_bias may be NULL */
typedef struct qn_export_conv {
    int kernel[2], stride[2], dilation[2], pad[2];
    int groups, group_inputs, group_outputs, outputs;
    bool by_matrix, saturate, weight_signed, decodes;
    const int16_t *weights;
    int64_t n_weights;
    int weight_bits, accumulator_bits, proven_bits;
    int64_t least, greatest;
    const char *weight_name, *bias_name;
    qn_value_id weight_value, bias_value;
    const qn_quantizer *weight_quantizer, *bias_quantizer;
    const int32_t *zero_w, *bias;
    const int64_t *bound;
    qn_export_requantize requantize;
    const float *out_scale, *out_bias;
    float out_lo, out_hi;
} qn_export_conv;

/* broadcast[i][0]: operand i has one row for all; [1]: one column.
 *  float  n_ratios of ratio: Add (arithmetic.md 3.4) those of both operands; Mul (3.13) the one of the product; Sub (3.14)
 *         the operands' scales and the result's
 *  fixed (4.6)  terms by fixed[0], fixed[1] of (code - zero) * 2^left, their sum or difference by fixed[2], rounded as `how`
 *         says; Mul (4.10) only fixed[2], of the product */
typedef struct qn_export_add {
    bool broadcast[2][2];
    bool is_fixed;
    int n_ratios;
    float ratio[3];
    qn_ratio fixed[3];
    qn_ratio_rounding how;
    int left;
} qn_export_add;

/* Windows are cut to the input. Averages (arithmetic.md 3.5, 3.6, 4.6), n the pixels seen, or `divisor` where it is not 0:
 *  whole      float: clamp(rint((f32)(sum (x - zero_x)) * multiplier)) + zero_y
 *  not whole  float: pixel by pixel, sum + scale_x * (x - zero_x); (sum / n) / scale_y + zero_y, rounded, clamped
 *  is_fixed   sum of (x - centre); where `rescales` q(sum) by `ratio`; halves away from 0; + offset; clamped */
typedef struct qn_export_pool {
    int kernel[2], stride[2], dilation[2], pad[2];
    int divisor;
    bool whole, is_fixed, rescales;
    float multiplier, scale_x, scale_y;
    int32_t centre, offset;
    qn_ratio ratio;
    qn_ratio_rounding how;
} qn_export_pool;

/* table[code - lowest code of the input's format], 2^bits entries, or NULL: a copy. The input goes to (y, x, k) of the
 * output. */
typedef struct qn_export_lookup {
    const int16_t *table;
    int n_table;
    int y, x, k;
} qn_export_lookup;

/* Of each of width * inner lines of n codes, inner apart (arithmetic.md 3.10), d below the greatest of the line:
 * clamp(round(part[d] * 2^left / (sum of share[d] * 2^right)) + zero, lo, hi), ties to even */
typedef struct qn_export_softmax {
    int n, inner;
    const uint32_t *share, *part; /* 256 of each */
    int left, right;
} qn_export_softmax;

/* Each row of n codes by itself (arithmetic.md 3.11); gain, bias: n of each, in units of 2^-(right - 20), 2^-right. */
typedef struct qn_export_norm {
    int n, half, right;
    int64_t add;
    const int32_t *gain;
    const int64_t *bias;
} qn_export_norm;

/* Matrices of m x k by k x n codes (arithmetic.md 3.12); the factors of batch i start with rows left[i] and right[i] of the
 * inputs. requantize has one entry; accumulator_bits, saturate: as of convolutions, in the order of k */
typedef struct qn_export_product {
    int n_batches, m, n, k;
    const int32_t *left, *right;
    int accumulator_bits;
    bool saturate;
    qn_export_requantize requantize;
} qn_export_product;

/*  name, op_type  of the node in the model; of layers between codes and floats the value's name and "Quantize" or
 *               "Dequantize"; of a reordering of an input "Transpose"
 *  id           an identifier, as of tensors
 *  input        tensors, -1: none
 *  reason       of float layers: why it runs in float; for others NULL
 *  fill         of pads: the code where the index is -1
 *  step         of the engine; -1: none */
typedef struct qn_export_layer {
    qn_export_kind kind;
    const char *name, *op_type, *id;
    int n_inputs, input[8], output;
    const char *reason;
    int step;
    int32_t fill;
    union {
        qn_export_conv conv;
        qn_export_add add;
        qn_export_pool pool;
        qn_export_lookup lookup;
        qn_export_softmax softmax;
        qn_export_norm norm;
        qn_export_product product;
        const int32_t *index; /* gather, pad: output's count of them */
    } u;
} qn_export_layer;

/* An input or output of the model, and the tensor that holds it; -1: none does (a constant output). An output's tensor is real
 * where its layer decodes, or an island makes it. */
typedef struct qn_export_io {
    const char *name, *id;
    int tensor;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t count;
} qn_export_io;

typedef struct qn_export_network {
    qn_arena arena;
    qn_program *program; /* integer, keeps values; its graph is the model's, prepared */
    const qn_graph *graph;
    qn_arithmetic arithmetic;
    qn_export_tensor *tensors;
    qn_export_layer *layers; /* in an order in which they can run */
    qn_export_io *inputs, *outputs;
    int n_tensors, n_layers, n_inputs, n_outputs;
    int n_float; /* layers of kind QN_EXPORT_FLOAT */
} qn_export_network;

/* Errors: those of qn_program_create with the integer engine; QN_EINVAL for a model without quantizers, with the remedy. */
qn_status qn_export_network_make(qn_export_network **network, const qn_model *model, qn_error *err);
/* The same of a program of the integer engine that keeps values, which the network owns from then on, also after an error. */
qn_status qn_export_network_of(qn_export_network **network, qn_program *program, qn_error *err);
void qn_export_network_free(qn_export_network *network);

/* Refuse float layers: QN_EUNSUPPORTED naming `target`, every float layer with its reason, and what would make them
 * integer. QN_OK when there is none. */
qn_status qn_export_need_integers(const qn_export_network *network, const char *target, qn_error *err);
/* Refuse layers of these kinds (1 << qn_export_kind), which `target` does not have, as above. */
qn_status qn_export_need_other_kinds(const qn_export_network *network, const char *target, unsigned kinds,
                                     qn_error *err);
/* Of two tensors, element by element: u.add. */
static inline bool qn_export_is_pair(qn_export_kind kind)
{
    return kind == QN_EXPORT_ADD || kind == QN_EXPORT_MUL || kind == QN_EXPORT_SUB;
}
static inline bool qn_export_is_of_rows(qn_export_kind kind)
{
    return kind == QN_EXPORT_SOFTMAX || kind == QN_EXPORT_NORM || kind == QN_EXPORT_PRODUCT;
}
/* Kinds as masks: layers over whole rows, and those that only C has. */
#define QN_EXPORT_OF_ROWS (1u << QN_EXPORT_SOFTMAX | 1u << QN_EXPORT_NORM | 1u << QN_EXPORT_PRODUCT)
#define QN_EXPORT_ONLY_C (QN_EXPORT_OF_ROWS | 1u << QN_EXPORT_MUL | 1u << QN_EXPORT_SUB | 1u << QN_EXPORT_PAD)
/* Two's complement bits that hold both. */
static inline int qn_export_bits_of(int64_t least, int64_t greatest)
{
    int bits = 1;
    while (bits < 64 && (least < -((int64_t)1 << (bits - 1)) || greatest > ((int64_t)1 << (bits - 1)) - 1)) {
        bits++;
    }
    return bits;
}
/* Are all n entries the first? */
bool qn_export_all_equal_ints(const int32_t *x, int64_t n);
bool qn_export_all_equal_floats(const float *x, int64_t n);
/* The least code of the tensor's format. */
static inline int32_t qn_export_lowest(const qn_export_tensor *t)
{
    return t->is_signed ? -(1 << (t->bits - 1)) : 0;
}
/* The tensor whose memory `tensor` shows. */
static inline int qn_export_base(const qn_export_network *network, int tensor)
{
    return network->tensors[tensor].base >= 0 ? network->tensors[tensor].base : tensor;
}

/* The engine's values of one image (run.c). */
typedef struct qn_export_run qn_export_run;
qn_status qn_export_run_create(qn_export_run **run, const qn_export_network *network, qn_error *err);
void qn_export_run_free(qn_export_run *run);
/* inputs: one pointer per input of the model, f32 of one item, NCHW. */
qn_status qn_export_run_image(qn_export_run *run, const float *const *inputs, qn_error *err);
/* For those who run the image by other means: the program's memory, and its outputs. */
qn_workspace *qn_export_run_workspace(qn_export_run *run);
float *const *qn_export_run_outputs(qn_export_run *run);
/* After that, output `output` of the model as the engine gives it: f32, dequantized. It lasts until the next image. */
const float *qn_export_run_output(const qn_export_run *run, int output);
/* Codes of tensor `tensor`, count of them in its order; not of real ones. */
void qn_export_run_codes(const qn_export_run *run, int tensor, int16_t *codes);
/* Of a real tensor: f32. */
void qn_export_run_reals(const qn_export_run *run, int tensor, float *x);
/* Sums of layer `layer`, a convolution, as its accumulator holds them in the end: s32 of the output's count, in the
 * output's order (pixels; plain). */
void qn_export_run_sums(const qn_export_run *run, int layer, int32_t *sums);

#endif
