/* quern sensitivity: what each node costs when it is quantized. */
#include <stdio.h>

#include "cli/study_args.h"

static const cli_option options[] = {
    CLI_STUDY_OPTIONS,
    {NULL, 0, NULL, NULL},
};

static json_t *row_json(const qn_sensitivity_row *row, bool labels)
{
    json_t *object = json_object();
    json_object_set_new(object, "node", cli_json_string(row->node_name));
    json_object_set_new(object, "op_type", cli_json_string(row->op_type));
    json_object_set_new(object, "output", cli_json_string(row->output_name));
    json_object_set_new(object, "only_sqnr_db", cli_json_real(row->only_sqnr_db));
    json_object_set_new(object, "without_sqnr_db", cli_json_real(row->without_sqnr_db));
    if (labels) {
        json_object_set_new(object, "only_top1", json_real(row->only_top1));
        json_object_set_new(object, "without_top1", json_real(row->without_top1));
    }
    json_object_set_new(object, "reason", cli_json_string(row->reason));
    return object;
}

static void print_json(const cli_args *args, const qn_study *study, const qn_sensitivity *s)
{
    const qn_evaluation *whole = &qn_sensitivity_whole(s)->evaluation, *plain = qn_study_reference(study);
    json_t *object = cli_json_start(args), *rows = json_array();
    json_object_set_new(object, "n", json_integer(plain->n));
    json_object_set_new(object, "sqnr_db", cli_json_real(whole->sqnr_db));
    if (plain->has_labels) {
        json_object_set_new(object, "float_top1", json_real(plain->top1));
        json_object_set_new(object, "top1", json_real(whole->top1));
    }
    for (size_t i = 0; i < qn_sensitivity_count(s); i++) {
        json_array_append_new(rows, row_json(qn_sensitivity_at(s, i), plain->has_labels));
    }
    json_object_set_new(object, "nodes", rows);
    cli_print_json(object);
}

static void print_line(const char *name, const char *op, const double db[2], const double top1[2], bool labels,
                       const char *reason)
{
    char name_text[CLI_NAME_MAX], only[CLI_SQNR_MAX], without[CLI_SQNR_MAX];
    printf("%-32s %-8s %9s %9s", cli_name(name_text, name), op, cli_sqnr(only, db[0]), cli_sqnr(without, db[1]));
    if (labels) {
        printf(" %8.2f %8.2f", 100 * top1[0], 100 * top1[1]);
    }
    printf("%s%s\n", reason[0] != '\0' ? "  " : "", reason);
}

static void print_text(const qn_study *study, const qn_sensitivity *s)
{
    const qn_evaluation *whole = &qn_sensitivity_whole(s)->evaluation, *plain = qn_study_reference(study);
    const bool labels = plain->has_labels;
    char db[CLI_SQNR_MAX];
    printf("%lld images; quantized: SQNR %s dB", (long long)plain->n, cli_sqnr(db, whole->sqnr_db));
    if (labels) {
        printf(", top-1 %.2f %%; float %.2f %%", 100 * whole->top1, 100 * plain->top1);
    }
    printf("\n%-32s %-8s %19s", "", "", "SQNR in dB");
    printf("%s\n%-32s %-8s %9s %9s", labels ? "         top-1 in %" : "", "node", "op", "only it", "all else");
    printf("%s  likely reason\n", labels ? "  only it all else" : "");
    for (size_t i = 0; i < qn_sensitivity_count(s); i++) {
        const qn_sensitivity_row *row = qn_sensitivity_at(s, i);
        print_line(row->node_name, row->op_type, (const double[]){row->only_sqnr_db, row->without_sqnr_db},
                   (const double[]){row->only_top1, row->without_top1}, labels, row->reason);
    }
}

static qn_status measure(const cli_args *args, cli_study *s, qn_error *err)
{
    cli_progress progress;
    s->options.progress = cli_progress_step;
    s->options.progress_ctx = &progress;
    qn_sensitivity *sensitivity = NULL;
    cli_progress_start(&progress, args, "sensitivity");
    qn_status status = cli_study_start(args, s, err);
    status = status == QN_OK ? qn_sensitivity_measure(&sensitivity, s->study, err) : status;
    cli_progress_end(&progress);
    QN_TRY(status);
    if (args->json) {
        print_json(args, s->study, sensitivity);
    } else {
        print_text(s->study, sensitivity);
    }
    qn_sensitivity_free(sensitivity);
    return QN_OK;
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    static cli_study s; /* large */
    cli_exit code = cli_study_open(args, &s, &err);
    if (code == CLI_OK && measure(args, &s, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    cli_study_close(&s);
    return code;
}

const cli_command cli_sensitivity = {
    .name = "sensitivity",
    .summary = "find the nodes that lose accuracy when they are quantized",
    .usage = "MODEL --data X [--labels Y] [--eval-data X2] [how to quantize]",
    .description =
        "For each layer and join that computes on codes: SQNR of the logits (and top-1, with --labels) when only this\n"
        "node is quantized, and when everything else is; the worst node first, with what stands out in its ranges and\n"
        "scales. A Relu or Clip behind a node goes with it. Names are those that --set and --keep-float take; a node\n"
        "without a name goes by that of its first output.",
    .example = "quern sensitivity model.onnx --data calib.npy --weights int4\n"
               "quern sensitivity model.onnx --data calib.npy --eval-data test_x.npy --labels test_y.npy --json",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .quantization = true,
    .run = run,
};
