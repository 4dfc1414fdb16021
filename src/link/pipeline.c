/* A pipeline's stage made ready. */
#include "link/pipeline.h"

#include <limits.h>

static const qn_link_choice raw_choice = {.format = "fp32"};

void qn_pipeline_options_init(qn_pipeline_options *options)
{
    *options = (qn_pipeline_options){.struct_size = sizeof *options, .timeout = 60};
}

size_t qn_pipeline_slots(int size)
{
    return QN_PIPE_BEAT + (size_t)(size > 0 ? size : 1);
}

void qn_pipeline_add(qn_pipeline_totals *t, const qn_pipeline_record *r)
{
    const double end = r->start + r->decode + r->compute + r->send_wait + r->encode;
    t->items += r->items;
    t->messages += r->n_bytes > 0 ? 1 : 0;
    t->choices[r->choice < QN_PLAN_MAX_CHOICES ? r->choice : 0] += r->n_bytes > 0 ? 1 : 0;
    t->n_bytes += r->n_bytes;
    t->finish = end > t->finish ? end : t->finish;
    t->decode += r->decode;
    t->compute += r->compute;
    t->encode += r->encode;
    t->receive_wait += r->receive_wait;
    t->send_wait += r->send_wait;
}

static qn_status check_fit(const qn_pipeline *p, int size, qn_error *err)
{
    if (p->plan->n_stages > (size_t)size) {
        return qn_fail(err, QN_EINVAL, "plan",
                       "%zu stages, but %d %s: start it with mpirun -n %zu, or make a plan of fewer stages",
                       p->plan->n_stages, size, size == 1 ? "process" : "ranks", p->plan->n_stages);
    }
    if (qn_cuts_at(p->cuts, 0)->n_tensors != 1) {
        return qn_fail(err, QN_EINVAL, p->plan->model, "the network has %zu inputs; pipelines run networks of one",
                       qn_cuts_at(p->cuts, 0)->n_tensors);
    }
    return QN_OK;
}

static qn_status buffer(qn_pipeline *p, unsigned char **data, size_t n_bytes, qn_error *err)
{
    *data = qn_arena_alloc(&p->arena, n_bytes);
    return *data != NULL ? QN_OK : qn_fail_memory(err, "messages", n_bytes);
}

static qn_status make_results(qn_pipeline *p, const size_t *positions, qn_error *err)
{
    const qn_plan_link link = {.choices = (qn_link_choice *)(uintptr_t)&raw_choice, .n_choices = 1, .checksum = true};
    const int64_t n = p->plan->microbatch;
    QN_TRY(qn_crossing_init(&p->results, p->cuts, positions[p->plan->n_stages], &link, n, err));
    p->result_bytes = qn_crossing_bytes(&p->results, 0, n);
    return p->result_bytes > 0
               ? QN_OK
               : qn_fail(err, QN_ELIMIT, "results", "a message of %lld items is too large", (long long)n);
}

static qn_status make_messages(qn_pipeline *p, qn_error *err)
{
    size_t given = qn_worker_most_given(p->worker);
    const size_t taken = qn_worker_most_taken(p->worker);
    given = p->last ? p->result_bytes : given;
    given = given > QN_PIPE_SMALL ? given : QN_PIPE_SMALL; /* an end, or an error, at least */
    p->room = taken > QN_PIPE_SMALL ? taken : QN_PIPE_SMALL;
    if (given > INT_MAX || p->room > INT_MAX) {
        return qn_fail(err, QN_ELIMIT, "plan",
                       "stage %zu has messages of %zu bytes, %d are the most: smaller micro-batches", p->stage,
                       given > p->room ? given : p->room, INT_MAX);
    }
    for (int i = 0; i < 2; i++) {
        QN_TRY(buffer(p, &p->in[i], p->room, err));
        QN_TRY(buffer(p, &p->out[i], given, err));
    }
    return QN_OK;
}

static qn_status make_rank_0(qn_pipeline *p, int size, qn_error *err)
{
    const int64_t n = p->plan->microbatch;
    p->peers = qn_arena_array(&p->arena, p->plan->n_stages, sizeof *p->peers);
    p->outputs = qn_arena_array(&p->arena, p->results.n_tensors, sizeof *p->outputs);
    p->shown = qn_arena_array(&p->arena, p->results.n_tensors, sizeof *p->shown);
    p->x = qn_arena_array(&p->arena, (size_t)n, (size_t)qn_cuts_at(p->cuts, 0)->tensors[0].count * sizeof(float));
    p->beats = qn_arena_array(&p->arena, (size_t)size, sizeof *p->beats);
    if (p->peers == NULL || p->outputs == NULL || p->shown == NULL || p->x == NULL || p->beats == NULL) {
        return qn_fail_memory(err, "messages", 0);
    }
    for (size_t i = 0; i < p->results.n_tensors; i++) {
        p->outputs[i] = qn_arena_array(&p->arena, (size_t)n, (size_t)p->results.tensors[i].count * sizeof(float));
        p->shown[i] = p->outputs[i];
        if (p->outputs[i] == NULL) {
            return qn_fail_memory(err, "messages", 0);
        }
    }
    for (int r = 1; r < size; r++) {
        QN_TRY(buffer(p, &p->beats[r], QN_PIPE_SMALL, err));
    }
    QN_TRY(buffer(p, &p->result[0], p->result_bytes, err));
    return buffer(p, &p->result[1], p->result_bytes, err);
}

static qn_status make(qn_pipeline *p, const size_t *positions, qn_error *err)
{
    const int size = p->transport != NULL ? p->transport->size : 1;
    p->stage = p->transport != NULL ? (size_t)p->transport->rank : 0;
    p->last = p->stage + 1 == p->plan->n_stages;
    QN_TRY(check_fit(p, size, err));
    p->busy = qn_arena_array(&p->arena, qn_pipeline_slots(size), sizeof *p->busy);
    if (p->busy == NULL) {
        return qn_fail_memory(err, "messages", 0);
    }
    for (size_t i = 0; i < QN_PIPE_NOTES; i++) {
        QN_TRY(buffer(p, &p->notes[i], QN_PIPE_SMALL, err));
    }
    QN_TRY(buffer(p, &p->control, QN_PIPE_SMALL, err));
    if (!qn_pipeline_has_stage(p)) {
        return QN_OK;
    }
    QN_TRY(make_results(p, positions, err));
    QN_TRY(qn_worker_create(&p->worker, p->cuts, p->plan, positions, p->stage, err));
    QN_TRY(make_messages(p, err));
    return p->stage == 0 ? make_rank_0(p, size, err) : QN_OK;
}

qn_status qn_pipeline_create(qn_pipeline **pipeline, const qn_cuts *cuts, const qn_plan *plan, const size_t *positions,
                             const qn_pipeline_options *options, qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_pipeline_options_init", err));
    qn_pipeline *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    made->cuts = cuts;
    made->plan = plan;
    made->options = *options;
    made->transport = options->transport;
    const qn_status status = make(made, positions, err);
    if (status != QN_OK) {
        qn_pipeline_free(made);
        return status;
    }
    *pipeline = made;
    return QN_OK;
}

void qn_pipeline_free(qn_pipeline *p)
{
    if (p != NULL) {
        qn_worker_free(p->worker);
        qn_crossing_free(&p->results);
        qn_arena_free(&p->arena);
        qn_free(p);
    }
}

bool qn_pipeline_has_stage(const qn_pipeline *p)
{
    return p->stage < p->plan->n_stages;
}

int64_t qn_pipeline_finished(const qn_pipeline *p)
{
    return p->finished;
}

const qn_pipeline_totals *qn_pipeline_totals_of(const qn_pipeline *p, size_t stage)
{
    return p->peers != NULL && stage < p->plan->n_stages ? &p->peers[stage].totals : NULL;
}
