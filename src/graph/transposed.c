/* Geometry of ConvTranspose. */
#include <string.h>

#include "graph/infer.h"

enum { SPATIAL = 3 };

/* `spatial` entries, into the last of three places; `least` at least. */
static qn_status read_list(const qn_infer *c, const char *name, int spatial, int64_t least, int64_t places[SPATIAL],
                           bool *present)
{
    qn_int_list list;
    QN_TRY(qn_infer_list(c, name, -1, &list));
    *present = list.present;
    if (list.present && list.n != spatial) {
        return qn_infer_fail(c, QN_EFORMAT, name, "%d entries, expected %d", list.n, spatial);
    }
    for (int i = 0; i < list.n; i++) {
        if (list.v[i] < least || list.v[i] > INT32_MAX / 2) {
            return qn_infer_fail(c, QN_EFORMAT, name, "%lld, expected %lld at least", (long long)list.v[i],
                                 (long long)least);
        }
        places[SPATIAL - spatial + i] = list.v[i];
    }
    return QN_OK;
}

static qn_status read_channels(qn_transposed *t, const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *w = qn_infer_input(c, 1), *bias = qn_infer_input(c, 2);
    char text[QN_DIMS_TEXT_MAX];
    t->group = qn_node_int(c->node, "group", 1);
    if (w->rank != x->rank || w->dims[0] != x->dims[1] || t->group < 1 || x->dims[1] % t->group != 0) {
        return qn_infer_fail(c, QN_ESHAPE, "input 1", "weights of shape %s for %lld channels in %lld groups",
                             qn_dims_text(text, w->rank, w->dims), (long long)x->dims[1], (long long)t->group);
    }
    t->n = x->dims[0];
    t->c_in = x->dims[1];
    if (__builtin_mul_overflow(w->dims[1], t->group, &t->c_out) || t->c_out > QN_MAX_ELEMS) {
        return qn_infer_fail(c, QN_ELIMIT, "attribute group", "%lld groups", (long long)t->group);
    }
    if (bias != NULL && (bias->rank != 1 || bias->dims[0] != t->c_out)) {
        return qn_infer_fail(c, QN_ESHAPE, "input 2", "bias of shape %s, expected %lld elements",
                             qn_dims_text(text, bias->rank, bias->dims), (long long)t->c_out);
    }
    return QN_OK;
}

static qn_status read_kernel(qn_transposed *t, const qn_infer *c, int spatial)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *w = qn_infer_input(c, 1);
    int64_t declared[SPATIAL] = {0};
    bool present;
    QN_TRY(read_list(c, "kernel_shape", spatial, 1, declared, &present));
    for (int i = 0; i < spatial; i++) {
        const int at = SPATIAL - spatial + i;
        t->in[at] = x->dims[2 + i];
        t->kernel[at] = w->dims[2 + i];
        if (t->kernel[at] < 1 || t->in[at] < 1 || (present && declared[at] != t->kernel[at])) {
            return qn_infer_fail(c, QN_ESHAPE, "attribute kernel_shape", "%lld, but the weights have %lld",
                                 (long long)declared[at], (long long)t->kernel[at]);
        }
    }
    QN_TRY(read_list(c, "strides", spatial, 1, t->stride, &present));
    return read_list(c, "dilations", spatial, 1, t->dilation, &present);
}

/* Given an output, padding is what is too much, its odd one before the input but for SAME_UPPER. */
static qn_status fit_output(qn_transposed *t, const qn_infer *c, const char *mode, const int64_t *wanted,
                            const int64_t *full, int first)
{
    for (int a = first; a < SPATIAL; a++) {
        const int64_t total = full[a] > wanted[a] ? full[a] - wanted[a] : 0;
        t->pad[a] = strcmp(mode, "SAME_UPPER") == 0 ? total / 2 : total - total / 2;
        t->out[a] = wanted[a];
        if (wanted[a] < 1) {
            return qn_infer_fail(c, QN_EFORMAT, "attribute output_shape", "%lld", (long long)wanted[a]);
        }
    }
    return QN_OK;
}

static qn_status read_pads(qn_transposed *t, const qn_infer *c, int spatial, const int64_t *full)
{
    qn_int_list pads;
    QN_TRY(qn_infer_list(c, "pads", -1, &pads));
    if (pads.present && pads.n != 2 * spatial) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute pads", "%d entries, expected %d", pads.n, 2 * spatial);
    }
    for (int i = 0; i < spatial; i++) {
        const int a = SPATIAL - spatial + i;
        const int64_t begin = pads.present ? pads.v[i] : 0, end = pads.present ? pads.v[spatial + i] : 0;
        if (begin < 0 || end < 0 || begin > INT32_MAX || end > INT32_MAX || full[a] - begin - end < 1) {
            return qn_infer_fail(c, QN_EFORMAT, "attribute pads", "%lld and %lld leave nothing of %lld",
                                 (long long)begin, (long long)end, (long long)full[a]);
        }
        t->pad[a] = begin;
        t->out[a] = full[a] - begin - end;
    }
    return QN_OK;
}

qn_status qn_transposed_of_node(qn_transposed *transposed, const qn_binding *binding, const qn_node *node,
                                qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0);
    const int spatial = x->rank - 2, first = SPATIAL - spatial;
    qn_transposed t = {
        .in = {1, 1, 1}, .out = {1, 1, 1}, .kernel = {1, 1, 1}, .stride = {1, 1, 1}, .dilation = {1, 1, 1}};
    int64_t extra[SPATIAL] = {0}, wanted[SPATIAL] = {1, 1, 1}, full[SPATIAL] = {1, 1, 1};
    bool has_extra, has_shape;
    if (spatial < 1 || spatial > SPATIAL) {
        return qn_infer_fail(&c, QN_EUNSUPPORTED, "input 0", "%d dimensions; one to three spatial ones are supported",
                             x->rank);
    }
    QN_TRY(read_channels(&t, &c));
    QN_TRY(read_kernel(&t, &c, spatial));
    QN_TRY(read_list(&c, "output_padding", spatial, 0, extra, &has_extra));
    QN_TRY(read_list(&c, "output_shape", spatial, 1, wanted, &has_shape));
    const char *mode = qn_node_string(node, "auto_pad", "NOTSET");
    const bool same = strcmp(mode, "SAME_UPPER") == 0 || strcmp(mode, "SAME_LOWER") == 0;
    if (!same && strcmp(mode, "NOTSET") != 0 && strcmp(mode, "VALID") != 0) {
        return qn_infer_fail(&c, QN_EFORMAT, "attribute auto_pad",
                             "'%s' is none of NOTSET, SAME_UPPER, SAME_LOWER, VALID", mode);
    }
    for (int a = first; a < SPATIAL; a++) {
        full[a] = (t.in[a] - 1) * t.stride[a] + (t.kernel[a] - 1) * t.dilation[a] + 1 + extra[a];
        wanted[a] = has_shape ? wanted[a] : t.in[a] * t.stride[a];
    }
    QN_TRY(has_shape || same ? fit_output(&t, &c, mode, wanted, full, first) : read_pads(&t, &c, spatial, full));
    *transposed = t;
    return QN_OK;
}

qn_status qn_infer_conv_transpose(const qn_infer *c)
{
    const int rank = qn_infer_input(c, 0)->rank;
    qn_transposed t;
    for (int i = 0; i < 3; i++) {
        QN_TRY(qn_infer_want_float(c, i));
    }
    QN_TRY(qn_transposed_of_node(&t, c->binding, c->node, c->err));
    int64_t dims[2 + SPATIAL] = {t.n, t.c_out};
    for (int i = 0; i < rank - 2; i++) {
        dims[2 + i] = t.out[SPATIAL - (rank - 2) + i];
    }
    return qn_infer_set(c, 0, QN_DTYPE_F32, rank, dims);
}
