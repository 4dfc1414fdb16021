/* One output channel after a change of one of its weights, on AVX2: eight pixels of a row at a time, brought together in
 * registers. What they were is computed beside what they become, which costs less than to read it. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,bmi,lzcnt")))

typedef struct constants {
    __m256i zero_x, delta, low, zero_point;
    __m256 multiplier, high;
} constants;

TARGET QN_INLINE constants make_constants(const qn_weight_delta_job *job)
{
    return (constants){
        .zero_x = _mm256_set1_epi32(job->zero_x),
        .delta = _mm256_set1_epi32(job->delta),
        .low = _mm256_set1_epi32(job->lo - job->zero_point),
        .zero_point = _mm256_set1_epi32(job->zero_point),
        .multiplier = _mm256_set1_ps(job->multiplier),
        .high = _mm256_set1_ps((float)(job->hi - job->zero_point)),
    };
}

/* Bits of lanes that are not equal. */
TARGET QN_INLINE uint32_t unequal(__m256i a, __m256i b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b))) ^ 0xff;
}

/* Codes less their zero point. As in epilogue_avx2.h. */
TARGET QN_INLINE __m256i requantize(__m256i sums, const constants *c)
{
    const __m256 real = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), c->multiplier);
    return _mm256_max_epi32(_mm256_cvtps_epi32(_mm256_min_ps(real, c->high)), c->low);
}

/* Eight elements that are `pixel` apart; of n < 8 the last one stands for those that are not there. `n` is a compile-time
 * constant where it is 8. */
TARGET QN_INLINE __m256i load_codes(const uint8_t *x, ptrdiff_t pixel, int n)
{
    if (n == 8 && pixel == 1) {
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x));
    }
    if (n < 8) {
        uint8_t few[8];
        for (int i = 0; i < 8; i++) {
            few[i] = *x;
            x += i < n - 1 ? pixel : 0;
        }
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)few));
    }
    const uint8_t *behind = x + 4 * pixel;
    const ptrdiff_t two = 2 * pixel, three = 3 * pixel;
    __m128i a = _mm_cvtsi32_si128(x[0]), b = _mm_cvtsi32_si128(behind[0]);
    a = _mm_insert_epi8(a, x[pixel], 1), b = _mm_insert_epi8(b, behind[pixel], 1);
    a = _mm_insert_epi8(a, x[two], 2), b = _mm_insert_epi8(b, behind[two], 2);
    a = _mm_insert_epi8(a, x[three], 3), b = _mm_insert_epi8(b, behind[three], 3);
    return _mm256_cvtepu8_epi32(_mm_unpacklo_epi32(a, b));
}

TARGET QN_INLINE __m256i load_sums(const int32_t *sums, ptrdiff_t pixel, int n)
{
    if (n == 8 && pixel == 1) {
        return _mm256_loadu_si256((const __m256i *)(const void *)sums);
    }
    if (n < 8) {
        int32_t few[8];
        for (int i = 0; i < 8; i++) {
            few[i] = *sums;
            sums += i < n - 1 ? pixel : 0;
        }
        return _mm256_loadu_si256((const __m256i *)(const void *)few);
    }
    const int32_t *behind = sums + 4 * pixel;
    const __m128i a = _mm_setr_epi32(sums[0], sums[pixel], sums[2 * pixel], sums[3 * pixel]);
    const __m128i b = _mm_setr_epi32(behind[0], behind[pixel], behind[2 * pixel], behind[3 * pixel]);
    return _mm256_set_m128i(b, a);
}

/* Codes of n pixels; those that stayed are what is there already. */
TARGET QN_INLINE void store_codes(uint8_t *y, ptrdiff_t pixel, int n, __m256i codes)
{
    const __m256i bytes = _mm256_shuffle_epi8(codes, _mm256_set1_epi32(0x0c080400));
    uint64_t eight = (uint32_t)_mm256_cvtsi256_si32(bytes) | (uint64_t)(uint32_t)_mm256_extract_epi32(bytes, 4) << 32;
    if (n == 8) {
        QN_UNROLL for (int i = 0; i < 8; i++)
        {
            y[i * pixel] = (uint8_t)(eight >> 8 * i);
        }
        return;
    }
    for (int i = 0; i < n; i++, eight >>= 8) {
        y[i * pixel] = (uint8_t)eight;
    }
}

TARGET QN_INLINE void store_sums(int32_t *to, int n, __m256i sums)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_epi32(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes), sums);
}

QN_INLINE void widen_box(qn_box *box, int y, int x, uint32_t bits)
{
    const int x0 = x + __builtin_ctz(bits), x1 = x + 32 - __builtin_clz(bits);
    box->y0 = y < box->y0 ? y : box->y0, box->y1 = y + 1;
    box->x0 = x0 < box->x0 ? x0 : box->x0, box->x1 = x1 > box->x1 ? x1 : box->x1;
}

/* n pixels x.. of row y; n is a compile-time constant where it is 8. */
TARGET QN_INLINE void run_pixels(const qn_weight_delta_job *job, const bool sums_wanted, int n, int y, int x,
                                 const constants *c, qn_weight_delta_result *result)
{
    const uint32_t there = (1u << n) - 1;
    const __m256i codes = load_codes(job->x + y * job->x_row + x * job->x_pixel, job->x_pixel, n);
    const uint32_t moved = unequal(codes, c->zero_x) & there;
    result->active |= moved != 0;
    if (moved == 0 && !sums_wanted) {
        return;
    }
    const int32_t *sums = job->accumulators + y * job->accumulator_row + x * job->accumulator_pixel;
    const __m256i before = load_sums(sums, job->accumulator_pixel, n);
    const __m256i product = _mm256_mullo_epi32(_mm256_sub_epi32(codes, c->zero_x), c->delta);
    const __m256i after = _mm256_add_epi32(before, product);
    uint32_t differ = job->delta != 0 ? moved : 0;
    if (sums_wanted) {
        store_sums(job->sums + (ptrdiff_t)y * job->width + x, n, after);
    } else {
        const __m256i new_codes = requantize(after, c);
        differ = unequal(new_codes, requantize(before, c)) & there;
        if (differ != 0) {
            store_codes(job->y + y * job->y_row + x * job->y_pixel, job->y_pixel, n,
                        _mm256_add_epi32(new_codes, c->zero_point));
        }
    }
    if (differ != 0) {
        result->differs = true;
        widen_box(&result->box, y, x, differ);
    }
}

TARGET QN_INLINE qn_weight_delta_result run_map(const qn_weight_delta_job *given, const bool sums_wanted)
{
    const qn_weight_delta_job job = *given; /* which no store of codes can change */
    const constants c = make_constants(&job);
    const int whole = job.width / 8 * 8;
    qn_weight_delta_result result = {.box = {job.height, 0, job.width, 0, 0, 1}};
    for (int y = 0; y < job.height; y++) {
        for (int x = 0; x < whole; x += 8) {
            run_pixels(&job, sums_wanted, 8, y, x, &c, &result);
        }
        if (whole < job.width) {
            run_pixels(&job, sums_wanted, job.width - whole, y, whole, &c, &result);
        }
    }
    return result;
}

TARGET qn_weight_delta_result qn_weight_delta_avx2(const qn_weight_delta_job *job)
{
    return job->sums != NULL ? run_map(job, true) : run_map(job, false);
}
#endif
