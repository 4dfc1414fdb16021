/* Depthwise convolution on AVX2: two taps of 16 channels widened to s16 and interleaved; vpmaddwd adds both products.
 */
#include "base/arch.h"

#if QN_X86_64
#include <string.h>

#include "engine/integer/kernels/epilogue_avx2.h"

#define TARGET EPILOGUE_TARGET

TARGET QN_INLINE __m256i load_codes(const uint8_t *x)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
}

/* Interleaving within 128-bit lanes of 8 channels leaves channels 0-3 and 8-11 in acc[0] and the rest in acc[1]; the
 * packs put them back in order (see layout.c). All codes are in 0..255, so that no pack saturates. */
TARGET QN_INLINE __m128i requantize_lanes(const __m256i acc[2], const float *multiplier, const constants *c)
{
    __m256i words = _mm256_packs_epi32(requantize8(acc[0], multiplier, c), requantize8(acc[1], multiplier + 8, c));
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/* Sums of 16 channels of one output pixel. Reads 16 codes of every tap, whether or not there are so many channels. */
TARGET QN_INLINE void pixel_sums(const qn_conv_job *job, const uint8_t *x, int block, __m256i acc[2])
{
    const qn_requantize *r = &job->requantize;
    const int n_taps = job->layout.n_segments, last = n_taps - 1;
    const __m256i *w = (const __m256i *)job->weights + (size_t)block * (size_t)job->layout.n_groups * 2;
    acc[0] = load_bias(r->bias + block * 16, 0);
    acc[1] = load_bias(r->bias + block * 16, 1);
    for (int tap = 0; tap < n_taps; tap += 2) { /* a tap beyond the last weighs 0 */
        __m256i a = load_codes(x + job->segment[tap]);
        __m256i b = load_codes(x + job->segment[tap < last ? tap + 1 : last]);
        acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), _mm256_load_si256(w)));
        acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), _mm256_load_si256(w + 1)));
        w += 2;
    }
}

TARGET QN_INLINE __m128i one_pixel(const qn_conv_job *job, const uint8_t *x, int block, const constants *c)
{
    __m256i acc[2];
    pixel_sums(job, x, block, acc);
    return requantize_lanes(acc, job->requantize.multiplier + block * 16, c);
}

TARGET QN_INLINE void store_some(uint8_t *y, __m128i codes, int low, int high)
{
    uint8_t all[16];
    _mm_storeu_si128((__m128i *)(void *)all, codes);
    for (int i = low > 0 ? low : 0; i < high && i < 16; i++) {
        y[i] = all[i];
    }
}

TARGET void qn_depthwise_u8s16_avx2(const qn_conv_job *job)
{
    const qn_box *box = &job->box;
    const constants c = make_constants(job);
    for (int block = box->k0 / 16; block * 16 < box->k1; block++) {
        const int low = box->k0 - block * 16, high = box->k1 - block * 16;
        for (int row = box->y0; row < box->y1; row++) {
            const uint8_t *x = job->x + row * job->x_row + box->x0 * job->x_pixel + block * 16;
            uint8_t *y = job->y + row * job->y_row + box->x0 * job->y_pixel + block * 16;
            for (int column = box->x0; column < box->x1; column++) {
                __m128i codes = one_pixel(job, x, block, &c);
                if (low <= 0 && high >= 16) {
                    _mm_storeu_si128((__m128i *)(void *)y, codes);
                } else {
                    store_some(y, codes, low, high);
                }
                x += job->x_pixel;
                y += job->y_pixel;
            }
        }
    }
}

TARGET void qn_depthwise_sums_u8s16_avx2(const qn_conv_job *job)
{
    const qn_box *box = &job->box;
    for (int block = box->k0 / 16; block * 16 < box->k1; block++) {
        const int low = box->k0 > block * 16 ? box->k0 - block * 16 : 0;
        const int high = box->k1 - block * 16 < 16 ? box->k1 - block * 16 : 16;
        for (int row = box->y0; row < box->y1; row++) {
            for (int column = box->x0; column < box->x1; column++) {
                int32_t sums[16];
                __m256i acc[2];
                pixel_sums(job, job->x + row * job->x_row + column * job->x_pixel + block * 16, block, acc);
                _mm256_storeu_si256((__m256i *)(void *)sums, _mm256_permute2x128_si256(acc[0], acc[1], 0x20));
                _mm256_storeu_si256((__m256i *)(void *)(sums + 8), _mm256_permute2x128_si256(acc[0], acc[1], 0x31));
                int32_t *to = job->accumulators + (row - box->y0) * job->accumulator_row +
                              (column - box->x0) * job->accumulator_pixel + (block * 16 + low - box->k0);
                memcpy(to, sums + low, (size_t)(high - low) * sizeof *sums);
            }
        }
    }
}
#endif
