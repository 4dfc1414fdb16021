/* Making islands: one function per kind of operator, and what they share (doc/spec/arithmetic.md, section 6).
 *
 * A function reads a node whose outputs are float32 and appends one step, or several that write parts of one tensor.
 * Arguments are constants or real tensors, made of codes where a value has them; the result becomes the value's floats,
 * or, where the value carries a quantizer, what its codes are made of. */
#ifndef QN_ENGINE_ISLAND_H
#define QN_ENGINE_ISLAND_H

#include "engine/float/walk.h"
#include "engine/integer/island_lanes.h"
#include "engine/integer/lower.h"

qn_lower_fn qn_island_unary, qn_island_binary;                /* island_elementwise.c */
qn_lower_fn qn_island_softmax;                                /* island_softmax.c */
qn_lower_fn qn_island_matmul, qn_island_gemm, qn_island_conv; /* island_product.c */
qn_lower_fn qn_island_pool, qn_island_batchnorm;              /* island_layers.c */
qn_lower_fn qn_island_view, qn_island_move, qn_island_concat; /* island_moves.c */

qn_lower_fn qn_island_compute; /* island_compute.c */

/* The geometry of a MatMul: one product, and the walk over the batches of both factors. False with a reason. */
bool qn_island_find_product(qn_lowering *l, const qn_node *node, qn_island_product *product, qn_float_walk *batch);

/* The elements of a value of any type, in its own type: f32 as qn_lower_real has them, those of others packed into a real
 * tensor; and as f32. -1 with a reason or *status. */
int qn_lower_typed(qn_lowering *l, qn_value_id value, qn_status *status, qn_error *err);
int qn_lower_as_floats(qn_lowering *l, qn_value_id value, qn_status *status, qn_error *err);
/* As qn_island_argument, of any type. */
bool qn_island_typed_argument(qn_lowering *l, qn_integer_island *island, qn_value_id value, qn_status *status,
                              qn_error *err);

/* Append value `value` to the arguments, or an absent one. False with a reason, or with *status. */
bool qn_island_argument(qn_lowering *l, qn_integer_island *island, qn_value_id value, qn_status *status, qn_error *err);
/* Input `index` of a node; absent where the node has none there. */
bool qn_island_input(qn_lowering *l, qn_integer_island *island, const qn_node *node, int index, qn_status *status,
                     qn_error *err);
/* The real tensor of the node's first output. */
int qn_island_output(qn_lowering *l, const qn_node *node);
/* A step into tensor `output`; params are copied. */
qn_status qn_island_step(qn_lowering *l, const qn_node *node, int output, const qn_integer_island *island,
                         const void *params, size_t n_bytes, qn_error *err);
/* The value's floats are in this tensor from here on. */
void qn_island_define(qn_lowering *l, qn_value_id value, int tensor);
/* Elements of an item. */
bool qn_island_count(qn_lowering *l, qn_value_id value, int64_t *n);

#endif
