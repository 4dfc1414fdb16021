/* Dense tensors: C order, native byte order, contiguous. */
#ifndef QUERN_TENSOR_H
#define QUERN_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/status.h"

/* X(name, value, text, bytes per element). Values are part of the ABI. */
#define QN_DTYPE_LIST(X)                                                                                               \
    X(QN_DTYPE_NONE, 0, "none", 0)                                                                                     \
    X(QN_DTYPE_F32, 1, "float32", 4)                                                                                   \
    X(QN_DTYPE_F64, 2, "float64", 8)                                                                                   \
    X(QN_DTYPE_F16, 3, "float16", 2)                                                                                   \
    X(QN_DTYPE_BF16, 4, "bfloat16", 2)                                                                                 \
    X(QN_DTYPE_S8, 5, "int8", 1)                                                                                       \
    X(QN_DTYPE_U8, 6, "uint8", 1)                                                                                      \
    X(QN_DTYPE_S16, 7, "int16", 2)                                                                                     \
    X(QN_DTYPE_U16, 8, "uint16", 2)                                                                                    \
    X(QN_DTYPE_S32, 9, "int32", 4)                                                                                     \
    X(QN_DTYPE_U32, 10, "uint32", 4)                                                                                   \
    X(QN_DTYPE_S64, 11, "int64", 8)                                                                                    \
    X(QN_DTYPE_U64, 12, "uint64", 8)                                                                                   \
    X(QN_DTYPE_BOOL, 13, "bool", 1)

typedef enum qn_dtype {
#define QN_DTYPE_ENUM(name, value, text, bytes) name = value,
    QN_DTYPE_LIST(QN_DTYPE_ENUM)
#undef QN_DTYPE_ENUM
} qn_dtype;

enum { QN_MAX_RANK = 8 };

/* A tensor, plain data. `data` is 64-byte aligned when made by qn_tensor_alloc.
 * rank 0 is a scalar with one element; a dimension may be 0. */
typedef struct qn_tensor {
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK];
    void *data;
    bool owns_data;
} qn_tensor;

QN_API const char *qn_dtype_text(qn_dtype dtype); /* "float32"; "?" for unknown values */
QN_API size_t qn_dtype_size(qn_dtype dtype);      /* bytes per element, 0 for unknown values */

/* Number of elements and bytes of a shape; QN_ELIMIT when the product overflows or a dim is negative. */
QN_API QN_NODISCARD qn_status qn_shape_count(const int64_t *dims, int rank, int64_t *n_elems, qn_error *err);
QN_API int64_t qn_tensor_count(const qn_tensor *t); /* of a valid tensor */
QN_API size_t qn_tensor_bytes(const qn_tensor *t);  /* of a valid tensor */

/* Allocate an owned, zeroed tensor. Errors: QN_EINVAL (dtype, rank), QN_ELIMIT, QN_ENOMEM. `t` is untouched unless
 * QN_OK. */
QN_API QN_NODISCARD qn_status qn_tensor_alloc(qn_tensor *t, qn_dtype dtype, int rank, const int64_t *dims,
                                              qn_error *err);
/* Free owned data and clear; NULL and cleared tensors are allowed. */
QN_API void qn_tensor_free(qn_tensor *t);

/* Read a whole tensor from `path`: .npy, "file.npz:name", MNIST IDX (.gz or not), ONNX TensorProto .pb, told apart
 * by content (a TensorProto, which has no signature, by its name). Native byte order, C order and the file's dtype on
 * return.
 * Errors: QN_EIO, QN_EFORMAT, QN_EUNSUPPORTED (dtype), QN_ELIMIT, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_tensor_read(qn_tensor *t, const char *path, qn_error *err);

/* Write .npy (version 1.0, C order). The file appears whole or not at all. QN_EEXIST unless `overwrite`. */
QN_API QN_NODISCARD qn_status qn_tensor_write_npy(const qn_tensor *t, const char *path, bool overwrite, qn_error *err);

#endif
