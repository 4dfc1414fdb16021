/* Answers of the network before it was quantized: the error of quantization, apart from that of faults. */
#include <math.h>

#include "base/threads.h"
#include "engine/feed.h"
#include "fault/campaign.h"
#include "graph/model.h"

typedef struct {
    qn_workspace *workspace;
    float *input;
    float **outputs;
} float_worker;

typedef struct {
    qn_campaign_site *site;
    qn_program *program;
    float_worker *workers;
} float_run;

static void compare_image(qn_campaign_site *site, int64_t image, const float *logits)
{
    const float *quantized = site->outputs + image * site->output_count;
    qn_golden answer;
    qn_golden_make(&answer, logits, (int)site->logits_count, -1);
    double sum = 0;
    for (int64_t i = 0; i < site->logits_count; i++) {
        const double difference = (double)logits[i] - (double)quantized[i];
        sum += difference * difference;
    }
    site->images[image].float_top1 = answer.top1;
    site->images[image].float_probability = answer.probability;
    site->images[image].float_rmse = sqrt(sum / (double)site->logits_count);
}

static qn_status run_batch(void *ctx, int worker_index, int64_t item, qn_error *err)
{
    float_run *run = ctx;
    float_worker *worker = &run->workers[worker_index];
    const int64_t batch = qn_program_batch(run->program), first = item * batch, left = run->site->n_images - first;
    const int64_t n = left < batch ? left : batch;
    const float *inputs[1] = {worker->input};
    QN_TRY(qn_dataset_read(run->site->options->data, first, n, worker->input, err));
    QN_TRY(qn_program_run(run->program, worker->workspace, inputs, n, worker->outputs, err));
    for (int64_t i = 0; i < n; i++) {
        compare_image(run->site, first + i, worker->outputs[0] + i * run->site->logits_count);
    }
    return QN_OK;
}

static qn_status prepare(float_worker *worker, const qn_program *program, qn_arena *arena, qn_error *err)
{
    const size_t batch = (size_t)qn_program_batch(program), n_outputs = qn_program_n_outputs(program);
    QN_TRY(qn_workspace_create(&worker->workspace, program, err));
    worker->input = qn_arena_array(arena, batch * (size_t)qn_program_input_count(program, 0), sizeof(float));
    worker->outputs = qn_arena_array(arena, n_outputs, sizeof *worker->outputs);
    bool made = worker->input != NULL && worker->outputs != NULL;
    for (size_t i = 0; made && i < n_outputs; i++) {
        worker->outputs[i] = qn_arena_array(arena, batch * (size_t)qn_program_output_count(program, i), sizeof(float));
        made = worker->outputs[i] != NULL;
    }
    return made ? QN_OK : qn_fail_memory(err, NULL, batch * sizeof(float));
}

static qn_status run_all(float_run *run, qn_arena *arena, qn_error *err)
{
    const qn_campaign_options *o = run->site->options;
    const char *file = o->float_model->graph.file;
    QN_TRY(qn_feed_check(run->program, o->data, err));
    if (qn_program_output_count(run->program, 0) != run->site->logits_count) {
        return qn_fail(err, QN_ESHAPE, file, "has %lld logits for each image, but %s has %lld",
                       (long long)qn_program_output_count(run->program, 0), o->model->graph.file,
                       (long long)run->site->logits_count);
    }
    run->workers = qn_arena_array(arena, (size_t)o->n_threads, sizeof *run->workers);
    if (run->workers == NULL) {
        return qn_fail_memory(err, file, sizeof *run->workers);
    }
    qn_status status = QN_OK;
    for (int w = 0; status == QN_OK && w < o->n_threads; w++) {
        status = prepare(&run->workers[w], run->program, arena, err);
    }
    if (status == QN_OK) {
        const int64_t n_batches = (run->site->n_images - 1) / qn_program_batch(run->program) + 1;
        status = qn_parallel_for(o->n_threads, n_batches, run_batch, run, err);
    }
    for (int w = 0; w < o->n_threads; w++) {
        qn_workspace_free(run->workers[w].workspace);
    }
    return status;
}

qn_status qn_campaign_site_float(qn_campaign_site *site, qn_error *err)
{
    const qn_model *model = site->options->float_model;
    if (model == NULL) {
        return QN_OK;
    }
    qn_engine engine;
    qn_program_options options;
    QN_TRY(qn_engine_choose(&engine, model, err));
    QN_TRY(qn_program_options_init(&options, engine, err));
    options.cpu = site->options->cpu;
    float_run run = {.site = site};
    qn_arena arena = {0};
    QN_TRY(qn_program_create(&run.program, model, &options, err));
    const qn_status status = run_all(&run, &arena, err);
    qn_program_free(run.program);
    qn_arena_free(&arena);
    return status;
}
