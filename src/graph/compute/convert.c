/* Elements as another type: Cast. */
#include <math.h>
#include <string.h>

#include "base/float_bits.h"
#include "graph/compute/job.h"

/* f32 rounded to `mantissa` bits and so many exponent bits, nearest and ties to even; subnormals and infinities as IEEE
 * 754 has them. */
static float rounded(float x, int mantissa, int least, float most)
{
    if (!isfinite(x) || x == 0) {
        return x;
    }
    int exponent;
    (void)frexp((double)x, &exponent);
    exponent = exponent - 1 < least ? least : exponent - 1;
    const double unit = ldexp(1, exponent - mantissa), y = rint((double)x / unit) * unit;
    return fabs(y) > (double)most ? copysignf(INFINITY, x) : (float)y;
}

static float to_half(float x)
{
    return rounded(x, 10, -14, 65504);
}

static float to_bfloat(float x)
{
    return rounded(x, 7, -126, 0x1.fep127f);
}

/* A number on its way: as int64 if it was an integer, which double cannot hold, else as double. */
typedef struct number {
    bool is_real;
    double real;
    int64_t integer;
} number;

#define LOAD_REAL(dtype, type)                                                                                         \
    case dtype:                                                                                                        \
        return (number)                                                                                                \
        {                                                                                                              \
            true, (double)((const type *)data)[i], 0                                                                   \
        }
#define LOAD_INTEGER(dtype, type)                                                                                      \
    case dtype:                                                                                                        \
        return (number)                                                                                                \
        {                                                                                                              \
            false, 0, (int64_t)((const type *)data)[i]                                                                 \
        }

static float value_of_half(uint16_t half)
{
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const double magnitude = exponent == 31  ? mantissa != 0 ? (double)NAN : (double)INFINITY
                             : exponent == 0 ? ldexp(mantissa, -24)
                                             : ldexp(1024 + mantissa, exponent - 25);
    return (float)((half & 0x8000) != 0 ? -magnitude : magnitude);
}

/* Data of files may be of 16 bits; values that run are not. */
static number load(qn_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
        LOAD_REAL(QN_DTYPE_F32, float);
        LOAD_REAL(QN_DTYPE_F64, double);
        LOAD_INTEGER(QN_DTYPE_S8, int8_t);
        LOAD_INTEGER(QN_DTYPE_S16, int16_t);
        LOAD_INTEGER(QN_DTYPE_U16, uint16_t);
        LOAD_INTEGER(QN_DTYPE_S32, int32_t);
        LOAD_INTEGER(QN_DTYPE_U32, uint32_t);
        LOAD_INTEGER(QN_DTYPE_S64, int64_t);
        LOAD_INTEGER(QN_DTYPE_U64, uint64_t);
    case QN_DTYPE_F16:
        return (number){true, (double)value_of_half(((const uint16_t *)data)[i]), 0};
    case QN_DTYPE_BF16:
        return (number){true, (double)qn_f32_of_bits((uint32_t)((const uint16_t *)data)[i] << 16), 0};
    default: /* uint8 and bool */
        return (number){false, 0, (int64_t)((const uint8_t *)data)[i]};
    }
}

static int64_t integer_of(number x)
{
    if (!x.is_real) {
        return x.integer;
    }
    if (isnan(x.real)) {
        return 0;
    }
    return x.real >= 0x1p63 ? INT64_MAX : x.real < -0x1p63 ? INT64_MIN : (int64_t)x.real;
}

static float real_of(number x)
{
    return x.is_real ? (float)x.real : (float)x.integer;
}

static void store(qn_dtype dtype, void *data, int64_t i, number x)
{
    switch (dtype) {
    case QN_DTYPE_F32:
        ((float *)data)[i] = real_of(x);
        break;
    case QN_DTYPE_F16:
        ((float *)data)[i] = to_half(real_of(x));
        break;
    case QN_DTYPE_BF16:
        ((float *)data)[i] = to_bfloat(real_of(x));
        break;
    case QN_DTYPE_F64:
        ((double *)data)[i] = x.is_real ? x.real : (double)x.integer;
        break;
    case QN_DTYPE_BOOL:
        ((uint8_t *)data)[i] = x.is_real ? x.real != 0 : x.integer != 0;
        break;
    case QN_DTYPE_S8:
    case QN_DTYPE_U8:
        ((uint8_t *)data)[i] = (uint8_t)integer_of(x);
        break;
    case QN_DTYPE_S16:
    case QN_DTYPE_U16:
        ((uint16_t *)data)[i] = (uint16_t)integer_of(x);
        break;
    case QN_DTYPE_S32:
    case QN_DTYPE_U32:
        ((uint32_t *)data)[i] = (uint32_t)integer_of(x);
        break;
    default:
        ((uint64_t *)data)[i] = (uint64_t)integer_of(x);
        break;
    }
}

void qn_convert_elements(qn_dtype to, void *y, qn_dtype from, const void *x, int64_t n)
{
    if (to == from && to != QN_DTYPE_F16 && to != QN_DTYPE_BF16) {
        if (n > 0) {
            memcpy(y, x, (size_t)n * qn_dtype_size(to));
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        store(to, y, i, load(from, x, i));
    }
}

typedef struct cast_params {
    qn_dtype to, from;
    int64_t n;
} cast_params;

static void run_cast(const void *params, void *y, const void *const *x)
{
    const cast_params *p = params;
    qn_convert_elements(p->to, y, p->from, x[0], p->n);
}

qn_status qn_prepare_cast(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0), y = qn_job_output(job);
    const qn_dtype to = job->node->op == QN_OP_CAST_LIKE
                            ? qn_like_type(job->binding, job->node)
                            : qn_infer_type(job->node, "to", y.dtype); /* a single input of Sum comes here, too */
    const bool narrow = to == QN_DTYPE_F16 || to == QN_DTYPE_BF16;
    const cast_params p = {.to = narrow ? to : y.dtype, .from = x.dtype, .n = x.n_elems};
    return qn_job_set(compute, job, run_cast, &p, sizeof p, 1);
}
