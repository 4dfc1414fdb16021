/* Sums after a change in a box of the input: pixel by pixel, only the taps that meet the box, only the groups of four
 * elements that hold its channels. Included once per instruction set, behind an epilogue (vec, EPILOGUE_TARGET, constants,
 * make_constants, store_codes, store_codes_masked), by a file that defines before:
 *
 *  DELTA_TARGET         the target attribute
 *  DELTA_VECTORS        how many vec make 16 channels
 *  DELTA_GROUP_BYTES    weights of 16 channels and 4 elements: 64 (s8) or 128 (s16)
 *  DELTA_BLOCKS         most blocks of 16 channels at once: 4 or 2
 *  delta4, load_delta(after, before)   four changes, in whatever form add_delta wants
 *  delta_sums, no_sums()               sums of products of one vec, and none
 *  add_delta(sums, v, changes, w)      add the products with vector v of the group's weights at w
 *  total(sums, before)                 the vec of sums that results
 *  load_sums(p, v), load_sums_masked(p, mask, v), store_sums(p, v, vec), store_sums_masked(p, mask, v, vec)
 *  DELTA_QUADS          if defined: requantize_quad (see epilogue_avx512.h)
 */
#include "engine/integer/kernels/kernels.h"

/* What is the same for every pixel. */
typedef struct delta_run {
    const qn_conv_delta_job *job;
    constants c;
    size_t segment_bytes, block_bytes;
} delta_run;

/* Where the results of a pixel come from and go to, channel 0. */
typedef struct delta_pixel {
    const int32_t *before;
    uint8_t *y;
    int32_t *sums;
} delta_pixel;

/* Taps of one axis that meet lo..hi: positions start + i * step, i < n. */
QN_INLINE void delta_cut(int start, int step, int n, int lo, int hi, int *first, int *last)
{
    *first = start >= lo ? 0 : step == 1 ? lo - start : (lo - start + step - 1) / step;
    const int end = start >= hi ? 0 : step == 1 ? hi - start : (hi - start + step - 1) / step;
    *last = end < n ? end : n;
}

/* The channels of block kb that are in the box, as bits. */
QN_INLINE unsigned delta_mask(const qn_box *box, int kb)
{
    const int low = box->k0 - kb * 16, high = box->k1 - kb * 16;
    return (high >= 16 ? 0xffffu : (1u << high) - 1) & ~(low > 0 ? (1u << low) - 1 : 0u);
}

DELTA_TARGET QN_INLINE void delta_load(const qn_box *box, const delta_pixel *at, int kb, vec acc[DELTA_VECTORS])
{
    const unsigned mask = delta_mask(box, kb);
    QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
    {
        const int32_t *from = at->before + kb * 16;
        acc[v] = mask == 0xffff ? load_sums(from, v) : load_sums_masked(from, mask, v);
    }
}

DELTA_TARGET QN_INLINE void delta_store(const delta_run *run, const delta_pixel *at, int kb,
                                        const vec acc[DELTA_VECTORS])
{
    const unsigned mask = delta_mask(&run->job->box, kb);
    const float *multiplier = run->job->requantize.multiplier + kb * 16;
    if (at->sums != NULL) {
        QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
        {
            if (mask == 0xffff) {
                store_sums(at->sums + kb * 16, v, acc[v]);
            } else {
                store_sums_masked(at->sums + kb * 16, mask, v, acc[v]);
            }
        }
    } else if (mask == 0xffff) {
        store_codes(at->y + kb * 16, acc, multiplier, &run->c);
    } else {
        store_codes_masked(at->y + kb * 16, mask, acc, multiplier, &run->c);
    }
}

/* n_blocks blocks of channels from kb on. */
DELTA_TARGET QN_INLINE void delta_finish(const delta_run *run, const delta_pixel *at, int kb, vec acc[][DELTA_VECTORS],
                                         const int n_blocks)
{
#ifdef DELTA_QUADS
    const qn_box *box = &run->job->box;
    if (n_blocks == 4 && at->sums == NULL && box->k0 <= kb * 16 && box->k1 >= kb * 16 + 64) {
        vec sums[4];
        const float *multiplier[4];
        QN_UNROLL for (int b = 0; b < 4; b++)
        {
            sums[b] = acc[b][0];
            multiplier[b] = run->job->requantize.multiplier + (kb + b) * 16;
        }
        _mm512_storeu_si512(at->y + kb * 16, requantize_quad(sums, multiplier, &run->c));
        return;
    }
#endif
    QN_UNROLL for (int b = 0; b < n_blocks; b++)
    {
        delta_store(run, at, kb + b, acc[b]);
    }
}

/* The window of one output pixel, cut to taps that meet the change: rows r0..r1, columns s0..s1. The offset of its first
 * element, before cutting, from that of the input. */
typedef struct delta_window {
    int r0, r1, s0, s1;
    ptrdiff_t offset;
} delta_window;

DELTA_TARGET QN_INLINE void delta_block(const delta_run *run, const delta_window *window, const delta_pixel *at, int kb,
                                        const int n_blocks)
{
    const qn_conv_delta_job *job = run->job;
    const uint8_t *weights = (const uint8_t *)job->weights + (size_t)kb * run->block_bytes;
    const int segments = job->rows_adjoin ? 1 : job->kernel[1], first = job->rows_adjoin ? job->channels : 0;
    delta_sums sums[4][DELTA_VECTORS];
    QN_UNROLL for (int b = 0; b < n_blocks; b++)
    {
        QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
        {
            sums[b][v] = no_sums();
        }
    }
    for (int r = window->r0; r < window->r1; r++) {
        int done = 0; /* groups of the row: two taps may share one */
        for (int s = window->s0; s < window->s1; s++) {
            int g = (s * first + job->changed.k0) / 4;
            const int end = (s * first + job->changed.k1 + 3) / 4;
            g = first != 0 && g < done ? done : g;
            done = end;
            const ptrdiff_t x =
                window->offset + r * job->dilation[0] * job->x_row + s * (job->dilation[1] * job->x_pixel - first);
            const uint8_t *w = weights + (size_t)(segments == 1 ? r : r * segments + s) * run->segment_bytes +
                               (size_t)g * DELTA_GROUP_BYTES;
            for (; g < end; g++, w += DELTA_GROUP_BYTES) {
                const delta4 changes = load_delta(job->x_new + x + g * 4, job->x_old + x + g * 4);
                QN_UNROLL for (int b = 0; b < n_blocks; b++)
                {
                    QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
                    {
                        sums[b][v] = add_delta(sums[b][v], v, changes, w + (size_t)b * run->block_bytes);
                    }
                }
            }
        }
    }
    vec acc[4][DELTA_VECTORS];
    QN_UNROLL for (int b = 0; b < n_blocks; b++)
    {
        delta_load(&job->box, at, kb + b, acc[b]);
        QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
        {
            acc[b][v] = total(sums[b][v], acc[b][v]);
        }
    }
    delta_finish(run, at, kb, acc, n_blocks);
}

QN_INLINE delta_pixel delta_pixel_at(const qn_conv_delta_job *job, int row, int column)
{
    const qn_box *box = &job->box;
    return (delta_pixel){
        .before = job->accumulators + row * job->accumulator_row + column * job->accumulator_pixel,
        .y = job->y + row * job->y_row + column * job->y_pixel,
        .sums = job->sums == NULL
                    ? NULL
                    : job->sums + (row - box->y0) * job->sums_row + (column - box->x0) * job->sums_pixel - box->k0,
    };
}

DELTA_TARGET static delta_run delta_begin(const qn_conv_delta_job *job)
{
    const qn_conv_job like = {.requantize = job->requantize};
    delta_run run = {.job = job, .c = make_constants(&like)};
    run.segment_bytes = (size_t)job->layout.group_pitch * DELTA_GROUP_BYTES;
    run.block_bytes = run.segment_bytes * (size_t)job->layout.n_segments;
    return run;
}

DELTA_TARGET static void delta_general(const qn_conv_delta_job *job)
{
    const delta_run run = delta_begin(job);
    const qn_box *box = &job->box, *changed = &job->changed;
    const int end = (box->k1 + 15) / 16;
    for (int row = box->y0; row < box->y1; row++) {
        delta_window window;
        const int y = row * job->stride[0] - job->pad[0];
        delta_cut(y, job->dilation[0], job->kernel[0], changed->y0, changed->y1, &window.r0, &window.r1);
        for (int column = box->x0; column < box->x1; column++) {
            const int x = column * job->stride[1] - job->pad[1];
            delta_cut(x, job->dilation[1], job->kernel[1], changed->x0, changed->x1, &window.s0, &window.s1);
            window.offset = y * job->x_row + x * job->x_pixel;
            const delta_pixel at = delta_pixel_at(job, row, column);
            int kb = box->k0 / 16;
#if DELTA_BLOCKS == 4
            for (; kb + 4 <= end; kb += 4) {
                delta_block(&run, &window, &at, kb, 4);
            }
#endif
            for (; kb + 2 <= end; kb += 2) {
                delta_block(&run, &window, &at, kb, 2);
            }
            if (kb < end) {
                delta_block(&run, &window, &at, kb, 1);
            }
        }
    }
}
