/* Stored elements as numbers. */
#ifndef QN_TENSOR_ELEMENT_H
#define QN_TENSOR_ELEMENT_H

#include "quern/tensor.h"

/* n elements in native byte order as doubles: exact, except that 64-bit integers beyond 2^53 are rounded to nearest
 * even. */
typedef void (*qn_widen_fn)(double *v, const void *elems, size_t n);

/* NULL for QN_DTYPE_NONE and unknown values. */
qn_widen_fn qn_widen(qn_dtype dtype);

#endif
