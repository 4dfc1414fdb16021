/* Adaptive formats of the links of a pipeline: which format the next window of micro-batches gets, from the bandwidth
 * of the last, so that a target rate holds (doc/spec/policy.md); and bandwidths that change over time, to replay.
 *
 * A policy is a state machine without clocks and I/O: the same calls in the same order give the same plans on every
 * machine. Different policies may be used by different threads; one belongs to one thread at a time. */
#ifndef QUERN_POLICY_H
#define QUERN_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/status.h"

/* X(name, value, text, what it does). */
#define QN_POLICY_LIST(X)                                                                                              \
    X(QN_POLICY_FIXED, 0, "fixed", "each link keeps the format that it starts with")                                   \
    X(QN_POLICY_HEURISTIC, 1, "heuristic", "PipeEdge's: 32, 16, 8, 6, 4 or 2 bits, by a ratio rounded up")             \
    X(QN_POLICY_HEURISTIC2, 2, "heuristic2", "PipeEdge's: the most bits that fit the time of a micro-batch")           \
    X(QN_POLICY_CONTROLLER, 3, "controller", "PipeEdge's: Kalman filter and integral controller, two widths a window") \
    X(QN_POLICY_QUERN, 4, "quern", "the least loss of accuracy that holds the rate, over all links at once")
typedef enum qn_policy_kind {
#define QN_POLICY_ENUM(name, value, text, what) name = value,
    QN_POLICY_LIST(QN_POLICY_ENUM)
#undef QN_POLICY_ENUM
} qn_policy_kind;
/* The value of "fixed" and so on: QN_EINVAL, which names those there are. */
QN_API QN_NODISCARD qn_status qn_policy_kind_parse(qn_policy_kind *kind, const char *text, qn_error *err);
/* "fixed" and so on, and what it does; NULL of values that are none, so that a loop from 0 ends. Static storage. */
QN_API const char *qn_policy_kind_text(qn_policy_kind kind);
QN_API const char *qn_policy_kind_about(qn_policy_kind kind);

enum {
    QN_POLICY_MAX_LINKS = 1024,
    QN_POLICY_MAX_CHOICES = 64,     /* of a link */
    QN_POLICY_MAX_WINDOW = 1000000, /* micro-batches */
};

/* A format that a link may use.
 *  format   as in qn_link_options; for messages, nothing here parses it
 *  bits     of a code, above 0: 8 of "int8", 32 of "fp32"; what PipeEdge's policies choose by
 *  bytes    of the whole message of a full micro-batch, header included (qn_frame_plan's n_bytes), 1 to 2^40
 *  loss     fraction of top-1 lost when this link has this format, -1 to 1, below 0 as 0; NaN: not known
 *  sqnr_db  of the values that arrive; used where the loss is not known; NaN: not known; infinity: exact */
typedef struct qn_policy_choice {
    const char *format;
    double bits;
    int64_t bytes;
    double loss;
    double sqnr_db;
} qn_policy_choice;

/* A link.
 *  medium     links that name the same one share its bandwidth; NULL: the link has one of its own
 *  choices    1 to QN_POLICY_MAX_CHOICES
 *  start      index of the choice used until something is known of the bandwidth
 *  values     numbers in a full micro-batch, 1 to 2^40; 0: not known (heuristic2 refuses that)
 *  bandwidth  bytes per second as far as known before the first measurement; 0: not known
 *  latency    seconds, 0 or more, that each message occupies the link besides its bytes' time; 0 where the next message
 *             need not wait. What a pipeline hides (bytes under way) is not latency in this sense. */
typedef struct qn_policy_link {
    const char *name;
    const char *medium;
    const qn_policy_choice *choices;
    int n_choices;
    int start;
    int64_t values;
    double bandwidth;
    double latency;
} qn_policy_link;

typedef struct qn_policy_options {
    size_t struct_size;
    const char *name;       /* default "quern" */
    double target_rate;     /* items per second, above 0; of "fixed" any, 0 being none */
    int64_t window;         /* micro-batches between two plans, 1 to QN_POLICY_MAX_WINDOW; default 10 */
    int64_t items;          /* of a full micro-batch, 1 to 2^40; default 1 */
    double accuracy_budget; /* quern: most that losses of all links may sum up to, 0 to 1; NaN (default): no such */
    double reserve;         /* quern: part of the bandwidth, 0 to below 1, that a new plan leaves free; default 0.1 */
} qn_policy_options;
QN_API void qn_policy_options_init(qn_policy_options *options);

typedef struct qn_policy qn_policy;
/* Make a policy; links and choices are copied. Release with qn_policy_free.
 * Errors: QN_EINVAL (an option, a link or a choice out of range, each named), QN_ECONFLICT (an accuracy budget for a
 * policy that has none, without losses, or below the losses that links have at the start), QN_ELIMIT (2^62 bytes or
 * more in a window), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_policy_create(qn_policy **policy, const qn_policy_options *options,
                                               const qn_policy_link *links, int n_links, qn_error *err);
QN_API void qn_policy_free(qn_policy *policy);
QN_API qn_policy_kind qn_policy_kind_of(const qn_policy *policy);

/* What a link did in a window.
 *  messages  sent
 *  items     in them
 *  bytes     sent, headers included
 *  seconds   during which the link, or on a shared medium the medium for this link, was busy with them: the sum over
 *            messages, without waiting for messages or for the medium
 *  elapsed   seconds that the window took, waiting included; 0: not known
 * A measurement that cannot be (not above 0, not finite, busy longer than all messages at once could make it) changes
 * nothing but the plan's flag. */
typedef struct qn_policy_measure {
    int64_t messages;
    int64_t items;
    double bytes;
    double seconds;
    double elapsed;
} qn_policy_measure;

/* What is to be said about a plan. X(name, bit, text). */
#define QN_PLAN_FLAG_LIST(X)                                                                                           \
    X(QN_PLAN_UNMEASURED, 1, "nothing is known of the bandwidth yet")                                                  \
    X(QN_PLAN_IGNORED, 2, "the last measurement cannot be, and was ignored")                                           \
    X(QN_PLAN_RATE_MISSED, 4, "the target rate is not reached")                                                        \
    X(QN_PLAN_ACCURACY_KEPT, 8, "the rate gives way to the accuracy budget")
enum {
#define QN_PLAN_FLAG_ENUM(name, value, text) name = value,
    QN_PLAN_FLAG_LIST(QN_PLAN_FLAG_ENUM)
#undef QN_PLAN_FLAG_ENUM
};
/* Text of one flag; never NULL. Static storage. */
QN_API const char *qn_plan_flag_text(unsigned flag);

/* Micro-batches of a window that have one choice. */
typedef struct qn_policy_part {
    int choice;
    int64_t n_microbatches;
} qn_policy_part;

/* Formats of the next window of a link.
 *  n_parts    1 or 2; no part is empty, and together they have the window's micro-batches
 *  spread     the two are mixed evenly; else the first part comes first
 *  flags      QN_PLAN_UNMEASURED and so on
 *  bandwidth  estimated, bytes per second, of the whole medium; NaN: not known
 *  rate       items per second that the medium can carry with the plans of all links on it; NaN: not known. Where
 *             QN_PLAN_RATE_MISSED is set, target_rate less this is what is missing
 *  loss       fraction of top-1 that this link is expected to lose, over the window; NaN: not known */
typedef struct qn_policy_plan {
    int n_parts;
    qn_policy_part parts[2];
    bool spread;
    unsigned flags;
    double bandwidth;
    double rate;
    double loss;
} qn_policy_plan;

/* Tell what a link did. The plans of other links on the same medium, and with an accuracy budget of all, may change.
 * Errors: QN_EINVAL (no such link). */
QN_API QN_NODISCARD qn_status qn_policy_observe(qn_policy *policy, int link, const qn_policy_measure *window,
                                                qn_error *err);
/* The plan from all that was told so far. Errors: QN_EINVAL (no such link), QN_ENOMEM; *plan is untouched then. */
QN_API QN_NODISCARD qn_status qn_policy_plan_next(qn_policy *policy, int link, qn_policy_plan *plan, qn_error *err);
/* Observe, then plan. Where the windows of several links end together, observe all first. */
QN_API QN_NODISCARD qn_status qn_policy_next(qn_policy *policy, int link, const qn_policy_measure *window,
                                             qn_policy_plan *plan, qn_error *err);
/* The choice of micro-batch k = 0, 1, ... after the plan began; the plan repeats where a window lasts longer. */
QN_API int qn_policy_choice_at(const qn_policy_plan *plan, int64_t k);

/* Bits per second of "10Mbit": a decimal number above 0, and one of bit, kbit, Mbit, Gbit, with or without "/s", or of
 * B/s, kB/s, MB/s, GB/s. k, M, G are powers of 1000. Errors: QN_EINVAL, which names the units. */
QN_API QN_NODISCARD qn_status qn_bandwidth_parse(double *bits_per_second, const char *text, qn_error *err);
/* Seconds of "5ms": a decimal number of 0 or more, and ns, us, ms or s; "0" needs none. Errors: QN_EINVAL. */
QN_API QN_NODISCARD qn_status qn_latency_parse(double *seconds, const char *text, qn_error *err);

/* Bandwidths over time, piecewise constant: before the first time the first one, after the last time the last. */
typedef struct qn_bandwidth_trace qn_bandwidth_trace;
/* Read CSV with lines "seconds,bits_per_second" or "seconds,bits_per_second,link", all alike, and perhaps a first line
 * of those names. Empty lines, and lines that begin with #, are nothing. Times of a link ascend; a bandwidth may be 0
 * for a while, but not always. Release with qn_bandwidth_trace_free.
 * Errors: QN_EFORMAT (with the line), QN_ELIMIT (more than 2^22 steps, or 256 links), QN_EIO, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_bandwidth_trace_read(qn_bandwidth_trace **trace, const char *path, qn_error *err);
/* The same from n bytes of text; `where` names them in errors. */
QN_API QN_NODISCARD qn_status qn_bandwidth_trace_parse(qn_bandwidth_trace **trace, const void *text, size_t n,
                                                       const char *where, qn_error *err);
/* One bandwidth for ever, above 0 and finite. Errors: QN_EINVAL, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_bandwidth_trace_constant(qn_bandwidth_trace **trace, double bits_per_second,
                                                          qn_error *err);
QN_API void qn_bandwidth_trace_free(qn_bandwidth_trace *trace);

/* The index of a link's bandwidths in the calls below; -1 when the trace names links, but not this one. A trace that
 * names none has those of every link at 0. */
QN_API int qn_trace_link(const qn_bandwidth_trace *trace, const char *name);
/* How many links the trace names, and their names; 0 when it names none. NULL beyond the last. */
QN_API int qn_trace_n_links(const qn_bandwidth_trace *trace);
QN_API const char *qn_trace_link_name(const qn_bandwidth_trace *trace, int link);
/* Bits per second at a time. link: from qn_trace_link, 0 or more. */
QN_API double qn_trace_bandwidth(const qn_bandwidth_trace *trace, int link, double time);
/* The time in seconds from which on the last bandwidth of a link holds; NaN for a link that is none. */
QN_API double qn_trace_end(const qn_bandwidth_trace *trace, int link);
/* The time in seconds at which `bytes` have arrived that start at start_time and have the link for themselves,
 * `latency` seconds after the last was sent. Infinity when the bandwidth ends at 0 before; NaN for a link that is none,
 * or for numbers that are not (time NaN or infinite, bytes or latency below 0, NaN or infinite). */
QN_API double qn_trace_finish(const qn_bandwidth_trace *trace, int link, double start_time, double bytes,
                              double latency);

#endif
