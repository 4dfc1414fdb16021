/* Virtual time: when what happens in a pipeline, without clocks (doc/spec/pipeline.md). A discrete-event simulation of
 * the loop that each stage runs: take, compute, give; two buffers at each end of each link; one message at a time on a
 * medium. What is done, how long it takes and what is sent, a host says, who is asked in the order of virtual time.
 *
 * Ownership: the run owns its logs; the host's context is the host's. Threads: runs share nothing. */
#ifndef QN_LINK_VIRTUAL_H
#define QN_LINK_VIRTUAL_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Messages that a sender, and a receiver, hold at once. */
enum { QN_VIRTUAL_BUFFERS = 2 };

/* Micro-batch m in a stage; all in seconds of virtual time.
 *  begin     the message is there and the stage is free
 *  taken     its buffer is free again
 *  computed  results are there
 *  give      there is a buffer for the next message; of the last stage: computed
 *  done      the message is ready to be sent, and the stage free; of the last stage: computed */
typedef struct qn_virtual_step {
    double begin, taken, computed, give, done;
} qn_virtual_step;

/* Its message on a link.
 *  ready    made, the one before it sent, and a buffer free where it goes
 *  start    the medium is this message's
 *  sent     the last byte has left: the medium, and the sender's buffer, are free
 *  arrived  sent, and the latency later */
typedef struct qn_virtual_send {
    double ready, start, sent, arrived;
    size_t bytes;
} qn_virtual_send;

/* What the stages do. `seconds` are 0 or more.
 *  take, compute, give  do it, and say how long it took; `now` is when it begins. Of stage 0 take is feed; of the last
 *                       there is no give. give says how long the message is, 1 byte or more
 *  finish               when `bytes` that start on a link at `start` have left; infinity: never */
typedef struct qn_virtual_host {
    void *context;
    qn_status (*take)(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err);
    qn_status (*compute)(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err);
    qn_status (*give)(void *context, size_t stage, int64_t m, double now, double *seconds, size_t *bytes,
                      qn_error *err);
    double (*finish)(void *context, size_t link, double start, double bytes);
} qn_virtual_host;

/* A link, between stage k and k + 1.
 *  medium   index of the medium, below the number of links; links with the same one take turns
 *  latency  seconds, which do not occupy the medium */
typedef struct qn_virtual_link {
    size_t medium;
    double latency;
} qn_virtual_link;

typedef struct qn_virtual {
    size_t n_stages;
    int64_t n_microbatches;
    const qn_virtual_link *links; /* n_stages - 1, the caller's */
    qn_virtual_host host;
    qn_virtual_step *steps; /* [n_stages][n_microbatches] */
    qn_virtual_send *sends; /* [n_stages - 1][n_microbatches] */
    double end;             /* when the last stage has computed the last micro-batch */
    struct qn_virtual_state *state;
} qn_virtual;

/* links must outlive the run. Errors: QN_ELIMIT, QN_ENOMEM. */
qn_status qn_virtual_create(qn_virtual *run, size_t n_stages, int64_t n_microbatches, const qn_virtual_link *links,
                            const qn_virtual_host *host, qn_error *err);
/* From beginning to end; allocates nothing. While it runs, the host may read of the logs what lies before `now`; what
 * has not happened yet is infinity. Errors: the host's; QN_ERANGE (a message that never arrives). */
qn_status qn_virtual_run(qn_virtual *run, qn_error *err);
void qn_virtual_free(qn_virtual *run);

static inline qn_virtual_step *qn_virtual_step_of(const qn_virtual *run, size_t stage, int64_t m)
{
    return &run->steps[stage * (size_t)run->n_microbatches + (size_t)m];
}
static inline qn_virtual_send *qn_virtual_send_of(const qn_virtual *run, size_t link, int64_t m)
{
    return &run->sends[link * (size_t)run->n_microbatches + (size_t)m];
}

#endif
