#include <string.h>

#include "base/arch.h"
#include "fault/margin_inside.h"

typedef float lanes __attribute__((vector_size(QN_MARGIN_LANES * sizeof(float))));

/* Finer where differences mostly are. */
const float qn_margin_edges[QN_MARGIN_BINS] = {1.0f / 64,  2.0f / 64,  3.0f / 64,  4.0f / 64,  6.0f / 64,  8.0f / 64,
                                               12.0f / 64, 16.0f / 64, 20.0f / 64, 24.0f / 64, 28.0f / 64, 32.0f / 64,
                                               40.0f / 64, 48.0f / 64, 56.0f / 64, 1};

#define LANES(name) name##_reference
#define LANES_ISA
#include "fault/margin_lanes_template.h"
#undef LANES
#undef LANES_ISA

#if QN_X86_64
#define LANES(name) name##_avx2
#define LANES_ISA   __attribute__((target("avx2")))
#include "fault/margin_lanes_template.h"
#undef LANES
#undef LANES_ISA

#define LANES(name) name##_avx512
#define LANES_ISA   __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#include "fault/margin_lanes_template.h"
#undef LANES
#undef LANES_ISA

const qn_margin_lanes *qn_margin_lanes_for(qn_cpu cpu)
{
    return cpu >= QN_CPU_AVX512 ? &table_avx512 : cpu >= QN_CPU_AVX2 ? &table_avx2 : &table_reference;
}
#else
const qn_margin_lanes *qn_margin_lanes_for(qn_cpu cpu)
{
    (void)cpu;
    return &table_reference;
}
#endif
