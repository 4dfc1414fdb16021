/* Passes that change a graph without changing what it computes. Each wants a graph that qn_graph_verify accepts and
 * leaves one, tidied. On failure the graph is still safe to free, and nothing else. */
#ifndef QN_GRAPH_PASSES_H
#define QN_GRAPH_PASSES_H

#include "graph/graph.h"

/* Fold every BatchNormalization that follows a Conv or Gemm whose output it alone reads into that node's weights and
 * bias, computed in double and rounded once to float:
 *   w' = w * gamma / sqrt(var + epsilon),  b' = (b - mean) * gamma / sqrt(var + epsilon) + beta
 * (alpha and beta of the Gemm included). The node takes over the output of the BatchNormalization; its former output is
 * gone. One that cannot be folded stays: parameters computed at run time, a quantizer on a value or constant involved,
 * training outputs in use, or a result that is not finite. Errors: QN_ENOMEM, QN_EFORMAT. */
qn_status qn_graph_fold_batchnorm(qn_graph *graph, qn_error *err);

/* Drop Identity and inference-time Dropout nodes whose output carries no quantizer. Graph inputs and outputs keep their
 * names: a node that leads from an input or constant to a graph output, or from one graph output to another, stays. */
qn_status qn_graph_drop_identities(qn_graph *graph, qn_error *err);

/* Decomposed operators become the operator that was meant, by the rows of patterns.inc of one pass (NULL: of all). The new
 * node takes the name and the output of the pattern's last node; what was made inside is gone. Values are the same within
 * float rounding (doc/passes.md). Nothing is matched where a value inside is read elsewhere, is a graph output or carries a
 * quantizer.
 *  count  patterns replaced; may be NULL
 * Errors: QN_ENOMEM, and those of qn_graph_bind. */
qn_status qn_graph_recognize(qn_graph *graph, const char *pass, int64_t *count, qn_error *err);
/* Are all rows well written? QN_EINVAL with the text of the first that is not. */
qn_status qn_graph_check_patterns(qn_error *err);

#endif
