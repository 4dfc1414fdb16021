/* Files: outputs appear whole or not at all; inputs are mapped or read with clear errors. */
#ifndef QN_BASE_FILE_H
#define QN_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A whole file, mapped read-only (MAP_PRIVATE). Empty files have size 0 and a non-NULL data. */
typedef struct qn_file_map {
    const unsigned char *data;
    size_t size;
    void *mapping; /* NULL when nothing is mapped */
} qn_file_map;

/* Errors: QN_EIO with the reason (missing, a directory, not readable); QN_EINVAL for an empty name. */
qn_status qn_file_map_open(qn_file_map *map, const char *path, qn_error *err);
void qn_file_map_close(qn_file_map *map);

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
/* SHA-256 of bytes as 64 hex digits and a 0. */
void qn_sha256_hex(char hex[QN_SHA256_HEX], const void *data, size_t n_bytes);

#endif
