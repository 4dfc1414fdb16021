/* Parameters of operators after defaults, checks and differences between opsets; for inference and engines alike. */
#include <math.h>
#include <string.h>

#include "graph/infer.h"

qn_status qn_softmax_of_node(qn_softmax *softmax, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, binding, node, err));
    qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0);
    /* Before opset 13 the input was seen as a matrix cut at the axis. */
    int end = binding->graph->opset < 13 ? x->rank : axis + 1;
    *softmax = (qn_softmax){qn_dims_product(x->dims, 0, axis), qn_dims_product(x->dims, axis, end),
                            qn_dims_product(x->dims, end, x->rank)};
    return QN_OK;
}

qn_status qn_clip_of_node(qn_clip *clip, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    const qn_attribute *lo = qn_node_attribute(node, "min"), *hi = qn_node_attribute(node, "max");
    if ((lo != NULL || hi != NULL) && node->n_inputs > 1) {
        return qn_infer_fail(&c, QN_EFORMAT, NULL, "bounds are given as attributes and as inputs");
    }
    *clip = (qn_clip){lo != NULL ? (double)lo->f : -INFINITY, hi != NULL ? (double)hi->f : INFINITY};
    QN_TRY(qn_infer_scalar(&c, 1, &clip->lo));
    QN_TRY(qn_infer_scalar(&c, 2, &clip->hi));
    if (isnan(clip->lo) || isnan(clip->hi)) {
        return qn_infer_fail(&c, QN_ERANGE, NULL, "a bound is NaN");
    }
    return QN_OK;
}

static const struct {
    qn_op op;
    bool required;
    int64_t fallback;
    int ends_beyond; /* 1 when the axis may be the rank itself */
} axis_rows[] = {
    {QN_OP_ARG_MAX, false, 0, 0},      {QN_OP_ARG_MIN, false, 0, 0},
    {QN_OP_CONCAT, true, 0, 0},        {QN_OP_FLATTEN, false, 1, 1},
    {QN_OP_GATHER, false, 0, 0},       {QN_OP_GATHER_ELEMENTS, false, 0, 0},
    {QN_OP_HARDMAX, false, -1, 0},     {QN_OP_LAYER_NORMALIZATION, false, -1, 0},
    {QN_OP_LOG_SOFTMAX, false, -1, 0}, {QN_OP_LP_NORMALIZATION, false, -1, 0},
    {QN_OP_SCATTER, false, 0, 0},      {QN_OP_SCATTER_ELEMENTS, false, 0, 0},
    {QN_OP_SOFTMAX, false, -1, 0},     {QN_OP_SPLIT, false, 0, 0},
    {QN_OP_TOP_K, false, -1, 0},
};

qn_status qn_axis_of_node(int *axis, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    int rank = qn_infer_input(&c, 0)->rank;
    for (size_t i = 0; i < sizeof axis_rows / sizeof axis_rows[0]; i++) {
        if (axis_rows[i].op != node->op) {
            continue;
        }
        const bool softmax = node->op == QN_OP_SOFTMAX || node->op == QN_OP_LOG_SOFTMAX || node->op == QN_OP_HARDMAX;
        int64_t fallback = softmax && binding->graph->opset < 13 ? 1 : axis_rows[i].fallback;
        if (axis_rows[i].required && qn_node_attribute(node, "axis") == NULL) {
            return qn_infer_fail(&c, QN_EFORMAT, "attribute axis", "missing");
        }
        int64_t given = qn_node_int(node, "axis", fallback);
        if (axis_rows[i].ends_beyond == 1 && given == rank) {
            *axis = rank;
            return QN_OK;
        }
        return qn_infer_axis(&c, "attribute axis", given, rank, axis);
    }
    return qn_infer_fail(&c, QN_EINTERNAL, NULL, "the operator has no axis");
}

/* One axis of a Slice: ONNX clamps both ends into the axis, for backward steps to its last and before-first element. */
static void slice_axis(qn_slice *slice, int axis, int64_t dim, int64_t start, int64_t end, int64_t step)
{
    static const int64_t FAR = (int64_t)1 << 40; /* beyond every dimension */
    step = step > FAR ? FAR : step < -FAR ? -FAR : step;
    int64_t lo = step > 0 ? 0 : -1, hi = step > 0 ? dim : dim - 1;
    start += start < 0 ? dim : 0;
    end += end < 0 ? dim : 0;
    int64_t start_lo = 0, start_hi = hi;
    start = start < start_lo ? start_lo : start > start_hi ? start_hi : start;
    end = end < lo ? lo : end > hi ? hi : end;
    int64_t span = step > 0 ? end - start : start - end;
    int64_t stride = step > 0 ? step : -step;
    slice->out[axis] = dim == 0 || span <= 0 ? 0 : (span + stride - 1) / stride;
    slice->start[axis] = slice->out[axis] == 0 ? 0 : start;
    slice->step[axis] = step;
}

static qn_status slice_axes(qn_slice *slice, const qn_infer *c, const qn_int_list *starts, const qn_int_list *ends,
                            const qn_int_list *axes, const qn_int_list *steps)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    bool seen[QN_MAX_RANK] = {false};
    for (int i = 0; i < starts->n; i++) {
        int axis;
        QN_TRY(qn_infer_axis(c, "axes", axes->present ? axes->v[i] : i, x->rank, &axis));
        int64_t step = steps->present ? steps->v[i] : 1;
        if (seen[axis] || step == 0) {
            return qn_infer_fail(c, QN_EFORMAT, seen[axis] ? "axes" : "steps",
                                 seen[axis] ? "axis %d twice" : "0 for axis %d", axis);
        }
        seen[axis] = true;
        slice_axis(slice, axis, x->dims[axis], starts->v[i], ends->v[i], step);
    }
    return QN_OK;
}

qn_status qn_slice_of_node(qn_slice *slice, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0);
    qn_int_list starts, ends, axes, steps;
    QN_TRY(qn_infer_list(&c, "starts", 1, &starts));
    QN_TRY(qn_infer_list(&c, "ends", 2, &ends));
    QN_TRY(qn_infer_list(&c, "axes", 3, &axes));
    QN_TRY(qn_infer_list(&c, NULL, 4, &steps));
    if (!starts.present || !ends.present || starts.n != ends.n || (axes.present && axes.n != starts.n) ||
        (steps.present && steps.n != starts.n)) {
        return qn_infer_fail(&c, QN_EFORMAT, NULL, "starts, ends, axes and steps differ in length or are missing");
    }
    for (int i = 0; i < x->rank; i++) {
        slice->start[i] = 0;
        slice->step[i] = 1;
        slice->out[i] = x->dims[i];
    }
    return slice_axes(slice, &c, &starts, &ends, &axes, &steps);
}

static qn_status pad_mode(qn_pad *pad, const qn_infer *c)
{
    static const char *const names[] = {
        [QN_PAD_CONSTANT] = "constant", [QN_PAD_REFLECT] = "reflect", [QN_PAD_EDGE] = "edge", [QN_PAD_WRAP] = "wrap"};
    const char *mode = qn_node_string(c->node, "mode", "constant");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], mode) == 0) {
            pad->mode = (qn_pad_mode)i;
            return QN_OK;
        }
    }
    return qn_infer_fail(c, QN_EUNSUPPORTED, "attribute mode", "'%s' is none of constant, reflect, edge, wrap", mode);
}

static qn_status check_pad_axis(const qn_infer *c, const qn_pad *pad, int axis, int64_t dim)
{
    int64_t begin = pad->begin[axis], end = pad->end[axis];
    if (begin < -QN_MAX_ELEMS || begin > QN_MAX_ELEMS || end < -QN_MAX_ELEMS || end > QN_MAX_ELEMS ||
        dim + begin + end < 0 || dim + begin < 0 || dim + end < 0) {
        return qn_infer_fail(c, QN_EFORMAT, "pads", "%lld and %lld do not fit axis %d of %lld elements",
                             (long long)begin, (long long)end, axis, (long long)dim);
    }
    if (pad->mode == QN_PAD_CONSTANT) {
        return QN_OK;
    }
    int64_t limit = pad->mode == QN_PAD_REFLECT ? dim - 1 : dim > 0 ? QN_MAX_ELEMS : 0;
    if (begin < 0 || end < 0 || begin > limit || end > limit) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "pads",
                             "%lld and %lld on axis %d of %lld elements, expected 0 to %lld", (long long)begin,
                             (long long)end, axis, (long long)dim, (long long)limit);
    }
    return QN_OK;
}

static qn_status pad_axes(qn_pad *pad, const qn_infer *c, const qn_int_list *pads, const qn_int_list *axes)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    int n = axes->present ? axes->n : x->rank;
    if (!pads->present || pads->n != 2 * n) {
        return qn_infer_fail(c, QN_EFORMAT, "pads", "%d entries, expected two for each of %d axes", pads->n, n);
    }
    bool seen[QN_MAX_RANK] = {false};
    for (int i = 0; i < n; i++) {
        int axis;
        QN_TRY(qn_infer_axis(c, "axes", axes->present ? axes->v[i] : i, x->rank, &axis));
        if (seen[axis]) {
            return qn_infer_fail(c, QN_EFORMAT, "axes", "axis %d twice", axis);
        }
        seen[axis] = true;
        pad->begin[axis] = pads->v[i];
        pad->end[axis] = pads->v[n + i];
        QN_TRY(check_pad_axis(c, pad, axis, x->dims[axis]));
    }
    return QN_OK;
}

qn_status qn_pad_of_node(qn_pad *pad, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    qn_int_list pads, axes;
    *pad = (qn_pad){.value = (double)qn_node_float(node, "value", 0.0F)};
    QN_TRY(pad_mode(pad, &c));
    QN_TRY(qn_infer_list(&c, "pads", 1, &pads));
    QN_TRY(qn_infer_scalar(&c, 2, &pad->value));
    QN_TRY(qn_infer_list(&c, NULL, 3, &axes));
    return pad_axes(pad, &c, &pads, &axes);
}

qn_status qn_reduce_of_node(qn_reduce *reduce, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0);
    qn_int_list axes;
    QN_TRY(qn_infer_list(&c, "axes", 1, &axes));
    *reduce = (qn_reduce){.keepdims = qn_node_int(node, "keepdims", 1) != 0};
    bool all = axes.n == 0 && qn_node_int(node, "noop_with_empty_axes", 0) == 0;
    for (int i = 0; i < x->rank; i++) {
        reduce->reduced[i] = all;
    }
    for (int i = 0; i < axes.n; i++) {
        int axis;
        QN_TRY(qn_infer_axis(&c, "axes", axes.v[i], x->rank, &axis));
        if (reduce->reduced[axis]) {
            return qn_infer_fail(&c, QN_EFORMAT, "axes", "axis %d twice", axis);
        }
        reduce->reduced[axis] = true;
    }
    return QN_OK;
}

qn_status qn_transpose_of_node(int perm[QN_MAX_RANK], const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    int rank = qn_infer_input(&c, 0)->rank;
    qn_int_list list;
    QN_TRY(qn_infer_list(&c, "perm", -1, &list));
    if (list.present && list.n != rank) {
        return qn_infer_fail(&c, QN_EFORMAT, "attribute perm", "%d entries for an input of %d dimensions", list.n,
                             rank);
    }
    bool seen[QN_MAX_RANK] = {false};
    for (int i = 0; i < rank; i++) {
        int64_t axis = list.present ? list.v[i] : rank - 1 - i;
        if (axis < 0 || axis >= rank || seen[axis]) {
            return qn_infer_fail(&c, QN_EFORMAT, "attribute perm", "entry %d, %lld, is not a permutation's", i,
                                 (long long)axis);
        }
        seen[axis] = true;
        perm[i] = (int)axis;
    }
    return QN_OK;
}
