/* Layers over whole rows of codes: Softmax, normalization, products of two matrices of codes. Part of quern, Apache
 * License 2.0. */
#include "quern_dot.h"

/* n / d to nearest, ties to even. */
static int32_t divide(uint64_t n, uint64_t d)
{
    const uint64_t q = n / d, rest = n % d;
    if (q > 1024) { /* beyond all codes */
        return 1024;
    }
    return (int32_t)(q + (rest > d - rest || (rest == d - rest && (q & 1) != 0) ? 1 : 0));
}

static void softmax_line(const quern_softmax *p, const uint8_t *x, uint8_t *y, const uint32_t *share,
                         const uint32_t *part)
{
    int32_t most = quern_code(x[0], p->flip_x), i;
    uint64_t sum = 0;
    for (i = 1; i < p->n; i++) {
        const int32_t code = quern_code(x[i * p->inner], p->flip_x);
        most = code > most ? code : most;
    }
    for (i = 0; i < p->n; i++) {
        sum += share[most - quern_code(x[i * p->inner], p->flip_x)];
    }
    for (i = 0; i < p->n; i++) {
        const uint64_t n = (uint64_t)part[most - quern_code(x[i * p->inner], p->flip_x)] << p->left;
        y[i * p->inner] = (uint8_t)quern_clamp(divide(n, sum << p->right) + p->zero, p->lo, p->hi);
    }
}

void quern_softmax_codes(const quern_softmax *p, const uint8_t *x, uint8_t *y, const uint32_t *share,
                         const uint32_t *part)
{
    int32_t row, i;
    for (row = 0; row < p->rows; row++) {
        for (i = 0; i < p->inner; i++) {
            softmax_line(p, x + row * p->n * p->inner + i, y + row * p->n * p->inner + i, share, part);
        }
    }
}

/* The greatest integer whose square is not above x. */
static uint64_t root_of(uint64_t x)
{
    uint64_t root = 0;
    int32_t bit;
    for (bit = 31; bit >= 0; bit--) {
        const uint64_t more = root | (uint64_t)1 << bit;
        root = more * more <= x ? more : root;
    }
    return root;
}

static void norm_line(const quern_norm *p, const uint8_t *x, uint8_t *y, const int32_t *gain, const int64_t *bias)
{
    int64_t sum = 0, squares = 0, spread, factor = 0;
    int32_t i, shift = 1;
    for (i = 0; i < p->n; i++) {
        const int32_t code = quern_code(x[i], p->flip_x);
        sum += code;
        squares += code * code;
    }
    spread = p->n * squares - sum * sum;
    if (spread != 0) {
        uint64_t variance = ((uint64_t)spread << (2 * p->half)) + (uint64_t)p->add;
        int32_t up = 0;
        while (variance >> 62 == 0) {
            variance <<= 2;
            up++;
        }
        factor = (int64_t)((((uint64_t)1 << 62) - 1) / root_of(variance));
        shift = 42 - up - p->half;
    }
    for (i = 0; i < p->n; i++) {
        const int64_t off = (int64_t)p->n * quern_code(x[i], p->flip_x) - sum;
        const int64_t z = quern_shift(off * factor, shift, QUERN_NEAREST_UP);
        const int64_t v = quern_shift(z * gain[i] + bias[i], p->right, QUERN_NEAREST_EVEN);
        const int64_t low = p->lo - p->zero, high = p->hi - p->zero;
        y[i] = (uint8_t)((int32_t)(v < low ? low : v > high ? high : v) + p->zero);
    }
}

void quern_norm_codes(const quern_norm *p, const uint8_t *x, uint8_t *y, const int32_t *gain, const int64_t *bias)
{
    int32_t row;
    for (row = 0; row < p->rows; row++) {
        norm_line(p, x + row * p->n, y + row * p->n, gain, bias);
    }
}

/* Of columns j .. j + n of a row; n up to QUERN_CHANNELS. */
static void product_sums(const quern_product *p, const uint8_t *a, const uint8_t *b, int32_t n, uint32_t *sums)
{
    const int16_t zero_a = (int16_t)(p->flip_a + p->zero_a), zero_b = (int16_t)(p->flip_b + p->zero_b);
    const int64_t limit = (int64_t)1 << (p->accumulator_bits - 1);
    int32_t i, k;
    for (i = 0; i < n; i++) {
        sums[i] = 0;
    }
    for (k = 0; k < p->k; k++) {
        const int32_t left = quern_centred(a[k], p->flip_a, zero_a);
        for (i = 0; i < n; i++) {
            const int32_t term = left * quern_centred(b[k * p->n + i], p->flip_b, zero_b);
            if (p->saturates) {
                const int64_t sum = (int64_t)(int32_t)sums[i] + term;
                sums[i] = (uint32_t)(int32_t)(sum < -limit ? -limit : sum >= limit ? limit - 1 : sum);
            } else {
                sums[i] += (uint32_t)term;
            }
        }
    }
}

void quern_product_codes(const quern_product *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t *left,
                         const int32_t *right, quern_requantize_fn *apply, const void *multiplier, const int8_t *shift)
{
    const quern_requantize requantize = quern_by(&p->codes, apply, multiplier, shift);
    uint32_t sums[QUERN_CHANNELS];
    int32_t batch, row, j;
    for (batch = 0; batch < p->batches; batch++) {
        for (row = 0; row < p->m; row++) {
            const uint8_t *from = a + (left[batch] + row) * p->k;
            for (j = 0; j < p->n; j += QUERN_CHANNELS) {
                const int32_t n = p->n - j < QUERN_CHANNELS ? p->n - j : QUERN_CHANNELS;
                product_sums(p, from, b + right[batch] * p->n + j, n, sums);
                quern_finish(&requantize, sums, p->accumulator_bits, 0, n, y + (batch * p->m + row) * p->n + j);
            }
        }
    }
}
