/* What travels at a position in which frames, and which positions have the same numbers. */
#include <stdio.h>
#include <string.h>

#include "link/measure.h"

const qn_quantizer *qn_measure_quantizer(const qn_measure *m, const qn_cut_tensor *t, const qn_link_choice *choice)
{
    return t->coded && strcmp(choice->format, "codes") == 0 ? m->cuts->model->graph.values[t->value].quantizer : NULL;
}

qn_status qn_measure_frame(qn_frame *frame, const qn_measure *m, const qn_cut_tensor *t, const qn_link_choice *choice,
                           int64_t n, qn_error *err)
{
    const int lead = m->cuts->batched ? 1 : 0;
    int64_t dims[QN_MAX_RANK + 1] = {n};
    memcpy(dims + lead, t->dims, (size_t)t->rank * sizeof *dims);
    const qn_quantizer *q = qn_measure_quantizer(m, t, choice);
    qn_link_options options;
    qn_link_choice_options(&options, choice);
    return q != NULL ? qn_frame_plan_for(frame, q, &options, t->rank + lead, dims, err)
                     : qn_frame_plan(frame, &options, t->rank + lead, dims, err);
}

/* Frames of all tensors of a cut, into frames (may be NULL); the bytes of all and of the greatest. */
static qn_status frames_of(const qn_measure *m, const qn_cut *cut, const qn_link_choice *choice, qn_frame *frames,
                           size_t *sum, size_t *most, qn_error *err)
{
    *sum = 0;
    for (size_t i = 0; i < cut->n_tensors; i++) {
        qn_frame frame;
        qn_error inner;
        qn_error_init(&inner);
        qn_status status = qn_measure_frame(&frame, m, &cut->tensors[i], choice, m->message_items, &inner);
        if (status == QN_OK && !qn_add_size(*sum, frame.n_bytes, sum)) {
            status = qn_fail(&inner, QN_ELIMIT, NULL, "the message is too large");
        }
        if (status != QN_OK) {
            return qn_fail(err, status, NULL, "'%s': %s", cut->tensors[i].name, inner.message);
        }
        *most = frame.n_bytes > *most ? frame.n_bytes : *most;
        if (frames != NULL) {
            frames[i] = frame;
        }
    }
    return QN_OK;
}

static bool same_quantizer(const qn_quantizer *a, const qn_quantizer *b)
{
    return a == NULL || b == NULL ? a == b : qn_quantizer_equal(a, b);
}

/* Does a node give the numbers of its first input in another shape? */
static bool moves_nothing(const qn_graph *g, const qn_node *node)
{
    switch (node->op) {
    case QN_OP_RESHAPE:
    case QN_OP_FLATTEN:
    case QN_OP_SQUEEZE:
    case QN_OP_UNSQUEEZE:
    case QN_OP_IDENTITY:
    case QN_OP_DROPOUT:
        return same_quantizer(g->values[node->inputs[0]].quantizer, g->values[node->outputs[0]].quantizer);
    default:
        return false;
    }
}

static bool crosses(const qn_cut *cut, qn_value_id id)
{
    for (size_t i = 0; i < cut->n_tensors; i++) {
        if (cut->tensors[i].value == id) {
            return true;
        }
    }
    return false;
}

/* Do the numbers of position p - 1 cross at p? */
static bool same_as_before(const qn_cuts *cuts, size_t p)
{
    const qn_graph *g = &cuts->model->graph;
    const qn_node *node = &g->nodes[cuts->order[p - 1]];
    const qn_cut *a = &cuts->cuts[p - 1], *b = &cuts->cuts[p];
    if (p == 1 || !moves_nothing(g, node) || a->n_tensors != b->n_tensors || !crosses(a, node->inputs[0])) {
        return false;
    }
    for (size_t i = 0; i < b->n_tensors; i++) {
        const qn_value_id id = b->tensors[i].value;
        if (id != node->outputs[0] && !crosses(a, id)) {
            return false;
        }
    }
    return true;
}

static void find_same(qn_measure *m)
{
    qn_cut_study *s = m->study;
    size_t earliest = 0; /* studied position of the numbers in hand */
    for (size_t p = 0; p < s->n_positions; p++) {
        if (p == 0 || !same_as_before(m->cuts, p) || !s->studied[earliest]) {
            earliest = p;
        }
        s->same_as[p] = earliest;
    }
}

/* Do the parameters of a choice depend on shapes? */
static bool sees_shape(const qn_measure *m, const qn_link_choice *choice)
{
    return choice->per == QN_LINK_PER_CHANNEL || choice->per == QN_LINK_PER_TOKEN || choice->per == QN_LINK_PER_BLOCK ||
           (choice->per == QN_LINK_PER_ITEM && !m->cuts->batched);
}

qn_status qn_measure_plan(qn_measure *m, qn_error *err)
{
    qn_cut_study *s = m->study;
    find_same(m);
    for (size_t p = 0; p < s->n_positions; p++) {
        for (size_t c = 0; s->studied[p] && c < s->n_choices; c++) {
            qn_cut_result *r = &s->results[p * s->n_choices + c];
            qn_error inner;
            qn_error_init(&inner);
            size_t most = 0;
            qn_status status =
                frames_of(m, &m->cuts->cuts[p], &m->options->choices[c], NULL, &r->message_bytes, &most, &inner);
            if (status != QN_OK) {
                r->message_bytes = 0;
                r->error = qn_arena_string(&s->arena, inner.message);
                if (r->error == NULL) {
                    return qn_fail_memory(err, NULL, 0);
                }
            }
        }
    }
    return QN_OK;
}

qn_status qn_measure_plan_cut(qn_measure *m, qn_arena *arena, size_t position, qn_error *err)
{
    const qn_cut_study *s = m->study;
    qn_measure_cut *at = &m->at;
    *at = (qn_measure_cut){.cut = &m->cuts->cuts[position]};
    at->frames = qn_arena_array(arena, s->n_choices * at->cut->n_tensors + 1, sizeof *at->frames);
    at->options = qn_arena_array(arena, s->n_choices + 1, sizeof *at->options);
    at->run = qn_arena_array(arena, s->n_choices + 1, sizeof *at->run);
    if (at->frames == NULL || at->options == NULL || at->run == NULL) {
        return qn_fail_memory(err, NULL, s->n_choices * at->cut->n_tensors * sizeof *at->frames);
    }
    for (size_t c = 0; c < s->n_choices; c++) {
        const qn_link_choice *choice = &m->options->choices[c];
        qn_link_choice_options(&at->options[c], choice);
        at->run[c] = s->results[position * s->n_choices + c].error == NULL &&
                     (s->same_as[position] == position || sees_shape(m, choice));
        if (at->run[c]) {
            size_t sum;
            QN_TRY(frames_of(m, at->cut, choice, at->frames + c * at->cut->n_tensors, &sum, &at->most_bytes, err));
        }
    }
    return QN_OK;
}
