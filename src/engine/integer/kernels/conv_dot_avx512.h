/* Products of codes and weights widened to s16 on AVX-512: what conv_template.h wants to know but the epilogue, which is included before. */
#ifndef QN_KERNELS_CONV_DOT_AVX512_H
#define QN_KERNELS_CONV_DOT_AVX512_H

#define CONV_TARGET      __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define CONV_VECTORS     1
#define CONV_GROUP_BYTES 128
#define CONV_PIXELS_1    12
#define CONV_PIXELS_2    10
#define CONV_PIXELS_4    5
#define CONV_ADJOINING   0

/* Elements 0, 2 and 1, 3 of a group as s16. */
typedef struct code4 {
    __m512i even, odd;
} code4;

CONV_TARGET QN_INLINE code4 load_codes(const uint8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    __m512i all = _mm512_set1_epi32(four);
    return (code4){_mm512_and_si512(all, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(all, 8)};
}

CONV_TARGET QN_INLINE vec dot(vec acc, int v, code4 codes, const uint8_t *w)
{
    (void)v;
    acc = _mm512_add_epi32(acc, _mm512_madd_epi16(codes.even, _mm512_load_si512(w)));
    return _mm512_add_epi32(acc, _mm512_madd_epi16(codes.odd, _mm512_load_si512(w + 64)));
}

#endif
