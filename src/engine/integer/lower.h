/* Lowering under way: shared by lower*.c and pack.c. */
#ifndef QN_ENGINE_INTEGER_LOWER_H
#define QN_ENGINE_INTEGER_LOWER_H

#include "engine/integer/integer.h"
#include "graph/arithmetic.h"
#include "graph/node_list.h"

typedef struct qn_map_change {
    int *slot, old;
} qn_map_change;

/* A lowering function either succeeds, or fails with an error, or returns QN_OK with `reason` set: the node has no
 * integer form, which is collected with all others. */
typedef struct qn_lowering {
    qn_program *program;
    const qn_graph *graph;
    const qn_binding *binding;
    qn_arena *arena;
    qn_cpu cpu;
    qn_arithmetic arithmetic;
    qn_integer_code *code;
    int *consumer; /* per value: the only node that reads it, negative when there are more or a graph output is it */
    int *reader;   /* per value: the first node that reads it, -1 when there is none */
    int32_t *uses; /* per value: inputs of nodes, and outputs of the graph, that it is */
    bool *done;    /* per node: fused into another */
    bool *refused; /* per value: its producer was refused, so that nothing need be said of its consumers */
    int64_t items; /* items that bound shapes hold: 1, or the batch of a model that fixes it */
    /* Per value, beside code->tensor_of, -1 for none: its plain codes, its floats, what its codes are encoded from when
     * they are asked for, and the input of the program it is. */
    int *plain_of, *real_of, *raw_of, *input_of;
    qn_binding *scratch;    /* lower_function.c: the binding, some of whose values have one element per code */
    qn_map_change *changes; /* of these maps by the node under way, to be undone when it turns out an island */
    size_t n_changes, max_changes;
    const char *reason;
    bool final; /* the reason is none that an island could mend: the arithmetic asked for cannot be had */
    qn_node_list unsupported;
} qn_lowering;

/* Item dimensions of a value as height, width, channels: rank 2 is channels, rank 3 channels x width, rank 4 NCHW, more
 * dimensions join the height. */
typedef struct qn_item_shape {
    int height, width, channels;
} qn_item_shape;
/* False (and a reason) when the leading dimension is not the batch or a size is beyond INT32_MAX. */
bool qn_lower_shape(qn_lowering *l, qn_value_id value, qn_item_shape *shape);
/* The same without a reason. */
bool qn_lower_has_pixels(qn_lowering *l, qn_value_id value);

/* Per-tensor code parameters of a value as kept codes. False with a reason when there are none or
 * they do not fit 8 bits. */
typedef struct qn_code_params {
    float scale;
    int32_t zero_point, lo, hi, raised, bits;
} qn_code_params;
bool qn_lower_params(qn_lowering *l, qn_value_id value, qn_code_params *params);
static inline qn_code_params qn_code_params_of(const qn_integer_tensor *t)
{
    return (qn_code_params){t->scale, t->zero_point, t->lo, t->hi, t->raised, t->bits};
}
bool qn_code_params_equal(const qn_code_params *a, const qn_code_params *b);
/* Nearest kept code of a real. */
uint8_t qn_code_of(const qn_code_params *params, float x);

/* The value a node's result ends up in after the Relus and Clips that can be fused behind it, and the code range they
 * leave. -1 with a reason when it has no quantizer. */
qn_value_id qn_lower_result(qn_lowering *l, const qn_node *node, qn_code_params *params, qn_status *status,
                            qn_error *err);

/* Has that value a quantizer? */
bool qn_lower_is_coded(const qn_lowering *l, const qn_node *node);
/* The same where results stay floats: any Relu or Clip behind a value without quantizer is fused, and leaves lo..hi. */
qn_value_id qn_lower_float_result(qn_lowering *l, const qn_node *node, float *lo, float *hi, qn_status *status,
                                  qn_error *err);

/* Keep only the codes that a Relu or Clip leaves. */
qn_status qn_lower_narrow(qn_lowering *l, const qn_node *node, qn_code_params *params, qn_error *err);

/* A new tensor that holds `value`. */
int qn_lower_tensor(qn_lowering *l, qn_value_id value, const qn_item_shape *shape, const qn_code_params *params);
/* One of floats, mapped nowhere; see qn_integer_tensor.real. */
int qn_lower_real_tensor(qn_lowering *l, qn_value_id value, const qn_item_shape *shape, bool plain);
qn_integer_step *qn_lower_step(qn_lowering *l, qn_integer_kind kind, const qn_node *node, int input, int output);
/* The tensor that holds input `index` of a node in the value's own shape, rearranged by a step if need be; -1 with a
 * reason or, when *status is not QN_OK, an error. */
int qn_lower_input(qn_lowering *l, const qn_node *node, int index, qn_status *status, qn_error *err);
/* The tensor of an input in whatever shape it lies: element i of the value in order is element i of the tensor in
 * channel, row, column order. */
int qn_lower_input_flat(qn_lowering *l, const qn_node *node, int index);
const qn_integer_tensor *qn_lower_tensor_at(const qn_lowering *l, int tensor);
/* Table from codes of one tensor to codes of another. NULL when out of memory, or with a reason. */
const uint8_t *qn_lower_table(qn_lowering *l, const qn_code_params *from, const qn_code_params *to);

/* lower_requantize.c: other arithmetics than the default. */
/* Bits of the accumulator; and those that matter to sums of n products of at most `most`: 32 where none overflows. */
int qn_lower_accumulator_bits(const qn_lowering *l, int64_t n, int64_t most);
bool qn_lower_requantizes(const qn_lowering *l);
/* The same table by the network's integer ratios; false with a reason. */
bool qn_lower_fixed_table(qn_lowering *l, const qn_code_params *from, const qn_code_params *to, uint8_t table[256]);
/* Give a convolution step, packed and with its code range, its requantization. scale_w: n_w of them, 1 or one per output
 * channel. Fails with an error or a reason. */
qn_status qn_lower_requantize(qn_lowering *l, qn_integer_step *step, float scale_x, const float *scale_w, int64_t n_w,
                              float scale_y, qn_error *err);
/* Give it float results, behind its own fields in `decode`: bias, lo, hi. */
qn_status qn_lower_decode(qn_lowering *l, qn_integer_step *step, float scale_x, const float *scale_w, int64_t n_w,
                          qn_integer_decode *decode, qn_error *err);
/* Sums (negated: differences), products and averages in integers, when the network has them; raised: 128 for signed
 * codes, 0 otherwise; seen: the divisor counts the pixels seen. */
qn_status qn_lower_fixed_add(qn_lowering *l, qn_integer_add *add, float scale_a, float scale_b, float scale_y,
                             bool negated, qn_error *err);
qn_status qn_lower_fixed_mul(qn_lowering *l, qn_integer_add *add, float scale_a, float scale_b, float scale_y,
                             qn_error *err);
qn_status qn_lower_fixed_average(qn_lowering *l, qn_integer_pool *pool, const qn_code_params *x,
                                 const qn_code_params *y, int32_t raised, bool seen, qn_error *err);
/* One ratio for n channels. Where shifts have none it is that of a multiplier: there are no weights to fold it into. */
qn_status qn_lower_one_ratio(qn_lowering *l, qn_requantize_params *params, float scale_x, float scale_w, float scale_y,
                             int n, qn_error *err);
/* Room for sums behind the planned arena. */
qn_status qn_lower_reserve_sums(qn_lowering *l, qn_error *err);

typedef qn_status qn_lower_fn(qn_lowering *l, const qn_node *node, qn_error *err);
qn_lower_fn qn_lower_conv, qn_lower_gemm, qn_lower_matmul;                                  /* lower_conv.c */
qn_lower_fn qn_lower_code_product;                                                          /* island_product.c */
qn_lower_fn qn_lower_softmax, qn_lower_layer_norm, qn_lower_product;                        /* lower_rows.c */
qn_lower_fn qn_lower_add, qn_lower_pool, qn_lower_mean, qn_lower_unary, qn_lower_concat;    /* lower_ops.c */
qn_lower_fn qn_lower_reshape;                                                               /* lower_moves.c */
qn_lower_fn qn_lower_plain_add, qn_lower_plain_unary, qn_lower_plain_concat, qn_lower_move; /* lower_plain.c */
qn_lower_fn qn_lower_function;                                                              /* lower_function.c */
qn_lower_fn qn_lower_island;                                                                /* lower_island.c */

/* Is it over adjoining axes but the last? */
bool qn_lower_mean_has_form(qn_lowering *l, const qn_node *node);
/* Are its scale and bias constants, and its means not read? */
bool qn_lower_layer_norm_has_form(qn_lowering *l, const qn_node *node);
/* Is it computed by qn_lower_add_step? */
static inline bool qn_lower_is_pair(qn_op op)
{
    return op == QN_OP_ADD || op == QN_OP_SUB || op == QN_OP_MUL;
}
/* lower_stretch.c: must operand `index` of a Sub or Mul, which computes pixels of `shape`, be copied along an axis that
 * steps do not broadcast? And its codes, copied along all axes; not of a constant. -1 with a reason or *status. */
bool qn_lower_stretches(qn_lowering *l, const qn_node *node, int index, const qn_item_shape *shape);
int qn_lower_stretched(qn_lowering *l, const qn_node *node, int index, const qn_item_shape *shape, bool plain,
                       qn_status *status, qn_error *err);

/* The steps of an Add, Sub or Mul and of a Relu or Clip, over tensors in one order; the result is of `shape`, in that
 * order. */
qn_status qn_lower_add_step(qn_lowering *l, const qn_node *node, const int input[2], const qn_item_shape *shape,
                            bool plain, qn_error *err);
qn_status qn_lower_unary_step(qn_lowering *l, const qn_node *node, int input, const qn_item_shape *shape, bool plain,
                              qn_error *err);

/* Back to so many steps, tensors and changes of maps. */
void qn_lower_take_back(qn_lowering *l, int n_steps, int n_tensors, size_t n_changes);

/* Orders (order.c, move_index.c). */
/* maps of values to tensors change through this */
void qn_lower_map(qn_lowering *l, int *map, qn_value_id value, int tensor);
/* Item dimensions of a value: its bound ones, one item of a fixed batch. False and a reason when it has no items. */
bool qn_lower_dims(qn_lowering *l, qn_value_id value, int64_t dims[QN_MAX_RANK], int *rank);
/* The same as rows x last axis. */
bool qn_lower_plain_shape(qn_lowering *l, qn_value_id value, qn_item_shape *shape);
/* The codes of a value that is not constant, in whatever order they lie; `pixels` says which is made where nothing is
 * yet. -1 with a reason when it has none, or with *status. */
int qn_lower_codes(qn_lowering *l, qn_value_id value, bool pixels, qn_status *status, qn_error *err);
/* The same in C order, as a row of `shape->width` pixels of `shape->channels`. */
int qn_lower_plain_codes(qn_lowering *l, const qn_node *node, qn_value_id value, const qn_item_shape *shape,
                         qn_status *status, qn_error *err);
int qn_lower_view(qn_lowering *l, int tensor, int width, int channels);
static inline bool qn_lower_is_one_pixel(const qn_integer_tensor *t)
{
    return t->height == 1 && t->width == 1;
}
/* Is byte i of a tensor element i? */
static inline bool qn_lower_is_plain(const qn_integer_tensor *t)
{
    return t->plain || qn_lower_is_one_pixel(t);
}
/* A step that makes `value` in the order and shape given from the codes in tensor `from`: element i is element source[i],
 * or i when `source` is NULL; where source[i] is -1 the zero point, unless the caller says another `fill`. */
int qn_lower_gather(qn_lowering *l, const qn_node *node, qn_value_id value, const qn_item_shape *shape, bool plain,
                    int from, const int32_t *source, qn_status *status, qn_error *err);
/* The floats of a value: an island's result, a loaded input, decoded codes. -1 with a reason or *status. */
int qn_lower_real(qn_lowering *l, qn_value_id value, qn_status *status, qn_error *err);
/* Will what reads the value, through nodes that move codes or act on each, want it plain? */
bool qn_lower_wants_plain(const qn_lowering *l, qn_value_id value);
/* Can the node be computed item by item? Always when bound shapes hold one. False with a reason. */
bool qn_lower_separable(qn_lowering *l, const qn_node *node, qn_status *status, qn_error *err);
/* Where the elements of a Transpose, Slice or Gather come from: index[i] of the input's item for element i of the
 * output's. NULL with a reason or *status. */
const int32_t *qn_lower_move_index(qn_lowering *l, const qn_node *node, qn_status *status, qn_error *err);
/* move_numbers.c: the same of output `output` of any node that only moves elements of its first input; -1 where an element
 * is none of them (the value of a Pad). */
const int32_t *qn_lower_numbered_index(qn_lowering *l, const qn_node *node, int output, qn_status *status,
                                       qn_error *err);
/* lower_function.c: a copy of the binding, whose entries may be changed and put back. NULL when out of memory. */
qn_binding *qn_lower_scratch(qn_lowering *l);

/* Weights of a convolution before packing: element (k, r, s, c) of group g is codes[k * step_k + c * step_c + r *
 * step_r
 * + s * step_s] with k counted over all groups; zero points per output channel or one. */
typedef struct qn_plain_weights {
    const qn_tensor *codes; /* s8 or u8 */
    int64_t step_k, step_c, step_r, step_s;
    const qn_quantizer *quantizer;
    const qn_tensor *bias;         /* s32 of k, or one, or NULL */
    const qn_tensor *float_bias;   /* one that is not at the scale of sums: f32 of k, or one, or NULL */
    qn_value_id value, bias_value; /* the constants; bias_value matters where there is a bias */
} qn_plain_weights;
/* Fill in layout, weights, bias, bound and kernel of a convolution step whose geometry is set. `input` gives the zero
 * point that is folded into the bias; n_outputs the output pixels. */
qn_status qn_integer_pack(qn_lowering *l, qn_integer_step *step, const qn_plain_weights *plain,
                          const qn_integer_tensor *input, qn_error *err);

#endif
