/* Observation kernels: the plain C reference, the choice by CPU, and the walk over layouts. */
#include "calib/calib.h"

#include <math.h>

static bool observe(float x, float *min, float *max)
{
    *min = x < *min ? x : *min;
    *max = x > *max ? x : *max;
    return x == x;
}

bool qn_observe_row_f32_reference(const float *x, int64_t n, float *min, float *max)
{
    bool ordered = true;
    for (int64_t i = 0; i < n; i++) {
        ordered &= observe(x[i], min, max);
    }
    *min += 0.0f; /* -0 becomes +0 */
    *max += 0.0f;
    return ordered;
}

bool qn_observe_columns_f32_reference(const float *x, int64_t n_rows, int64_t stride, int64_t width, float *min,
                                      float *max)
{
    bool ordered = true;
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t c = 0; c < width; c++) {
            ordered &= observe(x[row * stride + c], &min[c], &max[c]);
        }
    }
    for (int64_t c = 0; c < width; c++) {
        min[c] += 0.0f;
        max[c] += 0.0f;
    }
    return ordered;
}

void qn_moments_row_f32_reference(const float *x, int64_t n, float lo, double *sum, double *squares)
{
    double s[QN_MOMENTS_LANES] = {0}, q[QN_MOMENTS_LANES] = {0};
    for (int64_t i = 0; i < n; i++) {
        double v = (double)(x[i] > lo ? x[i] : lo);
        s[i % QN_MOMENTS_LANES] += v;
        q[i % QN_MOMENTS_LANES] += v * v;
    }
    for (int half = QN_MOMENTS_LANES / 2; half > 0; half /= 2) {
        for (int k = 0; k < half; k++) {
            s[k] += s[k + half];
            q[k] += q[k + half];
        }
    }
    *sum = s[0];
    *squares = q[0];
}

void qn_moments_columns_f32_reference(const float *x, int64_t n_rows, int64_t stride, int64_t width, float lo,
                                      double *sum, double *squares)
{
    for (int64_t c = 0; c < width; c++) {
        sum[c] = squares[c] = 0.0;
    }
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t c = 0; c < width; c++) {
            double v = (double)(x[row * stride + c] > lo ? x[row * stride + c] : lo);
            sum[c] += v;
            squares[c] += v * v;
        }
    }
}

int64_t qn_count_f32_reference(const float *x, int64_t n, const qn_count_grid *grid)
{
    int64_t n_zeros = 0;
    for (int64_t i = 0; i < n; i++) {
        if (x[i] > 0.0f) {
            grid->counts[(int)(x[i] * grid->inverse[1])]++;
        } else if (x[i] < 0.0f) { /* the product may underflow */
            int bin = (int)floorf(x[i] * grid->inverse[0]);
            grid->counts[bin < -1 ? bin : -1]++;
        } else {
            n_zeros++;
        }
    }
    return n_zeros;
}

static const qn_observe_kernels all_kernels[] = {
#define QN_OBSERVE_ROW(isa, level)                                                                                     \
    {#isa,                                                                                                             \
     level,                                                                                                            \
     qn_observe_row_f32_##isa,                                                                                         \
     qn_observe_columns_f32_##isa,                                                                                     \
     qn_moments_row_f32_##isa,                                                                                         \
     qn_moments_columns_f32_##isa,                                                                                     \
     qn_count_f32_##isa},
#include "calib/observe_kernels.inc"
#undef QN_OBSERVE_ROW
};
enum { N_KERNELS = sizeof all_kernels / sizeof all_kernels[0] };

const qn_observe_kernels *qn_observe_kernels_all(size_t *n)
{
    *n = N_KERNELS;
    return all_kernels;
}

const qn_observe_kernels *qn_observe_kernels_for(qn_cpu cpu)
{
    size_t best = 0;
    for (size_t i = 1; i < N_KERNELS; i++) {
        if (all_kernels[i].cpu <= cpu) {
            best = i;
        }
    }
    return &all_kernels[best];
}

/* Every layout is columns of `block` channels, except that one channel at a time is a row. A plain value with one
 * element behind each channel has its channels side by side and is one row of columns. */
bool qn_observe_item(const qn_observe_kernels *kernels, const qn_value_view *view, int64_t item, float *min, float *max)
{
    const float *x = view->data + item * view->stride_n;
    bool ordered = true;
    if (view->inner == 1 && view->block == 1 && view->stride_block == 1) {
        return kernels->columns(x, 1, view->channels, view->channels, min, max);
    }
    for (int64_t c = 0; c < view->channels; c += view->block) {
        const float *block = x + (c / view->block) * view->stride_block;
        int64_t width = view->channels - c < view->block ? view->channels - c : view->block;
        if (width == 1 && view->stride_inner == 1) {
            ordered &= kernels->row(block, view->inner, &min[c], &max[c]);
        } else {
            ordered &= kernels->columns(block, view->inner, view->stride_inner, width, &min[c], &max[c]);
        }
    }
    return ordered;
}

void qn_moments_item(const qn_observe_kernels *kernels, const qn_value_view *view, int64_t item, float lo, double *sum,
                     double *squares)
{
    const float *x = view->data + item * view->stride_n;
    if (view->inner == 1 && view->block == 1 && view->stride_block == 1) {
        kernels->moments_columns(x, 1, view->channels, view->channels, lo, sum, squares);
        return;
    }
    for (int64_t c = 0; c < view->channels; c += view->block) {
        const float *block = x + (c / view->block) * view->stride_block;
        int64_t width = view->channels - c < view->block ? view->channels - c : view->block;
        if (width == 1 && view->stride_inner == 1) {
            kernels->moments_row(block, view->inner, lo, &sum[c], &squares[c]);
        } else {
            kernels->moments_columns(block, view->inner, view->stride_inner, width, lo, &sum[c], &squares[c]);
        }
    }
}

int64_t qn_count_item(const qn_observe_kernels *kernels, const qn_value_view *view, int64_t item,
                      const qn_count_grid *grid)
{
    const float *x = view->data + item * view->stride_n;
    int64_t n_zeros = 0;
    if (view->inner == 1 && view->block == 1 && view->stride_block == 1) {
        return kernels->count(x, view->channels, grid);
    }
    for (int64_t c = 0; c < view->channels; c += view->block) {
        const float *block = x + (c / view->block) * view->stride_block;
        int64_t width = view->channels - c < view->block ? view->channels - c : view->block;
        if (width == view->stride_inner) { /* rows without gaps are one */
            n_zeros += kernels->count(block, width * view->inner, grid);
            continue;
        }
        for (int64_t i = 0; i < view->inner; i++) {
            n_zeros += kernels->count(block + i * view->stride_inner, width, grid);
        }
    }
    return n_zeros;
}
