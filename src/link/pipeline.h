/* A pipeline, inside: pipeline.c makes it, pipeline_run.c runs a stage, pipeline_attend.c does what goes on meanwhile
 * (notes, signs of life, results, stalled links), pipeline_note.c has notes and results as messages.
 *
 * Two buffers for what comes and two for what goes: the next message comes while this one is computed, and a stage
 * waits only when two of its messages are on their way. Nobody may wait without attending. All of it is one
 * thread's. */
#ifndef QN_LINK_PIPELINE_H
#define QN_LINK_PIPELINE_H

#include "link/crossing.h"
#include "link/message.h"
#include "link/worker.h"
#include "quern/pipeline.h"

/* Requests by purpose; behind the last, one for each rank: rank 0's signs of life. */
enum {
    QN_PIPE_IN = 0,
    QN_PIPE_OUT = 2,
    QN_PIPE_RESULT = 4,
    QN_PIPE_NOTE = 6, /* rank 0 receives in these, others send */
    QN_PIPE_NOTES = 8,
    QN_PIPE_CONTROL = QN_PIPE_NOTE + QN_PIPE_NOTES,
    QN_PIPE_BEAT,
    QN_PIPE_SMALL = QN_ENVELOPE_BYTES + QN_MESSAGE_TEXT_MAX /* bytes of a note, error or end */
};

typedef enum qn_pipe_doing { QN_DOING_COMPUTE, QN_DOING_RECEIVE, QN_DOING_SEND, QN_DOING_DONE } qn_pipe_doing;

/* What rank 0 knows of a stage. */
typedef struct qn_pipe_peer {
    double heard;
    qn_pipe_doing doing;
    uint64_t finished; /* micro-batches */
    qn_pipeline_totals totals;
} qn_pipe_peer;

struct qn_pipeline {
    const qn_cuts *cuts;
    const qn_plan *plan;
    qn_pipeline_options options;
    const qn_transport *transport;
    qn_arena arena;
    qn_worker *worker; /* NULL: idle */
    size_t stage;      /* this rank */
    bool last;
    qn_crossing results;       /* the network's outputs, as fp32 */
    size_t result_bytes, room; /* room: of a message that comes */
    unsigned char *in[2], *out[2], *result[2], *notes[QN_PIPE_NOTES], *control, **beats;
    bool *busy; /* per slot */
    struct {    /* of the messages that go, for `sent` */
        uint64_t sequence;
        int64_t items; /* 0: an end, or results */
        size_t n_bytes;
        double began;
    } sending[2];
    double left; /* when the message before it had left */
    size_t in_at, out_at, result_at, note_at;
    float *x, **outputs; /* rank 0: what is fed, and what came */
    const float **shown;
    qn_pipe_peer *peers; /* rank 0: per stage */
    double began, attended, noted, beaten, heard, progress;
    qn_pipe_doing doing;
    int64_t finished, n_items;
    uint64_t n_done, n_results;
    bool all_results, over; /* over: rank 0 says that all is done */
    size_t n_left;          /* rank 0: others that have not left */
    qn_error *err;          /* of the run, for what pulses find */
    qn_status failed;
};

/* Once around: what came is taken, what is due is sent; QN_OK unless the run has to end. Never waits. */
qn_status qn_pipe_attend(qn_pipeline *p, qn_error *err);
/* Attend until the request of a slot is over. */
qn_status qn_pipe_wait(qn_pipeline *p, size_t slot, qn_pipe_doing doing, size_t *n_bytes, qn_error *err);
qn_status qn_pipe_send(qn_pipeline *p, size_t slot, int to, qn_channel channel, const void *data, size_t n_bytes,
                       qn_error *err);
qn_status qn_pipe_receive(qn_pipeline *p, size_t slot, int from, qn_channel channel, void *data, size_t room,
                          qn_error *err);
/* Begin to listen, to rank 0 or to all others. */
qn_status qn_pipe_listen(qn_pipeline *p, qn_error *err);
/* Tell rank 0 of a micro-batch (items > 0), or what this rank is doing. */
qn_status qn_pipe_tell(qn_pipeline *p, const qn_pipeline_record *record, qn_error *err);
/* Tell rank 0, in as many words, that this stage cannot go on. */
qn_status qn_pipe_tell_error(qn_pipeline *p, const char *text, qn_error *err);
/* Count a record, and hand it on. */
qn_status qn_pipe_count(qn_pipeline *p, const qn_pipeline_record *record, qn_error *err);

/* A note as the 96 bytes behind the envelope. */
size_t qn_note_write(void *data, const qn_pipeline_record *record, qn_pipe_doing doing);
void qn_note_read(qn_pipeline_record *record, qn_pipe_doing *doing, const qn_message *message);
/* The last stage's outputs as a message, and back into p->outputs. */
qn_status qn_result_write(qn_pipeline *p, void *message, size_t *n_bytes, qn_error *err);
qn_status qn_result_read(qn_pipeline *p, const void *message, size_t n_bytes, int64_t *n, qn_error *err);

#endif
