/* quern sweep: accuracy and size for all combinations of formats and recipes. */
#include "cli/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static const cli_option options[] = {
    CLI_STUDY_OPTIONS,
    {"weights", 0, "LIST", "formats of weights, separated by commas (default: int8); float is one"},
    {"activations", 0, "LIST", "formats of activations, separated by commas (default: uint8)"},
    {"recipes", 0, "LIST", "recipes, separated by commas (default: best)"},
    {"output", 'o', "FILE", "JSON file to write after each combination, and to go on from; required"},
    {"force", 'f', NULL, "start anew where FILE exists"},
    {"bias", 0, "FORMAT", "number format of biases"},
    {"per", 0, "GRANULARITY", "weights that share parameters: channel, tensor or group:N"},
    {"set", 0, "GLOB:K=V...", "settings of some nodes, as 'quern quantize' takes them"},
    {"keep-float", 0, "GLOB...", "nodes that stay in float, by name or operator"},
    {"ranges", 0, "KIND", "static, or dynamic: anew for each input (simulation)"},
    {NULL, 0, NULL, NULL},
};

enum { LIST_MAX = 32, ITEM_MAX = 160 };

typedef struct {
    char items[LIST_MAX][ITEM_MAX];
    size_t n;
} name_list;

typedef struct {
    name_list weights, activations, recipes;
    char recipe_sha256[LIST_MAX][QN_SHA256_HEX];
    cli_study study;
    json_t *file, *rows;
} sweep;

/* Split at commas outside of <>; a recipe's options are separated by commas, too: "name:a=1,b=2" is one item as long as
 * what follows a comma has a '='. */
static cli_exit split(name_list *list, const char *option, const char *text)
{
    list->n = 0;
    for (const char *at = text;; at++) {
        int depth = 0;
        size_t n = 0;
        for (; at[n] != '\0'; n++) {
            const char *next = strpbrk(at + n + 1, ",=");
            if (at[n] == ',' && depth == 0 && (next == NULL || *next != '=' || memchr(at, ':', n) == NULL)) {
                break;
            }
            depth += at[n] == '<' ? 1 : at[n] == '>' ? -1 : 0;
        }
        if (n == 0 || n >= ITEM_MAX || list->n == LIST_MAX) {
            return cli_misuse("--%s '%s' is not a list of up to %d names separated by commas", option, text, LIST_MAX);
        }
        memcpy(list->items[list->n], at, n);
        list->items[list->n++][n] = '\0';
        at += n;
        if (*at == '\0') {
            return CLI_OK;
        }
    }
}

static cli_exit read_list(const cli_args *args, name_list *list, const char *option, const char *fallback)
{
    const char *text = cli_value(args, option);
    cli_exit code = split(list, option, text != NULL ? text : fallback);
    qn_error err;
    qn_error_init(&err);
    for (size_t i = 0; code == CLI_OK && i < list->n && strcmp(option, "recipes") != 0; i++) {
        qn_format format;
        if (strcmp(list->items[i], "float") != 0 && qn_format_parse(&format, list->items[i], &err) != QN_OK) {
            code = cli_misuse("--%s: %s%s%s", option, err.where, err.where[0] != '\0' ? ": " : "", err.message);
        }
    }
    return code;
}

/* Recipes are told apart by what they say, not by what they are called. */
static cli_exit read_recipes(const cli_args *args, sweep *s)
{
    cli_exit code = read_list(args, &s->recipes, "recipes", "best");
    qn_error err;
    qn_error_init(&err);
    for (size_t i = 0; code == CLI_OK && i < s->recipes.n; i++) {
        char *text;
        if (qn_recipe_text(&text, s->recipes.items[i], &err) != QN_OK) {
            return err.status == QN_EINVAL ? cli_misuse("--recipes: %s", err.message) : cli_fail(&err);
        }
        qn_sha256_hex(s->recipe_sha256[i], text, strlen(text));
        free(text);
    }
    return code;
}

/* The command line without the lists, whose names mean single formats elsewhere. */
static cli_args without_lists(const cli_args *args)
{
    cli_args rest = *args;
    rest.n_given = 0;
    for (size_t i = 0; i < args->n_given; i++) {
        const char *name = args->given[i]->name;
        if (strcmp(name, "weights") != 0 && strcmp(name, "activations") != 0) {
            rest.given[rest.n_given] = args->given[i];
            rest.values[rest.n_given++] = args->values[i];
        }
    }
    return rest;
}

static qn_status add_data(json_t *key, const char *name, const qn_dataset *data, qn_error *err)
{
    char hex[QN_SHA256_HEX];
    if (data != NULL) {
        QN_TRY(qn_dataset_sha256(data, hex, err));
        json_object_set_new(key, name, json_string(hex));
    }
    return QN_OK;
}

/* What rows of one file have in common. */
static qn_status make_key(const cli_args *args, const sweep *s, json_t *key, qn_error *err)
{
    static const char *const kept[] = {"bias", "per", "set", "keep-float", "ranges"};
    const cli_study *study = &s->study;
    qn_inspection *inspection = NULL;
    QN_TRY(qn_inspect(&inspection, study->model, err));
    json_object_set_new(key, "model", json_string(qn_inspection_model(inspection)->sha256));
    qn_inspection_free(inspection);
    QN_TRY(add_data(key, "data", study->data, err));
    QN_TRY(add_data(key, "eval_data", study->eval_data, err));
    if (study->labels.data != NULL) {
        char hex[QN_SHA256_HEX];
        qn_sha256_hex(hex, study->labels.data, qn_tensor_bytes(&study->labels));
        json_object_set_new(key, "labels", json_string(hex));
    }
    if (cli_has(args, "calibration")) {
        qn_file_bytes bytes;
        char hex[QN_SHA256_HEX];
        QN_TRY(qn_file_read(&bytes, cli_value(args, "calibration"), err));
        qn_sha256_hex(hex, bytes.data, bytes.size);
        qn_file_bytes_free(&bytes);
        json_object_set_new(key, "calibration", json_string(hex));
    }
    char *pre;
    QN_TRY(qn_preprocess_to_json(&study->pre, &pre, err));
    json_object_set_new(key, "preprocess", json_string(pre));
    free(pre);
    json_t *settings = json_array();
    for (size_t i = 0; i < args->n_given; i++) {
        for (size_t k = 0; k < sizeof kept / sizeof kept[0]; k++) {
            if (strcmp(args->given[i]->name, kept[k]) == 0) {
                json_array_append_new(settings, json_pack("{s:s}", kept[k], args->values[i]));
            }
        }
    }
    json_object_set_new(key, "settings", settings);
    return QN_OK;
}

/* Take up the rows of an existing file. */
static cli_exit resume(const cli_args *args, sweep *s, json_t *key)
{
    const char *path = cli_value(args, "output");
    if (access(path, F_OK) != 0 || cli_has(args, "force")) {
        return CLI_OK;
    }
    json_error_t problem;
    json_t *old = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    json_t *rows = json_object_get(old, "rows");
    if (!json_is_array(rows) || !json_equal(json_object_get(old, "key"), key)) {
        json_decref(old);
        return cli_misuse("%s: exists and is not a sweep of this model, data and settings; give another -o, or -f to "
                          "start anew",
                          path);
    }
    json_decref(s->rows);
    s->rows = json_incref(rows);
    json_object_set(s->file, "rows", rows);
    json_decref(old);
    if (json_array_size(s->rows) > 0) {
        cli_note(args, "note: %s: %zu combinations are there already", path, json_array_size(s->rows));
    }
    return CLI_OK;
}

static qn_status write_rows(const cli_args *args, sweep *s, qn_error *err)
{
    cli_sweep_mark(s->rows);
    char *text = json_dumps(s->file, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (text == NULL) {
        return qn_fail(err, QN_ENOMEM, cli_value(args, "output"), "no memory to write rows");
    }
    qn_status status = qn_file_write_all(cli_value(args, "output"), true, text, strlen(text), err);
    free(text);
    return status;
}

static qn_status try_one(sweep *s, size_t recipe, const char *weights, const char *activations, qn_error *err)
{
    qn_quantize_options how = s->study.how.options;
    how.recipe = s->recipes.items[recipe];
    how.weights = weights;
    how.activations = activations;
    qn_study_result result = {0};
    qn_error reason;
    qn_error_init(&reason);
    qn_status status = qn_study_try(s->study.study, &how, &result, NULL, NULL, &reason);
    if (status == QN_ECANCELED || status == QN_ENOMEM) {
        *err = reason;
        return status;
    }
    json_array_append_new(s->rows, cli_sweep_row(s->recipes.items[recipe], s->recipe_sha256[recipe], weights,
                                                 activations, &result, &reason));
    return QN_OK;
}

static qn_status try_all(const cli_args *args, sweep *s, qn_error *err)
{
    const size_t n = s->recipes.n * s->weights.n * s->activations.n;
    for (size_t i = 0; i < n; i++) {
        const size_t recipe = i / (s->weights.n * s->activations.n);
        const char *weights = s->weights.items[i / s->activations.n % s->weights.n];
        const char *activations = s->activations.items[i % s->activations.n];
        if (cli_sweep_find(s->rows, s->recipe_sha256[recipe], weights, activations) != NULL) {
            continue;
        }
        cli_progress progress;
        char label[64];
        snprintf(label, sizeof label, "combination %zu of %zu", i + 1, n);
        cli_progress_start(&progress, args, label);
        qn_study_set_progress(s->study.study, cli_progress_step, &progress);
        qn_status status = try_one(s, recipe, weights, activations, err);
        cli_progress_end(&progress);
        QN_TRY(status);
        QN_TRY(write_rows(args, s, err));
    }
    return write_rows(args, s, err);
}

static cli_exit measure(const cli_args *args, sweep *s, qn_error *err)
{
    json_t *key = json_object();
    s->file = cli_json_start(args);
    s->rows = json_array();
    json_object_set_new(s->file, "key", key);
    json_object_set(s->file, "rows", s->rows);
    qn_status status = make_key(args, s, key, err);
    cli_exit code = status == QN_OK ? resume(args, s, key) : cli_fail(err);
    if (code != CLI_OK) {
        return code;
    }
    status = cli_study_start(args, &s->study, err);
    if (status == QN_OK) {
        const qn_evaluation *plain = qn_study_reference(s->study.study);
        json_object_set_new(s->file, "n", json_integer(plain->n));
        if (plain->has_labels) {
            json_object_set_new(s->file, "float_top1", json_real(plain->top1));
        }
        status = try_all(args, s, err);
    }
    if (status == QN_OK && args->json) {
        cli_print_json(json_incref(s->file));
    } else if (status == QN_OK) {
        cli_sweep_print(s->rows);
    }
    return status == QN_OK ? CLI_OK : cli_fail(err);
}

static cli_exit run(cli_args *args)
{
    if (!cli_has(args, "output")) {
        return cli_misuse("-o FILE is missing; usage: quern sweep %s", args->command->usage);
    }
    qn_error err;
    qn_error_init(&err);
    static sweep s; /* large */
    cli_exit code = read_list(args, &s.weights, "weights", "int8");
    code = code == CLI_OK ? read_list(args, &s.activations, "activations", "uint8") : code;
    code = code == CLI_OK ? read_recipes(args, &s) : code;
    if (code == CLI_OK && qn_file_check_output(cli_value(args, "output"), true, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    const cli_args rest = without_lists(args);
    code = code == CLI_OK ? cli_study_open(&rest, &s.study, &err) : code;
    code = code == CLI_OK ? measure(&rest, &s, &err) : code;
    json_decref(s.rows);
    json_decref(s.file);
    cli_study_close(&s.study);
    return code;
}

const cli_command cli_sweep = {
    .name = "sweep",
    .summary = "accuracy and size for combinations of number formats and recipes",
    .usage = "MODEL --data X [--labels Y] [--eval-data X2] --weights LIST --activations LIST -o sweep.json",
    .description =
        "Quantizes and evaluates every combination of the lists: SQNR of the logits and argmax agreement against the\n"
        "float network, top-1 with --labels, and the size of the constants with their parameters. The fronts, size\n"
        "against SQNR and against top-1, are marked. FILE is rewritten whole after each combination: what was\n"
        "interrupted goes on from there, and more formats can be added later. A combination that cannot be is a row\n"
        "with the reason. Commas inside <> separate nothing.",
    .example = "quern sweep model.onnx --data calib.npy --weights 'int8,int4,mx<fp4e2m1>' --activations float,uint8 "
               "-o s.json",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .run = run,
};
