/* What rank 0 is told: notes, and results. */
#include <stdio.h>
#include <string.h>

#include "base/arch.h" /* little-endian */
#include "link/pipeline.h"
#include "link/worker_parts.h"

static void put(unsigned char **at, uint64_t value)
{
    memcpy(*at, &value, sizeof value);
    *at += sizeof value;
}

static void put_seconds(unsigned char **at, double seconds)
{
    put(at, seconds > 0 ? (uint64_t)(seconds * 1e9) : 0);
}

static uint64_t get(const unsigned char **at)
{
    uint64_t value;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return value;
}

static double get_seconds(const unsigned char **at)
{
    return 1e-9 * (double)get(at);
}

size_t qn_note_write(void *data, const qn_pipeline_record *r, qn_pipe_doing doing)
{
    unsigned char *at = (unsigned char *)data + QN_ENVELOPE_BYTES;
    memset(at, 0, QN_NOTE_BYTES);
    put(&at, (uint64_t)doing);
    put(&at, r->n_bytes);
    put_seconds(&at, r->start);
    put_seconds(&at, r->decode);
    put_seconds(&at, r->compute);
    put_seconds(&at, r->encode);
    put_seconds(&at, r->receive_wait);
    put_seconds(&at, r->send_wait);
    const qn_message m = {.kind = QN_MESSAGE_NOTE,
                          .stage = (uint32_t)r->stage,
                          .choice = (uint32_t)r->choice,
                          .sequence = r->sequence,
                          .items = r->items,
                          .n_bytes = QN_ENVELOPE_BYTES + QN_NOTE_BYTES};
    qn_message_write(data, &m);
    return m.n_bytes;
}

void qn_note_read(qn_pipeline_record *r, qn_pipe_doing *doing, const qn_message *m)
{
    const unsigned char *at = m->body;
    *r = (qn_pipeline_record){.stage = m->stage, .choice = m->choice, .sequence = m->sequence, .items = m->items};
    const uint64_t what = get(&at);
    *doing = what <= QN_DOING_DONE ? (qn_pipe_doing)what : QN_DOING_COMPUTE;
    r->n_bytes = (size_t)get(&at);
    r->start = get_seconds(&at);
    r->decode = get_seconds(&at);
    r->compute = get_seconds(&at);
    r->encode = get_seconds(&at);
    r->receive_wait = get_seconds(&at);
    r->send_wait = get_seconds(&at);
}

qn_status qn_result_write(qn_pipeline *p, void *message, size_t *n_bytes, qn_error *err)
{
    const qn_frame *planned;
    const int64_t n = qn_worker_items(p->worker);
    QN_TRY(qn_crossing_plan(&planned, &p->results, 0, n, err));
    unsigned char *at = (unsigned char *)message + QN_ENVELOPE_BYTES;
    for (size_t i = 0; i < p->results.n_tensors; i++) {
        QN_TRY(qn_worker_encode(at, &planned[i], &p->results, 0, i, qn_worker_output(p->worker, i), n, 0, NULL, err));
        at += planned[i].n_bytes;
    }
    const qn_message m = {.kind = QN_MESSAGE_DATA,
                          .stage = (uint32_t)p->stage,
                          .frames = (uint32_t)p->results.n_tensors,
                          .sequence = qn_worker_sequence(p->worker),
                          .items = n,
                          .n_bytes = (size_t)(at - (unsigned char *)message)};
    qn_message_write(message, &m);
    *n_bytes = m.n_bytes;
    return QN_OK;
}

static qn_status bad(qn_error *err, const char *text)
{
    return qn_fail(err, QN_EFORMAT, "message of results", "%s", text);
}

qn_status qn_result_read(qn_pipeline *p, const void *message, size_t n_bytes, int64_t *n, qn_error *err)
{
    qn_message m;
    qn_message_verdict found;
    if (qn_message_parse(&m, &found, message, n_bytes, p->result_bytes) != QN_FRAME_COMPLETE) {
        return bad(err, found.fault != QN_MESSAGE_FINE ? qn_message_fault_text(found.fault) : "it ends too early");
    }
    *n = m.items;
    if (m.kind == QN_MESSAGE_END) {
        p->all_results = true;
        return m.sequence == p->n_results && m.items == p->finished ? QN_OK : bad(err, "it ends before all have come");
    }
    if (m.kind != QN_MESSAGE_DATA || m.frames != p->results.n_tensors || m.items > p->plan->microbatch ||
        m.sequence != p->n_results || m.items > p->n_items - p->finished) {
        return bad(err, "it is not the next micro-batch");
    }
    const qn_frame *planned;
    QN_TRY(qn_crossing_plan(&planned, &p->results, 0, m.items, err));
    size_t at = 0;
    for (size_t i = 0; i < m.frames; i++) {
        qn_frame frame;
        qn_frame_verdict verdict;
        if (!qn_message_next(&frame, &at, &verdict, &m, p->result_bytes)) {
            return bad(err, verdict.fault != QN_FRAME_FINE ? qn_frame_fault_text(verdict.fault) : "a frame is missing");
        }
        if (!frame.raw || frame.n_elems != planned[i].n_elems) {
            return bad(err, "a frame has another shape");
        }
        memcpy(p->outputs[i], frame.codes, frame.code_bytes);
    }
    p->n_results++;
    return QN_OK;
}
