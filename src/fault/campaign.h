/* Campaigns: draw, run, classify, keep. Inside the fault room; include/quern/fault.h has what users see.
 *
 * Faults are numbered through the whole campaign in the order (round, stratum, draw); a **part** (store.h) is a run of one
 * stratum's. A **block** is a run of numbers of one round, which any process that has the same site can compute from the parts alone: it
 * draws the faults, gives them to the injector image by image on several threads, and reduces the results of each fault over images in
 * ascending order, so that sums are the same whatever the threads did. Blocks are as large as the network's size and the
 * lifetimes of the faults say, never as threads or memory do: shards agree on them.
 *
 *   site    what is needed to compute: program, targets, space, injectors, golden outputs     (campaign_site.c)
 *   block   one block's faults, results, rows                                                  (campaign_block.c)
 *   rounds  which parts and blocks there are                                                   (campaign_rounds.c)
 *   run     blocks in order, or over ranks, into the store                                     (campaign.c, campaign_ranks.c) */
#ifndef QN_FAULT_CAMPAIGN_H
#define QN_FAULT_CAMPAIGN_H

#include "fault/injector.h"
#include "fault/outcome.h"
#include "fault/row.h"
#include "fault/space.h"
#include "fault/store.h"
#include "quern/fault.h"

/* -- site ------------------------------------------------------------------------------------------------------------- */

/*  outputs    f32[n_images][output_count], of fault-free runs;  golden: of each image
 *  links      in place; NULL: none
 *  whole      runs everything from scratch, for verification; NULL without
 *  rewrite    NULL, or called for each fault once it is drawn, by whichever thread draws it: it may replace the changes, by ones
 *             from `arena`. So is protection modelled */
typedef struct qn_campaign_site {
    const qn_campaign_options *options;
    qn_program *program;
    qn_link_path *links;
    qn_fault_targets targets;
    qn_fault_space space;
    qn_injector *injector, *whole;
    int64_t n_images, output_count, logits_count;
    uint64_t seed;
    double verify;
    float *outputs;
    qn_golden *golden;
    char golden_sha256[65];
    qn_store_image *images;
    qn_status (*rewrite)(void *ctx, qn_arena *arena, qn_fault *fault, qn_error *err);
    void *rewrite_ctx;
} qn_campaign_site;
/* Outputs that outcomes look at: the first so many. */
static inline int64_t qn_campaign_outputs(const qn_campaign_site *site)
{
    return site->options->spec->rmse_threshold == 0 ? site->logits_count : site->output_count;
}
/* Program, targets, space. Then injectors and golden values. Released by qn_campaign_site_free, also after an error. */
qn_status qn_campaign_site_make(qn_campaign_site *site, const qn_campaign_options *options, qn_error *err);
qn_status qn_campaign_site_golden(qn_campaign_site *site, qn_error *err);
/* Part of that: what options->float_model, if any, answers (campaign_float.c). */
qn_status qn_campaign_site_float(qn_campaign_site *site, qn_error *err);
/* Are the fault-free outputs still the same bytes? QN_EINTERNAL names the first image that differs. */
qn_status qn_campaign_site_check(qn_campaign_site *site, qn_error *err);
void qn_campaign_site_free(qn_campaign_site *site);

/* For tests: injectors to take in place of those of injector.h; NULL for the real ones. Not while a campaign runs. */
typedef struct qn_campaign_fakes {
    const qn_injector_ops *injector, *whole;
} qn_campaign_fakes;
extern qn_campaign_fakes qn_campaign_fake;

/* Changes of all faults of a block: memory. One fault may have more. */
enum { QN_BLOCK_CHANGES = 1 << 21 };

/* -- rounds ----------------------------------------------------------------------------------------------------------- */

/* Parts of all rounds so far, sorted by first_id, and where blocks of each round begin. */
typedef struct qn_campaign_rounds {
    qn_store_part *parts;
    size_t n_parts, parts_capacity;
    struct qn_campaign_block *blocks;
    size_t n_blocks, blocks_capacity;
    int n_rounds;
    int64_t n_faults, n_pairs;
    int64_t block_pairs;
} qn_campaign_rounds;
typedef struct qn_campaign_block {
    int64_t number, first_id, n, n_pairs;
    size_t first_part; /* the part that first_id is in */
} qn_campaign_block;
/* Images a fault of the stratum is present in; at most, where the stratum has faults of several lifetimes. */
int64_t qn_campaign_images(const qn_fault_space *space, int stratum);
/* Add the next round: its parts follow from the space and, after the first, from the tallies (of SDC-1, per stratum) of all rows so far.
 * *more false: there is none. */
qn_status qn_campaign_rounds_next(qn_campaign_rounds *rounds, const qn_fault_space *space,
                                  const qn_fault_tally *tallies, bool *more, qn_error *err);
void qn_campaign_rounds_free(qn_campaign_rounds *rounds);
/* Faults of a stratum: at least, and at most. */
void qn_campaign_sizes(const qn_fault_space *space, int stratum, int64_t *n_min, int64_t *n_max);
/* Pairs after which a block ends, for a network of so many multiply-accumulates. */
int64_t qn_campaign_block_pairs(int64_t macs);

/* -- block ------------------------------------------------------------------------------------------------------------ */

/* Memory of one block's work, used again for the next. */
typedef struct qn_campaign_work qn_campaign_work;
qn_status qn_campaign_work_create(qn_campaign_work **work, qn_campaign_site *site, qn_error *err);
void qn_campaign_work_free(qn_campaign_work *work);
/* Have `tick` called by the thread that runs blocks, in between its items, with the pairs of the block done so far. */
void qn_campaign_work_tick(qn_campaign_work *work, qn_status (*tick)(void *ctx, int64_t pairs_done, qn_error *err),
                           void *ctx);
/* Have a worker do this while others begin with the next blocks: putting the block before into the store, which takes as long as some
 * faults take to run. Done before qn_campaign_block_run returns QN_OK. */
void qn_campaign_work_lead(qn_campaign_work *work, qn_status (*lead)(void *ctx, qn_error *err), void *ctx);
/* Compute a block. `result` holds until the next call with the same work. Errors: QN_ECANCELED when options->stop was set; QN_EINTERNAL
 * when verification fails; those of drawing and running. */
qn_status qn_campaign_block_run(qn_campaign_work *work, const qn_campaign_rounds *rounds,
                                const qn_campaign_block *block, qn_store_block *result, qn_error *err);
/* The longest that one thread spent in the injector so far, in seconds; 0 for NULL. */
double qn_campaign_injecting(const qn_campaign_work *work);

#endif
