/* Shapes of operators that make, move or reshape tensors. */
#include <string.h>

#include "graph/infer.h"

qn_status qn_infer_constant_of_shape(const qn_infer *c)
{
    qn_int_list shape;
    QN_TRY(qn_infer_list(c, NULL, 0, &shape));
    const qn_attribute *value = qn_node_attribute(c->node, "value");
    if (value != NULL && qn_tensor_count(value->tensor) != 1) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute value", "%lld elements, expected one",
                             (long long)qn_tensor_count(value->tensor));
    }
    return qn_infer_set(c, 0, value != NULL ? value->tensor->dtype : QN_DTYPE_F32, shape.n, shape.v);
}

qn_status qn_infer_concat(const qn_infer *c)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    const qn_bound_value *first = qn_infer_input(c, 0);
    int64_t dims[QN_MAX_RANK];
    memcpy(dims, first->dims, sizeof dims);
    for (int i = 1; i < c->node->n_inputs; i++) {
        const qn_bound_value *x = qn_infer_input(c, i);
        bool fits = x->rank == first->rank && x->dtype == first->dtype;
        for (int k = 0; fits && k < x->rank; k++) {
            fits = k == axis || x->dims[k] == dims[k];
        }
        if (!fits) {
            char a[QN_DIMS_TEXT_MAX], b[QN_DIMS_TEXT_MAX];
            return qn_infer_fail(c, QN_ESHAPE, NULL, "input %d, %s %s, does not join input 0, %s %s, along axis %d", i,
                                 qn_dtype_text(x->dtype), qn_dims_text(a, x->rank, x->dims),
                                 qn_dtype_text(first->dtype), qn_dims_text(b, first->rank, first->dims), axis);
        }
        dims[axis] += x->dims[axis]; /* at most 2^24 inputs of 2^31 */
    }
    return qn_infer_set(c, 0, first->dtype, first->rank, dims);
}

qn_status qn_infer_flatten(const qn_infer *c)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0);
    int64_t dims[2] = {qn_dims_product(x->dims, 0, axis), qn_dims_product(x->dims, axis, x->rank)};
    return qn_infer_set(c, 0, x->dtype, 2, dims);
}

qn_status qn_infer_gather(const qn_infer *c)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0), *indices = qn_infer_input(c, 1);
    QN_TRY(qn_infer_indices(c, 1, x->dims[axis]));
    int64_t dims[2 * QN_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < axis; i++) {
        dims[rank++] = x->dims[i];
    }
    for (int i = 0; i < indices->rank; i++) {
        dims[rank++] = indices->dims[i];
    }
    for (int i = axis + 1; i < x->rank; i++) {
        dims[rank++] = x->dims[i];
    }
    return qn_infer_set(c, 0, x->dtype, rank, dims);
}

qn_status qn_infer_pad(const qn_infer *c)
{
    qn_pad pad;
    QN_TRY(qn_pad_of_node(&pad, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0);
    int64_t dims[QN_MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        dims[i] = x->dims[i] + pad.begin[i] + pad.end[i];
    }
    return qn_infer_set(c, 0, x->dtype, x->rank, dims);
}

qn_status qn_infer_reduce(const qn_infer *c)
{
    qn_reduce reduce;
    if (qn_infer_input(c, 0)->dtype == QN_DTYPE_BOOL) {
        return qn_infer_fail(c, QN_EFORMAT, "input 0", "is bool, expected numbers");
    }
    QN_TRY(qn_reduce_of_node(&reduce, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0);
    int64_t dims[QN_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->rank; i++) {
        if (!reduce.reduced[i]) {
            dims[rank++] = x->dims[i];
        } else if (reduce.keepdims) {
            dims[rank++] = 1;
        }
    }
    return qn_infer_set(c, 0, x->dtype, rank, dims);
}

/* ArgMax, ArgMin: where along the axis. */
qn_status qn_infer_arg(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    int axis, rank = 0;
    int64_t dims[QN_MAX_RANK];
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    if (x->dims[axis] == 0) {
        return qn_infer_fail(c, QN_ESHAPE, "input 0", "has no elements along axis %d", axis);
    }
    for (int i = 0; i < x->rank; i++) {
        if (i != axis) {
            dims[rank++] = x->dims[i];
        } else if (qn_node_int(c->node, "keepdims", 1) != 0) {
            dims[rank++] = 1;
        }
    }
    return qn_infer_set(c, 0, QN_DTYPE_S64, rank, dims);
}

/* 0 keeps the input's dimension (unless allowzero), one -1 takes what is left. */
qn_status qn_infer_reshape(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_int_list shape;
    QN_TRY(qn_infer_list(c, NULL, 1, &shape));
    bool allow_zero = qn_node_int(c->node, "allowzero", 0) != 0;
    int open = -1;
    int64_t product = 1;
    bool fits = true;
    for (int i = 0; i < shape.n; i++) {
        if (shape.v[i] == 0 && !allow_zero) {
            fits = fits && i < x->rank;
            shape.v[i] = i < x->rank ? x->dims[i] : 0;
        }
        if (shape.v[i] == -1 && open < 0) {
            open = i;
        } else {
            fits = fits && shape.v[i] >= 0 && !__builtin_mul_overflow(product, shape.v[i], &product);
        }
    }
    if (fits && open >= 0) {
        fits = product > 0 && x->n_elems % product == 0;
        shape.v[open] = fits ? x->n_elems / product : -1;
        product = x->n_elems;
    }
    if (!fits || product != x->n_elems) {
        char from[QN_DIMS_TEXT_MAX], to[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, NULL, "%s cannot be reshaped to %s", qn_dims_text(from, x->rank, x->dims),
                             qn_dims_text(to, shape.n, shape.v));
    }
    return qn_infer_set(c, 0, x->dtype, shape.n, shape.v);
}

qn_status qn_infer_shape(const qn_infer *c)
{
    int64_t first, n;
    qn_shape_range(c, &first, &n);
    return qn_infer_set(c, 0, QN_DTYPE_S64, 1, &n);
}

qn_status qn_infer_slice(const qn_infer *c)
{
    qn_slice slice;
    QN_TRY(qn_slice_of_node(&slice, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0);
    return qn_infer_set(c, 0, x->dtype, x->rank, slice.out);
}

qn_status qn_infer_squeeze(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_int_list axes;
    QN_TRY(qn_infer_list(c, "axes", 1, &axes));
    bool drop[QN_MAX_RANK] = {false};
    for (int i = 0; !axes.present && i < x->rank; i++) {
        drop[i] = x->dims[i] == 1;
    }
    for (int i = 0; i < axes.n; i++) {
        int axis;
        QN_TRY(qn_infer_axis(c, "axes", axes.v[i], x->rank, &axis));
        if (x->dims[axis] != 1) {
            return qn_infer_fail(c, QN_ESHAPE, "axes", "axis %d has %lld elements, expected 1", axis,
                                 (long long)x->dims[axis]);
        }
        drop[axis] = true;
    }
    int64_t dims[QN_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->rank; i++) {
        if (!drop[i]) {
            dims[rank++] = x->dims[i];
        }
    }
    return qn_infer_set(c, 0, x->dtype, rank, dims);
}

qn_status qn_infer_unsqueeze(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_int_list axes;
    QN_TRY(qn_infer_list(c, "axes", 1, &axes));
    if (!axes.present) {
        return qn_infer_fail(c, QN_EFORMAT, "axes", "missing");
    }
    int rank = x->rank + axes.n;
    bool added[QN_MAX_RANK + QN_MAX_LIST] = {false};
    for (int i = 0; i < axes.n; i++) {
        int axis;
        QN_TRY(qn_infer_axis(c, "axes", axes.v[i], rank, &axis));
        if (added[axis]) {
            return qn_infer_fail(c, QN_EFORMAT, "axes", "axis %d twice", axis);
        }
        added[axis] = true;
    }
    int64_t dims[QN_MAX_RANK + QN_MAX_LIST];
    for (int i = 0, next = 0; i < rank; i++) {
        dims[i] = added[i] ? 1 : x->dims[next++];
    }
    return qn_infer_set(c, 0, x->dtype, rank, dims);
}

qn_status qn_infer_transpose(const qn_infer *c)
{
    int perm[QN_MAX_RANK];
    QN_TRY(qn_transpose_of_node(perm, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0);
    int64_t dims[QN_MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        dims[i] = x->dims[perm[i]];
    }
    return qn_infer_set(c, 0, x->dtype, x->rank, dims);
}
