/* The fault room: what bits can flip, which of them to try, what each does to the answer, and how sure we are of the rates.
 *
 * A **target** is a thing that holds codes: the weights of a layer, an activation, the accumulators of a layer, the scale of a
 * quantizer. Targets, elements and bits are named in the terms of the model, never of an engine: one specification serves
 * every format and engine. A **change** is what happens to one code; a **fault** is some changes that happen together,
 * and the inferences they are present in. A **space** (space.h) is all faults a specification can draw, divided into strata;
 * a fault follows from the specification, the seed, its stratum and its number there alone, so threads, ranks, shards and
 * resumed campaigns draw the same. An **injector** (injector.h) runs faults on images in one engine. A **campaign**
 * (campaign.h) draws, runs, classifies (outcome.h) and keeps rows (store.h).
 *
 * Invariants: nothing here changes a model, a data set or a golden value; every fault is undone before the next one.
 * Ownership: who makes an object owns it; strings and arrays in plain structs belong to the object they were got from.
 * Threads: targets, spaces and specifications are immutable once made; injectors have one state per worker. */
#ifndef QN_FAULT_FAULT_H
#define QN_FAULT_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "engine/program.h"
#include "quern/format.h"

/* X(name, value, text): where a fault strikes. Values are kept in stores: never renumbered. */
#define QN_FAULT_WHERE_LIST(X)                                                                                         \
    X(QN_FAULT_WEIGHTS, 0, "weights")                                                                                  \
    X(QN_FAULT_BIASES, 1, "biases")                                                                                    \
    X(QN_FAULT_ACTIVATIONS, 2, "activations")                                                                          \
    X(QN_FAULT_INPUTS, 3, "inputs")                                                                                    \
    X(QN_FAULT_ACCUMULATORS, 4, "accumulators")                                                                        \
    X(QN_FAULT_PARTIAL_SUMS, 5, "partial-sums")                                                                        \
    X(QN_FAULT_PRODUCTS, 6, "products")                                                                                \
    X(QN_FAULT_SCALES, 7, "scales")                                                                                    \
    X(QN_FAULT_ZERO_POINTS, 8, "zero-points")                                                                          \
    X(QN_FAULT_EXPONENT_BIASES, 9, "exponent-biases")                                                                  \
    X(QN_FAULT_SHARED_EXPONENTS, 10, "shared-exponents")                                                               \
    X(QN_FAULT_LINK_HEADER, 11, "link-header")                                                                         \
    X(QN_FAULT_LINK_PARAMETERS, 12, "link-parameters")                                                                 \
    X(QN_FAULT_LINK_PAYLOAD, 13, "link-payload")                                                                       \
    X(QN_FAULT_TABLES, 14, "tables")
typedef enum qn_fault_where {
#define QN_FAULT_WHERE_ENUM(name, value, text) name = value,
    QN_FAULT_WHERE_LIST(QN_FAULT_WHERE_ENUM)
#undef QN_FAULT_WHERE_ENUM
        QN_FAULT_N_WHERE
} qn_fault_where;
/* Sets of 1 << qn_fault_where: what a network holds, and what frames on links are made of. */
enum {
    QN_FAULT_LINK_PLACES = 1 << QN_FAULT_LINK_HEADER | 1 << QN_FAULT_LINK_PARAMETERS | 1 << QN_FAULT_LINK_PAYLOAD,
    QN_FAULT_NETWORK_PLACES = (1 << QN_FAULT_N_WHERE) - 1 - QN_FAULT_LINK_PLACES
};
static inline bool qn_fault_on_link(qn_fault_where where)
{
    return (QN_FAULT_LINK_PLACES >> where & 1) != 0;
}
/* "weights"; NULL for what is none. */
const char *qn_fault_where_text(qn_fault_where where);
bool qn_fault_where_parse(qn_fault_where *where, const char *text);

/* How the bits of a target's codes are to be read. */
typedef enum qn_fault_coding {
    QN_FAULT_CODED, /* codes of target.format, as bit patterns; bit 0 is the least significant */
    QN_FAULT_F32,   /* floats that carry no quantizer, scales */
    QN_FAULT_S32,   /* bias codes, sums, products, zero points, exponents: two's complement of target.bits */
    QN_FAULT_BYTES, /* what is no number: bytes of a header, bits that fill up a byte */
} qn_fault_coding;

/*  where, node   the layer: of weights and biases the node that reads them first, of activations the node that makes them (a
 *                fused Relu's output belongs to the node it is fused into), of sums and products the node that computes
 *                them, of parameters the node whose weights or result they belong to. -1: inputs
 *  value         weights, biases, parameters: the constant, or the activation whose quantizer it is; inputs, activations: that
 *                value; sums and products: the node's result
 *  layer, value_name  their names, for globs, messages and rows; a node without name is "op_type" + "#" + its index
 *  rank, dims    of one item (no batch dimension): weights and biases as in the model; activations, sums and products as
 *                the model's value, in its order (NCHW less N); parameters: one dimension, the quantizer's sets
 *  n_elems       product of dims
 *  n_terms       products and partial sums: terms of each sum, in the order of arithmetic.md 7.4; else 1
 *                tables: one dimension, the entries of all tables that the value is made by, in the order of their steps;
 *                entry e of a table is that of the lowest code of its input's format plus e
 *  channel_axis  index in dims of the output channel, -1 none;  row_axis, column_axis: likewise, of the map or the kernel
 * Of places on links, where all targets of a frame stand in the order in which they lie in it:
 *  layer, node   the name of the cut; -1
 *  field         name of the frame's field (link/link.h); NULL elsewhere
 *  frame         index of the frame (link_path.h); -1 elsewhere
 *  first_bit, frame_bits   of the field, in the frame, and all of that
 *  unscaled      codes whose parameters are only known once a frame is made */
typedef struct qn_fault_target {
    qn_fault_where where;
    int32_t node;
    qn_value_id value;
    const char *layer, *value_name, *op_type;
    qn_fault_coding coding;
    qn_format format; /* where CODED */
    int bits;         /* of a code, 1..32 */
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t n_elems, n_terms;
    int channel_axis, row_axis, column_axis;
    const char *field;
    int32_t frame;
    int64_t first_bit, frame_bits;
    bool unscaled;
} qn_fault_target;

typedef struct qn_fault_targets {
    qn_arena arena;
    qn_fault_target *list;
    int n;
} qn_fault_targets;
/* Every target of a program, in the order of its nodes. A value is listed once, also when several tensors hold it; what is
 * computed nowhere (fused away) is not. Errors: QN_ENOMEM. */
qn_status qn_fault_targets_make(qn_fault_targets *targets, const qn_program *program, qn_error *err);
void qn_fault_targets_free(qn_fault_targets *targets);
/* The real a code of the target stands for; `element` chooses the parameter set (targets in quantizers: as the number it
 * is). NaN where the parameters are only known when an item is run. */
double qn_fault_value(const qn_fault_target *target, const qn_program *program, int64_t element, uint32_t code);
/* Bits of a named field: "sign", "exponent", "mantissa", "fraction", "regime", "magnitude", "msb", "lsb"; 0 when the target
 * has none of that name. For formats whose fields move with the code (posit): the field of code 0. */
uint32_t qn_fault_field_mask(const qn_fault_target *target, const char *field);

/* One code: code' = ((code & and_mask) | or_mask) ^ xor_mask, within target.bits (arithmetic.md 7.1). With `add` not zero the code is
 * first encode(decode(code) + add), where CODED and F32; on S32 the sum is rounded to nearest even and saturates.
 * With `suppress` a code that comes out as NaN or an infinity becomes that of 0. */
typedef struct qn_fault_change {
    int32_t target;
    int64_t element, term;
    uint32_t and_mask, or_mask, xor_mask;
    bool suppress;
    double add;
} qn_fault_change;
/* The masks alone. */
static inline uint32_t qn_fault_mask(const qn_fault_change *change, uint32_t code)
{
    return ((code & change->and_mask) | change->or_mask) ^ change->xor_mask;
}
/* All of it; `program` has the parameters. Bits above target->bits come out 0. */
uint32_t qn_fault_apply(const qn_fault_change *change, const qn_fault_target *target, const qn_program *program,
                        uint32_t code);

/*  changes      sorted by target, element, term; no two of the same place
 *  first_image, n_images   the inferences that it is present in: images first .. first + n - 1, counted modulo the data set */
typedef struct qn_fault {
    int64_t id;
    int32_t stratum;
    int64_t draw; /* its number in the stratum */
    int64_t first_image, n_images;
    int64_t n_changes;
    const qn_fault_change *changes;
} qn_fault;

#endif
