/* Running a float network over a data set and gathering the range of every value. */
#include "calib/calib.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/threads.h"
#include "engine/feed.h"
#include "graph/model.h"

void qn_calibrate_options_init(qn_calibrate_options *options)
{
    *options = (qn_calibrate_options){.struct_size = sizeof *options, .n_threads = qn_processor_count()};
}

/* What one worker has seen: min[n_shown] and max[n_shown] of the channels of all values that are shown. */
typedef struct {
    const struct gathering *gathering;
    float *min, *max;
    bool ordered; /* no NaN */
} sight;

typedef struct gathering {
    const qn_model *model;
    const qn_dataset *data;
    const qn_program *program;
    const qn_observe_kernels *kernels;
    int64_t *offset;             /* per entry of program->watch: its first channel; those that are shown come first */
    int64_t n_shown, n_channels; /* channels of values that are shown, of all */
    int n_workers;
    sight *sights; /* per worker */
    qn_watcher *watchers;
    float *min, *max;       /* [n_channels], of all workers */
    atomic_bool not_finite; /* something was */
} gathering;

/* Places for the entries that are shown, or for those that follow from others. */
static qn_status place(gathering *g, bool shown, qn_error *err)
{
    for (size_t k = 0; k < g->program->n_watch; k++) {
        const qn_watched *watched = &g->program->watch[k];
        if ((watched->from < 0) != shown) {
            continue;
        }
        g->offset[k] = g->n_channels;
        if (__builtin_add_overflow(g->n_channels, watched->channels, &g->n_channels)) {
            return qn_fail(err, QN_ELIMIT, g->model->graph.values[watched->value].name, "too many channels");
        }
    }
    return QN_OK;
}

/* An empty range for each of n channels. */
static qn_status ranges_alloc(float **min, float **max, int64_t n, qn_error *err)
{
    size_t n_bytes;
    if (!qn_mul_size((size_t)n, sizeof(float), &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "too many channels");
    }
    *min = qn_alloc(n_bytes);
    *max = qn_alloc(n_bytes);
    if (*min == NULL || *max == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    for (int64_t c = 0; c < n; c++) {
        (*min)[c] = INFINITY;
        (*max)[c] = -INFINITY;
    }
    return QN_OK;
}

/* One value of one batch, as soon as it is made. */
static void observe(void *ctx, size_t index, const qn_value_view *view)
{
    sight *s = ctx;
    int64_t at = s->gathering->offset[index];
    for (int64_t i = 0; i < view->n; i++) {
        if (!qn_observe_item(s->gathering->kernels, view, i, s->min + at, s->max + at)) {
            s->ordered = false;
        }
    }
}

static qn_status allocate(gathering *g, qn_error *err)
{
    g->offset = qn_alloc(g->program->n_watch * sizeof *g->offset);
    g->sights = qn_alloc((size_t)g->n_workers * sizeof *g->sights);
    g->watchers = qn_alloc((size_t)g->n_workers * sizeof *g->watchers);
    if (g->offset == NULL || g->sights == NULL || g->watchers == NULL) {
        return qn_fail_memory(err, NULL, g->program->n_watch * sizeof *g->offset);
    }
    QN_TRY(place(g, true, err));
    g->n_shown = g->n_channels;
    QN_TRY(place(g, false, err));
    for (int w = 0; w < g->n_workers; w++) {
        sight *s = &g->sights[w];
        *s = (sight){.gathering = g, .ordered = true};
        QN_TRY(ranges_alloc(&s->min, &s->max, g->n_shown, err));
        g->watchers[w] = (qn_watcher){observe, s};
    }
    return ranges_alloc(&g->min, &g->max, g->n_channels, err);
}

static void release(gathering *g)
{
    for (int w = 0; g->sights != NULL && w < g->n_workers; w++) {
        qn_free(g->sights[w].min);
        qn_free(g->sights[w].max);
    }
    qn_free(g->sights);
    qn_free(g->watchers);
    qn_free(g->offset);
    qn_free(g->min);
    qn_free(g->max);
}

static bool all_finite(const float *x, int64_t n)
{
    uint32_t found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < n; i++) {
        found |= (uint32_t) !(fabsf(x[i]) < INFINITY);
    }
    return found == 0;
}

static qn_status fail_not_finite(gathering *g, qn_error *err)
{
    atomic_store(&g->not_finite, true);
    return qn_fail(err, QN_ERANGE, g->model->graph.file, "a value is NaN or infinite");
}

static qn_status check_batch(void *ctx, const qn_feed_batch *batch, qn_error *err)
{
    gathering *g = ctx;
    const sight *s = &g->sights[batch->worker];
    bool finite = s->ordered && all_finite(s->min, g->n_shown) && all_finite(s->max, g->n_shown);
    return finite ? QN_OK : fail_not_finite(g, err);
}

/* Join the workers' ranges, which is exact in any order; those with nothing to do have seen nothing. */
static void join(gathering *g)
{
    for (int w = 0; w < g->n_workers; w++) {
        for (int64_t c = 0; c < g->n_shown; c++) {
            g->min[c] = g->sights[w].min[c] < g->min[c] ? g->sights[w].min[c] : g->min[c];
            g->max[c] = g->sights[w].max[c] > g->max[c] ? g->sights[w].max[c] : g->max[c];
        }
    }
}

static float follow(const qn_watched *watched, int64_t c, float x)
{
    float y = watched->scale != NULL ? x * watched->scale[c] : x;
    y = watched->shift != NULL ? y + watched->shift[c] : y;
    y = y > watched->lo ? y : watched->lo;
    y = y < watched->hi ? y : watched->hi;
    return y + 0.0f; /* -0 becomes +0 */
}

/* The ranges of values that follow from others: those of monotonic functions are the functions of the ends. */
static qn_status derive(gathering *g, qn_error *err)
{
    for (size_t k = 0; k < g->program->n_watch; k++) {
        const qn_watched *watched = &g->program->watch[k];
        for (int64_t c = 0; watched->from >= 0 && c < watched->channels; c++) {
            float a = follow(watched, c, g->min[g->offset[watched->from] + c]);
            float b = follow(watched, c, g->max[g->offset[watched->from] + c]);
            g->min[g->offset[k] + c] = a < b ? a : b;
            g->max[g->offset[k] + c] = a < b ? b : a;
        }
    }
    return all_finite(g->min, g->n_channels) && all_finite(g->max, g->n_channels) ? QN_OK : fail_not_finite(g, err);
}

static qn_status conclude(const gathering *g, qn_calibration *calibration, qn_error *err)
{
    for (size_t k = 0; k < g->program->n_watch; k++) {
        const qn_watched *watched = &g->program->watch[k];
        bool has_channels = watched->rank >= 2;
        qn_range *range;
        float *absmax;
        QN_TRY(qn_calibration_add(calibration, g->model->graph.values[watched->value].name,
                                  has_channels ? watched->channels : 0, &range, &absmax, err));
        range->min = INFINITY;
        range->max = -INFINITY;
        for (int64_t c = 0; c < watched->channels; c++) {
            float min = g->min[g->offset[k] + c], max = g->max[g->offset[k] + c];
            range->min = min < range->min ? min : range->min;
            range->max = max > range->max ? max : range->max;
            if (has_channels) {
                absmax[c] = fabsf(min) > fabsf(max) ? fabsf(min) : fabsf(max);
            }
        }
    }
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

static qn_status gather(gathering *g, const qn_calibrate_options *options, qn_calibration *calibration, qn_error *err)
{
    QN_TRY(allocate(g, err));
    qn_feed feed = {.program = g->program,
                    .data = g->data,
                    .n_threads = g->n_workers,
                    .progress = options->progress,
                    .progress_ctx = options->progress_ctx,
                    .each = check_batch,
                    .ctx = g,
                    .watchers = g->watchers};
    QN_TRY(qn_feed_run(&feed, NULL, err));
    join(g);
    QN_TRY(derive(g, err));
    QN_TRY(conclude(g, calibration, err));
    return record(calibration, g->model, g->data, err);
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
    qn_program *program = NULL;
    QN_TRY(qn_program_create_watched(&program, model, &program_options, err));
    qn_calibration *result = qn_alloc(sizeof *result);
    qn_status status = result == NULL ? qn_fail_memory(err, NULL, sizeof *result) : qn_feed_check(program, data, err);
    gathering g = {.model = model,
                   .data = data,
                   .program = program,
                   .kernels = qn_observe_kernels_for(program_options.cpu),
                   .n_workers = options->n_threads > 1 ? options->n_threads : 1};
    if (status == QN_OK) {
        status = gather(&g, options, result, err);
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
