/* ConvTranspose (doc/spec/arithmetic.md 6.3): each weight in turn spreads a row of the input over one of the output. */
#include <string.h>

#include "graph/compute/job.h"

static void spread_row(float *y, const float *x, float w, int64_t n, int64_t stride)
{
    if (stride == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            y[i] = y[i] + w * x[i];
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        y[i * stride] = y[i * stride] + w * x[i];
    }
}

/* Inputs first..end-1 of axis a have the output place i * stride + k * dilation - pad within the output. */
static void range_of(const qn_transposed *t, int a, int64_t k, int64_t *first, int64_t *end)
{
    const int64_t shift = k * t->dilation[a] - t->pad[a], room = t->out[a] - shift;
    *first = shift < 0 ? (-shift + t->stride[a] - 1) / t->stride[a] : 0;
    *end = room <= 0 ? 0 : (room + t->stride[a] - 1) / t->stride[a];
    *end = *end < t->in[a] ? *end : t->in[a];
}

/* One input channel by its weights, onto one output channel. */
static void spread_channel(const qn_transposed *t, float *y, const float *x, const float *w)
{
    int64_t first[3], end[3];
    for (int64_t i = 0; i < t->kernel[0]; i++) {
        for (int64_t j = 0; j < t->kernel[1]; j++) {
            for (int64_t k = 0; k < t->kernel[2]; k++, w++) {
                range_of(t, 0, i, &first[0], &end[0]);
                range_of(t, 1, j, &first[1], &end[1]);
                range_of(t, 2, k, &first[2], &end[2]);
                for (int64_t row = first[0]; row < end[0]; row++) {
                    for (int64_t line = first[1]; line < end[1]; line++) {
                        const int64_t plane = row * t->stride[0] + i * t->dilation[0] - t->pad[0];
                        const int64_t at = line * t->stride[1] + j * t->dilation[1] - t->pad[1];
                        const int64_t column = first[2] * t->stride[2] + k * t->dilation[2] - t->pad[2];
                        if (first[2] < end[2]) {
                            spread_row(y + (plane * t->out[1] + at) * t->out[2] + column,
                                       x + (row * t->in[1] + line) * t->in[2] + first[2], *w, end[2] - first[2],
                                       t->stride[2]);
                        }
                    }
                }
            }
        }
    }
}

static void run_transposed(const void *params, void *to, const void *const *x)
{
    const qn_transposed *t = params;
    const int64_t taps = t->kernel[0] * t->kernel[1] * t->kernel[2], in = t->in[0] * t->in[1] * t->in[2];
    const int64_t out = t->out[0] * t->out[1] * t->out[2], inputs = t->c_in / t->group, outputs = t->c_out / t->group;
    const float *weights = x[1], *bias = x[2];
    float *y = to;
    for (int64_t i = 0; i < t->n * t->c_out; i++, y += out) {
        const int64_t k = i % t->c_out, first = k / outputs * inputs;
        memset(y, 0, (size_t)out * sizeof *y);
        for (int64_t c = first; c < first + inputs; c++) {
            spread_channel(t, y, (const float *)x[0] + (i / t->c_out * t->c_in + c) * in,
                           weights + (c * outputs + k % outputs) * taps);
        }
        for (int64_t j = 0; bias != NULL && j < out; j++) {
            y[j] = y[j] + bias[k];
        }
    }
}

qn_status qn_prepare_transposed(qn_compute *compute, const qn_compute_job *job)
{
    qn_transposed t;
    QN_TRY(qn_transposed_of_node(&t, job->binding, job->node, job->err));
    t.n /= job->items;
    return qn_job_set(compute, job, run_transposed, &t, sizeof t, 3);
}
