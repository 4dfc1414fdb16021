#include "cli/mixed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/study_args.h"

static cli_exit read_budget(const char *text, qn_mixed_options *o)
{
    static const struct {
        const char *unit;
        qn_mixed_budget kind;
        double factor;
        bool size, bitops;
    } units[] = {{"x", QN_BUDGET_FACTOR, 1, true, true},
                 {"MB", QN_BUDGET_TOTAL, 8e6, true, false},
                 {"bits", QN_BUDGET_PER_WEIGHT, 1, true, false},
                 {"", QN_BUDGET_TOTAL, 1, false, true}};
    char *end;
    errno = 0;
    const double value = strtod(text, &end);
    const bool number = errno == 0 && end != text && value > 0 && value < 1e18;
    for (size_t i = 0; number && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0 && (o->cost == QN_MIXED_SIZE ? units[i].size : units[i].bitops)) {
            o->budget_kind = units[i].kind;
            o->budget = value * units[i].factor;
            return CLI_OK;
        }
    }
    return cli_misuse("--bits-budget '%s' is none of %s", text,
                      o->cost == QN_MIXED_SIZE ? "0.5x, 0.1MB and 4.5bits, with a number above 0"
                                               : "0.5x and a number of bit operations above 0");
}

static cli_exit read_widths(const cli_args *args, const char *option, int *widths, int *n_widths)
{
    const char *text = cli_value(args, option);
    *n_widths = 0;
    for (const char *at = text;; at++) {
        char *end;
        const long bits = strtol(at, &end, 10);
        bool ok =
            end != at && bits >= 1 && bits <= 16 && (*end == ',' || *end == '\0') && *n_widths < QN_MIXED_MAX_WIDTHS;
        for (int w = 0; ok && w < *n_widths; w++) {
            ok = widths[w] != bits;
        }
        if (!ok) {
            return cli_misuse("--%s '%s' is not a list of different numbers from 1 to 16", option, text);
        }
        widths[(*n_widths)++] = (int)bits;
        at = end;
        if (*at == '\0') {
            return CLI_OK;
        }
    }
}

/* One of two words. */
static cli_exit read_word(const cli_args *args, const char *option, const char *first, const char *second, bool *other)
{
    const char *text = cli_value(args, option);
    *other = text != NULL && strcmp(text, second) == 0;
    return text == NULL || *other || strcmp(text, first) == 0
               ? CLI_OK
               : cli_misuse("--%s '%s' is neither %s nor %s", option, text, first, second);
}

cli_exit cli_read_mixed(const cli_args *args, cli_mixed *mixed)
{
    static const char *const others[] = {"widths", "activation-widths", "metric", "cost", "labels"};
    const char *budget = cli_value(args, "bits-budget");
    *mixed = (cli_mixed){.wanted = budget != NULL};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (!mixed->wanted && cli_has(args, others[i])) {
            return cli_misuse("--%s belongs to --bits-budget, which is missing", others[i]);
        }
    }
    if (!mixed->wanted) {
        return CLI_OK;
    }
    qn_mixed_options_init(&mixed->options);
    bool top1, bitops;
    cli_exit code = read_word(args, "metric", "sqnr", "top1", &top1);
    code = code == CLI_OK ? read_word(args, "cost", "size", "bitops", &bitops) : code;
    if (code != CLI_OK) {
        return code;
    }
    mixed->options.metric = top1 ? QN_MIXED_TOP1 : QN_MIXED_SQNR;
    mixed->options.cost = bitops ? QN_MIXED_BITOPS : QN_MIXED_SIZE;
    if (!cli_has(args, "data")) {
        return cli_misuse("--bits-budget needs --data X to measure on");
    }
    if (top1 && !cli_has(args, "labels")) {
        return cli_misuse("--metric top1 needs --labels Y");
    }
    if (cli_has(args, "no-rounding")) {
        return cli_misuse("--bits-budget and --no-rounding contradict each other");
    }
    if (cli_has(args, "activation-widths") && !bitops) {
        return cli_misuse("--activation-widths need --cost bitops: they change no size");
    }
    qn_mixed_options *o = &mixed->options;
    code = read_budget(budget, o);
    if (code == CLI_OK && cli_has(args, "widths")) {
        code = read_widths(args, "widths", o->widths, &o->n_widths);
    }
    if (code == CLI_OK && cli_has(args, "activation-widths")) {
        code = read_widths(args, "activation-widths", o->activation_widths, &o->n_activation_widths);
    }
    return code;
}

static qn_status choose(const cli_args *args, cli_mixed *mixed, qn_model **quantized, const qn_model *model,
                        const qn_calibration *calibration, const qn_quantize_options *how, cli_progress *progress,
                        qn_quantize_report **report, qn_error *err)
{
    const char *labels = cli_value(args, "labels");
    qn_study_options options;
    QN_TRY(qn_study_options_init(&options, err));
    if (labels != NULL) {
        QN_TRY(qn_tensor_read(&mixed->labels, labels, err));
        options.labels = &mixed->labels;
        options.labels_name = labels;
    }
    options.how = how;
    options.calibration = calibration;
    options.data = how->data;
    options.n_threads = cli_threads(args);
    options.cpu = args->cpu;
    options.progress = cli_progress_step;
    options.progress_ctx = progress;
    qn_study *study = NULL;
    QN_TRY(qn_study_create(&study, model, &options, err));
    qn_status status = qn_mixed_precision(&mixed->result, study, &mixed->options, quantized, report, err);
    mixed->reference = *qn_study_reference(study);
    qn_study_free(study);
    return status;
}

qn_status cli_run_mixed(const cli_args *args, cli_mixed *mixed, qn_model **quantized, const qn_model *model,
                        const qn_calibration *calibration, const qn_preprocess *pre, const qn_quantize_options *how,
                        qn_quantize_report **report, qn_error *err)
{
    cli_progress progress;
    cli_progress_start(&progress, args, "choosing widths");
    qn_status status = choose(args, mixed, quantized, model, calibration, how, &progress, report, err);
    cli_progress_end(&progress);
    QN_TRY(status);
    char *text = NULL;
    QN_TRY(qn_preprocess_to_json(pre, &text, err));
    status = qn_model_set_metadata(*quantized, "quern.preprocess", text, err);
    free(text);
    return status;
}

static void print_quality(const char *label, const qn_evaluation *e)
{
    char db[CLI_SQNR_MAX];
    printf("%s SQNR %s dB", label, cli_sqnr(db, e->sqnr_db));
    if (e->has_labels) {
        printf(", top-1 %.2f %%", 100 * e->top1);
    }
    printf("\n");
}

void cli_mixed_print(const cli_mixed *mixed)
{
    const qn_mixed_summary *about = qn_mixed_about(mixed->result);
    char name[CLI_NAME_MAX], db[CLI_SQNR_MAX], used[CLI_COUNT_MAX], budget[CLI_COUNT_MAX], base[CLI_COUNT_MAX];
    printf("%-32s %-8s %10s %5s %6s %9s\n", "layer", "op", "weights", "bits", "input", "alone dB");
    for (size_t i = 0; i < qn_mixed_count(mixed->result); i++) {
        const qn_mixed_row *row = qn_mixed_at(mixed->result, i);
        printf("%-32s %-8s %10lld %5d %6d %9s\n", cli_name(name, row->node_name), row->op_type,
               (long long)row->n_weights, row->width, row->input_width, cli_sqnr(db, row->only_sqnr_db));
    }
    const char *unit = mixed->options.cost == QN_MIXED_SIZE ? "bits of weights" : "bit operations";
    printf("%s %s of a budget of %s; before %s\n", cli_count(used, (double)about->used), unit,
           cli_count(budget, (double)about->budget), cli_count(base, (double)about->base));
    print_quality("chosen of what was tried:", &about->whole.evaluation);
    if (about->uniform_width > 0) {
        char label[64];
        snprintf(label, sizeof label, "all layers with %d bits:  ", about->uniform_width);
        if (about->uniform_input_width > 0) {
            snprintf(label, sizeof label, "all layers with %d and %d bits: ", about->uniform_width,
                     about->uniform_input_width);
        }
        print_quality(label, &about->uniform.evaluation);
    }
}

json_t *cli_mixed_json(const cli_mixed *mixed)
{
    const qn_mixed_summary *about = qn_mixed_about(mixed->result);
    json_t *object = json_object(), *layers = json_array();
    json_object_set_new(object, "base", json_integer(about->base));
    json_object_set_new(object, "budget", json_integer(about->budget));
    json_object_set_new(object, "used", json_integer(about->used));
    json_object_set_new(object, "n_trials", json_integer(about->n_trials));
    json_object_set_new(object, "sqnr_db", cli_json_real(about->whole.evaluation.sqnr_db));
    if (about->uniform_width > 0) {
        json_object_set_new(object, "uniform_width", json_integer(about->uniform_width));
        json_object_set_new(object, "uniform_sqnr_db", cli_json_real(about->uniform.evaluation.sqnr_db));
    }
    if (about->whole.evaluation.has_labels) {
        json_object_set_new(object, "float_top1", json_real(mixed->reference.top1));
        json_object_set_new(object, "top1", json_real(about->whole.evaluation.top1));
    }
    for (size_t i = 0; i < qn_mixed_count(mixed->result); i++) {
        const qn_mixed_row *row = qn_mixed_at(mixed->result, i);
        json_t *layer = json_object();
        json_object_set_new(layer, "node", cli_json_string(row->node_name));
        json_object_set_new(layer, "op_type", cli_json_string(row->op_type));
        json_object_set_new(layer, "n_weights", json_integer(row->n_weights));
        json_object_set_new(layer, "cost", json_integer(row->cost));
        json_object_set_new(layer, "bits", json_integer(row->width));
        json_object_set_new(layer, "input_bits", json_integer(row->input_width));
        json_object_set_new(layer, "only_sqnr_db", cli_json_real(row->only_sqnr_db));
        json_array_append_new(layers, layer);
    }
    json_object_set_new(object, "layers", layers);
    return object;
}

void cli_mixed_release(cli_mixed *mixed)
{
    qn_mixed_free(mixed->result);
    qn_tensor_free(&mixed->labels);
}
