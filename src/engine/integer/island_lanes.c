#include "engine/integer/island_lanes.h"

#include "base/arch.h"
#include "base/ratio.h"
#include "graph/compute/real_math.h"

enum { COLUMNS = 16, CODE_COLUMNS = 64 };
typedef float columns __attribute__((vector_size(COLUMNS * sizeof(float))));

#define LANES(name) name##_reference
#define LANES_ISA
#include "engine/integer/island_lanes_template.h"
#undef LANES
#undef LANES_ISA

#if QN_X86_64
#define LANES(name) name##_avx2
#define LANES_ISA   __attribute__((target("avx2")))
#include "engine/integer/island_lanes_template.h"
#undef LANES
#undef LANES_ISA

#define LANES(name) name##_avx512
#define LANES_ISA   __attribute__((target("avx512f,avx512dq")))
#include "engine/integer/island_lanes_template.h"
#undef LANES
#undef LANES_ISA

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
