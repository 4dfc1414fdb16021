/* What a space draws from: the targets that a fault set selects, and its strata as parts of them. Inside the fault room. */
#ifndef QN_FAULT_SPACE_PLAN_H
#define QN_FAULT_SPACE_PLAN_H

#include "fault/draw.h"
#include "fault/space.h"
#include "fault/space_subset.h"

/* Which index of a weight counts the terms of the sum it goes into. */
typedef enum qn_plan_terms {
    QN_PLAN_NO_TERMS,
    QN_PLAN_OF_KERNEL, /* weights of convolutions: rows, columns, input channels (arithmetic.md 4.5) */
    QN_PLAN_OF_MATRIX, /* weights of matrices: what is not the output channel */
    QN_PLAN_OF_SUMS    /* products and partial sums: the term itself */
} qn_plan_terms;

/* What a set, or a stratum of it, selects of one target.
 *  mask       bits that may be struck, of n_bits bits bit[0] < bit[1] < ...
 *  n_units    elements x terms
 *  n_ways     choices of bits of a code
 *  first_site, n_sites   of the stratum's sites, where a fault strikes one target; with a rate or a count, of its units
 *  n_channels, n_rows    columns and rows of an array that hold something of it, where the pattern is one */
typedef struct qn_plan_part {
    int32_t target;
    uint32_t mask;
    int n_bits;
    uint8_t bit[32];
    const qn_selection *elements;
    const qn_subset *terms;
    int64_t n_units, n_ways, first_site, n_sites;
    qn_plan_terms counts_terms;
    int n_columns, n_rows;
} qn_plan_part;

/*  mask         union of the parts', of which bits are drawn where a fault strikes all parts
 *  n_sites      ways to strike; n_starts times as many are numbered, the population where it is finite
 *  n_starts     first images to choose from: 1 for faults of all images, and where draws are of images in turn
 *  endless      the population is infinite
 *  together     a fault strikes all parts
 *  n_bit_sites  ways to choose bits of `mask`
 *  stream       keyed, draw 0 */
typedef struct qn_plan_stratum {
    const qn_fault_set *set;
    qn_plan_part *parts;
    int n_parts;
    uint32_t mask;
    int64_t n_sites, n_starts, n_units, n_bit_sites;
    bool endless, together;
    int n_columns, n_rows;
    qn_draw_stream stream;
    qn_permutation permutation;
} qn_plan_stratum;

/* space->plans. */
typedef struct qn_plans {
    const qn_program *program;
    qn_plan_stratum *strata; /* as many as the space has */
} qn_plans;

/* The targets a fault set selects, checked. `where` is for messages. Errors as of qn_fault_space_make. */
typedef struct qn_plan_targets {
    qn_plan_part *list;
    int n;
} qn_plan_targets;
qn_status qn_plan_select(qn_plan_targets *selected, qn_arena *arena, const qn_fault_set *set,
                         const qn_fault_targets *targets, const qn_program *program, const char *where, qn_error *err);

/* Do faults of the set's model strike bits, one choice of them after another? */
bool qn_plan_strikes_bits(const qn_fault_set *set);
/* Are codes or values drawn, so that the population is infinite? */
bool qn_plan_is_drawn(const qn_fault_set *set);
/* Inferences a fault that strikes `target` is present in: 0 all. */
int64_t qn_space_lifetime(const qn_fault_set *set, const qn_fault_target *target);
/* The bits that the set's codes are struck in by turns; 0: they are not. */
uint32_t qn_plan_turns(const qn_fault_set *set);
/* Ways to choose the set's bits of a mask; 1 for models that strike none, and for bits in turn. And the mask of way k. */
int64_t qn_plan_bit_sites(const qn_fault_set *set, uint32_t mask);
uint32_t qn_plan_bits_of_site(const qn_fault_set *set, uint32_t mask, int64_t k);

/* Rows that something of the target would be in, of an array of any height: terms of its sums, or places of its map. */
int64_t qn_plan_array_rows(const qn_fault_target *target, qn_plan_terms counts, bool by_place);

/* A draw under way. */
typedef struct qn_plan_draw {
    const qn_fault_space *space;
    const qn_plan_stratum *stratum;
    qn_draw_stream stream;
    qn_arena *arena;
} qn_plan_draw;
/* One code: bits `bits` of an element, by the set's model; `index` tells apart what the draw's changes draw. */
void qn_plan_strike(const qn_plan_draw *draw, qn_fault_change *change, const qn_plan_part *part, int64_t element,
                    int64_t term, uint32_t bits, uint64_t index);
/* Element and term of unit `unit` of a part. */
void qn_plan_unit(const qn_plan_part *part, int64_t unit, int64_t *element, int64_t *term);
/* Codes that one fault may strike at most. */
enum { QN_PLAN_MAX_CHANGES = 1 << 24 };
/* Memory for n changes; QN_ELIMIT beyond that. */
qn_status qn_plan_changes(const qn_plan_draw *draw, int64_t n, qn_fault_change **changes, qn_error *err);
/* The part that holds a site, or a unit. */
const qn_plan_part *qn_plan_part_of(const qn_plan_stratum *stratum, int64_t site);

/* The changes of site `site` of the stratum. Errors: QN_ENOMEM, QN_ELIMIT. */
qn_status qn_pattern_single(const qn_plan_draw *draw, int64_t site, qn_fault *fault, qn_error *err);
qn_status qn_pattern_several(const qn_plan_draw *draw, int64_t site, qn_fault *fault,
                             qn_error *err); /* channel, array, all */
qn_status qn_pattern_word(const qn_plan_draw *draw, int64_t site, qn_fault *fault, qn_error *err);
qn_status qn_pattern_frame(const qn_plan_draw *draw, int64_t site, qn_fault *fault, qn_error *err);
/* Patterns that are drawn. */
qn_status qn_pattern_rate(const qn_plan_draw *draw, qn_fault *fault, qn_error *err);
qn_status qn_pattern_count(const qn_plan_draw *draw, qn_fault *fault, qn_error *err);

/* Sites of a part, where a fault strikes one; false when they are beyond 63 bits. */
bool qn_pattern_sites(const qn_fault_set *set, const qn_plan_part *part, const qn_fault_target *target, int64_t *n);

#endif
