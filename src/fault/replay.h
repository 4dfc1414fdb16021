/* One fault of a campaign again: drawn anew from the store's specification and seed, run by the fast injector and from scratch,
 * which must agree. Inside the fault room. */
#ifndef QN_FAULT_REPLAY_H
#define QN_FAULT_REPLAY_H

#include "fault/campaign.h"

/*  model, data, labels  files to take in place of those that the store names; NULL: those
 *  cpu                  highest level to use
 *  no_labels            do without labels: no outcome is "critical" */
typedef struct qn_replay_files {
    const char *model, *data, *labels;
    qn_cpu cpu;
    bool no_labels;
} qn_replay_files;

/*  about, row   of the store: what the campaign is, and what it kept of the fault
 *  fault        drawn; its changes are in `arena`
 *  site         program, targets and space */
typedef struct qn_replay {
    qn_store *store;
    const qn_store_about *about;
    qn_fault_row row;
    qn_fault fault;
    qn_campaign_site site;
    qn_campaign_options options;
    qn_arena arena;
    qn_model *model;
    qn_dataset *data;
    qn_tensor labels;
    qn_injector *injector, *whole;
    float *golden, *outputs;
} qn_replay;

/* Errors: those of opening the store, the model and the data; QN_EINVAL: no such fault; QN_ECONFLICT: the model or the data are not those
 * of the campaign, or another fault is drawn. Released by qn_replay_close, also after an error. */
qn_status qn_replay_open(qn_replay *replay, const char *store, int64_t id, const qn_replay_files *files, qn_error *err);
void qn_replay_close(qn_replay *replay);
/* Another fault of the same store. */
qn_status qn_replay_pick(qn_replay *replay, int64_t id, qn_error *err);

/* What the fault did to one image.
 *  golden   of the fault-free run; `top1` of the faulty one, that of golden where nothing differs, -1 where it was refused
 *  effect   as the fast injector tells it; outputs NULL unless they differ */
typedef struct qn_replay_result {
    int64_t image;
    const qn_golden *golden;
    const qn_fault_effect *effect;
    qn_outcome outcome;
    int top1;
} qn_replay_result;
typedef void qn_replay_fn(void *ctx, const qn_replay_result *result);
/* Is the fault present in the image (-1: any)? QN_EINVAL says where it is. */
qn_status qn_replay_check(const qn_replay *replay, int64_t image, qn_error *err);
/* Run it on every image that it is present in, in order, or on `image` alone unless that is -1. Errors: QN_EINVAL: not present in
 * `image`; QN_EINTERNAL: the two injectors do not agree. */
qn_status qn_replay_run(qn_replay *replay, int64_t image, qn_replay_fn *fn, void *ctx, qn_error *err);
/* A frame on the first link that a fault strikes, of one image.
 *  link, tensor    behind what the link is, and what the frame holds
 *  bytes           the first QN_REPLAY_BYTES of n_changed bytes that changed, with the fields they are in
 *  n_values        of the tensor; where it was taken n_differ of them differ, the first at first_differ
 *  max_abs         the greatest difference, INFINITY where one is not finite */
enum { QN_REPLAY_BYTES = 8 };
typedef struct qn_replay_byte {
    size_t offset;
    const char *field;
    unsigned char before, after;
} qn_replay_byte;
typedef struct qn_replay_frame {
    const char *link, *tensor;
    size_t n_bytes, n_changed;
    qn_replay_byte bytes[QN_REPLAY_BYTES];
    qn_link_verdict verdict;
    int64_t n_values, n_differ, first_differ;
    double value_before, value_after, max_abs;
} qn_replay_frame;
typedef void qn_replay_frame_fn(void *ctx, const qn_replay_frame *frame);
/* The frames that the fault strikes on that link, from scratch; none where the campaign has no links. *others: it
 * strikes other links, too. Errors: as qn_replay_run. */
qn_status qn_replay_frames(qn_replay *replay, int64_t image, qn_replay_frame_fn *fn, void *ctx, bool *others,
                           qn_error *err);
/* The same image value by value (qn_fault_trace_run). QN_EUNSUPPORTED: of a campaign on links. */
qn_status qn_replay_trace(qn_replay *replay, int64_t image, qn_fault_trace_fn *fn, void *ctx, qn_fault_effect *effect,
                          qn_error *err);

#endif
