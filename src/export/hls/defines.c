/* defines.h: a type per tensor, and those of weights, biases and accumulators. */
#include "export/hls/hls.h"

static void print_codes(qn_export_text *text, const qn_export_tensor *t, const char *type)
{
    char scale[QN_EXPORT_FLOAT_MAX], hex[QN_EXPORT_FLOAT_MAX];
    qn_export_printf(text, "typedef ap_%s<%d> %s; // x = (code - %d) * %s (%s)\n", t->is_signed ? "int" : "uint",
                     t->bits, type, t->zero_point, qn_export_float(scale, t->scale),
                     qn_export_hex_float(hex, t->scale));
}

/* How results of the layer that makes the tensor are rounded when they are converted. */
static qn_rounding rounding_of(const qn_export_network *n, const qn_export_tensor *t)
{
    const qn_export_layer *maker = t->maker >= 0 ? &n->layers[t->maker] : NULL;
    const bool converts = maker != NULL && maker->kind == QN_EXPORT_CONV && !maker->u.conv.decodes &&
                          maker->u.conv.requantize.kind != QN_REQUANTIZE_FLOAT;
    return converts ? maker->u.conv.requantize.how.rounding : QN_ROUND_NEAREST_EVEN;
}

static void print_tensor(qn_export_text *text, const qn_export_network *n, int tensor)
{
    const qn_export_tensor *t = &n->tensors[tensor];
    char type[QN_HLS_NAME_MAX], name[QN_HLS_NAME_MAX];
    int fraction;
    if (t->real) {
        return;
    }
    qn_hls_type(type, n, tensor);
    qn_export_printf(text, "// '%s': %d x %d pixels of %d channels\n", qn_hls_name(name, t->name), t->height, t->width,
                     t->channels);
    if (!qn_hls_tensor_fraction(t, &fraction)) {
        print_codes(text, t, type);
        return;
    }
    const bool symmetric = t->is_signed && t->lo == -(1 << (t->bits - 1)) + 1;
    qn_export_printf(text, "#ifdef QUERN_AP_FIXED\ntypedef ap_%s<%d, %d, %s, %s> %s;\n#else\n",
                     t->is_signed ? "fixed" : "ufixed", t->bits, t->bits - fraction, qn_hls_rounding(rounding_of(n, t)),
                     symmetric ? "AP_SAT_SYM" : "AP_SAT", type);
    print_codes(text, t, type);
    qn_export_printf(text, "#endif\n");
}

/* What csim keeps weights in: arrays of classes with tens of thousands of initializers take compilers minutes. */
static void print_conv_codes(qn_export_text *text, const qn_export_conv *conv, int number)
{
    int32_t least = 0, most = 0;
    const int narrowest = conv->accumulator_bits < conv->proven_bits ? conv->accumulator_bits : conv->proven_bits;
    for (int k = 0; k < conv->outputs; k++) {
        least = least < conv->bias[k] ? least : conv->bias[k];
        most = most > conv->bias[k] ? most : conv->bias[k];
    }
    qn_export_printf(text, "typedef ap_%s<%d> weight%d_t;\n", conv->weight_signed ? "int" : "uint", conv->weight_bits,
                     number);
    qn_export_printf(text, "typedef ap_int<%d> bias%d_t;\n", qn_export_bits_of(least, most), number);
    if (conv->saturate) {
        qn_export_printf(text, "typedef ap_fixed<%d, %d, AP_TRN, AP_SAT> accum%d_t; // saturates\n",
                         conv->accumulator_bits, conv->accumulator_bits, number);
    } else {
        qn_export_printf(text, "typedef ap_int<%d> accum%d_t; // %s\n", narrowest, number,
                         conv->accumulator_bits < conv->proven_bits ? "wraps" : "proven: holds every sum");
    }
    qn_export_printf(text, "#ifdef __SYNTHESIS__\ntypedef weight%d_t weight%d_rom_t;\n#else\n", number, number);
    const int64_t lo = conv->weight_signed ? -(INT64_C(1) << (conv->weight_bits - 1)) : 0;
    const int64_t hi = (INT64_C(1) << (conv->weight_bits - (conv->weight_signed ? 1 : 0))) - 1;
    qn_export_printf(text, "typedef %s weight%d_rom_t;\n#endif\n", qn_hls_builtin(lo, hi), number);
}

static void print_conv(qn_export_text *text, const qn_hls *hls, int layer)
{
    const qn_export_conv *conv = &hls->network->layers[layer].u.conv;
    const qn_hls_fixed *fixed = &hls->fixed[layer];
    const int number = layer + 1;
    if (fixed->reason != NULL) {
        print_conv_codes(text, conv, number);
        return;
    }
    const bool narrow = conv->saturate || conv->accumulator_bits < conv->proven_bits;
    qn_export_printf(text, "#ifdef QUERN_AP_FIXED\ntypedef ap_%s<%d, %d> weight%d_t;\n",
                     conv->weight_signed ? "fixed" : "ufixed", fixed->width_w, fixed->width_w - fixed->fraction_w,
                     number);
    qn_export_printf(text, "typedef ap_fixed<%d, %d> bias%d_t;\n", fixed->width_bias,
                     fixed->width_bias - fixed->fraction_sum, number);
    qn_export_printf(text, "typedef ap_fixed<%d, %d, AP_TRN, %s> accum%d_t; // %s\n", fixed->width_sum,
                     fixed->width_sum - fixed->fraction_sum, conv->saturate ? "AP_SAT" : "AP_WRAP", number,
                     !narrow          ? "proven: holds every sum"
                     : conv->saturate ? "saturates"
                                      : "wraps");
    qn_export_printf(text,
                     "#ifdef __SYNTHESIS__\ntypedef weight%d_t weight%d_rom_t;\n#else\ntypedef double "
                     "weight%d_rom_t;\n#endif\n#else\n",
                     number, number, number);
    print_conv_codes(text, conv, number);
    qn_export_printf(text, "#endif\n");
}

qn_status qn_hls_write_defines(qn_hls *hls, qn_error *err)
{
    const qn_export_network *n = hls->network;
    qn_export_text text = {0};
    char name[QN_HLS_NAME_MAX];
    qn_export_printf(&text, "// Types of tensors, weights, biases and sums. Made by quern.\n"
                            "// Built with QUERN_AP_FIXED, types are fixed-point where scales are powers of two: "
                            "ap_fixed<W, I> has F = W - I\n// bits behind the point, the scale is 2^-F. Otherwise they "
                            "are the codes.\n#ifndef DEFINES_H_\n#define DEFINES_H_\n#include \"quern_hls.h\"\n");
    for (int i = 0; i < n->n_tensors; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (t->used && t->base < 0 && t->maker < 0) {
            qn_export_printf(&text, "\n");
            print_tensor(&text, n, i);
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        const int output = qn_export_base(n, layer->output);
        qn_export_printf(&text, "\n// layer %d: %s '%s'\n", i + 1, layer->op_type, qn_hls_name(name, layer->name));
        if (layer->kind == QN_EXPORT_CONV) {
            print_conv(&text, hls, i);
        }
        if (n->tensors[output].maker == i) {
            print_tensor(&text, n, output);
        }
    }
    qn_export_printf(&text, "#endif\n");
    return qn_export_text_file(hls->job, "hls/defines.h", "types of tensors, weights, biases and sums", &text, err);
}
