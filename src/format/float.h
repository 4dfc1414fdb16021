/* Small floats: what the float format and the elements of mx share. Only exponent_bits, mantissa_bits, exponent_bias,
 * variant, rounding and overflow of the format are used. */
#ifndef QN_FORMAT_FLOAT_H
#define QN_FORMAT_FLOAT_H

#include "base/error.h"
#include "quern/format.h"

/* Set the float fields, bits included, if `name` is that of a named row ("fp8e4m3"). */
bool qn_float_named(qn_format *f, const char *name);
/* The named row with these fields, or NULL. */
const char *qn_float_name(const qn_format *f);

uint32_t qn_float_encode(const qn_format *f, double x, uint32_t random);
double qn_float_decode(const qn_format *f, uint32_t code);
uint32_t qn_float_greatest(const qn_format *f); /* code of the greatest finite value */
uint32_t qn_float_nan(const qn_format *f);      /* code that NaN becomes */
bool qn_float_canonical(const qn_format *f, uint32_t code);
int64_t qn_float_order(const qn_format *f, uint32_t code);

#endif
