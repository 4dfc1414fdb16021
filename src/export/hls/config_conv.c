/* The configuration of a convolution or matrix: geometry, access to its constants, requantization. */
#include <math.h>
#include <string.h>

#include "export/hls/hls.h"

static void print_geometry(qn_export_text *text, const qn_export_network *n, const qn_export_layer *layer)
{
    const qn_export_conv *c = &layer->u.conv;
    const qn_export_tensor *x = &n->tensors[layer->input[0]], *y = &n->tensors[layer->output];
    qn_export_printf(
        text,
        "    static const int n_in = %lld, in_height = %d, in_width = %d, in_channels = %d;\n"
        "    static const int n_out = %lld, out_height = %d, out_width = %d, outputs = %d;\n"
        "    static const int kernel_height = %d, kernel_width = %d, stride_height = %d, stride_width = %d;\n"
        "    static const int dilation_height = %d, dilation_width = %d, pad_top = %d, pad_left = %d;\n"
        "    static const int groups = %d, group_inputs = %d, group_outputs = %d;\n"
        "    static const bool by_matrix = %s, channels_first = %s;\n",
        (long long)x->count, x->height, x->width, x->channels, (long long)y->count, y->height, y->width, c->outputs,
        c->kernel[0], c->kernel[1], c->stride[0], c->stride[1], c->dilation[0], c->dilation[1], c->pad[0], c->pad[1],
        c->groups, c->group_inputs, c->group_outputs, c->by_matrix ? "true" : "false",
        y->real && !y->plain ? "true" : "false");
}

/* "m3[k]", or the number that all elements are. */
static void print_s32(qn_export_text *text, char letter, int number, const int32_t *x, int64_t n)
{
    if (qn_export_all_equal_ints(x, n)) {
        qn_export_printf(text, "%d", x[0]);
    } else {
        qn_export_printf(text, "%c%d[k]", letter, number);
    }
}

/* Bits for a shift: the sum, the half that is added to it, or what a shift to the left makes of it. */
static int shift_bits(const qn_export_conv *conv, bool *only_right)
{
    const int sum = conv->accumulator_bits < conv->proven_bits ? conv->accumulator_bits : conv->proven_bits;
    int bits = sum;
    *only_right = true;
    for (int k = 0; k < conv->requantize.n; k++) {
        const int shift = conv->requantize.shift[k];
        const int need = shift < 0 ? sum - shift : shift > sum ? shift : sum;
        bits = bits > need ? bits : need;
        *only_right = *only_right && shift > 0;
    }
    bits = bits + 2 < 64 ? bits + 2 : 64;
    return *only_right || bits > 33 ? bits : 33; /* 33 hold the bounds of 32-bit saturation */
}

static void print_ratio(qn_export_text *text, const qn_export_conv *conv, const qn_export_tensor *y, int number)
{
    const qn_export_requantize *r = &conv->requantize;
    bool shifts = true, only_right;
    const int bits = shift_bits(conv, &only_right);
    for (int k = 0; k < r->n; k++) {
        shifts = shifts && r->multiplier[k] == 1;
    }
    qn_export_printf(text, "        return quern::clamp(quern::");
    if (r->how.twice) {
        qn_export_printf(text, "by_ratio_twice(sum, ");
    } else if (shifts) {
        qn_export_printf(text, "%s<%s, %d>(sum, ", only_right ? "shift_round" : "by_shift",
                         qn_hls_rounding(r->how.rounding), bits);
    } else {
        qn_export_printf(text, "by_ratio<%s>(sum, ", qn_hls_rounding(r->how.rounding));
    }
    if (r->how.twice || !shifts) {
        print_s32(text, 'm', number, r->multiplier, r->n);
        qn_export_printf(text, ", ");
    }
    print_s32(text, 's', number, r->shift, r->n);
    qn_export_printf(text, ").to_int64() + %d, %d, %d);\n", y->zero_point, y->lo, y->hi);
}

static void print_requantize(qn_export_text *text, const qn_export_conv *conv, const qn_export_tensor *y, int number)
{
    char ratio[QN_EXPORT_FLOAT_MAX + 16];
    const bool per_channel = conv->requantize.kind != QN_REQUANTIZE_FLOAT
                                 ? !qn_export_all_equal_ints(conv->requantize.shift, conv->requantize.n) ||
                                       !qn_export_all_equal_ints(conv->requantize.multiplier, conv->requantize.n)
                                 : !qn_export_all_equal_floats(conv->requantize.ratio, conv->requantize.n);
    qn_export_printf(text, "    static int requantize(int sum, int%s)\n    {\n", per_channel ? " k" : "");
    if (conv->requantize.kind != QN_REQUANTIZE_FLOAT) {
        print_ratio(text, conv, y, number);
    } else {
        qn_export_printf(text, "        return quern::code_of_float(quern::rounded(float(sum) * ");
        if (per_channel) {
            qn_export_printf(text, "r%d[k]", number);
        } else {
            qn_export_printf(text, "%s", qn_hls_float(ratio, conv->requantize.ratio[0]));
        }
        qn_export_printf(text, "), %d, %d, %d);\n", y->zero_point, y->lo, y->hi);
    }
    qn_export_printf(text, "    }\n");
}

/* (f32)sum * scale + bias, clamped, one rounding each. */
static void print_decode(qn_export_text *text, const qn_export_conv *conv, int number)
{
    char bound[QN_EXPORT_FLOAT_MAX];
    qn_export_printf(text,
                     "    static float decode(int sum, int k)\n    {\n"
                     "        float v = quern::rounded(float(sum) * d%d[k]);\n",
                     number);
    if (conv->out_bias != NULL) {
        qn_export_printf(text, "        v = quern::rounded(v + e%d[k]);\n", number);
    }
    if (isfinite(conv->out_lo)) {
        qn_hls_float(bound, conv->out_lo);
        qn_export_printf(text, "        v = v > %s ? v : %s;\n", bound, bound);
    }
    if (isfinite(conv->out_hi)) {
        qn_hls_float(bound, conv->out_hi);
        qn_export_printf(text, "        v = v < %s ? v : %s;\n", bound, bound);
    }
    qn_export_printf(text, "        return v;\n    }\n");
}

static void print_integer(qn_export_text *text, const qn_export_conv *conv, const qn_export_tensor *x,
                          const qn_export_tensor *y, int number)
{
    const int32_t lowest = qn_export_lowest(x), highest = lowest + (1 << x->bits) - 1;
    const int32_t w_lo = conv->weight_signed ? -(1 << (conv->weight_bits - 1)) : 0;
    const int32_t w_hi = w_lo + (1 << conv->weight_bits) - 1;
    int32_t zero_lo = 0, zero_hi = 0;
    for (int k = 0; k < conv->outputs; k++) {
        zero_lo = conv->zero_w[k] < zero_lo ? conv->zero_w[k] : zero_lo;
        zero_hi = conv->zero_w[k] > zero_hi ? conv->zero_w[k] : zero_hi;
    }
    qn_export_printf(text,
                     "    typedef ap_int<%d> difference_t;\n    typedef ap_int<%d> weight_difference_t;\n"
                     "    static const int zero_x = %d;\n",
                     qn_export_bits_of(lowest - x->zero_point, highest - x->zero_point),
                     qn_export_bits_of(w_lo - zero_hi, w_hi - zero_lo), x->zero_point);
    qn_export_printf(text, "    static int zero_w(int%s)\n    {\n        return ",
                     qn_export_all_equal_ints(conv->zero_w, conv->outputs) ? "" : " k");
    print_s32(text, 'z', number, conv->zero_w, conv->outputs);
    qn_export_printf(text, ";\n    }\n");
    if (conv->decodes) {
        print_decode(text, conv, number);
    } else {
        print_requantize(text, conv, y, number);
    }
}

void qn_hls_print_conv(const qn_hls *hls, int layer, qn_export_text *text)
{
    const qn_export_network *n = hls->network;
    const qn_export_layer *l = &n->layers[layer];
    const qn_export_conv *conv = &l->u.conv;
    const qn_export_tensor *x = &n->tensors[l->input[0]], *y = &n->tensors[l->output];
    const int number = layer + 1;
    const bool fixed = hls->fixed[layer].reason == NULL;
    qn_export_printf(text, "struct config%d {\n", number);
    print_geometry(text, n, l);
    qn_export_printf(text,
                     "    typedef weight%d_t weight_t;\n    typedef accum%d_t accum_t;\n"
                     "    static weight_t weight(int at)\n    {\n        return weight_t(w%d[at]);\n    }\n"
                     "    static bias%d_t bias(int k)\n    {\n        return b%d[k];\n    }\n",
                     number, number, number, number, number);
    if (fixed) {
        qn_export_printf(text,
                         "#ifdef QUERN_AP_FIXED\n    typedef quern::fixed_view<config%d> view;\n"
                         "    static const int lo = %d, hi = %d;\n#else\n",
                         number, y->lo, y->hi);
    }
    qn_export_printf(text, "    typedef quern::%s_view<config%d> view;\n", conv->decodes ? "float" : "integer", number);
    print_integer(text, conv, x, y, number);
    qn_export_printf(text, "%s};\n", fixed ? "#endif\n" : "");
}
