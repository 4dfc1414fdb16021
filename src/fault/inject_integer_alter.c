/* Faults as alterations of steps. */
#include <string.h>

#include "engine/integer/multiplier.h"
#include "fault/inject_integer.h"
#include "fault/targets.h"

enum { VECTOR = 16 };

static bool is_conv(const qn_integer_step *step)
{
    return step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
}

void qn_injection_free(qn_injection *injection)
{
    qn_region_free(&injection->region);
    qn_free(injection->steps);
    qn_free(injection->alterations);
    qn_free(injection->slot);
    qn_free(injection->terms);
    qn_free(injection->ratio);
    qn_free(injection->bias);
    qn_free(injection->multiplier);
    qn_free(injection->shift);
    qn_free(injection->first_channel);
    *injection = (qn_injection){0};
}

qn_status qn_injection_make(qn_injection *injection, const qn_machine *machine, qn_error *err)
{
    const qn_integer_code *code = machine->plan->code;
    const size_t n_steps = (size_t)code->n_steps + 1;
    injection->machine = machine;
    QN_TRY(qn_region_make(&injection->region, machine->plan, err));
    injection->first_channel = qn_alloc(n_steps * sizeof *injection->first_channel);
    size_t n = 0;
    for (int i = 0; injection->first_channel != NULL && i < code->n_steps; i++) {
        injection->first_channel[i] = n;
        if (is_conv(&code->steps[i])) {
            n += (size_t)code->steps[i].u.conv.n_groups * (size_t)code->steps[i].u.conv.group_outputs + VECTOR;
        }
    }
    injection->steps = qn_alloc(n_steps * sizeof *injection->steps);
    injection->alterations = qn_alloc(n_steps * sizeof *injection->alterations);
    injection->slot = qn_alloc(n_steps * sizeof *injection->slot);
    injection->terms = qn_alloc(((size_t)machine->most_terms + 1) * sizeof *injection->terms);
    injection->ratio = qn_alloc((n + 1) * sizeof *injection->ratio);
    injection->bias = qn_alloc((n + 1) * sizeof *injection->bias);
    injection->multiplier = qn_alloc((n + 1) * sizeof *injection->multiplier);
    injection->shift = qn_alloc((n + 1) * sizeof *injection->shift);
    if (injection->first_channel == NULL || injection->steps == NULL || injection->alterations == NULL ||
        injection->slot == NULL || injection->terms == NULL || injection->ratio == NULL || injection->bias == NULL ||
        injection->multiplier == NULL || injection->shift == NULL) {
        return qn_fail_memory(err, machine->program->graph.file, n_steps * sizeof *injection->steps);
    }
    memset(injection->slot, 0xff, n_steps * sizeof *injection->slot);
    return QN_OK;
}

uint32_t qn_injection_apply(qn_injection *injection, int64_t change, uint32_t code)
{
    const qn_fault_change *c = &injection->fault->changes[change];
    const qn_fault_target *t = &injection->machine->targets->list[c->target];
    code &= t->bits >= 32 ? UINT32_MAX : (UINT32_C(1) << t->bits) - 1;
    const uint32_t after = qn_fault_apply(c, t, injection->machine->program, code);
    if (change == 0) {
        injection->before = code;
        injection->after = after;
    }
    return after;
}

/* Codes that a step makes of one code of its input. */
static void put_entry(qn_region *region, const qn_integer_step *step, int code, uint8_t entry, qn_box *box)
{
    const qn_integer_lookup *at = &step->u.lookup;
    const qn_integer_tensor *x = &region->plan->code->tensors[step->input[0]];
    const qn_integer_tensor *y = &region->plan->code->tensors[step->output];
    for (int row = 0; row < x->height; row++) {
        for (int column = 0; column < x->width; column++) {
            const uint8_t *from = region->run.memory + qn_region_offset(x, (qn_region_place){row, column, 0});
            for (int k = 0; k < x->channels; k++) {
                const qn_region_place p = {row + at->y, column + at->x, k + at->k};
                if (from[k] == code) {
                    const qn_box one = qn_region_box_at(p);
                    region->run.memory[qn_region_offset(y, p)] = entry;
                    *box = qn_box_join(box, &one);
                }
            }
        }
    }
}

static void alter_entries(qn_injection *injection, const qn_segment *segment, qn_region *region, qn_box *box)
{
    const qn_site *site = &injection->machine->sites[segment->target];
    const qn_fault_target *t = &injection->machine->targets->list[segment->target];
    for (int64_t j = segment->first; j < segment->first + segment->n; j++) {
        qn_fault_table table;
        const int64_t element = injection->fault->changes[j].element;
        if (!qn_targets_find_table(injection->machine->program, t->value, element, &table)) {
            continue;
        }
        const qn_integer_step *step = &region->plan->code->steps[table.step];
        const int code = table.lowest + (int)(element - table.first);
        const uint8_t was = step->u.lookup.table[code];
        const uint32_t after = qn_injection_apply(injection, j, (uint32_t)(was - site->raise));
        const uint8_t is = (uint8_t)(qn_pattern_number(after, t->bits, site->raise != 0) + site->raise);
        if (was != is) {
            put_entry(region, step, code, is, box);
            injection->active = true;
        }
    }
}

/* Codes, or floats, of a step's output. */
static void alter_codes(void *ctx, qn_region *region, qn_box *box)
{
    const qn_step_faults *faults = ctx;
    qn_injection *injection = faults->injection;
    for (int i = 0; i < faults->n_segments; i++) { /* before what strikes what they made */
        if (injection->machine->sites[faults->segments[i].target].kind == QN_SITE_TABLES) {
            alter_entries(injection, &faults->segments[i], region, box);
        }
    }
    for (int i = 0; i < faults->n_segments; i++) {
        const qn_segment *segment = &faults->segments[i];
        const qn_site *site = &injection->machine->sites[segment->target];
        if (site->kind != QN_SITE_CODES && site->kind != QN_SITE_REALS) {
            continue;
        }
        const qn_integer_tensor *t = &region->plan->code->tensors[site->tensor];
        const int bits = injection->machine->targets->list[segment->target].bits;
        for (int64_t j = segment->first; j < segment->first + segment->n; j++) {
            const qn_region_place p = qn_region_place_of(t, injection->fault->changes[j].element);
            uint8_t *at = region->run.memory + qn_region_offset(t, p);
            uint32_t before, after;
            if (site->kind == QN_SITE_REALS) {
                memcpy(&before, at, sizeof before);
                after = qn_injection_apply(injection, j, before);
                memcpy(at, &after, sizeof after);
            } else {
                before = (uint32_t)(*at - site->raise);
                after = qn_injection_apply(injection, j, before);
                const uint8_t kept = (uint8_t)(qn_pattern_number(after, bits, site->raise != 0) + site->raise);
                before = *at;
                after = kept;
                *at = kept;
            }
            if (before != after) {
                const qn_box one = qn_region_box_at(p);
                *box = qn_box_join(box, &one);
                injection->active = true;
            }
        }
    }
}

static bool is_scale(float scale)
{
    return scale >= 0x1p-126f && scale <= 0x1.fffffep127f;
}

/* Gemm's alpha, part of the input's scale. */
static float alpha_of(const qn_node *node)
{
    return node->op == QN_OP_GEMM ? qn_node_float(node, "alpha", 1.0f) : 1.0f;
}

/* What the sums of channel k are multiplied with at another scale of its weights. */
static bool rescale(const qn_injection *injection, const qn_step_faults *faults, int k, float scale)
{
    const qn_integer_code *code = injection->machine->plan->code;
    const qn_integer_step *step = &code->steps[faults->step];
    const size_t at = injection->first_channel[faults->step] + (size_t)k;
    const float scale_x = alpha_of(step->node) * code->tensors[step->input[0]].scale;
    const float scale_y = code->tensors[step->output].scale;
    const qn_region_finish *f = &injection->machine->plan->steps[faults->step].finish;
    if (f->decodes) {
        return qn_integer_decode_scale(&injection->ratio[at], scale_x, scale);
    }
    if (f->params.ratio != NULL) {
        return qn_integer_multiplier(&injection->ratio[at], scale_x, scale, scale_y);
    }
    /* codes of a bias in sums have the product as their scale, and none that is infinite */
    const bool coded_bias = step->u.conv.bias_value != QN_NO_VALUE && f->bias == NULL;
    if (coded_bias && !(code->tensors[step->input[0]].scale * scale <= 0x1.fffffep127f)) {
        return false;
    }
    qn_ratio ratio;
    const double value = qn_integer_real_ratio(scale_x, scale, scale_y, step->node->op != QN_OP_CONV);
    if (!qn_ratio_of(&ratio, value, injection->machine->arithmetic.requantize)) {
        return false;
    }
    injection->multiplier[at] = ratio.multiplier;
    injection->shift[at] = ratio.shift;
    return true;
}

/* The float that a code of a bias not at the scale of sums stands for. */
static float bias_of(const qn_site *site, const qn_fault_target *t, int64_t element, uint32_t pattern)
{
    float value;
    if (t->coding == QN_FAULT_F32) {
        memcpy(&value, &pattern, sizeof value);
        return value;
    }
    qn_quantizer one = *site->quantizer;
    const int64_t set = one.n == 1 ? 0 : element;
    one.scale += set;
    one.zero_point += one.zero_point != NULL ? set : 0;
    one.n = 1;
    one.axis = -1;
    const int32_t number = qn_pattern_number(pattern, t->bits, t->format.is_signed || t->coding == QN_FAULT_S32);
    const int8_t narrow = (int8_t)number;
    const int64_t dims[1] = {1};
    qn_quantizer_decode(&value, t->bits > 8 ? (const void *)&number : (const void *)&narrow, &one, 1, dims);
    return value;
}

static void change_scales(qn_injection *injection, const qn_step_faults *faults, const qn_segment *segment,
                          int n_channels)
{
    const qn_site *site = &injection->machine->sites[segment->target];
    for (int64_t j = segment->first; j < segment->first + segment->n; j++) {
        const int64_t element = injection->fault->changes[j].element;
        uint32_t bits;
        float scale = site->quantizer->scale[element];
        memcpy(&bits, &scale, sizeof bits);
        const uint32_t after = qn_injection_apply(injection, j, bits);
        memcpy(&scale, &after, sizeof scale);
        const bool all = site->quantizer->n == 1;
        injection->refused |= !is_scale(scale);
        for (int k = all ? 0 : (int)element; k < (all ? n_channels : (int)element + 1); k++) {
            injection->refused |= !injection->refused && !rescale(injection, faults, k, scale);
        }
        injection->active |= after != bits;
    }
}

static void change_biases(qn_injection *injection, const qn_step_faults *faults, const qn_segment *segment,
                          int n_channels)
{
    const qn_site *site = &injection->machine->sites[segment->target];
    const qn_fault_target *t = &injection->machine->targets->list[segment->target];
    float *bias = injection->bias + injection->first_channel[faults->step];
    for (int64_t j = segment->first; j < segment->first + segment->n; j++) {
        const int64_t element = injection->fault->changes[j].element;
        uint32_t before;
        if (t->coding == QN_FAULT_F32) {
            memcpy(&before, &site->floats[element], sizeof before);
        } else {
            before = qn_constant_pattern(site->codes, element, t->bits);
        }
        const uint32_t after = qn_injection_apply(injection, j, before);
        for (int k = site->one ? 0 : (int)element; k < (site->one ? n_channels : (int)element + 1); k++) {
            bias[k] = bias_of(site, t, element, after);
        }
        injection->active |= after != before;
    }
}

/* Multipliers and float biases as changed, in arrays of the injection's. */
static void change_finish(qn_injection *injection, qn_step_faults *faults)
{
    const qn_region_finish *own = &injection->machine->plan->steps[faults->step].finish;
    const qn_integer_conv *conv = &injection->machine->plan->code->steps[faults->step].u.conv;
    const size_t at = injection->first_channel[faults->step];
    const size_t n = (size_t)conv->n_groups * (size_t)conv->group_outputs;
    faults->finish = *own;
    const float *ratio = own->decodes ? own->scale : own->params.ratio;
    if (ratio != NULL) {
        memcpy(injection->ratio + at, ratio, n * sizeof *ratio);
    } else {
        memcpy(injection->multiplier + at, own->params.multiplier, n * sizeof(int32_t));
        memcpy(injection->shift + at, own->params.shift, n * sizeof(int32_t));
        faults->finish.params.multiplier = injection->multiplier + at;
        faults->finish.params.shift = injection->shift + at;
    }
    if (own->bias != NULL) {
        memcpy(injection->bias + at, own->bias, n * sizeof *own->bias);
        faults->finish.bias = injection->bias + at;
    }
    if (own->decodes) {
        faults->finish.scale = injection->ratio + at;
    } else if (ratio != NULL) {
        faults->finish.params.ratio = injection->ratio + at;
    }
    for (int i = 0; i < faults->n_segments; i++) {
        const qn_site_kind kind = injection->machine->sites[faults->segments[i].target].kind;
        if (kind == QN_SITE_SCALES) {
            change_scales(injection, faults, &faults->segments[i], (int)n);
        } else if (kind == QN_SITE_FLOAT_BIASES) {
            change_biases(injection, faults, &faults->segments[i], (int)n);
        }
    }
}

/* The outputs that a segment alters the sums, or what becomes of them, of. */
static qn_box box_of(const qn_injection *injection, const qn_segment *segment)
{
    const qn_machine *m = injection->machine;
    const qn_site *site = &m->sites[segment->target];
    const qn_integer_tensor *y = &m->plan->code->tensors[site->tensor];
    qn_box all = {0};
    for (int64_t j = segment->first; j < segment->first + segment->n; j++) {
        const int64_t element = injection->fault->changes[j].element;
        qn_box one = {0, y->height, 0, y->width, 0, y->channels};
        switch (site->kind) {
        case QN_SITE_WEIGHTS:
            one.k0 = qn_site_weight(site, &m->plan->code->steps[site->step].u.conv, element).k;
            one.k1 = one.k0 + 1;
            break;
        case QN_SITE_SCALES:
        case QN_SITE_ZERO_POINTS:
        case QN_SITE_BIASES:
        case QN_SITE_FLOAT_BIASES:
            one.k0 = site->one ? 0 : (int)element;
            one.k1 = site->one ? y->channels : (int)element + 1;
            break;
        default:
            one = qn_region_box_at(qn_region_place_of(y, element));
            break;
        }
        all = qn_box_join(&all, &one);
    }
    return all;
}

static qn_step_faults *faults_of(qn_injection *injection, int step)
{
    if (injection->slot[step] >= 0) {
        return &injection->steps[injection->slot[step]];
    }
    int at = injection->n_alterations++;
    for (; at > 0 && injection->alterations[at - 1].step > step; at--) { /* targets come nearly in the order of steps */
        injection->steps[at] = injection->steps[at - 1];
        injection->alterations[at] = injection->alterations[at - 1];
        injection->slot[injection->steps[at].step] = at;
    }
    injection->slot[step] = at;
    injection->steps[at].injection = injection;
    injection->steps[at].step = step;
    injection->steps[at].n_segments = 0;
    injection->alterations[at] = (qn_region_alteration){.step = step};
    return &injection->steps[at];
}

/* One change of a weight in a layer of the default arithmetic. */
static bool is_plain_weight(const qn_injection *injection, const qn_step_faults *faults)
{
    const qn_integer_step *step = &injection->machine->plan->code->steps[faults->step];
    return injection->fault->n_changes == 1 && step->u.conv.requantize == NULL &&
           injection->machine->accumulator_bits == 32 && !injection->machine->saturates &&
           injection->machine->sites[faults->segments[0].target].kind == QN_SITE_WEIGHTS;
}

static void finish_alteration(qn_injection *injection, int at)
{
    qn_step_faults *faults = &injection->steps[at];
    qn_region_alteration *a = &injection->alterations[at];
    a->ctx = faults;
    if (is_plain_weight(injection, faults)) {
        a->codes = qn_step_alter_weight;
        return;
    }
    bool finish = false;
    for (int i = 0; i < faults->n_segments; i++) {
        const qn_site_kind kind = injection->machine->sites[faults->segments[i].target].kind;
        if (kind == QN_SITE_CODES || kind == QN_SITE_REALS || kind == QN_SITE_TABLES) {
            a->codes = alter_codes;
            continue;
        }
        const qn_box box = box_of(injection, &faults->segments[i]);
        a->box = qn_box_join(&a->box, &box);
        a->sums = qn_step_alter_sums;
        finish |= kind == QN_SITE_SCALES || kind == QN_SITE_FLOAT_BIASES;
    }
    if (finish) {
        change_finish(injection, faults);
        a->finish = &faults->finish;
    }
}

qn_status qn_injection_prepare(qn_injection *injection, const qn_fault *fault, qn_error *err)
{
    const qn_machine *m = injection->machine;
    for (int i = 0; i < injection->n_alterations; i++) {
        injection->slot[injection->steps[i].step] = -1;
    }
    injection->n_alterations = 0;
    injection->fault = fault;
    injection->active = injection->refused = false;
    injection->before = injection->after = 0;
    for (int64_t i = 0; i < fault->n_changes;) {
        const int32_t target = fault->changes[i].target;
        int64_t end = i + 1;
        while (end < fault->n_changes && fault->changes[end].target == target) {
            end++;
        }
        const qn_site *site = &m->sites[target];
        if (site->kind != QN_SITE_MODEL && site->step >= 0) { /* another model may lack a table */
            qn_step_faults *faults = faults_of(injection, site->step);
            if (faults->n_segments == QN_SEGMENTS) {
                return qn_fail(err, QN_ELIMIT, m->targets->list[target].layer,
                               "faults in more than %d targets of one step", QN_SEGMENTS);
            }
            faults->segments[faults->n_segments++] = (qn_segment){target, i, end - i};
        }
        i = end;
    }
    for (int i = 0; i < injection->n_alterations; i++) {
        finish_alteration(injection, i);
    }
    return QN_OK;
}

void qn_injection_run(qn_injection *injection)
{
    qn_region_spread(&injection->region, injection->alterations, injection->n_alterations);
}
