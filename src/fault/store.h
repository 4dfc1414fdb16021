/* Stores: a campaign in one SQLite file. Inside the fault room.
 *
 * One writer holds the store for as long as it is open (a lock on a byte that SQLite does not use, so that readers can look at
 * a campaign under way). A transaction with a rollback journal has one block of faults, or the blocks of two seconds, for
 * putting it on the disk takes a while: killed at any moment, the file holds whole blocks. One thread at a time uses a
 * store. Numbers of enumerations (where, ends, outcome flags) are those of the headers of this room.
 *
 * Schema, version 3 (application_id 0x716E6643, "qnfC"; user_version 3; version 1 had no `proven`, version 2 nothing of
 * links: targets.field, faults.detected, header_crc, body_crc, unreadable):
 *
 *  campaign   one row: what the campaign is. complete: 1 when no block is missing in this shard
 *      tool, spec, seed, engine, cpu, model_file, model_sha256, data_file, data_sha256, preprocess, labels_file, labels_sha256,
 *      float_file, float_sha256, golden_sha256, n_images, confidence, rmse_threshold, shard, n_shards, keep_pairs,
 *      block_pairs, arguments, complete
 *      seed is the unsigned number as text; sha256 are "" for what there is none of; shard 1..n_shards, 0: merged
 *  targets    id, place ("weights"), layer, value, op_type, format, bits, n_elems, n_terms, channels, channel_stride, field
 *      channel of an element = (element / channel_stride) % channels; channels 1 where there is no channel axis; field: of a frame, NULL
 *      elsewhere
 *  strata     id, fault_set, label, population (NULL: infinite), place, layer, bit, channel (NULL: several)
 *  parts      first_id, n, round, stratum, first_draw: fault first_id + i is draw first_draw + i of the stratum. All of
 *      the campaign's, also where this store is a shard of it
 *  blocks     number, first_id, n, pairs, verified, seconds: what has been done
 *  images     id, top1, label, probability, right, float_top1, float_probability, float_right, float_rmse: fault-free runs; NULL: unknown
 *  faults     one row a fault (row.h)
 *      id, stratum, draw, target, element, term, mask, n_changes, first_image, n_images, before, after, value_before, value_after,
 *      pairs, activated, masked, tolerated, sdc1, sdc5, sdc10, sdc20, critical, nonfinite, proven, detected (pairs of
 *             each outcome),
 *      inactive, in_layer, on_the_way, at_output, refused, header_crc, body_crc, unreadable (pairs of each end; proven
 *             ones have none), rmse_sum, rmse_max
 *  changes    fault, number, target, element, term, and_mask, or_mask, xor_mask, noise: of faults with 2 to QN_STORE_CHANGES changes;
 *      those of faults with more follow from the specification, the seed, stratum and draw, as all others do
 *  pairs      fault, image, flags (outcome.h), ended (injector.h), rmse (NULL: not measured): with keep_pairs
 *  bits       mask, bit: of masks with one bit, to join with faults
 *  Index: faults by target and element, once the campaign is complete. `parts` is the index of faults by stratum. */
#ifndef QN_FAULT_STORE_H
#define QN_FAULT_STORE_H

#include "fault/row.h"
#include "fault/space.h"
#include "fault/stats.h"
#include "quern/engine.h"

enum { QN_STORE_SCHEMA = 3, QN_STORE_CHANGES = 64 };

typedef struct qn_store qn_store;

/* What a campaign is. Strings belong to whom they were got from. */
typedef struct qn_store_about {
    const char *tool, *spec;
    uint64_t seed;
    const char *engine, *cpu;
    const char *model_file, *model_sha256, *data_file, *data_sha256, *preprocess, *labels_file, *labels_sha256;
    const char *float_file, *float_sha256, *golden_sha256;
    int64_t n_images;
    double confidence, rmse_threshold;
    int shard, n_shards;
    bool keep_pairs;
    int64_t block_pairs;
    const char *arguments;
    bool complete;
} qn_store_about;

/* A run of faults of one stratum that have ids in a row. */
typedef struct qn_store_part {
    int64_t first_id, n;
    int32_t round, stratum;
    int64_t first_draw;
} qn_store_part;

/*  label, float_*: -1 (probability, rmse: NaN) unknown */
typedef struct qn_store_image {
    int64_t id;
    int top1, label, float_top1;
    double probability, float_probability, float_rmse;
} qn_store_image;

typedef struct qn_store_change {
    int64_t fault, number;
    qn_fault_change change;
} qn_store_change;

/* All that one block of faults brings. */
typedef struct qn_store_block {
    int64_t number, first_id, n, n_pairs, verified;
    double seconds;
    const qn_fault_row *rows; /* n of them */
    const qn_store_change *changes;
    size_t n_changes;
    const qn_fault_pair *pairs;
    size_t n_kept_pairs;
} qn_store_block;

/* -- writing ---------------------------------------------------------------------------------------------------------- */

/* What a store is begun with. space: strata, and targets through it. */
typedef struct qn_store_begin {
    const qn_store_about *about;
    const qn_fault_space *space;
    const qn_store_image *images;
    int64_t n_images;
} qn_store_begin;

/* Open for writing: a new store, with what it begins with in it, or one of the same campaign to go on with (*resumed).
 * Nothing of an existing file is touched unless it is that, or `overwrite`.
 * Errors: those of qn_campaign_run that concern a store. */
qn_status qn_store_create(qn_store **store, const char *path, bool overwrite, const qn_store_begin *begin,
                          bool *resumed, qn_error *err);
/* Would qn_store_create take `path`, as far as can be told before the golden values are known (golden_sha256 NULL)? */
qn_status qn_store_check(const char *path, bool overwrite, const qn_store_about *about, qn_error *err);
/* The parts of a round; those that are there already must be the same. Errors: QN_EIO; QN_ECONFLICT: they are not. */
qn_status qn_store_add_parts(qn_store *store, const qn_store_part *parts, size_t n, qn_error *err);
/* A block; blocks may come in any order. It is on the disk two seconds later, if there is another call by then, or after qn_store_flush.
 * Errors: QN_EIO (disk full, ...): nothing is kept of the block, nor of others that were not on the disk yet. */
qn_status qn_store_add_block(qn_store *store, const qn_store_block *block, qn_error *err);
/* What was added is on the disk; with `all` false, if that has been due. */
qn_status qn_store_flush(qn_store *store, bool all, qn_error *err);
/* No block is missing: indices are made, the campaign is marked complete. */
qn_status qn_store_finish(qn_store *store, qn_error *err);
void qn_store_close(qn_store *store); /* flushes, without telling of failures */
/* See qn_campaign_merge. */
qn_status qn_store_merge(const char *output, bool overwrite, const char *const *stores, size_t n_stores, char **missing,
                         qn_error *err);

/* -- reading ---------------------------------------------------------------------------------------------------------- */

/* Errors: QN_EIO, QN_EFORMAT (no campaign store), QN_EUNSUPPORTED (another schema). */
qn_status qn_store_open(qn_store **store, const char *path, qn_error *err);
const qn_store_about *qn_store_about_of(const qn_store *store); /* belongs to the store */
const char *qn_store_path(const qn_store *store);

typedef struct qn_store_target {
    int32_t id;
    const char *place, *layer, *value, *op_type, *format;
    int bits;
    int64_t n_elems, n_terms, channels, channel_stride;
    const char *field; /* of a frame; "" elsewhere */
} qn_store_target;
/*  population as in qn_fault_stratum; place, layer "" and bit, channel -1: several;  n: faults in the store */
typedef struct qn_store_stratum {
    int32_t id;
    const char *set, *label, *place, *layer;
    int64_t population;
    int bit;
    int64_t channel, n;
} qn_store_stratum;
/* Lists; they belong to the store. */
qn_status qn_store_targets(qn_store *store, const qn_store_target **targets, int *n, qn_error *err);
qn_status qn_store_strata(qn_store *store, const qn_store_stratum **strata, int *n, qn_error *err);
qn_status qn_store_parts(qn_store *store, const qn_store_part **parts, size_t *n, qn_error *err);
/* Totals of the blocks in the store. first_id, last_id: of its faults, -1 of none; shards may lack some in between. */
typedef struct qn_store_totals {
    int64_t blocks, faults, pairs, verified, first_id, last_id;
    double seconds;
} qn_store_totals;
qn_status qn_store_total(qn_store *store, qn_store_totals *totals, qn_error *err);
/* Is block `number` in the store? */
qn_status qn_store_has_block(qn_store *store, int64_t number, bool *has, qn_error *err);
/* Of the images: how many, right ones fault-free and in float (-1 without labels, without float model), agreeing top-1, and the
 * root of the mean of float_rmse squared (NaN without). */
typedef struct qn_store_golden {
    int64_t images, right, float_right, float_agree;
    double float_rmse;
} qn_store_golden;
qn_status qn_store_golden_of(qn_store *store, qn_store_golden *golden, qn_error *err);

/* One fault. *found false when there is none of that id. */
qn_status qn_store_row(qn_store *store, int64_t id, qn_fault_row *row, bool *found, qn_error *err);
/* Its changes where the store has them (n 0 otherwise), in `arena`. */
qn_status qn_store_changes(qn_store *store, int64_t id, qn_arena *arena, const qn_fault_change **changes, int64_t *n,
                           qn_error *err);

/* -- rates ------------------------------------------------------------------------------------------------------------ */

/* X(name, bit, text): by what rows are told apart. */
#define QN_STORE_BY_LIST(X)                                                                                            \
    X(QN_STORE_BY_LAYER, 0, "layer")                                                                                   \
    X(QN_STORE_BY_BIT, 1, "bit")                                                                                       \
    X(QN_STORE_BY_CHANNEL, 2, "channel")                                                                               \
    X(QN_STORE_BY_WHERE, 3, "where")                                                                                   \
    X(QN_STORE_BY_FORMAT, 4, "format")                                                                                 \
    X(QN_STORE_BY_SET, 5, "set")                                                                                       \
    X(QN_STORE_BY_STRATUM, 6, "stratum")                                                                               \
    X(QN_STORE_BY_FIELD, 7, "field")
enum {
#define QN_STORE_BY_ENUM(name, bit, text) name = 1 << bit,
    QN_STORE_BY_LIST(QN_STORE_BY_ENUM)
#undef QN_STORE_BY_ENUM
};

/* A group: what the faults have in common, by what was asked ("" and -1 otherwise, also bits of faults that change several, and channels
 * of targets without a channel axis), and sums over them. A fault is sorted by its first change.
 *  tallies   [outcome][n_tallies]: per stratum, for qn_fault_rate; outcomes that were not asked for are NULL.
 *            A stratum whose faults fall into several groups has in each the population N * n_group / n, at least n_group,
 *            which is exact where it was exhausted (of the faults of a simple random sample, those in a group are one of the
 *            group's). n: its faults in the store */
typedef struct qn_store_group {
    const char *layer, *place, *format, *set, *stratum, *field;
    int bit;
    int64_t channel;
    int64_t n_faults, pairs, activated;
    int64_t counts[QN_OUTCOME_COUNT], ends[QN_FAULT_N_ENDS];
    double rmse_sum, rmse_max;
    int n_tallies;
    qn_fault_tally *tallies[QN_OUTCOME_COUNT];
} qn_store_group;
typedef struct qn_store_groups {
    qn_arena arena;
    qn_store_group *list;
    size_t n;
} qn_store_groups;
/* Rates by `by` (QN_STORE_BY_*, 0: one group of all), with tallies of `outcomes` (QN_OUTCOME_*), in the order of layers in the network
 * (targets), then bit, channel, ...
 * The query, with the columns asked for:
 *   SELECT <by>, faults.stratum, count(*), sum(pairs), sum(activated), sum(masked) ..., sum(sdc1*sdc1), sum(sdc1*pairs), sum(pairs*pairs)
 *   FROM faults JOIN targets ON targets.id = faults.target LEFT JOIN bits ON bits.mask = faults.mask
 *   GROUP BY <by>, faults.stratum
 * Released by qn_store_groups_free, also after an error. */
qn_status qn_store_rates(qn_store_groups *groups, qn_store *store, unsigned by, unsigned outcomes, qn_error *err);
void qn_store_groups_free(qn_store_groups *groups);

/* The sites that do most harm: targets' elements and terms (or with by_bit: and bit), by pairs of an outcome, most first, then by target and
 * element:  SELECT target, element, term, [bit,] sum(sdc1), sum(pairs), count(*) FROM faults ... GROUP BY ... ORDER BY 4 DESC LIMIT n */
typedef struct qn_store_site {
    int32_t target;
    int64_t element, term;
    int bit; /* -1 unless asked for, or several */
    int64_t hits, pairs, n_faults, first_fault;
} qn_store_site;
/* sites: room for `max`. outcome: one of QN_OUTCOME_*. Sites without hits are left out. */
qn_status qn_store_worst(qn_store *store, unsigned outcome, bool by_bit, qn_store_site *sites, size_t max, size_t *n,
                         qn_error *err);
/* Tallies of an outcome per stratum, strata of them, over faults with numbers below `end`: what sequential sampling goes by. */
qn_status qn_store_tallies(qn_store *store, unsigned outcome, int64_t end, qn_fault_tally *tallies, int n_strata,
                           qn_error *err);

#endif
