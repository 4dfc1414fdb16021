/* Sums of convolutions near golden ones: what changed in the input, times its weights, on top of them. */
#include <string.h>

#include "engine/integer/region.h"

#include "base/arith.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int greatest(int a, int b)
{
    return a > b ? a : b;
}

/* Golden sums of a box, dense. */
static void copy_golden(const qn_region *region, int index, const qn_box *box, int32_t *sums)
{
    const qn_integer_tensor *y = &region->plan->code->tensors[region->plan->code->steps[index].output];
    const int32_t *from = region->golden_sums + region->plan->steps[index].sums;
    const int n = box->k1 - box->k0;
    for (int row = box->y0; row < box->y1; row++) {
        const int32_t *at = from + ((ptrdiff_t)row * y->width + box->x0) * y->channels + box->k0;
        if (n == y->channels) {
            const size_t some = (size_t)(box->x1 - box->x0) * (size_t)n;
            memcpy(sums, at, some * sizeof *sums);
            sums += some;
            continue;
        }
        for (int column = box->x0; column < box->x1; column++, at += y->channels) {
            memcpy(sums, at, (size_t)n * sizeof *sums);
            sums += n;
        }
    }
}

/* The input of a convolution is what it says it is, or a view of as many channels. */
static bool dirty_input(const qn_region *region, int index, qn_box *in)
{
    const qn_integer_code *code = region->plan->code;
    const int input = code->steps[index].input[0], base = region->plan->steps[index].input[0];
    if (!region->is_dirty[base]) {
        *in = (qn_box){0};
        return true;
    }
    *in = region->dirty[base];
    const qn_integer_tensor *x = &code->tensors[input], *b = &code->tensors[base];
    return x->width == b->width && x->channels == b->channels && x->height == b->height;
}

/* Words of four codes that differ from golden, of n. */
static int64_t differing_words(const uint8_t *now, const uint8_t *golden, int n)
{
    int count = 0;
#pragma omp simd reduction(+ : count)
    for (int i = 0; i < n; i++) {
        uint32_t a, b;
        memcpy(&a, now + (ptrdiff_t)i * 4, sizeof a);
        memcpy(&b, golden + (ptrdiff_t)i * 4, sizeof b);
        count += a != b;
    }
    return count;
}

/* Groups of four channels of a box, which has many, in which something differs from golden; about so many. */
static int64_t differing_groups(const qn_region *region, const qn_integer_tensor *x, const qn_box *in)
{
    const bool rows = (in->k1 - in->k0) * 2 > x->channels; /* outside the box nothing differs */
    const int columns = rows ? 1 : in->x1 - in->x0;
    const int n = (rows ? (in->x1 - in->x0) * x->channels : in->k1 - in->k0) / 4;
    int64_t count = 0;
    for (int row = in->y0; row < in->y1; row++) {
        for (int i = 0; i < columns; i++) {
            const size_t at = qn_region_offset(x, (qn_region_place){row, in->x0 + i, rows ? 0 : in->k0});
            count += differing_words(region->run.memory + at, region->golden + at, n);
        }
    }
    return count;
}

/* Costs are in products of one group of four with 16 output channels, of which the step's own kernel, which holds several
 * pixels in registers, does one in a cycle. */
static int64_t whole_cost(const qn_integer_conv *conv, int64_t pixels, int blocks)
{
    return pixels * conv->kernel[0] * conv->kernel[1] * ((conv->group_inputs + 3) / 4) * blocks;
}

/* Kernels that look for what differs at each window: what is added costs four to ten times as much. */
static int64_t searching_cost(const qn_integer_conv *conv, const qn_box *in, int64_t pixels, int blocks, int64_t groups)
{
    const int64_t taps = (int64_t)conv->kernel[0] * conv->kernel[1];
    const int64_t price = 2 + 8 / (blocks < 4 ? blocks : 4);
    return groups * taps * price * blocks / ((int64_t)conv->stride[0] * conv->stride[1]) +
           pixels * taps * (2 + (in->k1 - in->k0) / 32) * blocks;
}

/* Kernels that list it once. A single channel is not listed: its changes are products of four taps. */
static int64_t listing_cost(const qn_integer_conv *conv, const qn_box *in, int64_t pixels, int blocks, int64_t groups)
{
    const int64_t in_pixels = (int64_t)(in->y1 - in->y0) * (in->x1 - in->x0), passes = (blocks + 3) / 4;
    const int64_t taps = (int64_t)conv->kernel[0] * conv->kernel[1];
    if (in->k1 - in->k0 == 1) {
        return pixels * conv->kernel[0] * ((conv->kernel[1] + 3) / 4) * blocks + in_pixels * 6;
    }
    return groups * taps * (blocks + passes) / ((int64_t)conv->stride[0] * conv->stride[1]) +
           pixels * conv->kernel[0] * passes * 4 + groups * 3 + in_pixels * (4 + (in->k1 - in->k0) / 4);
}

/* Where the box is small the groups that differ need not be counted: all of it costs less. */
bool qn_region_prefers_sums(const qn_region *region, int index, const qn_box *box)
{
    enum { ENOUGH = 64 };
    const qn_integer_step *step = &region->plan->code->steps[index];
    const qn_region_step *s = &region->plan->steps[index];
    const qn_integer_conv *conv = &step->u.conv;
    qn_box in;
    if (step->kind == QN_STEP_DEPTHWISE || !s->linear || !dirty_input(region, index, &in)) {
        return false;
    }
    const int64_t pixels = (int64_t)(box->y1 - box->y0) * (box->x1 - box->x0);
    const int blocks = (conv->group_outputs + 15) / 16;
    const int64_t whole = whole_cost(conv, pixels, blocks);
    const int64_t most = (int64_t)(in.y1 - in.y0) * (in.x1 - in.x0) * ((in.k1 - in.k0 + 3) / 4);
    int64_t (*const cost)(const qn_integer_conv *, const qn_box *, int64_t, int, int64_t) =
        s->lists ? listing_cost : searching_cost;
    if (cost(conv, &in, pixels, blocks, most) < whole) {
        return true;
    }
    if (whole < ENOUGH * blocks || in.k1 - in.k0 < 8 || cost(conv, &in, pixels, blocks, 0) >= whole) {
        return false;
    }
    const int64_t groups = differing_groups(region, &region->plan->code->tensors[step->input[0]], &in);
    return cost(conv, &in, pixels, blocks, groups) < whole;
}

/* One job per group that the box meets; `sums` NULL: codes. */
static void run_delta(const qn_region *region, int index, const qn_box *in, const qn_box *box, int32_t *sums)
{
    const qn_integer_step *step = &region->plan->code->steps[index];
    const qn_region_step *s = &region->plan->steps[index];
    const qn_integer_conv *conv = &step->u.conv;
    const qn_integer_tensor *x = &region->plan->code->tensors[step->input[0]];
    const qn_integer_tensor *y = &region->plan->code->tensors[step->output];
    const int outputs = conv->group_outputs, inputs = conv->group_inputs;
    qn_conv_delta_job job = {
        .x_row = x->row,
        .x_pixel = x->pixel,
        .changed = *in,
        .kernel = {conv->kernel[0], conv->kernel[1]},
        .stride = {conv->stride[0], conv->stride[1]},
        .dilation = {conv->dilation[0], conv->dilation[1]},
        .pad = {conv->pad[0], conv->pad[1]},
        .channels = inputs,
        .rows_adjoin = conv->rows_adjoin,
        .layout = conv->layout,
        .accumulator_row = (ptrdiff_t)y->width * y->channels,
        .accumulator_pixel = y->channels,
        .requantize = {NULL, conv->multiplier, conv->zero_point, conv->lo, conv->hi},
        .y_row = y->row,
        .y_pixel = y->pixel,
        .sums_pixel = box->k1 - box->k0,
        .sums_row = (ptrdiff_t)(box->k1 - box->k0) * (box->x1 - box->x0),
        .box = *box,
    };
    for (int g = box->k0 / outputs; g * outputs < box->k1; g++) {
        const int first = g * outputs, first_in = g * inputs;
        job.x_old = region->golden + x->offset + first_in;
        job.x_new = region->run.memory + x->offset + first_in;
        job.changed.k0 = greatest(in->k0 - first_in, 0);
        job.changed.k1 = least(in->k1 - first_in, inputs);
        if (job.changed.k0 >= job.changed.k1) { /* nothing of this group */
            job.changed.k0 = job.changed.k1 = 0;
        }
        job.weights = (const char *)conv->weights + (size_t)g * conv->group_bytes;
        job.accumulators = region->golden_sums + s->sums + first;
        job.requantize.multiplier = conv->multiplier + (size_t)g * conv->group_entries;
        job.y = region->run.memory + y->offset + first;
        job.box.k0 = greatest(box->k0 - first, 0);
        job.box.k1 = least(box->k1 - first, outputs);
        job.sums = sums != NULL ? sums + first + job.box.k0 - box->k0 : NULL;
        s->delta(&job);
    }
}

void qn_region_sums(const qn_region *region, int index, const qn_box *box, int32_t *sums)
{
    qn_box in;
    const bool seen = dirty_input(region, index, &in);
    if (region->plan->steps[index].linear && seen && qn_box_is_empty(&in)) {
        copy_golden(region, index, box, sums);
    } else if (seen && qn_region_prefers_sums(region, index, box)) {
        run_delta(region, index, &in, box, sums);
    } else {
        qn_integer_accumulators(&region->run, index, box, sums);
    }
}

void qn_region_add_changes(qn_region *region, int index, const qn_box *box)
{
    qn_box in;
    (void)dirty_input(region, index, &in);
    if (region->plan->code->steps[index].u.conv.requantize == NULL) {
        run_delta(region, index, &in, box, NULL);
        return;
    }
    run_delta(region, index, &in, box, region->sums);
    qn_region_finish_sums(region, index, &region->plan->steps[index].finish, box, region->sums);
}

static float decode(int32_t sum, const qn_region_finish *f, int k)
{
    float v = (float)qn_wrap_bits(sum, f->params.bits) * f->scale[k];
    v = f->bias != NULL ? v + f->bias[k] : v;
    v = v > f->low ? v : f->low;
    return v < f->high ? v : f->high;
}

static void finish_reals(qn_region *region, const qn_integer_tensor *y, const qn_region_finish *f, const qn_box *box,
                         const int32_t *sums)
{
    for (int row = box->y0; row < box->y1; row++) {
        for (int column = box->x0; column < box->x1; column++) {
            for (int k = box->k0; k < box->k1; k++) {
                const float v = decode(*sums++, f, k);
                memcpy(region->run.memory + qn_region_offset(y, (qn_region_place){row, column, k}), &v, sizeof v);
            }
        }
    }
}

void qn_region_finish_sums(qn_region *region, int index, const qn_region_finish *f, const qn_box *box,
                           const int32_t *sums)
{
    const qn_integer_tensor *y = &region->plan->code->tensors[region->plan->code->steps[index].output];
    if (f->decodes) {
        finish_reals(region, y, f, box, sums);
        return;
    }
    const int n = box->k1 - box->k0, columns = box->x1 - box->x0;
    for (int row = box->y0; row < box->y1; row++) {
        uint8_t *to = region->run.memory + qn_region_offset(y, (qn_region_place){row, box->x0, box->k0});
        if (n == 1) { /* vectors run over channels */
            for (int column = 0; column < columns; column++) {
                to[column * y->pixel] = qn_requantize_one(sums[column], &f->params, (size_t)box->k0);
            }
        } else {
            f->run(to, y->pixel, sums, (size_t)columns, (size_t)n, &f->params, (size_t)box->k0);
        }
        sums += (ptrdiff_t)columns * n;
    }
}
