/* Sixteen elements at a time, for AVX-512 F, BW, CD, DQ, VL. The same names as lanes_avx2.h: words are lanes of 32 bits,
 * reals of fp32, and a choice says yes or no for each. Comparisons are of signed words. */
#ifndef QN_FORMAT_LANES_H
#define QN_FORMAT_LANES_H

#include <immintrin.h>
#include <stdint.h>

#define LANES_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd")))
#define LANES_INLINE LANES_TARGET __attribute__((always_inline)) static inline

typedef __m512i words;
typedef __m512 reals;
typedef __mmask16 choice;
enum { LANES = 16 };

LANES_INLINE words all_words(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}
LANES_INLINE reals all_reals(float x)
{
    return _mm512_set1_ps(x);
}
LANES_INLINE reals load_reals(const float *x)
{
    return _mm512_loadu_ps(x);
}
LANES_INLINE void store_reals(float *y, reals x)
{
    _mm512_storeu_ps(y, x);
}
LANES_INLINE words load_bytes(const uint8_t *codes)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)codes));
}
LANES_INLINE words load_halves(const uint16_t *codes)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)codes));
}
LANES_INLINE void store_bytes(uint8_t *codes, words x)
{
    _mm_storeu_si128((__m128i *)(void *)codes, _mm512_cvtepi32_epi8(x));
}
LANES_INLINE void store_halves(uint16_t *codes, words x)
{
    _mm256_storeu_si256((__m256i *)(void *)codes, _mm512_cvtepi32_epi16(x));
}
LANES_INLINE words bits_of(reals x)
{
    return _mm512_castps_si512(x);
}
LANES_INLINE reals real_of(words x)
{
    return _mm512_castsi512_ps(x);
}
LANES_INLINE words bit_and(words a, words b)
{
    return _mm512_and_si512(a, b);
}
LANES_INLINE words bit_or(words a, words b)
{
    return _mm512_or_si512(a, b);
}
LANES_INLINE words merge(words mask, words a, words b) /* mask's bits of a; b has none there */
{
    return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}
LANES_INLINE words bit_xor(words a, words b)
{
    return _mm512_xor_si512(a, b);
}
LANES_INLINE words add(words a, words b)
{
    return _mm512_add_epi32(a, b);
}
LANES_INLINE words sub(words a, words b)
{
    return _mm512_sub_epi32(a, b);
}
LANES_INLINE words min_u(words a, words b)
{
    return _mm512_min_epu32(a, b);
}
LANES_INLINE words max_s(words a, words b)
{
    return _mm512_max_epi32(a, b);
}
LANES_INLINE words up(words x, words n) /* shifts by n bits; those by 32 and more leave 0 */
{
    return _mm512_sllv_epi32(x, n);
}
LANES_INLINE words down(words x, words n)
{
    return _mm512_srlv_epi32(x, n);
}
LANES_INLINE words down_signed(words x, words n)
{
    return _mm512_srav_epi32(x, n);
}
LANES_INLINE words magnitudes(words x)
{
    return _mm512_abs_epi32(x);
}
LANES_INLINE words leading_zeros(words x) /* 0 < x < 2^31 */
{
    return _mm512_lzcnt_epi32(x);
}
LANES_INLINE words sign_words(words x) /* all ones where bit 31 is set */
{
    return _mm512_srai_epi32(x, 31);
}
LANES_INLINE choice greater(words a, words b)
{
    return _mm512_cmpgt_epi32_mask(a, b);
}
LANES_INLINE choice equal(words a, words b)
{
    return _mm512_cmpeq_epi32_mask(a, b);
}
LANES_INLINE words pick(choice c, words yes, words no)
{
    return _mm512_mask_blend_epi32(c, no, yes);
}
LANES_INLINE words where(choice c, words x) /* x or 0 */
{
    return _mm512_maskz_mov_epi32(c, x);
}
LANES_INLINE reals to_reals(words x)
{
    return _mm512_cvtepi32_ps(x);
}
LANES_INLINE reals add_reals(reals a, reals b)
{
    return _mm512_add_ps(a, b);
}
LANES_INLINE reals sub_reals(reals a, reals b)
{
    return _mm512_sub_ps(a, b);
}
LANES_INLINE reals mul_reals(reals a, reals b)
{
    return _mm512_mul_ps(a, b);
}
LANES_INLINE reals div_reals(reals a, reals b)
{
    return _mm512_div_ps(a, b);
}
LANES_INLINE reals max_reals(reals a, reals b) /* b where a is NaN */
{
    return _mm512_max_ps(a, b);
}
LANES_INLINE reals min_reals(reals a, reals b)
{
    return _mm512_min_ps(a, b);
}
LANES_INLINE reals without_nan(reals x) /* NaN becomes 0 */
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), x);
}

/* 16 codes of at most 8 bits and 2*bits dense bytes. How they are unpacked: the two bytes that each code begins in, and
 * where in them. Loading reads LANES_READ bytes, storing writes up to 8 - bits more than the codes'; bits above the
 * code's are anything in what is loaded, and 0 in what is stored. */
enum { LANES_READ = 16 };
typedef struct unpacking {
    words bytes, shift;
} unpacking;

LANES_INLINE unpacking unpacking_of(int bits)
{
    uint32_t bytes[LANES], shift[LANES];
    for (uint32_t i = 0; i < LANES; i++) {
        const uint32_t bit = i * (uint32_t)bits, first = bit / 8;
        bytes[i] = first | (first + 1) << 8 | UINT32_C(0x80800000);
        shift[i] = bit % 8;
    }
    return (unpacking){_mm512_loadu_si512(bytes), _mm512_loadu_si512(shift)};
}
LANES_INLINE words load_dense(const unsigned char *in, const unpacking *u)
{
    __m512i all = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)in));
    return _mm512_srlv_epi32(_mm512_shuffle_epi8(all, u->bytes), u->shift);
}
LANES_INLINE void store_dense(unsigned char *out, words codes, int bits)
{
    __m512i twos = _mm512_or_si512(codes, _mm512_srl_epi64(codes, _mm_cvtsi32_si128(32 - bits)));
    __m128i v = _mm512_cvtepi64_epi16(twos);
    v = _mm_or_si128(_mm_and_si128(v, _mm_set1_epi32(0xffff)),
                     _mm_sll_epi32(_mm_srli_epi32(v, 16), _mm_cvtsi32_si128(2 * bits)));
    v = _mm_or_si128(_mm_and_si128(v, _mm_set1_epi64x(0xffffffff)),
                     _mm_sll_epi64(_mm_srli_epi64(v, 32), _mm_cvtsi32_si128(4 * bits)));
    _mm_storel_epi64((__m128i *)(void *)out, v);
    _mm_storel_epi64((__m128i *)(void *)(out + bits), _mm_unpackhi_epi64(v, v));
}

/* 16 codes of 4 bits and 8 dense bytes. */
LANES_INLINE words load_nibbles(const unsigned char *in)
{
    __m512i pairs = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(const void *)in));
    return _mm512_and_si512(_mm512_or_si512(pairs, _mm512_slli_epi64(pairs, 28)), _mm512_set1_epi32(0xf));
}
LANES_INLINE void store_nibbles(unsigned char *out, words codes)
{
    __m512i pairs = _mm512_or_si512(codes, _mm512_srli_epi64(codes, 28));
    _mm_storel_epi64((__m128i *)(void *)out, _mm512_cvtepi64_epi8(pairs));
}

#endif
