/* Convolutions whose accumulator saturates: the order of the products is part of the result, so they are added one by
 * one. Part of quern, Apache License 2.0. */
#include "quern_dot.h"

/* The accumulator with one product more; a tap outside of the map adds none. */
static int32_t add_product(const quern_conv *p, const uint8_t *x, int32_t sum, int32_t y_at, int32_t x_at, int32_t k,
                           int32_t tap, int32_t c)
{
    const int32_t taps = p->kernel[0] * p->kernel[1], inputs = p->group_inputs;
    const int32_t depthwise = inputs == 1 && p->group_outputs == 1;
    const int32_t limit = (int32_t)(UINT32_C(0x7fffffff) >> (32 - p->accumulator_bits));
    const int32_t at = depthwise ? tap * p->outputs + k : (k * taps + tap) * inputs + c;
    const int32_t group = k / p->group_outputs;
    int16_t w;
    int32_t code;
    int64_t next;
    if (y_at < 0 || y_at >= p->height || x_at < 0 || x_at >= p->width) {
        return sum;
    }
    quern_unpack(&w, p->weights, at, 1, p->weight_bits, p->weight_signed);
    code = quern_code(x[(y_at * p->width + x_at) * p->channels + group * inputs + c], p->flip_x);
    next = (int64_t)sum + (code - p->zero_x) * (w - quern_zero_w(p->zero_w, k, p->zero_w_step, p->weight_signed));
    return next < -limit - 1 ? -limit - 1 : next > limit ? limit : (int32_t)next;
}

static int32_t window(const quern_conv *p, const uint8_t *x, int32_t row, int32_t column, int32_t k)
{
    const int32_t top = row * p->stride[0] - p->pad[0], left = column * p->stride[1] - p->pad[1];
    const int32_t taps = p->kernel[0] * p->kernel[1], n = taps * p->group_inputs;
    const int32_t limit = (int32_t)(UINT32_C(0x7fffffff) >> (32 - p->accumulator_bits));
    int32_t sum = quern_clamp(p->bias != 0 ? p->bias[k] : 0, -limit - 1, limit);
    int32_t i;
    for (i = 0; i < n; i++) {
        const int32_t tap = p->by_matrix ? i % taps : i / p->group_inputs;
        const int32_t c = p->by_matrix ? i / taps : i % p->group_inputs;
        const int32_t r = tap / p->kernel[1], s = tap % p->kernel[1];
        sum = add_product(p, x, sum, top + r * p->dilation[0], left + s * p->dilation[1], k, tap, c);
    }
    return sum;
}

void quern_conv_saturating(const quern_conv *p, const uint8_t *x, void *y)
{
    uint8_t *to = (uint8_t *)y;
    int32_t row, column, k;
    for (row = 0; row < p->out_height; row++) {
        for (column = 0; column < p->out_width; column++) {
            for (k = 0; k < p->outputs; k++) {
                const int32_t sum = window(p, x, row, column, k);
                p->requantize.apply(&p->requantize, &sum, k, 1, to);
                to += p->y_bytes;
            }
        }
    }
}
