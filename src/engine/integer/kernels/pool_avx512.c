/* Pooling on AVX-512 (arithmetic.md 3.5, 3.6). */
#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>

#include "engine/integer/kernels/kernels.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

TARGET void qn_maxpool_avx512(uint8_t *y, const qn_pool_window *window, const qn_pool_params *params)
{
    const __m512i low = _mm512_set1_epi8((char)params->lo), high = _mm512_set1_epi8((char)params->hi);
    for (int c = 0; c < window->n_channels; c += 64) {
        const int left = window->n_channels - c;
        const __mmask64 mask = left >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1;
        __m512i greatest = low;
        for (int row = 0; row < window->rows; row++) {
            const uint8_t *x = window->x + row * window->row + c;
            for (int column = 0; column < window->columns; column++) {
                greatest = _mm512_max_epu8(greatest, _mm512_maskz_loadu_epi8(mask, x + column * window->pixel));
            }
        }
        _mm512_mask_storeu_epi8(y + c, mask, _mm512_min_epu8(greatest, high));
    }
}

TARGET void qn_sumpool_avx512(uint8_t *y, const qn_pool_window *window, const qn_pool_params *params)
{
    const __m512 high = _mm512_set1_ps((float)(params->hi - params->zero_point));
    const __m512i low = _mm512_set1_epi32(params->lo - params->zero_point);
    const __m512i zero_point = _mm512_set1_epi32(params->zero_point);
    const __m512i zero_x = _mm512_set1_epi32(params->zero_x);
    for (int c = 0; c < window->n_channels; c += 16) {
        const int left = window->n_channels - c;
        const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
        __m512i sum = _mm512_setzero_si512();
        for (int row = 0; row < window->rows; row++) {
            const uint8_t *x = window->x + row * window->row + c;
            for (int column = 0; column < window->columns; column++) {
                __m512i codes = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x + column * window->pixel));
                sum = _mm512_add_epi32(sum, _mm512_sub_epi32(codes, zero_x));
            }
        }
        __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(params->multiplier));
        __m512i code = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_min_ps(scaled, high)), low);
        _mm_mask_storeu_epi8(y + c, mask, _mm512_cvtepi32_epi8(_mm512_add_epi32(code, zero_point)));
    }
}
#endif
