/* Lines of codes in integers: Softmax, normalization, and products of two matrices of codes (doc/spec/arithmetic.md 3.10
 * to 3.12). The loops are made once per instruction set and give the same bytes from all; integers alone decide them. */
#ifndef QN_KERNELS_ROWS_H
#define QN_KERNELS_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/integer/kernels/requantize.h"
#include "quern/cpu.h"

/* Softmax of a line of n codes `step` bytes apart. Entry d of the tables belongs to the code that lies d below the
 * greatest of the line:
 *  share  rint(2^31 * e^(-d * scale_x))
 *  part   rint(2^30..2^31 * e^(-d * scale_x)): the code, before rounding, is part * 2^left / (sum of shares * 2^right)
 *  left, right  0..25; one of them is 0 */
typedef struct qn_softmax_codes {
    uint32_t share[256], part[256];
    int left, right;
    int32_t zero_point, lo, hi;
} qn_softmax_codes;

/* Normalization of lines of n codes that adjoin; 1 <= n <= QN_NORM_MOST.
 *  add    what the variance is raised by, times n * n * 2^(2 * half)
 *  half   0..15
 *  gain, bias  of element i: the code, before rounding, is (z * gain[i] + bias[i]) / 2^right, z the normalized element
 *         in units of 2^-QN_NORM_BITS; |gain| < 2^30, |bias| < 2^61
 *  right  QN_NORM_BITS.. QN_NORM_BITS + 30 */
enum { QN_NORM_BITS = 20, QN_NORM_MOST = 1 << 20 };
typedef struct qn_norm_codes {
    int64_t n;
    int64_t add;
    int half, right;
    const int32_t *gain;
    const int64_t *bias;
    int32_t zero_point, lo, hi;
} qn_norm_codes;

/* m x k times k x n codes: y[i][j] is the code of the sum over k of (a[i][k] - zero_a) * (b[k][j] - zero_b), wrapping,
 * as channel first + j of the requantization.
 *  a_row, b_row, y_row  bytes from one row to the next; elements adjoin
 *  scratch  qn_product_scratch bytes, 64-byte aligned */
typedef struct qn_product_job {
    const uint8_t *a, *b;
    uint8_t *y;
    ptrdiff_t a_row, b_row, y_row;
    int64_t m, n, k;
    int32_t zero_a, zero_b;
    qn_requantize_fn *run;
    const qn_requantize_params *requantize;
    size_t first;
    void *scratch;
} qn_product_job;
typedef void qn_product_fn(const qn_product_job *job);
/* False where it is beyond an address space. */
bool qn_product_scratch(int64_t k, int64_t n, size_t *n_bytes);

/* What a line's elements are: z = (n * x - sum) * factor / 2^shift, rounded half up; factor 0 where all are equal. */
typedef struct qn_norm_line {
    int64_t sum;
    int32_t factor;
    int shift;
} qn_norm_line;
qn_norm_line qn_norm_line_of(int64_t n, int64_t sum, int64_t squares, const qn_norm_codes *p);

typedef struct qn_rows_lanes {
    void (*softmax)(uint8_t *y, const uint8_t *x, int64_t n, ptrdiff_t step, const qn_softmax_codes *p);
    void (*norm)(uint8_t *y, const uint8_t *x, const qn_norm_codes *p);
    qn_product_fn *product;
} qn_rows_lanes;
/* The best variant for instruction sets up to `cpu`. */
const qn_rows_lanes *qn_rows_lanes_for(qn_cpu cpu);

/* Of adjoining codes. */
void qn_softmax_avx512(uint8_t *y, const uint8_t *x, int64_t n, const qn_softmax_codes *p);
qn_product_fn qn_product_reference, qn_product_avx2, qn_product_vnni;

/* floor of n / d to the nearest, ties to even; d > 0, n < 2^63. */
static inline uint64_t qn_divide_even(uint64_t n, uint64_t d)
{
    const uint64_t q = n / d, rest = n % d;
    return q + (rest > d - rest || (rest == d - rest && (q & 1) != 0));
}

/* The definition of a Softmax code. */
static inline uint8_t qn_softmax_code(uint32_t part, uint64_t sum, const qn_softmax_codes *p)
{
    const uint64_t q = qn_divide_even((uint64_t)part << p->left, sum << p->right);
    return (uint8_t)qn_clamp_s64((int64_t)q + p->zero_point, p->lo, p->hi);
}

#endif
