/* The driver: walk a tensor as runs that share parameters, and hand each to the format's kernel or definition. */
#ifndef QN_FORMAT_CODEC_H
#define QN_FORMAT_CODEC_H

#include "format/kernel.h"
#include "quern/codes.h"

/* What there is to read and to write. Give x or x64 to encode, y to decode into, and codes or packed on the other side;
 * x and y without codes is fake quantization. */
typedef struct qn_codec {
    const float *x;
    const double *x64;
    float *y;
    void *codes;             /* written by encoding */
    const void *const_codes; /* read by decoding */
    qn_packed *packed;       /* instead of codes; dense or not */
    const qn_packed *const_packed;
    size_t code_size; /* bytes of an element of codes */
    bool extend;      /* sign-extend signed integer codes to code_size */
    uint64_t seed;    /* of stochastic rounding */
} qn_codec;

/* Shape and quantizer agree (qn_quantizer_check). x and y may be the same. */
void qn_codec_run(const qn_codec *codec, const qn_quantizer *q, const qn_format_kernel *kernel, int rank,
                  const int64_t *dims);

#endif
