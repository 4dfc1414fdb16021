#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/sweep.h"

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text != NULL ? text : "";
}

json_t *cli_sweep_find(const json_t *rows, const char *recipe_sha256, const char *weights, const char *activations)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        if (strcmp(text_of(row, "recipe_sha256"), recipe_sha256) == 0 &&
            strcmp(text_of(row, "weights"), weights) == 0 && strcmp(text_of(row, "activations"), activations) == 0) {
            return row;
        }
    }
    return NULL;
}

json_t *cli_sweep_row(const char *recipe, const char *recipe_sha256, const char *weights, const char *activations,
                      const qn_study_result *result, const qn_error *err)
{
    json_t *row = json_object();
    json_object_set_new(row, "recipe", cli_json_string(recipe));
    json_object_set_new(row, "recipe_sha256", json_string(recipe_sha256));
    json_object_set_new(row, "weights", json_string(weights));
    json_object_set_new(row, "activations", json_string(activations));
    if (err->status != QN_OK) {
        char reason[QN_ERROR_WHERE_MAX + QN_ERROR_MESSAGE_MAX + 2];
        snprintf(reason, sizeof reason, "%s%s%s", err->where, err->where[0] != '\0' ? ": " : "", err->message);
        json_object_set_new(row, "failed", cli_json_string(reason));
        return row;
    }
    const qn_evaluation *e = &result->evaluation;
    const int64_t bits = result->size.weight_bits + result->size.parameter_bits;
    json_object_set_new(row, "engine", json_string(qn_engine_text(result->engine)));
    json_object_set_new(row, "n", json_integer(e->n));
    if (e->has_labels) {
        json_object_set_new(row, "correct", json_integer(e->correct));
        json_object_set_new(row, "top1", json_real(e->top1));
    }
    json_object_set_new(row, "sqnr_db", cli_json_real(e->sqnr_db)); /* null: infinite */
    json_object_set_new(row, "argmax_agree", json_real(e->argmax_agree));
    json_object_set_new(row, "n_weights", json_integer(result->size.n_weights));
    json_object_set_new(row, "weight_bits", json_integer(result->size.weight_bits));
    json_object_set_new(row, "parameter_bits", json_integer(result->size.parameter_bits));
    json_object_set_new(row, "megabytes", json_real((double)bits / 8e6));
    return row;
}

static bool is_done(const json_t *row)
{
    return json_object_get(row, "failed") == NULL;
}

/* The measure of a row; no SQNR is an infinite one. */
static double measure_of(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : (double)INFINITY;
}

static bool is_beaten(const json_t *rows, const json_t *row, const char *key)
{
    const double size = measure_of(row, "megabytes"), quality = measure_of(row, key);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *other = json_array_get(rows, i);
        const double other_size = measure_of(other, "megabytes"), other_quality = measure_of(other, key);
        if (is_done(other) && other_size <= size && other_quality >= quality &&
            (other_size < size || other_quality > quality)) {
            return true;
        }
    }
    return false;
}

void cli_sweep_mark(json_t *rows)
{
    static const char *const marks[][2] = {{"sqnr_db", "pareto_sqnr"}, {"top1", "pareto_top1"}};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        for (size_t m = 0; m < 2 && is_done(row); m++) {
            if (json_object_get(row, marks[m][0]) != NULL) {
                json_object_set_new(row, marks[m][1], json_boolean(!is_beaten(rows, row, marks[m][0])));
            }
        }
    }
}

static void print_row(const json_t *row, bool labels)
{
    char db[CLI_SQNR_MAX], reason[CLI_NAME_MAX];
    printf("%-20s %-20s %-12s", text_of(row, "weights"), text_of(row, "activations"), text_of(row, "recipe"));
    if (!is_done(row)) {
        printf("  failed: %s\n", cli_name(reason, text_of(row, "failed")));
        return;
    }
    printf(" %9.4f %8s%s %8.2f", measure_of(row, "megabytes"), cli_sqnr(db, measure_of(row, "sqnr_db")),
           json_is_true(json_object_get(row, "pareto_sqnr")) ? "*" : " ", 100 * measure_of(row, "argmax_agree"));
    if (labels && json_object_get(row, "top1") != NULL) {
        printf(" %8.2f%s", 100 * measure_of(row, "top1"),
               json_is_true(json_object_get(row, "pareto_top1")) ? "*" : " ");
    }
    printf("\n");
}

void cli_sweep_print(const json_t *rows)
{
    bool labels = false;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        labels = labels || json_object_get(json_array_get(rows, i), "top1") != NULL;
    }
    printf("%-20s %-20s %-12s %9s %9s %8s%s\n", "weights", "activations", "recipe", "MB", "SQNR dB ", "agree %",
           labels ? "  top-1 %" : "");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        print_row(json_array_get(rows, i), labels);
    }
    printf("* no other row is as small and as good\n");
}
