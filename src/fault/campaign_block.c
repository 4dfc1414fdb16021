/* One block: draw its faults, sort them, run them on their images. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/threads.h"
#include "fault/campaign_work.h"

enum { DRAW_FAULTS = 1024 };

qn_status qn_campaign_work_create(qn_campaign_work **work, qn_campaign_site *site, qn_error *err)
{
    *work = qn_alloc(sizeof **work);
    if (*work == NULL) {
        return qn_fail_memory(err, NULL, sizeof **work);
    }
    qn_campaign_work *w = *work;
    w->site = site;
    w->group = site->injector->ops->group(site->injector);
    w->n_groups = (site->n_images - 1) / w->group + 1;
    w->classes = (int)qn_campaign_outputs(site);
    const size_t n_workers = (size_t)site->options->n_threads;
    w->workers = qn_alloc(n_workers * sizeof *w->workers);
    bool made = w->workers != NULL;
    for (size_t i = 0; made && i < n_workers; i++) {
        qn_worker *worker = &w->workers[i];
        worker->faults = qn_alloc(QN_ITEM_FAULTS * sizeof *worker->faults);
        worker->chosen = qn_alloc(QN_ITEM_FAULTS * sizeof *worker->chosen);
        worker->chosen_check = qn_alloc(QN_ITEM_FAULTS * sizeof *worker->chosen_check);
        made = worker->faults != NULL && worker->chosen != NULL && worker->chosen_check != NULL;
    }
    if (!made) {
        qn_campaign_work_free(w);
        *work = NULL;
        return qn_fail_memory(err, NULL, n_workers * sizeof *w->workers);
    }
    return QN_OK;
}

void qn_campaign_work_free(qn_campaign_work *work)
{
    if (work == NULL) {
        return;
    }
    for (int i = 0; work->workers != NULL && i < work->site->options->n_threads; i++) {
        qn_worker *worker = &work->workers[i];
        qn_arena_free(&worker->arena);
        qn_free(worker->faults);
        qn_free(worker->chosen);
        qn_free(worker->chosen_check);
        qn_free(worker->checks);
        qn_free(worker->check_outputs);
    }
    for (size_t i = 0; i < sizeof work->memory / sizeof work->memory[0]; i++) {
        qn_free(work->memory[i].data);
    }
    qn_free(work->workers);
    qn_free(work->changes);
    qn_free(work);
}

void qn_campaign_work_tick(qn_campaign_work *work, qn_status (*tick)(void *ctx, int64_t pairs_done, qn_error *err),
                           void *ctx)
{
    work->tick = tick;
    work->tick_ctx = ctx;
}

void qn_campaign_work_lead(qn_campaign_work *work, qn_status (*lead)(void *ctx, qn_error *err), void *ctx)
{
    work->lead = lead;
    work->lead_ctx = ctx;
}

double qn_campaign_injecting(const qn_campaign_work *work)
{
    double longest = 0;
    for (int i = 0; work != NULL && i < work->site->options->n_threads; i++) {
        longest = work->workers[i].injecting > longest ? work->workers[i].injecting : longest;
    }
    return longest;
}

/* The part that a number is in. */
static size_t part_of(const qn_campaign_rounds *rounds, size_t first, int64_t id)
{
    size_t low = first, high = rounds->n_parts;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (rounds->parts[middle].first_id <= id) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static qn_status draw_some(void *ctx, int worker, int64_t item, qn_error *err)
{
    qn_campaign_work *work = ctx;
    const qn_campaign_rounds *rounds = work->rounds;
    const int64_t first = item * DRAW_FAULTS, end = first + DRAW_FAULTS < work->n ? first + DRAW_FAULTS : work->n;
    size_t p = part_of(rounds, work->block->first_part, work->block->first_id + first);
    for (int64_t i = first; i < end; i++) {
        const int64_t id = work->block->first_id + i;
        while (id >= rounds->parts[p].first_id + rounds->parts[p].n) {
            p++;
        }
        const qn_store_part *part = &rounds->parts[p];
        qn_fault *fault = &work->faults[i];
        *fault = (qn_fault){0};
        QN_TRY(qn_fault_space_draw(&work->site->space, part->stratum, part->first_draw + (id - part->first_id),
                                   &work->workers[worker].arena, fault, err));
        fault->id = id;
        fault->stratum = part->stratum;
        fault->draw = part->first_draw + (id - part->first_id);
        fault->first_image %= work->site->n_images;
        fault->n_images = fault->n_images < work->site->n_images ? fault->n_images : work->site->n_images;
        if (work->site->rewrite != NULL) {
            QN_TRY(work->site->rewrite(work->site->rewrite_ctx, &work->workers[worker].arena, fault, err));
        }
    }
    return QN_OK;
}

static qn_status draw(qn_campaign_work *work, qn_error *err)
{
    for (int i = 0; i < work->site->options->n_threads; i++) {
        qn_arena_free(&work->workers[i].arena);
    }
    QN_TRY(qn_work_reserve(&work->memory[0], &work->faults, work->n, sizeof *work->faults, err));
    QN_TRY(qn_parallel_for(work->site->options->n_threads, (work->n + DRAW_FAULTS - 1) / DRAW_FAULTS, draw_some, work,
                           err));
    work->n_pairs = 0;
    work->uniform = true;
    for (int64_t i = 0; i < work->n; i++) {
        work->n_pairs += work->faults[i].n_images;
        work->uniform = work->uniform && work->faults[i].n_images == work->site->n_images;
    }
    return QN_OK;
}

typedef struct {
    int64_t element, term;
    int32_t target, number;
} sort_key;

static int by_place(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    if (x->target != y->target) {
        return x->target < y->target ? -1 : 1;
    }
    if (x->element != y->element) {
        return x->element < y->element ? -1 : 1;
    }
    if (x->term != y->term) {
        return x->term < y->term ? -1 : 1;
    }
    return x->number < y->number ? -1 : 1;
}

/* Neighbours share what the injector prepares for a layer or channel. Faults that run on one image each gain too little from
 * that to be sorted by more than the target. */
static qn_status sort(qn_campaign_work *work, qn_error *err)
{
    sort_key *keys;
    QN_TRY(qn_work_reserve(&work->memory[1], &keys, work->n, sizeof *keys, err));
    QN_TRY(qn_work_reserve(&work->memory[2], &work->sorted, work->n, sizeof *work->sorted, err));
    QN_TRY(qn_work_reserve(&work->memory[3], &work->numbers, work->n, sizeof *work->numbers, err));
    const bool fully = work->n_pairs >= 4 * work->n;
    bool sorted = true;
    for (int64_t i = 0; i < work->n; i++) {
        const qn_fault *fault = &work->faults[i];
        keys[i] = (sort_key){.target = -1, .number = (int32_t)i};
        if (fault->n_changes > 0) {
            keys[i].target = fault->changes[0].target;
            keys[i].element = fully ? fault->changes[0].element : 0;
            keys[i].term = fully ? fault->changes[0].term : 0;
        }
        sorted = sorted && (i == 0 || by_place(&keys[i - 1], &keys[i]) < 0);
    }
    if (!sorted) {
        qsort(keys, (size_t)work->n, sizeof *keys, by_place);
    }
    for (int64_t i = 0; i < work->n; i++) {
        work->numbers[i] = keys[i].number;
        work->sorted[i] = &work->faults[keys[i].number];
    }
    return QN_OK;
}

/* What emitting needs of an item. */
typedef struct {
    qn_campaign_work *work;
    qn_worker *worker;
    const qn_fault *const *faults;
    const int32_t *positions;   /* NULL: lo + fault */
    int64_t first, n, base, lo; /* images of the group, slots */
    double rmse_threshold;
    bool verify;
    qn_status status;
    qn_error *err;
} item_run;

static void emit(void *ctx, int64_t index, int64_t image, const qn_fault_effect *effect)
{
    item_run *run = ctx;
    qn_campaign_work *work = run->work;
    const qn_fault *fault = run->faults[index];
    const int64_t slot = run->base + index * run->n + (image - run->first);
    unsigned flags = QN_OUTCOME_MASKED;
    if (effect->end == QN_FAULT_AT_OUTPUT) {
        const qn_outcome outcome =
            qn_outcome_of(&work->site->golden[image], effect->outputs, work->classes, run->rmse_threshold);
        flags = outcome.flags;
        work->rmse[slot] = outcome.rmse;
    } else if (effect->end == QN_FAULT_REFUSED) {
        flags = QN_OUTCOME_NONFINITE;
    } else if (effect->end == QN_FAULT_BOUNDED) {
        flags = QN_OUTCOME_PROVEN;
    } else if (qn_fault_is_detected(effect->end)) {
        flags = QN_OUTCOME_DETECTED;
    }
    const bool activated = effect->end != QN_FAULT_INACTIVE || effect->before != effect->after;
    work->slots[slot] = (uint16_t)(flags | (unsigned)effect->end << QN_SLOT_END | (activated ? QN_SLOT_ACTIVATED : 0u));
    if (image == fault->first_image) {
        const int64_t position = run->positions != NULL ? run->positions[index] : run->lo + index;
        work->before[position] = effect->before;
        work->after[position] = effect->after;
    }
    if (run->verify && run->status == QN_OK && qn_campaign_chosen(work->site, fault->id, image)) {
        run->status = qn_campaign_remember(work, run->worker, index, image, effect, run->err);
    }
}

static const qn_fault *const *item_faults(const qn_campaign_work *work, qn_worker *worker, const qn_work_item *item)
{
    if (work->uniform) {
        return work->sorted + item->lo;
    }
    const int32_t *list = work->lists + work->starts[item->group] + item->lo;
    for (int64_t i = 0; i < item->hi - item->lo; i++) {
        worker->faults[i] = work->sorted[list[i]];
    }
    return worker->faults;
}

static qn_status run_item(void *ctx, int worker_index, int64_t index, qn_error *err)
{
    qn_campaign_work *work = ctx;
    qn_campaign_site *site = work->site;
    const qn_work_item *item = &work->items[index];
    qn_worker *worker = &work->workers[worker_index];
    if (site->options->stop != NULL && *site->options->stop) {
        return qn_fail(err, QN_ECANCELED, NULL, "stopped on request");
    }
    const int64_t n = qn_work_group_images(work, item->group), n_faults = item->hi - item->lo;
    const int64_t first = item->group * work->group;
    item_run run = {.work = work,
                    .worker = worker,
                    .faults = item_faults(work, worker, item),
                    .positions = work->uniform ? NULL : work->lists + work->starts[item->group] + item->lo,
                    .first = first,
                    .n = n,
                    .base = work->bases[item->group] + item->lo * n,
                    .lo = item->lo,
                    .rmse_threshold = site->options->spec->rmse_threshold,
                    .verify = site->verify > 0,
                    .err = err};
    worker->n_checks = 0;
    const double start = qn_now_seconds();
    QN_TRY(site->injector->ops->run(site->injector, worker_index, first + item->first, item->n, run.faults, n_faults,
                                    emit, &run, err));
    worker->injecting += qn_now_seconds() - start;
    QN_TRY(run.status);
    if (run.verify) {
        QN_TRY(qn_campaign_verify(work, worker_index, run.faults, err));
    }
    const int64_t done = __atomic_add_fetch(&work->pairs_done, item->n * n_faults, __ATOMIC_RELAXED);
    return worker_index == 0 && work->tick != NULL ? work->tick(work->tick_ctx, done, err) : QN_OK;
}

/* Items are handed out in order: the lead first. */
static qn_status run_any(void *ctx, int worker, int64_t index, qn_error *err)
{
    const qn_campaign_work *work = ctx;
    if (work->lead == NULL) {
        return run_item(ctx, worker, index, err);
    }
    return index == 0 ? work->lead(work->lead_ctx, err) : run_item(ctx, worker, index - 1, err);
}

static int64_t count_verified(const qn_campaign_work *work)
{
    int64_t n = 0;
    for (int i = 0; i < work->site->options->n_threads; i++) {
        n += work->workers[i].n_verified;
    }
    return n;
}

qn_status qn_campaign_block_run(qn_campaign_work *work, const qn_campaign_rounds *rounds,
                                const qn_campaign_block *block, qn_store_block *result, qn_error *err)
{
    const double start = qn_now_seconds();
    const int64_t verified = count_verified(work);
    work->rounds = rounds;
    work->block = block;
    work->n = block->n;
    work->pairs_done = 0;
    QN_TRY(draw(work, err));
    QN_TRY(sort(work, err));
    QN_TRY(qn_campaign_items(work, err));
    QN_TRY(qn_parallel_for(work->site->options->n_threads, work->n_items + (work->lead != NULL), run_any, work, err));
    *result =
        (qn_store_block){.number = block->number, .first_id = block->first_id, .n = work->n, .n_pairs = work->n_pairs};
    QN_TRY(qn_campaign_reduce(work, result, err));
    result->verified = count_verified(work) - verified;
    result->seconds = qn_now_seconds() - start;
    return QN_OK;
}
