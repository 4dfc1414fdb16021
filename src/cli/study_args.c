#include "cli/study_args.h"

#include <math.h>
#include <stdio.h>

static qn_status open_files(const cli_args *args, cli_study *s, cli_record records[2], qn_error *err)
{
    const char *calibration = cli_value(args, "calibration"), *labels = cli_value(args, "labels");
    QN_TRY(qn_model_load(&s->model, args->positional[0], err));
    if (calibration != NULL) {
        QN_TRY(qn_calibration_load(&s->calibration, calibration, err));
    }
    if (labels != NULL) {
        QN_TRY(qn_tensor_read(&s->labels, labels, err));
    }
    QN_TRY(cli_record_of_model(&records[0], s->model, args->positional[0], err));
    return cli_record_of_calibration(&records[1], s->calibration, calibration, err);
}

static qn_status open_data(const cli_args *args, cli_study *s, qn_error *err)
{
    const char *data = cli_value(args, "data"), *eval_data = cli_value(args, "eval-data");
    QN_TRY(qn_study_options_init(&s->options, err));
    if (data != NULL) {
        QN_TRY(cli_open_data(&s->data, args, s->model, &s->pre, err));
    }
    if (eval_data != NULL) {
        QN_TRY(qn_dataset_open(&s->eval_data, eval_data, &s->pre, err));
    }
    return qn_quantize_check(s->model, &s->how.options, err); /* in no time, where calibrating takes minutes */
}

cli_exit cli_study_open(const cli_args *args, cli_study *s, qn_error *err)
{
    const bool evaluates = cli_has(args, "data") || cli_has(args, "eval-data");
    if (!evaluates || !(cli_has(args, "data") || cli_has(args, "calibration"))) {
        return cli_misuse("--data X (or --calibration FILE with --eval-data X) is missing; usage: quern %s %s",
                          args->command->name, args->command->usage);
    }
    cli_record records[2];
    cli_exit code = cli_read_quantization(args, &s->how);
    if (code == CLI_OK && open_files(args, s, records, err) != QN_OK) {
        return cli_fail(err);
    }
    code = code == CLI_OK ? cli_preprocess(args, records, 2, &s->pre) : code;
    return code == CLI_OK && open_data(args, s, err) != QN_OK ? cli_fail(err) : code;
}

qn_status cli_study_start(const cli_args *args, cli_study *s, qn_error *err)
{
    if (s->calibration == NULL) {
        QN_TRY(cli_run_calibration(args, &s->calibration, s->model, s->data, err));
    }
    s->options.how = &s->how.options;
    s->options.calibration = s->calibration;
    s->options.data = s->data;
    s->options.eval_data = s->eval_data;
    s->options.labels = cli_has(args, "labels") ? &s->labels : NULL;
    s->options.labels_name = cli_value(args, "labels");
    s->options.n_threads = cli_threads(args);
    s->options.cpu = args->cpu;
    return qn_study_create(&s->study, s->model, &s->options, err);
}

void cli_study_close(cli_study *s)
{
    qn_study_free(s->study);
    qn_tensor_free(&s->labels);
    qn_dataset_close(s->eval_data);
    qn_dataset_close(s->data);
    qn_calibration_free(s->calibration);
    qn_model_free(s->model);
}

const char *cli_sqnr(char text[CLI_SQNR_MAX], double db)
{
    if (isinf(db)) {
        snprintf(text, CLI_SQNR_MAX, "%s", db > 0 ? "inf" : "-inf");
    } else {
        snprintf(text, CLI_SQNR_MAX, "%.2f", db);
    }
    return text;
}
