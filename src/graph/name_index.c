#include "graph/name_index.h"

#include <string.h>

#include "base/hash.h"

typedef struct slot {
    uint32_t hash;
    qn_value_id id; /* QN_NO_VALUE: free */
} slot;

struct qn_name_index {
    slot *slots;
    size_t n_slots; /* a power of two, at least twice n_used */
    size_t n_used;
    uint64_t point; /* of the hash */
};

/* The slot that holds `name`, or the free slot where it would go. */
static size_t locate(const qn_name_index *index, const qn_value *values, uint32_t hash, const char *name)
{
    size_t mask = index->n_slots - 1;
    size_t at = hash & mask;
    while (index->slots[at].id != QN_NO_VALUE &&
           (index->slots[at].hash != hash || strcmp(values[index->slots[at].id].name, name) != 0)) {
        at = (at + 1) & mask;
    }
    return at;
}

qn_value_id qn_name_index_find(const qn_name_index *index, const qn_value *values, const char *name)
{
    if (index == NULL || index->n_slots == 0) {
        return QN_NO_VALUE;
    }
    return index->slots[locate(index, values, qn_hash_text(name, index->point), name)].id;
}

static slot *alloc_slots(size_t n_slots)
{
    slot *slots = qn_alloc(n_slots * sizeof *slots);
    for (size_t i = 0; slots != NULL && i < n_slots; i++) {
        slots[i].id = QN_NO_VALUE;
    }
    return slots;
}

static void place(qn_name_index *index, slot entry)
{
    size_t mask = index->n_slots - 1;
    size_t at = entry.hash & mask;
    while (index->slots[at].id != QN_NO_VALUE) {
        at = (at + 1) & mask;
    }
    index->slots[at] = entry;
}

qn_status qn_name_index_reserve(qn_name_index **handle, qn_error *err)
{
    qn_name_index *index = *handle;
    if (index == NULL) {
        index = qn_alloc(sizeof *index);
        if (index == NULL) {
            return qn_fail_memory(err, NULL, sizeof *index);
        }
        index->point = qn_hash_point(index);
        *handle = index;
    }
    if (2 * (index->n_used + 1) <= index->n_slots) {
        return QN_OK;
    }
    size_t n_slots = index->n_slots == 0 ? 64 : 2 * index->n_slots;
    slot *slots = alloc_slots(n_slots);
    if (slots == NULL) {
        return qn_fail_memory(err, NULL, n_slots * sizeof *slots);
    }
    slot *old = index->slots;
    size_t n_old = index->n_slots;
    index->slots = slots;
    index->n_slots = n_slots;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].id != QN_NO_VALUE) {
            place(index, old[i]);
        }
    }
    qn_free(old);
    return QN_OK;
}

void qn_name_index_insert(qn_name_index *index, const qn_value *values, qn_value_id id)
{
    place(index, (slot){qn_hash_text(values[id].name, index->point), id});
    index->n_used++;
}

void qn_name_index_remove(qn_name_index *index, const qn_value *values, qn_value_id id)
{
    size_t mask = index->n_slots - 1;
    size_t hole = locate(index, values, qn_hash_text(values[id].name, index->point), values[id].name);
    if (index->slots[hole].id != id) {
        return;
    }
    /* Close the gap: an entry behind the hole moves into it unless its own chain starts after the hole. */
    for (size_t at = (hole + 1) & mask; index->slots[at].id != QN_NO_VALUE; at = (at + 1) & mask) {
        size_t home = index->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            index->slots[hole] = index->slots[at];
            hole = at;
        }
    }
    index->slots[hole].id = QN_NO_VALUE;
    index->n_used--;
}

void qn_name_index_free(qn_name_index *index)
{
    if (index != NULL) {
        qn_free(index->slots);
        qn_free(index);
    }
}
