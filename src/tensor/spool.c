/* Temporary files and gzip. A short write or read is always an error or the end, never ignored. */
#include "tensor/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"

enum { CHUNK = 64 * 1024 };

qn_status qn_stream_fill(qn_stream *stream, void *data, size_t n, size_t *n_read, qn_error *err)
{
    size_t got = 1;
    for (*n_read = 0; *n_read < n && got > 0; *n_read += got) {
        QN_TRY(stream->read(stream->state, (char *)data + *n_read, n - *n_read, &got, stream->where, err));
    }
    return QN_OK;
}

static qn_status gzip_read(void *state, void *data, size_t n, size_t *n_read, const char *where, qn_error *err)
{
    gzFile file = state;
    int got = gzread(file, data, (unsigned)(n < CHUNK ? n : CHUNK));
    int code;
    const char *reason = gzerror(file, &code);
    if (got < 0 || code != Z_OK) {
        const char *name_end = strstr(reason, ">: "); /* zlib calls a descriptor "<fd:4>: " */
        return qn_fail(err, QN_EFORMAT, where, "damaged gzip data: %s",
                       code == Z_BUF_ERROR ? "the file is truncated"
                       : name_end != NULL  ? name_end + 3
                                           : reason);
    }
    *n_read = (size_t)got;
    return QN_OK;
}

static void gzip_close(void *state)
{
    gzclose_r(state);
}

qn_status qn_stream_open_gzip(qn_stream *stream, int fd, const char *where, qn_error *err)
{
    int own = dup(fd);
    if (own < 0) {
        return qn_fail_errno(err, QN_EIO, errno, where, "cannot read");
    }
    gzFile file = gzdopen(own, "rb");
    if (file == NULL) {
        close(own);
        return qn_fail_memory(err, where, CHUNK);
    }
    *stream = (qn_stream){.state = file, .where = where, .read = gzip_read, .close = gzip_close};
    return QN_OK;
}

qn_status qn_spool_create(int *fd, qn_error *err)
{
    const char *folder = getenv("TMPDIR");
    folder = folder != NULL && folder[0] != '\0' ? folder : "/tmp";
    size_t size = strlen(folder) + sizeof "/quern-XXXXXX";
    char *path = qn_alloc(size);
    if (path == NULL) {
        return qn_fail_memory(err, NULL, size);
    }
    snprintf(path, size, "%s/quern-XXXXXX", folder);
    *fd = mkstemp(path);
    if (*fd < 0) {
        qn_fail_errno(err, QN_EIO, errno, folder, "cannot create a temporary file (TMPDIR names another folder)");
    } else {
        fcntl(*fd, F_SETFD, FD_CLOEXEC);
        unlink(path);
    }
    qn_free(path);
    return *fd < 0 ? QN_EIO : QN_OK;
}

qn_status qn_spool_write(int fd, const void *data, size_t n, qn_error *err)
{
    const char *next = data;
    while (n > 0) {
        ssize_t written = write(fd, next, n);
        if (written < 0 && errno != EINTR) {
            return qn_fail_errno(err, QN_EIO, errno, NULL,
                                 "cannot write a temporary file (TMPDIR names another folder)");
        }
        if (written > 0) {
            next += written;
            n -= (size_t)written;
        }
    }
    return QN_OK;
}

qn_status qn_spool_stream(int fd, qn_stream *stream, int64_t n, qn_error *err)
{
    char *chunk = qn_alloc(CHUNK);
    if (chunk == NULL) {
        return qn_fail_memory(err, stream->where, CHUNK);
    }
    qn_status status = QN_OK;
    size_t got = 1;
    while (status == QN_OK && n > 0 && got > 0) {
        status = stream->read(stream->state, chunk, n < CHUNK ? (size_t)n : CHUNK, &got, stream->where, err);
        if (status == QN_OK) {
            status = qn_spool_write(fd, chunk, got, err);
            n -= (int64_t)got;
        }
    }
    qn_free(chunk);
    return status;
}
