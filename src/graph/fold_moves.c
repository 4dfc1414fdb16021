/* Folding of moves: elements of any type, copied by size. */
#include <string.h>

#include "graph/compute/compute.h"
#include "graph/fold.h"

/* out[o] = in[first + sum o[i] * stride[i]], strides in elements, o in C order over dims. */
static void copy_strided(unsigned char *out, const unsigned char *in, size_t elem_size, int rank, const int64_t *dims,
                         int64_t first, const int64_t *stride)
{
    int64_t n = qn_dims_product(dims, 0, rank);
    int64_t at[QN_MAX_RANK] = {0};
    int64_t from = first;
    for (int64_t i = 0; i < n; i++) {
        memcpy(out + (size_t)i * elem_size, in + (size_t)from * elem_size, elem_size);
        for (int axis = rank - 1; axis >= 0; axis--) {
            from += stride[axis];
            if (++at[axis] < dims[axis]) {
                break;
            }
            from -= stride[axis] * dims[axis];
            at[axis] = 0;
        }
    }
}

qn_status qn_fold_shape(const qn_infer *c, void *out)
{
    int64_t first, n;
    qn_shape_range(c, &first, &n);
    if (n > 0) {
        memcpy(out, qn_infer_input(c, 0)->dims + first, (size_t)n * sizeof(int64_t));
    }
    return QN_OK;
}

qn_status qn_fold_size(const qn_infer *c, void *out)
{
    memcpy(out, &qn_infer_input(c, 0)->n_elems, sizeof(int64_t));
    return QN_OK;
}

qn_status qn_fold_constant_of_shape(const qn_infer *c, void *out)
{
    const qn_attribute *value = qn_node_attribute(c->node, "value");
    const qn_bound_value *result = qn_infer_output(c, 0);
    size_t elem_size = qn_dtype_size(result->dtype);
    for (int64_t i = 0; value != NULL && i < result->n_elems; i++) {
        qn_convert_elements(result->dtype, (unsigned char *)out + (size_t)i * elem_size, value->tensor->dtype,
                            value->tensor->data, 1);
    }
    return QN_OK;
}

qn_status qn_fold_concat(const qn_infer *c, void *out)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    const qn_bound_value *result = qn_infer_output(c, 0);
    size_t elem_size = qn_dtype_size(result->dtype);
    size_t outer = (size_t)qn_dims_product(result->dims, 0, axis);
    size_t row = (size_t)qn_dims_product(result->dims, axis, result->rank) * elem_size;
    unsigned char *to = out;
    for (int i = 0; i < c->node->n_inputs; i++) {
        const qn_bound_value *x = qn_infer_input(c, i);
        size_t part = (size_t)qn_dims_product(x->dims, axis, x->rank) * elem_size;
        for (size_t o = 0; part > 0 && o < outer; o++) {
            memcpy(to + o * row, (const unsigned char *)x->known->data + o * part, part);
        }
        to += part;
    }
    return QN_OK;
}

qn_status qn_fold_gather(const qn_infer *c, void *out)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0), *indices = qn_infer_input(c, 1);
    size_t inner = (size_t)qn_dims_product(x->dims, axis + 1, x->rank) * qn_dtype_size(x->dtype);
    int64_t outer = qn_dims_product(x->dims, 0, axis), dim = x->dims[axis];
    const unsigned char *from = x->known->data;
    unsigned char *to = out;
    for (int64_t o = 0; inner > 0 && o < outer; o++) {
        for (int64_t i = 0; i < indices->n_elems; i++) {
            int64_t index = qn_known_int(indices->known, i); /* checked by inference */
            memcpy(to, from + (size_t)(o * dim + (index < 0 ? index + dim : index)) * inner, inner);
            to += inner;
        }
    }
    return QN_OK;
}

static void input_strides(const qn_bound_value *x, int64_t stride[QN_MAX_RANK])
{
    for (int i = 0; i < x->rank; i++) {
        stride[i] = qn_dims_product(x->dims, i + 1, x->rank);
    }
}

qn_status qn_fold_slice(const qn_infer *c, void *out)
{
    qn_slice slice;
    QN_TRY(qn_slice_of_node(&slice, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0);
    if (qn_infer_output(c, 0)->n_elems == 0) {
        return QN_OK;
    }
    int64_t stride[QN_MAX_RANK], first = 0;
    input_strides(x, stride);
    for (int i = 0; i < x->rank; i++) {
        first += slice.start[i] * stride[i];
        stride[i] *= slice.step[i];
    }
    copy_strided(out, x->known->data, qn_dtype_size(x->dtype), x->rank, slice.out, first, stride);
    return QN_OK;
}

qn_status qn_fold_transpose(const qn_infer *c, void *out)
{
    int perm[QN_MAX_RANK];
    QN_TRY(qn_transpose_of_node(perm, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0);
    int64_t from[QN_MAX_RANK], stride[QN_MAX_RANK];
    input_strides(x, from);
    for (int i = 0; i < x->rank; i++) {
        stride[i] = from[perm[i]];
    }
    copy_strided(out, x->known->data, qn_dtype_size(x->dtype), x->rank, qn_infer_output(c, 0)->dims, 0, stride);
    return QN_OK;
}
