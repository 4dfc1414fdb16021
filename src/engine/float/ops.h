/* The lowerings of the float engine, one per row of its table (ops.c), and the steps they share. */
#ifndef QN_ENGINE_FLOAT_OPS_H
#define QN_ENGINE_FLOAT_OPS_H

#include "engine/float/float_program.h"
#include "engine/float/walk.h"

qn_status qn_float_lower_batchnorm(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_binary(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_clip(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_compute(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_concat(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_conv(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_deconv(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_function(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_gather(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_gemm(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_matmul(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_pool(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_slice(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_softmax(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_transpose(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_unary(qn_float_builder *b, const qn_node *node, qn_error *err);
qn_status qn_float_lower_view(qn_float_builder *b, const qn_node *node, qn_error *err);

/* y of shape `dims` = a op b, both broadcast to it. The layout of y is that of an operand where no broadcasting
 * forbids. */
qn_status qn_float_add_binary(qn_float_builder *b, qn_float_binary op, qn_float_id left, qn_float_id right, int rank,
                              const int64_t *dims, qn_float_id *y, qn_error *err);
qn_status qn_float_add_clamp(qn_float_builder *b, qn_float_id x, qn_float_clamp clamp, qn_float_id *y, qn_error *err);
/* y of shape `dims`, element i[] = x[offset + sum i[k] * strides[k]]; plain tensors of any type. */
qn_status qn_float_add_copy(qn_float_builder *b, qn_float_id x, int64_t offset, const int64_t *strides, int rank,
                            const int64_t *dims, qn_float_id *y, qn_error *err);
/* x, a plain tensor, or its elements as another type. */
qn_status qn_float_convert(qn_float_builder *b, qn_float_id x, qn_dtype to, qn_float_id *y, qn_error *err);

#endif
