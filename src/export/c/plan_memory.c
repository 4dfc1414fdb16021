/* Buffers are placed one after the other, each into a gap among those it lives with; which order and which gap are
 * best is not known beforehand, so several are tried, then the best order is altered at random, until the bound is
 * reached or the effort is spent. */
#include "export/c/plan_memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Comparisons of two buffers spent on the search, at most. */
static const int64_t effort = 40000000;
enum { MOST_TRIES = 4000 };

typedef enum gap { FIRST_GAP, BEST_GAP, N_GAPS } gap;

/*  order     buffers in the order of placement; best: that of the best plan so far
 *  placed    those placed, by offset; offset: of each buffer in this trial */
typedef struct search {
    const qn_plan_buffer *buffers;
    int n;
    int *order, *best, *placed;
    int64_t *offset, *best_offset;
    int64_t peak, bound;
    gap best_gap;
} search;

static bool meet(const qn_plan_buffer *a, const qn_plan_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static int64_t bound_of(const qn_plan_buffer *b, int n)
{
    int64_t most = 0;
    for (int i = 0; i < n; i++) { /* the greatest number begins to live with some buffer */
        int64_t sum = 0;
        for (int j = 0; j < n; j++) {
            sum += b[j].first <= b[i].first && b[i].first <= b[j].last ? b[j].n_bytes : 0;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

/* Offset for buffer i among the n_placed ones. */
static int64_t find_gap(const search *s, int i, int n_placed, gap rule)
{
    const qn_plan_buffer *b = &s->buffers[i];
    int64_t top = 0, found = -1, found_size = INT64_MAX;
    for (int j = 0; j < n_placed; j++) {
        const int other = s->placed[j];
        if (!meet(b, &s->buffers[other])) {
            continue;
        }
        const int64_t size = s->offset[other] - top;
        if (size >= b->n_bytes && size < found_size) {
            found = top;
            found_size = size;
            if (rule == FIRST_GAP) {
                break;
            }
        }
        const int64_t end = s->offset[other] + s->buffers[other].n_bytes;
        top = end > top ? end : top;
    }
    return found >= 0 ? found : top;
}

/* Place all in s->order; the peak, or beyond `limit` anything above it. */
static int64_t place(search *s, gap rule, int64_t limit)
{
    int64_t peak = 0;
    for (int i = 0; i < s->n; i++) {
        const int which = s->order[i];
        const int64_t offset = find_gap(s, which, i, rule);
        int at = i;
        while (at > 0 && s->offset[s->placed[at - 1]] > offset) {
            s->placed[at] = s->placed[at - 1];
            at--;
        }
        s->placed[at] = which;
        s->offset[which] = offset;
        const int64_t end = offset + s->buffers[which].n_bytes;
        peak = end > peak ? end : peak;
        if (peak > limit) {
            return peak;
        }
    }
    return peak;
}

/* Try s->order; keep it when it is no worse. */
static void try_order(search *s, gap rule)
{
    const int64_t peak = place(s, rule, s->peak);
    if (peak <= s->peak) {
        s->peak = peak;
        s->best_gap = rule;
        memcpy(s->best, s->order, (size_t)s->n * sizeof *s->order);
        memcpy(s->best_offset, s->offset, (size_t)s->n * sizeof *s->offset);
    }
}

typedef enum sorting { BY_SIZE, BY_AREA, BY_LIFE, BY_FIRST, BY_LAST, N_SORTINGS } sorting;

static int64_t key_of(const qn_plan_buffer *b, sorting by)
{
    const int64_t life = b->last - b->first + 1;
    switch (by) {
    case BY_SIZE:
        return -b->n_bytes;
    case BY_AREA:
        return -b->n_bytes * life;
    case BY_LIFE:
        return -life;
    case BY_FIRST:
        return b->first;
    default:
        return -(int64_t)b->last;
    }
}

/* Stable insertion, so that the plan depends on nothing else. */
static void sort(search *s, sorting by)
{
    for (int i = 0; i < s->n; i++) {
        const int64_t key = key_of(&s->buffers[i], by);
        int at = i;
        while (at > 0 && key_of(&s->buffers[s->order[at - 1]], by) > key) {
            s->order[at] = s->order[at - 1];
            at--;
        }
        s->order[at] = i;
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Move one that reaches the top, or any, to an earlier place in the order. */
static void alter(search *s, uint64_t *random)
{
    memcpy(s->order, s->best, (size_t)s->n * sizeof *s->order);
    int from = (int)(next_random(random) % (uint64_t)s->n);
    if (next_random(random) % 2 == 0) {
        for (int i = 0; i < s->n; i++) {
            const int which = s->order[i];
            from = s->best_offset[which] + s->buffers[which].n_bytes == s->peak ? i : from;
        }
    }
    const int to = (int)(next_random(random) % (uint64_t)(from + 1)), moved = s->order[from];
    memmove(s->order + to + 1, s->order + to, (size_t)(from - to) * sizeof *s->order);
    s->order[to] = moved;
}

static void run_search(search *s)
{
    s->peak = INT64_MAX;
    for (int by = 0; by < N_SORTINGS; by++) {
        sort(s, (sorting)by);
        for (int rule = 0; rule < N_GAPS && s->peak > s->bound; rule++) {
            try_order(s, (gap)rule);
        }
    }
    const int64_t affordable = effort / ((int64_t)s->n * s->n + 1);
    uint64_t random = 88172645463325252u;
    for (int64_t i = 0; i < affordable && i < MOST_TRIES && s->peak > s->bound; i++) {
        alter(s, &random);
        try_order(s, next_random(&random) % 4 == 0 ? (gap)(N_GAPS - 1 - (int)s->best_gap) : s->best_gap);
    }
}

qn_status qn_plan_memory_make(qn_plan_memory *plan, qn_plan_buffer *buffers, int n, qn_error *err)
{
    *plan = (qn_plan_memory){0};
    if (n == 0) {
        return QN_OK;
    }
    const size_t count = (size_t)n;
    int *ints = qn_alloc(3 * count * sizeof *ints);
    int64_t *offsets = qn_alloc(2 * count * sizeof *offsets);
    if (ints == NULL || offsets == NULL) {
        qn_free(ints);
        qn_free(offsets);
        return qn_fail_memory(err, NULL, count * sizeof *offsets);
    }
    search s = {.buffers = buffers,
                .n = n,
                .order = ints,
                .best = ints + count,
                .placed = ints + 2 * count,
                .offset = offsets,
                .best_offset = offsets + count,
                .bound = bound_of(buffers, n)};
    run_search(&s);
    for (int i = 0; i < n; i++) {
        buffers[i].offset = s.best_offset[i];
    }
    *plan = (qn_plan_memory){.peak = s.peak, .bound = s.bound};
    qn_free(offsets);
    qn_free(ints);
    return QN_OK;
}
