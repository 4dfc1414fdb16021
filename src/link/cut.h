/* Cuts of a graph, inside: order.c puts nodes in order, cut.c finds what crosses where, stage.c makes models.
 *
 * Ownership: everything lies in the cuts' arena but the bindings. Threads: cuts that nobody frees may be read by many. */
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
    bool batched;
    qn_cut *cuts; /* n_nodes + 1 */
};

/* The nodes that run, in order: the file's, or one that looks ahead to keep little alive, whichever lets fewer bytes
 * cross in sum. Fills order and n_nodes. */
qn_status qn_cuts_order(qn_cuts *cuts, qn_error *err);
/* Fills life for an order. */
void qn_cuts_live(const qn_cuts *cuts, const int32_t *order, qn_cut_life *life);

#endif
