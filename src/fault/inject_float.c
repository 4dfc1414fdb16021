/* Faults in float and simulated networks: groups, waves, and what comes out. */
#include "fault/inject_float.h"

#include <stdlib.h>
#include <string.h>

#include "engine/feed.h"
#include "graph/model.h"

/* Life. */

static void release_worker(qn_float_worker *w, int n_targets)
{
    qn_restart_free(w->restart);
    for (int i = 0; w->changed != NULL && i < n_targets; i++) {
        qn_free(w->changed[i]);
    }
    qn_free(w->changed);
    qn_free(w->input);
    qn_free(w->outputs);
    qn_free(w->seen);
    qn_free(w->made);
    qn_free(w->scratch);
    qn_free(w->entries);
    qn_free(w->pairs);
    qn_free(w->events);
    qn_free(w->next_wave);
    qn_free(w->ready);
}

static void release(qn_injector *injector)
{
    qn_float_injector *state = injector->state;
    if (state == NULL) {
        return;
    }
    const int n_targets = injector->options.targets->n;
    for (int i = 0; state->workers != NULL && i < injector->options.n_workers; i++) {
        release_worker(&state->workers[i], n_targets);
    }
    qn_float_places_free(state, n_targets);
    qn_free(state->workers);
    qn_free(state);
}

static qn_status allocate_worker(const qn_injector *injector, qn_float_worker *w, qn_error *err)
{
    const qn_float_injector *state = injector->state;
    const qn_program *program = injector->options.program;
    const size_t batch = (size_t)state->batch;
    w->input = qn_alloc(batch * (size_t)program->inputs[0].count * sizeof *w->input);
    w->inputs = w->input;
    w->outputs = qn_alloc((size_t)injector->output_count * sizeof *w->outputs);
    w->seen = qn_alloc(state->tensor_elems * sizeof *w->seen);
    w->made = qn_alloc(state->tensor_elems * sizeof *w->made);
    w->scratch = qn_alloc(state->scratch_bytes);
    w->changed = qn_alloc((size_t)injector->options.targets->n * sizeof(qn_quantizer *));
    w->next_wave = qn_alloc(batch * sizeof *w->next_wave);
    w->ready = qn_alloc(batch * sizeof *w->ready);
    if (w->input == NULL || w->outputs == NULL || w->seen == NULL || w->made == NULL || w->scratch == NULL ||
        w->changed == NULL || w->next_wave == NULL || w->ready == NULL) {
        return qn_fail_memory(err, program->graph.file, batch * (size_t)program->inputs[0].count * sizeof *w->input);
    }
    return QN_OK;
}

static qn_status create(qn_injector *injector, qn_error *err)
{
    const qn_injector_options *options = &injector->options;
    QN_TRY(qn_feed_check(options->program, options->data, err));
    qn_float_injector *state = qn_alloc(sizeof *state);
    if (state == NULL) {
        return qn_fail_memory(err, options->program->graph.file, sizeof *state);
    }
    injector->state = state;
    state->batch = qn_program_batch(options->program);
    state->workers = qn_alloc((size_t)options->n_workers * sizeof *state->workers);
    if (state->workers == NULL) {
        return qn_fail_memory(err, options->program->graph.file, (size_t)options->n_workers * sizeof *state->workers);
    }
    for (int i = 0; i < options->n_workers; i++) {
        QN_TRY(qn_restart_create(&state->workers[i].restart, options->program, err));
    }
    QN_TRY(qn_float_places(state, options, state->workers[0].restart, err));
    for (int i = 0; i < options->n_workers; i++) {
        QN_TRY(allocate_worker(injector, &state->workers[i], err));
    }
    return QN_OK;
}

static int64_t group(const qn_injector *injector)
{
    return qn_float_state(injector)->batch;
}

/* Groups. */

static qn_status load(const qn_injector *injector, qn_float_worker *w, int64_t first, int64_t n, qn_error *err)
{
    if (w->n == n && w->first == first) {
        return QN_OK;
    }
    w->n = 0;
    if (n < 1 || n > qn_float_state(injector)->batch) {
        return qn_fail(err, QN_EINVAL, injector->options.program->graph.file, "%lld images in a group of at most %lld",
                       (long long)n, (long long)qn_float_state(injector)->batch);
    }
    QN_TRY(qn_dataset_read(injector->options.data, first, n, w->input, err));
    QN_TRY(qn_restart_load(w->restart, &w->inputs, n, err));
    w->first = first;
    w->n = n;
    return QN_OK;
}

static qn_status golden(qn_injector *injector, int worker, int64_t first, int64_t n, float *outputs, qn_error *err)
{
    qn_float_worker *w = &qn_float_state(injector)->workers[worker];
    QN_TRY(load(injector, w, first, n, err));
    for (int64_t i = 0; i < n; i++) {
        for (size_t k = 0; k < injector->options.program->n_outputs; k++) {
            const size_t count = (size_t)injector->options.program->outputs[k].count;
            memcpy(outputs, qn_restart_golden(w->restart, k, i), count * sizeof *outputs);
            outputs += count;
        }
    }
    return QN_OK;
}

/* Entries. */

static bool is_present(const qn_injector *injector, const qn_fault *fault, int64_t image)
{
    const int64_t count = qn_dataset_count(injector->options.data);
    const int64_t since = ((image - fault->first_image) % count + count) % count;
    return since < fault->n_images;
}

static qn_status describe(const qn_injector *injector, qn_float_entry *e, qn_error *err)
{
    const qn_fault_targets *targets = injector->options.targets;
    e->start = INT32_MAX;
    e->patchable = true;
    for (int64_t i = 0; i < e->fault->n_changes; i++) {
        const qn_fault_change *change = &e->fault->changes[i];
        const qn_float_place *p = &qn_float_state(injector)->places[change->target];
        const bool constant = p->kind == QN_FLOAT_CONSTANT || p->kind == QN_FLOAT_CONSTANT_PARAMETER;
        if (p->kind == QN_FLOAT_NOWHERE) {
            const qn_fault_target *t = &targets->list[change->target];
            return qn_fail(err, QN_EUNSUPPORTED, injector->options.program->graph.file,
                           "%s of '%s' (%s) are no codes in the %s engine; use the integer engine or other targets",
                           qn_fault_where_text(t->where), t->layer, t->value_name,
                           injector->options.program->engine->name);
        }
        e->start = p->start < e->start ? p->start : e->start;
        e->constants |= constant;
        e->parameters |= p->kind == QN_FLOAT_CONSTANT_PARAMETER || p->kind == QN_FLOAT_VALUE_PARAMETER;
        e->whole_batch |= p->whole_batch;
        e->patchable &= !constant || p->patchable;
    }
    return QN_OK;
}

static qn_status add_entry(const qn_injector *injector, qn_float_worker *w, const qn_fault *fault, int64_t index,
                           qn_error *err)
{
    const int64_t batch = qn_float_state(injector)->batch;
    void *entries = w->entries, *pairs = w->pairs;
    QN_TRY(qn_grow(&entries, &w->entries_capacity, w->n_entries, sizeof *w->entries, err));
    w->entries = entries;
    const size_t first = w->n_entries * (size_t)batch;
    QN_TRY(qn_grow(&pairs, &w->pairs_capacity, first + (size_t)batch - 1, sizeof *w->pairs, err));
    w->pairs = pairs;
    bool any = false;
    for (int64_t slot = 0; slot < batch; slot++) {
        const bool present = slot < w->n && is_present(injector, fault, w->first + slot);
        w->pairs[first + (size_t)slot] = (qn_float_pair){.present = present};
        any |= present;
    }
    if (any) {
        qn_float_entry *e = &w->entries[w->n_entries];
        *e = (qn_float_entry){.fault = fault, .index = index, .pairs = (int64_t)w->n_entries};
        QN_TRY(describe(injector, e, err));
        w->n_entries++;
    }
    return QN_OK;
}

static int by_start(const void *left, const void *right)
{
    const qn_float_entry *a = left, *b = right;
    if (a->start != b->start) {
        return a->start > b->start ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

static int by_wave(const void *left, const void *right)
{
    const qn_float_entry *a = left, *b = right;
    if (a->wave != b->wave) {
        return a->wave < b->wave ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

static void sort_entries(qn_float_worker *w, int (*order)(const void *, const void *))
{
    if (w->n_entries > 1) {
        qsort(w->entries, w->n_entries, sizeof *w->entries, order);
    }
}

/* The earliest wave in which all places of the batch that an entry needs are still free. */
static void give_waves(const qn_injector *injector, qn_float_worker *w)
{
    const int64_t batch = qn_float_state(injector)->batch;
    memset(w->next_wave, 0, (size_t)batch * sizeof *w->next_wave);
    for (size_t i = 0; i < w->n_entries; i++) {
        qn_float_entry *e = &w->entries[i];
        const qn_float_pair *pairs = &w->pairs[e->pairs * batch];
        for (int64_t slot = 0; slot < batch; slot++) {
            const bool taken = e->whole_batch || pairs[slot].present;
            e->wave = taken && w->next_wave[slot] > e->wave ? w->next_wave[slot] : e->wave;
        }
        for (int64_t slot = 0; slot < batch; slot++) {
            w->next_wave[slot] = e->whole_batch || pairs[slot].present ? e->wave + 1 : w->next_wave[slot];
        }
    }
}

/* Results. */

static bool same_outputs(const qn_injector *injector, const qn_float_worker *w, const qn_restart *restart, int64_t slot)
{
    const qn_program *program = injector->options.program;
    for (size_t k = 0; k < program->n_outputs; k++) {
        if (memcmp(qn_restart_output(restart, k, slot), qn_restart_golden(w->restart, k, slot),
                   (size_t)program->outputs[k].count * sizeof(float)) != 0) {
            return false;
        }
    }
    return true;
}

static const float *outputs_of(const qn_injector *injector, const qn_float_worker *w, const qn_restart *restart,
                               int64_t slot)
{
    const qn_program *program = injector->options.program;
    if (program->n_outputs == 1) {
        return qn_restart_output(restart, 0, slot);
    }
    float *to = w->outputs;
    for (size_t k = 0; k < program->n_outputs; k++) {
        const size_t count = (size_t)program->outputs[k].count;
        memcpy(to, qn_restart_output(restart, k, slot), count * sizeof *to);
        to += count;
    }
    return w->outputs;
}

typedef struct {
    qn_fault_emit *emit;
    void *ctx;
} receiver;

/* `restart` NULL: refused, or no run was needed. */
static void report(const qn_injector *injector, const qn_float_worker *w, const qn_restart *restart, int32_t entry,
                   bool refused, const receiver *to)
{
    const qn_float_entry *e = &w->entries[entry];
    for (int64_t slot = 0; slot < w->n; slot++) {
        const qn_float_pair *pair = &w->pairs[e->pairs * qn_float_state(injector)->batch + slot];
        if (!pair->present) {
            continue;
        }
        qn_fault_effect effect = {.before = pair->before, .after = pair->after, .died_at = -1};
        if (refused) {
            effect.end = QN_FAULT_REFUSED;
        } else if (!pair->active || restart == NULL) {
            effect.end = QN_FAULT_INACTIVE;
        } else if (same_outputs(injector, w, restart, slot)) {
            effect.end = QN_FAULT_ON_THE_WAY;
        } else {
            effect.end = QN_FAULT_AT_OUTPUT;
            effect.outputs = outputs_of(injector, w, restart, slot);
        }
        to->emit(to->ctx, e->index, w->first + slot, &effect);
    }
}

/* Waves. */

/* Constants that went into others before there was a program: another model, and its whole run. */
static qn_status run_anew(const qn_injector *injector, qn_float_worker *w, int32_t entry, const receiver *to,
                          qn_error *err)
{
    const qn_injector_options *options = &injector->options;
    qn_model model = {0};
    qn_program *program = NULL;
    qn_restart *restart = NULL;
    qn_status status = qn_graph_clone(&model.graph, &options->model->graph, err);
    if (status == QN_OK) {
        status = qn_float_change_constants(injector, w, NULL, &model.graph, entry, err);
    }
    if (status == QN_OK) {
        status = qn_program_create(&program, &model, &options->program->options, err);
    }
    if (status == QN_OK) {
        status = qn_restart_create(&restart, program, err);
    }
    if (status == QN_OK) {
        status = qn_restart_load(restart, &w->inputs, w->n, err);
    }
    w->n_events = 0;
    if (status == QN_OK) {
        status = qn_float_add_events(injector, w, entry, err);
    }
    if (status == QN_OK) {
        qn_restart_begin(restart);
        status = qn_float_change_values(injector, w, restart, err);
    }
    if (status == QN_OK) {
        report(injector, w, restart, entry, false, to);
    }
    qn_restart_free(restart);
    qn_program_free(program);
    qn_graph_free(&model.graph);
    return status;
}

/* Is there something to run, and can it be run in place? */
static qn_status begin_entry(const qn_injector *injector, qn_float_worker *w, int32_t entry, const receiver *to,
                             bool *runs, qn_error *err)
{
    const qn_float_entry *e = &w->entries[entry];
    bool refuses = false;
    *runs = false;
    if (e->parameters) {
        QN_TRY(qn_float_refuses(injector, w, entry, &refuses, err));
    }
    if (refuses || e->fault->n_changes == 0) {
        report(injector, w, NULL, entry, refuses, to);
        return QN_OK;
    }
    if (!e->patchable) {
        return run_anew(injector, w, entry, to, err);
    }
    *runs = true;
    return QN_OK;
}

static qn_status run_wave(const qn_injector *injector, qn_float_worker *w, const int32_t *entries, int32_t n,
                          const receiver *to, qn_error *err)
{
    qn_restart_begin(w->restart);
    w->n_events = 0;
    for (int32_t i = 0; i < n; i++) {
        if (w->entries[entries[i]].constants) {
            QN_TRY(qn_float_change_constants(injector, w, w->restart, NULL, entries[i], err));
        }
        QN_TRY(qn_float_add_events(injector, w, entries[i], err));
    }
    QN_TRY(qn_float_change_values(injector, w, w->restart, err));
    for (int32_t i = 0; i < n; i++) {
        report(injector, w, w->restart, entries[i], false, to);
    }
    return QN_OK;
}

static qn_status run_waves(const qn_injector *injector, qn_float_worker *w, const receiver *to, qn_error *err)
{
    int32_t *ready = w->ready, n = 0;
    for (int32_t i = 0; i < (int32_t)w->n_entries; i++) {
        bool runs;
        QN_TRY(begin_entry(injector, w, i, to, &runs, err));
        if (runs) {
            ready[n++] = i;
        }
        const bool last = i + 1 == (int32_t)w->n_entries || w->entries[i + 1].wave != w->entries[i].wave;
        if (last && n > 0) {
            const qn_status status = run_wave(injector, w, ready, n, to, err);
            qn_restart_undo(w->restart);
            QN_TRY(status);
            n = 0;
        }
    }
    return QN_OK;
}

static qn_status run(qn_injector *injector, int worker, int64_t first, int64_t n, const qn_fault *const *faults,
                     int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err)
{
    qn_float_worker *w = &qn_float_state(injector)->workers[worker];
    QN_TRY(load(injector, w, first, n, err));
    w->n_entries = 0;
    for (int64_t i = 0; i < n_faults; i++) {
        QN_TRY(add_entry(injector, w, faults[i], i, err));
    }
    sort_entries(w, by_start);
    give_waves(injector, w);
    sort_entries(w, by_wave);
    const receiver to = {emit, ctx};
    return run_waves(injector, w, &to, err);
}

const qn_injector_ops qn_injector_float = {
    .name = "float",
    .create = create,
    .release = release,
    .group = group,
    .golden = golden,
    .run = run,
};
