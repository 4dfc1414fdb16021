/* Resize and Upsample: attributes and inputs of all opsets as one set of parameters. */
#include <math.h>
#include <string.h>

#include "graph/infer.h"

typedef struct named {
    const char *name;
    int value;
} named;

static qn_status find_name(const qn_infer *c, const char *attribute, const char *fallback, const named *names,
                           int *value)
{
    const char *given = qn_node_string(c->node, attribute, fallback);
    for (; names->name != NULL; names++) {
        if (strcmp(names->name, given) == 0) {
            *value = names->value;
            return QN_OK;
        }
    }
    return qn_infer_fail(c, QN_EUNSUPPORTED, attribute, "'%s' is not one that quern knows", given);
}

static qn_status read_modes(qn_resize *r, const qn_infer *c)
{
    static const named modes[] = {{"nearest", QN_RESIZE_NEAREST},
                                  {"linear", QN_RESIZE_LINEAR},
                                  {"bilinear", QN_RESIZE_LINEAR},
                                  {"cubic", QN_RESIZE_CUBIC},
                                  {NULL, 0}};
    static const named coordinates[] = {{"half_pixel", QN_RESIZE_HALF_PIXEL},
                                        {"pytorch_half_pixel", QN_RESIZE_PYTORCH_HALF_PIXEL},
                                        {"half_pixel_symmetric", QN_RESIZE_HALF_PIXEL_SYMMETRIC},
                                        {"tf_half_pixel_for_nn", QN_RESIZE_TF_HALF_PIXEL},
                                        {"align_corners", QN_RESIZE_ALIGN_CORNERS},
                                        {"asymmetric", QN_RESIZE_ASYMMETRIC},
                                        {"tf_crop_and_resize", QN_RESIZE_CROP},
                                        {NULL, 0}};
    static const named roundings[] = {{"round_prefer_floor", QN_RESIZE_PREFER_FLOOR},
                                      {"round_prefer_ceil", QN_RESIZE_PREFER_CEIL},
                                      {"floor", QN_RESIZE_FLOOR},
                                      {"ceil", QN_RESIZE_CEIL},
                                      {NULL, 0}};
    const bool simple = c->node->op == QN_OP_UPSAMPLE || c->binding->graph->opset < 11;
    int mode, coordinate, rounding;
    QN_TRY(find_name(c, "mode", "nearest", modes, &mode));
    QN_TRY(
        find_name(c, "coordinate_transformation_mode", simple ? "asymmetric" : "half_pixel", coordinates, &coordinate));
    QN_TRY(find_name(c, "nearest_mode", simple ? "floor" : "round_prefer_floor", roundings, &rounding));
    r->mode = (qn_resize_mode)mode;
    r->coordinate = (qn_resize_coordinate)coordinate;
    r->rounding = (qn_resize_rounding)rounding;
    r->cubic_a = (double)qn_node_float(c->node, "cubic_coeff_a", -0.75F);
    r->exclude_outside = qn_node_int(c->node, "exclude_outside", 0) != 0;
    r->extrapolation = (double)qn_node_float(c->node, "extrapolation_value", 0.0F);
    r->antialias = qn_node_int(c->node, "antialias", 0) != 0;
    return QN_OK;
}

/* n known floats of an input or attribute; *present false when there are none. */
static qn_status read_floats(const qn_infer *c, const char *attribute, int input, int n, double *v, bool *present)
{
    const qn_attribute *found = attribute != NULL ? qn_node_attribute(c->node, attribute) : NULL;
    const qn_bound_value *value = input >= 0 ? qn_infer_input(c, input) : NULL;
    *present = found != NULL || (value != NULL && value->n_elems > 0);
    if (!*present) {
        return QN_OK;
    }
    if (found == NULL && value->known == NULL) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, NULL,
                             "input %d is computed while the network runs; it must be constant", input);
    }
    const int64_t count = found != NULL ? found->n : value->n_elems;
    if (count != n || (found == NULL && value->dtype != QN_DTYPE_F32)) {
        return qn_infer_fail(c, QN_ESHAPE, attribute, "%lld numbers, expected %d of float32", (long long)count, n);
    }
    const float *from = found != NULL ? found->floats : value->known->data;
    for (int i = 0; i < n; i++) {
        v[i] = (double)from[i];
    }
    return QN_OK;
}

static qn_status read_axes(const qn_infer *c, int rank, int axes[QN_MAX_RANK], int *n)
{
    qn_int_list list;
    QN_TRY(qn_infer_list(c, "axes", -1, &list));
    *n = list.present ? list.n : rank;
    if (*n > rank) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute axes", "%d axes for %d dimensions", *n, rank);
    }
    for (int i = 0; i < *n; i++) {
        QN_TRY(qn_infer_axis(c, "attribute axes", list.present ? list.v[i] : i, rank, &axes[i]));
    }
    return QN_OK;
}

/* All axes by one factor, so that none, or each, exceeds its size. */
static qn_status keep_ratio(qn_resize *r, const qn_infer *c, int n, const int *axes)
{
    static const named policies[] = {{"stretch", 0}, {"not_larger", 1}, {"not_smaller", 2}, {NULL, 0}};
    const qn_bound_value *x = qn_infer_input(c, 0);
    int policy;
    QN_TRY(find_name(c, "keep_aspect_ratio_policy", "stretch", policies, &policy));
    double factor = policy == 1 ? (double)INFINITY : 0;
    for (int i = 0; policy != 0 && i < n; i++) {
        const double own = (double)r->out[axes[i]] / (double)x->dims[axes[i]];
        factor = policy == 1 ? fmin(factor, own) : fmax(factor, own);
    }
    for (int i = 0; i < n; i++) {
        const int axis = axes[i];
        if (policy != 0) {
            r->out[axis] = (int64_t)floor(factor * (double)x->dims[axis] + 0.5);
        }
        r->scale[axis] = policy != 0 ? factor : (double)r->out[axis] / (double)x->dims[axis];
    }
    return QN_OK;
}

static qn_status read_sizes(qn_resize *r, const qn_infer *c, int n, const int *axes)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_int_list sizes;
    QN_TRY(qn_infer_list(c, NULL, 3, &sizes));
    if (!sizes.present || sizes.n != n) {
        return qn_infer_fail(c, QN_ESHAPE, NULL, "neither scales nor sizes of %d axes are given", n);
    }
    for (int i = 0; i < n; i++) {
        if (sizes.v[i] < 1 || sizes.v[i] > QN_MAX_ELEMS || x->dims[axes[i]] < 1) {
            return qn_infer_fail(c, QN_EFORMAT, "sizes", "%lld for an axis of %lld elements", (long long)sizes.v[i],
                                 (long long)x->dims[axes[i]]);
        }
        r->out[axes[i]] = sizes.v[i];
    }
    return keep_ratio(r, c, n, axes);
}

qn_status qn_resize_of_node(qn_resize *resize, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0);
    const bool old = node->op == QN_OP_UPSAMPLE || binding->graph->opset < 11;
    int axes[QN_MAX_RANK], n;
    double v[2 * QN_MAX_RANK];
    bool present;
    *resize = (qn_resize){.mode = QN_RESIZE_NEAREST};
    QN_TRY(read_modes(resize, &c));
    QN_TRY(read_axes(&c, x->rank, axes, &n));
    for (int i = 0; i < x->rank; i++) {
        resize->out[i] = x->dims[i];
        resize->scale[i] = resize->end[i] = 1;
    }
    QN_TRY(read_floats(&c, NULL, resize->coordinate == QN_RESIZE_CROP ? 1 : -1, 2 * n, v, &present));
    for (int i = 0; present && i < n; i++) {
        resize->start[axes[i]] = v[i];
        resize->end[axes[i]] = v[n + i];
    }
    QN_TRY(read_floats(&c, node->op == QN_OP_UPSAMPLE && binding->graph->opset < 9 ? "scales" : NULL, old ? 1 : 2, n, v,
                       &present));
    if (!present) {
        QN_TRY(old ? qn_infer_fail(&c, QN_EFORMAT, "scales", "missing") : read_sizes(resize, &c, n, axes));
    }
    resize->by_scale = present;
    for (int i = 0; present && i < n; i++) {
        const double size = floor((double)x->dims[axes[i]] * v[i]);
        if (!(v[i] > 0) || !(size >= 1 && size <= (double)QN_MAX_ELEMS)) {
            return qn_infer_fail(&c, QN_EFORMAT, "scales", "%g for an axis of %lld elements", v[i],
                                 (long long)x->dims[axes[i]]);
        }
        resize->scale[axes[i]] = v[i];
        resize->out[axes[i]] = (int64_t)size;
    }
    for (int i = 0; i < x->rank; i++) {
        resize->resized[i] = resize->out[i] != x->dims[i] || resize->scale[i] != 1 ||
                             (resize->coordinate == QN_RESIZE_CROP && (resize->start[i] != 0 || resize->end[i] != 1));
    }
    return QN_OK;
}

double qn_resize_coordinate_of(const qn_resize *r, int axis, int64_t o, int64_t length)
{
    const double x = (double)o, scale = r->scale[axis], in = (double)length;
    const double out = r->by_scale ? scale * in : (double)r->out[axis]; /* as ONNX has it: not rounded */
    switch (r->coordinate) {
    case QN_RESIZE_ALIGN_CORNERS:
        return out > 1 ? x * (in - 1) / (out - 1) : 0;
    case QN_RESIZE_ASYMMETRIC:
        return x / scale;
    case QN_RESIZE_TF_HALF_PIXEL:
        return (x + 0.5) / scale;
    case QN_RESIZE_PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case QN_RESIZE_HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - (double)r->out[axis] / (scale * in)) + (x + 0.5) / scale - 0.5;
    case QN_RESIZE_CROP:
        return out > 1 ? r->start[axis] * (in - 1) + x * (r->end[axis] - r->start[axis]) * (in - 1) / (out - 1)
                       : 0.5 * (r->start[axis] + r->end[axis]) * (in - 1);
    default:
        return (x + 0.5) / scale - 0.5;
    }
}

qn_status qn_infer_resize(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_resize resize;
    QN_TRY(qn_resize_of_node(&resize, c->binding, c->node, c->err));
    QN_TRY(resize.mode != QN_RESIZE_NEAREST ? qn_infer_want_float(c, 0) : QN_OK);
    return qn_infer_set(c, 0, x->dtype, x->rank, resize.out);
}
