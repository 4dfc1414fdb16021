/* Layers in the manifest: geometry, work, widths, requantization, the formulas. */
#include <math.h>
#include <string.h>

#include "export/manifest.h"

static json_t *pair(const int x[2])
{
    return json_pack("[ii]", x[0], x[1]);
}

static json_t *geometry(const int kernel[2], const int stride[2], const int dilation[2], const int pad[2])
{
    return json_pack("{s:o, s:o, s:o, s:o}", "kernel", pair(kernel), "stride", pair(stride), "dilation", pair(dilation),
                     "pad_before", pair(pad));
}

static json_t *accumulator(const qn_export_job *job, int layer, int *sum_bits)
{
    const qn_export_layer *l = &job->network->layers[layer];
    const qn_export_conv *conv = &l->u.conv;
    int64_t bound = 0;
    for (int k = 0; k < conv->outputs; k++) {
        bound = conv->bound[k] > bound ? conv->bound[k] : bound;
    }
    *sum_bits = conv->proven_bits;
    json_t *observed = json_null();
    if (job->least != NULL) {
        const int64_t a = job->least[layer], b = job->greatest[layer];
        observed = json_pack("{s:I, s:I, s:i, s:I}", "least", (json_int_t)a, "greatest", (json_int_t)b, "bits",
                             qn_export_bits_of(a, b), "vectors", (json_int_t)job->n_vectors);
    }
    const char *order =
        conv->by_matrix ? "input channels, kernel rows, kernel columns" : "kernel rows, kernel columns, input channels";
    const int bits = job->network->arithmetic.accumulator_bits;
    return json_pack("{s:i, s:s, s:s, s:{s:I, s:I, s:i, s:I}, s:o}", "bits", bits > 0 ? bits : 32, "overflow",
                     job->network->arithmetic.saturate ? "saturate" : "wrap", "order",
                     conv->saturate ? order : "any: the result is the same", "proven", "least", (json_int_t)conv->least,
                     "greatest", (json_int_t)conv->greatest, "bits", *sum_bits, "bound", (json_int_t)bound, "observed",
                     observed);
}

static const char *rounding_of(qn_requantization kind, const qn_ratio_rounding *how)
{
    return kind == QN_REQUANTIZE_FLOAT ? "nearest-even"
           : how->twice                ? "twice"
                                       : qn_requantize_rounding_text(how->rounding);
}

/* Null where there is none. */
static json_t *bound_json(float x)
{
    return isfinite(x) ? json_real((double)x) : json_null();
}

static json_t *requantize_json(const qn_export_requantize *r)
{
    json_t *object =
        json_pack("{s:s, s:s}", "kind", qn_requantize_text(r->kind), "rounding", rounding_of(r->kind, &r->how));
    if (r->ratio != NULL) {
        qn_export_json_set(object, "ratios", qn_export_json_reals(r->ratio, r->n));
        qn_export_json_set(object, "ratios_hex", qn_export_json_hex(r->ratio, r->n));
        qn_export_json_set(object, "ratio_exponents", qn_export_json_exponents(r->ratio, r->n));
    } else {
        qn_export_json_set(object, "multipliers", qn_export_json_ints(r->multiplier, r->n));
        qn_export_json_set(object, "shifts", qn_export_json_ints(r->shift, r->n));
    }
    return object;
}

static json_t *requantization(const qn_export_conv *conv)
{
    if (conv->decodes) {
        return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "kind", "decode", "scales",
                         qn_export_json_reals(conv->out_scale, conv->outputs), "scales_hex",
                         qn_export_json_hex(conv->out_scale, conv->outputs), "biases",
                         conv->out_bias != NULL ? qn_export_json_reals(conv->out_bias, conv->outputs) : json_null(),
                         "lowest", bound_json(conv->out_lo), "highest", bound_json(conv->out_hi));
    }
    return requantize_json(&conv->requantize);
}

static json_t *constant_id(const qn_export_constants *constants, qn_value_id value)
{
    const int row = value != QN_NO_VALUE ? constants->of_value[value] : -1;
    return row >= 0 ? json_string(constants->rows[row].id) : json_null();
}

static void add_conv(json_t *object, const qn_export_job *job, const qn_export_constants *constants, int layer,
                     int *sum_bits)
{
    const qn_export_layer *l = &job->network->layers[layer];
    const qn_export_conv *conv = &l->u.conv;
    const int64_t outputs = job->network->tensors[l->output].count;
    json_t *shape = geometry(conv->kernel, conv->stride, conv->dilation, conv->pad);
    qn_export_json_set(shape, "groups", json_integer(conv->groups));
    qn_export_json_set(shape, "group_inputs", json_integer(conv->group_inputs));
    qn_export_json_set(shape, "group_outputs", json_integer(conv->group_outputs));
    qn_export_json_set(object, "weights", constant_id(constants, conv->weight_value));
    qn_export_json_set(object, "biases", constant_id(constants, conv->bias_value));
    qn_export_json_set(object, "geometry", shape);
    qn_export_json_set(object, "macs", json_integer(outputs * conv->kernel[0] * conv->kernel[1] * conv->group_inputs));
    const bool same = qn_export_all_equal_ints(conv->zero_w, conv->outputs);
    qn_export_json_set(object, "weight_zero_points", qn_export_json_ints(conv->zero_w, same ? 1 : conv->outputs));
    qn_export_json_set(object, "accumulator", accumulator(job, layer, sum_bits));
    qn_export_json_set(object, "requantization", requantization(conv));
}

static json_t *ratio_json(const qn_ratio *ratio)
{
    return json_pack("{s:i, s:i}", "multiplier", ratio->multiplier, "shift", ratio->shift);
}

static void add_sum(json_t *object, const qn_export_add *add)
{
    qn_export_json_set(object, "broadcast_rows", json_pack("[bb]", add->broadcast[0][0], add->broadcast[1][0]));
    qn_export_json_set(object, "broadcast_columns", json_pack("[bb]", add->broadcast[0][1], add->broadcast[1][1]));
    json_t *r = json_pack("{s:s, s:s}", "kind", add->is_fixed ? "fixed" : "float", "rounding",
                          rounding_of(add->is_fixed ? QN_REQUANTIZE_FIXED : QN_REQUANTIZE_FLOAT, &add->how));
    if (add->is_fixed) {
        qn_export_json_set(r, "left_shift", json_integer(add->left));
        qn_export_json_set(r, "operands", json_pack("[oo]", ratio_json(&add->fixed[0]), ratio_json(&add->fixed[1])));
        qn_export_json_set(r, "sum", ratio_json(&add->fixed[2]));
    } else {
        qn_export_json_set(r, "ratios", qn_export_json_reals(add->ratio, add->n_ratios));
        qn_export_json_set(r, "ratios_hex", qn_export_json_hex(add->ratio, add->n_ratios));
        qn_export_json_set(r, "ratio_exponents", qn_export_json_exponents(add->ratio, add->n_ratios));
    }
    qn_export_json_set(object, "requantization", r);
}

static void add_pool(json_t *object, const qn_export_pool *pool, bool averages)
{
    qn_export_json_set(object, "geometry", geometry(pool->kernel, pool->stride, pool->dilation, pool->pad));
    if (!averages) {
        return;
    }
    qn_export_json_set(object, "divisor", pool->divisor > 0 ? json_integer(pool->divisor) : json_string("pixels seen"));
    json_t *r = json_pack("{s:s}", "kind", pool->is_fixed ? "fixed" : "float");
    if (pool->is_fixed) {
        qn_export_json_set(r, "centre", json_integer(pool->centre));
        qn_export_json_set(r, "offset", json_integer(pool->offset));
        qn_export_json_set(r, "ratio", pool->rescales ? ratio_json(&pool->ratio) : json_null());
        qn_export_json_set(r, "rounding", json_string(rounding_of(QN_REQUANTIZE_FIXED, &pool->how)));
    } else if (pool->whole) {
        qn_export_json_set(r, "ratios", qn_export_json_reals(&pool->multiplier, 1));
        qn_export_json_set(r, "ratios_hex", qn_export_json_hex(&pool->multiplier, 1));
        qn_export_json_set(r, "ratio_exponents", qn_export_json_exponents(&pool->multiplier, 1));
    } else {
        const float scales[2] = {pool->scale_x, pool->scale_y};
        qn_export_json_set(r, "scales", qn_export_json_reals(scales, 2));
        qn_export_json_set(r, "scales_hex", qn_export_json_hex(scales, 2));
    }
    qn_export_json_set(object, "requantization", r);
}

static void add_lookup(json_t *object, const qn_export_lookup *lookup)
{
    json_t *table = lookup->table != NULL ? json_array() : json_null();
    for (int i = 0; lookup->table != NULL && i < lookup->n_table; i++) {
        qn_export_json_append(table, json_integer(lookup->table[i]));
    }
    qn_export_json_set(object, "table", table);
    qn_export_json_set(object, "place", json_pack("[iii]", lookup->y, lookup->x, lookup->k));
}

static json_t *unsigned_json(const uint32_t *x, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        qn_export_json_append(list, json_integer(x[i]));
    }
    return list;
}

static void add_softmax(json_t *object, const qn_export_softmax *softmax)
{
    qn_export_json_set(object, "line", json_integer(softmax->n));
    qn_export_json_set(object, "inner", json_integer(softmax->inner));
    qn_export_json_set(object, "share", unsigned_json(softmax->share, 256));
    qn_export_json_set(object, "part", unsigned_json(softmax->part, 256));
    qn_export_json_set(object, "left", json_integer(softmax->left));
    qn_export_json_set(object, "right", json_integer(softmax->right));
}

static void add_norm(json_t *object, const qn_export_norm *norm)
{
    json_t *bias = json_array();
    for (int i = 0; i < norm->n; i++) {
        qn_export_json_append(bias, json_integer(norm->bias[i]));
    }
    qn_export_json_set(object, "line", json_integer(norm->n));
    qn_export_json_set(object, "add", json_integer(norm->add));
    qn_export_json_set(object, "half", json_integer(norm->half));
    qn_export_json_set(object, "right", json_integer(norm->right));
    qn_export_json_set(object, "gain", qn_export_json_ints(norm->gain, norm->n));
    qn_export_json_set(object, "bias", bias);
}

static void add_product(json_t *object, const qn_export_product *p)
{
    qn_export_json_set(object, "geometry",
                       json_pack("{s:i, s:i, s:i, s:i, s:o, s:o}", "batches", p->n_batches, "m", p->m, "n", p->n, "k",
                                 p->k, "left", qn_export_json_ints(p->left, p->n_batches), "right",
                                 qn_export_json_ints(p->right, p->n_batches)));
    qn_export_json_set(object, "macs", json_integer((json_int_t)p->n_batches * p->m * p->n * p->k));
    qn_export_json_set(
        object, "sums",
        json_pack("{s:i, s:s}", "bits", p->accumulator_bits, "overflow", p->saturate ? "saturate" : "wrap"));
    qn_export_json_set(object, "requantization", requantize_json(&p->requantize));
}

static json_t *code_json(const qn_export_tensor *t, int32_t code)
{
    return t->real ? json_null() : json_integer(code);
}

static json_t *zero_point(const qn_export_tensor *t)
{
    return t->real ? json_null() : json_integer(t->zero_point);
}

static json_t *inputs(const qn_export_network *n, const qn_export_layer *l, bool zero_points)
{
    json_t *list = json_array();
    for (int i = 0; i < l->n_inputs; i++) {
        const qn_export_tensor *t = &n->tensors[l->input[i]];
        qn_export_json_append(list, zero_points ? zero_point(t) : json_string(t->id));
    }
    return list;
}

json_t *qn_export_layer_json(const qn_export_job *job, const qn_export_constants *constants, int layer)
{
    const qn_export_network *n = job->network;
    const qn_export_layer *l = &n->layers[layer];
    json_t *object =
        json_pack("{s:o, s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o}", "name", qn_export_json_string(l->name), "id",
                  l->id, "operator", l->op_type, "kind", qn_export_kind_text(l->kind), "inputs", inputs(n, l, false),
                  "output", n->tensors[l->output].id, "input_zero_points", inputs(n, l, true), "output_zero_point",
                  zero_point(&n->tensors[l->output]), "output_lowest",
                  code_json(&n->tensors[l->output], n->tensors[l->output].lo), "output_highest",
                  code_json(&n->tensors[l->output], n->tensors[l->output].hi));
    int sum_bits = 0;
    switch (l->kind) {
    case QN_EXPORT_CONV:
        add_conv(object, job, constants, layer, &sum_bits);
        break;
    case QN_EXPORT_ADD:
    case QN_EXPORT_MUL:
    case QN_EXPORT_SUB:
        add_sum(object, &l->u.add);
        break;
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        add_pool(object, &l->u.pool, l->kind == QN_EXPORT_AVERAGE);
        break;
    case QN_EXPORT_LOOKUP:
        add_lookup(object, &l->u.lookup);
        break;
    case QN_EXPORT_PAD:
        qn_export_json_set(object, "fill", json_integer(l->fill));
        qn_export_json_set(object, "index", qn_export_json_ints(l->u.index, n->tensors[l->output].count));
        break;
    case QN_EXPORT_GATHER:
        qn_export_json_set(object, "index", qn_export_json_ints(l->u.index, n->tensors[l->output].count));
        break;
    case QN_EXPORT_SOFTMAX:
        add_softmax(object, &l->u.softmax);
        break;
    case QN_EXPORT_NORM:
        add_norm(object, &l->u.norm);
        break;
    case QN_EXPORT_PRODUCT:
        add_product(object, &l->u.product);
        break;
    case QN_EXPORT_FLOAT:
        qn_export_json_set(object, "reason", qn_export_json_string(l->reason != NULL ? l->reason : ""));
        break;
    }
    qn_export_json_set(object, "formula", qn_export_formula(n, constants, layer, sum_bits));
    return object;
}
