/* Requantization of sums, in portable C: the definition of every other. */
#include "engine/integer/kernels/requantize.h"

#include "base/arch.h"

void qn_requantize_reference(uint8_t *y, ptrdiff_t y_pixel, const int32_t *sums, size_t pixels, size_t n,
                             const qn_requantize_params *params, size_t first)
{
    for (size_t p = 0; p < pixels; p++) {
        for (size_t i = 0; i < n; i++) {
            y[i] = qn_requantize_one(sums[i], params, first + i);
        }
        y += y_pixel;
        sums += n;
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
