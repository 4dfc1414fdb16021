#include <string.h>

#include "base/arch.h"
#include "fault/margin_inside.h"

typedef float lanes __attribute__((vector_size(QN_MARGIN_LANES * sizeof(float))));

/* Finer where differences mostly are. */
const float qn_margin_edges[QN_MARGIN_BINS] = {1.0f / 64,  2.0f / 64,  3.0f / 64,  4.0f / 64,  6.0f / 64,  8.0f / 64,
                                               12.0f / 64, 16.0f / 64, 20.0f / 64, 24.0f / 64, 28.0f / 64, 32.0f / 64,
                                               40.0f / 64, 48.0f / 64, 56.0f / 64, 1};

#define LANES_AVX512   "avx512f,avx512bw,avx512vl,avx512dq"
#define LANES_TEMPLATE "fault/margin_lanes_template.h"
#include "base/each_isa.inc"

#if QN_X86_64
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
