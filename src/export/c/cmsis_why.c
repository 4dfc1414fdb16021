/* Which layers CMSIS-NN computes byte for byte as the model has them. Beyond what its headers document, conditions keep
 * clear of cases in which code for one processor differs from that for another; each says which. */
#include "export/c/cmsis.h"

bool qn_c_cmsis_takes(const qn_c_plan *plan, int layer)
{
    return plan->cmsis_nn && qn_c_cmsis_why(plan->network, layer) == NULL;
}

static bool rounds_alike(qn_ratio_rounding how)
{
    return how.twice || how.rounding == QN_ROUND_NEAREST_UP;
}

qn_ratio qn_c_cmsis_ratio(qn_ratio ratio)
{
    while (ratio.multiplier != 0 && ratio.multiplier < 1 << 30 && ratio.shift < 62) {
        ratio.multiplier *= 2;
        ratio.shift++;
    }
    return (qn_ratio){.multiplier = ratio.multiplier, .shift = 31 - ratio.shift};
}

/* Values up to `bound` in magnitude pass arm_nn_requantize without overflow, which it does not look for: shifted left,
 * with MVE and one rounding by one bit more, and rounded. */
static bool fits(int64_t bound, qn_ratio ratio)
{
    const int shift = qn_c_cmsis_ratio(ratio).shift;
    return shift < 0 ? bound <= INT32_MAX : shift <= 30 && bound <= INT32_MAX >> (shift + 1);
}

static qn_ratio ratio_of(const qn_export_requantize *r, int k)
{
    const int i = r->n == 1 ? 0 : k;
    return (qn_ratio){.multiplier = r->multiplier[i], .shift = r->shift[i]};
}

/* Windows of `reach` pixels see at least one of the map: others are computed from what lies beside it. */
static bool see_map(int reach, int stride, int pad, int in, int out)
{
    return pad < reach && (int64_t)(out - 1) * stride - pad < in;
}

static bool signed_codes(const qn_export_network *n, const qn_export_layer *layer)
{
    bool all = n->tensors[layer->output].is_signed;
    for (int i = 0; i < layer->n_inputs; i++) {
        all = all && n->tensors[layer->input[i]].is_signed;
    }
    return all;
}

static const char *why_not_weights(const qn_export_conv *c)
{
    if (!c->weight_signed) {
        return "its weights are unsigned";
    }
    for (int k = 0; k < c->outputs; k++) {
        if (c->zero_w[k] != 0) {
            return "its weights have zero points";
        }
    }
    if (c->weight_bits != 8 && c->weight_bits != 4) {
        return "its weights have neither 8 nor 4 bits";
    }
    /* rows of a matrix of nibbles that begin inside of a byte: releases differ */
    const int64_t row = qn_c_is_depthwise(c) ? c->outputs : c->n_weights / c->outputs;
    return c->weight_bits == 4 && row % 2 != 0 ? qn_c_is_depthwise(c)
                                                     ? "it has an odd number of channels and 4-bit weights"
                                                     : "it has an odd number of 4-bit weights per output"
                                               : NULL;
}

static const char *why_not_arithmetic(const qn_export_conv *c)
{
    if (c->decodes) {
        return "its result is sums, not codes";
    }
    if (c->saturate || c->accumulator_bits != 32) {
        return "its accumulator is narrower than 32 bits";
    }
    if (c->requantize.kind == QN_REQUANTIZE_FLOAT) {
        return "it requantizes in float";
    }
    if (!rounds_alike(c->requantize.how)) {
        return "it rounds neither twice nor nearest-up";
    }
    for (int k = 0; k < c->outputs; k++) {
        if (!fits(c->bound[k], ratio_of(&c->requantize, k))) {
            return "its sums may leave 32 bits where they are rescaled";
        }
    }
    return NULL;
}

/* arm_depthwise_conv_3x3_s8 reads the middle column of every window, whether it is in the map or not. */
static bool middle_inside(const qn_export_conv *c, const qn_export_tensor *x, const qn_export_tensor *y)
{
    const bool applies = c->kernel[0] == 3 && c->kernel[1] == 3 && c->pad[0] <= 1 && c->pad[1] <= 1;
    return !applies || (int64_t)(y->width - 1) * c->stride[1] - c->pad[1] + 1 < x->width;
}

/* One row by a kernel of one row goes to arm_convolve_1_x_n*, which for MVE wants left and right padding alike but for
 * the odd pixel, and windows that are padded at one side at most. */
static bool row_is_even(const qn_export_conv *c, const qn_export_tensor *x, const qn_export_tensor *y)
{
    if (x->height != 1 || c->kernel[0] != 1 || (c->dilation[1] != 1 && c->kernel[1] != 1)) {
        return true;
    }
    const int64_t pad = c->pad[1], stride = c->stride[1];
    const int64_t total = (y->width - 1) * stride + c->kernel[1] - x->width;
    const int64_t left = (pad + stride - 1) / stride, right = (pad + total % 2 + stride - 1) / stride;
    return c->pad[0] == 0 && 2 * pad + total % 2 == total && left + (right < 1 ? 1 : right) <= y->width &&
           (c->weight_bits == 8 || x->channels % 2 == 0);
}

bool qn_c_cmsis_is_pixel(const qn_export_network *network, const qn_export_layer *layer)
{
    const qn_export_conv *c = &layer->u.conv;
    return qn_c_is_matrix(network, layer) ||
           (c->groups == 1 && c->kernel[0] == 1 && c->kernel[1] == 1 && c->pad[0] == 0 && c->pad[1] == 0);
}

static const char *why_not_shape(const qn_export_network *n, const qn_export_layer *layer)
{
    enum {
        MOST_SIDE = INT16_MAX,
        MOST_TAPS = UINT16_MAX
    }; /* indices of columns are int16_t, numbers of taps uint16_t */
    const qn_export_conv *c = &layer->u.conv;
    const qn_export_tensor *x = &n->tensors[layer->input[0]], *y = &n->tensors[layer->output];
    if (qn_c_is_matrix(n, layer)) {
        return NULL;
    }
    if (c->groups > 1 && !qn_c_is_depthwise(c)) {
        return "it has groups of channels";
    }
    bool sees = true, small = c->n_weights / c->outputs <= MOST_TAPS && c->outputs <= MOST_TAPS;
    const int in[2] = {x->height, x->width}, out[2] = {y->height, y->width};
    for (int i = 0; i < 2; i++) {
        sees = sees && see_map((c->kernel[i] - 1) * c->dilation[i] + 1, c->stride[i], c->pad[i], in[i], out[i]);
        small = small && in[i] <= MOST_SIDE && out[i] <= MOST_SIDE && (int64_t)out[i] * c->stride[i] <= MOST_SIDE;
    }
    if (!small) {
        return "it is too large for CMSIS-NN's indices of 16 bits";
    }
    const bool even = qn_c_is_depthwise(c)            ? middle_inside(c, x, y)
                      : qn_c_cmsis_is_pixel(n, layer) ? true
                                                      : row_is_even(c, x, y);
    return sees && even ? NULL : "its padding is one that CMSIS-NN does not have";
}

static const char *why_not_conv(const qn_export_network *n, const qn_export_layer *layer)
{
    const char *why = why_not_arithmetic(&layer->u.conv);
    why = why != NULL ? why : why_not_weights(&layer->u.conv);
    return why != NULL ? why : why_not_shape(n, layer);
}

static const char *why_not_add(const qn_export_network *n, const qn_export_layer *layer)
{
    enum { LEFT = 20 };
    const qn_export_add *a = &layer->u.add;
    const int64_t count = n->tensors[layer->output].count;
    if (!a->is_fixed) {
        return "it adds in float";
    }
    if (!rounds_alike(a->how)) {
        return "it rounds neither twice nor nearest-up";
    }
    if (n->tensors[layer->input[0]].count != count || n->tensors[layer->input[1]].count != count) {
        return "an operand has one row or column for all";
    }
    const int64_t term = INT64_C(255) << LEFT; /* and what becomes of it */
    const double sum = (double)term * (qn_ratio_value(&a->fixed[0]) + qn_ratio_value(&a->fixed[1])) + 2;
    return a->left == LEFT && sum <= INT32_MAX && fits(term, a->fixed[0]) && fits(term, a->fixed[1]) &&
                   fits((int64_t)sum, a->fixed[2])
               ? NULL
               : "its sums may leave 32 bits where they are rescaled";
}

static const char *why_not_pool(const qn_export_network *n, const qn_export_layer *layer)
{
    const qn_export_pool *p = &layer->u.pool;
    const qn_export_tensor *x = &n->tensors[layer->input[0]], *y = &n->tensors[layer->output];
    const int in[2] = {x->height, x->width}, out[2] = {y->height, y->width};
    bool dense = true, sees = true, whole = true;
    for (int i = 0; i < 2; i++) {
        dense = dense && (p->dilation[i] == 1 || p->kernel[i] == 1);
        sees = sees && see_map(p->kernel[i], p->stride[i], p->pad[i], in[i], out[i]);
        whole = whole && p->pad[i] == 0 && (int64_t)(out[i] - 1) * p->stride[i] + p->kernel[i] <= in[i];
    }
    if (!dense) {
        return "its windows are dilated";
    }
    if (!sees) {
        return "a window of it is outside of the map";
    }
    if (layer->kind == QN_EXPORT_MAX_POOL) {
        return NULL;
    }
    if (!p->is_fixed) {
        return "it averages in float";
    }
    if (p->rescales || p->centre != 0 || p->offset != 0) {
        return "its output has another scale or zero point than its input, and CMSIS-NN has no MEAN";
    }
    return p->divisor == 0 || (whole && (int64_t)p->kernel[0] * p->kernel[1] == p->divisor)
               ? NULL
               : "it counts pixels outside of the map";
}

const char *qn_c_cmsis_why(const qn_export_network *n, int i)
{
    const qn_export_layer *layer = &n->layers[i];
    const bool codes =
        layer->kind == QN_EXPORT_CONV ? layer->u.conv.decodes || signed_codes(n, layer) : signed_codes(n, layer);
    switch (layer->kind) {
    case QN_EXPORT_CONV:
        return codes ? why_not_conv(n, layer) : "its codes are unsigned";
    case QN_EXPORT_ADD:
        return codes ? why_not_add(n, layer) : "its codes are unsigned";
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        return codes ? why_not_pool(n, layer) : "its codes are unsigned";
    default:
        return "CMSIS-NN has no such layer";
    }
}

const char *qn_c_cmsis_function(const qn_export_network *n, int i)
{
    const qn_export_layer *layer = &n->layers[i];
    const qn_export_conv *c = &layer->u.conv;
    switch (layer->kind) {
    case QN_EXPORT_CONV:
        return qn_c_is_depthwise(c) && !qn_c_is_matrix(n, layer)
                   ? (c->weight_bits == 8 ? "arm_depthwise_conv_wrapper_s8" : "arm_depthwise_conv_wrapper_s4")
                   : (c->weight_bits == 8 ? "arm_convolve_wrapper_s8" : "arm_convolve_wrapper_s4");
    case QN_EXPORT_ADD:
        return "arm_elementwise_add_s8";
    case QN_EXPORT_MAX_POOL:
        return "arm_max_pool_s8";
    default:
        return "arm_avgpool_s8";
    }
}

/* arm_depthwise_conv_*_get_buffer_size: the window as 16-bit numbers, or four of 124 channels as bytes. */
static int64_t depthwise_bytes(const qn_export_conv *c, qn_c_cmsis_processor processor)
{
    enum { MVE_CHANNELS = 124 };
    const int64_t taps = (int64_t)c->kernel[0] * c->kernel[1], window = 2 * taps * c->outputs;
    const int64_t blocks = 4 * taps * MVE_CHANNELS;
    if ((c->dilation[0] != 1 && c->kernel[0] != 1) || (c->dilation[1] != 1 && c->kernel[1] != 1)) {
        return 0;
    }
    if (c->weight_bits == 4) {
        return processor == QN_C_CMSIS_MVE && blocks > window ? blocks : window;
    }
    const bool small = c->kernel[0] == 3 && c->kernel[1] == 3 && c->pad[0] <= 1 && c->pad[1] <= 1;
    return processor == QN_C_CMSIS_MVE ? blocks : processor == QN_C_CMSIS_ANY || small ? 0 : window;
}

int64_t qn_c_cmsis_bytes(const qn_export_network *n, int i, qn_c_cmsis_processor processor)
{
    const qn_export_layer *layer = &n->layers[i];
    const qn_export_conv *c = &layer->u.conv;
    if (layer->kind == QN_EXPORT_AVERAGE) { /* a sum per channel */
        const bool dsp = processor == QN_C_CMSIS_DSP || processor == QN_C_CMSIS_DSP_ARMCLANG;
        return dsp ? 4 * (int64_t)n->tensors[layer->input[0]].channels : 0;
    }
    if (layer->kind != QN_EXPORT_CONV) {
        return 0;
    }
    const int64_t taps = c->n_weights / c->outputs;
    if (qn_c_cmsis_is_pixel(n, layer)) {
        return processor == QN_C_CMSIS_DSP_ARMCLANG && c->weight_bits == 8 ? 4 * taps : 0;
    }
    if (qn_c_is_depthwise(c)) {
        return depthwise_bytes(c, processor);
    }
    /* two columns of 16-bit numbers in fours, or four of bytes in sixteens */
    return processor == QN_C_CMSIS_MVE ? 4 * ((taps + 15) / 16 * 16) : 4 * ((taps + 3) / 4 * 4);
}

int64_t qn_c_cmsis_most_bytes(const qn_c_plan *plan, qn_c_cmsis_processor processor)
{
    int64_t most = 4;
    for (int i = 0; i < plan->network->n_layers; i++) {
        const int64_t bytes = qn_c_cmsis_takes(plan, i) ? qn_c_cmsis_bytes(plan->network, i, processor) : 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

qn_c_cmsis_rounding qn_c_cmsis_rounding_of(const qn_c_plan *plan)
{
    for (int i = 0; i < plan->network->n_layers; i++) {
        const qn_export_layer *layer = &plan->network->layers[i];
        if (qn_c_cmsis_takes(plan, i) && (layer->kind == QN_EXPORT_CONV || layer->kind == QN_EXPORT_ADD)) {
            const qn_ratio_rounding how =
                layer->kind == QN_EXPORT_CONV ? layer->u.conv.requantize.how : layer->u.add.how;
            return how.twice ? QN_C_CMSIS_TWICE : QN_C_CMSIS_SINGLE;
        }
    }
    return QN_C_CMSIS_ANY_ROUNDING;
}
