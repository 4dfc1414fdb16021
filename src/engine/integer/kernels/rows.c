#include "engine/integer/kernels/rows.h"

#include <math.h>

#include "base/arch.h"
#include "base/memory.h"

/* The greatest integer whose square is not above x. */
static uint64_t root_of(uint64_t x)
{
    uint64_t root = (uint64_t)sqrt((double)x); /* within 1 of it */
    root = root > UINT32_MAX ? UINT32_MAX : root;
    while (root * root > x) {
        root--;
    }
    while (root < UINT32_MAX && (root + 1) * (root + 1) <= x) {
        root++;
    }
    return root;
}

qn_norm_line qn_norm_line_of(int64_t n, int64_t sum, int64_t squares, const qn_norm_codes *p)
{
    const int64_t spread = n * squares - sum * sum;
    if (spread == 0) {
        return (qn_norm_line){.sum = sum, .factor = 0, .shift = 1};
    }
    const uint64_t variance = ((uint64_t)spread << (2 * p->half)) + (uint64_t)p->add;
    const int up = __builtin_clzll(variance) / 2;
    const uint64_t root = root_of(variance << (2 * up));
    return (qn_norm_line){
        .sum = sum, .factor = (int32_t)(((UINT64_C(1) << 62) - 1) / root), .shift = 62 - QN_NORM_BITS - up - p->half};
}

/* Packed factor, sums of its columns, sums of four rows, one row of the left factor. */
bool qn_product_scratch(int64_t k, int64_t n, size_t *n_bytes)
{
    size_t packed, columns, row;
    return qn_add_size((size_t)n, 64, &columns) && qn_add_size((size_t)k, 64, &row) &&
           qn_mul_size(row, columns, &packed) && qn_mul_size(packed, 2, &packed) &&
           qn_mul_size(columns, 6 * sizeof(int32_t), &columns) && qn_mul_size(row, 8, &row) &&
           qn_add_size(packed, columns, n_bytes) && qn_add_size(*n_bytes, row, n_bytes);
}

void qn_product_reference(const qn_product_job *job)
{
    int32_t *sums = job->scratch;
    for (int64_t i = 0; i < job->m; i++) {
        for (int64_t j = 0; j < job->n; j++) {
            uint32_t sum = 0;
            for (int64_t k = 0; k < job->k; k++) {
                sum +=
                    (uint32_t)((job->a[i * job->a_row + k] - job->zero_a) * (job->b[k * job->b_row + j] - job->zero_b));
            }
            sums[j] = (int32_t)sum;
        }
        job->run(job->y + i * job->y_row, 0, sums, 1, (size_t)job->n, job->requantize, job->first);
    }
}

#define LANES_AVX512   "avx512f,avx512bw,avx512dq,avx512vl"
#define LANES_TEMPLATE "engine/integer/kernels/rows_template.h"
#include "base/each_isa.inc"

#if QN_X86_64
static void softmax_fast(uint8_t *y, const uint8_t *x, int64_t n, ptrdiff_t step, const qn_softmax_codes *p)
{
    if (step == 1) {
        qn_softmax_avx512(y, x, n, p);
    } else {
        softmax_avx512(y, x, n, step, p);
    }
}

const qn_rows_lanes *qn_rows_lanes_for(qn_cpu cpu)
{
    static const qn_rows_lanes avx2 = {.softmax = softmax_avx2, .norm = norm_avx2, .product = qn_product_avx2};
    static const qn_rows_lanes avx512 = {.softmax = softmax_fast, .norm = norm_avx512, .product = qn_product_avx2};
    static const qn_rows_lanes vnni = {.softmax = softmax_fast, .norm = norm_avx512, .product = qn_product_vnni};
    return cpu >= QN_CPU_VNNI     ? &vnni
           : cpu >= QN_CPU_AVX512 ? &avx512
           : cpu >= QN_CPU_AVX2   ? &avx2
                                  : &rows_table_reference;
}
#else
const qn_rows_lanes *qn_rows_lanes_for(qn_cpu cpu)
{
    (void)cpu;
    return &rows_table_reference;
}
#endif
