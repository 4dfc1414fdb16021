/* qn_quantize: a recipe run on a copy of the model, between checks of what comes in and records of what was done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "calib/calib.h"
#include "graph/arithmetic.h"
#include "graph/model.h"
#include "graph/passes.h"
#include "ptq/recipe.h"

qn_status qn_ptq_settle_constants(qn_ptq *ptq, qn_error *err)
{
    return qn_graph_settle_constants(ptq->graph, err);
}

qn_status qn_ptq_drop_identities(qn_ptq *ptq, qn_error *err)
{
    return qn_graph_drop_identities(ptq->graph, err);
}

void qn_quantize_options_init(qn_quantize_options *options)
{
    *options = (qn_quantize_options){.struct_size = sizeof *options};
}

static qn_status check_calibration(const qn_model *model, const qn_calibration *calibration, qn_error *err)
{
    const qn_graph *graph = &model->graph;
    if (graph->sha256[0] != '\0' && calibration->model_sha256[0] != '\0' &&
        strcmp(graph->sha256, calibration->model_sha256) != 0) {
        return qn_fail(
            err, QN_EINVAL, graph->file,
            "the calibration was made of another network (%s, SHA-256 %.12s..., not %.12s...); calibrate this one",
            calibration->model_file, calibration->model_sha256, graph->sha256);
    }
    qn_preprocess recorded;
    bool found = false;
    QN_TRY(qn_model_preprocess(model, &recorded, &found, err));
    if (found && calibration->has_preprocess && !qn_preprocess_equal(&recorded, &calibration->preprocess)) {
        return qn_fail(err, QN_ECONFLICT, graph->file,
                       "the network records another preprocessing than the calibration was made with");
    }
    return QN_OK;
}

/* NaN and infinities in anything that will be coded. A Clip may well be bounded by infinity. */
static qn_status check_constants(const qn_graph *graph, qn_error *err)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; node->op != QN_OP_CLIP && i < node->n_inputs; i++) {
            QN_TRY(qn_ptq_check_finite(graph, node->inputs[i], err));
        }
    }
    return QN_OK;
}

static qn_status check_model(const qn_model *model, qn_error *err)
{
    if (qn_model_is_quantized(model)) {
        return qn_fail(err, QN_EINVAL, model->graph.file, "is quantized already; give the float network");
    }
    return check_constants(&model->graph, err);
}

static qn_status record(qn_graph *graph, const qn_ptq_recipe *recipe, const qn_ptq_settings *settings,
                        const char *model_sha256, const qn_calibration *calibration, bool has_arithmetic, qn_error *err)
{
    const char *const pairs[][2] = {
        {"quern.version", qn_version()},
        {"quern.recipe", recipe->name},
        {"quern.model_sha256", model_sha256},
        {"quern.data_sha256", calibration != NULL ? calibration->data_sha256 : ""},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i][1][0] != '\0') {
            QN_TRY(qn_graph_set_metadata(graph, pairs[i][0], pairs[i][1], err));
        }
    }
    return has_arithmetic ? QN_OK : qn_graph_set_arithmetic(graph, &settings->arithmetic, err);
}

static qn_status record_preprocess(qn_model *model, const qn_calibration *calibration, qn_error *err)
{
    if (!calibration->has_preprocess) {
        return QN_OK;
    }
    char *text = NULL;
    QN_TRY(qn_preprocess_to_json(&calibration->preprocess, &text, err));
    qn_status status = qn_graph_set_metadata(&model->graph, "quern.preprocess", text, err);
    free(text);
    return status;
}

qn_status qn_ptq_run_pass(qn_ptq *ptq, qn_ptq_pass_fn pass, qn_error *err)
{
    ptq->n_uses = ptq->graph->n_values;
    ptq->uses = qn_graph_count_uses(ptq->graph);
    qn_status status =
        ptq->uses != NULL ? pass(ptq, err) : qn_fail_memory(err, ptq->graph->file, ptq->n_uses * sizeof *ptq->uses);
    qn_free(ptq->uses);
    ptq->uses = NULL;
    ptq->n_uses = 0;
    return status == QN_OK ? qn_graph_tidy(ptq->graph, err) : status;
}

/* What one quantization works with. */
typedef struct job {
    qn_ptq_recipe recipe;
    qn_ptq_settings settings;
    qn_ptq ptq;
} job;

static qn_status add_sets(job *j, const qn_quantize_options *options, qn_error *err)
{
    qn_ptq_settings *s = &j->settings;
    size_t n = j->recipe.n_sets + options->n_sets + options->n_keep_float;
    s->sets = qn_arena_array(&j->recipe.arena, n + 1, sizeof *s->sets);
    if (s->sets == NULL) {
        return qn_fail_memory(err, NULL, n);
    }
    /* those of a recipe are for any network: they may match nothing */
    for (size_t i = 0; i < options->n_sets; i++) {
        qn_ptq_formats scratch = {0};
        QN_TRY(qn_ptq_formats_apply(&scratch, options->sets[i].settings, options->sets[i].glob, err));
        s->sets[s->n_sets++] = (qn_ptq_set){options->sets[i].glob, options->sets[i].settings};
    }
    for (size_t i = 0; i < options->n_keep_float; i++) {
        s->sets[s->n_sets++] = (qn_ptq_set){options->keep_float[i], "keep=float"};
    }
    return QN_OK;
}

static void prepend_recipe_sets(job *j)
{
    qn_ptq_settings *s = &j->settings;
    memmove(s->sets + j->recipe.n_sets, s->sets, s->n_sets * sizeof *s->sets);
    for (size_t i = 0; i < j->recipe.n_sets; i++) {
        s->sets[i] = j->recipe.sets[i];
    }
    s->n_sets += j->recipe.n_sets;
}

static qn_status set_base(job *j, const qn_quantize_options *options, qn_error *err)
{
    const struct {
        const char *key, *asked, *preset;
    } parts[] = {
        {"weights", options->weights, j->recipe.weights},
        {"activations", options->activations, j->recipe.activations},
        {"bias", options->bias, j->recipe.bias},
        {"per", options->per, j->recipe.per},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char text[160];
        const char *asked = parts[i].asked, *where = asked != NULL ? NULL : j->recipe.where;
        snprintf(text, sizeof text, "%s=%s", parts[i].key, asked != NULL ? asked : parts[i].preset);
        QN_TRY(qn_ptq_formats_apply(&j->settings.base, text, where, err));
    }
    const char *ranges = options->ranges != NULL ? options->ranges : j->recipe.ranges;
    j->settings.dynamic = strcmp(ranges, "dynamic") == 0;
    if (!j->settings.dynamic && strcmp(ranges, "static") != 0) {
        const char *where = options->ranges != NULL ? NULL : j->recipe.where;
        return qn_fail(err, QN_EINVAL, where, "ranges '%s' are neither static nor dynamic", ranges);
    }
    return QN_OK;
}

/* A pass that chooses everything itself would ignore what else is asked for. */
static qn_status check_alone(const qn_ptq_recipe *recipe, const qn_quantize_options *o, qn_error *err)
{
    const bool asks = o->weights != NULL || o->activations != NULL || o->bias != NULL || o->per != NULL ||
                      o->ranges != NULL || o->arithmetic != NULL || o->n_sets > 0 || o->n_keep_float > 0 ||
                      o->no_rounding;
    for (size_t i = 0; asks && i < recipe->n_steps; i++) {
        const qn_ptq_pass *pass = recipe->steps[i].pass;
        if ((pass->flags & QN_PTQ_ALONE) != 0) {
            return qn_fail(err, QN_EINVAL, recipe->name,
                           "pass %s chooses formats, ranges and arithmetic itself; it takes its own options only",
                           pass->name);
        }
    }
    return QN_OK;
}

static bool stores_int8(const qn_quantize_options *options)
{
    return options->store != NULL && strcmp(options->store, "int8") == 0;
}

static qn_status prepare(job *j, const qn_graph *graph, const qn_quantize_options *options, qn_error *err)
{
    if (options->store != NULL && strcmp(options->store, "packed") != 0 && !stores_int8(options)) {
        return qn_fail(err, QN_EINVAL, NULL, "store '%s' is neither packed nor int8", options->store);
    }
    QN_TRY(qn_ptq_recipe_read(&j->recipe, options->recipe, err));
    QN_TRY(check_alone(&j->recipe, options, err));
    QN_TRY(set_base(j, options, err));
    j->settings.arithmetic = options->arithmetic != NULL ? *options->arithmetic : j->recipe.arithmetic;
    j->settings.no_rounding = options->no_rounding;
    QN_TRY(qn_arithmetic_check(&j->settings.arithmetic, NULL, err));
    QN_TRY(add_sets(j, options, err));
    QN_TRY(qn_ptq_settings_check(&j->settings, graph, err));
    prepend_recipe_sets(j);
    j->ptq.settings = &j->settings;
    j->ptq.data = options->data;
    j->ptq.n_threads = options->n_threads > 0 ? options->n_threads : qn_processor_count();
    j->ptq.progress = options->progress;
    j->ptq.progress_ctx = options->progress_ctx;
    return QN_OK;
}

static void release(job *j)
{
    qn_calibration_free(j->ptq.own);
    qn_arena_free(&j->ptq.scratch);
    qn_ptq_recipe_free(&j->recipe);
    qn_free(j);
}

const char *qn_ptq_option(const qn_ptq *ptq, const char *name)
{
    const qn_ptq_step *step = ptq->step;
    for (int i = 0; step != NULL && step->pass->options[i].name != NULL; i++) {
        if (strcmp(step->pass->options[i].name, name) == 0) {
            return step->values[i];
        }
    }
    return ""; /* a pass asks for its own options only */
}

double qn_ptq_option_number(const qn_ptq *ptq, const char *name)
{
    return strtod(qn_ptq_option(ptq, name), NULL);
}

qn_status qn_ptq_calibrate(qn_ptq *ptq, qn_error *err)
{
    if (ptq->calibration != NULL && !qn_ptq_is_stale(ptq, QN_NO_VALUE)) {
        return QN_OK;
    }
    if (ptq->data == NULL) {
        return qn_fail(err, QN_EINVAL, ptq->graph->file,
                       "there are no ranges: give a calibration or data to calibrate on");
    }
    qn_calibrate_options options;
    qn_calibrate_options_init(&options);
    options.n_threads = ptq->n_threads;
    options.progress = ptq->progress;
    options.progress_ctx = ptq->progress_ctx;
    qn_calibration *made = NULL;
    QN_TRY(qn_calibrate(&made, ptq->model, ptq->data, &options, err));
    qn_calibration_free(ptq->own);
    ptq->calibration = ptq->own = made;
    ptq->n_stale = 0;
    return QN_OK;
}

static qn_status run_step(qn_ptq *ptq, const qn_ptq_step *step, qn_error *err)
{
    const qn_ptq_pass *pass = step->pass;
    if ((pass->flags & QN_PTQ_REQUIRES_DATA) != 0 && ptq->data == NULL) {
        return qn_fail(err, QN_EINVAL, ptq->graph->file, "pass %s runs the network: it needs data, not a calibration",
                       pass->name);
    }
    if ((pass->flags & QN_PTQ_NEEDS_DATA) != 0 && ptq->data == NULL) {
        return QN_OK; /* remark_missing tells */
    }
    if ((pass->flags & QN_PTQ_NEEDS_RANGES) != 0) {
        QN_TRY(qn_ptq_calibrate(ptq, err));
    }
    ptq->step = step;
    qn_status status = qn_ptq_run_pass(ptq, pass->run, err);
    ptq->step = NULL;
    return status;
}

static bool needs_ranges(const job *j)
{
    bool needs = false;
    for (size_t i = 0; i < j->recipe.n_steps; i++) {
        needs = needs || (j->recipe.steps[i].pass->flags & QN_PTQ_NEEDS_RANGES) != 0;
    }
    return needs;
}

/* Ranges are taken of the network as it is cleaned up, but before any pass renames a value: they are found by name. */
static qn_status run_steps(job *j, bool forms_only, qn_error *err)
{
    bool has_ranges = forms_only || !needs_ranges(j);
    for (size_t i = 0; i < j->recipe.n_steps; i++) {
        const qn_ptq_step *step = &j->recipe.steps[i];
        bool rounds = (step->pass->flags & QN_PTQ_ROUNDS) != 0;
        if (!has_ranges && (step->pass->flags & QN_PTQ_CLEANS) == 0) {
            QN_TRY(qn_ptq_calibrate(&j->ptq, err));
            has_ranges = true;
        }
        if ((!forms_only || (step->pass->flags & QN_PTQ_FORM) != 0) && !(j->settings.no_rounding && rounds)) {
            QN_TRY(run_step(&j->ptq, step, err));
            QN_TRY(step->pass->run == qn_ptq_choose_weights ? qn_ptq_warn_of_weights(&j->ptq, err) : QN_OK);
        }
    }
    QN_TRY(forms_only ? QN_OK : qn_ptq_warn_of_values(&j->ptq, err));
    return qn_graph_verify(j->ptq.graph, err);
}

/* The passes that were left out for want of data, in one remark. */
static qn_status remark_missing(job *j, qn_error *err)
{
    char names[300] = "";
    int n = 0;
    for (size_t i = 0; i < j->recipe.n_steps && j->ptq.data == NULL; i++) {
        const qn_ptq_pass *pass = j->recipe.steps[i].pass;
        bool rounds = (pass->flags & QN_PTQ_ROUNDS) != 0;
        if ((pass->flags & QN_PTQ_NEEDS_DATA) != 0 && !(j->settings.no_rounding && rounds)) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%s", n++ > 0 ? ", " : "", pass->name);
        }
    }
    return n > 0 ? qn_ptq_add_remark(&j->ptq, err, "left out, for they need data, not only a calibration: %s", names)
                 : QN_OK;
}

/* Some limits of the engines show only when they plan a network: what cannot be run is refused here, not later. */
static qn_status try_engines(qn_ptq *ptq, qn_error *err)
{
    qn_program_options options;
    qn_program *program = NULL;
    qn_error reason;
    qn_error_init(&reason);
    QN_TRY(qn_program_options_init(&options, QN_ENGINE_INTEGER, err));
    if (qn_program_create(&program, ptq->model, &options, &reason) == QN_OK) {
        qn_program_free(program);
        return QN_OK;
    }
    if (reason.status == QN_ENOMEM) {
        return qn_fail(err, QN_ENOMEM, reason.where, "%s", reason.message);
    }
    QN_TRY(qn_program_options_init(&options, QN_ENGINE_FLOAT, err));
    QN_TRY(qn_program_create(&program, ptq->model, &options, err));
    qn_program_free(program);
    return qn_ptq_add_remark(ptq, err, "the network runs in simulation: %s: %s", reason.where, reason.message);
}

/* How parameters were fitted is over; a file would not tell it, and equal quantizers should be equal. */
static qn_status settle_formats(qn_graph *graph, qn_error *err)
{
    for (size_t v = 0; v < graph->n_values; v++) {
        const qn_quantizer *q = graph->values[v].quantizer;
        if (q == NULL || q->dynamic || q->format.kind != QN_FORMAT_INT) {
            continue;
        }
        qn_quantizer settled = *q;
        settled.format.fit = QN_FIT_DEFAULT;
        settled.format.narrow = q->format.narrow && graph->values[v].constant != NULL;
        QN_TRY(qn_graph_set_quantizer(graph, (qn_value_id)v, &settled, err));
    }
    return QN_OK;
}

static qn_status quantize(job *j, qn_model *result, const qn_model *model, const qn_calibration *calibration,
                          const qn_quantize_options *options, qn_quantize_report **report, qn_error *err)
{
    QN_TRY(check_model(model, err));
    QN_TRY(calibration != NULL ? check_calibration(model, calibration, err) : QN_OK);
    QN_TRY(qn_graph_clone(&result->graph, &model->graph, err));
    qn_ptq *ptq = &j->ptq;
    ptq->model = result;
    ptq->graph = &result->graph;
    ptq->calibration = calibration;
    QN_TRY(qn_ptq_name_nodes(ptq->graph, err));
    QN_TRY(prepare(j, ptq->graph, options, err));
    QN_TRY(run_steps(j, false, err));
    QN_TRY(remark_missing(j, err));
    if (options->no_rounding) {
        QN_TRY(qn_ptq_run_pass(ptq, qn_ptq_no_rounding, err));
    }
    QN_TRY(settle_formats(&result->graph, err));
    QN_TRY(try_engines(ptq, err));
    QN_TRY(record(&result->graph, &j->recipe, &j->settings, model->graph.sha256, ptq->calibration, ptq->has_arithmetic,
                  err));
    QN_TRY(stores_int8(options) ? qn_graph_set_metadata(&result->graph, "quern.store", "int8", err) : QN_OK);
    QN_TRY(ptq->calibration != NULL ? record_preprocess(result, ptq->calibration, err) : QN_OK);
    QN_TRY(report != NULL ? qn_ptq_report_make(report, ptq, j->recipe.name, err) : QN_OK);
    result->graph.sha256[0] = '\0'; /* that was of the float file */
    return QN_OK;
}

static qn_status check_options(const qn_quantize_options **options, qn_quantize_options *defaults, qn_error *err)
{
    qn_quantize_options_init(defaults);
    *options = *options != NULL ? *options : defaults;
    return qn_check_options_size((*options)->struct_size, sizeof **options, "qn_quantize_options_init", err);
}

qn_status qn_quantize_check(const qn_model *model, const qn_quantize_options *options, qn_error *err)
{
    qn_quantize_options defaults;
    QN_TRY(check_options(&options, &defaults, err));
    QN_TRY(check_model(model, err));
    qn_model copy = {0};
    job *j = qn_alloc(sizeof *j);
    if (j == NULL) {
        return qn_fail_memory(err, model->graph.file, sizeof *j);
    }
    qn_status status = qn_graph_clone(&copy.graph, &model->graph, err);
    j->ptq.model = &copy;
    j->ptq.graph = &copy.graph;
    status = status == QN_OK ? qn_ptq_name_nodes(&copy.graph, err) : status;
    status = status == QN_OK ? prepare(j, &copy.graph, options, err) : status;
    status = status == QN_OK ? run_steps(j, true, err) : status;
    release(j);
    qn_graph_free(&copy.graph);
    return status;
}

qn_status qn_quantize(qn_model **quantized, const qn_model *model, const qn_calibration *calibration,
                      const qn_quantize_options *options, qn_quantize_report **report, qn_error *err)
{
    *quantized = NULL;
    if (report != NULL) {
        *report = NULL;
    }
    qn_quantize_options defaults;
    QN_TRY(check_options(&options, &defaults, err));
    qn_model *result = qn_alloc(sizeof *result);
    job *j = qn_alloc(sizeof *j);
    if (result == NULL || j == NULL) {
        qn_free(result);
        qn_free(j);
        return qn_fail_memory(err, model->graph.file, sizeof *j);
    }
    qn_status status = quantize(j, result, model, calibration, options, report, err);
    release(j);
    if (status != QN_OK) {
        qn_model_free(result);
        return status;
    }
    *quantized = result;
    return QN_OK;
}
