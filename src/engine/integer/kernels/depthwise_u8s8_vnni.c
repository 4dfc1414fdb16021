/* Depthwise convolution on AVX512-VNNI: four taps of 64 channels are interleaved byte by byte, so that one vpdpbusd
 * adds the products of four taps of 16 channels. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

/* One group of taps: where they are in the window, and their weights. */
typedef struct tap_group {
    ptrdiff_t tap[4];
    __m512i w[4];
} tap_group;

TARGET QN_INLINE tap_group load_group(const qn_conv_job *job, int block, int group)
{
    const int last = job->layout.n_segments - 1;
    const int8_t *w =
        (const int8_t *)job->weights + ((size_t)block * (size_t)job->layout.n_groups + (size_t)group) * 256;
    tap_group g;
    QN_UNROLL for (int i = 0; i < 4; i++)
    {
        const int tap = group * 4 + i;
        g.tap[i] = job->segment[tap < last ? tap : last]; /* taps beyond the last weigh 0 */
        g.w[i] = _mm512_load_si512(w + i * 64);
    }
    return g;
}

/* Interleaving and the packs of the epilogue work within 128-bit lanes and undo each other (see layout.c). */
TARGET QN_INLINE void add_taps(__m512i acc[4], const uint8_t *x, const tap_group *g, __mmask64 mask)
{
    __m512i a = _mm512_maskz_loadu_epi8(mask, x + g->tap[0]), b = _mm512_maskz_loadu_epi8(mask, x + g->tap[1]);
    __m512i c = _mm512_maskz_loadu_epi8(mask, x + g->tap[2]), d = _mm512_maskz_loadu_epi8(mask, x + g->tap[3]);
    __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
    acc[0] = _mm512_dpbusd_epi32(acc[0], _mm512_unpacklo_epi16(ab_low, cd_low), g->w[0]);
    acc[1] = _mm512_dpbusd_epi32(acc[1], _mm512_unpackhi_epi16(ab_low, cd_low), g->w[1]);
    acc[2] = _mm512_dpbusd_epi32(acc[2], _mm512_unpacklo_epi16(ab_high, cd_high), g->w[2]);
    acc[3] = _mm512_dpbusd_epi32(acc[3], _mm512_unpackhi_epi16(ab_high, cd_high), g->w[3]);
}

/* The packs saturate only below: the upper bound has been taken, and whatever is below -32768 ends at lo all the same.
 */
TARGET QN_INLINE __m512i requantize64(const __m512i acc[4], const qn_requantize *r, const float *multiplier)
{
    const __m512 high = _mm512_set1_ps((float)(r->hi - r->zero_point));
    __m512i code[4];
    QN_UNROLL for (int i = 0; i < 4; i++)
    {
        __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i]), _mm512_loadu_ps(multiplier + i * 16));
        code[i] = _mm512_cvtps_epi32(_mm512_min_ps(x, high));
    }
    const __m512i zero_point = _mm512_set1_epi16((short)r->zero_point);
    __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(code[0], code[1]), zero_point);
    __m512i rest = _mm512_adds_epi16(_mm512_packs_epi32(code[2], code[3]), zero_point);
    return _mm512_max_epu8(_mm512_packus_epi16(low, rest), _mm512_set1_epi8((char)r->lo));
}

/* 64 channels of the pixels of a row; lanes outside `mask` are neither read nor written. n_kept, known when compiling, is
 * the number of groups if their weights are to stay in registers, and 0 otherwise. */
TARGET QN_INLINE void one_row(const qn_conv_job *job, const uint8_t *x, uint8_t *y, int block, __mmask64 mask,
                              const int n_kept)
{
    const qn_requantize *r = &job->requantize;
    const int32_t *bias = r->bias + block * 64;
    tap_group kept[3];
    QN_UNROLL for (int group = 0; group < n_kept; group++)
    {
        kept[group] = load_group(job, block, group);
    }
    for (int column = job->box.x0; column < job->box.x1; column++) {
        __m512i acc[4];
        QN_UNROLL for (int i = 0; i < 4; i++)
        {
            acc[i] = _mm512_loadu_si512(bias + i * 16);
        }
        QN_UNROLL for (int group = 0; group < n_kept; group++)
        {
            add_taps(acc, x, &kept[group], mask);
        }
        for (int group = n_kept; group < job->layout.n_groups; group++) {
            const tap_group g = load_group(job, block, group);
            add_taps(acc, x, &g, mask);
        }
        _mm512_mask_storeu_epi8(y, mask, requantize64(acc, r, r->multiplier + block * 64));
        x += job->x_pixel;
        y += job->y_pixel;
    }
}

TARGET void qn_depthwise_u8s8_vnni(const qn_conv_job *job)
{
    const qn_box *box = &job->box;
    for (int block = box->k0 / 64; block * 64 < box->k1; block++) {
        const int low = box->k0 - block * 64, high = box->k1 - block * 64;
        const __mmask64 below = high >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << high) - 1;
        const __mmask64 mask = low > 0 ? below & ~((UINT64_C(1) << low) - 1) : below;
        for (int row = box->y0; row < box->y1; row++) {
            const uint8_t *x = job->x + row * job->x_row + box->x0 * job->x_pixel + block * 64;
            uint8_t *y = job->y + row * job->y_row + box->x0 * job->y_pixel + block * 64;
            if (job->layout.n_groups == 3) { /* 3 x 3 taps */
                one_row(job, x, y, block, mask, 3);
            } else {
                one_row(job, x, y, block, mask, 0);
            }
        }
    }
}

/* 64 channels of one output pixel in order. */
TARGET QN_INLINE void pixel_sums(const qn_conv_job *job, const uint8_t *x, int block, __mmask64 mask, int32_t *sums)
{
    int32_t parts[4][16];
    __m512i acc[4];
    QN_UNROLL for (int i = 0; i < 4; i++)
    {
        acc[i] = _mm512_loadu_si512(job->requantize.bias + block * 64 + i * 16);
    }
    for (int group = 0; group < job->layout.n_groups; group++) {
        const tap_group g = load_group(job, block, group);
        add_taps(acc, x, &g, mask);
    }
    QN_UNROLL for (int i = 0; i < 4; i++)
    {
        _mm512_storeu_si512(parts[i], acc[i]);
    }
    for (int four = 0; four < 16; four++) { /* four channels of every 128-bit lane to a vector */
        memcpy(sums + four * 4, parts[four % 4] + four / 4 * 4, 4 * sizeof *sums);
    }
}

TARGET void qn_depthwise_sums_u8s8_vnni(const qn_conv_job *job)
{
    const qn_box *box = &job->box;
    for (int block = box->k0 / 64; block * 64 < box->k1; block++) {
        const int low = box->k0 > block * 64 ? box->k0 - block * 64 : 0;
        const int high = box->k1 - block * 64 < 64 ? box->k1 - block * 64 : 64;
        const __mmask64 mask = high == 64 ? ~UINT64_C(0) : (UINT64_C(1) << high) - 1;
        for (int row = box->y0; row < box->y1; row++) {
            for (int column = box->x0; column < box->x1; column++) {
                int32_t sums[64];
                pixel_sums(job, job->x + row * job->x_row + column * job->x_pixel + block * 64, block, mask, sums);
                int32_t *to = job->accumulators + (row - box->y0) * job->accumulator_row +
                              (column - box->x0) * job->accumulator_pixel + (block * 64 + low - box->k0);
                memcpy(to, sums + low, (size_t)(high - low) * sizeof *sums);
            }
        }
    }
}
#endif
