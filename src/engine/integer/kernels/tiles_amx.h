/* Tile registers of AMX; the same operations as tiles_portable.h. Tiles are configured by qn_tiles_begin. */
#ifndef QN_KERNELS_TILES_AMX_H
#define QN_KERNELS_TILES_AMX_H

#include <immintrin.h>

/* The registers hold the state. */
typedef struct tile_state {
    char unused;
} tile_state;

#define TILE_LOAD(tile, memory, stride)  _tile_loadd(tile, memory, stride)
#define TILE_STORE(tile, memory, stride) _tile_stored(tile, memory, stride)
#define TILE_DOT(c, a, b)                _tile_dpbusd(c, a, b)

#endif
