/* Thresholds: how far golden reals are from being rounded to other codes, of one image. */
#include <math.h>
#include <string.h>

#include "fault/margin_inside.h"

/* Reals of one pixel's channels, in codes of the result, zero point included; before clamps. */
typedef void real_fn(const qn_margin *margin, int step, int y, int x, double *reals);

static const uint8_t *code_at(const qn_region *region, const qn_integer_tensor *t, int y, int x)
{
    return region->golden + qn_region_offset(t, (qn_region_place){y, x, 0});
}

static void reals_of_conv(const qn_margin *margin, int index, int y, int x, double *reals)
{
    const qn_region *region = margin->region;
    const qn_region_step *s = &region->plan->steps[index];
    const qn_integer_tensor *t = &region->plan->code->tensors[region->plan->code->steps[index].output];
    const int32_t *sums = region->golden_sums + s->sums + ((ptrdiff_t)y * t->width + x) * t->channels;
    for (int k = 0; k < t->channels; k++) {
        reals[k] = sums[k] * qn_margin_ratio(&s->finish.params, k) + s->finish.params.zero_point;
    }
}

static void reals_of_add(const qn_margin *margin, int index, int y, int x, double *reals)
{
    const qn_region *region = margin->region;
    const qn_integer_code *code = region->plan->code;
    const qn_integer_add *add = &code->steps[index].u.add;
    const uint8_t *from[2];
    for (int i = 0; i < 2; i++) {
        const qn_integer_tensor *t = &code->tensors[code->steps[index].input[i]];
        from[i] = region->golden + t->offset + y * add->row[i] + x * add->pixel[i];
    }
    const int n = code->tensors[code->steps[index].output].channels;
    const qn_add_params *p = &add->params;
    const qn_kernel_op op = code->steps[index].kernel->op;
    const double scale = op == QN_KERNEL_SUB ? (double)p->scale : 1, sign = op == QN_KERNEL_SUB ? -1 : 1;
    if (op == QN_KERNEL_MUL) {
        const double ratio = add->fixed != NULL ? qn_margin_ratio(&add->fixed->params, 0) : (double)p->ratio_a;
        for (int k = 0; k < n; k++) {
            reals[k] = (double)(from[0][k] - p->zero_a) * (from[1][k] - p->zero_b) * ratio + p->zero_point;
        }
        return;
    }
    for (int k = 0; k < n && add->fixed == NULL; k++) {
        reals[k] = ((double)(from[0][k] - p->zero_a) * (double)p->ratio_a +
                    sign * (from[1][k] - p->zero_b) * (double)p->ratio_b) /
                       scale +
                   p->zero_point;
    }
    for (int k = 0; k < n && add->fixed != NULL; k++) {
        const double sum = (double)add->fixed->term[0][from[0][k]] + add->fixed->term[1][from[1][k]];
        reals[k] = sum * qn_margin_ratio(&add->fixed->params, 0) + add->fixed->params.zero_point;
    }
}

static void reals_of_average(const qn_margin *margin, int index, int y, int x, double *reals)
{
    const qn_region *region = margin->region;
    const qn_integer_step *step = &region->plan->code->steps[index];
    const qn_integer_pool *pool = &step->u.pool;
    const qn_integer_tensor *t = &region->plan->code->tensors[step->input[0]];
    const int32_t zero = pool->fixed != NULL ? pool->fixed->centre : pool->params.zero_x;
    int n = 0;
    memset(reals, 0, (size_t)t->channels * sizeof *reals);
    for (int r = 0; r < pool->kernel[0]; r++) {
        const int row = y * pool->stride[0] - pool->pad[0] + r * pool->dilation[0];
        for (int s = 0; row >= 0 && row < t->height && s < pool->kernel[1]; s++) {
            const int column = x * pool->stride[1] - pool->pad[1] + s * pool->dilation[1];
            if (column < 0 || column >= t->width) {
                continue;
            }
            const uint8_t *from = code_at(region, t, row, column);
            n++;
            for (int k = 0; k < t->channels; k++) {
                reals[k] += from[k] - zero;
            }
        }
    }
    double gain = (double)pool->params.scale_x / (double)pool->params.scale_y;
    int32_t zero_y = pool->params.zero_point;
    if (pool->fixed != NULL) {
        gain = pool->fixed->rescales ? ldexp(pool->fixed->ratio.multiplier, -pool->fixed->ratio.shift) : 1;
        zero_y = pool->fixed->zero_point;
    }
    gain /= pool->divisor != 0 ? (double)pool->divisor : n;
    for (int k = 0; k < t->channels; k++) {
        reals[k] = reals[k] * gain + zero_y;
    }
}

/* By how much the real has to move before the code does. At a clamp only one way leads on, and from beyond it
 * further. */
static double threshold_of(double real, int code, int lo, int hi, double error)
{
    if (lo >= hi) {
        return INFINITY;
    }
    if (code <= lo) {
        return lo + 1 - error - real;
    }
    if (code >= hi) {
        return real - (hi - 1) - error;
    }
    return 1 - error - fabs(real - code);
}

static void clamps_of(const qn_region_plan *plan, int index, int32_t *lo, int32_t *hi)
{
    const qn_integer_step *step = &plan->code->steps[index];
    const qn_integer_fixed_add *fixed = step->kind == QN_STEP_ADD ? step->u.add.fixed : NULL;
    if (qn_margin_is_conv(step)) {
        *lo = plan->steps[index].finish.params.lo, *hi = plan->steps[index].finish.params.hi;
    } else if (step->kind == QN_STEP_POOL) {
        *lo = step->u.pool.params.lo, *hi = step->u.pool.params.hi;
    } else {
        *lo = fixed != NULL ? fixed->params.lo : step->u.add.params.lo;
        *hi = fixed != NULL ? fixed->params.hi : step->u.add.params.hi;
    }
}

void qn_margin_sum_bins(const qn_margin_seen *seen, int k, int n, const double count[QN_MARGIN_BINS],
                        const double sum[QN_MARGIN_BINS], const double positive[QN_MARGIN_BINS])
{
    double c = 0, t = 0, p = 0;
    for (int bin = 0; bin < QN_MARGIN_BINS; bin++) {
        const double edge = (double)qn_margin_edges[bin];
        c += count[bin], t += sum[bin], p += positive[bin];
        const double all = c - t, free = all - (1 - edge) / edge * p;
        seen->all[(ptrdiff_t)bin * n + k] = qn_margin_up(all > 0 ? all : 0);
        seen->free[(ptrdiff_t)bin * n + k] = qn_margin_up(free > 0 ? free : 0) + 1e-6f;
    }
}

/* The bin of a threshold below 1: the first whose edge is above. */
static int bin_of(double t)
{
    static const uint8_t bins[64] = {0,  1,  2,  3,  4,  4,  5,  5,  6,  6,  6,  6,  7,  7,  7,  7,
                                     8,  8,  8,  8,  9,  9,  9,  9,  10, 10, 10, 10, 11, 11, 11, 11,
                                     12, 12, 12, 12, 12, 12, 12, 12, 13, 13, 13, 13, 13, 13, 13, 13,
                                     14, 14, 14, 14, 14, 14, 14, 14, 15, 15, 15, 15, 15, 15, 15, 15};
    return t <= 0 ? 0 : bins[(int)(t * 64)];
}

void qn_margin_see(qn_margin *margin, int index)
{
    const qn_region *region = margin->region;
    const qn_integer_step *step = &region->plan->code->steps[index];
    const qn_integer_tensor *y = &region->plan->code->tensors[step->output];
    const qn_margin_step *s = &margin->plan->steps[index];
    real_fn *real = qn_margin_is_conv(step)     ? reals_of_conv
                    : step->kind == QN_STEP_ADD ? reals_of_add
                                                : reals_of_average;
    const qn_margin_seen seen = qn_margin_seen_of(&margin->own, s);
    const size_t n = (size_t)y->channels * QN_MARGIN_BINS;
    double *count = margin->sums, *sum = count + n, *positive = sum + n; /* [channel][bin] */
    int32_t lo, hi;
    clamps_of(region->plan, index, &lo, &hi);
    memset(count, 0, 3 * n * sizeof *count);
    for (int k = 0; k < y->channels; k++) {
        seen.least[k] = INFINITY;
    }
    for (int row = 0; row < y->height; row++) {
        for (int column = 0; column < y->width; column++) {
            const uint8_t *codes = code_at(region, y, row, column);
            real(margin, index, row, column, margin->reals);
            for (int k = 0; k < y->channels; k++) {
                const double t = threshold_of(margin->reals[k], codes[k], lo, hi, s->error);
                if (t < 1) {
                    const size_t at = (size_t)k * QN_MARGIN_BINS + (size_t)bin_of(t);
                    count[at] += 1;
                    sum[at] += t;
                    positive[at] += t > 0 ? t : 0;
                }
                seen.least[k] = (float)t < seen.least[k] ? (float)t : seen.least[k];
            }
        }
    }
    for (int k = 0; k < y->channels; k++) {
        const size_t at = (size_t)k * QN_MARGIN_BINS;
        seen.least[k] -= 1e-5f + 1e-6f * fabsf(seen.least[k]);
        qn_margin_sum_bins(&seen, k, y->channels, count + at, sum + at, positive + at);
    }
    margin->made[index] = margin->image;
}
