/* Convolutions whose accumulator saturates: the order of the products is part of the result, so they are added one by
 * one. Part of quern, Apache License 2.0. */
#include "quern_dot.h"

/* Where the window of a sum lies, and what it reads. */
typedef struct place {
    const uint8_t *x; /* first channel of the group, at (0, 0) */
    const void *weights;
    int32_t top, left, k, bias, zero_w, limit;
} place;

static int32_t weight(const quern_conv *p, const void *weights, int32_t at)
{
    int16_t w;
    if (p->weight_bits == 8) {
        return quern_code(((const uint8_t *)weights)[at], p->weight_signed ? 0x80 : 0);
    }
    quern_unpack(&w, weights, at, 1, p->weight_bits, p->weight_signed);
    return w;
}

/* The accumulator with the product at kernel row r, column s, channel c; a tap outside of the map adds none. */
static int32_t add_product(const quern_conv *p, const place *at, int32_t sum, int32_t r, int32_t s, int32_t c)
{
    const int32_t row = at->top + r * p->dilation[0], column = at->left + s * p->dilation[1];
    const int32_t tap = r * p->kernel[1] + s;
    int32_t code, index, next;
    if (row < 0 || row >= p->height || column < 0 || column >= p->width) {
        return sum;
    }
    index = p->group_inputs == 1 && p->group_outputs == 1
                ? tap * p->outputs + at->k /* depthwise */
                : (at->k * p->kernel[0] * p->kernel[1] + tap) * p->group_inputs + c;
    code = quern_code(at->x[(row * p->width + column) * p->channels + c], p->flip_x) - p->zero_x;
    next = quern_clamp_wide((int64_t)sum + code * (weight(p, at->weights, index) - at->zero_w));
    return quern_clamp(next, -at->limit - 1, at->limit);
}

static int32_t window(const quern_conv *p, const place *at)
{
    int32_t sum = quern_clamp(at->bias, -at->limit - 1, at->limit);
    int32_t r, s, c;
    if (p->by_matrix) {
        for (c = 0; c < p->group_inputs; c++) {
            for (r = 0; r < p->kernel[0]; r++) {
                for (s = 0; s < p->kernel[1]; s++) {
                    sum = add_product(p, at, sum, r, s, c);
                }
            }
        }
        return sum;
    }
    for (r = 0; r < p->kernel[0]; r++) {
        for (s = 0; s < p->kernel[1]; s++) {
            for (c = 0; c < p->group_inputs; c++) {
                sum = add_product(p, at, sum, r, s, c);
            }
        }
    }
    return sum;
}

void quern_conv_saturating(const quern_conv *p, const uint8_t *x, void *y, const void *weights, const void *zero_w,
                           const int32_t *bias, quern_requantize_fn *apply, const void *multiplier, const int8_t *shift)
{
    const quern_requantize requantize = quern_by(&p->codes, apply, multiplier, shift);
    uint8_t *to = (uint8_t *)y;
    int32_t row, column, k;
    place at;
    at.weights = weights;
    at.limit = (int32_t)(UINT32_C(0x7fffffff) >> (32 - p->accumulator_bits));
    for (row = 0; row < p->out_height; row++) {
        for (column = 0; column < p->out_width; column++) {
            at.top = row * p->stride[0] - p->pad[0];
            at.left = column * p->stride[1] - p->pad[1];
            for (k = 0; k < p->outputs; k++) {
                int32_t sum;
                at.k = k;
                at.x = x + k / p->group_outputs * p->group_inputs;
                at.bias = bias != 0 ? bias[k] : 0;
                at.zero_w = quern_zero_w(zero_w, k, p->zero_w_step, p->weight_signed);
                sum = window(p, &at);
                apply(&requantize, &sum, k, 1, to);
                to += p->codes.y_bytes;
            }
        }
    }
}
