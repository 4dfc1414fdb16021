/* Shapes of moves by indices, and of those that repeat, cut or rearrange. */
#include <string.h>

#include "graph/infer.h"

/* int64 or int32; known ones within an axis of `dim` elements. */
qn_status qn_infer_indices(const qn_infer *c, int input, int64_t dim)
{
    const qn_bound_value *indices = qn_infer_input(c, input);
    char what[32] = "input 1";
    what[6] = (char)('0' + input);
    if (indices->dtype != QN_DTYPE_S64 && indices->dtype != QN_DTYPE_S32) {
        return qn_infer_fail(c, QN_EFORMAT, what, "indices are %s, expected int64 or int32",
                             qn_dtype_text(indices->dtype));
    }
    if (dim == 0 && indices->n_elems > 0) {
        return qn_infer_fail(c, QN_ESHAPE, what, "indices into an axis of no elements");
    }
    for (int64_t i = 0; indices->known != NULL && i < indices->n_elems; i++) {
        int64_t index = qn_known_int(indices->known, i);
        if (index < -dim || index >= dim) {
            return qn_infer_fail(c, QN_EFORMAT, what, "index %lld is outside an axis of %lld elements",
                                 (long long)index, (long long)dim);
        }
    }
    return QN_OK;
}

/* GatherElements, ScatterElements: the indices have the data's rank and, off the axis, no larger dimensions. */
static qn_status check_elements(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *indices = qn_infer_input(c, 1);
    int axis;
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    bool fits = x->rank == indices->rank;
    for (int i = 0; fits && i < x->rank; i++) {
        fits = i == axis || indices->dims[i] <= x->dims[i];
    }
    if (!fits) {
        char a[QN_DIMS_TEXT_MAX], b[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, "input 1", "indices of shape %s do not lie within data of shape %s",
                             qn_dims_text(a, indices->rank, indices->dims), qn_dims_text(b, x->rank, x->dims));
    }
    return qn_infer_indices(c, 1, x->dims[axis]);
}

qn_status qn_infer_gather_elements(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *indices = qn_infer_input(c, 1);
    QN_TRY(check_elements(c));
    return qn_infer_set(c, 0, x->dtype, indices->rank, indices->dims);
}

static qn_status want_updates(const qn_infer *c, int rank, const int64_t *dims)
{
    static const char *const known[] = {"none", "add", "mul", "min", "max"};
    const char *reduction = qn_node_string(c->node, "reduction", "none");
    size_t i = 0;
    while (i < sizeof known / sizeof known[0] && strcmp(known[i], reduction) != 0) {
        i++;
    }
    if (i == sizeof known / sizeof known[0]) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "attribute reduction", "'%s' is none of none, add, mul, min, max",
                             reduction);
    }
    const qn_bound_value *x = qn_infer_input(c, 0), *updates = qn_infer_input(c, 2);
    if (updates->dtype != x->dtype || updates->rank != rank ||
        (rank > 0 && memcmp(updates->dims, dims, (size_t)rank * sizeof *dims) != 0)) {
        char a[QN_DIMS_TEXT_MAX], b[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, "input 2", "updates are %s of shape %s, expected %s of shape %s",
                             qn_dtype_text(updates->dtype), qn_dims_text(a, updates->rank, updates->dims),
                             qn_dtype_text(x->dtype), qn_dims_text(b, rank, dims));
    }
    return QN_OK;
}

qn_status qn_infer_scatter_elements(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *indices = qn_infer_input(c, 1);
    QN_TRY(check_elements(c));
    QN_TRY(want_updates(c, indices->rank, indices->dims));
    return qn_infer_set(c, 0, x->dtype, x->rank, x->dims);
}

/* The last axis of the indices are tuples into the data's axes behind `batch_dims`. */
static qn_status check_tuples(const qn_infer *c, int64_t batch_dims, int64_t *depth)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *indices = qn_infer_input(c, 1);
    *depth = indices->rank > 0 ? indices->dims[indices->rank - 1] : 0;
    bool fits = batch_dims >= 0 && batch_dims < indices->rank && *depth >= 1 && batch_dims + *depth <= x->rank;
    for (int i = 0; fits && i < batch_dims; i++) {
        fits = indices->dims[i] == x->dims[i];
    }
    for (int64_t i = batch_dims; fits && i < batch_dims + *depth; i++) {
        fits = x->dims[i] > 0 || indices->n_elems == 0;
    }
    if (!fits) {
        char a[QN_DIMS_TEXT_MAX], b[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(
            c, QN_ESHAPE, "input 1", "indices of shape %s behind %lld batch dimensions do not fit data of shape %s",
            qn_dims_text(a, indices->rank, indices->dims), (long long)batch_dims, qn_dims_text(b, x->rank, x->dims));
    }
    if (indices->dtype != QN_DTYPE_S64) {
        return qn_infer_fail(c, QN_EFORMAT, "input 1", "indices are %s, expected int64", qn_dtype_text(indices->dtype));
    }
    for (int64_t i = 0; indices->known != NULL && i < indices->n_elems; i++) {
        const int64_t index = qn_known_int(indices->known, i), dim = x->dims[batch_dims + i % *depth];
        if (index < -dim || index >= dim) {
            return qn_infer_fail(c, QN_EFORMAT, "input 1", "index %lld is outside an axis of %lld elements",
                                 (long long)index, (long long)dim);
        }
    }
    return QN_OK;
}

qn_status qn_infer_gather_nd(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *indices = qn_infer_input(c, 1);
    const int64_t batch_dims = qn_node_int(c->node, "batch_dims", 0);
    int64_t depth, dims[2 * QN_MAX_RANK];
    int rank = 0;
    QN_TRY(check_tuples(c, batch_dims, &depth));
    for (int i = 0; i < indices->rank - 1; i++) {
        dims[rank++] = indices->dims[i];
    }
    for (int i = (int)(batch_dims + depth); i < x->rank; i++) {
        dims[rank++] = x->dims[i];
    }
    return qn_infer_set(c, 0, x->dtype, rank, dims);
}

qn_status qn_infer_scatter_nd(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *indices = qn_infer_input(c, 1);
    int64_t depth, dims[2 * QN_MAX_RANK];
    int rank = 0;
    QN_TRY(check_tuples(c, 0, &depth));
    for (int i = 0; i < indices->rank - 1; i++) {
        dims[rank++] = indices->dims[i];
    }
    for (int i = (int)depth; i < x->rank; i++) {
        dims[rank++] = x->dims[i];
    }
    QN_TRY(want_updates(c, rank, dims));
    return qn_infer_set(c, 0, x->dtype, x->rank, x->dims);
}

qn_status qn_infer_expand(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_int_list shape;
    int rank;
    int64_t dims[QN_MAX_RANK];
    QN_TRY(qn_infer_list(c, NULL, 1, &shape));
    if (shape.n > QN_MAX_RANK || !qn_broadcast_dims(&rank, dims, x->rank, x->dims, shape.n, shape.v)) {
        char a[QN_DIMS_TEXT_MAX], b[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, NULL, "%s does not broadcast to %s", qn_dims_text(a, x->rank, x->dims),
                             qn_dims_text(b, shape.n, shape.v));
    }
    return qn_infer_set(c, 0, x->dtype, rank, dims);
}

qn_status qn_infer_tile(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_int_list repeats;
    int64_t dims[QN_MAX_RANK];
    QN_TRY(qn_infer_list(c, NULL, 1, &repeats));
    if (repeats.n != x->rank) {
        return qn_infer_fail(c, QN_ESHAPE, "input 1", "%d repeats for %d dimensions", repeats.n, x->rank);
    }
    for (int i = 0; i < x->rank; i++) {
        if (repeats.v[i] < 0 || __builtin_mul_overflow(x->dims[i], repeats.v[i], &dims[i])) {
            return qn_infer_fail(c, QN_EFORMAT, "input 1", "%lld repeats", (long long)repeats.v[i]);
        }
    }
    return qn_infer_set(c, 0, x->dtype, x->rank, dims);
}

/* Lengths are an attribute before opset 13 and an input since; without them all parts but the last are equal. */
qn_status qn_infer_split(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    const int n = c->node->n_outputs;
    qn_int_list list;
    int axis;
    int64_t dims[QN_MAX_RANK], sum = 0;
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    const qn_attribute *attribute = qn_node_attribute(c->node, "split");
    const qn_bound_value *input = qn_infer_input(c, 1);
    const int64_t parts = qn_node_int(c->node, "num_outputs", n);
    if (attribute == NULL && input == NULL) {
        const int64_t most = (x->dims[axis] + n - 1) / n;
        if (parts != n || (n > 0 && x->dims[axis] - (n - 1) * most < 0)) {
            return qn_infer_fail(c, QN_ESHAPE, NULL,
                                 "an axis of %lld cannot be split into %lld parts, one for each of %d outputs",
                                 (long long)x->dims[axis], (long long)parts, n);
        }
        memcpy(dims, x->dims, sizeof dims);
        for (int i = 0; i < n; i++) {
            dims[axis] = i < n - 1 ? most : x->dims[axis] - (n - 1) * most;
            QN_TRY(qn_infer_set(c, i, x->dtype, x->rank, dims));
        }
        return QN_OK;
    }
    QN_TRY(qn_infer_list(c, "split", 1, &list));
    memcpy(dims, x->dims, sizeof dims);
    for (int i = 0; i < list.n && i < n; i++) {
        dims[axis] = list.v[i];
        sum += list.v[i] < 0 || list.v[i] > x->dims[axis] ? x->dims[axis] + 1 : list.v[i];
        if (list.v[i] >= 0 && list.v[i] <= x->dims[axis]) {
            QN_TRY(qn_infer_set(c, i, x->dtype, x->rank, dims));
        }
    }
    if (list.n != n || sum != x->dims[axis]) {
        return qn_infer_fail(c, QN_ESHAPE, "split", "%d lengths do not add up to the axis of %lld for %d outputs",
                             list.n, (long long)x->dims[axis], n);
    }
    return QN_OK;
}

qn_status qn_infer_depth(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    const int64_t block = qn_node_int(c->node, "blocksize", 0);
    const bool deepens = c->node->op == QN_OP_SPACE_TO_DEPTH;
    const char *mode = qn_node_string(c->node, "mode", "DCR");
    if (x->rank != 4) {
        return qn_infer_fail(c, QN_ESHAPE, "input 0", "%d dimensions, expected 4", x->rank);
    }
    if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "attribute mode", "'%s' is neither DCR nor CRD", mode);
    }
    if (block < 1 || block > INT16_MAX ||
        (deepens ? x->dims[2] % block != 0 || x->dims[3] % block != 0 : x->dims[1] % (block * block) != 0)) {
        char text[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, "attribute blocksize", "%lld does not divide %s", (long long)block,
                             qn_dims_text(text, x->rank, x->dims));
    }
    const int64_t dims[4] = {x->dims[0], deepens ? x->dims[1] * block * block : x->dims[1] / block / block,
                             deepens ? x->dims[2] / block : x->dims[2] * block,
                             deepens ? x->dims[3] / block : x->dims[3] * block};
    return qn_infer_set(c, 0, x->dtype, 4, dims);
}
