/* Convolution on AMX tiles: tdpbusd adds u8 * s8 products to s32 sums without saturating. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/epilogue_avx512.h"
#include "engine/integer/kernels/tiles_amx.h"

#define TILES_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,amx-tile,amx-int8")))

TILES_TARGET QN_INLINE void store_sums(const qn_conv_job *job, uint8_t *y, int kb, const int32_t *sums,
                                       const constants *c)
{
    const __m512i acc = _mm512_load_si512(sums);
    const float *multiplier = job->requantize.multiplier + kb * 16;
    const int low = job->box.k0 - kb * 16, high = job->box.k1 - kb * 16;
    if (low <= 0 && high >= 16) {
        store_codes(y + kb * 16, &acc, multiplier, c);
    } else {
        unsigned mask = (high >= 16 ? 0xffffu : (1u << high) - 1) & ~(low > 0 ? (1u << low) - 1 : 0u);
        store_codes_masked(y + kb * 16, mask, &acc, multiplier, c);
    }
}

#include "engine/integer/kernels/tiles_template.h"

void qn_conv_u8s8_amx(const qn_conv_job *job)
{
    /* gcc does not know that tile loads read memory: everything must be in memory before the first. */
    __asm__ volatile("" ::: "memory");
    tiles_run(job);
}

/* Palette 1: eight tiles, all of 16 rows by 64 bytes. */
__attribute__((target("amx-tile"))) void qn_tiles_begin(void)
{
    _Alignas(64) struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        config.row_bytes[tile] = 64;
        config.rows[tile] = 16;
    }
    /* gcc's intrinsic admits to reading 8 bytes only: all must be in memory before. */
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
}

__attribute__((target("amx-tile"))) void qn_tiles_end(void)
{
    _tile_release();
}
#endif
