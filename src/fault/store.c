/* Opening, locking and recognizing stores, and what SQLite says in our words. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include "fault/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "fault/store_inside.h"

enum {
    OPEN_MS = 5000,               /* what is told of a lock at once is told before anything was worked for */
    BUSY_MS = 120000,             /* a reader may hold a store as long as one query takes */
    LOCK_BYTE = 0x40000000 + 4096 /* beyond the bytes from 0x40000000 on that SQLite locks */
};

/* Quotas and limits of file sizes fail writes, too, and SQLite does not always keep the system's reason. */
static bool is_full(int code)
{
    return (code & 0xFF) == SQLITE_FULL || code == SQLITE_IOERR_WRITE;
}

qn_status qn_store_fail(const qn_store *store, int code, const char *doing, qn_error *err)
{
    if (is_full(code)) {
        return qn_fail(
            err, QN_EIO, store->path,
            "cannot %s: no space left on the disk, or a quota or limit of file sizes is reached; the store is "
            "intact and keeps what was done so far: make room and run the same command again",
            doing);
    }
    switch (code & 0xFF) {
    case SQLITE_NOMEM:
        return qn_fail_memory(err, store->path, 0);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return qn_fail(err, QN_EIO, store->path,
                       "cannot %s: locked by another process; wait until it has ended, or use another -o", doing);
    case SQLITE_NOTADB:
        return qn_fail(
            err, QN_EFORMAT, store->path,
            "is not a campaign store; choose another file (or, to put a new store in its place, quern inject -f)");
    case SQLITE_CORRUPT:
        return qn_fail(err, QN_EFORMAT, store->path, "cannot %s: the store is damaged (%s)", doing,
                       sqlite3_errmsg(store->db));
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return qn_fail(err, QN_EIO, store->path,
                       "cannot %s: %s; the file and its directory must be writable (the journal lies beside the store)",
                       doing, sqlite3_errmsg(store->db));
    default:
        return qn_fail_errno(err, QN_EIO, sqlite3_system_errno(store->db), store->path, "cannot %s: %s", doing,
                             sqlite3_errmsg(store->db));
    }
}

qn_status qn_store_exec(const qn_store *store, const char *sql, const char *doing, qn_error *err)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? QN_OK : qn_store_fail(store, sqlite3_extended_errcode(store->db), doing, err);
}

qn_status qn_store_prepare(const qn_store *store, sqlite3_stmt **statement, const char *sql, qn_error *err)
{
    int code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
    return code == SQLITE_OK ? QN_OK : qn_store_fail(store, sqlite3_extended_errcode(store->db), "be read", err);
}

qn_status qn_store_step(const qn_store *store, sqlite3_stmt *statement, bool *more, qn_error *err)
{
    int code = sqlite3_step(statement);
    *more = code == SQLITE_ROW;
    return *more || code == SQLITE_DONE ? QN_OK
                                        : qn_store_fail(store, sqlite3_extended_errcode(store->db), "be read", err);
}

qn_status qn_store_run(const qn_store *store, sqlite3_stmt *statement, qn_error *err)
{
    int code = sqlite3_step(statement), extended = sqlite3_extended_errcode(store->db);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? QN_OK : qn_store_fail(store, extended, "be written", err);
}

qn_status qn_store_text(qn_arena *arena, const char **text, sqlite3_stmt *statement, int column, qn_error *err)
{
    const unsigned char *stored = sqlite3_column_text(statement, column);
    *text = qn_arena_bytes(arena, stored != NULL ? (const char *)stored : "",
                           stored != NULL ? (size_t)sqlite3_column_bytes(statement, column) : 0);
    return *text != NULL ? QN_OK : qn_fail_memory(err, NULL, 0);
}

qn_status qn_store_handle(qn_store **store, const char *path, bool create, qn_error *err)
{
    *store = NULL;
    if (path == NULL || path[0] == '\0') {
        return qn_fail(err, QN_EINVAL, NULL, "the name of the store is empty");
    }
    struct stat about;
    const bool found = stat(path, &about) == 0;
    if (found ? S_ISDIR(about.st_mode) : !create) {
        return qn_fail_errno(err, QN_EIO, found ? EISDIR : errno, path, "cannot be opened");
    }
    qn_store *made = qn_alloc(sizeof *made);
    char *name = qn_alloc(strlen(path) + 3);
    if (made == NULL || name == NULL) {
        qn_free(made);
        qn_free(name);
        return qn_fail_memory(err, path, sizeof *made);
    }
    /* Names like ":memory:" mean something to SQLite. */
    snprintf(name, strlen(path) + 3, "%s%s", path[0] == '/' ? "" : "./", path);
    *made = (qn_store){.path = name, .lock_fd = -1, .n_targets = -1, .n_strata = -1};
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(name, &made->db, flags, NULL);
    memmove(name, path, strlen(path) + 1); /* as the user wrote it, for messages */
    qn_status status = made->db == NULL    ? qn_fail_memory(err, path, 0)
                       : code != SQLITE_OK ? qn_store_fail(made, code, "be opened", err)
                                           : QN_OK;
    if (status != QN_OK) {
        qn_store_close(made);
        return status;
    }
    sqlite3_extended_result_codes(made->db, 1);
    sqlite3_busy_timeout(made->db, OPEN_MS);
    *store = made;
    return QN_OK;
}

void qn_store_close(qn_store *store)
{
    if (store == NULL) {
        return;
    }
    if (store->db != NULL) {
        (void)!qn_store_flush(store, true, NULL);
    }
    sqlite3_finalize(store->add_fault);
    sqlite3_finalize(store->add_change);
    sqlite3_finalize(store->add_pair);
    sqlite3_finalize(store->add_block);
    sqlite3_close(store->db);
    if (store->lock_fd >= 0) { /* last: closing any descriptor of the file drops SQLite's own locks */
        close(store->lock_fd);
    }
    qn_arena_free(&store->arena);
    qn_free(store->path);
    qn_free(store);
}

qn_status qn_store_lock(qn_store *store, qn_error *err)
{
    store->lock_fd = open(store->path, O_RDWR | O_CLOEXEC);
    if (store->lock_fd < 0) {
        return qn_fail_errno(err, QN_EIO, errno, store->path,
                             "cannot be written; choose another -o, or make the file writable");
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_BYTE, .l_len = 1};
    if (fcntl(store->lock_fd, F_OFD_SETLK, &lock) == 0) {
        return QN_OK;
    }
    if (errno == EAGAIN || errno == EACCES) {
        return qn_fail(err, QN_EIO, store->path,
                       "is locked: another quern is writing this store; wait until it has ended, or use another -o");
    }
    return qn_fail_errno(err, QN_EIO, errno, store->path, "cannot be locked; use an -o on another file system");
}

static qn_status pragma(const qn_store *store, const char *sql, int64_t *value, qn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool more = false;
    qn_status status = qn_store_prepare(store, &statement, sql, err);
    if (status == QN_OK) {
        status = qn_store_step(store, statement, &more, err);
    }
    *value = more ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return status;
}

qn_status qn_store_recognize(const qn_store *store, bool *empty, qn_error *err)
{
    int64_t tables, application, version;
    /* The first read also rolls back what a killed writer left half done. */
    QN_TRY(pragma(store, "SELECT count(*) FROM sqlite_schema", &tables, err));
    QN_TRY(pragma(store, "PRAGMA application_id", &application, err));
    QN_TRY(pragma(store, "PRAGMA user_version", &version, err));
    *empty = tables == 0 && application == 0 && version == 0;
    if (*empty) {
        return QN_OK;
    }
    if (application != QN_STORE_APPLICATION) {
        return qn_fail(
            err, QN_EFORMAT, store->path,
            "is an SQLite file, but not a campaign store; choose another file (or, to put a new store in its place, "
            "quern inject -f)");
    }
    if (version != QN_STORE_SCHEMA) {
        return qn_fail(err, QN_EUNSUPPORTED, store->path,
                       "is a campaign store of schema version %lld, this quern (%s) has version %d; use the quern that "
                       "made it, or start anew (quern inject with another -o, or with -f)",
                       (long long)version, qn_version(), QN_STORE_SCHEMA);
    }
    return QN_OK;
}

static qn_status read_about(qn_store *store, sqlite3_stmt *statement, qn_error *err)
{
    qn_store_about *about = &store->about;
    bool more;
    QN_TRY(qn_store_step(store, statement, &more, err));
    if (!more) {
        return qn_fail(err, QN_EFORMAT, store->path, "the store is damaged: it says nothing about its campaign");
    }
    const char *seed;
    QN_TRY(qn_store_text(&store->arena, &seed, statement, 0, err));
    if (sscanf(seed, "%" SCNu64, &about->seed) != 1) {
        return qn_fail(err, QN_EFORMAT, store->path, "the store is damaged: its seed is '%s'", seed);
    }
    int column = 1;
#define READ_TEXT(name) QN_TRY(qn_store_text(&store->arena, &about->name, statement, column++, err));
#define READ_INT(name)  about->name = sqlite3_column_int64(statement, column++);
#define READ_REAL(name) about->name = sqlite3_column_double(statement, column++);
    QN_STORE_ABOUT_LIST(READ_TEXT, READ_INT, READ_REAL)
#undef READ_TEXT
#undef READ_INT
#undef READ_REAL
    return QN_OK;
}

qn_status qn_store_read_about(qn_store *store, qn_error *err)
{
#define COLUMN(name) ", " #name
    static const char sql[] = "SELECT seed" QN_STORE_ABOUT_LIST(COLUMN, COLUMN, COLUMN) " FROM campaign";
#undef COLUMN
    sqlite3_stmt *statement = NULL;
    qn_status status = qn_store_prepare(store, &statement, sql, err);
    if (status == QN_OK) {
        status = read_about(store, statement, err);
    }
    sqlite3_finalize(statement);
    return status;
}

static qn_status open_recognized(qn_store *store, qn_error *err)
{
    bool empty;
    QN_TRY(qn_store_recognize(store, &empty, err));
    if (empty) {
        return qn_fail(err, QN_EFORMAT, store->path, "is not a campaign store: it is empty");
    }
    QN_TRY(qn_store_read_about(store, err));
    return qn_store_exec(store, "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536", "be read", err);
}

qn_status qn_store_open(qn_store **store, const char *path, qn_error *err)
{
    QN_TRY(qn_store_handle(store, path, false, err));
    qn_status status = open_recognized(*store, err);
    if (status != QN_OK) {
        qn_store_close(*store);
        *store = NULL;
    }
    return status;
}

const qn_store_about *qn_store_about_of(const qn_store *store)
{
    return &store->about;
}

const char *qn_store_path(const qn_store *store)
{
    return store->path;
}

static qn_status check_existing(qn_store *store, const qn_store_about *about, bool *empty, qn_error *err)
{
    QN_TRY(qn_store_recognize(store, empty, err));
    if (*empty) {
        return QN_OK;
    }
    QN_TRY(qn_store_read_about(store, err));
    return qn_store_compare(store->path, &store->about, about, true, "use another -o, or -f to start anew", err);
}

qn_status qn_store_check(const char *path, bool overwrite, const qn_store_about *about, qn_error *err)
{
    struct stat file;
    if (overwrite || stat(path, &file) != 0 || file.st_size == 0) {
        return qn_file_check_output(path, true, err);
    }
    qn_store *store;
    bool empty;
    QN_TRY(qn_store_handle(&store, path, false, err));
    qn_status status = qn_store_lock(store, err);
    if (status == QN_OK) {
        status = check_existing(store, about, &empty, err);
    }
    qn_store_close(store);
    return status;
}

/* With the lock held nobody else is writing what is about to go. */
static qn_status remove_old(const char *path, qn_error *err)
{
    struct stat file;
    if (lstat(path, &file) != 0) {
        return QN_OK;
    }
    qn_store *old;
    QN_TRY(qn_store_handle(&old, path, true, err));
    qn_status status = qn_store_lock(old, err);
    char journal[4096];
    int length = snprintf(journal, sizeof journal, "%s-journal", path);
    if (status == QN_OK && length < (int)sizeof journal) {
        unlink(journal); /* first: a journal without its file would be applied to the next of that name */
    }
    if (status == QN_OK && unlink(path) != 0) {
        status = qn_fail_errno(err, QN_EIO, errno, path, "cannot be replaced");
    }
    qn_store_close(old);
    return status;
}

static qn_status begin_new(qn_store *store, const qn_store_begin *begin, qn_error *err)
{
    /* Larger pages hold more rows for each entry of the journal; they count from the first table on. */
    QN_TRY(qn_store_exec(store, "PRAGMA page_size = 16384", "be written", err));
    QN_TRY(qn_store_begin_pending(store, err));
    qn_status status = qn_store_make_tables(store, err);
    if (status == QN_OK) {
        status = qn_store_write_begin(store, begin, err);
    }
    if (status != QN_OK) {
        qn_store_abandon(store);
    }
    return status;
}

static qn_status create(qn_store *store, const qn_store_begin *begin, bool *empty, qn_error *err)
{
    QN_TRY(check_existing(store, begin->about, empty, err));
    QN_TRY(qn_store_exec(store, "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY; PRAGMA journal_mode = DELETE",
                         "be opened", err));
    if (*empty) {
        QN_TRY(begin_new(store, begin, err));
        return qn_store_read_about(store, err);
    }
    return QN_OK;
}

qn_status qn_store_create(qn_store **store, const char *path, bool overwrite, const qn_store_begin *begin,
                          bool *resumed, qn_error *err)
{
    *store = NULL;
    if (overwrite) {
        QN_TRY(remove_old(path, err));
    }
    struct stat file;
    bool existed = stat(path, &file) == 0, empty = true, locked = false;
    if (!existed) {
        /* SQLite makes the file at the first write only, but it is to be locked before. */
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) {
            return qn_fail_errno(err, QN_EIO, errno, path, "cannot be created");
        }
        close(fd);
    }
    qn_status status = qn_store_handle(store, path, true, err);
    if (status == QN_OK) {
        status = qn_store_lock(*store, err);
        locked = status == QN_OK;
    }
    if (status == QN_OK) {
        status = create(*store, begin, &empty, err);
    }
    *resumed = !empty;
    if (status == QN_OK) {
        sqlite3_busy_timeout((*store)->db, BUSY_MS);
    }
    if (status != QN_OK) {
        if (!existed && locked && empty) { /* else another has begun its own there meanwhile */
            unlink(path);
        }
        qn_store_close(*store);
        *store = NULL;
    }
    return status;
}
