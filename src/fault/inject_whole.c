/* Whole networks from scratch: what every faster injector is held against. It shares nothing with them: a faulty constant or parameter
 * makes another model and another program, kept as long as the next fault has the same; each run computes everything.
 *
 * It tells outputs that differ from those that do not; where a difference died it does not look. */
#include <stdlib.h>
#include <string.h>

#include "engine/feed.h"
#include "fault/inject_whole.h"
#include "graph/model.h"

/* A program with hooks in it (float, simulate), or none, and its memory. */
typedef struct runner {
    qn_program *own; /* NULL: options.program */
    qn_whole_hooks hooks;
    qn_workspace *workspace;
} runner;

/*  base     without static changes;  other: with those of `key`, of which there is no program where `refused`
 *           key_leads: its first is the fault's first
 *  statics  what became of them
 *  first, n   images that `inputs` and `golden` hold */
typedef struct worker {
    runner base, other;
    qn_fault_change *key;
    int64_t n_key;
    bool key_leads, refused;
    qn_whole_codes statics;
    int64_t first, n;
    float *inputs, *golden, *faulty, **outputs;
    qn_whole_codes *codes;
} worker;

typedef struct whole {
    int64_t group;
    int n_workers;
    worker *workers;
} whole;

static bool is_integer(const qn_injector *injector)
{
    return injector->options.program->engine == &qn_engine_integer_ops;
}

static void release_runner(runner *r)
{
    qn_workspace_free(r->workspace);
    qn_program_free(r->own);
    *r = (runner){0};
}

static void release_worker(worker *w, size_t n_outputs)
{
    release_runner(&w->base);
    release_runner(&w->other);
    for (size_t i = 0; w->outputs != NULL && i < n_outputs; i++) {
        qn_free(w->outputs[i]);
    }
    qn_free(w->outputs);
    qn_free(w->key);
    qn_free(w->inputs);
    qn_free(w->golden);
    qn_free(w->faulty);
    qn_free(w->codes);
}

static void release(qn_injector *injector)
{
    whole *state = injector->state;
    for (int i = 0; state != NULL && state->workers != NULL && i < state->n_workers; i++) {
        release_worker(&state->workers[i], qn_program_n_outputs(injector->options.program));
    }
    if (state != NULL) {
        qn_free(state->workers);
    }
    qn_free(state);
    injector->state = NULL;
}

/* The runner's program with steps for changes, and its workspace. */
static qn_status finish_runner(const qn_injector *injector, runner *r, qn_error *err)
{
    if (!is_integer(injector)) {
        QN_TRY(qn_whole_hook(r->own, &r->hooks, injector->options.targets, err));
    }
    return qn_workspace_create(&r->workspace, r->own != NULL ? r->own : injector->options.program, err);
}

static qn_status make_base(const qn_injector *injector, worker *w, qn_error *err)
{
    bool refused = false;
    if (!is_integer(injector)) {
        qn_whole_codes none = {.targets = injector->options.targets};
        QN_TRY(qn_whole_program(&w->base.own, &refused, &injector->options, &none, err));
    }
    if (refused) {
        return qn_fail(err, QN_EINTERNAL, injector->options.model->graph.file,
                       "no second program can be made of the model");
    }
    return finish_runner(injector, &w->base, err);
}

static qn_status make_worker(const qn_injector *injector, worker *w, int64_t group, qn_error *err)
{
    const qn_program *program = injector->options.program;
    const size_t n_outputs = qn_program_n_outputs(program);
    const size_t in = (size_t)group * (size_t)qn_program_input_count(program, 0);
    const size_t out = (size_t)group * (size_t)injector->output_count;
    w->first = -1;
    w->inputs = qn_alloc(in * sizeof *w->inputs);
    w->golden = qn_alloc(out * sizeof *w->golden);
    w->faulty = qn_alloc(out * sizeof *w->faulty);
    w->codes = qn_alloc((size_t)group * sizeof *w->codes);
    w->outputs = qn_alloc(n_outputs * sizeof *w->outputs);
    bool made = w->inputs != NULL && w->golden != NULL && w->faulty != NULL && w->codes != NULL && w->outputs != NULL;
    for (size_t i = 0; made && i < n_outputs; i++) {
        w->outputs[i] = qn_alloc((size_t)group * (size_t)qn_program_output_count(program, i) * sizeof(float));
        made = w->outputs[i] != NULL;
    }
    return made ? make_base(injector, w, err) : qn_fail_memory(err, NULL, (in + 2 * out) * sizeof(float));
}

static qn_status create(qn_injector *injector, qn_error *err)
{
    const qn_injector_options *options = &injector->options;
    QN_TRY(qn_feed_check(options->program, options->data, err));
    whole *state = qn_alloc(sizeof *state);
    if (state == NULL) {
        return qn_fail_memory(err, NULL, sizeof *state);
    }
    injector->state = state;
    state->group = is_integer(injector) ? 1 : qn_program_batch(options->program);
    state->workers = qn_alloc((size_t)options->n_workers * sizeof *state->workers);
    if (state->workers == NULL) {
        return qn_fail_memory(err, NULL, (size_t)options->n_workers * sizeof *state->workers);
    }
    state->n_workers = options->n_workers;
    for (int i = 0; i < state->n_workers; i++) {
        QN_TRY(make_worker(injector, &state->workers[i], state->group, err));
    }
    return QN_OK;
}

static int64_t group(const qn_injector *injector)
{
    return ((const whole *)injector->state)->group;
}

/* Outputs of n items, one item after the other. */
static void collect(const qn_injector *injector, const worker *w, int64_t n, float *to)
{
    const qn_program *program = injector->options.program;
    for (int64_t item = 0; item < n; item++) {
        for (size_t i = 0; i < qn_program_n_outputs(program); i++) {
            const int64_t count = qn_program_output_count(program, i);
            memcpy(to, w->outputs[i] + item * count, (size_t)count * sizeof *to);
            to += count;
        }
    }
}

/* The images in w->inputs through a runner; w->codes say what is changed on the way. */
static qn_status run_group(const qn_injector *injector, worker *w, runner *r, int64_t n, float *to, qn_error *err)
{
    const qn_program *program = r->own != NULL ? r->own : injector->options.program;
    const float *inputs[] = {w->inputs};
    if (is_integer(injector)) {
        QN_TRY(qn_whole_run_integer(program, r->workspace, inputs, w->outputs, w->codes, err));
    } else {
        r->hooks.codes = w->codes;
        r->hooks.n_codes = n;
        r->hooks.status = QN_OK;
        r->hooks.err = err;
        QN_TRY(qn_program_run(program, r->workspace, inputs, n, w->outputs, err));
        QN_TRY(r->hooks.status);
    }
    collect(injector, w, n, to);
    return QN_OK;
}

static qn_status load(const qn_injector *injector, worker *w, int64_t first, int64_t n, qn_error *err)
{
    if (w->first == first && w->n == n) {
        return QN_OK;
    }
    w->first = -1;
    QN_TRY(qn_dataset_read(injector->options.data, first, n, w->inputs, err));
    for (int64_t i = 0; i < n; i++) {
        w->codes[i] = (qn_whole_codes){.targets = injector->options.targets};
    }
    QN_TRY(run_group(injector, w, &w->base, n, w->golden, err));
    w->first = first;
    w->n = n;
    return QN_OK;
}

static qn_status golden(qn_injector *injector, int index, int64_t first, int64_t n, float *outputs, qn_error *err)
{
    worker *w = &((whole *)injector->state)->workers[index];
    for (int64_t some; n > 0; first += some, n -= some) {
        some = n < group(injector) ? n : group(injector);
        QN_TRY(load(injector, w, first, some, err));
        memcpy(outputs, w->golden, (size_t)some * (size_t)injector->output_count * sizeof *outputs);
        outputs += some * injector->output_count;
    }
    return QN_OK;
}

static bool is_static(const qn_injector *injector, const qn_fault_change *change)
{
    return qn_whole_is_static(injector->options.targets->list[change->target].where);
}

static bool same_change(const qn_fault_change *a, const qn_fault_change *b)
{
    return a->target == b->target && a->element == b->element && a->and_mask == b->and_mask &&
           a->or_mask == b->or_mask && a->xor_mask == b->xor_mask && a->suppress == b->suppress &&
           memcmp(&a->add, &b->add, sizeof a->add) == 0;
}

/* Are the fault's static changes those that w->other was made with? */
static bool is_made(const qn_injector *injector, const worker *w, const qn_fault *fault)
{
    int64_t n = 0;
    for (int64_t i = 0; i < fault->n_changes; i++) {
        if (is_static(injector, &fault->changes[i])) {
            if (n >= w->n_key || !same_change(&w->key[n], &fault->changes[i])) {
                return false;
            }
            n++;
        }
    }
    return n == w->n_key && (n == 0 || w->key_leads == is_static(injector, &fault->changes[0]));
}

static qn_status make_other(const qn_injector *injector, worker *w, const qn_fault *fault, int64_t n, qn_error *err)
{
    release_runner(&w->other);
    qn_free(w->key);
    w->n_key = 0;
    w->key = qn_alloc((size_t)n * sizeof *w->key);
    if (w->key == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *w->key);
    }
    w->statics = (qn_whole_codes){.fault = fault, .targets = injector->options.targets};
    QN_TRY(qn_whole_program(&w->other.own, &w->refused, &injector->options, &w->statics, err));
    w->statics.fault = NULL; /* the caller's, not kept */
    if (!w->refused) {
        QN_TRY(finish_runner(injector, &w->other, err));
    }
    w->key_leads = is_static(injector, &fault->changes[0]);
    for (int64_t i = 0; i < fault->n_changes; i++) {
        if (is_static(injector, &fault->changes[i])) {
            w->key[w->n_key++] = fault->changes[i];
        }
    }
    return QN_OK;
}

/* The runner for a fault; NULL where it is refused. */
static qn_status choose(const qn_injector *injector, worker *w, const qn_fault *fault, runner **r, qn_error *err)
{
    int64_t n = 0;
    for (int64_t i = 0; i < fault->n_changes; i++) {
        n += is_static(injector, &fault->changes[i]);
    }
    *r = &w->base;
    if (n == 0) {
        return QN_OK;
    }
    if (!is_made(injector, w, fault)) {
        QN_TRY(make_other(injector, w, fault, n, err));
    }
    *r = w->refused ? NULL : &w->other;
    return QN_OK;
}

static bool is_present(const qn_fault *fault, int64_t image, int64_t n_images)
{
    const int64_t since = (image - fault->first_image) % n_images;
    return (since < 0 ? since + n_images : since) < fault->n_images;
}

static void tell(const qn_injector *injector, const worker *w, int64_t item, bool refused, int64_t fault,
                 qn_fault_emit *emit, void *ctx)
{
    const size_t n_bytes = (size_t)injector->output_count * sizeof(float);
    const float *was = w->golden + item * injector->output_count, *is = w->faulty + item * injector->output_count;
    const qn_whole_codes *codes = &w->codes[item];
    const bool differs = !refused && memcmp(was, is, n_bytes) != 0;
    const qn_fault_effect effect = {
        .end = refused          ? QN_FAULT_REFUSED
               : differs        ? QN_FAULT_AT_OUTPUT
               : !codes->active ? QN_FAULT_INACTIVE
                                : QN_FAULT_ON_THE_WAY,
        .outputs = differs ? is : NULL,
        .before = codes->before,
        .after = codes->after,
        .died_at = -1,
    };
    emit(ctx, fault, w->first + item, &effect);
}

static qn_status run_fault(const qn_injector *injector, worker *w, const qn_fault *fault, int64_t index,
                           qn_fault_emit *emit, void *ctx, qn_error *err)
{
    const int64_t n_images = qn_injector_n_images(&injector->options);
    int64_t n_present = 0;
    for (int64_t i = 0; i < w->n; i++) {
        n_present += is_present(fault, w->first + i, n_images);
    }
    if (n_present == 0) {
        return QN_OK;
    }
    runner *r;
    QN_TRY(choose(injector, w, fault, &r, err));
    const bool has_statics = r != &w->base;
    for (int64_t i = 0; i < w->n; i++) {
        w->codes[i] = has_statics ? w->statics : (qn_whole_codes){.targets = injector->options.targets};
        w->codes[i].fault = is_present(fault, w->first + i, n_images) ? fault : NULL;
    }
    if (r != NULL) {
        QN_TRY(run_group(injector, w, r, w->n, w->faulty, err));
    }
    for (int64_t i = 0; i < w->n; i++) {
        if (w->codes[i].fault != NULL) {
            tell(injector, w, i, r == NULL, index, emit, ctx);
        }
    }
    return QN_OK;
}

static qn_status run(qn_injector *injector, int index, int64_t first, int64_t n, const qn_fault *const *faults,
                     int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err)
{
    worker *w = &((whole *)injector->state)->workers[index];
    for (int64_t some; n > 0; first += some, n -= some) { /* those who compare groups may have larger ones */
        some = n < group(injector) ? n : group(injector);
        QN_TRY(load(injector, w, first, some, err));
        for (int64_t i = 0; i < n_faults; i++) {
            QN_TRY(run_fault(injector, w, faults[i], i, emit, ctx, err));
        }
    }
    return QN_OK;
}

const qn_injector_ops qn_injector_whole = {
    .name = "whole", .create = create, .release = release, .group = group, .golden = golden, .run = run};
