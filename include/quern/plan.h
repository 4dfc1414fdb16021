/* Plans: which stage of a network runs where, and in which formats tensors travel between them. A plan is a YAML file
 * (doc/links.md), made by qn_partition or by hand. */
#ifndef QUERN_PLAN_H
#define QUERN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/cut.h"
#include "quern/link.h"

/* A way for all tensors of a link to travel.
 *  format  "codes": coded tensors as the codes they are, others as fp32; "fp32"; or a format for all of them
 *  per, group, clamp  as in qn_link_options; not used by codes and fp32
 *  loss    top-1 lost with this link alone in this format, as a fraction (0.01: one point); NaN when nobody measured
 *  sqnr_db of the network's outputs, likewise */
typedef struct qn_link_choice {
    const char *format;
    qn_link_per per;
    int64_t group;
    qn_link_clamp clamp;
    double loss, sqnr_db;
} qn_link_choice;

/* The text of a choice: "codes", "fp32", or FORMAT[/PER][/CLAMP] ("int8", "int4/channel/laplace", "mx<fp6e3m2>"). PER
 * and CLAMP are words of link.h, in either order; without them parameters are per item, per block for formats with
 * blocks, and nothing is clamped. Choices of a list are parted by commas outside <>.
 *  format  becomes the canonical name, which choice->format points to
 *  text    ends with a NUL, or is a list, of which the first is read; *rest (may be NULL): what comes behind it and its
 *          comma, NULL at the end
 * loss and sqnr_db become NaN. Errors: QN_EINVAL: a format, word or combination that is none, which the message names
 * with those there are. */
QN_API QN_NODISCARD qn_status qn_link_choice_parse(qn_link_choice *choice, char format[QN_FORMAT_NAME_MAX],
                                                   const char *text, const char **rest, qn_error *err);
/* The shortest text that parses to the choice, whose format is a canonical name. */
enum { QN_LINK_CHOICE_MAX = QN_FORMAT_NAME_MAX + 48 };
QN_API void qn_link_choice_text(char text[QN_LINK_CHOICE_MAX], const qn_link_choice *choice);
/* Options of frames, for all tensors of a choice; for "codes", those of tensors that are not coded. */
QN_API void qn_link_choice_options(qn_link_options *options, const qn_link_choice *choice);

/* Between stage k and k + 1.
 *  choices    the first is how it travels; a policy may take the others; 1 to QN_PLAN_MAX_CHOICES
 *  checksum   frames carry CRCs, which are checked
 *  bandwidth  bits per second, above 0; NaN when unknown. latency in seconds, 0 when nobody says
 *  medium     links with the same one share its bandwidth; NULL: its own */
typedef struct qn_plan_link {
    qn_link_choice *choices;
    size_t n_choices;
    bool checksum;
    double bandwidth, latency;
    const char *medium;
} qn_plan_link;

/* A stage.
 *  until   name of the position behind it (qn_cut.name); NULL for the last
 *  device  what the planner put it on, for people; NULL when nobody says
 *  memory  bytes that the device has for it; 0 when nobody says: checked against what it needs
 *  seconds_per_item  predicted; NaN when unknown */
typedef struct qn_plan_stage {
    const char *until, *device;
    int64_t memory;
    double seconds_per_item;
} qn_plan_stage;

enum { QN_PLAN_MAX_STAGES = 1024, QN_PLAN_MAX_CHOICES = 64, QN_PLAN_MAX_MICROBATCH = 4096 };

/* Strings and arrays belong to the plan.
 *  model, sha256  file the plan was made for, and its digest: "" when nobody says; another model is refused
 *  engine_given   the file says which; else any engine fits, and `engine` is float
 *  microbatch     items of a message, 1 to QN_PLAN_MAX_MICROBATCH
 *  policy         "" or "fixed": the first choice always; else a policy's name (quern/policy.h), with the items per
 *                 second it holds (0: nobody says), micro-batches of a window (0: the policy's own), and top-1 it may
 *                 spend on all links (NaN: no limit) */
typedef struct qn_plan {
    const char *model, *sha256;
    qn_engine engine;
    bool engine_given;
    int64_t microbatch;
    size_t n_stages;
    qn_plan_stage *stages; /* n_stages */
    qn_plan_link *links;   /* n_stages - 1 */
    const char *policy;
    double rate, accuracy_budget;
    int64_t window;
    void *memory; /* the plan's own */
} qn_plan;

/* The file's keys are those of doc/links.md. Errors: QN_EIO, QN_EFORMAT (with the line; unknown keys are refused),
 * QN_ELIMIT, QN_ENOMEM; of writing also QN_EEXIST and QN_EINVAL (a text that YAML cannot hold). The plan is empty
 * unless QN_OK. */
QN_API QN_NODISCARD qn_status qn_plan_read(qn_plan *plan, const char *path, qn_error *err);
QN_API QN_NODISCARD qn_status qn_plan_write(const qn_plan *plan, const char *path, bool overwrite, qn_error *err);
QN_API void qn_plan_free(qn_plan *plan); /* it is empty then; an empty one may be freed */
/* A plan of n stages with about the same share of MACs, every link travelling as `choice` (NULL: codes). Errors:
 * QN_EINVAL (more stages than there are places allow), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_plan_even(qn_plan *plan, const qn_cuts *cuts, size_t n_stages, int64_t microbatch,
                                           const qn_link_choice *choice, qn_error *err);
/* Does a plan fit a network? Fills positions (n_stages + 1 of them, from 0 to the last). Errors: QN_EINVAL: another
 * model (both digests) or engine, a place that is none or out of order, a format or granularity that is none, a
 * micro-batch of several items for stages that take one, a device's memory too small (by how many bytes), a policy that
 * is none; QN_ELIMIT (frames). */
QN_API QN_NODISCARD qn_status qn_plan_check(size_t *positions, const qn_plan *plan, const qn_cuts *cuts, qn_error *err);

/* Bytes of the message that crosses at a position with n items in a choice: envelope and frames (doc/spec/link.md).
 * Errors: those of qn_frame_plan. */
QN_API QN_NODISCARD qn_status qn_plan_message_bytes(int64_t *bytes, const qn_cuts *cuts, size_t position,
                                                    const qn_link_choice *choice, int64_t n, qn_error *err);
/* Bytes that a stage needs: its weights, the most that is alive at once of n items, and two messages each way, which
 * may be under way while it computes; given and taken are 0 at the network's ends. INT64_MAX where it is more. */
QN_API int64_t qn_plan_stage_bytes(qn_cut_span span, int64_t n, int64_t taken, int64_t given);

/* Bytes of "512kB": a decimal number, and B, kB, MB, GB (powers of 1000), KiB, MiB or GiB (of 1024); none: bytes. 1 to
 * 2^53, parts of a byte cut off. Errors: QN_EINVAL, which names the units. */
QN_API QN_NODISCARD qn_status qn_memory_parse(int64_t *bytes, const char *text, qn_error *err);
/* 0.005 of "0.5%" and of "0.005"; -1 to 1. Errors: QN_EINVAL. */
QN_API QN_NODISCARD qn_status qn_share_parse(double *share, const char *text, qn_error *err);

#endif
