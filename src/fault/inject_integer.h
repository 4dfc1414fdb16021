/* Faults in the integer engine: shared by inject_integer*.c. Inside the fault room.
 *
 * A **machine** is a program with its plan of regions and where every target is in it. The injector's own machine runs almost
 * everything; a changed parameter of an activation, or a constant of a node in float, makes a machine of the faulty
 * model, in which whatever else the fault changes is altered as in any other. */
#ifndef QN_FAULT_INJECT_INTEGER_H
#define QN_FAULT_INJECT_INTEGER_H

#include "engine/integer/region.h"
#include "fault/injector.h"
#include "graph/arithmetic.h"

/* What a change of a target comes to. */
typedef enum qn_site_kind {
    QN_SITE_MODEL, /* another model */
    QN_SITE_CODES, /* codes of a tensor, or floats, after the step that finishes it */
    QN_SITE_REALS,
    QN_SITE_TABLES, /* entries of tables: codes of a tensor, after its last step */
    QN_SITE_WEIGHTS, /* the rest alter the sums of one convolution, or what they are multiplied with */
    QN_SITE_ZERO_POINTS,
    QN_SITE_SCALES,
    QN_SITE_BIASES,
    QN_SITE_FLOAT_BIASES,
    QN_SITE_PRODUCTS,
    QN_SITE_PARTIAL_SUMS,
    QN_SITE_ACCUMULATORS,
} qn_site_kind;

/*  step      of the convolution, or the last that writes the tensor
 *  tensor    of codes, reals; the output of the convolution
 *  raise     added to a signed code as the engine keeps it: 128; 0 for unsigned ones
 *  columns   of weights of a matrix whose elements of one input adjoin: output channels; else 0
 *  terms     weights of one output channel
 *  one       of biases, scales, zero points: one for all channels
 *  codes, quantizer, floats   of constants */
typedef struct qn_site {
    qn_site_kind kind;
    int step, tensor;
    int32_t raise;
    int64_t columns, terms;
    bool one;
    const qn_tensor *codes;
    const qn_quantizer *quantizer;
    const float *floats;
} qn_site;

typedef struct qn_machine {
    const qn_program *program;
    bool owns; /* the program */
    qn_region_plan *plan;
    const qn_fault_targets *targets;
    qn_site *sites;
    int accumulator_bits;
    bool saturates;
    qn_arithmetic arithmetic;
    int most_terms;
} qn_machine;

/* program: borrowed, or owned where `own`. A machine is zeroed before; free it also when making it failed. */
qn_status qn_machine_make(qn_machine *machine, const qn_program *program, bool own, const qn_fault_targets *targets,
                          qn_error *err);
void qn_machine_free(qn_machine *machine);

/* Neighbouring changes of one target. */
typedef struct qn_segment {
    int32_t target;
    int64_t first, n;
} qn_segment;
enum { QN_SEGMENTS = 10 }; /* targets of a step: more than there are kinds */

/* All that a fault alters at one step. */
typedef struct qn_step_faults {
    struct qn_injection *injection;
    int step, n_segments;
    qn_segment segments[QN_SEGMENTS];
    qn_region_finish finish;
} qn_step_faults;

/* One worker's part: a region over a machine and the alterations of the fault in it.
 *  active         a code or a sum changed
 *  before, after  codes of the first change */
typedef struct qn_injection {
    const qn_machine *machine;
    qn_region region;
    qn_step_faults *steps;
    qn_region_alteration *alterations;
    int n_alterations, capacity;
    int *slot;           /* per machine step: index in steps, -1 */
    int32_t *terms;      /* per term: changes of a channel's weights */
    float *ratio, *bias; /* room for those of all layers: of layers whose scales or float biases changed */
    int32_t *multiplier, *shift;
    size_t *first_channel; /* per step: where its room begins */
    const qn_fault *fault;
    bool active, refused;
    uint32_t before, after;
} qn_injection;
/* Zeroed before; free it also when making it failed. */
qn_status qn_injection_make(qn_injection *injection, const qn_machine *machine, qn_error *err);
void qn_injection_free(qn_injection *injection);

/* Bring a fault's changes, less those that another model has, into the order of steps. */
qn_status qn_injection_prepare(qn_injection *injection, const qn_fault *fault, qn_error *err);
/* Run it on the image that the region holds; then region.outputs_differ and the fields above tell. */
void qn_injection_run(qn_injection *injection);

/* Does the fault need another model? */
bool qn_fault_needs_model(const qn_machine *machine, const qn_fault *fault);
/* The machine of the faulty model; *refused where a parameter is none, and then there is no machine. The codes before and
 * after of the first change, where it is one of the model, go to *before and *after. */
qn_status qn_machine_make_faulty(qn_machine *machine, const qn_machine *golden, const qn_model *model,
                                 const qn_fault *fault, bool *refused, uint32_t *before, uint32_t *after,
                                 qn_error *err);

/* inject_integer_sums.c: what changes of sums do; as qn_region_alteration has them. */
void qn_step_alter_sums(void *ctx, const qn_region *region, const qn_box *box, int32_t *sums);
/* The weights of a fault of one change. */
void qn_step_alter_weight(void *ctx, qn_region *region, qn_box *box);
/* A change put to a code; the first of a fault is remembered. */
uint32_t qn_injection_apply(qn_injection *injection, int64_t change, uint32_t code);

/* Where the weight that a change of weights strikes is: output channel, place in the kernel, input channel of the group. */
typedef struct qn_weight_place {
    int k, r, s, c;
} qn_weight_place;
qn_weight_place qn_site_weight(const qn_site *site, const qn_integer_conv *conv, int64_t element);
/* The code of a constant as a pattern of `bits`; its signed or unsigned number. */
uint32_t qn_constant_pattern(const qn_tensor *codes, int64_t element, int bits);
int32_t qn_pattern_number(uint32_t pattern, int bits, bool is_signed);

#endif
