/* Quantizers become nodes. What QDQ holds at the file's opset, QuantizeLinear -> DequantizeLinear pairs (qdq_write.c) in
 * forms that ONNX Runtime fuses into integer operators (form auto; others put their own nodes in the same places, or, in
 * qoperator, hand over the codes alone):
 *
 *  graph input x     x -> Q -> DQ -> readers
 *  node output x     x -> Q -> DQ -> readers; when x is a graph output, the node writes x_float, and DQ writes x
 *  coded constant w  w_quantized -> DQ -> w -> readers
 * The codes of a constant of narrow format come back as of the full one, which QDQ does not tell apart.
 * All others take the same places as nodes of domain org.quern (org_quern_write.c). */
#include <string.h>

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

qn_status qn_unfold_declare(const qn_unfolder *u, qn_value_id id, const qn_value *from)
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
        QN_TRY(qn_unfold_declare(u, id, value));
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

qn_status qn_unfold_add_node(const qn_unfolder *u, const char *domain, const char *op_type, const char *name,
                             const qn_value_id *inputs, int n_inputs, const qn_attribute *attributes, int n_attributes,
                             qn_value_id output)
{
    const qn_node node = {
        .name = name,
        .op_type = op_type,
        .domain = domain,
        .op = QN_OP_UNKNOWN,
        .n_inputs = n_inputs,
        .n_outputs = 1,
        .n_attributes = n_attributes,
        .inputs = (qn_value_id *)(uintptr_t)inputs, /* copied */
        .outputs = &output,
        .attributes = (qn_attribute *)(uintptr_t)attributes,
    };
    return node.name != NULL ? qn_graph_add_node(u->to, &node, u->err) : fail_memory(u);
}

int32_t qn_unfold_type(const qn_unfolder *u, qn_value_id v)
{
    const int32_t type = u->form == QN_ONNX_ORG ? 0 : qn_qdq_type(u->from, &u->from->values[v], u->opset);
    return u->form == QN_ONNX_QOPERATOR && !qn_qdq_raises_opset(type) ? 0 : type; /* no operator takes int4 or float8 */
}

const qn_tensor *qn_unfold_constant_codes(qn_unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    if (value->codes != NULL) {
        return value->codes;
    }
    const qn_tensor *x = value->constant;
    qn_tensor *codes = qn_arena_alloc(&u->scratch, sizeof *codes);
    if (codes == NULL) {
        return NULL;
    }
    *codes = *x;
    codes->dtype = qn_format_dtype(value->quantizer->format);
    codes->data = qn_arena_alloc(&u->scratch, qn_tensor_bytes(codes));
    if (codes->data == NULL) {
        return NULL;
    }
    qn_quantizer_encode(codes->data, x->data, value->quantizer, x->rank, x->dims);
    return codes;
}

static qn_status unfold_constant(unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    if (u->form == QN_ONNX_QOPERATOR) {
        return QN_OK; /* when a node reads it */
    }
    if (u->form == QN_ONNX_QONNX) {
        return qn_qonnx_add_constant(u, v, u->read[v]);
    }
    const qn_tensor *codes = qn_unfold_constant_codes(u, v);
    if (codes == NULL) {
        return fail_memory(u);
    }
    const int32_t type = qn_unfold_type(u, v);
    return type == 0 ? qn_org_add_constant(u, value->name, value->quantizer, codes, u->read[v])
                     : qn_qdq_add_constant(u, value->name, value->quantizer, type, codes, u->read[v]);
}

/* Nodes behind a graph input or node output whose own value is in the graph already. */
static qn_status unfold_activation(unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    if (u->form == QN_ONNX_QOPERATOR) {
        return qn_qop_quantize(u, v);
    }
    if (u->form == QN_ONNX_QONNX) {
        return qn_qonnx_add(u, v, u->written[v], u->read[v]);
    }
    const int32_t type = qn_unfold_type(u, v);
    return type == 0 ? qn_org_add_fake(u, value->name, value->quantizer, u->written[v], u->read[v])
                     : qn_qdq_add_pair(u, value->name, value->quantizer, type, u->written[v], u->read[v]);
}

/* Choose who writes and who reads what, for values that are no constants. */
static qn_status split_value(unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    if (qn_graph_is_output(u->from, v)) {
        QN_TRY(qn_unfold_add_value(u, value->name, "_float", &u->written[v]));
        return qn_unfold_declare(u, u->written[v], value);
    }
    QN_TRY(qn_unfold_add_value(u, value->name, "_dequantized", &u->read[v]));
    u->to->values[u->read[v]].dtype = QN_DTYPE_F32;
    return QN_OK;
}

static qn_status read_value(unfolder *u, qn_value_id v, qn_value_id *id)
{
    if (v != QN_NO_VALUE && u->form == QN_ONNX_QOPERATOR && u->from->values[v].quantizer != NULL) {
        return qn_qop_read(u, v, id);
    }
    *id = v == QN_NO_VALUE ? QN_NO_VALUE : u->read[v];
    return QN_OK;
}

static qn_status copy_node(unfolder *u, const qn_node *node)
{
    if (u->form == QN_ONNX_QOPERATOR) {
        bool done;
        QN_TRY(qn_qop_add_node(u, node, &done));
        if (done) {
            return QN_OK;
        }
    }
    qn_node copy = *node;
    copy.inputs = qn_arena_array(&u->scratch, (size_t)node->n_inputs, sizeof *copy.inputs);
    copy.outputs = qn_arena_array(&u->scratch, (size_t)node->n_outputs, sizeof *copy.outputs);
    if (copy.inputs == NULL || copy.outputs == NULL) {
        return fail_memory(u);
    }
    for (int i = 0; i < node->n_inputs; i++) {
        QN_TRY(read_value(u, node->inputs[i], &copy.inputs[i]));
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
        qn_value_id id;
        QN_TRY(read_value(u, u->from->outputs[i], &id));
        QN_TRY(qn_graph_add_io(u->to, true, id, u->err));
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
    QN_TRY(u->form == QN_ONNX_QOPERATOR ? qn_qop_start(u) : QN_OK);
    QN_TRY(u->form != QN_ONNX_AUTO && u->form != QN_ONNX_ORG ? qn_unfold_check_form(u) : QN_OK);
    QN_TRY(add_frame(u));
    QN_TRY(add_named_values(u));
    QN_TRY(add_nodes(u));
    return add_io(u);
}

qn_status qn_onnx_unfold(qn_graph *unfolded, const qn_graph *graph, qn_onnx_form form, int64_t opset, qn_error *err)
{
    QN_TRY(qn_unfold_check(graph, err));
    unfolder u = {.from = graph, .to = unfolded, .form = form, .opset = opset, .err = err};
    const qn_status status = unfold(&u);
    qn_arena_free(&u.scratch);
    return status;
}
