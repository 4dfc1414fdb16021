/* The reference kernels: portable C, slow, and the definition of every other (doc/spec/arithmetic.md, section 3). */
#include <math.h>

#include "base/arith.h"
#include "engine/integer/kernels/kernels.h"

static void emit(const qn_conv_job *job, int row, int column, int k, int32_t sum)
{
    const qn_requantize *r = &job->requantize;
    int at = qn_layout_channel(&job->layout, k);
    int32_t accumulator = qn_add_wrap_s32(sum, r->bias[at]);
    if (job->accumulators != NULL) {
        job->accumulators[(row - job->box.y0) * job->accumulator_row + (column - job->box.x0) * job->accumulator_pixel +
                          k - job->box.k0] = accumulator;
        return;
    }
    job->y[row * job->y_row + column * job->y_pixel + k] =
        (uint8_t)qn_round_clamp((float)accumulator * r->multiplier[at], r->zero_point, r->lo, r->hi);
}

/* One group of up to four elements. Their weights are 1 byte apart as s8, and 64 and 2 bytes as s16 (see layout.c). */
static int32_t group_sum(const uint8_t *x, const char *w, int n, int elem_bytes)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++) {
        int32_t weight =
            elem_bytes == 1 ? ((const int8_t *)w)[i] : *(const int16_t *)(const void *)(w + i % 2 * 64 + i / 2 * 2);
        sum = qn_add_wrap_s32(sum, x[i] * weight);
    }
    return sum;
}

static int32_t window_sum(const qn_conv_job *job, const uint8_t *x, int k)
{
    const qn_weight_layout *layout = &job->layout;
    int32_t sum = 0;
    for (int s = 0; s < layout->n_segments; s++) {
        const char *w = (const char *)job->weights + qn_layout_offset(layout, k, s, 0);
        for (int j = 0; j < layout->segment_elems; j += 4) {
            int left = layout->segment_elems - j;
            sum = qn_add_wrap_s32(sum, group_sum(x + job->segment[s] + j, w, left < 4 ? left : 4, layout->elem_bytes));
            w += 64 * layout->elem_bytes;
        }
    }
    return sum;
}

/* `depthwise`: every output channel looks at the input channel of its own number. */
static void each_output(const qn_conv_job *job, bool depthwise)
{
    const qn_box *box = &job->box;
    for (int row = box->y0; row < box->y1; row++) {
        for (int column = box->x0; column < box->x1; column++) {
            const uint8_t *x = job->x + row * job->x_row + column * job->x_pixel;
            for (int k = box->k0; k < box->k1; k++) {
                emit(job, row, column, k, window_sum(job, depthwise ? x + k : x, k));
            }
        }
    }
}

void qn_conv_reference(const qn_conv_job *job)
{
    each_output(job, false);
}

void qn_depthwise_reference(const qn_conv_job *job)
{
    each_output(job, true);
}

static void add_fused(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    for (size_t i = 0; i < n; i++) {
        const float left = (float)(a[i] - params->raised_a), right = (float)(b[i] - params->raised_b);
        const float sum = fmaf(left, params->ratio_a, fmaf(right, params->ratio_b, params->fixed));
        y[i] = (uint8_t)qn_round_clamp(sum, params->raised, params->lo, params->hi);
    }
}

void qn_add_reference(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    if (params->fused) {
        add_fused(y, a, b, n, params);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        float left = (float)(a[i] - params->zero_a) * params->ratio_a;
        float right = (float)(b[i] - params->zero_b) * params->ratio_b;
        y[i] = (uint8_t)qn_round_clamp(left + right, params->zero_point, params->lo, params->hi);
    }
}

void qn_mul_reference(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t product = (a[i] - params->zero_a) * (b[i] - params->zero_b);
        const float code = (float)product * params->ratio_a + (float)(params->zero_point - params->raised);
        y[i] = (uint8_t)qn_round_clamp(code, params->raised, params->lo, params->hi);
    }
}

void qn_sub_reference(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const qn_add_params *params)
{
    for (size_t i = 0; i < n; i++) {
        const float left = (float)(a[i] - params->zero_a) * params->ratio_a;
        const float right = (float)(b[i] - params->zero_b) * params->ratio_b;
        y[i] = (uint8_t)qn_round_clamp((left - right) / params->scale, params->zero_point, params->lo, params->hi);
    }
}

void qn_maxpool_reference(uint8_t *y, const qn_pool_window *window, const qn_pool_params *params)
{
    for (int c = 0; c < window->n_channels; c++) {
        uint8_t greatest = 0;
        for (int row = 0; row < window->rows; row++) {
            for (int column = 0; column < window->columns; column++) {
                uint8_t x = window->x[row * window->row + column * window->pixel + c];
                greatest = x > greatest ? x : greatest;
            }
        }
        y[c] = (uint8_t)qn_clamp_s32(greatest, params->lo, params->hi);
    }
}

void qn_sumpool_reference(uint8_t *y, const qn_pool_window *window, const qn_pool_params *params)
{
    for (int c = 0; c < window->n_channels; c++) {
        int32_t sum = 0;
        for (int row = 0; row < window->rows; row++) {
            for (int column = 0; column < window->columns; column++) {
                int32_t x = window->x[row * window->row + column * window->pixel + c] - params->zero_x;
                sum = qn_add_wrap_s32(sum, x);
            }
        }
        y[c] = (uint8_t)qn_round_clamp((float)sum * params->multiplier, params->zero_point, params->lo, params->hi);
    }
}

void qn_averagepool_reference(uint8_t *y, const qn_pool_window *window, const qn_pool_params *params)
{
    for (int c = 0; c < window->n_channels; c++) {
        float sum = 0;
        for (int row = 0; row < window->rows; row++) {
            for (int column = 0; column < window->columns; column++) {
                int32_t x = window->x[row * window->row + column * window->pixel + c] - params->zero_x;
                sum += params->scale_x * (float)x;
            }
        }
        float code = sum / params->divisor / params->scale_y + (float)(params->zero_point - params->raised);
        y[c] = (uint8_t)qn_round_clamp(code, params->raised, params->lo, params->hi);
    }
}

void qn_lookup_reference(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *table)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = table[x[i]];
    }
}

void qn_encode_reference(uint8_t *y, const float *x, size_t n, int n_channels, ptrdiff_t plane,
                         const qn_encode_params *params)
{
    const float low = (float)(params->lo - params->zero_point);
    for (int c = 0; c < n_channels; c++) {
        for (size_t i = 0; i < n; i++) {
            float q = x[c * plane + (ptrdiff_t)i] / params->scale;
            q = q > low ? q : low; /* also where q is NaN */
            y[i * (size_t)n_channels + (size_t)c] =
                (uint8_t)qn_round_clamp(q, params->zero_point, params->lo, params->hi);
        }
    }
}
