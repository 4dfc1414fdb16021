/* Two networks over the same items, value by value.
 *
 * The feed runs the first one; for each item the worker runs the second and compares what both have. Squares are kept for
 * each item and summed in order at the end, so that nothing depends on the number of threads. */
#include "quern/diff.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "engine/feed.h"
#include "graph/arithmetic.h"
#include "graph/model.h"

typedef struct {
    qn_value_id a, b;
    int64_t count;
    double step; /* of the code that both have, or 0 */
    bool direct; /* the first output, as the programs give it */
} pair;

/* What a worker has seen of a value. */
typedef struct {
    int64_t n_different;
    double greatest; /* negative: nothing yet */
    int64_t item, element;
    float a, b;
} sight;

typedef struct {
    qn_workspace *workspace; /* of the second network */
    float **outputs;
    float *a, *b; /* a value of either */
    sight *sights;
} worker;

struct qn_diff {
    qn_arena arena;
    qn_program *programs[2];
    pair *pairs;
    qn_diff_row *rows;
    size_t n_rows;
    double *squares; /* signal and noise per item and row */
    worker *workers;
    int n_workers;
};

qn_status qn_diff_options_init(qn_diff_options *options, qn_error *err)
{
    *options = (qn_diff_options){.struct_size = sizeof *options};
    return qn_cpu_from_environment(&options->cpu, NULL, err);
}

static qn_status make_program(qn_program **program, const qn_model *model, const qn_arithmetic *arithmetic, qn_cpu cpu,
                              qn_error *err)
{
    qn_engine engine = QN_ENGINE_INTEGER;
    if (arithmetic != NULL && !qn_model_is_quantized(model)) {
        return qn_fail(err, QN_EINVAL, model->graph.file,
                       "is not quantized: an arithmetic means nothing to it; quantize it first");
    }
    if (arithmetic == NULL) {
        QN_TRY(qn_engine_choose(&engine, model, err));
    }
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, engine, err));
    options.cpu = cpu;
    options.batch = 1;
    options.keep_values = true;
    if (arithmetic == NULL) {
        QN_TRY(qn_program_create(program, model, &options, err));
    } else {
        qn_model copy = {0};
        qn_status status = qn_graph_clone(&copy.graph, &model->graph, err);
        status = status == QN_OK ? qn_graph_set_arithmetic(&copy.graph, arithmetic, err) : status;
        status = status == QN_OK ? qn_program_create(program, &copy, &options, err) : status;
        qn_graph_free(&copy.graph);
        QN_TRY(status);
    }
    if (qn_program_batch(*program) != 1) {
        return qn_fail(err, QN_EUNSUPPORTED, model->graph.file,
                       "has a fixed batch of %lld; networks are compared item by item",
                       (long long)qn_program_batch(*program));
    }
    return QN_OK;
}

enum { SHAPE_MAX = 24 * QN_MAX_RANK };

static const char *shape_text(char text[SHAPE_MAX], const int64_t *dims, int rank)
{
    size_t used = (size_t)snprintf(text, SHAPE_MAX, "(");
    for (int d = 0; d < rank; d++) {
        used += (size_t)snprintf(text + used, SHAPE_MAX - used, d > 0 ? ", %lld" : "%lld", (long long)dims[d]);
    }
    snprintf(text + used, SHAPE_MAX - used, ")");
    return text;
}

/* Both have as many inputs or outputs, of the same shapes. */
static qn_status check_io(const qn_diff *d, bool outputs, qn_error *err)
{
    const qn_program *a = d->programs[0], *b = d->programs[1];
    const char *what = outputs ? "output" : "input";
    const size_t n_a = outputs ? a->n_outputs : a->n_inputs, n_b = outputs ? b->n_outputs : b->n_inputs;
    if (n_a != n_b) {
        return qn_fail(err, QN_ESHAPE, a->graph.file,
                       "number of %ss is %zu, but that of %s is %zu; they cannot be compared", what, n_a, b->graph.file,
                       n_b);
    }
    for (size_t i = 0; i < n_a; i++) {
        const qn_program_io *x = outputs ? &a->outputs[i] : &a->inputs[i];
        const qn_program_io *y = outputs ? &b->outputs[i] : &b->inputs[i];
        if (x->rank != y->rank || memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims) != 0) {
            char one[SHAPE_MAX], other[SHAPE_MAX];
            return qn_fail(err, QN_ESHAPE, a->graph.file,
                           "%s '%s' has items of shape %s, but '%s' of %s has %s; they cannot be compared", what,
                           a->graph.values[x->value].name, shape_text(one, x->dims, x->rank),
                           b->graph.values[y->value].name, b->graph.file, shape_text(other, y->dims, y->rank));
        }
    }
    return QN_OK;
}

/* The value of b that stands for value `id` of a: an output by its place, others by name. */
static qn_value_id partner(const qn_diff *d, qn_value_id id, bool *is_output)
{
    const qn_program *a = d->programs[0], *b = d->programs[1];
    *is_output = false;
    for (size_t i = 0; i < a->n_outputs; i++) {
        if (a->outputs[i].value == id) {
            *is_output = true;
            return b->outputs[i].value;
        }
    }
    return qn_graph_find(&b->graph, a->graph.values[id].name);
}

static double common_step(const qn_quantizer *a, const qn_quantizer *b)
{
    const bool same = a != NULL && b != NULL && !a->dynamic && !b->dynamic && a->format.kind == QN_FORMAT_INT &&
                      b->format.kind == QN_FORMAT_INT && a->n == 1 && b->n == 1 && a->scale[0] == b->scale[0] &&
                      a->zero_point[0] == b->zero_point[0];
    return same ? (double)a->scale[0] : 0;
}

/* Add a row if both networks have the value. */
static void add_pair(qn_diff *d, const qn_workspace *const workspaces[2], const qn_node *node, qn_value_id id)
{
    const qn_graph *a = &d->programs[0]->graph, *b = &d->programs[1]->graph;
    bool is_output;
    const qn_value_id other = id != QN_NO_VALUE ? partner(d, id, &is_output) : QN_NO_VALUE;
    if (other == QN_NO_VALUE) {
        return;
    }
    const bool direct = id == d->programs[0]->outputs[0].value;
    int64_t count = qn_program_output_count(d->programs[0], 0), other_count = count;
    if (!direct &&
        (!qn_program_read(d->programs[0], workspaces[0], id, NULL, &count) ||
         !qn_program_read(d->programs[1], workspaces[1], other, NULL, &other_count) || count != other_count)) {
        return;
    }
    d->pairs[d->n_rows] =
        (pair){id, other, count, common_step(a->values[id].quantizer, b->values[other].quantizer), direct};
    d->rows[d->n_rows++] = (qn_diff_row){.value_name = a->values[id].name,
                                         .other_name = b->values[other].name,
                                         .node_name = node != NULL ? node->name : "",
                                         .op_type = node != NULL ? node->op_type : "",
                                         .is_output = is_output,
                                         .greatest = -1};
}

static qn_status find_pairs(qn_diff *d, const qn_workspace *const workspaces[2], qn_error *err)
{
    const qn_graph *graph = &d->programs[0]->graph;
    d->pairs = qn_arena_array(&d->arena, graph->n_values + 1, sizeof *d->pairs);
    d->rows = qn_arena_array(&d->arena, graph->n_values + 1, sizeof *d->rows);
    if (d->pairs == NULL || d->rows == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *d->rows);
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        add_pair(d, workspaces, NULL, graph->inputs[i]);
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        for (int i = 0; i < graph->nodes[n].n_outputs; i++) {
            add_pair(d, workspaces, &graph->nodes[n], graph->nodes[n].outputs[i]);
        }
    }
    return QN_OK;
}

static qn_status prepare_pairs(qn_diff *d, qn_error *err)
{
    qn_workspace *workspaces[2] = {NULL, NULL};
    qn_status status = qn_workspace_create(&workspaces[0], d->programs[0], err);
    status = status == QN_OK ? qn_workspace_create(&workspaces[1], d->programs[1], err) : status;
    status = status == QN_OK ? find_pairs(d, (const qn_workspace *const *)workspaces, err) : status;
    qn_workspace_free(workspaces[0]);
    qn_workspace_free(workspaces[1]);
    return status;
}

static qn_status prepare_worker(qn_diff *d, worker *w, qn_error *err)
{
    const qn_program *b = d->programs[1];
    size_t most = 1, bytes = 0;
    for (size_t r = 0; r < d->n_rows; r++) {
        most = (size_t)d->pairs[r].count > most ? (size_t)d->pairs[r].count : most;
    }
    QN_TRY(qn_workspace_create(&w->workspace, b, err));
    w->a = qn_arena_array(&d->arena, most, sizeof *w->a);
    w->b = qn_arena_array(&d->arena, most, sizeof *w->b);
    w->sights = qn_arena_array(&d->arena, d->n_rows, sizeof *w->sights);
    w->outputs = qn_arena_array(&d->arena, b->n_outputs, sizeof *w->outputs);
    bool made = w->a != NULL && w->b != NULL && w->sights != NULL && w->outputs != NULL;
    for (size_t i = 0; made && i < b->n_outputs; i++) {
        bytes = (size_t)qn_program_output_count(b, i);
        w->outputs[i] = qn_arena_array(&d->arena, bytes, sizeof **w->outputs);
        made = w->outputs[i] != NULL;
    }
    for (size_t r = 0; made && r < d->n_rows; r++) {
        w->sights[r].greatest = -1;
    }
    return made ? QN_OK : qn_fail_memory(err, b->graph.file, most * sizeof *w->a + bytes);
}

/* One value of one item. squares: of a, and of a - b. */
static void compare(sight *s, const float *a, const float *b, int64_t n, int64_t item, double squares[2])
{
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)a[i], y = (double)b[i];
        if (x == y || (isnan(x) && isnan(y))) {
            squares[0] += isnan(x) ? 0 : x * x;
            continue;
        }
        const double distance = isnan(x) || isnan(y) ? (double)INFINITY : fabs(x - y);
        squares[0] += isnan(x) ? 0 : x * x;
        squares[1] += distance * distance;
        s->n_different++;
        if (distance > s->greatest || (distance == s->greatest && item < s->item)) {
            *s = (sight){s->n_different, distance, item, i, a[i], b[i]};
        }
    }
}

static qn_status compare_item(void *ctx, const qn_feed_batch *batch, qn_error *err)
{
    const qn_diff *d = ctx;
    worker *w = &d->workers[batch->worker];
    QN_TRY(qn_program_run(d->programs[1], w->workspace, batch->inputs, 1, w->outputs, err));
    for (size_t r = 0; r < d->n_rows; r++) {
        const pair *p = &d->pairs[r];
        int64_t count;
        if (!p->direct) {
            (void)qn_program_read(d->programs[0], batch->workspace, p->a, w->a, &count);
            (void)qn_program_read(d->programs[1], w->workspace, p->b, w->b, &count);
        }
        compare(&w->sights[r], p->direct ? batch->outputs : w->a, p->direct ? w->outputs[0] : w->b, p->count,
                batch->first, d->squares + 2 * ((size_t)batch->first * d->n_rows + r));
    }
    return QN_OK;
}

static void add_sight(qn_diff_row *row, const sight *s)
{
    row->n_different += s->n_different;
    if (s->greatest > row->greatest || (s->greatest == row->greatest && s->greatest >= 0 && s->item < row->item)) {
        row->greatest = s->greatest;
        row->item = s->item;
        row->element = s->element;
        row->a = s->a;
        row->b = s->b;
    }
}

static void sum_up(qn_diff *d, int64_t n_items)
{
    for (size_t r = 0; r < d->n_rows; r++) {
        qn_diff_row *row = &d->rows[r];
        double signal = 0, noise = 0;
        for (int64_t item = 0; item < n_items; item++) {
            const double *squares = d->squares + 2 * ((size_t)item * d->n_rows + r);
            signal += squares[0];
            noise += squares[1];
        }
        for (int w = 0; w < d->n_workers; w++) {
            add_sight(row, &d->workers[w].sights[r]);
        }
        row->greatest = row->greatest < 0 ? 0 : row->greatest;
        row->n_elems = d->pairs[r].count * n_items;
        row->sqnr_db = noise > 0 ? 10 * log10(signal / noise) : (double)INFINITY;
        row->steps = d->pairs[r].step > 0 ? rint(row->greatest / d->pairs[r].step) : 0;
    }
}

static qn_status measure(qn_diff *d, const qn_model *const models[2], const qn_dataset *data,
                         const qn_diff_options *options, qn_error *err)
{
    for (int side = 0; side < 2; side++) {
        QN_TRY(make_program(&d->programs[side], models[side], options->arithmetic[side], options->cpu, err));
    }
    QN_TRY(check_io(d, false, err));
    QN_TRY(check_io(d, true, err));
    QN_TRY(qn_feed_check_inputs(d->programs[0], data, err));
    QN_TRY(prepare_pairs(d, err));
    const int64_t n_items = qn_dataset_count(data);
    const int n_threads = options->n_threads > 0 ? options->n_threads : qn_processor_count();
    size_t n_squares;
    d->workers = qn_arena_array(&d->arena, (size_t)n_threads, sizeof *d->workers);
    d->squares = qn_mul_size((size_t)n_items, 2 * d->n_rows, &n_squares)
                     ? qn_arena_array(&d->arena, n_squares, sizeof *d->squares)
                     : NULL;
    if (d->workers == NULL || d->squares == NULL) {
        return qn_fail_memory(err, models[0]->graph.file, (size_t)n_items * d->n_rows);
    }
    for (d->n_workers = 0; d->n_workers < n_threads; d->n_workers++) {
        QN_TRY(prepare_worker(d, &d->workers[d->n_workers], err));
    }
    const qn_feed feed = {.program = d->programs[0],
                          .data = data,
                          .n_threads = n_threads,
                          .progress = options->progress,
                          .progress_ctx = options->progress_ctx,
                          .each = compare_item,
                          .ctx = d};
    QN_TRY(qn_feed_run(&feed, NULL, err));
    sum_up(d, n_items);
    return QN_OK;
}

qn_status qn_diff_measure(qn_diff **diff, const qn_model *a, const qn_model *b, const qn_dataset *data,
                          const qn_diff_options *options, qn_error *err)
{
    *diff = NULL;
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_diff_options_init", err));
    qn_diff *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    qn_status status = measure(made, (const qn_model *const[]){a, b}, data, options, err);
    if (status != QN_OK) {
        qn_diff_free(made);
        return status;
    }
    *diff = made;
    return QN_OK;
}

void qn_diff_free(qn_diff *diff)
{
    if (diff != NULL) {
        for (int w = 0; diff->workers != NULL && w < diff->n_workers; w++) {
            qn_workspace_free(diff->workers[w].workspace);
        }
        qn_program_free(diff->programs[0]);
        qn_program_free(diff->programs[1]);
        qn_arena_free(&diff->arena);
        qn_free(diff);
    }
}

size_t qn_diff_count(const qn_diff *diff)
{
    return diff->n_rows;
}

const qn_diff_row *qn_diff_at(const qn_diff *diff, size_t index)
{
    return index < diff->n_rows ? &diff->rows[index] : NULL;
}

qn_engine qn_diff_engine(const qn_diff *diff, int side)
{
    return diff->programs[side != 0]->options.engine;
}
