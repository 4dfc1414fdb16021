/* A run of a campaign, shared by campaign.c and campaign_ranks.c. */
#ifndef QN_FAULT_CAMPAIGN_RUN_H
#define QN_FAULT_CAMPAIGN_RUN_H

#include "fault/campaign.h"

typedef struct qn_campaign_runner {
    qn_campaign_site site;
    qn_arena arena; /* of `about` */
    qn_store_about about;
    qn_store *store; /* NULL on ranks other than 0 */
    qn_campaign_work *work;
    /* Alone with several threads, blocks are put into the store while the next is computed, in the other's memory.
     *  pending  to be written;  writing: atomic, until it is */
    qn_campaign_work *other;
    qn_store_block pending;
    bool has_pending;
    int writing;
    qn_campaign_rounds rounds;
    qn_campaign_stats stats;
    double start, last_told;
    int64_t block_pairs_done;      /* of the block under way */
    struct qn_campaign_desk *desk; /* rank 0's, among several */
} qn_campaign_runner;

/* Rank 0 or alone: a block that was computed, here or elsewhere, goes into the store. */
qn_status qn_campaign_keep(qn_campaign_runner *runner, const qn_store_block *block, qn_error *err);
/* Is block `index` this run's to do, and not yet done? */
qn_status qn_campaign_wanted(qn_campaign_runner *runner, size_t index, bool *wanted, qn_error *err);
void qn_campaign_tell(qn_campaign_runner *runner, bool always);

/* Rank 0 of several: its desk, from the first to the last. */
qn_status qn_campaign_desk_create(qn_campaign_runner *runner, const qn_campaign_ranks *ranks, qn_error *err);
/* Between the items of rank 0's own blocks: take results, hand out blocks. */
qn_status qn_campaign_desk_tick(void *ctx, int64_t pairs_done, qn_error *err);
/* All blocks from `first` on, handed out and taken part in. */
qn_status qn_campaign_desk_round(qn_campaign_runner *runner, size_t first, qn_error *err);
/* Nothing more to do, also after an error: the others end. `wait` until they have, with none of their messages on its way;
 * not after failures, whose end is the job's. Without a desk nothing happens. */
void qn_campaign_desk_close(qn_campaign_runner *runner, bool wait);
/* Other ranks: compute what comes until rank 0 has no more. `status` and `own` tell of making the site; what fails here is told to rank 0, which
 * tells the user, and is no failure of this. */
qn_status qn_campaign_serve(qn_campaign_runner *runner, const qn_campaign_ranks *ranks, qn_status status, qn_error *own,
                            qn_error *err);

#endif
