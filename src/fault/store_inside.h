/* What the files of the store share. */
#ifndef QN_FAULT_STORE_INSIDE_H
#define QN_FAULT_STORE_INSIDE_H

#include <sqlite3.h>

#include "fault/store.h"

enum { QN_STORE_APPLICATION = 0x716E6643, QN_STORE_ROW_COLUMNS = 36 };

/*  lock_fd   -1 for readers
 *  arena     about and the lists
 *  add_*     prepared while a block is written */
struct qn_store {
    sqlite3 *db;
    char *path;
    int lock_fd;
    qn_arena arena;
    qn_store_about about;
    qn_store_target *targets;
    int n_targets; /* -1: not read yet */
    qn_store_stratum *strata;
    int n_strata;
    sqlite3_stmt *add_fault, *add_change, *add_pair, *add_block;
    int64_t bound[QN_STORE_ROW_COLUMNS]; /* what add_fault's integer parameters hold */
    bool bound_valid;
    bool pending; /* a transaction is open, since */
    double since; /* seconds */
};

/* Columns of `campaign` after id: T text, I integer, R real, in the order of the schema. The seed is written as text. */
#define QN_STORE_ABOUT_LIST(T, I, R)                                                                                   \
    T(tool)                                                                                                            \
    T(spec)                                                                                                            \
    T(engine)                                                                                                          \
    T(cpu)                                                                                                             \
    T(model_file)                                                                                                      \
    T(model_sha256)                                                                                                    \
    T(data_file)                                                                                                       \
    T(data_sha256)                                                                                                     \
    T(preprocess)                                                                                                      \
    T(labels_file)                                                                                                     \
    T(labels_sha256)                                                                                                   \
    T(float_file)                                                                                                      \
    T(float_sha256)                                                                                                    \
    T(golden_sha256)                                                                                                   \
    T(arguments)                                                                                                       \
    I(n_images)                                                                                                        \
    R(confidence)                                                                                                      \
    R(rmse_threshold)                                                                                                  \
    I(shard)                                                                                                           \
    I(n_shards)                                                                                                        \
    I(keep_pairs)                                                                                                      \
    I(block_pairs)                                                                                                     \
    I(complete)

/* An SQLite code as an error, with the remedy. `doing` ends the sentence "cannot ...". */
qn_status qn_store_fail(const qn_store *store, int code, const char *doing, qn_error *err);
qn_status qn_store_exec(const qn_store *store, const char *sql, const char *doing, qn_error *err);
qn_status qn_store_prepare(const qn_store *store, sqlite3_stmt **statement, const char *sql, qn_error *err);
/* Step to the next row; *more false at the end. */
qn_status qn_store_step(const qn_store *store, sqlite3_stmt *statement, bool *more, qn_error *err);
/* Run a statement that gives no rows, and make it ready for the next time. */
qn_status qn_store_run(const qn_store *store, sqlite3_stmt *statement, qn_error *err);
/* Text of a column, "" for NULL, in the arena. */
qn_status qn_store_text(qn_arena *arena, const char **text, sqlite3_stmt *statement, int column, qn_error *err);

/* A handle on `path`, opened but nothing read: `create` for what may not exist. */
qn_status qn_store_handle(qn_store **store, const char *path, bool create, qn_error *err);
/* Is this a campaign's store? *empty when it holds nothing at all, as one whose beginning was interrupted. */
qn_status qn_store_recognize(const qn_store *store, bool *empty, qn_error *err);
qn_status qn_store_read_about(qn_store *store, qn_error *err);
/* Be the only writer of the file until it is closed. Errors: QN_EIO naming the remedy. */
qn_status qn_store_lock(qn_store *store, qn_error *err);
/* Are both of the same campaign? QN_ECONFLICT says in what not. golden_sha256 of `here` may be NULL; shards are not compared unless
 * `shards`. */
qn_status qn_store_compare(const char *path, const qn_store_about *there, const qn_store_about *here, bool shards,
                           const char *remedy, qn_error *err);

/* Begin a transaction unless one is open. */
qn_status qn_store_begin_pending(qn_store *store, qn_error *err);
/* Give up what is pending. */
void qn_store_abandon(qn_store *store);

/* Tables, and the rows that do not change. */
qn_status qn_store_make_tables(const qn_store *store, qn_error *err);
qn_status qn_store_write_about(const qn_store *store, const qn_store_about *about, qn_error *err);
qn_status qn_store_write_begin(qn_store *store, const qn_store_begin *begin, qn_error *err);

#endif
