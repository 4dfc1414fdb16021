/* Inspection: facts about a model that need shapes and engines. */
#ifndef QUERN_INSPECT_H
#define QUERN_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/calibrate.h" /* qn_progress_fn */
#include "quern/dataset.h"
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
    const char *integer_error; /* why the integer engine does not run a quantized model; NULL when it does */
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
    bool org_quern;         /* a node of domain org.quern holds one of the two in a file */
} qn_node_info;

/* Values that are coded in one format. */
typedef struct qn_format_use {
    char format[64];
    bool dynamic;   /* parameters are fitted whenever a tensor is quantized */
    bool org_quern; /* in a file: nodes of domain org.quern, not QuantizeLinear and DequantizeLinear */
    size_t n_constants, n_activations;
} qn_format_use;
/* The formats found in a model, in the order of their first value; those beyond the first `max` are left out. Returns
 * their number, at most `max`. */
QN_API size_t qn_model_formats(const qn_model *model, qn_format_use *uses, size_t max);

typedef struct qn_inspection qn_inspection;

/* Look at a model, which must outlive the inspection. Unsupported operators and unknown shapes are told, not refused.
 * Errors: QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_inspect(qn_inspection **inspection, const qn_model *model, qn_error *err);
QN_API void qn_inspection_free(qn_inspection *inspection);
QN_API const qn_model_info *qn_inspection_model(const qn_inspection *inspection);
/* Node `index` < n_nodes of the model's topological order; NULL beyond. */
QN_API const qn_node_info *qn_inspection_node(const qn_inspection *inspection, size_t index);

/* Widths of sums: how many bits the accumulator of each Conv, Gemm and MatMul of an integer network needs, in two's
 * complement. Numbers are of codes: sums of products of codes less zero points, with the bias.
 *  proven_min, proven_max      no finished or partial sum, in any order, leaves these whatever the input codes are
 *  bound                       the greatest of arithmetic.md 3.8 over channels
 *  observed_min, observed_max  of finished sums over the items seen, if any
 *  proven_bits, bias_bits      of the channel that needs most; observed_bits: 0 before any item is seen
 *  accumulator_bits            that the model says; headroom_bits: those less proven_bits, negative when sums may leave it
 *  channel_bits                proven, n_channels of them; worst_channel is the first that needs proven_bits
 * Strings and arrays belong to the widths. */
typedef struct qn_layer_width {
    const char *node_name, *op_type, *output_name;
    int64_t n_channels, worst_channel;
    int64_t proven_min, proven_max, bound;
    int64_t bias_min, bias_max;
    int64_t observed_min, observed_max;
    int accumulator_bits, proven_bits, bias_bits, observed_bits, headroom_bits;
    const int *channel_bits;
} qn_layer_width;
typedef struct qn_widths qn_widths;

/* Proven widths of a quantized model, which may be freed. Errors: those of making it ready for the integer engine (QN_EUNSUPPORTED,
 * QN_EFORMAT, ...); QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_widths_prove(qn_widths **widths, const qn_model *model, qn_error *err);
/* Run the network over a set, as well, and see how far its sums go; what was observed before is forgotten.
 *  n_threads  at least 1; the result does not depend on it
 *  progress   may be NULL
 * Errors: as qn_evaluate; QN_ECANCELED. */
QN_API QN_NODISCARD qn_status qn_widths_observe(qn_widths *widths, const qn_dataset *data, int n_threads,
                                                qn_progress_fn progress, void *progress_ctx, qn_error *err);
QN_API void qn_widths_free(qn_widths *widths);
QN_API size_t qn_widths_count(const qn_widths *widths);
/* Layers in the order in which they run; NULL beyond. */
QN_API const qn_layer_width *qn_widths_at(const qn_widths *widths, size_t index);
QN_API int64_t qn_widths_n_items(const qn_widths *widths);

#endif
