/* Where two arrays differ, a vector at a time. Included once per instruction set by a file that defines before:
 *
 *  DIFFER_TARGET   the target attribute
 *  DIFFER_BYTES    of a vector: 32 or 64
 *  differ_unit(a, b, n, mask)   those bits of mask, which is less than 2^n, whose bytes differ; n <= DIFFER_BYTES. Reads
 *                  nothing beyond n bytes
 */
#include <string.h>

#include "engine/integer/kernels/kernels.h"

QN_INLINE int differ_least(int a, int b)
{
    return a < b ? a : b;
}

QN_INLINE int differ_greatest(int a, int b)
{
    return a > b ? a : b;
}

QN_INLINE uint64_t differ_ones(int n)
{
    return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

/* A vector holds as many pixels as go into it, or DIFFER_BYTES channels of one; up to so many vectors side by side are
 * looked at for all rows, and kept by column. */
enum { DIFFER_UNITS = 64 };
typedef struct differ_strip {
    const uint8_t *a, *b; /* pixel (0, x0), channel k0 */
    int x0, x1, k0, k1;   /* at most DIFFER_BYTES channels */
    int per_unit;         /* pixels */
} differ_strip;

/* Channels k0..k1 of every pixel of n. */
QN_INLINE uint64_t differ_mask(const differ_strip *strip, ptrdiff_t pixel, int n)
{
    uint64_t mask = differ_ones(strip->k1 - strip->k0);
    for (int have = 1; have < n; have *= 2) { /* bits of pixels beyond the n-th are cut off below */
        mask |= have * pixel < 64 ? mask << have * pixel : 0;
    }
    return mask & differ_ones((int)((n - 1) * pixel) + strip->k1 - strip->k0);
}

/* Takes what differs in the strip into `found`. */
DIFFER_TARGET QN_INLINE void differ_in_strip(const differ_strip *strip, ptrdiff_t row, ptrdiff_t pixel, int y0, int y1,
                                             qn_box *found)
{
    uint64_t columns[DIFFER_UNITS];
    const int per_unit = strip->per_unit, width = strip->x1 - strip->x0, channels = strip->k1 - strip->k0;
    const int whole = width / per_unit, left = width % per_unit, units = whole + (left != 0);
    const int bytes = (int)((per_unit - 1) * pixel) + channels, bytes_left = (int)((left - 1) * pixel) + channels;
    const uint64_t mask = differ_mask(strip, pixel, per_unit);
    const uint64_t mask_left = left != 0 ? differ_mask(strip, pixel, left) : 0;
    memset(columns, 0, (size_t)units * sizeof columns[0]);
    int first = y1, last = -1;
    for (int y = y0; y < y1; y++) {
        const uint8_t *a = strip->a + y * row, *b = strip->b + y * row;
        uint64_t any = 0;
        for (int u = 0; u < whole; u++) {
            const uint64_t bits = differ_unit(a, b, bytes, mask);
            columns[u] |= bits;
            any |= bits;
            a += per_unit * pixel, b += per_unit * pixel;
        }
        if (left != 0) {
            const uint64_t bits = differ_unit(a, b, bytes_left, mask_left);
            columns[whole] |= bits;
            any |= bits;
        }
        if (any != 0) {
            first = last < 0 ? y : first;
            last = y;
        }
    }
    if (last < 0) {
        return;
    }
    uint64_t all = 0, channel = 0;
    int u0 = units, u1 = 0;
    for (int u = 0; u < units; u++) {
        all |= columns[u];
        u0 = columns[u] != 0 && u0 == units ? u : u0;
        u1 = columns[u] != 0 ? u : u1;
    }
    for (int i = 0; i < per_unit; i++) {
        channel |= all >> i * pixel;
    }
    channel &= differ_ones(channels);
    const int step = per_unit > 1 ? (int)pixel : 64; /* all bits of one pixel are at its place */
    const int x0 = strip->x0 + u0 * per_unit + __builtin_ctzll(columns[u0]) / step;
    const int x1 = strip->x0 + u1 * per_unit + (63 - __builtin_clzll(columns[u1])) / step + 1;
    found->y0 = differ_least(found->y0, first), found->y1 = differ_greatest(found->y1, last + 1);
    found->x0 = differ_least(found->x0, x0), found->x1 = differ_greatest(found->x1, x1);
    found->k0 = differ_least(found->k0, strip->k0 + __builtin_ctzll(channel));
    found->k1 = differ_greatest(found->k1, strip->k0 + 64 - __builtin_clzll(channel));
}

/* One channel of pixels that are far apart: byte by byte. */
DIFFER_TARGET static bool differ_in_channel(const uint8_t *a, const uint8_t *b, ptrdiff_t row, ptrdiff_t pixel,
                                            qn_box *box)
{
    int first = box->y1, last = -1, x0 = box->x1, x1 = 0;
    for (int x = box->x0; x < box->x1; x += DIFFER_UNITS) {
        const int n = differ_least(box->x1 - x, DIFFER_UNITS);
        uint8_t columns[DIFFER_UNITS] = {0};
        for (int y = box->y0; y < box->y1; y++) {
            const uint8_t *left = a + y * row + x * pixel + box->k0, *right = b + y * row + x * pixel + box->k0;
            uint8_t any = 0;
            for (int i = 0; i < n; i++) {
                const uint8_t change = *left ^ *right;
                columns[i] |= change;
                any |= change;
                left += pixel, right += pixel;
            }
            if (any != 0) {
                first = differ_least(first, y);
                last = differ_greatest(last, y);
            }
        }
        for (int i = 0; i < n; i++) {
            x0 = columns[i] != 0 ? differ_least(x0, x + i) : x0;
            x1 = columns[i] != 0 ? x + i + 1 : x1;
        }
    }
    if (last < 0) {
        return false;
    }
    *box = (qn_box){first, last + 1, x0, x1, box->k0, box->k1};
    return true;
}

DIFFER_TARGET static bool differ_in_strips(const uint8_t *a, const uint8_t *b, ptrdiff_t row, ptrdiff_t pixel,
                                           qn_box *box)
{
    const int per_unit = pixel <= DIFFER_BYTES ? (int)(DIFFER_BYTES / pixel) : 1;
    qn_box found = {box->y1, 0, box->x1, 0, box->k1, 0};
    for (int k = box->k0; k < box->k1; k += DIFFER_BYTES) {
        for (int x = box->x0; x < box->x1; x += per_unit * DIFFER_UNITS) {
            const differ_strip strip = {
                .a = a + x * pixel + k,
                .b = b + x * pixel + k,
                .x0 = x,
                .x1 = differ_least(x + per_unit * DIFFER_UNITS, box->x1),
                .k0 = k,
                .k1 = differ_least(k + DIFFER_BYTES, box->k1),
                .per_unit = per_unit,
            };
            differ_in_strip(&strip, row, pixel, box->y0, box->y1, &found);
        }
    }
    if (found.y1 == 0) {
        return false;
    }
    *box = found;
    return true;
}

/* One pixel of at most a vector, the commonest box of all. */
DIFFER_TARGET QN_INLINE bool differ_run(const uint8_t *a, const uint8_t *b, ptrdiff_t row, ptrdiff_t pixel, qn_box *box)
{
    const int channels = box->k1 - box->k0;
    const bool one = box->y1 - box->y0 == 1 && box->x1 - box->x0 == 1;
    const ptrdiff_t at = box->y0 * row + box->x0 * pixel + box->k0;
    if (one && channels == 1) {
        return a[at] != b[at];
    }
    if (one && channels <= DIFFER_BYTES) {
        const uint64_t bits = differ_unit(a + at, b + at, channels, differ_ones(channels));
        if (bits == 0) {
            return false;
        }
        box->k1 = box->k0 + 64 - __builtin_clzll(bits);
        box->k0 += __builtin_ctzll(bits);
        return true;
    }
    if (box->x1 - box->x0 == 1) { /* no other pixel is beside it, whatever the step */
        const ptrdiff_t column = box->x0 * (pixel - channels);
        return differ_in_strips(a + column, b + column, row, channels, box);
    }
    if (channels == 1 && 2 * pixel > DIFFER_BYTES) {
        return differ_in_channel(a, b, row, pixel, box);
    }
    return differ_in_strips(a, b, row, pixel, box);
}
