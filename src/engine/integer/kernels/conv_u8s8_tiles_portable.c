/* The AMX kernel's logic on tiles emulated in C, so that it is tested on machines without AMX. Never selected. */
#include "base/arith.h"
#include "engine/integer/kernels/tiles_portable.h"

#include "engine/integer/kernels/kernels.h"

#define TILES_TARGET

typedef struct constants {
    char unused;
} constants;

QN_INLINE constants make_constants(const qn_conv_job *job)
{
    (void)job;
    return (constants){0};
}

QN_INLINE void store_sums(const qn_conv_job *job, uint8_t *y, int kb, const int32_t *sums, const constants *c)
{
    (void)c;
    const qn_requantize *r = &job->requantize;
    for (int i = 0; i < 16; i++) {
        int k = kb * 16 + i;
        if (k >= job->box.k0 && k < job->box.k1) {
            y[k] = (uint8_t)qn_round_clamp((float)sums[i] * r->multiplier[k], r->zero_point, r->lo, r->hi);
        }
    }
}

#include "engine/integer/kernels/tiles_template.h"

void qn_conv_u8s8_tiles_portable(const qn_conv_job *job)
{
    tiles_run(job);
}
