/* Steps in other arithmetics than the default (doc/spec/arithmetic.md, section 4): sums and codes made one after the
 * other, a row at a time. */
#include "engine/integer/run_requantize.h"

/* One row of the box of a convolution, or of a depthwise one; sums s32[x][k] of the box. */
static void run_sums(const qn_integer_step *step, const qn_conv_job *whole, const qn_box *box, int row, int32_t *sums)
{
    const qn_integer_conv *conv = &step->u.conv;
    const ptrdiff_t channels = box->k1 - box->k0;
    qn_conv_job job = *whole;
    job.accumulators = sums;
    job.accumulator_pixel = channels;
    job.accumulator_row = channels * (box->x1 - box->x0);
    const qn_box one = {row, row + 1, box->x0, box->x1, box->k0, box->k1};
    if (step->kind == QN_STEP_DEPTHWISE) {
        job.box = one;
        conv->requantize->sums(&job);
    } else {
        qn_integer_run_groups(conv, &job, conv->requantize->sums, &one);
    }
}

/* The sum of output channel k of one pixel, saturated after every term: the bias, then products in the order of rows,
 * columns and input channels, or of a matrix's rows. `x` is the window of the group's first channel. */
static int32_t saturating_sum(const qn_integer_step *step, const qn_conv_job *job, const uint8_t *x, int k)
{
    const qn_integer_conv *conv = &step->u.conv;
    const qn_integer_requantize *r = conv->requantize;
    const bool depthwise = step->kind == QN_STEP_DEPTHWISE;
    const int group = depthwise ? 0 : k / conv->group_outputs, within = depthwise ? k : k % conv->group_outputs;
    const void *weights = (const char *)job->weights + (size_t)group * conv->group_bytes;
    const int64_t limit = INT64_C(1) << (r->params.bits - 1);
    const int pixels = conv->kernel[0] * conv->kernel[1], n_terms = pixels * conv->group_inputs;
    int64_t sum = qn_clamp_s64(r->plain_bias[k], -limit, limit - 1);
    for (int i = 0; i < n_terms; i++) {
        const int c = r->by_matrix ? i / pixels : i % conv->group_inputs;
        const int tap = r->by_matrix ? i % pixels : i / conv->group_inputs;
        const int segment = conv->rows_adjoin ? tap / conv->kernel[1] : tap;
        const int j = conv->rows_adjoin ? tap % conv->kernel[1] * conv->group_inputs + c : c;
        const int32_t w = qn_layout_get(&conv->layout, weights, within, segment, j);
        sum = qn_clamp_s64(sum + (int64_t)(x[conv->segment[segment] + j] - r->zero_x) * w, -limit, limit - 1);
    }
    return (int32_t)sum;
}

static void saturating_row(const qn_integer_step *step, const qn_conv_job *job, const qn_box *box, int row,
                           int32_t *sums)
{
    const qn_integer_conv *conv = &step->u.conv;
    for (int column = box->x0; column < box->x1; column++) {
        const uint8_t *x = job->x + row * job->x_row + column * job->x_pixel;
        for (int k = box->k0; k < box->k1; k++) {
            *sums++ = saturating_sum(step, job, x + k / conv->group_outputs * conv->group_inputs, k);
        }
    }
}

static void sums_of_row(const qn_integer_step *step, const qn_conv_job *job, const qn_box *box, int row, int32_t *sums)
{
    if (step->u.conv.requantize->sums != NULL) {
        run_sums(step, job, box, row, sums);
    } else {
        saturating_row(step, job, box, row, sums);
    }
}

void qn_integer_run_requantized(const qn_integer_step *step, const qn_conv_job *job, const qn_box *box, int32_t *sums)
{
    const qn_integer_requantize *r = step->u.conv.requantize;
    const size_t channels = (size_t)(box->k1 - box->k0);
    for (int row = box->y0; row < box->y1; row++) {
        sums_of_row(step, job, box, row, sums);
        uint8_t *y = job->y + row * job->y_row + box->x0 * job->y_pixel + box->k0;
        r->run(y, job->y_pixel, sums, (size_t)(box->x1 - box->x0), channels, &r->params, (size_t)box->k0);
    }
}

/* Steps between elements of a real tensor. */
typedef struct places {
    ptrdiff_t row, pixel, channel;
} places;

static places places_of(const qn_integer_tensor *y)
{
    if (y->plain) {
        return (places){0, y->channels, 1};
    }
    return (places){y->width, 1, (ptrdiff_t)y->height * y->width};
}

static inline float decode_sum(int32_t sum, const qn_integer_requantize *r, int k)
{
    const qn_integer_decode *decode = r->decode;
    float v = (float)qn_wrap_bits(sum, r->params.bits) * decode->scale[k];
    v = decode->bias != NULL ? v + decode->bias[k] : v;
    v = v > decode->lo ? v : decode->lo;
    return v < decode->hi ? v : decode->hi;
}

void qn_integer_run_decoded(const qn_integer_step *step, const qn_conv_job *job, const qn_integer_tensor *y,
                            const qn_box *box, int32_t *sums)
{
    const qn_integer_requantize *r = step->u.conv.requantize;
    const places at = places_of(y);
    float *floats = (float *)(void *)job->y;
    const ptrdiff_t channels = box->k1 - box->k0, columns = box->x1 - box->x0;
    for (int row = box->y0; row < box->y1; row++) {
        sums_of_row(step, job, box, row, sums);
        float *to = floats + row * at.row + box->x0 * at.pixel + box->k0 * at.channel;
        for (ptrdiff_t x = 0; at.channel == 1 && x < columns; x++) {
            for (ptrdiff_t k = 0; k < channels; k++) {
                to[x * at.pixel + k] = decode_sum(sums[x * channels + k], r, box->k0 + (int)k);
            }
        }
        for (ptrdiff_t k = 0; at.channel != 1 && k < channels; k++) {
            for (ptrdiff_t x = 0; x < columns; x++) {
                to[x * at.pixel + k * at.channel] = decode_sum(sums[x * channels + k], r, box->k0 + (int)k);
            }
        }
    }
}

void qn_integer_narrow_sums(const qn_integer_step *step, const qn_conv_job *job, const qn_box *box, int32_t *sums)
{
    const ptrdiff_t per_row = (ptrdiff_t)(box->x1 - box->x0) * (box->k1 - box->k0);
    for (int row = box->y0; row < box->y1; row++) {
        sums_of_row(step, job, box, row, sums);
        for (ptrdiff_t i = 0; i < per_row; i++) {
            sums[i] = qn_wrap_bits(sums[i], step->u.conv.requantize->params.bits);
        }
        sums += per_row;
    }
}

void qn_integer_fixed_add_codes(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n,
                                const qn_integer_fixed_add *add)
{
    int32_t sums[QN_FIXED_ADD_RUN];
    while (n > 0) {
        const size_t some = n < QN_FIXED_ADD_RUN ? n : QN_FIXED_ADD_RUN;
        for (size_t i = 0; i < some; i++) {
            sums[i] =
                add->product ? (a[i] - add->zero[0]) * (b[i] - add->zero[1]) : add->term[0][a[i]] + add->term[1][b[i]];
        }
        add->run(y, 0, sums, 1, some, &add->params, 0);
        y += some, a += some, b += some, n -= some;
    }
}

/* Half away from zero. */
static int32_t divide(int32_t sum, int32_t n)
{
    return (int32_t)((sum > 0 ? (int64_t)sum + n / 2 : (int64_t)sum - n / 2) / n);
}

void qn_integer_fixed_average_codes(uint8_t *y, const qn_pool_window *window, const qn_integer_fixed_average *average,
                                    int32_t divisor, int32_t lo, int32_t hi)
{
    for (int c = 0; c < window->n_channels; c++) {
        int32_t sum = 0;
        for (int row = 0; row < window->rows; row++) {
            for (int column = 0; column < window->columns; column++) {
                int32_t x = window->x[row * window->row + column * window->pixel + c] - average->centre;
                sum = qn_add_wrap_s32(sum, x);
            }
        }
        sum = average->rescales ? qn_ratio_apply(sum, average->ratio, average->how) : sum;
        y[c] = (uint8_t)qn_clamp_s64((int64_t)divide(sum, divisor) + average->zero_point, lo, hi);
    }
}
