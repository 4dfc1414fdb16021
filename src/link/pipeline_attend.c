/* What goes on beside the work of a stage. Rank 0 hears of every micro-batch, gets the results, and tells when a link
 * is stalled; it and the others let each other know that they live. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "link/pipeline.h"

static double beat_interval(const qn_pipeline *p)
{
    const double quarter = p->options.timeout / 4;
    return quarter < 1 ? quarter : 1;
}

qn_status qn_pipe_send(qn_pipeline *p, size_t slot, int to, qn_channel channel, const void *data, size_t n_bytes,
                       qn_error *err)
{
    p->busy[slot] = true;
    return p->transport->send(p->transport->ctx, slot, to, channel, data, n_bytes, err);
}

qn_status qn_pipe_receive(qn_pipeline *p, size_t slot, int from, qn_channel channel, void *data, size_t room,
                          qn_error *err)
{
    p->busy[slot] = true;
    return p->transport->receive(p->transport->ctx, slot, from, channel, data, room, err);
}

static void tell_sent(qn_pipeline *p, size_t i)
{
    const double now = qn_now_seconds(), began = p->sending[i].began;
    const double seconds = now - (p->left > began ? p->left : began);
    p->left = now;
    if (p->options.sent != NULL && p->sending[i].items > 0) {
        p->options.sent(p->options.ctx, p->stage, p->sending[i].sequence, p->sending[i].items, p->sending[i].n_bytes,
                        seconds);
    }
}

/* Idle slots are over. */
static qn_status test(qn_pipeline *p, size_t slot, bool *over, size_t *n_bytes, int *from, qn_error *err)
{
    *over = true;
    if (p->busy[slot]) {
        QN_TRY(p->transport->test(p->transport->ctx, slot, over, n_bytes, from, err));
        p->busy[slot] = !*over;
        if (*over && (slot == QN_PIPE_OUT || slot == QN_PIPE_OUT + 1)) {
            tell_sent(p, slot - QN_PIPE_OUT);
        }
    }
    return QN_OK;
}

qn_status qn_pipe_listen(qn_pipeline *p, qn_error *err)
{
    if (p->stage > 0) {
        return qn_pipe_receive(p, QN_PIPE_CONTROL, 0, QN_CHANNEL_CONTROL, p->control, QN_PIPE_SMALL, err);
    }
    for (size_t i = 0; i < QN_PIPE_NOTES; i++) {
        QN_TRY(qn_pipe_receive(p, QN_PIPE_NOTE + i, -1, QN_CHANNEL_NOTE, p->notes[i], QN_PIPE_SMALL, err));
    }
    for (size_t i = 0; i < 2 && p->plan->n_stages > 1; i++) {
        const int from = (int)p->plan->n_stages - 1;
        QN_TRY(qn_pipe_receive(p, QN_PIPE_RESULT + i, from, QN_CHANNEL_RESULT, p->result[i], p->result_bytes, err));
    }
    return QN_OK;
}

qn_status qn_pipe_count(qn_pipeline *p, const qn_pipeline_record *record, qn_error *err)
{
    qn_pipe_peer *peer = &p->peers[record->stage];
    qn_pipeline_add(&peer->totals, record);
    peer->finished++;
    p->progress = qn_now_seconds();
    return p->options.record != NULL ? p->options.record(p->options.ctx, record, err) : QN_OK;
}

/* Room for one more note; notes leave at once, unless rank 0 has not looked for long. */
static qn_status note_slot(qn_pipeline *p, unsigned char **data, size_t *slot, qn_error *err)
{
    *slot = QN_PIPE_NOTE + p->note_at;
    *data = p->notes[p->note_at];
    p->note_at = (p->note_at + 1) % QN_PIPE_NOTES;
    size_t ignored;
    return qn_pipe_wait(p, *slot, p->doing, &ignored, err);
}

qn_status qn_pipe_tell(qn_pipeline *p, const qn_pipeline_record *record, qn_error *err)
{
    unsigned char *data;
    size_t slot;
    p->noted = qn_now_seconds();
    QN_TRY(note_slot(p, &data, &slot, err));
    return qn_pipe_send(p, slot, 0, QN_CHANNEL_NOTE, data, qn_note_write(data, record, p->doing), err);
}

qn_status qn_pipe_tell_error(qn_pipeline *p, const char *text, qn_error *err)
{
    unsigned char *data;
    size_t slot;
    QN_TRY(note_slot(p, &data, &slot, err));
    return qn_pipe_send(p, slot, 0, QN_CHANNEL_NOTE, data, qn_message_error(data, (uint32_t)p->stage, text), err);
}

static qn_status take_note(qn_pipeline *p, const void *data, size_t n_bytes, int from, qn_error *err)
{
    qn_message m;
    qn_message_verdict found;
    if (qn_message_parse(&m, &found, data, n_bytes, QN_PIPE_SMALL) != QN_FRAME_COMPLETE || (int64_t)m.stage != from) {
        return qn_fail(err, QN_EFORMAT, "MPI", "rank %d sent something that is not a note", from);
    }
    const bool works = m.stage < p->plan->n_stages;
    if (m.kind == QN_MESSAGE_ERROR) {
        char where[64];
        snprintf(where, sizeof where, "stage %lu (rank %d)", (unsigned long)m.stage, from);
        return qn_fail(err, QN_EINTERNAL, where, "%.*s", (int)(m.n_bytes - QN_ENVELOPE_BYTES), (const char *)m.body);
    }
    if (m.kind != QN_MESSAGE_NOTE) {
        return qn_fail(err, QN_EFORMAT, "MPI", "rank %d sent something that is not a note", from);
    }
    qn_pipeline_record record;
    qn_pipe_doing doing;
    qn_note_read(&record, &doing, &m);
    p->n_left -= doing == QN_DOING_DONE && p->n_left > 0 ? 1 : 0;
    if (works) {
        p->peers[m.stage].heard = qn_now_seconds();
        p->peers[m.stage].doing = doing;
        return record.items > 0 ? qn_pipe_count(p, &record, err) : QN_OK;
    }
    return QN_OK;
}

static qn_status take_notes(qn_pipeline *p, qn_error *err)
{
    for (bool over = true; over;) {
        const size_t slot = QN_PIPE_NOTE + p->note_at;
        size_t n_bytes = 0;
        int from = -1;
        QN_TRY(test(p, slot, &over, &n_bytes, &from, err));
        if (over) {
            QN_TRY(take_note(p, p->notes[p->note_at], n_bytes, from, err));
            QN_TRY(qn_pipe_receive(p, slot, -1, QN_CHANNEL_NOTE, p->notes[p->note_at], QN_PIPE_SMALL, err));
            p->note_at = (p->note_at + 1) % QN_PIPE_NOTES;
        }
    }
    return QN_OK;
}

static qn_status take_results(qn_pipeline *p, qn_error *err)
{
    const int from_rank = (int)p->plan->n_stages - 1;
    for (bool over = from_rank > 0; over && !p->all_results;) {
        const size_t at = p->result_at;
        size_t n_bytes = 0;
        int from;
        int64_t n = 0;
        QN_TRY(test(p, QN_PIPE_RESULT + at, &over, &n_bytes, &from, err));
        if (over) {
            QN_TRY(qn_result_read(p, p->result[at], n_bytes, &n, err));
            p->result_at ^= 1;
            p->progress = qn_now_seconds();
        }
        if (over && !p->all_results) {
            QN_TRY(p->options.outputs(p->options.ctx, p->finished, n, p->shown, err));
            p->finished += n;
            QN_TRY(qn_pipe_receive(p, QN_PIPE_RESULT + at, from_rank, QN_CHANNEL_RESULT, p->result[at], p->result_bytes,
                                   err));
        }
    }
    return QN_OK;
}

static qn_status take_control(qn_pipeline *p, double now, qn_error *err)
{
    for (bool over = true; over && !p->over;) {
        size_t n_bytes = 0;
        int from;
        qn_message m;
        qn_message_verdict found;
        QN_TRY(test(p, QN_PIPE_CONTROL, &over, &n_bytes, &from, err));
        if (!over) {
            break;
        }
        if (qn_message_parse(&m, &found, p->control, n_bytes, QN_PIPE_SMALL) != QN_FRAME_COMPLETE) {
            return qn_fail(err, QN_EFORMAT, "MPI", "rank 0 sent something that is not a message");
        }
        p->heard = now;
        p->over = m.kind == QN_MESSAGE_END;
        if (!p->over) {
            QN_TRY(qn_pipe_receive(p, QN_PIPE_CONTROL, 0, QN_CHANNEL_CONTROL, p->control, QN_PIPE_SMALL, err));
        }
    }
    return QN_OK;
}

/* Rank 0 to all others; one whose last sign is still on its way gets no other. */
static qn_status send_beats(qn_pipeline *p, qn_error *err)
{
    const qn_pipeline_record none = {0};
    for (int r = 1; r < p->transport->size; r++) {
        const size_t slot = QN_PIPE_BEAT + (size_t)r;
        bool over;
        size_t n_bytes;
        int from;
        QN_TRY(test(p, slot, &over, &n_bytes, &from, err));
        if (over) {
            const size_t n = qn_note_write(p->beats[r], &none, p->doing);
            QN_TRY(qn_pipe_send(p, slot, r, QN_CHANNEL_CONTROL, p->beats[r], n, err));
        }
    }
    return QN_OK;
}

/* The name of a link of which stage k is the sender; that behind the last stage leads to rank 0. */
static const char *link_name(char text[64], const qn_pipeline *p, size_t k)
{
    if (k + 1 < p->plan->n_stages) {
        snprintf(text, 64, "link %zu->%zu", k, k + 1);
    } else {
        snprintf(text, 64, "results of stage %zu to rank 0", k);
    }
    return text;
}

/* A stage from which nothing comes: the link by which another waits for it. */
static qn_status fail_silent(const qn_pipeline *p, size_t k, double silent, qn_error *err)
{
    char where[64];
    const size_t n = p->plan->n_stages;
    const bool before_waits =
        p->peers[k - 1].doing == QN_DOING_SEND && k + 1 < n && p->peers[k + 1].doing != QN_DOING_RECEIVE;
    link_name(where, p, before_waits ? k - 1 : k);
    return qn_fail(err, QN_EIO, where,
                   "stalled: nothing from stage %zu (rank %zu) for %.3g s, when micro-batch %llu was its next; is that "
                   "process stopped, or its machine unreachable? A stage that takes this long for its work needs a "
                   "greater --timeout",
                   k, k, silent, (unsigned long long)p->peers[k].finished);
}

/* All live, none computes, and nothing has moved: the link whose message has been sent and has not come. */
static qn_status fail_stuck(const qn_pipeline *p, double since, qn_error *err)
{
    char where[64];
    const size_t last = p->plan->n_stages - 1;
    size_t k = 0;
    while (k < last &&
           !(p->peers[k + 1].doing == QN_DOING_RECEIVE && p->peers[k].finished > p->peers[k + 1].finished)) {
        k++;
    }
    const uint64_t awaited = k < last ? p->peers[k + 1].finished : p->n_results;
    link_name(where, p, k);
    return qn_fail(err, QN_EIO, where,
                   "stalled: nothing moves for %.3g s; stage %zu (rank %zu) waits for micro-batch %llu", since,
                   k < last ? k + 1 : 0, k < last ? k + 1 : 0, (unsigned long long)awaited);
}

static qn_status look_for_stalls(qn_pipeline *p, double now, qn_error *err)
{
    const double timeout = p->options.timeout;
    bool computing = p->doing == QN_DOING_COMPUTE, all_done = true;
    p->peers[0].doing = p->doing;
    for (size_t k = 1; k < p->plan->n_stages; k++) {
        qn_pipe_peer *peer = &p->peers[k];
        if (now - peer->heard > timeout && peer->doing != QN_DOING_DONE) {
            return fail_silent(p, k, now - peer->heard, err);
        }
        computing = computing || peer->doing == QN_DOING_COMPUTE;
        all_done = all_done && peer->doing == QN_DOING_DONE;
    }
    if (!computing && !all_done && p->plan->n_stages > 1 && now - p->progress > timeout) {
        return fail_stuck(p, now - p->progress, err);
    }
    return QN_OK;
}

/* A sign of life, unless the notes before it are still on their way. */
static qn_status send_sign(qn_pipeline *p, double now, qn_error *err)
{
    const qn_pipeline_record sign = {.stage = p->stage, .sequence = p->n_done};
    bool over;
    size_t n_bytes;
    int from;
    QN_TRY(test(p, QN_PIPE_NOTE + p->note_at, &over, &n_bytes, &from, err));
    p->noted = now;
    return over ? qn_pipe_tell(p, &sign, err) : QN_OK;
}

/* A time that passed unseen does not count; nothing was heard later than now. */
static double later(double then, double gap, double now)
{
    return then + gap < now ? then + gap : now;
}

qn_status qn_pipe_attend(qn_pipeline *p, qn_error *err)
{
    if (p->failed != QN_OK) {
        return p->failed;
    }
    if (p->options.stop != NULL && *p->options.stop != 0) {
        return qn_fail(err, QN_ECANCELED, NULL, "stopped by a signal, which mpirun also sends when a rank has died");
    }
    if (p->transport == NULL) {
        return QN_OK;
    }
    for (size_t i = 0; i < 2; i++) { /* the older one first */
        bool over;
        size_t n_bytes;
        int from;
        QN_TRY(test(p, QN_PIPE_OUT + (p->out_at ^ i), &over, &n_bytes, &from, err));
    }
    const double now = qn_now_seconds(), gap = now - p->attended, interval = beat_interval(p);
    p->attended = now;
    if (p->stage == 0) {
        QN_TRY(take_notes(p, err));
        QN_TRY(take_results(p, err));
        if (gap > interval) { /* others are not to blame for what this rank did not look at */
            for (size_t k = 0; k < p->plan->n_stages; k++) {
                p->peers[k].heard = later(p->peers[k].heard, gap, now);
            }
            p->progress = later(p->progress, gap, now);
        }
        if (now - p->beaten > interval) {
            p->beaten = now;
            QN_TRY(send_beats(p, err));
            QN_TRY(look_for_stalls(p, now, err));
        }
        return QN_OK;
    }
    QN_TRY(take_control(p, now, err));
    p->heard = gap > interval ? later(p->heard, gap, now) : p->heard;
    if (now - p->heard > 2 * p->options.timeout) {
        return qn_fail(err, QN_EIO, "rank 0", "nothing from it for %.3g s: stopped, or unreachable", now - p->heard);
    }
    return p->worker != NULL && now - p->noted > interval && !p->over ? send_sign(p, now, err) : QN_OK;
}

qn_status qn_pipe_wait(qn_pipeline *p, size_t slot, qn_pipe_doing doing, size_t *n_bytes, qn_error *err)
{
    const qn_pipe_doing before = p->doing;
    bool over = false;
    int from;
    QN_TRY(test(p, slot, &over, n_bytes, &from, err));
    if (over) {
        return QN_OK;
    }
    p->doing = doing;
    const double began = qn_now_seconds();
    qn_status status = QN_OK;
    while (!over && status == QN_OK) {
        status = qn_pipe_attend(p, err);
        status = status == QN_OK ? test(p, slot, &over, n_bytes, &from, err) : status;
        if (!over && status == QN_OK) {
            p->transport->rest(p->transport->ctx, qn_now_seconds() - began);
        }
    }
    p->doing = before;
    return status;
}
