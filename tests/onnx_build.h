/* ONNX models made in tests, right or wrong: what the loader reads does not pass through quern's own writer.
 * Everything belongs to the build; failures are test failures. */
#ifndef QN_TESTS_ONNX_BUILD_H
#define QN_TESTS_ONNX_BUILD_H

#include "base/memory.h"
#include "proto/onnx.pb-c.h"

enum { BUILD_MAX = 32 }; /* of nodes, initializers, inputs, ... */

typedef struct onnx_build {
    qn_arena arena;
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    unsigned char *bytes; /* after build_bytes */
    size_t n_bytes;
} onnx_build;

void build_begin(onnx_build *b, int64_t opset);
void build_end(onnx_build *b);

/* Names separated by commas; "" between commas is an absent input. */
Onnx__NodeProto *build_node(onnx_build *b, const char *op_type, const char *name, const char *inputs,
                            const char *outputs);
Onnx__AttributeProto *build_attribute(onnx_build *b, Onnx__NodeProto *node, const char *name, int type);
void build_int(onnx_build *b, Onnx__NodeProto *node, const char *name, int64_t value);
void build_ints(onnx_build *b, Onnx__NodeProto *node, const char *name, size_t n, const int64_t *values);

/* rank -1: without shape; a dimension of -1 is dynamic. */
void build_input(onnx_build *b, const char *name, int elem_type, int rank, const int64_t *dims);
void build_output(onnx_build *b, const char *name, int elem_type, int rank, const int64_t *dims);

/* An initializer without elements yet; or with raw_data. */
Onnx__TensorProto *build_tensor(onnx_build *b, const char *name, int data_type, int rank, const int64_t *dims);
Onnx__TensorProto *build_raw(onnx_build *b, const char *name, int data_type, int rank, const int64_t *dims,
                             const void *data, size_t n_bytes);
void build_external(onnx_build *b, Onnx__TensorProto *tensor, const char *key, const char *value);
void build_metadata(onnx_build *b, const char *key, const char *value);

/* Pack into b->bytes; may be called again after changes. */
void build_bytes(onnx_build *b);
/* Pack and write to a file. */
void build_file(onnx_build *b, const char *path);

#endif
