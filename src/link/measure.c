/* Studies of cuts: from position to position, with the values of a part of the items at hand. */
#include "link/measure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "engine/feed.h"
#include "engine/labels.h"

enum { MEMORY = 512 << 20 };

qn_status qn_cut_study_options_init(qn_cut_study_options *options, qn_error *err)
{
    *options = (qn_cut_study_options){
        .struct_size = sizeof *options, .message_items = 1, .n_threads = qn_processor_count(), .memory = MEMORY};
    return qn_cpu_from_environment(&options->cpu, NULL, err);
}

static qn_status check(const qn_cuts *cuts, const qn_cut_study_options *o, qn_error *err)
{
    QN_TRY(qn_check_options_size(o->struct_size, sizeof *o, "qn_cut_study_options_init", err));
    if (o->n_threads < 1 || o->message_items < 1 || o->message_items > 4096 || o->n_items < 0) {
        return qn_fail(
            err, QN_EINVAL, NULL,
            "%d threads, messages of %lld items, %lld items: threads must be 1 or more, messages have 1 to 4096 "
            "items",
            o->n_threads, (long long)o->message_items, (long long)o->n_items);
    }
    if (!cuts->batched && o->message_items > 1) {
        return qn_fail(err, QN_EINVAL, cuts->model->graph.file,
                       "takes one item at a time, and so do its messages, not %lld; leave that out, or make the first "
                       "dimension of its input dynamic",
                       (long long)o->message_items);
    }
    if (o->data != NULL && o->n_items > qn_dataset_count(o->data)) {
        return qn_fail(err, QN_EINVAL, qn_dataset_name(o->data), "holds %lld items; %lld are asked for",
                       (long long)qn_dataset_count(o->data), (long long)o->n_items);
    }
    return qn_labels_check(o->data != NULL ? o->labels : NULL, o->labels_name, o->data, err);
}

static qn_status study_open(qn_cut_study *s, const qn_cuts *cuts, const qn_cut_study_options *o, qn_error *err)
{
    s->n_positions = cuts->n_nodes + 1;
    s->n_choices = o->n_choices;
    s->baseline = (qn_cut_baseline){.message_items = o->message_items, .top1 = (double)NAN};
    s->studied = qn_arena_array(&s->arena, s->n_positions, sizeof *s->studied);
    s->same_as = qn_arena_array(&s->arena, s->n_positions, sizeof *s->same_as);
    s->results = qn_arena_array(&s->arena, s->n_positions * (s->n_choices + 1), sizeof *s->results);
    if (s->studied == NULL || s->same_as == NULL || s->results == NULL) {
        return qn_fail_memory(err, NULL, s->n_positions * (s->n_choices + 1) * sizeof *s->results);
    }
    for (size_t p = 1; p < cuts->n_nodes; p++) {
        s->studied[p] = cuts->cuts[p].reason == NULL && (o->studied == NULL || o->studied[p]);
    }
    for (size_t i = 0; i < s->n_positions * s->n_choices; i++) {
        s->results[i] =
            (qn_cut_result){.sqnr_db = (double)NAN, .top1 = (double)NAN, .loss = (double)NAN, .agreement = (double)NAN};
    }
    return QN_OK;
}

/* Sums over all items, per position and choice. */
typedef struct {
    double noise;
    int64_t correct, agree, n;
} sums;

/* What the units of a part found. */
static qn_status reduce(qn_measure *m, sums *of_cut, qn_error *err)
{
    for (size_t c = 0; c < m->study->n_choices; c++) {
        qn_cut_result *r = &m->study->results[m->at * m->study->n_choices + c];
        for (int64_t i = 0; m->run[c] && r->error == NULL && i < m->n; i++) {
            const double noise = m->noise[c * (size_t)m->n + (size_t)i];
            const int64_t item = m->first + i, found = m->found[c * (size_t)m->n + (size_t)i];
            if (!isfinite(noise)) {
                r->error = qn_arena_printf(&m->study->arena, "outputs are not finite on item %lld", (long long)item);
                if (r->error == NULL) {
                    return qn_fail_memory(err, NULL, 0);
                }
            }
            of_cut[c].noise += noise;
            of_cut[c].agree += found == m->best[item];
            of_cut[c].correct += m->options->labels != NULL && found == qn_label_at(m->options->labels, item);
            of_cut[c].n++;
        }
    }
    return QN_OK;
}

static void values_free(float **values, size_t n)
{
    for (size_t i = 0; values != NULL && i < n; i++) {
        qn_free(values[i]);
    }
    qn_free(values);
}

/* Memory for what crosses at a position; what passes through stays where it is. */
static qn_status values_open(qn_measure *m, size_t to, qn_error *err)
{
    const qn_cut *cut = &m->cuts->cuts[to];
    const qn_stage *stage = &m->prefix.stage;
    m->next = qn_alloc((cut->n_tensors + 1) * sizeof *m->next);
    if (m->next == NULL) {
        return qn_fail_memory(err, NULL, cut->n_tensors * sizeof *m->next);
    }
    for (size_t t = 0; t < cut->n_tensors; t++) {
        if (stage->sources[t].passes) {
            m->next[t] = m->values[stage->sources[t].index];
            continue;
        }
        const size_t bytes = (size_t)m->n * (size_t)cut->tensors[t].count * sizeof(float); /* within options->memory */
        m->next[t] = qn_alloc_uncleared(bytes);
        if (m->next[t] == NULL) {
            return qn_fail_memory(err, NULL, bytes);
        }
    }
    return QN_OK;
}

static qn_status measure_here(qn_measure *m, size_t to, sums *all, qn_error *err)
{
    qn_arena arena = {0};
    const size_t n_choices = m->study->n_choices;
    m->noise = qn_arena_array(&arena, n_choices * (size_t)m->n, sizeof *m->noise);
    m->found = qn_arena_array(&arena, n_choices * (size_t)m->n, sizeof *m->found);
    m->error_item = qn_arena_array(&arena, n_choices, sizeof *m->error_item);
    m->run = qn_arena_array(&arena, n_choices, sizeof *m->run);
    qn_status status =
        m->noise != NULL && m->found != NULL && m->error_item != NULL && m->run != NULL
            ? qn_measure_stage_open(&m->suffix, m->cuts, to, m->cuts->n_nodes, 0, m->options->cpu, m->n_workers, err)
            : qn_fail_memory(err, NULL, n_choices * (size_t)m->n * sizeof *m->noise);
    for (size_t c = 0; status == QN_OK && c < n_choices; c++) {
        m->error_item[c] = -1;
        m->run[c] = qn_measure_runs(m, to, c);
    }
    m->at = to;
    status = status == QN_OK ? qn_measure_units(m, err) : status;
    status = status == QN_OK ? reduce(m, all + to * n_choices, err) : status;
    m->at = 0;
    qn_measure_stage_close(&m->suffix);
    qn_arena_free(&arena);
    return status;
}

static bool any_runs(const qn_measure *m, size_t position)
{
    for (size_t c = 0; c < m->study->n_choices; c++) {
        if (qn_measure_runs(m, position, c)) {
            return true;
        }
    }
    return false;
}

/* One step: the values at `from` become those at `to`. */
static qn_status step(qn_measure *m, size_t from, size_t to, sums *all, qn_error *err)
{
    QN_TRY(qn_measure_stage_open(&m->prefix, m->cuts, from, to, 0, m->options->cpu, m->n_workers, err));
    qn_status status = values_open(m, to, err);
    if (status == QN_OK) {
        status = any_runs(m, to) ? measure_here(m, to, all, err) : qn_measure_units(m, err);
    }
    for (size_t t = 0; m->next != NULL && t < m->cuts->cuts[to].n_tensors; t++) {
        if (m->next[t] != NULL && m->prefix.stage.sources[t].passes) {
            m->values[m->prefix.stage.sources[t].index] = NULL; /* it goes on */
        }
    }
    qn_measure_stage_close(&m->prefix);
    values_free(m->values, m->cuts->cuts[from].n_tensors);
    m->values = m->next;
    m->next = NULL;
    if (status != QN_OK) {
        values_free(m->values, m->cuts->cuts[to].n_tensors);
        m->values = NULL;
    }
    return status;
}

/* Items first..first+n-1 past all positions up to the last one studied. */
static qn_status walk(qn_measure *m, size_t last, sums *all, qn_error *err)
{
    const int64_t count = m->cuts->cuts[0].tensors[0].count;
    m->values = qn_alloc(sizeof *m->values);
    if (m->values == NULL) {
        return qn_fail_memory(err, NULL, sizeof *m->values);
    }
    const size_t bytes = (size_t)m->n * (size_t)count * sizeof(float);
    m->values[0] = qn_alloc_uncleared(bytes);
    qn_status status = m->values[0] != NULL ? qn_dataset_read(m->options->data, m->first, m->n, m->values[0], err)
                                            : qn_fail_memory(err, NULL, bytes);
    size_t from = 0;
    for (size_t to = 1; to <= last && status == QN_OK; to++) {
        if (m->cuts->cuts[to].reason == NULL) {
            status = step(m, from, to, all, err);
            from = status == QN_OK ? to : from;
        }
    }
    values_free(m->values, m->cuts->cuts[from].n_tensors);
    m->values = NULL;
    return status;
}

/* Items whose values at any two positions one after another fit the memory. */
static qn_status choose_part(int64_t *n, const qn_measure *m, size_t last, qn_error *err)
{
    size_t most = 0, before = (size_t)m->cuts->cuts[0].tensors[0].count;
    for (size_t p = 1; p <= last; p++) {
        size_t here = 0;
        for (size_t t = 0; m->cuts->cuts[p].reason == NULL && t < m->cuts->cuts[p].n_tensors; t++) {
            here += (size_t)m->cuts->cuts[p].tensors[t].count;
        }
        if (m->cuts->cuts[p].reason == NULL) {
            most = here + before > most ? here + before : most;
            before = here;
        }
    }
    size_t unit_bytes;
    if (!qn_mul_size(most, sizeof(float) * (size_t)m->unit, &unit_bytes) || unit_bytes > INT64_MAX / 4096) {
        return qn_fail(err, QN_ELIMIT, m->cuts->model->graph.file, "what crosses is too large to be measured");
    }
    const size_t units = unit_bytes > 0 ? m->options->memory / unit_bytes : (size_t)m->n_items;
    *n = units < 1 ? m->unit : units > (size_t)(m->n_items / m->unit) ? m->n_items : (int64_t)units * m->unit;
    return QN_OK;
}

static void finish(qn_measure *m, const sums *all)
{
    qn_cut_study *s = m->study;
    double signal = 0;
    int64_t correct = 0;
    for (int64_t i = 0; i < m->n_items; i++) {
        signal += m->signal[i];
        correct += m->options->labels != NULL && qn_label_at(m->options->labels, i) == m->best[i];
    }
    const double n = (double)m->n_items;
    s->baseline.n_items = m->n_items;
    s->baseline.top1 = m->options->labels != NULL ? (double)correct / n : (double)NAN;
    for (size_t i = 0; i < s->n_positions * s->n_choices; i++) {
        const size_t p = i / s->n_choices;
        qn_cut_result *r = &s->results[i];
        if (s->studied[p] && all[i].n == m->n_items && r->error == NULL) {
            r->sqnr_db = all[i].noise > 0 ? 10 * log10(signal / all[i].noise) : (double)INFINITY;
            r->agreement = (double)all[i].agree / n;
            r->top1 = m->options->labels != NULL ? (double)all[i].correct / n : (double)NAN;
            r->loss = m->options->labels != NULL ? (double)(correct - all[i].correct) / n : 1 - r->agreement;
        } else if (s->studied[p] && all[i].n == 0 && r->error == NULL && s->same_as[p] != p) {
            const size_t bytes = r->message_bytes;
            *r = s->results[s->same_as[p] * s->n_choices + i % s->n_choices]; /* which came before */
            r->message_bytes = bytes;
        }
    }
}

static qn_status check_label_values(const qn_measure *m, qn_error *err)
{
    for (int64_t i = 0; m->options->labels != NULL && i < m->n_items; i++) {
        const int64_t label = qn_label_at(m->options->labels, i);
        if (label < 0 || label >= m->counts[0]) {
            return qn_fail(err, QN_ERANGE, m->options->labels_name != NULL ? m->options->labels_name : "labels",
                           "label of item %lld is %lld, but the network has classes 0 to %lld", (long long)i,
                           (long long)label, (long long)(m->counts[0] - 1));
        }
    }
    return QN_OK;
}

/* The uncut network's shapes, and memory for its outputs. */
static qn_status prepare(qn_measure *m, qn_arena *arena, qn_error *err)
{
    const qn_cut_study_options *o = m->options;
    qn_measure_stage whole;
    QN_TRY(qn_measure_stage_open(&whole, m->cuts, 0, 0, 0, o->cpu, 0, err));
    const qn_program *program = whole.program;
    qn_status status = qn_feed_check(program, o->data, err);
    const int64_t batch = program->options.batch;
    status = status == QN_OK ? qn_cuts_check_items(m->cuts, err) : status;
    m->n_items = o->n_items > 0 ? o->n_items : qn_dataset_count(o->data);
    m->message_items = o->message_items;
    m->unit = m->message_items >= batch ? m->message_items : batch / m->message_items * m->message_items;
    m->n_workers = o->n_threads < (m->n_items - 1) / m->unit + 1 ? o->n_threads : (int)((m->n_items - 1) / m->unit + 1);
    m->n_outputs = program->n_outputs;
    m->counts = qn_arena_array(arena, m->n_outputs + 1, sizeof *m->counts);
    m->expected = qn_arena_array(arena, m->n_outputs + 1, sizeof *m->expected);
    m->signal = qn_arena_array(arena, (size_t)m->n_items, sizeof *m->signal);
    m->best = qn_arena_array(arena, (size_t)m->n_items, sizeof *m->best);
    bool there = m->counts != NULL && m->expected != NULL && m->signal != NULL && m->best != NULL;
    for (size_t k = 0; status == QN_OK && there && k < m->n_outputs; k++) {
        m->counts[k] = program->outputs[k].count;
        if (m->counts[k] < 1) {
            status = qn_fail(err, QN_ESHAPE, m->cuts->model->graph.file, "output %zu has no elements", k);
        }
        size_t n = 0;
        there = qn_mul_size((size_t)m->n_items, (size_t)m->counts[k], &n);
        m->expected[k] = there ? qn_arena_array(arena, n, sizeof **m->expected) : NULL;
        there = m->expected[k] != NULL;
    }
    qn_measure_stage_close(&whole);
    return status != QN_OK ? status : there ? QN_OK : qn_fail_memory(err, NULL, (size_t)m->n_items * sizeof *m->signal);
}

static qn_status measure(qn_measure *m, qn_arena *arena, qn_error *err)
{
    const qn_cut_study *s = m->study;
    QN_TRY(prepare(m, arena, err));
    QN_TRY(check_label_values(m, err));
    sums *all = qn_arena_array(arena, s->n_positions * (s->n_choices + 1), sizeof *all);
    if (all == NULL) {
        return qn_fail_memory(err, NULL, s->n_positions * s->n_choices * sizeof *all);
    }
    size_t last = 0;
    m->total = m->n_items;
    for (size_t p = 1; p < s->n_positions; p++) {
        last = s->studied[p] ? p : last;
    }
    for (size_t p = 1; p <= last; p++) {
        m->total += m->cuts->cuts[p].reason == NULL ? m->n_items : 0;
        for (size_t c = 0; c < s->n_choices; c++) {
            m->total += qn_measure_runs(m, p, c) ? m->n_items : 0;
        }
    }
    QN_TRY(qn_measure_baseline(m, err));
    int64_t part = 0;
    QN_TRY(choose_part(&part, m, last, err));
    for (m->first = 0; m->first < m->n_items; m->first += part) {
        m->n = m->n_items - m->first < part ? m->n_items - m->first : part;
        QN_TRY(walk(m, last, all, err));
    }
    finish(m, all);
    return QN_OK;
}

static qn_status run(qn_cut_study *s, const qn_cuts *cuts, const qn_cut_study_options *options, qn_error *err)
{
    qn_arena arena = {0};
    qn_measure m = {.cuts = cuts, .options = options, .study = s, .message_items = options->message_items};
    QN_TRY(study_open(s, cuts, options, err));
    QN_TRY(qn_measure_plan(&m, err));
    if (options->data == NULL) {
        return QN_OK;
    }
    pthread_mutex_init(&m.mutex, NULL);
    qn_status status = measure(&m, &arena, err);
    pthread_mutex_destroy(&m.mutex);
    qn_arena_free(&arena);
    return status;
}

qn_status qn_cut_study_run(qn_cut_study **study, const qn_cuts *cuts, const qn_cut_study_options *options,
                           qn_error *err)
{
    QN_TRY(check(cuts, options, err));
    qn_cut_study *s = qn_alloc(sizeof *s);
    if (s == NULL) {
        return qn_fail_memory(err, NULL, sizeof *s);
    }
    qn_status status = run(s, cuts, options, err);
    if (status != QN_OK) {
        qn_cut_study_free(s);
        return status;
    }
    *study = s;
    return QN_OK;
}

void qn_cut_study_free(qn_cut_study *study)
{
    if (study != NULL) {
        qn_arena_free(&study->arena);
        qn_free(study);
    }
}

const qn_cut_baseline *qn_cut_study_baseline(const qn_cut_study *study)
{
    return &study->baseline;
}

const qn_cut_result *qn_cut_study_at(const qn_cut_study *study, size_t position, size_t choice)
{
    return position < study->n_positions && study->studied[position] && choice < study->n_choices
               ? &study->results[position * study->n_choices + choice]
               : NULL;
}

size_t qn_cut_study_same_as(const qn_cut_study *study, size_t position)
{
    return position < study->n_positions ? study->same_as[position] : position;
}
