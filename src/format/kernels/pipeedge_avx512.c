/* PipeEdge's codes on AVX-512. */
#include "base/arch.h"

#if QN_X86_64
#include "format/kernels/kernels.h"
#include "format/kernels/lanes_avx512.h"

#include "format/kernels/pipeedge_codec.h"

#include "format/kernels/template.h"

const qn_format_kernel qn_format_kernel_pipeedge_avx512 = {
    .name = "pipeedge_avx512",
    .cpu = QN_CPU_AVX512,
    .serves = serves,
    .encode = encode,
    .encode_packed = encode_packed,
    .decode = decode,
    .decode_packed = decode_packed,
    .fake = fake,
};
#endif
