/* How the tensors of a position travel: shapes of a micro-batch, static quantizers, frames in each choice of the link.
 *
 * A tensor of n items has their number in front: [n, dims of one item]. Where stages take one item at a time, it has
 * the shape that it has in the network. Ownership: all lies in the crossing's arena.
 * Threads: planning changes it, so one at a time. */
#ifndef QN_LINK_CROSSING_H
#define QN_LINK_CROSSING_H

#include "base/memory.h"
#include "link/cut.h"
#include "quern/link.h"
#include "quern/plan.h"

/*  rank, dims  `leads`: dims[0] is the number of items, which varies
 *  fixed       static parameters of a whole micro-batch, for "codes"; NULL: fp32 */
typedef struct qn_crossing_tensor {
    bool leads;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t count;
    const qn_quantizer *fixed;
    int64_t sets; /* of `fixed`, for one item; 0: the same for all items */
} qn_crossing_tensor;

/*  options  of all frames in this choice
 *  codes    the choice is "codes"
 *  items    that `frames` are planned for; 0: none yet */
typedef struct qn_crossing_choice {
    qn_link_options options;
    bool codes;
    int64_t items;
    qn_frame *frames;
} qn_crossing_choice;

typedef struct qn_crossing {
    qn_arena arena;
    size_t n_tensors, n_choices;
    qn_crossing_tensor *tensors;
    qn_crossing_choice *choices;
} qn_crossing;

/* link: NULL at the ends of a network, which have no choices. Errors: QN_EINVAL (a choice that is none, a rank beyond
 * that of frames), QN_ENOMEM. The arena is released also after failure. */
qn_status qn_crossing_init(qn_crossing *crossing, const qn_cuts *cuts, size_t position, const qn_plan_link *link,
                           int64_t microbatch, qn_error *err);
void qn_crossing_free(qn_crossing *crossing);
/* The frames of n items in a choice; kept until another n is asked for. Allocates nothing. */
qn_status qn_crossing_plan(const qn_frame **frames, qn_crossing *crossing, size_t choice, int64_t n, qn_error *err);
/* The quantizer of tensor `index` for n items in a choice, or NULL: parameters are made of the values, or none. */
const qn_quantizer *qn_crossing_fixed(qn_quantizer *q, const qn_crossing *crossing, size_t choice, size_t index,
                                      int64_t n);
/* Bytes of a message of n items; 0 when frames cannot be that large. */
size_t qn_crossing_bytes(const qn_crossing *crossing, size_t choice, int64_t n);

#endif
