/* The format room: number formats map reals to codes and back (doc/spec/arithmetic.md, section 2).
 *
 * A qn_format says which codes exist; a qn_quantizer adds the parameters that a tensor's codes need. Both are plain
 * data; the parameter arrays belong to whoever made them (an arena, nearly always). Everything here is reentrant. */
#ifndef QN_FORMAT_QUANTIZER_H
#define QN_FORMAT_QUANTIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "quern/tensor.h"

/* An affine integer format: codes of `bits` bits, two's complement when signed.
 * narrow: the lowest signed code is unused, so that the range is symmetric. */
typedef struct qn_format {
    int bits; /* 1..16, or 32 for biases */
    bool is_signed;
    bool narrow;
} qn_format;

enum { QN_FORMAT_NAME_MAX = 64 };
void qn_format_name(char name[QN_FORMAT_NAME_MAX], qn_format format); /* "int8", "uint8", "int8:narrow", "int32" */
qn_dtype qn_format_dtype(qn_format format);                           /* the smallest dtype that holds its codes */
void qn_format_range(qn_format format, int32_t *lo, int32_t *hi);     /* least and greatest code */

/* x = (code - zero_point) * scale, per tensor (axis -1, n 1) or per index along `axis` (n = dims[axis]).
 *  scale       finite, > 0, normal
 *  zero_point  within the format's range */
typedef struct qn_quantizer {
    qn_format format;
    int axis;
    int64_t n;
    const float *scale;
    const int32_t *zero_point;
} qn_quantizer;

/* QN_EINVAL when the parameters break the rules above, or do not fit a tensor of this shape. */
qn_status qn_quantizer_check(const qn_quantizer *q, int rank, const int64_t *dims, const char *where, qn_error *err);
bool qn_quantizer_equal(const qn_quantizer *a, const qn_quantizer *b);

/* Encode reals as codes of dtype qn_format_dtype(q->format), decode codes to reals, or both in one pass.
 *  x, y    f32 of shape dims, contiguous; x and y may be the same
 *  codes   the same shape
 * Infinities saturate; NaN becomes the lowest code. (arithmetic.md 2.1) */
void qn_encode(void *codes, const float *x, const qn_quantizer *q, int rank, const int64_t *dims);
void qn_decode(float *y, const void *codes, const qn_quantizer *q, int rank, const int64_t *dims);
void qn_fake_quantize(float *y, const float *x, const qn_quantizer *q, int rank, const int64_t *dims);

#endif
