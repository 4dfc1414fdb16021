/* Sums after a change of the input on AVX-512, weights widened to s16: products of changes, at most 255 * 2^15 in size,
 * add up to an s32 in pairs. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#include "engine/integer/kernels/epilogue_avx512.h"

#include "engine/integer/kernels/conv_delta_sums_avx512.h"

#define DELTA_TARGET      EPILOGUE_TARGET
#define DELTA_GROUP_BYTES 128

/* Elements 0, 2 and 1, 3 of a group as s16. */
typedef struct delta4 {
    __m512i even, odd;
} delta4;

typedef __m512i delta_sums;

DELTA_TARGET QN_INLINE delta4 load_delta(const uint8_t *after, const uint8_t *before)
{
    int32_t a, b;
    __builtin_memcpy(&a, after, 4);
    __builtin_memcpy(&b, before, 4);
    const __m512i low = _mm512_set1_epi16(0xff), x = _mm512_set1_epi32(a), old = _mm512_set1_epi32(b);
    return (delta4){_mm512_sub_epi16(_mm512_and_si512(x, low), _mm512_and_si512(old, low)),
                    _mm512_sub_epi16(_mm512_srli_epi16(x, 8), _mm512_srli_epi16(old, 8))};
}

DELTA_TARGET QN_INLINE delta_sums no_sums(void)
{
    return _mm512_setzero_si512();
}

DELTA_TARGET QN_INLINE delta_sums add_delta(delta_sums sums, int v, delta4 x, const uint8_t *w)
{
    (void)v;
    sums = _mm512_add_epi32(sums, _mm512_madd_epi16(x.even, _mm512_load_si512(w)));
    return _mm512_add_epi32(sums, _mm512_madd_epi16(x.odd, _mm512_load_si512(w + 64)));
}

DELTA_TARGET QN_INLINE vec total(delta_sums sums, vec before)
{
    return _mm512_add_epi32(before, sums);
}

#include "engine/integer/kernels/conv_delta_template.h"

void qn_conv_delta_u8s16_avx512(const qn_conv_delta_job *job)
{
    delta_general(job);
}
#endif
