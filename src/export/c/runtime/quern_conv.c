/* Convolutions of 8-bit weights. Part of quern, Apache License 2.0. */
#include "quern_dot.h"

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* One output pixel, channels k .. k + n of one group. */
static void pixel_s8(const quern_conv *p, const int8_t *w, const uint8_t *x, int32_t row, int32_t column, int32_t k,
                     int32_t n, uint32_t *sums)
{
    const int32_t top = row * p->stride[0] - p->pad[0], left = column * p->stride[1] - p->pad[1];
    const quern_range rows = quern_inside(top, p->kernel[0], p->dilation[0], p->height);
    const quern_range columns = quern_inside(left, p->kernel[1], p->dilation[1], p->width);
    const int32_t run = p->group_inputs, per_row = p->kernel[1] * run, step = p->kernel[0] * per_row;
    const int16_t zero = (int16_t)(p->flip_x + p->zero_x);
    int32_t r, s;
    x += k / p->group_outputs * run;
    w += k * step;
    for (r = rows.first; r < rows.last; r++) {
        const uint8_t *from = x + ((top + r * p->dilation[0]) * p->width + left) * p->channels;
        if (run == p->channels && p->dilation[1] == 1) { /* the whole row of the kernel lies in one piece */
            quern_dot_rows(from + columns.first * run, (columns.last - columns.first) * run, p->flip_x, zero,
                           w + r * per_row + columns.first * run, step, n, sums);
            continue;
        }
        for (s = columns.first; s < columns.last; s++) {
            quern_dot_rows(from + s * p->dilation[1] * p->channels, run, p->flip_x, zero, w + r * per_row + s * run,
                           step, n, sums);
        }
    }
}

void quern_conv_s8(const quern_conv *p, const uint8_t *x, void *y, const int8_t *weights, const int32_t *bias,
                   quern_requantize_fn *apply, const void *multiplier, const int8_t *shift)
{
    const quern_requantize requantize = quern_by(&p->codes, apply, multiplier, shift);
    uint8_t *to = (uint8_t *)y;
    uint32_t sums[QUERN_CHANNELS];
    int32_t row, column, k, n;
    for (row = 0; row < p->out_height; row++) {
        for (column = 0; column < p->out_width; column++) {
            for (k = 0; k < p->outputs; k += n) {
                n = least(QUERN_CHANNELS, p->group_outputs - k % p->group_outputs);
                quern_start(sums, bias, k, n);
                pixel_s8(p, weights, x, row, column, k, n, sums);
                quern_finish(&requantize, sums, p->accumulator_bits, k, n, to + k * p->codes.y_bytes);
            }
            to += p->outputs * p->codes.y_bytes;
        }
    }
}

/* sums[i] += code i times weight i. */
static void products(uint32_t *sums, const uint8_t *x, uint8_t flip, int16_t zero, const int8_t *w, int32_t n)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        const int16_t v = quern_centred(x[i], flip, zero);
        sums[i] += (uint32_t)(v * (int16_t)w[i]);
    }
}

void quern_depthwise_s8(const quern_conv *p, const uint8_t *x, void *y, const int8_t *weights, const int32_t *bias,
                        quern_requantize_fn *apply, const void *multiplier, const int8_t *shift)
{
    const quern_requantize requantize = quern_by(&p->codes, apply, multiplier, shift);
    const int16_t zero = (int16_t)(p->flip_x + p->zero_x);
    uint8_t *to = (uint8_t *)y;
    uint32_t sums[QUERN_CHANNELS];
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
                        products(sums, x + at * p->channels + k, p->flip_x, zero,
                                 weights + (r * p->kernel[1] + s) * p->outputs + k, n);
                    }
                }
                quern_finish(&requantize, sums, p->accumulator_bits, k, n, to + k * p->codes.y_bytes);
            }
            to += p->outputs * p->codes.y_bytes;
        }
    }
}

void quern_fully_connected_s8(const quern_matrix *p, const uint8_t *x, void *y, const int8_t *weights,
                              const int32_t *bias, quern_requantize_fn *apply, const void *multiplier,
                              const int8_t *shift)
{
    const quern_requantize requantize = quern_by(&p->codes, apply, multiplier, shift);
    const int16_t zero = (int16_t)(p->flip_x + p->zero_x);
    uint8_t *to = (uint8_t *)y;
    uint32_t sums[QUERN_CHANNELS];
    int32_t row, k;
    for (row = 0; row < p->rows; row++) {
        for (k = 0; k < p->outputs; k += QUERN_CHANNELS) {
            const int32_t n = least(QUERN_CHANNELS, p->outputs - k);
            quern_start(sums, bias, k, n);
            quern_dot_rows(x, p->inputs, p->flip_x, zero, weights + k * p->inputs, p->inputs, n, sums);
            quern_finish(&requantize, sums, p->accumulator_bits, k, n, to + k * p->codes.y_bytes);
        }
        x += p->inputs;
        to += p->outputs * p->codes.y_bytes;
    }
}
