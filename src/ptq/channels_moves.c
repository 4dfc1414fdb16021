/* How channels pass through operators that only move elements, or average them. */
#include <string.h>

#include "ptq/channels_walk.h"

/* The axis that most inputs with variables have; -1 when they differ. */
static int common_axis(const qn_channels_walk *w)
{
    int axis = -1;
    for (int i = 0; i < w->node->n_inputs; i++) {
        qn_value_id in = w->node->inputs[i];
        if (qn_channels_has(w, in)) {
            if (axis >= 0 && axis != w->c->axis[in]) {
                return -1;
            }
            axis = w->c->axis[in];
        }
    }
    return axis;
}

qn_status qn_channels_visit_concat(const qn_channels_walk *w)
{
    int along, axis = common_axis(w);
    QN_TRY(qn_axis_of_node(&along, w->binding, w->node, w->err));
    if (axis >= 0) {
        QN_TRY(qn_channels_give(w, w->node->outputs[0], axis));
    }
    if (!qn_channels_has(w, w->node->outputs[0])) {
        qn_channels_pin_inputs(w);
        return QN_OK;
    }
    int32_t first = w->c->first[w->node->outputs[0]], at = 0;
    for (int i = 0; i < w->node->n_inputs; i++) {
        qn_value_id in = w->node->inputs[i];
        int32_t n = (int32_t)w->binding->values[in].dims[axis];
        for (int32_t k = 0; k < n; k++) {
            if (qn_channels_has(w, in)) {
                qn_channels_tie(w, first + at + k, w->c->first[in] + k);
            } else {
                qn_channels_pin(w, first + at + k);
            }
        }
        at += along == axis ? n : 0;
    }
    return QN_OK;
}

/* Element e of a tensor has index (e / inner) % n along an axis. */
typedef struct {
    int64_t inner, n;
} stride;

static stride stride_of(const qn_bound_value *v, int axis)
{
    stride s = {.inner = 1, .n = v->dims[axis]};
    for (int d = axis + 1; d < v->rank; d++) {
        s.inner *= v->dims[d];
    }
    return s;
}

/* Whether elements with the same index along `a` all have the same along `b`. What has equal periods or divides evenly
 * is quick to see, but reshapes are rare and small enough to look at every element. */
static bool determines(stride a, stride b, int64_t n_elems, int32_t *seen)
{
    memset(seen, -1, (size_t)a.n * sizeof *seen);
    for (int64_t e = 0; e < n_elems; e++) {
        int32_t *of = &seen[e / a.inner % a.n], is = (int32_t)(e / b.inner % b.n);
        if (*of >= 0 && *of != is) {
            return false;
        }
        *of = is;
    }
    return true;
}

/* Flatten, Reshape, Squeeze, Unsqueeze keep the order of elements: a channel becomes a block of channels, or blocks
 * become one. */
qn_status qn_channels_visit_reshape(const qn_channels_walk *w)
{
    qn_value_id in = w->node->inputs[0], out = w->node->outputs[0];
    if (!qn_channels_has(w, in)) {
        return QN_OK;
    }
    const qn_bound_value *x = &w->binding->values[in], *y = &w->binding->values[out];
    stride from = stride_of(x, w->c->axis[in]);
    for (int axis = 1; axis < y->rank; axis++) {
        stride to = stride_of(y, axis);
        int32_t *seen = qn_arena_array(w->arena, (size_t)(from.n > to.n ? from.n : to.n) + 1, sizeof *seen);
        if (seen == NULL) {
            return qn_fail_memory(w->err, w->graph->file, (size_t)to.n * sizeof *seen);
        }
        bool blocks = to.n >= from.n && determines(to, from, x->n_elems, seen);
        if (!blocks && !(to.n > 1 && to.n < from.n && determines(from, to, x->n_elems, seen))) {
            continue;
        }
        QN_TRY(qn_channels_give(w, out, axis));
        for (int64_t i = 0; qn_channels_has(w, out) && i < (blocks ? to.n : from.n); i++) {
            qn_channels_tie(w, w->c->first[out] + (blocks ? (int32_t)i : seen[i]),
                            w->c->first[in] + (blocks ? seen[i] : (int32_t)i));
        }
        if (qn_channels_has(w, out)) {
            return QN_OK;
        }
    }
    qn_channels_pin_inputs(w);
    return QN_OK;
}

qn_status qn_channels_visit_transpose(const qn_channels_walk *w)
{
    qn_value_id in = w->node->inputs[0];
    int perm[QN_MAX_RANK];
    QN_TRY(qn_transpose_of_node(perm, w->binding, w->node, w->err));
    for (int d = 0; qn_channels_has(w, in) && d < w->binding->values[in].rank; d++) {
        if (perm[d] == w->c->axis[in]) {
            qn_channels_share(w, in, d);
            return QN_OK;
        }
    }
    return QN_OK;
}

qn_status qn_channels_visit_slice(const qn_channels_walk *w)
{
    qn_value_id in = w->node->inputs[0], out = w->node->outputs[0];
    qn_slice slice;
    if (!qn_channels_has(w, in)) {
        return QN_OK;
    }
    QN_TRY(qn_slice_of_node(&slice, w->binding, w->node, w->err));
    int axis = w->c->axis[in];
    QN_TRY(qn_channels_give(w, out, axis));
    if (!qn_channels_has(w, out)) {
        qn_channels_pin_inputs(w);
        return QN_OK;
    }
    for (int64_t i = 0; i < qn_channels_count(w, out); i++) {
        qn_channels_tie(w, w->c->first[out] + (int32_t)i,
                        w->c->first[in] + (int32_t)(slice.start[axis] + i * slice.step[axis]));
    }
    return QN_OK;
}

qn_status qn_channels_visit_pad(const qn_channels_walk *w)
{
    qn_value_id in = w->node->inputs[0];
    qn_pad pad;
    if (!qn_channels_has(w, in)) {
        return QN_OK;
    }
    QN_TRY(qn_pad_of_node(&pad, w->binding, w->node, w->err));
    int axis = w->c->axis[in];
    if (pad.begin[axis] == 0 && pad.end[axis] == 0 && (pad.mode != QN_PAD_CONSTANT || pad.value == 0)) {
        return qn_channels_visit_same(w);
    }
    qn_channels_pin_inputs(w);
    return QN_OK;
}

qn_status qn_channels_visit_mean(const qn_channels_walk *w)
{
    qn_value_id in = w->node->inputs[0];
    qn_reduce reduce;
    if (!qn_channels_has(w, in)) {
        return QN_OK;
    }
    QN_TRY(qn_reduce_of_node(&reduce, w->binding, w->node, w->err));
    int axis = w->c->axis[in], gone = 0;
    for (int d = 0; d < axis; d++) {
        gone += reduce.reduced[d] && !reduce.keepdims;
    }
    if (reduce.reduced[axis]) {
        qn_channels_pin_inputs(w);
    } else {
        qn_channels_share(w, in, axis - gone);
    }
    return QN_OK;
}
