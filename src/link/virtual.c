/* The events of a pipeline in the order of virtual time. */
#include "link/virtual.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

typedef enum stage_phase { PHASE_WAIT, PHASE_TAKE, PHASE_COMPUTE, PHASE_BLOCKED, PHASE_GIVE } stage_phase;

/* A stage at micro-batch m.
 *  until  when the phase ends; infinity while it waits for others */
typedef struct stage_state {
    stage_phase phase;
    int64_t m;
    double until;
} stage_state;

/* Messages of a link that have been given, have begun and have finished to be sent, and were taken. */
typedef struct link_state {
    int64_t given, started, sent, taken;
} link_state;

typedef struct qn_virtual_state {
    stage_state *stages;
    link_state *links;
    size_t *media; /* the link that has the medium; n_links: none */
    double now;
} qn_virtual_state;

qn_status qn_virtual_create(qn_virtual *run, size_t n_stages, int64_t n_microbatches, const qn_virtual_link *links,
                            const qn_virtual_host *host, qn_error *err)
{
    *run = (qn_virtual){.n_stages = n_stages, .n_microbatches = n_microbatches, .links = links, .host = *host};
    size_t cells, bytes;
    if (n_stages < 1 || n_microbatches < 1 || !qn_mul_size(n_stages, (size_t)n_microbatches, &cells) ||
        !qn_mul_size(cells, sizeof(qn_virtual_step) + sizeof(qn_virtual_send), &bytes)) {
        return qn_fail(err, QN_ELIMIT, "simulation", "%zu stages of %lld micro-batches are none, or too many", n_stages,
                       (long long)n_microbatches);
    }
    run->steps = qn_alloc_uncleared(cells * sizeof *run->steps);
    run->sends = qn_alloc_uncleared(cells * sizeof *run->sends);
    qn_virtual_state *state = run->state = qn_alloc(sizeof *state);
    if (state != NULL) {
        state->stages = qn_alloc(n_stages * sizeof *state->stages);
        state->links = qn_alloc(n_stages * sizeof *state->links);
        state->media = qn_alloc(n_stages * sizeof *state->media);
    }
    if (run->steps == NULL || run->sends == NULL || state == NULL || state->stages == NULL || state->links == NULL ||
        state->media == NULL) {
        qn_virtual_free(run);
        return qn_fail_memory(err, "simulation", bytes);
    }
    return QN_OK;
}

void qn_virtual_free(qn_virtual *run)
{
    if (run->state != NULL) {
        qn_free(run->state->stages);
        qn_free(run->state->links);
        qn_free(run->state->media);
    }
    qn_free(run->state);
    qn_free(run->steps);
    qn_free(run->sends);
    *run = (qn_virtual){0};
}

static void reset(qn_virtual *run)
{
    qn_virtual_state *state = run->state;
    for (size_t k = 0; k < run->n_stages; k++) {
        state->stages[k] = (stage_state){PHASE_WAIT, 0, INFINITY};
        state->links[k] = (link_state){0};
        state->media[k] = run->n_stages - 1;
        for (int64_t m = 0; m < run->n_microbatches; m++) {
            *qn_virtual_step_of(run, k, m) = (qn_virtual_step){INFINITY, INFINITY, INFINITY, INFINITY, INFINITY};
            *qn_virtual_send_of(run, k, m) = (qn_virtual_send){INFINITY, INFINITY, INFINITY, INFINITY, 0};
        }
    }
    state->now = 0;
    run->end = 0;
}

/* What a stage does next, now that a phase ended. */
static qn_status enter(qn_virtual *run, size_t k, stage_phase phase, qn_error *err)
{
    qn_virtual_state *state = run->state;
    stage_state *stage = &state->stages[k];
    const qn_virtual_host *host = &run->host;
    const double now = state->now;
    qn_virtual_step *step = qn_virtual_step_of(run, k, stage->m);
    double seconds = 0;
    qn_status status = QN_OK;
    switch (phase) {
    case PHASE_TAKE:
        step->begin = now;
        status = host->take(host->context, k, stage->m, now, &seconds, err);
        break;
    case PHASE_COMPUTE:
        step->taken = now;
        if (k > 0) {
            state->links[k - 1].taken++;
        }
        status = host->compute(host->context, k, stage->m, now, &seconds, err);
        break;
    case PHASE_BLOCKED:
        step->computed = now;
        seconds = INFINITY;
        break;
    case PHASE_GIVE:
        step->give = now;
        status =
            host->give(host->context, k, stage->m, now, &seconds, &qn_virtual_send_of(run, k, stage->m)->bytes, err);
        break;
    case PHASE_WAIT:
        step->done = now;
        if (k + 1 < run->n_stages) {
            state->links[k].given++;
        } else {
            step->give = now;
            run->end = now;
        }
        stage->m++;
        seconds = INFINITY;
        break;
    }
    stage->phase = phase;
    stage->until = now + seconds;
    return status;
}

/* Move a stage on as far as it goes now; *moved when it did. */
static qn_status advance(qn_virtual *run, size_t k, bool *moved, qn_error *err)
{
    qn_virtual_state *state = run->state;
    stage_state *stage = &state->stages[k];
    const bool last = k + 1 == run->n_stages;
    bool more = true;
    while (more) {
        stage_phase next = stage->phase;
        switch (stage->phase) {
        case PHASE_WAIT:
            more = stage->m < run->n_microbatches &&
                   (k == 0 || qn_virtual_send_of(run, k - 1, stage->m)->arrived <= state->now);
            next = PHASE_TAKE;
            break;
        case PHASE_TAKE:
            more = stage->until <= state->now;
            next = PHASE_COMPUTE;
            break;
        case PHASE_COMPUTE:
            more = stage->until <= state->now;
            next = PHASE_BLOCKED;
            break;
        case PHASE_BLOCKED:
            more = last || stage->m - state->links[k].sent < QN_VIRTUAL_BUFFERS;
            next = last ? PHASE_WAIT : PHASE_GIVE;
            break;
        case PHASE_GIVE:
            more = stage->until <= state->now;
            next = PHASE_WAIT;
            break;
        }
        if (more) {
            const qn_status status = enter(run, k, next, err);
            if (status != QN_OK) {
                return status;
            }
            *moved = true;
        }
    }
    return QN_OK;
}

/* Messages that have left, and messages that are ready now. */
static bool hand_over(qn_virtual *run)
{
    qn_virtual_state *state = run->state;
    bool moved = false;
    for (size_t k = 0; k + 1 < run->n_stages; k++) {
        link_state *link = &state->links[k];
        if (link->sent < link->started && qn_virtual_send_of(run, k, link->sent)->sent <= state->now) {
            link->sent++;
            state->media[run->links[k].medium] = run->n_stages - 1;
            moved = true;
        }
        if (link->started < link->given && link->started == link->sent &&
            link->started - link->taken < QN_VIRTUAL_BUFFERS) {
            qn_virtual_send *send = qn_virtual_send_of(run, k, link->started);
            send->ready = fmin(send->ready, state->now);
        }
    }
    return moved;
}

/* Give each free medium to the message that has been ready for longest; of equals, to that of the first link. */
static bool start(qn_virtual *run, qn_status *status, qn_error *err)
{
    qn_virtual_state *state = run->state;
    const size_t none = run->n_stages - 1;
    bool moved = false;
    for (size_t medium = 0; medium < none; medium++) {
        size_t first = none;
        double ready = INFINITY;
        for (size_t k = 0; k < none && state->media[medium] == none; k++) {
            const link_state *link = &state->links[k];
            if (run->links[k].medium == medium && link->started < run->n_microbatches) {
                const double since = qn_virtual_send_of(run, k, link->started)->ready;
                first = since < ready ? k : first;
                ready = fmin(ready, since);
            }
        }
        if (first == none) {
            continue;
        }
        qn_virtual_send *send = qn_virtual_send_of(run, first, state->links[first].started++);
        send->start = state->now;
        send->sent = run->host.finish(run->host.context, first, state->now, (double)send->bytes);
        send->arrived = send->sent + run->links[first].latency;
        state->media[medium] = first;
        moved = true;
        if (!isfinite(send->sent)) {
            *status = qn_fail(err, QN_ERANGE, "simulation",
                              "message %lld of link %zu, begun at %g s, never arrives: the link's bandwidth ends at 0",
                              (long long)state->links[first].started - 1, first, state->now);
            return false;
        }
    }
    return moved;
}

/* The next time at which something happens. */
static double next_time(const qn_virtual *run)
{
    const qn_virtual_state *state = run->state;
    double next = INFINITY;
    for (size_t k = 0; k < run->n_stages; k++) {
        const stage_state *stage = &state->stages[k];
        next = fmin(next, stage->until);
        if (k > 0 && stage->phase == PHASE_WAIT && stage->m < run->n_microbatches) {
            next = fmin(next, qn_virtual_send_of(run, k - 1, stage->m)->arrived);
        }
        const link_state *link = &state->links[k];
        if (link->sent < link->started) {
            next = fmin(next, qn_virtual_send_of(run, k, link->sent)->sent);
        }
    }
    return next;
}

qn_status qn_virtual_run(qn_virtual *run, qn_error *err)
{
    qn_virtual_state *state = run->state;
    reset(run);
    qn_status status = QN_OK;
    while (state->stages[run->n_stages - 1].m < run->n_microbatches) {
        bool moved = true;
        while (moved) {
            moved = hand_over(run);
            for (size_t k = 0; k < run->n_stages; k++) {
                status = advance(run, k, &moved, err);
                if (status != QN_OK) {
                    return status;
                }
            }
            /* Whatever can happen now happens before a medium is given away. */
            if (!moved) {
                moved = start(run, &status, err);
                if (status != QN_OK) {
                    return status;
                }
            }
        }
        if (state->stages[run->n_stages - 1].m < run->n_microbatches) {
            state->now = next_time(run);
        }
    }
    return QN_OK;
}
