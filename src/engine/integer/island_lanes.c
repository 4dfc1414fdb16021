#include "engine/integer/island_lanes.h"

#include "base/arch.h"
#include "base/ratio.h"
#include "engine/integer/island_math.h"

enum { COLUMNS = 16, CODE_COLUMNS = 64 };
typedef float columns __attribute__((vector_size(COLUMNS * sizeof(float))));

const double qn_island_erf_at[ISLAND_ERF_PLACES] = {0x0p+0,
                                                    0x1.1f5e1a35c3b89p-3,
                                                    0x1.1af54e232d609p-2,
                                                    0x1.9dd0d2b721f39p-2,
                                                    0x1.0a7ef5c18edd2p-1,
                                                    0x1.3f196dcd0f135p-1,
                                                    0x1.6c1c9759d0e5fp-1,
                                                    0x1.91724951b8fc6p-1,
                                                    0x1.af767a741088bp-1,
                                                    0x1.c6dad2829ec62p-1,
                                                    0x1.d8865d98abe01p-1,
                                                    0x1.e5768c3b4a3fcp-1,
                                                    0x1.eea5557137aep-1,
                                                    0x1.f4f693b67bd77p-1,
                                                    0x1.f92d077f8d56dp-1,
                                                    0x1.fbe61eef4cf6ap-1,
                                                    0x1.fd9ae142795e3p-1,
                                                    0x1.fea4218d6594ap-1,
                                                    0x1.ff404760319b4p-1,
                                                    0x1.ff9960f3eb327p-1,
                                                    0x1.ffcaa8f4c9beap-1,
                                                    0x1.ffe514bbdc197p-1,
                                                    0x1.fff2cfb0453d9p-1,
                                                    0x1.fff9ba420e834p-1,
                                                    0x1.fffd1ac4135f9p-1,
                                                    0x1.fffeb3ebb267bp-1,
                                                    0x1.ffff6f9f67e55p-1,
                                                    0x1.ffffc316d9edp-1,
                                                    0x1.ffffe710d565ep-1,
                                                    0x1.fffff618c3da6p-1,
                                                    0x1.fffffc2f171e3p-1,
                                                    0x1.fffffe92ced93p-1,
                                                    0x1.ffffff7b91176p-1};
const double qn_island_erf_slope[ISLAND_ERF_PLACES] = {
    0x1.20dd750429b6dp+0,  0x1.1c62fa1e869b6p+0,  0x1.0f5d1602f7e41p+0,  0x1.f5f0cdaf15313p-1,  0x1.c1efca49a5011p-1,
    0x1.86e9694134b9ep-1,  0x1.492e42d78d2c5p-1,  0x1.0cab61f084b93p-1,  0x1.a911f096fbc26p-2,  0x1.45e99bcbb7915p-2,
    0x1.e4652fadcb6b2p-3,  0x1.5ce595c455b0ap-3,  0x1.e723726b824a9p-4,  0x1.499d478bca735p-4,  0x1.b055303221015p-5,
    0x1.12ceb37ff9bc3p-5,  0x1.529b9e8cf9a1ep-6,  0x1.94624e78e0fafp-7,  0x1.d4143a9dfe965p-8,  0x1.06918b6355624p-8,
    0x1.1d83170fbf6fbp-9,  0x1.2ce898809244ep-10, 0x1.3360ccd23db3ap-11, 0x1.30538fbb77ecdp-12, 0x1.2408e9ba3327fp-13,
    0x1.0f9e1b4dd36dfp-14, 0x1.e9b5e8d00ce77p-16, 0x1.abe09e9144b5ep-17, 0x1.6a597219a93dap-18, 0x1.296a70f414053p-19,
    0x1.d9371e2ff7c35p-21, 0x1.6ce1aa3fd7bddp-22, 0x1.10b1488aeb235p-23};

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
