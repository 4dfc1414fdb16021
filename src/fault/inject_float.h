/* The injector of the float and the simulate engine, in parts (inject_float*.c). Inside the fault room.
 *
 * A group of images is the batch of the program. Faults become *jobs*, and jobs are put into *waves*: what one restarted run
 * can do at once. A fault in constants takes the whole batch; faults in values of single images share a wave when their
 * images differ. The wave that starts latest comes first, so that little has to be put back.
 *
 * A few changed codes of a value in one image are first followed without running anything, for as long as only Relu, Clip,
 * MaxPool and quantizers read them, which take each element, or few, by itself (inject_float_follow.c): most die there. */
#ifndef QN_FAULT_INJECT_FLOAT_H
#define QN_FAULT_INJECT_FLOAT_H

#include <string.h>

#include "base/float_bits.h"
#include "engine/float/restart.h"
#include "fault/injector.h"
#include "format/dynamic.h"

typedef enum qn_floats_kind {
    QN_FLOATS_NOWHERE, /* there is no such code in this engine */
    QN_FLOATS_CONSTANT,
    QN_FLOATS_CONSTANT_PARAMETER,
    QN_FLOATS_VALUE_PARAMETER,
    QN_FLOATS_VALUE, /* after the parameters of the same value */
} qn_floats_kind;

/* A target in this engine.
 *  start          the first step that a run with it needs
 *  at             values: the step before which they are complete, in the quantizer's hands before step `quantized->step`
 *  whole_batch    a change in one image may touch others
 *  patchable      constants: in place; else the program is made anew
 *  quantizer      of the codes or the parameters; NULL of floats
 *  rank, dims, count   what the quantizer sees as one tensor, and its elements
 *  per_item       elements of the value that belong to an item of the batch
 *  parameters     the first target with parameters of the same value, -1: none */
typedef struct qn_floats_place {
    qn_floats_kind kind;
    int32_t start, at;
    bool whole_batch, patchable;
    const qn_quantizer *quantizer;
    qn_quantizer *fitted; /* what `quantizer` is where a constant's is dynamic */
    const qn_float_quantized *quantized;
    qn_dynamic *dynamic; /* of values with dynamic parameters */
    int rank;
    int64_t dims[QN_MAX_RANK], count, per_item;
    int32_t parameters;
} qn_floats_place;

/* A fault that is present in images of the group. What it changes, and whether the whole batch is taken.
 *  single  a few codes of one value, whose changes in one image are known before anything runs */
typedef struct qn_floats_entry {
    const qn_fault *fault;
    int64_t index; /* in the caller's list */
    int64_t pairs; /* its row of pairs */
    int32_t start;
    bool constants, parameters, whole_batch, patchable, single;
} qn_floats_entry;

enum { QN_FLOATS_FEW = 16, QN_FLOATS_FOLLOWED = 64 };

/* An element of a value gets another number. */
typedef struct qn_floats_write {
    int64_t element;
    float x;
} qn_floats_write;

/* What a wave runs: an entry in all its images (slot -1), or in one, where n numbers of `value` change: writes[first].. */
typedef struct qn_floats_job {
    int32_t entry, slot, start, wave;
    qn_value_id value;
    int64_t first, n;
} qn_floats_job;

/* An entry in one image: is it present, did a code change, and the codes of its first change. */
typedef struct qn_floats_pair {
    bool present, active;
    uint32_t before, after;
} qn_floats_pair;

/* Changes first .. end - 1 of an entry, all of one target; or, with job >= 0, the writes of a job. */
typedef struct qn_floats_event {
    int32_t at;
    qn_value_id value;
    qn_floats_kind kind;
    int32_t entry, job;
    int64_t first, end;
} qn_floats_event;

/* Parameters that a dynamic quantizer fitted to golden, for each of the items it sees, of images first .. first + n - 1; n 0:
 * none yet. */
typedef struct qn_floats_fits {
    unsigned char *quantizers;
    size_t n_bytes; /* from one to the next */
    int64_t first, n;
} qn_floats_fits;

typedef struct qn_floats_worker {
    qn_restart *restart;
    int64_t first, n; /* images that are golden; n 0: none */
    float *input, *outputs;
    const float *inputs; /* `input`, for the engine */
    float *seen, *made;  /* a tensor before and after its quantizer */
    void *scratch;       /* of fits */
    /* Per target: a copy of its quantizer for changing parameters, made when first needed. */
    qn_quantizer **changed;
    qn_floats_fits *fits; /* per target */
    qn_floats_entry *entries;
    qn_floats_pair *pairs; /* of an entry in place s of the batch: pairs[entry.pairs * batch + s] */
    qn_floats_event *events;
    qn_floats_job *jobs;
    qn_floats_write *writes;
    size_t entries_capacity, pairs_capacity, events_capacity, jobs_capacity, writes_capacity;
    size_t n_entries, n_events, n_jobs, n_writes;
    int32_t *next_wave; /* per place of the batch */
} qn_floats_worker;

typedef struct qn_floats_injector {
    qn_floats_place *places;    /* per target */
    struct qn_floats_way *ways; /* per value: where its elements can be followed to */
    qn_floats_worker *workers;
    int64_t batch;
    size_t tensor_elems, scratch_bytes; /* for the greatest of the values whose quantizers are followed */
} qn_floats_injector;

/* Places of all targets (inject_float_place.c). `restart` answers questions about the program. */
qn_status qn_floats_places(qn_floats_injector *state, const qn_injector_options *options, const qn_restart *restart,
                           qn_error *err);
void qn_floats_places_free(qn_floats_injector *state, int n_targets);
/* The parameter set of element `element` of a tensor that the place's quantizer sees. */
int64_t qn_floats_set(const qn_floats_place *place, int64_t element);

/* Codes (inject_float_code.c). */
static inline qn_floats_injector *qn_floats_state(const qn_injector *injector)
{
    return injector->state;
}
/* The engine's own coding of element k of what a quantizer sees (arithmetic.md 5.5). */
uint32_t qn_floats_encode(const qn_quantizer *q, int64_t set, int64_t k, float x);
float qn_floats_decode(const qn_quantizer *q, int64_t set, int64_t k, uint32_t code);
/* A code after the change (arithmetic.md 7.1), with the parameters at hand: set `set` of q, which the program need not have; q is
 * not used for floats and parameters. */
uint32_t qn_floats_change_code(const qn_injector *injector, const qn_fault_change *change,
                               const qn_fault_target *target, const qn_quantizer *q, int64_t set, uint32_t code);
/* Note the codes of a change in one image, or in all. */
void qn_floats_note(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, int64_t slot,
                    const qn_fault_change *change, uint32_t before, uint32_t after);
void qn_floats_note_all(const qn_injector *injector, qn_floats_worker *worker, int32_t entry,
                        const qn_fault_change *change, uint32_t before, uint32_t after);
/* The entry's changes of parameters of the target's value: made in *copy, the worker's, or taken back. */
qn_status qn_floats_turn_parameters(const qn_injector *injector, qn_floats_worker *worker, int32_t entry,
                                    int32_t target, bool make, qn_quantizer **copy, qn_error *err);
/* The next changes that are of one target, from span->end on. */
bool qn_floats_next_span(const qn_injector *injector, const qn_fault *fault, qn_floats_event *span);
/* Is a parameter that the entry changes none any more? Notes the codes of changes of parameters, in all its images. */
qn_status qn_floats_refuses(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, bool *refuses,
                            qn_error *err);
/* Constants (inject_float_constant.c). Make an entry's changes of constants: in `restart`; or in `graph`, when it is not NULL. */
qn_status qn_floats_change_constants(const qn_injector *injector, qn_floats_worker *worker, qn_restart *restart,
                                     qn_graph *graph, int32_t entry, qn_error *err);
/* Values (inject_float_value.c). The numbers that a single entry writes in one image, n of them; their codes are noted. */
qn_status qn_floats_find_writes(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, int64_t slot,
                                qn_floats_write writes[QN_FLOATS_FEW], int *n, qn_error *err);
/* Following (inject_float_follow.c). What the only reader of a value makes of it, where that can be followed.
 *  node    -1: it cannot
 *  place   of the quantizer that the result is put through; its quantizer NULL: none */
typedef struct qn_floats_way {
    int32_t node;
    qn_op op;
    qn_value_id to;
    qn_floats_place place;
    float lo, hi;
    qn_window window;
} qn_floats_way;
qn_status qn_floats_find_ways(qn_floats_injector *state, const qn_program *program, const qn_restart *restart,
                              qn_error *err);
/* Follow n changed elements of *value in one image as far as that goes without running: *value, writes and *n are then
 * where they have come to; *n 0: nothing differs any more, and *node is where it died. */
void qn_floats_follow(const qn_injector *injector, const qn_floats_worker *worker, int64_t slot, qn_value_id *value,
                      qn_floats_write writes[QN_FLOATS_FOLLOWED], int *n, int32_t *node);
/* Note that an entry changes values, for the run to come. */
qn_status qn_floats_add_events(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, qn_error *err);
/* Run `restart` to the end and make the changes of the worker's events on the way. */
qn_status qn_floats_change_values(const qn_injector *injector, qn_floats_worker *worker, qn_restart *restart,
                                  qn_error *err);

/* Waves (inject_float_wave.c): run the worker's entries and say what came of them. */
typedef struct qn_floats_receiver {
    qn_fault_emit *emit;
    void *ctx;
} qn_floats_receiver;
qn_status qn_floats_run(const qn_injector *injector, qn_floats_worker *worker, const qn_floats_receiver *to,
                        qn_error *err);

#endif
