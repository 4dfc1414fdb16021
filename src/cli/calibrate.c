/* quern calibrate: ranges of a network's values over data. */
#include <stdio.h>

#include "cli/session.h"

static const cli_option options[] = {
    {"data", 0, "X", "inputs: .npy, file.npz:name, MNIST IDX (.gz or not), ONNX TensorProto .pb; required"},
    {"output", 'o', "FILE", "calibration file to write (JSON); required"},
    {"force", 'f', NULL, "overwrite FILE"},
    {NULL, 0, NULL, NULL},
};

static void print_ranges(const qn_calibration *calibration)
{
    char name[CLI_NAME_MAX];
    printf("%-36s %14s %14s %8s %10s\n", "value", "min", "max", "channels", "outliers");
    for (size_t i = 0; i < qn_calibration_count(calibration); i++) {
        const qn_range *range = qn_calibration_at(calibration, i);
        printf("%-36s %14.6g %14.6g %8lld %10.3g\n", cli_name(name, range->value_name), (double)range->min,
               (double)range->max, (long long)range->n_channels, qn_range_outlier_ratio(range));
    }
}

static json_t *json_ranges(const qn_calibration *calibration)
{
    json_t *values = json_object();
    for (size_t i = 0; i < qn_calibration_count(calibration); i++) {
        const qn_range *range = qn_calibration_at(calibration, i);
        json_object_set_new(values, range->value_name,
                            json_pack("{s:f, s:f, s:I, s:f}", "min", (double)range->min, "max", (double)range->max,
                                      "channels", (json_int_t)range->n_channels, "outliers",
                                      qn_range_outlier_ratio(range)));
    }
    return values;
}

static qn_status calibrate(const cli_args *args, const qn_model *model, const qn_preprocess *pre, qn_error *err)
{
    qn_dataset *data = NULL;
    qn_calibration *calibration = NULL;
    const char *output = cli_value(args, "output");
    qn_status status = cli_open_data(&data, args, model, pre, err);
    if (status == QN_OK) {
        status = cli_run_calibration(args, &calibration, model, data, err);
    }
    if (status == QN_OK) {
        status = qn_calibration_save(calibration, output, cli_has(args, "force"), err);
    }
    if (status == QN_OK && args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "n", json_integer(qn_calibration_n_items(calibration)));
        json_object_set_new(object, "values", json_ranges(calibration));
        json_object_set_new(object, "output", cli_json_string(output));
        cli_print_json(object);
    } else if (status == QN_OK) {
        printf("%zu values over %lld items -> %s\n", qn_calibration_count(calibration),
               (long long)qn_calibration_n_items(calibration), output);
        if (args->verbose > 0) {
            print_ranges(calibration);
        }
    }
    qn_calibration_free(calibration);
    qn_dataset_close(data);
    return status;
}

static cli_exit run(cli_args *args)
{
    if (!cli_has(args, "data") || !cli_has(args, "output")) {
        return cli_misuse("%s is missing; usage: quern calibrate %s", cli_has(args, "data") ? "-o FILE" : "--data X",
                          args->command->usage);
    }
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    cli_record record;
    qn_preprocess pre;
    cli_exit code = CLI_OK;
    if (cli_check_output(args, cli_value(args, "output"), &err) != QN_OK ||
        qn_model_load(&model, args->positional[0], &err) != QN_OK ||
        cli_record_of_model(&record, model, args->positional[0], &err) != QN_OK) {
        code = cli_fail(&err);
    } else {
        code = cli_preprocess(args, &record, 1, &pre);
    }
    if (code == CLI_OK && calibrate(args, model, &pre, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    qn_model_free(model);
    return code;
}

const cli_command cli_calibrate = {
    .name = "calibrate",
    .summary = "find the ranges of a network's values over data",
    .usage = "MODEL --data X [preprocessing] -o calib.json",
    .description =
        "Runs the float network over all inputs and writes, for every value, min, max and a histogram of its\n"
        "elements, and per channel the least, greatest, mean and variance: ranges can then be chosen by\n"
        "any rule without the data. Memory use does not grow with the number of inputs, and the numbers\n"
        "do not depend on the number of threads. -v prints the ranges; there \"outliers\" is the greatest\n"
        "magnitude over the one that one element in 10000 exceeds.",
    .example = "quern calibrate model.onnx --data calib.npy --scale 1/255 -o calib.json",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .run = run,
};
