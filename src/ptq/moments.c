/* Gathering moments: one or two networks run over the data, cut off behind the inputs that are wanted.
 *
 * Rounds of a fixed number of items: first the networks run and columns are read, items shared among threads; then the
 * columns are added up, rows of the matrices shared among threads. So neither order depends on the threads. */
#include "ptq/moments.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "engine/feed.h"
#include "graph/model.h"

/* One network, and where each wish finds its input: an output of the program, or -1 for the input of the network. */
typedef struct {
    qn_program *program; /* NULL when nothing but the network's input is wanted */
    int32_t *output;     /* [n_wishes] */
} network;

/* Buffers of one worker. */
typedef struct {
    qn_workspace *workspaces[2];
    float **inputs, *coded; /* a batch of each of the network's; coded: encoded and decoded */
    float **outputs[2];     /* [n_outputs] of each network */
} worker;

/* Columns of one wish in one round. */
typedef struct {
    const qn_quantizer *quantizer;
    double unit;        /* columns are stored in this unit */
    bool whole;         /* z are whole numbers of units */
    int64_t n_per_item; /* columns */
    int64_t stride;
    float *z, *x; /* f32[round_items * n_per_item][n_groups][stride] */
} collected;

typedef struct {
    qn_ptq *ptq;
    const qn_moments_options *options;
    qn_moments_wish *wishes;
    size_t n_wishes;
    network networks[2]; /* the float one, and the quantized one where it is wanted */
    int n_networks, n_threads;
    int64_t batch, n_items;
    size_t n_arrays;                             /* of the data: one for each input */
    int64_t round_items, round_first, round_now; /* items of a round; of this round: the first, how many */
    collected *collected;
    worker *workers;
    qn_cpu cpu;
} gathering;

/* The outputs of the graph become the inputs that are wanted, so that nothing else is computed. */
static qn_status cut_graph(gathering *g, network *net, qn_graph *graph, qn_error *err)
{
    int32_t n = 0;
    graph->n_outputs = 0;
    for (size_t i = 0; i < g->n_wishes; i++) {
        qn_value_id id = g->wishes[i].node->inputs[0];
        net->output[i] = -1;
        for (size_t j = 0; j < i && net->output[i] < 0; j++) {
            net->output[i] = g->wishes[j].node->inputs[0] == id ? net->output[j] : -1;
        }
        if (net->output[i] < 0 && graph->values[id].producer >= 0) {
            QN_TRY(qn_graph_add_io(graph, true, id, err));
            net->output[i] = n++;
        }
    }
    return n > 0 ? qn_graph_tidy(graph, err) : QN_OK;
}

static qn_status prepare_graph(gathering *g, network *net, qn_graph *graph, bool quantized, qn_error *err)
{
    for (size_t v = 0; !quantized && v < graph->n_values; v++) {
        graph->values[v].quantizer = NULL;
    }
    if (quantized) { /* a value that only feeds an activation has no codes of its own in the end */
        qn_ptq inner = {.graph = graph};
        qn_status status = qn_ptq_run_pass(&inner, qn_ptq_fuse_activation, err);
        qn_arena_free(&inner.scratch);
        QN_TRY(status);
    }
    return cut_graph(g, net, graph, err);
}

static qn_status network_make(gathering *g, network *net, bool quantized, qn_error *err)
{
    net->output = qn_alloc(g->n_wishes * sizeof *net->output);
    qn_model model;
    memset(&model, 0, sizeof model);
    if (net->output == NULL) {
        return qn_fail_memory(err, NULL, g->n_wishes * sizeof *net->output);
    }
    QN_TRY(qn_graph_clone(&model.graph, quantized ? g->ptq->graph : g->options->reference, err));
    qn_status status = prepare_graph(g, net, &model.graph, quantized, err);
    qn_program_options options;
    if (status == QN_OK && model.graph.n_outputs > 0) {
        status = qn_program_options_init(&options, QN_ENGINE_SIMULATE, err);
        if (status == QN_OK) {
            status = qn_program_create(&net->program, &model, &options, err);
        }
        if (status == QN_OK) {
            int64_t batch = qn_program_batch(net->program);
            g->batch = batch < g->batch ? batch : g->batch;
            status = qn_feed_check_inputs(net->program, g->ptq->data, err);
        }
    }
    qn_graph_free(&model.graph);
    return status;
}

static qn_status floats_alloc(float **floats, int64_t n, int64_t count, qn_error *err)
{
    size_t n_bytes;
    if (!qn_mul_size((size_t)n, (size_t)count, &n_bytes) || !qn_mul_size(n_bytes, sizeof(float), &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "the inputs of a layer are too large");
    }
    *floats = qn_alloc(n_bytes);
    return *floats != NULL ? QN_OK : qn_fail_memory(err, NULL, n_bytes);
}

static bool is_small_integer(const qn_quantizer *q)
{
    return q != NULL && q->format.kind == QN_FORMAT_INT && q->format.bits <= 8 && q->n == 1 && q->group == 0;
}

/* Columns of each item, at least 1. */
static int64_t columns_per_item(const gathering *g, const qn_moments_wish *wish)
{
    int64_t share = (wish->n_columns - 1) / g->n_items + 1;
    return share < wish->columns.n_positions ? share : wish->columns.n_positions;
}

static qn_status collected_make(gathering *g, size_t i, qn_error *err)
{
    const qn_moments_wish *wish = &g->wishes[i];
    const qn_columns *columns = &wish->columns;
    collected *c = &g->collected[i];
    c->quantizer = g->ptq->graph->values[wish->node->inputs[0]].quantizer;
    c->whole = is_small_integer(c->quantizer);
    c->unit = c->whole ? (double)c->quantizer->scale[0] : 1.0;
    c->n_per_item = columns_per_item(g, wish);
    c->stride = (columns->k + QN_COLUMN_LANES - 1) / QN_COLUMN_LANES * QN_COLUMN_LANES;
    int64_t n = g->round_items * c->n_per_item;
    QN_TRY(floats_alloc(&c->z, n, columns->n_groups * c->stride, err));
    QN_TRY(floats_alloc(&c->x, n, columns->n_groups * c->stride, err));
    for (int f = 0; f < wish->n_folds; f++) {
        QN_TRY(qn_moments_make(&wish->moments[f], columns, wish->products, wish->cross, err));
    }
    return QN_OK;
}

/* Elements of an item of one array of the data. */
static int64_t item_count(const gathering *g, size_t array)
{
    int64_t dims[QN_MAX_RANK], count = 1;
    const int rank = qn_dataset_item_shape(qn_dataset_array(g->ptq->data, array), dims);
    for (int d = 0; d < rank; d++) {
        count *= dims[d];
    }
    return count;
}

/* The place of a wish's value among the network's inputs, n_arrays if it is none that the data have. */
static size_t input_of(const gathering *g, size_t i)
{
    const qn_graph *graph = g->ptq->graph;
    size_t at = 0;
    while (at < g->n_arrays && (at >= graph->n_inputs || graph->inputs[at] != g->wishes[i].node->inputs[0])) {
        at++;
    }
    return at;
}

static qn_status worker_make(gathering *g, worker *w, qn_error *err)
{
    int64_t largest = 1;
    for (size_t i = 0; i < g->n_wishes; i++) {
        largest = g->wishes[i].columns.n_elems > largest ? g->wishes[i].columns.n_elems : largest;
    }
    w->inputs = qn_alloc(g->n_arrays * sizeof *w->inputs);
    for (size_t i = 0; w->inputs != NULL && i < g->n_arrays; i++) {
        QN_TRY(floats_alloc(&w->inputs[i], g->batch, item_count(g, i), err));
    }
    if (w->inputs == NULL) {
        return qn_fail_memory(err, NULL, g->n_arrays * sizeof *w->inputs);
    }
    QN_TRY(floats_alloc(&w->coded, g->batch, largest, err));
    for (int j = 0; j < g->n_networks; j++) {
        const qn_program *program = g->networks[j].program;
        if (program == NULL) {
            continue;
        }
        size_t n = qn_program_n_outputs(program);
        QN_TRY(qn_workspace_create(&w->workspaces[j], program, err));
        w->outputs[j] = qn_alloc(n * sizeof *w->outputs[j]);
        for (size_t i = 0; w->outputs[j] != NULL && i < n; i++) {
            QN_TRY(floats_alloc(&w->outputs[j][i], g->batch, qn_program_output_count(program, i), err));
        }
        if (w->outputs[j] == NULL) {
            return qn_fail_memory(err, NULL, n * sizeof *w->outputs[j]);
        }
    }
    return QN_OK;
}

static void release(gathering *g)
{
    for (int t = 0; g->workers != NULL && t < g->n_threads; t++) {
        worker *w = &g->workers[t];
        for (int j = 0; j < g->n_networks; j++) {
            size_t n = w->outputs[j] != NULL ? qn_program_n_outputs(g->networks[j].program) : 0;
            for (size_t i = 0; i < n; i++) {
                qn_free(w->outputs[j][i]);
            }
            qn_free(w->outputs[j]);
            qn_workspace_free(w->workspaces[j]);
        }
        for (size_t i = 0; w->inputs != NULL && i < g->n_arrays; i++) {
            qn_free(w->inputs[i]);
        }
        qn_free(w->inputs);
        qn_free(w->coded);
    }
    for (size_t i = 0; g->collected != NULL && i < g->n_wishes; i++) {
        qn_free(g->collected[i].z);
        qn_free(g->collected[i].x);
    }
    for (int j = 0; j < 2; j++) {
        qn_program_free(g->networks[j].program);
        qn_free(g->networks[j].output);
    }
    qn_free(g->workers);
    qn_free(g->collected);
}

/* Items of a round in a fold, and the place of one of them among the columns: folds follow each other. */
static int64_t fold_items(const gathering *g, int n_folds, int fold)
{
    return n_folds == 1 ? g->round_now : (g->round_now + 1 - fold) / 2;
}

static int64_t place_of(const gathering *g, int n_folds, int64_t item)
{
    int64_t r = item - g->round_first;
    return n_folds == 1 ? r : r / 2 + (r % 2) * fold_items(g, 2, 0);
}

/* Columns of one item of a wish, in its unit. */
static void collect_item(const gathering *g, size_t i, int64_t item, const float *x, const float *z)
{
    const qn_columns *columns = &g->wishes[i].columns;
    const collected *c = &g->collected[i];
    int64_t row = columns->n_groups * c->stride;
    int64_t first = place_of(g, g->wishes[i].n_folds, item) * c->n_per_item;
    for (int64_t s = 0; s < c->n_per_item; s++) {
        int64_t position = qn_columns_sample(columns, item, s, c->n_per_item);
        float *to_x = c->x + (first + s) * row, *to_z = c->z + (first + s) * row;
        qn_columns_read(columns, x, position, to_x, c->stride);
        qn_columns_read(columns, z, position, to_z, c->stride);
        float unit = (float)c->unit;
        for (int64_t j = 0; c->whole && j < row; j++) {
            to_x[j] /= unit;
            to_z[j] = rintf(to_z[j] / unit);
        }
    }
}

/* z of a batch of one wish: from the quantized network, or x through the quantizer. */
static const float *quantized_input(const gathering *g, const worker *w, size_t i, const float *x, int64_t n)
{
    const qn_quantizer *q = g->collected[i].quantizer;
    if (g->n_networks == 2 && g->networks[1].output[i] >= 0) {
        return w->outputs[1][g->networks[1].output[i]];
    }
    if (q == NULL || q->dynamic) {
        return x;
    }
    const qn_columns *columns = &g->wishes[i].columns;
    int64_t dims[QN_MAX_RANK] = {n};
    memcpy(dims + 1, columns->dims, (size_t)columns->rank * sizeof *dims);
    qn_quantizer_fake(w->coded, x, q, columns->rank + 1, dims);
    return w->coded;
}

static qn_status collect_batch(void *ctx, int worker_index, int64_t index, qn_error *err)
{
    gathering *g = ctx;
    worker *w = &g->workers[worker_index];
    int64_t first = g->round_first + index * g->batch;
    int64_t n = g->n_items - first < g->batch ? g->n_items - first : g->batch;
    const float *const *inputs = (const float *const *)w->inputs;
    for (size_t i = 0; i < g->n_arrays; i++) {
        QN_TRY(qn_dataset_read(qn_dataset_array(g->ptq->data, i), first, n, w->inputs[i], err));
    }
    for (int j = 0; j < g->n_networks; j++) {
        if (g->networks[j].program != NULL) {
            QN_TRY(qn_program_run(g->networks[j].program, w->workspaces[j], inputs, n, w->outputs[j], err));
        }
    }
    for (size_t i = 0; i < g->n_wishes; i++) {
        int32_t output = g->networks[0].output[i];
        const float *x = output >= 0 ? w->outputs[0][output] : w->inputs[input_of(g, i)];
        const float *z = quantized_input(g, w, i, x, n);
        int64_t count = g->wishes[i].columns.n_elems;
        for (int64_t item = 0; item < n; item++) {
            collect_item(g, i, first + item, x + item * count, z + item * count);
        }
    }
    return QN_OK;
}

enum { ROWS_PER_TASK = 32 };

static int64_t row_tasks(const qn_moments *m)
{
    return m->n_groups * ((m->k + ROWS_PER_TASK - 1) / ROWS_PER_TASK);
}

/* Rows of one matrix of one wish. */
static qn_status add_rows(void *ctx, int worker_index, int64_t task, qn_error *err)
{
    gathering *g = ctx;
    (void)worker_index;
    (void)err;
    size_t i = 0;
    while (task >= row_tasks(g->wishes[i].moments)) {
        task -= row_tasks(g->wishes[i++].moments);
    }
    qn_moments *m = g->wishes[i].moments;
    const collected *c = &g->collected[i];
    int64_t per_group = row_tasks(m) / m->n_groups, first = task % per_group * ROWS_PER_TASK, done = 0;
    int64_t last = first + ROWS_PER_TASK < m->k ? first + ROWS_PER_TASK : m->k;
    for (int f = 0; f < g->wishes[i].n_folds; f++) {
        int64_t n = fold_items(g, g->wishes[i].n_folds, f) * c->n_per_item;
        int64_t skip = done * m->n_groups * c->stride;
        qn_moments_add(&m[f], task / per_group, first, last, c->z + skip, c->x + skip, n, c->stride, g->cpu);
        done += n;
    }
    return QN_OK;
}

static qn_status run_rounds(gathering *g, qn_error *err)
{
    int64_t n_tasks = 0;
    for (size_t i = 0; i < g->n_wishes; i++) {
        n_tasks += row_tasks(g->wishes[i].moments);
    }
    for (g->round_first = 0; g->round_first < g->n_items; g->round_first += g->round_items) {
        int64_t left = g->n_items - g->round_first;
        g->round_now = left < g->round_items ? left : g->round_items;
        QN_TRY(qn_parallel_for(g->n_threads, (g->round_now - 1) / g->batch + 1, collect_batch, g, err));
        QN_TRY(qn_parallel_for(g->n_threads, n_tasks, add_rows, g, err));
        for (size_t i = 0; i < g->n_wishes; i++) {
            for (int f = 0; f < g->wishes[i].n_folds; f++) {
                int64_t items = fold_items(g, g->wishes[i].n_folds, f);
                g->wishes[i].moments[f].n += items * g->collected[i].n_per_item;
            }
        }
        if (g->ptq->progress != NULL &&
            !g->ptq->progress(g->ptq->progress_ctx, g->round_first + g->round_now, g->n_items)) {
            return qn_fail(err, QN_ECANCELED, NULL, "stopped on request");
        }
    }
    return QN_OK;
}

/* A round takes as many items as 32 MB of columns hold, at least a batch and at most 32, and whole batches: numbers that
 * do not depend on the threads. */
static void choose_round(gathering *g)
{
    int64_t most = 1, floats = 1 << 23;
    for (size_t i = 0; i < g->n_wishes; i++) {
        const qn_columns *c = &g->wishes[i].columns;
        int64_t size = columns_per_item(g, &g->wishes[i]) * c->n_groups * (c->k + QN_COLUMN_LANES);
        most = size > most ? size : most;
    }
    int64_t items = floats / most < 32 ? floats / most : 32;
    g->round_items = items / g->batch > 0 ? items / g->batch * g->batch : g->batch;
}

/* Where the network's input itself is wanted no program checks that the data fit. */
static qn_status check_input(const gathering *g, qn_error *err)
{
    for (size_t i = 0; i < g->n_wishes; i++) {
        if (g->networks[0].output[i] >= 0) {
            continue;
        }
        const size_t at = input_of(g, i);
        const int64_t wanted = g->wishes[i].columns.n_elems, given = at < g->n_arrays ? item_count(g, at) : 0;
        if (g->n_arrays != g->ptq->graph->n_inputs || given != wanted) {
            return qn_fail(err, QN_ESHAPE, qn_dataset_name(g->ptq->data),
                           "items have %lld elements, the network's input has %lld", (long long)given,
                           (long long)wanted);
        }
    }
    return QN_OK;
}

static qn_status prepare(gathering *g, qn_error *err)
{
    g->n_arrays = qn_dataset_n_arrays(g->ptq->data);
    g->batch = 8;
    QN_TRY(qn_cpu_from_environment(&g->cpu, NULL, err));
    for (int j = 0; j < g->n_networks; j++) {
        QN_TRY(network_make(g, &g->networks[j], j == 1, err));
    }
    QN_TRY(check_input(g, err));
    choose_round(g);
    g->collected = qn_alloc(g->n_wishes * sizeof *g->collected);
    g->workers = qn_alloc((size_t)g->n_threads * sizeof *g->workers);
    if (g->collected == NULL || g->workers == NULL) {
        return qn_fail_memory(err, NULL, g->n_wishes * sizeof *g->collected);
    }
    for (size_t i = 0; i < g->n_wishes; i++) {
        QN_TRY(collected_make(g, i, err));
    }
    for (int t = 0; t < g->n_threads; t++) {
        QN_TRY(worker_make(g, &g->workers[t], err));
    }
    return QN_OK;
}

qn_status qn_moments_gather(qn_ptq *ptq, const qn_moments_options *options, qn_moments_wish *wishes, size_t n_wishes,
                            qn_error *err)
{
    gathering g = {.ptq = ptq,
                   .options = options,
                   .wishes = wishes,
                   .n_wishes = n_wishes,
                   .n_networks = options->float_only ? 1 : 2,
                   .n_threads = ptq->n_threads > 1 ? ptq->n_threads : 1,
                   .n_items = qn_dataset_count(ptq->data)};
    for (size_t i = 0; i < n_wishes; i++) {
        memset(wishes[i].moments, 0, (size_t)wishes[i].n_folds * sizeof *wishes[i].moments);
    }
    qn_status status = prepare(&g, err);
    if (status == QN_OK) {
        status = run_rounds(&g, err);
    }
    for (size_t i = 0; status == QN_OK && i < n_wishes; i++) {
        for (int f = 0; status == QN_OK && f < wishes[i].n_folds; f++) {
            status = qn_moments_finish(&wishes[i].moments[f], g.collected[i].unit,
                                       ptq->graph->values[wishes[i].node->inputs[0]].name, err);
        }
    }
    release(&g);
    for (size_t i = 0; status != QN_OK && i < n_wishes; i++) {
        for (int f = 0; f < wishes[i].n_folds; f++) {
            qn_moments_free(&wishes[i].moments[f]);
        }
    }
    return status;
}
