/* Fault campaigns: which faults a specification draws, what each does to the answers of a network, kept in a store.
 *
 * doc/faults.md tells what can be specified and what outcomes mean; doc/spec/arithmetic.md, section 7, what a fault is. Rows
 * follow from the model, the data, the specification and the seed alone: not from threads, ranks, shards, memory, the
 * order of the work or interruptions. */
#ifndef QUERN_FAULT_H
#define QUERN_FAULT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/dataset.h"
#include "quern/engine.h"
#include "quern/model.h"
#include "quern/tensor.h"

/* Which faults, how many, in what lifetime (YAML, doc/faults.md). */
typedef struct qn_fault_spec qn_fault_spec;
/* *spec is NULL unless QN_OK. Errors: QN_EIO; QN_EFORMAT with line and key; QN_EINVAL; QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_fault_spec_open(qn_fault_spec **spec, const char *path, qn_error *err);
/* The same of a text; `name` stands for the path in messages. */
QN_API QN_NODISCARD qn_status qn_fault_spec_of_text(qn_fault_spec **spec, const char *text, const char *name,
                                                    qn_error *err);
QN_API void qn_fault_spec_close(qn_fault_spec *spec);

/* How far a campaign is. Faults and pairs count those of earlier runs of the same store, too; faults_total that of this shard, and
 * grows from round to round where sampling goes on until intervals are narrow. */
typedef struct qn_campaign_progress {
    int64_t faults, faults_total, pairs;
    double seconds; /* since the run began */
    int round;
} qn_campaign_progress;
/* Called by the thread that called qn_campaign_run. */
typedef void (*qn_campaign_progress_fn)(void *ctx, const qn_campaign_progress *progress);

/* Ranks of a parallel job (MPI, or anything else that delivers messages in order between two ranks). All call qn_campaign_run
 * with the same options; rank 0 hands out blocks of faults, writes the store and takes part; the others compute.
 *  send     to one rank; returns when `data` may be used again
 *  receive  exactly n_bytes, from rank `from`
 *  probe    *from: a rank that has sent something not yet received; -1 when there is none and `wait` is false
 * A failure of one rank is the failure of all: what delivers messages ends the job, the store keeps whole blocks. When rank 0
 * returns QN_OK or QN_ECANCELED, all others have returned or are about to, and no message is on its way.
 * Called by the thread that called qn_campaign_run alone. */
typedef struct qn_campaign_ranks {
    void *ctx;
    int rank, size;
    qn_status (*send)(void *ctx, int to, const void *data, size_t n_bytes, qn_error *err);
    qn_status (*receive)(void *ctx, int from, void *data, size_t n_bytes, qn_error *err);
    qn_status (*probe)(void *ctx, bool wait, int *from, qn_error *err);
} qn_campaign_ranks;

/*  model         what faults are injected into
 *  float_model   the network before it was quantized, NULL for none: its answers are compared with the fault-free ones, so that the
 *                error of quantization stands apart from that of faults
 *  data          images; labels: one integer class for each, NULL: no outcome is "critical"; labels_name for messages and the
 *                store, may be NULL
 *  n_images      the first images of data; 0: all
 *  spec          belongs to the caller
 *  store         path of the store (SQLite). One of the same campaign is gone on with; any other is refused, unless
 *                `overwrite`, which starts anew
 *  arguments     kept in the store as a record; may be NULL
 *  engine        default: qn_engine_choose
 *  cpu, batch    as in qn_evaluate_options
 *  n_threads     at least 1; default: the processors this process may use
 *  memory_bytes  for golden values and results of blocks; default 1 GiB
 *  has_seed      seed overrules the specification's, which is 0 where it has none
 *  confidence    of intervals, 0.5..0.999999; default 0.95
 *  shard         1..n_shards: of a campaign divided over n_shards stores, this part; default 1 of 1
 *  keep_pairs    keep one row per (fault, image), too
 *  verify        share of pairs, 0..1, that are run again by brute force; negative (the default): the specification's
 *  block_pairs   pairs after which a block of faults ends; 0: chosen by the network's size. Rows do not depend on it
 *  stop          NULL, or a flag that makes the campaign end, with what is done in whole blocks kept
 *  ranks         NULL: this process alone
 * What pointers point to belongs to the caller. */
typedef struct qn_campaign_options {
    size_t struct_size;
    const qn_model *model, *float_model;
    const qn_dataset *data;
    const qn_tensor *labels;
    const char *labels_name;
    int64_t n_images;
    qn_fault_spec *spec;
    const char *store;
    bool overwrite;
    const char *arguments;
    qn_engine engine;
    qn_cpu cpu;
    int64_t batch;
    int n_threads;
    size_t memory_bytes;
    bool has_seed;
    uint64_t seed;
    double confidence;
    int shard, n_shards;
    bool keep_pairs;
    double verify;
    int64_t block_pairs;
    const volatile sig_atomic_t *stop;
    qn_campaign_progress_fn progress;
    void *progress_ctx;
    const qn_campaign_ranks *ranks;
} qn_campaign_options;
/* Defaults for a model, which is set, too. Errors: those of qn_engine_choose. */
QN_API QN_NODISCARD qn_status qn_campaign_options_init(qn_campaign_options *options, const qn_model *model,
                                                       qn_error *err);

/* A stratum of a plan.
 *  population       faults that can be drawn; INT64_MAX: infinitely many
 *  n_min, n_max     faults that will be: the same, unless sampling goes on until an interval is narrow
 *  images           inferences each is present in */
typedef struct qn_campaign_plan_row {
    const char *set, *label;
    int64_t population, n_min, n_max, images;
} qn_campaign_plan_row;
/*  population      INT64_MAX: infinite
 *  n_min, n_max, pairs_min, pairs_max   of the whole campaign; INT64_MAX where nothing bounds them
 *  pairs_per_second  by a short measurement with these threads; seconds_min, seconds_max: of this shard; 0 where nothing was
 *                  measured */
typedef struct qn_campaign_plan_summary {
    int n_targets, n_strata;
    int64_t population, n_images;
    int64_t n_min, n_max, pairs_min, pairs_max;
    double pairs_per_second, seconds_min, seconds_max;
} qn_campaign_plan_summary;
typedef struct qn_campaign_plan qn_campaign_plan;
/* What a campaign would do, without a store. *seconds*: about how long to measure; 0: not at all. Errors: those of qn_campaign_run
 * that do not concern a store. */
QN_API QN_NODISCARD qn_status qn_campaign_plan_make(qn_campaign_plan **plan, const qn_campaign_options *options,
                                                    double seconds, qn_error *err);
QN_API void qn_campaign_plan_free(qn_campaign_plan *plan);
QN_API const qn_campaign_plan_summary *qn_campaign_plan_about(const qn_campaign_plan *plan);
QN_API const qn_campaign_plan_row *qn_campaign_plan_at(const qn_campaign_plan *plan, int index); /* NULL beyond */

/* What a run has done.
 *  faults, pairs     in the store now; new_faults, new_pairs: of them, by this run; n_verified: pairs run again
 *  complete          nothing is left of this shard; otherwise it was stopped
 *  seconds           of the run; injecting: the longest that one thread of this process spent in the injector
 *  images, right     images, and of them (with labels) fault-free right answers
 *  float_right, float_agree, float_rmse   with float_model: its right answers, top-1 that agree with the fault-free ones, and the
 *                    root of the mean squared difference of the outputs: the error of quantization */
typedef struct qn_campaign_stats {
    int64_t faults, pairs, new_faults, new_pairs, n_verified;
    bool complete;
    int rounds;
    double seconds, injecting_seconds, storing_seconds;
    int64_t images, right;
    bool has_labels, has_float;
    int64_t float_right, float_agree;
    double float_rmse;
} qn_campaign_stats;

/* Run a campaign, or go on with it, to its end or until `stop`.
 *  stats  may be NULL; filled also when QN_ECANCELED or a store's failure ends the run
 * Errors: QN_EINVAL (options; a specification that does not fit the model, naming fault set and line); QN_ECONFLICT: the store is of another
 * campaign, saying what differs; QN_EFORMAT: it is no campaign store; QN_EUNSUPPORTED: of another version of the schema; QN_EIO: locked, not
 * writable, disk full; QN_ECANCELED: stopped; QN_EINTERNAL: verification or the golden outputs differ, naming fault and image; QN_ESHAPE,
 * QN_ERANGE (labels); those of making and running programs. Whatever the error, the store has whole blocks. */
QN_API QN_NODISCARD qn_status qn_campaign_run(const qn_campaign_options *options, qn_campaign_stats *stats,
                                              qn_error *err);

/* One store of shards of the same campaign. A shard that is missing or not complete is no error: the store made can be
 * merged further, and tells what it lacks.
 *  missing   may be NULL; else a text that names shards that are missing, "" for none; released with free()
 * Errors: QN_EEXIST; QN_ECONFLICT: of different campaigns (saying in what), or two hold the same faults; those of opening stores. */
QN_API QN_NODISCARD qn_status qn_campaign_merge(const char *output, bool overwrite, const char *const *stores,
                                                size_t n_stores, char **missing, qn_error *err);

#endif
