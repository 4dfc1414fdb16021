/* Quantizers become nodes. What QDQ holds at the file's opset, QuantizeLinear -> DequantizeLinear pairs (qdq_write.c) in
 * forms that ONNX Runtime fuses into integer operators:
 *
 *  graph input x     x -> Q -> DQ -> readers
 *  node output x     x -> Q -> DQ -> readers; when x is a graph output, the node writes x_float, and DQ writes x
 *  coded constant w  w_quantized -> DQ -> w -> readers
 * The codes of a constant of narrow format come back as of the full one, which QDQ does not tell apart.
 * All others take the same places as nodes of domain org.quern (org_quern_write.c). */
#include <math.h>
#include <string.h>

#include "graph/node_list.h"
#include "graph/qdq_opset.h"
#include "onnx/onnx.h"
#include "onnx/qdq.h"
#include "onnx/unfold.h"

typedef qn_unfolder unfolder;

static qn_status fail_memory(const unfolder *u)
{
    return qn_fail_memory(u->err, NULL, 0);
}

static bool is_constant(const qn_value *value)
{
    return value->constant != NULL || value->codes != NULL;
}

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

static qn_status check_writable(const qn_graph *graph, qn_error *err)
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

static void mark_used(unfolder *u)
{
    const qn_graph *graph = u->from;
    for (size_t i = 0; i < graph->n_inputs; i++) {
        u->used[graph->inputs[i]] = 1;
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        u->used[graph->outputs[i]] = 1;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_inputs && node->op != QN_OP_REMOVED; i++) {
            if (node->inputs[i] != QN_NO_VALUE) {
                u->used[node->inputs[i]] = 1;
            }
        }
        for (int i = 0; i < node->n_outputs && node->op != QN_OP_REMOVED; i++) {
            if (node->outputs[i] != QN_NO_VALUE) {
                u->used[node->outputs[i]] = 1;
            }
        }
    }
}

/* Type and shape, with names of dimensions copied into the new graph's arena. */
static qn_status copy_declaration(const unfolder *u, qn_value_id id, const qn_value *from)
{
    qn_value *to = &u->to->values[id];
    to->dtype = from->dtype;
    to->rank = from->rank;
    memcpy(to->dims, from->dims, sizeof to->dims);
    for (int i = 0; i < from->rank; i++) {
        if (from->dim_names[i] != NULL) {
            to->dim_names[i] = qn_arena_string(&u->to->arena, from->dim_names[i]);
            if (to->dim_names[i] == NULL) {
                return fail_memory(u);
            }
        }
    }
    return QN_OK;
}

/* All values that keep their name come first, so that made names avoid them. */
static qn_status add_named_values(unfolder *u)
{
    for (size_t v = 0; v < u->from->n_values; v++) {
        const qn_value *value = &u->from->values[v];
        if (!u->used[v]) {
            continue;
        }
        qn_value_id id;
        QN_TRY(qn_graph_add_value(u->to, value->name, &id, u->err));
        QN_TRY(copy_declaration(u, id, value));
        if (value->constant != NULL && value->quantizer == NULL) {
            QN_TRY(qn_graph_set_constant(u->to, id, value->constant, u->err));
        }
        u->written[v] = id;
        u->read[v] = id;
    }
    return QN_OK;
}

qn_status qn_unfold_add_value(const qn_unfolder *u, const char *stem, const char *suffix, qn_value_id *id)
{
    const char *wanted = qn_arena_printf(&u->to->arena, "%s%s", stem, suffix);
    const char *name = wanted != NULL ? qn_graph_unique_name(u->to, wanted) : NULL;
    return name != NULL ? qn_graph_add_value(u->to, name, id, u->err) : fail_memory(u);
}

qn_status qn_unfold_add_constant(const qn_unfolder *u, const char *stem, const char *suffix, const qn_tensor *tensor,
                                 qn_value_id *id)
{
    QN_TRY(qn_unfold_add_value(u, stem, suffix, id));
    return qn_graph_set_constant(u->to, *id, tensor, u->err);
}

static qn_status add_coded(const unfolder *u, qn_value_id v, const qn_tensor *codes)
{
    const qn_value *value = &u->from->values[v];
    int32_t type = qn_qdq_type(u->from, value, u->opset);
    QN_TRY(qn_qdq_holds_fewer(&value->quantizer->format, type)
               ? qn_qdq_write_bits(u->to, value->name, value->quantizer->format.bits, u->err)
               : QN_OK);
    return type == 0 ? qn_org_add_constant(u, value->name, value->quantizer, codes, u->read[v])
                     : qn_qdq_add_constant(u, value->name, value->quantizer, type, codes, u->read[v]);
}

static qn_status unfold_constant(unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    if (value->codes != NULL) {
        return add_coded(u, v, value->codes);
    }
    const qn_tensor *x = value->constant;
    qn_tensor codes;
    QN_TRY(qn_tensor_alloc(&codes, qn_format_dtype(value->quantizer->format), x->rank, x->dims, u->err));
    qn_quantizer_encode(codes.data, x->data, value->quantizer, x->rank, x->dims);
    qn_status status = add_coded(u, v, &codes);
    qn_tensor_free(&codes);
    return status;
}

/* Nodes behind a graph input or node output whose own value is in the graph already. */
static qn_status unfold_activation(unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    int32_t type = qn_qdq_type(u->from, value, u->opset);
    return type == 0 ? qn_org_add_fake(u, value->name, value->quantizer, u->written[v], u->read[v])
                     : qn_qdq_add_pair(u, value->name, value->quantizer, type, u->written[v], u->read[v]);
}

/* Choose who writes and who reads what, for values that are no constants. */
static qn_status split_value(unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    if (qn_graph_is_output(u->from, v)) {
        QN_TRY(qn_unfold_add_value(u, value->name, "_float", &u->written[v]));
        return copy_declaration(u, u->written[v], value);
    }
    QN_TRY(qn_unfold_add_value(u, value->name, "_dequantized", &u->read[v]));
    u->to->values[u->read[v]].dtype = QN_DTYPE_F32;
    return QN_OK;
}

static qn_status copy_node(unfolder *u, const qn_node *node)
{
    qn_node copy = *node;
    copy.inputs = qn_arena_array(&u->scratch, (size_t)node->n_inputs, sizeof *copy.inputs);
    copy.outputs = qn_arena_array(&u->scratch, (size_t)node->n_outputs, sizeof *copy.outputs);
    if (copy.inputs == NULL || copy.outputs == NULL) {
        return fail_memory(u);
    }
    for (int i = 0; i < node->n_inputs; i++) {
        copy.inputs[i] = node->inputs[i] == QN_NO_VALUE ? QN_NO_VALUE : u->read[node->inputs[i]];
    }
    for (int i = 0; i < node->n_outputs; i++) {
        copy.outputs[i] = node->outputs[i] == QN_NO_VALUE ? QN_NO_VALUE : u->written[node->outputs[i]];
    }
    QN_TRY(qn_graph_add_node(u->to, &copy, u->err));
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE && u->from->values[node->outputs[i]].quantizer != NULL) {
            QN_TRY(unfold_activation(u, node->outputs[i]));
        }
    }
    return QN_OK;
}

static qn_status add_nodes(unfolder *u)
{
    const qn_graph *from = u->from;
    for (size_t v = 0; v < from->n_values; v++) {
        const qn_value *value = &from->values[v];
        if (u->used[v] && value->quantizer != NULL) {
            QN_TRY(is_constant(value) ? unfold_constant(u, (qn_value_id)v) : split_value(u, (qn_value_id)v));
        }
    }
    for (size_t i = 0; i < from->n_inputs; i++) {
        if (from->values[from->inputs[i]].quantizer != NULL) {
            QN_TRY(unfold_activation(u, from->inputs[i]));
        }
    }
    for (size_t n = 0; n < from->n_nodes; n++) {
        if (from->nodes[n].op != QN_OP_REMOVED) {
            QN_TRY(copy_node(u, &from->nodes[n]));
        }
    }
    return QN_OK;
}

static qn_status add_frame(unfolder *u)
{
    const qn_graph *from = u->from;
    qn_graph *to = u->to;
    to->name = qn_arena_string(&to->arena, from->name != NULL ? from->name : "");
    to->file = qn_arena_string(&to->arena, from->file != NULL ? from->file : "");
    if (to->name == NULL || to->file == NULL) {
        return fail_memory(u);
    }
    to->opset = from->opset;
    for (size_t i = 0; i < from->n_metadata; i++) {
        if (qn_qdq_is_bits_key(from->metadata[i].key)) {
            continue; /* of the file that was read; constants say anew */
        }
        QN_TRY(qn_graph_set_metadata(to, from->metadata[i].key, from->metadata[i].value, u->err));
    }
    return QN_OK;
}

static qn_status add_io(unfolder *u)
{
    for (size_t i = 0; i < u->from->n_inputs; i++) {
        QN_TRY(qn_graph_add_io(u->to, false, u->written[u->from->inputs[i]], u->err));
    }
    for (size_t i = 0; i < u->from->n_outputs; i++) {
        QN_TRY(qn_graph_add_io(u->to, true, u->read[u->from->outputs[i]], u->err));
    }
    return QN_OK;
}

static qn_status unfold(unfolder *u)
{
    size_t n = u->from->n_values;
    u->used = qn_arena_array(&u->scratch, n, sizeof *u->used);
    u->written = qn_arena_array(&u->scratch, n, sizeof *u->written);
    u->read = qn_arena_array(&u->scratch, n, sizeof *u->read);
    if (u->used == NULL || u->written == NULL || u->read == NULL) {
        return fail_memory(u);
    }
    mark_used(u);
    QN_TRY(add_frame(u));
    QN_TRY(add_named_values(u));
    QN_TRY(add_nodes(u));
    return add_io(u);
}

qn_status qn_qdq_unfold(qn_graph *unfolded, const qn_graph *graph, int64_t opset, qn_error *err)
{
    QN_TRY(check_writable(graph, err));
    unfolder u = {.from = graph, .to = unfolded, .opset = opset, .err = err};
    qn_status status = unfold(&u);
    qn_arena_free(&u.scratch);
    return status;
}
