/* QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear (doc/spec/arithmetic.md 6.8). */
#include <math.h>
#include <string.h>

#include "format/quantizer.h"
#include "graph/compute/job.h"
#include "graph/qdq_opset.h"

enum { CHUNK = 512, EXTREMES = 64, FIRST_FLOAT8 = 17, LAST_FLOAT8 = 20 };

typedef struct code_range {
    int32_t lo, hi, zero;
} code_range;

typedef struct loops {
    void (*encode)(int32_t *codes, const float *x, int64_t n, float scale, const code_range *range);
    void (*decode)(float *y, const int32_t *codes, int64_t n, float scale, int32_t zero);
    void (*extremes)(float *range, const float *x, int64_t n);
} loops;

#define LANES_TEMPLATE "graph/compute/quantized_template.h"
#include "base/each_isa.inc"

/*  codes       dtype of the codes; F32 for float8 that is carried by value
 *  zero_dtype  NONE where there are no zero points, or all are 0
 *  float8      the codes are float8; `values` then has what each byte stands for */
typedef struct linear_params {
    qn_linear l;
    const loops *loops;
    qn_dtype codes, zero_dtype;
    int32_t lo, hi;
    bool float8, saturate, one_zero; /* no -0 */
    int mantissa, least_exponent;
    float most, overflow;
    float values[256];
} linear_params;

#define WIDEN(dtype, type)                                                                                             \
    case dtype:                                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            to[i] = ((const type *)from)[first + i];                                                                   \
        }                                                                                                              \
        break
#define NARROW(dtype, type)                                                                                            \
    case dtype:                                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            ((type *)to)[first + i] = (type)from[i];                                                                   \
        }                                                                                                              \
        break

static void widen(int32_t *to, qn_dtype dtype, const void *from, int64_t first, int64_t n)
{
    switch (dtype) {
        WIDEN(QN_DTYPE_S8, int8_t);
        WIDEN(QN_DTYPE_U8, uint8_t);
        WIDEN(QN_DTYPE_S16, int16_t);
        WIDEN(QN_DTYPE_U16, uint16_t);
        WIDEN(QN_DTYPE_S32, int32_t);
    default:
        memset(to, 0, (size_t)n * sizeof *to);
        break;
    }
}

static void narrow(void *to, qn_dtype dtype, int64_t first, const int32_t *from, int64_t n)
{
    switch (dtype) {
        NARROW(QN_DTYPE_S8, int8_t);
        NARROW(QN_DTYPE_U8, uint8_t);
        NARROW(QN_DTYPE_S16, int16_t);
        NARROW(QN_DTYPE_U16, uint16_t);
    default:
        break;
    }
}

/* x as the nearest value of the float8 format, ties to even. NaN, and with saturate 0 what is beyond the greatest value,
 * are NaN (e5m2 has infinities for the latter). */
static float to_float8(const linear_params *p, float x)
{
    if (isnan(x) || (isinf(x) && !p->saturate)) {
        return isnan(x) ? x : copysignf(p->overflow, x);
    }
    int exponent = 0;
    (void)frexp(isinf(x) ? 1 : (double)x, &exponent);
    exponent = exponent - 1 < p->least_exponent ? p->least_exponent : exponent - 1;
    const double unit = ldexp(1, exponent - p->mantissa), y = isinf(x) ? (double)x : rint((double)x / unit) * unit;
    if (fabs(y) > (double)p->most) {
        return p->saturate ? copysignf(p->most, x) : copysignf(p->overflow, x);
    }
    return y == 0 && p->one_zero ? 0.0F : (float)y;
}

/* n elements from `first` on, which share a parameter set. */
static void encode_run(const linear_params *p, void *y, const float *x, int64_t first, int64_t n, float scale,
                       int32_t zero)
{
    int32_t codes[CHUNK];
    const code_range range = {p->lo, p->hi, zero};
    for (int64_t at = first; at < first + n; at += CHUNK) {
        const int64_t count = first + n - at < CHUNK ? first + n - at : CHUNK;
        if (p->float8) {
            for (int64_t i = at; i < at + count; i++) {
                ((float *)y)[i] = to_float8(p, x[i] / scale);
            }
        } else {
            p->loops->encode(codes, x + at, count, scale, &range);
            narrow(y, p->codes, at, codes, count);
        }
    }
}

static void decode_run(const linear_params *p, float *y, const void *x, int64_t first, int64_t n, float scale,
                       int32_t zero)
{
    int32_t codes[CHUNK];
    if (p->float8) {
        const bool by_value = p->codes == QN_DTYPE_F32;
        for (int64_t i = first; i < first + n; i++) {
            y[i] = (by_value ? ((const float *)x)[i] : p->values[((const uint8_t *)x)[i]]) * scale;
        }
        return;
    }
    for (int64_t at = first; at < first + n; at += CHUNK) {
        const int64_t count = first + n - at < CHUNK ? first + n - at : CHUNK;
        widen(codes, p->codes, x, at, count);
        p->loops->decode(y + at, codes, count, scale, zero);
    }
}

/* y and x as the node has them. */
static void run_linear(const linear_params *p, void *y, const void *const *x, bool encodes)
{
    const qn_linear *l = &p->l;
    const float *scale = x[1];
    const int64_t step = l->by_inner == 0 ? l->inner : 1;
    for (int64_t row = 0; row < l->outer * l->n; row++) {
        const int64_t set = row / l->n * l->by_outer + row % l->n / l->block * l->by_block;
        for (int64_t i = 0; i < l->inner; i += step) {
            const int64_t at = set + i * l->by_inner;
            int32_t zero;
            widen(&zero, p->zero_dtype, x[2], at, 1);
            if (encodes) {
                encode_run(p, y, x[0], row * l->inner + i, step, scale[at], zero);
            } else {
                decode_run(p, y, x[0], row * l->inner + i, step, scale[at], zero);
            }
        }
    }
}

static void run_encode(const void *params, void *y, const void *const *x)
{
    run_linear(params, y, x, true);
}

static void run_decode(const void *params, void *y, const void *const *x)
{
    run_linear(params, y, x, false);
}

/* What the format room says of a float8: mantissa, least exponent, greatest value, what each byte stands for. */
static void describe_float8(linear_params *p, qn_format format)
{
    uint8_t bytes[256];
    const int64_t n = 256;
    const qn_quantizer q = {.format = format, .axis = -1, .n = 1};
    for (int i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)i;
    }
    qn_quantizer_decode(p->values, bytes, &q, 1, &n);
    p->float8 = true;
    p->mantissa = format.mantissa_bits;
    p->least_exponent = 1 - format.exponent_bias;
    p->one_zero = format.variant == QN_FLOAT_FNUZ;
    p->overflow = format.variant == QN_FLOAT_IEEE ? INFINITY : NAN;
    for (int i = 0; i < 128; i++) {
        p->most = isfinite(p->values[i]) && p->values[i] > p->most ? p->values[i] : p->most;
    }
}

/* Per index of the last axis: the axis lies in `inner`, whose elements have sets of their own. */
static void merge_last(qn_linear *l)
{
    if (l->inner == 1 && l->by_outer == 0 && l->by_block == 1 && l->block == 1) {
        l->inner = l->n;
        l->n = 1;
        l->by_inner = 1;
        l->by_block = 0;
    }
}

static qn_status prepare_linear(qn_compute *compute, const qn_compute_job *job, qn_compute_fn *run)
{
    const qn_bound_value x = qn_job_input(job, 0), zero = qn_job_input(job, 2);
    linear_params p = {.loops = QN_LANES_FOR(job->cpu, loops), .zero_dtype = zero.dtype};
    QN_TRY(qn_linear_of_node(&p.l, job->binding, job->node, job->err));
    qn_format format = {0};
    (void)qn_qdq_format(&format, p.l.type);
    p.codes = run == run_decode ? x.dtype : p.l.codes;
    p.saturate = qn_node_int(job->node, "saturate", 1) != 0;
    if (p.l.type >= FIRST_FLOAT8 && p.l.type <= LAST_FLOAT8) {
        describe_float8(&p, format);
        p.zero_dtype = QN_DTYPE_NONE;
    } else {
        qn_format_range(format, &p.lo, &p.hi);
    }
    if (p.l.outer * p.l.n == 1) {
        p.l.inner /= job->items;
    } else {
        p.l.outer /= job->items;
    }
    merge_last(&p.l);
    return qn_job_set(compute, job, run, &p, sizeof p, 3);
}

qn_status qn_prepare_quantize(qn_compute *compute, const qn_compute_job *job)
{
    return prepare_linear(compute, job, run_encode);
}

qn_status qn_prepare_dequantize(qn_compute *compute, const qn_compute_job *job)
{
    return prepare_linear(compute, job, run_decode);
}

typedef struct dynamic_params {
    const loops *loops;
    int64_t n;
    int output;
} dynamic_params;

static void run_dynamic(const void *params, void *y, const void *const *x)
{
    const dynamic_params *p = params;
    float range[2] = {0, 0};
    p->loops->extremes(range, x[0], p->n);
    const float scale = range[1] == range[0] ? 1.0F : (range[1] - range[0]) / 255.0F;
    float at_zero = 0.0F - range[0] / scale;
    at_zero = at_zero > 0 ? at_zero < 255 ? at_zero : 255 : 0;
    const uint8_t zero = (uint8_t)rintf(at_zero);
    if (p->output == 1) {
        memcpy(y, &scale, sizeof scale);
    } else if (p->output == 2) {
        memcpy(y, &zero, sizeof zero);
    } else {
        const linear_params linear = {.loops = p->loops, .codes = QN_DTYPE_U8, .hi = 255};
        encode_run(&linear, y, x[0], 0, p->n, scale, zero);
    }
}

qn_status qn_prepare_dynamic_quantize(qn_compute *compute, const qn_compute_job *job)
{
    const dynamic_params p = {
        .loops = QN_LANES_FOR(job->cpu, loops), .n = qn_job_input(job, 0).n_elems, .output = job->output};
    return qn_job_set(compute, job, run_dynamic, &p, sizeof p, 1);
}
