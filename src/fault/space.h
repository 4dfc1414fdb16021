/* Spaces: the faults a specification can draw, divided into strata, and the drawing. Inside the fault room.
 *
 * The sites of a fault set are numbered; stratum h has population N_h. Draw i of a stratum is the site at place i of a
 * pseudo-random permutation of 0..N_h-1 keyed by seed, set and stratum, so sampling is without replacement, draw i does not depend on how many are drawn, and
 * exhaustive is i = 0..N_h-1 (in natural order: no permutation). Populations of patterns whose faults are drawn (rate, count,
 * noise, random values and codes) are infinite.
 *
 * Sites. single: elements x terms x choices of bits, bits varying fastest. channel: channels x choices of bits. array: rows x
 * columns of it that hold anything x choices of bits; a fault that is present in more than one inference strikes every layer of
 * the stratum, as they all run on the array, a transient one a single layer. word: words x places of the burst, which does not
 * leave its word. all: choices of bits. Choices are of the selected bits that a code has: n of them, or n adjacent ones.
 * Of several codes struck at once the same bits are struck; with rate and count each has its own.
 * A fault may strike nothing: a rate that hits no bit, a part of an array that a layer leaves idle. It then has no changes.
 * Images of faults that are not permanent are drawn; with faults for each item, draw i is of image i modulo the data set. */
#ifndef QN_FAULT_SPACE_H
#define QN_FAULT_SPACE_H

#include "fault/spec.h"

/*  label        "conv1 / bit 7 / weights": what the strata of a report are called; "all" for one
 *  population   faults that can be drawn; INT64_MAX: infinitely many
 *  images       inferences that each of its faults is present in; a stratum never mixes lifetimes. Where it is less than all images,
 *               the first one is part of what is numbered: the population counts sites x images
 *  n_changes    codes that each of its faults strikes, on average; at least 1
 *  where, layer, bit, channel   what is common to its faults; -1 (layer: NULL) what is not
 *  exhaustive   draws are in natural order */
typedef struct qn_fault_stratum {
    int set;
    const char *label;
    int64_t population, images;
    double n_changes;
    int where, bit;
    const char *layer;
    int64_t channel;
    bool exhaustive;
} qn_fault_stratum;

typedef struct qn_fault_space {
    qn_arena arena;
    const qn_fault_spec *spec;
    const qn_fault_targets *targets;
    uint64_t seed;
    int64_t n_images;
    qn_fault_stratum *strata;
    int n_strata;
    void *plans; /* space.c's own, per set and stratum */
} qn_fault_space;

/* Check a specification against targets, and count. spec, targets, program outlive the space.
 * Errors: QN_EINVAL: a glob that matches nothing, a bit or field that no selected target has, an index out of range, a rate above 1, each
 * naming the fault set, the line, what is there and what to do; QN_ELIMIT, QN_ENOMEM. */
qn_status qn_fault_space_make(qn_fault_space *space, const qn_fault_spec *spec, const qn_fault_targets *targets,
                              const qn_program *program, uint64_t seed, int64_t n_images, qn_error *err);
void qn_fault_space_free(qn_fault_space *space);
/* Draw `draw` of a stratum. Changes come from `arena`. Reentrant with different arenas. id stays to be set by the caller. */
qn_status qn_fault_space_draw(const qn_fault_space *space, int stratum, int64_t draw, qn_arena *arena, qn_fault *fault,
                              qn_error *err);

#endif
