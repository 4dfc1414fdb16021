/* Which layers can be said in fixed point: every scale a power of two, no zero points, and a requantization that is
 * what ap_fixed does when it is converted. */
#include <math.h>

#include "export/hls/hls.h"

enum { MAX_FRACTION = 60 }; /* decimals are made with as many bits behind the point */

/* x = 2^exponent? */
static bool exponent_of(float x, int *exponent)
{
    int e;
    if (!(x > 0) || frexpf(x, &e) != 0.5f) {
        return false;
    }
    *exponent = e - 1;
    return *exponent >= -MAX_FRACTION && *exponent <= MAX_FRACTION / 2;
}

bool qn_hls_tensor_fraction(const qn_export_tensor *t, int *fraction)
{
    int exponent;
    if (t->real || t->zero_point != 0 || !exponent_of(t->scale, &exponent)) {
        return false;
    }
    *fraction = -exponent;
    return true;
}

/* Is the requantization of channel k a rounded shift to the right by `shift`, for every sum that occurs? */
static bool is_shift(const qn_export_conv *conv, int k, int shift)
{
    const qn_export_requantize *r = &conv->requantize;
    if (r->kind == QN_REQUANTIZE_FLOAT) {
        int exponent; /* sums up to 2^24 are floats */
        return exponent_of(r->ratio[k], &exponent) && exponent == -shift && conv->bound[k] <= 1 << 24;
    }
    const uint32_t multiplier = (uint32_t)r->multiplier[k];
    if (r->how.twice || multiplier == 0 || (multiplier & (multiplier - 1)) != 0) {
        return false;
    }
    return r->shift[k] - __builtin_ctz(multiplier) == shift;
}

static const char *tensors_reason(const qn_export_network *n, const qn_export_layer *layer, int fraction[3])
{
    for (int i = 0; i < layer->n_inputs; i++) {
        if (!qn_hls_tensor_fraction(&n->tensors[layer->input[i]], &fraction[i])) {
            return "an input has a zero point, or a scale that is no power of two";
        }
    }
    return qn_hls_tensor_fraction(&n->tensors[layer->output], &fraction[2])
               ? NULL
               : "the output has a zero point, or a scale that is no power of two";
}

static const char *conv_reason(const qn_export_network *n, const qn_export_layer *layer, qn_hls_fixed *fixed)
{
    const qn_export_conv *conv = &layer->u.conv;
    int fraction[3], least = MAX_FRACTION;
    if (conv->decodes) {
        return "the result is float";
    }
    const char *reason = tensors_reason(n, layer, fraction);
    if (reason != NULL) {
        return reason;
    }
    fixed->fraction_w = -MAX_FRACTION;
    for (int k = 0; k < conv->outputs; k++) {
        const qn_quantizer *q = conv->weight_quantizer;
        int exponent;
        if (conv->zero_w[k] != 0 || !exponent_of(q->scale[q->n == 1 ? 0 : k], &exponent)) {
            return "weights have a zero point, or a scale that is no power of two";
        }
        if (!is_shift(conv, k, fraction[0] - exponent - fraction[2])) {
            return "the requantization is not one rounded shift by the scales' own exponents";
        }
        fixed->fraction_w = fixed->fraction_w > -exponent ? fixed->fraction_w : -exponent;
        least = least < -exponent ? least : -exponent;
    }
    const int spread = fixed->fraction_w - least;
    const bool narrow = conv->saturate || conv->accumulator_bits < conv->proven_bits;
    if (narrow && spread != 0) {
        return "the accumulator is narrow, and channels have different scales";
    }
    fixed->width_w = conv->weight_bits + spread;
    fixed->fraction_sum = fraction[0] + fixed->fraction_w;
    fixed->width_sum = narrow ? conv->accumulator_bits : 1;
    fixed->width_bias = 1;
    if (fixed->fraction_sum > MAX_FRACTION || fixed->fraction_sum < -MAX_FRACTION / 2 || spread > 20) {
        return "the exponents of channels are too far apart";
    }
    for (int k = 0; k < conv->outputs; k++) {
        int exponent = 0;
        (void)exponent_of(conv->weight_quantizer->scale[conv->weight_quantizer->n == 1 ? 0 : k],
                          &exponent); /* it has one */
        fixed->raise[k] = fixed->fraction_w + exponent;
        const int64_t bound = conv->bound[k] << fixed->raise[k], bias = conv->bias[k] * (INT64_C(1) << fixed->raise[k]);
        const int width = narrow ? 1 : qn_export_bits_of(-bound, bound), width_bias = qn_export_bits_of(bias, bias);
        fixed->width_sum = fixed->width_sum > width ? fixed->width_sum : width;
        fixed->width_bias = fixed->width_bias > width_bias ? fixed->width_bias : width_bias;
    }
    return fixed->width_sum > QN_HLS_EXACT_BITS || fixed->width_bias > QN_HLS_EXACT_BITS
               ? "sums on the grid of the finest channel are too wide"
               : NULL;
}

static const char *add_reason(const qn_export_network *n, const qn_export_layer *layer)
{
    const qn_export_add *add = &layer->u.add;
    int fraction[3], exponent;
    const char *reason = tensors_reason(n, layer, fraction);
    if (reason != NULL) {
        return reason;
    }
    if (add->is_fixed) {
        return "the sum is rounded more than once";
    }
    for (int i = 0; i < 2; i++) {
        if (!exponent_of(add->ratio[i], &exponent) || exponent != fraction[2] - fraction[i]) {
            return "the ratios are not the scales' own";
        }
    }
    /* 8 bits each, so far apart, and their sum: exact in f32. */
    return abs(fraction[0] - fraction[1]) > 12 ? "the operands' exponents are too far apart" : NULL;
}

qn_status qn_hls_decide(qn_hls *hls, qn_error *err)
{
    const qn_export_network *n = hls->network;
    hls->fixed = qn_arena_array(&hls->arena, (size_t)n->n_layers + 1, sizeof *hls->fixed);
    for (int i = 0; hls->fixed != NULL && i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        qn_hls_fixed *fixed = &hls->fixed[i];
        if (layer->kind == QN_EXPORT_CONV) {
            fixed->raise = qn_arena_array(&hls->arena, (size_t)layer->u.conv.outputs, sizeof *fixed->raise);
            if (fixed->raise == NULL) {
                return qn_fail_memory(err, n->graph->file, 0);
            }
            fixed->reason = conv_reason(n, layer, fixed);
        } else {
            fixed->reason = layer->kind == QN_EXPORT_ADD ? add_reason(n, layer) : "it works on codes";
        }
        hls->n_fixed += fixed->reason == NULL;
    }
    return hls->fixed != NULL ? QN_OK : qn_fail_memory(err, n->graph->file, 0);
}
