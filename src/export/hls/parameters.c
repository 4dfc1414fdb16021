/* parameters.h: the layers' configurations, with what each computes in words. */
#include <stdio.h>

#include "export/hls/hls.h"

static const char *rounding_words(qn_ratio_rounding how)
{
    static const char *const words[] = {[QN_ROUND_NEAREST_EVEN] = "to nearest, ties to even",
                                        [QN_ROUND_NEAREST_AWAY] = "to nearest, ties away from 0",
                                        [QN_ROUND_NEAREST_UP] = "to nearest, ties up",
                                        [QN_ROUND_FLOOR] = "down"};
    return how.twice ? "twice: to the high half, then to nearest away from 0" : words[how.rounding];
}

static void describe_conv(qn_export_text *text, const qn_hls *hls, int layer)
{
    const qn_export_layer *l = &hls->network->layers[layer];
    const qn_export_conv *c = &l->u.conv;
    const qn_export_tensor *y = &hls->network->tensors[l->output];
    const qn_hls_fixed *fixed = &hls->fixed[layer];
    const qn_export_tensor *x = &hls->network->tensors[l->input[0]];
    qn_export_printf(text, "// sum = bias[k] + sum of (x - %d) * ", x->zero_point);
    if (qn_export_all_equal_ints(c->zero_w, c->outputs)) {
        qn_export_printf(text, "(w - %d)", c->zero_w[0]);
    } else {
        qn_export_printf(text, "(w - z%d[k])", layer + 1);
    }
    qn_export_printf(text, "; %d bits hold every sum, the accumulator has %d%s\n", c->proven_bits, c->accumulator_bits,
                     c->saturate                            ? " and saturates"
                     : c->accumulator_bits < c->proven_bits ? " and wraps"
                                                            : "");
    if (c->decodes) {
        qn_export_printf(text, "// y = float(sum) * scale[k]%s\n", c->out_bias != NULL ? " + bias[k]" : "");
    } else if (c->requantize.kind == QN_REQUANTIZE_FLOAT) {
        qn_export_printf(text, "// y = clamp(rint(float(sum) * ratio[k]) + %d, %d, %d)\n", y->zero_point, y->lo, y->hi);
    } else {
        const bool shifts = c->requantize.kind == QN_REQUANTIZE_SHIFT;
        qn_export_printf(text, "// y = clamp(round(sum%s / 2^shift[k]) + %d, %d, %d), rounded %s\n",
                         shifts ? "" : " * multiplier[k]", y->zero_point, y->lo, y->hi,
                         rounding_words(c->requantize.how));
    }
    if (fixed->reason == NULL) {
        qn_export_printf(text, "// with QUERN_AP_FIXED: result = accumulator, which rounds and saturates\n");
    } else {
        qn_export_printf(text, "// not in ap_fixed: %s\n", fixed->reason);
    }
}

static void print_by_ratio(qn_export_text *text, qn_ratio ratio, qn_ratio_rounding how, const char *sum)
{
    if (how.twice) {
        qn_export_printf(text, "quern::by_ratio_twice(%s, %d, %d)", sum, ratio.multiplier, ratio.shift);
    } else {
        qn_export_printf(text, "quern::by_ratio<%s>(%s, %d, %d)", qn_hls_rounding(how.rounding), sum, ratio.multiplier,
                         ratio.shift);
    }
}

static void print_add(const qn_hls *hls, int layer, qn_export_text *text)
{
    const qn_export_layer *l = &hls->network->layers[layer];
    const qn_export_add *add = &l->u.add;
    const qn_export_tensor *t = hls->network->tensors;
    const qn_export_tensor *a = &t[l->input[0]], *b = &t[l->n_inputs > 1 ? l->input[1] : l->input[0]];
    const qn_export_tensor *y = &t[l->output];
    char ratio[2][QN_EXPORT_FLOAT_MAX];
    const int number = layer + 1;
    const bool fixed = hls->fixed[layer].reason == NULL;
    if (add->is_fixed) {
        qn_export_printf(text, "// each operand * 2^%d by its ratio, their sum by the output's, rounded %s\n",
                         add->left, rounding_words(add->how));
    } else {
        qn_export_printf(text, "// y = clamp(rint(float(a - %d) * ratio_a + float(b - %d) * ratio_b) + %d, %d, %d)\n",
                         a->zero_point, b->zero_point, y->zero_point, y->lo, y->hi);
    }
    if (!fixed) {
        qn_export_printf(text, "// not in ap_fixed: %s\n", hls->fixed[layer].reason);
    }
    qn_export_printf(text,
                     "struct config%d {\n"
                     "    static const int n_a = %lld, width_a = %d, n_b = %lld, width_b = %d;\n"
                     "    static const int n_out = %lld, height = %d, width = %d, channels = %d;\n"
                     "    static const bool one_row_a = %s, one_column_a = %s, one_row_b = %s, one_column_b = %s;\n",
                     number, (long long)a->count, a->width, (long long)b->count, b->width, (long long)y->count,
                     y->height, y->width, y->channels, add->broadcast[0][0] ? "true" : "false",
                     add->broadcast[0][1] ? "true" : "false", add->broadcast[1][0] ? "true" : "false",
                     add->broadcast[1][1] ? "true" : "false");
    if (fixed) {
        qn_export_printf(text,
                         "#ifdef QUERN_AP_FIXED\n    typedef quern::fixed_sum<config%d> view;\n"
                         "    static const int lo = %d, hi = %d;\n#else\n",
                         number, y->lo, y->hi);
    }
    qn_export_printf(text,
                     "    typedef quern::integer_sum<config%d> view;\n"
                     "    static const int zero_a = %d, zero_b = %d;\n"
                     "    static int sum(int a, int b)\n    {\n",
                     number, a->zero_point, b->zero_point);
    if (add->is_fixed) {
        char terms[2][32];
        for (int i = 0; i < 2; i++) {
            snprintf(terms[i], sizeof terms[i], "%c * %d", "ab"[i], 1 << add->left);
        }
        qn_export_printf(text, "        const long long terms = ");
        print_by_ratio(text, add->fixed[0], add->how, terms[0]);
        qn_export_printf(text, ".to_int64() +\n                                ");
        print_by_ratio(text, add->fixed[1], add->how, terms[1]);
        qn_export_printf(text, ".to_int64();\n        return quern::clamp(");
        print_by_ratio(text, add->fixed[2], add->how, "int(terms)");
        qn_export_printf(text, ".to_int64() + %d, %d, %d);\n", y->zero_point, y->lo, y->hi);
    } else {
        qn_export_printf(text,
                         "        return quern::code_of_float(quern::rounded(quern::rounded(float(a) * %s) +\n"
                         "                                                   quern::rounded(float(b) * %s)),\n"
                         "                                    %d, %d, %d);\n",
                         qn_hls_float(ratio[0], add->ratio[0]), qn_hls_float(ratio[1], add->ratio[1]), y->zero_point,
                         y->lo, y->hi);
    }
    qn_export_printf(text, "    }\n%s};\n", fixed ? "#endif\n" : "");
}

static void print_average(qn_export_text *text, const qn_export_pool *p, const qn_export_tensor *x,
                          const qn_export_tensor *y)
{
    char number[2][QN_EXPORT_FLOAT_MAX];
    char divisor[24] = "n";
    if (p->divisor != 0) {
        snprintf(divisor, sizeof divisor, "%d", p->divisor);
    }
    const char *n = p->divisor != 0 || p->whole ? "" : " n"; /* is the argument used? */
    if (p->is_fixed) {
        qn_export_printf(
            text,
            "    typedef int sum_t;\n    static int term(int code)\n    {\n        return code - %d;\n    }\n"
            "    static int average(int sum, int%s)\n    {\n        return quern::clamp(quern::divide(",
            p->centre, p->divisor != 0 ? "" : " n");
        if (p->rescales) {
            print_by_ratio(text, p->ratio, p->how, "sum");
            qn_export_printf(text, ".to_int64()");
        } else {
            qn_export_printf(text, "sum");
        }
        qn_export_printf(text, ", %s) + %d, %d, %d);\n    }\n", divisor, p->offset, y->lo, y->hi);
        return;
    }
    if (p->whole) {
        qn_export_printf(
            text,
            "    typedef int sum_t;\n    static int term(int code)\n    {\n        return code - %d;\n    }\n"
            "    static int average(int sum, int)\n    {\n"
            "        return quern::code_of_float(quern::rounded(float(sum) * %s), %d, %d, %d);\n    }\n",
            x->zero_point, qn_hls_float(number[0], p->multiplier), y->zero_point, y->lo, y->hi);
        return;
    }
    qn_export_printf(text,
                     "    typedef float sum_t;\n    static float term(int code)\n    {\n"
                     "        return quern::rounded(%s * float(code - %d));\n    }\n"
                     "    static int average(float sum, int%s)\n    {\n"
                     "        float v = quern::rounded(sum / float(%s));\n        v = quern::rounded(v / %s);\n"
                     "        return quern::code_of_float(quern::rounded(v + float(%d)), 0, %d, %d);\n    }\n",
                     qn_hls_float(number[0], p->scale_x), x->zero_point, n, divisor,
                     qn_hls_float(number[1], p->scale_y), y->zero_point, y->lo, y->hi);
}

static void print_pool(const qn_export_network *n, const qn_export_layer *l, int number, qn_export_text *text)
{
    const qn_export_pool *p = &l->u.pool;
    const qn_export_tensor *x = &n->tensors[l->input[0]], *y = &n->tensors[l->output];
    if (l->kind == QN_EXPORT_MAX_POOL) {
        qn_export_printf(text, "// y = the greatest code of the window, which is cut to the input\n");
    } else {
        qn_export_printf(text, "// %s\n",
                         p->is_fixed ? "sum of codes in integers, divided by n, halves away from 0"
                         : p->whole
                             ? "y = clamp(rint(float(sum of x - zero) * multiplier) + zero)"
                             : "in float, pixel after pixel: sum of scale_x * (x - zero), / n, / scale_y, + zero");
    }
    qn_export_printf(
        text,
        "struct config%d {\n"
        "    static const int n_in = %lld, in_height = %d, in_width = %d, channels = %d;\n"
        "    static const int n_out = %lld, out_height = %d, out_width = %d;\n"
        "    static const int kernel_height = %d, kernel_width = %d, stride_height = %d, stride_width = "
        "%d;\n    static const int dilation_height = %d, dilation_width = %d, pad_top = %d, pad_left = %d;\n",
        number, (long long)x->count, x->height, x->width, x->channels, (long long)y->count, y->height, y->width,
        p->kernel[0], p->kernel[1], p->stride[0], p->stride[1], p->dilation[0], p->dilation[1], p->pad[0], p->pad[1]);
    if (l->kind == QN_EXPORT_MAX_POOL) {
        qn_export_printf(text, "    static const int lowest = %d;\n", qn_export_lowest(x));
    } else {
        print_average(text, p, x, y);
    }
    qn_export_printf(text, "};\n");
}

static void print_lookup(const qn_export_network *n, const qn_export_layer *l, int number, qn_export_text *text)
{
    const qn_export_lookup *t = &l->u.lookup;
    const qn_export_tensor *x = &n->tensors[l->input[0]], *y = &n->tensors[l->output];
    qn_export_printf(text,
                     "struct config%d {\n"
                     "    static const int n_in = %lld, in_height = %d, in_width = %d, in_channels = %d;\n"
                     "    static const int n_out = %lld, out_width = %d, out_channels = %d;\n"
                     "    static const int to_row = %d, to_column = %d, to_channel = %d;\n"
                     "    static int of(int code)\n    {\n",
                     number, (long long)x->count, x->height, x->width, x->channels, (long long)y->count, y->width,
                     y->channels, t->y, t->x, t->k);
    if (t->table != NULL) {
        qn_export_printf(text, "        return t%d[code - %d];\n    }\n};\n", number, qn_export_lowest(x));
    } else {
        qn_export_printf(text, "        return code;\n    }\n};\n");
    }
}

static void print_layer(const qn_hls *hls, int layer, qn_export_text *text)
{
    const qn_export_network *n = hls->network;
    const qn_export_layer *l = &n->layers[layer];
    char name[QN_HLS_NAME_MAX];
    qn_export_printf(text, "\n// layer %d, %s: %s '%s'\n", layer + 1, qn_export_kind_text(l->kind), l->op_type,
                     qn_hls_name(name, l->name));
    const qn_export_tensor *x = &n->tensors[l->input[0]], *y = &n->tensors[l->output];
    qn_export_printf(text, "// %d x %d x %d -> %d x %d x %d (rows, columns, channels)\n", x->height, x->width,
                     x->channels, y->height, y->width, y->channels);
    switch (l->kind) {
    case QN_EXPORT_CONV:
        describe_conv(text, hls, layer);
        qn_hls_print_conv(hls, layer, text);
        break;
    case QN_EXPORT_ADD:
        print_add(hls, layer, text);
        break;
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        print_pool(n, l, layer + 1, text);
        break;
    case QN_EXPORT_LOOKUP:
        print_lookup(n, l, layer + 1, text);
        break;
    case QN_EXPORT_GATHER:
        qn_export_printf(text,
                         "struct config%d {\n    static const int n_in = %lld, n_out = %lld;\n"
                         "    static int from(int i)\n    {\n        return i%d[i];\n    }\n};\n",
                         layer + 1, (long long)n->tensors[l->input[0]].count, (long long)n->tensors[l->output].count,
                         layer + 1);
        break;
    case QN_EXPORT_MUL: /* refused before */
    case QN_EXPORT_SUB:
    case QN_EXPORT_PAD:
    case QN_EXPORT_SOFTMAX:
    case QN_EXPORT_NORM:
    case QN_EXPORT_PRODUCT:
    case QN_EXPORT_FLOAT:
        break;
    }
}

static qn_status print_include(void *ctx, const qn_hls *hls, const qn_hls_array *array, qn_error *err)
{
    (void)hls, (void)err;
    qn_export_printf(ctx, "#include \"weights/%c%d.h\"\n", array->letter, array->number);
    return QN_OK;
}

qn_status qn_hls_write_parameters(qn_hls *hls, qn_error *err)
{
    qn_export_text text = {0};
    qn_export_printf(&text, "// Layers: what each computes, and its configuration. Made by quern.\n"
                            "#ifndef PARAMETERS_H_\n#define PARAMETERS_H_\n#include \"defines.h\"\n");
    QN_TRY(qn_hls_each_array(hls, print_include, &text, err));
    for (int i = 0; i < hls->network->n_layers; i++) {
        print_layer(hls, i, &text);
    }
    qn_export_printf(&text, "\n#endif\n");
    return qn_export_text_file(hls->job, "hls/parameters.h", "configurations of layers", &text, err);
}
