/* The table of kernels and the choice among them. */
#include "engine/integer/kernels/kernels.h"

#define QN_FIELD_QN_KERNEL_CONV           .conv
#define QN_FIELD_QN_KERNEL_DEPTHWISE      .conv
#define QN_FIELD_QN_KERNEL_CONV_SUMS      .conv
#define QN_FIELD_QN_KERNEL_DEPTHWISE_SUMS .conv
#define QN_FIELD_QN_KERNEL_ADD            .add
#define QN_FIELD_QN_KERNEL_MUL            .add
#define QN_FIELD_QN_KERNEL_SUB            .add
#define QN_FIELD_QN_KERNEL_MAXPOOL        .pool
#define QN_FIELD_QN_KERNEL_SUMPOOL        .pool
#define QN_FIELD_QN_KERNEL_AVERAGEPOOL    .pool
#define QN_FIELD_QN_KERNEL_LOOKUP         .lookup
#define QN_FIELD_QN_KERNEL_ENCODE         .encode
#define QN_FIELD_QN_KERNEL_DIFFER         .differ
#define QN_FIELD_QN_KERNEL_CONV_DELTA     .conv_delta
#define QN_FIELD_QN_KERNEL_WEIGHT_DELTA   .weight_delta

const qn_kernel qn_kernels[] = {
#define QN_KERNEL_ROW(op, signature, name, cpu, elem_bytes, tiles, pixels, bytes)                                      \
    {#name, op, cpu, elem_bytes, tiles, pixels, bytes, {QN_FIELD_##op = name}},
#include "engine/integer/kernels/kernel_list.inc"
#undef QN_KERNEL_ROW
};
const size_t qn_n_kernels = sizeof qn_kernels / sizeof qn_kernels[0];

const qn_kernel *qn_kernel_reference(qn_kernel_op op)
{
    const qn_kernel *kernel = qn_kernels;
    while (kernel->op != op) {
        kernel++;
    }
    return kernel;
}

const qn_kernel *qn_kernel_select(qn_kernel_op op, qn_cpu cpu, int elem_bytes)
{
    const qn_kernel *best = qn_kernel_reference(op);
    for (size_t i = 0; i < qn_n_kernels; i++) {
        const qn_kernel *kernel = &qn_kernels[i];
        bool usable = kernel->op == op && kernel->cpu > best->cpu && kernel->cpu <= cpu;
        bool fits = kernel->elem_bytes == 0 || kernel->elem_bytes == elem_bytes;
        if (usable && fits && (!kernel->tiles || qn_tiles_usable())) {
            best = kernel;
        }
    }
    return best;
}

size_t qn_conv_overread(const qn_kernel *kernel, const qn_conv_job *job)
{
    return (size_t)kernel->overread_pixels * (size_t)job->x_pixel + (size_t)kernel->overread_bytes;
}
