/* Form qoperator: values that carry a quantizer are their codes, `x_quantized`, from the node that makes them to
 * those that read them. A node whose coded operands and result ONNX or com.microsoft has an integer operator for
 * becomes that one; one that only moves elements works on codes as it is; all others stay in floats,
 * DequantizeLinear before them and QuantizeLinear behind. Constants and DequantizeLinear are added when the first
 * node reads them. */
#include <string.h>

#include "onnx/qoperator_export.h"

static void count_readers(qn_unfolder *u)
{
    const qn_graph *graph = u->from;
    for (size_t k = 0; k < graph->n_nodes; k++) {
        const qn_node *node = &graph->nodes[k];
        for (int i = 0; i < node->n_inputs && node->op != QN_OP_REMOVED; i++) {
            if (node->inputs[i] != QN_NO_VALUE) {
                u->readers[node->inputs[i]]++;
                u->reader[node->inputs[i]] = (int32_t)k;
            }
        }
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        u->readers[graph->outputs[i]]++;
    }
}

qn_status qn_qop_start(qn_unfolder *u)
{
    const size_t n = u->from->n_values;
    u->codes = qn_arena_array(&u->scratch, n, sizeof *u->codes);
    u->scale = qn_arena_array(&u->scratch, n, sizeof *u->scale);
    u->zero_point = qn_arena_array(&u->scratch, n, sizeof *u->zero_point);
    u->read_made = qn_arena_array(&u->scratch, n, sizeof *u->read_made);
    u->gone = qn_arena_array(&u->scratch, u->from->n_nodes, sizeof *u->gone);
    u->readers = qn_arena_array(&u->scratch, n, sizeof *u->readers);
    u->reader = qn_arena_array(&u->scratch, n, sizeof *u->reader);
    if (u->codes == NULL || u->scale == NULL || u->zero_point == NULL || u->read_made == NULL || u->gone == NULL ||
        u->readers == NULL || u->reader == NULL) {
        return qn_fail_memory(u->err, u->from->file, n);
    }
    for (size_t v = 0; v < n; v++) {
        u->codes[v] = u->scale[v] = u->zero_point[v] = QN_NO_VALUE;
    }
    count_readers(u);
    return QN_OK;
}

qn_status qn_qop_parameters(qn_unfolder *u, qn_value_id v, qn_value_id *scale, qn_value_id *zero_point)
{
    const qn_value *value = &u->from->values[v];
    if (u->scale[v] == QN_NO_VALUE) {
        QN_TRY(qn_qdq_add_parameters(u, value->name, value->quantizer, qn_unfold_type(u, v), &u->scale[v],
                                     &u->zero_point[v]));
    }
    *scale = u->scale[v];
    *zero_point = u->zero_point[v];
    return QN_OK;
}

/* The codes that a node of `to` will write. */
static qn_status new_codes(qn_unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    QN_TRY(qn_unfold_add_value(u, value->name, "_quantized", &u->codes[v]));
    QN_TRY(qn_unfold_declare(u, u->codes[v], value));
    u->to->values[u->codes[v]].dtype = qn_format_dtype(value->quantizer->format);
    return QN_OK;
}

qn_status qn_qop_codes(qn_unfolder *u, qn_value_id v, qn_value_id *id)
{
    const qn_value *value = &u->from->values[v];
    if (u->codes[v] == QN_NO_VALUE) { /* activations have theirs: nodes come in order */
        const qn_tensor *codes = qn_unfold_constant_codes(u, v);
        if (codes == NULL) {
            return qn_fail_memory(u->err, value->name, 0);
        }
        QN_TRY(qn_qdq_add_codes(u, value->name, qn_unfold_type(u, v), codes, value->quantizer, &u->codes[v]));
    }
    *id = u->codes[v];
    return QN_OK;
}

qn_status qn_qop_quantize(qn_unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    qn_value_id inputs[3] = {u->written[v]};
    QN_TRY(qn_qop_parameters(u, v, &inputs[1], &inputs[2]));
    QN_TRY(new_codes(u, v));
    return qn_qdq_add_step(u, "QuantizeLinear", value->name, value->quantizer, inputs, u->codes[v]);
}

qn_status qn_qop_read(qn_unfolder *u, qn_value_id v, qn_value_id *id)
{
    const qn_value *value = &u->from->values[v];
    if (!u->read_made[v]) {
        qn_value_id inputs[3];
        QN_TRY(qn_qop_codes(u, v, &inputs[0]));
        QN_TRY(qn_qop_parameters(u, v, &inputs[1], &inputs[2]));
        QN_TRY(qn_qdq_add_step(u, "DequantizeLinear", value->name, value->quantizer, inputs, u->read[v]));
        u->read_made[v] = 1;
    }
    *id = u->read[v];
    return QN_OK;
}

qn_status qn_qop_operand(qn_unfolder *u, qn_value_id v, qn_value_id inputs[3])
{
    QN_TRY(qn_qop_codes(u, v, &inputs[0]));
    return qn_qop_parameters(u, v, &inputs[1], &inputs[2]);
}

qn_status qn_qop_finish(qn_unfolder *u, const qn_node *node, const char *domain, const char *op_type,
                        const qn_value_id *inputs, int n_inputs, const qn_attribute *attributes, int n_attributes)
{
    const qn_value_id y = node->outputs[0];
    QN_TRY(new_codes(u, y));
    return qn_unfold_add_node(u, domain, op_type, node->name, inputs, n_inputs, attributes, n_attributes, u->codes[y]);
}

/* The node itself, its first input and its outputs being codes. */
static qn_status move_codes(qn_unfolder *u, const qn_node *node)
{
    qn_node copy = *node;
    copy.inputs = qn_arena_array(&u->scratch, (size_t)node->n_inputs, sizeof *copy.inputs);
    copy.outputs = qn_arena_array(&u->scratch, (size_t)node->n_outputs, sizeof *copy.outputs);
    if (copy.inputs == NULL || copy.outputs == NULL) {
        return qn_fail_memory(u->err, node->name, 0);
    }
    QN_TRY(qn_qop_codes(u, node->inputs[0], &copy.inputs[0]));
    for (int i = 1; i < node->n_inputs; i++) {
        copy.inputs[i] = node->inputs[i] == QN_NO_VALUE ? QN_NO_VALUE : u->read[node->inputs[i]];
    }
    for (int i = 0; i < node->n_outputs; i++) {
        QN_TRY(new_codes(u, node->outputs[i]));
        copy.outputs[i] = u->codes[node->outputs[i]];
    }
    return qn_graph_add_node(u->to, &copy, u->err);
}

/* Elements come out as they went in, and ONNX Runtime has the operator for int8 and uint8. */
static bool moves_codes(const qn_unfolder *u, const qn_node *node)
{
    static const qn_op ops[] = {
        QN_OP_EXPAND, QN_OP_FLATTEN, QN_OP_GATHER,  QN_OP_IDENTITY, QN_OP_MAX_POOL,  QN_OP_RESHAPE,
        QN_OP_SLICE,  QN_OP_SPLIT,   QN_OP_SQUEEZE, QN_OP_TILE,     QN_OP_TRANSPOSE, QN_OP_UNSQUEEZE,
    };
    bool known = false;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        known = known || node->op == ops[i];
    }
    if (!known || node->n_inputs == 0 || !qn_qop_is_coded(u, node->inputs[0])) {
        return false;
    }
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] == QN_NO_VALUE || !qn_qop_is_coded(u, node->outputs[i]) ||
            !qn_quantizer_equal(u->from->values[node->outputs[i]].quantizer,
                                u->from->values[node->inputs[0]].quantizer)) {
            return false;
        }
    }
    for (int i = 1; i < node->n_inputs; i++) {
        if (node->inputs[i] != QN_NO_VALUE && u->from->values[node->inputs[i]].quantizer != NULL) {
            return false;
        }
    }
    return true;
}

bool qn_qop_is_coded(const qn_unfolder *u, qn_value_id v)
{
    if (v == QN_NO_VALUE || u->from->values[v].quantizer == NULL) {
        return false;
    }
    const qn_quantizer *q = u->from->values[v].quantizer;
    const int32_t type = qn_unfold_type(u, v);
    return (type == QN_ONNX_UINT8 || type == QN_ONNX_INT8) && q->axis < 0 && q->n == 1;
}

qn_status qn_qop_add_node(qn_unfolder *u, const qn_node *node, bool *done)
{
    *done = u->gone[node - u->from->nodes] != 0;
    if (*done) {
        return QN_OK;
    }
    *done = moves_codes(u, node);
    return *done ? move_codes(u, node) : qn_qop_compute(u, node, done);
}
