/* Differences followed through the steps that are left. */
#include <math.h>
#include <string.h>

#include "fault/margin_inside.h"

static const float UP = 1 + 0x1p-9f; /* more than sums of 4096 floats lose by rounding */

/* The box of a tensor that differs; its readers become pending. */
static void see_box(qn_margin *margin, int tensor, const qn_box *box)
{
    const qn_region_plan *plan = margin->plan->region;
    if (!margin->live[tensor]) {
        margin->live[tensor] = true;
        margin->box[tensor] = *box;
        margin->touched[margin->n_touched++] = tensor;
    } else {
        margin->box[tensor] = qn_box_join(&margin->box[tensor], box);
    }
    for (int i = plan->reader_first[tensor]; i < plan->reader_first[tensor + 1]; i++) {
        margin->pending[plan->readers[i] / 64] |= UINT64_C(1) << (plan->readers[i] % 64);
    }
}

void qn_margin_touch(qn_margin *margin, int tensor, const qn_box *box)
{
    if (!margin->live[tensor]) {
        const size_t first = margin->plan->first_channel[tensor];
        const size_t n = (size_t)margin->plan->region->code->tensors[tensor].channels;
        memset(margin->total + first, 0, n * sizeof *margin->total);
        memset(margin->most + first, 0, n * sizeof *margin->most);
    }
    see_box(margin, tensor, box);
}

/* Nothing is live any more. */
static void forget(qn_margin *margin)
{
    for (int i = 0; i < margin->n_touched; i++) {
        margin->live[margin->touched[i]] = false;
    }
    margin->n_touched = 0;
}

/* Outputs of one axis whose windows see inputs first..end - 1. */
static void reach(int *first, int *end, int kernel, int stride, int dilation, int pad, int n)
{
    const int64_t from = (int64_t)*first + pad - (int64_t)(kernel - 1) * dilation, to = (int64_t)*end - 1 + pad;
    const int64_t low = from <= 0 ? 0 : (from + stride - 1) / stride, high = to < 0 ? 0 : to / stride + 1;
    *first = (int)(low < n ? low : n);
    *end = (int)(high < n ? high : n);
}

static void reach_windows(qn_box *box, const int *kernel, const int *stride, const int *dilation, const int *pad,
                          const qn_integer_tensor *y)
{
    reach(&box->y0, &box->y1, kernel[0], stride[0], dilation[0], pad[0], y->height);
    reach(&box->x0, &box->x1, kernel[1], stride[1], dilation[1], pad[1], y->width);
}

/* The part of a step's output that a box of operand i reaches. */
static qn_box reach_step(const qn_region_plan *plan, int index, int i, const qn_box *in)
{
    const qn_integer_step *step = &plan->code->steps[index];
    const qn_integer_tensor *x = &plan->code->tensors[step->input[i]], *y = &plan->code->tensors[step->output];
    const qn_integer_tensor *base = &plan->code->tensors[plan->steps[index].input[i]];
    const qn_integer_conv *conv = &step->u.conv;
    const qn_box all = {0, y->height, 0, y->width, 0, y->channels};
    qn_box box = *in;
    if (x->height != base->height || x->width != base->width) {
        box = (qn_box){0, x->height, 0, x->width, in->k0, in->k1};
    }
    switch (step->kind) {
    case QN_STEP_CONV:
    case QN_STEP_DEPTHWISE:
        reach_windows(&box, conv->kernel, conv->stride, conv->dilation, conv->pad, y);
        box.k0 = box.k0 / conv->group_inputs * conv->group_outputs;
        box.k1 = ((box.k1 - 1) / conv->group_inputs + 1) * conv->group_outputs;
        return box;
    case QN_STEP_POOL:
        reach_windows(&box, step->u.pool.kernel, step->u.pool.stride, step->u.pool.dilation, step->u.pool.pad, y);
        return box;
    case QN_STEP_ADD:
        if (x->height != y->height || x->width != y->width) {
            return (qn_box){0, y->height, 0, y->width, box.k0, box.k1};
        }
        return box;
    case QN_STEP_LOOKUP: /* channels are those of the input until they are put */
        box.y0 += step->u.lookup.y, box.y1 += step->u.lookup.y;
        box.x0 += step->u.lookup.x, box.x1 += step->u.lookup.x;
        return box;
    default:
        return all;
    }
}

/* Sums of products: x_total, x_most of the output channels that inputs first..end - 1 reach. */
static void gain_conv(const qn_margin *margin, int index, size_t from, int first, int end)
{
    const qn_integer_conv *conv = &margin->plan->region->code->steps[index].u.conv;
    const qn_margin_step *s = &margin->plan->steps[index];
    const qn_margin_lanes *lanes = margin->plan->lanes;
    const float *total = margin->total + from, *most = margin->most + from;
    if (conv->group_outputs == 1 && conv->group_inputs == 1) {
        lanes->each(margin->x_total + first, margin->x_most + first, s->total + first, s->most + first, total + first,
                    most + first, end - first);
    }
    for (int g = first / conv->group_inputs;
         conv->group_inputs * conv->group_outputs > 1 && g * conv->group_inputs < end; g++) {
        const int c0 = g * conv->group_inputs > first ? g * conv->group_inputs : first;
        const int c1 = (g + 1) * conv->group_inputs < end ? (g + 1) * conv->group_inputs : end;
        memset(margin->group_total, 0, (size_t)s->width * sizeof *margin->group_total);
        memset(margin->group_most, 0, (size_t)s->width * sizeof *margin->group_most);
        const float *gain = s->total + (size_t)c0 * (size_t)s->width,
                    *most_gain = s->most + (size_t)c0 * (size_t)s->width;
        if (s->width == 1) {
            for (int c = c0; c < c1; c++) {
                margin->group_total[0] += total[c] * gain[c - c0];
                margin->group_most[0] += most[c] * most_gain[c - c0];
            }
        } else {
            lanes->products(margin->group_total, margin->group_most, gain, most_gain, total + c0, most + c0, c1 - c0,
                            s->width);
        }
        memcpy(margin->x_total + (ptrdiff_t)g * conv->group_outputs, margin->group_total,
               (size_t)conv->group_outputs * sizeof(float));
        memcpy(margin->x_most + (ptrdiff_t)g * conv->group_outputs, margin->group_most,
               (size_t)conv->group_outputs * sizeof(float));
    }
    const int k0 = first / conv->group_inputs * conv->group_outputs;
    const int k1 = ((end - 1) / conv->group_inputs + 1) * conv->group_outputs;
#pragma omp simd
    for (int k = k0; k < k1; k++) {
        margin->x_total[k] *= UP;
        margin->x_most[k] *= UP;
    }
}

/* The same of steps that act on each channel, one operand. */
static void gain_channels(const qn_margin *margin, const qn_margin_step *s, int i, size_t from, int first, int end)
{
    const float gain = s->gain[i] * UP, most_gain = s->most_gain[i] * UP;
#pragma omp simd
    for (int k = first; k < end; k++) {
        margin->x_total[k] += margin->total[from + (size_t)k] * gain;
        margin->x_most[k] += margin->most[from + (size_t)k] * most_gain;
    }
}

static void gain_gather(const qn_margin *margin, const qn_margin_step *s, size_t from, int n)
{
    for (int k = 0; k < n; k++) {
        for (int32_t i = s->from_first[k]; i < s->from_first[k + 1]; i++) {
            const float most = margin->most[from + (size_t)s->from[i]];
            margin->x_total[k] += margin->total[from + (size_t)s->from[i]] * UP;
            margin->x_most[k] = most > margin->x_most[k] ? most : margin->x_most[k];
        }
    }
}

/* An output of the program: the greatest change of one that counts. */
static double take_output(const qn_margin *margin, int index, int base)
{
    const qn_margin_plan *plan = margin->plan;
    const qn_integer_step *step = &plan->region->code->steps[index];
    const qn_margin_step *s = &plan->steps[index];
    const size_t from = plan->first_channel[base];
    double most = 0;
    if (plan->region->output_first[step->io] >= plan->n_outputs) {
        return 0;
    }
    for (int k = margin->box[base].k0; k < margin->box[base].k1; k++) {
        const float change = margin->most[from + (size_t)k];
        const double out = change > 0 ? change * s->most_gain[0] * UP + (s->slack != NULL ? s->slack[k] : 0) : 0;
        most = out > most ? out : most;
    }
    return most;
}

/* What changes of the output, in channels and pixels of the box; false when nothing. */
static bool give_output(qn_margin *margin, int index, const qn_box *box)
{
    const qn_margin_plan *plan = margin->plan;
    const qn_margin_step *s = &plan->steps[index];
    const int pixels = (box->y1 - box->y0) * (box->x1 - box->x0);
    bool any = false;
    if (s->rounds && margin->region != NULL && margin->made[index] != margin->image) {
        qn_margin_see(margin, index);
    }
    if (s->rounds) {
        const qn_margin_seen seen = qn_margin_seen_of(margin->region != NULL ? &margin->own : &plan->usual, s);
        const qn_margin_moved moved = {margin->x_total, margin->x_most, margin->extra, box->k0, box->k1};
        const int n = plan->region->code->tensors[plan->region->code->steps[index].output].channels;
        return plan->lanes->round(&moved, &seen, n, pixels, s->range, s->most_extra);
    }
    for (int k = box->k0; k < box->k1; k++) {
        if (s->decodes && margin->x_most[k] > 0) {
            margin->x_most[k] += s->slack[k];
            margin->x_total[k] += s->slack[k] * (float)pixels;
        }
        any |= margin->x_most[k] > 0;
    }
    return any;
}

/* Results of a step go to its output tensor, of Concat's parts to a part of it. */
static void put_output(qn_margin *margin, int index, const qn_box *box)
{
    const qn_integer_step *step = &margin->plan->region->code->steps[index];
    const int tensor = margin->plan->region->steps[index].output;
    const int offset = step->kind == QN_STEP_LOOKUP ? step->u.lookup.k : 0;
    const qn_box to = {box->y0, box->y1, box->x0, box->x1, box->k0 + offset, box->k1 + offset};
    qn_margin_touch(margin, tensor, &to);
    const size_t first = margin->plan->first_channel[tensor] + (size_t)offset;
#pragma omp simd
    for (int k = box->k0; k < box->k1; k++) {
        margin->total[first + (size_t)k] += margin->x_total[k];
        margin->most[first + (size_t)k] += margin->x_most[k];
    }
}

/* One step; false where there is no bound. */
static bool follow_step(qn_margin *margin, int index, double *bound)
{
    const qn_margin_plan *plan = margin->plan;
    const qn_integer_step *step = &plan->region->code->steps[index];
    const qn_region_step *r = &plan->region->steps[index];
    const qn_margin_step *s = &plan->steps[index];
    const int n_inputs = step->kind == QN_STEP_ADD ? 2 : 1;
    if (!s->known) {
        return false;
    }
    if (step->output < 0) {
        const double out = take_output(margin, index, r->input[0]);
        *bound = out > *bound ? out : *bound;
        return true;
    }
    qn_box box = {0};
    for (int i = 0; i < n_inputs; i++) {
        if (margin->live[r->input[i]]) {
            const qn_box one = reach_step(plan->region, index, i, &margin->box[r->input[i]]);
            box = qn_box_join(&box, &one);
        }
    }
    if (qn_box_is_empty(&box)) {
        return true;
    }
    memset(margin->x_total + box.k0, 0, (size_t)(box.k1 - box.k0) * sizeof *margin->x_total);
    memset(margin->x_most + box.k0, 0, (size_t)(box.k1 - box.k0) * sizeof *margin->x_most);
    for (int i = 0; i < n_inputs; i++) {
        const int base = r->input[i], k0 = margin->box[base].k0, k1 = margin->box[base].k1;
        const size_t from = plan->first_channel[base];
        if (!margin->live[base]) {
            continue;
        }
        if (qn_margin_is_conv(step)) {
            gain_conv(margin, index, from, k0, k1);
        } else if (step->kind == QN_STEP_GATHER) {
            gain_gather(margin, s, from, box.k1);
        } else {
            gain_channels(margin, s, i, from, k0, k1);
        }
    }
    if (give_output(margin, index, &box)) {
        put_output(margin, index, &box);
    }
    return true;
}

double qn_margin_follow(qn_margin *margin)
{
    double bound = 0;
    bool known = true;
    for (int word = 0; word < margin->n_words; word++) {
        while (margin->pending[word] != 0) {
            const int index = word * 64 + __builtin_ctzll(margin->pending[word]);
            margin->pending[word] &= margin->pending[word] - 1;
            known = known && follow_step(margin, index, &bound);
        }
    }
    forget(margin);
    return known ? bound : INFINITY;
}

/* What of a tensor differs, to begin with. */
static void measure(qn_margin *margin, int tensor)
{
    const qn_region *region = margin->region;
    const qn_integer_tensor *t = &region->plan->code->tensors[tensor];
    const qn_box *box = &region->dirty[tensor];
    const int n = box->k1 - box->k0;
    qn_margin_touch(margin, tensor, box);
    memset(margin->differences, 0, (size_t)n * sizeof *margin->differences);
    memset(margin->greatest, 0, (size_t)n);
    for (int y = box->y0; y < box->y1; y++) {
        const size_t at = qn_region_offset(t, (qn_region_place){y, box->x0, box->k0});
        margin->plan->lanes->differences(margin->differences, margin->greatest, region->run.memory + at,
                                         region->golden + at, n, box->x1 - box->x0, t->pixel);
    }
    const size_t to = margin->plan->first_channel[tensor] + (size_t)box->k0;
    for (int k = 0; k < n; k++) {
        margin->total[to + (size_t)k] = (float)margin->differences[k];
        margin->most[to + (size_t)k] = margin->greatest[k];
    }
}

/* Is anything to run yet that reads the tensor? */
static bool is_awaited(const qn_region *region, int tensor)
{
    const qn_region_plan *plan = region->plan;
    for (int i = plan->reader_first[tensor]; i < plan->reader_first[tensor + 1]; i++) {
        if ((region->pending[plan->readers[i] / 64] >> (plan->readers[i] % 64) & 1) != 0) {
            return true;
        }
    }
    return false;
}

/* Do differences of a channel not fit an s32 in sum? */
static bool is_too_large(const qn_box *box)
{
    return (int64_t)(box->y1 - box->y0) * (box->x1 - box->x0) > INT32_MAX / 255;
}

/* Convolutions add what changed to golden sums, where few channels did; a product so costs about as much as four. */
static double share_of(const qn_margin *margin, int index, const qn_box *in)
{
    const qn_region_plan *plan = margin->plan->region;
    const double channels = plan->code->tensors[plan->steps[index].input[0]].channels;
    const double share = 4 * (in->k1 - in->k0) / channels;
    return plan->steps[index].linear && share < 1 ? share : 1;
}

/* Multiplications of what is pending, each step over what boxes reach; boxes are all that is followed. */
double qn_margin_work(qn_margin *margin)
{
    const qn_region *region = margin->region;
    const qn_region_plan *plan = region->plan;
    double work = 0;
    for (int i = 0; i < region->n_dirty; i++) {
        if (is_awaited(region, region->dirty_list[i])) {
            see_box(margin, region->dirty_list[i], &region->dirty[region->dirty_list[i]]);
        }
    }
    memcpy(margin->pending, region->pending, (size_t)margin->n_words * sizeof *margin->pending);
    for (int word = 0; word < margin->n_words; word++) {
        while (margin->pending[word] != 0) {
            const int index = word * 64 + __builtin_ctzll(margin->pending[word]);
            margin->pending[word] &= margin->pending[word] - 1;
            const qn_integer_step *step = &plan->code->steps[index];
            const bool product = step->kind == QN_STEP_ROWS && step->input[1] >= 0;
            const int n_inputs = step->kind == QN_STEP_ISLAND ? 0 : step->kind == QN_STEP_ADD || product ? 2 : 1;
            double share = 0;
            qn_box box = {0};
            for (int i = 0; step->output >= 0 && i < n_inputs; i++) {
                if (margin->live[plan->steps[index].input[i]]) {
                    const qn_box one = reach_step(plan, index, i, &margin->box[plan->steps[index].input[i]]);
                    box = qn_box_join(&box, &one);
                    share += share_of(margin, index, &margin->box[plan->steps[index].input[i]]);
                }
            }
            if (qn_box_is_empty(&box)) {
                continue;
            }
            const int64_t pixels = (int64_t)(box.y1 - box.y0) * (box.x1 - box.x0);
            work += (double)pixels * margin->plan->price[index] * share;
            const int offset = step->kind == QN_STEP_LOOKUP ? step->u.lookup.k : 0;
            box.k0 += offset, box.k1 += offset;
            see_box(margin, plan->steps[index].output, &box);
        }
    }
    forget(margin);
    return work;
}

double qn_margin_bound(qn_margin *margin)
{
    const qn_region *region = margin->region;
    if (region->outputs_differ) { /* by what, is not looked at */
        return INFINITY;
    }
    for (int i = 0; i < region->n_dirty; i++) {
        const int tensor = region->dirty_list[i];
        const bool hopeless = !(margin->plan->typical[tensor] <= margin->allowance);
        if (is_awaited(region, tensor) && (hopeless || is_too_large(&region->dirty[tensor]))) {
            return INFINITY;
        }
    }
    for (int i = 0; i < region->n_dirty; i++) {
        const int tensor = region->dirty_list[i];
        if (is_awaited(region, tensor)) {
            measure(margin, tensor);
        }
    }
    memcpy(margin->pending, region->pending, (size_t)margin->n_words * sizeof *margin->pending);
    return qn_margin_follow(margin);
}
