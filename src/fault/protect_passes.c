/* Passes over the faults of a store: tallies, and what schemes do to each fault. */
#include <math.h>
#include <stdio.h>

#include "fault/protect_work.h"
#include "fault/store_inside.h"

/* A fault of the store. */
typedef struct {
    int32_t stratum, target;
    int64_t draw, element, n_changes, n_images, pairs, activated, hits;
    uint32_t mask;
    double before, after;
} qn_protect_seen;

typedef qn_status (*fault_fn)(void *ctx, const qn_protect_seen *fault, qn_error *err);

static const char *const outcome_columns[] = {
#define OUTCOME_COLUMN(name, bit, text, column) [bit] = column,
    QN_OUTCOME_LIST(OUTCOME_COLUMN)
#undef OUTCOME_COLUMN
};

const char *qn_protect_column(int outcome)
{
    return outcome_columns[outcome];
}

static double real_or_nan(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL ? (double)NAN
                                                                 : sqlite3_column_double(statement, column);
}

static qn_status each_fault(const qn_protect_work *w, fault_fn fn, void *ctx, qn_error *err)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT stratum, target, draw, element, n_changes, n_images, pairs, activated, mask, value_before, "
             "value_after, %s FROM faults",
             outcome_columns[w->p->outcome]);
    sqlite3_stmt *statement = NULL;
    QN_TRY(qn_store_prepare(w->p->store, &statement, sql, err));
    bool more = true;
    qn_status status = QN_OK;
    for (;;) {
        status = qn_store_step(w->p->store, statement, &more, err);
        if (status != QN_OK || !more) {
            break;
        }
        const qn_protect_seen fault = {.stratum = sqlite3_column_int(statement, 0),
                                       .target = sqlite3_column_int(statement, 1),
                                       .draw = sqlite3_column_int64(statement, 2),
                                       .element = sqlite3_column_int64(statement, 3),
                                       .n_changes = sqlite3_column_int64(statement, 4),
                                       .n_images = sqlite3_column_int64(statement, 5),
                                       .pairs = sqlite3_column_int64(statement, 6),
                                       .activated = sqlite3_column_int64(statement, 7),
                                       .mask = (uint32_t)sqlite3_column_int64(statement, 8),
                                       .before = real_or_nan(statement, 9),
                                       .after = real_or_nan(statement, 10),
                                       .hits = sqlite3_column_int64(statement, 11)};
        if (fault.stratum < 0 || fault.stratum >= w->n_strata || fault.target < 0 ||
            fault.target >= w->p->keys.n_targets) {
            status = qn_fail(err, QN_EFORMAT, qn_store_path(w->p->store),
                             "a fault is of stratum %d and target %d, which the store has not", (int)fault.stratum,
                             (int)fault.target);
            break;
        }
        status = fn(ctx, &fault, err);
        if (status != QN_OK) {
            break;
        }
    }
    sqlite3_finalize(statement);
    return status;
}

static bool chooses(const qn_protect_sums *s, const qn_protect_seen *fault)
{
    return s->exhausted || fault->draw % 2 == 0;
}

static bool judges(const qn_protect_sums *s, const qn_protect_seen *fault)
{
    return s->exhausted || fault->draw % 2 != 0;
}

static qn_protect_case case_of(const qn_protect_work *w, const qn_protect_seen *fault)
{
    const qn_protect_range *range = &w->p->ranges[fault->target];
    return (qn_protect_case){.where = w->p->keys.where_of[fault->target],
                             .mask = fault->mask,
                             .n_changes = fault->n_changes,
                             .transient = fault->pairs == 1,
                             .after = fault->after,
                             .low = range->low,
                             .high = range->high};
}

/* Ranges of values as far as the faults have seen them, and whether targets were struck. */
typedef struct {
    qn_protect_work *w;
    bool *struck;
} first_pass;

static qn_status look(void *ctx, const qn_protect_seen *fault, qn_error *err)
{
    (void)err;
    const first_pass *pass = ctx;
    qn_protect_range *range = &pass->w->p->ranges[fault->target];
    qn_protect_sums *s = &pass->w->sums[fault->stratum];
    pass->struck[fault->target] = true;
    s->plain &= fault->n_changes == 1 && __builtin_popcount(fault->mask) == 1;
    range->low = fault->before < range->low ? fault->before : range->low;
    range->high = fault->before > range->high ? fault->before : range->high;
    qn_fault_tally_add(&s->all, fault->hits, fault->pairs);
    return QN_OK;
}

/* Halves; and how much harm is done within the range. */
static qn_status divide(void *ctx, const qn_protect_seen *fault, qn_error *err)
{
    (void)err;
    qn_protect_work *w = ctx;
    qn_protect_sums *s = &w->sums[fault->stratum];
    if (judges(s, fault)) {
        w->p->about.n_judging++;
        qn_fault_tally_add(&s->judging, fault->hits, fault->pairs);
    }
    if (chooses(s, fault)) {
        const qn_protect_case c = case_of(w, fault);
        w->p->about.n_choosing++;
        qn_fault_tally_add(&s->choosing, fault->hits, fault->pairs);
        if (qn_protect_end_of(QN_SCHEME_RANGE_CLAMP, &c) != QN_PROTECT_CLAMPED) {
            w->stays[fault->target].pairs += (double)fault->pairs;
            w->stays[fault->target].hits += (double)fault->hits;
        }
    }
    return QN_OK;
}

/* Hits that are left of a fault's where it meets this end. A clamped value is taken to do as much harm as values of faults
 * that stay in the range. */
static double hits_left(const qn_protect_work *w, const qn_protect_seen *fault, qn_protect_end end)
{
    const qn_protect_stays *stay = &w->stays[fault->target];
    switch (end) {
    case QN_PROTECT_PASSES:
        return (double)fault->hits;
    case QN_PROTECT_CLAMPED:
        return stay->pairs > 0 ? fmin((double)fault->hits, (double)fault->pairs * stay->hits / stay->pairs) : 0;
    default:
        return 0;
    }
}

/* Faults that no protection can help against, by the first reason that holds. */
static void count_helpless(qn_protect_work *w, const qn_protect_case *c, int64_t key)
{
    qn_protect_summary *about = &w->p->about;
    if (c->where == QN_FAULT_PRODUCTS || c->where == QN_FAULT_PARTIAL_SUMS) {
        about->n_fleeting++;
        return;
    }
    if (c->n_changes > 1) {
        about->n_several++;
        return;
    }
    if (key < 0) {
        about->n_wide++;
        return;
    }
    for (int scheme = 0; scheme < QN_N_SCHEMES; scheme++) {
        if (w->p->options.schemes >> scheme & 1 && qn_protect_end_of(scheme, c) != QN_PROTECT_PASSES) {
            return;
        }
    }
    about->n_unmet++;
}

static qn_status weigh(void *ctx, const qn_protect_seen *fault, qn_error *err)
{
    (void)err;
    qn_protect_work *w = ctx;
    const int64_t key = qn_protect_key(&w->p->keys, fault->target, fault->element, fault->mask);
    const qn_protect_sums *s = &w->sums[fault->stratum];
    const qn_protect_case c = case_of(w, fault);
    count_helpless(w, &c, key);
    if (key < 0) {
        return QN_OK;
    }
    w->seen[key] = true;
    if (!chooses(s, fault)) {
        return QN_OK;
    }
    w->share[key] += s->weight * (double)fault->hits;
    w->hits[key] += fault->hits;
    w->open[key] += s->weight * (double)fault->pairs * s->open;
    w->n[key]++;
    for (int scheme = 0; scheme < QN_N_SCHEMES; scheme++) {
        const qn_protect_end end = qn_protect_end_of(scheme, &c);
        w->covered[key][scheme] += end != QN_PROTECT_PASSES;
        w->benefit[key][scheme] += s->weight * ((double)fault->hits - hits_left(w, fault, end));
        w->alarms[key][scheme] += end == QN_PROTECT_DETECTED ? s->weight * (double)fault->activated : 0;
    }
    return QN_OK;
}

/* Hits may be fractions here, where qn_fault_tally_add takes whole ones. */
static void add_left(qn_fault_tally *tally, double *hits, double left, int64_t pairs)
{
    const double m = (double)pairs;
    tally->n_faults++;
    tally->pairs += pairs;
    *hits += left;
    tally->sum_hh += left * left;
    tally->sum_hm += left * m;
    tally->sum_mm += m * m;
}

typedef struct {
    qn_protect_work *w;
    double *left, *left_all; /* hits, per stratum */
} judge_pass;

static qn_status judge(void *ctx, const qn_protect_seen *fault, qn_error *err)
{
    (void)err;
    const judge_pass *pass = ctx;
    qn_protect_work *w = pass->w;
    qn_protect_sums *s = &w->sums[fault->stratum];
    const int64_t key = qn_protect_key(&w->p->keys, fault->target, fault->element, fault->mask);
    const qn_protect_case c = case_of(w, fault);
    const qn_protect_end end = qn_protect_end_of(key >= 0 ? w->p->scheme_of[key] : -1, &c);
    const double left = hits_left(w, fault, end);
    add_left(&s->left_all, &pass->left_all[fault->stratum], left, fault->pairs);
    if (judges(s, fault)) {
        add_left(&s->left, &pass->left[fault->stratum], left, fault->pairs);
        const double weight =
            s->judging.pairs > 0 ? s->weight * (double)s->choosing.pairs / (double)s->judging.pairs : 0;
        w->detected += end == QN_PROTECT_DETECTED ? weight * (double)fault->activated : 0;
    }
    return QN_OK;
}

qn_status qn_protect_look(qn_protect_work *w, bool *struck, qn_error *err)
{
    first_pass pass = {w, struck};
    return each_fault(w, look, &pass, err);
}

qn_status qn_protect_divide(qn_protect_work *w, qn_error *err)
{
    return each_fault(w, divide, w, err);
}

qn_status qn_protect_weigh(qn_protect_work *w, qn_error *err)
{
    return each_fault(w, weigh, w, err);
}

qn_status qn_protect_judge(qn_protect_work *w, qn_error *err)
{
    const size_t n = (size_t)w->n_strata;
    double *left = qn_arena_array(&w->p->arena, n, sizeof *left);
    double *left_all = qn_arena_array(&w->p->arena, n, sizeof *left_all);
    if (left == NULL || left_all == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof *left);
    }
    judge_pass pass = {w, left, left_all};
    QN_TRY(each_fault(w, judge, &pass, err));
    for (size_t h = 0; h < n; h++) {
        w->sums[h].left.hits = llround(left[h]);
        w->sums[h].left_all.hits = llround(left_all[h]);
    }
    return QN_OK;
}
