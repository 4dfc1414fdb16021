/* quern quantize: float model in, int8 QDQ model out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/mixed.h"

static const cli_option options[] = {
    {"data", 0, "X", "inputs to calibrate on; an .npz of arrays with their names for a network of several"},
    {"calibration", 0, "FILE", "what 'quern calibrate' wrote, instead of calibrating now"},
    {"output", 'o', "FILE", "quantized ONNX file to write; required"},
    {"report", 0, "FILE", "write what was done to each value, as JSON"},
    {"integers", 0, "FILE", "recipe aidge: write its integers, scales, bounds and coefficients as .npz"},
    {"store", 0, "KIND", "weights of 2 to 7 bits in the file: packed, or int8 for ONNX Runtime"},
    {"format-of-file", 0, "FORM", "qdq, qoperator, qonnx or org; default: qdq, and org for what that cannot hold"},
    CLI_MIXED_OPTIONS,
    {"force", 'f', NULL, "overwrite outputs"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    qn_model *model, *quantized;
    qn_calibration *calibration;
    qn_dataset *data;
    qn_quantize_report *report;
    cli_quantization how;
    cli_mixed mixed;
    qn_onnx_form form;
} quantize_state;

static void print_rows(const qn_quantize_report *report)
{
    char name[CLI_NAME_MAX];
    printf("%-34s %-10s %-18s %12s %12s %10s\n", "value", "role", "format", "min", "max", "zero point");
    for (size_t i = 0; i < qn_quantize_report_count(report); i++) {
        const qn_quantize_row *row = qn_quantize_report_at(report, i);
        printf("%-34s %-10s %-18s %12.5g %12.5g %10d%s%s\n", cli_name(name, row->value_name), row->role, row->format,
               (double)row->min, (double)row->max, row->zero_point, row->note[0] != '\0' ? "  " : "", row->note);
    }
}

/* What a user must know even without a report. */
static void note_raised(const cli_args *args, const qn_quantize_report *report)
{
    for (size_t i = 0; i < qn_quantize_report_count(report); i++) {
        const qn_quantize_row *row = qn_quantize_report_at(report, i);
        if (row->n_raised > 0) {
            cli_note(args,
                     "note: %s '%s': the weight scale of %lld of %lld channels was raised so that the bias fits int32",
                     row->op_type, row->node_name, (long long)row->n_raised, (long long)row->n_channels);
        }
    }
}

static qn_status write_outputs(const cli_args *args, const quantize_state *state, qn_error *err)
{
    const char *output = cli_value(args, "output"), *report_file = cli_value(args, "report");
    char *report = NULL;
    if (report_file != NULL || args->json) {
        QN_TRY(qn_quantize_report_to_json(state->report, &report, err));
    }
    qn_status status = qn_model_save_as(state->quantized, output, state->form, cli_has(args, "force"), err);
    if (status == QN_OK && report_file != NULL) {
        status = cli_write_text(args, report_file, report, err);
    }
    if (status == QN_OK && args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "output", cli_json_string(output));
        json_object_set_new(object, "report", json_loads(report, 0, NULL));
        if (state->mixed.result != NULL) {
            json_object_set_new(object, "mixed_precision", cli_mixed_json(&state->mixed));
        }
        cli_print_json(object);
    } else if (status == QN_OK) {
        printf("%s -> %s: %zu values quantized\n", args->positional[0], output,
               qn_quantize_report_count(state->report));
        if (state->mixed.result != NULL) {
            cli_mixed_print(&state->mixed);
        }
        if (args->verbose > 0) {
            print_rows(state->report);
        }
    }
    free(report);
    return status;
}

/* The numbers of the recipe aidge, as the library has them. */
static qn_status write_integers(const cli_args *args, const quantize_state *state, qn_error *err)
{
    const char *path = cli_value(args, "integers"), *recipe = cli_value(args, "recipe");
    if (path == NULL) {
        return QN_OK;
    }
    qn_aidge_options how;
    qn_aidge *aidge = NULL;
    qn_aidge_options_init(&how);
    QN_TRY(qn_aidge_options_parse(&how, recipe[5] == ':' ? recipe + 6 : "", err));
    how.n_threads = cli_threads(args);
    QN_TRY(qn_aidge_quantize(&aidge, state->model, state->data, &how, err));
    qn_status status = qn_aidge_write_npz(aidge, path, cli_has(args, "force"), err);
    qn_aidge_free(aidge);
    return status;
}

static void note_remarks(const cli_args *args, const qn_quantize_report *report)
{
    for (size_t i = 0; qn_quantize_report_remark(report, i) != NULL; i++) {
        cli_note(args, "note: %s", qn_quantize_report_remark(report, i));
    }
}

static qn_status quantize(const cli_args *args, quantize_state *state, const qn_preprocess *pre, qn_error *err)
{
    QN_TRY(qn_quantize_check(state->model, &state->how.options, err)); /* in no time, where calibrating takes minutes */
    if (cli_has(args, "data")) {
        QN_TRY(cli_open_data(&state->data, args, state->model, pre, err));
    }
    state->how.options.data = state->data;
    if (state->mixed.wanted) {
        QN_TRY(cli_run_mixed(args, &state->mixed, &state->quantized, state->model, state->calibration, pre,
                             &state->how.options, &state->report, err));
    } else {
        QN_TRY(cli_run_quantization(args, &state->quantized, state->model, state->calibration, pre, &state->how.options,
                                    &state->report, err));
    }
    note_raised(args, state->report);
    note_remarks(args, state->report);
    QN_TRY(write_integers(args, state, err));
    return write_outputs(args, state, err);
}

static qn_status open_inputs(const cli_args *args, quantize_state *state, cli_record records[2], qn_error *err)
{
    const char *calibration = cli_value(args, "calibration"), *file = args->positional[0];
    QN_TRY(cli_check_output(args, cli_value(args, "output"), err));
    QN_TRY(cli_check_output(args, cli_value(args, "report"), err));
    QN_TRY(cli_check_output(args, cli_value(args, "integers"), err));
    QN_TRY(qn_model_load(&state->model, file, err));
    if (calibration != NULL) {
        QN_TRY(qn_calibration_load(&state->calibration, calibration, err));
    }
    QN_TRY(cli_record_of_model(&records[0], state->model, file, err));
    return cli_record_of_calibration(&records[1], state->calibration, calibration, err);
}

/* --format-of-file, and whether --store says something else. */
static cli_exit read_form(const cli_args *args, qn_onnx_form *form)
{
    const char *text = cli_value(args, "format-of-file"), *store = cli_value(args, "store");
    qn_error err;
    qn_error_init(&err);
    *form = QN_ONNX_AUTO;
    if (text != NULL && qn_onnx_form_parse(form, text, &err) != QN_OK) {
        return cli_misuse("--format-of-file: %s", err.message);
    }
    if (store == NULL || *form == QN_ONNX_AUTO) {
        return CLI_OK;
    }
    if (*form == QN_ONNX_QONNX) {
        return cli_misuse(
            "--store says how codes are kept, and --format-of-file qonnx keeps floats; leave out --store");
    }
    if ((strcmp(store, "packed") == 0) != (*form == QN_ONNX_ORG)) {
        return cli_misuse("--store %s does not go with --format-of-file %s: org packs codes, qdq and qoperator do not",
                          store, text);
    }
    return CLI_OK;
}

static cli_exit run(cli_args *args)
{
    const char *output = cli_value(args, "output"), *report = cli_value(args, "report");
    if (output == NULL) {
        return cli_misuse("-o FILE is missing; usage: quern quantize %s", args->command->usage);
    }
    if (!cli_has(args, "data") && !cli_has(args, "calibration")) {
        return cli_misuse("--data X (or --calibration FILE) is missing; usage: quern quantize %s",
                          args->command->usage);
    }
    const char *integers = cli_value(args, "integers"), *recipe = cli_value(args, "recipe");
    bool is_aidge = recipe != NULL && strncmp(recipe, "aidge", 5) == 0 && (recipe[5] == '\0' || recipe[5] == ':');
    if (integers != NULL && (!is_aidge || !cli_has(args, "data"))) {
        return cli_misuse("--integers is for --recipe aidge with --data");
    }
    if (report != NULL && strcmp(report, output) == 0) {
        return cli_misuse("-o and --report both name '%s'; give each a file of its own", output);
    }
    qn_error err;
    qn_error_init(&err);
    static quantize_state state; /* large */
    cli_record records[2];
    qn_preprocess pre;
    cli_exit code = read_form(args, &state.form);
    code = code == CLI_OK ? cli_read_quantization(args, &state.how) : code;
    state.how.options.store = cli_value(args, "store");
    code = code == CLI_OK ? cli_read_mixed(args, &state.mixed) : code;
    if (code == CLI_OK) {
        code =
            open_inputs(args, &state, records, &err) == QN_OK ? cli_preprocess(args, records, 2, &pre) : cli_fail(&err);
    }
    if (code == CLI_OK && quantize(args, &state, &pre, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    cli_mixed_release(&state.mixed);
    qn_quantize_report_free(state.report);
    qn_model_free(state.quantized);
    qn_calibration_free(state.calibration);
    qn_dataset_close(state.data);
    qn_model_free(state.model);
    return code;
}

const cli_command cli_quantize = {
    .name = "quantize",
    .summary = "make a quantized model from a float one",
    .usage = "MODEL --data X [--calibration calib.json] [how to quantize] -o q.onnx [--report q.json]",
    .description =
        "Runs a recipe (see 'quern recipe'): folds BatchNorm, fuses ReLU and Clip, chooses ranges, quantizes weights,\n"
        "activations and biases. The result takes and gives float. Networks of integers run in integers with 'quern\n"
        "eval' and, written as QDQ, in other runtimes; any other number format is simulated. With --calibration and\n"
        "without --data, passes that run the network are left out, and named. -v prints what was done to each value.\n"
        "--bits-budget chooses the bits of each layer's weights, so that size (or bit operations) stay within the "
        "budget\n"
        "and the network is as good on --data as can be: 0.5x is half of what --weights would cost, 0.1MB is 10^5\n"
        "bytes of codes, 4.5bits the mean of all weights; bit operations take a factor or a plain number.\n"
        "--format-of-file says what the file is made of: QuantizeLinear and DequantizeLinear (qdq), QLinearConv and "
        "other\n"
        "integer operators (qoperator), Quant nodes on floats (qonnx), nodes of org.quern (org); what the form cannot\n"
        "hold is refused by name. Without it, qdq, and org.quern where qdq cannot hold a value.",
    .example = "quern quantize model.onnx --data calib.npy --scale 1/255 -o q.onnx --report q.json\n"
               "quern quantize model.onnx --data calib.npy --weights int4 --set 'conv1*:weights=int8' -o q.onnx\n"
               "quern quantize model.onnx --data calib.npy --format-of-file qoperator -o q.onnx\n"
               "quern quantize model.onnx --data calib.npy --bits-budget 0.5x --widths 8,6,4,3 -o q.onnx",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .quantization = true,
    .run = run,
};
