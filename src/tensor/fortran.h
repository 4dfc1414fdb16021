/* Arrays in Fortran order (the first index varies fastest), rewritten in C order. */
#ifndef QN_TENSOR_FORTRAN_H
#define QN_TENSOR_FORTRAN_H

#include "tensor/npy.h"

/* Append the elements of the array that `h` describes in file `in_fd` to `out_fd`, in C order and with their bytes as
 * they are. `in_fd` is a temporary file of ours, for it is mapped meanwhile, and holds h->n_bytes at h->data_offset. */
qn_status qn_fortran_to_c(int out_fd, int in_fd, const qn_array_header *h, const char *where, qn_error *err);

#endif
