/* Sums of convolutions near golden ones: what changed in the input, times its weights, on top of them. */
#include <string.h>

#include "engine/integer/region.h"

#include "base/arith.h"

/* sums[k] += d * w[k], wrapping. */
static void add_products(int32_t *sums, const int16_t *w, int32_t d, int n)
{
    for (int k = 0; k < n; k++) {
        sums[k] = (int32_t)((uint32_t)sums[k] + (uint32_t)(d * w[k]));
    }
}

/* The part of an axis of a window, whose first tap is at `start`, that lies in inputs first..end-1: taps low..high-1. */
static void cut_taps(int start, int first, int end, int dilation, int kernel, int *low, int *high)
{
    *low = first <= start ? 0 : (first - start + dilation - 1) / dilation;
    *high = end <= start ? 0 : (end - 1 - start) / dilation + 1;
    *high = *high < kernel ? *high : kernel;
}

/* What a step reads and where it changed. */
typedef struct changes {
    const qn_integer_conv *conv;
    const qn_integer_tensor *x;
    const int16_t *weights;
    const uint8_t *now, *golden;
    qn_box in; /* the dirty box */
} changes;

/* Channels k0..k1-1 of one output pixel. */
static void add_pixel(const changes *c, int row, int column, int k0, int k1, int32_t *sums)
{
    const qn_integer_conv *conv = c->conv;
    const int n_inputs = conv->n_groups * conv->group_inputs, outputs = conv->group_outputs;
    const int top = row * conv->stride[0] - conv->pad[0], left = column * conv->stride[1] - conv->pad[1];
    int r0, r1, s0, s1;
    cut_taps(top, c->in.y0, c->in.y1, conv->dilation[0], conv->kernel[0], &r0, &r1);
    cut_taps(left, c->in.x0, c->in.x1, conv->dilation[1], conv->kernel[1], &s0, &s1);
    for (int r = r0; r < r1; r++) {
        for (int s = s0; s < s1; s++) {
            const ptrdiff_t at = (ptrdiff_t)c->x->offset + (top + r * conv->dilation[0]) * c->x->row +
                                 (left + s * conv->dilation[1]) * c->x->pixel;
            const int16_t *tap = c->weights + (ptrdiff_t)(r * conv->kernel[1] + s) * n_inputs * outputs;
            for (int i = c->in.k0; i < c->in.k1; i++) {
                const int32_t d = c->now[at + i] - c->golden[at + i];
                if (d == 0) {
                    continue;
                }
                const int first = i / conv->group_inputs * outputs; /* the group's first output */
                const int low = first > k0 ? first : k0, high = first + outputs < k1 ? first + outputs : k1;
                add_products(sums + (low - k0), tap + (ptrdiff_t)i * outputs + (low - first), d, high - low);
            }
        }
    }
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

bool qn_region_prefers_sums(const qn_region *region, int index, const qn_box *box)
{
    enum { PRICE = 4 }; /* of a product added to a sum, in products of the step's own kernel */
    const qn_region_step *s = &region->plan->steps[index];
    const qn_integer_conv *conv = &region->plan->code->steps[index].u.conv;
    qn_box in;
    if (!s->linear || !dirty_input(region, index, &in)) {
        return false;
    }
    if (region->plan->code->steps[index].kind == QN_STEP_DEPTHWISE) {
        return false;
    }
    const int64_t n_inputs = (int64_t)conv->group_inputs * conv->n_groups;
    int64_t taps = (int64_t)conv->kernel[0] * conv->kernel[1], changed = qn_box_count(&in) * taps;
    changed /= (int64_t)conv->stride[0] * conv->stride[1];
    taps *= n_inputs * (box->y1 - box->y0) * (box->x1 - box->x0);
    return changed * PRICE < taps;
}

void qn_region_sums(const qn_region *region, int index, const qn_box *box, int32_t *sums)
{
    const qn_integer_step *step = &region->plan->code->steps[index];
    changes c = {.conv = &step->u.conv,
                 .x = &region->plan->code->tensors[step->input[0]],
                 .weights = region->plan->steps[index].weights,
                 .now = region->run.memory,
                 .golden = region->golden};
    if (!region->plan->steps[index].linear || !dirty_input(region, index, &c.in)) {
        qn_integer_accumulators(&region->run, index, box, sums);
        return;
    }
    if (!qn_box_is_empty(&c.in) && !qn_region_prefers_sums(region, index, box)) {
        qn_integer_accumulators(&region->run, index, box, sums);
        return;
    }
    copy_golden(region, index, box, sums);
    if (qn_box_is_empty(&c.in)) {
        return;
    }
    for (int row = box->y0; row < box->y1; row++) {
        for (int column = box->x0; column < box->x1; column++) {
            add_pixel(&c, row, column, box->k0, box->k1, sums);
            sums += box->k1 - box->k0;
        }
    }
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
