/* Sums after a change in a box of the input: pixel by pixel, only the taps that meet the box, only the groups of four
 * elements that hold its channels and do differ. Included once per instruction set, behind an epilogue (vec, EPILOGUE_TARGET, constants,
 * make_constants, store_codes, store_codes_masked), by a file that defines before:
 *
 *  DELTA_TARGET         the target attribute
 *  DELTA_VECTORS        how many vec make 16 channels
 *  DELTA_GROUP_BYTES    weights of 16 channels and 4 elements: 64 (s8) or 128 (s16)
 *  DELTA_BLOCKS         most blocks of 16 channels at once: 4 or 2
 *  DELTA_LANES, delta_differ(after, before, n)   groups of four elements that are compared at once, and bits of those of
 *                       the first n that differ
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

/* Sums before the change of block kb, and what results; all 16 channels of it, or those in the box. */
DELTA_TARGET QN_INLINE void delta_load(const qn_box *box, const int32_t *before, int kb, const bool whole,
                                       vec acc[DELTA_VECTORS])
{
    const unsigned mask = whole ? 0xffff : delta_mask(box, kb);
    QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
    {
        acc[v] = whole ? load_sums(before + kb * 16, v) : load_sums_masked(before + kb * 16, mask, v);
    }
}

DELTA_TARGET QN_INLINE void delta_store(const delta_run *run, const delta_pixel *at, int kb, const bool whole,
                                        const vec acc[DELTA_VECTORS])
{
    const unsigned mask = whole ? 0xffff : delta_mask(&run->job->box, kb);
    const float *multiplier = run->job->requantize.multiplier + kb * 16;
    if (at->sums != NULL) {
        QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
        {
            if (whole) {
                store_sums(at->sums + kb * 16, v, acc[v]);
            } else {
                store_sums_masked(at->sums + kb * 16, mask, v, acc[v]);
            }
        }
    } else if (whole) {
        store_codes(at->y + kb * 16, acc, multiplier, &run->c);
    } else {
        store_codes_masked(at->y + kb * 16, mask, acc, multiplier, &run->c);
    }
}

/* n_blocks blocks of channels from kb on. */
DELTA_TARGET QN_INLINE void delta_finish(const delta_run *run, const delta_pixel *at, int kb, vec acc[][DELTA_VECTORS],
                                         const int n_blocks, const bool whole)
{
#ifdef DELTA_QUADS
    if (n_blocks == 4 && whole && at->sums == NULL) {
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
        delta_store(run, at, kb + b, whole, acc[b]);
    }
}

QN_INLINE bool delta_is_whole(const qn_box *box, int kb, int n_blocks)
{
    return box->k0 <= kb * 16 && box->k1 >= (kb + n_blocks) * 16;
}

/* What of the window of one output pixel is multiplied: `rows` times `runs` runs of `groups` groups of four elements; the
 * first one and the steps to the next, in bytes. */
typedef struct delta_window {
    const uint8_t *x_new, *x_old, *weights;
    ptrdiff_t x_row, x_run;
    size_t weight_row, weight_run;
    int rows, runs, groups;
} delta_window;

DELTA_TARGET QN_INLINE void delta_result_of(const delta_run *run, const delta_pixel *at, int kb,
                                            delta_sums sums[4][DELTA_VECTORS], const int n_blocks, const bool whole)
{
    vec acc[4][DELTA_VECTORS];
    QN_UNROLL for (int b = 0; b < n_blocks; b++)
    {
        delta_load(&run->job->box, at->before, kb + b, whole, acc[b]);
        QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
        {
            acc[b][v] = total(sums[b][v], acc[b][v]);
        }
    }
    delta_finish(run, at, kb, acc, n_blocks, whole);
}

/* The products of one group. */
DELTA_TARGET QN_INLINE void delta_add(const delta_window *window, ptrdiff_t x, const uint8_t *w, size_t block_bytes,
                                      delta_sums sums[4][DELTA_VECTORS], const int n_blocks)
{
    const delta4 changes = load_delta(window->x_new + x, window->x_old + x);
    QN_UNROLL for (int b = 0; b < n_blocks; b++)
    {
        QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
        {
            sums[b][v] = add_delta(sums[b][v], v, changes, w + (size_t)b * block_bytes);
        }
    }
}

DELTA_TARGET QN_INLINE void delta_block(const delta_run *run, const delta_window *window, const delta_pixel *at, int kb,
                                        const int n_blocks)
{
    const size_t block_bytes = run->block_bytes;
    const uint8_t *w_row = window->weights + (size_t)kb * block_bytes;
    ptrdiff_t x_row = 0;
    delta_sums sums[4][DELTA_VECTORS];
    QN_UNROLL for (int b = 0; b < n_blocks; b++)
    {
        QN_UNROLL for (int v = 0; v < DELTA_VECTORS; v++)
        {
            sums[b][v] = no_sums();
        }
    }
    for (int r = 0; r < window->rows; r++) {
        const uint8_t *w_run = w_row;
        ptrdiff_t x_run = x_row;
        for (int i = 0; i < window->runs; i++) {
            const uint8_t *w = w_run;
            ptrdiff_t x = x_run;
            for (int g = 0; g < window->groups; g += DELTA_LANES) {
                const int left = window->groups - g, n = left < DELTA_LANES ? left : DELTA_LANES;
                uint32_t differ = n == 1 ? 1 : delta_differ(window->x_new + x, window->x_old + x, n);
                if (differ == (1u << n) - 1) {
                    for (int i_group = 0; i_group < n; i_group++) {
                        delta_add(window, x + i_group * 4, w + (size_t)i_group * DELTA_GROUP_BYTES, block_bytes, sums,
                                  n_blocks);
                    }
                    differ = 0;
                }
                for (; differ != 0; differ &= differ - 1) {
                    const int i_group = __builtin_ctz(differ);
                    delta_add(window, x + i_group * 4, w + (size_t)i_group * DELTA_GROUP_BYTES, block_bytes, sums,
                              n_blocks);
                }
                x += DELTA_LANES * 4;
                w += DELTA_LANES * DELTA_GROUP_BYTES;
            }
            w_run += window->weight_run;
            x_run += window->x_run;
        }
        w_row += window->weight_row;
        x_row += window->x_row;
    }
    if (delta_is_whole(&run->job->box, kb, n_blocks)) {
        delta_result_of(run, at, kb, sums, n_blocks, true);
    } else {
        delta_result_of(run, at, kb, sums, n_blocks, false);
    }
}

/* Taps r0..r1 x s0..s1 of the window that begins at input pixel (y, x). */
QN_INLINE delta_window delta_window_at(const delta_run *run, int y, int x, int r0, int r1, int s0, int s1)
{
    const qn_conv_delta_job *job = run->job;
    const int k0 = job->changed.k0, k1 = job->changed.k1, channels = job->channels;
    delta_window window = {
        .weights = job->weights,
        .x_row = job->dilation[0] * job->x_row,
        .x_run = job->dilation[1] * job->x_pixel,
        .weight_row = run->segment_bytes * (size_t)(job->rows_adjoin ? 1 : job->kernel[1]),
        .weight_run = run->segment_bytes,
        .rows = r1 - r0,
        .runs = s1 - s0,
        .groups = (k1 + 3) / 4 - k0 / 4,
    };
    ptrdiff_t at = y * job->x_row + x * job->x_pixel + r0 * window.x_row;
    int group = k0 / 4;
    if (window.rows <= 0 || window.runs <= 0) {
        return (delta_window){0};
    }
    if (!job->rows_adjoin) {
        at += s0 * window.x_run;
        window.weights += (size_t)s0 * run->segment_bytes;
    } else if (channels % 4 == 0) {
        at += s0 * window.x_run;
        group += s0 * (channels / 4);
        window.weight_run = (size_t)(channels / 4) * DELTA_GROUP_BYTES;
        if (window.groups * 4 == channels) { /* taps adjoin */
            window.groups *= window.runs, window.runs = 1;
        }
    } else { /* taps share groups: all from the first to the last, of which most have not changed */
        group = (s0 * channels + k0) / 4;
        window.groups = ((s1 - 1) * channels + k1 + 3) / 4 - group;
        window.runs = 1;
    }
    at += job->rows_adjoin && channels % 4 != 0 ? group * 4 : k0 / 4 * 4;
    window.x_new = job->x_new + at;
    window.x_old = job->x_old + at;
    window.weights += (size_t)r0 * window.weight_row + (size_t)group * DELTA_GROUP_BYTES;
    return window;
}

QN_INLINE delta_pixel delta_pixel_at(const qn_conv_delta_job *job, int row, int column)
{
    const qn_box *box = &job->box;
    return (delta_pixel){
        .before = job->accumulators + row * job->accumulator_row + column * job->accumulator_pixel,
        .y = job->y == NULL ? NULL : job->y + row * job->y_row + column * job->y_pixel,
        .sums = job->sums == NULL
                    ? NULL
                    : job->sums + (row - box->y0) * job->sums_row + (column - box->x0) * job->sums_pixel - box->k0,
    };
}

/* One pixel on; what is not wanted is NULL and stays so. Steps are the job's. */
QN_INLINE void delta_next(delta_pixel *at, ptrdiff_t accumulator_pixel, ptrdiff_t y_pixel, ptrdiff_t sums_pixel)
{
    at->before += accumulator_pixel;
    at->y = at->y != NULL ? at->y + y_pixel : NULL;
    at->sums = at->sums != NULL ? at->sums + sums_pixel : NULL;
}

DELTA_TARGET QN_INLINE delta_run delta_begin(const qn_conv_delta_job *job)
{
    qn_conv_job like;
    like.requantize = job->requantize;
    const size_t segment_bytes = (size_t)job->layout.group_pitch * DELTA_GROUP_BYTES;
    return (delta_run){job, make_constants(&like), segment_bytes, segment_bytes * (size_t)job->layout.n_segments};
}

/* n_blocks blocks of channels from kb on, of all pixels. What no store of codes can change is kept apart. */
DELTA_TARGET QN_INLINE void delta_map(const qn_conv_delta_job *job, int kb, const int n_blocks)
{
    const delta_run run = delta_begin(job);
    const qn_box box = job->box, changed = job->changed;
    const int kernel = job->kernel[1], stride = job->stride[1], dilation = job->dilation[1];
    const ptrdiff_t x_pixel = stride * job->x_pixel, accumulator_pixel = job->accumulator_pixel;
    const ptrdiff_t y_pixel = job->y_pixel, sums_pixel = job->sums_pixel;
    for (int row = box.y0; row < box.y1; row++) {
        int r0, r1, s0 = -1, s1 = -1;
        const int y = row * job->stride[0] - job->pad[0];
        delta_cut(y, job->dilation[0], job->kernel[0], changed.y0, changed.y1, &r0, &r1);
        delta_pixel at = delta_pixel_at(job, row, box.x0);
        delta_window window = {0};
        int x = box.x0 * stride - job->pad[1];
        for (int column = box.x0; column < box.x1; column++) {
            int first, last;
            delta_cut(x, dilation, kernel, changed.x0, changed.x1, &first, &last);
            if (first != s0 || last != s1) {
                s0 = first, s1 = last;
                window = delta_window_at(&run, y, x, r0, r1, s0, s1);
            }
            delta_block(&run, &window, &at, kb, n_blocks);
            if (window.rows > 0) {
                window.x_new += x_pixel, window.x_old += x_pixel;
            }
            delta_next(&at, accumulator_pixel, y_pixel, sums_pixel);
            x += stride;
        }
    }
}

#define DELTA_MAP_FUNCTION(n_blocks)                                                                                   \
    DELTA_TARGET static __attribute__((noinline)) void delta_map_##n_blocks(const qn_conv_delta_job *job, int kb)      \
    {                                                                                                                  \
        delta_map(job, kb, n_blocks);                                                                                  \
    }
/* Each by itself: one function for all would not find registers for what it has to keep. */
DELTA_MAP_FUNCTION(1)
DELTA_MAP_FUNCTION(2)
#if DELTA_BLOCKS == 4
DELTA_MAP_FUNCTION(4)
#endif

/* One pixel, as layers that end a network have. */
DELTA_TARGET static __attribute__((noinline)) void delta_one(const qn_conv_delta_job *job)
{
    const delta_run run = delta_begin(job);
    const int end = (job->box.k1 + 15) / 16;
    const int y = job->box.y0 * job->stride[0] - job->pad[0], x = job->box.x0 * job->stride[1] - job->pad[1];
    int r0, r1, s0, s1;
    delta_cut(y, job->dilation[0], job->kernel[0], job->changed.y0, job->changed.y1, &r0, &r1);
    delta_cut(x, job->dilation[1], job->kernel[1], job->changed.x0, job->changed.x1, &s0, &s1);
    const delta_window window = delta_window_at(&run, y, x, r0, r1, s0, s1);
    const delta_pixel at = delta_pixel_at(job, job->box.y0, job->box.x0);
    int kb = job->box.k0 / 16;
    for (; kb + DELTA_BLOCKS <= end; kb += DELTA_BLOCKS) {
        delta_block(&run, &window, &at, kb, DELTA_BLOCKS);
    }
    for (; kb < end; kb++) {
        delta_block(&run, &window, &at, kb, 1);
    }
}

static void delta_general(const qn_conv_delta_job *job)
{
    const int end = (job->box.k1 + 15) / 16;
    int kb = job->box.k0 / 16;
    if (job->box.y1 - job->box.y0 == 1 && job->box.x1 - job->box.x0 == 1) {
        delta_one(job);
        return;
    }
#if DELTA_BLOCKS == 4
    for (; kb + 4 <= end; kb += 4) {
        delta_map_4(job, kb);
    }
#endif
    for (; kb + 2 <= end; kb += 2) {
        delta_map_2(job, kb);
    }
    if (kb < end) {
        delta_map_1(job, kb);
    }
}
