/* quern eval: how good a network is on data, and how close to another. */
#include <math.h>
#include <stdio.h>

#include "cli/session.h"

static const cli_option options[] = {
    {"data", 0, "X", "inputs; an .npz of arrays with their names for a network of several; required"},
    {"labels", 0, "Y", "one integer class per input: prints the share that is right"},
    {"engine", 0, "ENGINE",
     "float, simulate or integer (default: float; for a quantized model integer, else simulate)"},
    {"against", 0, "OTHER", "another model to compare the logits with, run by its default engine"},
    {"logits", 0, "FILE", "write the logits as float32 .npy [N, ...]"},
    {"batch", 0, "B", "inputs per run (default 8, 1 for integer)"},
    {"force", 'f', NULL, "overwrite FILE"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    qn_model *model, *against;
    qn_dataset *data;
    qn_tensor labels, logits;
} eval_state;

static void print_result(const cli_args *args, const qn_evaluation *result, const qn_evaluate_options *settings)
{
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "engine", json_string(qn_engine_text(settings->engine)));
        json_object_set_new(object, "cpu", json_string(qn_cpu_text(args->cpu)));
        json_object_set_new(object, "n", json_integer(result->n));
        if (result->has_labels) {
            json_object_set_new(object, "correct", json_integer(result->correct));
            json_object_set_new(object, "top1", json_real(result->top1));
        }
        if (result->has_against) {
            json_object_set_new(object, "sqnr_db", cli_json_real(result->sqnr_db));
            json_object_set_new(object, "argmax_agree", json_real(result->argmax_agree));
            json_object_set_new(object, "n_agree", json_integer(result->n_agree));
            json_object_set_new(object, "against_images_per_second", json_real(result->against_images_per_second));
        }
        json_object_set_new(object, "images_per_second", json_real(result->images_per_second));
        cli_print_json(object);
        return;
    }
    printf("images        %lld (%s engine)\n", (long long)result->n, qn_engine_text(settings->engine));
    if (result->has_labels) {
        printf("top-1         %.2f %% (%lld of %lld)\n", 100 * result->top1, (long long)result->correct,
               (long long)result->n);
    }
    if (result->has_against && result->sqnr_db > 0 && isinf(result->sqnr_db)) {
        printf("SQNR          infinite: the logits are equal\n");
    } else if (result->has_against) {
        printf("SQNR          %.2f dB\n", result->sqnr_db);
    }
    if (result->has_against) {
        printf("argmax agree  %.2f %% (%lld of %lld)\n", 100 * result->argmax_agree, (long long)result->n_agree,
               (long long)result->n);
    }
    printf("speed         %.0f images/s\n", result->images_per_second);
    if (args->verbose > 0) {
        printf("run on        %s, %d thread%s\n", qn_cpu_text(args->cpu), cli_threads(args),
               cli_threads(args) == 1 ? "" : "s");
    }
}

static qn_status open_models(const cli_args *args, eval_state *state, cli_record records[2], qn_error *err)
{
    const char *file = args->positional[0], *against = cli_value(args, "against");
    QN_TRY(cli_check_output(args, cli_value(args, "logits"), err));
    QN_TRY(qn_model_load(&state->model, file, err));
    if (against != NULL) {
        QN_TRY(qn_model_load(&state->against, against, err));
    }
    QN_TRY(cli_record_of_model(&records[0], state->model, file, err));
    return cli_record_of_model(&records[1], state->against, against, err);
}

static qn_status evaluate(const cli_args *args, eval_state *state, qn_evaluate_options *settings,
                          const qn_preprocess *pre, qn_error *err)
{
    const char *labels = cli_value(args, "labels"), *logits = cli_value(args, "logits");
    if (labels != NULL) {
        QN_TRY(qn_tensor_read(&state->labels, labels, err));
        settings->labels = &state->labels;
        settings->labels_name = labels;
    }
    settings->against = state->against;
    QN_TRY(cli_open_data(&state->data, args, state->model, pre, err));
    qn_evaluation result;
    QN_TRY(cli_run_evaluation(args, &result, state->model, state->data, settings, "evaluating",
                              logits != NULL ? &state->logits : NULL, err));
    if (logits != NULL) {
        QN_TRY(qn_tensor_write_npy(&state->logits, logits, cli_has(args, "force"), err));
    }
    print_result(args, &result, settings);
    return QN_OK;
}

static cli_exit run(cli_args *args)
{
    if (!cli_has(args, "data")) {
        return cli_misuse("--data X is missing; usage: quern eval %s", args->command->usage);
    }
    qn_error err;
    qn_error_init(&err);
    eval_state state = {0};
    cli_record records[2];
    qn_preprocess pre;
    qn_evaluate_options settings;
    cli_exit code = CLI_OK;
    if (open_models(args, &state, records, &err) != QN_OK ||
        qn_evaluate_options_init(&settings, state.model, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    if (code == CLI_OK) {
        code = cli_parse_engine(args, &settings.engine);
    }
    if (code == CLI_OK) {
        code = cli_parse_batch(args, &settings.batch);
    }
    if (code == CLI_OK) {
        code = cli_preprocess(args, records, 2, &pre);
    }
    if (code == CLI_OK && evaluate(args, &state, &settings, &pre, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    qn_tensor_free(&state.logits);
    qn_tensor_free(&state.labels);
    qn_dataset_close(state.data);
    qn_model_free(state.against);
    qn_model_free(state.model);
    return code;
}

const cli_command cli_eval = {
    .name = "eval",
    .summary = "run a model on data: accuracy, closeness to another model, speed",
    .usage = "MODEL --data X [preprocessing] [--labels Y] [--engine ENGINE] [--against OTHER] [--logits out.npy]",
    .description = "top-1 is the share of inputs whose greatest logit is at the label (ties go to the lowest index). "
                   "SQNR in dB is\n"
                   "10 log10(sum f^2 / sum (f-q)^2) over all logits of all inputs, f being the other model. images/s "
                   "counts inference\n"
                   "from float input to logits, on all threads together. The integer engine gives the same bytes on "
                   "every CPU, with any\n"
                   "batch size and number of threads. --engine simulate runs a quantized model in float with its "
                   "values\n"
                   "rounded to codes, of any format; --engine float only its weights.",
    .example = "quern eval q.onnx --data test_x.npy --labels test_y.npy --against model.onnx",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .run = run,
};
