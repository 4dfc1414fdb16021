/* A ratio of scales as an integer network carries it out: round(x * multiplier / 2^shift) (doc/spec/arithmetic.md,
 * section 4). */
#ifndef QN_BASE_RATIO_H
#define QN_BASE_RATIO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arith.h"
#include "quern/arithmetic.h"

/* multiplier 0..2^31 - 1; shift -31..62, to the right where it is positive. */
typedef struct qn_ratio {
    int32_t multiplier, shift;
} qn_ratio;

/* The two powers of two of a double shift are at most so many bits apart: more would be below the tolerance. */
enum { QN_SHIFT_DISTANCE = 20 };

/* How a product is rounded. */
typedef struct qn_ratio_rounding {
    qn_rounding rounding;
    bool twice; /* to 31 bits half up first, then the rest of the shift to nearest-away */
} qn_ratio_rounding;

/* The ratio that `requantize`, not QN_REQUANTIZE_FLOAT, has for `value`. False when value is negative or not finite, or
 * further than 2^-20 of itself from what shifts can say. */
bool qn_ratio_of(qn_ratio *ratio, double value, qn_requantization requantize);
/* The real number that a ratio stands for. */
double qn_ratio_value(const qn_ratio *ratio);

/* floor, nearest-up, nearest-away and nearest-even of x / 2^shift; |x| < 2^62, 0 < shift < 63. */
static inline int64_t qn_shift_round_s64(int64_t x, int shift, qn_rounding rounding)
{
    const int64_t half = INT64_C(1) << (shift - 1);
    switch (rounding) {
    case QN_ROUND_FLOOR:
        return x >> shift;
    case QN_ROUND_NEAREST_UP:
        return (x + half) >> shift;
    case QN_ROUND_NEAREST_AWAY:
        return (x + half - (x < 0)) >> shift;
    default: /* to even: what is added to a tie depends on the bit above */
        return (x + half - 1 + (x >> shift & 1)) >> shift;
    }
}

static inline int32_t qn_saturate_s32(int64_t x)
{
    return (int32_t)qn_clamp_s64(x, INT32_MIN, INT32_MAX);
}

/* x * 2^n, saturated; 0 <= n <= 31. */
static inline int32_t qn_shift_left_saturate(int64_t x, int n)
{
    return qn_saturate_s32(qn_clamp_s64(x, INT32_MIN, INT32_MAX) * (INT64_C(1) << n));
}

/* x times the ratio, rounded, saturated to 32 bits. */
static inline int32_t qn_ratio_apply(int32_t x, qn_ratio ratio, qn_ratio_rounding how)
{
    if (how.twice) {
        const int left = ratio.shift < 31 ? 31 - ratio.shift : 0, right = ratio.shift > 31 ? ratio.shift - 31 : 0;
        const int64_t product = (int64_t)qn_shift_left_saturate(x, left) * ratio.multiplier;
        const int64_t high = qn_shift_round_s64(product, 31, QN_ROUND_NEAREST_UP);
        return (int32_t)(right > 0 ? qn_shift_round_s64(high, right, QN_ROUND_NEAREST_AWAY) : high);
    }
    const int64_t product = (int64_t)x * ratio.multiplier;
    return ratio.shift > 0 ? qn_saturate_s32(qn_shift_round_s64(product, ratio.shift, how.rounding))
                           : qn_shift_left_saturate(product, -ratio.shift);
}

/* The low n bits of x, 1 <= n <= 32, as a two's complement number. */
static inline int32_t qn_wrap_bits(int32_t x, int n)
{
    return (int32_t)((uint32_t)x << (32 - n)) >> (32 - n);
}

#endif
