/* The planner: which stages of a network run on which of several unequal devices, and in which formats tensors travel
 * between them, so that the pipeline's rate is the highest, or its latency the least, within the devices' memory and a
 * budget of accuracy. What it returns is the best of all plans, not a good one.
 *
 * What it counts (doc/links.md): a stage takes the time of its nodes, and of encoding and decoding where that is
 * known; a link is occupied for the bits of a message over its bandwidth, while devices compute, and its latency delays
 * each message, of which two are on their way at most; losses of links add. */
#ifndef QUERN_PARTITION_H
#define QUERN_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/cut.h"
#include "quern/plan.h"

/* A type of device.
 *  count    devices of it; 0: none today
 *  memory   bytes that each has for a stage; 0: nobody says, no limit
 *  macs_per_second  NaN when nobody says: times come from a profile, which `profile` names (NULL: nobody says which)
 *  speed    of a device measured against the profile: 0.5 takes twice its time; 1 when nobody says
 *  codec    bytes of float32 that it encodes or decodes in a second; NaN: that takes no time */
typedef struct qn_device_type {
    const char *name;
    int64_t count, memory;
    double macs_per_second;
    const char *profile;
    double speed, codec;
} qn_device_type;

/* data, results: where items are at first, and where they are wanted: one of the devices of a type, or a name that only
 * links have; NULL: transfers at the ends are not counted. Strings and arrays belong to the devices. */
enum { QN_DEVICES_MAX_TYPES = 32, QN_DEVICES_MAX_COUNT = 1000000 };
typedef struct qn_devices {
    size_t n_types;
    qn_device_type *types;
    const char *data, *results;
    void *memory;
} qn_devices;
/* YAML (doc/links.md). Errors: QN_EIO, QN_EFORMAT (with the line), QN_ELIMIT, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_devices_read(qn_devices *devices, const char *path, qn_error *err);
QN_API void qn_devices_free(qn_devices *devices);

/* A link from a device of one type to one of another, or of the same: bits per second, seconds.
 *  from, to  NULL: every two devices that no other line is about
 *  both      also the other way */
typedef struct qn_device_link {
    const char *from, *to;
    bool both;
    double bandwidth, latency;
    const char *medium;
} qn_device_link;
typedef struct qn_device_links {
    size_t n_links;
    qn_device_link *links;
    void *memory;
} qn_device_links;
QN_API QN_NODISCARD qn_status qn_device_links_read(qn_device_links *links, const char *path, qn_error *err);
QN_API void qn_device_links_free(qn_device_links *links);
/* NULL: they are not joined. */
QN_API const qn_device_link *qn_device_links_find(const qn_device_links *links, const char *from, const char *to);

/* Times of `quern cuts --times`: seconds for one item of all nodes before each position, n of them. Errors: QN_EIO,
 * QN_EFORMAT (what is missing or out of order), QN_EINVAL (another model or engine), QN_ENOMEM. */
typedef struct qn_device_profile {
    size_t n;
    double *seconds_before;
} qn_device_profile;
QN_API QN_NODISCARD qn_status qn_device_profile_read(qn_device_profile *profile, const char *path, const qn_cuts *cuts,
                                                     qn_error *err);
QN_API void qn_device_profile_free(qn_device_profile *profile);

/* What cutting costs in accuracy.
 *  choices  n_choices
 *  losses   [position * n_choices + choice]: a fraction of top-1; NaN: not measured. NULL: nobody measured any
 *  sqnr_db  likewise */
typedef struct qn_cut_losses {
    size_t n_choices;
    qn_link_choice *choices;
    double *losses, *sqnr_db;
    void *memory;
} qn_cut_losses;
/* JSON of `quern cuts --data`. Errors: as qn_device_profile_read. */
QN_API QN_NODISCARD qn_status qn_cut_losses_read(qn_cut_losses *losses, const char *path, const qn_cuts *cuts,
                                                 qn_error *err);
QN_API void qn_cut_losses_free(qn_cut_losses *losses);

/*  profiles       per type; NULL: times are those of MACs
 *  losses         choices of all links, and what they cost: NULL losses in it: not known
 *  accuracy_drop  the most that the losses of all links may sum up to, 0 to 1; NaN: whatever they are
 *  latency        false: the highest rate; true: the least latency of a micro-batch through an idle pipeline
 *  microbatch     items, 1 to QN_PLAN_MAX_MICROBATCH; 1 where the cuts are not batched
 *  max_stages     0: as many as there are devices */
typedef struct qn_partition_options {
    size_t struct_size;
    const qn_devices *devices;
    const qn_device_links *links;
    const qn_device_profile *const *profiles;
    const qn_cut_losses *losses;
    double accuracy_drop;
    bool latency;
    int64_t microbatch;
    size_t max_stages;
} qn_partition_options;
QN_API void qn_partition_options_init(qn_partition_options *options);

/* seconds of a micro-batch; memory 0: no limit; needed: as qn_plan_stage_bytes counts, with the largest message of any
 * choice that was offered */
typedef struct qn_partition_stage {
    size_t from, to, type;
    qn_cut_span span;
    int64_t needed, memory;
    double seconds;
} qn_partition_stage;
/* choice: index; -1: of a transfer at an end: codes of the data, fp32 of the results. loss NaN: not known. seconds 0 and
 * bytes 0: there is no transfer
 *  seconds  in which a message occupies the link: its bits over the bandwidth, without the latency
 *  period   the least between two micro-batches that the link allows: seconds, or half of seconds, latency and what the
 *           receiver needs to take a message in, as there are two buffers */
typedef struct qn_partition_link {
    size_t position;
    int choice;
    int64_t bytes;
    double seconds, period, loss, bandwidth, latency;
    const char *medium;
} qn_partition_link;

/* X(name, value, text): what takes longest. */
#define QN_BOTTLENECK_LIST(X)                                                                                          \
    X(QN_BOTTLENECK_STAGE, 0, "stage")                                                                                 \
    X(QN_BOTTLENECK_LINK, 1, "link")                                                                                   \
    X(QN_BOTTLENECK_FIRST, 2, "first transfer")                                                                        \
    X(QN_BOTTLENECK_LAST, 3, "last transfer")                                                                          \
    X(QN_BOTTLENECK_MEDIUM, 4, "medium")
typedef enum qn_bottleneck {
#define QN_BOTTLENECK_ENUM(name, value, text) name = value,
    QN_BOTTLENECK_LIST(QN_BOTTLENECK_ENUM)
#undef QN_BOTTLENECK_ENUM
} qn_bottleneck;

/* What would help: index of a choice for link `link` (>= 0), or one more device of type `type` (>= 0): then the period
 * (or, for latency, that) is `seconds`, and the loss `loss`. */
typedef struct qn_partition_advice {
    int link, choice, type;
    double seconds, loss;
} qn_partition_advice;
enum { QN_PARTITION_MAX_ADVICE = 4 };

/*  period   seconds between two micro-batches; latency: of one micro-batch through an idle pipeline, from end to end
 *  loss     sum of losses of links; NaN: not known
 *  bottleneck, index  what takes as long as the period; of a stage or link which; of a medium nothing
 *  medium   that links share; NULL when they do not; medium_seconds: its time for a micro-batch */
typedef struct qn_partition {
    size_t n_stages;
    qn_partition_stage *stages;
    qn_partition_link *links, first, last;
    double period, latency, loss, medium_seconds;
    const char *medium;
    int64_t microbatch;
    qn_bottleneck bottleneck;
    size_t index, n_advice;
    qn_partition_advice advice[QN_PARTITION_MAX_ADVICE];
    void *memory;
} qn_partition;
/* The best plan. Ties: fewer stages, then less loss, then stages that end earlier, then types that come first. Errors:
 * QN_EINVAL (options that contradict each other, with the remedy), QN_ERANGE (no plan: which device lacks how much
 * memory, which accuracy can be had, what is not joined), QN_EUNSUPPORTED (several shared media), QN_ELIMIT,
 * QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_partition_make(qn_partition *partition, const qn_cuts *cuts,
                                                const qn_partition_options *options, qn_error *err);
QN_API void qn_partition_free(qn_partition *partition);
/* As a plan for quern pipeline: each link travels as chosen; the other choices follow, with their losses. */
QN_API QN_NODISCARD qn_status qn_partition_to_plan(qn_plan *plan, const qn_partition *partition, const qn_cuts *cuts,
                                                   const qn_partition_options *options, qn_error *err);

#endif
