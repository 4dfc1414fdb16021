/* Folding of integer arithmetic and casts. */
#include <math.h>
#include <string.h>

#include "graph/fold.h"
#include "tensor/element.h"

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

/* A number on its way from one type to another: as int64 if it was that, which double cannot hold, else as double. */
typedef struct number {
    bool is_float;
    double f;
    int64_t i;
} number;

static number load(qn_dtype dtype, const void *data, int64_t at)
{
    number x = {.is_float = dtype != QN_DTYPE_S64};
    if (x.is_float) {
        qn_widen(dtype)(&x.f, (const unsigned char *)data + (size_t)at * qn_dtype_size(dtype), 1);
    } else {
        x.i = ((const int64_t *)data)[at];
    }
    return x;
}

/* Towards zero; what does not fit 64 bits saturates, NaN gives 0 (ONNX leaves both open). */
static int64_t to_integer(number x)
{
    if (!x.is_float) {
        return x.i;
    }
    if (isnan(x.f)) {
        return 0;
    }
    return x.f >= 0x1p63 ? INT64_MAX : x.f < -0x1p63 ? INT64_MIN : (int64_t)x.f;
}

#define STORE_INTEGER(dtype_, type)                                                                                    \
    case dtype_:                                                                                                       \
        ((type *)data)[at] = (type)(uint64_t)to_integer(x);                                                            \
        return

static void store(qn_dtype dtype, void *data, int64_t at, number x)
{
    switch (dtype) {
        STORE_INTEGER(QN_DTYPE_S8, int8_t);
        STORE_INTEGER(QN_DTYPE_U8, uint8_t);
        STORE_INTEGER(QN_DTYPE_S16, int16_t);
        STORE_INTEGER(QN_DTYPE_U16, uint16_t);
        STORE_INTEGER(QN_DTYPE_S32, int32_t);
        STORE_INTEGER(QN_DTYPE_U32, uint32_t);
        STORE_INTEGER(QN_DTYPE_S64, int64_t);
    case QN_DTYPE_BOOL:
        ((uint8_t *)data)[at] = x.is_float ? x.f != 0.0 : x.i != 0;
        return;
    case QN_DTYPE_F32:
        ((float *)data)[at] = x.is_float ? (float)x.f : (float)x.i;
        return;
    case QN_DTYPE_F64:
        ((double *)data)[at] = x.is_float ? x.f : (double)x.i;
        return;
    default:
        return;
    }
}

bool qn_fold_can_cast(qn_dtype from, qn_dtype to)
{
    return from == to || (from != QN_DTYPE_U64 && to != QN_DTYPE_U64 && to != QN_DTYPE_F16 && to != QN_DTYPE_BF16);
}

qn_status qn_fold_cast(const qn_infer *c, void *out)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *result = qn_infer_output(c, 0);
    if (x->dtype == result->dtype) {
        if (x->n_elems > 0) {
            memcpy(out, x->known->data, (size_t)x->n_elems * qn_dtype_size(x->dtype));
        }
        return QN_OK;
    }
    for (int64_t i = 0; i < x->n_elems; i++) {
        store(result->dtype, out, i, load(x->dtype, x->known->data, i));
    }
    return QN_OK;
}
