/* The functions by their definition: one loop per dimension, sums in 64 bits, requantization as it is documented.
 * What the library does not promise, or does otherwise on another processor, is an error here: parameters out of their
 * documented range, sums that leave 32 bits, and padding and packing as the comments say. */
#include <stddef.h>
#include <string.h>

#include "arm_nnfunctions.h"

/* The doubling high multiply with a nudge by the sign, then the rounding divide by a power of two; or one division. */
static int requantize(int64_t x, int32_t multiplier, int32_t shift, int64_t *result)
{
    if (shift < -31 || shift > 30 || multiplier < 0) {
        return 0;
    }
#ifdef CMSIS_NN_USE_SINGLE_ROUNDING
    const int64_t unit = (int64_t)1 << (31 - shift);
    const int64_t sum = x * multiplier + unit / 2;
    if (x < -((int64_t)1 << (shift > 0 ? 31 - shift : 31)) || x >= (int64_t)1 << (shift > 0 ? 31 - shift : 31)) {
        return 0;
    }
    *result = sum / unit - (sum % unit < 0);
#else
    const int64_t left = x * ((int64_t)1 << (shift > 0 ? shift : 0));
    const int64_t product = left * multiplier;
    const int64_t high = (product + (product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30))) / ((int64_t)1 << 31);
    const int64_t unit = (int64_t)1 << (shift < 0 ? -shift : 0);
    if (left < INT32_MIN || left > INT32_MAX) {
        return 0;
    }
    *result = high >= 0 ? (high + unit / 2) / unit : -((-high + unit / 2) / unit);
#endif
    return *result >= INT32_MIN && *result <= INT32_MAX;
}

static int8_t clamp(int64_t x, const cmsis_nn_activation *a)
{
    return (int8_t)(x < a->min ? a->min : x > a->max ? a->max : x);
}

static int offsets_are_valid(int32_t input, int32_t output, const cmsis_nn_activation *a)
{
    return input >= -127 && input <= 128 && output >= -128 && output <= 127 && a->min >= -128 && a->max <= 127 &&
           a->min <= a->max;
}

/* Weight i of so many bits: two of four bits in a byte, the first in its low half. */
static int32_t weight(const int8_t *data, int bits, int32_t i)
{
    if (bits == 8) {
        return data[i];
    }
    const int nibble = ((uint8_t)data[i / 2] >> (i % 2 * 4)) & 15;
    return nibble < 8 ? nibble : nibble - 16;
}

typedef struct {
    int32_t size;
    int bits, depthwise;
} kind;

static arm_cmsis_nn_status convolve(kind k, const cmsis_nn_context *ctx, const cmsis_nn_conv_params *p,
                                    const cmsis_nn_per_channel_quant_params *q, const cmsis_nn_dims *in,
                                    const int8_t *x, const cmsis_nn_dims *f, const int8_t *w, const int32_t *bias,
                                    const cmsis_nn_dims *out, int8_t *y)
{
    const int32_t outputs = k.depthwise ? f->c : f->n, row = k.depthwise ? outputs : f->h * f->w * f->c;
    int32_t r, s, c, i, j, o;
    if (!offsets_are_valid(p->input_offset, p->output_offset, &p->activation) || in->n != 1 || out->n != 1 ||
        outputs != out->c || f->c != in->c || (k.depthwise && f->n != 1) || bias == NULL || p->dilation.w < 1 ||
        p->dilation.h < 1 || p->stride.w < 1 || p->stride.h < 1) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    if (ctx->buf == NULL || ctx->size < k.size || (k.bits == 4 && row % 2 != 0)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    memset(ctx->buf, 0x5a, (size_t)k.size); /* it is the library's */
    if (k.depthwise && f->h == 3 && f->w == 3 && p->padding.w <= 1 && p->padding.h <= 1 && p->dilation.w == 1 &&
        p->dilation.h == 1 && (out->w - 1) * p->stride.w - p->padding.w + 1 >= in->w) {
        return ARM_CMSIS_NN_FAILURE; /* arm_depthwise_conv_3x3_s8 always reads the middle column */
    }
#ifdef ARM_MATH_MVEI
    if (!k.depthwise && k.size > 0 && in->h == 1 && f->h == 1 && p->dilation.w == 1) {
        /* arm_convolve_1_x_n_*: padding left and right alike but for an odd pixel */
        const int32_t total = (out->w - 1) * p->stride.w + f->w - in->w;
        if (2 * p->padding.w + total % 2 != total) {
            return ARM_CMSIS_NN_FAILURE;
        }
    }
#endif
    for (i = 0; i < out->h; i++) {
        for (j = 0; j < out->w; j++) {
            for (o = 0; o < outputs; o++) {
                int64_t sum = bias[o], code;
                for (r = 0; r < f->h; r++) {
                    const int32_t line = i * p->stride.h - p->padding.h + r * p->dilation.h;
                    for (s = 0; s < f->w; s++) {
                        const int32_t column = j * p->stride.w - p->padding.w + s * p->dilation.w;
                        if (line < 0 || line >= in->h || column < 0 || column >= in->w) {
                            continue;
                        }
                        for (c = k.depthwise ? o : 0; c < (k.depthwise ? o + 1 : in->c); c++) {
                            const int32_t at =
                                k.depthwise ? (r * f->w + s) * outputs + o : ((o * f->h + r) * f->w + s) * in->c + c;
                            sum += (int64_t)(x[(line * in->w + column) * in->c + c] + p->input_offset) *
                                   weight(w, k.bits, at);
                        }
                    }
                }
                if (sum < INT32_MIN || sum > INT32_MAX || !requantize(sum, q->multiplier[o], q->shift[o], &code)) {
                    return ARM_CMSIS_NN_FAILURE;
                }
                y[(i * out->w + j) * outputs + o] = clamp(code + p->output_offset, &p->activation);
            }
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}

/* Sizes as arm_convolve_get_buffer_sizes_s8.c and its like have them. */
static int32_t convolve_size(const cmsis_nn_conv_params *p, const cmsis_nn_dims *in, const cmsis_nn_dims *f)
{
    const int32_t column = f->h * f->w * in->c;
    if (f->h == 1 && f->w == 1 && p->padding.w == 0 && p->padding.h == 0 && p->dilation.w == 1 && p->dilation.h == 1) {
        return 0;
    }
#ifdef ARM_MATH_MVEI
    return 4 * ((column + 15) / 16) * 16;
#else
    return 2 * ((column + 3) / 4 * 4) * (int32_t)sizeof(int16_t);
#endif
}

static int32_t depthwise_size(const cmsis_nn_dw_conv_params *p, const cmsis_nn_dims *in, const cmsis_nn_dims *f,
                              int bits)
{
    if (p->dilation.w != 1 || p->dilation.h != 1) {
        return 0;
    }
#ifdef ARM_MATH_MVEI
    if (bits == 8) {
        return 4 * 124 * f->w * f->h;
    }
#endif
    if (bits == 8) {
#ifdef ARM_MATH_DSP
        return f->w == 3 && f->h == 3 && p->padding.w <= 1 && p->padding.h <= 1
                   ? 0
                   : in->c * f->w * f->h * (int32_t)sizeof(int16_t);
#else
        return 0;
#endif
    }
    return in->c * f->w * f->h * (int32_t)sizeof(int16_t);
}

#define CONVOLUTION(name, bits)                                                                                        \
    STANDIN_SIZE(name, cmsis_nn_conv_params)                                                                           \
    {                                                                                                                  \
        (void)output_dims;                                                                                             \
        return convolve_size(params, input_dims, filter_dims);                                                         \
    }                                                                                                                  \
    STANDIN_CONVOLUTION(name, cmsis_nn_conv_params)                                                                    \
    {                                                                                                                  \
        const kind k = {convolve_size(params, input_dims, filter_dims), bits, 0};                                      \
        (void)bias_dims;                                                                                               \
        return convolve(k, ctx, params, quant_params, input_dims, input_data, filter_dims, filter_data, bias_data,     \
                        output_dims, output_data);                                                                     \
    }
#define DEPTHWISE(name, bits)                                                                                          \
    STANDIN_SIZE(name, cmsis_nn_dw_conv_params)                                                                        \
    {                                                                                                                  \
        (void)output_dims;                                                                                             \
        return depthwise_size(params, input_dims, filter_dims, bits);                                                  \
    }                                                                                                                  \
    STANDIN_CONVOLUTION(name, cmsis_nn_dw_conv_params)                                                                 \
    {                                                                                                                  \
        const kind k = {depthwise_size(params, input_dims, filter_dims, bits), bits, 1};                               \
        const cmsis_nn_conv_params same = {params->input_offset, params->output_offset, params->stride,                \
                                           params->padding,      params->dilation,      params->activation};           \
        (void)bias_dims;                                                                                               \
        return params->ch_mult != 1 ? ARM_CMSIS_NN_ARG_ERROR                                                           \
                                    : convolve(k, ctx, &same, quant_params, input_dims, input_data, filter_dims,       \
                                               filter_data, bias_data, output_dims, output_data);                      \
    }
CONVOLUTION(arm_convolve_wrapper_s8, 8)
CONVOLUTION(arm_convolve_wrapper_s4, 4)
DEPTHWISE(arm_depthwise_conv_wrapper_s8, 8)
DEPTHWISE(arm_depthwise_conv_wrapper_s4, 4)

/* The greatest, or the average with halves away from 0, of the pixels of a window that are in the map. */
static arm_cmsis_nn_status pool(int average, const cmsis_nn_pool_params *p, const cmsis_nn_dims *in, const int8_t *x,
                                const cmsis_nn_dims *f, const cmsis_nn_dims *out, int8_t *y)
{
    int32_t i, j, c, line, column;
    if (in->c != out->c || in->n != 1 || !offsets_are_valid(0, 0, &p->activation)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    for (i = 0; i < out->h; i++) {
        for (j = 0; j < out->w; j++) {
            for (c = 0; c < out->c; c++) {
                const int32_t top = i * p->stride.h - p->padding.h, left = j * p->stride.w - p->padding.w;
                int32_t sum = 0, most = -128, n = 0;
                for (line = top; line < top + f->h; line++) {
                    for (column = left; column < left + f->w; column++) {
                        if (line >= 0 && line < in->h && column >= 0 && column < in->w) {
                            const int32_t code = x[(line * in->w + column) * in->c + c];
                            sum += code;
                            most = code > most ? code : most;
                            n++;
                        }
                    }
                }
                if (n == 0) {
                    return ARM_CMSIS_NN_ARG_ERROR;
                }
                y[(i * out->w + j) * out->c + c] = clamp(!average  ? most
                                                         : sum > 0 ? (sum + n / 2) / n
                                                                   : (sum - n / 2) / n,
                                                         &p->activation);
            }
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}

arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *ctx, const cmsis_nn_pool_params *pool_params,
                                    const cmsis_nn_dims *input_dims, const int8_t *input_data,
                                    const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims,
                                    int8_t *output_data)
{
    (void)ctx;
    return pool(0, pool_params, input_dims, input_data, filter_dims, output_dims, output_data);
}

int32_t arm_avgpool_s8_get_buffer_size(const int dim_dst_width, const int ch_src)
{
    (void)dim_dst_width;
#if defined(ARM_MATH_DSP) && !defined(ARM_MATH_MVEI)
    return ch_src * (int32_t)sizeof(int32_t);
#else
    (void)ch_src;
    return 0;
#endif
}

arm_cmsis_nn_status arm_avgpool_s8(const cmsis_nn_context *ctx, const cmsis_nn_pool_params *pool_params,
                                   const cmsis_nn_dims *input_dims, const int8_t *input_data,
                                   const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims,
                                   int8_t *output_data)
{
    const int32_t size = arm_avgpool_s8_get_buffer_size(output_dims->w, input_dims->c);
    if (ctx->size < size) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    memset(ctx->buf, 0x5a, (size_t)size);
    return pool(1, pool_params, input_dims, input_data, filter_dims, output_dims, output_data);
}

arm_cmsis_nn_status
arm_elementwise_add_s8(const int8_t *input_1_vect, const int8_t *input_2_vect, const int32_t input_1_offset,
                       const int32_t input_1_mult, const int32_t input_1_shift, const int32_t input_2_offset,
                       const int32_t input_2_mult, const int32_t input_2_shift, const int32_t left_shift,
                       int8_t *output, const int32_t out_offset, const int32_t out_mult, const int32_t out_shift,
                       const int32_t out_activation_min, const int32_t out_activation_max, const int32_t block_size)
{
    const cmsis_nn_activation range = {out_activation_min, out_activation_max};
    const int64_t one = (int64_t)1 << left_shift;
    int32_t i;
    if (!offsets_are_valid(input_1_offset, out_offset, &range) || !offsets_are_valid(input_2_offset, 0, &range)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    for (i = 0; i < block_size; i++) {
        int64_t a, b, code;
        if (!requantize((input_1_vect[i] + input_1_offset) * one, input_1_mult, input_1_shift, &a) ||
            !requantize((input_2_vect[i] + input_2_offset) * one, input_2_mult, input_2_shift, &b) ||
            !requantize(a + b, out_mult, out_shift, &code)) {
            return ARM_CMSIS_NN_FAILURE;
        }
        output[i] = clamp(code + out_offset, &range);
    }
    return ARM_CMSIS_NN_SUCCESS;
}
