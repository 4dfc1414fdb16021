#include "format/extent.h"

#include <stdbool.h>
#include <string.h>

#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>
#endif

enum { INFINITE = 0x7F800000, MAGNITUDE = 0x7FFFFFFF };

static inline int32_t bits_of(const float *x)
{
    int32_t bits;
    memcpy(&bits, x, sizeof bits);
    return bits;
}

/* Negative floats have descending magnitudes. It is its own inverse. */
static inline int32_t key_of(int32_t bits)
{
    return bits ^ (bits < 0 ? MAGNITUDE : 0);
}

float qn_extent_float(int32_t key)
{
    int32_t bits = key_of(key);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void with_care(qn_extent *extent, const float *x, int64_t n, int64_t stride)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t bits = bits_of(x + i * stride), magnitude = bits & MAGNITUDE;
        if (magnitude == INFINITE) {
            continue;
        }
        int32_t key = magnitude > INFINITE ? 0 : key_of(bits);
        extent->lo = key < extent->lo ? key : extent->lo;
        extent->hi = key > extent->hi ? key : extent->hi;
    }
}

/* NaN and infinities are at the ends of the order. */
static inline bool beyond_finite(int32_t lo, int32_t hi)
{
    return lo <= key_of((int32_t)((uint32_t)INFINITE | 0x80000000u)) || hi >= INFINITE;
}

static inline __attribute__((always_inline)) void consecutive(qn_extent *extent, const float *x, int64_t n)
{
    int32_t lo = INT32_MAX, hi = INT32_MIN;
#pragma omp simd reduction(min : lo) reduction(max : hi)
    for (int64_t i = 0; i < n; i++) {
        int32_t key = key_of(bits_of(x + i));
        lo = key < lo ? key : lo;
        hi = key > hi ? key : hi;
    }
    if (n > 0 && beyond_finite(lo, hi)) {
        with_care(extent, x, n, 1);
        return;
    }
    extent->lo = lo < extent->lo ? lo : extent->lo;
    extent->hi = hi > extent->hi ? hi : extent->hi;
}

/* A strip of columns at a time, whose extents stay in registers or near them. */
static inline __attribute__((always_inline)) void columns(qn_extent *extents, const float *x, int64_t rows,
                                                          int64_t length)
{
    enum { STRIP = 256 };
    for (int64_t first = 0; first < length; first += STRIP) {
        int32_t lo[STRIP], hi[STRIP];
        const int64_t n = length - first < STRIP ? length - first : STRIP;
        for (int64_t i = 0; i < n; i++) {
            lo[i] = INT32_MAX;
            hi[i] = INT32_MIN;
        }
        for (int64_t row = 0; row < rows; row++) {
            const float *at = x + row * length + first;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                int32_t key = key_of(bits_of(at + i));
                lo[i] = key < lo[i] ? key : lo[i];
                hi[i] = key > hi[i] ? key : hi[i];
            }
        }
        for (int64_t i = 0; i < n; i++) {
            qn_extent *extent = &extents[first + i];
            if (rows > 0 && beyond_finite(lo[i], hi[i])) {
                with_care(extent, x + first + i, rows, length);
                continue;
            }
            extent->lo = lo[i] < extent->lo ? lo[i] : extent->lo;
            extent->hi = hi[i] > extent->hi ? hi[i] : extent->hi;
        }
    }
}

static int32_t magnitude_with_care(const float *x, int64_t n)
{
    int32_t greatest = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t magnitude = bits_of(x + i) & MAGNITUDE;
        greatest = magnitude < INFINITE && magnitude > greatest ? magnitude : greatest;
    }
    return greatest;
}

static void magnitudes_portable(int32_t *magnitudes, const float *x, int64_t n, int64_t block)
{
    for (int64_t at = 0; at < n; at += block) {
        *magnitudes++ = magnitude_with_care(x + at, n - at < block ? n - at : block);
    }
}

static void extent_portable(qn_extent *extent, const float *x, int64_t n, int64_t stride)
{
    if (stride != 1) {
        with_care(extent, x, n, stride);
    } else {
        consecutive(extent, x, n);
    }
}

static void columns_portable(qn_extent *extents, const float *x, int64_t rows, int64_t length)
{
    columns(extents, x, rows, length);
}

#if QN_X86_64
/* Blocks are short, so what counts is folding eight lanes into one. */
__attribute__((target("avx2"))) static int32_t magnitude_avx2(const float *x, int64_t n)
{
    enum { LANES = 8 };
    const __m256i mask = _mm256_set1_epi32(MAGNITUDE);
    __m256i greatest = _mm256_setzero_si256();
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        greatest = _mm256_max_epi32(greatest, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + i)), mask));
    }
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(greatest), _mm256_extracti128_si256(greatest, 1));
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    int32_t one = _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
    for (; i < n; i++) {
        int32_t magnitude = bits_of(x + i) & MAGNITUDE;
        one = magnitude > one ? magnitude : one;
    }
    return one;
}

__attribute__((target("avx2"))) static void magnitudes_avx2(int32_t *magnitudes, const float *x, int64_t n,
                                                            int64_t block)
{
    for (int64_t at = 0; at < n; at += block) {
        const int64_t size = n - at < block ? n - at : block;
        int32_t greatest = magnitude_avx2(x + at, size);
        *magnitudes++ = greatest < INFINITE ? greatest : magnitude_with_care(x + at, size);
    }
}

__attribute__((target("avx2"))) static void extent_avx2(qn_extent *extent, const float *x, int64_t n, int64_t stride)
{
    if (stride != 1) {
        with_care(extent, x, n, stride);
    } else {
        consecutive(extent, x, n);
    }
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static void
extent_avx512(qn_extent *extent, const float *x, int64_t n, int64_t stride)
{
    if (stride != 1) {
        with_care(extent, x, n, stride);
    } else {
        consecutive(extent, x, n);
    }
}

__attribute__((target("avx2"))) static void columns_avx2(qn_extent *extents, const float *x, int64_t rows,
                                                         int64_t length)
{
    columns(extents, x, rows, length);
}
#else
#define columns_avx2    columns_portable
#define extent_avx2     extent_portable
#define extent_avx512   extent_portable
#define magnitudes_avx2 magnitudes_portable
#endif

qn_extent_fn qn_extent_for(qn_cpu cpu)
{
    return cpu >= QN_CPU_AVX512 ? extent_avx512 : cpu >= QN_CPU_AVX2 ? extent_avx2 : extent_portable;
}

qn_magnitudes_fn qn_magnitudes_for(qn_cpu cpu)
{
    return cpu >= QN_CPU_AVX2 ? magnitudes_avx2 : magnitudes_portable;
}

qn_columns_fn qn_columns_for(qn_cpu cpu)
{
    return cpu >= QN_CPU_AVX2 ? columns_avx2 : columns_portable;
}
