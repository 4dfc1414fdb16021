/* Cuts of a graph, inside: order.c puts nodes in order, cut.c finds what crosses where, stage.c makes models.
 *
 * Ownership: everything lies in the cuts' arena but the bindings. Threads: cuts that nobody frees may be read by
 * many. */
#ifndef QN_LINK_CUT_H
#define QN_LINK_CUT_H

#include "base/error.h"
#include "base/memory.h"
#include "graph/bind.h"
#include "graph/model.h"
#include "quern/cut.h"

/* Where a value is in the order.
 *  made   position behind its node; 0 for inputs; -1 for what is known, or nobody makes
 *  last   position before which it was read for the last time, n_nodes + 1 for outputs; -1 when never */
typedef struct qn_cut_life {
    int32_t made, last;
} qn_cut_life;

struct qn_cuts {
    qn_arena arena;
    const qn_model *model;
    qn_engine engine;
    qn_binding binding; /* of one item */
    int32_t *order;     /* node indices */
    size_t n_nodes;
    qn_cut_life *life;       /* per value */
    const qn_tensor **known; /* per value: what stages have as a constant; NULL for others */
    const qn_quantizer **coding; /* per value: its own, or that of its codes in the engine; NULL for floats */
    bool batched;
    qn_cut *cuts; /* n_nodes + 1 */
};

/* The nodes that run, in order: the file's, or one that looks ahead to keep little alive, whichever lets fewer bytes
 * cross in sum. Fills order and n_nodes. */
qn_status qn_cuts_order(qn_cuts *cuts, qn_error *err);
/* Fills life for an order. */
void qn_cuts_live(const qn_cuts *cuts, const int32_t *order, qn_cut_life *life);

/* Where what crosses leads with neither items nor a one, the integer engine may not be able to begin or to end: tries
 * it, and gives positions that it cannot part at their reason. Errors: QN_ENOMEM. */
qn_status qn_cuts_try(qn_cuts *cuts, qn_error *err);
/* Networks of a fixed batch are not run in stages: QN_EINVAL, with the remedy. */
qn_status qn_cuts_check_items(const qn_cuts *cuts, qn_error *err);
/* One item of an input or output of the network, as programs of the whole network have it; the rank.
 *  end  a tensor of the first or the last position */
int qn_cuts_item_shape(int64_t dims[QN_MAX_RANK], const qn_cuts *cuts, const qn_cut_tensor *end);

/* Bytes of a value that stages have as a constant, as the model holds it; 0 of others. */
int64_t qn_cut_constant_bytes(const qn_cuts *cuts, qn_value_id id);

/* Spans from one position to all behind it.
 *  alive        per position: while the node before it runs; macs: of all nodes before it
 *  weights, activations  per position, after qn_cut_row: of the span from there to here
 *  seen, round  per value: the row in which it was counted last */
typedef struct qn_cut_rows {
    const qn_cuts *cuts;
    int64_t *alive, *macs, *weights, *activations;
    size_t *seen, round;
} qn_cut_rows;
qn_status qn_cut_rows_make(qn_cut_rows *rows, qn_arena *arena, const qn_cuts *cuts, qn_error *err);
void qn_cut_row(qn_cut_rows *rows, size_t from);

#endif
