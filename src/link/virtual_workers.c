#include "link/virtual_workers.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* A message lives from when it is given until it is taken. That of micro-batch m + 4 is given after m + 2 was sent,
 * which was after m was taken (doc/spec/pipeline.md): four places serve as two at each end. */
enum { PLACES = 2 * QN_VIRTUAL_BUFFERS };

typedef struct qn_virtual_message {
    unsigned char *places[PLACES];
    size_t n_bytes[PLACES];
} qn_virtual_message;

int64_t qn_virtual_workers_items(const qn_virtual_workers *all, int64_t m)
{
    const int64_t left = all->n_items - m * all->plan->microbatch;
    return left < all->plan->microbatch ? left : all->plan->microbatch;
}

/* Seconds since, where that is what counts. */
static double measured(const qn_virtual_workers *all, size_t stage, double since)
{
    return all->spec->stages[stage].compute == QN_VIRTUAL_MEASURED ? qn_now_seconds() - since : 0;
}

/* What a worker said, with the stage and the micro-batch. */
static qn_status placed(qn_status status, size_t stage, int64_t m, const qn_error *inner, qn_error *err)
{
    char where[QN_ERROR_WHERE_MAX];
    if (status == QN_OK) {
        return QN_OK;
    }
    snprintf(where, sizeof where, "stage %zu, micro-batch %lld%s%.400s", stage, (long long)m,
             inner->where[0] != '\0' ? ": " : "", inner->where);
    return qn_fail(err, status, where, "%s", inner->message);
}

static qn_status take(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    (void)now;
    qn_virtual_workers *all = context;
    qn_error inner;
    qn_error_init(&inner);
    const int64_t n = qn_virtual_workers_items(all, m);
    if (stage == 0) { /* reading data is no stage's work */
        const float *const *inputs = NULL;
        QN_TRY(all->ends.read(all->ends.context, m * all->plan->microbatch, n, &inputs, err));
        const double since = qn_now_seconds();
        QN_TRY(placed(qn_worker_feed(all->workers[0], (uint64_t)m, inputs, n, &inner), stage, m, &inner, err));
        *seconds = measured(all, stage, since);
        return QN_OK;
    }
    const qn_virtual_message *message = &all->messages[stage - 1];
    const double since = qn_now_seconds();
    const qn_status status =
        qn_worker_take(all->workers[stage], message->places[m % PLACES], message->n_bytes[m % PLACES], &inner);
    QN_TRY(placed(status, stage, m, &inner, err));
    *seconds = measured(all, stage, since);
    return QN_OK;
}

static qn_status compute(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    (void)now;
    qn_virtual_workers *all = context;
    qn_error inner;
    qn_error_init(&inner);
    const int64_t n = qn_virtual_workers_items(all, m);
    const qn_virtual_stage *how = &all->spec->stages[stage];
    const double since = qn_now_seconds();
    QN_TRY(placed(qn_worker_compute(all->workers[stage], &inner), stage, m, &inner, err));
    switch (how->compute) {
    case QN_VIRTUAL_MEASURED:
        *seconds = qn_now_seconds() - since;
        break;
    case QN_VIRTUAL_MACS:
        *seconds = (double)n * (double)all->macs[stage] / how->macs_per_second;
        break;
    case QN_VIRTUAL_PLAN:
        *seconds = (double)n * all->plan->stages[stage].seconds_per_item;
        break;
    }
    if (stage + 1 == all->plan->n_stages) {
        return all->ends.write(all->ends.context, m * all->plan->microbatch, n, all->workers[stage], err);
    }
    return QN_OK;
}

/* What has left by now is what a sender can know. */
static void tell(qn_virtual_workers *all, size_t link, int64_t given, double now)
{
    for (int64_t *m = &all->told[link]; *m < given && qn_virtual_send_of(&all->run, link, *m)->sent <= now; (*m)++) {
        const qn_virtual_send *send = qn_virtual_send_of(&all->run, link, *m);
        qn_adapt_sent(all->adapt, link, qn_virtual_workers_items(all, *m), send->bytes, send->sent - send->start);
    }
}

static qn_status give(void *context, size_t stage, int64_t m, double now, double *seconds, size_t *bytes, qn_error *err)
{
    qn_virtual_workers *all = context;
    qn_error inner;
    qn_error_init(&inner);
    qn_virtual_message *message = &all->messages[stage];
    size_t *choice = &all->given[stage][m];
    tell(all, stage, m, now);
    QN_TRY(qn_adapt_choose(all->adapt, stage, m, now, choice, err));
    const double since = qn_now_seconds();
    const qn_status status = qn_worker_give(all->workers[stage], *choice, message->places[m % PLACES],
                                            &message->n_bytes[m % PLACES], &inner);
    QN_TRY(placed(status, stage, m, &inner, err));
    *seconds = measured(all, stage, since);
    *bytes = message->n_bytes[m % PLACES];
    return QN_OK;
}

static double finish(void *context, size_t link, double start, double bytes)
{
    const qn_virtual_workers *all = context;
    const qn_virtual_speed *speed = &all->spec->links[link];
    return qn_trace_finish(speed->trace, speed->trace_link, start, bytes, 0);
}

/* Links of one medium have the index of the first of them. */
static void find_media(qn_virtual_workers *all)
{
    for (size_t k = 0; k + 1 < all->plan->n_stages; k++) {
        const char *name = all->plan->links[k].medium;
        size_t first = name == NULL ? k : 0;
        while (first < k &&
               (all->plan->links[first].medium == NULL || strcmp(all->plan->links[first].medium, name) != 0)) {
            first++;
        }
        all->links[k] = (qn_virtual_link){first, all->spec->links[k].latency};
    }
}

static qn_status make_links(qn_virtual_workers *all, const qn_cuts *cuts, const size_t *positions, qn_error *err)
{
    const qn_plan *plan = all->plan;
    const size_t n_links = plan->n_stages - 1;
    const size_t n_microbatches = (size_t)all->run.n_microbatches;
    qn_adapt_link *about = qn_arena_array(&all->arena, plan->n_stages, sizeof *about);
    for (size_t k = 0; k < n_links && about != NULL; k++) {
        char *name = qn_arena_printf(&all->arena, "link%zu", k);
        size_t *bytes = qn_arena_array(&all->arena, plan->links[k].n_choices, sizeof *bytes);
        const size_t place = qn_worker_most_given(all->workers[k]);
        unsigned char *places = qn_arena_array(&all->arena, PLACES, place);
        all->given[k] = qn_arena_array(&all->arena, n_microbatches, sizeof *all->given[k]);
        if (name == NULL || bytes == NULL || places == NULL || all->given[k] == NULL) {
            about = NULL;
            break;
        }
        for (size_t i = 0; i < PLACES; i++) {
            all->messages[k].places[i] = places + i * place;
        }
        QN_TRY(qn_adapt_describe(&about[k], bytes, plan, cuts, positions, k, err));
        about[k].name = name;
    }
    if (about == NULL) {
        return qn_fail_memory(err, "simulation", 0);
    }
    const qn_adapt_options options = {.policy = plan->policy,
                                      .rate = plan->rate,
                                      .accuracy_budget = plan->accuracy_budget,
                                      .window = plan->window,
                                      .microbatch = plan->microbatch};
    return qn_adapt_create(&all->adapt, &options, about, n_links, err);
}

static qn_status make(qn_virtual_workers *all, const qn_cuts *cuts, const size_t *positions, qn_error *err)
{
    const size_t n = all->plan->n_stages;
    all->workers = qn_arena_array(&all->arena, n, sizeof *all->workers);
    all->links = qn_arena_array(&all->arena, n, sizeof *all->links);
    all->macs = qn_arena_array(&all->arena, n, sizeof *all->macs);
    all->messages = qn_arena_array(&all->arena, n, sizeof *all->messages);
    all->given = qn_arena_array(&all->arena, n, sizeof *all->given);
    all->told = qn_arena_array(&all->arena, n, sizeof *all->told);
    if (all->workers == NULL || all->links == NULL || all->macs == NULL || all->messages == NULL ||
        all->given == NULL || all->told == NULL) {
        return qn_fail_memory(err, "simulation", 0);
    }
    for (size_t k = 0; k < n; k++) {
        QN_TRY(qn_worker_create(&all->workers[k], cuts, all->plan, positions, k, err));
        all->macs[k] = qn_cuts_span(cuts, positions[k], positions[k + 1]).macs;
    }
    find_media(all);
    const qn_virtual_host host = {all, take, compute, give, finish};
    const int64_t n_microbatches = (all->n_items + all->plan->microbatch - 1) / all->plan->microbatch;
    QN_TRY(qn_virtual_create(&all->run, n, n_microbatches, all->links, &host, err));
    return make_links(all, cuts, positions, err);
}

qn_status qn_virtual_workers_create(qn_virtual_workers *all, const qn_cuts *cuts, const qn_plan *plan,
                                    const size_t *positions, const qn_virtual_spec *spec, int64_t n_items,
                                    const qn_virtual_ends *ends, qn_error *err)
{
    *all = (qn_virtual_workers){.plan = plan, .spec = spec, .n_items = n_items, .ends = *ends};
    const qn_status status = make(all, cuts, positions, err);
    if (status != QN_OK) {
        qn_virtual_workers_free(all);
    }
    return status;
}

qn_status qn_virtual_workers_run(qn_virtual_workers *all, qn_error *err)
{
    all->run.host.context = all;
    QN_TRY(qn_virtual_run(&all->run, err));
    for (size_t k = 0; k + 1 < all->plan->n_stages; k++) {
        const double end = qn_virtual_send_of(&all->run, k, all->run.n_microbatches - 1)->sent;
        tell(all, k, all->run.n_microbatches, end);
        qn_adapt_close(all->adapt, k, end);
    }
    return QN_OK;
}

void qn_virtual_workers_free(qn_virtual_workers *all)
{
    for (size_t k = 0; all->workers != NULL && k < all->plan->n_stages; k++) {
        qn_worker_free(all->workers[k]);
    }
    qn_adapt_free(all->adapt);
    qn_virtual_free(&all->run);
    qn_arena_free(&all->arena);
    *all = (qn_virtual_workers){0};
}
