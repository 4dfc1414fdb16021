/* Cast between the types a value can have at run time. */
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"

typedef struct {
    qn_dtype from, to;
    int64_t n;
} cast_params;

/* float holds every value this engine computes; integers pass through int64, which all but large uint64 fit. */
typedef struct {
    double real;
    int64_t integer;
    bool is_integer;
} scalar;

#define SCALAR_REAL(type)                                                                                              \
    (scalar)                                                                                                           \
    {                                                                                                                  \
        .real = (double)((const type *)data)[i], .is_integer = false                                                   \
    }
#define SCALAR_INTEGER(type)                                                                                           \
    (scalar)                                                                                                           \
    {                                                                                                                  \
        .integer = (int64_t)((const type *)data)[i], .is_integer = true                                                \
    }

static scalar load(qn_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case QN_DTYPE_F32:
        return SCALAR_REAL(float);
    case QN_DTYPE_F64:
        return SCALAR_REAL(double);
    case QN_DTYPE_S8:
        return SCALAR_INTEGER(int8_t);
    case QN_DTYPE_S16:
        return SCALAR_INTEGER(int16_t);
    case QN_DTYPE_U16:
        return SCALAR_INTEGER(uint16_t);
    case QN_DTYPE_S32:
        return SCALAR_INTEGER(int32_t);
    case QN_DTYPE_U32:
        return SCALAR_INTEGER(uint32_t);
    case QN_DTYPE_S64:
        return SCALAR_INTEGER(int64_t);
    case QN_DTYPE_U64:
        return SCALAR_INTEGER(uint64_t);
    default:
        return SCALAR_INTEGER(uint8_t); /* and bool */
    }
}

/* Truncation toward zero; what does not fit int64 becomes the nearest end, NaN 0. Narrower integers wrap. */
static int64_t integer_of(scalar s)
{
    if (s.is_integer) {
        return s.integer;
    }
    if (isnan(s.real)) {
        return 0;
    }
    return s.real >= 0x1p63 ? INT64_MAX : s.real < -0x1p63 ? INT64_MIN : (int64_t)s.real;
}

static double real_of(scalar s)
{
    return s.is_integer ? (double)s.integer : s.real;
}

static bool is_zero(scalar s)
{
    return s.is_integer ? s.integer == 0 : s.real == 0;
}

static void store(qn_dtype dtype, void *data, int64_t i, scalar s)
{
    switch (dtype) {
    case QN_DTYPE_F32:
        ((float *)data)[i] = s.is_integer ? (float)s.integer : (float)s.real;
        break;
    case QN_DTYPE_F64:
        ((double *)data)[i] = real_of(s);
        break;
    case QN_DTYPE_BOOL:
        ((uint8_t *)data)[i] = !is_zero(s);
        break;
    case QN_DTYPE_S8:
    case QN_DTYPE_U8:
        ((uint8_t *)data)[i] = (uint8_t)integer_of(s);
        break;
    case QN_DTYPE_S16:
    case QN_DTYPE_U16:
        ((uint16_t *)data)[i] = (uint16_t)integer_of(s);
        break;
    case QN_DTYPE_S32:
    case QN_DTYPE_U32:
        ((uint32_t *)data)[i] = (uint32_t)integer_of(s);
        break;
    default:
        ((uint64_t *)data)[i] = (uint64_t)integer_of(s);
        break;
    }
}

static void run_cast(const void *params, void *const *args)
{
    const cast_params *p = params;
    for (int64_t i = 0; i < p->n; i++) {
        store(p->to, args[0], i, load(p->from, args[1], i));
    }
}

static qn_status add_cast(qn_float_builder *b, qn_float_id x, qn_dtype to, qn_float_id *y, qn_error *err)
{
    const qn_float_tensor source = *qn_float_at(b, x);
    if (source.dtype == to) {
        *y = x;
        return QN_OK;
    }
    const qn_dtype both[] = {source.dtype, to};
    for (int i = 0; i < 2; i++) {
        if (both[i] == QN_DTYPE_F16 || both[i] == QN_DTYPE_BF16) {
            return qn_float_fail(b, err, QN_EUNSUPPORTED, "%s values at run time; only constants can have this type",
                                 qn_dtype_text(both[i]));
        }
    }
    const cast_params params = {.from = source.dtype, .to = to, .n = source.n_elems};
    QN_TRY(qn_float_new(b, to, source.rank, source.dims, y, err));
    return params.n == 0 ? QN_OK : qn_float_add_kernel(b, run_cast, &params, sizeof params, *y, 1, &x, err);
}

qn_status qn_float_as_f32(qn_float_builder *b, qn_float_id x, qn_float_id *y, qn_error *err)
{
    return add_cast(b, x, QN_DTYPE_F32, y, err);
}

qn_status qn_float_lower_cast(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_float_id x, y;
    QN_TRY(qn_float_read_any(b, node->inputs[0], &x, err));
    const qn_bound_value *output = qn_float_bound(b, node->outputs[0]);
    if (qn_float_at(b, x)->dtype == output->dtype) {
        return qn_float_lower_view(b, node, err);
    }
    QN_TRY(add_cast(b, x, output->dtype, &y, err));
    return qn_float_define(b, node->outputs[0], y, err);
}
