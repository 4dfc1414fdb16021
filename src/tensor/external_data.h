/* Tensor data beside an ONNX model: the file named by external_data, which must lie inside the model's directory. */
#ifndef QN_TENSOR_EXTERNAL_DATA_H
#define QN_TENSOR_EXTERNAL_DATA_H

#include "base/error.h"
#include "proto/onnx.pb-c.h"

/* A tensor's place in an open file. */
typedef struct qn_external_data {
    int fd;
    int64_t offset;
} qn_external_data;

/* Open the file and find the tensor's n_bytes in it; to be closed by the caller when QN_OK.
 *  directory  the model's; NULL refuses: a model from memory has no place where its data could lie
 * Refused: absolute paths, "..", and links that lead outside the directory (QN_EFORMAT); ranges outside the file. */
qn_status qn_external_data_open(qn_external_data *data, const Onnx__TensorProto *proto, size_t n_bytes,
                                const char *directory, const char *where, qn_error *err);
/* QN_EIO also when the file has become shorter. */
qn_status qn_external_data_read(qn_external_data *data, void *bytes, size_t n_bytes, const char *where, qn_error *err);
void qn_external_data_close(qn_external_data *data);

#endif
