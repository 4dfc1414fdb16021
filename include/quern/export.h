/* Export: an integer network written down for hardware, and checked.
 *
 * doc/export.md shows what is written; doc/spec/export.md is the schema of manifest.json, the order of every file, and
 * what may change between versions. */
#ifndef QUERN_EXPORT_H
#define QUERN_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/calibrate.h" /* qn_progress_fn */
#include "quern/dataset.h"
#include "quern/model.h"

/* X(name, value, text, summary): what can be written, each in a folder of its name. The manifest is always written. */
#define QN_EXPORT_TARGET_LIST(X)                                                                                       \
    X(QN_EXPORT_MANIFEST, 0, "manifest", "manifest.json alone: tensors, layers, formulas")                             \
    X(QN_EXPORT_NPZ, 1, "npz", "raw integers as .npy and little-endian .bin")                                          \
    X(QN_EXPORT_C, 2, "c", "C99 inference in integers, for microcontrollers")                                          \
    X(QN_EXPORT_HLS, 3, "hls", "C++ for Vitis HLS, with ap_int and ap_fixed types")                                    \
    X(QN_EXPORT_MEM, 4, "mem", "memory images for RTL: .mem, .coe, .mif, and vectors")                                 \
    X(QN_EXPORT_VERILOG, 5, "verilog", "memory images and a synthesizable reference core with test benches")           \
    X(QN_EXPORT_ONNX, 6, "onnx", "the model as QDQ, QOperator and QONNX, for other runtimes")

typedef enum qn_export_target {
#define QN_EXPORT_ENUM(name, value, text, summary) name = value,
    QN_EXPORT_TARGET_LIST(QN_EXPORT_ENUM)
#undef QN_EXPORT_ENUM
} qn_export_target;
/* The name, or the summary; NULL beyond the last one. */
QN_API const char *qn_export_target_text(qn_export_target target);
QN_API const char *qn_export_target_summary(qn_export_target target);
/* A list of names with commas, as bits 1 << target. QN_EINVAL listing the names. */
QN_API QN_NODISCARD qn_status qn_export_targets_parse(unsigned *targets, const char *text, qn_error *err);

/*  targets    bits 1 << qn_export_target
 *  overwrite  replace an existing directory, if a former export made it (it holds a manifest.json of quern)
 *  vectors    items whose values are written too, as test vectors; NULL: none. The model's preprocessing is applied by
 *             whoever opened it
 *  n_vectors  the first so many of them; 0: all
 *  cmsis_nn   c: calls of CMSIS-NN where it has the layer and rounds alike
 *  onnx_form  onnx: the form to write; QN_ONNX_AUTO: those of qdq, qoperator and qonnx that hold the model
 *  campaign, ids  a campaign's store (quern/fault.h), and faults in it whose vectors are written as well; NULL: none
 *  progress   may be NULL */
typedef struct qn_export_options {
    size_t struct_size;
    unsigned targets;
    bool overwrite, cmsis_nn;
    const qn_dataset *vectors;
    int64_t n_vectors;
    const char *campaign;
    const int64_t *ids;
    size_t n_ids;
    qn_onnx_form onnx_form;
    qn_progress_fn progress;
    void *progress_ctx;
} qn_export_options;
QN_API void qn_export_options_init(qn_export_options *options);

/* Write `directory`, which appears whole or not at all; the same model and options give the same bytes. `report` (may
 * be NULL) receives text for the user, one remark a line, released with free().
 * Errors: QN_EEXIST; QN_EUNSUPPORTED (what a target cannot hold, by name, with the remedy); QN_EINVAL; QN_EIO;
 * QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_export(const qn_model *model, const char *directory, const qn_export_options *options,
                                        char **report, qn_error *err);

/* What qn_export_verify found. */
typedef struct qn_export_check {
    int64_t n_files, n_tensors, n_elements, n_vectors; /* that were compared */
    int64_t n_differences;
    char *text; /* the differences, one a line, with file, tensor and element; "" if none; released with free() */
} qn_export_check;
/* Re-read what an export wrote and compare all of it with the model in it. QN_OK also where something differs: see
 * n_differences. Errors: QN_EIO, QN_EFORMAT (no manifest, one that does not parse, another schema version), and those
 * of reading the model. */
QN_API QN_NODISCARD qn_status qn_export_verify(qn_export_check *check, const char *directory, qn_progress_fn progress,
                                               void *progress_ctx, qn_error *err);

#endif
