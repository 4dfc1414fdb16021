#define _GNU_SOURCE /* renameat2, where there is one */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* The system's reason, "no such file", would come without a name. */
static qn_status check_named(const char *path, qn_error *err)
{
    return path[0] != '\0' ? QN_OK : qn_fail(err, QN_EINVAL, "''", "is not the name of a file");
}

char *qn_file_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *directory = qn_alloc((length > 0 ? length : 1) + 1);
    if (directory != NULL) {
        memcpy(directory, length > 0 ? path : ".", length > 0 ? length : 1);
    }
    return directory;
}

/* New files are made in the directory of `path`, also to replace an old one. */
static qn_status check_directory(const char *path, qn_error *err)
{
    char *directory = qn_file_directory(path);
    if (directory == NULL) {
        return qn_fail_memory(err, path, strlen(path));
    }
    struct stat info;
    int failed = stat(directory, &info);
    if (failed == 0 && !S_ISDIR(info.st_mode)) {
        failed = -1;
        errno = ENOTDIR;
    }
    if (failed == 0) {
        failed = access(directory, W_OK | X_OK);
    }
    int reason = errno;
    qn_free(directory);
    return failed == 0 ? QN_OK : qn_fail_errno(err, QN_EIO, reason, path, "cannot create");
}

static qn_status fail_exists(const char *path, qn_error *err)
{
    return qn_fail(err, QN_EEXIST, path, "already exists");
}

qn_status qn_file_check_output(const char *path, bool overwrite, qn_error *err)
{
    QN_TRY(check_named(path, err));
    struct stat info;
    if (stat(path, &info) == 0) {
        if (!S_ISREG(info.st_mode)) { /* renaming over a device would replace it */
            return qn_fail(err, QN_EIO, path, "%s, where an output file is needed",
                           S_ISDIR(info.st_mode) ? "is a directory" : "is not a regular file");
        }
        if (!overwrite) {
            return fail_exists(path, err);
        }
    } else if (!overwrite && lstat(path, &info) == 0) { /* a link to nothing is something, too */
        return fail_exists(path, err);
    }
    return check_directory(path, err);
}

static void release(qn_file_out *out)
{
    if (out->fd >= 0) {
        close(out->fd);
    }
    if (out->temporary != NULL) {
        unlink(out->temporary);
    }
    qn_free(out->path);
    qn_free(out->temporary);
    *out = (qn_file_out){.fd = -1};
}

/* Not mkstemp: its mode is 0600 and a program cannot read its umask without changing it. */
static int create_beside(const char *path, char *temporary, size_t size)
{
    static _Atomic unsigned counter;
    enum { MOST = 200 }; /* bytes of the name that are kept: with the suffix they fit NAME_MAX */
    const char *slash = strrchr(path, '/');
    size_t directory = slash != NULL ? (size_t)(slash + 1 - path) : 0, length = strlen(path);
    length = length - directory > MOST ? directory + MOST : length;
    for (int attempt = 0; attempt < 100; attempt++) {
        snprintf(temporary, size, "%.*s.tmp.%ld.%u", (int)length, path, (long)getpid(), counter++);
        int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) {
            return fd;
        }
    }
    return -1;
}

qn_status qn_file_create(qn_file_out *out, const char *path, bool overwrite, qn_error *err)
{
    *out = (qn_file_out){.fd = -1, .overwrite = overwrite};
    QN_TRY(qn_file_check_output(path, overwrite, err));
    size_t length = strlen(path), temporary_size = length + 48;
    out->path = qn_alloc(length + 1);
    char *temporary = qn_alloc(temporary_size);
    if (out->path == NULL || temporary == NULL) {
        qn_free(temporary);
        release(out);
        return qn_fail_memory(err, path, length);
    }
    memcpy(out->path, path, length);
    out->fd = create_beside(path, temporary, temporary_size);
    if (out->fd < 0) {
        int reason = errno;
        qn_free(temporary);
        release(out);
        return qn_fail_errno(err, QN_EIO, reason, path, "cannot create");
    }
    out->temporary = temporary;
    return QN_OK;
}

qn_status qn_file_write(qn_file_out *out, const void *data, size_t n_bytes, qn_error *err)
{
    const unsigned char *next = data;
    while (n_bytes > 0) {
        ssize_t written = write(out->fd, next, n_bytes);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return qn_fail_errno(err, QN_EIO, errno, out->path, "cannot write");
        }
        next += written;
        n_bytes -= (size_t)written;
    }
    return QN_OK;
}

/* Give a file a second name, or its only one, unless that exists: 0, or -1 with errno EEXIST. Other errors tell of
 * systems and file systems that lack it. */
static int rename_to_new(const char *from, const char *to)
{
#ifdef RENAME_NOREPLACE
    int failed = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (failed == 0 || errno == EEXIST) {
        return failed;
    }
#endif
    return link(from, to);
}

/* rename() alone would replace what another program has put there since we looked. It is left for file systems that
 * know nothing better, where that is still looked for once more. release() removes the temporary name if it is left. */
static qn_status put_in_place(qn_file_out *out, qn_error *err)
{
    if (!out->overwrite) {
        if (rename_to_new(out->temporary, out->path) == 0) {
            return QN_OK;
        }
        if (errno == EEXIST) {
            return fail_exists(out->path, err);
        }
        QN_TRY(qn_file_check_output(out->path, false, err));
    }
    if (rename(out->temporary, out->path) != 0) {
        return qn_fail_errno(err, QN_EIO, errno, out->path, "cannot finish writing");
    }
    return QN_OK;
}

qn_status qn_file_commit(qn_file_out *out, qn_error *err)
{
    qn_status status = qn_file_check_output(out->path, out->overwrite, err);
    if (status == QN_OK) {
        int failed = close(out->fd);
        out->fd = -1;
        status = failed != 0 ? qn_fail_errno(err, QN_EIO, errno, out->path, "cannot finish writing")
                             : put_in_place(out, err);
    }
    release(out);
    return status;
}

void qn_file_abandon(qn_file_out *out)
{
    release(out);
}

qn_status qn_file_write_all(const char *path, bool overwrite, const void *data, size_t n_bytes, qn_error *err)
{
    qn_file_out out;
    QN_TRY(qn_file_create(&out, path, overwrite, err));
    qn_status status = qn_file_write(&out, data, n_bytes, err);
    if (status != QN_OK) {
        qn_file_abandon(&out);
        return status;
    }
    return qn_file_commit(&out, err);
}

void qn_sha256_finish(char hex[QN_SHA256_HEX], struct sha256_ctx *hash)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, SHA256_DIGEST_SIZE, digest);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

void qn_sha256_hex(char hex[QN_SHA256_HEX], const void *data, size_t n_bytes)
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, n_bytes, data);
    qn_sha256_finish(hex, &hash);
}
