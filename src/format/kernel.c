#include "format/kernel.h"

#include <stddef.h>

#include "format/kernels.inc"

#define DECLARE_KERNEL(row) extern const qn_format_kernel row;
QN_FORMAT_KERNEL_LIST(DECLARE_KERNEL)

const qn_format_kernel *const qn_format_kernels[] = {
#define KERNEL(row) &row,
    QN_FORMAT_KERNEL_LIST(KERNEL)
#undef KERNEL
        NULL};
const int qn_format_n_kernels = sizeof qn_format_kernels / sizeof qn_format_kernels[0] - 1;

qn_format_kernel qn_format_kernel_select(const qn_format *f, qn_cpu cpu)
{
    qn_format_kernel best = {.name = "definition", .cpu = QN_CPU_REFERENCE};
    for (int i = 0; i < qn_format_n_kernels; i++) {
        const qn_format_kernel *k = qn_format_kernels[i];
        if (k->cpu > cpu || !k->serves(f)) {
            continue;
        }
        best.encode = k->encode != NULL ? k->encode : best.encode;
        best.encode_packed = k->encode_packed != NULL ? k->encode_packed : best.encode_packed;
        best.decode = k->decode != NULL ? k->decode : best.decode;
        best.decode_packed = k->decode_packed != NULL ? k->decode_packed : best.decode_packed;
        best.fake = k->fake != NULL ? k->fake : best.fake;
    }
    return best;
}

qn_format_kernel qn_format_kernel_default(const qn_format *f)
{
    qn_cpu cpu;
    if (qn_cpu_from_environment(&cpu, NULL, NULL) != QN_OK) {
        cpu = qn_cpu_best();
    }
    return qn_format_kernel_select(f, cpu);
}
