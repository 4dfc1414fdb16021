/* Sums after a change of the input on AVX512-VNNI. Changes need nine bits, so that codes before and after are multiplied
 * each by themselves: vpdpbusd adds four u8 * s8 products to an s32 without saturating in between, and the difference of
 * what wraps is exact. */
#include "base/arch.h"

#if QN_X86_64
#include "engine/integer/kernels/kernels.h"

#include <immintrin.h>

#include "engine/integer/kernels/epilogue_avx512.h"

#include "engine/integer/kernels/conv_delta_sums_avx512.h"

#define DELTA_TARGET      __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define DELTA_GROUP_BYTES 64

typedef struct delta4 {
    __m512i after, before;
} delta4;

typedef struct delta_sums {
    __m512i after, before;
} delta_sums;

DELTA_TARGET QN_INLINE delta4 load_delta(const uint8_t *after, const uint8_t *before)
{
    int32_t a, b;
    __builtin_memcpy(&a, after, 4);
    __builtin_memcpy(&b, before, 4);
    return (delta4){_mm512_set1_epi32(a), _mm512_set1_epi32(b)};
}

DELTA_TARGET QN_INLINE delta_sums no_sums(void)
{
    return (delta_sums){_mm512_setzero_si512(), _mm512_setzero_si512()};
}

DELTA_TARGET QN_INLINE delta_sums add_delta(delta_sums sums, int v, delta4 x, const uint8_t *w)
{
    (void)v;
    const __m512i weights = _mm512_load_si512(w);
    sums.after = _mm512_dpbusd_epi32(sums.after, x.after, weights);
    sums.before = _mm512_dpbusd_epi32(sums.before, x.before, weights);
    return sums;
}

DELTA_TARGET QN_INLINE vec total(delta_sums sums, vec before)
{
    return _mm512_add_epi32(before, _mm512_sub_epi32(sums.after, sums.before));
}

#include "engine/integer/kernels/conv_delta_template.h"

/* Rows of the job as they are done where changes do not fit a byte. */
static void delta_rows(const qn_conv_delta_job *job, int row0, int row1)
{
    qn_conv_delta_job rows = *job;
    rows.box.y0 = row0, rows.box.y1 = row1;
    rows.sums = job->sums != NULL ? job->sums + (row0 - job->box.y0) * job->sums_row : NULL;
    delta_general(&rows);
}

#include "engine/integer/kernels/conv_delta_channel.h"
#include "engine/integer/kernels/conv_delta_listed.h"

void qn_conv_delta_u8s8_vnni(const qn_conv_delta_job *job)
{
    if (!delta_channel(job) && !delta_listed(job)) {
        delta_general(job);
    }
}
#endif
