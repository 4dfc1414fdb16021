/* Shapes of normalizations other than BatchNormalization. */
#include "graph/infer.h"

static qn_status want_floats(const qn_infer *c)
{
    for (int i = 0; i < c->node->n_inputs; i++) {
        QN_TRY(qn_infer_want_float(c, i));
    }
    return QN_OK;
}

static qn_status want_rank(const qn_infer *c, int least)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    if (x->rank < least) {
        return qn_infer_fail(c, QN_ESHAPE, "input 0", "%d dimensions, expected at least %d", x->rank, least);
    }
    return QN_OK;
}

/* Scale and bias: one number for each of n. */
static qn_status want_count(const qn_infer *c, int i, int64_t n)
{
    const qn_bound_value *parameter = qn_infer_input(c, i);
    if (parameter != NULL && parameter->n_elems != n) {
        char text[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, NULL, "input %d has shape %s, expected %lld elements", i,
                             qn_dims_text(text, parameter->rank, parameter->dims), (long long)n);
    }
    return QN_OK;
}

qn_status qn_infer_layer_normalization(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    int axis;
    int64_t dims[QN_MAX_RANK];
    QN_TRY(want_floats(c));
    QN_TRY(want_rank(c, 1));
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    for (int i = 1; i < 3; i++) {
        QN_TRY(want_count(c, i, qn_dims_product(x->dims, axis, x->rank)));
    }
    for (int i = 0; i < x->rank; i++) {
        dims[i] = i < axis ? x->dims[i] : 1;
    }
    QN_TRY(qn_infer_set(c, 0, QN_DTYPE_F32, x->rank, x->dims));
    QN_TRY(qn_infer_set(c, 1, QN_DTYPE_F32, x->rank, dims));
    return qn_infer_set(c, 2, QN_DTYPE_F32, x->rank, dims);
}

qn_status qn_infer_instance_normalization(const qn_infer *c)
{
    QN_TRY(want_floats(c));
    QN_TRY(want_rank(c, 2));
    const qn_bound_value *x = qn_infer_input(c, 0);
    for (int i = 1; i < 3; i++) {
        QN_TRY(want_count(c, i, x->dims[1]));
    }
    return qn_infer_set(c, 0, QN_DTYPE_F32, x->rank, x->dims);
}

qn_status qn_infer_group_normalization(const qn_infer *c)
{
    QN_TRY(want_floats(c));
    QN_TRY(want_rank(c, 2));
    const qn_bound_value *x = qn_infer_input(c, 0);
    const int64_t groups = qn_node_int(c->node, "num_groups", 0);
    if (groups < 1 || x->dims[1] % groups != 0) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute num_groups", "%lld does not divide %lld channels",
                             (long long)groups, (long long)x->dims[1]);
    }
    for (int i = 1; i < 3; i++) {
        QN_TRY(want_count(c, i, c->binding->graph->opset < 21 ? groups : x->dims[1]));
    }
    return qn_infer_set(c, 0, QN_DTYPE_F32, x->rank, x->dims);
}

qn_status qn_infer_lp_normalization(const qn_infer *c)
{
    const int64_t p = qn_node_int(c->node, "p", 2);
    int axis;
    QN_TRY(want_floats(c));
    QN_TRY(qn_axis_of_node(&axis, c->binding, c->node, c->err));
    if (p != 1 && p != 2) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute p", "%lld, expected 1 or 2", (long long)p);
    }
    return qn_infer_set(c, 0, QN_DTYPE_F32, qn_infer_input(c, 0)->rank, qn_infer_input(c, 0)->dims);
}

qn_status qn_infer_lrn(const qn_infer *c)
{
    QN_TRY(want_floats(c));
    QN_TRY(want_rank(c, 2));
    const int64_t size = qn_node_int(c->node, "size", 0);
    if (size < 1) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute size", "%lld, expected at least 1", (long long)size);
    }
    if (!(qn_node_float(c->node, "bias", 1.0F) > 0) || !(qn_node_float(c->node, "alpha", 1e-4F) >= 0)) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "attributes bias and alpha",
                             "a bias that is not positive, or an alpha that is negative");
    }
    return qn_infer_set(c, 0, QN_DTYPE_F32, qn_infer_input(c, 0)->rank, qn_infer_input(c, 0)->dims);
}

qn_status qn_variance_axes_of_node(bool over[QN_MAX_RANK], const qn_binding *binding, const qn_node *node,
                                   qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const int rank = qn_infer_input(&c, 0)->rank;
    qn_int_list axes;
    QN_TRY(qn_infer_list(&c, "axes", -1, &axes));
    if (!axes.present) {
        axes = (qn_int_list){.n = 3, .v = {0, 2, 3}};
    }
    for (int i = 0; i < rank; i++) {
        over[i] = false;
    }
    for (int i = 0; i < axes.n; i++) {
        int axis;
        QN_TRY(qn_infer_axis(&c, "attribute axes", axes.v[i], rank, &axis));
        over[axis] = true;
    }
    return QN_OK;
}

qn_status qn_infer_variance(const qn_infer *c)
{
    bool over[QN_MAX_RANK];
    QN_TRY(want_floats(c));
    QN_TRY(qn_variance_axes_of_node(over, c->binding, c->node, c->err));
    return qn_infer_set(c, 0, QN_DTYPE_F32, qn_infer_input(c, 0)->rank, qn_infer_input(c, 0)->dims);
}
