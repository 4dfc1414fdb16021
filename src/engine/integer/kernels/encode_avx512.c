/* Float planes to interleaved codes on AVX-512 (arithmetic.md 3.1): true division, as everywhere. */
#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

typedef struct constants {
    __m512 scale, low, high;
    __m512i zero_point;
} constants;

/* 16 codes as s32. max gives its second operand, the lower bound, when the first is NaN. */
TARGET QN_INLINE __m512i encode16(const float *x, __mmask16 mask, const constants *c)
{
    __m512 q = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, x), c->scale);
    q = _mm512_min_ps(_mm512_max_ps(q, c->low), c->high);
    return _mm512_add_epi32(_mm512_cvtps_epi32(q), c->zero_point);
}

/* Up to four channels of 16 pixels: one pixel to an s32, then the unused bytes squeezed out. */
TARGET QN_INLINE void few_channels(uint8_t *y, const float *x, __mmask16 mask, int n, int n_channels, ptrdiff_t plane,
                                   const constants *c)
{
    __m512i pixels = encode16(x, mask, c);
    QN_UNROLL for (int channel = 1; channel < 4; channel++)
    {
        if (channel < n_channels) {
            __m512i codes = encode16(x + channel * plane, mask, c);
            pixels = _mm512_or_si512(pixels, _mm512_slli_epi32(codes, (unsigned)(8 * channel)));
        }
    }
    if (n_channels == 1) {
        _mm_mask_storeu_epi8(y, mask, _mm512_cvtepi32_epi8(pixels));
        return;
    }
    if (n_channels == 2) {
        _mm256_mask_storeu_epi16(y, mask, _mm512_cvtepi32_epi16(pixels));
        return;
    }
    if (n_channels == 3) {
        const __m128i squeeze = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
        const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15);
        pixels = _mm512_shuffle_epi8(pixels, _mm512_broadcast_i32x4(squeeze));
        pixels = _mm512_permutexvar_epi32(lanes, pixels);
    }
    _mm512_mask_storeu_epi8(y, n * n_channels == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n * n_channels) - 1, pixels);
}

TARGET QN_INLINE void many_channels(uint8_t *y, const float *x, __mmask16 mask, int n, int n_channels, ptrdiff_t plane,
                                    const constants *c)
{
    for (int channel = 0; channel < n_channels; channel++) {
        uint8_t codes[16];
        _mm_storeu_si128((__m128i *)(void *)codes, _mm512_cvtepi32_epi8(encode16(x + channel * plane, mask, c)));
        for (int i = 0; i < n; i++) {
            y[i * n_channels + channel] = codes[i];
        }
    }
}

TARGET void qn_encode_avx512(uint8_t *y, const float *x, size_t n, int n_channels, ptrdiff_t plane,
                             const qn_encode_params *params)
{
    const constants c = {_mm512_set1_ps(params->scale), _mm512_set1_ps((float)(params->lo - params->zero_point)),
                         _mm512_set1_ps((float)(params->hi - params->zero_point)),
                         _mm512_set1_epi32(params->zero_point)};
    for (size_t i = 0; i < n; i += 16) {
        const int left = n - i >= 16 ? 16 : (int)(n - i);
        const __mmask16 mask = (__mmask16)((1u << left) - 1);
        if (n_channels <= 4) {
            few_channels(y, x + i, mask, left, n_channels, plane, &c);
        } else {
            many_channels(y, x + i, mask, left, n_channels, plane, &c);
        }
        y += left * n_channels;
    }
}
#endif
