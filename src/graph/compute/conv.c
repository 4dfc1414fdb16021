/* Conv of three spatial dimensions (doc/spec/arithmetic.md 6.3); those of fewer have lowerings of their own. Outputs of a row
 * are summed side by side. */
#include <string.h>

#include "graph/compute/job.h"

enum { COLUMNS = 256 };

typedef void add_fn(float *restrict sum, const float *x, int64_t stride, float w, int64_t n);

#define LANES_ADD(suffix, isa)                                                                                         \
    isa static void add_##suffix(float *restrict sum, const float *x, int64_t stride, float w, int64_t n)              \
    {                                                                                                                  \
        if (stride == 1) {                                                                                             \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                        \
            {                                                                                                          \
                sum[i] = sum[i] + w * x[i];                                                                            \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            sum[i] = sum[i] + w * x[i * stride];                                                                       \
        }                                                                                                              \
    }
LANES_ADD(reference, )
#if QN_X86_64
LANES_ADD(avx2, __attribute__((target("avx2"))))
LANES_ADD(avx512, __attribute__((target("avx512f"))))
#endif
#undef LANES_ADD

typedef struct conv_params {
    qn_volume v;
    add_fn *add;
} conv_params;

/* Tap `tap` of outputs first, first + 1, ... of a row: those whose input is not padding. */
static void add_tap(const conv_params *p, float *sum, const float *row, float w, int64_t tap, int64_t first, int64_t n)
{
    const qn_volume *v = &p->v;
    const int64_t stride = v->stride[2], offset = tap * v->dilation[2] - v->pad_begin[2];
    int64_t begin = offset < 0 ? (-offset + stride - 1) / stride : 0;
    int64_t end = v->in[2] - offset > 0 ? (v->in[2] - offset + stride - 1) / stride : 0;
    begin = begin > first ? begin : first;
    end = end < first + n ? end : first + n;
    if (begin < end) {
        p->add(sum + begin - first, row + begin * stride + offset, stride, w, end - begin);
    }
}

/* n outputs of a row, whose first is `first`, of one output channel. */
static void sum_row(const conv_params *p, float *sum, const float *x, const float *w, int64_t depth, int64_t line,
                    int64_t first, int64_t n)
{
    const qn_volume *v = &p->v;
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t c = 0; c < v->c_in / v->group; c++, x += v->in[0] * v->in[1] * v->in[2]) {
        for (int64_t i = 0; i < v->kernel[0] * v->kernel[1]; i++, w += v->kernel[2]) {
            const int64_t d = depth * v->stride[0] - v->pad_begin[0] + i / v->kernel[1] * v->dilation[0];
            const int64_t h = line * v->stride[1] - v->pad_begin[1] + i % v->kernel[1] * v->dilation[1];
            if (d < 0 || d >= v->in[0] || h < 0 || h >= v->in[1]) {
                continue;
            }
            for (int64_t k = 0; k < v->kernel[2]; k++) {
                add_tap(p, sum, x + (d * v->in[1] + h) * v->in[2], w[k], k, first, n);
            }
        }
    }
}

static void run_conv(const void *params, void *to, const void *const *x)
{
    const conv_params *p = params;
    const qn_volume *v = &p->v;
    const int64_t in = v->in[0] * v->in[1] * v->in[2], inputs = v->c_in / v->group, outputs = v->c_out / v->group;
    const int64_t taps = v->kernel[0] * v->kernel[1] * v->kernel[2];
    float *y = to, sum[COLUMNS];
    for (int64_t i = 0; i < v->n * v->c_out; i++) {
        const int64_t k = i % v->c_out;
        const float *from = (const float *)x[0] + (i / v->c_out * v->c_in + k / outputs * inputs) * in;
        const float *w = (const float *)x[1] + k * inputs * taps, *bias = x[2];
        for (int64_t row = 0; row < v->out[0] * v->out[1]; row++, y += v->out[2]) {
            for (int64_t j = 0; j < v->out[2]; j += COLUMNS) {
                const int64_t now = v->out[2] - j < COLUMNS ? v->out[2] - j : COLUMNS;
                sum_row(p, sum, from, w, row / v->out[1], row % v->out[1], j, now);
                for (int64_t o = 0; o < now; o++) {
                    y[j + o] = bias != NULL ? sum[o] + bias[k] : sum[o];
                }
            }
        }
    }
}

qn_status qn_prepare_conv(qn_compute *compute, const qn_compute_job *job)
{
    conv_params p = {.add = QN_LANES_FOR(job->cpu, add)};
    QN_TRY(qn_volume_of_node(&p.v, job->binding, job->node, job->err));
    p.v.n /= job->items;
    return qn_job_set(compute, job, run_conv, &p, sizeof p, 3);
}
