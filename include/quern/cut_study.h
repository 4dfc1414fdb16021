/* Studies of cuts: what it costs in bytes and accuracy to part a network at a position and let what crosses there
 * travel in a format; and how long what lies before each position takes on this machine. Planners read both as JSON,
 * in the form that doc/links.md describes. */
#ifndef QUERN_CUT_STUDY_H
#define QUERN_CUT_STUDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/calibrate.h" /* qn_progress_fn */
#include "quern/cut.h"
#include "quern/dataset.h"
#include "quern/plan.h"

/*  choices        n_choices ways to travel; loss and sqnr_db of them are not looked at
 *  studied        qn_cuts_last + 1 of them: which positions; NULL: all. Those where stages cannot part are left out
 *  data           inputs; NULL: bytes alone
 *  n_items        of the data, the first ones; 0: all
 *  message_items  items of a message, 1 or more; 1 where the cuts are not batched
 *  labels         of all items of the data; NULL: no accuracy. labels_name: for messages; may be NULL
 *  n_threads      at least 1; default: the processors this process may use
 *  memory         bytes that crossing values may take together; more items than fit are done one part after another
 *  progress       may be NULL; called by several threads, one at a time */
typedef struct qn_cut_study_options {
    size_t struct_size;
    const qn_link_choice *choices;
    size_t n_choices;
    const bool *studied;
    const qn_dataset *data;
    int64_t n_items, message_items;
    const qn_tensor *labels;
    const char *labels_name;
    int n_threads;
    qn_cpu cpu;
    size_t memory;
    qn_progress_fn progress;
    void *progress_ctx;
} qn_cut_study_options;
/* Errors: QN_EINVAL (QUERN_CPU). */
QN_API QN_NODISCARD qn_status qn_cut_study_options_init(qn_cut_study_options *options, qn_error *err);

/* One position and choice.
 *  message_bytes  of a message of message_items items, envelope and headers included; 0 where there can be none
 *  sqnr_db        10 log10(sum f^2 / sum (f - q)^2) over all outputs of all items, f of the uncut network, q of the one
 *                 cut here; infinite when they are equal; NaN when nobody measured
 *  top1           of the first output, NaN without labels; agreement: items whose argmax is the uncut network's, a
 *                 fraction
 *  loss           top-1 of the uncut network less this one's; without labels 1 - agreement, which it cannot exceed
 *  error          why there is no frame or no result, NULL where there is */
typedef struct qn_cut_result {
    size_t message_bytes;
    double sqnr_db, top1, loss, agreement;
    const char *error;
} qn_cut_result;

/* The uncut network: items it was run on, 0 without data; items of a message; top-1, NaN without labels. */
typedef struct qn_cut_baseline {
    int64_t n_items, message_items;
    double top1;
} qn_cut_baseline;

typedef struct qn_cut_study qn_cut_study;

/* Values cross as worked out by one stage from each position to the next where stages can part, go through real
 * frames, and a stage from there to the end makes the outputs. Results depend on neither threads nor `memory`.
 * Errors: QN_EINVAL (options; a network of several inputs, or of a fixed batch, with the remedy), QN_ESHAPE, QN_ERANGE
 * (outputs of the uncut network or labels), QN_ECANCELED, QN_ENOMEM; those of making and running programs. */
QN_API QN_NODISCARD qn_status qn_cut_study_run(qn_cut_study **study, const qn_cuts *cuts,
                                               const qn_cut_study_options *options, qn_error *err);
QN_API void qn_cut_study_free(qn_cut_study *study);
QN_API const qn_cut_baseline *qn_cut_study_baseline(const qn_cut_study *study);
/* NULL at positions that were not studied and for no choice. */
QN_API const qn_cut_result *qn_cut_study_at(const qn_cut_study *study, size_t position, size_t choice);
/* The first position studied where the same numbers cross, in other shapes (a Reshape between): the position itself
 * where there is none. Choices whose parameters do not depend on the shape have that position's results. */
QN_API size_t qn_cut_study_same_as(const qn_cut_study *study, size_t position);

/* How long the nodes before each position take.
 *  data     items to run; NULL: numbers from -1 to 1
 *  batch    items of a run; 0: the engine's default
 *  rounds   passes over all positions, of which the least counts, 1 or more; default 3 */
typedef struct qn_cut_times_options {
    size_t struct_size;
    const qn_dataset *data;
    int64_t batch;
    int rounds;
    qn_cpu cpu;
    qn_progress_fn progress;
    void *progress_ctx;
} qn_cut_times_options;
QN_API QN_NODISCARD qn_status qn_cut_times_options_init(qn_cut_times_options *options, qn_error *err);

/*  seconds_before  qn_cuts_last + 1 of them: seconds for one item of all nodes before a position, on one thread;
 *                  from 0, and never falling
 *  batch           items of a run
 *  machine         the processor as the system names it ("" where it does not), and the instruction set used */
typedef struct qn_cut_times {
    size_t n;
    double *seconds_before;
    int64_t batch;
    char machine[160];
} qn_cut_times;
/* Stages from the inputs to each position where stages can part are timed, since engines join nodes: the least of some
 * runs; where a time is less than one before it, both become their mean. Other positions lie between by their MACs.
 * Released by qn_cut_times_free. Errors: as qn_cut_study_run. */
QN_API QN_NODISCARD qn_status qn_cut_times_measure(qn_cut_times *times, const qn_cuts *cuts,
                                                   const qn_cut_times_options *options, qn_error *err);
QN_API void qn_cut_times_free(qn_cut_times *times);

#endif
