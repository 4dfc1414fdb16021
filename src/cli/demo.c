/* quern demo: the whole path on the built-in model and data (examples/digits). */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/demo_faults.h"
#include "cli/session.h"
#include "tensor/npy.h"

/* From builtin.S. */
extern const unsigned char cli_digits_model_begin[], cli_digits_model_end[];
extern const unsigned char cli_digits_calib_begin[], cli_digits_calib_end[];
extern const unsigned char cli_digits_test_begin[], cli_digits_test_end[];
extern const unsigned char cli_digits_labels_begin[], cli_digits_labels_end[];

static const char default_output[] = "quern-demo-int8.onnx", campaign_output[] = "quern-demo-faults.db";

static const cli_option options[] = {
    {"output", 'o', "FILE", "quantized ONNX file to write (default quern-demo-int8.onnx, which is replaced)"},
    {"force", 'f', NULL, "overwrite FILE"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    qn_model *model, *quantized;
    qn_tensor calib_x, test_x, test_y;
    qn_dataset *calib, *test;
    qn_calibration *calibration;
    qn_quantize_report *report;
    qn_inspection *inspection;
    qn_evaluation in_float, in_integer;
    qn_campaign_stats campaign;
} demo_state;

/* A view of a built-in .npy array: single bytes in C order, so that nothing needs converting. */
static qn_status view_builtin(qn_tensor *t, const unsigned char *begin, const unsigned char *end, const char *name,
                              qn_error *err)
{
    qn_array_header header;
    QN_TRY(qn_npy_parse(&header, begin, (size_t)(end - begin), name, err));
    *t = (qn_tensor){.dtype = header.dtype, .rank = header.rank, .owns_data = false};
    memcpy(t->dims, header.dims, sizeof t->dims);
    union {
        const unsigned char *read_only;
        void *data;
    } bytes = {.read_only = begin + header.data_offset}; /* qn_tensor has no const data; nobody writes to it */
    t->data = bytes.data;
    if (header.dtype != QN_DTYPE_U8 || header.fortran) {
        return qn_fail(err, QN_EINTERNAL, name, "a built-in array must hold uint8 in C order");
    }
    return QN_OK;
}

static qn_status open_builtin(demo_state *state, qn_preprocess *pre, qn_error *err)
{
    bool found;
    size_t model_bytes = (size_t)(cli_digits_model_end - cli_digits_model_begin);
    QN_TRY(qn_model_load_memory(&state->model, cli_digits_model_begin, model_bytes, "digits.onnx (built in)", err));
    QN_TRY(qn_model_preprocess(state->model, pre, &found, err));
    if (!found) {
        return qn_fail(err, QN_EINTERNAL, "digits.onnx (built in)", "records no preprocessing");
    }
    QN_TRY(view_builtin(&state->calib_x, cli_digits_calib_begin, cli_digits_calib_end, "calib_x_u8.npy", err));
    QN_TRY(view_builtin(&state->test_x, cli_digits_test_begin, cli_digits_test_end, "test_x_u8.npy", err));
    QN_TRY(view_builtin(&state->test_y, cli_digits_labels_begin, cli_digits_labels_end, "test_y_u8.npy", err));
    QN_TRY(qn_dataset_of_tensor(&state->calib, &state->calib_x, pre, err));
    QN_TRY(qn_dataset_of_tensor(&state->test, &state->test_x, pre, err));
    return qn_inspect(&state->inspection, state->model, err);
}

static qn_status evaluate(const cli_args *args, demo_state *state, qn_evaluation *result, const qn_model *model,
                          const qn_model *against, qn_error *err)
{
    qn_evaluate_options settings;
    QN_TRY(qn_evaluate_options_init(&settings, model, err));
    settings.labels = &state->test_y;
    settings.labels_name = "test_y_u8.npy (built in)";
    settings.against = against;
    return cli_run_evaluation(args, result, model, state->test, &settings, "evaluating", NULL, err);
}

static qn_status work(const cli_args *args, demo_state *state, const char *output, bool overwrite, qn_error *err)
{
    qn_preprocess pre;
    QN_TRY(open_builtin(state, &pre, err));
    QN_TRY(cli_run_calibration(args, &state->calibration, state->model, state->calib, err));
    qn_quantize_options how;
    qn_quantize_options_init(&how);
    how.data = state->calib;
    QN_TRY(cli_run_quantization(args, &state->quantized, state->model, state->calibration, &pre, &how, &state->report,
                                err));
    QN_TRY(qn_model_save(state->quantized, output, overwrite, err));
    QN_TRY(evaluate(args, state, &state->in_float, state->model, NULL, err));
    QN_TRY(evaluate(args, state, &state->in_integer, state->quantized, state->model, err));
    return cli_demo_inject(args, state->quantized, state->test, &state->test_y, campaign_output, &state->campaign, err);
}

static qn_status print_json(const cli_args *args, const demo_state *state, const char *output, double seconds,
                            qn_error *err)
{
    json_t *faults;
    QN_TRY(cli_demo_json_faults(&faults, campaign_output, err));
    const qn_evaluation *f = &state->in_float, *q = &state->in_integer;
    json_t *object = cli_json_start(args);
    json_object_update_new(
        object, json_pack("{s:{s:I, s:I, s:f, s:f}, s:{s:I, s:f, s:o, s:f, s:f}, s:{s:s, s:I, s:I, s:o}, s:o, s:f}",
                          "float", "n", (json_int_t)f->n, "correct", (json_int_t)f->correct, "top1", f->top1,
                          "images_per_second", f->images_per_second, "int8", "correct", (json_int_t)q->correct, "top1",
                          q->top1, "sqnr_db", cli_json_real(q->sqnr_db), "argmax_agree", q->argmax_agree,
                          "images_per_second", q->images_per_second, "campaign", "store", campaign_output, "faults",
                          (json_int_t)state->campaign.faults, "pairs", (json_int_t)state->campaign.pairs, "rates",
                          faults, "output", cli_json_string(output), "seconds", seconds));
    cli_print_json(object);
    return QN_OK;
}

static qn_status print_text(const cli_args *args, const demo_state *state, const char *output, double seconds,
                            qn_error *err)
{
    const qn_evaluation *f = &state->in_float, *q = &state->in_integer;
    const qn_model_info *info = qn_inspection_model(state->inspection);
    char parameters[CLI_COUNT_MAX], macs[CLI_COUNT_MAX];
    printf("inspect    digits.onnx (built in): %zu nodes, %s parameters, %s MACs per image\n", info->n_nodes,
           cli_count(parameters, (double)info->n_parameters), cli_count(macs, (double)info->macs));
    printf("calibrate  ranges of %zu values over %lld images\n", qn_calibration_count(state->calibration),
           (long long)qn_calibration_n_items(state->calibration));
    printf("quantize   %zu values to int8 -> %s\n", qn_quantize_report_count(state->report), output);
    printf("evaluate   %lld images, %d thread%s, %s\n\n", (long long)f->n, cli_threads(args),
           cli_threads(args) == 1 ? "" : "s", qn_cpu_text(args->cpu));
    printf("           %10s %10s\n", "float", "int8");
    printf("top-1      %8.2f %% %8.2f %%\n", 100 * f->top1, 100 * q->top1);
    printf("images/s   %10.0f %10.0f\n\n", f->images_per_second, q->images_per_second);
    printf("int8 logits against float: SQNR %.2f dB, same argmax on %.2f %% of the images\n", q->sqnr_db,
           100 * q->argmax_agree);
    QN_TRY(cli_demo_print_faults(campaign_output, &state->campaign, err));
    printf("done in %.2f s\n", seconds);
    return QN_OK;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static cli_exit run(cli_args *args)
{
    const char *given = cli_value(args, "output"), *output = given != NULL ? given : default_output;
    bool overwrite = given == NULL || cli_has(args, "force");
    double start = now();
    qn_error err;
    qn_error_init(&err);
    demo_state state = {0};
    cli_exit code = CLI_OK;
    if (cli_check_output(args, given, &err) != QN_OK || work(args, &state, output, overwrite, &err) != QN_OK) {
        code = cli_fail(&err);
    } else {
        const double seconds = now() - start;
        const qn_status status = args->json ? print_json(args, &state, output, seconds, &err)
                                            : print_text(args, &state, output, seconds, &err);
        code = status == QN_OK ? CLI_OK : cli_fail(&err);
    }
    qn_quantize_report_free(state.report);
    qn_model_free(state.quantized);
    qn_calibration_free(state.calibration);
    qn_dataset_close(state.calib);
    qn_dataset_close(state.test);
    qn_inspection_free(state.inspection);
    qn_model_free(state.model);
    return code;
}

const cli_command cli_demo = {
    .name = "demo",
    .summary = "calibrate, quantize, evaluate and flip bits of the built-in model",
    .usage = "[-o FILE]",
    .description =
        "Needs no file: inspects, calibrates, quantizes to int8, evaluates float against int8 and writes "
        "the quantized\n"
        "ONNX; then flips bits of its weights and says how many answers change, with a campaign store in\n"
        "quern-demo-faults.db (see quern show). Model and data are the handwriting-like digits of examples/digits.",
    .example = "quern demo",
    .options = options,
    .run = run,
};
