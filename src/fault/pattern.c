/* One draw: the image, the place, and the changes that patterns share. */
#include "fault/space_plan.h"
#include "fault/targets.h"

int64_t qn_space_lifetime(const qn_fault_set *set, const qn_fault_target *target)
{
    if (set->per_item) {
        return 1;
    }
    if (set->lifetime >= 0) {
        return set->lifetime;
    }
    switch (target->where) {
    case QN_FAULT_ACTIVATIONS:
    case QN_FAULT_INPUTS:
    case QN_FAULT_ACCUMULATORS:
    case QN_FAULT_PARTIAL_SUMS:
    case QN_FAULT_PRODUCTS:
    case QN_FAULT_LINK_HEADER:
    case QN_FAULT_LINK_PARAMETERS:
    case QN_FAULT_LINK_PAYLOAD:
        return 1;
    default:
        return 0;
    }
}

const qn_plan_part *qn_plan_part_of(const qn_plan_stratum *stratum, int64_t site)
{
    int low = 0, high = stratum->n_parts - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (stratum->parts[middle].first_site <= site) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return &stratum->parts[low];
}

void qn_plan_unit(const qn_plan_part *part, int64_t unit, int64_t *element, int64_t *term)
{
    *term = 0;
    if (part->counts_terms == QN_PLAN_OF_SUMS) {
        *term = qn_subset_at(part->terms, unit % part->terms->n);
        unit /= part->terms->n;
    }
    *element = qn_selection_at(part->elements, unit);
}

qn_status qn_plan_changes(const qn_plan_draw *draw, int64_t n, qn_fault_change **changes, qn_error *err)
{
    if (n > QN_PLAN_MAX_CHANGES) {
        return qn_fail(err, QN_ELIMIT, draw->stratum->set->name,
                       "a fault of %lld codes at once; at most %d are possible: select fewer, or a lower rate",
                       (long long)n, (int)QN_PLAN_MAX_CHANGES);
    }
    *changes = qn_arena_array(draw->arena, (size_t)n, sizeof **changes);
    return *changes != NULL ? QN_OK : qn_fail_memory(err, draw->stratum->set->name, (size_t)n * sizeof **changes);
}

/* The real that the model adds, or sets. */
static double draw_real(const qn_plan_draw *draw, const qn_fault_set *set, uint64_t index)
{
    switch (set->model) {
    case QN_FAULT_SET_VALUE:
        return set->value;
    case QN_FAULT_UNIFORM_NOISE:
    case QN_FAULT_UNIFORM_VALUE:
        return set->lo + (set->hi - set->lo) * qn_draw_uniform(&draw->stream, QN_DRAW_CODE, index);
    case QN_FAULT_NORMAL_NOISE:
    case QN_FAULT_NORMAL_VALUE:
        return set->mean + set->std * qn_draw_normal(&draw->stream, QN_DRAW_CODE, index);
    default:
        return 0;
    }
}

void qn_plan_strike(const qn_plan_draw *draw, qn_fault_change *change, const qn_plan_part *part, int64_t element,
                    int64_t term, uint32_t bits, uint64_t index)
{
    const qn_fault_set *set = draw->stratum->set;
    if (set->n_turns > 0) {
        bits = (uint32_t)1 << set->turns[index % (uint64_t)set->n_turns];
    }
    *change = (qn_fault_change){.target = part->target,
                                .element = element,
                                .term = term,
                                .and_mask = UINT32_MAX,
                                .suppress = set->suppress_invalid};
    switch (set->model) {
    case QN_FAULT_FLIP:
        change->xor_mask = bits;
        return;
    case QN_FAULT_STUCK_AT_0:
        change->and_mask = ~bits;
        return;
    case QN_FAULT_STUCK_AT_1:
        change->or_mask = bits;
        return;
    case QN_FAULT_RANDOM_CODE:
        change->and_mask = ~bits;
        change->or_mask = (uint32_t)qn_draw_bits(&draw->stream, QN_DRAW_CODE, index) & bits;
        return;
    case QN_FAULT_SET_VALUE:
    case QN_FAULT_SET_ZERO:
    case QN_FAULT_UNIFORM_VALUE:
    case QN_FAULT_NORMAL_VALUE:
        change->and_mask = 0;
        change->or_mask =
            qn_targets_encode(&draw->space->targets->list[part->target],
                              ((const qn_plans *)draw->space->plans)->program, element, draw_real(draw, set, index));
        return;
    case QN_FAULT_UNIFORM_NOISE:
    case QN_FAULT_NORMAL_NOISE:
        change->add = draw_real(draw, set, index);
        return;
    case QN_FAULT_NONE:
    default:
        return;
    }
}

qn_status qn_pattern_single(const qn_plan_draw *draw, int64_t site, qn_fault *fault, qn_error *err)
{
    const qn_plan_part *part = qn_plan_part_of(draw->stratum, site);
    const qn_fault_set *set = draw->stratum->set;
    qn_fault_change *change;
    QN_TRY(qn_plan_changes(draw, 1, &change, err));
    const int64_t within = site - part->first_site, unit = within / part->n_ways, way = within % part->n_ways;
    const bool one = set->n_bits == 1 && qn_plan_strikes_bits(set);
    const uint32_t bits = one ? (uint32_t)1 << part->bit[way] : qn_plan_bits_of_site(set, part->mask, way);
    int64_t element, term;
    qn_plan_unit(part, unit, &element, &term);
    qn_plan_strike(draw, change, part, element, term, bits, 0);
    fault->changes = change;
    fault->n_changes = 1;
    return QN_OK;
}

static qn_status fill(const qn_plan_draw *draw, int64_t site, qn_fault *fault, qn_error *err)
{
    switch (draw->stratum->set->pattern) {
    case QN_FAULT_CHANNEL:
    case QN_FAULT_ARRAY:
    case QN_FAULT_ALL:
        return qn_pattern_several(draw, site, fault, err);
    case QN_FAULT_WORD:
        return qn_pattern_word(draw, site, fault, err);
    case QN_FAULT_FRAME:
        return qn_pattern_frame(draw, site, fault, err);
    case QN_FAULT_RATE:
        return qn_pattern_rate(draw, fault, err);
    case QN_FAULT_COUNT:
        return qn_pattern_count(draw, fault, err);
    case QN_FAULT_SINGLE:
    default:
        return qn_pattern_single(draw, site, fault, err);
    }
}

/* Present in all images, or in some from `start` on; with faults for each item, in the draw's own. */
static void set_images(const qn_plan_draw *draw, qn_fault *fault, int64_t start)
{
    const int64_t n = draw->space->n_images;
    fault->n_images = draw->space->strata[fault->stratum].images;
    fault->first_image = draw->stratum->set->per_item ? fault->draw % n : start;
}

qn_status qn_fault_space_draw(const qn_fault_space *space, int stratum, int64_t draw, qn_arena *arena, qn_fault *fault,
                              qn_error *err)
{
    const qn_plan_stratum *s = &((const qn_plans *)space->plans)->strata[stratum];
    if (draw < 0 || draw >= space->strata[stratum].population) {
        return qn_fail(err, QN_EINVAL, s->set->name, "draw %lld of stratum '%s', which has %lld faults",
                       (long long)draw, space->strata[stratum].label, (long long)space->strata[stratum].population);
    }
    qn_plan_draw d = {.space = space, .stratum = s, .stream = s->stream, .arena = arena};
    d.stream.draw = (uint64_t)draw;
    *fault = (qn_fault){.id = fault->id, .stratum = stratum, .draw = draw};
    int64_t site = draw, start = 0;
    if (s->endless) {
        start = space->strata[stratum].images < space->n_images
                    ? (int64_t)qn_draw_below(&d.stream, QN_DRAW_IMAGE, 0, (uint64_t)space->n_images)
                    : 0;
        site = s->n_sites > 0 ? (int64_t)qn_draw_below(&d.stream, QN_DRAW_SITE, 0, (uint64_t)s->n_sites) : 0;
    } else if (!space->strata[stratum].exhaustive) {
        site = (int64_t)qn_permutation_at(&s->permutation, (uint64_t)draw);
    }
    if (!s->endless) {
        start = site % s->n_starts;
        site /= s->n_starts;
    }
    QN_TRY(fill(&d, site, fault, err));
    set_images(&d, fault, start);
    return QN_OK;
}
