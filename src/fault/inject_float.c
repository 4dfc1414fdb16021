/* Faults in float and simulated networks: groups, waves, and what comes out. */
#include "fault/inject_float.h"

#include <string.h>

#include "engine/feed.h"

/* Life. */

static void release_worker(qn_floats_worker *w, int n_targets)
{
    qn_restart_free(w->restart);
    for (int i = 0; w->fits != NULL && i < n_targets; i++) {
        qn_free(w->fits[i].quantizers);
    }
    qn_free(w->fits);
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
    qn_free(w->jobs);
    qn_free(w->writes);
    qn_free(w->next_wave);
}

static void release(qn_injector *injector)
{
    qn_floats_injector *state = injector->state;
    if (state == NULL) {
        return;
    }
    const int n_targets = injector->options.targets->n;
    for (int i = 0; state->workers != NULL && i < injector->options.n_workers; i++) {
        release_worker(&state->workers[i], n_targets);
    }
    qn_floats_places_free(state, n_targets);
    qn_free(state->workers);
    qn_free(state);
}

static qn_status allocate_worker(const qn_injector *injector, qn_floats_worker *w, qn_error *err)
{
    const qn_floats_injector *state = injector->state;
    const qn_program *program = injector->options.program;
    const size_t batch = (size_t)state->batch;
    w->input = qn_alloc(batch * (size_t)program->inputs[0].count * sizeof *w->input);
    w->inputs = w->input;
    w->outputs = qn_alloc((size_t)injector->output_count * sizeof *w->outputs);
    w->seen = qn_alloc(state->tensor_elems * sizeof *w->seen);
    w->made = qn_alloc(state->tensor_elems * sizeof *w->made);
    w->scratch = qn_alloc(state->scratch_bytes);
    w->changed = qn_alloc((size_t)injector->options.targets->n * sizeof(qn_quantizer *));
    w->fits = qn_alloc((size_t)injector->options.targets->n * sizeof *w->fits);
    w->next_wave = qn_alloc(batch * sizeof *w->next_wave);
    if (w->input == NULL || w->outputs == NULL || w->seen == NULL || w->made == NULL || w->scratch == NULL ||
        w->changed == NULL || w->fits == NULL || w->next_wave == NULL) {
        return qn_fail_memory(err, program->graph.file, batch * (size_t)program->inputs[0].count * sizeof *w->input);
    }
    return QN_OK;
}

static qn_status create(qn_injector *injector, qn_error *err)
{
    const qn_injector_options *options = &injector->options;
    QN_TRY(qn_feed_check(options->program, options->data, err));
    qn_floats_injector *state = qn_alloc(sizeof *state);
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
    QN_TRY(qn_floats_places(state, options, state->workers[0].restart, err));
    for (int i = 0; i < options->n_workers; i++) {
        QN_TRY(allocate_worker(injector, &state->workers[i], err));
    }
    return QN_OK;
}

static int64_t group(const qn_injector *injector)
{
    return qn_floats_state(injector)->batch;
}

/* Groups. */

static qn_status load(const qn_injector *injector, qn_floats_worker *w, int64_t first, int64_t n, qn_error *err)
{
    if (w->n == n && w->first == first) {
        return QN_OK;
    }
    w->n = 0;
    if (n < 1 || n > qn_floats_state(injector)->batch) {
        return qn_fail(err, QN_EINVAL, injector->options.program->graph.file, "%lld images in a group of at most %lld",
                       (long long)n, (long long)qn_floats_state(injector)->batch);
    }
    QN_TRY(qn_dataset_read(injector->options.data, first, n, w->input, err));
    QN_TRY(qn_restart_load(w->restart, &w->inputs, n, err));
    w->first = first;
    w->n = n;
    return QN_OK;
}

static qn_status golden(qn_injector *injector, int worker, int64_t first, int64_t n, float *outputs, qn_error *err)
{
    qn_floats_worker *w = &qn_floats_state(injector)->workers[worker];
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

static qn_status describe(const qn_injector *injector, qn_floats_entry *e, qn_error *err)
{
    const qn_fault_targets *targets = injector->options.targets;
    e->start = INT32_MAX;
    e->patchable = true;
    e->single = e->fault->n_changes > 0 && e->fault->n_changes <= QN_FLOATS_FEW;
    for (int64_t i = 0; i < e->fault->n_changes; i++) {
        const qn_fault_change *change = &e->fault->changes[i];
        const qn_floats_place *p = &qn_floats_state(injector)->places[change->target];
        const bool constant = p->kind == QN_FLOATS_CONSTANT || p->kind == QN_FLOATS_CONSTANT_PARAMETER;
        if (p->kind == QN_FLOATS_NOWHERE) {
            const qn_fault_target *t = &targets->list[change->target];
            return qn_fail(err, QN_EUNSUPPORTED, injector->options.program->graph.file,
                           "%s of '%s' (%s) are no codes in the %s engine; use the integer engine or other targets",
                           qn_fault_where_text(t->where), t->layer, t->value_name,
                           injector->options.program->engine->name);
        }
        e->start = p->start < e->start ? p->start : e->start;
        e->constants |= constant;
        e->parameters |= p->kind == QN_FLOATS_CONSTANT_PARAMETER || p->kind == QN_FLOATS_VALUE_PARAMETER;
        e->whole_batch |= p->whole_batch;
        e->patchable &= !constant || p->patchable;
        e->single &= change->target == e->fault->changes[0].target && p->kind == QN_FLOATS_VALUE;
    }
    e->single &= !e->whole_batch;
    return QN_OK;
}

static qn_status add_entry(const qn_injector *injector, qn_floats_worker *w, const qn_fault *fault, int64_t index,
                           qn_error *err)
{
    const int64_t batch = qn_floats_state(injector)->batch;
    void *entries = w->entries, *pairs = w->pairs;
    QN_TRY(qn_grow(&entries, &w->entries_capacity, w->n_entries, sizeof *w->entries, err));
    w->entries = entries;
    const size_t first = w->n_entries * (size_t)batch;
    QN_TRY(qn_grow(&pairs, &w->pairs_capacity, first + (size_t)batch - 1, sizeof *w->pairs, err));
    w->pairs = pairs;
    const int64_t count = qn_injector_n_images(&injector->options);
    int64_t since = ((w->first - fault->first_image) % count + count) % count;
    bool any = false;
    for (int64_t slot = 0; slot < batch; slot++, since = since + 1 < count ? since + 1 : 0) {
        const bool present = slot < w->n && since < fault->n_images;
        w->pairs[first + (size_t)slot] = (qn_floats_pair){.present = present};
        any |= present;
    }
    if (any) {
        qn_floats_entry *e = &w->entries[w->n_entries];
        *e = (qn_floats_entry){.fault = fault, .index = index, .pairs = (int64_t)w->n_entries};
        QN_TRY(describe(injector, e, err));
        w->n_entries++;
    }
    return QN_OK;
}

static qn_status run(qn_injector *injector, int worker, int64_t first, int64_t n, const qn_fault *const *faults,
                     int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err)
{
    qn_floats_worker *w = &qn_floats_state(injector)->workers[worker];
    const qn_floats_receiver to = {emit, ctx};
    QN_TRY(load(injector, w, first, n, err));
    w->n_entries = w->n_jobs = w->n_writes = 0;
    for (int64_t i = 0; i < n_faults; i++) {
        QN_TRY(add_entry(injector, w, faults[i], i, err));
    }
    return qn_floats_run(injector, w, &to, err);
}

const qn_injector_ops qn_injector_float = {
    .name = "float",
    .create = create,
    .release = release,
    .group = group,
    .golden = golden,
    .run = run,
};
