/* Convolutions of weights of 1 to 8 bits, with zero points or without. Part of quern, Apache License 2.0. */
#include "quern_dot.h"

void quern_unpack(int16_t *w, const void *packed, int32_t first, int32_t n, int32_t bits, int32_t is_signed)
{
    const uint8_t *bytes = (const uint8_t *)packed;
    const int32_t mask = (1 << bits) - 1, sign = is_signed ? 1 << (bits - 1) : 0;
    uint32_t at = (uint32_t)first * (uint32_t)bits;
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t code = bytes[at >> 3] >> (at & 7);
        if ((int32_t)(at & 7) + bits > 8) {
            code |= bytes[(at >> 3) + 1] << (8 - (at & 7));
        }
        w[i] = (int16_t)(((code & mask) ^ sign) - sign);
        at += (uint32_t)bits;
    }
}

static void unpack_centred(int16_t *w, const void *packed, int32_t first, int32_t n, int32_t bits, int32_t is_signed,
                           int32_t zero)
{
    int32_t i;
    quern_unpack(w, packed, first, n, bits, is_signed);
    for (i = 0; zero != 0 && i < n; i++) {
        w[i] = (int16_t)(w[i] - zero);
    }
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Channel k of `n` neighbouring pixels, from `column` on: weights are unpacked once for all of them. The elements of a
 * kernel row lie in one piece where its columns and channels do, else column by column. */
static void pixels_of_row(const quern_conv *p, const void *weights, int32_t zero_w, const uint8_t *x, int32_t row,
                          int32_t column, int32_t k, int32_t n, uint32_t *sums)
{
    const int32_t top = row * p->stride[0] - p->pad[0], left = column * p->stride[1] - p->pad[1];
    const quern_range rows = quern_inside(top, p->kernel[0], p->dilation[0], p->height);
    const int32_t whole = p->group_inputs == p->channels && p->dilation[1] == 1;
    const int32_t pieces = whole ? 1 : p->kernel[1], taps = whole ? p->kernel[1] : 1, length = taps * p->group_inputs;
    const int16_t zero = (int16_t)(p->flip_x + p->zero_x);
    int16_t w[QUERN_WEIGHTS];
    int32_t r, s, first, i;
    x += k / p->group_outputs * p->group_inputs;
    for (r = rows.first; r < rows.last; r++) {
        const int32_t above = (top + r * p->dilation[0]) * p->width;
        for (s = 0; s < pieces; s++) {
            for (first = 0; first < length; first += QUERN_WEIGHTS) {
                const int32_t some = least(QUERN_WEIGHTS, length - first);
                unpack_centred(w, weights, ((k * p->kernel[0] + r) * pieces + s) * length + first, some, p->weight_bits,
                               p->weight_signed, zero_w);
                for (i = 0; i < n; i++) {
                    const int32_t at = left + i * p->stride[1] + s * p->dilation[1];
                    const quern_range columns = quern_inside(at, taps, 1, p->width);
                    const int32_t a = columns.first * p->group_inputs, b = columns.last * p->group_inputs;
                    const int32_t from = a > first ? a : first, to = least(b, first + some);
                    if (from < to) {
                        sums[i] += quern_dot_wide(x + (above + at) * p->channels + from, to - from, p->flip_x, zero,
                                                  w + (from - first));
                    }
                }
            }
        }
    }
}

void quern_conv_packed(const quern_conv *p, const uint8_t *x, void *y, const void *weights, const void *zero_w,
                       const int32_t *bias, quern_requantize_fn *apply, const void *multiplier, const int8_t *shift)
{
    const quern_requantize requantize = quern_by(&p->codes, apply, multiplier, shift);
    uint8_t *to = (uint8_t *)y;
    uint32_t sums[QUERN_PIXELS];
    int32_t row, column, k, i;
    for (k = 0; k < p->outputs; k++) {
        const int32_t zero_k = quern_zero_w(zero_w, k, p->zero_w_step, p->weight_signed);
        for (row = 0; row < p->out_height; row++) {
            for (column = 0; column < p->out_width; column += QUERN_PIXELS) {
                const int32_t n = least(QUERN_PIXELS, p->out_width - column);
                for (i = 0; i < n; i++) {
                    quern_start(sums + i, bias, k, 1);
                }
                pixels_of_row(p, weights, zero_k, x, row, column, k, n, sums);
                for (i = 0; i < n; i++) {
                    quern_finish(&requantize, sums + i, p->accumulator_bits, k, 1,
                                 to + ((row * p->out_width + column + i) * p->outputs + k) * p->codes.y_bytes);
                }
            }
        }
    }
}

static void products(uint32_t *sums, const uint8_t *x, uint8_t flip, int16_t zero, const int16_t *w, int32_t n)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        sums[i] += (uint32_t)(quern_centred(x[i], flip, zero) * w[i]);
    }
}

/* Taps r, s of channels k .. k + n. */
static void depthwise_weights(const quern_conv *p, const void *weights, const void *zero_w, int32_t tap, int32_t k,
                              int32_t n, int16_t *w)
{
    int32_t i;
    quern_unpack(w, weights, tap * p->outputs + k, n, p->weight_bits, p->weight_signed);
    for (i = 0; zero_w != 0 && i < n; i++) {
        w[i] = (int16_t)(w[i] - quern_zero_w(zero_w, k + i, p->zero_w_step, p->weight_signed));
    }
}

void quern_depthwise_packed(const quern_conv *p, const uint8_t *x, void *y, const void *weights, const void *zero_w,
                            const int32_t *bias, quern_requantize_fn *apply, const void *multiplier,
                            const int8_t *shift)
{
    const quern_requantize requantize = quern_by(&p->codes, apply, multiplier, shift);
    const int16_t zero = (int16_t)(p->flip_x + p->zero_x);
    uint8_t *to = (uint8_t *)y;
    uint32_t sums[QUERN_CHANNELS];
    int16_t w[QUERN_CHANNELS];
    int32_t row, column, k, r, s;
    for (row = 0; row < p->out_height; row++) {
        const int32_t top = row * p->stride[0] - p->pad[0];
        const quern_range rows = quern_inside(top, p->kernel[0], p->dilation[0], p->height);
        for (column = 0; column < p->out_width; column++) {
            const int32_t left = column * p->stride[1] - p->pad[1];
            const quern_range columns = quern_inside(left, p->kernel[1], p->dilation[1], p->width);
            for (k = 0; k < p->outputs; k += QUERN_CHANNELS) {
                const int32_t n = least(QUERN_CHANNELS, p->outputs - k);
                quern_start(sums, bias, k, n);
                for (r = rows.first; r < rows.last; r++) {
                    for (s = columns.first; s < columns.last; s++) {
                        const int32_t at = (top + r * p->dilation[0]) * p->width + left + s * p->dilation[1];
                        depthwise_weights(p, weights, zero_w, r * p->kernel[1] + s, k, n, w);
                        products(sums, x + at * p->channels + k, p->flip_x, zero, w, n);
                    }
                }
                quern_finish(&requantize, sums, p->accumulator_bits, k, n, to + k * p->codes.y_bytes);
            }
            to += p->outputs * p->codes.y_bytes;
        }
    }
}

void quern_fully_connected_packed(const quern_matrix *p, const uint8_t *x, void *y, const void *weights,
                                  const void *zero_w, const int32_t *bias, quern_requantize_fn *apply,
                                  const void *multiplier, const int8_t *shift)
{
    const quern_requantize requantize = quern_by(&p->codes, apply, multiplier, shift);
    const int16_t zero = (int16_t)(p->flip_x + p->zero_x);
    uint8_t *to = (uint8_t *)y;
    int16_t w[QUERN_WEIGHTS];
    uint32_t sums[QUERN_PIXELS];
    int32_t row, k, first, i;
    for (k = 0; k < p->outputs; k++) {
        const int32_t zero_k = quern_zero_w(zero_w, k, p->zero_w_step, p->weight_signed);
        for (row = 0; row < p->rows; row += QUERN_PIXELS) {
            const int32_t n = least(QUERN_PIXELS, p->rows - row);
            for (i = 0; i < n; i++) {
                quern_start(sums + i, bias, k, 1);
            }
            for (first = 0; first < p->inputs; first += QUERN_WEIGHTS) {
                const int32_t some = least(QUERN_WEIGHTS, p->inputs - first);
                unpack_centred(w, weights, k * p->inputs + first, some, p->weight_bits, p->weight_signed, zero_k);
                for (i = 0; i < n; i++) {
                    sums[i] += quern_dot_wide(x + (row + i) * p->inputs + first, some, p->flip_x, zero, w);
                }
            }
            for (i = 0; i < n; i++) {
                quern_finish(&requantize, sums + i, p->accumulator_bits, k, 1,
                             to + ((row + i) * p->outputs + k) * p->codes.y_bytes);
            }
        }
    }
}
