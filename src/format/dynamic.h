/* Dynamic quantization: parameters fitted to the values that they then quantize, without allocation.
 *
 * What qn_fit (with the format's own rule) and qn_fake_quantize give for the same tensor, bit for bit; NaN counts as 0 in
 * the fit and infinities do not count, and both are then encoded as the format says. A qn_dynamic is plain data, made
 * once for a shape and shared by threads; scratch is one thread's. */
#ifndef QN_FORMAT_DYNAMIC_H
#define QN_FORMAT_DYNAMIC_H

#include "base/error.h"
#include "format/extent.h"
#include "format/kernel.h"
#include "quern/codes.h"

enum { QN_DYNAMIC_LEAST = -150, QN_DYNAMIC_EXPONENTS = 128 - QN_DYNAMIC_LEAST };

typedef struct qn_dynamic {
    qn_quantizer quantizer; /* format and granularity; n is the number of sets, the arrays are NULL */
    int rank;
    int64_t dims[QN_MAX_RANK], n_elems;
    bool of_range; /* a set's parameters follow from its least and greatest value */
    qn_format_kernel kernel;
    qn_extent_fn widen;
    qn_columns_fn widen_columns;
    /* Where blocks of consecutive elements share exponents that follow from those of f32: bias_of[e - QN_DYNAMIC_LEAST] for
     * the exponent e of the greatest magnitude, which of zeros counts as QN_DYNAMIC_LEAST. */
    qn_magnitudes_fn magnitudes;
    bool by_exponent;
    int32_t bias_of[QN_DYNAMIC_EXPONENTS];
    size_t n_bytes; /* of scratch, which is aligned for pointers and doubles */
} qn_dynamic;

/* For tensors of this shape. The quantizer is dynamic and has passed qn_quantizer_check. Errors: QN_EINVAL (granularity),
 * QN_ELIMIT. */
qn_status qn_dynamic_init(qn_dynamic *dynamic, const qn_quantizer *q, int rank, const int64_t *dims, qn_cpu cpu,
                          qn_error *err);
/* The parameters for x (f32, contiguous), in `scratch`, where they stay until it is used again. */
const qn_quantizer *qn_dynamic_fit(const qn_dynamic *dynamic, const float *x, void *scratch);
/* y and x: f32, contiguous; they may be the same. */
void qn_dynamic_fake(const qn_dynamic *dynamic, float *y, const float *x, void *scratch);

#endif
