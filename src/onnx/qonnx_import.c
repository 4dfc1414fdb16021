/* QONNX' nodes as quantizers (doc/spec/onnx.md 6). Their arithmetic is graph/compute/qonnx.c; here stands only when a
 * format says the same. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "graph/bind.h"
#include "graph/compute/compute.h"
#include "onnx/qdq.h"

bool qn_is_qonnx(const qn_node *node)
{
    return node->op == QN_OP_QUANT || node->op == QN_OP_BIPOLAR_QUANT || node->op == QN_OP_FLOAT_QUANT ||
           node->op == QN_OP_TRUNC;
}

typedef struct reader {
    qn_coding *c;
    bool *exact;
    qn_arena *arena;
    const qn_graph *graph;
    const qn_node *node;
    qn_qonnx attributes;
    bool ours; /* quern wrote the file, from quantizers */
    int rank;
    const int64_t *dims;
    qn_error *err;
} reader;

static qn_status none(const reader *r, const char *reason)
{
    r->c->reason = reason;
    return QN_OK;
}

/* Element i of a constant of numbers, the only one where it has one. */
static double number(const qn_tensor *t, int64_t i)
{
    double v;
    const int64_t at = qn_tensor_count(t) == 1 ? 0 : i;
    qn_convert_elements(QN_DTYPE_F64, &v, t->dtype, (const char *)t->data + (size_t)at * qn_dtype_size(t->dtype), 1);
    return v;
}

/* Input i, a constant of one integer from lo to hi. */
static bool integer(const reader *r, int i, int lo, int hi, int *value)
{
    const qn_tensor *t = qn_constant_input(r->graph, r->node, i);
    const double v = t != NULL && t->dtype != QN_DTYPE_BOOL && qn_tensor_count(t) == 1 ? number(t, 0) : (double)NAN;
    const bool fits = v >= lo && v <= hi && rint(v) == v;
    *value = fits ? (int)v : 0;
    return fits;
}

/* Does a parameter lie along one axis of the result at most? -1: one number for all. The result is to have the shape of what is
 * quantized, so that no parameter may stretch it. */
static bool find_axis(const reader *r, const qn_tensor *t, int *axis)
{
    const int lead = r->rank - t->rank; /* right-aligned */
    *axis = -1;
    if (t->rank > 1 ? r->rank < t->rank : r->rank == 0 && t->rank == 1) {
        return false; /* or the rank is not known */
    }
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i] == 1) {
            continue;
        }
        if (*axis >= 0 || r->rank < 0 || (r->dims[lead + i] >= 0 && r->dims[lead + i] != t->dims[i])) {
            return false;
        }
        *axis = lead + i;
    }
    return true;
}

/* Scale and zero points (NULL for zeros) as arrays of the quantizer. */
static qn_status set_parameters(const reader *r, const qn_tensor *scale, const qn_tensor *zero)
{
    qn_quantizer *q = &r->c->quantizer;
    int scale_axis, zero_axis = -1;
    if (!find_axis(r, scale, &scale_axis) || (zero != NULL && !find_axis(r, zero, &zero_axis)) ||
        (scale_axis >= 0 && zero_axis >= 0 && scale_axis != zero_axis)) {
        return none(r, "its parameters do not lie along one axis");
    }
    q->axis = scale_axis >= 0 ? scale_axis : zero_axis;
    q->n = q->axis < 0 ? 1 : scale_axis >= 0 ? qn_tensor_count(scale) : qn_tensor_count(zero);
    const int last = r->rank - scale->rank; /* onnx.md 1.7: an axis of one element */
    if (r->ours && q->axis < 0 && scale->rank > 0 && last >= 0 && r->dims[last] == 1) {
        q->axis = last;
    }
    float *scales = qn_arena_array(r->arena, (size_t)q->n, sizeof *scales);
    int32_t *zeros = qn_arena_array(r->arena, (size_t)q->n, sizeof *zeros);
    if (scales == NULL || zeros == NULL) {
        return qn_fail_memory(r->err, r->node->name, (size_t)q->n);
    }
    for (int64_t i = 0; i < q->n; i++) {
        const double z = zero != NULL ? number(zero, i) : 0;
        if (!(fabs(z) < 0x1p24) || rint(z) != z) {
            return none(r, "a zero point is no integer");
        }
        scales[i] = (float)number(scale, i);
        zeros[i] = (int32_t)z;
        *r->exact &= zeros[i] == 0 || r->ours;
    }
    q->scale = scales;
    q->zero_point = zeros;
    return QN_OK;
}

/* Whether codes are what the node rounds to. The integer engine rounds to nearest even; HALF_UP adds 0.5 in float32. */
static bool set_rounding(const reader *r)
{
    static const qn_rounding ours[] = {[QN_QONNX_FLOOR] = QN_ROUND_FLOOR,
                                       [QN_QONNX_DOWN] = QN_ROUND_TOWARD_ZERO,
                                       [QN_QONNX_HALF_UP] = QN_ROUND_NEAREST_AWAY};
    const qn_qonnx_rounding rounding = r->attributes.rounding;
    if (r->ours && (size_t)rounding < sizeof ours / sizeof ours[0]) {
        r->c->quantizer.format.rounding = ours[rounding]; /* QN_ROUND_NEAREST_EVEN is 0 */
        return rounding != QN_QONNX_CEIL && rounding != QN_QONNX_UP;
    }
    return rounding == QN_QONNX_ROUND;
}

static qn_status read_bipolar(const reader *r, const qn_tensor *scale)
{
    r->c->quantizer.format = (qn_format){.kind = QN_FORMAT_BINARY, .bits = 1, .is_signed = true};
    *r->exact = true;
    return set_parameters(r, scale, NULL);
}

static qn_status read_quant(const reader *r, const qn_tensor *scale)
{
    qn_quantizer *q = &r->c->quantizer;
    const qn_tensor *zero = qn_constant_input(r->graph, r->node, 2);
    int bits;
    const bool known = integer(r, 3, 1, 32, &bits);
    const bool bias = bits == 32 && r->attributes.is_signed && !r->attributes.narrow; /* of constants only */
    if (zero == NULL || zero->dtype == QN_DTYPE_BOOL || !known || (bits > 16 && !bias)) {
        return none(r, "its zero point and bit width are not constants of which the latter is 1 to 16");
    }
    if (bits == 1 && r->attributes.is_signed) { /* the sign of x / scale + zero point */
        QN_TRY(set_parameters(r, scale, zero));
        for (int64_t i = 0; r->c->reason == NULL && i < q->n; i++) {
            r->c->reason = q->zero_point[i] != 0 ? "one signed bit with a zero point" : NULL;
        }
        return r->c->reason == NULL ? read_bipolar(r, scale) : QN_OK;
    }
    q->format = (qn_format){.bits = bits, .is_signed = r->attributes.is_signed};
    q->format.narrow = r->attributes.is_signed && r->attributes.narrow;
    *r->exact = set_rounding(r) && (r->attributes.is_signed || !r->attributes.narrow) && !bias;
    return set_parameters(r, scale, zero);
}

/* Only version 2 has bounds; its results have another scale than what it reads. */
static qn_status read_trunc(const reader *r)
{
    qn_quantizer *q = &r->c->quantizer;
    const qn_tensor *zero = qn_constant_input(r->graph, r->node, 2);
    const qn_tensor *scale = qn_constant_input(r->graph, r->node, 4);
    int bits;
    if (r->node->n_inputs != 6 || scale == NULL || scale->dtype != QN_DTYPE_F32 || zero == NULL ||
        zero->dtype == QN_DTYPE_BOOL || !integer(r, 5, 1, 16, &bits)) {
        return none(r, "nothing bounds its results");
    }
    q->format = (qn_format){.bits = bits, .is_signed = r->attributes.is_signed};
    QN_TRY(set_parameters(r, scale, zero));
    *r->exact = false;
    for (int64_t i = 0; r->c->reason == NULL && i < q->n; i++) {
        r->c->reason = q->zero_point[i] != 0 ? "its zero point shrinks" : NULL;
    }
    return QN_OK;
}

/* The variants of float whose greatest number is M, those first that have the infinities and NaN that the node tells of. */
static bool find_variant(const reader *r, double greatest)
{
    static const qn_float_variant order[3][4] = {
        {QN_FLOAT_FINITE, QN_FLOAT_FN, QN_FLOAT_IEEE, QN_FLOAT_FNUZ},
        {QN_FLOAT_FN, QN_FLOAT_FNUZ, QN_FLOAT_IEEE, QN_FLOAT_FINITE},
        {QN_FLOAT_IEEE, QN_FLOAT_FN, QN_FLOAT_FNUZ, QN_FLOAT_FINITE},
    };
    qn_format *f = &r->c->quantizer.format;
    const qn_params one = {.scale = 1.0f, .multiplier = 1.0f};
    for (int i = 0; i < 4; i++) {
        qn_format_limits limits;
        f->variant = order[r->attributes.has_inf ? 2 : r->attributes.has_nan ? 1 : 0][i];
        if (qn_format_check(*f, NULL, NULL) != QN_OK) {
            continue;
        }
        qn_format_limits_get(&limits, *f, &one);
        if (limits.highest == greatest) {
            return true;
        }
    }
    return false;
}

/* Formats of floats have no scale, but a power of two is one of exponents. */
static qn_status read_float(const reader *r, const qn_tensor *scale)
{
    enum { BIAS = 1000, SUBNORMAL = -149 };
    qn_format *f = &r->c->quantizer.format;
    const qn_tensor *most = qn_constant_input(r->graph, r->node, 5);
    int e, m, bias, exponent, axis;
    if (!integer(r, 2, 1, 8, &e) || !integer(r, 3, 0, 14, &m) || !integer(r, 4, -BIAS, BIAS, &bias) ||
        (r->node->n_inputs > 5 && (most == NULL || most->dtype == QN_DTYPE_BOOL || qn_tensor_count(most) != 1))) {
        return none(r, "its widths, bias and greatest value are not constants, one each, of at most 16 bits");
    }
    if (qn_tensor_count(scale) != 1 || !find_axis(r, scale, &axis) || !(number(scale, 0) > 0) ||
        frexp(number(scale, 0), &exponent) != 0.5 || 1 - bias - m < SUBNORMAL) {
        return none(r, "formats of floats have no scale but powers of two");
    }
    exponent--;
    const double limit = most != NULL ? number(most, 0) : (double)r->attributes.max_val;
    const double top = ldexp(2 - ldexp(1, -m), (1 << e) - 1 - bias);
    *f = (qn_format){.kind = QN_FORMAT_FLOAT,
                     .bits = 1 + e + m,
                     .is_signed = true,
                     .exponent_bits = e,
                     .mantissa_bits = m,
                     .exponent_bias = bias - exponent};
    r->c->quantizer.axis = -1;
    r->c->quantizer.n = 1;
    if (!find_variant(r, ldexp(top < limit ? top : limit, exponent))) {
        return none(r, "no format of floats ends at its greatest value");
    }
    const bool infinite = r->attributes.has_inf && f->variant == QN_FLOAT_IEEE;
    f->overflow = !r->attributes.saturate && infinite ? QN_OVERFLOW_INFINITY : QN_OVERFLOW_SATURATE;
    *r->exact = r->attributes.rounding == QN_QONNX_ROUND && (r->attributes.saturate || infinite);
    return QN_OK;
}

static qn_status read(const reader *r)
{
    const qn_tensor *scale = qn_constant_input(r->graph, r->node, 1);
    if (scale == NULL || scale->dtype != QN_DTYPE_F32 || qn_tensor_count(scale) == 0) {
        return none(r, "its scale is no constant of float32");
    }
    switch (r->node->op) {
    case QN_OP_BIPOLAR_QUANT:
        return read_bipolar(r, scale);
    case QN_OP_FLOAT_QUANT:
        return read_float(r, scale);
    case QN_OP_TRUNC:
        return read_trunc(r);
    default:
        return read_quant(r, scale);
    }
}

qn_status qn_qonnx_read(qn_coding *c, bool *exact, qn_arena *arena, const qn_graph *graph, const qn_node *node,
                        int rank, const int64_t *dims, qn_error *err)
{
    reader r = {.c = c,
                .exact = exact,
                .arena = arena,
                .graph = graph,
                .node = node,
                .ours = graph->producer != NULL && strcmp(graph->producer, "quern") == 0,
                .rank = rank,
                .dims = dims,
                .err = err};
    *c = (qn_coding){0};
    *exact = false;
    if (qn_qonnx_of_node(&r.attributes, graph, node, NULL) != QN_OK) {
        return none(&r, "its attributes are wrong"); /* as binding will say */
    }
    QN_TRY(read(&r));
    if (c->reason == NULL && qn_quantizer_check_alone(&c->quantizer, rank, NULL) != QN_OK) {
        c->reason = "no quantizer has such parameters";
    }
    return QN_OK;
}

static bool wants_rank(const qn_graph *graph, const qn_node *node)
{
    bool wants = false;
    for (int i = 1; i < 3 && i < node->n_inputs; i++) {
        const qn_tensor *t = qn_constant_input(graph, node, i);
        wants |= t != NULL && t->rank > 0 && (t->rank > 1 || t->dims[0] != 1);
    }
    return wants && node->inputs[0] != QN_NO_VALUE && graph->values[node->inputs[0]].rank < 0;
}

qn_status qn_qonnx_find_ranks(qn_graph *graph, qn_error *err)
{
    bool wants = false;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        wants |= qn_is_qonnx(&graph->nodes[n]) && wants_rank(graph, &graph->nodes[n]);
    }
    qn_binding binding;
    const qn_status status = wants ? qn_graph_bind(&binding, graph, 1, NULL) : QN_OK;
    if (!wants || status != QN_OK) { /* whatever is wrong is told when the graph is used */
        return status == QN_ENOMEM ? qn_fail_memory(err, graph->file, 0) : QN_OK;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        if (qn_is_qonnx(&graph->nodes[n]) && wants_rank(graph, &graph->nodes[n])) {
            qn_value *x = &graph->values[graph->nodes[n].inputs[0]];
            x->rank = binding.values[graph->nodes[n].inputs[0]].rank;
            for (int i = 0; i < x->rank; i++) {
                x->dims[i] = -1;
            }
        }
    }
    qn_binding_free(&binding);
    return QN_OK;
}
