/* The planner, inside. partition_problem.c makes a problem of numbers of a network, devices and links;
 * partition_rate.c and partition_sum.c solve problems exactly; partition.c asks them, and says what is missing where
 * there is no answer.
 *
 * Times are whole picoseconds and losses billionths, so that sums are exact and ties are ties. Losses of several links
 * add: that is an assumption (doc/links.md). Ownership: problems and plans are plain data of the caller's. Threads:
 * reentrant. */
#ifndef QN_LINK_PARTITION_H
#define QN_LINK_PARTITION_H

#include "base/error.h"
#include "base/memory.h"
#include "quern/partition.h"

/* `none`: no such link or time. Of losses: more than any budget; two of them can be added. */
#define QN_PART_NONE INT64_MAX
enum {
    QN_PART_LOSS_ONE = 1000000000, /* all of top-1 */
    QN_PART_LOSS_NONE = 1073741823,
    QN_PART_MAX_PLACES = 4096, /* ends included */
    QN_PART_MAX_STAGES = 256,
    QN_PART_MAX_TYPES = 32,
    QN_PART_MAX_SETS = 1 << 20, /* multisets of devices */
};

/* A kind of device.
 *  memory  bytes; INT64_MAX: no limit
 *  before  per place: picoseconds for all nodes before it, of a micro-batch; never falls
 *  codec   per place: to take in or give out what crosses there, likewise
 *  start, end  of the first transfer to, and the last one from, a device of this type; 0: there is none; NONE: it
 *          cannot be one's
 *  start_delay, end_delay  their latencies; 0 where there is no transfer
 *  start_shared, end_shared  these take part in the medium */
typedef struct qn_part_type {
    int64_t count, memory;
    const int64_t *before, *codec;
    int64_t start, end, start_delay, end_delay;
    bool start_shared, end_shared;
} qn_part_type;

/* Places 0 to n_places - 1 are the network's start, where stages can part, and its end.
 *  needs   [from * n_places + to]: bytes of memory
 *  times   [((place * n_choices + choice) * n_types + sender) * n_types + receiver]: of a message's bytes, in which
 *          the link, or the medium, is occupied; NONE where it cannot be
 *  delays  [sender * n_types + receiver]: latencies, in which nothing is occupied
 *  losses  [place * n_choices + choice], 0 to LOSS_ONE; bytes likewise, for ties
 *  shared  [sender * n_types + receiver]: the link takes part in the medium; NULL: none does
 *  budget  LOSS_ONE or less
 *  latency what is least: false: the time between two micro-batches, true: the time of one */
typedef struct qn_part_problem {
    size_t n_places, n_types, n_choices;
    const qn_part_type *types;
    const int64_t *needs, *times, *delays, *bytes;
    const int32_t *losses;
    const bool *shared;
    int32_t budget;
    size_t max_stages;
    bool latency;
} qn_part_problem;

/*  place   n_stages + 1; type: n_stages; choice: n_stages - 1, of the link behind each stage
 *  period  between two micro-batches: the most of stages, periods of links, and the medium's sum; latency: of one */
typedef struct qn_part_plan {
    size_t n_stages;
    size_t place[QN_PART_MAX_STAGES + 1];
    int type[QN_PART_MAX_STAGES], choice[QN_PART_MAX_STAGES];
    int64_t period, latency, loss;
} qn_part_plan;

int64_t qn_part_stage_time(const qn_part_problem *p, size_t type, size_t from, size_t to);
/* Of a link: `busy` in which it is occupied; `time` until a message is there. Its `period` is the least that it lets a
 * pipeline have (doc/spec/pipeline.md, section 2): a buffer at the receiver is its message's from the start of
 * sending to the end of taking in, and there are two. NONE: there is no such link. */
int64_t qn_part_link_busy(const qn_part_problem *p, size_t place, int choice, size_t sender, size_t receiver);
int64_t qn_part_link_time(const qn_part_problem *p, size_t place, int choice, size_t sender, size_t receiver);
int64_t qn_part_link_period(const qn_part_problem *p, size_t place, int choice, size_t sender, size_t receiver);
/* Of the transfers at the ends likewise; where results are wanted, taking in takes no time. */
int64_t qn_part_start_time(const qn_part_type *type);
int64_t qn_part_start_period(const qn_part_type *type);
int64_t qn_part_end_time(const qn_part_type *type);
int64_t qn_part_end_period(const qn_part_type *type);
/* Fills period, latency and loss. */
void qn_part_evaluate(const qn_part_problem *p, qn_part_plan *plan);
/* Before another: less of what the problem wants least, fewer stages, less loss, then stage by stage the earlier end,
 * the type that comes first, the fewer bytes of the link before it. */
bool qn_part_is_better(const qn_part_problem *p, const qn_part_plan *a, const qn_part_plan *b);

/* The best plan; n_stages is 0 when there is none. Errors: QN_ELIMIT (more sets of devices than can be looked at),
 * QN_ECANCELED, QN_ENOMEM. */
qn_status qn_part_solve(qn_part_plan *plan, const qn_part_problem *p, qn_error *err);

/* What both solvers share: multisets of devices, numbered in mixed radix, and the stages that are possible.
 *  stride    of each type; the number of a set is the sum of stride * devices of that type
 *  order     sets by size; first[s]: where those of s devices begin
 *  class_of  per type: types that receive alike (from every other, and from the start) have one number
 *  member    per class: a type of it */
typedef struct qn_part_sets {
    size_t n_sets, n_classes, max_size;
    size_t stride[QN_PART_MAX_TYPES], count[QN_PART_MAX_TYPES];
    uint32_t *order;
    size_t first[QN_PART_MAX_STAGES + 2];
    int class_of[QN_PART_MAX_TYPES], member[QN_PART_MAX_TYPES];
} qn_part_sets;
qn_status qn_part_sets_make(qn_part_sets *sets, qn_arena *arena, const qn_part_problem *p, qn_error *err);
static inline size_t qn_part_devices(const qn_part_sets *sets, size_t set, size_t type)
{
    return set / sets->stride[type] % (sets->count[type] + 1);
}

/* Stages that take no longer than a limit, and fit: for each type and place, runs of places where they may end.
 *  first     [type * n_places + from]: index of the first run; those of one place end where those of the next begin
 *  left, right  [set]: suffixes of these devices can begin no earlier; prefixes of the others can end no later */
typedef struct qn_part_run {
    uint16_t from, to; /* both included */
} qn_part_run;
typedef struct qn_part_stages {
    qn_part_run *runs;
    size_t *first;
    size_t n_runs, capacity;
    uint16_t *reach, *back, *left, *right, *covered;
} qn_part_stages;
qn_status qn_part_stages_make(qn_part_stages *stages, qn_arena *arena, const qn_part_problem *p,
                              const qn_part_sets *sets, qn_error *err);
qn_status qn_part_stages_limit(qn_part_stages *stages, const qn_part_problem *p, const qn_part_sets *sets,
                               int64_t limit, qn_error *err);
void qn_part_stages_free(qn_part_stages *stages);

/* A plan whose period is at most `limit`, of the fewest stages, then the least loss; n_stages 0: none. Without a
 * medium. */
qn_status qn_part_rate_within(qn_part_plan *plan, const qn_part_problem *p, const qn_part_sets *sets,
                              qn_part_stages *stages, int64_t limit, qn_error *err);
/* The same by sums: of the medium's time, at most `limit`; or, where the problem wants latency, the plan of least
 * latency. */
qn_status qn_part_sum_within(qn_part_plan *plan, const qn_part_problem *p, const qn_part_sets *sets,
                             qn_part_stages *stages, int64_t limit, qn_error *err);

#endif
