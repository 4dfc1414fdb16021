#include "link/adapt_transport.h"

#include <math.h>

#include "base/clock.h"
#include "link/message.h"

typedef enum held_state { HELD_NONE, HELD_BACK, HELD_SENDING, HELD_OVER } held_state;

/* A message to the next stage, in its slot; none overtakes another.
 *  items  0: of no micro-batch, it counts for nothing
 *  start, sent  when it is on the link
 *  due    when it leaves for the real transport */
struct qn_adapt_held {
    held_state state;
    const void *data;
    size_t n_bytes;
    int to;
    int64_t order, items;
    double start, sent, due;
};

/* What is due begins, in the order in which it was handed over; what is over is found soon. */
static qn_status pump(qn_adapt_transport *t, qn_error *err)
{
    for (bool more = true; more;) {
        more = false;
        for (size_t slot = 0; slot < t->n_slots; slot++) {
            qn_adapt_held *held = &t->held[slot];
            if (held->state == HELD_BACK && held->order == t->next_begun && qn_adapt_transport_time(t) >= held->due) {
                held->state = HELD_SENDING;
                t->next_begun++;
                if (t->adapt != NULL && held->items > 0) {
                    qn_adapt_sent(t->adapt, 0, held->items, held->n_bytes, held->sent - held->start);
                }
                QN_TRY(t->real.send(t->real.ctx, slot, held->to, QN_CHANNEL_DATA, held->data, held->n_bytes, err));
                more = true;
            }
        }
    }
    for (size_t slot = 0; slot < t->n_slots; slot++) {
        if (t->held[slot].state == HELD_SENDING) {
            bool over;
            size_t n_bytes;
            int from;
            QN_TRY(t->real.test(t->real.ctx, slot, &over, &n_bytes, &from, err));
            if (over) {
                t->held[slot].state = HELD_OVER;
            }
        }
    }
    return QN_OK;
}

static qn_status send(void *ctx, size_t slot, int to, qn_channel channel, const void *data, size_t n_bytes,
                      qn_error *err)
{
    qn_adapt_transport *t = ctx;
    if (channel != QN_CHANNEL_DATA || slot >= t->n_slots) {
        return t->real.send(t->real.ctx, slot, to, channel, data, n_bytes, err);
    }
    qn_message message;
    qn_message_verdict verdict;
    const bool counts = qn_message_parse(&message, &verdict, data, n_bytes, n_bytes) == QN_FRAME_COMPLETE &&
                        message.kind == QN_MESSAGE_DATA;
    qn_adapt_held *held = &t->held[slot];
    const double now = qn_adapt_transport_time(t);
    *held = (qn_adapt_held){.state = HELD_BACK,
                            .data = data,
                            .n_bytes = n_bytes,
                            .to = to,
                            .order = t->next_order++,
                            .items = counts ? message.items : 0,
                            .start = fmax(now, t->left),
                            .due = now};
    if (counts) {
        held->sent = qn_trace_finish(t->speed->trace, t->speed->trace_link, held->start, (double)n_bytes, 0);
        held->due = held->sent + t->speed->latency;
        t->left = held->sent;
    }
    if (!isfinite(held->due)) {
        return qn_fail(err, QN_ERANGE, "--throttle", "the bandwidth ends at 0: a message begun at %g s never arrives",
                       held->start);
    }
    return pump(t, err);
}

static qn_status receive(void *ctx, size_t slot, int from, qn_channel channel, void *data, size_t room, qn_error *err)
{
    const qn_adapt_transport *t = ctx;
    return t->real.receive(t->real.ctx, slot, from, channel, data, room, err);
}

static qn_status test(void *ctx, size_t slot, bool *over, size_t *n_bytes, int *from, qn_error *err)
{
    qn_adapt_transport *t = ctx;
    QN_TRY(pump(t, err));
    if (slot >= t->n_slots || t->held[slot].state == HELD_NONE) {
        return t->real.test(t->real.ctx, slot, over, n_bytes, from, err);
    }
    qn_adapt_held *held = &t->held[slot];
    *over = held->state == HELD_OVER;
    if (*over) {
        held->state = HELD_NONE;
        *n_bytes = held->n_bytes;
        *from = held->to;
    }
    return QN_OK;
}

static void rest(void *ctx, double seconds)
{
    const qn_adapt_transport *t = ctx;
    t->real.rest(t->real.ctx, seconds);
}

double qn_adapt_transport_time(const qn_adapt_transport *t)
{
    return t->now() - t->began;
}

void qn_adapt_transport_begin(qn_adapt_transport *t)
{
    t->began = t->now();
    t->left = 0;
}

qn_status qn_adapt_transport_open(qn_adapt_transport *t, qn_transport *outer, const qn_transport *real,
                                  const qn_virtual_speed *speed, qn_adapt *adapt, qn_error *err)
{
    *t = (qn_adapt_transport){.real = *real, .speed = speed, .adapt = adapt, .now = qn_now_seconds};
    t->n_slots = qn_pipeline_slots(real->size);
    t->held = qn_alloc(t->n_slots * sizeof *t->held);
    if (t->held == NULL) {
        return qn_fail_memory(err, "link", t->n_slots * sizeof *t->held);
    }
    *outer = (qn_transport){t, real->rank, real->size, send, receive, test, rest};
    return QN_OK;
}

void qn_adapt_transport_close(qn_adapt_transport *t)
{
    qn_free(t->held);
    *t = (qn_adapt_transport){0};
}
