/* A worker, inside: worker.c makes it, worker_run.c runs it. */
#ifndef QN_LINK_WORKER_PARTS_H
#define QN_LINK_WORKER_PARTS_H

#include "link/crossing.h"
#include "link/worker.h"

/* A tensor of the position before the stage.
 *  wanted  the stage reads it, or hands it on as an output of the network: decoded when it comes
 *  passes  to a later stage: its frame, and the frame's bytes, are kept until `give`
 *  x       decoded, if `decoded` */
typedef struct qn_incoming {
    bool wanted, passes, decoded;
    float *x;
    qn_frame frame;
    unsigned char *bytes;
    size_t capacity;
} qn_incoming;

struct qn_worker {
    qn_arena arena;
    const qn_cuts *cuts;
    const qn_plan *plan;
    size_t stage_index;
    qn_stage stage;
    qn_program *program;
    qn_workspace *workspace;
    qn_crossing before, after;
    size_t most_taken, most_given, limit; /* limit: of one frame that comes, encoded or decoded */
    qn_incoming *in;                      /* before.n_tensors */
    float **made;                         /* of each output of the program */
    const float **run_in;
    float **run_out;
    qn_frame_coder *reader, **writers; /* a writer for each tensor behind, since each keeps what its shape needs */
    uint64_t sequence, expected;
    int64_t items;
    size_t choice_in;
    void (*pulse)(void *ctx);
    void *pulse_ctx;
};

/* What goes out as tensor `index` of the position behind. */
const float *qn_worker_outgoing(const qn_worker *worker, size_t index);
/* The frame of tensor `index` of a side, in a choice of it, as it was planned for n items. */
qn_status qn_worker_encode(unsigned char *at, const qn_frame *planned, qn_crossing *side, size_t choice, size_t index,
                           const float *x, int64_t n, uint64_t sequence, qn_frame_coder *coder, qn_error *err);

#endif
