/* Tile registers in C: eight tiles of 16 rows by 64 bytes, with the meaning the instruction set manual gives them.
 * The other implementation of these five operations is tiles_amx.h. */
#ifndef QN_KERNELS_TILES_PORTABLE_H
#define QN_KERNELS_TILES_PORTABLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arith.h"

enum { TILE_ROWS = 16, TILE_BYTES = 64 };
typedef struct tile_state {
    uint8_t tile[8][TILE_ROWS][TILE_BYTES];
} tile_state;

/* Rows `stride` bytes apart, from and to memory. */
static inline void tile_load(tile_state *state, int tile, const void *memory, ptrdiff_t stride)
{
    for (int row = 0; row < TILE_ROWS; row++) {
        memcpy(state->tile[tile][row], (const uint8_t *)memory + row * stride, TILE_BYTES);
    }
}

static inline void tile_store(const tile_state *state, int tile, void *memory, ptrdiff_t stride)
{
    for (int row = 0; row < TILE_ROWS; row++) {
        memcpy((uint8_t *)memory + row * stride, state->tile[tile][row], TILE_BYTES);
    }
}

/* s32 c[m][n] += sum over k, i of u8 a[m][4 k + i] * s8 b[k][4 n + i], wrapping. */
static inline void tile_dot(tile_state *state, int c, int a, int b)
{
    for (int m = 0; m < TILE_ROWS; m++) {
        for (int n = 0; n < TILE_BYTES / 4; n++) {
            int32_t sum;
            memcpy(&sum, state->tile[c][m] + n * 4, 4);
            for (int k = 0; k < TILE_ROWS; k++) {
                for (int i = 0; i < 4; i++) {
                    int32_t weight = (int8_t)state->tile[b][k][n * 4 + i];
                    sum = qn_add_wrap_s32(sum, state->tile[a][m][k * 4 + i] * weight);
                }
            }
            memcpy(state->tile[c][m] + n * 4, &sum, 4);
        }
    }
}

#define TILE_LOAD(tile, memory, stride)  tile_load(state, tile, memory, stride)
#define TILE_STORE(tile, memory, stride) tile_store(state, tile, memory, stride)
#define TILE_DOT(c, a, b)                tile_dot(state, c, a, b)

#endif
