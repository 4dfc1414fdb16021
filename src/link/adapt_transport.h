/* A transport before the transport: what a stage sends to the next one is held back as a link of some bandwidth would
 * (--throttle), and how long that took is told to a policy.
 *
 * A message of b bytes handed over at t is on the link from max(t, when the one before it had left) for as long as the
 * bandwidth takes for b bytes, and leaves for the real transport a latency later (start and sent of
 * doc/spec/pipeline.md). That long is what the policy is told, whatever the real transport takes in addition. None
 * overtakes another; other messages pass through.
 *
 * Ownership: owns its slots. Threads: those of the real transport. */
#ifndef QN_LINK_ADAPT_TRANSPORT_H
#define QN_LINK_ADAPT_TRANSPORT_H

#include "link/adapt.h"
#include "link/virtual_spec.h"
#include "quern/pipeline.h"

typedef struct qn_adapt_held qn_adapt_held;

typedef struct qn_adapt_transport {
    qn_transport real;
    const qn_virtual_speed *speed;
    qn_adapt *adapt; /* with this rank's link alone; may be NULL */
    double (*now)(void);
    double began, left;  /* of the clock: when the trace begins; when the last message had left */
    qn_adapt_held *held; /* n_slots */
    size_t n_slots;
    int64_t next_order, next_begun; /* of messages to the next stage: handed over, given to the real transport */
} qn_adapt_transport;

/* `outer` is what the pipeline gets, and lasts as long as `t`. Errors: QN_ENOMEM. */
qn_status qn_adapt_transport_open(qn_adapt_transport *t, qn_transport *outer, const qn_transport *real,
                                  const qn_virtual_speed *speed, qn_adapt *adapt, qn_error *err);
/* The time of the trace, and of the policy, is 0 now. */
void qn_adapt_transport_begin(qn_adapt_transport *t);
/* Seconds since. */
double qn_adapt_transport_time(const qn_adapt_transport *t);
void qn_adapt_transport_close(qn_adapt_transport *t);

#endif
