/* Convolution on AVX512-VNNI: vpdpbusd adds four u8 * s8 products to an s32 without saturating in between. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#include "engine/integer/kernels/epilogue_avx512.h"

#define CONV_QUADS
#include "engine/integer/kernels/conv_dot_vnni.h"

#include "engine/integer/kernels/conv_template.h"

void qn_conv_u8s8_vnni(const qn_conv_job *job)
{
    conv_run(job);
}
#endif
