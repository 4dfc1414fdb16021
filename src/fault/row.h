/* One row of a campaign: a fault and what it did, over all inferences it was present in. Plain data, sent between ranks as
 * it is. Inside the fault room. */
#ifndef QN_FAULT_ROW_H
#define QN_FAULT_ROW_H

#include "fault/injector.h"
#include "fault/outcome.h"

/* X(name, value): ends of pairs that are counted, values of qn_fault_end: all but BOUNDED. They are columns of stores. */
#define QN_FAULT_END_LIST(X)                                                                                           \
    X(inactive, 0)                                                                                                     \
    X(in_layer, 1)                                                                                                     \
    X(on_the_way, 2)                                                                                                   \
    X(at_output, 3)                                                                                                    \
    X(refused, 4)                                                                                                      \
    X(header_crc, 6)                                                                                                   \
    X(body_crc, 7)                                                                                                     \
    X(unreadable, 8)
enum { QN_FAULT_N_ENDS = 9, QN_FAULT_N_COUNTED_ENDS = 8 };

/*  target, element, term, mask   of the first change; mask: the bits it forces or flips;  n_changes: all of them
 *  before, after, value_*        codes and reals of the first change in the first image it was run on; value NaN: unknown
 *  pairs      (fault, image) pairs run;  activated: of them, those where a code changed
 *  counts     of pairs, per outcome flag;  ends: per qn_fault_end but BOUNDED, whose pairs are those of PROVEN
 *  rmse_sum, rmse_max   over pairs whose outputs differ and are finite; PROVEN ones are not measured */
typedef struct qn_fault_row {
    int64_t id, draw, element, term, n_changes, first_image, n_images;
    int32_t stratum, target;
    uint32_t mask, before, after;
    double value_before, value_after;
    int64_t pairs, activated;
    int64_t counts[QN_OUTCOME_COUNT], ends[QN_FAULT_N_ENDS];
    double rmse_sum, rmse_max;
} qn_fault_row;

/*  flags as in qn_outcome */
typedef struct qn_fault_pair {
    int64_t fault, image;
    unsigned flags;
    int32_t end;
    double rmse;
} qn_fault_pair;

#endif
