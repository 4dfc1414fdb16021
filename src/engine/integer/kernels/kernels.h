/* Kernels of the integer engine: the loops over codes, one portable reference per operation and faster variants of it.
 *
 * The reference is the definition (doc/spec/arithmetic.md, section 3); every variant gives the same bytes on every
 * input. kernel_list.inc holds one row per kernel; the selection below, the tests and the benchmark all read it. Codes
 * are u8. Signed codes are kept as code ^ 0x80 with the zero point raised by 128, which leaves code - zero_point as it
 * was; flipping a bit of the kept code flips the same bit of the signed one. Kernels own no memory, keep no state,
 * assume the default rounding mode (nearest, ties to even), and check nothing: whoever makes a job vouches for it.
 * Reentrant. */
#ifndef QN_ENGINE_KERNELS_H
#define QN_ENGINE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arch.h"
#include "quern/cpu.h"

/* Where packed weights lie. A window is a list of segments, runs of bytes that are contiguous in the input: whole
 * kernel rows where the columns of a row adjoin, single taps otherwise.
 *  convolution  [k / 16][segment][element / 4, group_pitch of them][16 k][4 elements]     s8, or as s16
 *               [k / 16][segment][element / 4][element % 2][16 k][(element % 4) / 2]
 *  depthwise    [c / block][tap / n][block channels, permuted][n taps]                    n = 4 for s8, 2 for s16
 * Elements and channels beyond the true ones weigh 0. Weights have their zero point subtracted; they are s8 where all
 * of a layer fit, s16 otherwise or where the kernel wants it. */
typedef enum qn_weight_kind { QN_WEIGHT_CONV, QN_WEIGHT_DEPTHWISE } qn_weight_kind;
typedef struct qn_weight_layout {
    qn_weight_kind kind;
    int elem_bytes;    /* 1: s8, 2: s16 */
    int block;         /* output channels per block: 16; depthwise 64 (s8) or 16 (s16) */
    int n_channels;    /* output channels */
    int n_segments;    /* depthwise: taps */
    int segment_elems; /* depthwise: 1 */
    int n_groups;      /* of 4 elements in a segment; depthwise: groups of taps */
    int group_pitch;   /* n_groups, or more: a multiple of 16 for tiles */
} qn_weight_layout;

/* tiles: make room for kernels that work on whole 64-byte rows. */
qn_weight_layout qn_conv_layout(int n_channels, int n_segments, int segment_elems, int elem_bytes, bool tiles);
qn_weight_layout qn_depthwise_layout(int n_channels, int n_taps, int elem_bytes);
/* Bytes of all weights; false on overflow. */
bool qn_layout_bytes(const qn_weight_layout *layout, size_t *n_bytes);
/* Byte offset of the weight of output channel k and element j of a segment (depthwise: j = 0). */
size_t qn_layout_offset(const qn_weight_layout *layout, int k, int segment, int j);
/* Per-channel parameters (bias, multiplier) are kept in the order in which the layout keeps channels: index of channel
 * k; arrays have qn_layout_channels entries. */
int qn_layout_channel(const qn_weight_layout *layout, int k);
int qn_layout_channels(const qn_weight_layout *layout);
int32_t qn_layout_get(const qn_weight_layout *layout, const void *weights, int k, int segment, int j);
void qn_layout_set(const qn_weight_layout *layout, void *weights, int k, int segment, int j, int32_t w);

/* From an accumulator to a code: clamp(rne((float)(sum + bias) * multiplier) + zero_point, lo, hi); 0 <= lo <= hi <=
 * 255. sum + bias wraps. Multipliers are finite and not negative. */
typedef struct qn_requantize {
    const int32_t *bias;
    const float *multiplier;
    int32_t zero_point, lo, hi;
} qn_requantize;

/* Half-open ranges of output rows, columns and channels. */
typedef struct qn_box {
    int y0, y1, x0, x1, k0, k1;
} qn_box;

/* Convolution over a box of the output: sum over segments and elements of x * w of raw codes (input zero points are
 * folded into the bias by the caller, borders hold the zero point).
 *  x        the first byte of the window of output pixel (0, 0)
 *  x_row, x_pixel  bytes from one output pixel's window to the one below, and to the right
 *  segment  n_segments byte offsets from the window's start
 *  y        the code of output pixel (0, 0), channel 0
 *  accumulators  s32: sum + bias of the first output pixel and channel of the box; when not NULL it is written instead
 *           of y. Only the reference kernels and those of _SUMS do this. Steps are in elements; channels adjoin.
 * Kernels may read up to qn_conv_overread bytes past the last window. They write nothing outside the box. */
typedef struct qn_conv_job {
    const uint8_t *x;
    ptrdiff_t x_row, x_pixel;
    const ptrdiff_t *segment;
    const void *weights;
    qn_weight_layout layout;
    qn_requantize requantize;
    uint8_t *y;
    ptrdiff_t y_row, y_pixel;
    int32_t *accumulators;
    ptrdiff_t accumulator_row, accumulator_pixel;
    qn_box box;
} qn_conv_job;
typedef void qn_conv_fn(const qn_conv_job *job);

/* Two tensors element by element, each float operation rounded by itself:
 *  add  y = clamp(rne((a - za) * ra + (b - zb) * rb) + zero_point, lo, hi); or fused:
 *       y = clamp(rne(fma(a - raised_a, ra, fma(b - raised_b, rb, fixed))) + raised, lo, hi)
 *  mul  y = clamp(rne((f32)((a - za) * (b - zb)) * ra + zero_point - raised) + raised, lo, hi)     rb, scale unused
 *  sub  y = clamp(rne(((a - za) * ra - (b - zb) * rb) / scale) + zero_point, lo, hi)   ra, rb: the operands' scales */
typedef struct qn_add_params {
    float ratio_a, ratio_b;
    int32_t zero_a, zero_b, zero_point, lo, hi;
    float scale;
    bool fused;
    float fixed;
    int32_t raised_a, raised_b, raised;
} qn_add_params;
typedef void qn_add_fn(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params);

/* One output pixel of a pooling: rows x columns input pixels of n_channels codes each; rows, columns >= 1. */
typedef struct qn_pool_window {
    const uint8_t *x;
    ptrdiff_t row, pixel; /* byte steps between window rows and columns */
    int rows, columns, n_channels;
} qn_pool_window;
/* Only the fields its operation needs are used.
 *  multiplier  sum pooling: clamp(rne((float)(sum - n * zero_x) * multiplier) + zero_point)
 *  scale_x, scale_y, divisor  average pooling: rne(sum of scale_x * (x - zero_x) / divisor / scale_y + zero_point - raised)
 *                             + raised */
typedef struct qn_pool_params {
    float multiplier, scale_x, scale_y, divisor;
    int32_t zero_x, zero_point, lo, hi, raised;
} qn_pool_params;
typedef void qn_pool_fn(uint8_t *y, const qn_pool_window *window, const qn_pool_params *params);

/* y[i] = table[x[i]] */
typedef void qn_lookup_fn(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *table);

/* One row of an image: f32 planes to interleaved codes, clamp(rne(x / scale) + zero_point). NaN becomes lo.
 *  x  n_channels planes of n values, `plane` elements apart
 *  y  n pixels of n_channels codes */
typedef struct qn_encode_params {
    float scale;
    int32_t zero_point, lo, hi;
} qn_encode_params;
typedef void qn_encode_fn(uint8_t *y, const float *x, size_t n, int n_channels, ptrdiff_t plane,
                          const qn_encode_params *params);

/* Does any byte differ between two arrays of one geometry? Shrinks the box, which is not empty, to the least that holds
 * all that differ; leaves it alone where none does. Reads nothing before the first and behind the last byte of a row.
 *  a, b        byte (0, 0, 0)
 *  row, pixel  byte steps; channels adjoin */
typedef bool qn_differ_fn(const uint8_t *a, const uint8_t *b, ptrdiff_t row, ptrdiff_t pixel, qn_box *box);
/* The same over arrays of f32 whose bits are compared; the box counts elements, the steps bytes. */
bool qn_differ_f32(qn_differ_fn *differ, const float *a, const float *b, ptrdiff_t row, ptrdiff_t pixel, qn_box *box);

/* Convolution whose input changed in a box: sum'(y, x, k) = sum(y, x, k) + that of (x_new - x_old) * w over the taps
 * that meet the box, wrapping; then requantized. Over a box of the output, not empty.
 *  x_old, x_new  element (0, 0, 0) of the input before and after; x_row, x_pixel: byte steps of both. Outside `changed`
 *                the two are the same wherever a window of the box reaches, borders included
 *  changed       rows, columns and channels of the input that may differ; no channels: none does
 *  kernel, stride, dilation, pad   height, width; pad before the first row and column
 *  channels      input channels of a window; of a group of a convolution in groups, its own
 *  rows_adjoin   a segment of the layout is a kernel row, of kernel[1] * channels elements (x_pixel is `channels` unless
 *                kernel[1] is 1); else a single tap
 *  accumulators  s32: sum + bias before, of output pixel (0, 0), channel 0; steps in elements, channels adjoin
 *  requantize    its bias is not used
 *  y             the code of output pixel (0, 0), channel 0
 *  sums          when not NULL s32 sums with bias are written instead of y: the first one of the box, steps in elements
 * Kernels may read the bytes past a window that qn_kernel.overread_bytes says, 16 multipliers per block of channels,
 * and write nothing outside the box. The best kernel of level amx reads layouts with tiles as well as others do. */
typedef struct qn_conv_delta_job {
    const uint8_t *x_old, *x_new;
    ptrdiff_t x_row, x_pixel;
    qn_box changed;
    int kernel[2], stride[2], dilation[2], pad[2];
    int channels;
    bool rows_adjoin;
    const void *weights;
    qn_weight_layout layout;
    const int32_t *accumulators;
    ptrdiff_t accumulator_row, accumulator_pixel;
    qn_requantize requantize;
    uint8_t *y;
    ptrdiff_t y_row, y_pixel;
    int32_t *sums;
    ptrdiff_t sums_row, sums_pixel;
    qn_box box;
} qn_conv_delta_job;
typedef void qn_conv_delta_fn(const qn_conv_delta_job *job);
/* The output pixels whose windows meet changed rows and columns, cut to height x width: `box` but for its channels.
 * False when there are none. */
bool qn_conv_delta_reach(const qn_conv_delta_job *job, int height, int width, qn_box *box);

/* One output channel after one of its weights changed by `delta`: sum'(y, x) = sum(y, x) + delta * (x(y, x) - zero_x),
 * wrapping; then requantized. All pointers are to what belongs to output pixel (0, 0); where they are kept in planes
 * (steps of 1 from pixel to pixel) reading is fastest.
 *  x             the code that the weight is multiplied with; steps in bytes, strides included. Borders hold zero_x
 *  accumulators  s32: sum + bias before; steps in elements
 *  y             where codes go; holds those of the sums before: kernels may leave alone what does not differ
 *  sums          when not NULL s32 sums are written instead, height rows of width; y and what makes codes are not used
 *  height, width  of the output, at least 1 */
typedef struct qn_weight_delta_job {
    const uint8_t *x;
    ptrdiff_t x_row, x_pixel;
    int32_t zero_x, delta;
    const int32_t *accumulators;
    ptrdiff_t accumulator_row, accumulator_pixel;
    float multiplier;
    int32_t zero_point, lo, hi;
    uint8_t *y;
    ptrdiff_t y_row, y_pixel;
    int32_t *sums;
    int height, width;
} qn_weight_delta_job;
/*  active   an x is not zero_x
 *  differs  a code is not that of the sum before (of sums: active and delta is not 0); then y0..x1 of the box are the least that hold
 *           all such, k0 and k1 0 and 1 */
typedef struct qn_weight_delta_result {
    bool active, differs;
    qn_box box;
} qn_weight_delta_result;
typedef qn_weight_delta_result qn_weight_delta_fn(const qn_weight_delta_job *job);

typedef enum qn_kernel_op {
    QN_KERNEL_CONV,
    QN_KERNEL_DEPTHWISE,
    QN_KERNEL_CONV_SUMS,
    QN_KERNEL_DEPTHWISE_SUMS,
    QN_KERNEL_ADD,
    QN_KERNEL_MUL,
    QN_KERNEL_SUB,
    QN_KERNEL_MAXPOOL,
    QN_KERNEL_SUMPOOL,
    QN_KERNEL_AVERAGEPOOL,
    QN_KERNEL_LOOKUP,
    QN_KERNEL_ENCODE,
    QN_KERNEL_DIFFER,
    QN_KERNEL_CONV_DELTA,
    QN_KERNEL_WEIGHT_DELTA,
} qn_kernel_op;

/*  elem_bytes  convolution and depthwise: the weights it reads; 0: both (reference)
 *  tiles       needs qn_tiles_begin before and qn_tiles_end after, in the thread that runs it, and a layout with tiles
 *  overread_pixels, overread_bytes  see qn_conv_overread */
typedef struct qn_kernel {
    const char *name;
    qn_kernel_op op;
    qn_cpu cpu;
    int elem_bytes;
    bool tiles;
    int overread_pixels, overread_bytes;
    union {
        qn_conv_fn *conv;
        qn_add_fn *add;
        qn_pool_fn *pool;
        qn_lookup_fn *lookup;
        qn_encode_fn *encode;
        qn_differ_fn *differ;
        qn_conv_delta_fn *conv_delta;
        qn_weight_delta_fn *weight_delta;
    } run;
} qn_kernel;

/* All kernels, in the order of kernel_list.inc. */
extern const qn_kernel qn_kernels[];
extern const size_t qn_n_kernels;
/* The best kernel of an operation at `cpu`; elem_bytes 0 where the operation has no weights. Never NULL. Tiles count as
 * present only where their self-test passed. */
const qn_kernel *qn_kernel_select(qn_kernel_op op, qn_cpu cpu, int elem_bytes);
const qn_kernel *qn_kernel_reference(qn_kernel_op op);
/* Bytes past the last byte of the last window that `kernel` may read on a job. */
size_t qn_conv_overread(const qn_kernel *kernel, const qn_conv_job *job);

/* Configure this thread's tiles, and release them. Only where the CPU level is amx; nothing happens off x86-64. */
void qn_tiles_begin(void);
void qn_tiles_end(void);
/* The self-test: does a kernel of s8 weights laid out for tiles give the reference's codes? One thread at a time. */
bool qn_tiles_agree(qn_conv_fn *kernel);
/* Do the tile kernels agree with the reference on this machine? Runs once; false below level amx. */
bool qn_tiles_usable(void);

#define QN_KERNEL_ROW(op, signature, name, cpu, elem_bytes, tiles, pixels, bytes) signature name;
#include "engine/integer/kernels/kernel_list.inc"
#undef QN_KERNEL_ROW

#endif
