/* Functions of f32 for islands: own definitions in f64, each operation one rounding, so that every compiler and
 * instruction set gives the same bits (doc/spec/arithmetic.md 6.4). No branches: loops over them vectorize. */
#ifndef QN_ENGINE_ISLAND_MATH_H
#define QN_ENGINE_ISLAND_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/integer/kernels/kernels.h"

QN_INLINE double island_from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

QN_INLINE uint64_t island_to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* e^x within 2^-41, for |x| <= 700; beyond as at the bound. */
QN_INLINE double island_exp(double x)
{
    x = x < -700 ? -700 : x;
    x = x > 700 ? 700 : x;
    /* 2^52 + 2^51 leaves no room for a fraction: adding it rounds to an integer, which is in the lowest bits. */
    const double shifted = x * 0x1.71547652b82fep+0 + 0x1.8p52, n = shifted - 0x1.8p52;
    const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double p = 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    return p * island_from_bits((island_to_bits(shifted) << 52) + ((uint64_t)1023 << 52));
}

/* Natural logarithm of a positive, normal x, within 2^-50. */
QN_INLINE double island_log(double x)
{
    const uint64_t bits = island_to_bits(x),
                   root = 0x3fe6a09e667f3bcd; /* of 1/2: mantissas lie within a factor 2 of 1 */
    const int64_t n = (int64_t)(bits - root) >> 52;
    const double m = island_from_bits(bits - ((uint64_t)n << 52));
    const double s = (m - 1) / (m + 1), q = s * s;
    double p = 1.0 / 21;
    for (int k = 19; k > 0; k -= 2) {
        p = p * q + 1.0 / k;
    }
    return (double)n * 0x1.62e42fefa39efp-1 + 2 * s * p;
}

QN_INLINE float island_expf(float x)
{
    return (float)island_exp((double)x);
}

QN_INLINE float island_sigmoidf(float x)
{
    return (float)(1 / (1 + island_exp(-(double)x)));
}

QN_INLINE float island_tanhf(float x)
{
    const double d = (double)x, a = fabs(d);
    const double far = 1 - 2 / (island_exp(2 * (a > 20 ? 20 : a)) + 1), near = a - a * a * a * (1.0 / 3);
    return (float)copysign(a < 0x1p-10 ? near : far, d);
}

/* erf and its slope at multiples of 1/8. */
extern const double qn_island_erf_at[33], qn_island_erf_slope[33];

/* The Taylor series about the nearest multiple c of 1/8, up to the seventh power of r = |x| - c: with erf' = sum b_n r^n,
 * (n + 1) b_(n+1) = -2 (c b_n + b_(n-1)). erf(4) is 1 in f32, and so are all that follow. */
QN_INLINE float island_erff(float x)
{
    const double d = (double)x, a = fabs(d) < 4 ? fabs(d) : 4;
    const int32_t k = (int32_t)(a * 8 + 0.5);
    const double c = (double)k * 0.125, r = a - c;
    const double b0 = qn_island_erf_slope[k], b1 = -2 * (c * b0), b2 = -(c * b1 + b0);
    const double b3 = (c * b2 + b1) * (-2.0 / 3), b4 = (c * b3 + b2) * -0.5, b5 = (c * b4 + b3) * (-2.0 / 5);
    const double b6 = (c * b5 + b4) * (-1.0 / 3);
    double p = b6 * (1.0 / 7);
    p = p * r + b5 * (1.0 / 6);
    p = p * r + b4 * 0.2;
    p = p * r + b3 * 0.25;
    p = p * r + b2 * (1.0 / 3);
    p = p * r + b1 * 0.5;
    p = p * r + b0;
    return (float)(d != d ? d : copysign(p * r + qn_island_erf_at[k], d));
}

/* As C's powf: what is special there is so here. */
static inline float island_powf(float x, float y)
{
    const double a = fabs((double)x), e = (double)y;
    const bool whole = rint(e) == e, odd = whole && fabs(e) < 0x1p53 && fmod(e, 2) != 0;
    if (y == 0 || x == 1) {
        return 1;
    }
    if (isnan(x) || isnan(y) || (x < 0 && isfinite(x) && !whole)) {
        return NAN;
    }
    if (isinf(y)) {
        return a == 1 ? 1.0f : (a > 1) == (y > 0) ? INFINITY : 0.0f;
    }
    double power;
    if (a == 0 || isinf(a)) {
        power = (a == 0) == (y < 0) ? INFINITY : 0;
    } else {
        power = island_exp(e * island_log(a));
    }
    return (float)(odd && signbit(x) ? -power : power);
}

#endif
