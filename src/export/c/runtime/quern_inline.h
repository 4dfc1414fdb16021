/* What the files of the runtime share. Part of quern, Apache License 2.0. */
#ifndef QUERN_INLINE_H
#define QUERN_INLINE_H

#include "quern_ops.h"

/* What C leaves to the compiler and every compiler of today does. */
typedef char quern_shifts_right_by_sign[(-3 >> 1) == -2 ? 1 : -1];
typedef char quern_wraps_to_signed[(int32_t)UINT32_C(0xfffffffe) == -2 ? 1 : -1];
typedef char quern_bytes_of_8_bits[(unsigned char)-1 == 255 ? 1 : -1];

static inline int32_t quern_clamp(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

static inline int32_t quern_clamp_wide(int64_t x)
{
    return x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : (int32_t)x;
}

/* The low `bits` bits of x as two's complement. */
static inline int32_t quern_wrap(uint32_t x, int32_t bits)
{
    return (int32_t)(x << (32 - bits)) >> (32 - bits);
}

/* The code in a byte. */
static inline int32_t quern_code(uint8_t byte, uint8_t flip)
{
    return (int32_t)(byte ^ flip) - flip;
}

/* x / 2^shift rounded, 0 < shift < 63. */
static inline int64_t quern_shift(int64_t x, int32_t shift, int32_t rounding)
{
    const int64_t half = (int64_t)1 << (shift - 1);
    switch (rounding) {
    case QUERN_FLOOR:
        return x >> shift;
    case QUERN_NEAREST_UP:
        return (x + half) >> shift;
    case QUERN_NEAREST_AWAY:
        return (x + half - (x < 0)) >> shift;
    default: /* to even: what is added to a tie depends on the bit above */
        return (x + half - 1 + (x >> shift & 1)) >> shift;
    }
}

/* round(x * multiplier / 2^shift), saturated to 32 bits; shift -31..62. */
static inline int32_t quern_scale_once(int32_t x, int32_t multiplier, int32_t shift, int32_t rounding)
{
    const int64_t product = (int64_t)x * multiplier;
    if (shift > 0) {
        return quern_clamp_wide(quern_shift(product, shift, rounding));
    }
    return quern_clamp_wide((int64_t)quern_clamp_wide(product) * ((int64_t)1 << -shift));
}

/* The same rounded to 31 bits half up, then by what remains of the shift half away from zero. */
static inline int32_t quern_scale_twice(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift < 31 ? quern_clamp_wide((int64_t)x * ((int64_t)1 << (31 - shift))) : x;
    const int64_t high = quern_shift((int64_t)left * multiplier, 31, QUERN_NEAREST_UP);
    return (int32_t)(shift > 31 ? quern_shift(high, shift - 31, QUERN_NEAREST_AWAY) : high);
}

/* The part [first, last) of a window of `kernel` taps at `at`, `dilation` apart, that lies inside 0..size - 1. */
typedef struct quern_range {
    int32_t first, last;
} quern_range;
static inline quern_range quern_inside(int32_t at, int32_t kernel, int32_t dilation, int32_t size)
{
    quern_range r;
    r.first = at < 0 ? (-at + dilation - 1) / dilation : 0;
    r.last = at >= size ? 0 : (size - 1 - at) / dilation + 1;
    r.last = r.last < kernel ? r.last : kernel;
    return r;
}

#endif
