/* Inspection: facts about a model that need shapes and engines. */
#ifndef QUERN_INSPECT_H
#define QUERN_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/model.h"

/* Strings belong to the model or the inspection. */
typedef struct qn_model_info {
    const char *file, *graph_name, *producer;
    char
        sha256[65]; /* of the file's bytes; where tensors have external data, followed by the bytes of each such tensor:
                      * initializers in the order of the file, then those in attributes of nodes */
    int64_t opset, ir_version;
    size_t n_nodes, n_inputs, n_outputs;
    int64_t n_parameters;      /* elements of float constants and coded constants that nodes read */
    int64_t macs;              /* per item; 0 when shapes cannot be inferred */
    const char *shape_error;   /* why shapes cannot be inferred; NULL when they can */
    size_t n_quantized_values; /* values with a quantizer, weights included */
    size_t n_unsupported;      /* nodes the float engine cannot run */
    size_t n_no_integer;       /* nodes with no integer form */
    size_t n_islands;          /* nodes of a quantized model that the integer engine runs in float */
} qn_model_info;

typedef struct qn_node_info {
    const char *name, *op_type, *domain;
    const char *output_name;   /* of the first output, "" if none */
    int rank;                  /* of the first output, -1 unknown */
    int64_t dims[QN_MAX_RANK]; /* for one item */
    int64_t macs;              /* per item */
    int64_t n_parameters;
    bool supported; /* by the float engine */
    bool integer;   /* it has an integer form, that is, could run on codes; or it is folded, or need not run */
    bool island;    /* the integer engine runs it in float */
    /* Of an island: "no integer form", perhaps with ": " and what it lacks, or "kept in float: " and which quantizer is
     * absent ("its output has no quantizer"); else NULL. */
    const char *island_reason;
    bool folded;            /* a BatchNormalization that becomes part of the layer before it */
    char output_format[64]; /* "uint8" when the first output is coded, else "" */
    char weight_format[64]; /* "int8 per channel" when the second input is a coded constant, else "" */
} qn_node_info;

typedef struct qn_inspection qn_inspection;

/* Look at a model, which must outlive the inspection. Unsupported operators and unknown shapes are told, not refused.
 * Errors: QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_inspect(qn_inspection **inspection, const qn_model *model, qn_error *err);
QN_API void qn_inspection_free(qn_inspection *inspection);
QN_API const qn_model_info *qn_inspection_model(const qn_inspection *inspection);
/* Node `index` < n_nodes of the model's topological order; NULL beyond. */
QN_API const qn_node_info *qn_inspection_node(const qn_inspection *inspection, size_t index);

#endif
