/* The injector of the integer engine: golden images, faults on them, what comes of it. */
#include "fault/inject_integer.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/feed.h"
#include "fault/margin.h"
#include "fault/outcome.h"

enum { GROUP = 16 }; /* images of one call: another model is made once for all of them */

/* A bound is not sought again for a fault where that of an image before was beyond so many times what this image
 * allows. Which images are before follows from the group alone, so that threads, ranks and shards prove the same. */
static const double FAR = 1;

/*  injection  over the injector's own machine
 *  golden     of an image that has no place in the cache
 *  floats     of one input
 *  order      faults of a call that are present in its images, by target; room for `capacity`
 *  counts     per target
 *  margin, allowance, bound   NULL without; of the image; the last one told */
typedef struct worker {
    qn_injection injection;
    qn_margin *margin;
    double allowance, bound;
    struct ordered *current; /* the fault that runs */
    uint8_t *golden;
    float *floats;
    struct ordered *order;
    size_t capacity;
    int64_t *counts;
} worker;

/* A fault and the images of the call it is present in: first..end - 1, but those not before `back`, where it comes round
 * again. bound: those found last, by places; 0: none. */
typedef struct ordered {
    const qn_fault *fault;
    int64_t index;
    int32_t first, end, back;
    float bound[QN_MARGIN_PLACES];
} ordered;

/*  cache  per image: its golden values, NULL where they are not kept; written once */
typedef struct integer_state {
    qn_machine machine;
    qn_margin_plan *margin; /* NULL: all faults run to their end */
    worker *workers;
    _Atomic(uint8_t *) *cache;
    int64_t n_images, n_cached; /* of the campaign; of the file */
    atomic_llong room;          /* images that may still be kept */
} integer_state;

static void release(qn_injector *injector)
{
    integer_state *state = injector->state;
    if (state == NULL) {
        return;
    }
    for (int i = 0; state->workers != NULL && i < injector->options.n_workers; i++) {
        worker *w = &state->workers[i];
        qn_injection_free(&w->injection);
        qn_margin_free(w->margin);
        qn_free(w->golden);
        qn_free(w->floats);
        qn_free(w->order);
        qn_free(w->counts);
    }
    for (int64_t i = 0; state->cache != NULL && i < state->n_cached; i++) {
        qn_free(atomic_load(&state->cache[i]));
    }
    qn_free(state->cache);
    qn_free(state->workers);
    qn_margin_plan_free(state->margin);
    qn_machine_free(&state->machine);
    qn_free(state);
    injector->state = NULL;
}

/* Is the outcome settled? */
static bool is_settled(void *ctx, int step)
{
    worker *w = ctx;
    const int place = qn_margin_place(w->margin, step);
    if (place < 0 || w->current->bound[place] > w->allowance * FAR) {
        return false;
    }
    w->bound = qn_margin_bound(w->margin);
    if (isfinite(w->bound)) {
        w->current->bound[place] = (float)w->bound;
    }
    return w->bound <= w->allowance;
}

static qn_status fill_worker(const integer_state *state, worker *w, qn_error *err)
{
    const qn_region_plan *plan = state->machine.plan;
    QN_TRY(qn_injection_make(&w->injection, &state->machine, err));
    w->golden = qn_alloc(plan->golden_bytes);
    w->floats = qn_alloc((size_t)plan->program->inputs[0].count * sizeof *w->floats);
    w->counts = qn_alloc(((size_t)state->machine.targets->n + 2) * sizeof *w->counts);
    if (w->golden == NULL || w->floats == NULL || w->counts == NULL) {
        return qn_fail_memory(err, NULL, plan->golden_bytes);
    }
    if (state->margin != NULL) {
        QN_TRY(qn_margin_make(&w->margin, state->margin, &w->injection.region, err));
        w->injection.region.ends = is_settled;
        w->injection.region.ends_ctx = w;
    }
    return QN_OK;
}

static qn_status fill(integer_state *state, const qn_injector_options *options, qn_error *err)
{
    QN_TRY(qn_feed_check(options->program, options->data, err));
    if (!options->program->options.keep_values) {
        return qn_fail(err, QN_EINVAL, options->program->graph.file, "faults need a program that keeps its values");
    }
    QN_TRY(qn_machine_make(&state->machine, options->program, false, options->targets, err));
    if (options->outputs_counted > 0) {
        QN_TRY(qn_margin_plan_make(&state->margin, state->machine.plan, state->machine.accumulator_bits,
                                   state->machine.saturates, options->outputs_counted,
                                   qn_outcome_most_allowance(options->rmse_threshold),
                                   options->bounds_always ? 0 : QN_MARGIN_LEAST_WORK, err));
    }
    state->n_images = qn_injector_n_images(options);
    state->n_cached = qn_dataset_count(options->data);
    state->cache = qn_alloc((size_t)state->n_cached * sizeof *state->cache);
    state->workers = qn_alloc((size_t)options->n_workers * sizeof *state->workers);
    if (state->cache == NULL || state->workers == NULL) {
        return qn_fail_memory(err, NULL, (size_t)state->n_cached * sizeof *state->cache);
    }
    const size_t images = options->memory_bytes / state->machine.plan->golden_bytes;
    atomic_init(&state->room, images > (size_t)options->n_workers ? (long long)images - options->n_workers : 0);
    for (int i = 0; i < options->n_workers; i++) {
        QN_TRY(fill_worker(state, &state->workers[i], err));
    }
    return QN_OK;
}

static qn_status create(qn_injector *injector, qn_error *err)
{
    integer_state *state = qn_alloc(sizeof *state);
    if (state == NULL) {
        return qn_fail_memory(err, NULL, sizeof *state);
    }
    injector->state = state;
    return fill(state, &injector->options, err);
}

static int64_t group(const qn_injector *injector)
{
    (void)injector;
    return GROUP;
}

static bool divides(const qn_injector *injector, const qn_fault *fault)
{
    const integer_state *state = injector->state;
    /* whether a bound is sought depends on the images before, which have to be the same ones everywhere */
    return state->margin == NULL && !qn_fault_needs_model(&state->machine, fault);
}

/* Golden values of an image, from the cache where they are or fit. */
static qn_status find_golden(qn_injector *injector, worker *w, int64_t image, const uint8_t **golden, qn_error *err)
{
    integer_state *state = injector->state;
    uint8_t *kept = atomic_load(&state->cache[image]);
    if (kept != NULL) {
        *golden = kept;
        return QN_OK;
    }
    QN_TRY(qn_dataset_read(injector->options.data, image, 1, w->floats, err));
    uint8_t *to = NULL;
    if (atomic_fetch_sub(&state->room, 1) > 0) {
        to = qn_alloc_uncleared(state->machine.plan->golden_bytes);
    } else {
        atomic_fetch_add(&state->room, 1);
    }
    const float *inputs[1] = {w->floats};
    qn_region_compute(&w->injection.region, inputs, to != NULL ? to : w->golden);
    *golden = to != NULL ? to : w->golden;
    if (to != NULL && !atomic_compare_exchange_strong(&state->cache[image], &kept, to)) {
        qn_free(to); /* another worker was faster */
        atomic_fetch_add(&state->room, 1);
        *golden = kept;
    }
    return QN_OK;
}

static qn_status load(qn_injector *injector, worker *w, int64_t image, qn_error *err)
{
    const uint8_t *golden;
    QN_TRY(find_golden(injector, w, image, &golden, err));
    qn_region_load(&w->injection.region, golden);
    if (w->margin != NULL) {
        const qn_injector_options *o = &injector->options;
        w->allowance =
            qn_outcome_allowance(w->injection.region.golden_outputs, (int)o->outputs_counted, o->rmse_threshold);
        qn_margin_load(w->margin, w->allowance);
    }
    return QN_OK;
}

static bool is_present(const ordered *o, int64_t at)
{
    return (at >= o->first && at < o->end) || at < o->back;
}

/* Where a fault is present among n images from `first` on; false where it is not. */
static bool find_presence(ordered *o, int64_t first, int64_t n, int64_t n_images)
{
    const qn_fault *f = o->fault;
    const int64_t behind = ((first - f->first_image) % n_images + n_images) % n_images; /* images since it came */
    const int64_t ahead = (n_images - behind) % n_images;
    const int64_t left = f->n_images - behind; /* it stays so long yet */
    o->back = (int32_t)(left < 0 ? 0 : left < n ? left : n);
    o->first = (int32_t)(ahead < n ? ahead : n);
    o->end = (int32_t)(f->n_images < n - o->first ? o->first + f->n_images : n);
    return o->back > 0 || o->first < o->end;
}

/* The node of the step where the last difference ended. */
static int32_t node_of(const qn_region_plan *plan, int step)
{
    if (step < 0) {
        return -1;
    }
    const qn_integer_step *s = &plan->code->steps[step];
    if (s->node != NULL) {
        return (int32_t)(s->node - plan->program->graph.nodes);
    }
    const int tensor = s->output >= 0 ? s->output : s->input[0];
    return tensor >= 0 ? plan->program->graph.values[plan->code->tensors[tensor].value].producer : -1;
}

static void conclude(const qn_injection *injection, qn_fault_effect *effect)
{
    const qn_region *region = &injection->region;
    *effect = (qn_fault_effect){.before = injection->before, .after = injection->after, .died_at = -1};
    if (region->ended) {
        effect->end = QN_FAULT_BOUNDED;
    } else if (region->outputs_differ) {
        effect->end = QN_FAULT_AT_OUTPUT;
        effect->outputs = region->all_outputs;
    } else if (region->n_dirty > 0) {
        effect->end = QN_FAULT_ON_THE_WAY;
        effect->died_at = node_of(region->plan, region->died_at);
    } else {
        effect->end = injection->active ? QN_FAULT_IN_LAYER : QN_FAULT_INACTIVE;
        effect->died_at = injection->active ? node_of(region->plan, region->died_at) : -1;
    }
}

static void run_one(qn_injection *injection, qn_fault_effect *effect)
{
    if (injection->refused) {
        *effect = (qn_fault_effect){
            .end = QN_FAULT_REFUSED, .before = injection->before, .after = injection->after, .died_at = -1};
        return;
    }
    qn_injection_run(injection);
    conclude(injection, effect);
}

/* Another model, whose values differ from golden ones from the first step on that sees the change. */
typedef struct other {
    qn_machine machine;
    qn_injection injection;
    uint8_t *golden;
    bool refused;
    uint32_t before, after;
} other;

static void free_other(other *o)
{
    qn_injection_free(&o->injection);
    qn_machine_free(&o->machine);
    qn_free(o->golden);
}

static qn_status make_other(const qn_injector *injector, other *o, const qn_fault *fault, qn_error *err)
{
    integer_state *state = injector->state;
    QN_TRY(qn_machine_make_faulty(&o->machine, &state->machine, injector->options.model, fault, &o->refused, &o->before,
                                  &o->after, err));
    if (o->refused) {
        return QN_OK;
    }
    QN_TRY(qn_injection_make(&o->injection, &o->machine, err));
    o->golden = qn_alloc(o->machine.plan->golden_bytes);
    return o->golden != NULL ? qn_injection_prepare(&o->injection, fault, err)
                             : qn_fail_memory(err, NULL, o->machine.plan->golden_bytes);
}

/* Where the codes of two programs of one structure part: the last tensor that differs; -1 for none. */
static int last_difference(const qn_region *a, const qn_region *b)
{
    const qn_integer_code *code = a->plan->code, *theirs = b->plan->code;
    int last = -1;
    if (code->n_tensors != theirs->n_tensors || code->n_steps != theirs->n_steps) {
        return code->n_tensors - 1;
    }
    for (int i = 0; i < code->n_tensors; i++) {
        const qn_integer_tensor *t = &code->tensors[i], *u = &theirs->tensors[i];
        const uint8_t *x = a->run.memory + t->offset, *y = b->run.memory + u->offset;
        qn_box box = {0, t->height, 0, t->width, 0, t->channels};
        if (t->first_step < 0) {
            continue;
        }
        const bool alike = t->real == u->real && t->height == u->height && t->width == u->width &&
                           t->channels == u->channels && t->row == u->row;
        if (!alike || (t->real ? memcmp(x, y, t->n_bytes) != 0 : a->plan->differ(x, y, t->row, t->pixel, &box))) {
            last = i;
        }
    }
    return last;
}

static void compare_others(const qn_injector *injector, const worker *w, const other *o, qn_fault_effect *effect)
{
    const qn_region *mine = &w->injection.region, *theirs = &o->injection.region;
    const bool model_first = o->injection.before == 0 && o->injection.after == 0;
    *effect = (qn_fault_effect){.before = model_first ? o->before : o->injection.before,
                                .after = model_first ? o->after : o->injection.after,
                                .died_at = -1};
    if (memcmp(mine->golden_outputs, theirs->all_outputs, (size_t)injector->output_count * sizeof(float)) != 0) {
        effect->end = QN_FAULT_AT_OUTPUT;
        effect->outputs = theirs->all_outputs;
        return;
    }
    const int last = last_difference(mine, theirs);
    const qn_integer_code *code = mine->plan->code;
    if (last >= 0) {
        effect->end = QN_FAULT_ON_THE_WAY;
        effect->died_at = node_of(mine->plan, code->tensors[last].last_step);
    } else {
        effect->end = effect->before != effect->after ? QN_FAULT_IN_LAYER : QN_FAULT_INACTIVE;
    }
}

static qn_status run_other(qn_injector *injector, worker *w, int64_t first, int64_t n, const ordered *at,
                           qn_fault_emit *emit, void *ctx, qn_error *err)
{
    const qn_fault *fault = at->fault;
    other o = {.refused = false};
    qn_status status = make_other(injector, &o, fault, err);
    for (int64_t image = first; status == QN_OK && image < first + n; image++) {
        qn_fault_effect effect = {.end = QN_FAULT_REFUSED, .before = o.before, .after = o.after, .died_at = -1};
        if (!is_present(at, image - first)) {
            continue;
        }
        if (!o.refused && !o.injection.refused) {
            status = load(injector, w, image, err);
            if (status == QN_OK) {
                status = qn_dataset_read(injector->options.data, image, 1, w->floats, err);
            }
            if (status != QN_OK) {
                break;
            }
            const float *inputs[1] = {w->floats};
            qn_region_compute(&o.injection.region, inputs, o.golden);
            qn_region_load(&o.injection.region, o.golden);
            qn_injection_run(&o.injection);
            compare_others(injector, w, &o, &effect);
        }
        emit(ctx, at->index, image, &effect);
        qn_region_restore(&o.injection.region);
    }
    free_other(&o);
    return status;
}

static int32_t target_of(const qn_fault *fault)
{
    return fault->n_changes > 0 ? fault->changes[0].target : 0;
}

/* Those present, by target: what one reads is near when the next needs it. Their number. */
static int64_t order_faults(const integer_state *state, worker *w, int64_t first, int64_t n,
                            const qn_fault *const *faults, int64_t n_faults)
{
    memset(w->counts, 0, ((size_t)state->machine.targets->n + 2) * sizeof *w->counts);
    ordered o = {.fault = NULL};
    for (int64_t i = 0; i < n_faults; i++) {
        o.fault = faults[i];
        w->counts[target_of(o.fault) + 1] += find_presence(&o, first, n, state->n_images);
    }
    for (int i = 0; i < state->machine.targets->n; i++) {
        w->counts[i + 1] += w->counts[i];
    }
    const int64_t n_present = w->counts[state->machine.targets->n];
    for (int64_t i = 0; i < n_faults; i++) {
        o.fault = faults[i];
        o.index = i;
        if (find_presence(&o, first, n, state->n_images)) {
            w->order[w->counts[target_of(o.fault)]++] = o;
        }
    }
    return n_present;
}

static qn_status run_image(qn_injector *injector, worker *w, int64_t first, int64_t at, int64_t n_faults,
                           qn_fault_emit *emit, void *ctx, qn_error *err)
{
    const int64_t image = first + at;
    QN_TRY(load(injector, w, image, err));
    for (int64_t i = 0; i < n_faults; i++) {
        const qn_fault *fault = w->order[i].fault;
        if (fault == NULL || !is_present(&w->order[i], at)) {
            continue;
        }
        qn_fault_effect effect;
        QN_TRY(qn_injection_prepare(&w->injection, fault, err));
        w->current = &w->order[i];
        run_one(&w->injection, &effect);
        effect.bound = w->bound;
        emit(ctx, w->order[i].index, image, &effect);
        qn_region_restore(&w->injection.region);
    }
    return QN_OK;
}

static qn_status run_all(qn_injector *injector, worker *w, int64_t first, int64_t n, int64_t n_faults,
                         qn_fault_emit *emit, void *ctx, qn_error *err)
{
    const integer_state *state = injector->state;
    for (int64_t i = 0; i < n_faults; i++) {
        ordered *o = &w->order[i];
        if (qn_fault_needs_model(&state->machine, o->fault)) {
            QN_TRY(run_other(injector, w, first, n, o, emit, ctx, err));
            o->fault = NULL; /* done */
        }
    }
    for (int64_t at = 0; n_faults > 0 && at < n; at++) {
        QN_TRY(run_image(injector, w, first, at, n_faults, emit, ctx, err));
    }
    return QN_OK;
}

static qn_status run(qn_injector *injector, int worker_index, int64_t first, int64_t n, const qn_fault *const *faults,
                     int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err)
{
    integer_state *state = injector->state;
    worker *w = &state->workers[worker_index];
    if (n_faults == 0) {
        return QN_OK;
    }
    QN_TRY(qn_grow((void **)&w->order, &w->capacity, (size_t)n_faults - 1, sizeof *w->order, err));
    const int64_t n_present = order_faults(state, w, first, n, faults, n_faults);
    if (state->machine.plan->code->tiles) {
        qn_tiles_begin();
    }
    const qn_status status = run_all(injector, w, first, n, n_present, emit, ctx, err);
    if (state->machine.plan->code->tiles) {
        qn_tiles_end();
    }
    return status;
}

static qn_status golden(qn_injector *injector, int worker_index, int64_t first, int64_t n, float *outputs,
                        qn_error *err)
{
    integer_state *state = injector->state;
    worker *w = &state->workers[worker_index];
    const qn_region_plan *plan = state->machine.plan;
    qn_status status = QN_OK;
    if (plan->code->tiles) {
        qn_tiles_begin();
    }
    for (int64_t i = 0; status == QN_OK && i < n; i++) {
        const uint8_t *values = NULL;
        status = find_golden(injector, w, first + i, &values, err);
        if (status == QN_OK) {
            memcpy(outputs + i * injector->output_count, values + plan->outputs_offset,
                   (size_t)injector->output_count * sizeof *outputs);
        }
    }
    if (plan->code->tiles) {
        qn_tiles_end();
    }
    return status;
}

const qn_injector_ops qn_injector_integer = {
    .name = "integer",
    .create = create,
    .release = release,
    .group = group,
    .golden = golden,
    .run = run,
    .divides = divides,
};
