/* Files: outputs appear whole or not at all; inputs are read with clear errors. */
#ifndef QN_BASE_FILE_H
#define QN_BASE_FILE_H

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Open a regular file for reading; *fd is -1 unless QN_OK, and to be closed by the caller then.
 * Errors: QN_EIO with the reason (missing, a directory, not readable); QN_EINVAL for an empty name. */
qn_status qn_file_open(int *fd, int64_t *size, const char *path, qn_error *err);
/* Read n bytes at `offset`; fewer only at the end of the file. */
qn_status qn_file_read_at(int fd, void *data, size_t n, int64_t offset, size_t *n_read, const char *where,
                          qn_error *err);
/* The same, where fewer are an error: the file was found long enough before. */
qn_status qn_file_read_exactly(int fd, void *data, size_t n, int64_t offset, const char *where, qn_error *err);

/* A whole file in memory of its own, whatever becomes of the file; for files that are parsed, not for data. The limit
 * is that of protobuf messages. An empty file has size 0 and data that is not NULL. */
typedef struct qn_file_bytes {
    unsigned char *data;
    size_t size;
} qn_file_bytes;
#define QN_FILE_READ_MAX ((int64_t)INT32_MAX)

/* Errors: those of qn_file_open; QN_ELIMIT beyond QN_FILE_READ_MAX; QN_ENOMEM. */
qn_status qn_file_read(qn_file_bytes *bytes, const char *path, qn_error *err);
void qn_file_bytes_free(qn_file_bytes *bytes);

/* An output under way: bytes go to "PATH.tmp.PID.N" beside it (of a very long PATH the beginning), which qn_file_commit
 * renames to PATH. Whoever opens must commit or abandon. */
typedef struct qn_file_out {
    char *path;
    char *temporary;
    int fd;
    bool overwrite;
} qn_file_out;

/* QN_EEXIST when `path` exists, be it as a link to nothing, and `overwrite` is not set (checked again at commit);
 * QN_EIO otherwise. Where a link is overwritten, the new file takes its place, and what it led to stays as it is. */
qn_status qn_file_create(qn_file_out *out, const char *path, bool overwrite, qn_error *err);
qn_status qn_file_write(qn_file_out *out, const void *data, size_t n_bytes, qn_error *err);
/* On failure the temporary file is gone and `out` is closed. */
qn_status qn_file_commit(qn_file_out *out, qn_error *err);
void qn_file_abandon(qn_file_out *out);

/* Create, write all, commit. */
qn_status qn_file_write_all(const char *path, bool overwrite, const void *data, size_t n_bytes, qn_error *err);

/* Would qn_file_create succeed, as far as can be told without creating anything? To refuse before long work is done. */
qn_status qn_file_check_output(const char *path, bool overwrite, qn_error *err);

/* The directory part of a path, "." when there is none; released with qn_free. NULL when out of memory. */
char *qn_file_directory(const char *path);

enum { QN_SHA256_HEX = 65 };
/* The digest as 64 hex digits and a 0; the hash starts anew. */
void qn_sha256_finish(char hex[QN_SHA256_HEX], struct sha256_ctx *hash);
/* The same of n_bytes in memory. */
void qn_sha256_hex(char hex[QN_SHA256_HEX], const void *data, size_t n_bytes);

#endif
