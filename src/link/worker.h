/* A worker: one stage of a plan made ready to run, message in, message out. It knows neither clocks nor ranks: what
 * moves messages, MPI or a simulation, calls take (or feed), compute, give, in this order, for each micro-batch.
 *
 * Messages (doc/spec/link.md, section 5): an envelope, then one frame for each tensor that crosses, in the cut's order;
 * one message for each micro-batch and link. Bytes that come in are not trusted. Ownership: a worker owns everything it
 * works with; nothing allocates from the first `take` on. Threads: one thread per worker. */
#ifndef QN_LINK_WORKER_H
#define QN_LINK_WORKER_H

#include "quern/cut.h"
#include "quern/plan.h"

typedef struct qn_worker qn_worker;

/* plan and cuts must outlive the worker; positions are those of qn_plan_check. */
qn_status qn_worker_create(qn_worker **worker, const qn_cuts *cuts, const qn_plan *plan, const size_t *positions,
                           size_t stage, qn_error *err);
void qn_worker_free(qn_worker *worker);

/* Bytes of the greatest message it gives, in any of its link's choices, or takes; 0 at the ends of the network. */
size_t qn_worker_most_given(const qn_worker *worker);
size_t qn_worker_most_taken(const qn_worker *worker);
/* Bytes of a message of n items in a choice. */
size_t qn_worker_bytes(const qn_worker *worker, size_t choice, int64_t n);

/* Called between runs of the program (of qn_program_batch items each) while it computes, from the same thread. */
void qn_worker_set_pulse(qn_worker *worker, void (*pulse)(void *ctx), void *ctx);

/* Micro-batch `sequence` of n items, 1 <= n <= plan->microbatch.
 *  inputs  stage 0: one pointer per input of the network, f32[n * count]; they are copied */
qn_status qn_worker_feed(qn_worker *worker, uint64_t sequence, const float *const *inputs, int64_t n, qn_error *err);
/* The next message from the stage before, which is not needed afterwards; the first has sequence 0, and then they go up
 * by one. QN_EFORMAT: damaged, not expected, of other shapes (what, and where). */
qn_status qn_worker_take(qn_worker *worker, const void *message, size_t n_bytes, qn_error *err);
qn_status qn_worker_compute(qn_worker *worker, qn_error *err);
/* The message for the next stage, in a choice of its link: qn_worker_most_given bytes, not aligned. What passes through
 * is forwarded as the frame it came in where encoding it would give the same bytes, else decoded and encoded. May be
 * called again, for another choice. QN_ERANGE: NaN or infinity, of which the format has no code; QN_EFORMAT: what
 * passes through, and is decoded only here, came with parameters that its format does not have. */
qn_status qn_worker_give(qn_worker *worker, size_t choice, void *message, size_t *n_bytes, qn_error *err);
/* What the micro-batch in hand is. */
uint64_t qn_worker_sequence(const qn_worker *worker);
int64_t qn_worker_items(const qn_worker *worker);
/* Last stage: output `index` of the network, f32[n * count]; until the next take or feed. */
const float *qn_worker_output(const qn_worker *worker, size_t index);

#endif
