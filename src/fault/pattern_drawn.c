/* Words of packed codes; patterns whose places are drawn: a rate per bit, a count of codes. */
#include <stdlib.h>

#include "fault/space_plan.h"

static uint32_t run_of(int first, int n)
{
    return (n >= 32 ? UINT32_MAX : ((uint32_t)1 << n) - 1) << first;
}

/* Code k holds bits k * b .. k * b + b - 1 of the stream, so adjacent bits are those of neighbouring codes in turn. */
qn_status qn_pattern_word(const qn_plan_draw *draw, int64_t site, qn_fault *fault, qn_error *err)
{
    const qn_fault_set *set = draw->stratum->set;
    const qn_plan_part *part = qn_plan_part_of(draw->stratum, site);
    const qn_fault_target *t = &draw->space->targets->list[part->target];
    const int64_t places = set->word_bits - set->n_bits + 1, within = site - part->first_site;
    const int64_t first = within / places * set->word_bits + within % places, end = first + set->n_bits;
    const int64_t first_code = first / t->bits, n = (end - 1) / t->bits - first_code + 1;
    qn_fault_change *changes;
    QN_TRY(qn_plan_changes(draw, n, &changes, err));
    for (int64_t i = 0; i < n; i++) {
        const int64_t code = (first_code + i) * t->bits;
        const int from = first > code ? (int)(first - code) : 0;
        const int to = end < code + t->bits ? (int)(end - code) : t->bits;
        qn_plan_strike(draw, &changes[i], part, first_code + i, 0, run_of(from, to - from), (uint64_t)i);
    }
    fault->changes = changes;
    fault->n_changes = n;
    return QN_OK;
}

/* A run of bits that begins in the part and goes on through the fields behind it, which the next targets are. */
qn_status qn_pattern_frame(const qn_plan_draw *draw, int64_t site, qn_fault *fault, qn_error *err)
{
    const qn_plan_part *part = qn_plan_part_of(draw->stratum, site);
    const qn_fault_targets *targets = draw->space->targets;
    const int64_t first = targets->list[part->target].first_bit + site - part->first_site;
    const int64_t end = first + draw->stratum->set->n_bits;
    qn_fault_change *changes;
    QN_TRY(qn_plan_changes(draw, draw->stratum->set->n_bits, &changes, err)); /* one bit of each code at worst */
    qn_plan_part at = {.target = part->target};
    int64_t n = 0;
    for (int64_t bit = first; bit < end; n++) {
        const qn_fault_target *t = &targets->list[at.target];
        const int64_t element = (bit - t->first_bit) / t->bits, code = t->first_bit + element * t->bits;
        const int64_t code_end = code + t->bits, last = end < code_end ? end : code_end;
        qn_plan_strike(draw, &changes[n], &at, element, 0, run_of((int)(bit - code), (int)(last - bit)), (uint64_t)n);
        bit = last;
        at.target += bit == t->first_bit + t->n_elems * t->bits;
    }
    fault->changes = changes;
    fault->n_changes = n;
    return QN_OK;
}

/* Walks through struck units of a stratum, bits of one code joined. NULL changes: only count them. */
static int64_t walk_rate(const qn_plan_draw *draw, qn_fault_change *changes)
{
    const qn_plan_stratum *stratum = draw->stratum;
    const bool bits = qn_plan_strikes_bits(stratum->set);
    const double log_of_failure = qn_draw_log_of_failure(stratum->set->rate);
    int64_t at = -1, n = 0, last_code = -1;
    const qn_plan_part *last_part = NULL;
    for (uint64_t i = 0; stratum->set->rate > 0; i++) {
        const int64_t gap = qn_draw_gap(&draw->stream, i, log_of_failure);
        if (gap >= stratum->n_units - 1 - at) {
            break;
        }
        at += gap + 1;
        const qn_plan_part *part = qn_plan_part_of(stratum, at);
        const int64_t within = at - part->first_site, code = bits ? within / part->n_bits : within;
        const uint32_t bit = bits ? (uint32_t)1 << part->bit[within % part->n_bits] : part->mask;
        const bool same = part == last_part && code == last_code;
        if (changes != NULL && same) {
            qn_fault_change more;
            qn_plan_strike(draw, &more, part, 0, 0, bit, 0);
            changes[n - 1].and_mask &= more.and_mask;
            changes[n - 1].or_mask |= more.or_mask;
            changes[n - 1].xor_mask |= more.xor_mask;
        } else if (changes != NULL) {
            int64_t element, term;
            qn_plan_unit(part, code, &element, &term);
            qn_plan_strike(draw, &changes[n], part, element, term, bit, (uint64_t)n);
        }
        n += !same;
        last_part = part;
        last_code = code;
    }
    return n;
}

qn_status qn_pattern_rate(const qn_plan_draw *draw, qn_fault *fault, qn_error *err)
{
    const int64_t n = walk_rate(draw, NULL);
    qn_fault_change *changes;
    QN_TRY(qn_plan_changes(draw, n, &changes, err));
    fault->n_changes = walk_rate(draw, changes);
    fault->changes = changes;
    return QN_OK;
}

static int compare(const void *x, const void *y)
{
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return a < b ? -1 : a > b;
}

/* The first places of a permutation of its own are distinct codes; each has bits of its own. */
qn_status qn_pattern_count(const qn_plan_draw *draw, qn_fault *fault, qn_error *err)
{
    const qn_plan_stratum *stratum = draw->stratum;
    const qn_fault_set *set = stratum->set;
    qn_fault_change *changes;
    QN_TRY(qn_plan_changes(draw, set->count, &changes, err));
    int64_t *units = qn_arena_array(draw->arena, (size_t)set->count, sizeof *units);
    if (units == NULL) {
        return qn_fail_memory(err, set->name, (size_t)set->count * sizeof *units);
    }
    qn_permutation permutation;
    qn_permutation_make(&permutation, (uint64_t)stratum->n_units, &draw->stream);
    for (int64_t i = 0; i < set->count; i++) {
        units[i] = (int64_t)qn_permutation_at(&permutation, (uint64_t)i);
    }
    qsort(units, (size_t)set->count, sizeof *units, compare);
    for (int64_t i = 0; i < set->count; i++) {
        const qn_plan_part *part = qn_plan_part_of(stratum, units[i]);
        const uint64_t way = qn_draw_below(&draw->stream, QN_DRAW_BITS, (uint64_t)i, (uint64_t)part->n_ways);
        int64_t element, term;
        qn_plan_unit(part, units[i] - part->first_site, &element, &term);
        qn_plan_strike(draw, &changes[i], part, element, term, qn_plan_bits_of_site(set, part->mask, (int64_t)way),
                       (uint64_t)i);
    }
    fault->changes = changes;
    fault->n_changes = set->count;
    return QN_OK;
}
