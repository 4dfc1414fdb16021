/* Functions of f32 for islands, eight at a time: own definitions in f64, each operation one rounding, so that every
 * compiler and instruction set gives the same bits (doc/spec/arithmetic.md 6.4). Vectors of the compiler, which splits them
 * as the instruction set wants; behind pointers, since how they are passed depends on it, too. */
#ifndef QN_ENGINE_ISLAND_MATH_H
#define QN_ENGINE_ISLAND_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/integer/kernels/kernels.h"

enum { ISLAND_LANES = 8 };
typedef double island_reals __attribute__((vector_size(ISLAND_LANES * sizeof(double))));
typedef uint64_t island_bits __attribute__((vector_size(ISLAND_LANES * sizeof(uint64_t))));
typedef float island_floats __attribute__((vector_size(ISLAND_LANES * sizeof(float))));

/* a where the mask (all ones, as comparisons give) is set, else b. */
#define ISLAND_SELECT(mask, a, b)                                                                                      \
    ((island_reals)(((island_bits)(a) & (island_bits)(mask)) | ((island_bits)(b) & ~(island_bits)(mask))))
#define ISLAND_ALL(c)  ((island_reals){0} + (c))
#define ISLAND_ABS(x)  ((island_reals)((island_bits)(x) & ~((island_bits){0} + ((uint64_t)1 << 63))))
#define ISLAND_SIGN(x) ((island_bits)(x) & ((island_bits){0} + ((uint64_t)1 << 63)))

QN_INLINE void island_load(island_reals *to, const float *x)
{
    island_floats floats;
    memcpy(&floats, x, sizeof floats);
    *to = __builtin_convertvector(floats, island_reals);
}

QN_INLINE void island_store(float *y, const island_reals *from)
{
    const island_floats floats = __builtin_convertvector(*from, island_floats);
    memcpy(y, &floats, sizeof floats);
}

/* e^x within 2^-41, for |x| <= 700; beyond as at the bound. */
QN_INLINE void island_exp(island_reals *y, const island_reals *from)
{
    island_reals x = ISLAND_SELECT(*from < -700.0, ISLAND_ALL(-700.0), *from);
    x = ISLAND_SELECT(x > 700.0, ISLAND_ALL(700.0), x);
    /* 2^52 + 2^51 leaves no room for a fraction: adding it rounds to an integer, which is in the lowest bits. */
    const island_reals shifted = x * 0x1.71547652b82fep+0 + 0x1.8p52, n = shifted - 0x1.8p52;
    const island_reals r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    island_reals p = ISLAND_ALL(1.0 / 3628800);
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
    *y = p * (island_reals)(((island_bits)shifted << 52) + ((uint64_t)1023 << 52));
}

QN_INLINE void island_expf(float *y, const float *x)
{
    island_reals v;
    island_load(&v, x);
    island_exp(&v, &v);
    island_store(y, &v);
}

QN_INLINE void island_sigmoidf(float *y, const float *x)
{
    island_reals v;
    island_load(&v, x);
    v = -v;
    island_exp(&v, &v);
    v = 1.0 / (1.0 + v);
    island_store(y, &v);
}

QN_INLINE void island_tanhf(float *y, const float *x)
{
    island_reals v, far;
    island_load(&v, x);
    const island_reals a = ISLAND_ABS(v), near = a - a * a * a * (1.0 / 3);
    far = 2.0 * ISLAND_SELECT(a > 20.0, ISLAND_ALL(20.0), a);
    island_exp(&far, &far);
    far = 1.0 - 2.0 / (far + 1.0);
    v = (island_reals)((island_bits)ISLAND_SELECT(a < 0x1p-10, near, far) | ISLAND_SIGN(v));
    island_store(y, &v);
}

/* erf and its slope at multiples of 1/8; 0 beyond 4, where only NaN looks. */
enum { ISLAND_ERF_PLACES = 64 };
extern const double qn_island_erf_at[ISLAND_ERF_PLACES], qn_island_erf_slope[ISLAND_ERF_PLACES];

/* The Taylor series about the nearest multiple c of 1/8, up to the seventh power of r = |x| - c: with erf' = sum b_n r^n,
 * (n + 1) b_(n+1) = -2 (c b_n + b_(n-1)). erf(4) is 1 in f32, and so are all that follow. */
QN_INLINE void island_erff(float *y, const float *x)
{
    island_reals v, at, b0;
    island_load(&v, x);
    island_reals a = ISLAND_ABS(v);
    a = ISLAND_SELECT(a > 4.0, ISLAND_ALL(4.0), a);
    const island_reals shifted = a * 8.0 + 0x1.8p52, c = (shifted - 0x1.8p52) * 0.125, r = a - c;
    const island_bits k = (island_bits)shifted & (uint64_t)(ISLAND_ERF_PLACES - 1);
    for (int i = 0; i < ISLAND_LANES; i++) {
        at[i] = qn_island_erf_at[k[i]];
        b0[i] = qn_island_erf_slope[k[i]];
    }
    const island_reals b1 = -2.0 * (c * b0), b2 = -(c * b1 + b0);
    const island_reals b3 = (c * b2 + b1) * (-2.0 / 3), b4 = (c * b3 + b2) * -0.5, b5 = (c * b4 + b3) * (-2.0 / 5);
    const island_reals b6 = (c * b5 + b4) * (-1.0 / 3);
    island_reals p = b6 * (1.0 / 7);
    p = p * r + b5 * (1.0 / 6);
    p = p * r + b4 * 0.2;
    p = p * r + b3 * 0.25;
    p = p * r + b2 * (1.0 / 3);
    p = p * r + b1 * 0.5;
    p = p * r + b0;
    p = p * r + at;
    v = (island_reals)((island_bits)p | ISLAND_SIGN(v));
    island_store(y, &v);
}

/* One value by itself. */
static inline float island_exp_one(float x)
{
    float lanes[ISLAND_LANES] = {x};
    island_expf(lanes, lanes);
    return lanes[0];
}

/* Natural logarithm of a positive, normal x, within 2^-50. */
static inline double island_log(double x)
{
    const uint64_t root = 0x3fe6a09e667f3bcd; /* of 1/2: mantissas lie within a factor 2 of 1 */
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t n = ((bits - root + ((uint64_t)1 << 62)) >> 52) - 1024; /* modulo 2^64 */
    bits -= n << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    const double s = (m - 1) / (m + 1), q = s * s;
    double p = 1.0 / 21;
    for (int k = 19; k > 0; k -= 2) {
        p = p * q + 1.0 / k;
    }
    return (double)(int64_t)n * 0x1.62e42fefa39efp-1 + 2 * s * p;
}

/* As C's powf: what is special there is so here. */
static inline float island_powf(float x, float y)
{
    const double a = fabs((double)x), e = (double)y;
    const bool whole = rint(e) == e, odd = whole && fabs(e) < 0x1p53 && fmod(e, 2) != 0;
    if (y == 0 || x == 1) {
        return 1;
    }
    if (isnan(x) || isnan(y) || (x < 0 && isfinite(x) && isfinite(y) && !whole)) {
        return NAN;
    }
    if (isinf(y)) {
        return a == 1 ? 1.0f : (a > 1) == (y > 0) ? INFINITY : 0.0f;
    }
    double power;
    if (a == 0 || isinf(a)) {
        power = (a == 0) == (y < 0) ? INFINITY : 0;
    } else {
        island_reals lanes = ISLAND_ALL(e * island_log(a));
        island_exp(&lanes, &lanes);
        power = lanes[0];
    }
    return (float)(odd && signbit(x) ? -power : power);
}

#endif
