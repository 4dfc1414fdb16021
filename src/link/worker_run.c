/* A stage at work: frames in, the stage's program, frames out. */
#include "link/worker.h"

#include <stdio.h>
#include <string.h>

#include "link/link.h"
#include "link/message.h"
#include "link/worker_parts.h"

const float *qn_worker_outgoing(const qn_worker *w, size_t index)
{
    const qn_stage_source source = w->stage.sources[index];
    return source.passes ? w->in[source.index].x : w->made[source.index];
}

static qn_tensor tensor_of(const qn_crossing_tensor *t, const float *x, int64_t n)
{
    qn_tensor made = {.dtype = QN_DTYPE_F32, .rank = t->rank, .data = (void *)(uintptr_t)x};
    memcpy(made.dims, t->dims, sizeof made.dims);
    made.dims[0] = t->leads ? n : made.dims[0];
    return made;
}

qn_status qn_worker_encode(unsigned char *at, const qn_frame *planned, qn_crossing *side, size_t choice, size_t index,
                           const float *x, int64_t n, uint64_t sequence, qn_frame_coder *coder, qn_error *err)
{
    qn_link_options o = side->choices[choice].options;
    qn_frame frame = *planned;
    qn_quantizer q;
    const qn_tensor t = tensor_of(&side->tensors[index], x, n);
    o.seed = sequence;
    return qn_frame_encode_with(at, &frame, &t, qn_crossing_fixed(&q, side, choice, index, n), &o, coder, err);
}

size_t qn_worker_most_given(const qn_worker *w)
{
    return w->most_given;
}

size_t qn_worker_most_taken(const qn_worker *w)
{
    return w->most_taken;
}

size_t qn_worker_bytes(const qn_worker *w, size_t choice, int64_t n)
{
    return choice < w->after.n_choices ? qn_crossing_bytes(&w->after, choice, n) : 0;
}

void qn_worker_set_pulse(qn_worker *w, void (*pulse)(void *ctx), void *ctx)
{
    w->pulse = pulse;
    w->pulse_ctx = ctx;
}

qn_status qn_worker_feed(qn_worker *w, uint64_t sequence, const float *const *inputs, int64_t n, qn_error *err)
{
    if (w->stage_index > 0 || n < 1 || n > w->plan->microbatch) {
        return qn_fail(err, QN_EINVAL, "stage", "%lld items, fed to stage %zu; stage 0 takes 1 to %lld", (long long)n,
                       w->stage_index, (long long)w->plan->microbatch);
    }
    for (size_t i = 0; i < w->before.n_tensors; i++) {
        memcpy(w->in[i].x, inputs[i], (size_t)(n * w->before.tensors[i].count) * sizeof(float));
        w->in[i].decoded = true;
    }
    w->sequence = sequence;
    w->items = n;
    return QN_OK;
}

static qn_status bad_message(const qn_worker *w, qn_error *err, size_t offset, const char *text)
{
    char where[64];
    snprintf(where, sizeof where, "message of stage %zu", w->stage_index - 1);
    return qn_fail_at(err, QN_EFORMAT, (int64_t)offset, where, "%s", text);
}

static qn_status check_envelope(const qn_worker *w, const qn_message *m, size_t n_bytes, qn_error *err)
{
    char where[64];
    snprintf(where, sizeof where, "message of stage %zu", w->stage_index - 1);
    if (m->kind != QN_MESSAGE_DATA || m->n_bytes != n_bytes) {
        return qn_fail(err, QN_EFORMAT, where, "%zu bytes where data of %zu bytes are expected", n_bytes, m->n_bytes);
    }
    if (m->sequence != w->expected || m->stage + 1 != w->stage_index) {
        return qn_fail(err, QN_EFORMAT, where, "micro-batch %llu of stage %lu where %llu of stage %zu is expected",
                       (unsigned long long)m->sequence, (unsigned long)m->stage, (unsigned long long)w->expected,
                       w->stage_index - 1);
    }
    if (m->items > w->plan->microbatch) {
        return qn_fail(err, QN_EFORMAT, where, "%lld items where %lld are the most", (long long)m->items,
                       (long long)w->plan->microbatch);
    }
    if (m->choice >= w->before.n_choices || m->frames != w->before.n_tensors) {
        return qn_fail(err, QN_EFORMAT, where, "choice %lu with %lu frames; the link has %zu choices, and %zu tensors",
                       (unsigned long)m->choice, (unsigned long)m->frames, w->before.n_choices, w->before.n_tensors);
    }
    return QN_OK;
}

/* Parameters that its format does not have show only now. */
static qn_status decode(qn_worker *w, size_t index, qn_error *err)
{
    qn_incoming *in = &w->in[index];
    const qn_status status = qn_frame_decode_with(in->x, &in->frame, w->reader, err);
    in->decoded = status == QN_OK;
    if (status != QN_OK) {
        qn_error_prefix(err, qn_cuts_at(w->cuts, w->stage.from)->tensors[index].name);
    }
    return status;
}

static qn_status take_frame(qn_worker *w, size_t index, const qn_frame *frame, const qn_frame *planned, size_t offset,
                            qn_error *err)
{
    qn_incoming *in = &w->in[index];
    const char *name = qn_cuts_at(w->cuts, w->stage.from)->tensors[index].name;
    if (!qn_frame_same_layout(frame, planned)) {
        return qn_fail_at(err, QN_EFORMAT, (int64_t)offset, name,
                          "the frame is of %s and %lld elements where %s and %lld are planned, or of another shape or "
                          "granularity",
                          frame->name, (long long)frame->n_elems, planned->name, (long long)planned->n_elems);
    }
    if ((frame->flags & QN_FRAME_UNCHECKED) != 0 &&
        w->before.choices[w->choice_in].options.checksum == QN_LINK_CHECKSUM_ON) {
        return qn_fail_at(err, QN_EFORMAT, (int64_t)offset, name,
                          "the frame has no checksums, which the link is to have");
    }
    in->frame = *frame;
    in->decoded = false;
    if (in->passes) {
        const unsigned char *start = frame->parameters - frame->header_bytes;
        memcpy(in->bytes, start, frame->n_bytes);
        in->frame.parameters = in->bytes + frame->header_bytes;
        in->frame.codes = in->frame.parameters + frame->parameter_bytes;
    }
    return in->wanted ? decode(w, index, err) : QN_OK;
}

qn_status qn_worker_take(qn_worker *w, const void *message, size_t n_bytes, qn_error *err)
{
    qn_message m;
    qn_message_verdict found;
    if (w->stage_index == 0) {
        return qn_fail(err, QN_EINVAL, "stage", "stage 0 takes no messages");
    }
    const qn_frame_state state = qn_message_parse(&m, &found, message, n_bytes, w->most_taken);
    if (state != QN_FRAME_COMPLETE) {
        return state == QN_FRAME_MORE ? bad_message(w, err, n_bytes, "the message ends too early")
                                      : bad_message(w, err, found.offset, qn_message_fault_text(found.fault));
    }
    QN_TRY(check_envelope(w, &m, n_bytes, err));
    const qn_frame *planned;
    QN_TRY(qn_crossing_plan(&planned, &w->before, m.choice, m.items, err));
    w->choice_in = m.choice;
    size_t at = 0, index = 0;
    qn_frame frame;
    qn_frame_verdict verdict;
    while (qn_message_next(&frame, &at, &verdict, &m, w->limit)) {
        const size_t offset = QN_ENVELOPE_BYTES + at - frame.n_bytes;
        if (index == w->before.n_tensors) {
            return bad_message(w, err, offset, "a frame too many");
        }
        QN_TRY(take_frame(w, index, &frame, &planned[index], offset, err));
        index++;
    }
    if (verdict.fault != QN_FRAME_FINE || index < w->before.n_tensors) {
        const bool faulty = verdict.fault != QN_FRAME_FINE;
        return bad_message(w, err, faulty ? verdict.offset : n_bytes,
                           faulty ? qn_frame_fault_text(verdict.fault) : "frames are missing");
    }
    w->sequence = m.sequence;
    w->items = m.items;
    w->expected = m.sequence + 1;
    return QN_OK;
}

qn_status qn_worker_compute(qn_worker *w, qn_error *err)
{
    const int64_t batch = qn_program_batch(w->program);
    for (int64_t i = 0; i < w->items; i += batch) {
        const int64_t n = w->items - i < batch ? w->items - i : batch;
        for (size_t k = 0; k < w->stage.n_inputs; k++) {
            w->run_in[k] = w->in[w->stage.inputs[k]].x + i * qn_program_input_count(w->program, k);
        }
        for (size_t k = 0; k < qn_program_n_outputs(w->program); k++) {
            w->run_out[k] = w->made[k] + i * qn_program_output_count(w->program, k);
        }
        QN_TRY(qn_program_run(w->program, w->workspace, w->run_in, n, w->run_out, err));
        if (w->pulse != NULL) {
            w->pulse(w->pulse_ctx);
        }
    }
    return QN_OK;
}

/* Would the bytes as they came be what encoding gives? Codes of static parameters and fp32 are; of other formats the
 * parameters would be made anew. */
static bool forwards(const qn_worker *w, size_t index, size_t choice, const qn_frame *planned)
{
    const qn_stage_source source = w->stage.sources[index];
    if (!source.passes || w->before.n_choices == 0) {
        return false;
    }
    const qn_frame *came = &w->in[source.index].frame;
    qn_quantizer q;
    const bool exact = came->raw ? true
                                 : qn_crossing_fixed(&q, &w->before, w->choice_in, source.index, w->items) != NULL &&
                                       qn_crossing_fixed(&q, &w->after, choice, index, w->items) != NULL;
    const unsigned flags =
        w->after.choices[choice].options.checksum == QN_LINK_CHECKSUM_OFF ? (unsigned)QN_FRAME_UNCHECKED : 0;
    return exact && qn_frame_same_layout(came, planned) && came->flags == flags;
}

static qn_status give_frame(qn_worker *w, size_t index, size_t choice, const qn_frame *planned, unsigned char *at,
                            qn_error *err)
{
    const qn_stage_source source = w->stage.sources[index];
    if (forwards(w, index, choice, planned)) {
        memcpy(at, w->in[source.index].bytes, planned->n_bytes);
        return QN_OK;
    }
    if (source.passes && !w->in[source.index].decoded) {
        QN_TRY(decode(w, source.index, err));
    }
    const qn_status status = qn_worker_encode(at, planned, &w->after, choice, index, qn_worker_outgoing(w, index),
                                              w->items, w->sequence, w->writers[index], err);
    if (status != QN_OK) {
        qn_error_prefix(err, qn_cuts_at(w->cuts, w->stage.to)->tensors[index].name);
    }
    return status;
}

qn_status qn_worker_give(qn_worker *w, size_t choice, void *message, size_t *n_bytes, qn_error *err)
{
    if (choice >= w->after.n_choices) {
        return qn_fail(err, QN_EINVAL, "stage", "choice %zu of a link of %zu", choice, w->after.n_choices);
    }
    const qn_frame *planned;
    QN_TRY(qn_crossing_plan(&planned, &w->after, choice, w->items, err));
    unsigned char *at = (unsigned char *)message + QN_ENVELOPE_BYTES;
    for (size_t i = 0; i < w->after.n_tensors; i++) {
        QN_TRY(give_frame(w, i, choice, &planned[i], at, err));
        at += planned[i].n_bytes;
    }
    const qn_message m = {.kind = QN_MESSAGE_DATA,
                          .stage = (uint32_t)w->stage_index,
                          .choice = (uint32_t)choice,
                          .frames = (uint32_t)w->after.n_tensors,
                          .sequence = w->sequence,
                          .items = w->items,
                          .n_bytes = (size_t)(at - (unsigned char *)message)};
    qn_message_write(message, &m);
    *n_bytes = m.n_bytes;
    return QN_OK;
}

uint64_t qn_worker_sequence(const qn_worker *w)
{
    return w->sequence;
}

int64_t qn_worker_items(const qn_worker *w)
{
    return w->items;
}

const float *qn_worker_output(const qn_worker *w, size_t index)
{
    return w->stage_index + 1 == w->plan->n_stages && index < w->after.n_tensors ? qn_worker_outgoing(w, index) : NULL;
}
