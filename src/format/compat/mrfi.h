/* What the quantizers of MRFI share: names with one or two sizes, and integers that torch keeps in f32. */
#ifndef QN_FORMAT_COMPAT_MRFI_H
#define QN_FORMAT_COMPAT_MRFI_H

#include "format/compat/compat.h"

/* The greatest integer L of the codes as torch has it: rounded to f32 (beyond 24 bits that is L + 1, and the code that
 * stands for it is L). */
static inline float qn_mrfi_top(const qn_format *f)
{
    return (float)(((int64_t)1 << (f->bits - (f->is_signed ? 1 : 0))) - 1);
}

/* clamp to [lo, hi], then to nearest even. NaN, which only an overflow makes, is judged by `exact`, the same in f64. */
static inline float qn_mrfi_clamp_round(float v, double exact, float lo, float hi)
{
    if (isnan(v)) {
        v = isnan(exact) ? 0.0f : exact > (double)hi ? hi : exact < (double)lo ? lo : (float)exact;
    }
    v = v < lo ? lo : v > hi ? hi : v;
    return rintf(v);
}

#endif
