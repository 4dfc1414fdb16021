/* A network cut by links: stages, one after another, and between them what crosses, in frames (link/link.h). Inside the
 * fault room.
 *
 * All links of a specification are in place at once, with and without faults: what they lose by coding is part of the
 * fault-free run. A message is the frames of one item, one for each tensor that crosses, in the cut's order. Who
 * receives knows what to expect, as a worker does (link/worker.h): a frame of another format, granularity, shape or
 * length is refused, as is one without checksums where there are some.
 *
 * Ownership: a path owns its stages; the model and the specification outlive it. Threads: paths do not change once
 * made; a runner is one thread's. */
#ifndef QN_FAULT_LINK_PATH_H
#define QN_FAULT_LINK_PATH_H

#include "fault/fault.h"
#include "fault/spec.h"
#include "link/crossing.h"
#include "link/link.h"
#include "quern/cut.h"
#include "quern/plan.h"

/* A frame: tensor `index` of a link.
 *  layout  as it is planned, of one item
 *  fixed   it holds codes of the model's own parameters; else parameters are made of the values
 *  from    frame of the link before that is handed on as it came, unless its flags say what those planned do not: a
 *          tensor that passes through a stage and would be coded the same again; -1: none */
typedef struct qn_link_frame {
    int link;
    size_t index;
    const qn_cut_tensor *tensor;
    const qn_frame *layout;
    bool fixed;
    int from;
} qn_link_frame;

/* Link l is between stage l and stage l + 1; its frames are first_frame .. first_frame + cut->n_tensors - 1. */
typedef struct qn_link_hop {
    const qn_cut *cut;
    size_t position;
    int first_frame;
    char format[QN_FORMAT_NAME_MAX];
    qn_link_choice choice;
    bool unchecked;
    qn_crossing crossing;
} qn_link_hop;

typedef struct qn_link_path {
    qn_arena arena;
    qn_cuts *cuts;
    qn_engine engine;
    const char *file;
    int n_links, n_frames;
    qn_link_hop *hops;
    qn_link_frame *frames;
    qn_stage *stages; /* n_links + 1 */
    qn_program **programs;
} qn_link_path;

/* Errors: QN_EINVAL: a place that is none, or where stages cannot part, a format that a tensor cannot have, naming link
 * and line; those of cuts, stages and programs. */
qn_status qn_link_path_create(qn_link_path **path, const qn_model *model, qn_engine engine, qn_cpu cpu,
                              const qn_fault_spec *spec, qn_error *err);
void qn_link_path_free(qn_link_path *path); /* NULL is allowed */
/* Tensors behind stage `stage`: those of its link, or the network's outputs. */
const qn_cut *qn_link_path_behind(const qn_link_path *path, int stage);

/* The parts of all frames in place of the network's own targets, which tell where channels are. They keep names of the
 * path and of the model. Errors: QN_ENOMEM. */
qn_status qn_fault_targets_to_links(qn_fault_targets *targets, const qn_link_path *path, qn_error *err);

/* What a receiver makes of a frame's bytes. */
typedef enum qn_link_end {
    QN_LINK_TAKEN,      /* decoded */
    QN_LINK_HEADER_CRC, /* its checksum differs */
    QN_LINK_BODY_CRC,
    QN_LINK_UNREADABLE, /* refused without a checksum: no frame, not the one expected, parameters that are none */
} qn_link_end;
/*  offset  of the byte that shows it; text: why
 *  flags   of a frame that was taken */
typedef struct qn_link_verdict {
    qn_link_end end;
    unsigned flags;
    size_t offset;
    char text[200];
} qn_link_verdict;

typedef struct qn_link_runner {
    const qn_link_path *path;
    qn_workspace **workspaces; /* per stage */
    qn_frame_coder *coder;
    const float **inputs; /* of a stage's program; outputs likewise */
    float **outputs;
    float *unused; /* outputs of the program that no tensor takes have their place here */
} qn_link_runner;
qn_status qn_link_runner_make(qn_link_runner *runner, const qn_link_path *path, qn_error *err);
void qn_link_runner_free(qn_link_runner *runner);

/* A stage: from the tensors before it (in the cut's order; the network's inputs) to those behind it. *refused: what
 * came in is nothing this engine can compute with (NaN, infinities: the integer engine), and nothing was computed. */
qn_status qn_link_run_stage(qn_link_runner *runner, int stage, const float *const *from, float *const *to,
                            bool *refused, qn_error *err);
/* The bytes of a frame, layout->n_bytes, for an image, which is the number of the micro-batch. *refused: values that
 * its format has no codes for. */
qn_status qn_link_send(qn_link_runner *runner, int frame, int64_t image, const float *x, unsigned char *bytes,
                       bool *refused, qn_error *err);
/* The flags of frames without faults, those of what was done to values left out. */
static inline unsigned qn_link_flags(const qn_link_hop *hop)
{
    return hop->unchecked ? (unsigned)QN_FRAME_UNCHECKED : 0;
}
/* The values of a frame's bytes; y is only written where it is taken. */
qn_status qn_link_receive(qn_link_runner *runner, int frame, const unsigned char *bytes, float *y,
                          qn_link_verdict *verdict, qn_error *err);

/* Make a change, of a target in the frame, in the frame's bytes. */
void qn_link_strike(unsigned char *bytes, const qn_fault_change *change, const qn_fault_target *target,
                    const qn_program *program, uint32_t *before, uint32_t *after);

#endif
