/* One output channel after a change of one of its weights. Rows are joined first, and what lies apart is brought together,
 * so that vectors are full whatever the width. Included once per instruction set by a file that defines before:
 *
 *  WEIGHT_DELTA_TARGET   the target attribute
 *  WEIGHT_DELTA_LANES    s32 in a vector
 *  weight_constants, make_constants(job)   what is kept in registers
 *  moved_lanes(x, c)     bit i: x[i] is not zero_x
 *  sum_lanes(to, x, before, c)             sums
 *  code_lanes(to, x, before, golden, c)    codes as s32; bit i: code i is not golden's
 */
#include <string.h>

#include "engine/integer/kernels/kernels.h"

enum { WEIGHT_DELTA_PIXELS = 256, WEIGHT_DELTA_WORDS = WEIGHT_DELTA_PIXELS / 64 };

/* Pixels of some rows, joined. Entries beyond them, up to a whole vector, are whatever they are. */
typedef struct weight_batch {
    int y0, x0, rows, columns;
    _Alignas(64) uint8_t x[WEIGHT_DELTA_PIXELS];
    _Alignas(64) uint8_t golden[WEIGHT_DELTA_PIXELS];
    _Alignas(64) int32_t before[WEIGHT_DELTA_PIXELS];
    _Alignas(64) int32_t after[WEIGHT_DELTA_PIXELS]; /* codes, or sums */
} weight_batch;

/* Rows of `columns` elements, each of them a step behind the one before. */
#define WEIGHT_COLLECT(type, name)                                                                                     \
    WEIGHT_DELTA_TARGET QN_INLINE void name(type *to, const type *from, ptrdiff_t row, ptrdiff_t pixel, int rows,      \
                                            int columns)                                                               \
    {                                                                                                                  \
        for (int y = 0; y < rows; y++, from += row, to += columns) {                                                   \
            if (pixel == 1 && columns % 8 == 0) {                                                                      \
                for (int x = 0; x < columns; x += 8) {                                                                 \
                    __builtin_memcpy(to + x, from + x, 8 * sizeof(type));                                              \
                }                                                                                                      \
            } else {                                                                                                   \
                const type *at = from;                                                                                 \
                for (int x = 0; x < columns; x++, at += pixel) {                                                       \
                    to[x] = *at;                                                                                       \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
WEIGHT_COLLECT(uint8_t, collect_codes)
WEIGHT_COLLECT(int32_t, collect_sums)

/* The bits of pixels, and whether there are any. Those beyond the n-th are cut off. */
QN_INLINE uint64_t weight_cut(uint64_t bits[WEIGHT_DELTA_WORDS], int n)
{
    uint64_t any = 0;
    for (int i = 0; i < WEIGHT_DELTA_WORDS; i++) {
        const int left = n - i * 64;
        bits[i] &= left >= 64 ? ~(uint64_t)0 : left <= 0 ? 0 : ((uint64_t)1 << left) - 1;
        any |= bits[i];
    }
    return any;
}

#define WEIGHT_EACH_VECTOR(i, n, bits, lanes)                                                                          \
    for (int i = 0; i < (n); i += WEIGHT_DELTA_LANES) {                                                                \
        (bits)[i / 64] |= (uint64_t)(lanes) << i % 64;                                                                 \
    }

/* Takes pixels with a bit into the box and, unless sums are wanted, their codes into y. */
QN_INLINE void weight_spread(const qn_weight_delta_job *job, const weight_batch *batch,
                             const uint64_t bits[WEIGHT_DELTA_WORDS], qn_box *box)
{
    int row = 0, row_end = batch->columns, x0 = box->x0, x1 = box->x1 - 1, last = 0;
    uint8_t *y = job->sums == NULL ? job->y + batch->y0 * job->y_row + batch->x0 * job->y_pixel : NULL;
    for (int word = 0; word < WEIGHT_DELTA_WORDS; word++) {
        for (uint64_t left = bits[word]; left != 0; left &= left - 1) {
            const int i = word * 64 + __builtin_ctzll(left);
            while (i >= row_end) {
                row++, row_end += batch->columns;
            }
            const int x = i - (row_end - batch->columns);
            if (y != NULL) {
                y[row * job->y_row + x * job->y_pixel] = (uint8_t)batch->after[i];
            }
            x0 = batch->x0 + x < x0 ? batch->x0 + x : x0, x1 = batch->x0 + x > x1 ? batch->x0 + x : x1;
            box->y0 = batch->y0 + row < box->y0 ? batch->y0 + row : box->y0;
            last = batch->y0 + row + 1;
        }
    }
    box->y1 = last > box->y1 ? last : box->y1;
    box->x0 = x0, box->x1 = x1 + 1;
}

WEIGHT_DELTA_TARGET QN_INLINE void weight_sums(const qn_weight_delta_job *job, weight_batch *batch, int n,
                                               const weight_constants *c)
{
    for (int i = 0; i < n; i += WEIGHT_DELTA_LANES) {
        sum_lanes(batch->after + i, batch->x + i, batch->before + i, c);
    }
    for (int y = 0; y < batch->rows; y++) {
        memcpy(job->sums + (ptrdiff_t)(batch->y0 + y) * job->width + batch->x0, batch->after + y * batch->columns,
               (size_t)batch->columns * sizeof(int32_t));
    }
}

WEIGHT_DELTA_TARGET QN_INLINE void weight_batch_run(const qn_weight_delta_job *job, weight_batch *batch,
                                                    const weight_constants *c, qn_weight_delta_result *result)
{
    const int rows = batch->rows, columns = batch->columns, n = rows * columns;
    collect_codes(batch->x, job->x + batch->y0 * job->x_row + batch->x0 * job->x_pixel, job->x_row, job->x_pixel, rows,
                  columns);
    uint64_t bits[WEIGHT_DELTA_WORDS] = {0};
    WEIGHT_EACH_VECTOR(i, n, bits, moved_lanes(batch->x + i, c))
    const bool moved = weight_cut(bits, n) != 0;
    result->active |= moved;
    if (!moved && job->sums == NULL) {
        return;
    }
    collect_sums(batch->before,
                 job->accumulators + batch->y0 * job->accumulator_row + batch->x0 * job->accumulator_pixel,
                 job->accumulator_row, job->accumulator_pixel, rows, columns);
    if (job->sums != NULL) {
        weight_sums(job, batch, n, c);
        if (!moved || job->delta == 0) {
            return;
        }
    } else {
        collect_codes(batch->golden, job->golden + batch->y0 * job->golden_row + batch->x0 * job->golden_pixel,
                      job->golden_row, job->golden_pixel, rows, columns);
        memset(bits, 0, sizeof bits);
        WEIGHT_EACH_VECTOR(i, n, bits,
                           code_lanes(batch->after + i, batch->x + i, batch->before + i, batch->golden + i, c))
        if (weight_cut(bits, n) == 0) {
            return;
        }
    }
    result->differs = true;
    weight_spread(job, batch, bits, &result->box);
}

WEIGHT_DELTA_TARGET static qn_weight_delta_result weight_delta_run(const qn_weight_delta_job *job)
{
    const weight_constants c = make_constants(job);
    qn_weight_delta_result result = {.box = {job->height, 0, job->width, 0, 0, 1}};
    weight_batch batch;
    const int most = job->width < WEIGHT_DELTA_PIXELS ? job->width : WEIGHT_DELTA_PIXELS;
    const int rows = WEIGHT_DELTA_PIXELS / most;
    for (batch.y0 = 0; batch.y0 < job->height; batch.y0 += rows) {
        batch.rows = job->height - batch.y0 < rows ? job->height - batch.y0 : rows;
        for (batch.x0 = 0; batch.x0 < job->width; batch.x0 += most) {
            batch.columns = job->width - batch.x0 < most ? job->width - batch.x0 : most;
            weight_batch_run(job, &batch, &c, &result);
        }
    }
    return result;
}
