/* ConvTranspose (doc/spec/arithmetic.md 6.3). Outputs of a row whose columns differ by multiples of the stride see the same
 * weights: they are summed side by side. */
#include <string.h>

#include "graph/compute/job.h"

enum { COLUMNS = 256 };

typedef void add_fn(float *restrict sum, const float *x, float w, int64_t n);

#define LANES_ADD(suffix, isa)                                                                                         \
    isa static void add_##suffix(float *restrict sum, const float *x, float w, int64_t n)                              \
    {                                                                                                                  \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            sum[i] = sum[i] + w * x[i];                                                                                \
        }                                                                                                              \
    }
LANES_ADD(reference, )
#if QN_X86_64
LANES_ADD(avx2, __attribute__((target("avx2"))))
LANES_ADD(avx512, __attribute__((target("avx512f"))))
#endif
#undef LANES_ADD

/* What meets in each output along one axis: taps and inputs of output o are pairs[start[o]..start[o + 1]). */
typedef struct meetings {
    int64_t *start;
    struct {
        int64_t tap, input;
    } * pairs;
} meetings;

typedef struct transposed_params {
    qn_transposed t;
    add_fn *add;
    meetings along[2]; /* depth, height */
} transposed_params;

/* Of all taps along the width those that matter to outputs `first` + j * stride: tap, tap + step, ..., whose inputs are
 * j + shift, j + shift - back, ... */
typedef struct phase {
    int64_t tap, step, shift, back;
} phase;

static phase phase_of(const qn_transposed *t, int64_t first)
{
    const int64_t stride = t->stride[2], dilation = t->dilation[2];
    phase p = {.step = 1};
    while (p.step * dilation % stride != 0) {
        p.step++;
    }
    while (p.tap < t->kernel[2] && (first + t->pad[2] - p.tap * dilation) % stride != 0) {
        p.tap++;
    }
    p.shift = (first + t->pad[2] - p.tap * dilation) / stride;
    p.back = p.step * dilation / stride;
    return p;
}

/* The products of one row of the input by one row of a kernel. */
static void add_row(const transposed_params *p, float *sum, const float *x, const float *w, phase at, int64_t n)
{
    const qn_transposed *t = &p->t;
    for (; at.tap < t->kernel[2]; at.tap += at.step, at.shift -= at.back) {
        const int64_t begin = at.shift < 0 ? -at.shift : 0, end = n < t->in[2] - at.shift ? n : t->in[2] - at.shift;
        if (begin < end) {
            p->add(sum + begin, x + begin + at.shift, w[at.tap], end - begin);
        }
    }
}

/* n outputs of a row with all their terms: input channels of the group, kernel planes, rows, columns. */
static void sum_columns(const transposed_params *p, float *sum, const float *x, const float *w, int64_t plane,
                        int64_t line, phase at, int64_t n)
{
    const qn_transposed *t = &p->t;
    const int64_t outputs = t->c_out / t->group, in = t->in[0] * t->in[1] * t->in[2];
    const int64_t taps = t->kernel[0] * t->kernel[1] * t->kernel[2];
    const meetings *planes = &p->along[0], *lines = &p->along[1];
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t c = 0; c < t->c_in / t->group; c++, x += in, w += outputs * taps) {
        for (int64_t i = planes->start[plane]; i < planes->start[plane + 1]; i++) {
            for (int64_t j = lines->start[line]; j < lines->start[line + 1]; j++) {
                add_row(p, sum, x + (planes->pairs[i].input * t->in[1] + lines->pairs[j].input) * t->in[2],
                        w + (planes->pairs[i].tap * t->kernel[1] + lines->pairs[j].tap) * t->kernel[2], at, n);
            }
        }
    }
}

static void run_line(const transposed_params *p, float *y, const float *x, const float *w, const float *bias,
                     int64_t plane, int64_t line)
{
    const int64_t stride = p->t.stride[2], out = p->t.out[2];
    float sum[COLUMNS];
    for (int64_t column = 0; column < stride && column < out; column++) {
        const int64_t n = (out - column + stride - 1) / stride;
        for (int64_t j = 0; j < n; j += COLUMNS) {
            const int64_t now = n - j < COLUMNS ? n - j : COLUMNS, first = column + j * stride;
            sum_columns(p, sum, x, w, plane, line, phase_of(&p->t, first), now);
            for (int64_t i = 0; i < now; i++) {
                y[first + i * stride] = bias != NULL ? sum[i] + *bias : sum[i];
            }
        }
    }
}

static void run_transposed(const void *params, void *to, const void *const *x)
{
    const transposed_params *p = params;
    const qn_transposed *t = &p->t;
    const int64_t taps = t->kernel[0] * t->kernel[1] * t->kernel[2], in = t->in[0] * t->in[1] * t->in[2];
    const int64_t inputs = t->c_in / t->group, outputs = t->c_out / t->group;
    float *y = to;
    for (int64_t i = 0; i < t->n * t->c_out; i++) {
        const int64_t k = i % t->c_out, first = k / outputs * inputs;
        const float *from = (const float *)x[0] + (i / t->c_out * t->c_in + first) * in;
        const float *w = (const float *)x[1] + (first * outputs + k % outputs) * taps;
        for (int64_t row = 0; row < t->out[0] * t->out[1]; row++, y += t->out[2]) {
            run_line(p, y, from, w, x[2] != NULL ? (const float *)x[2] + k : NULL, row / t->out[1], row % t->out[1]);
        }
    }
}

/* Inputs i and taps k with i * stride + k * dilation - pad = o. */
static qn_status find_meetings(meetings *m, const qn_transposed *t, int a, const qn_compute_job *job)
{
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            m->start = qn_arena_array(job->arena, (size_t)t->out[a] + 1, sizeof *m->start);
            m->pairs = qn_arena_array(job->arena, n, sizeof *m->pairs);
            if (m->start == NULL || m->pairs == NULL) {
                return qn_fail_memory(job->err, NULL, n * sizeof *m->pairs);
            }
            n = 0;
        }
        for (int64_t o = 0; o < t->out[a]; o++) {
            for (int64_t k = 0; k < t->kernel[a]; k++) {
                const int64_t at = o + t->pad[a] - k * t->dilation[a];
                if (at >= 0 && at % t->stride[a] == 0 && at / t->stride[a] < t->in[a]) {
                    if (pass == 1) {
                        m->pairs[n].tap = k;
                        m->pairs[n].input = at / t->stride[a];
                    }
                    n++;
                }
            }
            if (pass == 1) {
                m->start[o + 1] = (int64_t)n;
            }
        }
    }
    return QN_OK;
}

qn_status qn_prepare_transposed(qn_compute *compute, const qn_compute_job *job)
{
    transposed_params p = {.add = QN_LANES_FOR(job->cpu, add)};
    QN_TRY(qn_transposed_of_node(&p.t, job->binding, job->node, job->err));
    p.t.n /= job->items;
    for (int a = 0; a < 2; a++) {
        QN_TRY(find_meetings(&p.along[a], &p.t, a, job));
    }
    return qn_job_set(compute, job, run_transposed, &p, sizeof p, 3);
}
