/* Direct convolution on tiles: a tile of input is 16 output pixels by 64 bytes of their windows, loaded straight from
 * the rows of codes; a tile of weights is 16 groups of 4 elements by 16 output channels. Sums go through a small buffer
 * to the epilogue. Included by a file that defines before:
 *
 *  TILES_TARGET   the target attribute
 *  tile_state, TILE_LOAD, TILE_STORE, TILE_DOT   tiles_amx.h or tiles_portable.h
 *  constants, make_constants(job)                what the epilogue keeps in registers
 *  store_sums(job, y, kb, sums, constants)       requantize 16 sums (bias included) of channel block kb
 */
#include "engine/integer/kernels/kernels.h"

/* Output pixels seen as lines whose windows are x_pixel bytes apart throughout. A line is one output row, or, where the
 * windows of the rows are whole steps apart, all rows at once with `pitch` steps from row to row, of which the first
 * `columns` are pixels and the rest is computed in vain. */
typedef struct tile_lines {
    int n_lines, length, pitch;
} tile_lines;

static int tiles_of(int n)
{
    return (n + 15) / 16;
}

static tile_lines plan_lines(const qn_conv_job *job, int rows, int columns)
{
    tile_lines by_row = {rows, columns, columns};
    if (job->x_pixel == 0 || job->x_row % job->x_pixel != 0 || job->x_row / job->x_pixel > 4096) {
        return by_row;
    }
    int pitch = (int)(job->x_row / job->x_pixel);
    if (pitch < columns || rows > 4096) {
        return by_row;
    }
    tile_lines all = {1, (rows - 1) * pitch + columns, pitch};
    return tiles_of(all.length) < rows * tiles_of(columns) ? all : by_row;
}

enum { BUFFER_CHANNELS = 32 };

/* n_tiles_m tiles of pixels by n_tiles_n blocks of channels, each 1 or 2 and known when compiling. */
TILES_TARGET QN_INLINE void tile_block(tile_state *state, const qn_conv_job *job, const uint8_t *x, int kb,
                                       int32_t *buffer, const int n_tiles_m, const int n_tiles_n)
{
    (void)state;
    const qn_weight_layout *layout = &job->layout;
    const size_t segment_bytes = (size_t)layout->group_pitch * 64;
    const size_t block_bytes = segment_bytes * (size_t)layout->n_segments;
    const int8_t *w = (const int8_t *)job->weights + (size_t)kb * block_bytes;
    const int32_t *bias = job->requantize.bias + kb * 16;
    const int n_chunks = tiles_of(layout->n_groups);
    const ptrdiff_t step = job->x_pixel;
    TILE_LOAD(0, bias, 0);
    if (n_tiles_n == 2) {
        TILE_LOAD(1, bias + 16, 0);
    }
    if (n_tiles_m == 2) {
        TILE_LOAD(2, bias, 0);
        if (n_tiles_n == 2) {
            TILE_LOAD(3, bias + 16, 0);
        }
    }
    for (int s = 0; s < layout->n_segments; s++) {
        const uint8_t *xs = x + job->segment[s];
        for (int chunk = 0; chunk < n_chunks; chunk++) {
            const int8_t *ws = w + chunk * 1024;
            TILE_LOAD(4, xs, step);
            TILE_LOAD(6, ws, 64);
            TILE_DOT(0, 4, 6);
            if (n_tiles_n == 2) {
                TILE_LOAD(7, ws + block_bytes, 64);
                TILE_DOT(1, 4, 7);
            }
            if (n_tiles_m == 2) {
                TILE_LOAD(5, xs + 16 * step, step);
                TILE_DOT(2, 5, 6);
                if (n_tiles_n == 2) {
                    TILE_DOT(3, 5, 7);
                }
            }
            xs += 64;
        }
        w += segment_bytes;
    }
    const ptrdiff_t pitch = BUFFER_CHANNELS * 4;
    TILE_STORE(0, buffer, pitch);
    if (n_tiles_n == 2) {
        TILE_STORE(1, buffer + 16, pitch);
    }
    if (n_tiles_m == 2) {
        TILE_STORE(2, buffer + 16 * BUFFER_CHANNELS, pitch);
        if (n_tiles_n == 2) {
            TILE_STORE(3, buffer + 16 * BUFFER_CHANNELS + 16, pitch);
        }
    }
}

/* One line, one or two blocks of channels. `y` is the code of the line's first pixel, channel 0. */
TILES_TARGET QN_INLINE void tile_line(tile_state *state, const qn_conv_job *job, const uint8_t *x, uint8_t *y, int kb,
                                      const tile_lines *lines, const constants *c, const int n_tiles_n)
{
    _Alignas(64) int32_t buffer[32 * BUFFER_CHANNELS];
    const int columns = job->box.x1 - job->box.x0;
    int column = 0;
    for (int first = 0; first < lines->length; first += 32) {
        int left = lines->length - first;
        const uint8_t *window = x + first * job->x_pixel;
        if (left > 16) {
            tile_block(state, job, window, kb, buffer, 2, n_tiles_n);
        } else {
            tile_block(state, job, window, kb, buffer, 1, n_tiles_n);
        }
        for (int i = 0; i < (left < 32 ? left : 32); i++) {
            if (column < columns) {
                uint8_t *pixel = y + column * job->y_pixel;
                store_sums(job, pixel, kb, buffer + i * BUFFER_CHANNELS, c);
                if (n_tiles_n == 2) {
                    store_sums(job, pixel, kb + 1, buffer + i * BUFFER_CHANNELS + 16, c);
                }
            }
            if (++column == lines->pitch) {
                column = 0;
                y += job->y_row;
            }
        }
    }
}

TILES_TARGET static void tiles_run(const qn_conv_job *job)
{
    const qn_box *box = &job->box;
    const int columns = box->x1 - box->x0, rows = box->y1 - box->y0;
    if (columns <= 0 || rows <= 0 || box->k0 >= box->k1) {
        return;
    }
    tile_state state;
    const constants c = make_constants(job);
    const tile_lines lines = plan_lines(job, rows, columns);
    const int end = tiles_of(box->k1);
    for (int line = 0; line < lines.n_lines; line++) {
        const uint8_t *x = job->x + (box->y0 + line) * job->x_row + box->x0 * job->x_pixel;
        uint8_t *y = job->y + (box->y0 + line) * job->y_row + box->x0 * job->y_pixel;
        int kb = box->k0 / 16;
        for (; kb + 2 <= end; kb += 2) {
            tile_line(&state, job, x, y, kb, &lines, &c, 2);
        }
        if (kb < end) {
            tile_line(&state, job, x, y, kb, &lines, &c, 1);
        }
    }
}
