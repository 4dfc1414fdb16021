/* The numbers of a layer, out of a step of the integer engine: there codes are raised to be unsigned and weights packed, here
 * they are the model's. */
#include <string.h>

#include "export/network_parts.h"

/* What was added to a tensor's codes to keep them as bytes. */
static int32_t raise_of(const qn_export_tensor *t)
{
    return t->is_signed ? 128 : 0;
}

bool qn_export_all_equal_ints(const int32_t *x, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        if (x[i] != x[0]) {
            return false;
        }
    }
    return true;
}

bool qn_export_all_equal_floats(const float *x, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        if (x[i] != x[0]) {
            return false;
        }
    }
    return true;
}

static void set_pair(int to[2], const int from[2])
{
    to[0] = from[0], to[1] = from[1];
}

/* No finished or partial sum leaves these, whatever the input codes are: each term lies between w * below and w * above,
 * which have 0 between them, as a term that is not there, or of the padding, is 0. */
static void prove(qn_export_conv *conv, const qn_export_tensor *x)
{
    const int64_t below = x->lo < x->zero_point ? x->lo - x->zero_point : 0;
    const int64_t above = x->hi > x->zero_point ? x->hi - x->zero_point : 0, per = conv->n_weights / conv->outputs;
    const int16_t *w = conv->weights;
    for (int k = 0; k < conv->outputs; k++) {
        int64_t positive = 0, negative = 0;
        for (int64_t i = 0; i < per; i++) {
            const int64_t v = *w++ - conv->zero_w[k];
            positive += v > 0 ? v : 0;
            negative += v < 0 ? v : 0;
        }
        const int64_t b = conv->bias[k], lo = (b < 0 ? b : 0) + positive * below + negative * above;
        const int64_t hi = (b > 0 ? b : 0) + positive * above + negative * below;
        conv->least = k == 0 || lo < conv->least ? lo : conv->least;
        conv->greatest = k == 0 || hi > conv->greatest ? hi : conv->greatest;
    }
    conv->proven_bits = qn_export_bits_of(conv->least, conv->greatest);
}

/* Arrays of the plan, kept. */
static const void *keep(qn_export_network *n, const void *from, size_t count, size_t elem_size)
{
    void *copy = qn_arena_array(&n->arena, count, elem_size);
    if (copy != NULL) {
        memcpy(copy, from, count * elem_size);
    }
    return copy;
}

static bool set_requantize(qn_export_network *n, qn_export_conv *conv, const qn_region_finish *finish)
{
    qn_export_requantize *r = &conv->requantize;
    const size_t count = (size_t)conv->outputs;
    *r = (qn_export_requantize){.kind = n->arithmetic.requantize, .how = finish->params.how, .n = conv->outputs};
    if (finish->decodes) {
        conv->decodes = true;
        conv->out_lo = finish->low;
        conv->out_hi = finish->high;
        conv->out_scale = keep(n, finish->scale, count, sizeof(float));
        conv->out_bias = finish->bias != NULL ? keep(n, finish->bias, count, sizeof(float)) : NULL;
        return conv->out_scale != NULL && (finish->bias == NULL || conv->out_bias != NULL);
    }
    if (finish->params.ratio != NULL) {
        r->kind = QN_REQUANTIZE_FLOAT;
        r->ratio = keep(n, finish->params.ratio, count, sizeof(float));
        return r->ratio != NULL;
    }
    r->multiplier = keep(n, finish->params.multiplier, count, sizeof(int32_t));
    r->shift = keep(n, finish->params.shift, count, sizeof(int32_t));
    return r->multiplier != NULL && r->shift != NULL;
}

static const qn_quantizer *constant_of(const qn_export_network *n, qn_value_id value, const char **name)
{
    *name = value != QN_NO_VALUE ? n->graph->values[value].name : NULL;
    return value != QN_NO_VALUE ? n->graph->values[value].quantizer : NULL;
}

static qn_status read_conv(qn_export_network *n, const qn_integer_step *step, const qn_region_step *region,
                           qn_export_layer *layer, qn_error *err)
{
    const qn_integer_conv *from = &step->u.conv;
    qn_export_conv *conv = &layer->u.conv;
    layer->kind = QN_EXPORT_CONV;
    *conv = (qn_export_conv){.groups = from->n_groups,
                             .group_inputs = from->group_inputs,
                             .group_outputs = from->group_outputs,
                             .outputs = from->n_groups * from->group_outputs,
                             .by_matrix = step->node->op != QN_OP_CONV,
                             .accumulator_bits = from->requantize != NULL ? from->requantize->params.bits : 32,
                             .saturate = from->requantize != NULL && from->requantize->sums == NULL,
                             .weight_value = from->weights_value,
                             .bias_value = from->bias_value};
    set_pair(conv->kernel, from->kernel);
    set_pair(conv->stride, from->stride);
    set_pair(conv->dilation, from->dilation);
    set_pair(conv->pad, from->pad);
    conv->weight_quantizer = constant_of(n, conv->weight_value, &conv->weight_name);
    conv->bias_quantizer = constant_of(n, conv->bias_value, &conv->bias_name);
    const qn_quantizer *q = conv->weight_quantizer;
    conv->weight_bits = q->format.bits;
    conv->weight_signed = q->format.is_signed;
    const size_t outputs = (size_t)conv->outputs;
    const int n_taps = conv->kernel[0] * conv->kernel[1];
    conv->n_weights = (int64_t)conv->outputs * n_taps * conv->group_inputs;
    int16_t *w = qn_arena_array(&n->arena, (size_t)conv->n_weights, sizeof *w);
    int32_t *zero_w = qn_arena_array(&n->arena, outputs, sizeof *zero_w);
    conv->bias = keep(n, region->plain_bias, outputs, sizeof(int32_t));
    conv->bound = keep(n, from->bound, outputs, sizeof(int64_t));
    if (w == NULL || zero_w == NULL || conv->bias == NULL || conv->bound == NULL ||
        !set_requantize(n, conv, &region->finish)) {
        return qn_export_no_memory(n, err);
    }
    conv->weights = w;
    conv->zero_w = zero_w;
    for (int k = 0; k < conv->outputs; k++) {
        zero_w[k] = q->zero_point[q->n == 1 ? 0 : k];
        for (int tap = 0; tap < n_taps; tap++) {
            for (int c = 0; c < conv->group_inputs; c++) {
                *w++ = (int16_t)(qn_region_weight(step, k, tap, c) + zero_w[k]);
            }
        }
    }
    prove(conv, &n->tensors[layer->input[0]]);
    return QN_OK;
}

static void read_add(const qn_integer_step *step, qn_export_layer *layer)
{
    const qn_integer_add *from = &step->u.add;
    const qn_add_params *p = &from->params;
    const qn_kernel_op op = step->kernel->op;
    qn_export_add *add = &layer->u.add;
    layer->kind = op == QN_KERNEL_MUL ? QN_EXPORT_MUL : op == QN_KERNEL_SUB ? QN_EXPORT_SUB : QN_EXPORT_ADD;
    *add = (qn_export_add){.n_ratios = op == QN_KERNEL_MUL ? 1 : op == QN_KERNEL_SUB ? 3 : 2, .ratio = {p->ratio_a}};
    add->ratio[1] = add->n_ratios > 1 ? p->ratio_b : 0;
    add->ratio[2] = add->n_ratios > 2 ? p->scale : 0;
    for (int i = 0; i < 2; i++) {
        add->broadcast[i][0] = from->row[i] == 0;
        add->broadcast[i][1] = from->pixel[i] == 0;
        if (from->fixed != NULL && !from->fixed->product) {
            add->fixed[i] = from->fixed->operand[i];
        }
    }
    if (from->fixed != NULL) {
        add->is_fixed = true;
        add->left = from->fixed->product ? 0 : QN_FIXED_ADD_LEFT;
        add->how = from->fixed->params.how;
        add->fixed[2] = (qn_ratio){from->fixed->params.multiplier[0], from->fixed->params.shift[0]};
    }
}

static void read_pool(const qn_export_network *n, const qn_integer_step *step, qn_export_layer *layer)
{
    const qn_integer_pool *from = &step->u.pool;
    const qn_export_tensor *x = &n->tensors[step->input[0]], *y = &n->tensors[step->output];
    qn_export_pool *pool = &layer->u.pool;
    layer->kind = step->kernel->op == QN_KERNEL_MAXPOOL ? QN_EXPORT_MAX_POOL : QN_EXPORT_AVERAGE;
    *pool = (qn_export_pool){.divisor = (int)from->divisor,
                             .whole = step->kernel->op == QN_KERNEL_SUMPOOL,
                             .multiplier = from->params.multiplier,
                             .scale_x = from->params.scale_x,
                             .scale_y = from->params.scale_y};
    set_pair(pool->kernel, from->kernel);
    set_pair(pool->stride, from->stride);
    set_pair(pool->dilation, from->dilation);
    set_pair(pool->pad, from->pad);
    if (from->fixed != NULL) {
        pool->is_fixed = true;
        pool->rescales = from->fixed->rescales;
        pool->centre = from->fixed->centre - raise_of(x);
        pool->offset = from->fixed->zero_point - raise_of(y);
        pool->ratio = from->fixed->ratio;
        pool->how = from->fixed->how;
    }
}

static qn_status read_lookup(qn_export_network *n, const qn_integer_step *step, qn_export_layer *layer, qn_error *err)
{
    const qn_integer_lookup *from = &step->u.lookup;
    const qn_export_tensor *x = &n->tensors[step->input[0]], *y = &n->tensors[step->output];
    qn_export_lookup *lookup = &layer->u.lookup;
    layer->kind = QN_EXPORT_LOOKUP;
    *lookup = (qn_export_lookup){.y = from->y, .x = from->x, .k = from->k};
    if (from->table == NULL) {
        return QN_OK;
    }
    lookup->n_table = 1 << x->bits;
    int16_t *table = qn_arena_array(&n->arena, (size_t)lookup->n_table, sizeof *table);
    if (table == NULL) {
        return qn_export_no_memory(n, err);
    }
    for (int i = 0; i < lookup->n_table; i++) {
        const int32_t code = qn_export_lowest(x) + i;
        table[i] = (int16_t)(from->table[code + raise_of(x)] - raise_of(y));
    }
    lookup->table = table;
    return QN_OK;
}

static qn_status read_product(qn_export_network *n, const qn_integer_product *from, qn_export_layer *layer,
                              qn_error *err)
{
    qn_export_product *p = &layer->u.product;
    qn_export_requantize *r = &p->requantize;
    layer->kind = QN_EXPORT_PRODUCT;
    *p = (qn_export_product){.n_batches = from->n_batches,
                             .m = from->m,
                             .n = from->n,
                             .k = from->k,
                             .accumulator_bits = from->requantize.bits,
                             .saturate = from->saturate_bits > 0};
    *r = (qn_export_requantize){.kind = n->arithmetic.requantize, .how = from->requantize.how, .n = 1};
    p->left = keep(n, from->left, (size_t)from->n_batches, sizeof(int32_t));
    p->right = keep(n, from->right, (size_t)from->n_batches, sizeof(int32_t));
    if (from->requantize.ratio != NULL) {
        r->ratio = keep(n, from->requantize.ratio, 1, sizeof(float));
    } else {
        r->multiplier = keep(n, from->requantize.multiplier, 1, sizeof(int32_t));
        r->shift = keep(n, from->requantize.shift, 1, sizeof(int32_t));
    }
    return p->left == NULL || p->right == NULL || (r->ratio == NULL && (r->multiplier == NULL || r->shift == NULL))
               ? qn_export_no_memory(n, err)
               : QN_OK;
}

static qn_status read_rows(qn_export_network *n, const qn_integer_rows *from, qn_export_layer *layer, qn_error *err)
{
    if (from->product != NULL) {
        return read_product(n, from->product, layer, err);
    }
    if (from->softmax != NULL) {
        layer->kind = QN_EXPORT_SOFTMAX;
        layer->u.softmax = (qn_export_softmax){.n = from->n,
                                               .inner = from->inner,
                                               .share = keep(n, from->softmax->share, 256, sizeof(uint32_t)),
                                               .part = keep(n, from->softmax->part, 256, sizeof(uint32_t)),
                                               .left = from->softmax->left,
                                               .right = from->softmax->right};
        return layer->u.softmax.share == NULL || layer->u.softmax.part == NULL ? qn_export_no_memory(n, err) : QN_OK;
    }
    const size_t count = (size_t)from->norm->n;
    layer->kind = QN_EXPORT_NORM;
    layer->u.norm = (qn_export_norm){.n = (int)from->norm->n,
                                     .half = from->norm->half,
                                     .right = from->norm->right,
                                     .add = from->norm->add,
                                     .gain = keep(n, from->norm->gain, count, sizeof(int32_t)),
                                     .bias = keep(n, from->norm->bias, count, sizeof(int64_t))};
    return layer->u.norm.gain == NULL || layer->u.norm.bias == NULL ? qn_export_no_memory(n, err) : QN_OK;
}

qn_status qn_export_read_step(qn_export_network *n, const qn_integer_step *step, const qn_region_step *region,
                              qn_export_layer *layer, qn_error *err)
{
    switch (step->kind) {
    case QN_STEP_CONV:
    case QN_STEP_DEPTHWISE:
        return read_conv(n, step, region, layer, err);
    case QN_STEP_ADD:
        read_add(step, layer);
        return QN_OK;
    case QN_STEP_POOL:
        read_pool(n, step, layer);
        return QN_OK;
    case QN_STEP_LOOKUP:
        return read_lookup(n, step, layer, err);
    case QN_STEP_ROWS:
        return read_rows(n, &step->u.rows, layer, err);
    default:
        layer->kind = step->u.gather.fills ? QN_EXPORT_PAD : QN_EXPORT_GATHER;
        layer->fill = step->u.gather.fills ? step->u.gather.fill - raise_of(&n->tensors[step->output]) : 0;
        layer->u.index = step->u.gather.index;
        return QN_OK;
    }
}
