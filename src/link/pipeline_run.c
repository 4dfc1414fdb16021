/* A pipeline's stage at work, micro-batch by micro-batch, to the end that all reach together. */
#include "link/pipeline.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/threads.h"

/* The seconds since *mark, which moves on. */
static double lap(double *mark)
{
    const double now = qn_now_seconds(), took = now - *mark;
    *mark = now;
    return took;
}

static void pulse(void *ctx)
{
    qn_pipeline *p = ctx;
    p->failed = qn_pipe_attend(p, p->err);
}

/* Rank 0 takes items from the data. *more: there were some. */
static qn_status take_items(qn_pipeline *p, qn_pipeline_record *r, bool *more, double *mark, qn_error *err)
{
    const int64_t first = (int64_t)p->n_done * p->plan->microbatch, left = p->n_items - first;
    const int64_t n = left < p->plan->microbatch ? left : p->plan->microbatch;
    *more = n > 0;
    if (*more) {
        const float *x = p->x;
        r->start = qn_now_seconds() - p->began;
        QN_TRY(p->options.read(p->options.ctx, first, n, p->x, err));
        QN_TRY(qn_worker_feed(p->worker, p->n_done, &x, n, err));
        r->decode = lap(mark);
    }
    return QN_OK;
}

/* Others the next message; when it is taken, the buffer waits for the next but one. */
static qn_status take_message(qn_pipeline *p, qn_pipeline_record *r, bool *more, double *mark, qn_error *err)
{
    const size_t slot = QN_PIPE_IN + p->in_at;
    unsigned char *data = p->in[p->in_at];
    size_t n_bytes = 0;
    qn_message m;
    qn_message_verdict found;
    QN_TRY(qn_pipe_wait(p, slot, QN_DOING_RECEIVE, &n_bytes, err));
    r->receive_wait = lap(mark);
    r->start = *mark - p->began;
    *more = true;
    if (qn_message_parse(&m, &found, data, n_bytes, n_bytes) == QN_FRAME_COMPLETE && m.kind != QN_MESSAGE_DATA) {
        *more = false;
        if (m.kind == QN_MESSAGE_END && m.sequence == p->n_done) {
            return QN_OK;
        }
        return m.kind == QN_MESSAGE_ERROR
                   ? qn_fail(err, QN_ECANCELED, NULL, "stage %lu failed", (unsigned long)m.stage)
                   : qn_fail(err, QN_EFORMAT, "stage before", "it ends before all of its messages have come");
    }
    QN_TRY(qn_worker_take(p->worker, data, n_bytes, err)); /* what is wrong with it is found there */
    QN_TRY(qn_pipe_receive(
        p, slot, (int)p->stage - 1, QN_CHANNEL_DATA, data,
        qn_worker_most_taken(p->worker) > QN_PIPE_SMALL ? qn_worker_most_taken(p->worker) : QN_PIPE_SMALL, err));
    p->in_at ^= 1;
    r->decode = lap(mark);
    return QN_OK;
}

static qn_status send_out(qn_pipeline *p, int64_t items, size_t n_bytes, qn_error *err)
{
    const size_t at = p->out_at;
    p->out_at ^= 1;
    p->sending[at].sequence = p->n_done;
    p->sending[at].items = p->last ? 0 : items;
    p->sending[at].n_bytes = n_bytes;
    p->sending[at].began = qn_now_seconds();
    return qn_pipe_send(p, QN_PIPE_OUT + at, p->last ? 0 : (int)p->stage + 1,
                        p->last ? QN_CHANNEL_RESULT : QN_CHANNEL_DATA, p->out[at], n_bytes, err);
}

static qn_status give(qn_pipeline *p, qn_pipeline_record *r, double *mark, qn_error *err)
{
    size_t ignored;
    QN_TRY(qn_pipe_wait(p, QN_PIPE_OUT + p->out_at, QN_DOING_SEND, &ignored, err));
    r->send_wait = lap(mark);
    if (p->last) {
        QN_TRY(qn_result_write(p, p->out[p->out_at], &r->n_bytes, err));
    } else {
        if (p->options.choose != NULL) {
            QN_TRY(p->options.choose(p->options.ctx, p->stage, r->sequence, &r->choice, err));
        }
        QN_TRY(qn_worker_give(p->worker, r->choice, p->out[p->out_at], &r->n_bytes, err));
    }
    r->encode = lap(mark);
    return send_out(p, r->items, r->n_bytes, err);
}

/* One stage and one rank: the outputs are there. */
static qn_status show(qn_pipeline *p, const qn_pipeline_record *r, qn_error *err)
{
    for (size_t i = 0; i < p->results.n_tensors; i++) {
        p->shown[i] = qn_worker_output(p->worker, i);
    }
    QN_TRY(p->options.outputs(p->options.ctx, p->finished, r->items, p->shown, err));
    p->finished += r->items;
    return QN_OK;
}

static qn_status run_microbatch(qn_pipeline *p, bool *more, qn_error *err)
{
    double mark = qn_now_seconds();
    qn_pipeline_record r = {.stage = p->stage, .sequence = p->n_done};
    QN_TRY(p->stage == 0 ? take_items(p, &r, more, &mark, err) : take_message(p, &r, more, &mark, err));
    if (!*more) {
        return QN_OK;
    }
    r.items = qn_worker_items(p->worker);
    QN_TRY(qn_worker_compute(p->worker, err));
    if (p->failed != QN_OK) {
        return p->failed;
    }
    r.compute = lap(&mark);
    QN_TRY(p->stage == 0 && p->last ? show(p, &r, err) : give(p, &r, &mark, err));
    p->n_done++;
    return p->stage == 0 ? qn_pipe_count(p, &r, err) : qn_pipe_tell(p, &r, err);
}

static qn_status send_end(qn_pipeline *p, qn_error *err)
{
    size_t ignored;
    int64_t items = p->n_items;
    if (p->stage > 0) {
        qn_message m;
        qn_message_verdict found;
        (void)qn_message_parse(&m, &found, p->in[p->in_at], QN_ENVELOPE_BYTES, QN_ENVELOPE_BYTES); /* the end itself */
        items = m.items;
    }
    QN_TRY(qn_pipe_wait(p, QN_PIPE_OUT + p->out_at, QN_DOING_SEND, &ignored, err));
    QN_TRY(send_out(p, 0, qn_message_end(p->out[p->out_at], (uint32_t)p->stage, p->n_done, items), err));
    QN_TRY(qn_pipe_wait(p, QN_PIPE_OUT, QN_DOING_SEND, &ignored, err));
    return qn_pipe_wait(p, QN_PIPE_OUT + 1, QN_DOING_SEND, &ignored, err);
}

static bool all_told(const qn_pipeline *p)
{
    bool all = p->all_results;
    for (size_t k = 0; k < p->plan->n_stages; k++) {
        all = all && p->peers[k].finished == p->n_done;
    }
    return all;
}

static bool all_left(const qn_pipeline *p)
{
    return p->n_left == 0;
}

static bool is_over(const qn_pipeline *p)
{
    return p->over;
}

static qn_status attend_until(qn_pipeline *p, bool (*reached)(const qn_pipeline *p), double limit, qn_error *err)
{
    const double began = qn_now_seconds();
    p->doing = QN_DOING_RECEIVE;
    while (!reached(p)) {
        QN_TRY(qn_pipe_attend(p, err));
        const double waited = qn_now_seconds() - began;
        if (waited > limit) {
            return qn_fail(err, QN_EIO, "ranks", "all work is done, but %zu of them do not end", p->n_left);
        }
        if (!reached(p)) {
            p->transport->rest(p->transport->ctx, waited);
        }
    }
    return QN_OK;
}

/* All leave together: rank 0 says when, the others say that they do. */
static qn_status leave(qn_pipeline *p, qn_error *err)
{
    size_t ignored;
    if (p->stage > 0) {
        const qn_pipeline_record last = {.stage = p->stage, .sequence = p->n_done};
        QN_TRY(attend_until(p, is_over, 1e300, err));
        p->doing = QN_DOING_DONE;
        QN_TRY(qn_pipe_tell(p, &last, err));
        for (size_t i = 0; i < QN_PIPE_NOTES; i++) {
            QN_TRY(qn_pipe_wait(p, QN_PIPE_NOTE + i, QN_DOING_DONE, &ignored, err));
        }
        return QN_OK;
    }
    QN_TRY(attend_until(p, all_told, 1e300, err));
    for (int r = 1; r < p->transport->size; r++) {
        const size_t slot = QN_PIPE_BEAT + (size_t)r;
        QN_TRY(qn_pipe_wait(p, slot, QN_DOING_SEND, &ignored, err));
        p->beaten = qn_now_seconds() + p->options.timeout; /* no more of them */
        QN_TRY(qn_pipe_send(p, slot, r, QN_CHANNEL_CONTROL, p->beats[r],
                            qn_message_end(p->beats[r], 0, p->n_done, p->n_items), err));
    }
    QN_TRY(attend_until(p, all_left, p->options.timeout, err));
    for (int r = 1; r < p->transport->size; r++) {
        QN_TRY(qn_pipe_wait(p, QN_PIPE_BEAT + (size_t)r, QN_DOING_SEND, &ignored, err));
    }
    return QN_OK;
}

static qn_status work(qn_pipeline *p, qn_error *err)
{
    if (p->transport != NULL) {
        QN_TRY(qn_pipe_listen(p, err));
    }
    for (size_t i = 0; p->worker != NULL && p->stage > 0 && i < 2; i++) {
        QN_TRY(qn_pipe_receive(p, QN_PIPE_IN + i, (int)p->stage - 1, QN_CHANNEL_DATA, p->in[i], p->room, err));
    }
    for (bool more = p->worker != NULL; more;) {
        QN_TRY(qn_pipe_attend(p, err));
        QN_TRY(run_microbatch(p, &more, err));
    }
    if (p->worker != NULL && !(p->stage == 0 && p->last)) {
        QN_TRY(send_end(p, err));
    }
    p->all_results = p->all_results || p->plan->n_stages == 1;
    return p->transport != NULL ? leave(p, err) : QN_OK;
}

/* A stage that cannot go on says so to rank 0 and the next stage, and waits for rank 0 to end the job; where nobody
 * does, it ends by itself. */
static qn_status tell_failure(qn_pipeline *p, qn_status status, const qn_error *why)
{
    qn_error own;
    qn_error_init(&own);
    char text[QN_MESSAGE_TEXT_MAX];
    snprintf(text, sizeof text, "%.300s%s%.700s", why->where, why->where[0] != '\0' ? ": " : "", why->message);
    p->failed = QN_OK;
    if (p->worker == NULL || status == QN_EIO) { /* rank 0 is silent */
        return status;
    }
    qn_status told = status == QN_ECANCELED ? QN_OK : qn_pipe_tell_error(p, text, &own);
    if (told == QN_OK && !p->last && !p->busy[QN_PIPE_OUT + p->out_at]) {
        told = send_out(p, 0, qn_message_error(p->out[p->out_at], (uint32_t)p->stage, text), &own);
    }
    told = told == QN_OK ? attend_until(p, is_over, 2 * p->options.timeout, &own) : told;
    return told == QN_OK ? QN_ECANCELED : status;
}

static qn_status run(void *ctx, int worker, int64_t item, qn_error *err)
{
    qn_pipeline *p = ctx;
    (void)worker;
    (void)item;
    p->err = err;
    const qn_status status = work(p, err);
    return status != QN_OK && p->stage > 0 ? tell_failure(p, status, err) : status;
}

qn_status qn_pipeline_run(qn_pipeline *p, int64_t n_items, qn_error *err)
{
    const double now = qn_now_seconds();
    p->n_items = n_items;
    p->n_left = p->transport != NULL ? (size_t)p->transport->size - 1 : 0;
    p->began = p->attended = p->noted = p->beaten = p->heard = p->progress = now;
    for (size_t k = 0; p->peers != NULL && k < p->plan->n_stages; k++) {
        p->peers[k].heard = now;
    }
    if (p->worker != NULL) {
        qn_worker_set_pulse(p->worker, pulse, p);
    }
    return qn_parallel_for(1, 1, run, p, err); /* one thread for each stage */
}
