/* What the quantizers of QKeras 0.9.0 share. Their arguments stand in QKeras' order; `alpha` is None, a number, auto or
 * auto_po2, of which the last two are the fits qkeras-auto and qkeras-po2. */
#ifndef QN_FORMAT_COMPAT_QKERAS_H
#define QN_FORMAT_COMPAT_QKERAS_H

#include "format/compat/compat.h"
#include "format/values.h"

static const float QN_QKERAS_EPSILON = 1e-7f;

enum { QN_QKERAS_FITS = 1 << QN_FIT_QKERAS_AUTO | 1 << QN_FIT_QKERAS_PO2, QN_QKERAS_PASSES = 5 };

/* An argument that may be written as name=value; the last of a list has no name. */
typedef struct qn_qkeras_argument {
    const char *name, *fallback;
} qn_qkeras_argument;
/* `text` with every argument in its place: name=value may follow those without a name, in any order, as in Python; what
 * is left out before the last one that is given is QKeras' own default. QN_EINVAL for a name that there is not, for an
 * argument that stands there twice, and for one without a name behind one that has it. */
qn_status qn_qkeras_text_arrange(qn_format_text *arranged, const qn_format_text *text,
                                 const qn_qkeras_argument *arguments, qn_error *err);

/* Argument `index` as alpha, into f->fit and f->alpha. */
qn_status qn_qkeras_text_alpha(qn_format *f, const qn_format_text *text, int index, qn_error *err);
/* Argument `index` as 0 or 1 (False, True). */
qn_status qn_qkeras_text_flag(bool *flag, const qn_format_text *text, int index, const char *what, qn_error *err);
/* ",alpha" for names; "" when there is none. A fit is not part of it. */
void qn_qkeras_print_alpha(char text[24], const qn_format *f);

/* alpha as a number: 1 when there is none. */
static inline float qn_qkeras_alpha(const qn_format *f)
{
    return f->alpha == 0.0f ? 1.0f : f->alpha;
}

/* The power of two nearest to v in the logarithm, after adding QN_QKERAS_EPSILON; v >= 0. */
float qn_qkeras_po2(float v);

/* The least squares scale mean(x z) / (mean(z^2) + epsilon) of reals x, times `unit`, for the code that z_of gives them
 * at scale s; as a power of two if po2. */
float qn_qkeras_least_squares(const qn_format *f, float s, const double *x, int64_t n, float unit, bool po2,
                              float (*z_of)(const qn_format *f, float s, float x));

/* quantized_bits with alpha auto or auto_po2: the step, for h = 2^(bits-1)-1 levels and f's limits of its exponent. */
float qn_qkeras_bits_step(const qn_format *f, const double *x, int64_t n, bool po2);
/* The same of auto_po2 for sets that depend on one another: each `share` consecutive ones have one step after the first
 * pass; with one_start all begin with the step of the greatest magnitude of the tensor. */
void qn_qkeras_bits_steps(qn_quantizer *q, const qn_values *values, int64_t share, bool one_start);

/* Limits of an exponent in qn_format.exponent_bias (least) and .mode (greatest): plus this, 0 for none. */
enum { QN_QKERAS_LIMIT = 127 };

#endif
