/* Sums of products of codes. Part of quern, Apache License 2.0. */
#ifndef QUERN_DOT_H
#define QUERN_DOT_H

#include "quern_inline.h"

/* Output channels that are requantized together, weights unpacked at a time, pixels that share them. */
enum { QUERN_CHANNELS = 16, QUERN_WEIGHTS = 256, QUERN_PIXELS = 8 };

/* x - zero of a code: 9 bits and a sign. */
static inline int16_t quern_centred(uint8_t x, uint8_t flip, int16_t flip_and_zero)
{
    return (int16_t)((x ^ flip) - flip_and_zero);
}

/* sums[0..3] += of n codes with 4 rows of weights that lie `step` apart. */
static inline void quern_dot_4(const uint8_t *x, int32_t n, uint8_t flip, int16_t zero, const int8_t *w, int32_t step,
                               uint32_t *sums)
{
    const int8_t *w0 = w, *w1 = w + step, *w2 = w + 2 * step, *w3 = w + 3 * step;
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    int32_t i;
    for (i = 0; i < n; i++) {
        const int16_t v = quern_centred(x[i], flip, zero);
        s0 += (uint32_t)(v * (int16_t)w0[i]);
        s1 += (uint32_t)(v * (int16_t)w1[i]);
        s2 += (uint32_t)(v * (int16_t)w2[i]);
        s3 += (uint32_t)(v * (int16_t)w3[i]);
    }
    sums[0] += s0;
    sums[1] += s1;
    sums[2] += s2;
    sums[3] += s3;
}

static inline uint32_t quern_dot_1(const uint8_t *x, int32_t n, uint8_t flip, int16_t zero, const int8_t *w)
{
    uint32_t sum = 0;
    int32_t i;
    for (i = 0; i < n; i++) {
        const int16_t v = quern_centred(x[i], flip, zero);
        sum += (uint32_t)(v * (int16_t)w[i]);
    }
    return sum;
}

/* With weights that are unpacked. */
static inline uint32_t quern_dot_wide(const uint8_t *x, int32_t n, uint8_t flip, int16_t zero, const int16_t *w)
{
    uint32_t sum = 0;
    int32_t i;
    for (i = 0; i < n; i++) {
        const int16_t v = quern_centred(x[i], flip, zero);
        sum += (uint32_t)(v * w[i]);
    }
    return sum;
}

/* sums[0..n) += of n codes with n rows of weights, n up to QUERN_CHANNELS. */
static inline void quern_dot_rows(const uint8_t *x, int32_t length, uint8_t flip, int16_t zero, const int8_t *w,
                                  int32_t step, int32_t n, uint32_t *sums)
{
    int32_t j = 0;
    for (; j + 4 <= n; j += 4) {
        quern_dot_4(x, length, flip, zero, w + j * step, step, sums + j);
    }
    for (; j < n; j++) {
        sums[j] += quern_dot_1(x, length, flip, zero, w + j * step);
    }
}

/* Weight code of channel k that stands for 0. */
static inline int32_t quern_zero_w(const void *zero_w, int32_t k, int32_t step, int32_t is_signed)
{
    return zero_w == 0 ? 0 : quern_code(((const uint8_t *)zero_w)[k * step], is_signed ? 0x80 : 0);
}

/* Bias of channels k .. k + n. */
static inline void quern_start(uint32_t *sums, const int32_t *bias, int32_t k, int32_t n)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        sums[i] = bias != 0 ? (uint32_t)bias[k + i] : 0;
    }
}

static inline quern_requantize quern_by(const quern_codes *codes, quern_requantize_fn *apply, const void *multiplier,
                                        const int8_t *shift)
{
    quern_requantize r;
    r.codes = codes;
    r.apply = apply;
    r.multiplier = multiplier;
    r.shift = shift;
    return r;
}

/* The sums as the accumulator holds them, and their codes. */
static inline void quern_finish(const quern_requantize *r, const uint32_t *sums, int32_t bits, int32_t k, int32_t n,
                                void *y)
{
    int32_t held[QUERN_CHANNELS];
    int32_t i;
    for (i = 0; i < n; i++) {
        held[i] = quern_wrap(sums[i], bits);
    }
    r->apply(r, held, k, n, y);
}

#endif
