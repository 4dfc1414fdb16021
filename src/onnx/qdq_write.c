/* Quantizers as nodes QuantizeLinear and DequantizeLinear. Scales and zero points per tensor are scalars, and zero points
 * are always written: some of ONNX Runtime's fusions want both. */
#include "graph/qdq_opset.h"
#include "onnx/narrow.h"
#include "onnx/qdq.h"
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

qn_status qn_qdq_add_parameters(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type,
                                qn_value_id *scale, qn_value_id *zero_point)
{
    QN_TRY(add_scale(u, name, q, scale));
    return add_zero_point(u, name, q, type, zero_point);
}

qn_status qn_qdq_add_step(const qn_unfolder *u, const char *op_type, const char *name, const qn_quantizer *q,
                          const qn_value_id inputs[3], qn_value_id output)
{
    const qn_attribute axis = {.name = "axis", .type = QN_ATTRIBUTE_INT, .i = q->axis};
    return qn_unfold_add_node(u, "", op_type, qn_arena_printf(&u->to->arena, "%s_%s", name, op_type), inputs, 3, &axis,
                              q->axis < 0 ? 0 : 1, output);
}

qn_status qn_qdq_add_pair(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type, qn_value_id x,
                          qn_value_id y)
{
    qn_value_id scale, zero_point, codes;
    QN_TRY(qn_qdq_add_parameters(u, name, q, type, &scale, &zero_point));
    QN_TRY(qn_unfold_add_value(u, name, "_quantized", &codes));
    QN_TRY(qn_qdq_add_step(u, "QuantizeLinear", name, q, (qn_value_id[]){x, scale, zero_point}, codes));
    return qn_qdq_add_step(u, "DequantizeLinear", name, q, (qn_value_id[]){codes, scale, zero_point}, y);
}

qn_status qn_qdq_add_codes(const qn_unfolder *u, const char *name, int32_t type, const qn_tensor *codes,
                           const qn_quantizer *q, qn_value_id *id)
{
    QN_TRY(qn_qdq_holds_fewer(&q->format, type) ? qn_qdq_write_bits(u->to, name, q->format.bits, u->err) : QN_OK);
    QN_TRY(qn_unfold_add_constant(u, name, "_quantized", codes, id));
    mark_narrow(u, *id, type);
    return QN_OK;
}

qn_status qn_qdq_add_constant(const qn_unfolder *u, const char *name, const qn_quantizer *q, int32_t type,
                              const qn_tensor *codes, qn_value_id y)
{
    qn_value_id scale, zero_point, id;
    QN_TRY(qn_qdq_add_codes(u, name, type, codes, q, &id));
    QN_TRY(qn_qdq_add_parameters(u, name, q, type, &scale, &zero_point));
    return qn_qdq_add_step(u, "DequantizeLinear", name, q, (qn_value_id[]){id, scale, zero_point}, y);
}
