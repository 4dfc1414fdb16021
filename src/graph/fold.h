/* Constant folding, computed while binding; inside the graph room only. */
#ifndef QN_GRAPH_FOLD_H
#define QN_GRAPH_FOLD_H

#include "graph/infer.h"

/* Compute the first output of an inferred node whose inputs are known into `out`, contiguous, of the inferred type and
 * shape. */
typedef qn_status (*qn_fold_fn)(const qn_infer *c, void *out);

qn_status qn_fold_arithmetic(const qn_infer *c, void *out); /* Add, Sub, Mul, Div of int32 or int64; wraps */
qn_status qn_fold_cast(const qn_infer *c, void *out);
qn_status qn_fold_compute(const qn_infer *c, void *out); /* what graph/compute has */
qn_status qn_fold_concat(const qn_infer *c, void *out);
qn_status qn_fold_constant_of_shape(const qn_infer *c, void *out);
qn_status qn_fold_gather(const qn_infer *c, void *out);
qn_status qn_fold_shape(const qn_infer *c, void *out);
qn_status qn_fold_size(const qn_infer *c, void *out);
qn_status qn_fold_slice(const qn_infer *c, void *out);
qn_status qn_fold_transpose(const qn_infer *c, void *out);

/* If the node is one of those and its inputs are known: compute its output, in the binding's arena. *budget is how many
 * bytes may still be allocated. QN_ELIMIT beyond; QN_ENOMEM; QN_EFORMAT for a division by zero. */
qn_status qn_fold_node(const qn_infer *c, qn_binding *binding, int64_t *budget);

#endif
