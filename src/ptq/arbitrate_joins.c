/* Max arbitration: all operands of an Add, Sub or Concat get one scale and zero point, wide enough for the widest of them,
 * for hardware that adds codes without rescaling them. The narrower operands lose resolution (Aidge does no better); by
 * default operands keep scales of their own and a sum rescales them. A Concat's output and whatever only moves codes share
 * in it, and so do joins that share operands. Constant operands keep theirs. */
#include <math.h>

#include "ptq/ptq.h"

typedef struct {
    qn_graph *graph;
    int32_t *leader; /* per value */
    bool *joined;    /* per leader: an operand of a join is among them */
    qn_error *err;
} arbiter;

static int32_t find(const arbiter *a, int32_t v)
{
    while (a->leader[v] != v) {
        a->leader[v] = a->leader[a->leader[v]];
        v = a->leader[v];
    }
    return v;
}

static void unite(const arbiter *a, qn_value_id x, qn_value_id y)
{
    int32_t p = find(a, x), q = find(a, y);
    a->joined[p < q ? p : q] = a->joined[p] || a->joined[q];
    a->leader[p > q ? p : q] = p < q ? p : q;
}

/* An activation that is coded with one integer scale. */
static bool is_coded(const arbiter *a, qn_value_id id)
{
    const qn_value *v = id != QN_NO_VALUE ? &a->graph->values[id] : NULL;
    return v != NULL && v->constant == NULL && v->quantizer != NULL && v->quantizer->format.kind == QN_FORMAT_INT &&
           v->quantizer->axis < 0 && v->quantizer->group == 0 && v->quantizer->n == 1 && !v->quantizer->dynamic;
}

static void connect(const arbiter *a, const qn_node *node)
{
    qn_value_id first = QN_NO_VALUE;
    bool moves = qn_ptq_rule_of(node->op)->role == QN_PTQ_MOVE;
    bool joins = node->op == QN_OP_ADD || node->op == QN_OP_SUB || node->op == QN_OP_CONCAT;
    for (int i = 0; i < (joins ? node->n_inputs : moves); i++) {
        if (!is_coded(a, node->inputs[i])) {
            continue;
        }
        if (first != QN_NO_VALUE) {
            unite(a, first, node->inputs[i]);
            a->joined[find(a, first)] |= node->inputs[i] != first;
        }
        first = first == QN_NO_VALUE ? node->inputs[i] : first;
    }
    for (int i = 0; first != QN_NO_VALUE && (moves || node->op == QN_OP_CONCAT) && i < node->n_outputs; i++) {
        if (is_coded(a, node->outputs[i])) {
            unite(a, first, node->outputs[i]);
        }
    }
}

/* The reals that all values of one class reach. */
typedef struct {
    const qn_quantizer *any;
    double min, max;
    float greatest_scale;
    bool same_format, symmetric, differ;
} reach;

static reach reach_of(const arbiter *a, int32_t leader)
{
    reach r = {.min = 0, .max = 0, .same_format = true, .symmetric = true};
    for (size_t id = 0; id < a->graph->n_values; id++) {
        if (!is_coded(a, (qn_value_id)id) || find(a, (int32_t)id) != leader) {
            continue;
        }
        const qn_quantizer *q = a->graph->values[id].quantizer;
        int32_t lo, hi;
        qn_format_range(q->format, &lo, &hi);
        double min = (double)(lo - q->zero_point[0]) * (double)q->scale[0];
        double max = (double)(hi - q->zero_point[0]) * (double)q->scale[0];
        r.any = r.any != NULL ? r.any : q;
        r.min = min < r.min ? min : r.min;
        r.max = max > r.max ? max : r.max;
        r.greatest_scale = q->scale[0] > r.greatest_scale ? q->scale[0] : r.greatest_scale;
        r.same_format = r.same_format && q->format.bits == r.any->format.bits &&
                        q->format.is_signed == r.any->format.is_signed && q->format.narrow == r.any->format.narrow;
        r.symmetric = r.symmetric && q->zero_point[0] == r.any->zero_point[0];
        r.differ = r.differ || !qn_quantizer_equal(q, r.any);
    }
    return r;
}

/* One scale for min..max. With one zero point the greatest scale does. */
static void shared_parameters(const reach *r, float *scale, int32_t *zero_point)
{
    int32_t lo, hi;
    qn_format_range(r->any->format, &lo, &hi);
    if (r->symmetric) {
        *scale = r->greatest_scale;
        *zero_point = r->any->zero_point[0];
        return;
    }
    *scale = (float)((r->max - r->min) / ((double)hi - lo));
    double zero = rint(lo - r->min / (double)*scale);
    *zero_point = (int32_t)(zero < lo ? lo : zero > hi ? hi : zero);
}

static qn_status settle(qn_ptq *ptq, const arbiter *a, int32_t leader)
{
    const reach r = reach_of(a, leader);
    if (r.any == NULL || !r.differ) {
        return QN_OK;
    }
    if (!r.same_format) {
        return qn_fail(a->err, QN_EINVAL, a->graph->values[leader].name,
                       "is joined with values of other formats, so they cannot share a scale; give them one format or "
                       "leave scales of joins apart");
    }
    float scale;
    int32_t zero_point;
    shared_parameters(&r, &scale, &zero_point);
    qn_quantizer q = {.format = r.any->format, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero_point};
    for (size_t id = 0; id < a->graph->n_values; id++) {
        if (is_coded(a, (qn_value_id)id) && find(a, (int32_t)id) == leader) {
            QN_TRY(qn_graph_set_quantizer(a->graph, (qn_value_id)id, &q, a->err));
            QN_TRY(qn_ptq_add_note(ptq, (qn_value_id)id, 0, a->err, "shares its scale with what it is joined with"));
        }
    }
    return QN_OK;
}

qn_status qn_ptq_arbitrate_joins(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    arbiter a = {.graph = graph,
                 .leader = qn_arena_array(&ptq->scratch, graph->n_values, sizeof *a.leader),
                 .joined = qn_arena_array(&ptq->scratch, graph->n_values, sizeof *a.joined),
                 .err = err};
    if (a.leader == NULL || a.joined == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *a.leader);
    }
    for (size_t id = 0; id < graph->n_values; id++) {
        a.leader[id] = (int32_t)id;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        connect(&a, &graph->nodes[n]);
    }
    for (size_t id = 0; id < graph->n_values; id++) {
        if (a.leader[id] == (int32_t)id && a.joined[id]) {
            QN_TRY(settle(ptq, &a, (int32_t)id));
        }
    }
    return QN_OK;
}
