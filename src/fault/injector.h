/* Injectors: run faults on images in one engine, and say what comes out. Inside the fault room.
 *
 * inject_integer.c propagates differences from golden values (engine/integer/region.h); inject_float.c runs the rest of the
 * network for a batch (engine/float/restart.h; float and simulate); inject_whole.c runs whole networks from scratch, by means that share nothing
 * with either, and serves verification; inject_link.c has faults in what travels between the stages of a network. All give the same bytes of the same (fault, image). */
#ifndef QN_FAULT_INJECTOR_H
#define QN_FAULT_INJECTOR_H

#include "fault/fault.h"
#include "fault/link_path.h"
#include "quern/dataset.h"

/* Where the difference ended. Kept in stores: never renumbered. */
typedef enum qn_fault_end {
    QN_FAULT_INACTIVE =
        0, /* no code changed (stuck at what it was), or nothing that reads it can see it: zero inputs */
    QN_FAULT_IN_LAYER = 1,   /* no code that the layer makes differs: requantization, saturation, Relu */
    QN_FAULT_ON_THE_WAY = 2, /* it died in a later step */
    QN_FAULT_AT_OUTPUT = 3,  /* outputs differ */
    QN_FAULT_REFUSED =
        4, /* the faulty parameter is none (a scale that is no positive normal number, a zero point beyond the codes):
                           * nothing can be computed with it, which counts as non-finite */
    QN_FAULT_BOUNDED = 5, /* not known: outputs change by too little to matter, so it was not run to its end */
    /* A frame was refused by who received it, and nothing computed with it: */
    QN_FAULT_BY_HEADER_CRC = 6,
    QN_FAULT_BY_BODY_CRC = 7,
    QN_FAULT_UNREADABLE = 8, /* without a checksum's help */
} qn_fault_end;
static inline bool qn_fault_is_detected(qn_fault_end end)
{
    return end == QN_FAULT_BY_HEADER_CRC || end == QN_FAULT_BY_BODY_CRC || end == QN_FAULT_UNREADABLE;
}
/* Does nothing come out that one could compare? */
static inline bool qn_fault_is_noticed(qn_fault_end end)
{
    return end == QN_FAULT_REFUSED || qn_fault_is_detected(end);
}

/*  outputs       all outputs of the program one after another, f32; NULL unless AT_OUTPUT. Valid during the call.
 *  before, after  codes of the first change
 *  died_at       node where the difference died, -1 otherwise
 *  bound         BOUNDED: the first `outputs_counted` outputs change by no more than this */
typedef struct qn_fault_effect {
    qn_fault_end end;
    const float *outputs;
    uint32_t before, after;
    int32_t died_at;
    double bound;
} qn_fault_effect;
/* Called once for each (fault, image), in any order within one call of run. `fault` is the index in `faults`. */
typedef void qn_fault_emit(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect);

typedef struct qn_injector qn_injector;

/*  program       with keep_values, of the engine and the model; it and everything below must outlive the injector
 *  links         NULL, or links in place, which the targets are parts of
 *  n_images      of the data set, over which the inferences of faults are counted modulo; 0: all
 *  memory_bytes  for golden values of images, over all workers; what does not fit is computed again
 *  bounds_always     with outputs_counted: bounds are sought also where going on is less work
 *  outputs_counted   0: run every fault to its end. Else pairs may be BOUNDED whose outcome is settled
 *             (qn_outcome_allowance of so many
 *                outputs, with rmse_threshold); integer engine, ignored by others */
typedef struct qn_injector_options {
    const qn_program *program;
    const qn_model *model;
    const qn_dataset *data;
    const qn_fault_targets *targets;
    const qn_link_path *links;
    int n_workers;
    int64_t n_images;
    size_t memory_bytes;
    int64_t outputs_counted;
    bool bounds_always;
    double rmse_threshold;
} qn_injector_options;

static inline int64_t qn_injector_n_images(const qn_injector_options *options)
{
    return options->n_images > 0 ? options->n_images : qn_dataset_count(options->data);
}

typedef struct qn_injector_ops {
    const char *name;
    qn_status (*create)(qn_injector *injector, qn_error *err); /* fills injector->state */
    void (*release)(qn_injector *injector);                    /* state may be NULL or half made */
    /* Images one call of run takes at most: 1, or the batch. */
    int64_t (*group)(const qn_injector *injector);
    /* Outputs of fault-free images first..first+n-1: f32[n][output_count]. n <= group. */
    qn_status (*golden)(qn_injector *injector, int worker, int64_t first, int64_t n, float *outputs, qn_error *err);
    /* Each fault on each of the images first..first+n-1 that it is present in; faults in any order, which the injector may
     * change for its own work. */
    qn_status (*run)(qn_injector *injector, int worker, int64_t first, int64_t n, const qn_fault *const *faults,
                     int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err);
    /* May the images of a group be had in several calls that together take as long as one, for this fault? NULL: never. */
    bool (*divides)(const qn_injector *injector, const qn_fault *fault);
} qn_injector_ops;
extern const qn_injector_ops qn_injector_integer, qn_injector_float, qn_injector_whole, qn_injector_link,
    qn_injector_link_whole;

struct qn_injector {
    const qn_injector_ops *ops;
    qn_injector_options options;
    int64_t output_count; /* f32 elements of all outputs of one item */
    void *state;
};

/* The injector of the program's engine; or, with `whole`, the one that runs everything from scratch.
 * Errors: QN_ENOMEM, and what making programs gives. */
qn_status qn_injector_create(qn_injector **injector, const qn_injector_options *options, bool whole, qn_error *err);
/* The same, of given ops. */
qn_status qn_injector_create_of(qn_injector **injector, const qn_injector_options *options, const qn_injector_ops *ops,
                                qn_error *err);
void qn_injector_free(qn_injector *injector);

/* What a fault left where, for `replay --trace`: one call for each value of the program whose codes (floats) differ, in the
 * order of the nodes.
 *  target     index of the value's target (activations, inputs)
 *  n_differ   elements that differ, of n_elems
 *  first      the first of them in the value's order, with its code (bits of a float, also where parameters are dynamic) and its real
 *             before and after; the greatest difference in reals, INFINITY where one is not finite */
typedef struct qn_fault_trace {
    int32_t target;
    qn_value_id value;
    int32_t node;
    int64_t n_elems, n_differ, first;
    uint32_t before, after;
    double value_before, value_after, max_abs;
} qn_fault_trace;
typedef void qn_fault_trace_fn(void *ctx, const qn_fault_trace *trace);
/* Runs the fault on one image, which it is present in, from scratch with every value kept (trace.c). Any engine.
 *  effect   with all that an injector tells but the outputs, which are NULL */
qn_status qn_fault_trace_run(const qn_injector_options *options, const qn_fault *fault, int64_t image,
                             qn_fault_trace_fn *fn, void *ctx, qn_fault_effect *effect, qn_error *err);

#endif
