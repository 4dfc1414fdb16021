/* The format room: number formats map reals to codes and back (doc/formats.md; doc/spec/arithmetic.md, section 2).
 *
 * A qn_format says which codes exist (quern/format.h); a qn_quantizer adds the parameters that a tensor's codes need
 * (quern/codes.h). Both are plain data; the parameter arrays belong to whoever made them (an arena, nearly always).
 * Formats are rows of a registry (row.h), one file each. One driver (codec.h) walks a tensor as runs of elements with
 * one parameter set and hands them to the format's row, or to a faster kernel (kernel.h). Everything here is reentrant.
 */
#ifndef QN_FORMAT_QUANTIZER_H
#define QN_FORMAT_QUANTIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "quern/codes.h"
#include "quern/tensor.h"

/* Least and greatest code of an integer format. */
void qn_format_range(qn_format format, int32_t *lo, int32_t *hi);

/* Memory that a quantizer of n sets with arrays of its own needs; false when it is too large. */
bool qn_quantizer_bytes(size_t *n_bytes, int64_t n);
/* Make one, as qn_quantizer_new does, in such memory (aligned for pointers), for like->n sets; nothing else of `like`
 * than format, axis, group and n is used. The memory stays the caller's. */
qn_quantizer *qn_quantizer_place(void *memory, const qn_quantizer *like);

/* A copy of a quantizer with its parameter arrays in the arena. Errors: QN_ENOMEM. */
qn_status qn_quantizer_copy_to_arena(qn_arena *arena, const qn_quantizer **copy, const qn_quantizer *q, qn_error *err);

/* Encode reals as codes of dtype qn_format_dtype(q->format), decode codes to reals, or both in one pass; the quantizer
 * has passed qn_quantizer_check.
 *  x, y    f32 of shape dims, contiguous; x and y may be the same
 *  codes   the same shape; signed integers are sign-extended to the dtype
 * Total: infinities saturate (or stay infinite where the format says so); NaN is the format's NaN, the lowest code of
 * an integer, else 0. */
void qn_quantizer_encode(void *codes, const float *x, const qn_quantizer *q, int rank, const int64_t *dims);
void qn_quantizer_decode(float *y, const void *codes, const qn_quantizer *q, int rank, const int64_t *dims);
void qn_quantizer_fake(float *y, const float *x, const qn_quantizer *q, int rank, const int64_t *dims);

#endif
