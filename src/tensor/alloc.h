/* Tensors for results. */
#ifndef QN_TENSOR_ALLOC_H
#define QN_TENSOR_ALLOC_H

#include "base/error.h"
#include "quern/tensor.h"

/* qn_tensor_alloc, but the elements are not cleared: for callers that write every one of them. */
qn_status qn_tensor_alloc_uncleared(qn_tensor *t, qn_dtype dtype, int rank, const int64_t *dims, qn_error *err);

#endif
