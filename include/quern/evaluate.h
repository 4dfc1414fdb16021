/* Evaluation: how good a network is on data, and how close to another. */
#ifndef QUERN_EVALUATE_H
#define QUERN_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/calibrate.h" /* qn_progress_fn */
#include "quern/engine.h"

/*  engine       default: qn_engine_choose
 *  cpu          as in qn_program_options
 *  batch        items per run; 0: the engine's default
 *  n_threads    at least 1; default: the processors this process may use
 *  labels       integers, one per item; NULL: no accuracy
 *  against      NULL: no comparison; run by the engine that qn_engine_choose gives for it
 *  against_logits  f32 [N, ...], the logits to compare with, where they are known already; NULL: of `against`, if any
 *  labels_name  for messages; may be NULL
 *  progress     may be NULL; called by several threads, one at a time
 * What pointers point to belongs to the caller. */
typedef struct qn_evaluate_options {
    size_t struct_size;
    qn_engine engine;
    qn_cpu cpu;
    int64_t batch;
    int n_threads;
    const qn_tensor *labels;
    const qn_model *against;
    const qn_tensor *against_logits;
    const char *labels_name;
    qn_progress_fn progress;
    void *progress_ctx;
} qn_evaluate_options;
/* Errors: those of qn_engine_choose. */
QN_API QN_NODISCARD qn_status qn_evaluate_options_init(qn_evaluate_options *options, const qn_model *model,
                                                       qn_error *err);

/*  top1          correct / n. Argmax ties go to the lowest index.
 *  sqnr_db       10 log10(sum f^2 / sum (f - q)^2) over all logits of all items, f = against, q = model; +inf when
 *                equal
 *  argmax_agree  items whose argmax is the same, / n
 *  images_per_second  n / wall time of the model's inference from float input to logits; reading data is not counted */
typedef struct qn_evaluation {
    int64_t n;
    bool has_labels, has_against;
    int64_t correct;
    double top1, sqnr_db;
    int64_t n_agree;
    double argmax_agree;
    double images_per_second, against_images_per_second;
} qn_evaluation;

/* `logits` may be NULL; otherwise it receives an owned f32 tensor [N, ...] of the first output.
 * Errors: QN_ESHAPE for data or labels that do not fit, naming both; those of making and running programs. */
QN_API QN_NODISCARD qn_status qn_evaluate(qn_evaluation *result, const qn_model *model, const qn_dataset *data,
                                          const qn_evaluate_options *options, qn_tensor *logits, qn_error *err);

#endif
