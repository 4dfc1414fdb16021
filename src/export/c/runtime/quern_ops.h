/* Integer layers of exported networks: C99, no library but <stdint.h>, no heap, no recursion.
 *
 * This file and those beside it are part of quern, under the Apache License 2.0; you may use, change and ship them
 * freely with the networks it exports.
 *
 * Codes are bytes. A signed code is kept in two's complement, in a byte of its own whatever its width; `flip` is 0x80
 * where codes are signed and 0 where not, so that code = (byte ^ flip) - flip. Maps are stored pixel by pixel, the
 * channels of a pixel side by side: byte (y, x, c) at (y * width + x) * channels + c. Sums are 32-bit two's complement
 * and wrap. */
#ifndef QUERN_OPS_H
#define QUERN_OPS_H

#include <stdint.h>

/* The codes that sums become.
 *  zero, lo, hi     of the output
 *  multiplier_step, shift_step  0: one entry serves all channels; 1: one per channel
 *  rounding         of the division by 2^shift
 *  y_bytes          of an element: 1, or 4 for sums */
typedef struct quern_codes {
    int16_t zero, lo, hi;
    uint8_t multiplier_step, shift_step, rounding, y_bytes;
} quern_codes;

typedef struct quern_requantize quern_requantize;
/* Codes of sums[0..n), those of channels k, k + 1, ..., to y. */
typedef void quern_requantize_fn(const quern_requantize *r, const int32_t *sums, int32_t k, int32_t n, void *y);
/* How the sum of a channel becomes a code.
 *  multiplier   int32_t[]; quern_requantize_float: float[]; shift int8_t[] */
struct quern_requantize {
    const quern_codes *codes;
    quern_requantize_fn *apply;
    const void *multiplier;
    const int8_t *shift;
};

enum { QUERN_FLOOR, QUERN_NEAREST_UP, QUERN_NEAREST_AWAY, QUERN_NEAREST_EVEN };

/* clamp(round(sum * multiplier / 2^shift) + zero, lo, hi), exact products, one rounding. */
quern_requantize_fn quern_requantize_once;
/* The product first rounded half up to 31 bits, then half away from zero (TFLite, CMSIS-NN). */
quern_requantize_fn quern_requantize_twice;
/* multiplier 1: a rounding shift. */
quern_requantize_fn quern_requantize_shift;
/* clamp(rint((float)sum * multiplier), lo - zero, hi - zero) + zero (quern_float.c). */
quern_requantize_fn quern_requantize_float;
/* No codes: y is int32_t and receives the sums. */
quern_requantize_fn quern_store_sums;

/* A convolution: sum(k) = bias[k] + sum over rows r, columns s, channels c of (x - zero_x) * (w - zero_w[k]); what lies
 * outside of the map counts 0. Channel k of group g = k / group_outputs reads input channels g * group_inputs ...
 *  accumulator_bits  sums wrap to so many
 *  zero_w_step  0: one for all; 1: one per k
 *  by_matrix    order of saturating sums: channels, rows, columns instead of rows, columns, channels
 * Arrays of the functions:
 *  weights      [k][r][s][c], for quern_depthwise* [r][s][k]; weight_bits each, see quern_unpack
 *  zero_w       codes as the weights' in a byte each; NULL: all 0
 *  bias         NULL: all 0
 *  apply, multiplier, shift  see quern_requantize */
typedef struct quern_conv {
    quern_codes codes;
    uint8_t flip_x, weight_bits, weight_signed, zero_w_step, accumulator_bits, by_matrix;
    int16_t zero_x;
    uint16_t height, width, out_height, out_width;
    uint16_t kernel[2], stride[2], dilation[2], pad[2];
    uint16_t channels, outputs, group_inputs, group_outputs;
} quern_conv;

/* Signed 8-bit weights without zero points. */
void quern_conv_s8(const quern_conv *p, const uint8_t *x, void *y, const int8_t *weights, const int32_t *bias,
                   quern_requantize_fn *apply, const void *multiplier, const int8_t *shift);
/* Weights of any width. */
void quern_conv_packed(const quern_conv *p, const uint8_t *x, void *y, const void *weights, const void *zero_w,
                       const int32_t *bias, quern_requantize_fn *apply, const void *multiplier, const int8_t *shift);
/* One input channel per output channel. */
void quern_depthwise_s8(const quern_conv *p, const uint8_t *x, void *y, const int8_t *weights, const int32_t *bias,
                        quern_requantize_fn *apply, const void *multiplier, const int8_t *shift);
void quern_depthwise_packed(const quern_conv *p, const uint8_t *x, void *y, const void *weights, const void *zero_w,
                            const int32_t *bias, quern_requantize_fn *apply, const void *multiplier,
                            const int8_t *shift);
/* Every product is added by itself to an accumulator that saturates at accumulator_bits. Any convolution. */
void quern_conv_saturating(const quern_conv *p, const uint8_t *x, void *y, const void *weights, const void *zero_w,
                           const int32_t *bias, quern_requantize_fn *apply, const void *multiplier,
                           const int8_t *shift);

/* A matrix times each of `rows` rows of `inputs` codes: kernels of one pixel, or as large as the map.
 *  weights [k][i] */
typedef struct quern_matrix {
    quern_codes codes;
    uint8_t flip_x, weight_bits, weight_signed, zero_w_step, accumulator_bits;
    int16_t zero_x;
    int32_t rows, inputs, outputs;
} quern_matrix;
void quern_fully_connected_s8(const quern_matrix *p, const uint8_t *x, void *y, const int8_t *weights,
                              const int32_t *bias, quern_requantize_fn *apply, const void *multiplier,
                              const int8_t *shift);
void quern_fully_connected_packed(const quern_matrix *p, const uint8_t *x, void *y, const void *weights,
                                  const void *zero_w, const int32_t *bias, quern_requantize_fn *apply,
                                  const void *multiplier, const int8_t *shift);

/* Weight i of `bits` each lies at bits i * bits ... of the array, the lowest bit of a byte first: of 4 bits two in a
 * byte, weight 0 in its low half. n of them from weight `first` on, as numbers. */
void quern_unpack(int16_t *w, const void *packed, int32_t first, int32_t n, int32_t bits, int32_t is_signed);

/* Sum, product or difference of two maps. An operand with row 0 has one row for all, with pixel 0 one column. Sums:
 *  fixed  clamp(q_y(q_a((a - zero_a) * 2^left) + q_b((b - zero_b) * 2^left)) + zero, lo, hi),
 *         q(x) = round(x * multiplier / 2^shift)
 *  float  clamp(rint((a - zero_a) * ratio_a + (b - zero_b) * ratio_b), lo - zero, hi - zero) + zero, products and sum
 *         rounded to 32-bit floats (quern_float.c)
 *  soft   the same computed in integers (quern_soft.c): the same codes; ratios m * 2^e as m, e
 * Differences: fixed as sums, less the second term; float clamp(rint(((a - zero_a) * scale_a - (b - zero_b) * scale_b) /
 * scale)), each operation rounded, and so on. Products: fixed clamp(q_y((a - zero_a) * (b - zero_b)) + zero, lo, hi); float
 * clamp(rint((float)((a - zero_a) * (b - zero_b)) * ratio + zero), lo, hi). */
typedef struct quern_add {
    int32_t row[2], pixel[2];
    int16_t zero_x[2], zero, lo, hi;
    uint8_t flip_x[2];
    uint16_t height, width;
    int32_t channels;
    int8_t shift[3];
    uint8_t left, rounding, twice;
} quern_add;
void quern_add_fixed(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t multiplier[3]);
void quern_add_soft(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t ratio[4]);
void quern_mul_fixed(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t multiplier[3]);
void quern_mul_soft(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t ratio[2]);
void quern_sub_fixed(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t multiplier[3]);
void quern_sub_soft(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t ratio[6]);

/* Windows, cut to the map.
 *  fixed  s = sum of (x - zero_x), by multiplier and shift where it rescales; clamp((s +- n / 2) / n + zero, lo, hi)
 *  whole  clamp(rint((float)sum * ratio[0]), lo - zero, hi - zero) + zero (quern_float.c)
 *  steps  clamp(rint((sum of ratio[0] * (x - zero_x)) / n / ratio[1] + zero), lo, hi), each step rounded to a 32-bit
 *         float (quern_float.c)
 *  *_soft the same computed in integers (quern_soft.c); ratios m * 2^e as int32_t m, e
 *  divisor  n; 0: the number of pixels seen */
typedef struct quern_pool {
    uint16_t height, width, out_height, out_width;
    uint16_t kernel[2], stride[2], dilation[2], pad[2];
    int32_t channels, divisor, multiplier;
    int16_t zero_x, zero, lo, hi;
    uint8_t flip_x, rescales, rounding, twice;
    int8_t shift;
} quern_pool;
void quern_max_pool(const quern_pool *p, const uint8_t *x, uint8_t *y);
void quern_average_fixed(const quern_pool *p, const uint8_t *x, uint8_t *y);
void quern_average_whole_soft(const quern_pool *p, const uint8_t *x, uint8_t *y, const int32_t ratio[2]);
void quern_average_steps_soft(const quern_pool *p, const uint8_t *x, uint8_t *y, const int32_t ratio[4]);

/* `rows` runs of n codes through table[code - lowest], or copied where table is NULL; runs lie x_step and y_step
 * bytes apart. May work in place. */
typedef struct quern_lookup {
    int32_t rows, n, x_step, y_step;
    int16_t lowest;
    uint8_t flip_x;
} quern_lookup;
void quern_lookup_codes(const quern_lookup *p, const uint8_t *x, uint8_t *y, const void *table);

/* Softmax of rows * inner lines of n codes, inner apart; d below the greatest of a line:
 * clamp(round(part[d] * 2^left / (sum of share[d] * 2^right)) + zero, lo, hi), ties to even */
typedef struct quern_softmax {
    int32_t rows, n, inner;
    int16_t zero, lo, hi;
    uint8_t flip_x, left, right;
} quern_softmax;
void quern_softmax_codes(const quern_softmax *p, const uint8_t *x, uint8_t *y, const uint32_t *share,
                         const uint32_t *part);

/* Rows of n codes normalized each by itself; all in integers of 64 bits. z, in units of 2^-20, is the element less the
 * mean, over the root of the variance; add: what the variance is raised by, times n * n * 2^(2 * half):
 * clamp(round((z * gain[i] + bias[i]) / 2^right) + zero, lo, hi), ties to even */
typedef struct quern_norm {
    int32_t rows, n;
    int64_t add;
    int16_t zero, lo, hi;
    uint8_t flip_x, half, right;
} quern_norm;
void quern_norm_codes(const quern_norm *p, const uint8_t *x, uint8_t *y, const int32_t *gain, const int64_t *bias);

/* Products of matrices of codes, m x k by k x n: sums of (a - zero_a) * (b - zero_b), codes as of channel 0. Those of a
 * batch start at rows left[batch] of a and right[batch] of b. Sums wrap to accumulator_bits or saturate there. */
typedef struct quern_product {
    quern_codes codes;
    uint8_t flip_a, flip_b, accumulator_bits, saturates;
    int16_t zero_a, zero_b;
    int32_t batches, m, n, k;
} quern_product;
void quern_product_codes(const quern_product *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t *left,
                         const int32_t *right, quern_requantize_fn *apply, const void *multiplier, const int8_t *shift);

/* y[i] = x[index[i]] */
void quern_gather_16(const uint16_t *index, int32_t n, const uint8_t *x, uint8_t *y);
void quern_gather_32(const uint32_t *index, int32_t n, const uint8_t *x, uint8_t *y);
/* The same, or `fill` where index[i] is n_x, the elements of x. */
void quern_pad_16(const uint16_t *index, int32_t n, const uint8_t *x, uint8_t *y, uint32_t n_x, uint8_t fill);
void quern_pad_32(const uint32_t *index, int32_t n, const uint8_t *x, uint8_t *y, uint32_t n_x, uint8_t fill);

#endif
