/* Products of codes and weights widened to s16 on AVX2: what conv_template.h wants to know but the epilogue, which is included before. */
#ifndef QN_KERNELS_CONV_DOT_AVX2_H
#define QN_KERNELS_CONV_DOT_AVX2_H

#define CONV_TARGET      __attribute__((target("avx2")))
#define CONV_VECTORS     2
#define CONV_GROUP_BYTES 128
#define CONV_PIXELS_1    4
#define CONV_PIXELS_2    2
#define CONV_PIXELS_4    0
#define CONV_ADJOINING   0

typedef struct code4 {
    __m256i even, odd;
} code4;

CONV_TARGET QN_INLINE code4 load_codes(const uint8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    __m256i all = _mm256_set1_epi32(four);
    return (code4){_mm256_and_si256(all, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(all, 8)};
}

CONV_TARGET QN_INLINE vec dot(vec acc, int v, code4 codes, const uint8_t *w)
{
    const __m256i *at = (const __m256i *)(const void *)w + v;
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(codes.even, _mm256_load_si256(at)));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(codes.odd, _mm256_load_si256(at + 2)));
}

#endif
