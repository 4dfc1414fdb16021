/* Sums of convolutions on AVX512-VNNI. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/epilogue_sums_avx512.h"

#include "engine/integer/kernels/conv_dot_vnni.h"

#include "engine/integer/kernels/conv_template.h"

void qn_conv_sums_u8s8_vnni(const qn_conv_job *job)
{
    conv_run(job);
}
#endif
