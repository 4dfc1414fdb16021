/* Differences followed through the steps that are left. */
#include <math.h>
#include <string.h>

#include "fault/margin_inside.h"

static const float UP = 1 + 0x1p-9f; /* more than sums of 4096 floats lose by rounding */

static int least_of(int a, int b)
{
    return a < b ? a : b;
}

void qn_margin_touch(qn_margin *margin, int tensor, const qn_box *box)
{
    const qn_region_plan *plan = margin->plan->region;
    if (!margin->live[tensor]) {
        const size_t first = margin->plan->first_channel[tensor], n = (size_t)plan->code->tensors[tensor].channels;
        memset(margin->total + first, 0, n * sizeof *margin->total);
        memset(margin->most + first, 0, n * sizeof *margin->most);
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

/* The pixels of a step's output that a box of operand i reaches. */
static qn_box reach_step(const qn_region_plan *plan, int index, int i, const qn_box *in)
{
    const qn_integer_step *step = &plan->code->steps[index];
    const qn_integer_tensor *x = &plan->code->tensors[step->input[i]], *y = &plan->code->tensors[step->output];
    const qn_integer_tensor *base = &plan->code->tensors[plan->steps[index].input[i]];
    qn_box box = {0, y->height, 0, y->width, 0, y->channels}, from = *in;
    if (x->height != base->height || x->width != base->width) {
        from = (qn_box){0, x->height, 0, x->width, 0, x->channels};
    }
    switch (step->kind) {
    case QN_STEP_CONV:
    case QN_STEP_DEPTHWISE:
        reach_windows(&from, step->u.conv.kernel, step->u.conv.stride, step->u.conv.dilation, step->u.conv.pad, y);
        break;
    case QN_STEP_POOL:
        reach_windows(&from, step->u.pool.kernel, step->u.pool.stride, step->u.pool.dilation, step->u.pool.pad, y);
        break;
    case QN_STEP_ADD:
        if (x->height != y->height || x->width != y->width) {
            return box;
        }
        break;
    case QN_STEP_LOOKUP:
        from.y0 += step->u.lookup.y, from.y1 += step->u.lookup.y;
        from.x0 += step->u.lookup.x, from.x1 += step->u.lookup.x;
        break;
    default:
        return box;
    }
    box.y0 = from.y0, box.y1 = from.y1, box.x0 = from.x0, box.x1 = from.x1;
    return box;
}

/* What rounding makes of reals that move by `total` in all and by `most` at most, in `pixels` pixels. Flips cost what thresholds say,
 * the cheapest first, and bring 1 - t each beyond what moved. */
static void round_channel(const qn_margin_step *s, float least, const int32_t *counts, int pixels, float *total,
                          float *most)
{
    if (*most < least || *most <= 0) {
        *total = *most = 0;
        return;
    }
    const float width = (1 - s->least) / QN_MARGIN_BINS;
    float left = *total, extra = 0;
    int n = pixels;
    for (int bin = 0; bin < QN_MARGIN_BINS && n > 0; bin++) {
        const float edge = s->least + (float)bin * width;
        if (edge > *most) {
            break;
        }
        int some = least_of(counts[bin], n);
        if (edge > 0 && left < edge * (float)some) {
            some = (int)(left / edge) + 1; /* one too many: what is left was rounded */
            n = some;
        }
        left -= edge > 0 ? edge * (float)some : 0;
        extra += (1 - edge) * (float)some;
        n -= some;
    }
    float each = floorf(*most - least + 1);
    each = each < s->range ? each : s->range;
    const float sum = *total + extra, all = each * (float)pixels;
    *most = each;
    *total = sum < all ? sum : all;
}

/* Sums of products: x_total, x_most of all output channels. */
static void gain_conv(const qn_margin *margin, int index, size_t from)
{
    const qn_integer_conv *conv = &margin->plan->region->code->steps[index].u.conv;
    const qn_margin_step *s = &margin->plan->steps[index];
    const int n = conv->group_outputs, n_inputs = conv->n_groups * conv->group_inputs;
    memset(margin->x_total, 0, (size_t)conv->n_groups * (size_t)n * sizeof *margin->x_total);
    memset(margin->x_most, 0, (size_t)conv->n_groups * (size_t)n * sizeof *margin->x_most);
    for (int c = 0; c < n_inputs; c++) {
        const float total = margin->total[from + (size_t)c] * UP, most = margin->most[from + (size_t)c] * UP;
        if (most == 0) {
            continue;
        }
        const float *gain = s->total + (size_t)c * (size_t)n, *most_gain = s->most + (size_t)c * (size_t)n;
        float *restrict x_total = margin->x_total + (ptrdiff_t)(c / conv->group_inputs) * n;
        float *restrict x_most = margin->x_most + (ptrdiff_t)(c / conv->group_inputs) * n;
#pragma omp simd
        for (int k = 0; k < n; k++) {
            x_total[k] += total * gain[k];
            x_most[k] += most * most_gain[k];
        }
    }
}

/* The same of steps that act on each channel, one operand. */
static void gain_channels(const qn_margin *margin, const qn_margin_step *s, int i, size_t from, int n)
{
    for (int k = 0; k < n; k++) {
        margin->x_total[k] += margin->total[from + (size_t)k] * s->gain[i] * UP;
        margin->x_most[k] += margin->most[from + (size_t)k] * s->most_gain[i] * UP;
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
    for (int k = 0; k < plan->region->code->tensors[base].channels; k++) {
        const float change = margin->most[from + (size_t)k];
        const double out = change > 0 ? change * s->most_gain[0] * UP + (s->slack != NULL ? s->slack[k] : 0) : 0;
        most = out > most ? out : most;
    }
    return most;
}

/* What changes of the output, and where; false when nothing. */
static bool give_output(qn_margin *margin, int index, const qn_box *box)
{
    const qn_margin_plan *plan = margin->plan;
    const qn_integer_step *step = &plan->region->code->steps[index];
    const qn_margin_step *s = &plan->steps[index];
    const int n = plan->region->code->tensors[step->output].channels;
    const int pixels = (box->y1 - box->y0) * (box->x1 - box->x0);
    const qn_margin_thresholds *t = margin->region != NULL ? &margin->own : &plan->usual;
    bool any = false;
    if (pixels <= 0) {
        return false;
    }
    if (s->rounds && margin->region != NULL && margin->made[index] != margin->image) {
        qn_margin_see(margin, index);
    }
    for (int k = 0; k < n; k++) {
        float total = margin->x_total[k], most = margin->x_most[k];
        most = most < total ? most : total;
        if (s->rounds && most > 0) {
            const size_t at = s->first + (size_t)k;
            round_channel(s, t->least[at], t->counts + at * QN_MARGIN_BINS, pixels, &total, &most);
        } else if (s->decodes && most > 0) {
            most += s->slack[k];
            total += s->slack[k] * (float)pixels;
        }
        margin->x_total[k] = total;
        margin->x_most[k] = most;
        any |= most > 0;
    }
    return any;
}

/* Results of a step of channels go to its output tensor, of Concat's parts to a part of it. */
static void put_output(qn_margin *margin, int index, const qn_box *box)
{
    const qn_integer_step *step = &margin->plan->region->code->steps[index];
    const int tensor = margin->plan->region->steps[index].output;
    const int offset = step->kind == QN_STEP_LOOKUP ? step->u.lookup.k : 0;
    const int n = step->kind == QN_STEP_LOOKUP ? margin->plan->region->code->tensors[step->input[0]].channels
                                               : margin->plan->region->code->tensors[step->output].channels;
    qn_margin_touch(margin, tensor, box);
    const size_t to = margin->plan->first_channel[tensor] + (size_t)offset;
    for (int k = 0; k < n; k++) {
        margin->total[to + (size_t)k] += margin->x_total[k];
        margin->most[to + (size_t)k] += margin->x_most[k];
    }
}

/* One step; false where there is no bound. */
static bool follow_step(qn_margin *margin, int index, double *bound)
{
    const qn_margin_plan *plan = margin->plan;
    const qn_integer_step *step = &plan->region->code->steps[index];
    const qn_region_step *r = &plan->region->steps[index];
    const qn_margin_step *s = &plan->steps[index];
    if (!s->known) {
        return false;
    }
    if (step->output < 0) {
        const double out = take_output(margin, index, r->input[0]);
        *bound = out > *bound ? out : *bound;
        return true;
    }
    const qn_integer_tensor *y = &plan->region->code->tensors[step->output];
    const bool conv = qn_margin_is_conv(step);
    qn_box box = {0};
    if (!conv) {
        memset(margin->x_total, 0, (size_t)y->channels * sizeof *margin->x_total);
        memset(margin->x_most, 0, (size_t)y->channels * sizeof *margin->x_most);
    }
    for (int i = 0; i < (step->kind == QN_STEP_ADD ? 2 : 1); i++) {
        const int base = r->input[i];
        if (!margin->live[base]) {
            continue;
        }
        const qn_box one = reach_step(plan->region, index, i, &margin->box[base]);
        const size_t from = plan->first_channel[base];
        box = qn_box_join(&box, &one);
        if (conv) {
            gain_conv(margin, index, from);
        } else if (step->kind == QN_STEP_GATHER) {
            gain_gather(margin, s, from, y->channels);
        } else {
            gain_channels(margin, s, i, from, plan->region->code->tensors[step->input[i]].channels);
        }
    }
    if (qn_box_is_empty(&box)) {
        return true;
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
            known = known && follow_step(margin, index, &bound) && bound <= margin->allowance;
        }
    }
    for (int i = 0; i < margin->n_touched; i++) {
        margin->live[margin->touched[i]] = false;
    }
    margin->n_touched = 0;
    return known ? bound : INFINITY;
}

/* Sums and maxima of |now - golden| of a row's pixels, added. */
static void add_pixel(const uint8_t *now, const uint8_t *golden, int n, int32_t *restrict total, uint8_t *restrict most)
{
#pragma omp simd
    for (int k = 0; k < n; k++) {
        const uint8_t difference = now[k] > golden[k] ? now[k] - golden[k] : golden[k] - now[k];
        total[k] += difference;
        most[k] = difference > most[k] ? difference : most[k];
    }
}

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
        size_t at = qn_region_offset(t, (qn_region_place){y, box->x0, box->k0});
        for (int x = box->x0; x < box->x1; x++, at += (size_t)t->pixel) {
            add_pixel(region->run.memory + at, region->golden + at, n, margin->differences, margin->greatest);
        }
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

double qn_margin_bound(qn_margin *margin)
{
    const qn_region *region = margin->region;
    for (int i = 0; i < region->n_dirty; i++) {
        const int tensor = region->dirty_list[i];
        if (is_awaited(region, tensor)) {
            if (!(margin->plan->typical[tensor] <= margin->allowance)) {
                margin->n_touched = 0;
                return INFINITY;
            }
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
