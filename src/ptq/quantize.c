/* qn_quantize: a recipe run on a copy of the model, between checks of what comes in and records of what was done. */
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"
#include "graph/passes.h"
#include "ptq/ptq.h"

qn_status qn_ptq_drop_identities(qn_ptq *ptq, qn_error *err)
{
    return qn_graph_drop_identities(ptq->graph, err);
}

/* The order matters: BatchNorm folds before biases fuse, ranges are chosen on the final structure, and activations fuse
 * once their quantizers are known. */
static const qn_ptq_pass_fn minmax_int8_passes[] = {
    qn_ptq_settle_constants, qn_ptq_drop_identities,  qn_ptq_fold_batchnorm,  qn_ptq_fuse_bias,
    qn_ptq_plain_gemm,       qn_ptq_floor_pool,       qn_ptq_whole_map_pool,  qn_ptq_constant_second,
    qn_ptq_check_forms,      qn_ptq_choose_ranges,    qn_ptq_fuse_activation, qn_ptq_quantize_joins,
    qn_ptq_settle_sums,      qn_ptq_quantize_weights,
};
static const qn_ptq_recipe minmax_int8 = {
    .name = "minmax-int8",
    .passes = minmax_int8_passes,
    .n_forms = 9, /* up to qn_ptq_check_forms */
    .n_passes = sizeof minmax_int8_passes / sizeof minmax_int8_passes[0],
};

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

static qn_status record(qn_graph *graph, const qn_ptq_recipe *recipe, const char *model_sha256,
                        const qn_calibration *calibration, qn_error *err)
{
    const char *const pairs[][2] = {
        {"quern.version", qn_version()},
        {"quern.recipe", recipe->name},
        {"quern.requantize", "float"},
        {"quern.model_sha256", model_sha256},
        {"quern.data_sha256", calibration->data_sha256},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i][1][0] != '\0') {
            QN_TRY(qn_graph_set_metadata(graph, pairs[i][0], pairs[i][1], err));
        }
    }
    return QN_OK;
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

static qn_status run_passes(qn_ptq *ptq, const qn_ptq_pass_fn *passes, size_t n, qn_error *err)
{
    for (size_t i = 0; i < n; i++) {
        QN_TRY(qn_ptq_run_pass(ptq, passes[i], err));
    }
    return qn_graph_verify(ptq->graph, err);
}

/* Some limits of the integer engine show only when it plans a network: what it cannot run is refused here, not later. */
static qn_status try_integer_engine(const qn_model *result, qn_error *err)
{
    qn_program_options options;
    qn_program *program = NULL;
    QN_TRY(qn_program_options_init(&options, QN_ENGINE_INTEGER, err));
    qn_status status = qn_program_create(&program, result, &options, err);
    qn_program_free(program);
    return status;
}

static qn_status quantize(qn_model *result, const qn_model *model, const qn_calibration *calibration,
                          qn_quantize_report **report, qn_error *err)
{
    QN_TRY(check_model(model, err));
    QN_TRY(check_calibration(model, calibration, err));
    QN_TRY(qn_graph_clone(&result->graph, &model->graph, err));
    qn_ptq ptq = {.graph = &result->graph, .calibration = calibration};
    qn_status status = run_passes(&ptq, minmax_int8.passes, minmax_int8.n_passes, err);
    if (status == QN_OK) {
        status = try_integer_engine(result, err);
    }
    if (status == QN_OK) {
        status = record(&result->graph, &minmax_int8, model->graph.sha256, calibration, err);
    }
    if (status == QN_OK) {
        status = record_preprocess(result, calibration, err);
    }
    if (status == QN_OK && report != NULL) {
        status = qn_ptq_report_make(report, &ptq, &minmax_int8, err);
    }
    qn_arena_free(&ptq.scratch);
    result->graph.sha256[0] = '\0'; /* that was of the float file */
    return status;
}

qn_status qn_quantize_check(const qn_model *model, qn_error *err)
{
    qn_graph copy;
    QN_TRY(check_model(model, err));
    QN_TRY(qn_graph_clone(&copy, &model->graph, err));
    qn_ptq ptq = {.graph = &copy};
    qn_status status = run_passes(&ptq, minmax_int8.passes, minmax_int8.n_forms, err);
    qn_arena_free(&ptq.scratch);
    qn_graph_free(&copy);
    return status;
}

qn_status qn_quantize(qn_model **quantized, const qn_model *model, const qn_calibration *calibration,
                      const qn_quantize_options *options, qn_quantize_report **report, qn_error *err)
{
    *quantized = NULL;
    if (report != NULL) {
        *report = NULL;
    }
    if (options != NULL) {
        QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_quantize_options_init", err));
    }
    qn_model *result = qn_alloc(sizeof *result);
    if (result == NULL) {
        return qn_fail_memory(err, model->graph.file, sizeof *result);
    }
    qn_status status = quantize(result, model, calibration, report, err);
    if (status != QN_OK) {
        qn_model_free(result);
        return status;
    }
    *quantized = result;
    return QN_OK;
}
