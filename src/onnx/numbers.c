/* Which numbers that are not finite constants may have: NaN nowhere; infinities where they bound or mask, but not in the
 * parameters of layers, where they would make everything NaN. */
#include <math.h>

#include "base/float_bits.h"
#include "onnx/onnx.h"

/* Whether all elements before the result are finite: whole blocks of float32, judged by the greatest magnitude. */
static size_t skip_finite(const qn_tensor *t, size_t n)
{
    enum { BLOCK = 4096 };
    const float *x = t->data;
    size_t i = 0;
    while (t->dtype == QN_DTYPE_F32 && i + BLOCK <= n) {
        uint32_t greatest = 0;
        for (size_t j = i; j < i + BLOCK; j++) {
            uint32_t magnitude = qn_bits_of_f32(x[j]) & 0x7FFFFFFFu;
            greatest = magnitude > greatest ? magnitude : greatest;
        }
        if (greatest >= 0x7F800000u) {
            break;
        }
        i += BLOCK;
    }
    return i;
}

/* First element that is NaN, or infinite where `infinite` asks for that; n if there is none. Half floats are judged by
 * their exponent bits. */
static size_t find_odd(const qn_tensor *t, size_t n, bool infinite)
{
    for (size_t i = skip_finite(t, n); i < n; i++) {
        double x = 0.0;
        if (t->dtype == QN_DTYPE_F32) {
            x = ((const float *)t->data)[i];
        } else if (t->dtype == QN_DTYPE_F64) {
            x = ((const double *)t->data)[i];
        } else {
            uint16_t bits = ((const uint16_t *)t->data)[i];
            uint16_t exponent = t->dtype == QN_DTYPE_F16 ? 0x7C00 : 0x7F80;
            uint16_t mantissa = t->dtype == QN_DTYPE_F16 ? 0x03FF : 0x007F;
            if ((bits & exponent) == exponent) {
                x = (bits & mantissa) != 0 ? (double)NAN : (double)INFINITY;
            }
        }
        if (infinite ? isinf(x) : isnan(x)) {
            return i;
        }
    }
    return n;
}

static bool is_float(const qn_tensor *t)
{
    return t->dtype == QN_DTYPE_F32 || t->dtype == QN_DTYPE_F64 || t->dtype == QN_DTYPE_F16 ||
           t->dtype == QN_DTYPE_BF16;
}

qn_status qn_onnx_check_numbers(const qn_tensor *tensor, const char *where, qn_error *err)
{
    const size_t n = is_float(tensor) ? (size_t)qn_tensor_count(tensor) : 0, at = find_odd(tensor, n, false);
    return at < n ? qn_fail(err, QN_ERANGE, where, "element %zu is NaN", at) : QN_OK;
}

static bool has_parameters(qn_op op)
{
    switch (op) {
    case QN_OP_BATCH_NORMALIZATION:
    case QN_OP_CONV:
    case QN_OP_CONV_TRANSPOSE:
    case QN_OP_EINSUM:
    case QN_OP_GEMM:
    case QN_OP_GROUP_NORMALIZATION:
    case QN_OP_GRU:
    case QN_OP_INSTANCE_NORMALIZATION:
    case QN_OP_LAYER_NORMALIZATION:
    case QN_OP_LSTM:
    case QN_OP_MATMUL:
    case QN_OP_RNN:
        return true;
    default:
        return false;
    }
}

qn_status qn_onnx_check_infinities(const qn_graph *graph, qn_error *err)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; has_parameters(node->op) && k < node->n_inputs; k++) {
            const qn_value *value = node->inputs[k] != QN_NO_VALUE ? &graph->values[node->inputs[k]] : NULL;
            if (value == NULL || value->constant == NULL || value->codes != NULL || !is_float(value->constant)) {
                continue;
            }
            const size_t n = (size_t)qn_tensor_count(value->constant), at = find_odd(value->constant, n, true);
            char where[QN_NODE_WHERE_MAX];
            if (at < n) {
                return qn_fail(
                    err, QN_ERANGE, qn_node_where(where, graph, node),
                    "element %zu of '%s' is infinite; only masks and bounds may be, not what layers multiply "
                    "and add",
                    at, value->name);
            }
        }
    }
    return QN_OK;
}
