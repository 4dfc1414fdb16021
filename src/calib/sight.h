/* What one worker of a calibration sees of every watched value, and joining that of all.
 *
 * Values that follow from others (qn_watched.from) are made from what is shown, item by item, in scratch memory that stays
 * in the caches. A plain ReLU that nothing follows from is not even made: its counts are the positive side's of its source. */
#ifndef QN_CALIB_SIGHT_H
#define QN_CALIB_SIGHT_H

#include "calib/calib.h"
#include "calib/sum.h"
#include "calib/tally.h"

/* Nested values at one time: more would need 2^32 values, as the heir comes last and takes the memory of its source. */
enum { QN_SIGHT_LEVELS = 33 };

typedef struct qn_sight_entry {
    int64_t at;       /* its first channel */
    int32_t tally;    /* -1: `positive` of its source's */
    int32_t heir;     /* of those that follow from it, the one with the most descendants, or -1 */
    int32_t child;    /* the first of the others, or -1 */
    int32_t sibling;  /* the next of them, or -1 */
    int32_t n_family; /* itself and its descendants */
    bool positive;
} qn_sight_entry;

/* Shared by the workers. */
typedef struct qn_sight_plan {
    const qn_program *program;
    const qn_observe_kernels *kernels;
    qn_sight_entry *entries; /* per entry of program->watch */
    int64_t n_channels, most_channels;
    int32_t n_tallies;
} qn_sight_plan;

typedef struct qn_sight {
    const qn_sight_plan *plan;
    float *min, *max;       /* [n_channels] */
    qn_sum *sums, *squares; /* [n_channels] */
    double *moments[2];     /* [most_channels], of an item */
    qn_tally *tallies;      /* [n_tallies] */
    int64_t *counts;        /* of all of them */
    float *scratch[QN_SIGHT_LEVELS];
    size_t scratch_size[QN_SIGHT_LEVELS]; /* bytes */
    size_t missing;                       /* bytes of scratch that could not be had */
    bool finite;                          /* everything was */
} qn_sight;

/* Both free what they made also when they fail; `sight` and `plan` may be zeroed. */
qn_status qn_sight_plan_make(qn_sight_plan *plan, const qn_program *program, const qn_observe_kernels *kernels,
                             qn_error *err);
void qn_sight_plan_free(qn_sight_plan *plan);
qn_status qn_sight_make(qn_sight *sight, const qn_sight_plan *plan, qn_error *err);
void qn_sight_free(qn_sight *sight);

/* qn_watcher's `show`; ctx is the sight of the worker. */
void qn_sight_show(void *ctx, size_t index, const qn_value_view *view);
/* Add what another has seen, which is no use afterwards. */
void qn_sight_join(qn_sight *sight, qn_sight *other);
/* After all is joined: the ranges and sums of the values that were not made. */
void qn_sight_derive(qn_sight *sight);

#endif
