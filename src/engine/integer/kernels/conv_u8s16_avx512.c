/* Convolution on plain AVX-512: codes and weights widened to s16. vpmaddwd sums two products of at most 255 * 255 in an
 * s32, so nothing saturates (vpmaddubsw would). */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#include "engine/integer/kernels/epilogue_avx512.h"

#define CONV_QUADS
#include "engine/integer/kernels/conv_dot_avx512.h"

#include "engine/integer/kernels/conv_template.h"

void qn_conv_u8s16_avx512(const qn_conv_job *job)
{
    conv_run(job);
}
#endif
