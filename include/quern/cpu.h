/* Which instruction sets quern's kernels may use. Results never depend on it, only speed. */
#ifndef QUERN_CPU_H
#define QUERN_CPU_H

#include <stdbool.h>

#include "quern/status.h"

/* Each level includes those below it.
 *  avx2    AVX2 and FMA (exact kernels fuse nothing but where the arithmetic says so)
 *  avx512  AVX-512 F, BW, CD, VL, DQ
 *  vnni    + AVX512_VNNI
 *  amx     + AMX_TILE, AMX_INT8, with the kernel's permission to use tiles */
#define QN_CPU_LIST(X)                                                                                                 \
    X(QN_CPU_REFERENCE, 0, "reference")                                                                                \
    X(QN_CPU_AVX2, 1, "avx2")                                                                                          \
    X(QN_CPU_AVX512, 2, "avx512")                                                                                      \
    X(QN_CPU_VNNI, 3, "vnni")                                                                                          \
    X(QN_CPU_AMX, 4, "amx")

typedef enum qn_cpu {
#define QN_CPU_ENUM(name, value, text) name = value,
    QN_CPU_LIST(QN_CPU_ENUM)
#undef QN_CPU_ENUM
} qn_cpu;

QN_API const char *qn_cpu_text(qn_cpu cpu);

/* The best level this machine and kernel offer. Thread safe; cheap after the first call. */
QN_API qn_cpu qn_cpu_best(void);

/* The level to use: the environment variable QUERN_CPU, or the best when it is unset or empty.
 *  lowered  (may be NULL) set when QUERN_CPU asks for more than the machine has
 * Errors: QN_EINVAL for an unknown value, naming the legal ones. */
QN_API QN_NODISCARD qn_status qn_cpu_from_environment(qn_cpu *cpu, bool *lowered, qn_error *err);

#endif
