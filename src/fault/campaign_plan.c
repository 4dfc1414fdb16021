/* Plans: what a campaign would do, and how long it would take. */
#include <string.h>

#include "base/clock.h"
#include "fault/campaign.h"
#include "fault/campaign_run.h"

struct qn_campaign_plan {
    qn_arena arena;
    qn_campaign_plan_summary summary;
    qn_campaign_plan_row *rows;
};

/* INT64_MAX stays what it is: no bound. */
static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t times(int64_t a, int64_t b)
{
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static qn_status count(qn_campaign_plan *plan, const qn_campaign_site *site, qn_error *err)
{
    const qn_fault_space *space = &site->space;
    qn_campaign_plan_summary *s = &plan->summary;
    *s = (qn_campaign_plan_summary){
        .n_targets = site->targets.n, .n_strata = space->n_strata, .n_images = site->n_images};
    plan->rows = qn_arena_array(&plan->arena, (size_t)space->n_strata + 1, sizeof *plan->rows);
    if (plan->rows == NULL) {
        return qn_fail_memory(err, NULL, (size_t)space->n_strata * sizeof *plan->rows);
    }
    for (int i = 0; i < space->n_strata; i++) {
        qn_campaign_plan_row *row = &plan->rows[i];
        row->set = qn_arena_string(&plan->arena, space->spec->sets[space->strata[i].set].name);
        row->label = qn_arena_string(&plan->arena, space->strata[i].label);
        row->population = space->strata[i].population;
        row->images = space->strata[i].images;
        qn_campaign_sizes(space, i, &row->n_min, &row->n_max);
        if (row->set == NULL || row->label == NULL) {
            return qn_fail_memory(err, NULL, 64);
        }
        s->population = add(s->population, row->population);
        s->n_min = add(s->n_min, row->n_min);
        s->n_max = add(s->n_max, row->n_max);
        s->pairs_min = add(s->pairs_min, times(row->n_min, row->images));
        s->pairs_max = add(s->pairs_max, times(row->n_max, row->images));
    }
    return QN_OK;
}

/* A block that takes of every part as many faults as it has of the whole, up to about `pairs` pairs. */
static qn_status measure_block(const qn_campaign_rounds *all, const qn_fault_space *space, int64_t pairs,
                               qn_campaign_rounds *some, qn_error *err)
{
    const double share = all->n_pairs > pairs ? (double)pairs / (double)all->n_pairs : 1;
    some->n_parts = 0;
    some->n_faults = some->n_pairs = 0;
    double owed = 0; /* faults of small parts add up */
    for (size_t p = 0; p < all->n_parts; p++) {
        owed += share * (double)all->parts[p].n;
        const int64_t n = (int64_t)owed < all->parts[p].n ? (int64_t)owed : all->parts[p].n;
        owed -= (double)n;
        if (n > 0) {
            QN_TRY(qn_grow((void **)&some->parts, &some->parts_capacity, some->n_parts, sizeof *some->parts, err));
            some->parts[some->n_parts] = all->parts[p];
            some->parts[some->n_parts].first_id = some->n_faults;
            some->parts[some->n_parts++].n = n;
            some->n_faults += n;
            some->n_pairs += n * space->strata[all->parts[p].stratum].images;
        }
    }
    return QN_OK;
}

static double count_changes(const qn_campaign_rounds *some, const qn_fault_space *space)
{
    double n = 0;
    for (size_t p = 0; p < some->n_parts; p++) {
        n += (double)some->parts[p].n * space->strata[some->parts[p].stratum].n_changes;
    }
    return n;
}

/* Blocks four times as large each until one takes long enough to tell: golden values, which many faults share, weigh
 * less the larger they are. */
static qn_status measure(qn_campaign_plan *plan, qn_campaign_site *site, double seconds, qn_error *err)
{
    qn_campaign_rounds all = {.block_pairs = INT64_MAX / 4}, some = {0}; /* blocks are cut otherwise here */
    qn_campaign_work *work = NULL;
    bool more;
    qn_status status = qn_campaign_rounds_next(&all, &site->space, NULL, &more, err);
    if (status == QN_OK) {
        status = qn_campaign_work_create(&work, site, err);
    }
    double best = 0;
    const double start = qn_now_seconds();
    for (int64_t pairs = 256; status == QN_OK && more && pairs <= 1 << 20; pairs *= 4) {
        status = measure_block(&all, &site->space, pairs, &some, err);
        if (status != QN_OK || some.n_faults == 0) {
            continue;
        }
        if (best > 0 && count_changes(&some, &site->space) > QN_BLOCK_CHANGES) {
            break;
        }
        const qn_campaign_block block = {.n = some.n_faults, .n_pairs = some.n_pairs};
        qn_store_block result;
        const double before = qn_now_seconds();
        status = qn_campaign_block_run(work, &some, &block, &result, err);
        const double now = qn_now_seconds();
        if (status == QN_OK && now > before) {
            best = (double)result.n_pairs / (now - before);
        }
        if (now - start > seconds / 4 || some.n_faults == all.n_faults) {
            break;
        }
    }
    qn_campaign_plan_summary *s = &plan->summary;
    s->pairs_per_second = best;
    if (best > 0) {
        const double n_shards = site->options->n_shards;
        s->seconds_min = (double)s->pairs_min / best / n_shards;
        s->seconds_max = (double)s->pairs_max / best / n_shards;
    }
    qn_campaign_work_free(work);
    qn_campaign_rounds_free(&all);
    qn_campaign_rounds_free(&some);
    return status;
}

qn_status qn_campaign_plan_make(qn_campaign_plan **plan, const qn_campaign_options *options, double seconds,
                                qn_error *err)
{
    *plan = NULL;
    qn_campaign_plan *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    qn_campaign_site site;
    qn_status status = qn_campaign_site_make(&site, options, err);
    if (status == QN_OK) {
        status = count(made, &site, err);
    }
    if (status == QN_OK && seconds > 0) {
        site.verify = 0;
        status = qn_campaign_site_golden(&site, err);
        if (status == QN_OK) {
            status = measure(made, &site, seconds, err);
        }
    }
    qn_campaign_site_free(&site);
    if (status != QN_OK) {
        qn_campaign_plan_free(made);
        return status;
    }
    *plan = made;
    return QN_OK;
}

void qn_campaign_plan_free(qn_campaign_plan *plan)
{
    if (plan != NULL) {
        qn_arena_free(&plan->arena);
        qn_free(plan);
    }
}

const qn_campaign_plan_summary *qn_campaign_plan_about(const qn_campaign_plan *plan)
{
    return &plan->summary;
}

const qn_campaign_plan_row *qn_campaign_plan_at(const qn_campaign_plan *plan, int index)
{
    return index >= 0 && index < plan->summary.n_strata ? &plan->rows[index] : NULL;
}
