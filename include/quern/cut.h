/* Cuts: the places where a network can be taken apart into stages that run one after another, and those stages as
 * models.
 *
 * The nodes that have to run stand in an order in which each comes after those it reads; position p is the place behind
 * the first p of them. What was made before a position and is read behind it, or is an output of the network, crosses
 * there. Position 0 is where the network's inputs come in, the last one where its outputs go out. */
#ifndef QUERN_CUT_H
#define QUERN_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/engine.h"
#include "quern/format.h"

/* A tensor that crosses. Names belong to the model.
 *  dims   of one item: the leading dimension is left out where it counts items, see qn_cuts_batched
 *  count  elements of one item
 *  coded  it has static parameters, and travels as its codes unless a link says otherwise
 *  format of these codes; "fp32" of others. The text belongs to the cuts */
typedef struct qn_cut_tensor {
    const char *name;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t count;
    bool coded;
    const char *format;
    int code_bits; /* of that format; 32 of fp32 */
    int32_t value; /* in the model */
} qn_cut_tensor;

/* A position.
 *  name     the first output of the node before it: what plans call the position; "" for position 0
 *  node     label of that node: its name, or its operator where it has none
 *  reason   why stages cannot part here, NULL where they can. An integer network cannot where a layer and what is
 *           computed together with it would be parted; none can where a tensor is not of float numbers, or is a
 *           constant to one and not to the other
 *  tensors  that cross, in the order in which they are made */
typedef struct qn_cut {
    size_t position;
    const char *name, *node, *op_type;
    const char *reason;
    size_t n_tensors;
    const qn_cut_tensor *tensors;
} qn_cut;

/* What lies between two positions.
 *  macs              for one item
 *  weight_bytes      constants that its nodes read, as the model holds them: codes packed, else float32
 *  activation_bytes  for one item: the most that is alive at once, inputs, outputs and what passes through included;
 *                    codes packed, else float32 */
typedef struct qn_cut_span {
    int64_t n_nodes, macs, weight_bytes, activation_bytes;
} qn_cut_span;

typedef struct qn_cuts qn_cuts;

/* Find the positions of a model, which must outlive them and stay unchanged.
 *  engine  that stages will run on
 * Errors: those of qn_program_create with that engine; QN_EUNSUPPORTED (an output that depends on no input),
 * QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_cuts_create(qn_cuts **cuts, const qn_model *model, qn_engine engine, qn_error *err);
QN_API void qn_cuts_free(qn_cuts *cuts);
QN_API const qn_model *qn_cuts_model(const qn_cuts *cuts);
QN_API qn_engine qn_cuts_engine(const qn_cuts *cuts);
/* Positions: 0 to this, which is also the number of nodes. */
QN_API size_t qn_cuts_last(const qn_cuts *cuts);
QN_API const qn_cut *qn_cuts_at(const qn_cuts *cuts, size_t position); /* NULL beyond the last */
/* The position of a name, which stages may part at. QN_EINVAL: no position has it (names some that do), or why not
 * there. */
QN_API QN_NODISCARD qn_status qn_cuts_find(size_t *position, const qn_cuts *cuts, const char *name, qn_error *err);
/* Do all tensors that may cross lead with the items of a batch? Otherwise stages take one item at a time. */
QN_API bool qn_cuts_batched(const qn_cuts *cuts);
QN_API qn_cut_span qn_cuts_span(const qn_cuts *cuts, size_t from, size_t to); /* from <= to <= the last */

/* The nodes between two positions as a model of their own, for programs of the cuts' engine.
 *  model    inputs: the tensors that cross at `from` and that these nodes read (at position 0: the network's inputs);
 *           outputs: those that cross at `to` and are made here
 *  inputs   n_inputs of them: the index into the tensors of `from` of each of the model's inputs
 *  sources  one for each tensor of `to`: an output of the model, or a tensor of `from`, which passes through unchanged
 * The outputs of the stages one after another are those of the network in qn_cuts_engine: of the integer engine, byte
 * for byte, when what crosses travels as codes and floats. */
typedef struct qn_stage_source {
    bool passes;
    size_t index;
} qn_stage_source;
typedef struct qn_stage {
    size_t from, to;
    qn_model *model;
    size_t n_inputs, *inputs;
    size_t n_sources;
    qn_stage_source *sources;
} qn_stage;
/* Errors: QN_EINVAL (positions that are not one before the other, or at which stages cannot part), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_stage_create(qn_stage *stage, const qn_cuts *cuts, size_t from, size_t to,
                                              qn_error *err);
QN_API void qn_stage_free(qn_stage *stage);

#endif
