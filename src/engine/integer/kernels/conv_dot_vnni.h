/* Products of u8 and s8 on AVX512-VNNI: what conv_template.h wants to know but the epilogue, which is included before. */
#ifndef QN_KERNELS_CONV_DOT_VNNI_H
#define QN_KERNELS_CONV_DOT_VNNI_H

#define CONV_TARGET      __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define CONV_VECTORS     1
#define CONV_GROUP_BYTES 64
#define CONV_PIXELS_1    12
#define CONV_PIXELS_2    12
#define CONV_PIXELS_4    6
#define CONV_ADJOINING   16

typedef __m512i code4;

CONV_TARGET QN_INLINE code4 load_codes(const uint8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}

CONV_TARGET QN_INLINE vec dot(vec acc, int v, code4 codes, const uint8_t *w)
{
    (void)v;
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(codes), "v"(_mm512_load_si512(w)));
    return acc;
}

#endif
