/* What calibrate, quantize and eval have in common: models and data opened with the right preprocessing. */
#ifndef QN_CLI_SESSION_H
#define QN_CLI_SESSION_H

#include "cli/cli.h"

/* The preprocessing a model or calibration records, for cli_preprocess. Either may be NULL. */
qn_status cli_record_of_model(cli_record *record, const qn_model *model, const char *file, qn_error *err);
qn_status cli_record_of_calibration(cli_record *record, const qn_calibration *calibration, const char *file,
                                    qn_error *err);

/* --data for the model of the first argument: an array, or of a network of several inputs an .npz with an array for each, of its name. */
qn_status cli_open_data(qn_dataset **data, const cli_args *args, const qn_model *model, const qn_preprocess *pre,
                        qn_error *err);

/* Threads to use: -j, or the processors this process may use. */
int cli_threads(const cli_args *args);

/* --engine and --batch over what is there; CLI_USAGE for what they cannot be. */
cli_exit cli_parse_engine(const cli_args *args, qn_engine *engine);
cli_exit cli_parse_batch(const cli_args *args, int64_t *batch);

/* Calibrate `model` on `data` with progress. */
qn_status cli_run_calibration(const cli_args *args, qn_calibration **calibration, const qn_model *model,
                              const qn_dataset *data, qn_error *err);
/* Evaluate with progress; `options` has everything but threads, CPU level and progress. */
qn_status cli_run_evaluation(const cli_args *args, qn_evaluation *result, const qn_model *model, const qn_dataset *data,
                             qn_evaluate_options *options, const char *label, qn_tensor *logits, qn_error *err);
/* Quantize with progress and record `pre` in the result. */
qn_status cli_run_quantization(const cli_args *args, qn_model **quantized, const qn_model *model,
                               const qn_calibration *calibration, const qn_preprocess *pre,
                               qn_quantize_options *options, qn_quantize_report **report, qn_error *err);

/* Refuse an existing or unusable output before long work; path NULL is allowed. */
qn_status cli_check_output(const cli_args *args, const char *path, qn_error *err);
/* Write text made by the library (released with free()). */
qn_status cli_write_text(const cli_args *args, const char *path, const char *text, qn_error *err);

#endif
