/* What travels at a position in which frames, and which positions have the same numbers. */
#include <stdio.h>
#include <string.h>

#include "link/measure.h"

qn_status qn_measure_crossing(qn_crossing *crossing, const qn_measure *m, size_t position, size_t choice, qn_error *err)
{
    qn_link_choice copy = m->options->choices[choice];
    const qn_plan_link link = {.choices = &copy, .n_choices = 1, .checksum = true};
    return qn_crossing_init(crossing, m->cuts, position, &link, m->message_items, err);
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
static bool sees_shape(const qn_link_choice *choice)
{
    return choice->per == QN_LINK_PER_CHANNEL || choice->per == QN_LINK_PER_TOKEN || choice->per == QN_LINK_PER_BLOCK;
}

/* Bytes of a choice at a position, or why there are none. */
static qn_status plan_choice(qn_measure *m, size_t p, size_t c, qn_error *err)
{
    qn_cut_result *r = &m->study->results[p * m->study->n_choices + c];
    int64_t bytes = 0;
    qn_error inner;
    qn_error_init(&inner);
    const qn_status status =
        qn_plan_message_bytes(&bytes, m->cuts, p, &m->options->choices[c], m->message_items, &inner);
    r->message_bytes = (size_t)bytes;
    if (status == QN_ENOMEM) {
        return qn_fail(err, status, NULL, "%s", inner.message);
    }
    if (status != QN_OK) {
        r->error =
            qn_arena_printf(&m->study->arena, "%s%s%s", inner.where, inner.where[0] != '\0' ? ": " : "", inner.message);
        return r->error != NULL ? QN_OK : qn_fail_memory(err, NULL, 0);
    }
    return QN_OK;
}

qn_status qn_measure_plan(qn_measure *m, qn_error *err)
{
    const qn_cut_study *s = m->study;
    find_same(m);
    for (size_t p = 0; p < s->n_positions; p++) {
        for (size_t c = 0; s->studied[p] && c < s->n_choices; c++) {
            QN_TRY(plan_choice(m, p, c, err));
        }
    }
    return QN_OK;
}

bool qn_measure_runs(const qn_measure *m, size_t position, size_t choice)
{
    const qn_cut_study *s = m->study;
    return s->studied[position] && s->results[position * s->n_choices + choice].error == NULL &&
           (s->same_as[position] == position || sees_shape(&m->options->choices[choice]));
}
