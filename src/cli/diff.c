/* quern diff: where two networks, or one under two arithmetics, part. */
#include <stdio.h>

#include "cli/study_args.h"
#include "quern/diff.h"

static const cli_option options[] = {
    {"data", 0, "X", "inputs; an .npz of arrays with their names for a network of several; required"},
    {"profile", 0, "NAME...", "given twice, with one model: run it with either arithmetic (see 'quern quantize')"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    qn_model *models[2]; /* the second NULL where there is one */
    qn_dataset *data;
    const char *labels[2]; /* what is compared: files or profiles */
    qn_diff_options options;
    qn_diff *diff;
} diff_state;

static const qn_diff_row *first_difference(const qn_diff *diff)
{
    const qn_diff_row *row = NULL;
    for (size_t i = 0; row == NULL && i < qn_diff_count(diff); i++) {
        row = qn_diff_at(diff, i)->n_different > 0 ? qn_diff_at(diff, i) : NULL;
    }
    return row;
}

static json_t *row_json(const qn_diff_row *row)
{
    json_t *object = json_object();
    json_object_set_new(object, "value", cli_json_string(row->value_name));
    json_object_set_new(object, "other", cli_json_string(row->other_name));
    json_object_set_new(object, "node", cli_json_string(row->node_name));
    json_object_set_new(object, "op_type", cli_json_string(row->op_type));
    json_object_set_new(object, "is_output", json_boolean(row->is_output));
    json_object_set_new(object, "n", json_integer(row->n_elems));
    json_object_set_new(object, "n_different", json_integer(row->n_different));
    json_object_set_new(object, "sqnr_db", cli_json_real(row->sqnr_db));
    if (row->n_different > 0) {
        json_object_set_new(object, "greatest", cli_json_real(row->greatest));
        json_object_set_new(object, "steps", cli_json_real(row->steps));
        json_object_set_new(object, "item", json_integer(row->item));
        json_object_set_new(object, "element", json_integer(row->element));
        json_object_set_new(object, "a", cli_json_real((double)row->a));
        json_object_set_new(object, "b", cli_json_real((double)row->b));
    }
    return object;
}

static void print_json(const cli_args *args, const diff_state *state, const qn_diff_row *first)
{
    json_t *object = cli_json_start(args), *rows = json_array();
    json_object_set_new(object, "a", cli_json_string(state->labels[0]));
    json_object_set_new(object, "b", cli_json_string(state->labels[1]));
    json_object_set_new(object, "engine_a", json_string(qn_engine_text(qn_diff_engine(state->diff, 0))));
    json_object_set_new(object, "engine_b", json_string(qn_engine_text(qn_diff_engine(state->diff, 1))));
    json_object_set_new(object, "n", json_integer(qn_dataset_count(state->data)));
    json_object_set_new(object, "equal", json_boolean(first == NULL));
    json_object_set_new(object, "first", first != NULL ? cli_json_string(first->value_name) : json_null());
    for (size_t i = 0; i < qn_diff_count(state->diff); i++) {
        json_array_append_new(rows, row_json(qn_diff_at(state->diff, i)));
    }
    json_object_set_new(object, "values", rows);
    cli_print_json(object);
}

static void print_row(const qn_diff_row *row, int width)
{
    char name[CLI_NAME_MAX], db[CLI_SQNR_MAX];
    printf("%-34s %-*s %9s", cli_name(name, row->value_name), width, row->op_type[0] != '\0' ? row->op_type : "(input)",
           cli_sqnr(db, row->sqnr_db));
    if (row->n_different > 0) {
        printf(" %8.3g %%  %.4g: %.6g, %.6g at %lld[%lld]", 100 * (double)row->n_different / (double)row->n_elems,
               row->greatest, (double)row->a, (double)row->b, (long long)row->item, (long long)row->element);
    }
    if (row->steps > 0) {
        printf(", %.0f step%s", row->steps, row->steps > 1 ? "s" : "");
    }
    printf("\n");
}

static void print_text(const diff_state *state, const qn_diff_row *first)
{
    char name[CLI_NAME_MAX], node[CLI_NAME_MAX];
    int width = CLI_OPERATOR_WIDTH;
    for (size_t i = 0; i < qn_diff_count(state->diff); i++) {
        width = cli_wider(width, qn_diff_at(state->diff, i)->op_type);
    }
    printf("a: %s (%s engine)\nb: %s (%s engine)\n", state->labels[0], qn_engine_text(qn_diff_engine(state->diff, 0)),
           state->labels[1], qn_engine_text(qn_diff_engine(state->diff, 1)));
    printf("%-34s %-*s %9s %10s  %s\n", "value", width, "op", "SQNR dB", "differ",
           "greatest difference: a, b at item[element]");
    for (size_t i = 0; i < qn_diff_count(state->diff); i++) {
        print_row(qn_diff_at(state->diff, i), width);
    }
    if (first == NULL) {
        printf("equal: %zu values of %lld items\n", qn_diff_count(state->diff),
               (long long)qn_dataset_count(state->data));
    } else if (first->op_type[0] == '\0') {
        printf("they part at input '%s'\n", cli_name(name, first->value_name));
    } else {
        printf("they part at %s '%s', value '%s'\n", first->op_type, cli_name(node, first->node_name),
               cli_name(name, first->value_name));
    }
}

static qn_status open_models(const cli_args *args, diff_state *state, cli_record records[2], qn_error *err)
{
    for (int i = 0; i < 2; i++) {
        if (args->positional[i] != NULL) {
            QN_TRY(qn_model_load(&state->models[i], args->positional[i], err));
        }
        QN_TRY(cli_record_of_model(&records[i], state->models[i], args->positional[i], err));
    }
    return QN_OK;
}

static qn_status measure(const cli_args *args, diff_state *state, const qn_preprocess *pre, qn_error *err)
{
    QN_TRY(cli_open_data(&state->data, args, state->models[0], pre, err));
    cli_progress progress;
    cli_progress_start(&progress, args, "comparing");
    state->options.n_threads = cli_threads(args);
    state->options.cpu = args->cpu;
    state->options.progress = cli_progress_step;
    state->options.progress_ctx = &progress;
    const qn_model *other = state->models[1] != NULL ? state->models[1] : state->models[0];
    qn_status status = qn_diff_measure(&state->diff, state->models[0], other, state->data, &state->options, err);
    cli_progress_end(&progress);
    return status;
}

/* Two models, or one and two profiles. */
static cli_exit read_profiles(const cli_args *args, diff_state *state)
{
    const char *names[3];
    const size_t n = cli_all_values(args, "profile", names, 3);
    if (args->positional[1] != NULL ? n != 0 : n != 2) {
        return cli_misuse("give two models, or one and --profile twice; usage: quern diff %s", args->command->usage);
    }
    for (size_t i = 0; i < n; i++) {
        const qn_profile *profile;
        qn_error err;
        qn_error_init(&err);
        if (qn_profile_find(&profile, names[i], &err) != QN_OK) {
            return cli_misuse("--profile: %s", err.message);
        }
        state->options.arithmetic[i] = &profile->arithmetic;
    }
    state->labels[0] = n > 0 ? names[0] : args->positional[0];
    state->labels[1] = n > 0 ? names[1] : args->positional[1];
    return CLI_OK;
}

static cli_exit run(cli_args *args)
{
    if (!cli_has(args, "data")) {
        return cli_misuse("--data X is missing; usage: quern diff %s", args->command->usage);
    }
    qn_error err;
    qn_error_init(&err);
    diff_state state = {0};
    cli_record records[2];
    qn_preprocess pre;
    cli_exit code = qn_diff_options_init(&state.options, &err) == QN_OK ? read_profiles(args, &state) : cli_fail(&err);
    if (code == CLI_OK && open_models(args, &state, records, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    code = code == CLI_OK ? cli_preprocess(args, records, 2, &pre) : code;
    if (code == CLI_OK && measure(args, &state, &pre, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    if (code == CLI_OK) {
        const qn_diff_row *first = first_difference(state.diff);
        (args->json ? (void)print_json(args, &state, first) : print_text(&state, first));
        code = first != NULL ? CLI_DIFFER : CLI_OK;
    }
    qn_diff_free(state.diff);
    qn_dataset_close(state.data);
    qn_model_free(state.models[1]);
    qn_model_free(state.models[0]);
    return code;
}

const cli_command cli_diff = {
    .name = "diff",
    .summary = "find where two models, or two arithmetics of one, part",
    .usage = "A.onnx B.onnx --data X  |  q.onnx --profile NAME --profile NAME --data X",
    .description =
        "Runs both over the data and compares every value that they have in common, by name (outputs by their place):\n"
        "SQNR, the share of elements that differ, the greatest difference with both numbers, its item and element, "
        "and\n"
        "its steps where both have the same code. The first value that differs, in the order of the network, is told\n"
        "at the end. Exit code 4 when any value differs, 0 when all are equal.",
    .example = "quern diff model.onnx q.onnx --data test_x.npy\n"
               "quern diff q.onnx --profile tflite --profile cmsis-nn --data test_x.npy",
    .positional = {"A.onnx", "[B.onnx]"},
    .options = options,
    .preprocess = true,
    .run = run,
};
