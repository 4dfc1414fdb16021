/* Shapes of NonZero, Compress, Unique and NonMaxSuppression, which follow from values that have to be known when a graph
 * is bound; of Trilu and ReverseSequence. */
#include <string.h>

#include "graph/infer.h"
#include "graph/selection.h"

static qn_status want_known(const qn_infer *c, int i)
{
    const qn_bound_value *x = qn_infer_input(c, i);
    if (x == NULL || x->known != NULL) {
        return QN_OK;
    }
    return qn_infer_fail(
        c, QN_EUNSUPPORTED, NULL,
        "input %d is computed while the network runs; the size of the result depends on it, so it must "
        "be constant",
        i);
}

qn_status qn_infer_non_zero(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    int64_t n = 0;
    QN_TRY(want_known(c, 0));
    for (int64_t i = 0; i < x->n_elems; i++) {
        n += qn_is_non_zero(x->dtype, x->known->data, i);
    }
    const int64_t dims[2] = {x->rank > 0 ? x->rank : 1, n};
    return qn_infer_set(c, 0, QN_DTYPE_S64, 2, dims);
}

qn_status qn_compress_of_node(qn_selection *s, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0), *condition = qn_infer_input(&c, 1);
    const qn_attribute *given = qn_node_attribute(node, "axis");
    int axis = 0;
    QN_TRY(want_known(&c, 1));
    if (condition->dtype != QN_DTYPE_BOOL || condition->rank != 1) {
        return qn_infer_fail(&c, QN_EFORMAT, "input 1", "is %s of %d dimensions, expected a list of bool",
                             qn_dtype_text(condition->dtype), condition->rank);
    }
    QN_TRY(given != NULL ? qn_infer_axis(&c, "attribute axis", given->i, x->rank, &axis) : QN_OK);
    *s = (qn_selection){.flat = given == NULL, .axis = axis};
    s->outer = s->flat ? 1 : qn_dims_product(x->dims, 0, axis);
    s->length = s->flat ? x->n_elems : x->dims[axis];
    s->inner = s->flat ? 1 : qn_dims_product(x->dims, axis + 1, x->rank);
    s->given = condition->n_elems < s->length ? condition->n_elems : s->length;
    const uint8_t *on = condition->known->data;
    for (int64_t i = 0; i < s->given; i++) {
        s->kept += on[i] != 0;
    }
    return QN_OK;
}

qn_status qn_infer_compress(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_selection s;
    int64_t dims[QN_MAX_RANK];
    QN_TRY(qn_compress_of_node(&s, c->binding, c->node, c->err));
    if (s.flat) {
        return qn_infer_set(c, 0, x->dtype, 1, &s.kept);
    }
    memcpy(dims, x->dims, sizeof dims);
    dims[s.axis] = s.kept;
    return qn_infer_set(c, 0, x->dtype, x->rank, dims);
}

qn_status qn_unique_of_node(qn_selection *s, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0);
    const qn_attribute *given = qn_node_attribute(node, "axis");
    int axis = 0;
    QN_TRY(want_known(&c, 0));
    QN_TRY(given != NULL ? qn_infer_axis(&c, "attribute axis", given->i, x->rank, &axis) : QN_OK);
    *s = (qn_selection){.flat = given == NULL, .axis = axis};
    s->outer = s->flat ? 1 : qn_dims_product(x->dims, 0, axis);
    s->length = s->flat ? x->n_elems : x->dims[axis];
    s->inner = s->flat ? 1 : qn_dims_product(x->dims, axis + 1, x->rank);
    if (s->length > QN_UNIQUE_MOST) {
        return qn_infer_fail(&c, QN_ELIMIT, NULL, "%lld entries are compared, the limit is %d", (long long)s->length,
                             QN_UNIQUE_MOST);
    }
    for (int64_t i = 0; i < s->length; i++) {
        s->kept += qn_unique_first(s, x->dtype, x->known->data, i) == i;
    }
    return QN_OK;
}

qn_status qn_infer_unique(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_selection s;
    int64_t dims[QN_MAX_RANK];
    QN_TRY(qn_unique_of_node(&s, c->binding, c->node, c->err));
    memcpy(dims, x->dims, sizeof dims);
    dims[s.axis] = s.kept;
    QN_TRY(qn_infer_set(c, 0, x->dtype, s.flat ? 1 : x->rank, s.flat ? &s.kept : dims));
    QN_TRY(qn_infer_set(c, 1, QN_DTYPE_S64, 1, &s.kept));
    QN_TRY(qn_infer_set(c, 2, QN_DTYPE_S64, 1, &s.length));
    return qn_infer_set(c, 3, QN_DTYPE_S64, 1, &s.kept);
}

qn_status qn_boxes_of_node(qn_boxes *b, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const qn_bound_value *boxes = qn_infer_input(&c, 0), *scores = qn_infer_input(&c, 1);
    double most = 0, overlap = 0, least = 0;
    for (int i = 0; i < 5; i++) {
        QN_TRY(want_known(&c, i));
    }
    QN_TRY(qn_infer_want_float(&c, 0));
    QN_TRY(qn_infer_want_float(&c, 1));
    if (boxes->rank != 3 || scores->rank != 3 || boxes->dims[2] != 4 || boxes->dims[0] != scores->dims[0] ||
        boxes->dims[1] != scores->dims[2]) {
        char a[QN_DIMS_TEXT_MAX], s[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(&c, QN_ESHAPE, NULL, "boxes of shape %s and scores of shape %s, expected NxBx4 and NxCxB",
                             qn_dims_text(a, boxes->rank, boxes->dims), qn_dims_text(s, scores->rank, scores->dims));
    }
    QN_TRY(qn_infer_scalar(&c, 2, &most));
    QN_TRY(qn_infer_scalar(&c, 3, &overlap));
    QN_TRY(qn_infer_scalar(&c, 4, &least));
    *b = (qn_boxes){.batches = boxes->dims[0],
                    .classes = scores->dims[1],
                    .n = boxes->dims[1],
                    .most = most > 0 ? (int64_t)most : 0,
                    .overlap = (float)overlap,
                    .least = (float)least,
                    .has_least = qn_infer_input(&c, 4) != NULL,
                    .centers = qn_node_int(node, "center_point_box", 0) != 0};
    if (b->n > QN_BOXES_MOST || b->batches * b->classes > QN_BOXES_MOST) {
        return qn_infer_fail(&c, QN_ELIMIT, NULL, "%lld boxes of %lld classes, the limit is %d", (long long)b->n,
                             (long long)(b->batches * b->classes), QN_BOXES_MOST);
    }
    b->kept = qn_boxes_select(b, boxes->known->data, scores->known->data, NULL);
    return QN_OK;
}

qn_status qn_infer_non_max_suppression(const qn_infer *c)
{
    qn_boxes b;
    QN_TRY(qn_boxes_of_node(&b, c->binding, c->node, c->err));
    return qn_infer_set(c, 0, QN_DTYPE_S64, 2, (int64_t[]){b.kept, 3});
}

qn_status qn_infer_trilu(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    double k = 0;
    QN_TRY(qn_infer_scalar(c, 1, &k));
    if (x->rank < 2) {
        return qn_infer_fail(c, QN_ESHAPE, "input 0", "%d dimensions, expected at least 2", x->rank);
    }
    return qn_infer_same(c);
}

qn_status qn_infer_reverse_sequence(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *lengths = qn_infer_input(c, 1);
    const int64_t batch = qn_node_int(c->node, "batch_axis", 1), time = qn_node_int(c->node, "time_axis", 0);
    if (x->rank < 2 || batch + time != 1 || batch * time != 0) {
        return qn_infer_fail(c, QN_EFORMAT, NULL,
                             "batch_axis %lld and time_axis %lld of %d dimensions, expected 0 and 1 or 1 and 0",
                             (long long)batch, (long long)time, x->rank);
    }
    if (lengths->dtype != QN_DTYPE_S64 || lengths->rank != 1 || lengths->dims[0] != x->dims[batch]) {
        char text[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(
            c, QN_ESHAPE, "input 1", "lengths are %s of shape %s, expected int64, one for each of %lld",
            qn_dtype_text(lengths->dtype), qn_dims_text(text, lengths->rank, lengths->dims), (long long)x->dims[batch]);
    }
    for (int64_t i = 0; lengths->known != NULL && i < lengths->n_elems; i++) {
        const int64_t length = qn_known_int(lengths->known, i);
        if (length < 0 || length > x->dims[time]) {
            return qn_infer_fail(c, QN_EFORMAT, "input 1", "a length of %lld on an axis of %lld elements",
                                 (long long)length, (long long)x->dims[time]);
        }
    }
    return qn_infer_same(c);
}
