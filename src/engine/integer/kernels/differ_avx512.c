/* Where two arrays of codes differ on AVX-512: masked loads read no byte outside the mask. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#define DIFFER_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi,lzcnt")))
#define DIFFER_BYTES  64

DIFFER_TARGET QN_INLINE uint64_t differ_unit(const uint8_t *a, const uint8_t *b, int n, uint64_t mask)
{
    (void)n;
    return _mm512_mask_cmpneq_epi8_mask(mask, _mm512_maskz_loadu_epi8(mask, a), _mm512_maskz_loadu_epi8(mask, b));
}

#include "engine/integer/kernels/differ_template.h"

DIFFER_TARGET bool qn_differ_avx512(const uint8_t *a, const uint8_t *b, ptrdiff_t row, ptrdiff_t pixel, qn_box *box)
{
    return differ_run(a, b, row, pixel, box);
}
#endif
