/* Quantizers and codes: fit a format to a tensor, encode, decode, pack.
 *
 * A quantizer is a format with its parameters for one tensor shape. It is plain data; whoever made the arrays owns
 * them. All calls are reentrant, and their results are the same bits on every CPU. */
#ifndef QUERN_CODES_H
#define QUERN_CODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/format.h"
#include "quern/tensor.h"

/* Which elements share a parameter set, for a tensor of shape dims:
 *  axis -1, group 0   all: n = 1
 *  axis a,  group 0   those with the same index along a: n = dims[a]
 *  axis a,  group g   g consecutive ones along a (the last group may be short): sets have the tensor's shape with
 *                     dims[a] replaced by ceil(dims[a] / g), C order; n is their number
 *  axis -1, group g   g consecutive ones in C order
 * bfp and mx need groups of the format's block; the other formats take any of the four.
 * dynamic: the parameters are not kept but fitted whenever a tensor is quantized, anew for each index of its first
 * dimension (the batch), by the format's own fit; n is 0 and the arrays are NULL. Only values of a graph may be so.
 * An array that the format does not use (qn_format_parameters) may be NULL, which means zeros (scale, multiplier: ones). */
typedef struct qn_quantizer {
    qn_format format;
    int axis;
    int64_t n;
    const float *scale;
    const int32_t *zero_point;
    int64_t group;
    const int32_t *exp_bias;
    const float *shift;
    const float *multiplier;
    bool dynamic;
} qn_quantizer;

/* Number of parameter sets that a shape needs. Errors: QN_EINVAL (axis, negative group), QN_ELIMIT. */
QN_API QN_NODISCARD qn_status qn_quantizer_sets(int64_t *n, int axis, int64_t group, int rank, const int64_t *dims,
                                                qn_error *err);
/* QN_EINVAL when format, granularity or parameters break their rules, or do not fit a tensor of this shape. `where` may
 * be NULL. */
QN_API QN_NODISCARD qn_status qn_quantizer_check(const qn_quantizer *q, int rank, const int64_t *dims,
                                                 const char *where, qn_error *err);
QN_API bool qn_quantizer_equal(const qn_quantizer *a, const qn_quantizer *b);

/* A quantizer with arrays of its own, all sets neutral (scale and multiplier 1, the rest 0); released by qn_quantizer_free, which
 * takes only these, and NULL. For bfp and mx, group 0 stands for the format's block and axis -1 for the last axis.
 * Errors: QN_EINVAL, QN_ELIMIT, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_quantizer_new(qn_quantizer **q, qn_format format, int axis, int64_t group, int rank,
                                               const int64_t *dims, qn_error *err);
QN_API void qn_quantizer_free(qn_quantizer *q);
/* Read one set (0 <= set < n) of any quantizer; write one of a quantizer from qn_quantizer_new. */
QN_API qn_params qn_quantizer_get(const qn_quantizer *q, int64_t set);
QN_API void qn_quantizer_set(qn_quantizer *q, int64_t set, qn_params params);

/* What to do with input that is not a number. Refusal names the element's index. */
typedef enum qn_nan_policy { QN_NAN_REFUSE = 0, QN_NAN_ZERO = 1 } qn_nan_policy;
typedef enum qn_inf_policy { QN_INF_REFUSE = 0, QN_INF_CLAMP = 1 } qn_inf_policy;

typedef struct qn_codec_options {
    size_t struct_size;
    qn_nan_policy nan; /* QN_NAN_ZERO: NaN is 0 */
    qn_inf_policy inf; /* QN_INF_CLAMP: an infinity is the greatest code of its sign; it never enters a range */
    uint64_t seed;     /* of stochastic rounding: element k always draws the same number */
} qn_codec_options;
QN_API void qn_codec_options_init(qn_codec_options *options);

typedef struct qn_fit_options {
    size_t struct_size;
    int axis; /* granularity, as in qn_quantizer; default -1 and 0 */
    int64_t group;
    const char *rule; /* what range a set's parameters are made for; NULL: what the format's fit says */
    qn_nan_policy nan;
    qn_inf_policy inf;
} qn_fit_options;
QN_API void qn_fit_options_init(qn_fit_options *options);

/* Choose parameters for a tensor.
 *  x        f32 or f64, any shape
 *  options  NULL for the defaults
 * Errors: QN_EINVAL, QN_ERANGE (NaN or infinity, the element named), QN_ENOMEM. *q is untouched unless QN_OK. */
QN_API QN_NODISCARD qn_status qn_fit(qn_quantizer **q, const qn_tensor *x, qn_format format,
                                     const qn_fit_options *options, qn_error *err);

/* Codes of a tensor as bit patterns.
 *  codes    made here: dtype qn_format_code_dtype, the shape of x; released with qn_tensor_free
 *  x        f32 or f64; doubles are not narrowed first
 *  options  NULL for the defaults
 * Errors: QN_EINVAL (quantizer does not fit), QN_ERANGE (NaN or infinity, the element named), QN_ENOMEM.
 * Outputs are untouched unless QN_OK. */
QN_API QN_NODISCARD qn_status qn_encode(qn_tensor *codes, const qn_tensor *x, const qn_quantizer *q,
                                        const qn_codec_options *options, qn_error *err);
/* Reals of codes, as f32 (rounded to nearest even where a code's value is not one).
 *  codes  qn_format_code_dtype, or the signed dtype of the same size; bits above the format's are ignored
 * Errors: QN_EINVAL, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_decode(qn_tensor *y, const qn_tensor *codes, const qn_quantizer *q, qn_error *err);
/* decode(encode(x)) in one pass. Errors as qn_encode. */
QN_API QN_NODISCARD qn_status qn_fake_quantize(qn_tensor *y, const qn_tensor *x, const qn_quantizer *q,
                                               const qn_codec_options *options, qn_error *err);

/* How codes lie in bytes.
 *  dense   code k is bits [k*b, k*b+b) of a little-endian bit stream; no padding but in the last byte
 *  word32  floor(32/b) codes to a little-endian 32-bit word, the first in the low bits; the last word is filled with 0
 */
typedef enum qn_packing { QN_PACKING_DENSE = 0, QN_PACKING_WORD32 = 1 } qn_packing;

/* Packed codes, a view: `data` holds qn_packed_bytes bytes and belongs to the caller. 1 <= bits <= 32. */
typedef struct qn_packed {
    void *data;
    int64_t n;
    int bits;
    qn_packing packing;
} qn_packed;

/* Bytes that n codes take. Errors: QN_EINVAL (bits, negative n), QN_ELIMIT. */
QN_API QN_NODISCARD qn_status qn_packed_bytes(size_t *n_bytes, int64_t n, int bits, qn_packing packing, qn_error *err);
/* One code, 0 <= index < n. Set and flip touch no bit of its neighbours; bits of `code` and `mask` above the format's
 * are ignored. */
QN_API uint32_t qn_packed_get(const qn_packed *p, int64_t index);
QN_API void qn_packed_set(qn_packed *p, int64_t index, uint32_t code);
QN_API void qn_packed_flip(qn_packed *p, int64_t index, uint32_t mask);
/* All codes between packed form and an array of n codes of 1, 2 or 4 bytes. `code_size` must hold p->bits. Packing
 * writes every byte, padding as 0. */
QN_API void qn_pack(qn_packed *p, const void *codes, size_t code_size);
QN_API void qn_unpack(void *codes, const qn_packed *p, size_t code_size);

/* Encode to, and decode from, packed codes without unpacked codes in between. `packed` must have the format's bits and
 * x's (y's) number of elements; y gets the shape dims. Errors as qn_encode and qn_decode. */
QN_API QN_NODISCARD qn_status qn_encode_packed(qn_packed *packed, const qn_tensor *x, const qn_quantizer *q,
                                               const qn_codec_options *options, qn_error *err);
QN_API QN_NODISCARD qn_status qn_decode_packed(qn_tensor *y, const qn_packed *packed, const qn_quantizer *q, int rank,
                                               const int64_t *dims, qn_error *err);

#endif
