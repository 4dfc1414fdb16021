/* Mixed precision: measure each layer at each width, solve the knapsack, evaluate, improve, record. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "ptq/mixed.h"
#include "ptq/recipe.h"

void qn_mixed_options_init(qn_mixed_options *options)
{
    *options = (qn_mixed_options){
        .struct_size = sizeof *options, .budget = 0.5, .n_widths = 4, .widths = {8, 6, 4, 2}, .max_trials = 40};
}

static qn_status check_widths(const int *widths, int n, qn_error *err)
{
    for (int w = 0; w < n; w++) {
        bool again = false;
        for (int k = 0; k < w; k++) {
            again = again || widths[k] == widths[w];
        }
        if (widths[w] < 1 || widths[w] > 16 || again) {
            return qn_fail(err, QN_EINVAL, NULL, "width %d is %s", widths[w],
                           again ? "given twice" : "not from 1 to 16 bits");
        }
    }
    return QN_OK;
}

static qn_status check_options(const qn_mixed_options *o, const qn_study *study, qn_error *err)
{
    QN_TRY(qn_check_options_size(o->struct_size, sizeof *o, "qn_mixed_options_init", err));
    if (!(o->budget > 0) || o->budget > 1e18) {
        return qn_fail(err, QN_EINVAL, NULL, "a budget of %g is none; it must be above 0", o->budget);
    }
    if (o->n_widths < 1 || o->n_widths > QN_MIXED_MAX_WIDTHS || o->max_trials < 1) {
        return qn_fail(err, QN_EINVAL, NULL, "%d widths and %d trials; there must be 1 to %d widths and a trial",
                       o->n_widths, o->max_trials, QN_MIXED_MAX_WIDTHS);
    }
    QN_TRY(check_widths(o->widths, o->n_widths, err));
    if (o->n_activation_widths < 0 || o->n_activation_widths > QN_MIXED_MAX_WIDTHS ||
        (o->n_activation_widths > 0 && o->cost != QN_MIXED_BITOPS)) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "%d widths of activations; up to %d may be chosen from, under a budget of bit operations",
                       o->n_activation_widths, QN_MIXED_MAX_WIDTHS);
    }
    QN_TRY(check_widths(o->activation_widths, o->n_activation_widths, err));
    if (o->metric == QN_MIXED_TOP1 && study->options.labels == NULL) {
        return qn_fail(err, QN_EINVAL, NULL, "the metric top1 needs labels");
    }
    if (o->budget_kind == QN_BUDGET_PER_WEIGHT && o->cost != QN_MIXED_SIZE) {
        return qn_fail(err, QN_EINVAL, NULL, "bits for each weight are a budget of size, not of bit operations");
    }
    return QN_OK;
}

/* The format that the user or the recipe asked for, at other widths. */
static qn_status make_settings(char settings[][QN_MIXED_SETTING_MAX], const char *key, const char *text,
                               const int *widths, int n, qn_error *err)
{
    qn_format format;
    if (strcmp(text, "float") == 0) {
        return qn_fail(err, QN_EINVAL, NULL, "%s that stay float have no width to choose", key);
    }
    QN_TRY(qn_format_parse(&format, text, err));
    if (format.kind != QN_FORMAT_INT) {
        return qn_fail(err, QN_EINVAL, NULL, "%s are '%s'; widths are chosen for integer formats", key, text);
    }
    for (int w = 0; w < n; w++) {
        char name[QN_FORMAT_NAME_MAX];
        format.bits = widths[w];
        QN_TRY(qn_format_check(format, key, err));
        qn_format_name(name, format);
        snprintf(settings[w], QN_MIXED_SETTING_MAX, "%s=%s", key, name);
    }
    return QN_OK;
}

static qn_status make_all_settings(qn_mixed *m, qn_error *err)
{
    const qn_quantize_options *how = &m->study->how;
    const qn_mixed_options *o = &m->options;
    qn_ptq_recipe recipe = {0};
    qn_status status = qn_ptq_recipe_read(&recipe, how->recipe, err);
    if (status == QN_OK) {
        status = make_settings(m->settings, "weights", how->weights != NULL ? how->weights : recipe.weights, o->widths,
                               o->n_widths, err);
    }
    if (status == QN_OK && o->n_activation_widths > 0) {
        status = make_settings(m->input_settings, "activations",
                               how->activations != NULL ? how->activations : recipe.activations, o->activation_widths,
                               o->n_activation_widths, err);
    }
    qn_ptq_recipe_free(&recipe);
    return status;
}

static qn_status set_budget(qn_mixed *m, qn_error *err)
{
    int64_t n_weights = 0, least = 0;
    for (int u = 0; u < m->n_units; u++) {
        int64_t cheapest = qn_mixed_choice(m, u, 0)->cost;
        for (int c = 1; c < m->n_choices; c++) {
            const int64_t cost = qn_mixed_choice(m, u, c)->cost;
            cheapest = cost < cheapest ? cost : cheapest;
        }
        least += cheapest;
        n_weights += m->units[u].n_weights;
    }
    const qn_mixed_options *o = &m->options;
    const double unit = o->budget_kind == QN_BUDGET_FACTOR       ? (double)m->about.base
                        : o->budget_kind == QN_BUDGET_PER_WEIGHT ? (double)n_weights
                                                                 : 1.0;
    const double budget = floor(o->budget * unit);
    m->about.budget = budget < 9e18 ? (int64_t)budget : INT64_MAX;
    if (m->about.budget < least) {
        return qn_fail(err, QN_EINVAL, NULL, "the budget is %lld %s, but the narrowest widths take %lld",
                       (long long)m->about.budget, o->cost == QN_MIXED_SIZE ? "bits" : "bit operations",
                       (long long)least);
    }
    return QN_OK;
}

/* Noise over signal; right answers lost count for more than any noise that loses none. */
static double damage_of(const qn_mixed *m, const qn_evaluation *e)
{
    const double noise = isinf(e->sqnr_db) && e->sqnr_db > 0 ? 0 : pow(10, -e->sqnr_db / 10);
    if (m->options.metric == QN_MIXED_SQNR) {
        return noise;
    }
    const int64_t lost = qn_study_reference(m->study)->correct - e->correct;
    return (lost > 0 ? (double)lost : 0) + noise;
}

/* A layer by itself: its weights alone where activations stay as they are, else the whole layer and its input. */
static qn_status measure_one(qn_mixed *m, int unit, int choice, qn_study_result *result, qn_error *err)
{
    const qn_study_unit *u = &m->units[unit];
    qn_quantize_set sets[1 + QN_MIXED_SETS_MAX + 1 + QN_STUDY_FOLLOWERS] = {
        {"*", m->options.n_activation_widths > 0 ? "keep=float" : "weights=float,activations=float,bias=float"}};
    size_t n = 1;
    for (int i = 0; m->options.n_activation_widths > 0 && i < u->n_globs; i++) {
        sets[n++] = (qn_quantize_set){u->globs[i], "keep=codes"};
    }
    n = qn_mixed_add_sets(m, unit, choice, sets, n);
    return qn_study_try_sets(m->study, sets, n, result, NULL, NULL, err);
}

static qn_status measure(qn_mixed *m, qn_error *err)
{
    for (int u = 0; u < m->n_units; u++) {
        for (int c = 0; c < m->n_choices; c++) {
            const size_t at = (size_t)u * (size_t)m->n_choices + (size_t)c;
            if (m->inputs[u].n == 0 && c % m->n_inputs > 0) { /* the input's width is not to be chosen */
                m->only_sqnr_db[at] = m->only_sqnr_db[at - 1];
                m->choices[at].damage = m->choices[at - 1].damage;
                continue;
            }
            qn_study_result result = {0};
            QN_TRY(measure_one(m, u, c, &result, err));
            m->only_sqnr_db[at] = result.evaluation.sqnr_db;
            m->choices[at].damage = damage_of(m, &result.evaluation);
        }
    }
    return QN_OK;
}

/* Of the choices that all layers can have alike, the one that costs most. */
static qn_status try_uniform(qn_mixed *m, int *assigned, qn_error *err)
{
    int best = -1;
    int64_t most = -1;
    for (int c = 0; c < m->n_choices; c++) {
        for (int u = 0; u < m->n_units; u++) {
            assigned[u] = c;
        }
        const int64_t cost = qn_mixed_cost_of(m, assigned);
        if (cost <= m->about.budget && cost > most) {
            best = c;
            most = cost;
        }
    }
    if (best < 0) {
        return QN_OK;
    }
    for (int u = 0; u < m->n_units; u++) {
        assigned[u] = best;
    }
    QN_TRY(qn_mixed_try(m, assigned, NULL, NULL, err));
    m->about.uniform_width = m->options.widths[best / m->n_inputs];
    m->about.uniform_input_width =
        m->options.n_activation_widths > 0 ? m->options.activation_widths[best % m->n_inputs] : 0;
    m->about.uniform = qn_mixed_find_trial(m, assigned)->result;
    return QN_OK;
}

static qn_status record(const qn_mixed *m, qn_model *quantized, qn_error *err)
{
    json_t *widths = json_object(), *inputs = json_object();
    for (int u = 0; u < m->n_units; u++) {
        json_t *name = qn_json_record(m->rows[u].node_name);
        if (name != NULL) {
            json_object_set_new(widths, json_string_value(name), json_integer(m->rows[u].width));
            json_object_set_new(inputs, json_string_value(name), json_integer(m->rows[u].input_width));
        }
        json_decref(name);
    }
    json_t *object =
        json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "metric", m->options.metric == QN_MIXED_SQNR ? "sqnr" : "top1",
                  "cost", m->options.cost == QN_MIXED_SIZE ? "size" : "bitops", "budget", (json_int_t)m->about.budget,
                  "used", (json_int_t)m->about.used, "widths", widths, "inputs", inputs);
    char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(object);
    if (text == NULL) {
        return qn_fail_memory(err, NULL, 0);
    }
    qn_status status = qn_model_set_metadata(quantized, "quern.mixed_precision", text, err);
    free(text);
    return status;
}

/* Once more with all passes of the recipe: the best assignment, and the uniform one that it has to beat. */
static qn_status compare_with_uniform(qn_mixed *m, qn_error *err)
{
    int *uniform = qn_arena_array(&m->arena, (size_t)m->n_units, sizeof *uniform);
    int *best = qn_arena_array(&m->arena, (size_t)m->n_units, sizeof *best);
    if (uniform == NULL || best == NULL) {
        return qn_fail_memory(err, NULL, (size_t)m->n_units * sizeof *best);
    }
    memcpy(best, m->best->assigned, (size_t)m->n_units * sizeof *best);
    const int n_trials = m->about.n_trials;
    m->trials = m->best = NULL;
    m->options.max_trials += 2 + n_trials;
    QN_TRY(qn_mixed_try(m, best, NULL, NULL, err));
    if (m->about.uniform_width > 0) {
        QN_TRY(try_uniform(m, uniform, err));
    }
    m->about.n_trials = n_trials;
    return QN_OK;
}

static qn_status finish(qn_mixed *m, qn_model **quantized, qn_quantize_report **report, qn_error *err)
{
    const int *assigned = m->best->assigned;
    m->about.whole = m->best->result;
    m->about.used = qn_mixed_cost_of(m, assigned);
    for (int u = 0; u < m->n_units; u++) {
        const qn_study_unit *unit = &m->units[u];
        const size_t at = (size_t)u * (size_t)m->n_choices + (size_t)assigned[u];
        m->rows[u] = (qn_mixed_row){.node_name = qn_arena_string(&m->arena, unit->name),
                                    .op_type = qn_arena_string(&m->arena, unit->op_type),
                                    .n_weights = unit->n_weights,
                                    .cost = m->choices[at].cost,
                                    .width = m->options.widths[assigned[u] / m->n_inputs],
                                    .input_width = qn_mixed_input_bits(m, u, assigned[u]),
                                    .only_sqnr_db = m->only_sqnr_db[at]};
        if (m->rows[u].node_name == NULL || m->rows[u].op_type == NULL) {
            return qn_fail_memory(err, NULL, 0);
        }
    }
    QN_TRY(qn_mixed_try(m, assigned, quantized, report, err));
    return record(m, *quantized, err);
}

static qn_status choose(qn_mixed *m, qn_model **quantized, qn_quantize_report **report, qn_error *err)
{
    m->study->quick = true;
    QN_TRY(make_all_settings(m, err));
    m->n_inputs = m->options.n_activation_widths > 0 ? m->options.n_activation_widths : 1;
    m->n_choices = m->options.n_widths * m->n_inputs;
    m->study->step = 0;
    m->study->n_steps = 1;
    QN_TRY(qn_mixed_find_layers(m, err));
    QN_TRY(set_budget(m, err));
    m->study->n_steps = 2 + (int64_t)m->n_units * m->n_choices + m->options.max_trials;
    m->study->step = 1;
    m->study->simulate = true;
    qn_status status = measure(m, err);
    m->study->simulate = false;
    QN_TRY(status);
    int *assigned = qn_arena_array(&m->arena, (size_t)m->n_units, sizeof *assigned);
    if (assigned == NULL) {
        return qn_fail_memory(err, NULL, (size_t)m->n_units * sizeof *assigned);
    }
    QN_TRY(try_uniform(m, assigned, err));
    QN_TRY(qn_knapsack_choose(assigned, m->choices, m->n_units, m->n_choices, m->about.budget, err));
    m->options.max_trials += m->about.n_trials; /* the knapsack's answer is tried in any case */
    QN_TRY(qn_mixed_try(m, assigned, NULL, NULL, err));
    QN_TRY(qn_mixed_improve(m, err));
    m->study->quick = false;
    QN_TRY(compare_with_uniform(m, err));
    return finish(m, quantized, report, err);
}

qn_status qn_mixed_precision(qn_mixed **mixed, qn_study *study, const qn_mixed_options *options, qn_model **quantized,
                             qn_quantize_report **report, qn_error *err)
{
    *mixed = NULL;
    *quantized = NULL;
    if (report != NULL) {
        *report = NULL;
    }
    QN_TRY(check_options(options, study, err));
    qn_mixed *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    made->study = study;
    made->options = *options;
    qn_status status = choose(made, quantized, report, err);
    study->quick = study->simulate = false;
    if (status == QN_OK) {
        *mixed = made;
        return QN_OK;
    }
    qn_mixed_free(made);
    qn_model_free(*quantized);
    *quantized = NULL;
    if (report != NULL) {
        qn_quantize_report_free(*report);
        *report = NULL;
    }
    return status;
}

void qn_mixed_free(qn_mixed *mixed)
{
    if (mixed != NULL) {
        qn_arena_free(&mixed->arena);
        qn_free(mixed);
    }
}

size_t qn_mixed_count(const qn_mixed *mixed)
{
    return (size_t)mixed->n_units;
}

const qn_mixed_row *qn_mixed_at(const qn_mixed *mixed, size_t index)
{
    return index < (size_t)mixed->n_units ? &mixed->rows[index] : NULL;
}

const qn_mixed_summary *qn_mixed_about(const qn_mixed *mixed)
{
    return &mixed->about;
}
