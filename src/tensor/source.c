#include "tensor/source.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "tensor/spool.h"

enum { CHUNK = 64 * 1024 };

static qn_status open_file(qn_source *s, qn_error *err)
{
    struct stat info;
    s->stored_fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not block before it is refused */
    if (s->stored_fd < 0 || fstat(s->stored_fd, &info) != 0) {
        return qn_fail_errno(err, QN_EIO, errno, s->path, "cannot open");
    }
    if (!S_ISREG(info.st_mode)) {
        return qn_fail(err, QN_EIO, s->path, "%s, where a file is needed",
                       S_ISDIR(info.st_mode) ? "is a directory" : "is not a regular file");
    }
    return QN_OK;
}

static qn_status check_complete(const qn_source *s, qn_error *err)
{
    struct stat info;
    if (fstat(s->data_fd, &info) != 0) {
        return qn_fail_errno(err, QN_EIO, errno, s->path, "cannot read the file's size");
    }
    int64_t found = (int64_t)info.st_size - s->header.data_offset;
    if (found < s->header.n_bytes) {
        return qn_fail(err, QN_EFORMAT, s->path, "truncated: the array needs %lld bytes of data, %lld are there",
                       (long long)s->header.n_bytes, found < 0 ? 0LL : (long long)found);
    }
    return QN_OK;
}

static qn_status parse_head(qn_source *s, const unsigned char *head, size_t n_head, qn_error *err)
{
    if (qn_npy_recognize(head, n_head)) {
        return qn_npy_parse(&s->header, head, n_head, s->path, err);
    }
    return qn_fail(err, QN_EFORMAT, s->path, "not a known data file");
}

static qn_status open_plain(qn_source *s, const unsigned char *head, size_t n_head, qn_error *err)
{
    s->data_fd = s->stored_fd;
    QN_TRY(parse_head(s, head, n_head, err));
    return check_complete(s, err);
}

static qn_status identify(qn_source *s, unsigned char *head, qn_error *err)
{
    size_t n_head;
    QN_TRY(qn_read_at(s->stored_fd, head, QN_ARRAY_HEAD_MAX, 0, &n_head, s->path, err));
    return open_plain(s, head, n_head, err);
}

qn_status qn_source_open(qn_source *s, const char *path, qn_error *err)
{
    qn_source opened = {.stored_fd = -1, .data_fd = -1};
    size_t length = strlen(path);
    opened.path = qn_alloc(length + 1);
    unsigned char *head = qn_alloc(QN_ARRAY_HEAD_MAX);
    qn_status status = QN_OK;
    if (opened.path == NULL || head == NULL) {
        status = qn_fail_memory(err, path, QN_ARRAY_HEAD_MAX);
    } else {
        memcpy(opened.path, path, length);
        status = open_file(&opened, err);
    }
    if (status == QN_OK) {
        status = identify(&opened, head, err);
    }
    qn_free(head);
    if (status != QN_OK) {
        qn_source_close(&opened);
        return status;
    }
    *s = opened;
    return QN_OK;
}

void qn_source_close(qn_source *s)
{
    if (s->data_fd >= 0 && s->data_fd != s->stored_fd) {
        close(s->data_fd);
    }
    if (s->stored_fd >= 0) {
        close(s->stored_fd);
    }
    qn_free(s->path);
    *s = (qn_source){.stored_fd = -1, .data_fd = -1};
}

static void swap_bytes(unsigned char *data, size_t n, size_t size)
{
    for (unsigned char *elem = data; elem < data + n * size; elem += size) {
        for (size_t i = 0; i < size / 2; i++) {
            unsigned char byte = elem[i];
            elem[i] = elem[size - 1 - i];
            elem[size - 1 - i] = byte;
        }
    }
}

qn_status qn_source_read(const qn_source *s, int64_t first, int64_t n, void *data, qn_error *err)
{
    size_t size = qn_dtype_size(s->header.dtype), wanted = (size_t)n * size, got;
    int64_t offset = s->header.data_offset + first * (int64_t)size;
    QN_TRY(qn_read_at(s->data_fd, data, wanted, offset, &got, s->path, err));
    if (got < wanted) {
        return qn_fail(err, QN_EIO, s->path, "the file has become shorter while it was in use");
    }
    if (s->header.swapped) {
        swap_bytes(data, (size_t)n, size);
    }
    return QN_OK;
}

qn_status qn_source_sha256(const qn_source *s, char hex[QN_SHA256_HEX], qn_error *err)
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    unsigned char *chunk = qn_alloc(CHUNK);
    if (chunk == NULL) {
        return qn_fail_memory(err, s->path, CHUNK);
    }
    sha256_init(&hash);
    qn_status status = QN_OK;
    size_t got = CHUNK;
    for (int64_t offset = 0; status == QN_OK && got == CHUNK; offset += CHUNK) {
        status = qn_read_at(s->stored_fd, chunk, CHUNK, offset, &got, s->path, err);
        if (status == QN_OK) {
            sha256_update(&hash, got, chunk);
        }
    }
    qn_free(chunk);
    QN_TRY(status);
    sha256_digest(&hash, SHA256_DIGEST_SIZE, digest);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    return QN_OK;
}
