/* Telling array files apart by content, bringing every kind to plain elements in C order, and reading those. */
#include "tensor/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "tensor/fortran.h"
#include "tensor/spool.h"
#include "tensor/tensor_proto.h"

enum { CHUNK = 64 * 1024 };

static const char accepted[] = "accepted are .npy, .npz, MNIST IDX (gzipped or not) and ONNX TensorProto .pb";

static bool starts_with(const unsigned char *head, size_t n_head, const char *magic, size_t n_magic)
{
    return n_head >= n_magic && memcmp(head, magic, n_magic) == 0;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t length = strlen(path), n = strlen(ending);
    return length >= n && strcmp(path + length - n, ending) == 0;
}

/* What the bytes look like, for a user who gave the wrong file. */
static const char *guess(const unsigned char *head, size_t n_head, const char *path)
{
    if (n_head == 0) {
        return "it is empty";
    }
    if (ends_with(path, ".onnx")) {
        return "it looks like an ONNX model";
    }
    for (size_t i = 0; i < n_head && i < 512; i++) {
        if (head[i] == 0x7F || (head[i] < 0x20 && (head[i] < '\t' || head[i] > '\r'))) {
            return "its contents are unknown";
        }
    }
    return "it looks like text";
}

static qn_status parse_head(qn_source *s, const unsigned char *head, size_t n_head, qn_error *err)
{
    if (qn_npy_recognize(head, n_head)) {
        return qn_npy_parse(&s->header, head, n_head, s->path, err);
    }
    if (qn_idx_recognize(head, n_head)) {
        return qn_idx_parse(&s->header, head, n_head, s->path, err);
    }
    return qn_fail(err, QN_EFORMAT, s->path, "not a data file: %s; %s", guess(head, n_head, s->path), accepted);
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

/* Replace data_fd by a new temporary file. */
static qn_status start_spool(qn_source *s, qn_error *err)
{
    int fd;
    QN_TRY(qn_spool_create(&fd, err));
    if (s->data_fd >= 0 && s->data_fd != s->stored_fd) {
        close(s->data_fd);
    }
    s->data_fd = fd;
    return QN_OK;
}

/* The file as far as the array goes, copied: it is going to be mapped, and nobody can shorten our copy. */
static qn_status copy_stored(qn_source *s, qn_error *err)
{
    unsigned char *chunk = qn_alloc(CHUNK);
    if (chunk == NULL) {
        return qn_fail_memory(err, s->path, CHUNK);
    }
    qn_status status = start_spool(s, err);
    int64_t end = s->header.data_offset + s->header.n_bytes;
    for (int64_t offset = 0; status == QN_OK && offset < end; offset += CHUNK) {
        size_t n = end - offset < CHUNK ? (size_t)(end - offset) : CHUNK;
        status = qn_file_read_exactly(s->stored_fd, chunk, n, offset, s->path, err);
        if (status == QN_OK) {
            status = qn_spool_write(s->data_fd, chunk, n, err);
        }
    }
    qn_free(chunk);
    return status;
}

static qn_status order_elements(qn_source *s, qn_error *err)
{
    if (s->data_fd == s->stored_fd) {
        QN_TRY(copy_stored(s, err));
    }
    int read_fd = dup(s->data_fd);
    if (read_fd < 0) {
        return qn_fail_errno(err, QN_EIO, errno, s->path, "cannot read");
    }
    qn_status status = start_spool(s, err);
    if (status == QN_OK) {
        status = qn_fortran_to_c(s->data_fd, read_fd, &s->header, s->path, err);
    }
    close(read_fd);
    s->header.fortran = false;
    s->header.data_offset = 0;
    return status;
}

/* Unpack as much of the stream as the array needs. */
static qn_status unpack(qn_source *s, qn_stream *stream, unsigned char *head, qn_error *err)
{
    size_t n_head, n_extra;
    QN_TRY(qn_stream_fill(stream, head, QN_ARRAY_HEAD_MAX, &n_head, err));
    QN_TRY(parse_head(s, head, n_head, err));
    QN_TRY(start_spool(s, err));
    QN_TRY(qn_spool_write(s->data_fd, head, n_head, err));
    QN_TRY(qn_spool_stream(s->data_fd, stream, s->header.data_offset + s->header.n_bytes - (int64_t)n_head, err));
    QN_TRY(qn_stream_fill(stream, head, 1, &n_extra, err)); /* at the stream's end, checksums are compared */
    if (n_extra > 0 || (int64_t)n_head > s->header.data_offset + s->header.n_bytes) {
        return qn_fail(err, QN_EFORMAT, s->path, "damaged: more data is there than the array's header says");
    }
    return QN_OK;
}

static qn_status open_tensor_proto(qn_source *s, const char *path, qn_error *err)
{
    qn_file_bytes file;
    QN_TRY(qn_file_read(&file, path, err));
    qn_tensor t;
    qn_status status = qn_tensor_from_pb_bytes(&t, file.data, file.size, path, err);
    qn_file_bytes_free(&file);
    QN_TRY(status);
    s->header = (qn_array_header){.dtype = t.dtype, .rank = t.rank, .n_bytes = (int64_t)qn_tensor_bytes(&t)};
    memcpy(s->header.dims, t.dims, sizeof t.dims);
    status = start_spool(s, err);
    if (status == QN_OK) {
        status = qn_spool_write(s->data_fd, t.data, qn_tensor_bytes(&t), err);
    }
    qn_tensor_free(&t);
    return status;
}

/* `path` is the file itself, `member` the name of an array in it or NULL. */
static qn_status open_contents(qn_source *s, const char *path, const char *member, unsigned char *head, qn_error *err)
{
    size_t n_head;
    QN_TRY(qn_file_read_at(s->stored_fd, head, QN_ARRAY_HEAD_MAX, 0, &n_head, s->path, err));
    bool gzip = starts_with(head, n_head, "\x1f\x8b", 2);
    bool zip = starts_with(head, n_head, "PK\3\4", 4) || starts_with(head, n_head, "PK\5\6", 4);
    if (member != NULL && !zip) {
        return qn_fail(err, QN_EINVAL, s->path, "only of an .npz archive can an array be chosen by name; %s is none",
                       path);
    }
    if (gzip || zip) {
        qn_stream stream;
        QN_TRY(gzip ? qn_stream_open_gzip(&stream, s->stored_fd, s->path, err)
                    : qn_stream_open_npz(&stream, s->stored_fd, member, s->path, err));
        qn_status status = unpack(s, &stream, head, err);
        stream.close(stream.state);
        QN_TRY(status);
    } else if (ends_with(path, ".pb") && !qn_npy_recognize(head, n_head) && !qn_idx_recognize(head, n_head)) {
        /* protobuf has no signature of its own */
        QN_TRY(open_tensor_proto(s, path, err));
    } else {
        s->data_fd = s->stored_fd;
        QN_TRY(parse_head(s, head, n_head, err));
    }
    QN_TRY(check_complete(s, err));
    return s->header.fortran ? order_elements(s, err) : QN_OK;
}

/* Split "file.npz:name" in place, unless a file has the whole as its name; returns the name or NULL. */
static const char *split_member(char *path)
{
    char *colon = strrchr(path, ':');
    if (colon == NULL || access(path, F_OK) == 0) {
        return NULL;
    }
    *colon = '\0';
    if (access(path, F_OK) == 0) {
        return colon + 1;
    }
    *colon = ':';
    return NULL;
}

static char *copy_text(const char *text)
{
    size_t length = strlen(text);
    char *copied = qn_alloc(length + 1);
    if (copied != NULL) {
        memcpy(copied, text, length);
    }
    return copied;
}

qn_status qn_source_open(qn_source *s, const char *path, qn_error *err)
{
    qn_source opened = {.path = copy_text(path), .stored_fd = -1, .data_fd = -1};
    char *file_path = copy_text(path);
    unsigned char *head = qn_alloc(QN_ARRAY_HEAD_MAX);
    qn_status status;
    if (opened.path == NULL || file_path == NULL || head == NULL) {
        status = qn_fail_memory(err, path, QN_ARRAY_HEAD_MAX);
    } else {
        const char *member = split_member(file_path);
        int64_t size;
        status = qn_file_open(&opened.stored_fd, &size, file_path, err);
        if (status == QN_OK) {
            status = open_contents(&opened, file_path, member, head, err);
        }
    }
    qn_free(head);
    qn_free(file_path);
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
    size_t size = qn_dtype_size(s->header.dtype), wanted = (size_t)n * size;
    int64_t offset = s->header.data_offset + first * (int64_t)size;
    QN_TRY(qn_file_read_exactly(s->data_fd, data, wanted, offset, s->path, err));
    if (s->header.swapped) {
        swap_bytes(data, (size_t)n, size);
    }
    return QN_OK;
}

qn_status qn_source_sha256(const qn_source *s, char hex[QN_SHA256_HEX], qn_error *err)
{
    struct sha256_ctx hash;
    unsigned char *chunk = qn_alloc(CHUNK);
    if (chunk == NULL) {
        return qn_fail_memory(err, s->path, CHUNK);
    }
    sha256_init(&hash);
    qn_status status = QN_OK;
    size_t got = CHUNK;
    for (int64_t offset = 0; status == QN_OK && got == CHUNK; offset += CHUNK) {
        status = qn_file_read_at(s->stored_fd, chunk, CHUNK, offset, &got, s->path, err);
        if (status == QN_OK) {
            sha256_update(&hash, got, chunk);
        }
    }
    qn_free(chunk);
    QN_TRY(status);
    qn_sha256_finish(hex, &hash);
    return QN_OK;
}
