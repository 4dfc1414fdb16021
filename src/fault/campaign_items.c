/* One block's work, cut into items that threads take: which faults on which images. */
#include <string.h>

#include "fault/campaign_work.h"

enum {
    LEAST_ITEM = 256,
    HEARING_PAIRS = 512 /* of an item, where other ranks wait to be heard between items: some milliseconds at most */
};

qn_status qn_work_reserve(qn_work_memory *memory, void *array, int64_t n, size_t elem_size, qn_error *err)
{
    size_t n_bytes;
    if (!qn_mul_size((size_t)n, elem_size, &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "a block of %lld elements is too large", (long long)n);
    }
    if (n_bytes > memory->n_bytes) {
        qn_free(memory->data);
        *memory = (qn_work_memory){qn_alloc_uncleared(n_bytes + n_bytes / 4), n_bytes + n_bytes / 4};
        if (memory->data == NULL) {
            memory->n_bytes = 0;
            return qn_fail_memory(err, NULL, n_bytes);
        }
    }
    if (memory->data == NULL) {
        *memory = (qn_work_memory){qn_alloc_uncleared(64), 64};
    }
    memcpy(array, &memory->data, sizeof memory->data);
    return memory->data != NULL ? QN_OK : qn_fail_memory(err, NULL, 64);
}

/* Groups that a fault is present in, from the group of its first image on: `fn` for each. A window may begin and end in the
 * same group, coming round. */
typedef void group_fn(qn_campaign_work *work, int64_t group, int32_t position);

static void each_group(qn_campaign_work *work, int32_t position, group_fn *fn)
{
    const qn_fault *fault = work->sorted[position];
    const int64_t n_images = work->site->n_images, first_group = fault->first_image / work->group;
    for (int64_t done = 0, image = fault->first_image; done < fault->n_images;) {
        const int64_t group = image / work->group, group_end = group * work->group + qn_work_group_images(work, group);
        if (done == 0 || group != first_group) {
            fn(work, group, position);
        }
        done += group_end - image;
        image = group_end == n_images ? 0 : group_end;
    }
}

static void count_group(qn_campaign_work *work, int64_t group, int32_t position)
{
    (void)position;
    work->starts[group + 1]++;
}

static void list_group(qn_campaign_work *work, int64_t group, int32_t position)
{
    work->lists[work->starts[group]++] = position;
}

/* A counting sort by group. */
static qn_status make_lists(qn_campaign_work *work, qn_error *err)
{
    const int64_t n_groups = work->n_groups;
    QN_TRY(qn_work_reserve(&work->memory[4], &work->starts, n_groups + 1, sizeof *work->starts, err));
    memset(work->starts, 0, (size_t)(n_groups + 1) * sizeof *work->starts);
    for (int64_t i = 0; i < work->n; i++) {
        each_group(work, (int32_t)i, count_group);
    }
    for (int64_t g = 0; g < n_groups; g++) {
        work->starts[g + 1] += work->starts[g];
    }
    QN_TRY(qn_work_reserve(&work->memory[5], &work->lists, work->starts[n_groups], sizeof *work->lists, err));
    for (int64_t i = 0; i < work->n; i++) {
        each_group(work, (int32_t)i, list_group);
    }
    for (int64_t g = n_groups; g > 0; g--) {
        work->starts[g] = work->starts[g - 1];
    }
    work->starts[0] = 0;
    return QN_OK;
}

static int64_t list_length(const qn_campaign_work *work, int64_t group)
{
    return work->uniform ? work->n : work->starts[group + 1] - work->starts[group];
}

static bool hears_ranks(const qn_campaign_work *work)
{
    const qn_campaign_ranks *ranks = work->site->options->ranks;
    return ranks != NULL && ranks->size > 1 && ranks->rank == 0;
}

/* Groups, whose golden values are made once, may be shared out image by image. */
static bool divides(const qn_campaign_work *work)
{
    const qn_injector *injector = work->site->injector;
    const bool wanted = work->site->options->n_threads > 1 || hears_ranks(work);
    bool all = wanted && work->uniform && injector->ops->divides != NULL;
    for (int64_t i = 0; all && i < work->n; i++) {
        all = injector->ops->divides(injector, &work->faults[i]);
    }
    return all;
}

/* Faults of an item at most: where groups are few and cannot be divided, parts of their lists. */
static int64_t most_faults(const qn_campaign_work *work, bool divided, int64_t total)
{
    const int64_t n_threads = work->site->options->n_threads, some = total / (8 * n_threads);
    if (n_threads == 1 || divided || work->n_groups >= 4 * n_threads || some > QN_ITEM_FAULTS) {
        return QN_ITEM_FAULTS;
    }
    return some < LEAST_ITEM ? LEAST_ITEM : some;
}

/* Items of some faults of a group: all its images, or, of groups that are divided, so many that what is left, *left pairs,
 * keeps each thread busy for this item and another. So the last items are a single image, and threads end together. */
static void add_items(qn_campaign_work *work, const qn_work_item *whole, bool divided, int64_t *left)
{
    const int64_t n_faults = whole->hi - whole->lo, share = 2 * (int64_t)work->site->options->n_threads * n_faults;
    const int64_t limit = divided && hears_ranks(work) ? HEARING_PAIRS / n_faults : whole->n;
    qn_work_item item = *whole;
    for (item.first = 0; item.first < whole->n; item.first += item.n) {
        int64_t wanted = divided ? *left / share : whole->n;
        const int64_t most = whole->n - item.first;
        wanted = wanted < limit ? wanted : limit;
        item.n = (int32_t)(wanted < 1 ? 1 : wanted < most ? wanted : most);
        work->items[work->n_items++] = item;
        *left -= item.n * n_faults;
    }
}

/* Slots, and items. */
static qn_status make_items(qn_campaign_work *work, qn_error *err)
{
    QN_TRY(qn_work_reserve(&work->memory[6], &work->bases, work->n_groups + 1, sizeof *work->bases, err));
    int64_t total = 0, slots = 0, left = 0;
    for (int64_t g = 0; g < work->n_groups; g++) {
        total += list_length(work, g);
        left += list_length(work, g) * qn_work_group_images(work, g);
    }
    const bool divided = divides(work);
    const int64_t size = most_faults(work, divided, total);
    const int64_t most = (total / size + work->n_groups) * (divided ? work->group : 1);
    QN_TRY(qn_work_reserve(&work->memory[7], &work->items, most, sizeof *work->items, err));
    work->n_items = 0;
    for (int64_t g = 0; g < work->n_groups; g++) {
        const int64_t length = list_length(work, g), n_images = qn_work_group_images(work, g);
        work->bases[g] = slots;
        slots += length * n_images;
        for (int64_t lo = 0; lo < length; lo += size) {
            const qn_work_item item = {
                .group = g, .lo = lo, .hi = lo + size < length ? lo + size : length, .n = (int32_t)n_images};
            add_items(work, &item, divided, &left);
        }
    }
    work->bases[work->n_groups] = slots;
    QN_TRY(qn_work_reserve(&work->memory[8], &work->slots, slots, sizeof *work->slots, err));
    QN_TRY(qn_work_reserve(&work->memory[9], &work->rmse, slots, sizeof *work->rmse, err));
    memset(work->slots, 0xFF, (size_t)slots * sizeof *work->slots);
    QN_TRY(qn_work_reserve(&work->memory[10], &work->before, work->n, sizeof *work->before, err));
    QN_TRY(qn_work_reserve(&work->memory[11], &work->after, work->n, sizeof *work->after, err));
    QN_TRY(qn_work_reserve(&work->memory[12], &work->rows, work->n, sizeof *work->rows, err));
    if (work->site->options->keep_pairs) {
        /* One allocation for both: the numbers' places first. */
        QN_TRY(qn_work_reserve(&work->memory[13], &work->pair_starts,
                               work->n + 1 + work->n_pairs * (int64_t)(sizeof *work->pairs / sizeof *work->pair_starts),
                               sizeof *work->pair_starts, err));
        work->pairs = (qn_fault_pair *)(void *)(work->pair_starts + work->n + 1);
    }
    return QN_OK;
}

qn_status qn_campaign_items(qn_campaign_work *work, qn_error *err)
{
    if (!work->uniform) {
        QN_TRY(make_lists(work, err));
    }
    return make_items(work, err);
}
