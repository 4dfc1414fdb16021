/* Running a campaign: rounds of blocks into the store. */
#include "fault/campaign.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "engine/labels.h"
#include "fault/campaign_run.h"
#include "graph/model.h"

static const double TELL_SECONDS = 0.2;
enum { LEAST_FAULTS = 16 }; /* of a block, for each image */

/* Of the classes alone: the file may be of any kind. */
static qn_status hash_labels(qn_campaign_runner *runner, char hex[QN_SHA256_HEX], qn_error *err)
{
    const qn_campaign_site *site = &runner->site;
    hex[0] = '\0';
    if (site->options->labels == NULL) {
        return QN_OK;
    }
    const size_t n_bytes = (size_t)site->n_images * sizeof(int64_t);
    int64_t *labels = qn_alloc(n_bytes);
    if (labels == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    for (int64_t i = 0; i < site->n_images; i++) {
        labels[i] = qn_label_at(site->options->labels, i);
    }
    qn_sha256_hex(hex, labels, n_bytes);
    qn_free(labels);
    return QN_OK;
}

static int64_t count_macs(const qn_program *program)
{
    int64_t macs = 0;
    for (size_t i = 0; i < program->graph.n_nodes; i++) {
        const qn_node *node = &program->graph.nodes[i];
        macs += node->op != QN_OP_REMOVED ? qn_node_macs(&program->binding, node) : 0;
    }
    return macs / (program->binding.batch > 0 ? program->binding.batch : 1);
}

/* Faults that run once each need as many images' golden values as there are images: a block holds some for each. */
static int64_t choose_block_pairs(const qn_campaign_site *site)
{
    if (site->options->block_pairs > 0) {
        return site->options->block_pairs;
    }
    const int64_t pairs = qn_campaign_block_pairs(count_macs(site->program)), least = LEAST_FAULTS * site->n_images;
    return pairs > least ? pairs : least;
}

static qn_status describe(qn_campaign_runner *runner, qn_error *err)
{
    const qn_campaign_options *o = runner->site.options;
    qn_arena *arena = &runner->arena;
    char data[QN_SHA256_HEX], labels[QN_SHA256_HEX];
    char *preprocess = NULL;
    const char *spec;
    QN_TRY(qn_fault_spec_text(o->spec, &spec, err));
    QN_TRY(qn_dataset_sha256(o->data, data, err));
    QN_TRY(hash_labels(runner, labels, err));
    QN_TRY(qn_preprocess_to_json(qn_dataset_preprocess(o->data), &preprocess, err));
    const char *labels_name = o->labels_name != NULL ? o->labels_name : "labels";
    runner->about = (qn_store_about){
        .tool = qn_arena_printf(arena, "quern %s", qn_version()),
        .spec = spec,
        .seed = runner->site.seed,
        .engine = qn_engine_text(o->engine),
        .cpu = qn_cpu_text(o->cpu),
        .model_file = o->model->graph.file,
        .model_sha256 = o->model->graph.sha256,
        .data_file = qn_dataset_name(o->data),
        .data_sha256 = qn_arena_string(arena, data),
        .preprocess = qn_arena_string(arena, preprocess),
        .labels_file = o->labels != NULL ? labels_name : "",
        .labels_sha256 = qn_arena_string(arena, labels),
        .float_file = o->float_model != NULL ? o->float_model->graph.file : "",
        .float_sha256 = o->float_model != NULL ? o->float_model->graph.sha256 : "",
        .n_images = runner->site.n_images,
        .confidence = o->confidence,
        .rmse_threshold = o->spec->rmse_threshold,
        .shard = o->shard,
        .n_shards = o->n_shards,
        .keep_pairs = o->keep_pairs,
        .block_pairs = choose_block_pairs(&runner->site),
        .arguments = o->arguments != NULL ? o->arguments : "",
    };
    free(preprocess);
    const qn_store_about *a = &runner->about;
    return a->tool != NULL && a->data_sha256 != NULL && a->preprocess != NULL && a->labels_sha256 != NULL
               ? QN_OK
               : qn_fail_memory(err, NULL, sizeof *a);
}

void qn_campaign_tell(qn_campaign_runner *runner, bool always)
{
    const qn_campaign_options *o = runner->site.options;
    const double now = qn_now_seconds();
    if (o->progress == NULL || (!always && now - runner->last_told < TELL_SECONDS)) {
        return;
    }
    runner->last_told = now;
    const qn_campaign_progress progress = {
        .faults = runner->stats.faults,
        .faults_total = runner->rounds.n_faults / o->n_shards,
        .pairs = runner->stats.pairs + runner->block_pairs_done,
        .seconds = now - runner->start,
        .round = runner->rounds.n_rounds,
    };
    o->progress(o->progress_ctx, &progress);
}

static qn_status tick(void *ctx, int64_t pairs_done, qn_error *err)
{
    qn_campaign_runner *runner = ctx;
    runner->block_pairs_done = pairs_done;
    qn_campaign_tell(runner, false);
    return __atomic_load_n(&runner->writing, __ATOMIC_ACQUIRE) != 0 ? QN_OK : qn_store_flush(runner->store, false, err);
}

static void count_kept(qn_campaign_runner *runner, const qn_store_block *block)
{
    runner->stats.faults += block->n;
    runner->stats.pairs += block->n_pairs;
    runner->stats.new_faults += block->n;
    runner->stats.new_pairs += block->n_pairs;
    runner->stats.n_verified += block->verified;
}

qn_status qn_campaign_keep(qn_campaign_runner *runner, const qn_store_block *block, qn_error *err)
{
    const double start = qn_now_seconds();
    const qn_status status = qn_store_add_block(runner->store, block, err);
    runner->stats.storing_seconds += qn_now_seconds() - start;
    if (status == QN_OK) {
        count_kept(runner, block);
    }
    return status;
}

/* By any worker, while the others compute the next block: counts are left to the calling thread, which tells of progress. */
static qn_status write_pending(void *ctx, qn_error *err)
{
    qn_campaign_runner *runner = ctx;
    if (__atomic_load_n(&runner->writing, __ATOMIC_ACQUIRE) == 0) {
        return QN_OK;
    }
    const double start = qn_now_seconds();
    const qn_status status = qn_store_add_block(runner->store, &runner->pending, err);
    runner->stats.storing_seconds += qn_now_seconds() - start;
    if (status != QN_OK) {
        runner->has_pending = false; /* and not tried again */
    }
    __atomic_store_n(&runner->writing, 0, __ATOMIC_RELEASE);
    return status;
}

/* The pending block is in the store, whether a worker got to write it or not. */
static qn_status settle(qn_campaign_runner *runner, qn_error *err)
{
    QN_TRY(write_pending(runner, err));
    if (runner->has_pending) {
        count_kept(runner, &runner->pending);
        runner->has_pending = false;
    }
    return QN_OK;
}

qn_status qn_campaign_wanted(qn_campaign_runner *runner, size_t index, bool *wanted, qn_error *err)
{
    const qn_campaign_options *o = runner->site.options;
    bool done = false;
    *wanted = (int64_t)index % o->n_shards == o->shard - 1;
    if (*wanted) {
        QN_TRY(qn_store_has_block(runner->store, runner->rounds.blocks[index].number, &done, err));
    }
    *wanted = *wanted && !done;
    return QN_OK;
}

static qn_status run_block(qn_campaign_runner *runner, const qn_campaign_block *block, qn_error *err)
{
    qn_store_block result;
    qn_status status = qn_campaign_block_run(runner->work, &runner->rounds, block, &result, err);
    const qn_status settled = settle(runner, err);
    runner->block_pairs_done = 0;
    status = status == QN_OK ? settled : status;
    if (status != QN_OK || runner->other == NULL) {
        return status == QN_OK ? qn_campaign_keep(runner, &result, err) : status;
    }
    qn_campaign_work *work = runner->work;
    runner->work = runner->other;
    runner->other = work;
    runner->pending = result;
    runner->has_pending = true;
    __atomic_store_n(&runner->writing, 1, __ATOMIC_RELEASE);
    return QN_OK;
}

/* The blocks of a round, one after another. */
static qn_status run_round(qn_campaign_runner *runner, size_t first, qn_error *err)
{
    qn_status status = QN_OK;
    for (size_t b = first; status == QN_OK && b < runner->rounds.n_blocks; b++) {
        bool wanted;
        status = qn_campaign_wanted(runner, b, &wanted, err);
        if (status == QN_OK && wanted) {
            status = run_block(runner, &runner->rounds.blocks[b], err);
            qn_campaign_tell(runner, false);
        }
    }
    const qn_status settled = settle(runner, err);
    return status == QN_OK ? settled : status;
}

static qn_status run_rounds(qn_campaign_runner *runner, qn_fault_tally *tallies, qn_error *err)
{
    qn_campaign_rounds *rounds = &runner->rounds;
    const qn_fault_space *space = &runner->site.space;
    while (true) {
        const size_t first_part = rounds->n_parts, first_block = rounds->n_blocks;
        bool more;
        if (rounds->n_rounds > 0) {
            QN_TRY(qn_store_tallies(runner->store, QN_OUTCOME_SDC1, rounds->n_faults, tallies, space->n_strata, err));
        }
        QN_TRY(qn_campaign_rounds_next(rounds, space, tallies, &more, err));
        if (!more) {
            return QN_OK;
        }
        QN_TRY(qn_store_add_parts(runner->store, rounds->parts + first_part, rounds->n_parts - first_part, err));
        qn_campaign_tell(runner, true);
        QN_TRY(runner->desk != NULL ? qn_campaign_desk_round(runner, first_block, err)
                                    : run_round(runner, first_block, err));
        runner->stats.rounds = rounds->n_rounds;
    }
}

static qn_status open_store(qn_campaign_runner *runner, qn_error *err)
{
    const qn_campaign_site *site = &runner->site;
    const qn_store_begin begin = {
        .about = &runner->about, .space = &site->space, .images = site->images, .n_images = site->n_images};
    bool resumed;
    QN_TRY(qn_store_create(&runner->store, site->options->store, site->options->overwrite, &begin, &resumed, err));
    qn_store_totals totals;
    QN_TRY(qn_store_total(runner->store, &totals, err));
    runner->stats.faults = totals.faults;
    runner->stats.pairs = totals.pairs;
    runner->stats.n_verified = totals.verified;
    return QN_OK;
}

static void count_golden(qn_campaign_runner *runner)
{
    const qn_campaign_site *site = &runner->site;
    qn_campaign_stats *stats = &runner->stats;
    double sum = 0;
    stats->images = site->n_images;
    stats->has_float = site->options->float_model != NULL;
    for (int64_t i = 0; i < site->n_images; i++) {
        const qn_store_image *image = &site->images[i];
        stats->has_labels = stats->has_labels || image->label >= 0;
        stats->right += image->label >= 0 && image->label == image->top1;
        if (stats->has_float) {
            stats->float_right += image->label >= 0 && image->label == image->float_top1;
            stats->float_agree += image->float_top1 == image->top1;
            sum += image->float_rmse * image->float_rmse;
        }
    }
    stats->float_rmse = stats->has_float ? sqrt(sum / (double)site->n_images) : (double)NAN;
}

/* Program, space and golden values; of rank 0, what a store would refuse is refused before any work. */
static qn_status make_site(qn_campaign_runner *runner, const qn_campaign_options *options, bool writes, qn_error *err)
{
    QN_TRY(qn_campaign_site_make(&runner->site, options, err));
    QN_TRY(describe(runner, err));
    if (writes) {
        QN_TRY(qn_store_check(options->store, options->overwrite, &runner->about, err));
    }
    QN_TRY(qn_campaign_site_golden(&runner->site, err));
    runner->about.golden_sha256 = runner->site.golden_sha256;
    count_golden(runner);
    QN_TRY(qn_campaign_work_create(&runner->work, &runner->site, err));
    runner->rounds.block_pairs = runner->about.block_pairs;
    return QN_OK;
}

static qn_status run(qn_campaign_runner *runner, const qn_campaign_options *options, qn_error *err)
{
    QN_TRY(make_site(runner, options, true, err));
    QN_TRY(open_store(runner, err));
    const int n_strata = runner->site.space.n_strata;
    qn_fault_tally *tallies = qn_arena_array(&runner->arena, (size_t)n_strata + 1, sizeof *tallies);
    if (tallies == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n_strata * sizeof *tallies);
    }
    qn_campaign_work_tick(runner->work, runner->desk != NULL ? qn_campaign_desk_tick : tick, runner);
    if (runner->desk == NULL && options->n_threads > 1) {
        QN_TRY(qn_campaign_work_create(&runner->other, &runner->site, err));
        qn_campaign_work_tick(runner->other, tick, runner);
        qn_campaign_work_lead(runner->work, write_pending, runner);
        qn_campaign_work_lead(runner->other, write_pending, runner);
    }
    QN_TRY(run_rounds(runner, tallies, err));
    QN_TRY(qn_campaign_site_check(&runner->site, err));
    QN_TRY(qn_store_finish(runner->store, err));
    runner->stats.complete = true;
    qn_campaign_tell(runner, true);
    return QN_OK;
}

/* Whatever ended the run: what was done is kept, and what is kept is told. */
static qn_status finish_store(qn_campaign_runner *runner, qn_status status, qn_error *err)
{
    qn_campaign_stats *stats = &runner->stats;
    const int64_t old_faults = stats->faults - stats->new_faults, old_pairs = stats->pairs - stats->new_pairs;
    const qn_status flushed = qn_store_flush(runner->store, true, err);
    qn_store_totals totals;
    if (qn_store_total(runner->store, &totals, NULL) == QN_OK) {
        stats->faults = totals.faults;
        stats->pairs = totals.pairs;
        stats->n_verified = totals.verified;
        stats->new_faults = totals.faults - old_faults;
        stats->new_pairs = totals.pairs - old_pairs;
    }
    return status != QN_OK ? status : flushed;
}

static qn_status run_as_rank(qn_campaign_runner *runner, const qn_campaign_options *options, qn_error *err)
{
    qn_error own;
    qn_error_init(&own);
    const qn_status status = make_site(runner, options, false, &own);
    return qn_campaign_serve(runner, options->ranks, status, &own, err);
}

qn_status qn_campaign_run(const qn_campaign_options *options, qn_campaign_stats *stats, qn_error *err)
{
    qn_campaign_runner runner = {.start = qn_now_seconds()};
    const qn_campaign_ranks *ranks = options->ranks != NULL && options->ranks->size > 1 ? options->ranks : NULL;
    qn_status status;
    if (ranks != NULL && ranks->rank != 0) {
        status = run_as_rank(&runner, options, err);
    } else {
        status = ranks != NULL ? qn_campaign_desk_create(&runner, ranks, err) : QN_OK;
        if (status == QN_OK) {
            status = run(&runner, options, err);
        }
        if (runner.store != NULL) {
            status = finish_store(&runner, status, err); /* first, for a job that is stopped may have little time */
        }
        qn_campaign_desk_close(&runner, status == QN_OK || status == QN_ECANCELED);
    }
    runner.stats.injecting_seconds = qn_campaign_injecting(runner.work) + qn_campaign_injecting(runner.other);
    runner.stats.seconds = qn_now_seconds() - runner.start;
    if (stats != NULL) {
        *stats = runner.stats;
    }
    qn_campaign_work_free(runner.work);
    qn_campaign_work_free(runner.other);
    qn_campaign_rounds_free(&runner.rounds);
    qn_store_close(runner.store);
    qn_campaign_site_free(&runner.site);
    qn_arena_free(&runner.arena);
    return status;
}

qn_status qn_campaign_merge(const char *output, bool overwrite, const char *const *stores, size_t n_stores,
                            char **missing, qn_error *err)
{
    return qn_store_merge(output, overwrite, stores, n_stores, missing, err);
}
