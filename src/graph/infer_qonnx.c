/* Shapes and parameters of QONNX' quantizers (doc/spec/onnx.md 6). */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "graph/compute/compute.h"
#include "graph/infer.h"

/* Any case of letters. */
static bool rounding_of(qn_qonnx_rounding *rounding, const char *text)
{
    static const struct {
        const char *text;
        qn_qonnx_rounding rounding;
    } rows[] = {
        {"ROUND", QN_QONNX_ROUND},     {"HALF_EVEN", QN_QONNX_ROUND},
        {"CEIL", QN_QONNX_CEIL},       {"FLOOR", QN_QONNX_FLOOR},
        {"UP", QN_QONNX_UP},           {"DOWN", QN_QONNX_DOWN},
        {"HALF_UP", QN_QONNX_HALF_UP}, {"HALF_DOWN", QN_QONNX_HALF_DOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcasecmp(rows[i].text, text) == 0) {
            *rounding = rows[i].rounding;
            return true;
        }
    }
    return false;
}

qn_status qn_qonnx_of_node(qn_qonnx *qonnx, const qn_graph *graph, const qn_node *node, qn_error *err)
{
    const qn_binding named = {.graph = graph};
    const qn_infer c = {&named, node, err};
    *qonnx = (qn_qonnx){
        .is_signed = qn_node_int(node, "signed", 1) != 0,
        .narrow = qn_node_int(node, "narrow", 0) != 0,
        .saturate = qn_node_int(node, "saturation", 1) != 0,
        .has_inf = qn_node_int(node, "has_inf", qn_node_int(node, "has_infinity", 0)) != 0,
        .has_nan = qn_node_int(node, "has_nan", 0) != 0,
        .max_val = qn_node_float(node, "max_val", INFINITY),
    };
    const char *text = qn_node_string(node, "rounding_mode", node->op == QN_OP_TRUNC ? "FLOOR" : "ROUND");
    if (!rounding_of(&qonnx->rounding, text)) {
        return qn_infer_fail(&c, QN_EUNSUPPORTED, "attribute rounding_mode",
                             "'%s' is none of ROUND, HALF_EVEN, CEIL, FLOOR, UP, DOWN, HALF_UP and HALF_DOWN", text);
    }
    if (node->op == QN_OP_FLOAT_QUANT && !qonnx->is_signed) {
        return qn_infer_fail(&c, QN_EUNSUPPORTED, "attribute signed", "FloatQuant is always signed");
    }
    if (!qonnx->saturate && !qonnx->has_inf && !qonnx->has_nan) {
        return qn_infer_fail(&c, QN_EUNSUPPORTED, "attribute saturation",
                             "0 leaves nothing for values that are too large: has_inf and has_nan are 0, too");
    }
    return QN_OK;
}

static qn_status want_real(const qn_infer *c, int i, const char *what)
{
    const qn_bound_value *x = qn_infer_input(c, i);
    return x == NULL || (x->dtype != QN_DTYPE_BOOL && x->dtype != QN_DTYPE_NONE)
               ? QN_OK
               : qn_infer_fail(c, QN_EFORMAT, NULL, "input %d, the %s, is %s, expected numbers", i, what,
                               qn_dtype_text(x->dtype));
}

/* Known parameters lie within these bounds, both of which count. */
static qn_status want_within(const qn_infer *c, int i, const char *what, double lo, double hi)
{
    const qn_bound_value *x = qn_infer_input(c, i);
    QN_TRY(want_real(c, i, what));
    for (int64_t k = 0; x != NULL && x->known != NULL && k < x->n_elems; k++) {
        double v;
        const char *at = (const char *)x->known->data + (size_t)k * qn_dtype_size(x->dtype);
        qn_convert_elements(QN_DTYPE_F64, &v, x->dtype, at, 1);
        if (!(v >= lo && v <= hi)) {
            return qn_infer_fail(c, QN_ERANGE, NULL, "input %d, the %s, is %g; it must be %g to %g", i, what, v, lo,
                                 hi);
        }
    }
    return QN_OK;
}

/* Widths are one number for all elements. */
static qn_status want_width(const qn_infer *c, int i, const char *what, double lo, double hi)
{
    const qn_bound_value *x = qn_infer_input(c, i);
    if (x->n_elems != 1) {
        return qn_infer_fail(c, QN_ESHAPE, NULL, "input %d, the %s, has %lld elements, expected one", i, what,
                             (long long)x->n_elems);
    }
    return want_within(c, i, what, lo, hi);
}

/* Nothing is divided by 0; QONNX itself has no other rule for scales. */
static qn_status want_scale(const qn_infer *c, int i, bool divides)
{
    const qn_bound_value *x = qn_infer_input(c, i);
    QN_TRY(qn_infer_want_float(c, i));
    for (int64_t k = 0; x->known != NULL && k < x->n_elems; k++) {
        const float v = ((const float *)x->known->data)[k];
        if (!isfinite(v) || (divides && v == 0)) {
            return qn_infer_fail(c, QN_ERANGE, NULL, "input %d, a scale, is %g; it must be finite%s", i, (double)v,
                                 divides ? " and not 0" : "");
        }
    }
    return QN_OK;
}

/* The joined shape of those inputs of which `inputs` has the bit. */
static qn_status set_joined(const qn_infer *c, unsigned inputs)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    int rank = x->rank;
    int64_t dims[QN_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    QN_TRY(qn_infer_want_float(c, 0));
    for (int i = 1; i < c->node->n_inputs; i++) {
        const qn_bound_value *p = (inputs >> i & 1) != 0 ? qn_infer_input(c, i) : NULL;
        const int before = rank;
        if (p != NULL && !qn_broadcast_dims(&rank, dims, before, dims, p->rank, p->dims)) {
            char a[QN_DIMS_TEXT_MAX], b[QN_DIMS_TEXT_MAX];
            return qn_infer_fail(c, QN_ESHAPE, NULL, "input %d of shape %s does not broadcast to %s", i,
                                 qn_dims_text(b, p->rank, p->dims), qn_dims_text(a, before, dims));
        }
    }
    return qn_infer_set(c, 0, QN_DTYPE_F32, rank, dims);
}

enum { WIDTH_MAX = 32 };
static const double width_least = 0x1p-20; /* above 0, that is */

qn_status qn_infer_quant(const qn_infer *c)
{
    qn_qonnx qonnx;
    QN_TRY(qn_qonnx_of_node(&qonnx, c->binding->graph, c->node, c->err));
    QN_TRY(want_scale(c, 1, true));
    QN_TRY(want_within(c, 2, "zero point", -HUGE_VAL, HUGE_VAL));
    QN_TRY(want_width(c, 3, "bit width", width_least, WIDTH_MAX));
    return set_joined(c, 1u << 1 | 1u << 2);
}

qn_status qn_infer_bipolar_quant(const qn_infer *c)
{
    QN_TRY(want_scale(c, 1, false));
    return set_joined(c, 1u << 1);
}

/* A float32 has 23 bits of mantissa and 8 of exponent; larger numbers mean nothing in it. */
qn_status qn_infer_float_quant(const qn_infer *c)
{
    qn_qonnx qonnx;
    QN_TRY(qn_qonnx_of_node(&qonnx, c->binding->graph, c->node, c->err));
    if (c->node->n_inputs > 5 && qn_node_attribute(c->node, "max_val") != NULL) {
        return qn_infer_fail(c, QN_EFORMAT, "max_val", "it is given as an attribute and as input 5");
    }
    if (isnan(qonnx.max_val) || qonnx.max_val < 0) {
        return qn_infer_fail(c, QN_ERANGE, "attribute max_val", "it is %g, expected 0 or more", (double)qonnx.max_val);
    }
    for (int i = 2; i < 5; i++) {
        if (qn_infer_input(c, i) == NULL) {
            return qn_infer_fail(c, QN_EFORMAT, NULL, "input %d is missing", i);
        }
    }
    QN_TRY(want_scale(c, 1, true));
    QN_TRY(want_within(c, 2, "exponent bit width", 0, 8));
    QN_TRY(want_width(c, 3, "mantissa bit width", 0, 23));
    QN_TRY(want_within(c, 4, "exponent bias", -1000, 1000));
    QN_TRY(want_within(c, 5, "greatest value", 0, HUGE_VAL));
    return set_joined(c, 1u << 1 | 1u << 2 | 1u << 4 | 1u << 5);
}

/* Version 1 has five inputs, version 2 six: what is input 4 then is a scale. */
qn_status qn_infer_trunc(const qn_infer *c)
{
    qn_qonnx qonnx;
    const bool second = c->node->n_inputs == 6;
    QN_TRY(qn_qonnx_of_node(&qonnx, c->binding->graph, c->node, c->err));
    if (second && qn_infer_input(c, 5) == NULL) {
        return qn_infer_fail(c, QN_EFORMAT, NULL, "input 5 is missing");
    }
    QN_TRY(want_scale(c, 1, true));
    QN_TRY(want_within(c, 2, "zero point", -HUGE_VAL, HUGE_VAL));
    QN_TRY(want_width(c, 3, "bit width of the input", width_least, WIDTH_MAX));
    if (second) {
        QN_TRY(want_scale(c, 4, true));
    }
    QN_TRY(want_width(c, second ? 5 : 4, "bit width of the output", width_least, WIDTH_MAX));
    return set_joined(c, 1u << 1 | 1u << 2 | (second ? 1u << 4 : 0));
}
