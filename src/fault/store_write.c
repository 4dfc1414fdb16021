/* Making the tables, and writing blocks. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "fault/store_inside.h"

static const double FLUSH_SECONDS = 2;

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#define OUTCOME_COLUMN(name, bit, text, column) ", " #column
#define END_COLUMN(name, value)                 ", " #name

static const char tables[] = "CREATE TABLE campaign(id INTEGER PRIMARY KEY CHECK (id = 1), seed TEXT"
#define TEXT_COLUMN(name) ", " #name " TEXT"
#define INT_COLUMN(name)  ", " #name " INTEGER"
#define REAL_COLUMN(name) ", " #name " REAL"
    QN_STORE_ABOUT_LIST(
        TEXT_COLUMN, INT_COLUMN,
        REAL_COLUMN) ");"
#undef TEXT_COLUMN
#undef INT_COLUMN
#undef REAL_COLUMN
                     "CREATE TABLE targets(id INTEGER PRIMARY KEY, place TEXT, layer TEXT, value TEXT, op_type TEXT, "
                     "format TEXT, "
                     "bits INTEGER, n_elems INTEGER, n_terms INTEGER, channels INTEGER, channel_stride INTEGER, "
                     "field TEXT);"
                     "CREATE TABLE strata(id INTEGER PRIMARY KEY, fault_set TEXT, label TEXT, population INTEGER, "
                     "place TEXT, layer TEXT, "
                     "bit INTEGER, channel INTEGER);"
                     "CREATE TABLE parts(first_id INTEGER PRIMARY KEY, n INTEGER, round INTEGER, stratum INTEGER, "
                     "first_draw INTEGER);"
                     "CREATE TABLE blocks(number INTEGER PRIMARY KEY, first_id INTEGER, n INTEGER, pairs INTEGER, "
                     "verified INTEGER, "
                     "seconds REAL);"
                     "CREATE TABLE images(id INTEGER PRIMARY KEY, top1 INTEGER, label INTEGER, probability REAL, right "
                     "INTEGER, "
                     "float_top1 INTEGER, float_probability REAL, float_right INTEGER, float_rmse REAL);"
                     "CREATE TABLE faults(id INTEGER PRIMARY KEY, stratum, draw, target, element, term, mask, "
                     "n_changes, first_image, "
                     "n_images, before, after, value_before, value_after, pairs, activated" QN_OUTCOME_LIST(
                         OUTCOME_COLUMN)
                         QN_FAULT_END_LIST(
                             END_COLUMN) ", rmse_sum, rmse_max);"
                                         "CREATE TABLE changes(fault INTEGER, number INTEGER, target INTEGER, element "
                                         "INTEGER, term INTEGER, and_mask INTEGER, "
                                         "or_mask INTEGER, xor_mask INTEGER, noise REAL, PRIMARY KEY(fault, number)) "
                                         "WITHOUT ROWID;"
                                         "CREATE TABLE pairs(fault INTEGER, image INTEGER, flags INTEGER, ended "
                                         "INTEGER, rmse REAL, PRIMARY KEY(fault, image)) "
                                         "WITHOUT ROWID;"
                                         "CREATE TABLE bits(mask INTEGER PRIMARY KEY, bit INTEGER);"
                                         "WITH RECURSIVE b(n) AS (VALUES(0) UNION ALL SELECT n + 1 FROM b WHERE n < "
                                         "31) "
                                         "INSERT INTO bits SELECT 1 << n, n FROM b;";

qn_status qn_store_make_tables(const qn_store *store, qn_error *err)
{
    char sql[96];
    QN_TRY(qn_store_exec(store, tables, "be written", err));
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d", QN_STORE_APPLICATION,
             QN_STORE_SCHEMA);
    return qn_store_exec(store, sql, "be written", err);
}

static void bind_text(sqlite3_stmt *statement, int column, const char *text)
{
    sqlite3_bind_text(statement, column, text != NULL ? text : "", -1, SQLITE_STATIC);
}

/* NULL for what is negative. */
static void bind_known(sqlite3_stmt *statement, int column, int64_t value)
{
    if (value < 0) {
        sqlite3_bind_null(statement, column);
    } else {
        sqlite3_bind_int64(statement, column, value);
    }
}

qn_status qn_store_write_about(const qn_store *store, const qn_store_about *about, qn_error *err)
{
#define MARK(name) ", ?"
    static const char sql[] = "INSERT INTO campaign VALUES(1, ?" QN_STORE_ABOUT_LIST(MARK, MARK, MARK) ")";
#undef MARK
    sqlite3_stmt *statement = NULL;
    QN_TRY(qn_store_prepare(store, &statement, sql, err));
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, about->seed);
    bind_text(statement, 1, seed);
    int column = 2;
#define BIND_TEXT(name) bind_text(statement, column++, about->name);
#define BIND_INT(name)  sqlite3_bind_int64(statement, column++, about->name);
#define BIND_REAL(name) sqlite3_bind_double(statement, column++, about->name);
    QN_STORE_ABOUT_LIST(BIND_TEXT, BIND_INT, BIND_REAL)
#undef BIND_TEXT
#undef BIND_INT
#undef BIND_REAL
    qn_status status = qn_store_run(store, statement, err);
    sqlite3_finalize(statement);
    return status;
}

static const char *format_text(char text[QN_FORMAT_NAME_MAX], const qn_fault_target *target)
{
    switch (target->coding) {
    case QN_FAULT_F32:
        return "float32";
    case QN_FAULT_BYTES:
        return target->bits == 8 ? "byte" : "bits";
    case QN_FAULT_S32:
        snprintf(text, QN_FORMAT_NAME_MAX, "int%d", target->bits);
        return text;
    default:
        qn_format_name(text, target->format);
        return text;
    }
}

static qn_status write_target(const qn_store *store, sqlite3_stmt *statement, int id, const qn_fault_target *target,
                              qn_error *err)
{
    int64_t channels = 1, stride = 1;
    if (target->channel_axis >= 0) {
        channels = target->dims[target->channel_axis];
        for (int d = target->channel_axis + 1; d < target->rank; d++) {
            stride *= target->dims[d];
        }
    }
    char format[QN_FORMAT_NAME_MAX];
    sqlite3_bind_int64(statement, 1, id);
    bind_text(statement, 2, qn_fault_where_text(target->where));
    bind_text(statement, 3, target->layer);
    bind_text(statement, 4, target->value_name);
    bind_text(statement, 5, target->op_type);
    bind_text(statement, 6, format_text(format, target));
    sqlite3_bind_int64(statement, 7, target->bits);
    sqlite3_bind_int64(statement, 8, target->n_elems);
    sqlite3_bind_int64(statement, 9, target->n_terms);
    sqlite3_bind_int64(statement, 10, channels > 0 ? channels : 1);
    sqlite3_bind_int64(statement, 11, stride > 0 ? stride : 1);
    if (target->field != NULL) {
        bind_text(statement, 12, target->field);
    } else {
        sqlite3_bind_null(statement, 12);
    }
    return qn_store_run(store, statement, err);
}

static qn_status write_stratum(const qn_store *store, sqlite3_stmt *statement, int id, const qn_fault_space *space,
                               qn_error *err)
{
    const qn_fault_stratum *stratum = &space->strata[id];
    sqlite3_bind_int64(statement, 1, id);
    bind_text(statement, 2, space->spec->sets[stratum->set].name);
    bind_text(statement, 3, stratum->label);
    bind_known(statement, 4, stratum->population == INT64_MAX ? -1 : stratum->population);
    if (stratum->where >= 0) {
        bind_text(statement, 5, qn_fault_where_text((qn_fault_where)stratum->where));
    } else {
        sqlite3_bind_null(statement, 5);
    }
    if (stratum->layer != NULL) {
        bind_text(statement, 6, stratum->layer);
    } else {
        sqlite3_bind_null(statement, 6);
    }
    bind_known(statement, 7, stratum->bit);
    bind_known(statement, 8, stratum->channel);
    return qn_store_run(store, statement, err);
}

static qn_status write_image(const qn_store *store, sqlite3_stmt *statement, const qn_store_image *image, qn_error *err)
{
    sqlite3_bind_int64(statement, 1, image->id);
    sqlite3_bind_int64(statement, 2, image->top1);
    bind_known(statement, 3, image->label);
    sqlite3_bind_double(statement, 4, image->probability);
    bind_known(statement, 5, image->label < 0 ? -1 : image->top1 == image->label);
    bind_known(statement, 6, image->float_top1);
    sqlite3_bind_double(statement, 7, image->float_probability);
    bind_known(statement, 8, image->label < 0 || image->float_top1 < 0 ? -1 : image->float_top1 == image->label);
    sqlite3_bind_double(statement, 9, image->float_rmse);
    return qn_store_run(store, statement, err);
}

typedef qn_status (*write_fn)(const qn_store *store, sqlite3_stmt *statement, const qn_store_begin *begin, int64_t i,
                              qn_error *err);

static qn_status target_at(const qn_store *store, sqlite3_stmt *statement, const qn_store_begin *begin, int64_t i,
                           qn_error *err)
{
    return write_target(store, statement, (int)i, &begin->space->targets->list[i], err);
}

static qn_status stratum_at(const qn_store *store, sqlite3_stmt *statement, const qn_store_begin *begin, int64_t i,
                            qn_error *err)
{
    return write_stratum(store, statement, (int)i, begin->space, err);
}

static qn_status image_at(const qn_store *store, sqlite3_stmt *statement, const qn_store_begin *begin, int64_t i,
                          qn_error *err)
{
    return write_image(store, statement, &begin->images[i], err);
}

static qn_status write_all(const qn_store *store, const char *sql, const qn_store_begin *begin, int64_t n,
                           write_fn write, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    qn_status status = qn_store_prepare(store, &statement, sql, err);
    for (int64_t i = 0; status == QN_OK && i < n; i++) {
        status = write(store, statement, begin, i, err);
    }
    sqlite3_finalize(statement);
    return status;
}

qn_status qn_store_write_begin(qn_store *store, const qn_store_begin *begin, qn_error *err)
{
    QN_TRY(qn_store_write_about(store, begin->about, err));
    QN_TRY(write_all(store, "INSERT INTO targets VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", begin,
                     begin->space->targets->n, target_at, err));
    QN_TRY(write_all(store, "INSERT INTO strata VALUES(?, ?, ?, ?, ?, ?, ?, ?)", begin, begin->space->n_strata,
                     stratum_at, err));
    return write_all(store, "INSERT INTO images VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", begin, begin->n_images, image_at,
                     err);
}

static qn_status add_parts(qn_store *store, sqlite3_stmt *statement, const qn_store_part *parts, size_t n,
                           qn_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const int64_t values[] = {parts[i].first_id, parts[i].n, parts[i].round, parts[i].stratum, parts[i].first_draw};
        for (int c = 0; c < 5; c++) {
            sqlite3_bind_int64(statement, c + 1, values[c]);
        }
        QN_TRY(qn_store_run(store, statement, err));
        if (sqlite3_changes(store->db) == 0) {
            return qn_fail(err, QN_ECONFLICT, store->path,
                           "has other faults from number %" PRId64 " on than this run would draw; go on where it was "
                           "begun, or use another -o",
                           parts[i].first_id);
        }
    }
    return QN_OK;
}

qn_status qn_store_begin_pending(qn_store *store, qn_error *err)
{
    if (!store->pending) {
        QN_TRY(qn_store_exec(store, "BEGIN IMMEDIATE", "be written", err));
        store->pending = true;
        store->since = now_seconds();
    }
    return QN_OK;
}

void qn_store_abandon(qn_store *store)
{
    if (store->pending) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL); /* fails where SQLite has done so itself */
        store->pending = false;
    }
}

qn_status qn_store_flush(qn_store *store, bool all, qn_error *err)
{
    if (!store->pending || (!all && now_seconds() - store->since < FLUSH_SECONDS)) {
        return QN_OK;
    }
    const qn_status status = qn_store_exec(store, "COMMIT", "be written", err);
    if (status != QN_OK) {
        qn_store_abandon(store);
    }
    store->pending = false;
    return status;
}

qn_status qn_store_add_parts(qn_store *store, const qn_store_part *parts, size_t n, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    /* One that is there already must be the same: it changes, to what it is. */
    QN_TRY(qn_store_prepare(store, &statement,
                            "INSERT INTO parts VALUES(?, ?, ?, ?, ?) ON CONFLICT(first_id) DO UPDATE SET n = n "
                            "WHERE n = excluded.n AND round = excluded.round AND stratum = excluded.stratum AND "
                            "first_draw = excluded.first_draw",
                            err));
    qn_status status = qn_store_begin_pending(store, err);
    if (status == QN_OK) {
        status = add_parts(store, statement, parts, n, err);
    }
    sqlite3_finalize(statement);
    if (status != QN_OK) {
        qn_store_abandon(store);
    }
    return status;
}

/* Binding costs as much as writing: what did not change since the last row stays bound. */
static void bind_row(qn_store *store, const qn_fault_row *row)
{
    enum { REALS_FIRST = 12, REALS_LAST = 13 };
    const int64_t *c = row->counts, *e = row->ends;
    const int64_t values[QN_STORE_ROW_COLUMNS - 2] = {row->id,
                                                      row->stratum,
                                                      row->draw,
                                                      row->target,
                                                      row->element,
                                                      row->term,
                                                      row->mask,
                                                      row->n_changes,
                                                      row->first_image,
                                                      row->n_images,
                                                      row->before,
                                                      row->after,
                                                      0,
                                                      0,
                                                      row->pairs,
                                                      row->activated,
                                                      c[0],
                                                      c[1],
                                                      c[2],
                                                      c[3],
                                                      c[4],
                                                      c[5],
                                                      c[6],
                                                      c[7],
                                                      c[8],
                                                      c[9],
#define END_COUNT(name, value) e[value],
                                                      QN_FAULT_END_LIST(END_COUNT)
#undef END_COUNT
    };
    sqlite3_stmt *statement = store->add_fault;
    for (int i = 0; i < QN_STORE_ROW_COLUMNS - 2; i++) {
        if ((i < REALS_FIRST || i > REALS_LAST) && (!store->bound_valid || store->bound[i] != values[i])) {
            sqlite3_bind_int64(statement, i + 1, values[i]);
            store->bound[i] = values[i];
        }
    }
    sqlite3_bind_double(statement, REALS_FIRST + 1, row->value_before); /* NaN becomes NULL */
    sqlite3_bind_double(statement, REALS_LAST + 1, row->value_after);
    sqlite3_bind_double(statement, QN_STORE_ROW_COLUMNS - 1, row->rmse_sum);
    sqlite3_bind_double(statement, QN_STORE_ROW_COLUMNS, row->rmse_max);
    store->bound_valid = true;
}

static qn_status add_change(qn_store *store, const qn_store_change *kept, qn_error *err)
{
    const qn_fault_change *change = &kept->change;
    const int64_t values[] = {kept->fault,  kept->number,     change->target,  change->element,
                              change->term, change->and_mask, change->or_mask, change->xor_mask};
    for (int i = 0; i < 8; i++) {
        sqlite3_bind_int64(store->add_change, i + 1, values[i]);
    }
    sqlite3_bind_double(store->add_change, 9, change->add);
    return qn_store_run(store, store->add_change, err);
}

static qn_status add_pair(qn_store *store, const qn_fault_pair *pair, qn_error *err)
{
    const int64_t values[] = {pair->fault, pair->image, pair->flags, pair->end};
    for (int i = 0; i < 4; i++) {
        sqlite3_bind_int64(store->add_pair, i + 1, values[i]);
    }
    sqlite3_bind_double(store->add_pair, 5, pair->rmse);
    return qn_store_run(store, store->add_pair, err);
}

static qn_status add_rows(qn_store *store, const qn_store_block *block, qn_error *err)
{
    const int64_t values[] = {block->number, block->first_id, block->n, block->n_pairs, block->verified};
    for (int i = 0; i < 5; i++) {
        sqlite3_bind_int64(store->add_block, i + 1, values[i]);
    }
    sqlite3_bind_double(store->add_block, 6, block->seconds);
    QN_TRY(qn_store_run(store, store->add_block, err));
    for (int64_t i = 0; i < block->n; i++) {
        bind_row(store, &block->rows[i]);
        QN_TRY(qn_store_run(store, store->add_fault, err));
    }
    for (size_t i = 0; i < block->n_changes; i++) {
        QN_TRY(add_change(store, &block->changes[i], err));
    }
    for (size_t i = 0; i < block->n_kept_pairs; i++) {
        QN_TRY(add_pair(store, &block->pairs[i], err));
    }
    return QN_OK;
}

static qn_status prepare_adding(qn_store *store, qn_error *err)
{
    static const char faults[] =
        "INSERT INTO faults VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    if (store->add_block != NULL) {
        return QN_OK;
    }
    QN_TRY(qn_store_prepare(store, &store->add_fault, faults, err));
    QN_TRY(qn_store_prepare(store, &store->add_change, "INSERT INTO changes VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", err));
    QN_TRY(qn_store_prepare(store, &store->add_pair, "INSERT INTO pairs VALUES(?, ?, ?, ?, ?)", err));
    return qn_store_prepare(store, &store->add_block, "INSERT INTO blocks VALUES(?, ?, ?, ?, ?, ?)", err);
}

qn_status qn_store_add_block(qn_store *store, const qn_store_block *block, qn_error *err)
{
    QN_TRY(prepare_adding(store, err));
    QN_TRY(qn_store_begin_pending(store, err));
    const qn_status status = add_rows(store, block, err);
    if (status != QN_OK) {
        qn_store_abandon(store);
        return status;
    }
    return qn_store_flush(store, false, err);
}

qn_status qn_store_finish(qn_store *store, qn_error *err)
{
    QN_TRY(qn_store_begin_pending(store, err));
    qn_status status = qn_store_exec(store,
                                     "CREATE INDEX IF NOT EXISTS faults_by_target ON faults(target, element);"
                                     "UPDATE campaign SET complete = 1",
                                     "be written", err);
    if (status == QN_OK) {
        status = qn_store_flush(store, true, err);
    } else {
        qn_store_abandon(store);
    }
    store->about.complete = status == QN_OK;
    return status;
}
