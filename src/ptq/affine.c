/* From real ranges to parameters (doc/spec/arithmetic.md, 2.3 and 2.4). Everything is computed in double and rounded
 * once. */
#include <float.h>
#include <math.h>

#include "ptq/ptq.h"

void qn_ptq_affine(qn_format format, double min, double max, float *scale, int32_t *zero_point)
{
    int32_t lowest, highest;
    qn_format_range(format, &lowest, &highest);
    const double steps = (double)highest - (double)lowest, lo = min < 0 ? min : 0, hi = max > 0 ? max : 0;
    if (lo == hi) {
        *scale = 1;
        *zero_point = format.is_signed ? 0 : lowest;
        return;
    }
    float step = (float)((hi - lo) / steps);
    *scale = step < FLT_MIN ? FLT_MIN : step > FLT_MAX ? FLT_MAX : step;
    double zero = rint(-lo / (double)*scale);
    *zero_point = (int32_t)((zero < steps ? zero : steps) + (double)lowest);
}

qn_status qn_ptq_set_params(qn_graph *graph, qn_value_id id, qn_format format, const qn_params *params, qn_error *err)
{
    const qn_quantizer q = {.format = format,
                            .axis = -1,
                            .n = 1,
                            .scale = &params->scale,
                            .zero_point = &params->zero_point,
                            .exp_bias = &params->exp_bias,
                            .shift = &params->shift,
                            .multiplier = &params->multiplier};
    return qn_graph_set_quantizer(graph, id, &q, err);
}

static double weight_at(const qn_ptq_channel *c, int64_t k)
{
    return (double)c->weights[(k / c->run) * c->step + k % c->run];
}

static qn_status magnitude(const qn_ptq_channel *c, double *absmax, const char *where, qn_error *err)
{
    *absmax = 0;
    bool finite = isfinite(c->bias) || !c->has_bias;
    for (int64_t k = 0; k < c->n; k++) {
        double a = fabs(weight_at(c, k));
        finite = finite && a <= (double)FLT_MAX;
        *absmax = a > *absmax ? a : *absmax;
    }
    return finite ? QN_OK
                  : qn_fail(err, QN_ERANGE, where, "a weight or bias is NaN or infinite; it cannot be quantized");
}

/* The least float at or above x, for 0 <= x <= FLT_MAX. */
static float round_up(double x)
{
    float f = (float)x;
    return (double)f < x ? nextafterf(f, INFINITY) : f;
}

static double greatest(const qn_ptq_channel *c)
{
    return (double)((1 << (c->bits - 1)) - 1);
}

/* Before any guard: what is wanted, or max|w| / h. A channel of zeros carries only its bias, which gets the 24 bits that
 * survive the conversion of the sum to float; 1 when there is no bias either. */
static float first_scale(const qn_ptq_channel *c, double absmax)
{
    if (absmax > 0 || c->wanted > 0) {
        return c->wanted > 0 ? c->wanted : (float)(absmax / greatest(c));
    }
    double bias = c->has_bias ? fabs((double)c->bias) / (double)c->scale_x * 0x1p-24 : 0;
    return bias > 0 && bias < (double)FLT_MAX ? (float)bias : 1.0f;
}

/* Both the scale and scale_x * scale, which the bias has, must be normal. */
static float normal_scale(const qn_ptq_channel *c, float scale)
{
    float least = round_up((double)FLT_MIN / (double)c->scale_x);
    while (c->scale_x * least < FLT_MIN) {
        least = nextafterf(least, INFINITY);
    }
    least = least < FLT_MIN ? FLT_MIN : least;
    return scale < least ? least : scale;
}

/* The code of a real in the channel's own format, as an integer; with another scale it is the nearest one. */
static double own_code(const qn_ptq_channel *c, double real)
{
    const qn_params own = {.scale = c->own_scale, .multiplier = 1}, one = {.scale = 1, .multiplier = 1};
    return qn_format_value(*c->format, &one, qn_format_code(*c->format, &own, real, 0)) / (double)c->unit;
}

/* Encode with `scale`; the result is the greatest magnitude that the sum can have. */
static double encode_with(const qn_ptq_channel *c, float scale, int8_t *codes, double *bias_code)
{
    const double h = greatest(c);
    const bool is_own = c->format != NULL && scale == c->own_scale * c->unit;
    double sum = 0;
    for (int64_t k = 0; k < c->n; k++) {
        double code = is_own ? own_code(c, weight_at(c, k)) : rint(weight_at(c, k) / (double)scale);
        code = is_own ? code : code < -h ? -h : code > h ? h : code;
        codes[(k / c->run) * c->step + k % c->run] = (int8_t)code;
        sum += fabs(code);
    }
    float bias_scale = c->scale_x * scale;
    *bias_code = c->has_bias ? rint((double)c->bias / (double)bias_scale) : 0;
    return fabs(*bias_code) + sum * (double)c->max_x;
}

/* The least scale from `scale` on that is a power of two, if all are, and at which the requantization's ratio is exact;
 * the scale itself where any is. */
static float fit_ratio(const qn_ptq_channel *c, float scale)
{
    int exponent;
    if (c->po2 && frexpf(scale, &exponent) != 0.5f) {
        scale = ldexpf(1, exponent); /* infinite beyond all floats, and then refused */
    }
    return c->arithmetic != NULL && c->scale_y > 0 ? qn_ptq_ratio_scale(c->arithmetic, c->scale_x, c->scale_y, scale)
                                                   : scale;
}

qn_status qn_ptq_channel_encode(const qn_ptq_channel *channel, float *scale, int8_t *codes, int32_t *bias_code,
                                bool *raised, const char *where, qn_error *err)
{
    enum { MAX_ATTEMPTS = 256 };
    double absmax, bias;
    QN_TRY(magnitude(channel, &absmax, where, err));
    float first = first_scale(channel, absmax);
    const float asked = fit_ratio(channel, first);
    *scale = fit_ratio(channel, normal_scale(channel, first));
    for (int attempt = 0; attempt<MAX_ATTEMPTS && * scale> 0; attempt++) {
        double worst = encode_with(channel, *scale, codes, &bias);
        if (worst < 0x1p31 && fabs(bias) < channel->limit_b) {
            *bias_code = (int32_t)bias;
            *raised = *scale > asked && absmax > 0;
            return isfinite(channel->scale_x * *scale)
                       ? QN_OK
                       : qn_fail(err, QN_ERANGE, where,
                                 "the product of input and weight scale is not a float; the ranges are too wide");
        }
        double excess = worst * 0x1p-31, excess_b = fabs(bias) / channel->limit_b;
        double wanted = (double)*scale * (excess > excess_b ? excess : excess_b) * (1 + 0x1p-20);
        if (wanted > (double)FLT_MAX) {
            break;
        }
        *scale = fit_ratio(channel, round_up(wanted));
    }
    return qn_fail(
        err, QN_ERANGE, where,
        "no weight scale keeps the bias below %.10g and the sums of products below 2^31; keep the node in float%s",
        channel->limit_b, channel->limit_b < 0x1p31 ? ", or take a wider format for the bias" : "");
}
