/* A policy in a pipeline: what a sender asks before it gives a message, and tells when the message has left. Counts
 * messages into windows, hands the policy what was measured, mixes the choices of its plans, and keeps a log.
 *
 * Neither clocks nor ranks: times are arguments, of one clock, in seconds. A simulation has all links in one object; a
 * rank has its own link alone. Ownership: everything is copied. Threads: one at a time. */
#ifndef QN_LINK_ADAPT_H
#define QN_LINK_ADAPT_H

#include <stdbool.h>

#include "base/error.h"
#include "quern/cut.h"
#include "quern/plan.h"
#include "quern/policy.h"

/* A link to decide for.
 *  name     "link1", for messages
 *  choices  of the plan's link; the first is the start
 *  bytes    of the message of a full micro-batch in each choice
 *  code_bits, values  bits of codes as coded, and numbers, of one item of all tensors of the link: the width of "codes"
 *  known    bits per second that the link is known to have; NaN or 0: none */
typedef struct qn_adapt_link {
    const char *name, *medium;
    const qn_link_choice *choices;
    size_t n_choices;
    const size_t *bytes;
    int64_t code_bits, values;
    double known;
} qn_adapt_link;

/* policy "" is "fixed"; the rest as in qn_plan. */
typedef struct qn_adapt_options {
    const char *policy;
    double rate, accuracy_budget;
    int64_t window, microbatch;
} qn_adapt_options;

/* A window of a link.
 *  first, n  micro-batches given in it
 *  from, to  when the first was given, and the first of the next window; of the last window, when the log was closed
 *  sent      messages that left in that time, with their items, bytes, and seconds on the wire
 *  plan      their choices: the start's, or the policy's */
typedef struct qn_adapt_window {
    int64_t first, n;
    double from, to;
    qn_policy_measure sent;
    qn_policy_plan plan;
} qn_adapt_window;

typedef struct qn_adapt qn_adapt;

/* The link behind a stage, but for its name; bytes are the caller's, one for each choice. Errors: those of
 * qn_plan_message_bytes. */
qn_status qn_adapt_describe(qn_adapt_link *link, size_t *bytes, const qn_plan *plan, const qn_cuts *cuts,
                            const size_t *positions, size_t stage, qn_error *err);

/* Errors: those of qn_policy_create; QN_ECONFLICT (a policy, but no link has a choice), QN_ENOMEM. */
qn_status qn_adapt_create(qn_adapt **adapt, const qn_adapt_options *options, const qn_adapt_link *links, size_t n_links,
                          qn_error *err);
void qn_adapt_free(qn_adapt *adapt);

/* The choice of micro-batch m = 0, 1, ..., asked once for each, in turn. Before: what has left by now is told.
 * Errors: QN_ENOMEM. */
qn_status qn_adapt_choose(qn_adapt *adapt, size_t link, int64_t m, double now, size_t *choice, qn_error *err);
/* A message has left. seconds: that the link was busy with it alone, waiting for others left out. */
void qn_adapt_sent(qn_adapt *adapt, size_t link, int64_t items, size_t bytes, double seconds);
/* Nothing is given any more on a link: ends its last window. */
void qn_adapt_close(qn_adapt *adapt, size_t link, double now);

size_t qn_adapt_n_windows(const qn_adapt *adapt, size_t link);
const qn_adapt_window *qn_adapt_window_of(const qn_adapt *adapt, size_t link, size_t window);

/* A window's choices as text: "int8", "6 x int8, 4 x int4/channel". */
enum { QN_ADAPT_TEXT = 256 };
const char *qn_adapt_text(char text[QN_ADAPT_TEXT], const qn_policy_plan *plan, const qn_link_choice *choices);

#endif
