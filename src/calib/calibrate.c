/* Running a float network over a data set and gathering the range of every value. */
#include "calib/calib.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/threads.h"
#include "calib/sight.h"
#include "engine/feed.h"
#include "graph/model.h"

void qn_calibrate_options_init(qn_calibrate_options *options)
{
    *options = (qn_calibrate_options){.struct_size = sizeof *options, .n_threads = qn_processor_count()};
}

typedef struct gathering {
    const qn_model *model;
    const qn_dataset *data;
    const qn_program *program;
    qn_sight_plan plan;
    int n_workers;
    qn_sight *sights; /* per worker */
    qn_watcher *watchers;
    atomic_bool not_finite; /* something was */
} gathering;

static qn_status allocate(gathering *g, qn_cpu cpu, qn_error *err)
{
    QN_TRY(qn_sight_plan_make(&g->plan, g->program, qn_observe_kernels_for(cpu), err));
    g->sights = qn_alloc((size_t)g->n_workers * sizeof *g->sights);
    g->watchers = qn_alloc((size_t)g->n_workers * sizeof *g->watchers);
    if (g->sights == NULL || g->watchers == NULL) {
        return qn_fail_memory(err, NULL, (size_t)g->n_workers * sizeof *g->sights);
    }
    for (int w = 0; w < g->n_workers; w++) {
        QN_TRY(qn_sight_make(&g->sights[w], &g->plan, err));
        g->watchers[w] = (qn_watcher){qn_sight_show, &g->sights[w]};
    }
    return QN_OK;
}

static void release(gathering *g)
{
    for (int w = 0; g->sights != NULL && w < g->n_workers; w++) {
        qn_sight_free(&g->sights[w]);
    }
    qn_free(g->sights);
    qn_free(g->watchers);
    qn_sight_plan_free(&g->plan);
}

static qn_status check_batch(void *ctx, const qn_feed_batch *batch, qn_error *err)
{
    gathering *g = ctx;
    const qn_sight *s = &g->sights[batch->worker];
    if (s->missing > 0) {
        return qn_fail_memory(err, g->model->graph.file, s->missing);
    }
    if (!s->finite) {
        atomic_store(&g->not_finite, true);
        return qn_fail(err, QN_ERANGE, g->model->graph.file, "a value is NaN or infinite");
    }
    return QN_OK;
}

/* Mean and variance of n elements. The variance of equal elements is 0, however the squares were rounded. */
static void fill_moments(qn_range_arrays *arrays, int64_t c, double sum, double squares, int64_t n)
{
    double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    bool constant = arrays->channel_min[c] == arrays->channel_max[c];
    arrays->mean[c] = constant ? (double)arrays->channel_min[c] : mean;
    arrays->variance[c] = constant || variance < 0.0 ? 0.0 : variance;
}

/* The range of entry k, of which everything was gathered into `s`. */
static qn_status conclude_entry(const gathering *g, const qn_sight *s, size_t k, qn_calibration *calibration,
                                qn_error *err)
{
    const qn_watched *watched = &g->program->watch[k];
    const qn_sight_entry *entry = &g->plan.entries[k];
    const qn_tally *tally = &s->tallies[entry->positive ? g->plan.entries[watched->from].tally : entry->tally];
    bool has_channels = watched->rank >= 2;
    qn_range *range;
    qn_range_arrays arrays;
    QN_TRY(qn_calibration_add_arrays(calibration, g->model->graph.values[watched->value].name,
                                     has_channels ? watched->channels : 0, true, &range, &arrays, err));
    range->min = INFINITY;
    range->max = -INFINITY;
    for (int64_t c = 0; c < watched->channels; c++) {
        float min = s->min[entry->at + c], max = s->max[entry->at + c];
        range->min = min < range->min ? min : range->min;
        range->max = max > range->max ? max : range->max;
        if (has_channels) {
            arrays.absmax[c] = fabsf(min) > fabsf(max) ? fabsf(min) : fabsf(max);
            arrays.channel_min[c] = min;
            arrays.channel_max[c] = max;
            fill_moments(&arrays, c, qn_sum_value(&s->sums[entry->at + c]), qn_sum_value(&s->squares[entry->at + c]),
                         tally->n / watched->channels);
        }
    }
    qn_histogram *histogram;
    QN_TRY(qn_tally_histogram(&histogram, tally, entry->positive, range->min, range->max, err));
    qn_calibration_keep(calibration, range, histogram);
    return QN_OK;
}

/* Where the numbers come from. */
static qn_status record(qn_calibration *calibration, const qn_model *model, const qn_dataset *data, qn_error *err)
{
    const qn_graph *graph = &model->graph;
    calibration->version = qn_arena_string(&calibration->arena, qn_version());
    calibration->model_file = qn_arena_string(&calibration->arena, graph->file != NULL ? graph->file : "");
    calibration->data_file = qn_arena_string(&calibration->arena, qn_dataset_name(data));
    if (calibration->version == NULL || calibration->model_file == NULL || calibration->data_file == NULL) {
        return qn_fail_memory(err, NULL, strlen(qn_dataset_name(data)));
    }
    memcpy(calibration->model_sha256, graph->sha256, sizeof calibration->model_sha256);
    QN_TRY(qn_dataset_sha256(data, calibration->data_sha256, err));
    calibration->n_items = qn_dataset_count(data);
    calibration->has_preprocess = true;
    calibration->preprocess = *qn_dataset_preprocess(data);
    return QN_OK;
}

static qn_status gather(gathering *g, const qn_calibrate_options *options, qn_cpu cpu, qn_calibration *calibration,
                        qn_error *err)
{
    QN_TRY(allocate(g, cpu, err));
    qn_feed feed = {.program = g->program,
                    .data = g->data,
                    .n_threads = g->n_workers,
                    .progress = options->progress,
                    .progress_ctx = options->progress_ctx,
                    .each = check_batch,
                    .ctx = g,
                    .watchers = g->watchers};
    QN_TRY(qn_feed_run(&feed, NULL, err));
    for (int w = 1; w < g->n_workers; w++) { /* exact in any order */
        qn_sight_join(&g->sights[0], &g->sights[w]);
    }
    qn_sight_derive(&g->sights[0]);
    for (size_t k = 0; k < g->program->n_watch; k++) {
        QN_TRY(conclude_entry(g, &g->sights[0], k, calibration, err));
    }
    return record(calibration, g->model, g->data, err);
}

/* Whether every value has the items of a batch along its first axis. Attention may have them along the second, which is
 * taken for channels; such networks are seen item by item. */
static bool items_lead(const qn_graph *graph)
{
    qn_binding one = {0}, two = {0};
    bool lead = true;
    if (qn_graph_bind(&one, graph, 1, NULL) == QN_OK && qn_graph_bind(&two, graph, 2, NULL) == QN_OK) {
        for (size_t v = 0; v < graph->n_values; v++) {
            const qn_bound_value *a = &one.values[v], *b = &two.values[v];
            for (int i = 1; b->known == NULL && i < a->rank; i++) {
                lead = lead && a->rank == b->rank && a->dims[i] == b->dims[i];
            }
        }
    }
    qn_binding_free(&one);
    qn_binding_free(&two);
    return lead;
}

qn_status qn_calibrate(qn_calibration **calibration, const qn_model *model, const qn_dataset *data,
                       const qn_calibrate_options *options, qn_error *err)
{
    *calibration = NULL;
    qn_calibrate_options defaults;
    if (options == NULL) {
        qn_calibrate_options_init(&defaults);
        options = &defaults;
    }
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_calibrate_options_init", err));
    qn_program_options program_options;
    QN_TRY(qn_program_options_init(&program_options, QN_ENGINE_FLOAT, err));
    program_options.batch = options->batch > 0 ? options->batch : program_options.batch;
    program_options.batch = items_lead(&model->graph) ? program_options.batch : 1;
    qn_program *program = NULL;
    QN_TRY(qn_program_create_watched(&program, model, &program_options, err));
    qn_calibration *result = qn_alloc(sizeof *result);
    qn_status status =
        result == NULL ? qn_fail_memory(err, NULL, sizeof *result) : qn_feed_check_inputs(program, data, err);
    gathering g = {
        .model = model, .data = data, .program = program, .n_workers = options->n_threads > 1 ? options->n_threads : 1};
    if (status == QN_OK) {
        status = gather(&g, options, program_options.cpu, result, err);
    }
    if (atomic_load(&g.not_finite)) {
        qn_error_init(err);
        status = qn_calibrate_explain(model, data, &program_options, err);
    }
    release(&g);
    qn_program_free(program);
    if (status != QN_OK) {
        qn_calibration_free(result);
        return status;
    }
    *calibration = result;
    return QN_OK;
}
