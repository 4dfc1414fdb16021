/* A problem made of a network, devices and links; kept with what it was made of, to tell of plans. */
#ifndef QN_LINK_PARTITION_PROBLEM_H
#define QN_LINK_PARTITION_PROBLEM_H

#include "link/cut.h"
#include "link/partition.h"

/*  place      positions where stages can part, and both ends
 *  largest    per place: bytes of the greatest message in any choice
 *  real_loss  losses are those of accuracy; else they only order choices by their bytes
 *  medium     that is shared; NULL: none
 *  first_bytes, last_bytes  of the transfers at the ends
 *  same_end   data and results are at one device: its type; -1: they are not */
typedef struct qn_part_setup {
    qn_part_problem problem;
    const qn_cuts *cuts;
    const qn_partition_options *options;
    size_t *place;
    int64_t *largest, *needs, *times, *delays, *bytes;
    int32_t *losses;
    bool *shared;
    qn_part_type *types;
    qn_cut_rows rows;
    bool real_loss;
    const char *medium;
    int64_t first_bytes, last_bytes;
    int same_end;
    qn_arena arena;
} qn_part_setup;
/* The setup is to be released also after failure. */
qn_status qn_part_setup_make(qn_part_setup *setup, const qn_cuts *cuts, const qn_partition_options *options,
                             qn_error *err);
void qn_part_setup_free(qn_part_setup *setup);
/* The link between devices of two types; NULL: there is none. */
const qn_device_link *qn_part_setup_link(const qn_part_setup *setup, size_t sender, size_t receiver);
/* From where data are to a type; from a type to where results are wanted. */
const qn_device_link *qn_part_setup_first(const qn_part_setup *setup, size_t type);
const qn_device_link *qn_part_setup_last(const qn_part_setup *setup, size_t type);
/* The best plan, whichever of its ends is at the device that has the data and wants the results. `ends`: types of its
 * first and last device, with the transfers at the ends as they are in it. */
qn_status qn_part_setup_solve(qn_part_plan *plan, qn_part_type ends[2], qn_part_setup *setup, qn_error *err);

#endif
