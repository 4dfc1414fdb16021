/* What stands at the head of a layer's module: its tensors and its formula in words, with its numbers. */
#include <inttypes.h>

#include "export/verilog/verilog.h"

typedef struct printer {
    qn_export_text *text;
    const qn_export_network *network;
    const qn_export_layer *layer;
    const qn_export_tensor *x, *b, *y; /* b may be NULL */
} printer;

static void print_tensor(const printer *p, const char *port, const qn_export_tensor *t, const qn_export_tensor *memory)
{
    char name[QN_MEM_NAME_MAX], scale[QN_EXPORT_FLOAT_MAX];
    qn_export_printf(p->text, "//   %s  '%s' in %s: %d x %d x %d ", port, qn_mem_name(name, t->name), memory->id,
                     t->height, t->width, t->channels);
    if (t->real) {
        qn_export_printf(p->text, "sums of 32 bits, to be decoded outside\n");
    } else {
        qn_export_printf(p->text, "codes, %sint%d, x = (code - %" PRId32 ") * %s\n", t->is_signed ? "" : "u", t->bits,
                         t->zero_point, qn_export_float(scale, t->scale));
    }
}

static const char *rounding_text(qn_ratio_rounding how)
{
    return how.twice ? "twice" : qn_requantize_rounding_text(how.rounding);
}

static void print_conv_words(const printer *p)
{
    const qn_export_conv *conv = &p->layer->u.conv;
    char lo[QN_EXPORT_FLOAT_MAX], hi[QN_EXPORT_FLOAT_MAX];
    qn_export_printf(p->text, "//   sum(k) = bias[k] + sum over r < %d, s < %d, c < %d of (x - %" PRId32 ") * %s\n",
                     conv->kernel[0], conv->kernel[1], conv->group_inputs, p->x->zero_point,
                     qn_export_conv_uneven(conv) ? "(w - zero_w[k])" : "w");
    if (conv->decodes) {
        qn_export_printf(
            p->text,
            "//   y = sum(k); what the model gives is clamp((float)sum(k) * out_scale_f32[k]%s, %s, %s), one rounding\n"
            "//   for each operation, to be computed where y is read\n",
            conv->out_bias != NULL ? " + out_bias_f32[k]" : "", qn_export_float(lo, conv->out_lo),
            qn_export_float(hi, conv->out_hi));
    } else {
        qn_export_printf(p->text,
                         "//   y = clamp(round(sum(k) * multiplier[k] / 2^shift[k]) + %" PRId32 ", %" PRId32
                         ", %" PRId32 "), rounded %s\n",
                         p->y->zero_point, p->y->lo, p->y->hi, rounding_text(conv->requantize.how));
    }
    if (conv->proven_bits <= conv->accumulator_bits) {
        qn_export_printf(p->text, "//   Accumulator: %d bits hold every finished and partial sum (proven).\n",
                         conv->proven_bits);
    } else {
        qn_export_printf(p->text, "//   Accumulator: %d bits, which %s; %d would hold every sum (proven).\n",
                         conv->accumulator_bits, conv->saturate ? "saturate after every term" : "wrap",
                         conv->proven_bits);
    }
}

static void print_words(const printer *p)
{
    const qn_export_add *add = &p->layer->u.add;
    const qn_export_pool *pool = &p->layer->u.pool;
    switch (p->layer->kind) {
    case QN_EXPORT_CONV:
        print_conv_words(p);
        return;
    case QN_EXPORT_ADD:
        qn_export_printf(p->text,
                         "//   y = clamp(q_y(q_a((a - %" PRId32 ") * 2^%d) + q_b((b - %" PRId32 ") * 2^%d)) + %" PRId32
                         ", %" PRId32 ", %" PRId32 "), rounded %s\n",
                         p->x->zero_point, add->left, p->b->zero_point, add->left, p->y->zero_point, p->y->lo, p->y->hi,
                         rounding_text(add->how));
        return;
    case QN_EXPORT_AVERAGE:
        qn_export_printf(
            p->text, "//   y = clamp(%s / n, halves away from 0, + %" PRId32 ", %" PRId32 ", %" PRId32 ")\n",
            pool->rescales ? "q(sum of (x - centre))" : "(sum of (x - centre))", pool->offset, p->y->lo, p->y->hi);
        return;
    default:
        return;
    }
}

void qn_verilog_print_words(qn_export_text *text, const qn_export_network *network, const qn_export_layer *layer)
{
    const printer at = {.text = text,
                        .network = network,
                        .layer = layer,
                        .x = &network->tensors[layer->input[0]],
                        .b = layer->kind == QN_EXPORT_ADD ? &network->tensors[layer->input[1]] : NULL,
                        .y = &network->tensors[layer->output]};
    const printer *p = &at;
    char name[QN_MEM_NAME_MAX], op[QN_MEM_NAME_MAX];
    qn_export_printf(p->text, "// Layer '%s' (%s): %s\n", qn_mem_name(name, layer->name),
                     qn_mem_name(op, layer->op_type), qn_export_kind_text(layer->kind));
    print_tensor(p, p->b != NULL ? "a" : "x", p->x, qn_verilog_memory(p->network, layer->input[0]));
    if (p->b != NULL) {
        print_tensor(p, "b", p->b, qn_verilog_memory(p->network, layer->input[1]));
    }
    print_tensor(p, "y", p->y, qn_verilog_memory(p->network, layer->output));
    print_words(p);
    qn_export_printf(p->text, "//   Done at most %" PRId64 " clocks after start.\n",
                     qn_verilog_clocks(p->network, layer));
}
