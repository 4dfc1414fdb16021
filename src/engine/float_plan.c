/* Where slots live in a workspace's arena: largest first, each at the lowest offset where no slot that is alive at the
 * same time lies. */
#include <stdlib.h>
#include <string.h>

#include "engine/float_program.h"

static bool planned(const qn_float_slot *slot)
{
    return slot->constant == NULL && slot->last >= 0 && slot->n_bytes > 0;
}

static bool alive_together(const qn_float_slot *a, const qn_float_slot *b, bool keep_all)
{
    return keep_all || (a->first <= b->last && b->first <= a->last);
}

static int by_size(const void *left, const void *right)
{
    const qn_float_slot *a = *(qn_float_slot *const *)left, *b = *(qn_float_slot *const *)right;
    if (a->n_bytes != b->n_bytes) {
        return a->n_bytes < b->n_bytes ? 1 : -1;
    }
    return a < b ? -1 : a > b; /* the order of making, so that plans do not depend on the sort */
}

static int by_offset(const void *left, const void *right)
{
    const qn_float_slot *a = *(qn_float_slot *const *)left, *b = *(qn_float_slot *const *)right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* `others` holds the n_others slots alive with `slot`, by offset. */
static size_t lowest_gap(size_t n_bytes, qn_float_slot *const *others, size_t n_others)
{
    size_t offset = 0;
    for (size_t i = 0; i < n_others; i++) {
        if (others[i]->offset >= offset && others[i]->offset - offset >= n_bytes) {
            break;
        }
        size_t end = others[i]->offset + others[i]->n_bytes;
        offset = end > offset ? end : offset;
    }
    return offset;
}

static bool round_up(size_t n_bytes, size_t *rounded)
{
    if (!qn_add_size(n_bytes, QN_CACHE_LINE - 1, rounded)) {
        return false;
    }
    *rounded = *rounded / QN_CACHE_LINE * QN_CACHE_LINE;
    return true;
}

qn_status qn_float_plan(qn_float_program *code, bool keep_all, qn_arena *scratch, qn_error *err)
{
    qn_float_slot **order = qn_arena_array(scratch, code->n_slots, sizeof *order);
    qn_float_slot **others = qn_arena_array(scratch, code->n_slots, sizeof *others);
    if (order == NULL || others == NULL) {
        return qn_fail_memory(err, NULL, code->n_slots * sizeof *order);
    }
    size_t n = 0, total = 0;
    for (size_t i = 0; i < code->n_slots; i++) {
        qn_float_slot *slot = &code->slots[i];
        if (planned(slot)) {
            /* with every size a multiple of the line, every offset is one too; the sum bounds all of them */
            if (!round_up(slot->n_bytes, &slot->n_bytes) || !qn_add_size(total, slot->n_bytes, &total)) {
                return qn_fail(err, QN_ELIMIT, NULL, "the values of one run need more memory than can be addressed");
            }
            order[n++] = slot;
        }
    }
    qsort(order, n, sizeof *order, by_size);
    code->arena_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        size_t n_others = 0;
        for (size_t j = 0; j < i; j++) {
            if (alive_together(order[i], order[j], keep_all)) {
                others[n_others++] = order[j];
            }
        }
        qsort(others, n_others, sizeof *others, by_offset);
        order[i]->offset = lowest_gap(order[i]->n_bytes, others, n_others);
        size_t end = order[i]->offset + order[i]->n_bytes;
        code->arena_bytes = end > code->arena_bytes ? end : code->arena_bytes;
    }
    return QN_OK;
}
