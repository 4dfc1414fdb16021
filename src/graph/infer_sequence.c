/* Shapes of TopK, CumSum, OneHot, Range, EyeLike, Size. */
#include <math.h>
#include <string.h>

#include "graph/infer.h"

qn_status qn_infer_top(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    int axis;
    double k = (double)qn_node_int(c->node, "k", 0);
    int64_t dims[QN_MAX_RANK];
    if (x->dtype == QN_DTYPE_BOOL) {
        return qn_infer_fail(c, QN_EFORMAT, "input 0", "is bool, expected numbers");
    }
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    QN_TRY(qn_infer_scalar(c, 1, &k));
    if (!(k >= 0 && k <= (double)x->dims[axis])) {
        return qn_infer_fail(c, QN_ESHAPE, "k", "%g of %lld elements", k, (long long)x->dims[axis]);
    }
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = (int64_t)k;
    QN_TRY(qn_infer_set(c, 0, x->dtype, x->rank, dims));
    return qn_infer_set(c, 1, QN_DTYPE_S64, x->rank, dims);
}

qn_status qn_infer_sums(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    double given = 0;
    int axis;
    if (x->dtype == QN_DTYPE_BOOL) {
        return qn_infer_fail(c, QN_EFORMAT, "input 0", "is bool, expected numbers");
    }
    QN_TRY(qn_infer_scalar(c, 1, &given));
    QN_TRY(qn_infer_axis(c, "input 1", (int64_t)given, x->rank, &axis));
    return qn_infer_set(c, 0, x->dtype, x->rank, x->dims);
}

qn_status qn_infer_one_hot(const qn_infer *c)
{
    const qn_bound_value *indices = qn_infer_input(c, 0), *values = qn_infer_input(c, 2);
    double depth = 0;
    int axis, rank = 0;
    int64_t dims[QN_MAX_RANK + 1];
    QN_TRY(qn_infer_scalar(c, 1, &depth));
    if (!(depth >= 1 && depth <= (double)QN_MAX_ELEMS) || values->n_elems != 2 || values->rank != 1) {
        return qn_infer_fail(c, QN_ESHAPE, NULL, "depth %g and %lld values, expected at least 1 and two values", depth,
                             (long long)values->n_elems);
    }
    QN_TRY(qn_infer_axis(c, "attribute axis", qn_node_int(c->node, "axis", -1), indices->rank + 1, &axis));
    for (int i = 0; i <= indices->rank; i++) {
        dims[i] = i == axis ? (int64_t)depth : indices->dims[rank++];
    }
    return qn_infer_set(c, 0, values->dtype, indices->rank + 1, dims);
}

/* Its length is a shape: what it is made of has to be known. */
qn_status qn_infer_range(const qn_infer *c)
{
    double start = 0, limit = 0, step = 0;
    const qn_dtype dtype = qn_infer_input(c, 0)->dtype;
    for (int i = 0; i < 3; i++) {
        if (qn_infer_input(c, i)->dtype != dtype || dtype == QN_DTYPE_BOOL) {
            return qn_infer_fail(c, QN_EFORMAT, NULL, "input %d is %s, expected numbers of one type", i,
                                 qn_dtype_text(qn_infer_input(c, i)->dtype));
        }
    }
    QN_TRY(qn_infer_scalar(c, 0, &start));
    QN_TRY(qn_infer_scalar(c, 1, &limit));
    QN_TRY(qn_infer_scalar(c, 2, &step));
    const double n = step == 0 ? (double)NAN : ceil((limit - start) / step);
    if (!(n <= (double)QN_MAX_ELEMS)) {
        return qn_infer_fail(c, QN_EFORMAT, NULL, "from %g to %g in steps of %g", start, limit, step);
    }
    const int64_t count = n > 0 ? (int64_t)n : 0;
    return qn_infer_set(c, 0, dtype, 1, &count);
}

qn_status qn_infer_eye(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    const qn_dtype dtype = qn_infer_type(c->node, "dtype", x->dtype);
    if (x->rank != 2 || dtype == QN_DTYPE_NONE) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, NULL, "%d dimensions and type %s, expected 2 and a type of numbers",
                             x->rank, qn_dtype_text(dtype));
    }
    return qn_infer_set(c, 0, dtype, 2, x->dims);
}

qn_status qn_infer_size(const qn_infer *c)
{
    return qn_infer_set(c, 0, QN_DTYPE_S64, 0, NULL);
}
