/* What the TensorFlow Lite converter chose for a network, as a JSON description of its .tflite file tells: tensors with
 * their scales, and operators. */
#ifndef QN_PTQ_TFLITE_JSON_H
#define QN_PTQ_TFLITE_JSON_H

#include "base/error.h"
#include "base/memory.h"
#include "quern/format.h"

enum { QN_TFLITE_MAX_RANK = 6 };

/* scale is NULL, and n_scales 0, where the file gives none. zero_point has n_scales entries, absmax as well: the greater
 * of |min| and |max|, or NULL where the file does not tell them all. */
typedef struct qn_tflite_tensor {
    const char *name;
    bool is_const, is_int8;
    int rank;
    int64_t dims[QN_TFLITE_MAX_RANK];
    int64_t n_scales;
    float *scale, *absmax;
    int32_t *zero_point;
} qn_tflite_tensor;

typedef struct qn_tflite_op {
    const char *type;
    int *inputs, n_inputs, output; /* tensors; -1 for an absent input */
    bool used;                     /* by whoever matches it */
} qn_tflite_op;

/* Belongs to the arena it was read into. */
typedef struct qn_tflite_network {
    qn_tflite_tensor *tensors;
    qn_tflite_op *ops;
    int *inputs;
    int n_tensors, n_ops, n_inputs;
} qn_tflite_network;

/* Read object {"tensors": [...], "ops": [...], "inputs": [...]}. Every index is checked, every scale is a normal f32.
 * Errors: those of reading a file; QN_EFORMAT naming the file, the tensor or operator, and the reason; QN_ENOMEM. */
qn_status qn_tflite_read_json(qn_tflite_network *network, const char *path, qn_arena *arena, qn_error *err);

#endif
