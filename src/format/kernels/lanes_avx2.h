/* Eight elements at a time, for AVX2. The same names as lanes_avx512.h: words are lanes of 32 bits, reals of fp32, and
 * a choice says yes or no for each. Comparisons are of signed words. */
#ifndef QN_FORMAT_LANES_H
#define QN_FORMAT_LANES_H

#include <immintrin.h>
#include <stdint.h>

#define LANES_TARGET __attribute__((target("avx2")))
#define LANES_INLINE LANES_TARGET __attribute__((always_inline)) static inline

typedef __m256i words;
typedef __m256 reals;
typedef __m256i choice;
enum { LANES = 8 };

LANES_INLINE words all_words(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}
LANES_INLINE reals all_reals(float x)
{
    return _mm256_set1_ps(x);
}
LANES_INLINE reals load_reals(const float *x)
{
    return _mm256_loadu_ps(x);
}
LANES_INLINE void store_reals(float *y, reals x)
{
    _mm256_storeu_ps(y, x);
}
LANES_INLINE words load_bytes(const uint8_t *codes)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)codes));
}
LANES_INLINE words load_halves(const uint16_t *codes)
{
    return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)codes));
}
/* Codes are below 2^16, so that packing with saturation changes none. */
LANES_INLINE __m128i narrow(words x)
{
    return _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}
LANES_INLINE void store_bytes(uint8_t *codes, words x)
{
    __m128i halves = narrow(x);
    _mm_storel_epi64((__m128i *)(void *)codes, _mm_packus_epi16(halves, halves));
}
LANES_INLINE void store_halves(uint16_t *codes, words x)
{
    _mm_storeu_si128((__m128i *)(void *)codes, narrow(x));
}
LANES_INLINE words bits_of(reals x)
{
    return _mm256_castps_si256(x);
}
LANES_INLINE reals real_of(words x)
{
    return _mm256_castsi256_ps(x);
}
LANES_INLINE words bit_and(words a, words b)
{
    return _mm256_and_si256(a, b);
}
LANES_INLINE words bit_or(words a, words b)
{
    return _mm256_or_si256(a, b);
}
LANES_INLINE words merge(words mask, words a, words b) /* mask's bits of a; b has none there */
{
    return _mm256_or_si256(_mm256_and_si256(mask, a), b);
}
LANES_INLINE words bit_xor(words a, words b)
{
    return _mm256_xor_si256(a, b);
}
LANES_INLINE words add(words a, words b)
{
    return _mm256_add_epi32(a, b);
}
LANES_INLINE words sub(words a, words b)
{
    return _mm256_sub_epi32(a, b);
}
LANES_INLINE words min_u(words a, words b)
{
    return _mm256_min_epu32(a, b);
}
LANES_INLINE words max_s(words a, words b)
{
    return _mm256_max_epi32(a, b);
}
LANES_INLINE words up(words x, words n) /* shifts by n bits; those by 32 and more leave 0 */
{
    return _mm256_sllv_epi32(x, n);
}
LANES_INLINE words down(words x, words n)
{
    return _mm256_srlv_epi32(x, n);
}
LANES_INLINE words down_signed(words x, words n)
{
    return _mm256_srav_epi32(x, n);
}
LANES_INLINE words magnitudes(words x)
{
    return _mm256_abs_epi32(x);
}
/* 0 < x < 2^31, from the exponent of x as fp32; without the bit below the leading one it is not rounded up to the next
 * power of two. */
LANES_INLINE words leading_zeros(words x)
{
    words leading = _mm256_andnot_si256(_mm256_srli_epi32(x, 1), x);
    words exponent = _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(leading)), 23);
    return _mm256_sub_epi32(_mm256_set1_epi32(127 + 31), exponent);
}
LANES_INLINE words sign_words(words x) /* all ones where bit 31 is set */
{
    return _mm256_srai_epi32(x, 31);
}
LANES_INLINE choice greater(words a, words b)
{
    return _mm256_cmpgt_epi32(a, b);
}
LANES_INLINE choice equal(words a, words b)
{
    return _mm256_cmpeq_epi32(a, b);
}
LANES_INLINE words pick(choice c, words yes, words no)
{
    return _mm256_blendv_epi8(no, yes, c);
}
LANES_INLINE words where(choice c, words x) /* x or 0 */
{
    return _mm256_and_si256(c, x);
}
LANES_INLINE reals to_reals(words x)
{
    return _mm256_cvtepi32_ps(x);
}
LANES_INLINE reals add_reals(reals a, reals b)
{
    return _mm256_add_ps(a, b);
}
LANES_INLINE reals sub_reals(reals a, reals b)
{
    return _mm256_sub_ps(a, b);
}
LANES_INLINE reals mul_reals(reals a, reals b)
{
    return _mm256_mul_ps(a, b);
}
LANES_INLINE reals div_reals(reals a, reals b)
{
    return _mm256_div_ps(a, b);
}
LANES_INLINE reals max_reals(reals a, reals b) /* b where a is NaN */
{
    return _mm256_max_ps(a, b);
}
LANES_INLINE reals min_reals(reals a, reals b)
{
    return _mm256_min_ps(a, b);
}
LANES_INLINE reals without_nan(reals x) /* NaN becomes 0 */
{
    return _mm256_and_ps(_mm256_cmp_ps(x, x, _CMP_ORD_Q), x);
}

/* 8 codes of at most 8 bits and `bits` dense bytes; otherwise as in lanes_avx512.h. */
enum { LANES_READ = 8 };
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
    return (unpacking){_mm256_loadu_si256((const __m256i *)(const void *)bytes),
                       _mm256_loadu_si256((const __m256i *)(const void *)shift)};
}
LANES_INLINE words load_dense(const unsigned char *in, const unpacking *u)
{
    __m256i all = _mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)(const void *)in));
    return _mm256_srlv_epi32(_mm256_shuffle_epi8(all, u->bytes), u->shift);
}
LANES_INLINE void store_dense(unsigned char *out, words codes, int bits)
{
    __m256i twos = _mm256_or_si256(codes, _mm256_srl_epi64(codes, _mm_cvtsi32_si128(32 - bits)));
    __m256i low = _mm256_shuffle_epi8(twos, _mm256_set1_epi32(0x09080100)); /* of each half, two times 16 bits */
    const uint32_t a = (uint32_t)_mm256_extract_epi32(low, 0), b = (uint32_t)_mm256_extract_epi32(low, 4);
    const uint64_t first = (a & 0xffff) | a >> 16 << 2 * bits, second = (b & 0xffff) | b >> 16 << 2 * bits;
    const uint64_t eight = first | second << 4 * bits;
    __builtin_memcpy(out, &eight, sizeof eight);
}

/* 8 codes of 4 bits and 4 dense bytes. */
LANES_INLINE words load_nibbles(const unsigned char *in)
{
    __m256i pairs = _mm256_cvtepu8_epi64(_mm_loadu_si32(in));
    return _mm256_and_si256(_mm256_or_si256(pairs, _mm256_slli_epi64(pairs, 28)), _mm256_set1_epi32(0xf));
}
LANES_INLINE void store_nibbles(unsigned char *out, words codes)
{
    __m256i pairs = _mm256_or_si256(codes, _mm256_srli_epi64(codes, 28));
    const __m256i first_bytes = _mm256_setr_epi8(0, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, /**/
                                                 -1, -1, 0, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    pairs = _mm256_shuffle_epi8(pairs, first_bytes);
    _mm_storeu_si32(out, _mm_or_si128(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
}

#endif
