/* Temporary files, and bytes that can only be read forward (inside gzip and zip files). */
#ifndef QN_TENSOR_SPOOL_H
#define QN_TENSOR_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Bytes in sequence. `read` gives up to n bytes, 0 at the end; `close` releases the state and may be called once. */
typedef struct qn_stream {
    void *state;
    const char *where; /* the file, for messages */
    qn_status (*read)(void *state, void *data, size_t n, size_t *n_read, const char *where, qn_error *err);
    void (*close)(void *state);
} qn_stream;

/* Fill `data` unless the stream ends before. */
qn_status qn_stream_fill(qn_stream *stream, void *data, size_t n, size_t *n_read, qn_error *err);
/* gzip from the start of the file; the descriptor is not taken over. */
qn_status qn_stream_open_gzip(qn_stream *stream, int fd, const char *where, qn_error *err);

/* The array `name` of an .npz, its only one when `name` is NULL; the descriptor is not taken over. Errors: QN_EINVAL
 * (no such name, or none given where several are), QN_EFORMAT, QN_EIO, QN_ENOMEM. */
qn_status qn_stream_open_npz(qn_stream *stream, int fd, const char *name, const char *where, qn_error *err);

/* Create an unlinked file in $TMPDIR, else /tmp; the caller closes it. */
qn_status qn_spool_create(int *fd, qn_error *err);
/* Append. */
qn_status qn_spool_write(int fd, const void *data, size_t n, qn_error *err);
/* Append up to n bytes of the stream. */
qn_status qn_spool_stream(int fd, qn_stream *stream, int64_t n, qn_error *err);

#endif
