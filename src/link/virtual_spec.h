/* What `--simulate` and `--throttle` say: bandwidth, latency and speed of a pipeline's links and stages. */
#ifndef QN_LINK_VIRTUAL_SPEC_H
#define QN_LINK_VIRTUAL_SPEC_H

#include <stdbool.h>

#include "base/error.h"
#include "base/memory.h"
#include "quern/plan.h"
#include "quern/policy.h"

/* X(name, value, text, what). How long a stage takes for an item. */
#define QN_VIRTUAL_COMPUTE_LIST(X)                                                                                     \
    X(QN_VIRTUAL_MEASURED, 0, "measured", "as long as it took here, encoding and decoding included")                   \
    X(QN_VIRTUAL_MACS, 1, "macs", "multiplications by a rate")                                                         \
    X(QN_VIRTUAL_PLAN, 2, "plan", "what the plan predicts")
typedef enum qn_virtual_compute {
#define QN_VIRTUAL_COMPUTE_ENUM(name, value, text, what) name = value,
    QN_VIRTUAL_COMPUTE_LIST(QN_VIRTUAL_COMPUTE_ENUM)
#undef QN_VIRTUAL_COMPUTE_ENUM
} qn_virtual_compute;
const char *qn_virtual_compute_text(qn_virtual_compute compute);

/* A link: bandwidth over time, which is `trace_link` of a trace, and the file of that (NULL: one bandwidth for
 * ever). */
typedef struct qn_virtual_speed {
    qn_bandwidth_trace *trace;
    int trace_link;
    const char *file;
    double latency;
} qn_virtual_speed;

/* A stage: how, and multiplications per second. */
typedef struct qn_virtual_stage {
    qn_virtual_compute compute;
    double macs_per_second;
} qn_virtual_stage;

typedef struct qn_virtual_spec {
    size_t n_stages;
    qn_virtual_speed *links; /* n_stages - 1 */
    qn_virtual_stage *stages;
    bool says_compute; /* the text does, of some stage */
    qn_arena arena;
} qn_virtual_spec;

/* Read "KEY=VALUE,..." for a plan, which gives what the text does not: bandwidths, latencies, seconds per item. Keys:
 * bandwidth, latency, trace, compute, all with or without "link0." or "stage0." before them; what is said of
 * one link or stage goes before what is said of all. Links without a latency have none; without `compute`, stages take
 * what the plan predicts, if it does for all, else they are measured.
 *  option  "--simulate", for messages
 * Errors: QN_EINVAL (unknown keys, naming those there are; numbers; links without bandwidth), those of
 * qn_bandwidth_trace_read, QN_ENOMEM. */
qn_status qn_virtual_spec_read(qn_virtual_spec *spec, const char *option, const char *text, const qn_plan *plan,
                               qn_error *err);
void qn_virtual_spec_free(qn_virtual_spec *spec);

#endif
