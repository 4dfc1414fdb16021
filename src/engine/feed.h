/* Feeding: a whole data set through a program, batch by batch on several threads.
 *
 * One workspace and one set of buffers per worker, made beforehand: memory grows with threads and batch, never with the
 * set. Batches are handed out in order; what is done with their results must not depend on the order they finish in. */
#ifndef QN_ENGINE_FEED_H
#define QN_ENGINE_FEED_H

#include "engine/program.h"
#include "quern/calibrate.h" /* qn_progress_fn */

/* One batch just run. The pointers hold until the callback returns. */
typedef struct qn_feed_batch {
    int worker;                 /* 0 <= worker < feed->n_threads; a worker runs one batch at a time */
    int64_t first, n;           /* items first..first+n-1 of the set */
    const float *const *inputs; /* of each input of the network f32[n * input count] */
    const float *outputs;       /* f32[n * output count] of the first output */
    const qn_workspace *workspace;
} qn_feed_batch;
typedef qn_status (*qn_feed_fn)(void *ctx, const qn_feed_batch *batch, qn_error *err);

typedef struct qn_feed {
    const qn_program *program;
    const qn_dataset *data;
    int n_threads;           /* at least 1 */
    qn_progress_fn progress; /* may be NULL */
    void *progress_ctx;
    qn_feed_fn each; /* may be NULL; called from the workers */
    void *ctx;
    const qn_watcher *watchers; /* of a watched program, n_threads of them; NULL to watch nothing */
} qn_feed;

/* Whether the set's arrays are the network's inputs, in their order: what qn_feed_run takes.
 * Errors: QN_EINVAL when the set is empty or has another number of arrays; QN_ESHAPE naming both shapes.
 * Items may lack the axis of a single channel: (28, 28) for an input (1, 28, 28). */
qn_status qn_feed_check_inputs(const qn_program *program, const qn_dataset *data, qn_error *err);

/* The same for what reads a set itself, of one array: QN_EINVAL too when the network has not exactly one input. */
qn_status qn_feed_check(const qn_program *program, const qn_dataset *data, qn_error *err);

/* The same of a network's only input, of which no program is at hand: the shape of its items. */
qn_status qn_feed_check_items(const qn_graph *graph, const char *input, const int64_t *wants, int wants_rank,
                              const qn_dataset *data, qn_error *err);

/* *seconds (may be NULL): wall time inside qn_program_run of the worker that spent most.
 * Integers of 2^24 and more, which float32 does not hold, are refused (QN_ERANGE) where the input is of integers.
 * Errors: those of qn_feed_check_inputs, of reading and running, and of `each`, the earliest batch's; QN_ECANCELED. */
qn_status qn_feed_run(const qn_feed *feed, double *seconds, qn_error *err);

#endif
