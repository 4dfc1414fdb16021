/* A stage made ready to run. */
#include "link/worker.h"

#include <string.h>

#include "link/link.h"
#include "link/message.h"
#include "link/worker_parts.h"

static qn_status fail_memory(qn_error *err)
{
    return qn_fail_memory(err, "stage", 0);
}

static float *floats(qn_worker *w, int64_t count)
{
    size_t n;
    return qn_mul_size((size_t)w->plan->microbatch, (size_t)count, &n) ? qn_arena_array(&w->arena, n, sizeof(float))
                                                                       : NULL;
}

static qn_status make_program(qn_worker *w, qn_error *err)
{
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, qn_cuts_engine(w->cuts), err));
    options.whole = !qn_cuts_batched(w->cuts);
    options.batch = options.batch < w->plan->microbatch ? options.batch : w->plan->microbatch;
    QN_TRY(qn_program_create(&w->program, w->stage.model, &options, err));
    return qn_workspace_create(&w->workspace, w->program, err);
}

static qn_status make_incoming(qn_worker *w, qn_error *err)
{
    const bool last = w->stage_index + 1 == w->plan->n_stages;
    w->in = qn_arena_array(&w->arena, w->before.n_tensors + 1, sizeof *w->in);
    w->run_in = qn_arena_array(&w->arena, w->stage.n_inputs + 1, sizeof *w->run_in);
    if (w->in == NULL || w->run_in == NULL) {
        return fail_memory(err);
    }
    for (size_t i = 0; i < w->stage.n_inputs; i++) {
        w->in[w->stage.inputs[i]].wanted = true;
    }
    for (size_t i = 0; i < w->stage.n_sources; i++) {
        if (w->stage.sources[i].passes) {
            qn_incoming *in = &w->in[w->stage.sources[i].index];
            in->passes = !last;
            in->wanted = in->wanted || last;
        }
    }
    for (size_t i = 0; i < w->before.n_tensors; i++) {
        qn_incoming *in = &w->in[i];
        in->x = floats(w, w->before.tensors[i].count);
        for (size_t k = 0; k < w->before.n_choices; k++) {
            const qn_frame *frames = w->before.choices[k].frames;
            const size_t most =
                frames[i].n_bytes > frames[i].decoded_bytes ? frames[i].n_bytes : frames[i].decoded_bytes;
            w->limit = most > w->limit ? most : w->limit;
            in->capacity = frames[i].n_bytes > in->capacity ? frames[i].n_bytes : in->capacity;
        }
        in->bytes = in->passes && w->before.n_choices > 0 ? qn_arena_alloc(&w->arena, in->capacity) : NULL;
        if (in->x == NULL || (in->passes && w->before.n_choices > 0 && in->bytes == NULL)) {
            return fail_memory(err);
        }
    }
    return qn_frame_coder_new(&w->reader, err);
}

static qn_status make_outgoing(qn_worker *w, qn_error *err)
{
    const size_t n = qn_program_n_outputs(w->program);
    w->made = qn_arena_array(&w->arena, n + 1, sizeof *w->made);
    w->run_out = qn_arena_array(&w->arena, n + 1, sizeof *w->run_out);
    w->writers = qn_arena_array(&w->arena, w->after.n_tensors + 1, sizeof(qn_frame_coder *));
    if (w->made == NULL || w->run_out == NULL || w->writers == NULL) {
        return fail_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        w->made[i] = floats(w, qn_program_output_count(w->program, i));
        if (w->made[i] == NULL) {
            return fail_memory(err);
        }
    }
    for (size_t i = 0; i < w->after.n_tensors; i++) {
        QN_TRY(qn_frame_coder_new(&w->writers[i], err));
    }
    return QN_OK;
}

/* Coders grow with use: each frame there can be is made, and read, of zeros, once. */
static qn_status warm_up(qn_worker *w, qn_error *err)
{
    const int64_t n = w->plan->microbatch;
    qn_status status = QN_OK;
    for (size_t k = 0; k < w->after.n_choices && status == QN_OK; k++) {
        unsigned char *message = qn_alloc(w->most_given);
        status = message != NULL ? QN_OK : qn_fail_memory(err, "message", w->most_given);
        for (size_t i = 0; i < w->after.n_tensors && status == QN_OK; i++) {
            status = qn_worker_encode(message, &w->after.choices[k].frames[i], &w->after, k, i,
                                      qn_worker_outgoing(w, i), n, 0, w->writers[i], err);
        }
        qn_free(message);
    }
    for (size_t k = 0; k < w->before.n_choices && status == QN_OK; k++) {
        unsigned char *message = qn_alloc(w->most_taken);
        status = message != NULL ? QN_OK : qn_fail_memory(err, "message", w->most_taken);
        for (size_t i = 0; i < w->before.n_tensors && status == QN_OK; i++) {
            qn_frame frame;
            qn_frame_verdict verdict;
            status = qn_worker_encode(message, &w->before.choices[k].frames[i], &w->before, k, i, w->in[i].x, n, 0,
                                      w->reader, err);
            if (status == QN_OK &&
                qn_frame_parse(&frame, &verdict, message, w->most_taken, w->limit) == QN_FRAME_COMPLETE) {
                status = qn_frame_decode_with(w->in[i].x, &frame, w->reader, err);
            }
        }
        qn_free(message);
    }
    return status;
}

static qn_status measure(size_t *most, const qn_crossing *side, int64_t n, const qn_cut *cut, qn_error *err)
{
    for (size_t k = 0; k < side->n_choices; k++) {
        const size_t n_bytes = qn_crossing_bytes(side, k, n);
        if (n_bytes == 0) {
            return qn_fail(err, QN_ELIMIT, cut->name,
                           "a message of %lld items is too large; take smaller micro-batches", (long long)n);
        }
        *most = n_bytes > *most ? n_bytes : *most;
    }
    return QN_OK;
}

static qn_status make(qn_worker *w, const size_t *positions, qn_error *err)
{
    const size_t k = w->stage_index, from = positions[k], to = positions[k + 1];
    const qn_plan *plan = w->plan;
    const int64_t n = plan->microbatch;
    QN_TRY(qn_crossing_init(&w->before, w->cuts, from, k > 0 ? &plan->links[k - 1] : NULL, n, err));
    QN_TRY(qn_crossing_init(&w->after, w->cuts, to, k + 1 < plan->n_stages ? &plan->links[k] : NULL, n, err));
    QN_TRY(measure(&w->most_taken, &w->before, n, qn_cuts_at(w->cuts, from), err));
    QN_TRY(measure(&w->most_given, &w->after, n, qn_cuts_at(w->cuts, to), err));
    QN_TRY(qn_stage_create(&w->stage, w->cuts, from, to, err));
    QN_TRY(make_program(w, err));
    QN_TRY(make_incoming(w, err));
    QN_TRY(make_outgoing(w, err));
    return warm_up(w, err);
}

qn_status qn_worker_create(qn_worker **worker, const qn_cuts *cuts, const qn_plan *plan, const size_t *positions,
                           size_t stage, qn_error *err)
{
    qn_worker *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    made->cuts = cuts;
    made->plan = plan;
    made->stage_index = stage;
    const qn_status status = make(made, positions, err);
    if (status != QN_OK) {
        qn_worker_free(made);
        return status;
    }
    *worker = made;
    return QN_OK;
}

void qn_worker_free(qn_worker *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; w->writers != NULL && i < w->after.n_tensors; i++) {
        qn_frame_coder_free(w->writers[i]);
    }
    qn_frame_coder_free(w->reader);
    qn_workspace_free(w->workspace);
    qn_program_free(w->program);
    qn_stage_free(&w->stage);
    qn_crossing_free(&w->before);
    qn_crossing_free(&w->after);
    qn_arena_free(&w->arena);
    qn_free(w);
}
