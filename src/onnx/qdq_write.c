/* Quantizers as nodes QuantizeLinear and DequantizeLinear. Scales and zero points per tensor are scalars, and zero points
 * are always written: some of ONNX Runtime's fusions want both. */
#include "onnx/narrow.h"
#include "onnx/unfold.h"

/* int32 -> the dtype of the codes; the values are in its range. */
static void store_integer(void *data, qn_dtype dtype, int64_t i, int32_t value)
{
    size_t width = qn_dtype_size(dtype);
    uint32_t bits = (uint32_t)value;
    unsigned char *bytes = (unsigned char *)data + (size_t)i * width;
    for (size_t b = 0; b < width; b++) {
        bytes[b] = (unsigned char)(bits >> (8 * b));
    }
}

static void mark_narrow(const qn_unfolder *u, qn_value_id id, int32_t type)
{
    u->to->values[id].stored_type = qn_narrow_is_type(type) ? type : 0;
}

static qn_status add_scale(const qn_unfolder *u, const char *name, const qn_quantizer *q, qn_value_id *id)
{
    qn_tensor scales;
    QN_TRY(qn_tensor_alloc(&scales, QN_DTYPE_F32, q->axis < 0 ? 0 : 1, &q->n, u->err));
    for (int64_t i = 0; i < q->n; i++) {
        ((float *)scales.data)[i] = qn_quantizer_get(q, i).scale;
    }
    qn_status status = qn_unfold_add_constant(u, name, "_scale", &scales, id);
    qn_tensor_free(&scales);
    return status;
}

static qn_status add_zero_point(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type,
                                qn_value_id *id)
{
    qn_tensor zeros;
    QN_TRY(qn_tensor_alloc(&zeros, qn_format_dtype(q->format), q->axis < 0 ? 0 : 1, &q->n, u->err));
    for (int64_t i = 0; i < q->n; i++) {
        store_integer(zeros.data, zeros.dtype, i, qn_quantizer_get(q, i).zero_point);
    }
    qn_status status = qn_unfold_add_constant(u, name, "_zero_point", &zeros, id);
    qn_tensor_free(&zeros);
    QN_TRY(status);
    mark_narrow(u, *id, type);
    return QN_OK;
}

/* Scale and zero point as the initializers that Q and DQ share. */
static qn_status add_parameters(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type,
                                qn_value_id *scale, qn_value_id *zero_point)
{
    QN_TRY(add_scale(u, name, q, scale));
    return add_zero_point(u, name, q, type, zero_point);
}

static qn_status add_step(const qn_unfolder *u, const char *op_type, const char *stem, const qn_quantizer *q,
                          qn_value_id inputs[3], qn_value_id output)
{
    qn_attribute axis = {.name = "axis", .type = QN_ATTRIBUTE_INT, .i = q->axis};
    qn_node node = {
        .name = qn_arena_printf(&u->to->arena, "%s_%s", stem, op_type),
        .op_type = op_type,
        .domain = "",
        .op = QN_OP_UNKNOWN,
        .n_inputs = 3,
        .n_outputs = 1,
        .n_attributes = q->axis < 0 ? 0 : 1,
        .inputs = inputs,
        .outputs = &output,
        .attributes = &axis,
    };
    return node.name != NULL ? qn_graph_add_node(u->to, &node, u->err) : qn_fail_memory(u->err, NULL, 0);
}

qn_status qn_qdq_add_pair(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type, qn_value_id x,
                          qn_value_id y)
{
    qn_value_id scale, zero_point, codes;
    QN_TRY(add_parameters(u, name, q, type, &scale, &zero_point));
    QN_TRY(qn_unfold_add_value(u, name, "_quantized", &codes));
    QN_TRY(add_step(u, "QuantizeLinear", name, q, (qn_value_id[]){x, scale, zero_point}, codes));
    return add_step(u, "DequantizeLinear", name, q, (qn_value_id[]){codes, scale, zero_point}, y);
}

qn_status qn_qdq_add_constant(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type,
                              const qn_tensor *codes, qn_value_id y)
{
    qn_value_id scale, zero_point, id;
    QN_TRY(qn_unfold_add_constant(u, name, "_quantized", codes, &id));
    mark_narrow(u, id, type);
    QN_TRY(add_parameters(u, name, q, type, &scale, &zero_point));
    return add_step(u, "DequantizeLinear", name, q, (qn_value_id[]){id, scale, zero_point}, y);
}
