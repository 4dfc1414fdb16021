/* The faults of a campaign again, with a protection modelled.
 *
 * A fault that is corrected or detected becomes one that changes nothing. Whether a value is to be clamped shows once the fault has
 * run: those whose value left the range run a second time, setting the code of the end that they left it by. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/feed.h"
#include "fault/campaign.h"
#include "fault/protect.h"
#include "fault/store_inside.h"
#include "graph/model.h"

/* A fault to be clamped: its number in the block, and the code. */
typedef struct {
    int64_t number;
    uint32_t code;
} clamped;

typedef struct {
    const qn_protection *p;
    const qn_campaign_options *asked;
    qn_campaign_options options;
    qn_fault_spec *spec;
    qn_campaign_site site;
    qn_campaign_rounds rounds;
    qn_campaign_work *work;
    qn_protect_range *ranges; /* of each target, with a clamp */
    qn_fault_tally *tallies;
    qn_protect_measure *measure;
    int64_t block_first;
    bool second; /* the clamped ones, and nothing else */
    clamped *clamps;
    size_t n_clamps, clamps_capacity;
} apply_work;

static const qn_fault_change unchanged = {.and_mask = UINT32_MAX};

static uint32_t mask_of(const qn_fault_change *change, int bits)
{
    const uint32_t all = bits < 32 ? (1u << bits) - 1 : UINT32_MAX;
    return change->add != 0 ? all : (~change->and_mask | change->or_mask | change->xor_mask) & all;
}

/* What can be said before the fault runs; which is all but clamps. */
static qn_protect_end end_of(const apply_work *w, const qn_fault *fault)
{
    if (fault->n_changes != 1) {
        return QN_PROTECT_PASSES;
    }
    const qn_fault_change *change = &fault->changes[0];
    const qn_fault_target *target = &w->site.targets.list[change->target];
    const qn_protect_case c = {.where = target->where,
                               .mask = mask_of(change, target->bits),
                               .n_changes = 1,
                               .low = 1, /* no range is known */
                               .high = 0};
    const int64_t key = qn_protect_key(&w->p->keys, change->target, change->element, c.mask);
    return qn_protect_end_of(key >= 0 ? w->p->scheme_of[key] : -1, &c);
}

static int by_number(const void *a, const void *b)
{
    const clamped *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* The hook where faults are drawn. */
static qn_status rewrite(void *ctx, qn_arena *arena, qn_fault *fault, qn_error *err)
{
    apply_work *w = ctx;
    const qn_protect_end end = end_of(w, fault);
    const clamped key = {.number = fault->id - w->block_first}, *found = NULL;
    if (w->second && w->n_clamps > 0) {
        found = bsearch(&key, w->clamps, w->n_clamps, sizeof key, by_number);
    }
    if (fault->n_changes < 1 || (end == QN_PROTECT_PASSES && !w->second)) {
        return QN_OK;
    }
    if (!w->second) { /* by whichever thread draws */
        __atomic_fetch_add(end == QN_PROTECT_CORRECTED ? &w->measure->corrected : &w->measure->detected, 1,
                           __ATOMIC_RELAXED);
    }
    qn_fault_change *change = qn_arena_alloc(arena, sizeof *change);
    if (change == NULL) {
        return qn_fail_memory(err, NULL, sizeof *change);
    }
    *change = unchanged;
    change->target = fault->changes[0].target;
    change->element = fault->changes[0].element;
    change->term = fault->changes[0].term;
    if (found != NULL) {
        change->and_mask = 0;
        change->or_mask = found->code;
    }
    fault->n_changes = 1;
    fault->changes = change;
    return QN_OK;
}

/* The code of the end of the range that a value left it by. */
static uint32_t clamp_code(const apply_work *w, const qn_fault_row *row, double end)
{
    const qn_fault_target *target = &w->site.targets.list[row->target];
    if (target->coding == QN_FAULT_F32) {
        const float x = (float)end;
        uint32_t code;
        memcpy(&code, &x, sizeof code);
        return code;
    }
    qn_fault_change change = unchanged;
    change.target = row->target;
    change.element = row->element;
    change.add = end - row->value_before;
    return change.add == 0 ? row->before : qn_fault_apply(&change, target, w->site.program, row->before);
}

static void count_row(apply_work *w, const qn_fault_row *row)
{
    qn_fault_tally_add(&w->tallies[row->stratum], row->counts[w->p->outcome], row->pairs);
    w->measure->faults++;
    w->measure->pairs += row->pairs;
}

/* Count what is settled; list what is to be clamped. */
static qn_status take_row(apply_work *w, const qn_fault_row *row, int64_t number, qn_error *err)
{
    const int64_t key = qn_protect_key(&w->p->keys, row->target, row->element, row->mask);
    const int scheme = key >= 0 ? w->p->scheme_of[key] : -1;
    const qn_protect_case c = {.where = w->site.targets.list[row->target].where,
                               .mask = row->mask,
                               .n_changes = row->n_changes,
                               .transient = row->pairs == 1,
                               .after = row->value_after,
                               .low = w->ranges[row->target].low,
                               .high = w->ranges[row->target].high};
    if (scheme != QN_SCHEME_RANGE_CLAMP || qn_protect_end_of(scheme, &c) != QN_PROTECT_CLAMPED) {
        count_row(w, row);
        return QN_OK;
    }
    QN_TRY(qn_grow((void **)&w->clamps, &w->clamps_capacity, w->n_clamps, sizeof *w->clamps, err));
    w->clamps[w->n_clamps++] = (clamped){number, clamp_code(w, row, row->value_after > c.high ? c.high : c.low)};
    return QN_OK;
}

static qn_status run_block(apply_work *w, const qn_campaign_block *block, qn_error *err)
{
    qn_store_block result;
    w->block_first = block->first_id;
    w->second = false;
    w->n_clamps = 0;
    QN_TRY(qn_campaign_block_run(w->work, &w->rounds, block, &result, err));
    for (int64_t i = 0; i < block->n; i++) {
        QN_TRY(take_row(w, &result.rows[i], i, err));
    }
    if (w->n_clamps == 0) {
        return QN_OK;
    }
    w->second = true;
    QN_TRY(qn_campaign_block_run(w->work, &w->rounds, block, &result, err));
    for (size_t k = 0; k < w->n_clamps; k++) {
        count_row(w, &result.rows[w->clamps[k].number]);
    }
    w->measure->clamped += (int64_t)w->n_clamps;
    return QN_OK;
}

/* -- ranges ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    apply_work *w;
    qn_program *program; /* of one item a run, for all values are those of its last */
    bool *wanted;
    int64_t most;             /* elements of the largest value */
    float *values;            /* of each worker */
    qn_protect_range *ranges; /* [worker][target] */
} range_work;

/* All values that are to be clamped, in one image. */
static qn_status see_values(void *ctx, const qn_feed_batch *batch, qn_error *err)
{
    range_work *r = ctx;
    const qn_fault_targets *targets = &r->w->site.targets;
    if (batch->first >= r->w->site.n_images) {
        return QN_OK;
    }
    for (int t = 0; t < targets->n; t++) {
        float *x = r->values + batch->worker * r->most;
        int64_t n = 0;
        if (!r->wanted[t]) {
            continue;
        }
        qn_protect_range *range = &r->ranges[batch->worker * targets->n + t];
        const float *read = x;
        if (targets->list[t].where == QN_FAULT_INPUTS) {
            read = batch->inputs[0];
            n = targets->list[t].n_elems;
        } else if (!qn_program_read(r->program, batch->workspace, targets->list[t].value, x, &n)) {
            return qn_fail(err, QN_EUNSUPPORTED, targets->list[t].value_name, "the range of this value cannot be seen");
        }
        for (int64_t i = 0; i < n; i++) {
            range->low = (double)read[i] < range->low ? (double)read[i] : range->low;
            range->high = (double)read[i] > range->high ? (double)read[i] : range->high;
        }
    }
    return QN_OK;
}

static qn_status run_ranges(range_work *r, qn_error *err)
{
    apply_work *w = r->w;
    const qn_fault_targets *targets = &w->site.targets;
    const qn_feed feed = {.program = r->program,
                          .data = w->options.data,
                          .n_threads = w->options.n_threads,
                          .each = see_values,
                          .ctx = r};
    const int n = w->options.n_threads * targets->n;
    r->values = qn_alloc((size_t)w->options.n_threads * (size_t)r->most * sizeof *r->values);
    r->ranges = qn_alloc((size_t)n * sizeof *r->ranges);
    if (r->values == NULL || r->ranges == NULL) {
        return qn_fail_memory(err, NULL, (size_t)w->options.n_threads * (size_t)r->most * sizeof *r->values);
    }
    for (int i = 0; i < n; i++) {
        r->ranges[i] = (qn_protect_range){INFINITY, -INFINITY};
    }
    QN_TRY(qn_feed_run(&feed, NULL, err));
    for (int i = 0; i < n; i++) {
        qn_protect_range *range = &w->ranges[i % targets->n];
        range->low = fmin(range->low, r->ranges[i].low);
        range->high = fmax(range->high, r->ranges[i].high);
    }
    return QN_OK;
}

/* Which targets have a clamp, and the ranges of their values. */
static qn_status find_ranges(apply_work *w, qn_error *err)
{
    const qn_protect_keys *keys = &w->p->keys;
    const qn_fault_targets *targets = &w->site.targets;
    range_work r = {.w = w, .most = 1, .wanted = qn_alloc((size_t)targets->n)};
    w->ranges = qn_alloc((size_t)targets->n * sizeof *w->ranges);
    if (r.wanted == NULL || w->ranges == NULL) {
        qn_free(r.wanted);
        return qn_fail_memory(err, NULL, (size_t)targets->n * sizeof *w->ranges);
    }
    bool any = false;
    for (int t = 0; t < targets->n; t++) {
        const int u = keys->unit_of[t];
        const int64_t n = u >= 0 ? keys->units[u].channels * keys->units[u].n_bits : 0;
        w->ranges[t] = (qn_protect_range){INFINITY, -INFINITY};
        for (int64_t k = 0; k < n; k++) {
            r.wanted[t] |= w->p->scheme_of[keys->units[u].first_key + k] == QN_SCHEME_RANGE_CLAMP;
        }
        any |= r.wanted[t];
        r.most = targets->list[t].n_elems > r.most ? targets->list[t].n_elems : r.most;
    }
    qn_status status = QN_OK;
    if (any) {
        qn_program_options options;
        status = qn_program_options_init(&options, w->options.engine, err);
        options.cpu = w->options.cpu;
        options.keep_values = true;
        options.batch = 1;
        status = status == QN_OK ? qn_program_create(&r.program, w->options.model, &options, err) : status;
        status = status == QN_OK ? run_ranges(&r, err) : status;
    }
    qn_program_free(r.program);
    qn_free(r.wanted);
    qn_free(r.values);
    qn_free(r.ranges);
    return status;
}

/* -- all of it -------------------------------------------------------------------------------------------------------- */

static qn_status add_part(apply_work *w, int64_t id, int32_t stratum, int64_t draw, qn_error *err)
{
    qn_campaign_rounds *rounds = &w->rounds;
    qn_store_part *last = rounds->n_parts > 0 ? &rounds->parts[rounds->n_parts - 1] : NULL;
    if (last != NULL && last->stratum == stratum && last->first_draw + last->n == draw) {
        last->n++;
        return QN_OK;
    }
    QN_TRY(qn_grow((void **)&rounds->parts, &rounds->parts_capacity, rounds->n_parts, sizeof *rounds->parts, err));
    rounds->parts[rounds->n_parts++] = (qn_store_part){.first_id = id, .n = 1, .stratum = stratum, .first_draw = draw};
    return QN_OK;
}

/* The faults that are in the store, numbered anew: it may be a shard, or under way. */
static qn_status list_parts(apply_work *w, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    QN_TRY(qn_store_prepare(w->p->store, &statement, "SELECT stratum, draw FROM faults ORDER BY stratum, draw", err));
    bool more = true;
    qn_status status = QN_OK;
    while (status == QN_OK) {
        status = qn_store_step(w->p->store, statement, &more, err);
        if (status != QN_OK || !more) {
            break;
        }
        const int stratum = sqlite3_column_int(statement, 0);
        if (stratum < 0 || stratum >= w->site.space.n_strata) {
            status = qn_fail(err, QN_EFORMAT, qn_store_path(w->p->store), "a fault is of stratum %d, of %d", stratum,
                             w->site.space.n_strata);
            break;
        }
        status = add_part(w, w->rounds.n_faults++, stratum, sqlite3_column_int64(statement, 1), err);
    }
    sqlite3_finalize(statement);
    return status;
}

static qn_status run_blocks(apply_work *w, qn_error *err)
{
    enum { PAIRS = 1 << 18 };
    double n_changes = 1;
    for (int h = 0; h < w->site.space.n_strata; h++) {
        n_changes = fmax(n_changes, w->site.space.strata[h].n_changes);
    }
    const int64_t by_pairs = PAIRS / w->site.n_images, by_changes = (int64_t)(QN_BLOCK_CHANGES / n_changes);
    const int64_t fewest = by_pairs < by_changes ? by_pairs : by_changes, most = fewest > 0 ? fewest : 1;
    size_t part = 0;
    QN_TRY(qn_campaign_work_create(&w->work, &w->site, err));
    for (int64_t first = 0, number = 0; first < w->rounds.n_faults; first += most, number++) {
        const int64_t left = w->rounds.n_faults - first;
        while (part + 1 < w->rounds.n_parts && w->rounds.parts[part + 1].first_id <= first) {
            part++;
        }
        const qn_campaign_block block = {
            .number = number, .first_id = first, .n = left < most ? left : most, .first_part = part};
        QN_TRY(run_block(w, &block, err));
        if (w->asked->progress != NULL) {
            const qn_campaign_progress now = {
                .faults = w->measure->faults, .faults_total = w->rounds.n_faults, .pairs = w->measure->pairs};
            w->asked->progress(w->asked->progress_ctx, &now);
        }
    }
    return QN_OK;
}

static qn_status set_options(apply_work *w, qn_error *err)
{
    const qn_store_about *about = qn_store_about_of(w->p->store);
    const char *path = qn_store_path(w->p->store);
    QN_TRY(qn_fault_spec_of_text(&w->spec, about->spec, path, err));
    w->options = *w->asked;
    w->options.spec = w->spec;
    w->options.float_model = NULL;
    w->options.n_images = about->n_images;
    w->options.confidence = w->p->about.confidence;
    w->options.shard = w->options.n_shards = 1;
    w->options.keep_pairs = false;
    w->options.verify = 0;
    w->options.ranks = NULL;
    if (!w->asked->has_seed) {
        w->options.has_seed = true;
        w->options.seed = about->seed;
    }
    for (int e = 0; qn_engine_text((qn_engine)e) != NULL; e++) {
        if (strcmp(qn_engine_text((qn_engine)e), about->engine) == 0) {
            w->options.engine = (qn_engine)e;
        }
    }
    if (w->options.model != NULL && strcmp(w->options.model->graph.sha256, about->model_sha256) != 0) {
        return qn_fail(err, QN_ECONFLICT, path,
                       "is a campaign on the model with sha256 %.12s..., but %s has %.12s...; give that model",
                       about->model_sha256, w->options.model->graph.file, w->options.model->graph.sha256);
    }
    if (w->p->outcome == 6 && w->options.labels == NULL) {
        return qn_fail(err, QN_EINVAL, path, "outcome 'critical' cannot be told without the labels of the campaign");
    }
    return QN_OK;
}

static qn_status apply(apply_work *w, qn_error *err)
{
    const qn_store_about *about = qn_store_about_of(w->p->store);
    QN_TRY(set_options(w, err));
    QN_TRY(qn_campaign_site_make(&w->site, &w->options, err));
    QN_TRY(qn_campaign_site_golden(&w->site, err));
    if (strcmp(w->site.golden_sha256, about->golden_sha256) != 0) {
        return qn_fail(err, QN_ECONFLICT, qn_store_path(w->p->store),
                       "the fault-free answers are not those of the campaign; give the same data and preprocessing");
    }
    w->site.rewrite = rewrite;
    w->site.rewrite_ctx = w;
    const int n_strata = w->site.space.n_strata;
    w->tallies = qn_alloc((size_t)n_strata * sizeof *w->tallies);
    if (w->tallies == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n_strata * sizeof *w->tallies);
    }
    for (int h = 0; h < n_strata; h++) {
        w->tallies[h].population = w->site.space.strata[h].population;
    }
    QN_TRY(find_ranges(w, err));
    QN_TRY(list_parts(w, err));
    QN_TRY(run_blocks(w, err));
    const qn_interval r = qn_fault_rate(w->tallies, n_strata, w->p->about.confidence, w->p->options.clopper);
    w->measure->rate = (qn_protect_rate){r.rate, r.low, r.high};
    return QN_OK;
}

qn_status qn_protection_apply(const qn_protection *protection, const qn_campaign_options *options,
                              qn_protect_measure *measure, qn_error *err)
{
    *measure = (qn_protect_measure){0};
    apply_work w = {.p = protection, .asked = options, .measure = measure};
    const qn_status status = apply(&w, err);
    qn_campaign_work_free(w.work);
    qn_campaign_site_free(&w.site);
    qn_campaign_rounds_free(&w.rounds);
    qn_fault_spec_close(w.spec);
    qn_free(w.ranges);
    qn_free(w.tallies);
    qn_free(w.clamps);
    return status;
}
