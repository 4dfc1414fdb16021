/* Tensor data beside an ONNX model: the file named by external_data, which must lie inside the model's directory. */
#ifndef QN_TENSOR_EXTERNAL_DATA_H
#define QN_TENSOR_EXTERNAL_DATA_H

#include "base/file.h"
#include "proto/onnx.pb-c.h"

/* Map the file and find the tensor's n_bytes in it.
 *  directory  the model's; NULL refuses: a model from memory has no place where its data could lie
 *  map        to be closed by the caller when QN_OK
 * Refused: absolute paths, "..", and links that lead outside the directory (QN_EFORMAT); ranges outside the file. */
qn_status qn_external_data_open(qn_file_map *map, const unsigned char **data, const Onnx__TensorProto *proto,
                                size_t n_bytes, const char *directory, const char *where, qn_error *err);

#endif
