/* Boxes: what of a step's output can see dirty inputs, and what really differs. */
#include "engine/integer/region.h"

#include <string.h>

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int greatest(int a, int b)
{
    return a > b ? a : b;
}

qn_box qn_box_join(const qn_box *a, const qn_box *b)
{
    if (qn_box_is_empty(a)) {
        return *b;
    }
    if (qn_box_is_empty(b)) {
        return *a;
    }
    return (qn_box){least(a->y0, b->y0),    greatest(a->y1, b->y1), least(a->x0, b->x0),
                    greatest(a->x1, b->x1), least(a->k0, b->k0),    greatest(a->k1, b->k1)};
}

/* Outputs of one axis whose windows reach into inputs first..end-1. */
static void reach_axis(int first, int end, int kernel, int stride, int dilation, int pad, int n, int *low, int *high)
{
    const int64_t from = (int64_t)first + pad - (int64_t)(kernel - 1) * dilation, to = (int64_t)end - 1 + pad;
    const int64_t l = from <= 0 ? 0 : (from + stride - 1) / stride, h = to / stride + 1;
    *low = (int)(l < n ? l : n);
    *high = (int)(h < n ? h : n);
}

/* A box of the elements first..end-1 of a plain tensor. */
static qn_box box_of_run(const qn_integer_tensor *t, int64_t first, int64_t end)
{
    qn_box box = {0, 1, (int)(first / t->channels), (int)((end - 1) / t->channels) + 1, 0, t->channels};
    if (box.x1 - box.x0 == 1) {
        box.k0 = (int)(first % t->channels);
        box.k1 = (int)((end - 1) % t->channels) + 1;
    }
    return box;
}

/* The dirty box of what `tensor` shows, in its own shape. */
static qn_box dirty_as_seen(const qn_region *region, int tensor)
{
    const qn_integer_tensor *t = &region->plan->code->tensors[tensor];
    const int base = qn_region_base(region->plan->code, tensor);
    if (!region->is_dirty[base]) {
        return (qn_box){0};
    }
    const qn_box box = region->dirty[base];
    const qn_integer_tensor *b = &region->plan->code->tensors[base];
    if (base == tensor || (t->width == b->width && t->channels == b->channels && t->height == b->height)) {
        return box;
    }
    /* what is shown is plain, or one pixel, or a map whose bytes are one after another */
    const int64_t row = (int64_t)b->width * b->channels;
    const int64_t first = box.y0 * row + (int64_t)box.x0 * b->channels + box.k0;
    const int64_t last = (box.y1 - 1) * row + (int64_t)(box.x1 - 1) * b->channels + box.k1 - 1;
    return box_of_run(t, first, last + 1);
}

static qn_box full(const qn_region *region, int step)
{
    return qn_integer_full_box(region->plan->code, step);
}

static qn_box reach_conv(const qn_region *region, const qn_integer_step *step, const qn_box *in)
{
    const qn_integer_conv *conv = &step->u.conv;
    const qn_integer_tensor *y = &region->plan->code->tensors[step->output];
    qn_box box;
    reach_axis(in->y0, in->y1, conv->kernel[0], conv->stride[0], conv->dilation[0], conv->pad[0], y->height, &box.y0,
               &box.y1);
    reach_axis(in->x0, in->x1, conv->kernel[1], conv->stride[1], conv->dilation[1], conv->pad[1], y->width, &box.x0,
               &box.x1);
    box.k0 = in->k0 / conv->group_inputs * conv->group_outputs;
    box.k1 = ((in->k1 - 1) / conv->group_inputs + 1) * conv->group_outputs;
    return box;
}

static qn_box reach_pool(const qn_region *region, const qn_integer_step *step, const qn_box *in)
{
    const qn_integer_pool *pool = &step->u.pool;
    const qn_integer_tensor *y = &region->plan->code->tensors[step->output];
    qn_box box;
    reach_axis(in->y0, in->y1, pool->kernel[0], pool->stride[0], pool->dilation[0], pool->pad[0], y->height, &box.y0,
               &box.y1);
    reach_axis(in->x0, in->x1, pool->kernel[1], pool->stride[1], pool->dilation[1], pool->pad[1], y->width, &box.x0,
               &box.x1);
    box.k0 = in->k0;
    box.k1 = in->k1;
    return box;
}

/* Broadcast operands have size 1 along an axis of the output that is longer. */
static qn_box reach_add(const qn_region *region, const qn_integer_step *step, int input, const qn_box *in)
{
    const qn_integer_tensor *x = &region->plan->code->tensors[step->input[input]];
    const qn_integer_tensor *y = &region->plan->code->tensors[step->output];
    qn_box box = *in;
    if (x->height != y->height) {
        box.y0 = 0;
        box.y1 = y->height;
    }
    if (x->width != y->width) {
        box.x0 = 0;
        box.x1 = y->width;
    }
    return box;
}

static qn_box reach_lookup(const qn_integer_step *step, const qn_box *in)
{
    const qn_integer_lookup *at = &step->u.lookup;
    return (qn_box){in->y0 + at->y, in->y1 + at->y, in->x0 + at->x, in->x1 + at->x, in->k0 + at->k, in->k1 + at->k};
}

static qn_box reach_gather(const qn_region *region, int index, const qn_box *in)
{
    const qn_integer_step *step = &region->plan->code->steps[index];
    const qn_region_step *s = &region->plan->steps[index];
    const qn_integer_tensor *x = &region->plan->code->tensors[step->input[0]];
    const qn_integer_tensor *y = &region->plan->code->tensors[step->output];
    if (qn_box_count(in) * 4 > (int64_t)x->height * x->width * x->channels) {
        return full(region, index);
    }
    qn_box box = {INT32_MAX, 0, INT32_MAX, 0, INT32_MAX, 0};
    for (int row = in->y0; row < in->y1; row++) {
        for (int column = in->x0; column < in->x1; column++) {
            const int64_t pixel = ((int64_t)row * x->width + column) * x->channels;
            for (int32_t i = s->first[pixel + in->k0]; i < s->first[pixel + in->k1]; i++) {
                const int k = s->to[i] % y->channels, at = s->to[i] / y->channels;
                box.y0 = least(box.y0, at / y->width), box.y1 = greatest(box.y1, at / y->width + 1);
                box.x0 = least(box.x0, at % y->width), box.x1 = greatest(box.x1, at % y->width + 1);
                box.k0 = least(box.k0, k), box.k1 = greatest(box.k1, k + 1);
            }
        }
    }
    return box;
}

/* Whole rows; of products those of the batches that have a factor there, and the columns of the right factor. */
static qn_box reach_rows(const qn_region *region, const qn_integer_step *step, int input, const qn_box *in)
{
    const qn_integer_tensor *y = &region->plan->code->tensors[step->output];
    const qn_integer_product *p = step->u.rows.product;
    if (p == NULL) {
        return (qn_box){0, 1, in->x0, in->x1, 0, y->channels};
    }
    qn_box box = {0};
    for (int i = 0; i < p->n_batches; i++) {
        const int first = input == 0 ? p->left[i] : p->right[i], n = input == 0 ? p->m : p->k;
        const int x0 = greatest(in->x0 - first, 0), x1 = least(in->x1 - first, n);
        if (x0 < x1) {
            const qn_box one = input == 0 ? (qn_box){0, 1, i * p->m + x0, i * p->m + x1, 0, p->n}
                                          : (qn_box){0, 1, i * p->m, (i + 1) * p->m, in->k0, in->k1};
            box = qn_box_join(&box, &one);
        }
    }
    return box;
}

static qn_box reach_of(const qn_region *region, int index, int input, const qn_box *in)
{
    const qn_integer_step *step = &region->plan->code->steps[index];
    switch (step->kind) {
    case QN_STEP_CONV:
    case QN_STEP_DEPTHWISE:
        return reach_conv(region, step, in);
    case QN_STEP_ADD:
        return reach_add(region, step, input, in);
    case QN_STEP_POOL:
        return reach_pool(region, step, in);
    case QN_STEP_LOOKUP:
        return reach_lookup(step, in);
    case QN_STEP_GATHER:
        return reach_gather(region, index, in);
    case QN_STEP_ROWS:
        return reach_rows(region, step, input, in);
    default:
        return full(region, index);
    }
}

qn_box qn_region_reach(const qn_region *region, int index)
{
    int n_inputs;
    const int *inputs = qn_integer_inputs(&region->plan->code->steps[index], &n_inputs);
    qn_box all = {0};
    for (int i = 0; i < n_inputs; i++) {
        if (inputs[i] < 0) {
            continue;
        }
        const qn_box in = dirty_as_seen(region, inputs[i]);
        if (!qn_box_is_empty(&in)) {
            const qn_box out = reach_of(region, index, i, &in);
            all = qn_box_join(&all, &out);
        }
    }
    return all;
}

/* One run of floats: from both its ends to the first that differs. */
static bool differ_run(const float *now, const float *golden, qn_box *box)
{
    int k0 = box->k0, k1 = box->k1;
    while (k0 < k1 && memcmp(now + k0, golden + k0, sizeof *now) == 0) {
        k0++;
    }
    while (k0 < k1 && memcmp(now + k1 - 1, golden + k1 - 1, sizeof *now) == 0) {
        k1--;
    }
    box->k0 = k0, box->k1 = k1;
    return k0 < k1;
}

/* As bits: a NaN equals itself, and the zeros differ. A map's floats are in the order of channels, rows, columns. */
static bool differ_reals(const qn_region *region, const qn_integer_tensor *t, qn_box *box)
{
    const float *now = (const float *)(const void *)(region->run.memory + t->offset);
    const float *golden = (const float *)(const void *)(region->golden + t->offset);
    const ptrdiff_t size = sizeof(float);
    if (t->height == 1 && t->width == 1) {
        return differ_run(now, golden, box);
    }
    if (t->plain) {
        return qn_differ_f32(region->plan->differ, now, golden, 0, t->channels * size, box);
    }
    qn_box planes = {box->k0, box->k1, box->y0, box->y1, box->x0, box->x1};
    if (!qn_differ_f32(region->plan->differ, now, golden, (ptrdiff_t)t->height * t->width * size, t->width * size,
                       &planes)) {
        return false;
    }
    *box = (qn_box){planes.x0, planes.x1, planes.k0, planes.k1, planes.y0, planes.y1};
    return true;
}

qn_box qn_region_differ(const qn_region *region, int tensor, const qn_box *box)
{
    const qn_integer_tensor *t = &region->plan->code->tensors[tensor];
    qn_box found = *box;
    const bool differs = t->real ? differ_reals(region, t, &found)
                                 : region->plan->differ(region->run.memory + t->offset, region->golden + t->offset,
                                                        t->row, t->pixel, &found);
    return differs ? found : (qn_box){0};
}
