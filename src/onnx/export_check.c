/* What can be written, and in which form. */
#include <math.h>
#include <string.h>

#include "graph/node_list.h"
#include "graph/qdq_opset.h"
#include "onnx/export_forms.h"
#include "onnx/qdq.h"
#include "onnx/unfold.h"

static bool same_shape(const qn_tensor *a, const qn_tensor *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

/* Why a constant cannot be written, NULL when it can. Codes that are not there yet will be made, from numbers. */
static const char *reason_against_constant(const qn_value *value)
{
    const qn_quantizer *q = value->quantizer;
    if (q->dynamic) {
        return "is a constant, which no dynamic quantizer can have";
    }
    if (value->constant != NULL && value->constant->dtype != QN_DTYPE_F32) {
        return "has a quantizer but is not float32";
    }
    if (value->codes != NULL && (value->codes->dtype != qn_format_dtype(q->format) ||
                                 (value->constant != NULL && !same_shape(value->codes, value->constant)))) {
        return "has codes of another type or shape than its format and numbers";
    }
    const float *x = value->constant != NULL ? value->constant->data : NULL;
    int64_t n = x != NULL ? qn_tensor_count(value->constant) : 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return "is quantized and holds NaN or infinity";
        }
    }
    return NULL;
}

static qn_status check_value(const qn_graph *graph, qn_value_id id, qn_error *err)
{
    const qn_value *value = &graph->values[id];
    const qn_tensor *tensor = value->constant != NULL ? value->constant : value->codes;
    const char *reason = tensor != NULL ? reason_against_constant(value) : NULL;
    for (size_t i = 0; i < graph->n_inputs; i++) {
        if (graph->inputs[i] == id && qn_graph_is_output(graph, id)) {
            reason = "is an input and also an output of the graph";
        }
    }
    if (reason != NULL) {
        return qn_fail(err, QN_EUNSUPPORTED, graph->file, "value '%s' %s", value->name, reason);
    }
    qn_error inner;
    qn_error_init(&inner);
    qn_status status = tensor != NULL ? qn_quantizer_check(value->quantizer, tensor->rank, tensor->dims, NULL, &inner)
                                      : qn_quantizer_check_alone(value->quantizer, value->rank, &inner);
    return status == QN_OK ? QN_OK : qn_fail(err, status, graph->file, "value '%s': %s", value->name, inner.message);
}

qn_status qn_unfold_check(const qn_graph *graph, qn_error *err)
{
    qn_node_list unknown = {0};
    for (size_t n = 0; n < graph->n_nodes; n++) {
        if (graph->nodes[n].op == QN_OP_UNKNOWN) {
            qn_status status = qn_node_list_add(&unknown, &graph->nodes[n], NULL, err);
            if (status != QN_OK) {
                qn_node_list_free(&unknown);
                return status;
            }
        }
    }
    QN_TRY(qn_node_list_fail(&unknown, graph, QN_EUNSUPPORTED, "operators that quern does not know and cannot write",
                             err));
    for (size_t v = 0; v < graph->n_values; v++) {
        if (graph->values[v].quantizer != NULL) {
            QN_TRY(check_value(graph, (qn_value_id)v, err));
        }
    }
    return QN_OK;
}

/* Why QuantizeLinear and DequantizeLinear do not hold a quantizer, and what would help. */
static const char *reason_against_pair(const qn_unfolder *u, const qn_value *value)
{
    const qn_quantizer *q = value->quantizer;
    const qn_format f = q->format;
    const bool constant = value->constant != NULL || value->codes != NULL;
    if (q->dynamic) {
        return "its parameters are fitted anew to each input; --ranges static, or --format-of-file org";
    }
    if (q->group != 0) {
        return "groups of elements share parameters; --per channel or tensor, or --format-of-file org";
    }
    if (f.kind == QN_FORMAT_INT && f.is_signed && f.bits < 8 && constant) {
        return u->form == QN_ONNX_QOPERATOR ? "integer operators have codes of 8 bits; --store int8 keeps these in int8"
                                            : "ONNX has no type of so few bits; --store int8 keeps them in int8";
    }
    if (f.kind != QN_FORMAT_INT && f.kind != QN_FORMAT_FLOAT) {
        return "ONNX has no type for its codes; --format-of-file org holds every format";
    }
    if (!constant && f.kind == QN_FORMAT_INT && (f.narrow || f.rounding != QN_ROUND_NEAREST_EVEN)) {
        return "QuantizeLinear uses all codes and rounds to nearest even; --format-of-file org, or another format";
    }
    return u->form == QN_ONNX_QOPERATOR
               ? "integer operators have no codes like these; --format-of-file qdq or org"
               : "QuantizeLinear has no codes like these; --format-of-file org holds every format";
}

qn_status qn_unfold_check_form(qn_unfolder *u)
{
    qn_refusals list = {0};
    qn_status status = QN_OK;
    for (size_t v = 0; v < u->from->n_values && status == QN_OK; v++) {
        const qn_value *value = &u->from->values[v];
        if (!u->used[v] || value->quantizer == NULL) {
            continue;
        }
        const char *reason = u->form == QN_ONNX_QONNX                 ? qn_qonnx_reason(u, (qn_value_id)v)
                             : qn_unfold_type(u, (qn_value_id)v) == 0 ? reason_against_pair(u, value)
                                                                      : NULL;
        if (reason != NULL) {
            char format[QN_FORMAT_NAME_MAX];
            qn_format_name(format, value->quantizer->format);
            status = qn_refusals_add(&list, format, value->name, reason, u->err);
        }
    }
    status = status == QN_OK ? qn_refusals_fail(&list, u->from, u->form, u->err) : status;
    qn_refusals_free(&list);
    return status;
}
