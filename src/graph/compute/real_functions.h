/* More functions of f32, made of those in real_math.h and as exact (doc/spec/arithmetic.md 6.4). c: the operator's
 * constants, as unary.c lists them. */
#ifndef QN_GRAPH_REAL_FUNCTIONS_H
#define QN_GRAPH_REAL_FUNCTIONS_H

#include "graph/compute/real_math.h"

/* e^x - 1 */
QN_INLINE void lane_expm1(lane_reals *y, const lane_reals *from)
{
    const lane_reals x = *from, near = x + x * x * 0.5;
    lane_reals e;
    lane_exp(&e, &x);
    *y = LANE_SELECT(LANE_ABS(x) < 0x1p-20, near, e - 1.0);
}

/* The definition of real_log, for positive and normal x. */
QN_INLINE void lane_log(lane_reals *y, const lane_reals *x)
{
    const lane_bits bits = (lane_bits)*x, root = (lane_bits){0} + 0x3fe6a09e667f3bcd;
    const lane_bits n = ((bits - root + ((uint64_t)1 << 62)) >> 52) - 1024;
    const lane_reals m = (lane_reals)(bits - (n << 52)), s = (m - 1.0) / (m + 1.0), q = s * s;
    const lane_reals whole = (lane_reals)(n + 0x4338000000000000) - 0x1.8p52; /* n as a number */
    lane_reals p = LANE_ALL(1.0 / 21);
    QN_UNROLL for (int k = 19; k > 0; k -= 2)
    {
        p = p * q + 1.0 / k;
    }
    *y = whole * 0x1.62e42fefa39efp-1 + 2.0 * s * p;
}

QN_INLINE void lane_logf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, log;
    lane_load(&v, x);
    lane_log(&log, &v);
    log = LANE_SELECT(v > 0x1p128, v, log);
    log = LANE_SELECT(v == 0.0, LANE_ALL(-(double)INFINITY), log);
    log = LANE_SELECT(v >= 0.0, log, LANE_ALL((double)NAN));
    lane_store(y, &log);
}

/* log(1 + t), 0 <= t */
QN_INLINE void lane_log1p(lane_reals *y, const lane_reals *t)
{
    const lane_reals near = *t - *t * *t * 0.5, sum = *t + 1.0;
    lane_reals log;
    lane_log(&log, &sum);
    *y = LANE_SELECT(*t < 0x1p-20, near, log);
}

/* c: alpha */
QN_INLINE void lane_eluf(float *y, const float *x, const float *c)
{
    lane_reals v, e;
    lane_load(&v, x);
    lane_expm1(&e, &v);
    v = LANE_SELECT(v < 0.0, e * (double)c[0], v);
    lane_store(y, &v);
}

/* c: alpha, gamma */
QN_INLINE void lane_seluf(float *y, const float *x, const float *c)
{
    lane_reals v, e;
    lane_load(&v, x);
    lane_expm1(&e, &v);
    v = LANE_SELECT(v <= 0.0, e * (double)c[0], v) * (double)c[1];
    lane_store(y, &v);
}

/* c: alpha */
QN_INLINE void lane_celuf(float *y, const float *x, const float *c)
{
    lane_reals v, e;
    lane_load(&v, x);
    e = v / (double)c[0];
    lane_expm1(&e, &e);
    v = LANE_SELECT(v < 0.0, e * (double)c[0], v);
    lane_store(y, &v);
}

QN_INLINE void lane_softplusf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, e;
    lane_load(&v, x);
    e = -LANE_ABS(v);
    lane_exp(&e, &e);
    lane_log1p(&e, &e);
    e = LANE_SELECT(v > 0.0, v, LANE_ALL(0.0)) + e;
    e = LANE_SELECT(v == v, e, v);
    lane_store(y, &e);
}

/* x * tanh(log(1 + e^x)) = x * n / (n + 2), n = w (w + 2), w = e^x */
QN_INLINE void lane_mishf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, w;
    lane_load(&v, x);
    w = LANE_SELECT(v > 40.0, LANE_ALL(40.0), v);
    lane_exp(&w, &w);
    const lane_reals n = w * (w + 2.0);
    v = v * (n / (n + 2.0));
    lane_store(y, &v);
}

QN_INLINE void lane_erf_of(float *y, const float *x, const float *c)
{
    (void)c;
    lane_erff(y, x);
}

QN_INLINE void lane_exp_of(float *y, const float *x, const float *c)
{
    (void)c;
    lane_expf(y, x);
}

QN_INLINE void lane_sigmoid_of(float *y, const float *x, const float *c)
{
    (void)c;
    lane_sigmoidf(y, x);
}

QN_INLINE void lane_tanh_of(float *y, const float *x, const float *c)
{
    (void)c;
    lane_tanhf(y, x);
}

QN_INLINE void lane_geluf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, e;
    lane_load(&v, x);
    const lane_reals z = v * 0x1.6a09e667f3bcdp-1; /* sqrt(1/2) */
    lane_erf(&e, &z);
    e = LANE_SELECT(z > 4.0, LANE_ALL(1.0), LANE_SELECT(z < -4.0, LANE_ALL(-1.0), e));
    v = v * 0.5 * (e + 1.0);
    lane_store(y, &v);
}

/* x * (1 + tanh(u)) / 2 = x / (1 + e^(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3) */
QN_INLINE void lane_gelu_tanhf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, e;
    lane_load(&v, x);
    e = (v + v * v * v * 0.044715) * -0x1.9884533d43651p+0; /* -2 sqrt(2 / pi) */
    lane_exp(&e, &e);
    v = v / (e + 1.0);
    lane_store(y, &v);
}

/* What |x| > 2^20 leaves over the nearest multiple of pi / 2, and that multiple: exact bits of 2 / pi times the mantissa,
 * of which those that are multiples of 4 are left out. */
static inline void real_reduce_far(float x, double *r, uint64_t *quadrant)
{
    static const uint64_t two_over_pi[] = {0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
                                           0xfe5163abdebbc561};
    typedef unsigned __int128 wide;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int at = (int)(bits >> 23 & 255) - 152; /* x is a mantissa times 2^(at + 2) */
    if (at == 255 - 152) {
        *r = NAN;
        *quadrant = 0;
        return;
    }
    wide window = (wide)two_over_pi[0] << 64 | two_over_pi[1];
    if (at <= 0) {
        window >>= -at;
    } else {
        const int word = at / 64, shift = at % 64;
        window = (wide)two_over_pi[word] << 64 | two_over_pi[word + 1];
        window = shift == 0 ? window : window << shift | two_over_pi[word + 2] >> (64 - shift);
    }
    const wide one = (wide)1 << 94, product = (window >> 32) * ((bits & 0x7fffff) | 0x800000);
    wide fraction = product & (one - 1);
    uint64_t n = (uint64_t)(product >> 94);
    double rest = (double)fraction;
    if (fraction >= one / 2) {
        fraction = one - fraction;
        rest = -(double)fraction;
        n++;
    }
    rest *= 0x1.921fb54442d18p-94; /* pi / 2 */
    *r = bits >> 31 != 0 ? -rest : rest;
    *quadrant = bits >> 31 != 0 ? 0 - n : n;
}

QN_INLINE void lane_reduce(lane_reals *r, lane_bits *quadrant, const float *x)
{
    lane_reals v;
    lane_load(&v, x);
    const lane_reals shifted = v * 0x1.45f306dc9c883p-1 + 0x1.8p52, n = shifted - 0x1.8p52;
    *r = (v - n * 0x1.921fb544p+0) - n * 0x1.0b4611a626331p-34;
    *quadrant = (lane_bits)shifted;
    int far = 0;
    for (int i = 0; i < LANE_COUNT; i++) {
        far |= !(fabsf(x[i]) <= 0x1p20f);
    }
    for (int i = 0; far != 0 && i < LANE_COUNT; i++) {
        if (!(fabsf(x[i]) <= 0x1p20f)) {
            double rest;
            uint64_t which;
            real_reduce_far(x[i], &rest, &which);
            (*r)[i] = rest;
            (*quadrant)[i] = which;
        }
    }
}

/* The sine a quarter turns further on: Taylor polynomials of sine and cosine within pi / 4. */
QN_INLINE void lane_turn(lane_reals *y, const lane_reals *from, const lane_bits *at)
{
    const lane_reals r = *from, q = r * r;
    const lane_bits quadrant = *at;
    lane_reals sine = LANE_ALL(-1.0 / 1307674368000), cosine = LANE_ALL(1.0 / 20922789888000);
    sine = sine * q + 1.0 / 6227020800;
    sine = sine * q + -1.0 / 39916800;
    sine = sine * q + 1.0 / 362880;
    sine = sine * q + -1.0 / 5040;
    sine = sine * q + 1.0 / 120;
    sine = sine * q + -1.0 / 6;
    sine = sine * q * r + r;
    cosine = cosine * q + -1.0 / 87178291200;
    cosine = cosine * q + 1.0 / 479001600;
    cosine = cosine * q + -1.0 / 3628800;
    cosine = cosine * q + 1.0 / 40320;
    cosine = cosine * q + -1.0 / 720;
    cosine = cosine * q + 1.0 / 24;
    cosine = cosine * q + -0.5;
    cosine = cosine * q + 1.0;
    const lane_bits odd = (lane_bits){0} - (quadrant & 1), turned = (quadrant & 2) << 62;
    *y = (lane_reals)((lane_bits)LANE_SELECT(odd, cosine, sine) ^ turned);
}

QN_INLINE void lane_sine(float *y, const float *x, uint64_t a)
{
    lane_reals r, v;
    lane_bits quadrant;
    lane_reduce(&r, &quadrant, x);
    quadrant += a;
    lane_turn(&v, &r, &quadrant);
    lane_store(y, &v);
}

QN_INLINE void lane_sinf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_sine(y, x, 0);
}

QN_INLINE void lane_cosf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_sine(y, x, 1);
}

QN_INLINE void lane_tanf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals r, sine, cosine;
    lane_bits quadrant;
    lane_reduce(&r, &quadrant, x);
    lane_turn(&sine, &r, &quadrant);
    quadrant += 1;
    lane_turn(&cosine, &r, &quadrant);
    sine = sine / cosine;
    lane_store(y, &sine);
}

QN_INLINE void lane_sinhf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, e;
    lane_load(&v, x);
    lane_exp(&e, &v);
    const lane_reals q = v * v, near = v + v * q * (q * (1.0 / 120) + 1.0 / 6);
    e = LANE_SELECT(LANE_ABS(v) < 0x1p-5, near, (e - 1.0 / e) * 0.5);
    lane_store(y, &e);
}

QN_INLINE void lane_coshf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, e;
    lane_load(&v, x);
    lane_exp(&e, &v);
    e = (e + 1.0 / e) * 0.5;
    lane_store(y, &e);
}

QN_INLINE void lane_root(lane_reals *y)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        (*y)[i] = sqrt((*y)[i]);
    }
}

/* Within tan(pi / 8) of 0 by its Taylor series; from there to 1 about pi / 4; beyond by the reciprocal. */
QN_INLINE void lane_atan(lane_reals *y, const lane_reals *x)
{
    const lane_reals v = *x, a = LANE_ABS(v), t = LANE_SELECT(a > 1.0, 1.0 / a, a);
    const lane_reals u = LANE_SELECT(t > 0x1.a827999fcef32p-2, (t - 1.0) / (t + 1.0), t), q = u * u;
    lane_reals p = LANE_ALL(1.0 / 33);
    QN_UNROLL for (int k = 31; k > 0; k -= 2)
    {
        p = 1.0 / k - p * q;
    }
    p = u * p;
    p = LANE_SELECT(t > 0x1.a827999fcef32p-2, p + 0x1.921fb54442d18p-1, p);
    p = LANE_SELECT(a > 1.0, 0x1.921fb54442d18p+0 - p, p);
    *y = (lane_reals)((lane_bits)p | LANE_SIGN(v));
}

QN_INLINE void lane_atanf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, w;
    lane_load(&v, x);
    lane_atan(&w, &v);
    w = LANE_SELECT(v == v, w, v);
    lane_store(y, &w);
}

QN_INLINE void lane_asinf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, w;
    lane_load(&v, x);
    w = (1.0 - v) * (1.0 + v);
    lane_root(&w);
    w = v / w;
    lane_atan(&w, &w);
    w = LANE_SELECT(LANE_ABS(v) <= 1.0, w, LANE_ALL((double)NAN));
    lane_store(y, &w);
}

QN_INLINE void lane_acosf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, w;
    lane_load(&v, x);
    w = (1.0 - v) / (1.0 + v);
    lane_root(&w);
    lane_atan(&w, &w);
    w = LANE_SELECT(LANE_ABS(v) <= 1.0, w * 2.0, LANE_ALL((double)NAN));
    lane_store(y, &w);
}

QN_INLINE void lane_asinhf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, w;
    lane_load(&v, x);
    const lane_reals a = LANE_ABS(v);
    w = a * a + 1.0;
    lane_root(&w);
    w = a + a * a / (w + 1.0);
    lane_log1p(&w, &w);
    w = (lane_reals)((lane_bits)w | LANE_SIGN(v));
    w = LANE_SELECT(a <= 0x1p128, w, v);
    lane_store(y, &w);
}

QN_INLINE void lane_acoshf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, w;
    lane_load(&v, x);
    const lane_reals t = v - 1.0;
    w = t * (t + 2.0);
    lane_root(&w);
    w = t + w;
    lane_log1p(&w, &w);
    w = LANE_SELECT(v <= 0x1p128, w, v);
    w = LANE_SELECT(v >= 1.0, w, LANE_ALL((double)NAN));
    lane_store(y, &w);
}

QN_INLINE void lane_atanhf(float *y, const float *x, const float *c)
{
    (void)c;
    lane_reals v, w;
    lane_load(&v, x);
    const lane_reals a = LANE_ABS(v);
    w = a * 2.0 / (1.0 - a);
    lane_log1p(&w, &w);
    w = LANE_SELECT(a < 1.0, w * 0.5, LANE_ALL((double)INFINITY));
    w = LANE_SELECT(a <= 1.0, w, LANE_ALL((double)NAN));
    w = (lane_reals)((lane_bits)w | LANE_SIGN(v));
    lane_store(y, &w);
}

#endif
