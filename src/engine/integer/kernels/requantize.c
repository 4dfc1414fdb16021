/* Requantization of sums, in portable C: the definition of every other. */
#include "engine/integer/kernels/requantize.h"

#include "base/arch.h"

void qn_requantize_reference(uint8_t *y, const int32_t *sums, size_t n, const qn_requantize_params *params,
                             size_t first)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t sum = qn_wrap_bits(sums[i], params->bits);
        const size_t k = first + i;
        if (params->ratio != NULL) {
            y[i] = (uint8_t)qn_round_clamp((float)sum * params->ratio[k], params->zero_point, params->lo, params->hi);
        } else {
            const qn_ratio ratio = {params->multiplier[k], params->shift[k]};
            y[i] = qn_requantize_code(qn_ratio_apply(sum, ratio, params->how), params);
        }
    }
}

qn_requantize_fn *qn_requantize_select(qn_cpu cpu)
{
#if QN_X86_64
    if (cpu >= QN_CPU_AVX2) {
        return cpu >= QN_CPU_AVX512 ? qn_requantize_avx512 : qn_requantize_avx2;
    }
#endif
    (void)cpu;
    return qn_requantize_reference;
}
