/* From a match to a node; inside the graph room only. */
#ifndef QN_GRAPH_RECOGNIZE_H
#define QN_GRAPH_RECOGNIZE_H

#include "graph/pattern.h"

/* The node that will take the place of a pattern's last one. A finish function gets it with its operands as the row of
 * patterns.inc says, and may change anything; it answers false where the match is not what it seems. New constants may
 * be added to the graph; `status` says whether that failed. */
typedef struct qn_rewrite {
    qn_graph *graph;
    const qn_match *match;
    qn_op op;
    int n_inputs, n_attributes;
    qn_value_id inputs[4];
    qn_attribute attributes[4];
    bool flatten; /* a Flatten follows, so that [N, C, 1, ...] becomes [N, C]; the value before it keeps the name */
    qn_status status;
    qn_error *err;
} qn_rewrite;

typedef bool qn_finish_fn(qn_rewrite *r);
#define QN_PATTERN(pass, op, operands, finish, text) qn_finish_fn finish;
#include "graph/patterns.inc"
#undef QN_PATTERN

#endif
