/* Faults that strike many codes alike: a channel, what a part of an array holds, everything. */
#include "fault/space_plan.h"

/* What a fault strikes. -1: any.
 *  row, column   term or place, and channel, modulo the array's size */
typedef struct match {
    int64_t channel, row, column;
    uint32_t bits;
} match;

static int64_t channel_stride(const qn_fault_target *t)
{
    int64_t stride = 1;
    for (int i = t->channel_axis + 1; i < t->rank; i++) {
        stride *= t->dims[i];
    }
    return stride;
}

static int64_t channel_of(const qn_fault_target *t, int64_t element)
{
    return element / channel_stride(t) % t->dims[t->channel_axis];
}

/* The place of an element in the map of its channel. */
static int64_t place_of(const qn_fault_target *t, int64_t element)
{
    const int64_t stride = channel_stride(t);
    return element / (stride * t->dims[t->channel_axis]) * stride + element % stride;
}

/* Which term of the sums of its channel an element, or a term of an element, is. */
static int64_t term_of(const qn_fault_target *t, qn_plan_terms counts, int64_t element, int64_t term)
{
    switch (counts) {
    case QN_PLAN_OF_KERNEL: { /* [channel][input][row][column] to rows, columns, inputs */
        const int64_t kernel = t->n_elems / (t->dims[0] * t->dims[1]);
        return element % kernel * t->dims[1] + element / kernel % t->dims[1];
    }
    case QN_PLAN_OF_MATRIX:
        return place_of(t, element);
    case QN_PLAN_OF_SUMS:
        return term;
    case QN_PLAN_NO_TERMS:
    default:
        return 0;
    }
}

int64_t qn_plan_array_rows(const qn_fault_target *target, qn_plan_terms counts, bool by_place)
{
    if (by_place || counts == QN_PLAN_OF_KERNEL || counts == QN_PLAN_OF_MATRIX) {
        return target->n_elems / target->dims[target->channel_axis];
    }
    return target->n_terms;
}

/* Of all terms of an element. */
static bool matches_element(const qn_plan_draw *draw, const match *m, const qn_fault_target *t, int64_t element)
{
    const qn_fault_array *array = &draw->stratum->set->array;
    if (m->channel >= 0 && channel_of(t, element) != m->channel) {
        return false;
    }
    if (m->column >= 0 && channel_of(t, element) % array->columns != m->column) {
        return false;
    }
    return m->row < 0 || !array->output_stationary || place_of(t, element) % array->rows == m->row;
}

static bool matches_term(const qn_plan_draw *draw, const match *m, const qn_plan_part *part, const qn_fault_target *t,
                         int64_t element, int64_t term)
{
    const qn_fault_array *array = &draw->stratum->set->array;
    return m->row < 0 || array->output_stationary ||
           term_of(t, part->counts_terms, element, term) % array->rows == m->row;
}

/* The changes in a part; NULL: only count them. */
static int64_t strike_part(const qn_plan_draw *draw, const match *m, const qn_plan_part *part, qn_fault_change *changes,
                           int64_t n)
{
    const uint32_t bits = m->bits & part->mask;
    const bool none = qn_plan_strikes_bits(draw->stratum->set) && bits == 0;
    const bool sums = part->counts_terms == QN_PLAN_OF_SUMS;
    const qn_fault_target *t = &draw->space->targets->list[part->target];
    for (int64_t i = 0; i < part->elements->n && !none; i++) {
        const int64_t element = qn_selection_at(part->elements, i);
        const int64_t n_terms = !matches_element(draw, m, t, element) ? 0 : sums ? part->terms->n : 1;
        for (int64_t k = 0; k < n_terms; k++) {
            const int64_t term = sums ? qn_subset_at(part->terms, k) : 0;
            if (!matches_term(draw, m, part, t, element, term)) {
                continue;
            }
            if (changes != NULL) {
                qn_plan_strike(draw, &changes[n], part, element, term, bits, (uint64_t)n);
            }
            n++;
        }
    }
    return n;
}

/* Take sites apart: bits vary fastest, then columns, then rows; or channels. */
static match match_of(const qn_plan_draw *draw, const qn_plan_part *part, int64_t site)
{
    const qn_plan_stratum *stratum = draw->stratum;
    const qn_fault_set *set = stratum->set;
    const uint32_t mask = part != NULL ? part->mask : stratum->mask;
    const int64_t ways = part != NULL ? part->n_ways : stratum->n_bit_sites;
    match m = {-1, -1, -1, qn_plan_bits_of_site(set, mask, site % ways)};
    site /= ways;
    if (set->pattern == QN_FAULT_CHANNEL && part != NULL) {
        const qn_fault_target *t = &draw->space->targets->list[part->target];
        m.channel = qn_subset_at(&part->elements->axis[t->channel_axis], site);
    } else if (set->pattern == QN_FAULT_ARRAY) {
        const int columns = part != NULL ? part->n_columns : stratum->n_columns;
        if (set->array.part != QN_FAULT_ARRAY_ROW) {
            m.column = site % columns;
            site /= columns;
        }
        m.row = set->array.part != QN_FAULT_ARRAY_COLUMN ? site : -1;
    }
    return m;
}

qn_status qn_pattern_several(const qn_plan_draw *draw, int64_t site, qn_fault *fault, qn_error *err)
{
    const qn_plan_stratum *stratum = draw->stratum;
    const qn_plan_part *one = stratum->together ? NULL : qn_plan_part_of(stratum, site);
    const match m = match_of(draw, one, one != NULL ? site - one->first_site : site);
    const qn_plan_part *parts = one != NULL ? one : stratum->parts;
    const int n_parts = one != NULL ? 1 : stratum->n_parts;
    int64_t n = 0;
    for (int i = 0; i < n_parts; i++) {
        n = strike_part(draw, &m, &parts[i], NULL, n);
    }
    qn_fault_change *changes;
    QN_TRY(qn_plan_changes(draw, n, &changes, err));
    int64_t filled = 0;
    for (int i = 0; i < n_parts; i++) {
        filled = strike_part(draw, &m, &parts[i], changes, filled);
    }
    fault->changes = changes;
    fault->n_changes = n;
    return QN_OK;
}

static bool product(int64_t a, int64_t b, int64_t *n)
{
    return !__builtin_mul_overflow(a, b, n);
}

/* Words that hold codes of the part, each with as many places for adjacent bits as fit; the last may be short. */
static bool word_sites(const qn_fault_set *set, const qn_fault_target *t, int64_t *n)
{
    int64_t bits;
    if (!product(t->n_elems, t->bits, &bits)) {
        return false;
    }
    const int64_t words = bits / set->word_bits, rest = bits % set->word_bits;
    const int64_t places = set->word_bits - set->n_bits + 1, last = rest - set->n_bits + 1;
    return product(words, places, n) && !__builtin_add_overflow(*n, last > 0 ? last : 0, n);
}

/* Runs of bits that begin in the part and end in its frame. */
static int64_t frame_sites(const qn_fault_set *set, const qn_fault_target *t)
{
    const int64_t places = t->frame_bits - set->n_bits + 1, end = t->first_bit + t->n_elems * t->bits;
    const int64_t last = end < places ? end : places;
    return last > t->first_bit ? last - t->first_bit : 0;
}

bool qn_pattern_sites(const qn_fault_set *set, const qn_plan_part *part, const qn_fault_target *target, int64_t *n)
{
    const int64_t ways = part->n_ways;
    switch (set->pattern) {
    case QN_FAULT_WORD:
        return word_sites(set, target, n);
    case QN_FAULT_FRAME:
        *n = frame_sites(set, target);
        return true;
    case QN_FAULT_CHANNEL:
        return product(part->elements->axis[target->channel_axis].n, ways, n);
    case QN_FAULT_ARRAY:
        return product(set->array.part == QN_FAULT_ARRAY_COLUMN ? 1 : part->n_rows, ways, n) &&
               product(*n, set->array.part == QN_FAULT_ARRAY_ROW ? 1 : part->n_columns, n);
    default:
        return product(part->n_units, ways, n);
    }
}
