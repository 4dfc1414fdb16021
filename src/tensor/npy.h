/* The tensor room: dense tensors, the files that hold them, and data sets streamed from such files.
 *
 * A file is told apart by its first bytes (source.c), its header is parsed into a qn_array_header (npy.c, idx.c), and
 * elements are then read by index (qn_source_read). Files come from outside: every size is checked before it is used.
 * Parsers are reentrant and keep nothing. */
#ifndef QN_TENSOR_NPY_H
#define QN_TENSOR_NPY_H

#include "base/error.h"
#include "quern/tensor.h"

/* Where and how an array's elements are stored in a file. */
typedef struct qn_array_header {
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK];
    bool swapped;        /* the bytes of an element are in the order that this machine does not use */
    bool fortran;        /* the first index varies fastest */
    int64_t data_offset; /* bytes before the first element */
    int64_t n_bytes;     /* of all elements */
} qn_array_header;

/* Enough of a file for every header that is accepted. */
enum { QN_ARRAY_HEAD_MAX = 128 * 1024 };

bool qn_npy_recognize(const unsigned char *head, size_t n_head);
bool qn_idx_recognize(const unsigned char *head, size_t n_head);

/* Parse the header at the start of a file.
 *  head    the first n_head bytes: QN_ARRAY_HEAD_MAX of them, or the whole file when it is shorter
 *  where   the file, for messages
 * Errors: QN_EFORMAT (malformed, truncated), QN_EUNSUPPORTED (element type, version), QN_ELIMIT (rank, sizes). */
qn_status qn_npy_parse(qn_array_header *h, const unsigned char *head, size_t n_head, const char *where, qn_error *err);
qn_status qn_idx_parse(qn_array_header *h, const unsigned char *head, size_t n_head, const char *where, qn_error *err);

/* Set n_bytes from dtype and dims. */
qn_status qn_array_header_size(qn_array_header *h, const char *where, qn_error *err);

#endif
