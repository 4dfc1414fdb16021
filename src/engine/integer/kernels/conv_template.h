/* Direct convolution from rows of codes, blocked in registers: up to 4 blocks of 16 output channels by several output
 * pixels; requantized straight from the registers. Included once per instruction set by a file that defines before:
 *
 *  CONV_TARGET          the target attribute
 *  vec, CONV_VECTORS    vector of s32 and how many make 16 channels
 *  CONV_GROUP_BYTES     weights of 16 channels and 4 elements: 64 (s8) or 128 (s16)
 *  CONV_PIXELS_1, _2, _4   most pixels to a block of 1, 2 and 4 channel blocks (0: no such block), at most 12
 *  CONV_ADJOINING       pixels to a block when windows are 16 bytes apart (0: no such block)
 *  code4, load_codes(p) four codes spread over a vector, in whatever form dot wants
 *  dot(acc, v, codes, w)   add the products with vector v of the group's weights at w
 *  load_bias(bias, v)   vector v of 16 biases
 *  constants, make_constants(job)   what the epilogue keeps in registers
 *  store_codes(y, acc, multiplier, constants)   16 channels, all of them
 *  store_codes_masked(y, mask, acc, multiplier, constants)   some of them
 *  CONV_SUMS            if defined: sums are stored, as job->accumulators, not codes
 *  CONV_QUADS           if defined: requantize_quad(sums, multipliers, constants) and store_part(y, codes, i)
 */
#include "engine/integer/kernels/kernels.h"

/* The first result of an image, bytes from row to row and pixel to pixel, and where channel block kb is, which starts `low`
 * channels before or behind the box: accumulators begin at the box. */
#ifdef CONV_SUMS
#define CONV_FIRST(job)            ((uint8_t *)(job)->accumulators)
#define CONV_ROW(job)              ((job)->accumulator_row * 4)
#define CONV_PIXEL(job)            ((job)->accumulator_pixel * 4)
#define CONV_RESULT(y, kb, before) ((y) - (before)*4)
#else
#define CONV_FIRST(job)            ((job)->y + (job)->box.y0 * (job)->y_row + (job)->box.x0 * (job)->y_pixel)
#define CONV_ROW(job)              ((job)->y_row)
#define CONV_PIXEL(job)            ((job)->y_pixel)
#define CONV_RESULT(y, kb, before) ((y) + (kb)*16)
#endif

/* Where results go: output pixels are counted over rows so that maps whose windows adjoin are run as one long row. */
typedef struct conv_cursor {
    uint8_t *y;
    ptrdiff_t y_pixel, row_end; /* row_end: from behind a row's last pixel to the next row's first */
    int column, columns;
} conv_cursor;

CONV_TARGET QN_INLINE void conv_store(const qn_conv_job *job, uint8_t *y, const vec *acc, int kb, const constants *c)
{
    const float *multiplier = job->requantize.multiplier + kb * 16;
    int low = job->box.k0 - kb * 16, high = job->box.k1 - kb * 16;
    if (low <= 0 && high >= 16) {
        store_codes(CONV_RESULT(y, kb, low), acc, multiplier, c);
    } else {
        unsigned mask = (high >= 16 ? 0xffffu : (1u << high) - 1) & ~(low > 0 ? (1u << low) - 1 : 0u);
        store_codes_masked(CONV_RESULT(y, kb, low), mask, acc, multiplier, c);
    }
}

CONV_TARGET QN_INLINE void conv_advance(conv_cursor *cursor)
{
    cursor->y += cursor->y_pixel;
    if (++cursor->column == cursor->columns) {
        cursor->column = 0;
        cursor->y += cursor->row_end;
    }
}

#ifdef CONV_QUADS
/* Four vectors of sums at once: 4 / n_blocks pixels from `first` on, all channels of each. */
CONV_TARGET QN_INLINE void conv_store_quad(const qn_conv_job *job, vec acc[][4][CONV_VECTORS], const int first,
                                           conv_cursor *cursor, int kb, const constants *c, const int n_blocks)
{
    vec sums[4];
    const float *multiplier[4];
    QN_UNROLL for (int i = 0; i < 4; i++)
    {
        sums[i] = acc[first + i / n_blocks][i % n_blocks][0];
        multiplier[i] = job->requantize.multiplier + (kb + i % n_blocks) * 16;
    }
    const vec codes = requantize_quad(sums, multiplier, c);
    QN_UNROLL for (int i = 0; i < 4; i++)
    {
        store_part(cursor->y + (kb + i % n_blocks) * 16, codes, i);
        if (i % n_blocks == n_blocks - 1) {
            conv_advance(cursor);
        }
    }
}
#endif

/* n_blocks channel blocks from kb on, n_pixels adjoining pixels from window x on; both compile-time constants. */
CONV_TARGET QN_INLINE void conv_block(const qn_conv_job *job, const uint8_t *x, conv_cursor *cursor, int kb,
                                      const constants *c, const int n_blocks, const int n_pixels,
                                      const ptrdiff_t x_pixel)
{
    const qn_weight_layout *layout = &job->layout;
    const size_t segment_bytes = (size_t)layout->group_pitch * CONV_GROUP_BYTES;
    const size_t block_bytes = segment_bytes * (size_t)layout->n_segments;
    const uint8_t *w = (const uint8_t *)job->weights + (size_t)kb * block_bytes;
    vec acc[CONV_ADJOINING > 12 ? CONV_ADJOINING : 12][4][CONV_VECTORS];
    QN_UNROLL for (int b = 0; b < n_blocks; b++)
    {
        QN_UNROLL for (int v = 0; v < CONV_VECTORS; v++)
        {
            vec bias = load_bias(job->requantize.bias + (kb + b) * 16, v);
            QN_UNROLL for (int p = 0; p < n_pixels; p++)
            {
                acc[p][b][v] = bias;
            }
        }
    }
    for (int s = 0; s < layout->n_segments; s++) {
        const uint8_t *xs = x + job->segment[s];
        const uint8_t *ws = w;
        for (int g = 0; g < layout->n_groups; g++) {
            QN_UNROLL for (int p = 0; p < n_pixels; p++)
            {
                code4 codes = load_codes(xs + p * x_pixel);
                QN_UNROLL for (int b = 0; b < n_blocks; b++)
                {
                    QN_UNROLL for (int v = 0; v < CONV_VECTORS; v++)
                    {
                        acc[p][b][v] = dot(acc[p][b][v], v, codes, ws + (size_t)b * block_bytes);
                    }
                }
            }
            xs += 4;
            ws += CONV_GROUP_BYTES;
        }
        w += segment_bytes;
    }
    int done = 0;
#ifdef CONV_QUADS
    if (job->box.k0 <= kb * 16 && job->box.k1 >= (kb + n_blocks) * 16) {
        const int per_quad = 4 / n_blocks, quads = n_pixels / per_quad;
        QN_UNROLL for (int quad = 0; quad < quads; quad++)
        {
            conv_store_quad(job, acc, quad * per_quad, cursor, kb, c, n_blocks);
        }
        done = quads * per_quad;
    }
#endif
    QN_UNROLL for (int p = 0; p < n_pixels; p++)
    {
        if (p >= done) {
            QN_UNROLL for (int b = 0; b < n_blocks; b++)
            {
                conv_store(job, cursor->y, acc[p][b], kb + b, c);
            }
            conv_advance(cursor);
        }
    }
}

#define CONV_CASE(n_blocks, n_pixels)                                                                                  \
    case n_pixels:                                                                                                     \
        if (n_pixels <= CONV_PIXELS_##n_blocks) {                                                                      \
            conv_block(job, x, &cursor, kb, &c, n_blocks, n_pixels, job->x_pixel);                                     \
        }                                                                                                              \
        break;
#define CONV_CASES(n_blocks)                                                                                           \
    CONV_CASE(n_blocks, 1)                                                                                             \
    CONV_CASE(n_blocks, 2)                                                                                             \
    CONV_CASE(n_blocks, 3)                                                                                             \
    CONV_CASE(n_blocks, 4)                                                                                             \
    CONV_CASE(n_blocks, 5)                                                                                             \
    CONV_CASE(n_blocks, 6)                                                                                             \
    CONV_CASE(n_blocks, 7)                                                                                             \
    CONV_CASE(n_blocks, 8)                                                                                             \
    CONV_CASE(n_blocks, 9)                                                                                             \
    CONV_CASE(n_blocks, 10)                                                                                            \
    CONV_CASE(n_blocks, 11)                                                                                            \
    CONV_CASE(n_blocks, 12)

/* n pixels in a row, in blocks as equal as they can be. */
#define CONV_ROW_FUNCTION(n_blocks)                                                                                    \
    CONV_TARGET static void conv_row_##n_blocks(const qn_conv_job *job, const uint8_t *x, conv_cursor cursor, int n,   \
                                                int kb)                                                                \
    {                                                                                                                  \
        const constants c = make_constants(job);                                                                       \
        while (n > 0) {                                                                                                \
            int left = (n + CONV_PIXELS_##n_blocks - 1) / CONV_PIXELS_##n_blocks;                                      \
            int pixels = (n + left - 1) / left;                                                                        \
            switch (pixels) {                                                                                          \
                CONV_CASES(n_blocks)                                                                                   \
            }                                                                                                          \
            x += pixels * job->x_pixel;                                                                                \
            n -= pixels;                                                                                               \
        }                                                                                                              \
    }
CONV_ROW_FUNCTION(1)
#if CONV_ADJOINING > 0
/* 16 input channels without stride: with the distance of windows known when compiling, more pixels fit, and one block of
 * channels keeps the multipliers busy. */
CONV_TARGET static void conv_row_adjoining(const qn_conv_job *job, const uint8_t *x, conv_cursor cursor, int n, int kb)
{
    const constants c = make_constants(job);
    for (; n >= CONV_ADJOINING; n -= CONV_ADJOINING) {
        conv_block(job, x, &cursor, kb, &c, 1, CONV_ADJOINING, 16);
        x += CONV_ADJOINING * 16;
    }
    conv_row_1(job, x, cursor, n, kb);
}
#endif
#if CONV_PIXELS_2 > 0
CONV_ROW_FUNCTION(2)
#endif
#if CONV_PIXELS_4 > 0
CONV_ROW_FUNCTION(4)
#endif

static void conv_channels(const qn_conv_job *job, const uint8_t *x, conv_cursor cursor, int n)
{
    int kb = job->box.k0 / 16;
    const int end = (job->box.k1 + 15) / 16;
#if CONV_PIXELS_4 > 0
    for (; kb + 4 <= end; kb += 4) {
        conv_row_4(job, x, cursor, n, kb);
    }
#endif
#if CONV_PIXELS_2 > 0
    for (; kb + 2 <= end; kb += 2) {
        conv_row_2(job, x, cursor, n, kb);
    }
#endif
    for (; kb < end; kb++) {
#if CONV_ADJOINING > 0
        if (job->x_pixel == 16) {
            conv_row_adjoining(job, x, cursor, n, kb);
            continue;
        }
#endif
        conv_row_1(job, x, cursor, n, kb);
    }
}

static void conv_run(const qn_conv_job *job)
{
    const qn_box *box = &job->box;
    const int columns = box->x1 - box->x0, rows = box->y1 - box->y0;
    if (columns <= 0 || rows <= 0 || box->k0 >= box->k1) {
        return;
    }
    const bool one_row = job->x_row == job->x_pixel * columns; /* windows go on where the row above ended */
    const uint8_t *x = job->x + box->y0 * job->x_row + box->x0 * job->x_pixel;
    conv_cursor cursor = {
        .y = CONV_FIRST(job),
        .y_pixel = CONV_PIXEL(job),
        .row_end = CONV_ROW(job) - columns * CONV_PIXEL(job),
        .columns = columns,
    };
    if (one_row) {
        conv_channels(job, x, cursor, rows * columns);
        return;
    }
    for (int row = 0; row < rows; row++) {
        conv_channels(job, x, cursor, columns);
        x += job->x_row;
        cursor.y += CONV_ROW(job);
    }
}
