/* The injector of the float and the simulate engine, in parts (inject_float*.c). Inside the fault room.
 *
 * A group of images is the batch of the program. Faults are put into *waves*: what one restarted run can do at once. A
 * fault in constants takes the whole batch; faults in values of single images share a wave when their images differ. The
 * wave that starts latest comes first, so that little has to be put back. */
#ifndef QN_FAULT_INJECT_FLOAT_H
#define QN_FAULT_INJECT_FLOAT_H

#include "engine/float/restart.h"
#include "fault/injector.h"
#include "format/dynamic.h"

typedef enum qn_float_kind {
    QN_FLOAT_NOWHERE, /* there is no such code in this engine */
    QN_FLOAT_CONSTANT,
    QN_FLOAT_CONSTANT_PARAMETER,
    QN_FLOAT_VALUE_PARAMETER,
    QN_FLOAT_VALUE, /* after the parameters of the same value */
} qn_float_kind;

/* A target in this engine.
 *  start          the first step that a run with it needs
 *  at             values: the step before which they are complete, in the quantizer's hands before step `quantized->step`
 *  whole_batch    a change in one image may touch others
 *  patchable      constants: in place; else the program is made anew
 *  quantizer      of the codes or the parameters; NULL of floats
 *  rank, dims, count   what the quantizer sees as one tensor, and its elements
 *  per_item       elements of the value that belong to an item of the batch
 *  parameters     the first target with parameters of the same value, -1: none */
typedef struct qn_float_place {
    qn_float_kind kind;
    int32_t start, at;
    bool whole_batch, patchable;
    const qn_quantizer *quantizer;
    qn_quantizer *fitted; /* what `quantizer` is where a constant's is dynamic */
    const qn_float_quantized *quantized;
    qn_dynamic *dynamic; /* of values with dynamic parameters */
    int rank;
    int64_t dims[QN_MAX_RANK], count, per_item;
    int32_t parameters;
} qn_float_place;

/* A fault that is present in images of the group. What it changes, and whether the whole batch is taken. */
typedef struct qn_float_entry {
    const qn_fault *fault;
    int64_t index; /* in the caller's list */
    int64_t pairs; /* its row of pairs */
    int32_t start, wave;
    bool constants, parameters, whole_batch, patchable;
} qn_float_entry;

/* An entry in one image: is it present, did a code change, and the codes of its first change. */
typedef struct qn_float_pair {
    bool present, active;
    uint32_t before, after;
} qn_float_pair;

/* Changes first .. end - 1 of an entry, all of one target. */
typedef struct qn_float_event {
    int32_t at;
    qn_value_id value;
    qn_float_kind kind;
    int32_t entry;
    int64_t first, end;
} qn_float_event;

typedef struct qn_float_worker {
    qn_restart *restart;
    int64_t first, n; /* images that are golden; n 0: none */
    float *input, *outputs;
    const float *inputs; /* `input`, for the engine */
    float *seen, *made;  /* a tensor before and after its quantizer */
    void *scratch;       /* of fits */
    /* Per target: a copy of its quantizer for changing parameters, made when first needed. */
    qn_quantizer **changed;
    qn_float_entry *entries;
    qn_float_pair *pairs; /* of an entry in place s of the batch: pairs[entry.pairs * batch + s] */
    qn_float_event *events;
    size_t entries_capacity, pairs_capacity, events_capacity, n_entries, n_events;
    int32_t *next_wave, *ready; /* per place of the batch */
} qn_float_worker;

typedef struct qn_float_injector {
    qn_float_place *places; /* per target */
    qn_float_worker *workers;
    int64_t batch;
    size_t tensor_elems, scratch_bytes; /* for the greatest of the values whose quantizers are followed */
} qn_float_injector;

/* Places of all targets (inject_float_place.c). `restart` answers questions about the program. */
qn_status qn_float_places(qn_float_injector *state, const qn_injector_options *options, const qn_restart *restart,
                          qn_error *err);
void qn_float_places_free(qn_float_injector *state, int n_targets);
/* The parameter set of element `element` of a tensor that the place's quantizer sees. */
int64_t qn_float_set(const qn_float_place *place, int64_t element);

/* Changes (inject_float_change.c). */
static inline qn_float_injector *qn_float_state(const qn_injector *injector)
{
    return injector->state;
}
/* Is a parameter that the entry changes none any more? Notes the codes of changes of parameters, in all its images. */
qn_status qn_float_refuses(const qn_injector *injector, qn_float_worker *worker, int32_t entry, bool *refuses,
                           qn_error *err);
/* Make an entry's changes of constants: in `restart`; or in `graph`, when it is not NULL. */
qn_status qn_float_change_constants(const qn_injector *injector, qn_float_worker *worker, qn_restart *restart,
                                    qn_graph *graph, int32_t entry, qn_error *err);
/* Note that an entry changes values, for the run to come. */
qn_status qn_float_add_events(const qn_injector *injector, qn_float_worker *worker, int32_t entry, qn_error *err);
/* Run `restart` to the end and make the changes of the worker's events on the way. */
qn_status qn_float_change_values(const qn_injector *injector, qn_float_worker *worker, qn_restart *restart,
                                 qn_error *err);

#endif
