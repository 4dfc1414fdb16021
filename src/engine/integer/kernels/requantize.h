/* From sums to codes in every arithmetic but the default, whose epilogue is part of the convolution kernels
 * (doc/spec/arithmetic.md, section 4). */
#ifndef QN_KERNELS_REQUANTIZE_H
#define QN_KERNELS_REQUANTIZE_H

#include <stddef.h>

#include "base/ratio.h"
#include "quern/cpu.h"

/* Entry k of the arrays is channel k's; one of the two forms is there.
 *  multiplier, shift  integer ratios (see qn_ratio)
 *  ratio   f32 ratios, ties to even; NULL with integer ones
 *  bits    the sums wrap to so many, 1..32, before all else
 *  0 <= lo <= hi <= 255 */
typedef struct qn_requantize_params {
    const int32_t *multiplier, *shift;
    const float *ratio;
    qn_ratio_rounding how;
    int bits;
    int32_t zero_point, lo, hi;
} qn_requantize_params;

/* Codes of `pixels` times n channels: y[p * y_pixel + i] is that of sums[p * n + i], of channel first + i. */
typedef void qn_requantize_fn(uint8_t *y, ptrdiff_t y_pixel, const int32_t *sums, size_t pixels, size_t n,
                              const qn_requantize_params *params, size_t first);
qn_requantize_fn qn_requantize_reference, qn_requantize_avx2, qn_requantize_avx512;
/* The best one at a CPU level. */
qn_requantize_fn *qn_requantize_select(qn_cpu cpu);

/* clamp(x + zero_point, lo, hi) for any x. */
static inline uint8_t qn_requantize_code(int32_t x, const qn_requantize_params *p)
{
    return (uint8_t)qn_clamp_s64((int64_t)x + p->zero_point, p->lo, p->hi);
}

/* The definition: the code of one sum of channel k. */
static inline uint8_t qn_requantize_one(int32_t sum, const qn_requantize_params *p, size_t k)
{
    const int32_t x = qn_wrap_bits(sum, p->bits);
    if (p->ratio != NULL) {
        return (uint8_t)qn_round_clamp((float)x * p->ratio[k], p->zero_point, p->lo, p->hi);
    }
    return qn_requantize_code(qn_ratio_apply(x, (qn_ratio){p->multiplier[k], p->shift[k]}, p->how), p);
}

#endif
