/* Directories of output: they appear whole or not at all. */
#ifndef QN_BASE_DIRECTORY_H
#define QN_BASE_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A directory under way: files go below "PATH.tmp.PID.N" beside it, which qn_directory_commit renames to PATH. Whoever
 * opens must commit or abandon. */
typedef struct qn_directory_out {
    char *path;
    char *temporary;
    bool overwrite;
    const char *mark; /* file that a directory to be replaced holds */
} qn_directory_out;

/* QN_EEXIST when `path` exists and `overwrite` is not set (checked again at commit); QN_EINVAL when it is not a
 * directory that holds the file `mark`, so that only what a former run made is replaced, or is an empty directory;
 * QN_EIO otherwise. */
qn_status qn_directory_create(qn_directory_out *out, const char *path, bool overwrite, const char *mark, qn_error *err);
/* Write a file; `name` is relative, with slashes, without "..": its folders are made. */
qn_status qn_directory_write(qn_directory_out *out, const char *name, const void *data, size_t n_bytes, qn_error *err);
/* A directory that is replaced is renamed first and removed last, so that PATH is one or the other. On failure nothing
 * of the new one stays and `out` is closed. */
qn_status qn_directory_commit(qn_directory_out *out, qn_error *err);
void qn_directory_abandon(qn_directory_out *out);

#endif
