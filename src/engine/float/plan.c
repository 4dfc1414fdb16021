/* Where slots live in a workspace's arena: largest first, each at the lowest offset where no slot that is alive at the
 * same time lies. */
#include <stdlib.h>
#include <string.h>

#include "engine/float/float_program.h"

static bool planned(const qn_float_slot *slot)
{
    return slot->constant == NULL && slot->last >= 0 && slot->n_bytes > 0;
}

/* A slot that has its place. Kept small and in one array, because planning reads all of them for each slot. */
typedef struct placed {
    size_t offset, end;
    int32_t first, last;
} placed;

static int by_size(const void *left, const void *right)
{
    const qn_float_slot *a = *(qn_float_slot *const *)left, *b = *(qn_float_slot *const *)right;
    if (a->n_bytes != b->n_bytes) {
        return a->n_bytes < b->n_bytes ? 1 : -1;
    }
    return a < b ? -1 : a > b; /* the order of making, so that plans do not depend on the sort */
}

/* Put `slot` into the lowest gap between the n placed ones alive with it, which are sorted by offset and stay so. */
static void place(placed *others, size_t n, qn_float_slot *slot, bool keep_all)
{
    size_t offset = 0, at = n; /* where it goes among the others */
    for (size_t i = 0; i < n; i++) {
        const placed *other = &others[i];
        if (!keep_all && (slot->first > other->last || other->first > slot->last)) {
            continue;
        }
        if (other->offset >= offset && other->offset - offset >= slot->n_bytes) {
            break;
        }
        offset = other->end > offset ? other->end : offset;
    }
    while (at > 0 && others[at - 1].offset > offset) {
        at--;
    }
    memmove(&others[at + 1], &others[at], (n - at) * sizeof *others);
    others[at] = (placed){offset, offset + slot->n_bytes, slot->first, slot->last};
    slot->offset = offset;
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
    placed *others = qn_arena_array(scratch, code->n_slots, sizeof *others);
    if (order == NULL || others == NULL) {
        return qn_fail_memory(err, NULL, code->n_slots * sizeof *others);
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
        place(others, i, order[i], keep_all);
        size_t end = order[i]->offset + order[i]->n_bytes;
        code->arena_bytes = end > code->arena_bytes ? end : code->arena_bytes;
    }
    return QN_OK;
}
