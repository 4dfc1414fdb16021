/* Rates: queries that group faults, and tallies per stratum for intervals. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/store_inside.h"

static const char *const outcome_columns[QN_OUTCOME_COUNT] = {
#define OUTCOME_TEXT(name, bit, text, column) [bit] = #column,
    QN_OUTCOME_LIST(OUTCOME_TEXT)
#undef OUTCOME_TEXT
};

/* A key of a group: what is asked with `by`, as SQL. All have a column of every query; what was not asked for is NULL. */
static const struct {
    unsigned by;
    const char *sql;
} keys[] = {
    {QN_STORE_BY_LAYER, "t.layer"},
    {QN_STORE_BY_WHERE, "t.place"},
    {QN_STORE_BY_FORMAT, "t.format"},
    {QN_STORE_BY_SET, "s.fault_set"},
    {QN_STORE_BY_STRATUM, "s.label"},
    {QN_STORE_BY_FIELD, "t.field"},
    {QN_STORE_BY_BIT, "b.bit"},
    {QN_STORE_BY_CHANNEL, "CASE WHEN t.channels > 1 THEN f.element / t.channel_stride % t.channels END"},
};
enum {
    N_KEYS = sizeof keys / sizeof keys[0],
    COLUMN_STRATUM = N_KEYS,
    COLUMN_SUMS, /* count, first target, pairs, activated, outcomes, ends, rmse_sum, rmse_max, pairs squared; then two for each outcome asked */
    COLUMN_OUTCOMES = COLUMN_SUMS + 4,
    COLUMN_ENDS = COLUMN_OUTCOMES + QN_OUTCOME_COUNT,
    COLUMN_RMSE = COLUMN_ENDS + QN_FAULT_N_COUNTED_ENDS,
    COLUMN_SQUARES = COLUMN_RMSE + 2,
    SQL_MAX = 4096
};

/* total() is a sum in double: exact for integers below 2^53, without the overflow of sum(). */
static void write_query(char sql[SQL_MAX], unsigned by, unsigned outcomes)
{
    char group[512] = "";
    size_t used = (size_t)snprintf(sql, SQL_MAX, "SELECT ");
    for (int k = 0; k < N_KEYS; k++) {
        bool asked = (by & keys[k].by) != 0;
        used += (size_t)snprintf(sql + used, SQL_MAX - used, "%s, ", asked ? keys[k].sql : "NULL");
        size_t length = strlen(group);
        if (asked) {
            snprintf(group + length, sizeof group - length, "%d, ", k + 1);
        }
    }
    used += (size_t)snprintf(sql + used, SQL_MAX - used,
                             "f.stratum, count(*), min(f.target), sum(f.pairs), sum(f.activated)");
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        used += (size_t)snprintf(sql + used, SQL_MAX - used, ", sum(f.%s)", outcome_columns[i]);
    }
    used += (size_t)snprintf(sql + used, SQL_MAX - used,
#define SUM_END(name, value) ", sum(f." #name ")"
                             QN_FAULT_END_LIST(SUM_END)
#undef SUM_END
                                 ", sum(f.rmse_sum), max(f.rmse_max), total(f.pairs * f.pairs)");
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        if ((outcomes & 1u << i) != 0) {
            used += (size_t)snprintf(sql + used, SQL_MAX - used, ", total(f.%s * f.%s), total(f.%s * f.pairs)",
                                     outcome_columns[i], outcome_columns[i], outcome_columns[i]);
        }
    }
    snprintf(
        sql + used, SQL_MAX - used,
        " FROM faults f LEFT JOIN targets t ON t.id = f.target JOIN strata s ON s.id = f.stratum LEFT JOIN bits b ON "
        "b.mask = f.mask GROUP BY %sf.stratum ORDER BY %sf.stratum",
        group, group);
}

/* Rows of one query: a group and a stratum. */
typedef struct {
    qn_store_groups *groups;
    size_t capacity; /* of groups->list, while it grows outside the arena */
    qn_store_group *list;
    int64_t *first_target;
    size_t first_capacity;
    qn_store *store;
    const qn_store_stratum *strata;
    int n_strata;
    unsigned outcomes;
} gathering;

static bool same_key(sqlite3_stmt *statement, int column, const char *text)
{
    const char *stored = (const char *)sqlite3_column_text(statement, column);
    return strcmp(stored != NULL ? stored : "", text) == 0;
}

static int64_t number_key(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL ? -1 : sqlite3_column_int64(statement, column);
}

static bool same_group(sqlite3_stmt *statement, const qn_store_group *group)
{
    return same_key(statement, 0, group->layer) && same_key(statement, 1, group->place) &&
           same_key(statement, 2, group->format) && same_key(statement, 3, group->set) &&
           same_key(statement, 4, group->stratum) && same_key(statement, 5, group->field) &&
           number_key(statement, 6) == group->bit && number_key(statement, 7) == group->channel;
}

static qn_status begin_group(gathering *g, sqlite3_stmt *statement, qn_error *err)
{
    size_t n = g->groups->n;
    QN_TRY(qn_grow((void **)&g->list, &g->capacity, n, sizeof *g->list, err));
    QN_TRY(qn_grow((void **)&g->first_target, &g->first_capacity, n, sizeof *g->first_target, err));
    qn_store_group *group = &g->list[n];
    *group = (qn_store_group){.bit = (int)number_key(statement, 6), .channel = number_key(statement, 7)};
    qn_arena *arena = &g->groups->arena;
    QN_TRY(qn_store_text(arena, &group->layer, statement, 0, err));
    QN_TRY(qn_store_text(arena, &group->place, statement, 1, err));
    QN_TRY(qn_store_text(arena, &group->format, statement, 2, err));
    QN_TRY(qn_store_text(arena, &group->set, statement, 3, err));
    QN_TRY(qn_store_text(arena, &group->stratum, statement, 4, err));
    QN_TRY(qn_store_text(arena, &group->field, statement, 5, err));
    g->first_target[n] = INT64_MAX;
    g->groups->n++;
    return QN_OK;
}

/* Faults that a stratum has of a group: see store.h. */
static int64_t share_of(const qn_store_stratum *stratum, int64_t n_group)
{
    if (stratum->population == INT64_MAX || n_group == stratum->n) {
        return stratum->population;
    }
    if (stratum->n >= stratum->population) {
        return n_group;
    }
    double share = nearbyint((double)stratum->population * ((double)n_group / (double)stratum->n));
    return share > (double)n_group ? (int64_t)share : n_group;
}

/* Room for one more tally of each outcome asked for; arrays double. */
static qn_status grow_tallies(gathering *g, qn_store_group *group, qn_error *err)
{
    int n = group->n_tallies;
    if ((n & (n - 1)) != 0 && n != 0) {
        return QN_OK;
    }
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        if ((g->outcomes & 1u << i) != 0) {
            qn_fault_tally *larger =
                qn_arena_array(&g->groups->arena, n == 0 ? 1 : 2 * (size_t)n, sizeof *group->tallies[i]);
            if (larger == NULL) {
                return qn_fail_memory(err, g->store->path, (size_t)n * sizeof *larger);
            }
            if (n > 0) {
                memcpy(larger, group->tallies[i], (size_t)n * sizeof *larger);
            }
            group->tallies[i] = larger;
        }
    }
    return QN_OK;
}

static qn_status add_stratum(gathering *g, sqlite3_stmt *statement, qn_store_group *group, int64_t *first_target,
                             qn_error *err)
{
    int stratum = sqlite3_column_int(statement, COLUMN_STRATUM);
    if (stratum < 0 || stratum >= g->n_strata) {
        return qn_fail(err, QN_EFORMAT, g->store->path, "the store is damaged: a fault is of stratum %d, of %d",
                       stratum, g->n_strata);
    }
    int64_t n = sqlite3_column_int64(statement, COLUMN_SUMS), target = sqlite3_column_int64(statement, COLUMN_SUMS + 1);
    int64_t pairs = sqlite3_column_int64(statement, COLUMN_SUMS + 2);
    *first_target = target < *first_target ? target : *first_target;
    group->n_faults += n;
    group->pairs += pairs;
    group->activated += sqlite3_column_int64(statement, COLUMN_SUMS + 3);
    int end = COLUMN_ENDS;
#define ADD_END(name, value) group->ends[value] += sqlite3_column_int64(statement, end++);
    QN_FAULT_END_LIST(ADD_END)
#undef ADD_END
    group->rmse_sum += sqlite3_column_double(statement, COLUMN_RMSE);
    double rmse_max = sqlite3_column_double(statement, COLUMN_RMSE + 1);
    group->rmse_max = rmse_max > group->rmse_max ? rmse_max : group->rmse_max;
    QN_TRY(grow_tallies(g, group, err));
    int column = COLUMN_SQUARES + 1;
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        int64_t hits = sqlite3_column_int64(statement, COLUMN_OUTCOMES + i);
        group->counts[i] += hits;
        if ((g->outcomes & 1u << i) != 0) {
            group->tallies[i][group->n_tallies] = (qn_fault_tally){
                .population = share_of(&g->strata[stratum], n),
                .n_faults = n,
                .pairs = pairs,
                .hits = hits,
                .sum_hh = sqlite3_column_double(statement, column),
                .sum_hm = sqlite3_column_double(statement, column + 1),
                .sum_mm = sqlite3_column_double(statement, COLUMN_SQUARES),
            };
            column += 2;
        }
    }
    group->n_tallies++;
    return QN_OK;
}

static qn_status gather(gathering *g, sqlite3_stmt *statement, qn_error *err)
{
    bool more;
    while (true) {
        QN_TRY(qn_store_step(g->store, statement, &more, err));
        if (!more) {
            return QN_OK;
        }
        size_t n = g->groups->n;
        if (n == 0 || !same_group(statement, &g->list[n - 1])) {
            QN_TRY(begin_group(g, statement, err));
            n++;
        }
        QN_TRY(add_stratum(g, statement, &g->list[n - 1], &g->first_target[n - 1], err));
    }
}

/* Layers in the order of the network, fields in that of frames; all else as the query has it. */
typedef struct {
    int64_t target, field;
    size_t index;
} place;

static int by_target(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->target != y->target) {
        return x->target < y->target ? -1 : 1;
    }
    return x->field != y->field ? (x->field < y->field ? -1 : 1) : (x->index < y->index ? -1 : x->index > y->index);
}

/* The first target of each group's layer, that all groups of a layer stay together. */
static qn_status sort_groups(gathering *g, unsigned by, qn_error *err)
{
    size_t n = g->groups->n;
    qn_arena *arena = &g->groups->arena;
    place *places = qn_arena_array(arena, n + 1, sizeof *places);
    g->groups->list = qn_arena_array(arena, n + 1, sizeof *g->list);
    if (places == NULL || g->groups->list == NULL) {
        return qn_fail_memory(err, g->store->path, n * sizeof *g->list);
    }
    bool layers = (by & QN_STORE_BY_LAYER) != 0;
    for (size_t i = 0, first = 0; i < n; i++) { /* the query sorts by layer first */
        first = strcmp(g->list[i].layer, g->list[first].layer) == 0 ? first : i;
        places[i] = (place){0, (by & QN_STORE_BY_FIELD) != 0 ? g->first_target[i] : 0, i};
        int64_t target = g->first_target[i];
        g->first_target[first] = target < g->first_target[first] ? target : g->first_target[first];
    }
    for (size_t i = 0, first = 0; layers && i < n; i++) {
        first = strcmp(g->list[i].layer, g->list[first].layer) == 0 ? first : i;
        places[i].target = g->first_target[first];
    }
    qsort(places, n, sizeof *places, by_target);
    for (size_t i = 0; i < n; i++) {
        g->groups->list[i] = g->list[places[i].index];
    }
    return QN_OK;
}

qn_status qn_store_rates(qn_store_groups *groups, qn_store *store, unsigned by, unsigned outcomes, qn_error *err)
{
    *groups = (qn_store_groups){0};
    gathering g = {.groups = groups, .store = store, .outcomes = outcomes};
    QN_TRY(qn_store_strata(store, &g.strata, &g.n_strata, err));
    char sql[SQL_MAX];
    write_query(sql, by, outcomes);
    sqlite3_stmt *statement = NULL;
    qn_status status = qn_store_prepare(store, &statement, sql, err);
    if (status == QN_OK) {
        status = gather(&g, statement, err);
    }
    if (status == QN_OK) {
        status = sort_groups(&g, by, err);
    }
    sqlite3_finalize(statement);
    qn_free(g.list);
    qn_free(g.first_target);
    return status;
}

void qn_store_groups_free(qn_store_groups *groups)
{
    qn_arena_free(&groups->arena);
    *groups = (qn_store_groups){0};
}

static const char *column_of(unsigned outcome)
{
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        if (outcome == 1u << i) {
            return outcome_columns[i];
        }
    }
    return NULL;
}

qn_status qn_store_worst(qn_store *store, unsigned outcome, bool by_bit, qn_store_site *sites, size_t max, size_t *n,
                         qn_error *err)
{
    *n = 0;
    const char *column = column_of(outcome);
    if (column == NULL) {
        return qn_fail(err, QN_EINVAL, store->path, "sites are sorted by one outcome, not by %#x", outcome);
    }
    char sql[512];
    snprintf(sql, sizeof sql,
             "SELECT target, element, %s, sum(%s) AS hits, sum(pairs), count(*), min(id), term FROM faults f LEFT JOIN "
             "bits b "
             "ON b.mask = f.mask GROUP BY target, element, term%s HAVING hits > 0 ORDER BY hits DESC, target, element, "
             "term, 3 "
             "LIMIT %lld",
             by_bit ? "b.bit" : "NULL", column, by_bit ? ", b.bit" : "", (long long)max);
    const qn_store_target *targets;
    int n_targets;
    QN_TRY(qn_store_targets(store, &targets, &n_targets, err));
    sqlite3_stmt *statement = NULL;
    qn_status status = qn_store_prepare(store, &statement, sql, err);
    bool more = true;
    while (status == QN_OK && *n < max) {
        status = qn_store_step(store, statement, &more, err);
        if (status != QN_OK || !more) {
            break;
        }
        const int64_t target = sqlite3_column_int64(statement, 0), element = sqlite3_column_int64(statement, 1);
        if (target < 0 || target >= n_targets || element < 0 || element >= targets[target].n_elems) {
            status = qn_fail(err, QN_EFORMAT, store->path,
                             "the store is damaged: a fault is of element %lld of target %lld, of %d",
                             (long long)element, (long long)target, n_targets);
            break;
        }
        sites[(*n)++] = (qn_store_site){
            .target = (int32_t)target,
            .element = element,
            .bit = (int)number_key(statement, 2),
            .hits = sqlite3_column_int64(statement, 3),
            .pairs = sqlite3_column_int64(statement, 4),
            .n_faults = sqlite3_column_int64(statement, 5),
            .first_fault = sqlite3_column_int64(statement, 6),
            .term = sqlite3_column_int64(statement, 7),
        };
    }
    sqlite3_finalize(statement);
    return status;
}

qn_status qn_store_tallies(qn_store *store, unsigned outcome, int64_t end, qn_fault_tally *tallies, int n_strata,
                           qn_error *err)
{
    const qn_store_stratum *strata;
    int n;
    QN_TRY(qn_store_strata(store, &strata, &n, err));
    for (int i = 0; i < n_strata; i++) {
        tallies[i] = (qn_fault_tally){.population = i < n ? strata[i].population : INT64_MAX};
    }
    const char *column = column_of(outcome);
    char sql[512];
    snprintf(sql, sizeof sql,
             "SELECT stratum, count(*), sum(pairs), sum(%s), total(%s * %s), total(%s * pairs), total(pairs * pairs) "
             "FROM faults WHERE id < %lld GROUP BY stratum",
             column, column, column, column, (long long)end);
    sqlite3_stmt *statement = NULL;
    qn_status status = qn_store_prepare(store, &statement, sql, err);
    bool more = true;
    while (status == QN_OK) {
        status = qn_store_step(store, statement, &more, err);
        if (status != QN_OK || !more) {
            break;
        }
        int stratum = sqlite3_column_int(statement, 0);
        if (stratum >= 0 && stratum < n_strata) {
            qn_fault_tally *tally = &tallies[stratum];
            tally->n_faults = sqlite3_column_int64(statement, 1);
            tally->pairs = sqlite3_column_int64(statement, 2);
            tally->hits = sqlite3_column_int64(statement, 3);
            tally->sum_hh = sqlite3_column_double(statement, 4);
            tally->sum_hm = sqlite3_column_double(statement, 5);
            tally->sum_mm = sqlite3_column_double(statement, 6);
        }
    }
    sqlite3_finalize(statement);
    return status;
}
