/* Jobs and waves: what is run at once, and what comes out. */
#include <stdlib.h>
#include <string.h>

#include "fault/inject_float.h"
#include "graph/model.h"

/* Results. */

static bool same_outputs(const qn_injector *injector, const qn_floats_worker *w, const qn_restart *restart,
                         int64_t slot)
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

static const float *outputs_of(const qn_injector *injector, const qn_floats_worker *w, const qn_restart *restart,
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

/* Was it gone when the layer was done that the constant belongs to? */
static bool died_in_layer(const qn_injector *injector, const qn_floats_worker *w, const qn_floats_entry *e,
                          int64_t slot)
{
    const qn_fault_target *t = &injector->options.targets->list[e->fault->changes[0].target];
    for (int64_t i = 1; i < e->fault->n_changes; i++) {
        if (e->fault->changes[i].target != e->fault->changes[0].target) {
            return false;
        }
    }
    const qn_value_id value = t->node >= 0 ? injector->options.program->graph.nodes[t->node].outputs[0] : QN_NO_VALUE;
    return e->constants && value != QN_NO_VALUE && qn_restart_has(w->restart, value) &&
           qn_restart_is_by_item(w->restart, value) && !qn_restart_item_differs(w->restart, value, slot);
}

/* An entry in one image that was run. */
static void report_run(const qn_injector *injector, const qn_floats_worker *w, const qn_restart *restart,
                       const qn_floats_entry *e, int64_t slot, const qn_floats_receiver *to)
{
    const qn_floats_pair *pair = &w->pairs[e->pairs * qn_floats_state(injector)->batch + slot];
    qn_fault_effect effect = {.before = pair->before, .after = pair->after, .died_at = -1};
    if (!pair->active) {
        effect.end = QN_FAULT_INACTIVE;
    } else if (same_outputs(injector, w, restart, slot)) {
        const bool in_layer = restart == w->restart && died_in_layer(injector, w, e, slot);
        effect.end = in_layer ? QN_FAULT_IN_LAYER : QN_FAULT_ON_THE_WAY;
        effect.died_at = in_layer ? injector->options.targets->list[e->fault->changes[0].target].node : -1;
    } else {
        effect.end = QN_FAULT_AT_OUTPUT;
        effect.outputs = outputs_of(injector, w, restart, slot);
    }
    to->emit(to->ctx, e->index, w->first + slot, &effect);
}

/* An entry in all its images, or a known end of it in one. */
static void report_all(const qn_injector *injector, const qn_floats_worker *w, const qn_restart *restart,
                       const qn_floats_entry *e, const qn_floats_receiver *to)
{
    for (int64_t slot = 0; slot < w->n; slot++) {
        if (w->pairs[e->pairs * qn_floats_state(injector)->batch + slot].present) {
            report_run(injector, w, restart, e, slot, to);
        }
    }
}

static void report_end(const qn_injector *injector, const qn_floats_worker *w, const qn_floats_entry *e, int64_t slot,
                       qn_fault_end end, int32_t died_at, const qn_floats_receiver *to)
{
    const qn_floats_pair *pair = &w->pairs[e->pairs * qn_floats_state(injector)->batch + slot];
    const qn_fault_effect effect = {.end = end, .before = pair->before, .after = pair->after, .died_at = died_at};
    to->emit(to->ctx, e->index, w->first + slot, &effect);
}

/* Jobs. */

static qn_status add_job(qn_floats_worker *w, const qn_floats_job *job, const qn_floats_write *writes, qn_error *err)
{
    void *jobs = w->jobs, *list = w->writes;
    QN_TRY(qn_grow(&jobs, &w->jobs_capacity, w->n_jobs, sizeof *w->jobs, err));
    w->jobs = jobs;
    w->jobs[w->n_jobs] = *job;
    w->jobs[w->n_jobs++].first = (int64_t)w->n_writes;
    if (job->n > 0) {
        QN_TRY(qn_grow(&list, &w->writes_capacity, w->n_writes + (size_t)job->n - 1, sizeof *w->writes, err));
        w->writes = list;
        memcpy(w->writes + w->n_writes, writes, (size_t)job->n * sizeof *writes);
        w->n_writes += (size_t)job->n;
    }
    return QN_OK;
}

/* A few codes of one value, image by image: most need no run. */
static qn_status follow_entry(const qn_injector *injector, qn_floats_worker *w, int32_t entry,
                              const qn_floats_receiver *to, qn_error *err)
{
    const qn_floats_entry *e = &w->entries[entry];
    const qn_fault_target *t = &injector->options.targets->list[e->fault->changes[0].target];
    const qn_floats_pair *pairs = &w->pairs[e->pairs * qn_floats_state(injector)->batch];
    for (int64_t slot = 0; slot < w->n; slot++) {
        if (!pairs[slot].present) {
            continue;
        }
        qn_floats_write writes[QN_FLOATS_FOLLOWED];
        int n;
        int32_t node = t->node;
        qn_value_id value = t->value;
        QN_TRY(qn_floats_find_writes(injector, w, entry, slot, writes, &n, err));
        if (!pairs[slot].active) {
            report_end(injector, w, e, slot, QN_FAULT_INACTIVE, -1, to);
            continue;
        }
        if (n > 0) {
            qn_floats_follow(injector, w, slot, &value, writes, &n, &node);
        }
        if (n == 0) {
            report_end(injector, w, e, slot, QN_FAULT_ON_THE_WAY, node, to);
            continue;
        }
        const qn_floats_job job = {
            .entry = entry, .slot = (int32_t)slot, .start = qn_restart_step(w->restart, value), .value = value, .n = n};
        QN_TRY(add_job(w, &job, writes, err));
    }
    return QN_OK;
}

/* Constants that went into others before there was a program: another model, and its whole run. */
static qn_status run_anew(const qn_injector *injector, qn_floats_worker *w, int32_t entry, const qn_floats_receiver *to,
                          qn_error *err)
{
    const qn_injector_options *options = &injector->options;
    qn_model model = {0};
    qn_program *program = NULL;
    qn_restart *restart = NULL;
    qn_status status = qn_graph_clone(&model.graph, &options->model->graph, err);
    if (status == QN_OK) {
        status = qn_floats_change_constants(injector, w, NULL, &model.graph, entry, err);
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
        status = qn_floats_add_events(injector, w, entry, err);
    }
    if (status == QN_OK) {
        qn_restart_begin(restart);
        status = qn_floats_change_values(injector, w, restart, err);
    }
    if (status == QN_OK) {
        report_all(injector, w, restart, &w->entries[entry], to);
    }
    qn_restart_free(restart);
    qn_program_free(program);
    qn_graph_free(&model.graph);
    return status;
}

/* What is left to run of an entry. */
static qn_status begin_entry(const qn_injector *injector, qn_floats_worker *w, int32_t entry,
                             const qn_floats_receiver *to, qn_error *err)
{
    const qn_floats_entry *e = &w->entries[entry];
    bool refuses = false;
    if (e->parameters) {
        QN_TRY(qn_floats_refuses(injector, w, entry, &refuses, err));
    }
    if (refuses || e->fault->n_changes == 0) {
        for (int64_t slot = 0; slot < w->n; slot++) {
            if (w->pairs[e->pairs * qn_floats_state(injector)->batch + slot].present) {
                report_end(injector, w, e, slot, refuses ? QN_FAULT_REFUSED : QN_FAULT_INACTIVE, -1, to);
            }
        }
        return QN_OK;
    }
    if (e->single) {
        return follow_entry(injector, w, entry, to, err);
    }
    if (!e->patchable) {
        return run_anew(injector, w, entry, to, err);
    }
    const qn_floats_job job = {.entry = entry, .slot = -1, .start = e->start};
    return add_job(w, &job, NULL, err);
}

/* Waves. */

static int by_start(const void *left, const void *right)
{
    const qn_floats_job *a = left, *b = right;
    if (a->start != b->start) {
        return a->start > b->start ? -1 : 1;
    }
    return a->entry != b->entry ? (a->entry < b->entry ? -1 : 1) : a->slot - b->slot;
}

static int by_wave(const void *left, const void *right)
{
    const qn_floats_job *a = left, *b = right;
    return a->wave != b->wave ? (a->wave < b->wave ? -1 : 1) : by_start(left, right);
}

static bool takes(const qn_floats_worker *w, const qn_floats_job *job, int64_t slot, int64_t batch)
{
    const qn_floats_entry *e = &w->entries[job->entry];
    return job->slot >= 0 ? job->slot == slot : e->whole_batch || w->pairs[e->pairs * batch + slot].present;
}

/* The earliest wave in which all places of the batch that a job needs are still free. */
static void give_wave(const qn_injector *injector, qn_floats_worker *w, qn_floats_job *job)
{
    const int64_t batch = qn_floats_state(injector)->batch;
    const int64_t first = job->slot >= 0 ? job->slot : 0, end = job->slot >= 0 ? job->slot + 1 : batch;
    for (int64_t slot = first; slot < end; slot++) {
        job->wave = takes(w, job, slot, batch) && w->next_wave[slot] > job->wave ? w->next_wave[slot] : job->wave;
    }
    for (int64_t slot = first; slot < end; slot++) {
        w->next_wave[slot] = takes(w, job, slot, batch) ? job->wave + 1 : w->next_wave[slot];
    }
}

static void give_waves(const qn_injector *injector, qn_floats_worker *w)
{
    if (w->n_jobs == 0) {
        return;
    }
    memset(w->next_wave, 0, (size_t)qn_floats_state(injector)->batch * sizeof *w->next_wave);
    qsort(w->jobs, w->n_jobs, sizeof *w->jobs, by_start);
    for (size_t i = 0; i < w->n_jobs; i++) {
        give_wave(injector, w, &w->jobs[i]);
    }
    qsort(w->jobs, w->n_jobs, sizeof *w->jobs, by_wave);
}

static qn_status begin_job(const qn_injector *injector, qn_floats_worker *w, int32_t index, qn_error *err)
{
    const qn_floats_job *job = &w->jobs[index];
    if (job->slot < 0) {
        if (w->entries[job->entry].constants) {
            QN_TRY(qn_floats_change_constants(injector, w, w->restart, NULL, job->entry, err));
        }
        return qn_floats_add_events(injector, w, job->entry, err);
    }
    void *events = w->events;
    QN_TRY(qn_grow(&events, &w->events_capacity, w->n_events, sizeof *w->events, err));
    w->events = events;
    w->events[w->n_events++] = (qn_floats_event){
        .at = job->start, .value = job->value, .kind = QN_FLOATS_VALUE, .entry = job->entry, .job = index};
    return QN_OK;
}

static qn_status run_wave(const qn_injector *injector, qn_floats_worker *w, int32_t first, int32_t end,
                          const qn_floats_receiver *to, qn_error *err)
{
    qn_restart_begin(w->restart);
    w->n_events = 0;
    for (int32_t i = first; i < end; i++) {
        QN_TRY(begin_job(injector, w, i, err));
    }
    QN_TRY(qn_floats_change_values(injector, w, w->restart, err));
    for (int32_t i = first; i < end; i++) {
        const qn_floats_job *job = &w->jobs[i];
        const qn_floats_entry *e = &w->entries[job->entry];
        if (job->slot >= 0) {
            report_run(injector, w, w->restart, e, job->slot, to);
        } else {
            report_all(injector, w, w->restart, e, to);
        }
    }
    return QN_OK;
}

qn_status qn_floats_run(const qn_injector *injector, qn_floats_worker *worker, const qn_floats_receiver *to,
                        qn_error *err)
{
    qn_floats_worker *w = worker;
    for (int32_t i = 0; i < (int32_t)w->n_entries; i++) {
        QN_TRY(begin_entry(injector, w, i, to, err));
    }
    give_waves(injector, w);
    int32_t end;
    for (int32_t first = 0; first < (int32_t)w->n_jobs; first = end) {
        end = first + 1;
        while (end < (int32_t)w->n_jobs && w->jobs[end].wave == w->jobs[first].wave) {
            end++;
        }
        const qn_status status = run_wave(injector, w, first, end, to, err);
        qn_restart_undo(w->restart);
        QN_TRY(status);
    }
    return QN_OK;
}
