/* Writing .npz archives: several named arrays in one file, as numpy.savez_compressed makes them. */
#ifndef QN_TENSOR_NPZ_WRITE_H
#define QN_TENSOR_NPZ_WRITE_H

#include "base/error.h"
#include "quern/tensor.h"

/* An archive under way, in memory. Begin; add; then write, which also ends it, or abandon. Members have a fixed date, so
 * that equal arrays make equal files. */
typedef struct qn_npz_out qn_npz_out;

/* Errors: QN_ENOMEM. *out is NULL unless QN_OK. */
qn_status qn_npz_begin(qn_npz_out **out, qn_error *err);
/* Members from now on are not compressed: then the archive is the same bytes whatever compresses. */
void qn_npz_store(qn_npz_out *out);
/* Add array `name`, copied; names contain no ".npy" and occur once. Errors: QN_EUNSUPPORTED (dtype), QN_EINVAL (name taken),
 * QN_ENOMEM. */
qn_status qn_npz_add(qn_npz_out *out, const char *name, const qn_tensor *t, qn_error *err);
/* Add an ASCII text as an array of rank 0, which numpy reads as a string. */
qn_status qn_npz_add_text(qn_npz_out *out, const char *name, const char *text, qn_error *err);
/* The file appears whole or not at all. Errors: QN_EEXIST unless `overwrite`; QN_EIO; QN_ENOMEM. `out` is gone after it. */
qn_status qn_npz_write(qn_npz_out *out, const char *path, bool overwrite, qn_error *err);
/* The archive's bytes instead, released with qn_free; `path` is for messages. `out` is gone after it. */
qn_status qn_npz_finish(qn_npz_out *out, void **data, size_t *n, const char *path, qn_error *err);
void qn_npz_abandon(qn_npz_out *out); /* NULL is allowed */

#endif
