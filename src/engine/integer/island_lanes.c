#include "engine/integer/island_lanes.h"

#include "base/arch.h"
#include "base/ratio.h"
#include "graph/compute/real_math.h"

enum { COLUMNS = 16, CODE_COLUMNS = 64 };
typedef float columns __attribute__((vector_size(COLUMNS * sizeof(float))));

#define LANES_TEMPLATE "engine/integer/island_lanes_template.h"
#include "base/each_isa.inc"

#if QN_X86_64
const qn_island_lanes *qn_island_lanes_for(qn_cpu cpu)
{
    return cpu >= QN_CPU_AVX512 ? &table_avx512 : cpu >= QN_CPU_AVX2 ? &table_avx2 : &table_reference;
}
#else
const qn_island_lanes *qn_island_lanes_for(qn_cpu cpu)
{
    (void)cpu;
    return &table_reference;
}
#endif
