#include "graph/qdq_opset.h"

#include <string.h>

#define INTEGER(bits_, signed_)                                                                                        \
    {                                                                                                                  \
        .bits = bits_, .is_signed = signed_                                                                            \
    }
#define FLOAT8(e, m, bias, variant_)                                                                                   \
    {                                                                                                                  \
        .bits = 8, .is_signed = true, .kind = QN_FORMAT_FLOAT, .exponent_bits = e, .mantissa_bits = m,                 \
        .exponent_bias = bias, .variant = variant_                                                                     \
    }

/* By ONNX data type number. Per-channel parameters came with opset 13. */
static const struct {
    int64_t opset;
    qn_format format;
} types[] = {
    [2] = {13, INTEGER(8, false)},
    [3] = {13, INTEGER(8, true)},
    [4] = {21, INTEGER(16, false)},
    [5] = {21, INTEGER(16, true)},
    [6] = {13, INTEGER(32, true)},
    [17] = {19, FLOAT8(4, 3, 7, QN_FLOAT_FN)},
    [18] = {19, FLOAT8(4, 3, 8, QN_FLOAT_FNUZ)},
    [19] = {19, FLOAT8(5, 2, 15, QN_FLOAT_IEEE)},
    [20] = {19, FLOAT8(5, 2, 16, QN_FLOAT_FNUZ)},
    [21] = {21, INTEGER(4, false)},
    [22] = {21, INTEGER(4, true)},
};
enum { N_TYPES = sizeof types / sizeof types[0], LAST_RAISING = 16, INT8_TYPE = 3 };

bool qn_qdq_format(qn_format *format, int32_t type)
{
    if (type < 0 || type >= N_TYPES || types[type].opset == 0) {
        return false;
    }
    *format = types[type].format;
    return true;
}

bool qn_qdq_raises_opset(int32_t type)
{
    return type <= LAST_RAISING;
}

int64_t qn_qdq_opset(const qn_value *value, int32_t *type)
{
    const qn_quantizer *q = value->quantizer;
    qn_format f = q->format;
    bool is_constant = value->constant != NULL || value->codes != NULL;
    if (q->dynamic || q->group != 0) {
        return 0;
    }
    /* One set reads as one for the whole tensor, unless the shape says that the axis has one element. */
    if (q->axis >= 0 && q->n == 1 && (q->axis >= value->rank || value->dims[q->axis] != 1)) {
        return 0;
    }
    if (f.kind == QN_FORMAT_INT) {
        if (!is_constant && (f.narrow || f.rounding != QN_ROUND_NEAREST_EVEN || f.bits == 32)) {
            return 0;
        }
        f.narrow = false;
        f.rounding = QN_ROUND_NEAREST_EVEN;
        f.fit = QN_FIT_DEFAULT;
    } else if (!is_constant && q->axis >= 0) { /* how many scales of 1 there should be, only a shape would say */
        return 0;
    }
    for (int32_t i = 0; i < N_TYPES; i++) {
        if (types[i].opset != 0 && qn_format_equal(f, types[i].format)) {
            *type = i;
            return types[i].opset;
        }
    }
    return 0;
}

/* Signed integers of 2 to 7 bits: packed in a node of org.quern, or as int8 where the network wants to be read by others. */
static bool is_few_bits(qn_format f)
{
    return f.kind == QN_FORMAT_INT && f.is_signed && f.bits >= 2 && f.bits < 8;
}

static bool stores_as_int8(const qn_graph *graph, const qn_value *value, int64_t opset)
{
    const char *store = qn_graph_get_metadata(graph, "quern.store");
    if (store == NULL || strcmp(store, "int8") != 0 || value->codes == NULL || !is_few_bits(value->quantizer->format)) {
        return false;
    }
    int32_t type;
    qn_quantizer as_int8 = *value->quantizer;
    as_int8.format.bits = 8;
    qn_value stored = *value;
    stored.quantizer = &as_int8;
    const int64_t since = qn_qdq_opset(&stored, &type);
    return since != 0 && since <= opset;
}

int32_t qn_qdq_type(const qn_graph *graph, const qn_value *value, int64_t opset)
{
    int32_t type;
    int64_t since = qn_qdq_opset(value, &type);
    if (since != 0 && since <= opset) {
        return type;
    }
    return stores_as_int8(graph, value, opset) ? INT8_TYPE : 0;
}

bool qn_qdq_holds_fewer(const qn_format *format, int32_t type)
{
    return type == INT8_TYPE && is_few_bits(*format);
}
