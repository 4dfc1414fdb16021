/* Pipelines: the stages of a plan at work at the same time, one to a process, micro-batches going from each to the next.
 *
 * Rank k runs stage k; rank 0 also reads the data and gets the results. The library moves no bytes between processes:
 * whoever runs a pipeline brings a transport, as `quern pipeline` brings MPI. */
#ifndef QUERN_PIPELINE_H
#define QUERN_PIPELINE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/cut.h"
#include "quern/plan.h"

/* Ways that messages do not mix on. data: stage to next stage; result: last stage to rank 0; note: any to rank 0;
 * control: rank 0 to any. */
typedef enum qn_channel { QN_CHANNEL_DATA, QN_CHANNEL_RESULT, QN_CHANNEL_NOTE, QN_CHANNEL_CONTROL } qn_channel;

/* Messages that are begun and then asked for. Messages of one sender on one channel arrive in order.
 *  slot     of a request: 0 to qn_pipeline_slots - 1; it is idle until one is begun in it, and again after `test` has
 *           said that it is over
 *  send, receive   begin; the bytes stay the caller's, untouched until the request is over
 *  from     a rank, or -1: any
 *  test     over: the request has ended; n_bytes, from: what came, of a receive. Never waits
 *  rest     nothing is to be done, and has not been for so many seconds: wait a little, or not
 * Errors of all: QN_EINTERNAL with the transport's own words. */
typedef struct qn_transport {
    void *ctx;
    int rank, size;
    qn_status (*send)(void *ctx, size_t slot, int to, qn_channel channel, const void *data, size_t n_bytes,
                      qn_error *err);
    qn_status (*receive)(void *ctx, size_t slot, int from, qn_channel channel, void *data, size_t room, qn_error *err);
    qn_status (*test)(void *ctx, size_t slot, bool *over, size_t *n_bytes, int *from, qn_error *err);
    void (*rest)(void *ctx, double seconds);
} qn_transport;
/* Slots that a transport needs for a job of so many ranks. */
QN_API size_t qn_pipeline_slots(int size);

/* What a stage did with a micro-batch.
 *  choice   of the link behind it
 *  n_bytes  of the message it gave; 0 of a stage that gives none
 *  start    seconds since the stage began, at which it had the micro-batch in hand
 *  the rest in seconds; waits: for the message to come, and for one of the two before it to leave */
typedef struct qn_pipeline_record {
    size_t stage;
    uint64_t sequence;
    int64_t items;
    size_t choice, n_bytes;
    double start, decode, compute, encode, receive_wait, send_wait;
} qn_pipeline_record;

/* The sums of a stage's records.
 *  choices  messages in each choice of the link behind
 *  finish   when the last of them ended, in seconds since the stage began */
typedef struct qn_pipeline_totals {
    int64_t items, messages, choices[QN_PLAN_MAX_CHOICES];
    uint64_t n_bytes;
    double finish, decode, compute, encode, receive_wait, send_wait;
} qn_pipeline_totals;
QN_API void qn_pipeline_add(qn_pipeline_totals *totals, const qn_pipeline_record *record);

/*  transport  NULL: alone, for a plan of one stage
 *  timeout    seconds without progress after which a link counts as stalled; more than any stage takes for one run of
 *             its program. Default 60
 *  stop       looked at now and then, may be NULL: not 0, the run ends with QN_ECANCELED
 *  warned     may be NULL: changes when a launcher sends what makes a job go on (SIGCONT), as mpirun does a second
 *             before it ends one. A run that was not stopped then takes it for a stop; one that was, which shows in
 *             the time that it lost, goes on
 *  read       rank 0: items first to first + n - 1 of the network's only input, into x, f32[n * count]
 *  outputs    rank 0: finished items, in order: one pointer per output of the network, f32[n * count]; until it returns
 *  record     rank 0, may be NULL: each micro-batch of each stage, as they end
 *  choose     may be NULL (the first choice always): the choice of the link behind `stage` for a micro-batch, asked when it
 *             is computed; called at that stage's rank
 *  sent       may be NULL: a message has left on that link, which was busy with it for so many seconds, waiting for the
 *             message before it left out, as far as could be seen from here */
typedef struct qn_pipeline_options {
    size_t struct_size;
    const qn_transport *transport;
    double timeout;
    const volatile sig_atomic_t *stop, *warned;
    qn_status (*read)(void *ctx, int64_t first, int64_t n, float *x, qn_error *err);
    qn_status (*outputs)(void *ctx, int64_t first, int64_t n, const float *const *outputs, qn_error *err);
    qn_status (*record)(void *ctx, const qn_pipeline_record *record, qn_error *err);
    qn_status (*choose)(void *ctx, size_t stage, uint64_t sequence, size_t *choice, qn_error *err);
    void (*sent)(void *ctx, size_t stage, uint64_t sequence, int64_t items, size_t n_bytes, double seconds);
    void *ctx;
} qn_pipeline_options;
QN_API void qn_pipeline_options_init(qn_pipeline_options *options);

typedef struct qn_pipeline qn_pipeline;

/* This rank's part of a plan made ready; what is passed must outlive it. positions are those of qn_plan_check.
 * Errors: QN_EINVAL (more stages than ranks, how many of each; a network of several inputs), those of qn_stage_create
 * and qn_program_create; QN_ELIMIT (a message of 2 GiB or more), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_pipeline_create(qn_pipeline **pipeline, const qn_cuts *cuts, const qn_plan *plan,
                                                 const size_t *positions, const qn_pipeline_options *options,
                                                 qn_error *err);
QN_API void qn_pipeline_free(qn_pipeline *pipeline);
/* Is there a stage for this rank? The others only wait for the end. */
QN_API bool qn_pipeline_has_stage(const qn_pipeline *pipeline);
/* Run, once, on all ranks at about the same time, after all have been created.
 *  n_items  rank 0: what there is to read
 * After a failure messages may be on their way: the job has to be ended, not left. Errors, of rank 0: what a stage failed
 * of, the stage and its rank named; QN_EIO: a stalled link, named with rank and micro-batch; QN_ECANCELED. Others end with
 * these, too, or with QN_ECANCELED when rank 0 is to tell. */
QN_API QN_NODISCARD qn_status qn_pipeline_run(qn_pipeline *pipeline, int64_t n_items, qn_error *err);
/* Rank 0: items whose outputs came. */
QN_API int64_t qn_pipeline_finished(const qn_pipeline *pipeline);
/* Rank 0: what stage `stage` told of itself so far. */
QN_API const qn_pipeline_totals *qn_pipeline_totals_of(const qn_pipeline *pipeline, size_t stage);

#endif
