/* Merging: shards of a campaign into one store. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "fault/store_inside.h"

/* What a store to be merged is. */
typedef struct {
    int shard, n_shards;
    bool complete;
    const char *path;
} merged_shard;

static qn_status attach(const qn_store *output, const char *path, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    QN_TRY(qn_store_prepare(output, &statement, "ATTACH ? AS shard", err));
    char *name = qn_alloc(strlen(path) + 3);
    if (name == NULL) {
        sqlite3_finalize(statement);
        return qn_fail_memory(err, path, strlen(path));
    }
    snprintf(name, strlen(path) + 3, "%s%s", path[0] == '/' ? "" : "./", path);
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    qn_status status = qn_store_run(output, statement, err);
    sqlite3_finalize(statement);
    qn_free(name);
    return status;
}

/* The first block that two stores both have. */
static qn_status check_disjoint(const qn_store *output, const char *path, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool doubled;
    QN_TRY(qn_store_prepare(output, &statement,
                            "SELECT a.number, a.first_id, a.n FROM shard.blocks a JOIN main.blocks b USING (number) "
                            "LIMIT 1",
                            err));
    qn_status status = qn_store_step(output, statement, &doubled, err);
    if (status == QN_OK && doubled) {
        int64_t number = sqlite3_column_int64(statement, 0), first = sqlite3_column_int64(statement, 1);
        int64_t n = sqlite3_column_int64(statement, 2);
        status = qn_fail(err, QN_ECONFLICT, path,
                         "has faults %" PRId64 " to %" PRId64 " (block %" PRId64
                         "), which another of the stores has, too; give each shard once",
                         first, first + n - 1, number);
    }
    sqlite3_finalize(statement);
    return status;
}

static qn_status copy_rows(const qn_store *output, const char *path, qn_error *err)
{
    QN_TRY(check_disjoint(output, path, err));
    return qn_store_exec(output,
                         "INSERT INTO main.blocks SELECT * FROM shard.blocks ORDER BY number;"
                         "INSERT INTO main.faults SELECT * FROM shard.faults ORDER BY id;"
                         "INSERT INTO main.changes SELECT * FROM shard.changes ORDER BY fault, number;"
                         "INSERT INTO main.pairs SELECT * FROM shard.pairs ORDER BY fault, image;"
                         "INSERT OR IGNORE INTO main.parts SELECT * FROM shard.parts",
                         "be written", err);
}

static qn_status copy_shard(const qn_store *output, const char *path, qn_error *err)
{
    QN_TRY(attach(output, path, err));
    qn_status status = qn_store_exec(output, "BEGIN IMMEDIATE", "be written", err);
    if (status == QN_OK) {
        status = copy_rows(output, path, err);
        if (status == QN_OK) {
            status = qn_store_exec(output, "COMMIT", "be written", err);
        }
        if (status != QN_OK) {
            sqlite3_exec(output->db, "ROLLBACK", NULL, NULL, NULL);
        }
    }
    sqlite3_exec(output->db, "DETACH shard", NULL, NULL, NULL);
    return status;
}

/* Tables and all that is the same in every shard, from the first. */
static qn_status begin(const qn_store *output, const qn_store *first, qn_error *err)
{
    qn_store_about about = first->about;
    about.complete = false;
    about.shard = 0;
    QN_TRY(attach(output, first->path, err));
    qn_status status = qn_store_exec(output, "PRAGMA page_size = 16384; BEGIN IMMEDIATE", "be written", err);
    if (status == QN_OK) {
        status = qn_store_make_tables(output, err);
    }
    if (status == QN_OK) {
        status = qn_store_write_about(output, &about, err);
    }
    if (status == QN_OK) {
        status = qn_store_exec(output,
                               "INSERT INTO main.targets SELECT * FROM shard.targets;"
                               "INSERT INTO main.strata SELECT * FROM shard.strata;"
                               "INSERT INTO main.images SELECT * FROM shard.images; COMMIT",
                               "be written", err);
    }
    if (status != QN_OK) {
        sqlite3_exec(output->db, "ROLLBACK", NULL, NULL, NULL);
    }
    sqlite3_exec(output->db, "DETACH shard", NULL, NULL, NULL);
    return status;
}

/* All faults that the parts speak of are there. */
static qn_status is_whole(const qn_store *output, bool *whole, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool more = false;
    QN_TRY(qn_store_prepare(output, &statement, "SELECT (SELECT total(n) FROM blocks) = (SELECT total(n) FROM parts)",
                            err));
    qn_status status = qn_store_step(output, statement, &more, err);
    *whole = more && sqlite3_column_int(statement, 0) != 0;
    sqlite3_finalize(statement);
    return status;
}

/* "2/4 missing, 3/4 not complete (c.db)"; shard 0: of stores merged before, whose shards are not known one by one. */
static char *missing_text(const merged_shard *shards, size_t n, bool whole, qn_error *err)
{
    int n_shards = shards[0].n_shards;
    size_t size = 64 + (size_t)n_shards * 64, used = 0;
    bool merged_before = false;
    for (size_t i = 0; i < n; i++) {
        size += strlen(shards[i].path) + 64;
        merged_before = merged_before || shards[i].shard == 0;
    }
    char *text = malloc(size);
    if (text == NULL) {
        qn_fail_memory(err, NULL, size);
        return NULL;
    }
    text[0] = '\0';
    for (size_t i = 0; i < n && !whole; i++) {
        if (!shards[i].complete && shards[i].shard > 0) {
            used += (size_t)snprintf(text + used, size - used, "%sshard %d/%d is not complete (%s)",
                                     used > 0 ? ", " : "", shards[i].shard, n_shards, shards[i].path);
        }
    }
    for (int s = 1; s <= n_shards && !whole && !merged_before; s++) {
        bool have = false;
        for (size_t i = 0; i < n; i++) {
            have = have || shards[i].shard == s;
        }
        if (!have) {
            used += (size_t)snprintf(text + used, size - used, "%sshard %d/%d is missing", used > 0 ? ", " : "", s,
                                     n_shards);
        }
    }
    if (!whole && used == 0) {
        snprintf(text, size, "some of %d shards are missing", n_shards);
    }
    return text;
}

/* Before anything is written: all can be opened, and are of one campaign. */
static qn_status look_at(merged_shard *shards, const char *const *stores, size_t n, qn_error *err)
{
    qn_store *first;
    QN_TRY(qn_store_open(&first, stores[0], err));
    qn_status status = QN_OK;
    for (size_t i = 0; status == QN_OK && i < n; i++) {
        qn_store *store = NULL;
        status = qn_store_open(&store, stores[i], err);
        if (status == QN_OK) {
            char remedy[600];
            snprintf(remedy, sizeof remedy, "'there' is this, 'here' %.500s; merge shards of one campaign", stores[0]);
            status = qn_store_compare(stores[i], &store->about, &first->about, false, remedy, err);
            shards[i] = (merged_shard){store->about.shard, store->about.n_shards, store->about.complete, NULL};
        }
        for (size_t j = 0; status == QN_OK && j < i; j++) {
            if (shards[i].shard > 0 && shards[i].shard == shards[j].shard) {
                status = qn_fail(err, QN_ECONFLICT, stores[i], "is shard %d/%d, and so is %s; give each shard once",
                                 shards[i].shard, shards[i].n_shards, stores[j]);
            }
        }
        qn_store_close(store);
    }
    qn_store_close(first);
    return status;
}

static qn_status copy_all(qn_store *output, const char *const *stores, size_t n, bool *whole, qn_error *err)
{
    qn_store *first;
    QN_TRY(qn_store_open(&first, stores[0], err));
    qn_status status = begin(output, first, err);
    qn_store_close(first);
    for (size_t i = 0; status == QN_OK && i < n; i++) {
        status = copy_shard(output, stores[i], err);
    }
    if (status == QN_OK) {
        status = is_whole(output, whole, err);
    }
    return status == QN_OK && *whole ? qn_store_finish(output, err) : status;
}

static qn_status merge_into(const char *temporary, const char *const *stores, merged_shard *shards, size_t n,
                            char **missing, qn_error *err)
{
    qn_store *output;
    bool whole = false;
    QN_TRY(qn_store_handle(&output, temporary, true, err));
    /* The file is new and gets its name in the end: no journal is needed while it is made. */
    qn_status status = qn_store_exec(
        output, "PRAGMA journal_mode = OFF; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY", "be opened", err);
    if (status == QN_OK) {
        status = copy_all(output, stores, n, &whole, err);
    }
    qn_store_close(output);
    if (status == QN_OK && missing != NULL) {
        *missing = missing_text(shards, n, whole, err);
        status = *missing != NULL ? QN_OK : QN_ENOMEM;
    }
    return status;
}

qn_status qn_store_merge(const char *output, bool overwrite, const char *const *stores, size_t n_stores, char **missing,
                         qn_error *err)
{
    if (n_stores < 1) {
        return qn_fail(err, QN_EINVAL, output, "nothing to merge: give at least one store");
    }
    QN_TRY(qn_file_check_output(output, overwrite, err));
    merged_shard *shards = qn_alloc(n_stores * sizeof *shards);
    size_t size = strlen(output) + 32;
    char *temporary = qn_alloc(size);
    qn_status status = QN_OK;
    if (shards == NULL || temporary == NULL) {
        status = qn_fail_memory(err, output, size);
    }
    if (status == QN_OK) {
        snprintf(temporary, size, "%s.tmp.%ld", output, (long)getpid());
        status = look_at(shards, stores, n_stores, err);
    }
    if (status == QN_OK) {
        for (size_t i = 0; i < n_stores; i++) {
            shards[i].path = stores[i];
        }
        status = merge_into(temporary, stores, shards, n_stores, missing, err);
        if (status == QN_OK && rename(temporary, output) != 0) {
            status = qn_fail_errno(err, QN_EIO, errno, output, "cannot be put in place");
        }
        if (status != QN_OK) {
            unlink(temporary);
        }
    }
    qn_free(shards);
    qn_free(temporary);
    return status;
}
