/* Evaluation: top-1, SQNR and argmax agreement of a network on data.
 *
 * Workers write the logits of their items into one tensor; everything that is counted or summed is counted afterwards,
 * item by item in order, so that the numbers do not depend on threads or batches. */
#include "quern/evaluate.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "engine/feed.h"
#include "engine/labels.h"
#include "graph/model.h"

qn_status qn_evaluate_options_init(qn_evaluate_options *options, const qn_model *model, qn_error *err)
{
    *options = (qn_evaluate_options){.struct_size = sizeof *options, .n_threads = qn_processor_count()};
    QN_TRY(qn_engine_choose(&options->engine, model, err));
    return qn_cpu_from_environment(&options->cpu, NULL, err);
}

/* Progress over one or two passes, told as one. */
typedef struct {
    const qn_evaluate_options *options;
    int64_t before, total;
} pass_progress;

static bool tell(void *ctx, int64_t done, int64_t total)
{
    const pass_progress *pass = ctx;
    (void)total;
    return pass->options->progress(pass->options->progress_ctx, pass->before + done, pass->total);
}

typedef struct {
    float *logits;
    int64_t n_classes;
} logits_sink;

static qn_status keep_logits(void *ctx, const qn_feed_batch *batch, qn_error *err)
{
    const logits_sink *sink = ctx;
    (void)err;
    memcpy(sink->logits + batch->first * sink->n_classes, batch->outputs,
           (size_t)(batch->n * sink->n_classes) * sizeof *sink->logits);
    return QN_OK;
}

/* Every logit must be a number, or argmax and SQNR mean nothing. */
static qn_status check_finite(const qn_program *program, const qn_dataset *data, const qn_tensor *logits, qn_error *err)
{
    int64_t n = qn_tensor_count(logits), n_classes = qn_program_output_count(program, 0);
    const float *x = logits->data;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return qn_fail(err, QN_ERANGE, program->graph.file, "output '%s' is %s on item %lld of %s",
                           program->graph.values[program->outputs[0].value].name, isnan(x[i]) ? "NaN" : "infinite",
                           (long long)(i / n_classes), qn_dataset_name(data));
        }
    }
    return QN_OK;
}

/* Room for [N, ...] of the first output. */
static qn_status logits_alloc(qn_tensor *logits, const qn_program *program, const qn_dataset *data, qn_error *err)
{
    int64_t dims[QN_MAX_RANK + 1] = {qn_dataset_count(data)};
    int rank = 1 + qn_program_output_shape(program, 0, dims + 1);
    if (qn_program_output_count(program, 0) < 1) {
        return qn_fail(err, QN_ESHAPE, program->graph.file, "the first output has no elements");
    }
    return qn_tensor_alloc(logits, QN_DTYPE_F32, rank, dims, err);
}

static qn_status run_program(const qn_program *program, const qn_dataset *data, pass_progress *pass, qn_tensor *logits,
                             double *images_per_second, qn_error *err)
{
    QN_TRY(qn_feed_check_inputs(program, data, err));
    QN_TRY(logits_alloc(logits, program, data, err));
    logits_sink sink = {logits->data, qn_program_output_count(program, 0)};
    qn_feed feed = {.program = program,
                    .data = data,
                    .n_threads = pass->options->n_threads,
                    .progress = pass->options->progress != NULL ? tell : NULL,
                    .progress_ctx = pass,
                    .each = keep_logits,
                    .ctx = &sink};
    double seconds;
    QN_TRY(qn_feed_run(&feed, &seconds, err));
    *images_per_second = seconds > 0 ? (double)qn_dataset_count(data) / seconds : 0;
    return check_finite(program, data, logits, err);
}

static qn_status run_model(const qn_model *model, qn_engine engine, const qn_dataset *data, pass_progress *pass,
                           qn_tensor *logits, double *images_per_second, qn_error *err)
{
    if (engine == QN_ENGINE_INTEGER && !qn_model_is_quantized(model)) {
        return qn_fail(err, QN_EUNSUPPORTED, model->graph.file, "is not quantized; quantize the model first");
    }
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, engine, err));
    options.cpu = pass->options->cpu;
    if (pass->options->batch > 0) {
        options.batch = pass->options->batch;
    }
    qn_program *program = NULL;
    QN_TRY(qn_program_create(&program, model, &options, err));
    qn_status status = run_program(program, data, pass, logits, images_per_second, err);
    qn_program_free(program);
    return status;
}

static qn_status count_correct(qn_evaluation *result, const qn_evaluate_options *options, const qn_tensor *logits,
                               qn_error *err)
{
    int64_t n_classes = qn_tensor_count(logits) / result->n;
    const float *x = logits->data;
    for (int64_t i = 0; i < result->n; i++) {
        int64_t label = qn_label_at(options->labels, i);
        if (label < 0 || label >= n_classes) {
            return qn_fail(err, QN_ERANGE, options->labels_name != NULL ? options->labels_name : "labels",
                           "label of item %lld is %lld, but the network has classes 0 to %lld", (long long)i,
                           (long long)label, (long long)(n_classes - 1));
        }
        result->correct += qn_argmax(x + i * n_classes, n_classes) == label;
    }
    result->has_labels = true;
    result->top1 = (double)result->correct / (double)result->n;
    return QN_OK;
}

static qn_status compare(qn_evaluation *result, const qn_model *model, const char *against, const qn_tensor *logits,
                         const qn_tensor *other, qn_error *err)
{
    int64_t n_classes = qn_tensor_count(logits) / result->n, n_other = qn_tensor_count(other) / result->n;
    if (n_classes != n_other) {
        return qn_fail(err, QN_ESHAPE, model->graph.file, "has %lld logits for each item, but %s has %lld",
                       (long long)n_classes, against, (long long)n_other);
    }
    const float *q = logits->data, *f = other->data;
    double signal = 0, noise = 0;
    for (int64_t i = 0; i < result->n * n_classes; i++) {
        double difference = (double)f[i] - (double)q[i];
        signal += (double)f[i] * (double)f[i];
        noise += difference * difference;
    }
    for (int64_t i = 0; i < result->n; i++) {
        result->n_agree += qn_argmax(q + i * n_classes, n_classes) == qn_argmax(f + i * n_classes, n_classes);
    }
    result->has_against = true;
    result->sqnr_db = noise > 0 ? 10 * log10(signal / noise) : (double)INFINITY;
    result->argmax_agree = (double)result->n_agree / (double)result->n;
    return QN_OK;
}

static qn_status evaluate(qn_evaluation *result, const qn_model *model, const qn_dataset *data,
                          const qn_evaluate_options *options, qn_tensor *logits, qn_tensor *other, qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_evaluate_options_init", err));
    QN_TRY(qn_labels_check(options->labels, options->labels_name, data, err));
    result->n = qn_dataset_count(data);
    const qn_model *against = options->against_logits == NULL ? options->against : NULL;
    pass_progress pass = {options, 0, against != NULL ? 2 * result->n : result->n};
    QN_TRY(run_model(model, options->engine, data, &pass, logits, &result->images_per_second, err));
    if (options->labels != NULL) {
        QN_TRY(count_correct(result, options, logits, err));
    }
    if (options->against_logits != NULL) {
        return compare(result, model, "what it is compared with", logits, options->against_logits, err);
    }
    if (against == NULL) {
        return QN_OK;
    }
    pass.before = result->n;
    qn_engine engine;
    QN_TRY(qn_engine_choose(&engine, against, err));
    QN_TRY(run_model(against, engine, data, &pass, other, &result->against_images_per_second, err));
    return compare(result, model, against->graph.file, logits, other, err);
}

qn_status qn_evaluate(qn_evaluation *result, const qn_model *model, const qn_dataset *data,
                      const qn_evaluate_options *options, qn_tensor *logits, qn_error *err)
{
    qn_evaluation measured = {0};
    qn_tensor own = {0}, other = {0};
    qn_status status = evaluate(&measured, model, data, options, &own, &other, err);
    qn_tensor_free(&other);
    if (status == QN_OK && logits != NULL) {
        *logits = own;
    } else {
        qn_tensor_free(&own);
    }
    if (status == QN_OK) {
        *result = measured;
    }
    return status;
}
