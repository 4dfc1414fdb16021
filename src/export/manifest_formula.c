/* The formulas of a layer in words, with its own numbers: what anybody has to compute to get the same codes
 * (doc/spec/arithmetic.md 3 and 4). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/manifest.h"

typedef struct writer {
    const qn_export_network *network;
    const qn_export_layer *layer;
    json_t *lines;
    qn_export_text text;
    int sum_bits; /* of a convolution: that hold every sum */
    bool failed;
} writer;

static void end_line(writer *w)
{
    w->failed |=
        w->text.failed || qn_export_json_append(w->lines, json_string(w->text.data != NULL ? w->text.data : "")) != 0;
    qn_export_text_free(&w->text);
}

#define LINE(w, ...) (qn_export_printf(&(w)->text, __VA_ARGS__), end_line(w))

static const qn_export_tensor *input_of(const writer *w, int i)
{
    return &w->network->tensors[w->layer->input[i]];
}

static const qn_export_tensor *output_of(const writer *w)
{
    return &w->network->tensors[w->layer->output];
}

/* " - 5", " + 3", "": what takes a zero point off. */
static const char *less(char text[24], int64_t zero)
{
    snprintf(text, 24, zero > 0 ? " - %lld" : " + %lld", (long long)(zero < 0 ? -zero : zero));
    return zero == 0 ? "" : text;
}

static const char *plus(char text[24], int64_t zero)
{
    return less(text, -zero);
}

/* "y * 2 + r - 1", where in the input output row y reads by kernel row r. */
static void place(qn_export_text *text, char out, char tap, int kernel, int stride, int dilation, int pad)
{
    qn_export_printf(text, stride > 1 ? "%c * %d" : "%c", out, stride);
    if (kernel > 1) {
        qn_export_printf(text, dilation > 1 ? " + %c * %d" : " + %c", tap, dilation);
    }
    if (pad > 0) {
        qn_export_printf(text, " - %d", pad);
    }
}

static void window(qn_export_text *text, const int kernel[2], const int stride[2], const int dilation[2],
                   const int pad[2])
{
    place(text, 'y', 'r', kernel[0], stride[0], dilation[0], pad[0]);
    qn_export_printf(text, ", ");
    place(text, 'x', 's', kernel[1], stride[1], dilation[1], pad[1]);
}

/* Where plain tensors are, one row of pixels: rows of a matrix, tokens. */
static bool is_single(const qn_export_tensor *t)
{
    return t->height * t->width == 1;
}

/* "[k, y, x]", "[x, k]", "[k]": an output element. */
static const char *element(const writer *w)
{
    const qn_export_tensor *y = output_of(w);
    return is_single(y) ? "[k]" : y->plain ? "[x, k]" : "[k, y, x]";
}

/* "right by 5", "left by 2". */
static const char *shift_text(char text[32], int right)
{
    snprintf(text, 32, right >= 0 ? "right by %d" : "left by %d", right >= 0 ? right : -right);
    return text;
}

static const char *rounding_text(const qn_ratio_rounding *how)
{
    return how->twice
               ? "twice: first floor((product + 2^30) / 2^31), where a shift below 31 has multiplied by 2^(31 - shift) "
                 "before and saturated to 32 bits, then the rest of a shift above 31 to nearest, halves away from "
                 "zero (arithmetic.md 4.3)"
           : how->rounding == QN_ROUND_FLOOR        ? "down (floor)"
           : how->rounding == QN_ROUND_NEAREST_UP   ? "to nearest, halves up"
           : how->rounding == QN_ROUND_NEAREST_AWAY ? "to nearest, halves away from zero"
                                                    : "to nearest, halves to even";
}

/* ---- convolutions ---- */

static void weight_index(qn_export_text *text, const qn_export_constant *c, const qn_export_conv *conv)
{
    const bool flattened = c->axes[0] != '\0' && strchr(c->axes, 'H') == NULL && strchr(c->axes, 'W') == NULL &&
                           conv->kernel[0] * conv->kernel[1] > 1; /* a matrix over a map */
    const bool single = conv->kernel[0] * conv->kernel[1] == 1;
    for (const char *axis = c->axes; *axis != '\0'; axis++) {
        qn_export_printf(text, axis == c->axes ? "" : ", ");
        if (*axis == 'I' && flattened) {
            qn_export_printf(text, "(c * %d + r) * %d + s", conv->kernel[0], conv->kernel[1]);
        } else {
            qn_export_printf(text, "%s",
                             *axis == 'O'   ? "k"
                             : *axis == 'I' ? "c"
                             : single       ? "0"
                             : *axis == 'H' ? "r"
                                            : "s");
        }
    }
}

static void sum_line(writer *w, const qn_export_constants *constants)
{
    const qn_export_conv *conv = &w->layer->u.conv;
    const qn_export_tensor *x = input_of(w, 0);
    const int bias = conv->bias_value != QN_NO_VALUE ? constants->of_value[conv->bias_value] : -1;
    const int weights = constants->of_value[conv->weight_value];
    const bool inside = bias >= 0 && !(conv->decodes && conv->out_bias != NULL);
    char zero[24];
    qn_export_text *t = &w->text;
    const bool one = is_single(x) && is_single(output_of(w)), tokens = !one && x->plain;
    qn_export_printf(t, one ? "sum(k) = " : tokens ? "sum(x, k) = " : "sum(k, y, x) = ");
    if (inside) {
        qn_export_printf(t, "%s[%s] + ", constants->rows[bias].id,
                         qn_tensor_count(constants->rows[bias].codes) == 1 ? "0" : "k");
    }
    qn_export_printf(t, "sum over c < %d", conv->group_inputs);
    if (conv->kernel[0] * conv->kernel[1] > 1) {
        qn_export_printf(t, ", r < %d, s < %d", conv->kernel[0], conv->kernel[1]);
    }
    qn_export_printf(t, " of %s%s[", x->zero_point != 0 ? "(" : "", x->id);
    if (conv->groups > 1) {
        qn_export_printf(t, "k div %d * %d + ", conv->group_outputs, conv->group_inputs);
    }
    qn_export_printf(t, tokens ? "x, c" : "c");
    if (!one && !tokens) {
        qn_export_printf(t, ", ");
        window(t, conv->kernel, conv->stride, conv->dilation, conv->pad);
    }
    qn_export_printf(t, "]%s%s * ", less(zero, x->zero_point), x->zero_point != 0 ? ")" : "");
    const bool same = qn_export_all_equal_ints(conv->zero_w, conv->outputs);
    const bool bare = same && conv->zero_w[0] == 0;
    qn_export_printf(t, "%s%s[", bare ? "" : "(", weights >= 0 ? constants->rows[weights].id : "weights");
    if (weights >= 0) {
        weight_index(t, &constants->rows[weights], conv);
    }
    qn_export_printf(t, "]%s%s", same ? less(zero, conv->zero_w[0]) : " - weight_zero_points[k]", bare ? "" : ")");
    if (conv->pad[0] > 0 || conv->pad[1] > 0) {
        qn_export_printf(t, "; places in the padding count 0");
    }
    LINE(w, "; k: output channel, c: input channel%s%s", conv->groups > 1 ? " of the group" : "",
         one      ? ""
         : tokens ? ", x: place along all axes but the last"
                  : ", y and x: place");
}

static void accumulator_line(writer *w)
{
    const qn_export_conv *conv = &w->layer->u.conv;
    const int bits = w->network->arithmetic.accumulator_bits > 0 ? w->network->arithmetic.accumulator_bits : 32;
    if (conv->saturate) {
        LINE(w,
             "the accumulator has %d bits and saturates after every product, in the order of %s, beginning with the "
             "bias "
             "(arithmetic.md 4.5)",
             bits,
             conv->by_matrix ? "input channels, kernel rows, kernel columns"
                             : "kernel rows, kernel columns, input channels");
    } else if (w->sum_bits > bits) {
        LINE(w, "the accumulator has %d bits and wraps (two's complement); %d bits would hold every sum", bits,
             w->sum_bits);
    } else {
        LINE(w, "no sum leaves %d bits, in any order (proven); the model's accumulator has %d", w->sum_bits, bits);
    }
}

/* Multipliers that are all 1: shifts alone. */
static void shift_lines(writer *w, const qn_export_requantize *r)
{
    const qn_export_tensor *y = output_of(w);
    char by[32], z[24];
    const bool ones = qn_export_all_equal_ints(r->multiplier, r->n) && r->multiplier[0] == 1;
    const bool same = qn_export_all_equal_ints(r->shift, r->n);
    if (ones && same) {
        LINE(w, "q = sum shifted to the %s: a shift by %d, %s%s", shift_text(by, r->shift[0]), abs(r->shift[0]),
             r->shift[0] > 0 ? "rounded " : "exact, saturated to 32 bits",
             r->shift[0] > 0 ? rounding_text(&r->how) : "");
    } else if (ones) {
        LINE(w,
             "q = round(sum / 2^shifts[k]): a shift by shifts[k] to the right (left where negative, saturated to 32 "
             "bits), rounded %s",
             rounding_text(&r->how));
    } else {
        LINE(w,
             "q = round(sum * multipliers[k] / 2^shifts[k]), the product exact in 64 bits, rounded %s; saturated to 32 "
             "bits",
             rounding_text(&r->how));
    }
    LINE(w, "%s%s = clamp(q%s, %d, %d)", y->id, element(w), plus(z, y->zero_point), y->lo, y->hi);
}

static void ratio_lines(writer *w, const qn_export_requantize *r)
{
    const qn_export_tensor *y = output_of(w);
    char number[QN_EXPORT_FLOAT_MAX], z[24], by[32];
    int e = 0;
    const bool same = qn_export_all_equal_floats(r->ratio, r->n);
    if (same) {
        qn_export_printf(&w->text, "v = float32(sum) * %s", qn_export_float(number, r->ratio[0]));
    } else {
        qn_export_printf(&w->text, "v = float32(sum) * ratios[k]");
    }
    LINE(w, ", one float32 product");
    if (same && qn_export_exponent(&e, r->ratio[0])) {
        LINE(w, "%s is 2^%d: a shift by %d, to the %s%s", qn_export_float(number, r->ratio[0]), e, e < 0 ? -e : e,
             shift_text(by, -e),
             w->sum_bits <= 25 ? ", rounded to nearest, halves to even, gives the same: sums fit 24 bits "
                                 "and a sign"
                               : ", of the sum rounded to 24 significant bits first");
    }
    LINE(w, "%s%s = clamp(rint(v), %d, %d)%s; rint rounds to nearest, halves to even", y->id, element(w),
         y->lo - y->zero_point, y->hi - y->zero_point, plus(z, y->zero_point));
}

static void decode_lines(writer *w)
{
    const qn_export_conv *conv = &w->layer->u.conv;
    qn_export_printf(&w->text, "%s%s = float32(sum) * scales[k]%s", output_of(w)->id, element(w),
                     conv->out_bias != NULL ? " + biases[k]" : "");
    LINE(w, "%s; the result is float32, each operation rounded",
         isfinite(conv->out_lo) || isfinite(conv->out_hi) ? ", clamped to lowest, highest" : "");
}

static void conv_lines(writer *w, const qn_export_constants *constants)
{
    const qn_export_conv *conv = &w->layer->u.conv;
    sum_line(w, constants);
    accumulator_line(w);
    if (conv->decodes) {
        decode_lines(w);
    } else if (conv->requantize.ratio != NULL) {
        ratio_lines(w, &conv->requantize);
    } else {
        shift_lines(w, &conv->requantize);
    }
}

/* ---- the others ---- */

static void broadcast_lines(writer *w)
{
    for (int i = 0; i < 2; i++) {
        const bool *broadcast = w->layer->u.add.broadcast[i];
        if (broadcast[0] || broadcast[1]) {
            LINE(w, "%s has one %s for all", input_of(w, i)->id,
                 broadcast[0] && broadcast[1] ? "pixel"
                 : broadcast[0]               ? "row"
                                              : "column");
        }
    }
}

static void float_sum_lines(writer *w)
{
    const qn_export_add *add = &w->layer->u.add;
    const qn_export_tensor *y = output_of(w);
    char za[24], zb[24], zy[24], ra[QN_EXPORT_FLOAT_MAX], rb[QN_EXPORT_FLOAT_MAX], by[32];
    LINE(w, "v = float32(%s%s) * %s + float32(%s%s) * %s, float32: two products and their sum, each rounded",
         input_of(w, 0)->id, less(za, input_of(w, 0)->zero_point), qn_export_float(ra, add->ratio[0]),
         input_of(w, 1)->id, less(zb, input_of(w, 1)->zero_point), qn_export_float(rb, add->ratio[1]));
    for (int i = 0; i < 2; i++) {
        int e;
        if (qn_export_exponent(&e, add->ratio[i])) {
            LINE(w, "the ratio of %s is 2^%d: a shift by %d, to the %s", input_of(w, i)->id, e, e < 0 ? -e : e,
                 shift_text(by, -e));
        }
    }
    LINE(w, "%s = clamp(rint(v), %d, %d)%s; rint rounds to nearest, halves to even", y->id, y->lo - y->zero_point,
         y->hi - y->zero_point, plus(zy, y->zero_point));
}

static void fixed_sum_lines(writer *w)
{
    const qn_export_add *add = &w->layer->u.add;
    const qn_export_tensor *y = output_of(w);
    char z[24];
    static const char names[] = "ab";
    for (int i = 0; i < 2; i++) {
        LINE(w, "%c = round((%s%s) * 2^%d * %d / 2^%d)", names[i], input_of(w, i)->id,
             less(z, input_of(w, i)->zero_point), add->left, add->fixed[i].multiplier, add->fixed[i].shift);
    }
    LINE(w, "%s = clamp(round((a %c b) * %d / 2^%d)%s, %d, %d)", y->id, w->layer->kind == QN_EXPORT_SUB ? '-' : '+',
         add->fixed[2].multiplier, add->fixed[2].shift, plus(z, y->zero_point), y->lo, y->hi);
    LINE(w, "products exact in 64 bits, rounded %s (arithmetic.md 4.6)", rounding_text(&add->how));
}

static void difference_lines(writer *w)
{
    const qn_export_add *add = &w->layer->u.add;
    const qn_export_tensor *y = output_of(w);
    char za[24], zb[24], zy[24], s[3][QN_EXPORT_FLOAT_MAX];
    LINE(w, "v = (float32(%s%s) * %s - float32(%s%s) * %s) / %s, float32: each operation rounded", input_of(w, 0)->id,
         less(za, input_of(w, 0)->zero_point), qn_export_float(s[0], add->ratio[0]), input_of(w, 1)->id,
         less(zb, input_of(w, 1)->zero_point), qn_export_float(s[1], add->ratio[1]),
         qn_export_float(s[2], add->ratio[2]));
    LINE(w, "%s = clamp(rint(v), %d, %d)%s; rint rounds to nearest, halves to even", y->id, y->lo - y->zero_point,
         y->hi - y->zero_point, plus(zy, y->zero_point));
}

static void product_lines(writer *w)
{
    const qn_export_add *add = &w->layer->u.add;
    const qn_export_tensor *y = output_of(w);
    char za[24], zb[24], z[24], ratio[QN_EXPORT_FLOAT_MAX];
    LINE(w, "p = (%s%s) * (%s%s), exact", input_of(w, 0)->id, less(za, input_of(w, 0)->zero_point), input_of(w, 1)->id,
         less(zb, input_of(w, 1)->zero_point));
    if (add->is_fixed) {
        LINE(w, "%s = clamp(round(p * %d / 2^%d)%s, %d, %d)", y->id, add->fixed[2].multiplier, add->fixed[2].shift,
             plus(z, y->zero_point), y->lo, y->hi);
        LINE(w, "the product exact in 64 bits, rounded %s (arithmetic.md 4.10)", rounding_text(&add->how));
        return;
    }
    LINE(w, "v = float32(p) * %s%s, float32: the product and the sum, each rounded",
         qn_export_float(ratio, add->ratio[0]), plus(z, y->zero_point));
    LINE(w, "%s = clamp(rint(v), %d, %d); rint rounds to nearest, halves to even", y->id, y->lo, y->hi);
}

static void window_line(writer *w, const char *lead)
{
    const qn_export_pool *pool = &w->layer->u.pool;
    qn_export_printf(&w->text, "%s%s[k, ", lead, input_of(w, 0)->id);
    window(&w->text, pool->kernel, pool->stride, pool->dilation, pool->pad);
    LINE(w, "] over r < %d, s < %d; what lies in the padding is not seen", pool->kernel[0], pool->kernel[1]);
}

static void average_lines(writer *w)
{
    const qn_export_pool *pool = &w->layer->u.pool;
    const qn_export_tensor *x = input_of(w, 0), *y = output_of(w);
    char z[24], zy[24], number[QN_EXPORT_FLOAT_MAX], other[QN_EXPORT_FLOAT_MAX], n[32], by[32];
    snprintf(n, sizeof n, pool->divisor > 0 ? "%d" : "n (the pixels seen)", pool->divisor);
    if (pool->is_fixed) {
        qn_export_printf(&w->text, "sum = sum of v%s, v: ", less(z, pool->centre));
        window_line(w, "");
        if (pool->rescales) {
            LINE(w, "q = round(sum * %d / 2^%d), rounded %s", pool->ratio.multiplier, pool->ratio.shift,
                 rounding_text(&pool->how));
        }
        LINE(w, "%s = clamp(d%s, %d, %d), d = %s / %s rounded to nearest, halves away from 0", y->id,
             plus(zy, pool->offset), y->lo, y->hi, pool->rescales ? "q" : "sum", n);
    } else if (pool->whole) {
        int e;
        qn_export_printf(&w->text, "sum = sum of v%s, v: ", less(z, x->zero_point));
        window_line(w, "");
        LINE(w, "%s = clamp(rint(float32(sum) * %s), %d, %d)%s; rint rounds to nearest, halves to even", y->id,
             qn_export_float(number, pool->multiplier), y->lo - y->zero_point, y->hi - y->zero_point,
             plus(zy, y->zero_point));
        if (qn_export_exponent(&e, pool->multiplier)) {
            LINE(w, "%s is 2^%d: a shift by %d, to the %s", number, e, e < 0 ? -e : e, shift_text(by, -e));
        }
    } else {
        qn_export_printf(&w->text,
                         "sum = 0, then sum = sum + %s * float32(v%s) in float32 for each v, rows then columns: ",
                         qn_export_float(number, pool->scale_x), less(z, x->zero_point));
        window_line(w, "");
        LINE(w, "%s = clamp(rint((sum / %s) / %s%s), %d, %d), each operation in float32", y->id, n,
             qn_export_float(other, pool->scale_y), plus(zy, y->zero_point), y->lo, y->hi);
    }
}

static void lookup_lines(writer *w)
{
    const qn_export_lookup *l = &w->layer->u.lookup;
    const qn_export_tensor *x = input_of(w, 0), *y = output_of(w);
    char dk[24], dy[24], dx[24];
    qn_export_printf(&w->text, "%s[k%s, y%s, x%s] = ", y->id, plus(dk, l->k), plus(dy, l->y), plus(dx, l->x));
    if (l->table == NULL) {
        LINE(w, "%s[k, y, x]: a copy", x->id);
    } else {
        LINE(w, "table[%s[k, y, x]%s]", x->id, less(dk, qn_export_lowest(x)));
    }
}

static void softmax_lines(writer *w)
{
    const qn_export_softmax *s = &w->layer->u.softmax;
    const qn_export_tensor *x = input_of(w, 0), *y = output_of(w);
    char z[24];
    LINE(w, "of each line of %d elements of %s, %d apart: d = the greatest of them - the element, S = sum of share[d]",
         s->n, x->id, s->inner);
    LINE(
        w,
        "%s = clamp(round(part[d] * 2^%d / (S * 2^%d))%s, %d, %d), the quotient of integers rounded to nearest, halves "
        "to even (arithmetic.md 3.10)",
        y->id, s->left, s->right, plus(z, y->zero_point), y->lo, y->hi);
}

static void norm_lines(writer *w)
{
    const qn_export_norm *p = &w->layer->u.norm;
    const qn_export_tensor *x = input_of(w, 0), *y = output_of(w);
    char z[24];
    LINE(w, "of each line of n = %d elements of %s: A = their sum, B = the sum of their squares", p->n, x->id);
    LINE(
        w,
        "V = (n * B - A * A) * 2^%d + %lld; u = the greatest at which V * 2^(2 u) < 2^64; R = (2^62 - 1) div isqrt(V * "
        "2^(2 u)); t = %d - u",
        2 * p->half, (long long)p->add, 42 - p->half);
    LINE(w, "q = ((n * x - A) * R + 2^(t - 1)) >> t, 0 where n * B = A * A");
    LINE(w, "%s = clamp(round((q * gain[i] + bias[i]) / 2^%d)%s, %d, %d), halves to even (arithmetic.md 3.11)", y->id,
         p->right, plus(z, y->zero_point), y->lo, y->hi);
}

static void matrix_product_lines(writer *w)
{
    const qn_export_product *p = &w->layer->u.product;
    char za[24], zb[24];
    w->sum_bits = p->k < 256 && p->accumulator_bits > 25 ? 25 : 32;
    LINE(w, "sum(i, k) = sum over c < %d of (%s[left[batch] + i, c]%s) * (%s[right[batch] + c, k]%s), %d bits that %s",
         p->k, input_of(w, 0)->id, less(za, input_of(w, 0)->zero_point), input_of(w, 1)->id,
         less(zb, input_of(w, 1)->zero_point), p->accumulator_bits,
         p->saturate ? "saturate after every product" : "wrap");
    if (p->requantize.ratio != NULL) {
        ratio_lines(w, &p->requantize);
    } else {
        shift_lines(w, &p->requantize);
    }
}

json_t *qn_export_formula(const qn_export_network *network, const qn_export_constants *constants, int layer,
                          int sum_bits)
{
    writer w = {.network = network, .layer = &network->layers[layer], .lines = json_array(), .sum_bits = sum_bits};
    const qn_export_tensor *y = output_of(&w);
    switch (w.layer->kind) {
    case QN_EXPORT_CONV:
        conv_lines(&w, constants);
        break;
    case QN_EXPORT_MUL:
        product_lines(&w);
        broadcast_lines(&w);
        break;
    case QN_EXPORT_SUB:
        if (!w.layer->u.add.is_fixed) {
            difference_lines(&w);
        } else {
            fixed_sum_lines(&w);
        }
        broadcast_lines(&w);
        break;
    case QN_EXPORT_ADD:
        if (w.layer->u.add.is_fixed) {
            fixed_sum_lines(&w);
        } else {
            float_sum_lines(&w);
        }
        broadcast_lines(&w);
        break;
    case QN_EXPORT_MAX_POOL:
        qn_export_printf(&w.text, "%s[k, y, x] = ", y->id);
        window_line(&w, "the greatest of ");
        if (y->lo > qn_export_lowest(y) || y->hi < qn_export_lowest(y) + (1 << y->bits) - 1) {
            LINE(&w, "codes lie in %d..%d", y->lo, y->hi);
        }
        break;
    case QN_EXPORT_AVERAGE:
        average_lines(&w);
        break;
    case QN_EXPORT_LOOKUP:
        lookup_lines(&w);
        break;
    case QN_EXPORT_GATHER:
        LINE(&w, "element i of %s is element index[i] of %s, both in the order that vectors have (axes, layout)", y->id,
             input_of(&w, 0)->id);
        break;
    case QN_EXPORT_PAD:
        LINE(&w,
             "element i of %s is element index[i] of %s, %d where that is -1, both in the order that vectors have "
             "(axes, layout)",
             y->id, input_of(&w, 0)->id, w.layer->fill);
        break;
    case QN_EXPORT_SOFTMAX:
        softmax_lines(&w);
        break;
    case QN_EXPORT_NORM:
        norm_lines(&w);
        break;
    case QN_EXPORT_PRODUCT:
        matrix_product_lines(&w);
        break;
    case QN_EXPORT_FLOAT:
        LINE(&w, "in float32, not on codes (arithmetic.md 6)");
        break;
    }
    if (w.failed) {
        json_decref(w.lines);
        return NULL;
    }
    return w.lines;
}
