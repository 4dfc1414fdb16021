/* The integer engine: codes in, codes out, exact (doc/spec/arithmetic.md, section 3).
 *
 * A program is compiled into tensors and steps. A tensor is the codes of one image's value, height x width x channels
 * with channels adjoining (NHWC), inside a border of zero points as wide as the convolutions that read it pad; values
 * that only reshape another share its tensor. Values that matrices of weights multiply along their last axis are plain
 * instead: in C order, as one row of pixels whose channels are the last axis. A step computes one tensor (or a part of it,
 * for Concat) with one kernel. Batches are images one after another. lower*.c make tensors and steps, order*.c change
 * orders, pack.c the weights, plan.c places tensors in one arena per workspace, run.c runs steps.
 *
 * Nodes without integer form, and those kept in float, are islands (section 6): steps over plain f32 tensors, in
 * island*.c; island.h says how they are made.
 *
 * What fault injection needs is offered below: any step can be run again by itself, over a box of its output only, or
 * for its accumulators. In programs with keep_values every tensor has memory of its own, so that after a run any
 * suffix of the steps can be run again from what is there.
 * Ownership: the program's arena owns code, steps and weights. Threads: code is immutable, one workspace per thread. */
#ifndef QN_ENGINE_INTEGER_H
#define QN_ENGINE_INTEGER_H

#include "engine/integer/kernels/kernels.h"
#include "engine/integer/kernels/requantize.h"
#include "engine/integer/kernels/rows.h"
#include "engine/program.h"

/* Codes are u8 (signed ones raised by 128, zero_point and bounds as well; `raised` says by how much); of so many bits.
 *  offset   of element (0, 0, 0) in the arena; element (y, x, c) is y * row + x * pixel + c further
 *  initial  constant: dense codes, kept in every workspace; NULL for computed tensors
 *  plain    element i of the value in C order is byte i; height 1, no border
 *  real     no codes but f32 elements in C order, quantizer fields unused. Of a layer's result height, width and channels
 *           are those that its codes would have, for boxes; else height and width are 1
 *  base     tensor whose memory this one shows in another shape (both plain); -1: it has its own */
typedef struct qn_integer_tensor {
    qn_value_id value;
    bool plain, real;
    int base;
    int height, width, channels;
    int top, left, bottom, right; /* border, in pixels */
    size_t offset, n_bytes;       /* n_bytes with the border */
    ptrdiff_t row, pixel;
    float scale;
    int32_t zero_point, lo, hi, raised, bits;
    const uint8_t *initial;
    int first_step, last_step; /* written first, read last */
} qn_integer_tensor;

typedef enum qn_integer_kind {
    QN_STEP_ENCODE, /* float input of the program, or a real tensor, to codes */
    QN_STEP_CONV,   /* Conv, Gemm, MatMul */
    QN_STEP_DEPTHWISE,
    QN_STEP_ADD, /* of two tensors element by element; Mul and Sub as well: the kernel's operation tells */
    QN_STEP_POOL,
    QN_STEP_LOOKUP, /* a table of 256 codes, or a copy; into a part of the output for Concat */
    QN_STEP_GATHER, /* output element i is input element index[i], or `fill` where that is -1 */
    QN_STEP_ROWS,   /* whole rows of plain codes: Softmax, LayerNormalization, products of two activations */
    QN_STEP_DECODE, /* codes to float output of the program, or to a real tensor */
    QN_STEP_LOAD,   /* float input of the program to a real tensor */
    QN_STEP_STORE,  /* a real tensor, or a constant, to float output of the program */
    QN_STEP_ISLAND, /* a node in float: real tensors and constants to a real tensor; or two tensors of plain codes (6.7) */
    QN_STEP_KINDS
} qn_integer_kind;

/* From sums to floats: clamp((f32)sum * scale[k] + bias[k], lo, hi), each operation rounded; bias NULL: none. In the order
 * of channels. */
typedef struct qn_integer_decode {
    const float *scale, *bias;
    float lo, hi;
} qn_integer_decode;

/* What a convolution has in other arithmetics than the default (doc/spec/arithmetic.md, section 4), or for float results.
 *  sums       s32 sums with bias, dense; NULL where every sum saturates
 *  plain_bias, zero_x   where every sum saturates: bias codes in the order of channels, the input's zero point
 *  by_matrix  channels of the input come before its rows and columns in that order of summation
 *  decode     the results are floats (3.9), in a real tensor; NULL: codes */
typedef struct qn_integer_requantize {
    qn_requantize_params params;
    qn_requantize_fn *run;
    qn_conv_fn *sums;
    int32_t *plain_bias, zero_x;
    bool by_matrix;
    const qn_integer_decode *decode;
} qn_integer_requantize;

/* Groups are convolutions over neighbouring channels; weights, biases and multipliers of group g start at g times
 * group_bytes and group_entries. bound: see qn_integer_bound. sums: the kernel for accumulators alone. weights_value,
 * bias_value: the constants they were packed from; QN_NO_VALUE: no bias. */
typedef struct qn_integer_conv {
    int kernel[2], stride[2], dilation[2], pad[2]; /* height, width; pad before the first row and column */
    int n_groups, group_inputs, group_outputs;
    bool rows_adjoin; /* one segment per kernel row */
    qn_weight_layout layout;
    size_t group_bytes, group_entries;
    void *weights;
    int32_t *bias;
    float *multiplier;
    int64_t *bound;
    ptrdiff_t *segment;
    int32_t zero_point, lo, hi;
    const qn_integer_requantize *requantize; /* NULL: codes in the default arithmetic */
    qn_conv_fn *sums;
    qn_value_id weights_value, bias_value;
} qn_integer_conv;

/* An Add in integers: codes to terms by tables, the sum of two terms to a code. The arrays of `params` hold
 * QN_FIXED_ADD_RUN equal entries. A term is that of (code - zero) * 2^QN_FIXED_ADD_LEFT by operand[i]; of a Sub the second
 * one's is negated. `product`: a Mul, which has no terms: the product of the codes less zero[i]. */
enum { QN_FIXED_ADD_RUN = 256, QN_FIXED_ADD_LEFT = 20 };
typedef struct qn_integer_fixed_add {
    bool product;
    int32_t zero[2];
    qn_ratio operand[2];
    int32_t term[2][256];
    qn_requantize_params params;
    qn_requantize_fn *run;
} qn_integer_fixed_add;

/* Byte steps of the operands; 0 where one is broadcast. */
typedef struct qn_integer_add {
    qn_add_params params;
    ptrdiff_t row[2], pixel[2];
    const qn_integer_fixed_add *fixed; /* NULL: in f32 */
} qn_integer_add;

/* An average in integers. */
typedef struct qn_integer_fixed_average {
    int32_t centre;     /* what is taken off the codes before they are summed */
    int32_t zero_point; /* added to the mean; `centre` where codes are averaged as they are */
    bool rescales;
    qn_ratio ratio;
    qn_ratio_rounding how;
} qn_integer_fixed_average;

/* Windows are cut to the input; divisor 0: the number of input pixels they see. */
typedef struct qn_integer_pool {
    qn_pool_params params;
    int kernel[2], stride[2], dilation[2], pad[2];
    float divisor;
    const qn_integer_fixed_average *fixed; /* NULL: in f32 */
} qn_integer_pool;

typedef struct qn_integer_lookup {
    const uint8_t *table; /* NULL: a copy */
    int y, x, k;          /* where the input goes in the output */
} qn_integer_lookup;

typedef struct qn_integer_gather {
    const int32_t *index;
    bool fills; /* an index is -1 */
    uint8_t fill;
} qn_integer_gather;

/* Plain codes, a row of pixels; one of the three is there.
 *  softmax  each pixel of `inner` lines of n codes that lie inner apart
 *  norm     each pixel by itself
 *  product  pixels of the output are the rows of n_batches matrices of m rows; the left factor of batch i starts with
 *           pixel left[i], the right one with pixel right[i] of input[1]. k: its rows. sums: in 4.5, where they saturate,
 *           of so many bits; else 0 */
typedef struct qn_integer_product {
    int n_batches;
    int m, n, k;
    const int32_t *left, *right;
    int saturate_bits;
    qn_requantize_params requantize;
    qn_requantize_fn *run;
} qn_integer_product;
typedef struct qn_integer_rows {
    const qn_softmax_codes *softmax;
    const qn_norm_codes *norm;
    const qn_integer_product *product;
    const qn_rows_lanes *lanes;
    int n, inner;
} qn_integer_rows;

/* A node in float, or a part of it. y is the output tensor, x[i] argument i; both f32 in C order. Of a product of codes x
 * are bytes. */
typedef void qn_island_fn(const void *params, float *y, const float *const *x);
enum { QN_ISLAND_ARGS = 8 };
/* Argument i is tensor input[i], or constant[i] where that is -1; absent ones are NULL. */
typedef struct qn_integer_island {
    qn_island_fn *run;
    const void *params;
    int n_args;
    int input[QN_ISLAND_ARGS];
    const float *constant[QN_ISLAND_ARGS];
} qn_integer_island;

/* What is stored where the step has no input; n elements either way. */
typedef struct qn_integer_store {
    const float *constant;
    int64_t n;
} qn_integer_store;

typedef struct qn_integer_step {
    qn_integer_kind kind;
    const qn_node *node;  /* NULL for steps that encode, decode, load, store */
    int input[2], output; /* tensors, -1 for none; of islands see u.island, and qn_integer_inputs */
    size_t io;            /* input or output of the program */
    const qn_kernel *kernel;
    union {
        qn_integer_conv conv;
        qn_integer_add add;
        qn_integer_pool pool;
        qn_integer_lookup lookup;
        qn_encode_params encode;
        qn_integer_gather gather;
        qn_integer_rows rows;
        qn_integer_store store;
        qn_integer_island island;
    } u;
} qn_integer_step;

typedef struct qn_integer_code {
    qn_integer_tensor *tensors;
    qn_integer_step *steps;
    int n_tensors, n_steps;
    size_t arena_bytes; /* with room for kernels that read past a tensor */
    bool tiles;         /* a step uses tiles */
    size_t sums_offset; /* in the arena: room for the sums of one output row of any step that requantizes apart, and for
                         * what a product of activations packs */
    int *tensor_of;     /* per value of program->graph: its codes; -1 for none */
    const char **island_reason; /* per node: why it runs in float (qn_node_info); NULL where it does not */
} qn_integer_code;

/* Codes of one image, and where its floats come from and go to. */
typedef struct qn_integer_run {
    const qn_integer_code *code;
    uint8_t *memory;
    const float *const *inputs; /* per program input */
    float *const *outputs;
} qn_integer_run;

/* Tensors a step reads; absent ones are -1. */
const int *qn_integer_inputs(const qn_integer_step *step, int *n);

/* Has the operator a form on codes? In float? */
bool qn_integer_supports_codes(qn_op op);
bool qn_island_supports(qn_op op);
/* Supported, but only where binding computes the result? */
bool qn_island_only_folds(qn_op op);
bool qn_integer_supports(const qn_graph *graph, const qn_node *node, const char **reason);
qn_status qn_integer_lower(qn_program *program, qn_error *err);
/* Borders, liveness, places; then what depends on them. */
qn_status qn_integer_plan(qn_program *program, qn_integer_code *code, qn_error *err);

/* Run steps first..last (half open). In a thread whose tiles are configured when code->tiles. */
void qn_integer_run_steps(const qn_integer_run *run, int first, int last);
/* The whole output of a step as a box. */
qn_box qn_integer_full_box(const qn_integer_code *code, int step);
/* One step over a box of its output tensor. Steps that read floats, and decode ones, ignore the box and run dense;
 * Softmax and normalizations compute all channels of the box's pixels. */
void qn_integer_run_box(const qn_integer_run *run, int step, const qn_box *box);
/* Sums with bias, just before requantization, of a convolution step: s32[y][x][k] of the box, dense. False for other
 * steps. */
bool qn_integer_accumulators(const qn_integer_run *run, int step, const qn_box *box, int32_t *accumulators);
/* The most |bias + sum of products| of output channel k can be over all inputs, partial sums included, proven from
 * the weights; 0 for steps without accumulators. */
int64_t qn_integer_bound(const qn_integer_code *code, int step, int k);

/* As qn_program_read. */
bool qn_integer_read(const qn_program *program, const qn_workspace *workspace, qn_value_id value, float *x,
                     int64_t *count);

/* Constants to where they lie in an arena of codes. */
void qn_integer_place_constants(const qn_integer_code *code, uint8_t *arena);
/* The engine's memory in a workspace. */
qn_integer_run qn_integer_workspace_run(const qn_workspace *workspace);

#endif
