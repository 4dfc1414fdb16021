/* An open array file: its header, and its elements by index.
 *
 * Elements are read with pread rather than through a mapping: memory does not grow with the file, several threads may
 * read at once, and a file that shrinks meanwhile gives an error instead of a signal. Compressed files and arrays in
 * Fortran order are rewritten once, when opened, to an unlinked temporary file (in $TMPDIR, else /tmp). */
#ifndef QN_TENSOR_SOURCE_H
#define QN_TENSOR_SOURCE_H

#include "base/file.h"
#include "tensor/npy.h"

typedef struct qn_source {
    qn_array_header header; /* of the elements as read below: header.fortran is always false */
    char *path;             /* as the user wrote it, for messages; owned */
    int stored_fd;          /* the file itself */
    int data_fd;            /* where the elements are: stored_fd, or the temporary file */
} qn_source;

/* Open any file that qn_tensor_read takes. On success `s` must be closed. Errors: as qn_tensor_read. */
qn_status qn_source_open(qn_source *s, const char *path, qn_error *err);
void qn_source_close(qn_source *s);

/* Elements first..first+n-1 in C order and native byte order; n elements of header.dtype fit into `data`. Thread safe.
 * Errors: QN_EIO. */
qn_status qn_source_read(const qn_source *s, int64_t first, int64_t n, void *data, qn_error *err);

/* SHA-256 of the whole file as stored. Thread safe. Errors: QN_EIO. */
qn_status qn_source_sha256(const qn_source *s, char hex[QN_SHA256_HEX], qn_error *err);

#endif
