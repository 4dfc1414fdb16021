/* Ratios of scales as integers (doc/spec/arithmetic.md, 4.2 to 4.4). */
#include "base/ratio.h"

#include <math.h>

enum { MULTIPLIER_BITS = 31, GREATEST_EXPONENT = 30, GREATEST_SHIFT = 62 };

/* |x| < 2^31 times a ratio of less than 2^-32 is less than a half: any such ratio does what this one does. */
static const qn_ratio tiny = {1, GREATEST_SHIFT};

/* value = q * 2^exponent with q in [1/2, 1): q becomes 31 bits, rounded half away. */
static qn_ratio fixed_of(double value)
{
    int exponent;
    int64_t multiplier = (int64_t)round(ldexp(frexp(value, &exponent), MULTIPLIER_BITS));
    if (multiplier >> MULTIPLIER_BITS != 0) {
        multiplier >>= 1;
        exponent++;
    }
    if (value == 0 || exponent < -MULTIPLIER_BITS) {
        return (qn_ratio){0, MULTIPLIER_BITS};
    }
    exponent = exponent > GREATEST_EXPONENT ? GREATEST_EXPONENT : exponent;
    return (qn_ratio){(int32_t)multiplier, MULTIPLIER_BITS - exponent};
}

/* (2^d + 1) * 2^(e - d), or 2^e where d is negative. */
static qn_ratio shifts_of(int e, int d)
{
    e = e > GREATEST_EXPONENT ? GREATEST_EXPONENT : e;
    if (e < -GREATEST_EXPONENT - 2) {
        return tiny;
    }
    return d < 0 ? (qn_ratio){1, -e} : (qn_ratio){(int32_t)((INT64_C(1) << d) + 1), d - e};
}

/* The nearest 2^e or, with two shifts, 2^e + 2^(e - d); a power of two where both are as near. */
static bool shift_of(qn_ratio *ratio, double value, int most_d)
{
    const double tolerance = 0x1p-20;
    int exponent;
    if (value == 0) {
        return false;
    }
    const double q = 2 * frexp(value, &exponent); /* 1 <= q < 2 */
    exponent--;
    double least = q - 1;
    int d = -1, e = exponent;
    if (2 - q < least) {
        least = 2 - q;
        e = exponent + 1;
    }
    for (int i = 1; i <= most_d; i++) {
        double distance = fabs(q - 1 - ldexp(1, -i));
        if (distance < least) {
            least = distance;
            d = i;
            e = exponent;
        }
    }
    *ratio = shifts_of(e, d);
    return least <= tolerance * q;
}

bool qn_ratio_of(qn_ratio *ratio, double value, qn_requantization requantize)
{
    if (!(value >= 0) || isinf(value)) {
        return false;
    }
    switch (requantize) {
    case QN_REQUANTIZE_SHIFT:
        return shift_of(ratio, value, 0);
    case QN_REQUANTIZE_DOUBLE_SHIFT:
        return shift_of(ratio, value, QN_SHIFT_DISTANCE);
    default:
        *ratio = fixed_of(value);
        return true;
    }
}

double qn_ratio_value(const qn_ratio *ratio)
{
    return ldexp(ratio->multiplier, -ratio->shift);
}
