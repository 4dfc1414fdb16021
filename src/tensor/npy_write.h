/* Headers of .npy files that are written. */
#ifndef QN_TENSOR_NPY_WRITE_H
#define QN_TENSOR_NPY_WRITE_H

#include "base/error.h"
#include "quern/tensor.h"

enum { QN_NPY_HEADER_MAX = 512 };

/* The whole header of version 1.0, magic included, *n bytes. QN_EUNSUPPORTED for element types numpy lacks. */
qn_status qn_npy_make_header(char header[QN_NPY_HEADER_MAX], size_t *n, const qn_tensor *t, const char *where,
                             qn_error *err);
/* The same for one text (rank 0) of UTF-32 characters in native byte order; returns its length. */
size_t qn_npy_make_text_header(char header[QN_NPY_HEADER_MAX], size_t n_characters);

#endif
