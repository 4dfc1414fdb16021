/* Integer arithmetic with defined results on every input (doc/spec/arithmetic.md, section 1).
 * Shifts and wraps go through here and nowhere else. */
#ifndef QN_BASE_ARITH_H
#define QN_BASE_ARITH_H

#include <math.h>
#include <stdint.h>

/* Two's complement sums that wrap. */
static inline int32_t qn_add_wrap_s32(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}
static inline int32_t qn_mul_wrap_s32(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a * (uint32_t)b);
}

static inline int32_t qn_clamp_s32(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}
static inline int64_t qn_clamp_s64(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* clamp(rne(x) + zero_point, lo, hi) without overflow: the clamp is done in float against lo - zero_point and
 * hi - zero_point, which are exact for |bound| <= 2^24. x must not be NaN. */
static inline int32_t qn_round_clamp(float x, int32_t zero_point, int32_t lo, int32_t hi)
{
    float low = (float)(lo - zero_point), high = (float)(hi - zero_point);
    float clamped = x < low ? low : x > high ? high : x;
    return (int32_t)rintf(clamped) + zero_point;
}

#endif
