/* How a node changes when the axes of its data lie in another order; inside the graph room only. */
#ifndef QN_GRAPH_TRANSPOSES_H
#define QN_GRAPH_TRANSPOSES_H

#include "graph/infer.h"

/* A node that reads what Transposes of one permutation make: axis i of what it reads is axis perm[i] of what they read.
 *  binding   of the graph before anything moved: knows the values that the node reads and makes
 *  axes      of the node, as it will have them: of a Reduce or Squeeze, n_axes of them; of others with an axis, one
 *  out_perm  what is left to do to the node's outputs, over out_rank axes */
typedef struct qn_pushed {
    qn_graph *graph;
    const qn_binding *binding;
    qn_node *node;
    int rank, perm[QN_MAX_RANK];
    int n_axes;
    int64_t axes[QN_MAX_RANK];
    int out_rank, out_perm[QN_MAX_RANK];
    qn_error *err;
} qn_pushed;

/* How many operands vary, from the first on; all have to be transposed alike, or be constant. 0: nothing can pass. */
int qn_transpose_operands(const qn_graph *graph, const qn_node *node);
/* Can a Transpose trade places with the node? Sets axes and out_perm. */
bool qn_transpose_plan(qn_pushed *p);
/* Change attributes and parameters accordingly; operands that vary are the caller's. Errors: QN_ENOMEM. */
qn_status qn_transpose_apply(qn_pushed *p);
/* A new constant; its name starts with `stem`. */
qn_status qn_transpose_constant(qn_graph *graph, const char *stem, const qn_tensor *t, qn_value_id *id, qn_error *err);
/* Give a node an attribute of integers, in the place of one of that name. */
qn_status qn_transpose_set_ints(qn_graph *graph, qn_node *node, const char *name, const int64_t *list, int n,
                                qn_error *err);

#endif
