/* Subsets of indices and of elements, numbered without being listed. Inside the fault room. */
#ifndef QN_FAULT_SPACE_SUBSET_H
#define QN_FAULT_SPACE_SUBSET_H

#include "fault/spec.h"

/* Indices first .. first + n - 1; `start` of the subset's lie before them. */
typedef struct qn_index_span {
    int64_t first, n, start;
} qn_index_span;

/* Ascending spans that do not touch; n indices. */
typedef struct qn_subset {
    const qn_index_span *spans;
    int n_spans;
    int64_t n;
} qn_subset;

/* Those of 0 .. size-1 that are in `ranges` (none: all); spans come from the arena. Errors: QN_ENOMEM. */
qn_status qn_subset_make(qn_subset *subset, qn_arena *arena, const qn_fault_ranges *ranges, int64_t size,
                         qn_error *err);
/* Its index number i, 0 <= i < n. */
int64_t qn_subset_at(const qn_subset *subset, int64_t i);
/* How many of its indices are below `index`. */
int64_t qn_subset_below(const qn_subset *subset, int64_t index);
bool qn_subset_has(const qn_subset *subset, int64_t index);

/* Elements of a target: those whose index along every axis is in that axis' subset, and, numbered among these in
 * ascending order, in `numbers`.
 *  whole   all elements of the target */
typedef struct qn_selection {
    int rank;
    int64_t dims[QN_MAX_RANK];
    qn_subset axis[QN_MAX_RANK], numbers;
    int64_t n;
    bool whole;
} qn_selection;
/* `channels`, `rows` and `columns` are of the target's axes; of those it has not nothing is said.
 *  channel   >= 0: this one only
 * Errors: QN_ENOMEM. */
qn_status qn_selection_make(qn_selection *selection, qn_arena *arena, const qn_fault_selector *select,
                            const qn_fault_target *target, int64_t channel, qn_error *err);
/* Flat number of its element i, ascending in i. */
int64_t qn_selection_at(const qn_selection *selection, int64_t i);

#endif
