/* One block's work, shared by campaign_block.c, campaign_items.c, campaign_reduce.c and campaign_verify.c.
 *
 * Faults are drawn in the order of their numbers and run in another, by target and element, their **position**. Images
 * are run in groups as large as the injector takes. The faults of a group are its list: all of the block where all are present
 * in every image (`uniform`), else a list of its own. The result of a pair has a **slot**: those of a group lie together,
 * so that threads, which run different groups, never share a cache line but at the seams. */
#ifndef QN_FAULT_CAMPAIGN_WORK_H
#define QN_FAULT_CAMPAIGN_WORK_H

#include "fault/campaign.h"

/* A result: outcome flags, the end, whether a code changed. */
enum {
    QN_SLOT_END = QN_OUTCOME_COUNT,
    QN_SLOT_ENDS = 15,
    QN_SLOT_ACTIVATED = 1 << (QN_SLOT_END + 4),
    QN_SLOT_EMPTY = 0xFFFF, /* the injector has said nothing of it */
    QN_ITEM_FAULTS = 4096   /* at most, of one call of the injector */
};

/* Faults lo..hi-1 of a group's list, on images first..first+n-1 of the group. */
typedef struct qn_work_item {
    int64_t group, lo, hi;
    int32_t first, n;
} qn_work_item;

/* A pair to run again: fault and image, and what came out first. Outputs are at index * output_count, where `end` is
 * AT_OUTPUT; BOUNDED: by how much they change at most. */
typedef struct qn_work_check {
    int64_t fault, image;
    qn_fault_end end;
    double bound;
} qn_work_check;

typedef struct qn_worker {
    qn_arena arena;          /* changes of the faults it drew */
    const qn_fault **faults; /* of an item: QN_ITEM_FAULTS */
    const qn_fault **chosen; /* of the checks of one image: QN_ITEM_FAULTS */
    int64_t *chosen_check;   /* which check each is */
    qn_work_check *checks;
    float *check_outputs;
    size_t n_checks, checks_capacity, outputs_capacity;
    int64_t n_verified;
    double injecting;
    _Alignas(64) char end[1]; /* workers write to this struct all the time: no shared lines */
} qn_worker;

/* Memory that grows and is not kept. */
typedef struct qn_work_memory {
    void *data;
    size_t n_bytes;
} qn_work_memory;

struct qn_campaign_work {
    qn_campaign_site *site;
    qn_worker *workers;
    const qn_campaign_rounds *rounds;
    const qn_campaign_block *block;
    int64_t n, n_pairs;      /* of the block */
    int64_t group, n_groups; /* images of a group at most; groups */
    bool uniform;
    int classes;             /* outputs that outcomes look at */
    qn_fault *faults;        /* by number */
    const qn_fault **sorted; /* by position */
    int32_t *numbers;        /* position -> number */
    int64_t *starts;         /* [n_groups + 1]: where lists begin in `lists`; not where uniform */
    int32_t *lists;          /* positions, ascending in each list */
    int64_t *bases;          /* [n_groups + 1]: slots */
    qn_work_item *items;
    int64_t n_items;
    uint16_t *slots;
    double *rmse;             /* per slot, where outputs differ */
    uint32_t *before, *after; /* per position: codes in its first image */
    qn_fault_row *rows;       /* by number */
    int64_t *pair_starts;     /* by number, with keep_pairs */
    qn_fault_pair *pairs;
    qn_store_change *changes;
    size_t n_changes, changes_capacity;
    qn_work_memory memory[14];
    /* Called by the calling thread between its items; NULL: nobody. */
    qn_status (*tick)(void *ctx, int64_t pairs_done, qn_error *err);
    void *tick_ctx;
    int64_t pairs_done; /* atomic */
    /* The first item, as it were; NULL: none. */
    qn_status (*lead)(void *ctx, qn_error *err);
    void *lead_ctx;
};

static inline int64_t qn_work_group_images(const qn_campaign_work *work, int64_t group)
{
    const int64_t left = work->site->n_images - group * work->group;
    return left < work->group ? left : work->group;
}

/* Is the fault present in the image? */
static inline bool qn_work_present(const qn_campaign_work *work, const qn_fault *fault, int64_t image)
{
    const int64_t since = image - fault->first_image;
    return (since < 0 ? since + work->site->n_images : since) < fault->n_images;
}

/* n elements, not cleared; what was there before is gone when it has to grow. */
qn_status qn_work_reserve(qn_work_memory *memory, void *array, int64_t n, size_t elem_size, qn_error *err);

/* Lists of sorted faults, room for results, items (campaign_items.c). */
qn_status qn_campaign_items(qn_campaign_work *work, qn_error *err);

/* Slots to rows, and pairs and changes that are kept. */
qn_status qn_campaign_reduce(qn_campaign_work *work, qn_store_block *result, qn_error *err);

/* Is a pair among those to run again? Follows from seed, fault and image. */
bool qn_campaign_chosen(const qn_campaign_site *site, int64_t id, int64_t image);
/* Remember what came out of fault `fault` (index in the item) on an image. */
qn_status qn_campaign_remember(qn_campaign_work *work, qn_worker *worker, int64_t fault, int64_t image,
                               const qn_fault_effect *effect, qn_error *err);
/* Run the remembered pairs of an item from scratch, and compare. */
qn_status qn_campaign_verify(qn_campaign_work *work, int worker, const qn_fault *const *faults, qn_error *err);

#endif
