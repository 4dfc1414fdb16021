#include "cli/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/threads.h"

enum { CLI_MAX_INPUTS = 64 };

qn_status cli_record_of_model(cli_record *record, const qn_model *model, const char *file, qn_error *err)
{
    record->file = file;
    record->found = false;
    return model != NULL ? qn_model_preprocess(model, &record->pre, &record->found, err) : QN_OK;
}

qn_status cli_record_of_calibration(cli_record *record, const qn_calibration *calibration, const char *file,
                                    qn_error *err)
{
    record->file = file;
    record->found = false;
    return calibration != NULL ? qn_calibration_preprocess(calibration, &record->pre, &record->found, err) : QN_OK;
}

qn_status cli_open_data(qn_dataset **data, const cli_args *args, const qn_model *model, const qn_preprocess *pre,
                        qn_error *err)
{
    const char *path = cli_value(args, "data"), *names[CLI_MAX_INPUTS];
    size_t n = 0;
    for (qn_io_info info; n < CLI_MAX_INPUTS && qn_model_input(model, n, &info, NULL) == QN_OK; n++) {
        names[n] = info.name;
    }
    if (n < 2) {
        return qn_dataset_open(data, path, pre, err);
    }
    qn_error reason;
    qn_error_init(&reason);
    qn_status status = qn_dataset_open_arrays(data, path, names, n, pre, &reason);
    if (status == QN_EINVAL) {
        return qn_fail(err, status, args->positional[0],
                       "has %zu inputs; --data is to be an .npz archive with an array for each, of its name; %s: %s", n,
                       reason.where, reason.message);
    }
    if (status != QN_OK && err != NULL) {
        *err = reason;
    }
    return status;
}

int cli_threads(const cli_args *args)
{
    return args->n_threads > 0 ? args->n_threads : qn_processor_count();
}

cli_exit cli_parse_engine(const cli_args *args, qn_engine *engine)
{
    const char *name = cli_value(args, "engine");
    if (name == NULL) {
        return CLI_OK;
    }
    for (int i = 0; qn_engine_text((qn_engine)i) != NULL; i++) {
        if (strcmp(name, qn_engine_text((qn_engine)i)) == 0) {
            *engine = (qn_engine)i;
            return CLI_OK;
        }
    }
    return cli_misuse("--engine '%s' is none of float, simulate and integer", name);
}

cli_exit cli_parse_batch(const cli_args *args, int64_t *batch)
{
    const char *text = cli_value(args, "batch");
    if (text == NULL) {
        return CLI_OK;
    }
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < 1 || n > 4096) {
        return cli_misuse("--batch '%s' is not a number from 1 to 4096", text);
    }
    *batch = n;
    return CLI_OK;
}

qn_status cli_run_calibration(const cli_args *args, qn_calibration **calibration, const qn_model *model,
                              const qn_dataset *data, qn_error *err)
{
    cli_progress progress;
    cli_progress_start(&progress, args, "calibrating");
    qn_calibrate_options options;
    qn_calibrate_options_init(&options);
    options.n_threads = cli_threads(args);
    options.progress = cli_progress_step;
    options.progress_ctx = &progress;
    qn_status status = qn_calibrate(calibration, model, data, &options, err);
    cli_progress_end(&progress);
    return status;
}

qn_status cli_run_evaluation(const cli_args *args, qn_evaluation *result, const qn_model *model, const qn_dataset *data,
                             qn_evaluate_options *options, const char *label, qn_tensor *logits, qn_error *err)
{
    cli_progress progress;
    cli_progress_start(&progress, args, label);
    options->n_threads = cli_threads(args);
    options->cpu = args->cpu;
    options->progress = cli_progress_step;
    options->progress_ctx = &progress;
    qn_status status = qn_evaluate(result, model, data, options, logits, err);
    cli_progress_end(&progress);
    return status;
}

qn_status cli_run_quantization(const cli_args *args, qn_model **quantized, const qn_model *model,
                               const qn_calibration *calibration, const qn_preprocess *pre,
                               qn_quantize_options *options, qn_quantize_report **report, qn_error *err)
{
    cli_progress progress;
    cli_progress_start(&progress, args, "quantizing");
    options->n_threads = cli_threads(args);
    options->progress = cli_progress_step;
    options->progress_ctx = &progress;
    qn_status status = qn_quantize(quantized, model, calibration, options, report, err);
    cli_progress_end(&progress);
    if (status != QN_OK) {
        return status;
    }
    char *text = NULL;
    status = qn_preprocess_to_json(pre, &text, err);
    if (status == QN_OK) {
        status = qn_model_set_metadata(*quantized, "quern.preprocess", text, err);
        free(text);
    }
    if (status != QN_OK) {
        qn_model_free(*quantized);
        qn_quantize_report_free(*report);
        *quantized = NULL;
        *report = NULL;
    }
    return status;
}

qn_status cli_check_output(const cli_args *args, const char *path, qn_error *err)
{
    return path != NULL ? qn_file_check_output(path, cli_has(args, "force"), err) : QN_OK;
}

qn_status cli_write_text(const cli_args *args, const char *path, const char *text, qn_error *err)
{
    return qn_file_write_all(path, cli_has(args, "force"), text, strlen(text), err);
}
