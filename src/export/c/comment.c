/* What a layer computes, in words and numbers. */
#include "export/c/cmsis.h"

static const char *rounding_text(qn_ratio_rounding how)
{
    static const char *const texts[] = {
        [QN_ROUND_NEAREST_EVEN] = "to nearest, ties to even",
        [QN_ROUND_NEAREST_AWAY] = "to nearest, ties away from 0",
        [QN_ROUND_NEAREST_UP] = "to nearest, ties up",
        [QN_ROUND_FLOOR] = "down",
    };
    return how.twice ? "half up to 31 bits, then to nearest, ties away from 0 (twice)" : texts[how.rounding];
}

static void print_weights(qn_export_text *text, const qn_export_conv *c)
{
    const bool depthwise = qn_c_is_depthwise(c);
    char number[QN_EXPORT_FLOAT_MAX];
    qn_export_printf(text, " *   weights ");
    qn_c_print_name(text, c->weight_name != NULL ? c->weight_name : "");
    qn_export_printf(text, " %sint%d, %s = ", c->weight_signed ? "" : "u", c->weight_bits,
                     depthwise ? "[row][column][channel]" : "[output][row][column][input]");
    if (depthwise) {
        qn_export_printf(text, "[%d][%d][%d]", c->kernel[0], c->kernel[1], c->outputs);
    } else {
        qn_export_printf(text, "[%d][%d][%d][%d]", c->outputs, c->kernel[0], c->kernel[1], c->group_inputs);
    }
    qn_export_printf(text, c->weight_bits == 8 ? "" : ", packed, lowest bits first");
    const qn_quantizer *q = c->weight_quantizer;
    if (q->n == 1) {
        qn_export_printf(text, "; w = (code - %d) * %s\n", (int)q->zero_point[0], qn_export_float(number, q->scale[0]));
    } else {
        qn_export_printf(text, "; %lld scales\n", (long long)q->n);
    }
}

static void print_decode(qn_export_text *text, const qn_export_conv *c)
{
    char a[QN_EXPORT_FLOAT_MAX];
    bool same = true;
    for (int k = 1; k < c->outputs; k++) {
        same = same && c->out_scale[k] == c->out_scale[0] && (c->out_bias == NULL || c->out_bias[k] == c->out_bias[0]);
    }
    qn_export_printf(text, " *   the result are the sums; in the model they stand for");
    for (int k = 0; k < (same ? 1 : c->outputs); k++) {
        if (!same) {
            qn_export_printf(text, "%s y[%d] =", k > 0 ? "," : "", k);
        }
        if (!same && k % 4 == 3) {
            qn_export_printf(text, "\n *    ");
        }
        qn_export_printf(text, " sum * %s", qn_export_float(a, c->out_scale[k]));
        if (c->out_bias != NULL) {
            qn_export_printf(text, " + %s", qn_export_float(a, c->out_bias[k]));
        }
    }
    if (c->out_lo > -3e38f || c->out_hi < 3e38f) {
        qn_export_printf(text, ", clamped to %s ..", qn_export_float(a, c->out_lo));
        qn_export_printf(text, " %s", qn_export_float(a, c->out_hi));
    }
    qn_export_printf(text, "\n");
}

static bool has_zeros(const qn_export_conv *c)
{
    bool any = false;
    for (int k = 0; k < c->outputs; k++) {
        any = any || c->zero_w[k] != 0;
    }
    return any;
}

static void print_conv(qn_export_text *text, const qn_export_conv *c, bool cmsis, const qn_export_tensor *x,
                       const qn_export_tensor *y)
{
    const qn_export_requantize *r = &c->requantize;
    qn_export_printf(text,
                     " *   kernel %d x %d, stride %d %d, dilation %d %d, pad above and left %d %d, groups %d\n"
                     " *   sum(k) = bias[k] + sum over rows, columns, channels of (x - %d) * %s; padding counts 0\n",
                     c->kernel[0], c->kernel[1], c->stride[0], c->stride[1], c->dilation[0], c->dilation[1], c->pad[0],
                     c->pad[1], c->groups, (int)x->zero_point, has_zeros(c) ? "(w - zero_w[k])" : "w");
    qn_export_printf(text, " *   accumulator: %d bits hold every sum and partial sum (proven)", c->proven_bits);
    if (c->accumulator_bits < 32 || c->saturate) {
        qn_export_printf(text, "; the model's has %d and %s", c->accumulator_bits,
                         !c->saturate   ? "wraps"
                         : c->by_matrix ? "saturates, product by product: channels, rows, columns"
                                        : "saturates, product by product: rows, columns, channels");
    }
    qn_export_printf(text, "\n");
    if (c->decodes) {
        print_decode(text, c);
    } else if (r->kind == QN_REQUANTIZE_FLOAT) {
        qn_export_printf(
            text,
            " *   code = clamp(rint((float)sum * ratio[k]), %d - %d, %d - %d) + %d, in 32-bit float, ties to "
            "even\n",
            (int)y->lo, (int)y->zero_point, (int)y->hi, (int)y->zero_point, (int)y->zero_point);
    } else {
        qn_export_printf(text, " *   code = clamp(round(sum * multiplier[k] %s) + %d, %d, %d), rounded %s\n",
                         cmsis ? "* 2^(shift[k] - 31)" : "/ 2^shift[k]", (int)y->zero_point, (int)y->lo, (int)y->hi,
                         rounding_text(r->how));
    }
    print_weights(text, c);
}

/* Behind a formula in float. */
static const char *how_floats(bool soft)
{
    return soft ? "; computed in integers" : "";
}

static void print_add(qn_export_text *text, const qn_export_add *a, bool soft, const qn_export_tensor *x0,
                      const qn_export_tensor *x1, const qn_export_tensor *y)
{
    char p[QN_EXPORT_FLOAT_MAX], q[QN_EXPORT_FLOAT_MAX];
    if (a->is_fixed) {
        qn_export_printf(text,
                         " *   code = clamp(q2(q0((a - %d) * 2^%d) + q1((b - %d) * 2^%d)) + %d, %d, %d)\n"
                         " *   qi(x) = round(x * multiplier[i] / 2^shift[i]), shifts %d %d %d, rounded %s\n",
                         (int)x0->zero_point, a->left, (int)x1->zero_point, a->left, (int)y->zero_point, (int)y->lo,
                         (int)y->hi, (int)a->fixed[0].shift, (int)a->fixed[1].shift, (int)a->fixed[2].shift,
                         rounding_text(a->how));
        return;
    }
    qn_export_printf(
        text,
        " *   code = clamp(rint((a - %d) * %s + (b - %d) * %s), %d - %d, %d - %d) + %d; 32-bit float, each "
        "product and the sum rounded%s\n",
        (int)x0->zero_point, qn_export_float(p, a->ratio[0]), (int)x1->zero_point, qn_export_float(q, a->ratio[1]),
        (int)y->lo, (int)y->zero_point, (int)y->hi, (int)y->zero_point, (int)y->zero_point, how_floats(soft));
}

static void print_mul(qn_export_text *text, const qn_export_add *a, bool soft, const qn_export_tensor *x0,
                      const qn_export_tensor *x1, const qn_export_tensor *y)
{
    char p[QN_EXPORT_FLOAT_MAX];
    if (a->is_fixed) {
        qn_export_printf(
            text, " *   code = clamp(round((a - %d) * (b - %d) * multiplier[2] / 2^%d) + %d, %d, %d), rounded %s\n",
            (int)x0->zero_point, (int)x1->zero_point, (int)a->fixed[2].shift, (int)y->zero_point, (int)y->lo,
            (int)y->hi, rounding_text(a->how));
        return;
    }
    qn_export_printf(text,
                     " *   code = clamp(rint((float)((a - %d) * (b - %d)) * %s + %d), %d, %d); 32-bit float, the "
                     "product and the sum rounded%s\n",
                     (int)x0->zero_point, (int)x1->zero_point, qn_export_float(p, a->ratio[0]), (int)y->zero_point,
                     (int)y->lo, (int)y->hi, how_floats(soft));
}

static void print_sub(qn_export_text *text, const qn_export_add *a, bool soft, const qn_export_tensor *x0,
                      const qn_export_tensor *x1, const qn_export_tensor *y)
{
    char p[3][QN_EXPORT_FLOAT_MAX];
    if (a->is_fixed) {
        qn_export_printf(text,
                         " *   code = clamp(q2(q0((a - %d) * 2^%d) - q1((b - %d) * 2^%d)) + %d, %d, %d)\n"
                         " *   qi(x) = round(x * multiplier[i] / 2^shift[i]), shifts %d %d %d, rounded %s\n",
                         (int)x0->zero_point, a->left, (int)x1->zero_point, a->left, (int)y->zero_point, (int)y->lo,
                         (int)y->hi, (int)a->fixed[0].shift, (int)a->fixed[1].shift, (int)a->fixed[2].shift,
                         rounding_text(a->how));
        return;
    }
    qn_export_printf(text,
                     " *   code = clamp(rint(((a - %d) * %s - (b - %d) * %s) / %s), %d - %d, %d - %d) + %d; 32-bit "
                     "float, each operation rounded%s\n",
                     (int)x0->zero_point, qn_export_float(p[0], a->ratio[0]), (int)x1->zero_point,
                     qn_export_float(p[1], a->ratio[1]), qn_export_float(p[2], a->ratio[2]), (int)y->lo,
                     (int)y->zero_point, (int)y->hi, (int)y->zero_point, (int)y->zero_point, how_floats(soft));
}

static void print_average(qn_export_text *text, const qn_export_pool *p, bool soft, const qn_export_tensor *x,
                          const qn_export_tensor *y)
{
    char a[QN_EXPORT_FLOAT_MAX], b[QN_EXPORT_FLOAT_MAX];
    qn_export_printf(text, p->divisor != 0 ? " *   n = %d\n" : " *   n: pixels of the window inside the map\n",
                     p->divisor);
    if (p->is_fixed) {
        qn_export_printf(text, " *   s = sum of (x - %d)", (int)p->centre);
        if (p->rescales) {
            qn_export_printf(text, ", times %d / 2^%d, rounded %s", (int)p->ratio.multiplier, (int)p->ratio.shift,
                             rounding_text(p->how));
        }
        qn_export_printf(text, "; code = clamp(s / n, halves away from 0, + %d, %d, %d)\n", (int)p->offset, (int)y->lo,
                         (int)y->hi);
    } else if (p->whole) {
        qn_export_printf(
            text, " *   code = clamp(rint((float)(sum of (x - %d)) * %s), %d - %d, %d - %d) + %d, in 32-bit float%s\n",
            (int)x->zero_point, qn_export_float(a, p->multiplier), (int)y->lo, (int)y->zero_point, (int)y->hi,
            (int)y->zero_point, (int)y->zero_point, how_floats(soft));
    } else {
        qn_export_printf(
            text,
            " *   code = clamp(rint((sum of %s * (x - %d)) / n / %s + %d), %d, %d), each step rounded to 32-bit "
            "float%s\n",
            qn_export_float(a, p->scale_x), (int)x->zero_point, qn_export_float(b, p->scale_y), (int)y->zero_point,
            (int)y->lo, (int)y->hi, how_floats(soft));
    }
}

static void print_window(qn_export_text *text, const qn_export_pool *p)
{
    qn_export_printf(
        text, " *   window %d x %d, stride %d %d, dilation %d %d, pad above and left %d %d, cut to the map\n",
        p->kernel[0], p->kernel[1], p->stride[0], p->stride[1], p->dilation[0], p->dilation[1], p->pad[0], p->pad[1]);
}

static void print_formula(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_network *n = plan->network;
    const qn_export_layer *layer = &n->layers[i];
    const qn_export_tensor *x = &n->tensors[layer->input[0]], *y = &n->tensors[layer->output];
    switch (layer->kind) {
    case QN_EXPORT_CONV:
        print_conv(text, &layer->u.conv, qn_c_cmsis_takes(plan, i), x, y);
        break;
    case QN_EXPORT_MUL:
        print_mul(text, &layer->u.add, qn_c_is_soft(n), x, &n->tensors[layer->input[1]], y);
        break;
    case QN_EXPORT_SUB:
        print_sub(text, &layer->u.add, qn_c_is_soft(n), x, &n->tensors[layer->input[1]], y);
        break;
    case QN_EXPORT_ADD:
        print_add(text, &layer->u.add, qn_c_is_soft(n), x, &n->tensors[layer->input[1]], y);
        break;
    case QN_EXPORT_MAX_POOL:
        print_window(text, &layer->u.pool);
        qn_export_printf(text, " *   code = the greatest of the window\n");
        break;
    case QN_EXPORT_AVERAGE:
        print_window(text, &layer->u.pool);
        print_average(text, &layer->u.pool, qn_c_is_soft(n), x, y);
        break;
    case QN_EXPORT_LOOKUP:
        qn_export_printf(text, " *   to row %d, column %d, channel %d of the output: code = %s\n", layer->u.lookup.y,
                         layer->u.lookup.x, layer->u.lookup.k,
                         layer->u.lookup.table != NULL ? "table[code of x - least code]" : "code of x");
        break;
    case QN_EXPORT_PAD:
        qn_export_printf(text, " *   code i = code index[i] of x, %d where index[i] is the number of its elements\n",
                         (int)layer->fill);
        break;
    case QN_EXPORT_SOFTMAX:
        qn_export_printf(
            text,
            " *   code = clamp(round(part[d] * 2^%d / (sum of share[d] * 2^%d)) + %d, %d, %d), d below the "
            "greatest of its line\n",
            layer->u.softmax.left, layer->u.softmax.right, (int)y->zero_point, (int)y->lo, (int)y->hi);
        break;
    case QN_EXPORT_NORM:
        qn_export_printf(text,
                         " *   code = clamp(round((z * gain[i] + bias[i]) / 2^%d) + %d, %d, %d), z the normalized "
                         "element in units of 2^-20\n",
                         layer->u.norm.right, (int)y->zero_point, (int)y->lo, (int)y->hi);
        break;
    case QN_EXPORT_PRODUCT:
        qn_export_printf(text,
                         " *   %d products of %d x %d by %d x %d codes; sum = sum over k of (a - %d) * (b - %d); the "
                         "accumulator has %d bits and %s\n",
                         layer->u.product.n_batches, layer->u.product.m, layer->u.product.k, layer->u.product.k,
                         layer->u.product.n, (int)x->zero_point, (int)n->tensors[layer->input[1]].zero_point,
                         layer->u.product.accumulator_bits, layer->u.product.saturate ? "saturates" : "wraps");
        break;
    default:
        qn_export_printf(text, " *   code i = code index[i] of x\n");
        break;
    }
}

void qn_c_print_comment(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_network *n = plan->network;
    const qn_export_layer *layer = &n->layers[i];
    qn_export_printf(text, "\n/* Layer %d: ", i);
    qn_c_print_name(text, layer->name);
    qn_export_printf(text, " (%s), %s\n", layer->op_type, qn_export_kind_text(layer->kind));
    for (int j = 0; j < layer->n_inputs; j++) {
        qn_export_printf(text, " *   from ");
        qn_c_print_tensor(text, n, layer->input[j]);
        qn_export_printf(text, "\n");
    }
    qn_export_printf(text, " *   to ");
    qn_c_print_tensor(text, n, layer->output);
    qn_export_printf(text, "\n");
    print_formula(text, plan, i);
    qn_export_printf(text, " */\n");
}
