/* ONNX TensorProto: tensors in every storage form ONNX knows, inside a model or alone in a file.
 *
 * Sizes are checked against the file before anything is allocated. Reentrant. */
#ifndef QN_TENSOR_TENSOR_PROTO_H
#define QN_TENSOR_TENSOR_PROTO_H

#include <nettle/sha2.h>

#include "base/error.h"
#include "proto/onnx.pb-c.h"
#include "quern/tensor.h"

/* ONNX data type number <-> dtype. QN_DTYPE_NONE for types quern does not hold; their name serves messages and is never
 * NULL ("float8e4m3fn", "type 99"). */
qn_dtype qn_dtype_of_onnx(int64_t data_type);
int32_t qn_dtype_to_onnx(qn_dtype dtype); /* 0 for QN_DTYPE_NONE */
const char *qn_onnx_type_name(int64_t data_type);

/* Where a model's tensors may keep their data outside its file. */
typedef struct qn_tensor_home {
    const char *directory;   /* the model's, and nothing outside it; NULL where external data is refused */
    struct sha256_ctx *hash; /* takes the bytes of external data as they are read; may be NULL */
    bool lasting;            /* the message outlives the tensors: one may point to its elements instead of a copy */
} qn_tensor_home;

/* A tensor from a TensorProto; it owns its elements, but where `home` says that they last.
 *  home   NULL: as one without a directory
 *  where  names the tensor: "initializer 'w'"
 * Errors: QN_EUNSUPPORTED (data type), QN_EFORMAT (sizes that disagree), QN_ERANGE (a number the type cannot hold),
 * QN_ELIMIT (rank, size), QN_EIO (external data), QN_ENOMEM. `t` is untouched unless QN_OK. */
qn_status qn_tensor_from_proto(qn_tensor *t, const Onnx__TensorProto *proto, const qn_tensor_home *home,
                               const char *where, qn_error *err);

/* The same from the bytes of a stand-alone .pb file; external data is refused. */
qn_status qn_tensor_from_pb_bytes(qn_tensor *t, const void *data, size_t n_bytes, const char *where, qn_error *err);

#endif
