/* Fast kernels of formats: where they plug in.
 *
 * A kernel works on a contiguous run of elements that share parameters, with codes in their containers (u8, u16 or u32
 * by the format's bits) or packed densely. It gives the same bits as qn_run_encode and qn_run_decode (row.h), which
 * serve wherever there is no kernel: NaN and infinities as the row says, bits above the format's 0. Each kernel is
 * one row of kernels.inc; table, tests and benchmarks read that list. */
#ifndef QN_FORMAT_KERNEL_H
#define QN_FORMAT_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "format/row.h"
#include "quern/cpu.h"

/* x, y and codes may start anywhere (no alignment beyond the element's) and must not overlap, except that fake allows
 * y == x. n >= 0. packed starts at a byte: code k of the run is bits [k*b, k*b+b) of it, and the unused bits of the
 * last byte are written as 0. */
typedef void (*qn_encode_kernel)(void *codes, const float *x, int64_t n, const qn_run *run);
typedef void (*qn_decode_kernel)(float *y, const void *codes, int64_t n, const qn_run *run);
typedef void (*qn_fake_kernel)(float *y, const float *x, int64_t n, const qn_run *run);

/* Any of the functions may be NULL. */
typedef struct qn_format_kernel {
    const char *name;                   /* of file, test and benchmark: "int8_avx512" */
    qn_cpu cpu;                         /* the least level that can run it */
    bool (*serves)(const qn_format *f); /* formats it is for; never one it would get wrong */
    qn_encode_kernel encode, encode_packed;
    qn_decode_kernel decode, decode_packed;
    qn_fake_kernel fake;
} qn_format_kernel;

/* All kernels that are built, the best last within each format. */
extern const qn_format_kernel *const qn_format_kernels[];
extern const int qn_format_n_kernels;

/* For each function the best kernel at or below a CPU level; NULL where only the definition serves. */
qn_format_kernel qn_format_kernel_select(const qn_format *f, qn_cpu cpu);
/* The same for the level of the environment (QUERN_CPU), the best one if that is unusable. */
qn_format_kernel qn_format_kernel_default(const qn_format *f);

#endif
