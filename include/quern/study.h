/* Studies: many quantizations of one network, each evaluated against the float network: how much every node costs, what
 * combinations of formats give, widths per node under a budget; and where two networks part. */
#ifndef QUERN_STUDY_H
#define QUERN_STUDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/evaluate.h"
#include "quern/quantize.h"

/* What a study works with.
 *  how          what all its quantizations have in common; NULL for the defaults. data, n_threads and progress of it are
 *               not looked at
 *  calibration  of the model; NULL: made from `data`
 *  data         inputs to calibrate on, and for passes that run the network; may be NULL where there is a calibration
 *  eval_data    inputs to evaluate on; NULL: `data`. One of the two is required
 *  labels       of the inputs to evaluate on; NULL: no accuracy
 *  labels_name  for messages; may be NULL
 *  n_threads    0: the processors this process may use
 *  progress     may be NULL; called by several threads, one at a time
 * What pointers point to belongs to the caller and must outlive the study. */
typedef struct qn_study_options {
    size_t struct_size;
    const qn_quantize_options *how;
    const qn_calibration *calibration;
    const qn_dataset *data, *eval_data;
    const qn_tensor *labels;
    const char *labels_name;
    int n_threads;
    qn_cpu cpu;
    qn_progress_fn progress;
    void *progress_ctx;
} qn_study_options;
/* Errors: QN_EINVAL (QUERN_CPU). */
QN_API QN_NODISCARD qn_status qn_study_options_init(qn_study_options *options, qn_error *err);

typedef struct qn_study qn_study;

/* Calibrate if need be, and run the float network once. The model may be freed afterwards. Errors: those of
 * qn_quantize_check, qn_calibrate and qn_evaluate; QN_EINVAL without data. */
QN_API QN_NODISCARD qn_status qn_study_create(qn_study **study, const qn_model *model, const qn_study_options *options,
                                              qn_error *err);
QN_API void qn_study_free(qn_study *study);
/* Have further work tell another of its progress; NULL: nobody. */
QN_API void qn_study_set_progress(qn_study *study, qn_progress_fn progress, void *progress_ctx);
/* The float network on the data to evaluate on. */
QN_API const qn_evaluation *qn_study_reference(const qn_study *study);

/* Bits that a network's constants take.
 *  weights     codes of constants with a quantizer, and float constants, that nodes read; biases included
 *  parameters  of those quantizers, 32 bits for each number, 8 for an exponent and for a zero point of at most 8 bits;
 *              none for an int32 bias, whose scale is the product of two others */
typedef struct qn_model_size {
    int64_t n_weights;
    int64_t weight_bits, parameter_bits;
} qn_model_size;
QN_API QN_NODISCARD qn_status qn_model_measure(qn_model_size *size, const qn_model *model, qn_error *err);

/* One quantization, evaluated: SQNR and argmax agreement are against the float network. */
typedef struct qn_study_result {
    qn_evaluation evaluation;
    qn_model_size size;
    qn_engine engine; /* that it was evaluated with: integer where every layer computes on codes and that engine can */
} qn_study_result;
/* Quantize as `how` says and evaluate. `quantized` and `report` may be NULL; otherwise what was made, the caller's.
 * Errors: those of qn_quantize and qn_evaluate. */
QN_API QN_NODISCARD qn_status qn_study_try(qn_study *study, const qn_quantize_options *how, qn_study_result *result,
                                           qn_model **quantized, qn_quantize_report **report, qn_error *err);

/* Sensitivity: for each node that computes on codes - layers with coded weights, and joins of coded values - the network
 * with only this node quantized, and the quantized network with only this node in float. A Relu or Clip behind a node goes
 * with it. Passes that need data are left out here, unless the recipe cannot do without. Rows come worst first: the lowest only_sqnr_db, then the highest without_sqnr_db.
 *  node_name       in the report of a quantization and for globs: nodes without a name go by that of their first output
 *  *_sqnr_db       of the logits; infinite where they are those of the float network
 *  *_correct       0 without labels
 *  reason          the likely reason, "" where nothing stands out */
typedef struct qn_sensitivity_row {
    const char *node_name, *op_type, *output_name;
    double only_sqnr_db, without_sqnr_db;
    int64_t only_correct, without_correct;
    double only_top1, without_top1;
    const char *reason;
} qn_sensitivity_row;
typedef struct qn_sensitivity qn_sensitivity;
/* Errors: those of qn_study_try. */
QN_API QN_NODISCARD qn_status qn_sensitivity_measure(qn_sensitivity **sensitivity, qn_study *study, qn_error *err);
QN_API void qn_sensitivity_free(qn_sensitivity *sensitivity);
QN_API size_t qn_sensitivity_count(const qn_sensitivity *sensitivity);
QN_API const qn_sensitivity_row *qn_sensitivity_at(const qn_sensitivity *sensitivity, size_t index); /* NULL beyond */
/* The network with everything quantized. */
QN_API const qn_study_result *qn_sensitivity_whole(const qn_sensitivity *sensitivity);

/* Mixed precision: a width for the weights of every layer, so that their cost stays within a budget and the network is as
 * good as can be. Each layer's damage at each width is measured by itself, all others in float; the least sum of damages
 * within the budget is found exactly (a multiple-choice knapsack); then the assignment, the widest uniform one that fits and
 * swaps of two layers' widths are evaluated as they are, and the best is taken. All that without passes that need data,
 * unless the recipe cannot do without; the network that is made, and the uniform one it is compared with, have them.
 *  metric       what is made best, on the data to evaluate on: SQNR of the logits, or the number of right classes (then
 *               SQNR); the latter needs labels
 *  cost         bits of weight codes; or bit operations: MACs times the bits of weight and of input, 32 for float
 *  budget_kind  budget is a factor of what the formats of the study cost, a number of bits or bit operations, or the mean
 *               bits of a weight (size only)
 *  widths       n_widths of them, different; the integer format of weights gets these bits, 1..16. Settings of single nodes
 *               for weights are overruled
 *  activation_widths  n_activation_widths of them, 0 to leave activations as they are: the same for what a layer reads, where
 *               no other node reads it; for bit operations only
 *  max_trials   evaluations of whole assignments, at least 1 */
typedef enum qn_mixed_metric { QN_MIXED_SQNR = 0, QN_MIXED_TOP1 = 1 } qn_mixed_metric;
typedef enum qn_mixed_cost { QN_MIXED_SIZE = 0, QN_MIXED_BITOPS = 1 } qn_mixed_cost;
typedef enum qn_mixed_budget { QN_BUDGET_FACTOR = 0, QN_BUDGET_TOTAL = 1, QN_BUDGET_PER_WEIGHT = 2 } qn_mixed_budget;
enum { QN_MIXED_MAX_WIDTHS = 16 };
typedef struct qn_mixed_options {
    size_t struct_size;
    qn_mixed_metric metric;
    qn_mixed_cost cost;
    qn_mixed_budget budget_kind;
    double budget;
    int n_widths, widths[QN_MIXED_MAX_WIDTHS];
    int n_activation_widths, activation_widths[QN_MIXED_MAX_WIDTHS];
    int max_trials;
} qn_mixed_options;
/* SQNR, size, half of the base, widths 8, 6, 4, 2, 40 trials. */
QN_API void qn_mixed_options_init(qn_mixed_options *options);

typedef struct qn_mixed_row {
    const char *node_name, *op_type;
    int64_t n_weights, cost;
    int width, input_width; /* of weights and of the input, 32 for float */
    double only_sqnr_db;    /* of the network with this layer alone at these widths */
} qn_mixed_row;
/*  base, budget, used   what the formats of the study cost, what may be used, and what is
 *  whole                the network that was made
 *  uniform_width        the widest that fits for all layers, 0 for none; uniform: how good that is
 *  n_trials             assignments that were evaluated */
typedef struct qn_mixed_summary {
    int64_t base, budget, used;
    qn_study_result whole, uniform;
    int uniform_width, uniform_input_width, n_trials;
} qn_mixed_summary;
typedef struct qn_mixed qn_mixed;
/* The network also gets metadata "quern.mixed_precision", a JSON object {metric, cost, budget, used, widths: {node: bits}, inputs: {node: bits}}.
 *  quantized, report  as qn_quantize; report may be NULL
 * Errors: QN_EINVAL (options; a budget below the narrowest widths, naming both; weights that are no integers; the metric
 * top1 without labels); those of qn_study_try. */
QN_API QN_NODISCARD qn_status qn_mixed_precision(qn_mixed **mixed, qn_study *study, const qn_mixed_options *options,
                                                 qn_model **quantized, qn_quantize_report **report, qn_error *err);
QN_API void qn_mixed_free(qn_mixed *mixed);
QN_API size_t qn_mixed_count(const qn_mixed *mixed);
QN_API const qn_mixed_row *qn_mixed_at(const qn_mixed *mixed, size_t index); /* NULL beyond */
QN_API const qn_mixed_summary *qn_mixed_about(const qn_mixed *mixed);

#endif
