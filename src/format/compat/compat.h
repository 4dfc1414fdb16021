/* Compatibility formats: the quantizers of other tools, bit for bit, quirks included; one file each. The main formats
 * stay clean of them.
 *
 * They compute in f32 as their originals do, every step rounded once, so reals given as f64 are narrowed first. Where an
 * original gives NaN or infinity, these saturate or give zeros (doc/formats.md). */
#ifndef QN_FORMAT_COMPAT_H
#define QN_FORMAT_COMPAT_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/round.h"
#include "format/row.h"

/* Codes that are integers of format->bits bits, two's complement if is_signed: fields and order of such a row. */
int qn_compat_integer_fields(qn_field fields[QN_FIELDS_MAX], const qn_format *f, uint32_t code);
int64_t qn_compat_integer(const qn_format *f, uint32_t code);
/* An integer as f32 holds it, saturated to the codes. */
uint32_t qn_compat_integer_code(const qn_format *f, float integer);

/* sign | exponent_bits | mantissa_bits. */
int qn_compat_float_fields(qn_field fields[QN_FIELDS_MAX], const qn_format *f, uint32_t code);
/* Order of sign-magnitude codes. */
int64_t qn_compat_magnitude_order(const qn_format *f, uint32_t code);

/* Every code is one that encoding gives. */
bool qn_compat_all_canonical(const qn_format *f, uint32_t code);

/* Parse argument `index` as a finite f32 in [lo, hi]; "None" is 0. */
qn_status qn_compat_text_float(float *value, const qn_format_text *text, int index, float lo, float hi,
                               const char *what, qn_error *err);

#endif
