/* Sums of convolutions on plain AVX-512. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/epilogue_sums_avx512.h"

#include "engine/integer/kernels/conv_dot_avx512.h"

#include "engine/integer/kernels/conv_template.h"

void qn_conv_sums_u8s16_avx512(const qn_conv_job *job)
{
    conv_run(job);
}
#endif
