/* Products of two matrices of codes, vectorized (arithmetic.md 3.12). The right factor is packed once: the rows that a
 * vector instruction sums over lie together, for 16 columns at a time. Sums wrap, so that their order does not matter. */
#include "base/arch.h"

#if QN_X86_64
#include <immintrin.h>
#include <string.h>

#include "engine/integer/kernels/rows.h"

#define TARGET_AVX2 __attribute__((target("avx2")))
#define TARGET_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

enum { COLUMNS = 16, ROWS = 4, LINE = 64 };

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Where things lie in the scratch memory. */
typedef struct places {
    uint8_t *packed, *rows;
    int32_t *sums, *column_sums;
    int64_t columns, depth; /* padded n and k */
} places;

static places places_of(const qn_product_job *job, int elem_bytes)
{
    places p = {.packed = job->scratch, .columns = round_up(job->n, COLUMNS), .depth = round_up(job->k, 4)};
    p.sums = (int32_t *)(void *)(p.packed + p.columns * p.depth * elem_bytes);
    p.column_sums = p.sums + ROWS * p.columns;
    p.rows = (uint8_t *)(p.column_sums + p.columns);
    return p;
}

/* 16 codes of a row of the right factor from column j; 0 beyond its end, and in rows beyond the last. */
static inline __m128i codes16(const qn_product_job *job, int64_t k, int64_t j)
{
    uint8_t some[COLUMNS] = {0};
    const uint8_t *from = job->b + k * job->b_row + j;
    if (k >= job->k) {
        return _mm_setzero_si128();
    }
    if (job->n - j >= COLUMNS) {
        return _mm_loadu_si128((const __m128i *)(const void *)from);
    }
    memcpy(some, from, (size_t)(job->n - j));
    return _mm_loadu_si128((const __m128i *)(const void *)some);
}

static void requantize_rows(const qn_product_job *job, const places *p, int64_t row, int n_rows)
{
    for (int r = 0; r < n_rows; r++) {
        job->run(job->y + (row + r) * job->y_row, 0, p->sums + r * p->columns, 1, (size_t)job->n, job->requantize,
                 job->first);
    }
}

/* [k / 2][columns][2] s16, zero point subtracted; 0 in rows beyond the last. */
TARGET_AVX2 static void pack_avx2(const qn_product_job *job, const places *p)
{
    const __m256i zero = _mm256_set1_epi16((short)job->zero_b);
    __m256i *to = (__m256i *)(void *)p->packed;
    for (int64_t k = 0; k < p->depth; k += 2) {
        for (int64_t j = 0; j < p->columns; j += COLUMNS, to += 2) {
            __m256i even = _mm256_cvtepu8_epi16(codes16(job, k, j)), odd = _mm256_cvtepu8_epi16(codes16(job, k + 1, j));
            even = k < job->k ? _mm256_sub_epi16(even, zero) : even;
            odd = k + 1 < job->k ? _mm256_sub_epi16(odd, zero) : odd;
            const __m256i low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);
            _mm256_store_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
            _mm256_store_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
        }
    }
}

TARGET_AVX2 static void rows_avx2(const qn_product_job *job, const places *p, int64_t row, int n_rows)
{
    int16_t *centred = (int16_t *)(void *)p->rows;
    memset(centred, 0, (size_t)(ROWS * p->depth) * sizeof *centred);
    for (int r = 0; r < n_rows; r++) {
        for (int64_t k = 0; k < job->k; k++) {
            centred[r * p->depth + k] = (int16_t)(job->a[(row + r) * job->a_row + k] - job->zero_a);
        }
    }
    for (int64_t j = 0; j < p->columns; j += COLUMNS) {
        __m256i sum[ROWS][2] = {{_mm256_setzero_si256()}};
        const __m256i *b = (const __m256i *)(const void *)p->packed + j / 8;
        for (int64_t k = 0; k < p->depth; k += 2, b += p->columns / 8) {
            QN_UNROLL for (int r = 0; r < ROWS; r++)
            {
                int32_t two;
                memcpy(&two, centred + r * p->depth + k, sizeof two);
                const __m256i a = _mm256_set1_epi32(two);
                sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(a, _mm256_load_si256(b)));
                sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(a, _mm256_load_si256(b + 1)));
            }
        }
        for (int r = 0; r < ROWS; r++) {
            __m256i *to = (__m256i *)(void *)(p->sums + r * p->columns + j);
            _mm256_store_si256(to, sum[r][0]);
            _mm256_store_si256(to + 1, sum[r][1]);
        }
    }
}

void qn_product_avx2(const qn_product_job *job)
{
    const places p = places_of(job, 2);
    pack_avx2(job, &p);
    for (int64_t row = 0; row < job->m; row += ROWS) {
        const int n_rows = job->m - row < ROWS ? (int)(job->m - row) : ROWS;
        rows_avx2(job, &p, row, n_rows);
        requantize_rows(job, &p, row, n_rows);
    }
}

TARGET_VNNI QN_INLINE __m512i dot(__m512i sum, __m512i a, __m512i b)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); /* wraps */
    return sum;
}

/* [k / 4][columns][4] s8, codes less 128; 0 in rows beyond the last. And the sums of columns. */
TARGET_VNNI static void pack_vnni(const qn_product_job *job, const places *p)
{
    const __m512i ones = _mm512_set1_epi8(1);
    memset(p->column_sums, 0, (size_t)p->columns * sizeof *p->column_sums);
    uint8_t *to = p->packed;
    for (int64_t k = 0; k < p->depth; k += 4) {
        for (int64_t j = 0; j < p->columns; j += COLUMNS, to += LINE) {
            __m128i row[4];
            QN_UNROLL for (int i = 0; i < 4; i++)
            {
                const __m128i signs = k + i < job->k ? _mm_set1_epi8((char)0x80) : _mm_setzero_si128();
                row[i] = _mm_xor_si128(codes16(job, k + i, j), signs);
            }
            const __m128i low01 = _mm_unpacklo_epi8(row[0], row[1]), high01 = _mm_unpackhi_epi8(row[0], row[1]);
            const __m128i low23 = _mm_unpacklo_epi8(row[2], row[3]), high23 = _mm_unpackhi_epi8(row[2], row[3]);
            __m128i *at = (__m128i *)(void *)to;
            _mm_store_si128(at, _mm_unpacklo_epi16(low01, low23));
            _mm_store_si128(at + 1, _mm_unpackhi_epi16(low01, low23));
            _mm_store_si128(at + 2, _mm_unpacklo_epi16(high01, high23));
            _mm_store_si128(at + 3, _mm_unpackhi_epi16(high01, high23));
            int32_t *sums = p->column_sums + j;
            _mm512_storeu_si512(sums, dot(_mm512_loadu_si512(sums), ones, _mm512_load_si512(to)));
        }
    }
}

/* With w = b - 128: sum (a - za) * (b - zb) = sum a * w - za * sum w + (128 - zb) * (sum a - k * za). */
TARGET_VNNI static void rows_vnni(const qn_product_job *job, const places *p, int64_t row, int n_rows)
{
    const __m512i zero_a = _mm512_set1_epi32(job->zero_a);
    uint32_t add[ROWS] = {0};
    memset(p->rows, 0, (size_t)(ROWS * p->depth));
    for (int r = 0; r < n_rows; r++) {
        const uint8_t *a = job->a + (row + r) * job->a_row;
        uint32_t sum = 0;
        memcpy(p->rows + r * p->depth, a, (size_t)job->k);
#pragma omp simd reduction(+ : sum)
        for (int64_t k = 0; k < job->k; k++) {
            sum += a[k];
        }
        add[r] = (uint32_t)(128 - job->zero_b) * (sum - (uint32_t)job->k * (uint32_t)job->zero_a);
    }
    for (int64_t j = 0; j < p->columns; j += COLUMNS) {
        const __m512i columns = _mm512_mullo_epi32(zero_a, _mm512_loadu_si512(p->column_sums + j));
        __m512i sum[ROWS];
        QN_UNROLL for (int r = 0; r < ROWS; r++)
        {
            sum[r] = _mm512_sub_epi32(_mm512_set1_epi32((int32_t)add[r]), columns);
        }
        const uint8_t *b = p->packed + j * 4;
        for (int64_t k = 0; k < p->depth; k += 4, b += p->columns * 4) {
            const __m512i w = _mm512_load_si512(b);
            QN_UNROLL for (int r = 0; r < ROWS; r++)
            {
                int32_t four;
                memcpy(&four, p->rows + r * p->depth + k, sizeof four);
                sum[r] = dot(sum[r], _mm512_set1_epi32(four), w);
            }
        }
        QN_UNROLL for (int r = 0; r < ROWS; r++)
        {
            _mm512_storeu_si512(p->sums + r * p->columns + j, sum[r]);
        }
    }
}

void qn_product_vnni(const qn_product_job *job)
{
    const places p = places_of(job, 1);
    pack_vnni(job, &p);
    for (int64_t row = 0; row < job->m; row += ROWS) {
        const int n_rows = job->m - row < ROWS ? (int)(job->m - row) : ROWS;
        rows_vnni(job, &p, row, n_rows);
        requantize_rows(job, &p, row, n_rows);
    }
}
#endif
