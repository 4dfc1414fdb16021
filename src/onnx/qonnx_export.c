/* Quantizers as nodes of domain qonnx.custom_op.general (doc/spec/onnx.md 1.6): floats in, floats on the quantizer's
 * grid out. Every attribute is written; parameters are float32, of the rank of x where there are several. */
#include <float.h>
#include <string.h>

#include "onnx/qdq.h"
#include "onnx/unfold.h"

enum { MAX_INPUTS = 6, MAX_ATTRIBUTES = 5 };

/* A node under way: inputs behind x and scale, in order. */
typedef struct draft {
    const char *op_type;
    const char *rounding;
    float scalars[4];
    const char *suffixes[4];
    int n_scalars;
    bool zero_points;
    struct {
        const char *name;
        int64_t value;
    } flags[4];
    int n_flags;
} draft;

/* QONNX' word for a rounding, NULL where it has none. Its HALF_DOWN, ties toward zero, no integer format has. */
static const char *rounding_mode(qn_rounding rounding)
{
    static const char *const words[] = {
        [QN_ROUND_NEAREST_EVEN] = "ROUND",
        [QN_ROUND_NEAREST_AWAY] = "HALF_UP",
        [QN_ROUND_TOWARD_ZERO] = "DOWN",
        [QN_ROUND_FLOOR] = "FLOOR",
    };
    return (size_t)rounding < sizeof words / sizeof words[0] ? words[rounding] : NULL;
}

static void put_flag(draft *d, const char *name, bool value)
{
    d->flags[d->n_flags].name = name;
    d->flags[d->n_flags++].value = value ? 1 : 0;
}

static void put_scalar(draft *d, const char *suffix, double value)
{
    d->suffixes[d->n_scalars] = suffix;
    d->scalars[d->n_scalars++] = (float)value;
}

static const char *plan_integer(draft *d, const qn_format *f, bool constant)
{
    if (f->bits == 1 && f->is_signed) {
        return "Quant with one signed bit means -1 and 1; uint1, int2:narrow or binary are held";
    }
    if (f->kind == QN_FORMAT_FIXED && !constant && f->overflow != QN_OVERFLOW_SATURATE &&
        f->overflow != QN_OVERFLOW_SYMMETRIC) {
        return "Quant saturates; ap_fixed with SAT or SAT_SYM is held";
    }
    d->op_type = "Quant";
    d->zero_points = true;
    put_scalar(d, "_bits", f->bits);
    put_flag(d, "signed", f->is_signed);
    put_flag(d, "narrow", f->narrow || (f->kind == QN_FORMAT_FIXED && f->overflow == QN_OVERFLOW_SYMMETRIC));
    return NULL;
}

static const char *plan_float(draft *d, const qn_format *f)
{
    const qn_params one = {.scale = 1.0f, .multiplier = 1.0f};
    qn_format_limits limits;
    qn_format_limits_get(&limits, *f, &one);
    if (limits.highest > (double)FLT_MAX || limits.smallest < 0x1p-149) {
        return "FloatQuant computes in float32, which has no such exponents; fewer exponent bits are held";
    }
    d->op_type = "FloatQuant";
    put_scalar(d, "_exponent_bits", f->exponent_bits);
    put_scalar(d, "_mantissa_bits", f->mantissa_bits);
    put_scalar(d, "_exponent_bias", f->exponent_bias);
    put_scalar(d, "_max", limits.highest);
    put_flag(d, "has_inf", f->variant == QN_FLOAT_IEEE);
    put_flag(d, "has_nan", f->variant != QN_FLOAT_FINITE);
    put_flag(d, "has_subnormal", true);
    put_flag(d, "saturation", f->overflow == QN_OVERFLOW_SATURATE);
    return NULL;
}

static const char *plan(draft *d, const qn_value *value)
{
    const qn_quantizer *q = value->quantizer;
    const qn_format *f = &q->format;
    const bool constant = value->constant != NULL || value->codes != NULL;
    *d = (draft){.rounding = rounding_mode(f->rounding)};
    if (q->dynamic) {
        return "its parameters are fitted anew to each input; --ranges static, or --format-of-file org";
    }
    if (q->group != 0) {
        return "groups of elements share parameters; --per channel or tensor, or --format-of-file org";
    }
    if (q->axis >= 0 && value->rank < 0 && !constant) {
        return "it has parameters along an axis and no declared shape; --per tensor, or a file with shapes";
    }
    if (d->rounding == NULL && constant) {
        d->rounding = "ROUND"; /* codes are there already */
    }
    if (f->kind == QN_FORMAT_BINARY) {
        d->op_type = "BipolarQuant";
        d->rounding = NULL;
        return NULL;
    }
    const char *reason = "QONNX has integers, floats and bipolar values; --format-of-file org holds every format";
    if (f->kind == QN_FORMAT_INT || f->kind == QN_FORMAT_FIXED) {
        reason = plan_integer(d, f, constant);
    } else if (f->kind == QN_FORMAT_FLOAT) {
        reason = plan_float(d, f);
    }
    return reason == NULL && d->rounding == NULL
               ? "QONNX has no such rounding; nearest-even, nearest-away, toward-zero and floor are held"
               : reason;
}

static bool codes_come_back(qn_unfolder *u, const qn_quantizer *q, const qn_tensor *codes, bool *failed)
{
    const size_t n = (size_t)qn_tensor_count(codes);
    float *x = qn_arena_array(&u->scratch, n, sizeof *x);
    void *again = qn_arena_alloc(&u->scratch, qn_tensor_bytes(codes));
    *failed = x == NULL || again == NULL;
    if (*failed) {
        return false;
    }
    qn_quantizer_decode(x, codes->data, q, codes->rank, codes->dims);
    qn_quantizer_encode(again, x, q, codes->rank, codes->dims);
    return memcmp(again, codes->data, qn_tensor_bytes(codes)) == 0;
}

const char *qn_qonnx_reason(qn_unfolder *u, qn_value_id v)
{
    const qn_value *value = &u->from->values[v];
    draft d;
    const char *reason = plan(&d, value);
    if (reason != NULL || (value->constant == NULL && value->codes == NULL)) {
        return reason;
    }
    const qn_tensor *codes = qn_unfold_constant_codes(u, v);
    bool failed = codes == NULL;
    if (!failed && codes_come_back(u, value->quantizer, codes, &failed)) {
        return NULL;
    }
    return failed ? "there is no memory to check its codes"
                  : "QONNX keeps constants as float32, from which these codes do not come back; --bias float, or "
                    "--format-of-file qdq";
}

/* One float for all, or as many as the axis has, in the rank of x. */
static qn_status add_floats(const qn_unfolder *u, const char *name, const char *suffix, const float *x, int64_t n,
                            int axis, int rank, qn_value_id *id)
{
    qn_tensor t = {.dtype = QN_DTYPE_F32, .data = (void *)(uintptr_t)x};
    bool equal = true;
    for (int64_t i = 1; i < n; i++) {
        equal = equal && memcmp(&x[i], &x[0], sizeof *x) == 0;
    }
    if (axis >= 0 && !(equal && strcmp(suffix, "_zero_point") == 0)) {
        const int first = n == 1 ? axis : 0; /* of an axis with one element, the rank says which it is */
        t.rank = rank - first;
        for (int i = 0; i < t.rank; i++) {
            t.dims[i] = first + i == axis ? n : 1;
        }
    }
    return qn_unfold_add_constant(u, name, suffix, &t, id);
}

/* Scale and, for integers, zero point: inputs 1 and 2. */
static qn_status add_parameters(qn_unfolder *u, const draft *d, const qn_value *value, int rank,
                                qn_value_id inputs[MAX_INPUTS], int *n)
{
    const qn_quantizer *q = value->quantizer;
    const unsigned used = qn_format_parameters(q->format);
    const int64_t sets = q->n;
    float *scale = qn_arena_array(&u->scratch, (size_t)sets, sizeof *scale);
    float *zero = qn_arena_array(&u->scratch, (size_t)sets, sizeof *zero);
    if (scale == NULL || zero == NULL) {
        return qn_fail_memory(u->err, value->name, 0);
    }
    for (int64_t i = 0; i < sets; i++) {
        const qn_params p = qn_quantizer_get(q, i);
        scale[i] = (used & QN_PARAM_SCALE) != 0 ? p.scale : 1.0f;
        zero[i] = (float)p.zero_point;
    }
    if (q->format.kind == QN_FORMAT_FIXED) {
        const qn_params one = {.scale = 1.0f, .multiplier = 1.0f};
        scale[0] = (float)qn_format_value(q->format, &one, 1);
    }
    const int axis = (used & QN_PARAM_SCALE) != 0 ? q->axis : -1;
    QN_TRY(add_floats(u, value->name, "_scale", scale, sets, axis, rank, &inputs[(*n)++]));
    if (d->zero_points) {
        QN_TRY(add_floats(u, value->name, "_zero_point", zero, sets, axis, rank, &inputs[(*n)++]));
    }
    return QN_OK;
}

static qn_status add_node(qn_unfolder *u, qn_value_id v, int rank, qn_value_id x, qn_value_id y)
{
    const qn_value *value = &u->from->values[v];
    draft d;
    (void)plan(&d, value); /* checked before */
    qn_value_id inputs[MAX_INPUTS] = {x};
    int n = 1, n_attributes = 0;
    QN_TRY(add_parameters(u, &d, value, rank, inputs, &n));
    for (int i = 0; i < d.n_scalars; i++) {
        QN_TRY(add_floats(u, value->name, d.suffixes[i], &d.scalars[i], 1, -1, 0, &inputs[n++]));
    }
    qn_attribute attributes[MAX_ATTRIBUTES];
    for (int i = 0; i < d.n_flags; i++) {
        attributes[n_attributes++] =
            (qn_attribute){.name = d.flags[i].name, .type = QN_ATTRIBUTE_INT, .i = d.flags[i].value};
    }
    if (d.rounding != NULL) {
        attributes[n_attributes++] =
            (qn_attribute){.name = "rounding_mode", .type = QN_ATTRIBUTE_STRING, .s = d.rounding};
    }
    const char *name = qn_arena_printf(&u->to->arena, "%s_%s", value->name, d.op_type);
    return qn_unfold_add_node(u, qn_domain_name(QN_DOMAIN_QONNX), d.op_type, name, inputs, n, attributes, n_attributes,
                              y);
}

qn_status qn_qonnx_add(qn_unfolder *u, qn_value_id v, qn_value_id x, qn_value_id y)
{
    return add_node(u, v, u->from->values[v].rank, x, y);
}

qn_status qn_qonnx_add_constant(qn_unfolder *u, qn_value_id v, qn_value_id y)
{
    const qn_value *value = &u->from->values[v];
    const qn_tensor *codes = qn_unfold_constant_codes(u, v);
    qn_tensor x = codes != NULL ? *codes : (qn_tensor){0};
    x.dtype = QN_DTYPE_F32;
    x.data = codes != NULL ? qn_arena_alloc(&u->scratch, qn_tensor_bytes(&x)) : NULL;
    if (x.data == NULL) {
        return qn_fail_memory(u->err, value->name, 0);
    }
    qn_quantizer_decode(x.data, codes->data, value->quantizer, codes->rank, codes->dims);
    qn_value_id id;
    QN_TRY(qn_unfold_add_constant(u, value->name, "_float", &x, &id));
    return add_node(u, v, x.rank, id, y);
}
