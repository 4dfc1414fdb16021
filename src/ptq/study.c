/* What every study shares: set-up, one trial, progress over many. */
#include "ptq/study.h"

#include <string.h>

#include "base/threads.h"

qn_status qn_study_options_init(qn_study_options *options, qn_error *err)
{
    *options = (qn_study_options){.struct_size = sizeof *options};
    return qn_cpu_from_environment(&options->cpu, NULL, err);
}

static bool tell(void *ctx, int64_t done, int64_t total)
{
    const qn_study *study = ctx;
    const qn_study_options *options = &study->options;
    return options->progress(options->progress_ctx, study->step * total + done, study->n_steps * total);
}

/* The sets that every quantization has, so that more can follow them. */
static qn_status copy_sets(qn_study *study, const qn_quantize_options *how, qn_error *err)
{
    study->how = *how;
    study->how.keep_float = NULL;
    study->how.n_keep_float = 0;
    study->sets = qn_arena_array(&study->arena, how->n_sets + how->n_keep_float + 1, sizeof *study->sets);
    if (study->sets == NULL) {
        return qn_fail_memory(err, NULL, how->n_sets);
    }
    for (size_t i = 0; i < how->n_sets; i++) {
        study->sets[study->n_sets++] = how->sets[i];
    }
    for (size_t i = 0; i < how->n_keep_float; i++) {
        study->sets[study->n_sets++] = (qn_quantize_set){how->keep_float[i], "keep=float"};
    }
    study->how.sets = study->sets;
    study->how.n_sets = study->n_sets;
    return QN_OK;
}

/* Has every layer coded weights and a coded input? Others are simulated: exact integers beside float layers would tell
 * nothing more, and take longer. */
static bool is_coded_throughout(const qn_graph *graph)
{
    bool coded = true;
    for (size_t n = 0; n < graph->n_nodes && coded; n++) {
        const qn_node *node = &graph->nodes[n];
        const bool layer = node->op != QN_OP_REMOVED && qn_ptq_rule_of(node->op)->has_weights && node->n_inputs > 1 &&
                           graph->values[node->inputs[1]].constant != NULL;
        coded = !layer ||
                (graph->values[node->inputs[1]].quantizer != NULL && graph->values[node->inputs[0]].quantizer != NULL);
    }
    return coded;
}

static qn_status evaluate(qn_study *study, const qn_model *model, const qn_tensor *against, qn_study_result *result,
                          qn_tensor *logits, qn_error *err)
{
    qn_evaluate_options options;
    QN_TRY(qn_evaluate_options_init(&options, model, err));
    if (qn_model_is_quantized(model) && (study->simulate || !is_coded_throughout(&model->graph))) {
        options.engine = QN_ENGINE_SIMULATE;
    }
    options.cpu = study->options.cpu;
    options.n_threads = study->options.n_threads;
    options.labels = study->options.labels;
    options.labels_name = study->options.labels_name;
    options.against_logits = against;
    options.progress = study->options.progress != NULL ? tell : NULL;
    options.progress_ctx = study;
    result->engine = options.engine;
    return qn_evaluate(&result->evaluation, model, study->options.eval_data, &options, logits, err);
}

static qn_status calibrate(qn_study *study, qn_error *err)
{
    study->calibration = study->options.calibration;
    if (study->calibration != NULL) {
        return QN_OK;
    }
    qn_calibrate_options options;
    qn_calibrate_options_init(&options);
    options.n_threads = study->options.n_threads;
    options.progress = study->options.progress;
    options.progress_ctx = study->options.progress_ctx;
    QN_TRY(qn_calibrate(&study->own, study->model, study->options.data, &options, err));
    study->calibration = study->own;
    return QN_OK;
}

static qn_status set_up(qn_study *study, const qn_model *model, qn_error *err)
{
    qn_quantize_options defaults;
    qn_quantize_options_init(&defaults);
    qn_study_options *options = &study->options;
    options->n_threads = options->n_threads > 0 ? options->n_threads : qn_processor_count();
    if (options->eval_data == NULL) {
        options->eval_data = options->data;
    }
    if (options->eval_data == NULL || (options->data == NULL && options->calibration == NULL)) {
        return qn_fail(err, QN_EINVAL, model->graph.file,
                       "a study needs data to evaluate on, and a calibration or data to calibrate on");
    }
    QN_TRY(qn_quantize_check(model, options->how, err));
    QN_TRY(copy_sets(study, options->how != NULL ? options->how : &defaults, err));
    study->model = qn_alloc(sizeof *study->model);
    if (study->model == NULL) {
        return qn_fail_memory(err, model->graph.file, sizeof *study->model);
    }
    QN_TRY(qn_graph_clone(&study->model->graph, &model->graph, err));
    QN_TRY(qn_ptq_name_nodes_apart(&study->model->graph, err));
    QN_TRY(calibrate(study, err));
    study->n_steps = 1;
    qn_study_result reference = {0};
    QN_TRY(evaluate(study, study->model, NULL, &reference, &study->logits, err));
    study->reference = reference.evaluation;
    return QN_OK;
}

qn_status qn_study_create(qn_study **study, const qn_model *model, const qn_study_options *options, qn_error *err)
{
    *study = NULL;
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_study_options_init", err));
    qn_study *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    made->options = *options;
    qn_status status = set_up(made, model, err);
    if (status != QN_OK) {
        qn_study_free(made);
        return status;
    }
    *study = made;
    return QN_OK;
}

void qn_study_free(qn_study *study)
{
    if (study != NULL) {
        qn_tensor_free(&study->logits);
        qn_calibration_free(study->own);
        qn_model_free(study->model);
        qn_arena_free(&study->arena);
        qn_free(study);
    }
}

void qn_study_set_progress(qn_study *study, qn_progress_fn progress, void *progress_ctx)
{
    study->options.progress = progress;
    study->options.progress_ctx = progress_ctx;
}

const qn_evaluation *qn_study_reference(const qn_study *study)
{
    return &study->reference;
}

qn_status qn_study_try(qn_study *study, const qn_quantize_options *how, qn_study_result *result, qn_model **quantized,
                       qn_quantize_report **report, qn_error *err)
{
    if (quantized != NULL) {
        *quantized = NULL;
    }
    qn_quantize_options options = *how;
    options.data = study->options.data;
    options.n_threads = study->options.n_threads;
    options.progress = NULL;
    qn_model *made = NULL;
    if (study->quick && !study->needs_data) {
        qn_error reason;
        qn_error_init(&reason);
        options.data = NULL;
        study->needs_data =
            qn_quantize(&made, study->model, study->calibration, &options, report, &reason) == QN_EINVAL &&
            study->options.data != NULL;
        if (made == NULL && !study->needs_data) {
            return qn_fail(err, reason.status, reason.where, "%s", reason.message);
        }
        options.data = study->options.data;
    }
    if (made == NULL) {
        QN_TRY(qn_quantize(&made, study->model, study->calibration, &options, report, err));
    }
    qn_status status = evaluate(study, made, &study->logits, result, NULL, err);
    status = status == QN_OK ? qn_model_measure(&result->size, made, err) : status;
    study->step += study->step + 1 < study->n_steps ? 1 : 0;
    if (status == QN_OK && quantized != NULL) {
        *quantized = made;
        return QN_OK;
    }
    qn_model_free(made);
    if (status != QN_OK && report != NULL) {
        qn_quantize_report_free(*report);
        *report = NULL;
    }
    return status;
}

qn_status qn_study_try_sets(qn_study *study, const qn_quantize_set *sets, size_t n_sets, qn_study_result *result,
                            qn_model **quantized, qn_quantize_report **report, qn_error *err)
{
    qn_quantize_set *all = qn_alloc((study->n_sets + n_sets + 1) * sizeof *all);
    if (all == NULL) {
        return qn_fail_memory(err, NULL, n_sets * sizeof *all);
    }
    memcpy(all, study->sets, study->n_sets * sizeof *all);
    if (n_sets > 0) {
        memcpy(all + study->n_sets, sets, n_sets * sizeof *all);
    }
    qn_quantize_options how = study->how;
    how.sets = all;
    how.n_sets = study->n_sets + n_sets;
    qn_status status = qn_study_try(study, &how, result, quantized, report, err);
    qn_free(all);
    return status;
}
