/* What one node computes, on plain arrays: a single definition for the float engine, for the islands of the integer
 * engine and for constant folding (doc/spec/arithmetic.md, section 6).
 *
 * A node is prepared once, when shapes are known; what came of it then runs any number of times, from any thread.
 * Arrays are dense, in C order, of the bound types: float32, integers, bool (a byte, 0 or 1). */
#ifndef QN_GRAPH_COMPUTE_H
#define QN_GRAPH_COMPUTE_H

#include "graph/infer.h"
#include "quern/cpu.h"

/* y: the output; x[i]: input args[i] of the node, NULL where it is absent. y overlaps no x. */
typedef void qn_compute_fn(const void *params, void *y, const void *const *x);

enum { QN_COMPUTE_ARGS = 8, QN_COMPUTE_PREVIOUS = -2 };

/* One output of one node.
 *  items   how many items the bound shapes hold, of which one is computed: values that are not constant have only so
 *          much of their first dimension. 1: everything at once
 *  arena   for parameters, which live as long as what was prepared
 *  part    nodes of any number of inputs are computed in parts, each from the previous one's result */
typedef struct qn_compute_job {
    const qn_binding *binding;
    const qn_node *node;
    int output, part;
    int64_t items;
    qn_cpu cpu;
    qn_arena *arena;
    qn_error *err;
} qn_compute_job;

/*  args    indices of inputs; QN_COMPUTE_PREVIOUS: the result of the part before, of the output's shape and type
 *  parts   parts in all */
typedef struct qn_compute {
    qn_compute_fn *run;
    const void *params;
    int n_args, args[QN_COMPUTE_ARGS];
    int parts;
} qn_compute;

bool qn_compute_has(qn_op op);
/* Can nothing but this run the node? So it is with operands or results of other types than float32, with indices of a
 * Gather that are computed while the network runs, with the second outputs of MaxPool and Dropout, and with windows of
 * three spatial dimensions. */
bool qn_compute_alone(const qn_binding *binding, const qn_node *node);
/* Is the node a Conv or a pool of three spatial dimensions? */
bool qn_compute_has_volume(const qn_binding *binding, const qn_node *node);
/* Errors: QN_EUNSUPPORTED naming what cannot be computed; QN_ENOMEM. */
qn_status qn_compute_prepare(qn_compute *compute, const qn_compute_job *job);
/* Is each index of the first axis of all results made of the same index of all inputs that are not constant, and of
 * nothing else? Such a node may be computed item by item. `false` is always safe. */
bool qn_compute_keeps_rows(const qn_binding *binding, const qn_node *node);

/* n elements as another type: reals toward zero, what does not fit int64 to its nearest end, NaN to 0; narrower
 * integers wrap; float16 and bfloat16 are float32 rounded to them. */
void qn_convert_elements(qn_dtype to, void *y, qn_dtype from, const void *x, int64_t n);

#endif
