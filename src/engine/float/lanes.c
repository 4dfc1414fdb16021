#include "engine/float/lanes.h"

#include <string.h>

#include "base/arch.h"

enum { LANES_COLUMNS = 8 };

#define LANES(name) name##_reference
#define LANES_ISA
#include "engine/float/lanes_template.h"
#undef LANES
#undef LANES_ISA

#if QN_X86_64
#define LANES(name) name##_avx2
#define LANES_ISA   __attribute__((target("avx2")))
#include "engine/float/lanes_template.h"
#undef LANES
#undef LANES_ISA

#define LANES(name) name##_avx512
#define LANES_ISA   __attribute__((target("avx512f")))
#include "engine/float/lanes_template.h"
#undef LANES
#undef LANES_ISA

const qn_float_lanes *qn_float_lanes_for(qn_cpu cpu)
{
    return cpu >= QN_CPU_AVX512 ? &table_avx512 : cpu >= QN_CPU_AVX2 ? &table_avx2 : &table_reference;
}
#else
const qn_float_lanes *qn_float_lanes_for(qn_cpu cpu)
{
    (void)cpu;
    return &table_reference;
}
#endif
