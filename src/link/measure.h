/* Studies of cuts, inside: measure.c walks from position to position, measure_plan.c knows frames and which positions
 * are the same, measure_unit.c runs items; profile.c takes times.
 *
 * Items go through in units: as many as a message or a run of the engine has, whichever is more. A unit is one
 * worker's; what it finds is kept per item, and summed in the order of items, so that threads change nothing.
 * Ownership: a study owns what it returns, in its arena; all else is freed before it is returned. */
#ifndef QN_LINK_MEASURE_H
#define QN_LINK_MEASURE_H

#include <pthread.h>

#include "engine/program.h"
#include "link/crossing.h"
#include "link/cut.h"
#include "link/link.h"
#include "quern/cut_study.h"

/* A stage ready to run on several workers. `stage` is zero for the whole network. */
typedef struct qn_measure_stage {
    qn_stage stage;
    qn_program *program;
    size_t n_workspaces;
    qn_workspace **workspaces;
} qn_measure_stage;
/* The nodes from one position to another; from == to: the whole network. batch 0: the engine's default. */
qn_status qn_measure_stage_open(qn_measure_stage *s, const qn_cuts *cuts, size_t from, size_t to, int64_t batch,
                                qn_cpu cpu, int n_workers, qn_error *err);
void qn_measure_stage_close(qn_measure_stage *s);
/* n items, however many a run takes. inputs and outputs of the program; NULL pointers of outputs are not allowed. */
qn_status qn_measure_stage_run(const qn_measure_stage *s, int worker, const float *const *inputs, int64_t n,
                               float *const *outputs, qn_error *err);

struct qn_cut_study {
    qn_arena arena;
    size_t n_positions, n_choices;
    qn_cut_baseline baseline;
    bool *studied;          /* per position */
    size_t *same_as;        /* per position */
    qn_cut_result *results; /* per position and choice */
};

typedef struct qn_measure_worker qn_measure_worker;
typedef struct qn_measure {
    const qn_cuts *cuts;
    const qn_cut_study_options *options;
    qn_cut_study *study;
    int64_t n_items, message_items, unit;
    int n_workers;
    int64_t done, total;   /* of progress */
    pthread_mutex_t mutex; /* of progress and errors */
    size_t n_outputs;
    int64_t *counts;  /* elements of an item of each output */
    float **expected; /* per output: of the uncut network, f32[n_items * count] */
    double *signal;   /* per item */
    int64_t *best;    /* per item: argmax of the first output */

    /* The part of the items in hand. */
    int64_t first, n;
    float **values, **next; /* per tensor of the position before, and of this: f32[n * count] */
    qn_measure_stage prefix, suffix;
    size_t at; /* position where choices run; 0: none do */
    bool *run; /* per choice, there */
    qn_measure_worker *workers;
    double *noise;       /* per choice and item of the part */
    int64_t *found;      /* argmax, likewise */
    int64_t *error_item; /* per choice: the first that failed, -1: none */
} qn_measure;

/* Fill study->same_as, message_bytes and errors of all positions studied. */
qn_status qn_measure_plan(qn_measure *m, qn_error *err);
/* Has a choice to be run at a position, or is it known what comes out? */
bool qn_measure_runs(const qn_measure *m, size_t position, size_t choice);
/* How tensors travel there; its only choice is this. */
qn_status qn_measure_crossing(qn_crossing *crossing, const qn_measure *m, size_t position, size_t choice,
                              qn_error *err);

/* Run the uncut network on all items: expected, signal, best. */
qn_status qn_measure_baseline(qn_measure *m, qn_error *err);
/* All units of the part, from values to next, and at m->at all choices of m->run. */
qn_status qn_measure_units(qn_measure *m, qn_error *err);
/* n more pieces of work are done. QN_ECANCELED. */
qn_status qn_measure_tell(qn_measure *m, int64_t n, qn_error *err);

#endif
