/* Is a tensor free of NaN and infinity? An exponent field of ones carries into the sign bit when 1 is added to it; the
 * sums are collected by OR, which compilers turn into vector code for each instruction set. */
#include "format/kernels/finite.h"

#include <string.h>

#include "base/arch.h"
#include "format/kernels/kernels.h"
#include "quern/cpu.h"

static inline __attribute__((always_inline)) bool all_finite(const float *x, int64_t n)
{
    uint32_t carried = 0;
#pragma omp simd reduction(| : carried)
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        carried |= (bits & ~QN_F32_SIGN) + QN_F32_HIDDEN;
    }
    return carried < QN_F32_SIGN;
}

static bool all_finite_portable(const float *x, int64_t n)
{
    return all_finite(x, n);
}

#if QN_X86_64
__attribute__((target("avx2"))) static bool all_finite_avx2(const float *x, int64_t n)
{
    return all_finite(x, n);
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static bool all_finite_avx512(const float *x, int64_t n)
{
    return all_finite(x, n);
}
#else
#define all_finite_avx2   all_finite_portable
#define all_finite_avx512 all_finite_portable
#endif

bool qn_all_finite_f32(const float *x, int64_t n)
{
    qn_cpu cpu;
    if (qn_cpu_from_environment(&cpu, NULL, NULL) != QN_OK) {
        cpu = qn_cpu_best();
    }
    return (cpu >= QN_CPU_AVX512 ? all_finite_avx512
            : cpu >= QN_CPU_AVX2 ? all_finite_avx2
                                 : all_finite_portable)(x, n);
}
