/* Convolution on AVX2: as on plain AVX-512, with 8 channels to a vector. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#include "engine/integer/kernels/epilogue_avx2.h"

#include "engine/integer/kernels/conv_dot_avx2.h"

#include "engine/integer/kernels/conv_template.h"

void qn_conv_u8s16_avx2(const qn_conv_job *job)
{
    conv_run(job);
}
#endif
