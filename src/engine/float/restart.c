/* Restarting: life and running. Places: restart_place.c; constants: restart_constant.c. */
#include "engine/float/restart.h"

#include <omp.h>
#include <string.h>

/* Step `index` reads args 1..; where it works in place its destination is among them. */
static void note_uses(qn_restart *r)
{
    for (size_t s = 0; s < r->code->n_slots; s++) {
        r->use[s] = (qn_restart_use){-1, -1, (int32_t)r->code->n_steps};
    }
    size_t first_arg = 0;
    for (size_t i = 0; i < r->code->n_steps; i++) {
        const qn_float_step *step = &r->code->steps[i];
        r->first_arg[i] = first_arg;
        first_arg += (size_t)step->n_args;
        for (int j = 0; j < step->n_args; j++) {
            if (step->args[j] == QN_FLOAT_NONE) {
                continue;
            }
            qn_restart_use *use = &r->use[r->code->tensors[step->args[j]].slot];
            if (j > 0) {
                use->first_reader = (int32_t)i < use->first_reader ? (int32_t)i : use->first_reader;
            } else {
                use->first_writer = use->first_writer < 0 ? (int32_t)i : use->first_writer;
                use->last_writer = (int32_t)i;
            }
        }
    }
}

/* Lists of the steps that made constants, by the slots they read. */
static qn_status list_made(qn_restart *r, qn_error *err)
{
    const qn_float_program *code = r->code;
    size_t n = 0;
    for (size_t i = 0; i < code->n_made; i++) {
        n += (size_t)code->made[i].n_args;
    }
    r->made.start = qn_arena_array(&r->arena, code->n_slots + 2, sizeof *r->made.start);
    r->made.list = qn_arena_array(&r->arena, n + 1, sizeof *r->made.list);
    if (r->made.start == NULL || r->made.list == NULL) {
        return qn_fail_memory(err, r->program->graph.file, n * sizeof *r->made.list);
    }
    for (int pass = 0; pass < 2; pass++) { /* count two places further on, then fill */
        for (size_t i = 0; i < code->n_made; i++) {
            const qn_float_step *step = &code->made[i];
            for (int j = 1; j < step->n_args; j++) {
                if (step->args[j] == QN_FLOAT_NONE) {
                    continue;
                }
                const int32_t slot = code->tensors[step->args[j]].slot;
                if (pass == 0) {
                    r->made.start[slot + 2]++;
                } else {
                    r->made.list[r->made.start[slot + 1]++] = (int32_t)i;
                }
            }
        }
        for (size_t s = 2; pass == 0 && s < code->n_slots + 2; s++) {
            r->made.start[s] += r->made.start[s - 1];
        }
    }
    return QN_OK;
}

static qn_status allocate(qn_restart *r, qn_error *err)
{
    const qn_float_program *code = r->code;
    const size_t n = code->n_slots + 1;
    r->first_arg = qn_arena_array(&r->arena, code->n_steps + 1, sizeof *r->first_arg);
    r->forced = qn_arena_array(&r->arena, code->n_steps + 1, sizeof *r->forced);
    r->remake = qn_arena_array(&r->arena, code->n_made + 1, sizeof *r->remake);
    r->by_item = qn_arena_array(&r->arena, n, sizeof *r->by_item);
    r->use = qn_arena_array(&r->arena, n, sizeof *r->use);
    r->map = qn_arena_array(&r->arena, code->n_made + 1, sizeof *r->map);
    r->own = qn_arena_array(&r->arena, n, sizeof *r->own);
    r->differs = qn_arena_array(&r->arena, n, sizeof *r->differs);
    r->stale = qn_arena_array(&r->arena, n, sizeof *r->stale);
    r->listed = qn_arena_array(&r->arena, n, sizeof *r->listed);
    r->touched = qn_arena_array(&r->arena, n, sizeof *r->touched);
    r->golden = qn_alloc(code->arena_bytes);
    if (r->first_arg == NULL || r->forced == NULL || r->remake == NULL || r->use == NULL || r->by_item == NULL ||
        r->map == NULL || r->own == NULL || r->differs == NULL || r->stale == NULL || r->listed == NULL ||
        r->touched == NULL || r->golden == NULL) {
        return qn_fail_memory(err, r->program->graph.file, code->arena_bytes);
    }
    return QN_OK;
}

static qn_status prepare(qn_restart *r, qn_error *err)
{
    QN_TRY(allocate(r, err));
    note_uses(r);
    qn_restart_find_items(r);
    QN_TRY(list_made(r, err));
    return qn_workspace_create(&r->workspace, r->program, err);
}

qn_status qn_restart_create(qn_restart **restart, const qn_program *program, qn_error *err)
{
    if (program->options.engine == QN_ENGINE_INTEGER || !program->options.keep_values) {
        return qn_fail(err, QN_EINVAL, program->graph.file,
                       "only programs of the float and the simulate engine that keep their values can be restarted");
    }
    qn_restart *r = qn_alloc(sizeof *r);
    if (r == NULL) {
        return qn_fail_memory(err, program->graph.file, sizeof *r);
    }
    r->program = program;
    r->code = program->code;
    const qn_status status = prepare(r, err);
    if (status != QN_OK) {
        qn_restart_free(r);
        return status;
    }
    *restart = r;
    return QN_OK;
}

void qn_restart_free(qn_restart *restart)
{
    if (restart == NULL) {
        return;
    }
    qn_workspace_free(restart->workspace); /* its memory objects point to the copies */
    for (size_t s = 0; restart->own != NULL && s < restart->code->n_slots; s++) {
        qn_free(restart->own[s]);
    }
    qn_free(restart->golden);
    qn_free(restart->undo);
    qn_arena_free(&restart->arena);
    qn_free(restart);
}

static qn_status execute(qn_restart *r, int32_t i, qn_error *err)
{
    const qn_float_workspace *memory = r->workspace->memory;
    const size_t first = r->first_arg[i];
    return qn_float_run_step(r->workspace, (size_t)i, memory->args + first, memory->exec_args + first + (size_t)i, err);
}

qn_status qn_restart_load(qn_restart *restart, const float *const *inputs, int64_t n, qn_error *err)
{
    qn_restart *r = restart;
    if (n < 1 || n > r->program->options.batch) {
        return qn_fail(err, QN_EINVAL, r->program->graph.file, "run of %lld items with a program for batches of %lld",
                       (long long)n, (long long)r->program->options.batch);
    }
    qn_restart_begin(r);
    r->inputs = inputs;
    r->n = n;
    for (size_t i = 0; i < r->program->n_inputs; i++) {
        qn_float_load_input(r->workspace, i, inputs[i], n);
    }
    const int threads = qn_float_hold_threads();
    qn_status status = QN_OK;
    for (int32_t i = 0; status == QN_OK && i < (int32_t)r->code->n_steps; i++) {
        status = execute(r, i, err);
    }
    omp_set_num_threads(threads);
    QN_TRY(status);
    memcpy(r->golden, qn_restart_arena_of(r), r->code->arena_bytes);
    memset(r->stale, 0, r->code->n_slots * sizeof *r->stale);
    return QN_OK;
}

static void put_back(qn_restart *r, int32_t slot)
{
    const qn_float_slot *s = &r->code->slots[slot];
    if (r->stale[slot]) {
        memcpy(qn_restart_arena_of(r) + s->offset, r->golden + s->offset, s->n_bytes);
        r->stale[slot] = false;
    }
}

void qn_restart_bring(qn_restart *restart, int32_t slot)
{
    if (!restart->differs[slot]) {
        put_back(restart, slot);
    }
}

void qn_restart_touch(qn_restart *restart, int32_t slot)
{
    if (!restart->listed[slot]) {
        restart->listed[slot] = true;
        restart->touched[restart->n_touched++] = slot;
    }
    restart->differs[slot] = true;
}

qn_status qn_restart_save(qn_restart *restart, float *at, qn_error *err)
{
    void *list = restart->undo;
    QN_TRY(qn_grow(&list, &restart->undo_capacity, restart->n_undo, sizeof *restart->undo, err));
    restart->undo = list;
    restart->undo[restart->n_undo++] = (qn_restart_undo_entry){at, *at};
    return QN_OK;
}

void qn_restart_begin(qn_restart *restart)
{
    restart->next = 0;
}

void qn_restart_remake(qn_restart *restart, qn_value_id value)
{
    const int32_t slot = qn_restart_tensor_of(restart, value)->slot, first = restart->use[slot].first_writer;
    if (first < 0 || restart->forced[first]) {
        return;
    }
    restart->forced[first] = true;
    for (size_t i = 0; i < restart->program->n_inputs; i++) {
        if (restart->code->tensors[restart->code->inputs[i]].slot == slot) { /* it was put through in place */
            qn_float_load_input(restart->workspace, i, restart->inputs[i], restart->n);
            qn_restart_touch(restart, slot);
            restart->stale[slot] = true;
        }
    }
}

static bool wants(const qn_restart *r, const qn_float_step *step)
{
    bool differs = false;
    for (int j = 1; j < step->n_args; j++) {
        differs |= step->args[j] != QN_FLOAT_NONE && r->differs[r->code->tensors[step->args[j]].slot];
    }
    return differs;
}

/* Run a step: what it reads is golden's or differs, what it makes differs unless the bytes are the same. */
static qn_status redo(qn_restart *r, int32_t i, qn_error *err)
{
    const qn_float_step *step = &r->code->steps[i];
    const int32_t made = r->code->tensors[step->args[0]].slot;
    for (int j = 1; j < step->n_args; j++) {
        const int32_t slot = step->args[j] != QN_FLOAT_NONE ? r->code->tensors[step->args[j]].slot : made;
        if (slot != made) {
            qn_restart_bring(r, slot);
        }
    }
    QN_TRY(execute(r, i, err));
    const qn_float_slot *slot = &r->code->slots[made];
    qn_restart_touch(r, made);
    r->stale[made] = true;
    if (r->use[made].last_writer == i &&
        memcmp(qn_restart_arena_of(r) + slot->offset, r->golden + slot->offset, slot->n_bytes) == 0) {
        r->differs[made] = r->stale[made] = false;
    }
    return QN_OK;
}

qn_status qn_restart_run(qn_restart *restart, int32_t end, qn_error *err)
{
    qn_restart *r = restart;
    const int threads = qn_float_hold_threads();
    qn_status status = r->remakes ? qn_restart_remake_constants(r, err) : QN_OK;
    for (; status == QN_OK && r->next < end; r->next++) {
        if (r->forced[r->next] || wants(r, &r->code->steps[r->next])) {
            r->forced[r->next] = false;
            status = redo(r, r->next, err);
        }
    }
    omp_set_num_threads(threads);
    return status;
}

const float *qn_restart_golden(const qn_restart *restart, size_t index, int64_t item)
{
    const qn_float_tensor *tensor = &restart->code->tensors[restart->code->outputs[index]];
    const qn_float_slot *slot = &restart->code->slots[tensor->slot];
    const void *from = slot->constant != NULL ? slot->constant : restart->golden + slot->offset;
    return (const float *)from + item * restart->program->outputs[index].count;
}

const float *qn_restart_output(const qn_restart *restart, size_t index, int64_t item)
{
    const qn_float_tensor *tensor = &restart->code->tensors[restart->code->outputs[index]];
    const qn_float_slot *slot = &restart->code->slots[tensor->slot];
    if (!restart->differs[tensor->slot]) {
        return qn_restart_golden(restart, index, item);
    }
    const void *from =
        slot->constant != NULL ? restart->own[tensor->slot] : qn_restart_arena_of(restart) + slot->offset;
    return (const float *)from + item * restart->program->outputs[index].count;
}

void qn_restart_undo(qn_restart *restart)
{
    qn_restart *r = restart;
    while (r->n_undo > 0) {
        const qn_restart_undo_entry *entry = &r->undo[--r->n_undo];
        *entry->at = entry->was;
    }
    for (size_t i = 0; i < r->n_touched; i++) {
        const int32_t slot = r->touched[i];
        const qn_float_slot *s = &r->code->slots[slot];
        if (s->constant != NULL && r->stale[slot]) {
            memcpy(r->own[slot], s->constant, s->n_bytes);
            r->stale[slot] = false;
        }
        r->differs[slot] = r->listed[slot] = false;
    }
    if (r->remakes) { /* no step has run */
        memset(r->remake, 0, r->code->n_made * sizeof *r->remake);
        r->remakes = false;
    }
    r->n_touched = 0;
    r->next = 0;
}
