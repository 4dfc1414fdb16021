/* Stages and frames of one item. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fault/link_path.h"
#include "link/worker_parts.h"

qn_status qn_link_runner_make(qn_link_runner *runner, const qn_link_path *path, qn_error *err)
{
    *runner = (qn_link_runner){.path = path};
    size_t most_inputs = 1, most_outputs = 1;
    int64_t most = 1;
    runner->workspaces = qn_alloc(((size_t)path->n_links + 1) * sizeof(qn_workspace *));
    if (runner->workspaces == NULL) {
        return qn_fail_memory(err, path->file, sizeof *runner);
    }
    for (int s = 0; s <= path->n_links; s++) {
        const qn_program *program = path->programs[s];
        QN_TRY(qn_workspace_create(&runner->workspaces[s], program, err));
        const size_t n_in = qn_program_n_inputs(program), n_out = qn_program_n_outputs(program);
        most_inputs = n_in > most_inputs ? n_in : most_inputs;
        most_outputs = n_out > most_outputs ? n_out : most_outputs;
        for (size_t i = 0; i < n_out; i++) {
            most = qn_program_output_count(program, i) > most ? qn_program_output_count(program, i) : most;
        }
    }
    runner->inputs = qn_alloc(most_inputs * sizeof(float *));
    runner->outputs = qn_alloc(most_outputs * sizeof(float *));
    runner->unused = qn_alloc((size_t)most * sizeof(float));
    if (runner->inputs == NULL || runner->outputs == NULL || runner->unused == NULL) {
        return qn_fail_memory(err, path->file, (size_t)most * sizeof(float));
    }
    return qn_frame_coder_new(&runner->coder, err);
}

void qn_link_runner_free(qn_link_runner *runner)
{
    for (int s = 0; runner->workspaces != NULL && s <= runner->path->n_links; s++) {
        qn_workspace_free(runner->workspaces[s]);
    }
    qn_free(runner->workspaces);
    qn_free(runner->inputs);
    qn_free(runner->outputs);
    qn_free(runner->unused);
    qn_frame_coder_free(runner->coder);
    *runner = (qn_link_runner){0};
}

static bool all_finite(const float *x, int64_t n)
{
    float nothing = 0; /* 0 as long as all are finite, NaN from then on */
    for (int64_t i = 0; i < n; i++) {
        nothing += 0.0f * x[i];
    }
    return nothing == 0.0f;
}

qn_status qn_link_run_stage(qn_link_runner *runner, int stage, const float *const *from, float *const *to,
                            bool *refused, qn_error *err)
{
    const qn_link_path *path = runner->path;
    const qn_stage *s = &path->stages[stage];
    const qn_program *program = path->programs[stage];
    const qn_cut *behind = qn_link_path_behind(path, stage);
    for (size_t i = 0; i < s->n_inputs; i++) {
        runner->inputs[i] = from[s->inputs[i]];
        if (path->engine == QN_ENGINE_INTEGER && !all_finite(runner->inputs[i], qn_program_input_count(program, i))) {
            *refused = true;
            return QN_OK;
        }
    }
    for (size_t i = 0; i < qn_program_n_outputs(program); i++) {
        runner->outputs[i] = runner->unused;
    }
    for (size_t i = 0; i < s->n_sources; i++) {
        if (s->sources[i].passes) {
            const size_t n_bytes = (size_t)behind->tensors[i].count * sizeof(float);
            memcpy(to[i], from[s->sources[i].index], n_bytes);
        } else {
            runner->outputs[s->sources[i].index] = to[i];
        }
    }
    return qn_program_run(program, runner->workspaces[stage], runner->inputs, 1, runner->outputs, err);
}

qn_status qn_link_send(qn_link_runner *runner, int frame, int64_t image, const float *x, unsigned char *bytes,
                       bool *refused, qn_error *err)
{
    const qn_link_frame *f = &runner->path->frames[frame];
    qn_link_hop *hop = &runner->path->hops[f->link];
    qn_error reason;
    qn_error_init(&reason);
    const qn_status status =
        qn_worker_encode(bytes, f->layout, &hop->crossing, 0, f->index, x, 1, (uint64_t)image, runner->coder, &reason);
    if (status == QN_ERANGE) { /* NaN, infinities */
        *refused = true;
        return QN_OK;
    }
    return status == QN_OK ? QN_OK
                           : qn_fail(err, status, runner->path->file, "link after '%s', tensor '%s': %s",
                                     hop->cut->name, f->tensor->name, reason.message);
}

static void refuse(qn_link_verdict *verdict, qn_link_end end, size_t offset, const char *text)
{
    verdict->end = end;
    verdict->offset = offset;
    snprintf(verdict->text, sizeof verdict->text, "%.*s", (int)sizeof verdict->text - 1, text);
}

/* Is a consistent frame the one that is expected? What of it is not, NULL where it is. */
static const char *other_than(const qn_frame *is, const qn_frame *e, bool unchecked)
{
    if (strcmp(is->name, e->name) != 0) {
        return "it is in another format than the one expected";
    }
    if (is->per != e->per || is->group != e->group) {
        return "its granularity is not the one expected";
    }
    if (is->rank != e->rank || memcmp(is->dims, e->dims, (size_t)e->rank * sizeof *e->dims) != 0) {
        return "its shape is not the one expected";
    }
    if ((is->flags & QN_FRAME_UNCHECKED) != 0 && !unchecked) {
        return "it has no checksums, which are expected";
    }
    return is->n_bytes != e->n_bytes ? "its length is not the one expected" : NULL;
}

qn_status qn_link_receive(qn_link_runner *runner, int frame, const unsigned char *bytes, float *y,
                          qn_link_verdict *verdict, qn_error *err)
{
    const qn_link_frame *f = &runner->path->frames[frame];
    const qn_frame *e = f->layout;
    const size_t limit = e->n_bytes > e->decoded_bytes ? e->n_bytes : e->decoded_bytes;
    qn_frame is;
    qn_frame_verdict found;
    const qn_frame_state state = qn_frame_parse(&is, &found, bytes, e->n_bytes, limit);
    *verdict = (qn_link_verdict){.end = QN_LINK_TAKEN};
    if (state == QN_FRAME_MORE) {
        refuse(verdict, QN_LINK_UNREADABLE, e->n_bytes, qn_frame_fault_text(QN_FRAME_TRUNCATED));
        return QN_OK;
    }
    if (state == QN_FRAME_BAD) {
        refuse(verdict,
               found.fault == QN_FRAME_HEADER_CRC ? QN_LINK_HEADER_CRC
               : found.fault == QN_FRAME_BODY_CRC ? QN_LINK_BODY_CRC
                                                  : QN_LINK_UNREADABLE,
               found.offset, qn_frame_fault_text(found.fault));
        return QN_OK;
    }
    const char *other = other_than(&is, e, runner->path->hops[f->link].unchecked);
    if (other != NULL) {
        refuse(verdict, QN_LINK_UNREADABLE, 0, other);
        return QN_OK;
    }
    verdict->flags = is.flags;
    qn_error reason;
    qn_error_init(&reason);
    const qn_status status = qn_frame_decode_with(y, &is, runner->coder, &reason);
    if (status == QN_EFORMAT) {
        refuse(verdict, QN_LINK_UNREADABLE, is.header_bytes, reason.message);
        return QN_OK;
    }
    return status == QN_OK ? QN_OK : qn_fail(err, status, runner->path->file, "%s", reason.message);
}

/* Bits first .. first + n - 1 of bytes, n <= 32. */
static uint32_t get_bits(const unsigned char *bytes, int64_t first, int n)
{
    uint64_t value = 0;
    const int64_t from = first / 8, to = (first + n - 1) / 8;
    for (int64_t i = to; i >= from; i--) {
        value = value << 8 | bytes[i];
    }
    return (uint32_t)(value >> first % 8) & (n >= 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1);
}

void qn_link_strike(unsigned char *bytes, const qn_fault_change *change, const qn_fault_target *target,
                    const qn_program *program, uint32_t *before, uint32_t *after)
{
    const int64_t first = target->first_bit + change->element * target->bits;
    *before = get_bits(bytes, first, target->bits);
    *after = qn_fault_apply(change, target, program, *before);
    uint32_t difference = *before ^ *after;
    for (int64_t i = first; difference != 0; i++, difference >>= 1) {
        bytes[i / 8] ^= (unsigned char)((difference & 1) << i % 8);
    }
}
