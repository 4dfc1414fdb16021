/* Convolutions after a change of their input or of one weight, in portable C: the definition of every other. */
#include "base/arith.h"
#include "engine/integer/kernels/kernels.h"

/* What changed rows, columns and channels add to one sum. */
static int32_t changed_sum(const qn_conv_delta_job *job, int row, int column, int k)
{
    int32_t sum = 0;
    for (int r = 0; r < job->kernel[0]; r++) {
        const int y = row * job->stride[0] - job->pad[0] + r * job->dilation[0];
        for (int s = 0; s < job->kernel[1]; s++) {
            const int x = column * job->stride[1] - job->pad[1] + s * job->dilation[1];
            if (y < job->changed.y0 || y >= job->changed.y1 || x < job->changed.x0 || x >= job->changed.x1) {
                continue;
            }
            const int segment = job->rows_adjoin ? r : r * job->kernel[1] + s;
            const int first = job->rows_adjoin ? s * job->channels : 0;
            for (int c = job->changed.k0; c < job->changed.k1; c++) {
                const ptrdiff_t at = y * job->x_row + x * job->x_pixel + c;
                const int32_t w = qn_layout_get(&job->layout, job->weights, k, segment, first + c);
                sum = qn_add_wrap_s32(sum, (job->x_new[at] - job->x_old[at]) * w);
            }
        }
    }
    return sum;
}

void qn_conv_delta_reference(const qn_conv_delta_job *job)
{
    const qn_box *box = &job->box;
    const qn_requantize *r = &job->requantize;
    for (int row = box->y0; row < box->y1; row++) {
        for (int column = box->x0; column < box->x1; column++) {
            const int32_t *before = job->accumulators + row * job->accumulator_row + column * job->accumulator_pixel;
            for (int k = box->k0; k < box->k1; k++) {
                const int32_t sum = qn_add_wrap_s32(before[k], changed_sum(job, row, column, k));
                if (job->sums != NULL) {
                    job->sums[(row - box->y0) * job->sums_row + (column - box->x0) * job->sums_pixel + k - box->k0] =
                        sum;
                } else {
                    job->y[row * job->y_row + column * job->y_pixel + k] =
                        (uint8_t)qn_round_clamp((float)sum * r->multiplier[k], r->zero_point, r->lo, r->hi);
                }
            }
        }
    }
}

/* Outputs first..last (half open) of one axis whose windows may meet inputs a..b; dilated windows may jump over them. */
static bool reach(const qn_conv_delta_job *job, int axis, int a, int b, int size, int *first, int *last)
{
    const int stride = job->stride[axis], end = (job->kernel[axis] - 1) * job->dilation[axis];
    const int from = a + job->pad[axis] - end, to = b - 1 + job->pad[axis];
    *first = from <= 0 ? 0 : (from + stride - 1) / stride;
    *last = to < 0 ? 0 : to / stride + 1;
    *last = *last < size ? *last : size;
    return *first < *last;
}

bool qn_conv_delta_reach(const qn_conv_delta_job *job, int height, int width, qn_box *box)
{
    return reach(job, 0, job->changed.y0, job->changed.y1, height, &box->y0, &box->y1) &&
           reach(job, 1, job->changed.x0, job->changed.x1, width, &box->x0, &box->x1);
}

static uint8_t code_of_sum(const qn_weight_delta_job *job, int32_t sum)
{
    return (uint8_t)qn_round_clamp((float)sum * job->multiplier, job->zero_point, job->lo, job->hi);
}

qn_weight_delta_result qn_weight_delta_reference(const qn_weight_delta_job *job)
{
    qn_weight_delta_result result = {.box = {job->height, 0, job->width, 0, 0, 1}};
    for (int y = 0; y < job->height; y++) {
        for (int x = 0; x < job->width; x++) {
            const int32_t code = job->x[y * job->x_row + x * job->x_pixel] - job->zero_x;
            const int32_t before = job->accumulators[y * job->accumulator_row + x * job->accumulator_pixel];
            const int32_t sum = qn_add_wrap_s32(before, qn_mul_wrap_s32(job->delta, code));
            bool differs = code != 0 && job->delta != 0;
            result.active |= code != 0;
            if (job->sums != NULL) {
                job->sums[(ptrdiff_t)y * job->width + x] = sum;
            } else {
                differs = code_of_sum(job, sum) != code_of_sum(job, before);
                job->y[y * job->y_row + x * job->y_pixel] = code_of_sum(job, sum);
            }
            if (differs) {
                qn_box *box = &result.box;
                box->y0 = y < box->y0 ? y : box->y0, box->y1 = y + 1;
                box->x0 = x < box->x0 ? x : box->x0, box->x1 = x + 1 > box->x1 ? x + 1 : box->x1;
                result.differs = true;
            }
        }
    }
    return result;
}
