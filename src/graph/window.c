/* Geometry of convolution and pooling: attributes, auto_pad, output sizes (ONNX operators Conv, MaxPool, AveragePool).
 */
#include <string.h>

#include "graph/infer.h"

/* Bounds that keep every product below 2^62: kernels, strides, dilations and pads fit 31 bits, inputs too
 * (QN_MAX_ELEMS). */
static const int64_t MAX_ATTRIBUTE = INT32_MAX;

static bool is_global(qn_op op)
{
    return op == QN_OP_GLOBAL_AVERAGE_POOL || op == QN_OP_GLOBAL_LP_POOL || op == QN_OP_GLOBAL_MAX_POOL;
}

/* One of kernel_shape, strides, dilations: `spatial` entries in lo..MAX_ATTRIBUTE, into the last of three places. */
static qn_status read_pair(const qn_infer *c, const char *name, int spatial, int64_t pair[3])
{
    qn_int_list list;
    QN_TRY(qn_infer_list(c, name, -1, &list));
    if (!list.present) {
        return QN_OK;
    }
    char what[64] = "attribute ";
    strcat(what, name);
    if (list.n != spatial) {
        return qn_infer_fail(c, QN_EFORMAT, what, "%d entries, expected %d", list.n, spatial);
    }
    for (int i = 0; i < spatial; i++) {
        if (list.v[i] < 1 || list.v[i] > MAX_ATTRIBUTE) {
            return qn_infer_fail(c, QN_EFORMAT, what, "%lld is not a positive 31-bit number", (long long)list.v[i]);
        }
        pair[3 - spatial + i] = list.v[i];
    }
    return QN_OK;
}

static int64_t effective_kernel(const qn_volume *w, int axis)
{
    return (w->kernel[axis] - 1) * w->dilation[axis] + 1;
}

static qn_status read_pads(const qn_infer *c, int spatial, qn_volume *w)
{
    qn_int_list list;
    QN_TRY(qn_infer_list(c, "pads", -1, &list));
    if (!list.present) {
        return QN_OK;
    }
    if (list.n != 2 * spatial) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute pads", "%d entries, expected %d", list.n, 2 * spatial);
    }
    for (int i = 0; i < list.n; i++) {
        if (list.v[i] < 0 || list.v[i] > MAX_ATTRIBUTE) {
            return qn_infer_fail(c, QN_EFORMAT, "attribute pads", "%lld is not a 31-bit number from 0",
                                 (long long)list.v[i]);
        }
    }
    for (int i = 0; i < spatial; i++) {
        w->pad_begin[3 - spatial + i] = list.v[i];
        w->pad_end[3 - spatial + i] = list.v[spatial + i];
    }
    return QN_OK;
}

/* SAME: as many outputs as steps fit the input; the padding this takes is split, the odd one at the end or start. */
static void pad_same(qn_volume *w, bool odd_at_end)
{
    for (int a = 0; a < 3; a++) {
        int64_t out = (w->in[a] + w->stride[a] - 1) / w->stride[a];
        int64_t total = (out - 1) * w->stride[a] + effective_kernel(w, a) - w->in[a];
        total = total > 0 ? total : 0;
        w->pad_begin[a] = odd_at_end ? total / 2 : total - total / 2;
        w->pad_end[a] = total - w->pad_begin[a];
    }
}

static qn_status apply_padding(const qn_infer *c, int spatial, qn_volume *w)
{
    const char *mode = qn_node_string(c->node, "auto_pad", "NOTSET");
    if (strcmp(mode, "NOTSET") == 0 || mode[0] == '\0') {
        return read_pads(c, spatial, w);
    }
    const int64_t *pads;
    int64_t n_pads = qn_node_ints(c->node, "pads", &pads);
    for (int64_t i = 0; i < n_pads; i++) {
        if (pads[i] != 0) {
            return qn_infer_fail(c, QN_EFORMAT, "attribute pads", "pads are given although auto_pad is %s", mode);
        }
    }
    if (strcmp(mode, "SAME_UPPER") == 0 || strcmp(mode, "SAME_LOWER") == 0) {
        pad_same(w, strcmp(mode, "SAME_UPPER") == 0);
    } else if (strcmp(mode, "VALID") != 0) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute auto_pad",
                             "'%s' is none of NOTSET, SAME_UPPER, SAME_LOWER, VALID", mode);
    }
    return QN_OK;
}

/* With ceil_mode the last window may hang over the end, but must start inside the input or the padding before it. */
static qn_status output_sizes(const qn_infer *c, qn_volume *w)
{
    for (int a = 0; a < 3; a++) {
        int64_t room = w->in[a] + w->pad_begin[a] + w->pad_end[a] - effective_kernel(w, a);
        if (room > QN_MAX_ELEMS - effective_kernel(w, a)) {
            return qn_infer_fail(c, QN_ELIMIT, NULL, "the padded input is longer than 2^31");
        }
        if (room < 0) {
            return qn_infer_fail(c, QN_ESHAPE, NULL, "the window of %lld does not fit the padded input of %lld",
                                 (long long)effective_kernel(w, a),
                                 (long long)(w->in[a] + w->pad_begin[a] + w->pad_end[a]));
        }
        w->out[a] = room / w->stride[a] + 1;
        if (w->ceil_mode && room % w->stride[a] != 0 && w->out[a] * w->stride[a] < w->in[a] + w->pad_begin[a]) {
            w->out[a]++;
        }
    }
    return QN_OK;
}

/* Every pooling window has to see an element of the input. */
static qn_status check_pool_padding(const qn_infer *c, const qn_volume *w)
{
    for (int a = 0; a < 3; a++) {
        int64_t pad = w->pad_begin[a] > w->pad_end[a] ? w->pad_begin[a] : w->pad_end[a];
        if (pad >= effective_kernel(w, a) || (pad > 0 && w->dilation[a] > w->in[a])) {
            return qn_infer_fail(c, QN_EFORMAT, "attribute pads",
                                 "padding of %lld makes windows of %lld that see nothing of the input", (long long)pad,
                                 (long long)effective_kernel(w, a));
        }
    }
    return QN_OK;
}

static qn_status read_conv_channels(const qn_infer *c, int spatial, qn_volume *w)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *weight = qn_infer_input(c, 1), *third = qn_infer_input(c, 2);
    const qn_bound_value *bias = c->node->op == QN_OP_CONV ? third : NULL;
    char text[QN_DIMS_TEXT_MAX];
    if (weight->rank != x->rank) {
        return qn_infer_fail(c, QN_ESHAPE, "input 1", "weights of shape %s, expected %d dimensions",
                             qn_dims_text(text, weight->rank, weight->dims), x->rank);
    }
    w->group = qn_node_int(c->node, "group", 1);
    w->c_out = weight->dims[0];
    if (w->group < 1 || w->c_out < 1 || w->c_in % w->group != 0 || w->c_out % w->group != 0) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute group",
                             "%lld does not divide %lld input and %lld output channels", (long long)w->group,
                             (long long)w->c_in, (long long)w->c_out);
    }
    if (weight->dims[1] != w->c_in / w->group) {
        return qn_infer_fail(c, QN_ESHAPE, "input 1",
                             "weights for %lld channels per group, found %lld channels in %lld groups",
                             (long long)weight->dims[1], (long long)w->c_in, (long long)w->group);
    }
    if (bias != NULL && (bias->rank != 1 || bias->dims[0] != w->c_out)) {
        return qn_infer_fail(c, QN_ESHAPE, "input 2", "bias of shape %s, expected %lld elements",
                             qn_dims_text(text, bias->rank, bias->dims), (long long)w->c_out);
    }
    int64_t declared[3] = {0};
    QN_TRY(read_pair(c, "kernel_shape", spatial, declared));
    for (int i = 0; i < spatial; i++) {
        int64_t size = weight->dims[2 + i], given = declared[3 - spatial + i];
        if (size < 1 || (given != 0 && given != size)) {
            return qn_infer_fail(c, QN_ESHAPE, "attribute kernel_shape", "%lld, but the weights' shape is %s",
                                 (long long)given, qn_dims_text(text, weight->rank, weight->dims));
        }
        w->kernel[3 - spatial + i] = size;
    }
    return QN_OK;
}

static bool is_conv(qn_op op)
{
    return op == QN_OP_CONV || op == QN_OP_CONV_INTEGER;
}

static qn_status read_kernel(const qn_infer *c, int spatial, qn_volume *w)
{
    if (is_conv(c->node->op)) {
        return read_conv_channels(c, spatial, w);
    }
    w->c_out = w->group = w->c_in;
    if (is_global(c->node->op)) {
        memcpy(w->kernel, w->in, sizeof w->kernel);
        return QN_OK;
    }
    if (qn_node_attribute(c->node, "kernel_shape") == NULL) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute kernel_shape", "missing");
    }
    return read_pair(c, "kernel_shape", spatial, w->kernel);
}

qn_status qn_volume_of_node(qn_volume *volume, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0);
    if (x->rank < 3 || x->rank > 5) {
        return qn_infer_fail(&c, QN_EUNSUPPORTED, "input 0", "%d dimensions; one to three spatial ones are supported",
                             x->rank);
    }
    int spatial = x->rank - 2;
    qn_volume w = {.kernel = {1, 1, 1}, .stride = {1, 1, 1}, .dilation = {1, 1, 1}, .in = {1, 1, 1}};
    w.n = x->dims[0];
    w.c_in = x->dims[1];
    for (int i = 0; i < spatial; i++) {
        w.in[3 - spatial + i] = x->dims[2 + i];
    }
    if (x->n_elems == 0) {
        return qn_infer_fail(&c, QN_ESHAPE, "input 0", "the input has no elements");
    }
    QN_TRY(read_kernel(&c, spatial, &w));
    w.out[0] = w.out[1] = w.out[2] = 1;
    if (!is_global(node->op)) {
        QN_TRY(read_pair(&c, "strides", spatial, w.stride));
        QN_TRY(read_pair(&c, "dilations", spatial, w.dilation));
        w.ceil_mode = qn_node_int(node, "ceil_mode", 0) != 0;
        w.count_include_pad = qn_node_int(node, "count_include_pad", 0) != 0;
        QN_TRY(apply_padding(&c, spatial, &w));
        QN_TRY(!is_conv(node->op) ? check_pool_padding(&c, &w) : QN_OK);
        QN_TRY(output_sizes(&c, &w));
    }
    *volume = w;
    return QN_OK;
}

/* The last two of three axes. */
static void flatten(int64_t to[2], const int64_t from[3])
{
    to[0] = from[1];
    to[1] = from[2];
}

qn_status qn_window_of_node(qn_window *window, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    qn_volume v;
    if (qn_infer_input(&c, 0)->rank == 5) {
        return qn_infer_fail(&c, QN_EUNSUPPORTED, "input 0", "three spatial dimensions, expected one or two");
    }
    QN_TRY(qn_volume_of_node(&v, binding, node, err));
    *window = (qn_window){.n = v.n,
                          .c_in = v.c_in,
                          .c_out = v.c_out,
                          .group = v.group,
                          .ceil_mode = v.ceil_mode,
                          .count_include_pad = v.count_include_pad};
    flatten(window->kernel, v.kernel);
    flatten(window->stride, v.stride);
    flatten(window->dilation, v.dilation);
    flatten(window->pad_begin, v.pad_begin);
    flatten(window->pad_end, v.pad_end);
    flatten(window->in, v.in);
    flatten(window->out, v.out);
    return QN_OK;
}
