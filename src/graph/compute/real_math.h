/* Functions of f32, eight at a time: own definitions in f64, each operation one rounding, so that every compiler and
 * instruction set gives the same bits (doc/spec/arithmetic.md 6.4). Vectors of the compiler, which splits them as the
 * instruction set wants; behind pointers, since how they are passed depends on it, too. */
#ifndef QN_GRAPH_REAL_MATH_H
#define QN_GRAPH_REAL_MATH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/arch.h"

enum { LANE_COUNT = 8 };
typedef double lane_reals __attribute__((vector_size(LANE_COUNT * sizeof(double))));
typedef uint64_t lane_bits __attribute__((vector_size(LANE_COUNT * sizeof(uint64_t))));
typedef float lane_floats __attribute__((vector_size(LANE_COUNT * sizeof(float))));

/* a where the mask (all ones, as comparisons give) is set, else b. */
#define LANE_SELECT(mask, a, b)                                                                                        \
    ((lane_reals)(((lane_bits)(a) & (lane_bits)(mask)) | ((lane_bits)(b) & ~(lane_bits)(mask))))
#define LANE_ALL(c)  ((lane_reals){0} + (c))
#define LANE_ABS(x)  ((lane_reals)((lane_bits)(x) & ~((lane_bits){0} + ((uint64_t)1 << 63))))
#define LANE_SIGN(x) ((lane_bits)(x) & ((lane_bits){0} + ((uint64_t)1 << 63)))

QN_INLINE void lane_load(lane_reals *to, const float *x)
{
    lane_floats floats;
    memcpy(&floats, x, sizeof floats);
    *to = __builtin_convertvector(floats, lane_reals);
}

QN_INLINE void lane_store(float *y, const lane_reals *from)
{
    const lane_floats floats = __builtin_convertvector(*from, lane_floats);
    memcpy(y, &floats, sizeof floats);
}

/* e^x within 2^-41, for |x| <= 700; beyond as at the bound. */
QN_INLINE void lane_exp(lane_reals *y, const lane_reals *from)
{
    lane_reals x = LANE_SELECT(*from < -700.0, LANE_ALL(-700.0), *from);
    x = LANE_SELECT(x > 700.0, LANE_ALL(700.0), x);
    /* 2^52 + 2^51 leaves no room for a fraction: adding it rounds to an integer, which is in the lowest bits. */
    const lane_reals shifted = x * 0x1.71547652b82fep+0 + 0x1.8p52, n = shifted - 0x1.8p52;
    const lane_reals r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    lane_reals p = LANE_ALL(1.0 / 3628800);
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
    *y = p * (lane_reals)(((lane_bits)shifted << 52) + ((uint64_t)1023 << 52));
}

QN_INLINE void lane_expf(float *y, const float *x)
{
    lane_reals v;
    lane_load(&v, x);
    lane_exp(&v, &v);
    lane_store(y, &v);
}

QN_INLINE void lane_sigmoidf(float *y, const float *x)
{
    lane_reals v;
    lane_load(&v, x);
    v = -v;
    lane_exp(&v, &v);
    v = 1.0 / (1.0 + v);
    lane_store(y, &v);
}

QN_INLINE void lane_tanhf(float *y, const float *x)
{
    lane_reals v, far;
    lane_load(&v, x);
    const lane_reals a = LANE_ABS(v), near = a - a * a * a * (1.0 / 3);
    far = 2.0 * LANE_SELECT(a > 20.0, LANE_ALL(20.0), a);
    lane_exp(&far, &far);
    far = 1.0 - 2.0 / (far + 1.0);
    v = (lane_reals)((lane_bits)LANE_SELECT(a < 0x1p-10, near, far) | LANE_SIGN(v));
    lane_store(y, &v);
}

/* erf and its slope at multiples of 1/8; 0 beyond 4, where only NaN looks. */
enum { QN_ERF_PLACES = 64 };
extern const double qn_real_erf_at[QN_ERF_PLACES], qn_real_erf_slope[QN_ERF_PLACES];

/* The Taylor series about the nearest multiple c of 1/8, up to the seventh power of r = |x| - c: with erf' = sum b_n r^n,
 * (n + 1) b_(n+1) = -2 (c b_n + b_(n-1)). erf(4) is 1 in f32, and so are all that follow. */
QN_INLINE void lane_erf(lane_reals *y, const lane_reals *x)
{
    const lane_reals v = *x;
    lane_reals at, b0;
    lane_reals a = LANE_ABS(v);
    a = LANE_SELECT(a > 4.0, LANE_ALL(4.0), a);
    const lane_reals shifted = a * 8.0 + 0x1.8p52, c = (shifted - 0x1.8p52) * 0.125, r = a - c;
    const lane_bits k = (lane_bits)shifted & (uint64_t)(QN_ERF_PLACES - 1);
    for (int i = 0; i < LANE_COUNT; i++) {
        at[i] = qn_real_erf_at[k[i]];
        b0[i] = qn_real_erf_slope[k[i]];
    }
    const lane_reals b1 = -2.0 * (c * b0), b2 = -(c * b1 + b0);
    const lane_reals b3 = (c * b2 + b1) * (-2.0 / 3), b4 = (c * b3 + b2) * -0.5, b5 = (c * b4 + b3) * (-2.0 / 5);
    const lane_reals b6 = (c * b5 + b4) * (-1.0 / 3);
    lane_reals p = b6 * (1.0 / 7);
    p = p * r + b5 * (1.0 / 6);
    p = p * r + b4 * 0.2;
    p = p * r + b3 * 0.25;
    p = p * r + b2 * (1.0 / 3);
    p = p * r + b1 * 0.5;
    p = p * r + b0;
    p = p * r + at;
    *y = (lane_reals)((lane_bits)p | LANE_SIGN(v));
}

QN_INLINE void lane_erff(float *y, const float *x)
{
    lane_reals v;
    lane_load(&v, x);
    lane_erf(&v, &v);
    lane_store(y, &v);
}

/* One value by itself. */
static inline float real_exp_one(float x)
{
    float lanes[LANE_COUNT] = {x};
    lane_expf(lanes, lanes);
    return lanes[0];
}

/* Natural logarithm of a positive, normal x, within 2^-50. */
static inline double real_log(double x)
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
static inline float real_powf(float x, float y)
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
        lane_reals lanes = LANE_ALL(e * real_log(a));
        lane_exp(&lanes, &lanes);
        power = lanes[0];
    }
    return (float)(odd && signbit(x) ? -power : power);
}

#endif
