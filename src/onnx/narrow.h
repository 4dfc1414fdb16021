/* ONNX data types that have no dtype: int4 and uint4 (two to a byte in files) and the float8 types. In the graph each
 * element of a constant is a byte, sign-extended for int4, and the value's stored_type says what it is; values that are
 * no constants are carried as what qn_narrow_dtype says, float8 by value. Inside the onnx room
 * only. */
#ifndef QN_ONNX_NARROW_H
#define QN_ONNX_NARROW_H

#include "graph/graph.h"
#include "tensor/tensor_proto.h"

bool qn_narrow_is_type(int64_t data_type);
qn_dtype qn_narrow_dtype(int64_t data_type);
/* As qn_tensor_from_proto, for a narrow type: *t is int8 for int4, else uint8. */
qn_status qn_narrow_from_proto(qn_tensor *t, const Onnx__TensorProto *proto, const qn_tensor_home *home,
                               const char *where, qn_error *err);
/* The bytes of a file: in the arena, or t's own. NULL when out of memory. */
void *qn_narrow_pack(size_t *n_bytes, qn_arena *arena, const qn_tensor *t, int32_t data_type);

#endif
