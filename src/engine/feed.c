#include "engine/feed.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/threads.h"

enum { SHAPE_TEXT_MAX = 24 * QN_MAX_RANK };

static const char *shape_text(char text[SHAPE_TEXT_MAX], const int64_t *dims, int rank)
{
    size_t used = (size_t)snprintf(text, SHAPE_TEXT_MAX, "(");
    for (int d = 0; d < rank; d++) {
        used += (size_t)snprintf(text + used, SHAPE_TEXT_MAX - used, d > 0 ? ", %lld" : "%lld", (long long)dims[d]);
    }
    snprintf(text + used, SHAPE_TEXT_MAX - used, ")");
    return text;
}

static bool same_shape(const int64_t *a, int rank_a, const int64_t *b, int rank_b)
{
    bool same = rank_a == rank_b;
    for (int d = 0; same && d < rank_a; d++) {
        same = a[d] == b[d];
    }
    return same;
}

/* Images of one channel may be stored without an axis for it, as MNIST files (N, 28, 28) are. */
static bool fits(const int64_t *has, int has_rank, const int64_t *wants, int wants_rank)
{
    return same_shape(has, has_rank, wants, wants_rank) ||
           (wants_rank == 3 && wants[0] == 1 && same_shape(has, has_rank, wants + 1, wants_rank - 1));
}

/* What to say when the axes of the items are those of the network in the order of another layout. */
static const char *layout_hint(const qn_dataset *data, const int64_t *has, int has_rank, const int64_t *wants,
                               int wants_rank)
{
    if (has_rank != 3 || wants_rank != 3) {
        return "";
    }
    if (qn_dataset_preprocess(data)->layout == QN_LAYOUT_NHWC) {
        bool nchw = has[1] == wants[0] && has[2] == wants[1] && has[0] == wants[2];
        return nchw ? "; that is with layout nhwc, and without it they would fit: the file has channels first" : "";
    }
    bool nhwc = has[0] == wants[1] && has[1] == wants[2] && has[2] == wants[0];
    return nhwc ? "; they look channels-last: with layout nhwc they would fit" : "";
}

static const char *name_of(const qn_graph *graph)
{
    return graph->file != NULL && graph->file[0] != '\0' ? graph->file : "model";
}

qn_status qn_feed_check_items(const qn_graph *graph, const char *input, const int64_t *wants, int wants_rank,
                              const qn_dataset *data, qn_error *err)
{
    if (qn_dataset_count(data) < 1) {
        return qn_fail(err, QN_EINVAL, qn_dataset_name(data), "holds no items; at least one is needed");
    }
    int64_t has[QN_MAX_RANK];
    const int has_rank = qn_dataset_item_shape(data, has);
    if (fits(has, has_rank, wants, wants_rank)) {
        return QN_OK;
    }
    char has_text[SHAPE_TEXT_MAX], wants_text[SHAPE_TEXT_MAX];
    return qn_fail(err, QN_ESHAPE, name_of(graph),
                   "input '%s' takes items of shape %s, but those of %s have shape %s%s", input,
                   shape_text(wants_text, wants, wants_rank), qn_dataset_name(data),
                   shape_text(has_text, has, has_rank), layout_hint(data, has, has_rank, wants, wants_rank));
}

qn_status qn_feed_check(const qn_program *program, const qn_dataset *data, qn_error *err)
{
    const qn_graph *graph = &program->graph;
    if (qn_program_n_inputs(program) != 1) {
        return qn_fail(err, QN_EINVAL, name_of(graph),
                       "has %zu inputs; only networks with exactly one can be fed from a data set",
                       qn_program_n_inputs(program));
    }
    return qn_feed_check_inputs(program, data, err);
}

qn_status qn_feed_check_inputs(const qn_program *program, const qn_dataset *data, qn_error *err)
{
    const qn_graph *graph = &program->graph;
    const size_t n = qn_program_n_inputs(program);
    if (qn_dataset_n_arrays(data) != n) {
        return qn_fail(err, QN_EINVAL, name_of(graph), "has %zu inputs, but %s gives %zu", n, qn_dataset_name(data),
                       qn_dataset_n_arrays(data));
    }
    for (size_t i = 0; i < n; i++) {
        int64_t wants[QN_MAX_RANK];
        const int rank = qn_program_input_shape(program, i, wants);
        QN_TRY(qn_feed_check_items(graph, graph->values[program->inputs[i].value].name, wants, rank,
                                   qn_dataset_array(data, i), err));
    }
    return QN_OK;
}

typedef struct {
    qn_workspace *workspace;
    float **inputs, **outputs; /* one for each of the program's */
    double seconds;
} feed_worker;

typedef struct {
    const qn_feed *feed;
    int64_t batch, n_items;
    feed_worker *workers;
    int n_workers;
    pthread_mutex_t mutex; /* guards done and calls of progress */
    int64_t done;
} feed_state;

static void arrays_release(float **arrays, size_t n)
{
    for (size_t i = 0; arrays != NULL && i < n; i++) {
        qn_free(arrays[i]);
    }
    qn_free(arrays);
}

static void worker_release(feed_worker *worker, const qn_program *program)
{
    qn_workspace_free(worker->workspace);
    arrays_release(worker->inputs, qn_program_n_inputs(program));
    arrays_release(worker->outputs, qn_program_n_outputs(program));
}

static qn_status floats_alloc(float **floats, int64_t batch, int64_t count, qn_error *err)
{
    size_t n;
    if (!qn_mul_size((size_t)batch, (size_t)count, &n) || !qn_mul_size(n, sizeof **floats, &n)) {
        return qn_fail(err, QN_ELIMIT, NULL, "batches of %lld items with %lld elements are too large", (long long)batch,
                       (long long)count);
    }
    *floats = qn_alloc(n);
    return *floats != NULL ? QN_OK : qn_fail_memory(err, NULL, n);
}

static qn_status arrays_alloc(float ***arrays, size_t n, int64_t batch, const qn_program *program,
                              int64_t (*count)(const qn_program *, size_t), qn_error *err)
{
    *arrays = qn_alloc(n * sizeof **arrays);
    if (*arrays == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof **arrays);
    }
    for (size_t i = 0; i < n; i++) {
        QN_TRY(floats_alloc(&(*arrays)[i], batch, count(program, i), err));
    }
    return QN_OK;
}

static qn_status worker_prepare(feed_worker *worker, const qn_program *program, int64_t batch, qn_error *err)
{
    QN_TRY(qn_workspace_create(&worker->workspace, program, err));
    QN_TRY(arrays_alloc(&worker->inputs, qn_program_n_inputs(program), batch, program, qn_program_input_count, err));
    return arrays_alloc(&worker->outputs, qn_program_n_outputs(program), batch, program, qn_program_output_count, err);
}

static qn_status tell_progress(feed_state *state, int64_t n, qn_error *err)
{
    const qn_feed *feed = state->feed;
    if (feed->progress == NULL) {
        return QN_OK;
    }
    pthread_mutex_lock(&state->mutex);
    state->done += n;
    bool more = feed->progress(feed->progress_ctx, state->done, state->n_items);
    pthread_mutex_unlock(&state->mutex);
    return more ? QN_OK : qn_fail(err, QN_ECANCELED, NULL, "stopped on request");
}

static qn_status run_program(const qn_feed *feed, int worker_index, feed_worker *worker, int64_t n, qn_error *err)
{
    const float *const *inputs = (const float *const *)worker->inputs;
    if (feed->watchers == NULL) {
        return qn_program_run(feed->program, worker->workspace, inputs, n, worker->outputs, err);
    }
    return qn_program_run_watched(feed->program, worker->workspace, inputs, n, worker->outputs,
                                  &feed->watchers[worker_index], err);
}

/* Integers travel as float32, which holds them below 2^24. */
static qn_status check_integers(const qn_feed *feed, size_t index, const float *x, int64_t n, qn_error *err)
{
    const qn_program *program = feed->program;
    const qn_value_id id = program->inputs[index].value;
    const qn_dtype dtype = program->binding.values[id].dtype;
    const bool wide = dtype == QN_DTYPE_S64 || dtype == QN_DTYPE_S32 || dtype == QN_DTYPE_U64 || dtype == QN_DTYPE_U32;
    for (int64_t i = 0; wide && i < n * qn_program_input_count(program, index); i++) {
        if (fabsf(x[i]) >= 0x1p24f) {
            return qn_fail(err, QN_ERANGE, qn_dataset_name(qn_dataset_array(feed->data, index)),
                           "holds %.0f or a neighbour of it; integers for input '%s' must lie within 2^24",
                           (double)x[i], program->graph.values[id].name);
        }
    }
    return QN_OK;
}

static qn_status read_inputs(const qn_feed *feed, const feed_worker *worker, int64_t first, int64_t n, qn_error *err)
{
    for (size_t i = 0; i < qn_program_n_inputs(feed->program); i++) {
        QN_TRY(qn_dataset_read(qn_dataset_array(feed->data, i), first, n, worker->inputs[i], err));
        QN_TRY(check_integers(feed, i, worker->inputs[i], n, err));
    }
    return QN_OK;
}

static qn_status run_batch(void *ctx, int worker_index, int64_t index, qn_error *err)
{
    feed_state *state = ctx;
    const qn_feed *feed = state->feed;
    feed_worker *worker = &state->workers[worker_index];
    int64_t first = index * state->batch;
    int64_t n = state->n_items - first < state->batch ? state->n_items - first : state->batch;
    QN_TRY(read_inputs(feed, worker, first, n, err));
    double start = qn_now_seconds();
    QN_TRY(run_program(feed, worker_index, worker, n, err));
    worker->seconds += qn_now_seconds() - start;
    if (feed->each != NULL) {
        qn_feed_batch batch = {worker_index,     first, n, (const float *const *)worker->inputs, worker->outputs[0],
                               worker->workspace};
        QN_TRY(feed->each(feed->ctx, &batch, err));
    }
    return tell_progress(state, n, err);
}

static qn_status run_all(feed_state *state, int64_t n_batches, double *seconds, qn_error *err)
{
    const qn_feed *feed = state->feed;
    for (int w = 0; w < state->n_workers; w++) {
        QN_TRY(worker_prepare(&state->workers[w], feed->program, state->batch, err));
    }
    QN_TRY(qn_parallel_for(state->n_workers, n_batches, run_batch, state, err));
    for (int w = 0; seconds != NULL && w < state->n_workers; w++) {
        *seconds = state->workers[w].seconds > *seconds ? state->workers[w].seconds : *seconds;
    }
    return QN_OK;
}

qn_status qn_feed_run(const qn_feed *feed, double *seconds, qn_error *err)
{
    if (seconds != NULL) {
        *seconds = 0;
    }
    QN_TRY(qn_feed_check_inputs(feed->program, feed->data, err));
    if (feed->n_threads < 1) {
        return qn_fail(err, QN_EINVAL, NULL, "number of threads is %d, must be at least 1", feed->n_threads);
    }
    feed_state state = {
        .feed = feed, .batch = qn_program_batch(feed->program), .n_items = qn_dataset_count(feed->data)};
    int64_t n_batches = (state.n_items - 1) / state.batch + 1;
    state.n_workers = feed->n_threads < n_batches ? feed->n_threads : (int)n_batches;
    state.workers = qn_alloc((size_t)state.n_workers * sizeof *state.workers);
    if (state.workers == NULL) {
        return qn_fail_memory(err, NULL, (size_t)state.n_workers * sizeof *state.workers);
    }
    pthread_mutex_init(&state.mutex, NULL);
    qn_status status = run_all(&state, n_batches, seconds, err);
    pthread_mutex_destroy(&state.mutex);
    for (int w = 0; w < state.n_workers; w++) {
        worker_release(&state.workers[w], feed->program);
    }
    qn_free(state.workers);
    return status;
}
