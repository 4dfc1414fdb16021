/* Making targets: shared by targets*.c. Inside the fault room. */
#ifndef QN_FAULT_TARGETS_H
#define QN_FAULT_TARGETS_H

#include "engine/integer/function.h"
#include "engine/integer/integer.h"
#include "fault/fault.h"
#include "graph/arithmetic.h"

/* Targets under way, in any order.
 *  readers   per value: nodes that read it, graph outputs counted
 *  last      per value: its channels are its last axis (what matrices make, and what is made of that), not its first
 *  listed    per value: it has its target of weights, biases, activations or inputs */
typedef struct qn_targets_builder {
    const qn_program *program;
    const qn_graph *graph;
    const qn_binding *binding;
    qn_fault_targets *targets;
    size_t capacity;
    int32_t *readers;
    bool *last, *listed;
} qn_targets_builder;

/* Targets of one kind of program. Errors: QN_ENOMEM. */
qn_status qn_targets_integer(qn_targets_builder *b, qn_error *err);
qn_status qn_targets_float(qn_targets_builder *b, qn_error *err);

/* A constant that node `node` reads, with the parameters of its quantizer if they are in use (never those of s32 biases,
 * which follow from others); nothing when it is not a constant of f32, or is listed already. `biases`: it is added to
 * sums. */
qn_status qn_targets_add_constant(qn_targets_builder *b, int32_t node, qn_value_id value, bool biases, qn_error *err);
/* All constants that a node computes with; not those that are numbers of an operator (bounds of Clip). */
qn_status qn_targets_add_constants(qn_targets_builder *b, int32_t node, qn_error *err);
/* What node `node` makes (-1: an input), as codes of the quantizer q, NULL: floats. */
qn_status qn_targets_add_activation(qn_targets_builder *b, int32_t node, qn_value_id value, const qn_quantizer *q,
                                    qn_error *err);
/* n entries of tables that make `value`. */
qn_status qn_targets_add_tables(qn_targets_builder *b, int32_t node, qn_value_id value, int64_t n, qn_error *err);
/* Accumulators, partial sums and products of `value`, each of n_terms terms. */
qn_status qn_targets_add_sums(qn_targets_builder *b, int32_t node, qn_value_id value, int bits, int64_t n_terms,
                              qn_error *err);
/* Is the value the bias vector that an Add puts on a product of matrices, which carries no quantizer itself? The Add, or
 * -1. */
int32_t qn_targets_added_bias(const qn_targets_builder *b, int32_t node, qn_value_id *bias);
/* One table of codes that the integer engine makes a value by: entry `first` + e of the value's target of tables is what the
 * step has for the kept code lowest + e, e < n. */
typedef struct qn_fault_table {
    int step, lowest, n;
    int64_t first;
} qn_fault_table;
/* The next table of the value behind step `after` (-1: the first); false when there is none. `table` holds the one before,
 * or is zeroed. */
bool qn_targets_next_table(const qn_program *program, qn_value_id value, int after, qn_fault_table *table);
/* The table that an entry lies in; false where the program has none there. */
bool qn_targets_find_table(const qn_program *program, qn_value_id value, int64_t entry, qn_fault_table *table);
/* Does the node only show its input in another shape, with the same codes? */
bool qn_targets_shows(const qn_targets_builder *b, const qn_node *node);
/* The function of one coded value that begins with the node, of which the integer engine makes one table: nothing inside
 * is a value of its own. False where there is none. */
bool qn_targets_function(const qn_targets_builder *b, const qn_node *node, qn_function *f);
/* Has the node something to compute? */
bool qn_targets_runs(const qn_targets_builder *b, const qn_node *node);

/* The code for a real in element `element` of a target: that of its format, the bits of a float, the integer nearest to it
 * (for biases, to it in units of their scale). Codes of dynamic quantizers are as with neutral parameters. */
uint32_t qn_targets_encode(const qn_fault_target *target, const qn_program *program, int64_t element, double value);

/* The masks of a change, and what it suppresses; no noise. */
uint32_t qn_targets_force(const qn_fault_change *change, const qn_fault_target *target, uint32_t code);

/* The quantizer of a value, or of what it is moved from; NULL for none. */
const qn_quantizer *qn_targets_quantizer(const qn_graph *graph, qn_value_id value);

#endif
