/* quern export: an integer network written down for hardware. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/session.h"

static const cli_option options[] = {
    {"to", 0, "LIST", "targets, with commas: npz, c, hls, mem, verilog, onnx (default manifest, always written)"},
    {"output", 'o', "DIR", "directory to write; it appears whole or not at all; required"},
    {"force", 'f', NULL, "replace DIR, where a former export made it"},
    {"vectors", 0, "X", "inputs whose codes, floats and results are written as test vectors"},
    {"limit", 0, "N", "vectors to write at most (default 16; 0: all of X)"},
    {"cmsis-nn", 0, NULL, "c: call CMSIS-NN where it has the layer and rounds alike"},
    {"form", 0, "FORM", "onnx: qdq, qoperator, qonnx or org (default: each of the first three that holds it)"},
    {"sums", 0, "float", "of an imported network that fuses as ONNX Runtime: in two rounded products, as exports do"},
    {"faulty", 0, "STORE", "a campaign's store: vectors of faults in it, too; with --ids"},
    {"ids", 0, "LIST", "numbers of faults in the store, with commas"},
    {NULL, 0, NULL, NULL},
};

enum { DEFAULT_LIMIT = 16 };

typedef struct {
    qn_model *model;
    qn_dataset *vectors;
    qn_export_options options;
    int64_t *ids;
} export_state;

static cli_exit parse_limit(const cli_args *args, int64_t *limit)
{
    const char *text = cli_value(args, "limit");
    *limit = DEFAULT_LIMIT;
    if (text == NULL) {
        return CLI_OK;
    }
    char *end;
    errno = 0;
    const long long n = strtoll(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != '\0') {
        return cli_misuse("--limit '%s' is not a number of vectors from 0 on", text);
    }
    *limit = n;
    return cli_has(args, "vectors") ? CLI_OK : cli_misuse("--limit says how many of --vectors X, which is missing");
}

/* "1,7,9" */
static cli_exit parse_ids(const cli_args *args, export_state *state)
{
    const char *text = cli_value(args, "ids");
    if (cli_has(args, "faulty") != (text != NULL)) {
        return cli_misuse("--faulty STORE and --ids LIST go together; %s is missing",
                          text != NULL ? "--faulty" : "--ids");
    }
    if (text == NULL) {
        return CLI_OK;
    }
    state->ids = calloc(strlen(text) + 1, sizeof *state->ids);
    if (state->ids == NULL) {
        qn_error err;
        qn_error_init(&err);
        (void)qn_fail(&err, QN_ENOMEM, "--ids", "out of memory");
        return cli_fail(&err);
    }
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        const long long id = strtoll(at, &end, 10);
        if (errno != 0 || *at < '0' || *at > '9' || (*end != ',' && *end != '\0')) {
            return cli_misuse("--ids '%s' is no list of numbers of faults such as 1,7,9", text);
        }
        state->ids[state->options.n_ids++] = id;
        at = end;
        if (*at == '\0') {
            return CLI_OK;
        }
    }
}

static cli_exit parse_options(const cli_args *args, export_state *state, qn_error *err)
{
    const char *targets = cli_value(args, "to");
    qn_export_options_init(&state->options);
    if (!cli_has(args, "output")) {
        return cli_misuse("-o DIR is missing; usage: quern export %s", args->command->usage);
    }
    if (targets != NULL && qn_export_targets_parse(&state->options.targets, targets, err) != QN_OK) {
        return cli_misuse("--to: %s", err->message);
    }
    state->options.overwrite = cli_has(args, "force");
    state->options.cmsis_nn = cli_has(args, "cmsis-nn");
    if (state->options.cmsis_nn && (state->options.targets >> QN_EXPORT_C & 1) == 0) {
        return cli_misuse("--cmsis-nn is for target c; say --to c");
    }
    const char *form = cli_value(args, "form");
    if (form != NULL && qn_onnx_form_parse(&state->options.onnx_form, form, err) != QN_OK) {
        return cli_misuse("--form: %s", err->message);
    }
    if (form != NULL && (state->options.targets >> QN_EXPORT_ONNX & 1) == 0) {
        return cli_misuse("--form is for target onnx; say --to onnx");
    }
    const char *sums = cli_value(args, "sums");
    if (sums != NULL && strcmp(sums, "float") != 0) {
        return cli_misuse("--sums '%s' is not float", sums);
    }
    state->options.campaign = cli_value(args, "faulty");
    cli_exit code = parse_limit(args, &state->options.n_vectors);
    code = code == CLI_OK ? parse_ids(args, state) : code;
    state->options.ids = state->ids;
    return code;
}

static void print_targets(const cli_args *args, unsigned targets, json_t *object)
{
    json_t *list = json_array();
    const char *name;
    if (object == NULL) {
        printf("%-13s", "targets");
    }
    for (int i = 0; (name = qn_export_target_text((qn_export_target)i)) != NULL; i++) {
        if (i == QN_EXPORT_MANIFEST || targets >> i & 1) {
            json_array_append_new(list, json_string(name));
            if (object == NULL) {
                printf(" %s", name);
            }
        }
    }
    if (object != NULL) {
        json_object_set_new(object, "targets", list);
        return;
    }
    json_decref(list);
    printf("\ncheck it with quern verify %s\n", cli_value(args, "output"));
}

static cli_exit write_export(const cli_args *args, export_state *state, qn_error *err)
{
    const char *directory = cli_value(args, "output");
    char *report = NULL;
    cli_progress progress;
    cli_progress_start(&progress, args, "exporting");
    state->options.progress = cli_progress_step;
    state->options.progress_ctx = &progress;
    const qn_status status = qn_export(state->model, directory, &state->options, &report, err);
    cli_progress_end(&progress);
    if (status != QN_OK) {
        return cli_fail(err);
    }
    int64_t n = state->vectors != NULL ? qn_dataset_count(state->vectors) : 0;
    n = state->options.n_vectors > 0 && n > state->options.n_vectors ? state->options.n_vectors : n;
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "directory", cli_json_string(directory));
        print_targets(args, state->options.targets, object);
        json_object_set_new(object, "vectors", json_integer(n));
        json_object_set_new(object, "report", cli_json_lines(report));
        cli_print_json(object);
    } else {
        printf("%-13s %s\n", "directory", directory);
        printf("%-13s %lld\n", "vectors", (long long)n);
        if (report[0] != '\0') {
            printf("%s%s", report, report[strlen(report) - 1] == '\n' ? "" : "\n");
        }
        print_targets(args, state->options.targets, NULL);
    }
    free(report);
    return CLI_OK;
}

static cli_exit open_all(const cli_args *args, export_state *state, qn_error *err)
{
    const char *file = args->positional[0], *vectors = cli_value(args, "vectors");
    cli_record record;
    qn_preprocess pre;
    if (qn_model_load(&state->model, file, err) != QN_OK ||
        cli_record_of_model(&record, state->model, file, err) != QN_OK) {
        return cli_fail(err);
    }
    const char *sums = qn_model_metadata(state->model, "quern.sums");
    if (cli_has(args, "sums") && sums != NULL && strcmp(sums, "fused") == 0 &&
        qn_model_set_metadata(state->model, "quern.sums", "float", err) != QN_OK) {
        return cli_fail(err);
    }
    if (vectors == NULL) {
        return CLI_OK;
    }
    const cli_exit code = cli_preprocess(args, &record, 1, &pre);
    if (code != CLI_OK) {
        return code;
    }
    if (qn_dataset_open(&state->vectors, vectors, &pre, err) != QN_OK) {
        return cli_fail(err);
    }
    state->options.vectors = state->vectors;
    return CLI_OK;
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    export_state state = {0};
    cli_exit code = parse_options(args, &state, &err);
    if (code == CLI_OK) {
        code = open_all(args, &state, &err);
    }
    if (code == CLI_OK) {
        code = write_export(args, &state, &err);
    }
    qn_dataset_close(state.vectors);
    qn_model_free(state.model);
    free(state.ids);
    return code;
}

const cli_command cli_export = {
    .name = "export",
    .summary = "write an integer network down for hardware: the integers, scales, formulas, test vectors",
    .usage = "q.onnx [--to npz,c,...] -o DIR [--vectors X [--limit N] [preprocessing]]",
    .description =
        "manifest.json says for every tensor its integers' format, scale (decimal, hexadecimal, and as a shift where\n"
        "it is a power of two), zero point, layout, range and SHA-256; for every layer its geometry, accumulator "
        "width\n"
        "(proven, and observed over the vectors), requantization, and the formula with its numbers. The invariant\n"
        "x == (z - zero_point) * scale is checked for every element of every constant.\n"
        "\n"
        "Targets, each in a folder of its name:\n"
        "  npz      raw integers as .npy and little-endian .bin\n"
        "  c        C99 inference in integers, for microcontrollers\n"
        "  hls      C++ for Vitis HLS, with ap_int and ap_fixed types\n"
        "  mem      memory images for RTL: .mem, .coe, .mif, and vectors\n"
        "  verilog  memory images and a synthesizable reference core with test benches\n"
        "  onnx     the model as QDQ, QOperator and QONNX: what ONNX Runtime, hls4ml and FINN read\n"
        "\n"
        "The same model and options give the same bytes. DIR holds the model, too: quern verify DIR needs nothing "
        "else.",
    .example = "quern export q.onnx --to npz,c --vectors test_x.npy --limit 8 -o out\n"
               "quern verify out",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .run = run,
};
