/* Folding of integer arithmetic and casts. */
#include "graph/compute/compute.h"
#include "graph/fold.h"

/* In 64 bits, wrapping; an int32 result is the low half, which wraps as 32-bit arithmetic does. */
static int64_t combine(qn_op op, int64_t a, int64_t b)
{
    switch (op) {
    case QN_OP_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case QN_OP_SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case QN_OP_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    default: /* Div, towards zero; INT64_MIN / -1 wraps */
        return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
    }
}

/* Element index of an operand for element `at` of the broadcast result. */
static int64_t operand_index(const qn_bound_value *result, const qn_bound_value *operand, int64_t at)
{
    int64_t index = 0, stride = 1;
    for (int i = 0; i < operand->rank; i++) {
        int64_t n = result->dims[result->rank - 1 - i], m = operand->dims[operand->rank - 1 - i];
        index += m == 1 ? 0 : at % n * stride;
        stride *= m;
        at /= n;
    }
    return index;
}

qn_status qn_fold_arithmetic(const qn_infer *c, void *out)
{
    const qn_bound_value *a = qn_infer_input(c, 0), *b = qn_infer_input(c, 1), *result = qn_infer_output(c, 0);
    for (int64_t i = 0; i < result->n_elems; i++) {
        int64_t x = qn_known_int(a->known, operand_index(result, a, i));
        int64_t y = qn_known_int(b->known, operand_index(result, b, i));
        if (c->node->op == QN_OP_DIV && y == 0) {
            return qn_infer_fail(c, QN_EFORMAT, NULL, "integer division by zero");
        }
        int64_t value = combine(c->node->op, x, y);
        if (result->dtype == QN_DTYPE_S32) {
            ((int32_t *)out)[i] = (int32_t)(uint32_t)(uint64_t)value;
        } else {
            ((int64_t *)out)[i] = value;
        }
    }
    return QN_OK;
}

qn_status qn_fold_cast(const qn_infer *c, void *out)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    const qn_dtype to = qn_infer_type(c->node, "to", QN_DTYPE_NONE);
    const bool narrow = to == QN_DTYPE_F16 || to == QN_DTYPE_BF16;
    qn_convert_elements(narrow ? to : qn_infer_output(c, 0)->dtype, out, x->dtype, x->known->data, x->n_elems);
    return QN_OK;
}
