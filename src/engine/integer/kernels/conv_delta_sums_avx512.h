/* Sums in AVX-512 registers: what conv_delta_template.h wants to know of them. */
#ifndef QN_KERNELS_CONV_DELTA_SUMS_AVX512_H
#define QN_KERNELS_CONV_DELTA_SUMS_AVX512_H

#define DELTA_VECTORS 1
#define DELTA_BLOCKS  4
#define DELTA_LANES   16
#define DELTA_QUADS

EPILOGUE_TARGET QN_INLINE uint32_t delta_differ(const uint8_t *after, const uint8_t *before, int n)
{
    const __mmask16 there = (__mmask16)((1u << n) - 1);
    return _mm512_mask_cmpneq_epi32_mask(there, _mm512_maskz_loadu_epi32(there, after),
                                         _mm512_maskz_loadu_epi32(there, before));
}

EPILOGUE_TARGET QN_INLINE vec load_sums(const int32_t *from, int v)
{
    (void)v;
    return _mm512_loadu_si512(from);
}

EPILOGUE_TARGET QN_INLINE vec load_sums_masked(const int32_t *from, unsigned mask, int v)
{
    (void)v;
    return _mm512_maskz_loadu_epi32((__mmask16)mask, from);
}

EPILOGUE_TARGET QN_INLINE void store_sums(int32_t *to, int v, vec sums)
{
    (void)v;
    _mm512_storeu_si512(to, sums);
}

EPILOGUE_TARGET QN_INLINE void store_sums_masked(int32_t *to, unsigned mask, int v, vec sums)
{
    (void)v;
    _mm512_mask_storeu_epi32(to, (__mmask16)mask, sums);
}

#endif
