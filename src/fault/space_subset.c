/* Subsets as spans; elements in mixed radix over the subsets of their axes. */
#include "fault/space_subset.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *x, const void *y)
{
    const qn_index_span *a = x, *b = y;
    return a->first < b->first ? -1 : a->first > b->first;
}

/* Sort, join what overlaps or touches, count. */
static void settle(qn_subset *subset, qn_index_span *spans, int n)
{
    qsort(spans, (size_t)n, sizeof *spans, compare);
    int kept = 0;
    for (int i = 0; i < n; i++) {
        qn_index_span *last = kept > 0 ? &spans[kept - 1] : NULL;
        const int64_t end = spans[i].first + spans[i].n;
        if (last != NULL && spans[i].first <= last->first + last->n) {
            last->n = end > last->first + last->n ? end - last->first : last->n;
        } else {
            spans[kept++] = spans[i];
        }
    }
    subset->spans = spans;
    subset->n_spans = kept;
    subset->n = 0;
    for (int i = 0; i < kept; i++) {
        spans[i].start = subset->n;
        subset->n += spans[i].n;
    }
}

int64_t qn_subset_at(const qn_subset *subset, int64_t i)
{
    int low = 0, high = subset->n_spans - 1; /* the last span that starts at or before i */
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (subset->spans[middle].start <= i) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return subset->spans[low].first + (i - subset->spans[low].start);
}

int64_t qn_subset_below(const qn_subset *subset, int64_t index)
{
    int64_t n = 0;
    for (int i = 0; i < subset->n_spans && subset->spans[i].first < index; i++) {
        const int64_t reach = index - subset->spans[i].first;
        n += reach < subset->spans[i].n ? reach : subset->spans[i].n;
    }
    return n;
}

bool qn_subset_has(const qn_subset *subset, int64_t index)
{
    for (int i = 0; i < subset->n_spans && subset->spans[i].first <= index; i++) {
        if (index < subset->spans[i].first + subset->spans[i].n) {
            return true;
        }
    }
    return false;
}

/* How many elements of the axes' product have a flat number below `element`. */
static int64_t product_below(const qn_selection *s, int64_t element)
{
    int64_t stride = 1, suffix = 1, n = 0;
    for (int i = 0; i < s->rank; i++) {
        stride *= s->dims[i];
        suffix *= s->axis[i].n;
    }
    if (element >= stride) {
        return suffix;
    }
    for (int i = 0; i < s->rank && suffix > 0; i++) {
        stride /= s->dims[i];
        suffix /= s->axis[i].n;
        const int64_t index = element / stride;
        element %= stride;
        n += qn_subset_below(&s->axis[i], index) * suffix;
        if (!qn_subset_has(&s->axis[i], index)) {
            break;
        }
    }
    return n;
}

/* The indices that ranges name; `within` a product of axes, the numbers there of the elements that they name. */
static qn_status make(qn_subset *subset, qn_arena *arena, const qn_fault_ranges *ranges, int64_t size,
                      const qn_selection *within, qn_error *err)
{
    const int n_ranges = ranges->n > 0 ? ranges->n : 1;
    qn_index_span *spans = qn_arena_array(arena, (size_t)n_ranges, sizeof *spans);
    if (spans == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n_ranges * sizeof *spans);
    }
    int n = 0;
    for (int i = 0; i < n_ranges; i++) {
        int64_t first = ranges->n > 0 ? ranges->list[i].first : 0,
                last = ranges->n > 0 ? ranges->list[i].last : size - 1;
        first = first > 0 ? first : 0;
        int64_t end = last < size - 1 ? last + 1 : size;
        if (within != NULL) {
            first = product_below(within, first);
            end = product_below(within, end);
        }
        if (first < end) {
            spans[n++] = (qn_index_span){first, end - first, 0};
        }
    }
    settle(subset, spans, n);
    return QN_OK;
}

qn_status qn_subset_make(qn_subset *subset, qn_arena *arena, const qn_fault_ranges *ranges, int64_t size, qn_error *err)
{
    return make(subset, arena, ranges, size, NULL, err);
}

qn_status qn_selection_make(qn_selection *selection, qn_arena *arena, const qn_fault_selector *select,
                            const qn_fault_target *target, int64_t channel, qn_error *err)
{
    static const qn_fault_ranges all;
    const qn_fault_range one = {channel, channel};
    const qn_fault_ranges only = {&one, 1};
    *selection = (qn_selection){.rank = target->rank};
    memcpy(selection->dims, target->dims, sizeof selection->dims);
    for (int i = 0; i < target->rank; i++) {
        const qn_fault_ranges *ranges = i == target->channel_axis  ? (channel >= 0 ? &only : &select->channels)
                                        : i == target->row_axis    ? &select->rows
                                        : i == target->column_axis ? &select->columns
                                                                   : &all;
        QN_TRY(qn_subset_make(&selection->axis[i], arena, ranges, target->dims[i], err));
    }
    QN_TRY(make(&selection->numbers, arena, &select->elements, target->n_elems, selection, err));
    selection->n = selection->numbers.n;
    selection->whole = selection->n == target->n_elems;
    return QN_OK;
}

int64_t qn_selection_at(const qn_selection *s, int64_t i)
{
    if (s->whole) {
        return i;
    }
    i = qn_subset_at(&s->numbers, i);
    int64_t element = 0, stride = 1;
    for (int k = s->rank - 1; k >= 0; k--) {
        element += qn_subset_at(&s->axis[k], i % s->axis[k].n) * stride;
        i /= s->axis[k].n;
        stride *= s->dims[k];
    }
    return element;
}
