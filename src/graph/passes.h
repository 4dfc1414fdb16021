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

#endif
