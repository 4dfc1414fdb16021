/* Results of pairs to rows of faults. Sums over images are taken in ascending order of the images, so that they do not depend
 * on groups, threads or the order in which pairs were run. */
#include <math.h>

#include "base/threads.h"
#include "fault/campaign_work.h"

enum { REDUCE_FAULTS = 2048 };

static uint32_t mask_of(const qn_fault_change *change, int bits)
{
    const uint32_t all = bits >= 32 ? UINT32_MAX : (1u << bits) - 1;
    return change->add != 0 ? all : (~change->and_mask | change->or_mask | change->xor_mask) & all;
}

/* All of a row that does not come from its pairs. */
static void begin_row(const qn_campaign_work *work, int64_t position, qn_fault_row *row)
{
    const qn_fault *fault = work->sorted[position];
    *row = (qn_fault_row){
        .id = fault->id,
        .draw = fault->draw,
        .n_changes = fault->n_changes,
        .first_image = fault->first_image,
        .n_images = fault->n_images,
        .stratum = fault->stratum,
        .target = -1,
        .before = work->before[position],
        .after = work->after[position],
        .value_before = (double)NAN,
        .value_after = (double)NAN,
    };
    if (fault->n_changes > 0) {
        const qn_fault_change *change = &fault->changes[0];
        const qn_fault_target *target = &work->site->targets.list[change->target];
        row->target = change->target;
        row->element = change->element;
        row->term = change->term;
        row->mask = mask_of(change, target->bits);
        row->value_before = qn_fault_value(target, work->site->program, change->element, row->before);
        row->value_after = qn_fault_value(target, work->site->program, change->element, row->after);
    }
}

static void add_pair(qn_campaign_work *work, int32_t number, const qn_fault *fault, int64_t image, int64_t slot)
{
    qn_fault_row *row = &work->rows[number];
    const unsigned code = work->slots[slot], flags = code & ((1u << QN_SLOT_END) - 1);
    const int end = (int)(code >> QN_SLOT_END & QN_SLOT_ENDS);
    const bool measured = !qn_fault_is_noticed((qn_fault_end)end) && end != QN_FAULT_BOUNDED;
    const double rmse = end == QN_FAULT_AT_OUTPUT ? work->rmse[slot] : measured ? 0 : (double)NAN;
    if (work->site->options->keep_pairs) {
        work->pairs[work->pair_starts[number] + row->pairs] =
            (qn_fault_pair){.fault = fault->id, .image = image, .flags = flags, .end = end, .rmse = rmse};
    }
    row->pairs++;
    row->activated += (code & QN_SLOT_ACTIVATED) != 0;
    if (end != QN_FAULT_BOUNDED) { /* where it would have ended is not known: counts[] has it */
        row->ends[end]++;
    }
    for (unsigned left = flags; left != 0; left &= left - 1) {
        row->counts[__builtin_ctz(left)]++;
    }
    if (end == QN_FAULT_AT_OUTPUT && isfinite(rmse)) {
        row->rmse_sum += rmse;
        row->rmse_max = rmse > row->rmse_max ? rmse : row->rmse_max;
    }
}

/* The first entry of a group's list that is no less than `position`. */
static int64_t list_from(const qn_campaign_work *work, int64_t group, int64_t position)
{
    if (work->uniform) {
        return position;
    }
    const int32_t *list = work->lists + work->starts[group];
    int64_t low = 0, high = work->starts[group + 1] - work->starts[group];
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (list[middle] < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static qn_status reduce_group(qn_campaign_work *work, int64_t group, int64_t first, int64_t end, qn_error *err)
{
    const int64_t n = qn_work_group_images(work, group);
    const int64_t list_end = list_from(work, group, end);
    for (int64_t i = list_from(work, group, first); i < list_end; i++) {
        const int64_t position = work->uniform ? i : work->lists[work->starts[group] + i];
        const qn_fault *fault = work->sorted[position];
        for (int64_t k = 0; k < n; k++) {
            const int64_t slot = work->bases[group] + i * n + k, image = group * work->group + k;
            if (!work->uniform && n > 1 && !qn_work_present(work, fault, image)) {
                continue;
            }
            if (work->slots[slot] == QN_SLOT_EMPTY) {
                return qn_fail(err, QN_EINTERNAL, work->site->injector->ops->name,
                               "the injector has left out fault %lld on image %lld", (long long)fault->id,
                               (long long)image);
            }
            add_pair(work, work->numbers[position], fault, image, slot);
        }
    }
    return QN_OK;
}

static qn_status reduce_some(void *ctx, int worker, int64_t item, qn_error *err)
{
    (void)worker;
    qn_campaign_work *work = ctx;
    const int64_t first = item * REDUCE_FAULTS, end = first + REDUCE_FAULTS < work->n ? first + REDUCE_FAULTS : work->n;
    for (int64_t i = first; i < end; i++) {
        begin_row(work, i, &work->rows[work->numbers[i]]);
    }
    for (int64_t g = 0; g < work->n_groups; g++) {
        QN_TRY(reduce_group(work, g, first, end, err));
    }
    return QN_OK;
}

static qn_status keep_changes(qn_campaign_work *work, qn_error *err)
{
    work->n_changes = 0;
    for (int64_t i = 0; i < work->n; i++) {
        const qn_fault *fault = &work->faults[i];
        if (fault->n_changes < 2 || fault->n_changes > QN_STORE_CHANGES) {
            continue;
        }
        for (int64_t k = 0; k < fault->n_changes; k++) {
            QN_TRY(
                qn_grow((void **)&work->changes, &work->changes_capacity, work->n_changes, sizeof *work->changes, err));
            work->changes[work->n_changes++] =
                (qn_store_change){.fault = fault->id, .number = k, .change = fault->changes[k]};
        }
    }
    return QN_OK;
}

qn_status qn_campaign_reduce(qn_campaign_work *work, qn_store_block *result, qn_error *err)
{
    const bool keep_pairs = work->site->options->keep_pairs;
    for (int64_t i = 0, start = 0; keep_pairs && i < work->n; i++) {
        work->pair_starts[i] = start;
        start += work->faults[i].n_images;
    }
    QN_TRY(qn_parallel_for(work->site->options->n_threads, (work->n + REDUCE_FAULTS - 1) / REDUCE_FAULTS, reduce_some,
                           work, err));
    QN_TRY(keep_changes(work, err));
    result->rows = work->rows;
    result->changes = work->changes;
    result->n_changes = work->n_changes;
    result->pairs = keep_pairs ? work->pairs : NULL;
    result->n_kept_pairs = keep_pairs ? (size_t)work->n_pairs : 0;
    return QN_OK;
}
