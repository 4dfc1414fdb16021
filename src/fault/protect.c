/* What to protect: the knapsack, and what is left.
 *
 * Half of a sampled stratum's draws makes the choice, the other half judges it (see protect.h). What is left is the rate with the
 * hits of protected faults taken away: a fault that is corrected or detected hits nothing, whatever image. A stratum whose
 * every fault is protected has no hits for certain, and none of a sample's doubt. */
#include "fault/protect_work.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/knapsack.h"

void qn_protect_options_init(qn_protect_options *options)
{
    *options = (qn_protect_options){.struct_size = sizeof *options,
                                    .by = QN_PROTECT_LAYERS | QN_PROTECT_BITS,
                                    .schemes = 1u << QN_SCHEME_ECC,
                                    .budget = 0.05,
                                    .budget_bits = -1,
                                    .word_bits = 64,
                                    .outcome = "sdc1"};
}

static qn_status check_options(qn_protection *p, const qn_protect_options *options, qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_protect_options_init", err));
    p->options = *options;
    p->outcome = -1;
    for (int k = 0; k < QN_OUTCOME_COUNT; k++) {
        const bool harm =
            ((1u << k) & (QN_OUTCOME_MASKED | QN_OUTCOME_TOLERATED | QN_OUTCOME_PROVEN | QN_OUTCOME_DETECTED)) == 0;
        p->outcome = harm && strcmp(options->outcome, qn_protect_column(k)) == 0 ? k : p->outcome;
    }
    if (p->outcome < 0) {
        return qn_fail(err, QN_EINVAL, NULL, "outcome '%s' is none of sdc1, sdc5, sdc10, sdc20, critical and nonfinite",
                       options->outcome);
    }
    p->options.outcome = qn_protect_column(p->outcome);
    if (options->by == 0 || options->by > 7) {
        return qn_fail(err, QN_EINVAL, NULL, "by: groups are told apart by layer, bit, channel, or several of them");
    }
    if (options->schemes == 0 || options->schemes >= 1u << QN_N_SCHEMES) {
        return qn_fail(err, QN_EINVAL, NULL, "scheme: give at least one of parity, ecc, tmr and range-clamp");
    }
    if (options->budget_bits < 0 && !(options->budget >= 0 && options->budget <= 100)) {
        return qn_fail(err, QN_EINVAL, NULL, "budget %g is no share of bits", options->budget);
    }
    if (options->word_bits < 0 || options->word_bits > 1024) {
        return qn_fail(err, QN_EINVAL, NULL, "word: %d bits; give 1 to 1024, or 0 for code by code",
                       options->word_bits);
    }
    const double confidence = options->confidence;
    if (confidence != 0 && !(confidence >= 0.5 && confidence <= 0.999999)) {
        return qn_fail(err, QN_EINVAL, NULL, "confidence %g is not between 0.5 and 0.999999", confidence);
    }
    return QN_OK;
}

/* Frames on links have their protection, which is not for sale by the bit. */
static qn_status check_places(qn_store *store, qn_error *err)
{
    const qn_store_target *targets;
    int n;
    QN_TRY(qn_store_targets(store, &targets, &n, err));
    if (n > 0 && targets[0].field[0] != '\0') {
        return qn_fail(
            err, QN_EUNSUPPORTED, qn_store_path(store),
            "its faults are in what travels on links, where no bits can be hardened: what protects a frame is "
            "its checksum ('checksum: on'), which detects them; protect takes campaigns within the network");
    }
    return QN_OK;
}

/* -- the choice ------------------------------------------------------------------------------------------------------- */

/* Is every fault that the stratum can draw protected? Then it has no hits for certain. Populations that are drawn from are known
 * by their targets; those of patterns may hold what was not seen. */
static bool is_wholly_protected(const qn_protect_work *w, int stratum)
{
    const qn_store_stratum *about = &w->strata[stratum];
    const qn_protect_keys *keys = &w->p->keys;
    if (!w->sums[stratum].plain || about->population == INT64_MAX || about->place[0] == '\0' ||
        about->layer[0] == '\0') {
        return false;
    }
    for (int t = 0; t < keys->n_targets; t++) {
        const qn_store_target *target = &keys->targets[t];
        if (strcmp(target->place, about->place) != 0 || strcmp(target->layer, about->layer) != 0) {
            continue;
        }
        const int64_t channels = keys->by & QN_PROTECT_CHANNELS ? target->channels : 1;
        for (int64_t c = 0; c < channels; c++) {
            for (int b = 0; b < target->bits; b++) {
                if ((about->channel >= 0 && channels > 1 && about->channel != c) ||
                    (about->bit >= 0 && about->bit != b)) {
                    continue;
                }
                const int64_t key = qn_protect_key(keys, t, c * target->channel_stride, 1u << b);
                if (key < 0 || w->p->scheme_of[key] < 0 || w->p->scheme_of[key] == QN_SCHEME_RANGE_CLAMP) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* No hits for certain, of the same weight. */
static qn_fault_tally nothing_left(const qn_fault_tally *tally)
{
    const double mean = (double)tally->pairs / (double)tally->n_faults;
    const int64_t n = tally->population;
    const double pairs = fmin((double)n * mean, 9e18);
    return (qn_fault_tally){.population = n, .n_faults = n, .pairs = (int64_t)pairs, .sum_mm = pairs * mean};
}

/* Weight of one hit of each stratum, by the faults that choose. */
static qn_status set_weights(qn_protect_work *w, qn_error *err)
{
    double all = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int h = 0; h < w->n_strata; h++) {
            const qn_fault_tally *t = &w->sums[h].choosing;
            if (t->pairs > 0) {
                const double n = t->population == INT64_MAX ? (double)w->sums[h].all.n_faults : (double)t->population;
                const double per_pair = n / (double)t->n_faults;
                all += pass == 0 ? per_pair * (double)t->pairs : 0;
                w->sums[h].weight = pass == 1 ? per_pair / all : 0;
                w->sums[h].open = t->population == INT64_MAX ? 1 : 1 - (double)w->sums[h].all.n_faults / n;
            }
        }
    }
    return all > 0 ? QN_OK
                   : qn_fail(err, QN_EINVAL, qn_store_path(w->p->store),
                             "the campaign has no faults to choose by; run it further");
}

static bool is_offered(const qn_protect_work *w, int64_t key, int scheme, int64_t *extra_bits)
{
    int64_t channel, n_codes;
    int bit, code_bits;
    const qn_protect_unit *unit = qn_protect_key_parts(&w->p->keys, key, &channel, &bit, &n_codes, &code_bits);
    return w->p->options.schemes >> scheme & 1 && w->covered[key][scheme] > 0 &&
           qn_protect_applies((qn_scheme)scheme, unit->where) &&
           qn_protect_cost(extra_bits, (qn_scheme)scheme, n_codes, code_bits, w->p->options.word_bits);
}

/* What a group's faults may add that the sample does not show: the mean of a prior as strong as one fault, whose rate is that of all
 * groups of the same bit and a hundredth of that of all (no hit at all does not mean none there are). It sends what is left of a budget to where most could have been
 * missed, and decides little else. Nothing where all was drawn. */
static void add_unseen(const qn_protect_work *w, double *unseen, const int64_t *keys, int n)
{
    enum { ALL = 33 };
    const double least = 1e-9;
    double share[ALL + 1] = {0}, open[ALL + 1] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++) {
            int64_t channel, n_codes;
            int bit, code_bits;
            (void)qn_protect_key_parts(&w->p->keys, keys[i], &channel, &bit, &n_codes, &code_bits);
            if (w->open[keys[i]] > 0 && pass == 0) {
                share[bit + 1] += w->share[keys[i]];
                share[ALL] += w->share[keys[i]];
                open[bit + 1] += w->open[keys[i]];
                open[ALL] += w->open[keys[i]];
            } else if (w->open[keys[i]] > 0) {
                const double rate = share[bit + 1] / open[bit + 1] + 0.01 * share[ALL] / open[ALL] + least;
                unseen[i] = w->open[keys[i]] * rate / (w->n[keys[i]] + 1);
            }
        }
    }
}

/* Silent hits count; a detection, which costs having the word again, only decides between what is as good otherwise. */
static qn_status choose(qn_protect_work *w, const int64_t *keys, int n, qn_error *err)
{
    enum { CHOICES = QN_N_SCHEMES + 1 };
    const double per_alarm = 1e-6;
    qn_choice *choices = qn_arena_array(&w->p->arena, (size_t)n * CHOICES, sizeof *choices);
    int *chosen = qn_arena_array(&w->p->arena, (size_t)n + 1, sizeof *chosen);
    double *unseen = qn_arena_array(&w->p->arena, (size_t)n + 1, sizeof *unseen);
    if (choices == NULL || chosen == NULL || unseen == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * CHOICES * sizeof *choices);
    }
    add_unseen(w, unseen, keys, n);
    for (int i = 0; i < n; i++) {
        qn_choice *own = choices + (size_t)i * CHOICES;
        const double all = w->share[keys[i]] + unseen[i];
        own[0] = (qn_choice){0, all};
        for (int scheme = 0; scheme < QN_N_SCHEMES; scheme++) {
            int64_t extra;
            own[scheme + 1] = own[0];
            if (is_offered(w, keys[i], scheme, &extra)) {
                const double removed =
                    w->benefit[keys[i]][scheme] + unseen[i] * w->covered[keys[i]][scheme] / w->n[keys[i]];
                const double left = all - removed;
                own[scheme + 1] = (qn_choice){extra, fmax(left, 0) + per_alarm * w->alarms[keys[i]][scheme]};
            }
        }
    }
    QN_TRY(qn_knapsack_choose(chosen, choices, n, CHOICES, w->p->about.budget_bits, err));
    for (int i = 0; i < n; i++) {
        int64_t extra;
        const int scheme = chosen[i] - 1;
        const bool helps = scheme >= 0 && is_offered(w, keys[i], scheme, &extra);
        w->p->scheme_of[keys[i]] = (signed char)(helps ? scheme : -1);
    }
    return QN_OK;
}

static int by_merit(const void *a, const void *b)
{
    const qn_protect_group *x = a, *y = b;
    if ((x->scheme >= 0) != (y->scheme >= 0)) {
        return x->scheme >= 0 ? -1 : 1;
    }
    const double p = x->scheme >= 0 ? x->removed : x->share, q = y->scheme >= 0 ? y->removed : y->share;
    if (p != q) {
        return p > q ? -1 : 1;
    }
    const int layer = strcmp(x->layer, y->layer), place = strcmp(x->place, y->place);
    if (layer != 0 || place != 0) {
        return layer != 0 ? layer : place;
    }
    return x->channel != y->channel ? (x->channel < y->channel ? -1 : 1) : x->bit - y->bit;
}

static qn_status list_groups(qn_protect_work *w, const int64_t *keys, int n, qn_error *err)
{
    qn_protection *p = w->p;
    p->groups = qn_arena_array(&p->arena, (size_t)n + 1, sizeof *p->groups);
    if (p->groups == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *p->groups);
    }
    p->about.n_groups = (size_t)n;
    for (int i = 0; i < n; i++) {
        qn_protect_group *group = &p->groups[i];
        int64_t n_codes;
        int code_bits;
        const qn_protect_unit *unit =
            qn_protect_key_parts(&p->keys, keys[i], &group->channel, &group->bit, &n_codes, &code_bits);
        group->place = qn_fault_where_text(unit->where);
        group->layer = unit->target >= 0 ? p->keys.targets[unit->target].layer : "";
        group->format = unit->target >= 0 ? p->keys.targets[unit->target].format : "";
        group->bits = n_codes * code_bits;
        group->scheme = p->scheme_of[keys[i]];
        group->hits = w->hits[keys[i]];
        group->share = w->share[keys[i]];
        if (group->scheme >= 0) {
            (void)qn_protect_cost(&group->extra_bits, (qn_scheme)group->scheme, n_codes, code_bits,
                                  p->options.word_bits);
            group->removed = w->benefit[keys[i]][group->scheme];
            p->about.n_protected++;
            p->about.extra_bits += group->extra_bits;
        }
    }
    qsort(p->groups, (size_t)n, sizeof *p->groups, by_merit);
    return QN_OK;
}

/* -- rates ------------------------------------------------------------------------------------------------------------ */

static qn_protect_rate rate_of(const qn_protect_work *w, const qn_fault_tally *tallies)
{
    const qn_interval r = qn_fault_rate(tallies, w->n_strata, w->p->about.confidence, w->p->options.clopper);
    return (qn_protect_rate){r.rate, r.low, r.high};
}

static qn_status measure(qn_protect_work *w, qn_error *err)
{
    qn_protection *p = w->p;
    const size_t n = (size_t)w->n_strata;
    qn_fault_tally *before = qn_arena_array(&p->arena, n, sizeof *before);
    qn_fault_tally *after = qn_arena_array(&p->arena, n, sizeof *after);
    qn_fault_tally *after_all = qn_arena_array(&p->arena, n, sizeof *after_all);
    if (before == NULL || after == NULL || after_all == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof *before);
    }
    QN_TRY(qn_protect_judge(w, err));
    for (int h = 0; h < w->n_strata; h++) {
        qn_protect_sums *s = &w->sums[h];
        before[h] = s->all;
        const bool nothing = is_wholly_protected(w, h) && s->all.n_faults > 0;
        after[h] = nothing ? nothing_left(&s->all) : s->left;
        after_all[h] = nothing ? nothing_left(&s->all) : s->left_all;
        p->about.n_faults += s->all.n_faults;
        p->about.n_pairs += s->all.pairs;
    }
    p->about.before = rate_of(w, before);
    p->about.left = rate_of(w, after);
    p->about.left_all = rate_of(w, after_all);
    p->about.detected = w->detected;
    return QN_OK;
}

/* -- all of it -------------------------------------------------------------------------------------------------------- */

static qn_status prepare(qn_protect_work *w, qn_error *err)
{
    qn_protection *p = w->p;
    const qn_store_target *targets;
    int n_targets;
    QN_TRY(qn_store_targets(p->store, &targets, &n_targets, err));
    QN_TRY(qn_store_strata(p->store, &w->strata, &w->n_strata, err));
    p->keys.n_targets = n_targets; /* what passes check */
    bool *struck = qn_arena_array(&p->arena, (size_t)n_targets, sizeof *struck);
    p->ranges = qn_arena_array(&p->arena, (size_t)n_targets, sizeof *p->ranges);
    w->stays = qn_arena_array(&p->arena, (size_t)n_targets, sizeof *w->stays);
    w->sums = qn_arena_array(&p->arena, (size_t)w->n_strata, sizeof *w->sums);
    if (struck == NULL || p->ranges == NULL || w->stays == NULL || w->sums == NULL) {
        return qn_fail_memory(err, NULL, (size_t)w->n_strata * sizeof *w->sums);
    }
    for (int t = 0; t < n_targets; t++) {
        p->ranges[t] = (qn_protect_range){INFINITY, -INFINITY};
    }
    for (int h = 0; h < w->n_strata; h++) {
        qn_protect_sums *s = &w->sums[h];
        s->plain = true;
        s->all.population = s->choosing.population = s->judging.population = w->strata[h].population;
        s->left.population = s->left_all.population = w->strata[h].population;
        s->exhausted = w->strata[h].population != INT64_MAX && w->strata[h].n >= w->strata[h].population;
    }
    QN_TRY(qn_protect_look(w, struck, err));
    return qn_protect_keys_make(&p->keys, &p->arena, p->options.by, targets, n_targets, struck, err);
}

/* Bits of the weights and biases, or of what was struck. */
static qn_status set_budget(qn_protection *p, qn_error *err)
{
    int64_t bits = 0;
    for (int t = 0; t < p->keys.n_targets; t++) {
        const qn_store_target *target = &p->keys.targets[t];
        const bool weights = strcmp(target->place, "weights") == 0 || strcmp(target->place, "biases") == 0;
        int64_t own;
        if ((p->options.of_targets ? p->keys.unit_of[t] >= 0 : weights) &&
            (__builtin_mul_overflow(target->n_elems, (int64_t)target->bits, &own) ||
             __builtin_add_overflow(bits, own, &bits))) {
            return qn_fail(err, QN_EFORMAT, target->layer, "the store's target has %lld elements of %d bits",
                           (long long)target->n_elems, target->bits);
        }
    }
    p->about.bits = bits;
    p->about.budget_bits =
        p->options.budget_bits >= 0 ? p->options.budget_bits : (int64_t)fmin(p->options.budget * (double)bits, 1e18);
    return QN_OK;
}

static qn_status work_on(qn_protect_work *w, qn_error *err)
{
    qn_protection *p = w->p;
    QN_TRY(prepare(w, err));
    QN_TRY(set_budget(p, err));
    QN_TRY(qn_protect_divide(w, err));
    QN_TRY(set_weights(w, err));
    const size_t n_keys = (size_t)p->keys.n_keys;
    p->scheme_of = qn_arena_alloc(&p->arena, n_keys);
    w->benefit = qn_arena_array(&p->arena, n_keys, sizeof *w->benefit);
    w->alarms = qn_arena_array(&p->arena, n_keys, sizeof *w->alarms);
    w->share = qn_arena_array(&p->arena, n_keys, sizeof *w->share);
    w->hits = qn_arena_array(&p->arena, n_keys, sizeof *w->hits);
    w->open = qn_arena_array(&p->arena, n_keys, sizeof *w->open);
    w->n = qn_arena_array(&p->arena, n_keys, sizeof *w->n);
    w->covered = qn_arena_array(&p->arena, n_keys, sizeof *w->covered);
    w->seen = qn_arena_array(&p->arena, n_keys, sizeof *w->seen);
    int64_t *seen = qn_arena_array(&p->arena, n_keys, sizeof *seen);
    if (p->scheme_of == NULL || w->benefit == NULL || w->alarms == NULL || w->share == NULL || w->hits == NULL ||
        w->open == NULL || w->n == NULL || w->covered == NULL || w->seen == NULL || seen == NULL) {
        return qn_fail_memory(err, NULL, n_keys * sizeof *w->benefit);
    }
    memset(p->scheme_of, -1, n_keys);
    QN_TRY(qn_protect_weigh(w, err));
    int n = 0;
    for (size_t key = 0; key < n_keys; key++) {
        if (w->seen[key]) {
            seen[n++] = (int64_t)key;
        }
    }
    QN_TRY(choose(w, seen, n, err));
    QN_TRY(list_groups(w, seen, n, err));
    return measure(w, err);
}

qn_status qn_protection_make(qn_protection **protection, const char *store, const qn_protect_options *options,
                             qn_error *err)
{
    *protection = NULL;
    qn_protection *p = qn_alloc(sizeof *p);
    if (p == NULL) {
        return qn_fail_memory(err, store, sizeof *p);
    }
    qn_protect_work w = {.p = p};
    qn_status status = check_options(p, options, err);
    status = status == QN_OK ? qn_store_open(&p->store, store, err) : status;
    if (status == QN_OK) {
        p->about.outcome = p->options.outcome;
        p->about.confidence = options->confidence > 0 ? options->confidence : qn_store_about_of(p->store)->confidence;
        status = check_places(p->store, err);
        status = status == QN_OK ? work_on(&w, err) : status;
    }
    if (status != QN_OK) {
        qn_protection_free(p);
        return status;
    }
    *protection = p;
    return QN_OK;
}

void qn_protection_free(qn_protection *protection)
{
    if (protection != NULL) {
        qn_store_close(protection->store);
        qn_arena_free(&protection->arena);
        qn_free(protection);
    }
}

const qn_protect_summary *qn_protection_about(const qn_protection *protection)
{
    return &protection->about;
}

const qn_protect_group *qn_protection_at(const qn_protection *protection, size_t index)
{
    return index < protection->about.n_groups ? &protection->groups[index] : NULL;
}
