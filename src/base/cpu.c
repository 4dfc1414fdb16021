#include "quern/cpu.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arch.h"
#include "base/error.h"

#if QN_X86_64
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux: a process must ask before it may use the 8 KiB of tile data (asm/prctl.h, arch/x86 documentation). */
enum { ARCH_REQ_XCOMP_PERM_ = 0x1023, XFEATURE_XTILEDATA_ = 18 };
long syscall(long number, ...);

static bool tiles_permitted(void)
{
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM_, XFEATURE_XTILEDATA_) == 0;
}

static uint64_t enabled_states(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static qn_cpu detect(void)
{
    unsigned a, b, c, d, b7, c7, d7;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) {
        return QN_CPU_REFERENCE;
    }
    uint64_t states = enabled_states();
    if (!(c & bit_FMA) || (states & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) || !(b7 & bit_AVX2)) {
        return QN_CPU_REFERENCE;
    }
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512VL | bit_AVX512DQ;
    if ((states & 0xe6) != 0xe6 || (b7 & avx512) != avx512) {
        return QN_CPU_AVX2;
    }
    if (!(c7 & bit_AVX512VNNI)) {
        return QN_CPU_AVX512;
    }
    const unsigned amx_tile = 1u << 24, amx_int8 = 1u << 25;
    if ((states & 0x60000) != 0x60000 || (d7 & (amx_tile | amx_int8)) != (amx_tile | amx_int8) || !tiles_permitted()) {
        return QN_CPU_VNNI;
    }
    return QN_CPU_AMX;
}
#else
static qn_cpu detect(void)
{
    return QN_CPU_REFERENCE;
}
#endif

static qn_cpu best = QN_CPU_REFERENCE;
static void detect_once(void)
{
    best = detect();
}

qn_cpu qn_cpu_best(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, detect_once);
    return best;
}

/* X-macro rows as arrays, so that text and value cannot part. */
static const struct {
    qn_cpu cpu;
    const char *text;
} levels[] = {
#define QN_CPU_ROW(name, value, text) {name, text},
    QN_CPU_LIST(QN_CPU_ROW)
#undef QN_CPU_ROW
};

const char *qn_cpu_text(qn_cpu cpu)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (levels[i].cpu == cpu) {
            return levels[i].text;
        }
    }
    return "?";
}

qn_status qn_cpu_from_environment(qn_cpu *cpu, bool *lowered, qn_error *err)
{
    if (lowered != NULL) {
        *lowered = false;
    }
    const char *wanted = getenv("QUERN_CPU");
    if (wanted == NULL || wanted[0] == '\0') {
        *cpu = qn_cpu_best();
        return QN_OK;
    }
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(wanted, levels[i].text) == 0) {
            *cpu = levels[i].cpu;
            if (*cpu > qn_cpu_best()) {
                *cpu = qn_cpu_best();
                if (lowered != NULL) {
                    *lowered = true;
                }
            }
            return QN_OK;
        }
    }
    return qn_fail(err, QN_EINVAL, "environment variable QUERN_CPU",
                   "unknown value '%s'; use reference, avx2, avx512, vnni or amx, or unset it", wanted);
}
