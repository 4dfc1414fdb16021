/* Rounding of exactly scaled values, and exact scaling, shared by the formats. */
#ifndef QN_FORMAT_ROUND_H
#define QN_FORMAT_ROUND_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "quern/format.h"

/* x * 2^k for rounding to an integer: exact wherever that can matter. Where the product is below the normal doubles
 * only its sign and its being there matter, and those are kept. */
static inline double qn_scale_exact(double x, int k)
{
    double v = ldexp(x, k);
    return fabs(v) < DBL_MIN && x != 0.0 ? copysign(DBL_MIN, x) : v;
}

/* The integer that v is rounded to. v is not NaN; infinities stay. */
static inline double qn_round_to_integer(double v, qn_rounding rounding, uint32_t random)
{
    /* The fraction of a magnitude is exact; that of a negative number counted from its floor is not. */
    double magnitude = fabs(v), whole = floor(magnitude), fraction = magnitude - whole;
    bool negative = signbit(v), up;
    switch (rounding) {
    case QN_ROUND_NEAREST_EVEN:
        return rint(v);
    case QN_ROUND_NEAREST_AWAY:
        return round(v);
    case QN_ROUND_TOWARD_ZERO:
        return trunc(v);
    case QN_ROUND_FLOOR:
        return floor(v);
    case QN_ROUND_NEAREST_UP:
        up = negative ? fraction > 0.5 : fraction >= 0.5;
        break;
    case QN_ROUND_NEAREST_DOWN:
        up = negative ? fraction >= 0.5 : fraction > 0.5;
        break;
    case QN_ROUND_NEAREST_ZERO:
        up = fraction > 0.5;
        break;
    default: /* stochastic: away from zero with a probability of the fraction */
        up = fraction * 0x1p32 > (double)random;
        break;
    }
    return copysign(whole + (up ? 1.0 : 0.0), v);
}

/* Exponent of the leading bit of a finite x != 0: floor(log2 |x|), exactly, subnormals too. */
static inline int qn_exponent_of(double x)
{
    return ilogb(x);
}

/* A `bits`-bit code read as two's complement. */
static inline int32_t qn_code_signed(uint32_t code, int bits)
{
    uint32_t sign = (uint32_t)1 << (bits - 1);
    uint32_t field = code & (sign | (sign - 1));
    return (int32_t)((field ^ sign) - sign);
}

static inline uint32_t qn_code_mask(int bits)
{
    return UINT32_MAX >> (32 - bits);
}

#endif
