#include "engine/float/lanes.h"

#include <string.h>

#include "base/arch.h"

enum { LANES_COLUMNS = 8 };

#define LANES_TEMPLATE "engine/float/lanes_template.h"
#include "base/each_isa.inc"

#if QN_X86_64
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
