/* Passes that change a graph without changing what it computes. Each wants a graph that qn_graph_verify accepts and
 * leaves one, tidied. On failure the graph is still safe to free, and nothing else. */
#ifndef QN_GRAPH_PASSES_H
#define QN_GRAPH_PASSES_H

#include "graph/graph.h"

/* Make constants of all values that are known before anything runs and do not depend on the batch size; float
 * arithmetic on constants is done with the functions of arithmetic.md 6. Values that come from coded constants stay,
 * and graph outputs. Errors: QN_ENOMEM, those of qn_graph_bind. */
qn_status qn_graph_settle_constants(qn_graph *graph, qn_error *err);

/* Fold every BatchNormalization that follows a Conv, ConvTranspose, Gemm or MatMul of matrices (which becomes a Gemm)
 * whose output it alone reads into that node's weights and bias, computed in double and rounded once to float:
 *   w' = w * gamma / sqrt(var + epsilon),  b' = (b - mean) * gamma / sqrt(var + epsilon) + beta
 * (alpha and beta of the Gemm included). The node takes over the output of the BatchNormalization; its former output
 * is gone. One that cannot be folded stays: parameters computed at run time, a quantizer on a value or constant
 * involved, training outputs in use, or a result that is not finite. Errors: QN_ENOMEM, QN_EFORMAT. */
qn_status qn_graph_fold_batchnorm(qn_graph *graph, qn_error *err);

/* Drop Identity and inference-time Dropout nodes whose output carries no quantizer, and what turns out to change
 * nothing: Reshape, Flatten, Squeeze, Unsqueeze and Expand to the same shape, a Transpose that keeps the order, a
 * Slice of everything, a Pad of nothing, a Concat (Sum, Max, Min, Mean) of one, a Cast to the same type (of floats:
 * where all are float32), a sum with 0 and a product with 1. All exact, but that -0 + 0 is 0. Graph inputs and outputs
 * keep their names: a node that leads from an input or constant to a graph output, or from one graph output to
 * another, stays. */
qn_status qn_graph_drop_identities(qn_graph *graph, qn_error *err);
/* Of these Identity and Dropout only, for which nothing has to be bound. */
qn_status qn_graph_drop_copies(qn_graph *graph, qn_error *err);

/* Move Transposes towards the outputs, through element-wise operators, Concat, Split, Softmax, Reduce, Squeeze, Pad
 * and Slice, until those that undo each other meet and are gone; Reshapes take in what only moves axes of one element.
 * Nothing happens unless fewer Transposes are left. Values that lie in another order than before keep their names
 * where the former ones are gone. Exact: elements move, none is computed anew (but for sums of a Reduce, which may be
 * added in another order).
 *  count  how many fewer; may be NULL
 * Errors: QN_ENOMEM, and those of qn_graph_bind. */
qn_status qn_graph_move_transposes(qn_graph *graph, int64_t *count, qn_error *err);

/* Fold every Mul and Div by a constant of one element into the constants that its operand is made of, where the way
 * there is read by nobody else: through moves, sums with constants and one side of a MatMul into weights and bias of a
 * MatMul, Gemm, Conv or ConvTranspose. Exact for powers of two; otherwise each constant rounds once. Values on the way
 * are others than before, and get other names; what the Mul made keeps its own. Constants have to stay normal and
 * finite.
 *  count  factors folded; may be NULL
 * Errors: QN_ENOMEM, and those of qn_graph_bind. */
qn_status qn_graph_fold_scales(qn_graph *graph, int64_t *count, qn_error *err);

/* Decomposed operators become the operator that was meant, by the rows of patterns.inc of one pass (NULL: of all). The
 * new node takes the name and the output of the pattern's last node; what was made inside is gone. Values are the same
 * within float rounding (doc/passes.md). Nothing is matched where a value inside is read elsewhere, is a graph output
 * or carries a quantizer.
 *  count  patterns replaced; may be NULL
 * Errors: QN_ENOMEM, and those of qn_graph_bind. */
qn_status qn_graph_recognize(qn_graph *graph, const char *pass, int64_t *count, qn_error *err);
/* All of these but fold_batchnorm, in the order of recipes. Errors: theirs. */
qn_status qn_graph_clean_up(qn_graph *graph, qn_error *err);
/* Are all rows well written? QN_EINVAL with the text of the first that is not. */
qn_status qn_graph_check_patterns(qn_error *err);

#endif
