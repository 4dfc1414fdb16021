/* Reading what a store has, row by row. */
#include <math.h>

#include "fault/store_inside.h"

typedef qn_status (*read_fn)(qn_store *store, sqlite3_stmt *statement, void *out, size_t index, qn_error *err);

/* All rows of a query into an array of the store's arena; `count` gives how many there will be. */
static qn_status read_list(qn_store *store, const char *count, const char *sql, size_t elem_size, read_fn read,
                           void **list, size_t *n, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool more = false;
    QN_TRY(qn_store_prepare(store, &statement, count, err));
    qn_status status = qn_store_step(store, statement, &more, err);
    size_t capacity = more ? (size_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    QN_TRY(status);
    *list = qn_arena_array(&store->arena, capacity + 1, elem_size);
    if (*list == NULL) {
        return qn_fail_memory(err, store->path, capacity * elem_size);
    }
    QN_TRY(qn_store_prepare(store, &statement, sql, err));
    *n = 0;
    while (status == QN_OK) {
        status = qn_store_step(store, statement, &more, err);
        if (status != QN_OK || !more || *n == capacity) {
            break;
        }
        status = read(store, statement, *list, (*n)++, err);
    }
    sqlite3_finalize(statement);
    return status;
}

static qn_status read_target(qn_store *store, sqlite3_stmt *statement, void *out, size_t index, qn_error *err)
{
    qn_store_target *target = (qn_store_target *)out + index;
    target->id = sqlite3_column_int(statement, 0);
    QN_TRY(qn_store_text(&store->arena, &target->place, statement, 1, err));
    QN_TRY(qn_store_text(&store->arena, &target->layer, statement, 2, err));
    QN_TRY(qn_store_text(&store->arena, &target->value, statement, 3, err));
    QN_TRY(qn_store_text(&store->arena, &target->op_type, statement, 4, err));
    QN_TRY(qn_store_text(&store->arena, &target->format, statement, 5, err));
    target->bits = sqlite3_column_int(statement, 6);
    target->n_elems = sqlite3_column_int64(statement, 7);
    target->n_terms = sqlite3_column_int64(statement, 8);
    target->channels = sqlite3_column_int64(statement, 9);
    target->channel_stride = sqlite3_column_int64(statement, 10);
    QN_TRY(qn_store_text(&store->arena, &target->field, statement, 11, err));
    return target->id == (int64_t)index && target->channels > 0 && target->channel_stride > 0
               ? QN_OK
               : qn_fail(err, QN_EFORMAT, store->path, "the store is damaged: its target %zu is none", index);
}

qn_status qn_store_targets(qn_store *store, const qn_store_target **targets, int *n, qn_error *err)
{
    if (store->n_targets < 0) {
        void *list;
        size_t count;
        QN_TRY(read_list(store, "SELECT count(*) FROM targets",
                         "SELECT id, place, layer, value, op_type, format, bits, n_elems, n_terms, channels, "
                         "channel_stride, field FROM targets ORDER BY id",
                         sizeof **targets, read_target, &list, &count, err));
        store->targets = list;
        store->n_targets = (int)count;
    }
    *targets = store->targets;
    *n = store->n_targets;
    return QN_OK;
}

/* -1 for NULL. */
static int64_t known(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL ? -1 : sqlite3_column_int64(statement, column);
}

static double real(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL ? (double)NAN
                                                                 : sqlite3_column_double(statement, column);
}

static qn_status read_stratum(qn_store *store, sqlite3_stmt *statement, void *out, size_t index, qn_error *err)
{
    qn_store_stratum *stratum = (qn_store_stratum *)out + index;
    stratum->id = sqlite3_column_int(statement, 0);
    QN_TRY(qn_store_text(&store->arena, &stratum->set, statement, 1, err));
    QN_TRY(qn_store_text(&store->arena, &stratum->label, statement, 2, err));
    stratum->population = known(statement, 3);
    stratum->population = stratum->population < 0 ? INT64_MAX : stratum->population;
    QN_TRY(qn_store_text(&store->arena, &stratum->place, statement, 4, err));
    QN_TRY(qn_store_text(&store->arena, &stratum->layer, statement, 5, err));
    stratum->bit = (int)known(statement, 6);
    stratum->channel = known(statement, 7);
    return QN_OK;
}

/* Faults per stratum from the blocks' parts would miss single shards; from the rows they are what is there. */
static qn_status count_strata(qn_store *store, sqlite3_stmt *statement, qn_error *err)
{
    bool more;
    while (true) {
        QN_TRY(qn_store_step(store, statement, &more, err));
        if (!more) {
            return QN_OK;
        }
        int64_t stratum = sqlite3_column_int64(statement, 0);
        if (stratum >= 0 && stratum < store->n_strata) {
            store->strata[stratum].n = sqlite3_column_int64(statement, 1);
        }
    }
}

qn_status qn_store_strata(qn_store *store, const qn_store_stratum **strata, int *n, qn_error *err)
{
    if (store->n_strata < 0) {
        void *list;
        size_t count;
        QN_TRY(read_list(store, "SELECT count(*) FROM strata",
                         "SELECT id, fault_set, label, population, place, layer, bit, channel FROM strata ORDER BY id",
                         sizeof **strata, read_stratum, &list, &count, err));
        store->strata = list;
        store->n_strata = (int)count;
    }
    sqlite3_stmt *statement = NULL;
    qn_status status =
        qn_store_prepare(store, &statement, "SELECT stratum, count(*) FROM faults GROUP BY stratum", err);
    if (status == QN_OK) {
        status = count_strata(store, statement, err);
    }
    sqlite3_finalize(statement);
    *strata = store->strata;
    *n = store->n_strata;
    return status;
}

static qn_status read_part(qn_store *store, sqlite3_stmt *statement, void *out, size_t index, qn_error *err)
{
    (void)store, (void)err;
    ((qn_store_part *)out)[index] = (qn_store_part){
        .first_id = sqlite3_column_int64(statement, 0),
        .n = sqlite3_column_int64(statement, 1),
        .round = sqlite3_column_int(statement, 2),
        .stratum = sqlite3_column_int(statement, 3),
        .first_draw = sqlite3_column_int64(statement, 4),
    };
    return QN_OK;
}

qn_status qn_store_parts(qn_store *store, const qn_store_part **parts, size_t *n, qn_error *err)
{
    void *list;
    QN_TRY(read_list(store, "SELECT count(*) FROM parts",
                     "SELECT first_id, n, round, stratum, first_draw FROM parts ORDER BY first_id", sizeof **parts,
                     read_part, &list, n, err));
    *parts = list;
    return QN_OK;
}

/* A query of one row: its statement stands at the row. */
static qn_status one_row(qn_store *store, sqlite3_stmt **statement, const char *sql, int64_t id, bool *found,
                         qn_error *err)
{
    QN_TRY(qn_store_prepare(store, statement, sql, err));
    if (sqlite3_bind_parameter_count(*statement) > 0) {
        sqlite3_bind_int64(*statement, 1, id);
    }
    return qn_store_step(store, *statement, found, err);
}

qn_status qn_store_total(qn_store *store, qn_store_totals *totals, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    static const char sql[] = "SELECT count(*), sum(n), sum(pairs), sum(verified), sum(seconds), "
                              "ifnull(min(first_id), -1), ifnull(max(first_id + n - 1), -1) FROM blocks";
    *totals = (qn_store_totals){.first_id = -1, .last_id = -1};
    qn_status status = one_row(store, &statement, sql, 0, &found, err);
    if (status == QN_OK && found) {
        totals->blocks = sqlite3_column_int64(statement, 0);
        totals->faults = sqlite3_column_int64(statement, 1);
        totals->pairs = sqlite3_column_int64(statement, 2);
        totals->verified = sqlite3_column_int64(statement, 3);
        totals->seconds = sqlite3_column_double(statement, 4);
        totals->first_id = sqlite3_column_int64(statement, 5);
        totals->last_id = sqlite3_column_int64(statement, 6);
    }
    sqlite3_finalize(statement);
    return status;
}

qn_status qn_store_has_block(qn_store *store, int64_t number, bool *has, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    *has = false;
    qn_status status = one_row(store, &statement, "SELECT 1 FROM blocks WHERE number = ?", number, has, err);
    sqlite3_finalize(statement);
    return status;
}

qn_status qn_store_golden_of(qn_store *store, qn_store_golden *golden, qn_error *err)
{
    static const char sql[] = "SELECT count(*), sum(right), sum(float_right), sum(float_top1 = top1), "
                              "avg(float_rmse * float_rmse) FROM images";
    sqlite3_stmt *statement = NULL;
    bool found = false;
    *golden = (qn_store_golden){0, -1, -1, -1, (double)NAN};
    qn_status status = one_row(store, &statement, sql, 0, &found, err);
    if (status == QN_OK && found) {
        golden->images = sqlite3_column_int64(statement, 0);
        golden->right = known(statement, 1);
        golden->float_right = known(statement, 2);
        golden->float_agree = known(statement, 3);
        golden->float_rmse = sqrt(real(statement, 4));
    }
    sqlite3_finalize(statement);
    return status;
}

static void read_row(sqlite3_stmt *s, qn_fault_row *row)
{
    *row = (qn_fault_row){
        .id = sqlite3_column_int64(s, 0),
        .stratum = sqlite3_column_int(s, 1),
        .draw = sqlite3_column_int64(s, 2),
        .target = sqlite3_column_int(s, 3),
        .element = sqlite3_column_int64(s, 4),
        .term = sqlite3_column_int64(s, 5),
        .mask = (uint32_t)sqlite3_column_int64(s, 6),
        .n_changes = sqlite3_column_int64(s, 7),
        .first_image = sqlite3_column_int64(s, 8),
        .n_images = sqlite3_column_int64(s, 9),
        .before = (uint32_t)sqlite3_column_int64(s, 10),
        .after = (uint32_t)sqlite3_column_int64(s, 11),
        .value_before = real(s, 12),
        .value_after = real(s, 13),
        .pairs = sqlite3_column_int64(s, 14),
        .activated = sqlite3_column_int64(s, 15),
        .rmse_sum = sqlite3_column_double(s, QN_STORE_ROW_COLUMNS - 2),
        .rmse_max = sqlite3_column_double(s, QN_STORE_ROW_COLUMNS - 1),
    };
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        row->counts[i] = sqlite3_column_int64(s, 16 + i);
    }
    int column = 16 + QN_OUTCOME_COUNT;
#define READ_END(name, value) row->ends[value] = sqlite3_column_int64(s, column++);
    QN_FAULT_END_LIST(READ_END)
#undef READ_END
}

qn_status qn_store_row(qn_store *store, int64_t id, qn_fault_row *row, bool *found, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    *found = false;
    qn_status status = one_row(store, &statement, "SELECT * FROM faults WHERE id = ?", id, found, err);
    if (status == QN_OK && *found) {
        read_row(statement, row);
    }
    sqlite3_finalize(statement);
    return status;
}

static qn_status read_changes(qn_store *store, sqlite3_stmt *statement, qn_fault_change *list, int64_t *n,
                              qn_error *err)
{
    bool more;
    for (*n = 0; *n < QN_STORE_CHANGES; (*n)++) {
        QN_TRY(qn_store_step(store, statement, &more, err));
        if (!more) {
            break;
        }
        list[*n] = (qn_fault_change){
            .target = sqlite3_column_int(statement, 0),
            .element = sqlite3_column_int64(statement, 1),
            .term = sqlite3_column_int64(statement, 2),
            .and_mask = (uint32_t)sqlite3_column_int64(statement, 3),
            .or_mask = (uint32_t)sqlite3_column_int64(statement, 4),
            .xor_mask = (uint32_t)sqlite3_column_int64(statement, 5),
            .add = sqlite3_column_double(statement, 6),
        };
    }
    return QN_OK;
}

qn_status qn_store_changes(qn_store *store, int64_t id, qn_arena *arena, const qn_fault_change **changes, int64_t *n,
                           qn_error *err)
{
    *n = 0;
    *changes = NULL;
    qn_fault_change *list = qn_arena_array(arena, QN_STORE_CHANGES, sizeof *list);
    if (list == NULL) {
        return qn_fail_memory(err, store->path, QN_STORE_CHANGES * sizeof *list);
    }
    sqlite3_stmt *statement = NULL;
    QN_TRY(qn_store_prepare(store, &statement,
                            "SELECT target, element, term, and_mask, or_mask, xor_mask, noise FROM changes "
                            "WHERE fault = ? ORDER BY number",
                            err));
    sqlite3_bind_int64(statement, 1, id);
    qn_status status = read_changes(store, statement, list, n, err);
    sqlite3_finalize(statement);
    *changes = list;
    return status;
}
