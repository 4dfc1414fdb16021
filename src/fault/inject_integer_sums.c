/* Sums of a convolution under faults: changes of weights, zero points and biases are linear and added to whole channels; products
 * and partial sums are summed again in their order, as is whatever may saturate (doc/spec/arithmetic.md 4.5, 7.4). */
#include <string.h>

#include "base/arith.h"
#include "fault/inject_integer.h"

/* A step and the faults in it. */
typedef struct layer {
    const qn_step_faults *faults;
    qn_injection *injection;
    const qn_machine *machine;
    const qn_integer_step *step;
    const qn_integer_conv *conv;
    const qn_region_step *plan;
    const qn_region *region;
    const qn_integer_tensor *x, *y;
    int bits;
} layer;

static layer layer_of(const qn_step_faults *faults, const qn_region *region)
{
    const qn_machine *m = faults->injection->machine;
    const qn_integer_step *step = &m->plan->code->steps[faults->step];
    return (layer){.faults = faults,
                   .injection = faults->injection,
                   .machine = m,
                   .step = step,
                   .conv = &step->u.conv,
                   .plan = &m->plan->steps[faults->step],
                   .region = region,
                   .x = &m->plan->code->tensors[step->input[0]],
                   .y = &m->plan->code->tensors[step->output],
                   .bits = m->accumulator_bits};
}

static const qn_fault_change *change_at(const layer *l, int64_t index)
{
    return &l->injection->fault->changes[index];
}

/* Element (0, 0, k's group) of the window of an output; borders hold the zero point. */
static const uint8_t *window(const layer *l, int y, int x, int k)
{
    const qn_integer_conv *c = l->conv;
    return l->region->run.memory + l->x->offset + (y * c->stride[0] - c->pad[0]) * l->x->row +
           (x * c->stride[1] - c->pad[1]) * l->x->pixel + (ptrdiff_t)(k / c->group_outputs) * c->group_inputs;
}

static ptrdiff_t tap_offset(const layer *l, int r, int s, int c)
{
    return r * l->conv->dilation[0] * l->x->row + s * l->conv->dilation[1] * l->x->pixel + c;
}

static int32_t *sum_at(const qn_box *box, int32_t *sums, int y, int x, int k)
{
    return sums + ((ptrdiff_t)(y - box->y0) * (box->x1 - box->x0) + x - box->x0) * (box->k1 - box->k0) + k - box->k0;
}

/* What a change of weights makes of one: the difference. */
static int32_t weight_change(const layer *l, const qn_site *site, int64_t index)
{
    const qn_fault_change *change = change_at(l, index);
    const qn_fault_target *t = &l->machine->targets->list[change->target];
    const bool is_signed = site->codes->dtype == QN_DTYPE_S8;
    const uint32_t before = qn_constant_pattern(site->codes, change->element, t->bits);
    const uint32_t after = qn_injection_apply(l->injection, index, before);
    return qn_pattern_number(after, t->bits, is_signed) - qn_pattern_number(before, t->bits, is_signed);
}

static int32_t bias_change(const layer *l, const qn_site *site, int64_t index)
{
    const uint32_t before = qn_constant_pattern(site->codes, change_at(l, index)->element, 32);
    return (int32_t)(qn_injection_apply(l->injection, index, before) - before);
}

static int32_t zero_point_change(const layer *l, const qn_site *site, int64_t index)
{
    const qn_fault_change *change = change_at(l, index);
    const qn_fault_target *t = &l->machine->targets->list[change->target];
    const int32_t zero = site->quantizer->zero_point[change->element];
    const uint32_t after = qn_injection_apply(l->injection, index, (uint32_t)zero);
    return qn_pattern_number(after, t->bits, t->format.is_signed) - zero;
}

/* Channels that a change of biases, scales or zero points is in. */
static void channels_of(const layer *l, const qn_site *site, int64_t element, int *first, int *end)
{
    *first = site->one ? 0 : (int)element;
    *end = site->one ? l->y->channels : (int)element + 1;
}

/* The change of each weight of channel k, in the order of terms (rows, columns, inputs; of matrices their rows); and of its
 * bias. False when there is none. */
static bool collect(const layer *l, int k, int32_t *terms, int32_t *bias)
{
    const int n_terms = l->conv->kernel[0] * l->conv->kernel[1] * l->conv->group_inputs;
    const bool by_matrix = l->step->node->op != QN_OP_CONV;
    bool any = false;
    *bias = 0;
    memset(terms, 0, (size_t)n_terms * sizeof *terms);
    for (int i = 0; i < l->faults->n_segments; i++) {
        const qn_segment *segment = &l->faults->segments[i];
        const qn_site *site = &l->machine->sites[segment->target];
        for (int64_t j = segment->first; j < segment->first + segment->n; j++) {
            int first, end;
            if (site->kind == QN_SITE_WEIGHTS) {
                const qn_weight_place p = qn_site_weight(site, l->conv, change_at(l, j)->element);
                const int tap = p.r * l->conv->kernel[1] + p.s;
                const int term =
                    by_matrix ? p.c * l->conv->kernel[0] * l->conv->kernel[1] + tap : tap * l->conv->group_inputs + p.c;
                if (p.k == k) {
                    terms[term] += weight_change(l, site, j);
                    any |= terms[term] != 0;
                }
                continue;
            }
            channels_of(l, site, change_at(l, j)->element, &first, &end);
            if (k < first || k >= end) {
                continue;
            }
            if (site->kind == QN_SITE_BIASES) {
                *bias = qn_add_wrap_s32(*bias, bias_change(l, site, j));
                any |= *bias != 0;
            } else if (site->kind == QN_SITE_ZERO_POINTS) {
                const int32_t change = zero_point_change(l, site, j);
                for (int term = 0; term < n_terms; term++) {
                    terms[term] -= change;
                }
                any |= change != 0;
            }
        }
    }
    return any;
}

static int64_t magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

/* May a sum of channel k, as changed, leave a saturating accumulator? */
static bool may_saturate(const layer *l, int k, const int32_t *terms, int32_t bias)
{
    if (!l->machine->saturates) {
        return false;
    }
    int64_t bound = l->conv->bound[k] + magnitude(bias);
    const int n_terms = l->conv->kernel[0] * l->conv->kernel[1] * l->conv->group_inputs;
    for (int i = 0; i < n_terms; i++) {
        bound += magnitude(terms[i]) * 255; /* more than |x - zero_x| can be */
    }
    return bound >= INT64_C(1) << (l->bits - 1);
}

/* Where the terms of one output come from. */
typedef struct term_place {
    int r, s, c;
} term_place;

static term_place term_at(const layer *l, int term)
{
    const int pixels = l->conv->kernel[0] * l->conv->kernel[1];
    const bool by_matrix = l->step->node->op != QN_OP_CONV;
    const int tap = by_matrix ? term % pixels : term / l->conv->group_inputs;
    return (term_place){tap / l->conv->kernel[1], tap % l->conv->kernel[1],
                        by_matrix ? term / pixels : term % l->conv->group_inputs};
}

static int64_t held(const layer *l, int64_t sum)
{
    const int64_t limit = INT64_C(1) << (l->bits - 1);
    return l->machine->saturates ? qn_clamp_s64(sum, -limit, limit - 1) : qn_wrap_bits((int32_t)(uint32_t)sum, l->bits);
}

/* The change of a product or partial sum of this element and term; -1 for none. Changes are sorted: *at walks on. */
static int64_t next_change(const layer *l, const qn_segment *segment, int64_t *at, int64_t element, int term)
{
    while (segment != NULL && *at < segment->first + segment->n) {
        const qn_fault_change *change = change_at(l, *at);
        if (change->element > element || (change->element == element && change->term > term)) {
            return -1;
        }
        (*at)++;
        if (change->element == element && change->term == term) {
            return *at - 1;
        }
    }
    return -1;
}

/* One sum by its definition, with every change in its place. terms: changes of the channel's weights. */
static int32_t sum_again(const layer *l, qn_region_place p, const int32_t *terms, int32_t bias,
                         const qn_segment *products, const qn_segment *partial_sums, int64_t element)
{
    const uint8_t *x = window(l, p.y, p.x, p.k);
    const int n_terms = l->conv->kernel[0] * l->conv->kernel[1] * l->conv->group_inputs;
    int64_t product_at = products != NULL ? products->first : 0;
    int64_t partial_at = partial_sums != NULL ? partial_sums->first : 0;
    int64_t sum = held(l, qn_add_wrap_s32(l->plan->plain_bias[p.k], bias)); /* the bias as changed has 32 bits */
    for (int term = 0; term < n_terms; term++) {
        const term_place t = term_at(l, term);
        const int32_t code = x[tap_offset(l, t.r, t.s, t.c)] - l->x->zero_point;
        const int32_t w = qn_region_weight(l->step, p.k, t.r * l->conv->kernel[1] + t.s, t.c) + terms[term];
        int32_t product = code * w;
        int64_t change = next_change(l, products, &product_at, element, term);
        if (change >= 0) {
            product = (int32_t)qn_injection_apply(l->injection, change, (uint32_t)product);
        }
        sum = held(l, sum + product);
        change = next_change(l, partial_sums, &partial_at, element, term);
        if (change >= 0) {
            const uint32_t changed = qn_injection_apply(l->injection, change, (uint32_t)sum);
            sum = qn_pattern_number(changed, l->bits, true);
        }
    }
    return (int32_t)sum;
}

/* A channel whose weights or bias change. */
static void alter_channel(const layer *l, int k, const int32_t *terms, int32_t bias, const qn_box *box, int32_t *sums)
{
    const bool again = !l->plan->linear || may_saturate(l, k, terms, bias);
    const int n_terms = l->conv->kernel[0] * l->conv->kernel[1] * l->conv->group_inputs;
    for (int y = box->y0; y < box->y1; y++) {
        for (int x = box->x0; x < box->x1; x++) {
            int32_t *sum = sum_at(box, sums, y, x, k);
            const int32_t before = *sum;
            if (again) {
                *sum = sum_again(l, (qn_region_place){y, x, k}, terms, bias, NULL, NULL, 0);
            } else {
                *sum = qn_add_wrap_s32(*sum, bias);
            }
            l->injection->active |= *sum != before;
        }
    }
    for (int term = 0; !again && term < n_terms; term++) {
        if (terms[term] == 0) {
            continue;
        }
        const term_place t = term_at(l, term);
        const ptrdiff_t offset = tap_offset(l, t.r, t.s, t.c);
        for (int y = box->y0; y < box->y1; y++) {
            const uint8_t *from = window(l, y, box->x0, k) + offset;
            for (int x = box->x0; x < box->x1; x++) {
                const int32_t code = *from - l->x->zero_point;
                int32_t *sum = sum_at(box, sums, y, x, k);
                *sum = qn_add_wrap_s32(*sum, qn_mul_wrap_s32(terms[term], code));
                l->injection->active |= code != 0;
                from += l->conv->stride[1] * l->x->pixel;
            }
        }
    }
    for (int y = box->y0; l->bits < 32 && !again && y < box->y1; y++) {
        for (int x = box->x0; x < box->x1; x++) {
            int32_t *sum = sum_at(box, sums, y, x, k);
            *sum = qn_wrap_bits(*sum, l->bits);
        }
    }
}

static const qn_segment *segment_of(const layer *l, qn_site_kind kind)
{
    for (int i = 0; i < l->faults->n_segments; i++) {
        if (l->machine->sites[l->faults->segments[i].target].kind == kind) {
            return &l->faults->segments[i];
        }
    }
    return NULL;
}

/* The element that comes first among the next of two segments; -1 at their end. */
static int64_t next_element(const layer *l, const qn_segment *a, int64_t at_a, const qn_segment *b, int64_t at_b)
{
    const int64_t first = a != NULL && at_a < a->first + a->n ? change_at(l, at_a)->element : INT64_MAX;
    const int64_t second = b != NULL && at_b < b->first + b->n ? change_at(l, at_b)->element : INT64_MAX;
    const int64_t least = first < second ? first : second;
    return least == INT64_MAX ? -1 : least;
}

static void skip_element(const layer *l, const qn_segment *segment, int64_t *at, int64_t element)
{
    while (segment != NULL && *at < segment->first + segment->n && change_at(l, *at)->element == element) {
        (*at)++;
    }
}

/* Elements with changed products or partial sums. */
static void alter_terms(const layer *l, const qn_box *box, int32_t *sums)
{
    const qn_segment *products = segment_of(l, QN_SITE_PRODUCTS);
    const qn_segment *partial_sums = segment_of(l, QN_SITE_PARTIAL_SUMS);
    int64_t product_at = products != NULL ? products->first : 0;
    int64_t partial_at = partial_sums != NULL ? partial_sums->first : 0;
    for (;;) {
        const int64_t element = next_element(l, products, product_at, partial_sums, partial_at);
        if (element < 0) {
            return;
        }
        const qn_region_place p = qn_region_place_of(l->y, element);
        const qn_segment product = {products != NULL ? products->target : 0, product_at,
                                    products != NULL ? products->first + products->n - product_at : 0};
        const qn_segment partial = {partial_sums != NULL ? partial_sums->target : 0, partial_at,
                                    partial_sums != NULL ? partial_sums->first + partial_sums->n - partial_at : 0};
        int32_t bias, *sum = sum_at(box, sums, p.y, p.x, p.k);
        const int32_t before = *sum;
        (void)collect(l, p.k, l->injection->terms, &bias);
        *sum = sum_again(l, p, l->injection->terms, bias, &product, &partial, element);
        l->injection->active |= *sum != before;
        skip_element(l, products, &product_at, element);
        skip_element(l, partial_sums, &partial_at, element);
    }
}

static void alter_accumulators(const layer *l, const qn_box *box, int32_t *sums)
{
    const qn_segment *segment = segment_of(l, QN_SITE_ACCUMULATORS);
    for (int64_t i = segment != NULL ? segment->first : 0; segment != NULL && i < segment->first + segment->n; i++) {
        const qn_region_place p = qn_region_place_of(l->y, change_at(l, i)->element);
        int32_t *sum = sum_at(box, sums, p.y, p.x, p.k);
        const uint32_t after = qn_injection_apply(l->injection, i, (uint32_t)*sum);
        const int32_t changed = qn_pattern_number(after, l->bits, true);
        l->injection->active |= changed != *sum;
        *sum = changed;
    }
}

static bool alters_channels(qn_site_kind kind)
{
    return kind == QN_SITE_WEIGHTS || kind == QN_SITE_BIASES || kind == QN_SITE_ZERO_POINTS;
}

void qn_step_alter_sums(void *ctx, const qn_region *region, const qn_box *box, int32_t *sums)
{
    const layer l = layer_of(ctx, region);
    bool channels = false;
    for (int i = 0; i < l.faults->n_segments; i++) {
        channels |= alters_channels(l.machine->sites[l.faults->segments[i].target].kind);
    }
    for (int k = box->k0; channels && k < box->k1; k++) {
        int32_t bias;
        if (collect(&l, k, l.injection->terms, &bias)) {
            alter_channel(&l, k, l.injection->terms, bias, box, sums);
        }
    }
    alter_terms(&l, box, sums);
    alter_accumulators(&l, box, sums);
}

void qn_step_alter_weight(void *ctx, qn_region *region, qn_box *box)
{
    const layer l = layer_of(ctx, region);
    const qn_segment *segment = &l.faults->segments[0];
    const qn_site *site = &l.machine->sites[segment->target];
    const qn_weight_place p = qn_site_weight(site, l.conv, change_at(&l, segment->first)->element);
    const int32_t *sums = region->golden_sums + l.plan->sums + p.k;
    const qn_requantize_params *r = &l.plan->finish.params;
    qn_weight_delta_job job = {
        .x = window(&l, 0, 0, p.k) + tap_offset(&l, p.r, p.s, p.c),
        .x_row = l.conv->stride[0] * l.x->row,
        .x_pixel = l.conv->stride[1] * l.x->pixel,
        .zero_x = l.x->zero_point,
        .delta = weight_change(&l, site, segment->first),
        .accumulators = sums,
        .accumulator_row = (ptrdiff_t)l.y->width * l.y->channels,
        .accumulator_pixel = l.y->channels,
        .multiplier = r->ratio[p.k],
        .zero_point = r->zero_point,
        .lo = r->lo,
        .hi = r->hi,
        .y = region->run.memory + l.y->offset + p.k,
        .y_row = l.y->row,
        .y_pixel = l.y->pixel,
        .height = l.y->height,
        .width = l.y->width,
    };
    if (job.delta == 0) {
        return;
    }
    const qn_weight_delta_result result = l.machine->plan->weight_delta(&job);
    l.injection->active = result.active;
    if (result.differs) {
        *box = result.box;
        box->k0 = p.k;
        box->k1 = p.k + 1;
    }
}
