/* Running a float network over a data set and gathering the range of every value. */
#include "calib/calib.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "engine/feed.h"
#include "graph/model.h"

/* Items per run when the caller does not say: all values of one item should stay in the caches until they are observed.
 */
enum { DEFAULT_BATCH = 1 };

void qn_calibrate_options_init(qn_calibrate_options *options)
{
    *options = (qn_calibrate_options){.struct_size = sizeof *options, .n_threads = qn_processor_count()};
}

/* A value to observe: where its channels are in each worker's arrays. */
typedef struct {
    qn_value_id value;
    bool has_channels; /* false: below rank 2, where no axis is the channel axis */
    int64_t offset, n;
    int64_t relu_of; /* offset of the value whose Relu this is, so that it need not be read; -1 for others */
} observed;

typedef struct {
    const qn_model *model;
    const qn_dataset *data;
    const qn_program *program;
    const qn_observe_kernels *kernels;
    observed *values;
    size_t n_values, capacity;
    int64_t n_channels; /* of all values together */
    int n_workers;
    float *min, *max; /* [n_workers][n_channels] */
} gathering;

/* Offset of the observed value, with the same channels, that a Relu makes `id` of; -1 when there is none. Relu is exact and
 * monotonic: the range of its output is the Relu of its input's range. */
static int64_t find_relu_input(const gathering *g, qn_value_id id, int64_t n_channels)
{
    const qn_graph *graph = &g->model->graph;
    int32_t producer = graph->values[id].producer;
    if (producer < 0 || graph->nodes[producer].op != QN_OP_RELU || graph->values[id].quantizer != NULL) {
        return -1;
    }
    for (size_t k = g->n_values; k-- > 0;) { /* nearly always the last */
        const observed *o = &g->values[k];
        if (o->value == graph->nodes[producer].inputs[0]) {
            return o->n != n_channels ? -1 : o->relu_of >= 0 ? o->relu_of : o->offset;
        }
    }
    return -1;
}

/* The values that exist in the program, with their channels. */
static qn_status list_values(gathering *g, const qn_workspace *workspace, const qn_binding *binding, qn_error *err)
{
    const qn_graph *graph = &g->model->graph;
    for (size_t v = 0; v < graph->n_values; v++) {
        const qn_bound_value *bound = &binding->values[v];
        qn_value_view view;
        if (bound->dtype != QN_DTYPE_F32 || bound->known != NULL || bound->n_elems == 0 ||
            !qn_program_view(g->program, workspace, (qn_value_id)v, 1, &view)) {
            continue;
        }
        void *values = g->values;
        QN_TRY(qn_grow(&values, &g->capacity, g->n_values, sizeof *g->values, err));
        g->values = values;
        g->values[g->n_values++] = (observed){(qn_value_id)v, bound->rank >= 2, g->n_channels, view.channels,
                                              find_relu_input(g, (qn_value_id)v, view.channels)};
        if (__builtin_add_overflow(g->n_channels, view.channels, &g->n_channels)) {
            return qn_fail(err, QN_ELIMIT, graph->values[v].name, "too many channels");
        }
    }
    return QN_OK;
}

static qn_status allocate(gathering *g, qn_error *err)
{
    size_t n, n_bytes;
    if (!qn_mul_size((size_t)g->n_workers, (size_t)g->n_channels, &n) || !qn_mul_size(n, sizeof(float), &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "too many channels");
    }
    g->min = qn_alloc(n_bytes);
    g->max = qn_alloc(n_bytes);
    if (g->min == NULL || g->max == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    for (size_t i = 0; i < n; i++) {
        g->min[i] = INFINITY;
        g->max[i] = -INFINITY;
    }
    return QN_OK;
}

static bool observe_item(const gathering *g, const observed *o, const qn_value_view *view, int64_t item, float *min,
                         float *max)
{
    bool finite = qn_observe_item(g->kernels, view, item, min, max);
    for (int64_t c = 0; c < o->n; c++) {
        finite &= fabsf(min[c]) < INFINITY && fabsf(max[c]) < INFINITY;
    }
    return finite;
}

/* Something in the batch is not finite: name the first item that has it, and the first such value in it. */
static qn_status fail_not_finite(const gathering *g, const qn_feed_batch *batch, float *min, float *max, qn_error *err)
{
    const qn_graph *graph = &g->model->graph;
    for (int64_t i = 0; i < batch->n; i++) {
        for (size_t k = 0; k < g->n_values; k++) {
            const observed *o = &g->values[k];
            qn_value_view view;
            for (int64_t c = 0; c < o->n; c++) {
                min[o->offset + c] = INFINITY;
                max[o->offset + c] = -INFINITY;
            }
            if (qn_program_view(g->program, batch->workspace, o->value, batch->n, &view) && i < view.n &&
                !observe_item(g, o, &view, i, &min[o->offset], &max[o->offset])) {
                char where[QN_ERROR_WHERE_MAX];
                snprintf(where, sizeof where, "%s, value '%s'", graph->file, graph->values[o->value].name);
                return qn_fail(err, QN_ERANGE, where,
                               "is NaN or infinite on item %lld of %s; check the network and the preprocessing",
                               (long long)(batch->first + i), qn_dataset_name(g->data));
            }
        }
    }
    return qn_fail(err, QN_EINTERNAL, NULL, "a value that was not finite is finite now");
}

static qn_status observe_batch(void *ctx, const qn_feed_batch *batch, qn_error *err)
{
    const gathering *g = ctx;
    float *min = g->min + batch->worker * g->n_channels, *max = g->max + batch->worker * g->n_channels;
    for (size_t k = 0; k < g->n_values; k++) {
        const observed *o = &g->values[k];
        qn_value_view view;
        if (o->relu_of >= 0) {
            continue;
        }
        if (!qn_program_view(g->program, batch->workspace, o->value, batch->n, &view) || view.channels != o->n) {
            return qn_fail(err, QN_EINTERNAL, g->model->graph.values[o->value].name,
                           "the value cannot be observed any more");
        }
        bool finite = true;
        for (int64_t i = 0; i < view.n; i++) {
            finite &= observe_item(g, o, &view, i, &min[o->offset], &max[o->offset]);
        }
        if (!finite) {
            return fail_not_finite(g, batch, min, max, err);
        }
    }
    return QN_OK;
}

/* Join the workers' ranges, which is exact in any order. */
static qn_status conclude(const gathering *g, qn_calibration *calibration, qn_error *err)
{
    for (size_t k = 0; k < g->n_values; k++) {
        const observed *o = &g->values[k];
        qn_range *range;
        float *absmax;
        QN_TRY(qn_calibration_add(calibration, g->model->graph.values[o->value].name, o->has_channels ? o->n : 0,
                                  &range, &absmax, err));
        range->min = INFINITY;
        range->max = -INFINITY;
        for (int64_t c = 0; c < o->n; c++) {
            float min = INFINITY, max = -INFINITY;
            for (int w = 0; w < g->n_workers; w++) {
                int64_t at = w * g->n_channels + (o->relu_of >= 0 ? o->relu_of : o->offset) + c;
                min = g->min[at] < min ? g->min[at] : min;
                max = g->max[at] > max ? g->max[at] : max;
            }
            if (o->relu_of >= 0) {
                min = min > 0 ? min : 0;
                max = max > 0 ? max : 0;
            }
            range->min = min < range->min ? min : range->min;
            range->max = max > range->max ? max : range->max;
            if (o->has_channels) {
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
    qn_workspace *workspace = NULL;
    qn_binding binding = {0};
    qn_status status = qn_graph_bind(&binding, &g->model->graph, qn_program_batch(g->program), err);
    if (status == QN_OK) {
        status = qn_workspace_create(&workspace, g->program, err);
    }
    if (status == QN_OK) {
        status = list_values(g, workspace, &binding, err);
    }
    qn_workspace_free(workspace);
    qn_binding_free(&binding);
    if (status != QN_OK) {
        return status;
    }
    QN_TRY(allocate(g, err));
    qn_feed feed = {.program = g->program,
                    .data = g->data,
                    .n_threads = g->n_workers,
                    .progress = options->progress,
                    .progress_ctx = options->progress_ctx,
                    .each = observe_batch,
                    .ctx = g};
    QN_TRY(qn_feed_run(&feed, NULL, err));
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
    program_options.batch = options->batch > 0 ? options->batch : DEFAULT_BATCH;
    program_options.keep_values = true;
    qn_program *program = NULL;
    QN_TRY(qn_program_create(&program, model, &program_options, err));
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
    qn_program_free(program);
    qn_free(g.values);
    qn_free(g.min);
    qn_free(g.max);
    if (status != QN_OK) {
        qn_calibration_free(result);
        return status;
    }
    *calibration = result;
    return QN_OK;
}
