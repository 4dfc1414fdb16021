/* Conv, Gemm and MatMul by constant matrices become convolution steps (doc/spec/arithmetic.md 3.2, 3.3). */
#include "engine/integer/lower.h"

#include <math.h>

#include "engine/integer/island.h"
#include "engine/integer/multiplier.h"

static bool fits(const int64_t pair[2])
{
    return pair[0] <= INT32_MAX && pair[1] <= INT32_MAX;
}

static void set_pair(int to[2], const int64_t from[2])
{
    to[0] = (int)from[0], to[1] = (int)from[1];
}

/* Codes of a constant input of up to 8 bits whose quantizer is per tensor or along `axis`. */
static bool find_weights(qn_lowering *l, qn_value_id value, int axis, qn_plain_weights *plain)
{
    const qn_value *v = &l->graph->values[value];
    if (v->codes == NULL || v->quantizer == NULL) {
        l->reason =
            l->binding->values[value].known != NULL ? "its weights have no quantizer" : "weights that are computed";
        return false;
    }
    const qn_quantizer *q = v->quantizer;
    if (q->format.kind != QN_FORMAT_INT || q->group != 0) {
        l->reason = "weights that are not integers per tensor or channel";
        return false;
    }
    if (q->format.bits > 8 || (v->codes->dtype != QN_DTYPE_S8 && v->codes->dtype != QN_DTYPE_U8)) {
        l->reason = "weights of more than 8 bits";
        return false;
    }
    if (q->n != 1 && q->axis != axis) {
        l->reason = "weights quantized along another axis than the output channels";
        return false;
    }
    plain->codes = v->codes;
    plain->quantizer = q;
    plain->value = value;
    return true;
}

/* The bias has to be s32 at input scale x weight scale, as far as its file tells (within 1 %, the tolerance ONNX
 * Runtime has): its codes are added to the sums as they are. */
static bool find_bias(qn_lowering *l, qn_value_id id, float input_scale, int64_t n, qn_plain_weights *plain)
{
    if (id == QN_NO_VALUE) {
        return true;
    }
    const qn_value *v = &l->graph->values[id];
    if (v->codes == NULL || v->quantizer == NULL || v->codes->dtype != QN_DTYPE_S32) {
        l->reason = "a bias that is not an int32 constant";
        return false;
    }
    int64_t count = qn_tensor_count(v->codes);
    if ((count != n && count != 1) || (v->quantizer->n != 1 && v->quantizer->n != n)) {
        l->reason = "a bias that is not one value per output channel";
        return false;
    }
    for (int64_t k = 0; k < n; k++) {
        const qn_quantizer *w = plain->quantizer, *b = v->quantizer;
        float expected = input_scale * w->scale[w->n == 1 ? 0 : k], given = b->scale[b->n == 1 ? 0 : k];
        if (b->zero_point[b->n == 1 ? 0 : k] != 0 || !(fabsf(given - expected) <= 0.01f * expected)) {
            l->reason = "a bias whose scale is not input scale times weight scale";
            return false;
        }
    }
    plain->bias = v->codes;
    return true;
}

/* Any other constant of one number per output channel is added to the decoded sums. */
static bool find_any_bias(qn_lowering *l, qn_value_id id, float input_scale, int64_t n, qn_plain_weights *plain)
{
    plain->bias_value = id;
    if (find_bias(l, id, input_scale, n, plain)) {
        return true;
    }
    const qn_tensor *known = l->binding->values[id].known;
    const int64_t count = known != NULL && known->rank > 0 ? qn_tensor_count(known) : 0;
    if (count == 0 || (count != n && count != 1) || known->dims[known->rank - 1] != count ||
        known->dtype != QN_DTYPE_F32) {
        return false;
    }
    l->reason = NULL;
    plain->float_bias = known;
    return true;
}

static qn_value_id bias_of(const qn_node *node)
{
    return node->n_inputs > 2 ? node->inputs[2] : QN_NO_VALUE;
}

/* m[k] = (alpha * s_x * s_w[k]) / s_y, f32, in that order. */
static bool set_multipliers(qn_lowering *l, qn_integer_step *step, const qn_plain_weights *plain, float input_scale,
                            float output_scale)
{
    qn_integer_conv *conv = &step->u.conv;
    int per_layout = step->kind == QN_STEP_DEPTHWISE ? conv->n_groups : conv->group_outputs;
    for (int k = 0; k < conv->n_groups * conv->group_outputs; k++) {
        float m;
        if (!qn_integer_multiplier(&m, input_scale, plain->quantizer->scale[plain->quantizer->n == 1 ? 0 : k],
                                   output_scale)) {
            l->reason = "scales whose ratio is beyond float32";
            return false;
        }
        conv->multiplier[(size_t)(k / per_layout) * conv->group_entries +
                         (size_t)qn_layout_channel(&conv->layout, k % per_layout)] = m;
    }
    return true;
}

/* A step without its input's weights and the rest of finish. */
static qn_integer_step *new_step(qn_lowering *l, const qn_node *node, const qn_integer_conv *conv, int input,
                                 int output)
{
    bool depthwise = conv->n_groups > 1 && conv->group_inputs == 1 && conv->group_outputs == 1;
    qn_integer_step *step = qn_lower_step(l, depthwise ? QN_STEP_DEPTHWISE : QN_STEP_CONV, node, input, output);
    step->u.conv = *conv;
    return step;
}

/* The bias of each of n channels; NULL where there is none, or no memory. */
static const float *spread_bias(qn_lowering *l, const qn_tensor *bias, int n)
{
    float *copy = bias != NULL ? qn_arena_array(l->arena, (size_t)n, sizeof *copy) : NULL;
    for (int k = 0; copy != NULL && k < n; k++) {
        copy[k] = ((const float *)bias->data)[qn_tensor_count(bias) == 1 ? 0 : k];
    }
    return copy;
}

/* Sums that become floats (3.9). */
static qn_status finish_float(qn_lowering *l, const qn_node *node, const qn_node *last, int input,
                              const qn_integer_conv *conv, const qn_plain_weights *plain, float alpha,
                              const qn_item_shape *shape, bool plain_order, qn_error *err)
{
    qn_status status;
    qn_integer_decode decode = {0};
    qn_value_id value = qn_lower_float_result(l, last, &decode.lo, &decode.hi, &status, err);
    if (value == QN_NO_VALUE) {
        return status;
    }
    const int n = conv->n_groups * conv->group_outputs;
    decode.bias = spread_bias(l, plain->float_bias, n);
    if (decode.bias == NULL && plain->float_bias != NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *decode.bias);
    }
    int output = qn_lower_real_tensor(l, value, shape, plain_order);
    qn_island_define(l, value, output);
    qn_integer_step *step = new_step(l, node, conv, input, output);
    const qn_integer_tensor *x = qn_lower_tensor_at(l, input);
    QN_TRY(qn_integer_pack(l, step, plain, x, err));
    return qn_lower_decode(l, step, alpha * x->scale, plain->quantizer->scale, plain->quantizer->n, &decode, err);
}

/* What Conv and Gemm share once the geometry in *conv and the weights are known. alpha scales the product; `last` is
 * the node whose result the sums are. */
static qn_status finish(qn_lowering *l, const qn_node *node, const qn_node *last, int input,
                        const qn_integer_conv *conv, const qn_plain_weights *plain, float alpha,
                        const qn_item_shape *shape, bool plain_order, qn_error *err)
{
    qn_status status;
    qn_code_params params;
    if (plain->float_bias != NULL || !qn_lower_is_coded(l, last)) {
        return finish_float(l, node, last, input, conv, plain, alpha, shape, plain_order, err);
    }
    qn_value_id value = qn_lower_result(l, last, &params, &status, err);
    if (value == QN_NO_VALUE) {
        return status;
    }
    int output = qn_lower_tensor(l, value, shape, &params);
    l->code->tensors[output].plain = plain_order;
    qn_integer_step *step = new_step(l, node, conv, input, output);
    step->u.conv.zero_point = params.zero_point;
    step->u.conv.lo = params.lo;
    step->u.conv.hi = params.hi;
    const qn_integer_tensor *x = qn_lower_tensor_at(l, input);
    QN_TRY(qn_integer_pack(l, step, plain, x, err));
    if (!set_multipliers(l, step, plain, alpha * x->scale, params.scale) || !qn_lower_requantizes(l)) {
        return QN_OK;
    }
    return qn_lower_requantize(l, step, alpha * x->scale, plain->quantizer->scale, plain->quantizer->n, params.scale,
                               err);
}

qn_status qn_lower_conv(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_window w;
    QN_TRY(qn_window_of_node(&w, l->binding, node, err));
    qn_status status;
    int input = qn_lower_input(l, node, 0, &status, err);
    if (input < 0) {
        return status;
    }
    qn_plain_weights plain = {.step_s = 1, .step_r = w.kernel[1], .step_c = w.kernel[0] * w.kernel[1]};
    plain.step_k = w.c_in / w.group * plain.step_c;
    if (!find_weights(l, node->inputs[1], 0, &plain) ||
        !find_any_bias(l, bias_of(node), qn_lower_tensor_at(l, input)->scale, w.c_out, &plain)) {
        return QN_OK;
    }
    if (!fits(w.kernel) || !fits(w.stride) || !fits(w.dilation) || !fits(w.pad_begin)) {
        l->reason = "a window beyond 31 bits";
        return QN_OK;
    }
    qn_integer_conv conv = {
        .n_groups = (int)w.group, .group_inputs = (int)(w.c_in / w.group), .group_outputs = (int)(w.c_out / w.group)};
    set_pair(conv.kernel, w.kernel);
    set_pair(conv.stride, w.stride);
    set_pair(conv.dilation, w.dilation);
    set_pair(conv.pad, w.pad_begin);
    conv.rows_adjoin = w.group == 1 && (w.dilation[1] == 1 || w.kernel[1] == 1);
    qn_item_shape shape;
    return qn_lower_shape(l, node->outputs[0], &shape)
               ? finish(l, node, node, input, &conv, &plain, 1.0f, &shape, false, err)
               : QN_OK;
}

/* The Add of a constant vector of s32 codes that alone reads a product without quantizer: the product's bias. */
static const qn_node *added_bias(const qn_lowering *l, const qn_node *node, qn_value_id *bias)
{
    int next = l->consumer[node->outputs[0]];
    const qn_node *add = next >= 0 ? &l->graph->nodes[next] : NULL;
    if (add == NULL || add->op != QN_OP_ADD || l->graph->values[node->outputs[0]].quantizer != NULL) {
        return NULL;
    }
    const qn_value_id vector = add->inputs[add->inputs[0] == node->outputs[0]];
    const qn_tensor *codes = l->graph->values[vector].codes;
    if (codes == NULL || codes->dtype != QN_DTYPE_S32 || codes->rank != 1) {
        return NULL;
    }
    *bias = vector;
    return add;
}

/* Rows of the last axis times a matrix: a convolution of one row of pixels by single taps. */
static qn_status lower_rows(qn_lowering *l, const qn_node *node, const qn_gemm *g, const qn_plain_weights *plain,
                            qn_error *err)
{
    qn_status status;
    qn_item_shape x_shape, shape;
    if (!qn_lower_plain_shape(l, node->inputs[0], &x_shape) || !qn_lower_plain_shape(l, node->outputs[0], &shape)) {
        return QN_OK;
    }
    int input = qn_lower_plain_codes(l, node, node->inputs[0], &x_shape, &status, err);
    qn_plain_weights weights = *plain;
    qn_value_id bias = bias_of(node);
    const qn_node *add = bias == QN_NO_VALUE ? added_bias(l, node, &bias) : NULL;
    if (input < 0 || !find_any_bias(l, bias, qn_lower_tensor_at(l, input)->scale, g->n, &weights)) {
        return status;
    }
    weights.step_k = g->trans_b ? g->k : 1;
    weights.step_c = g->trans_b ? 1 : g->n;
    const qn_integer_conv conv = {.kernel = {1, 1},
                                  .stride = {1, 1},
                                  .dilation = {1, 1},
                                  .n_groups = 1,
                                  .group_inputs = (int)g->k,
                                  .group_outputs = (int)g->n,
                                  .rows_adjoin = true};
    if (add != NULL) {
        l->done[l->consumer[node->outputs[0]]] = true;
    }
    return finish(l, node, add != NULL ? add : node, input, &conv, &weights, g->alpha, &shape, true, err);
}

/* A matrix of weights over a flattened map is a convolution whose kernel is as large as the map: the codes stay as they
 * lie, the weights are packed in their order. */
qn_status qn_lower_gemm(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_gemm g;
    if (l->binding->values[node->inputs[1]].rank != 2) {
        l->reason = "second input is not a constant matrix";
        return QN_OK;
    }
    QN_TRY(qn_gemm_of_node(&g, l->binding, node, err));
    int input = qn_lower_input_flat(l, node, 0);
    if (input < 0) {
        return QN_OK;
    }
    const qn_bound_value *rows = &l->binding->values[node->inputs[0]];
    const qn_integer_tensor *x = qn_lower_tensor_at(l, input);
    qn_plain_weights plain = {0};
    if (!find_weights(l, node->inputs[1], g.trans_b ? 0 : 1, &plain)) {
        return QN_OK;
    }
    bool has_bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    if (rows->rank < 2 || g.trans_a || (has_bias && (g.beta != 1 || g.alpha != 1)) || !(g.alpha > 0) ||
        g.n > INT32_MAX) {
        l->reason = "a product that is not rows of the batch times a constant matrix, plus a bias";
        return QN_OK;
    }
    if (rows->rank > 2 || rows->dims[0] != l->items || x->plain) {
        return lower_rows(l, node, &g, &plain, err);
    }
    if (!find_any_bias(l, bias_of(node), x->scale, g.n, &plain)) {
        return QN_OK;
    }
    int64_t element = g.trans_b ? 1 : g.n; /* from one input element to the next */
    plain.step_k = g.trans_b ? g.k : 1;
    plain.step_s = element;
    plain.step_r = element * x->width;
    plain.step_c = element * x->width * x->height;
    const qn_integer_conv conv = {.kernel = {x->height, x->width},
                                  .stride = {1, 1},
                                  .dilation = {1, 1},
                                  .n_groups = 1,
                                  .group_inputs = x->channels,
                                  .group_outputs = (int)g.n,
                                  .rows_adjoin = true};
    const qn_item_shape shape = {1, 1, (int)g.n};
    return finish(l, node, node, input, &conv, &plain, g.alpha, &shape, false, err);
}

qn_status qn_lower_matmul(qn_lowering *l, const qn_node *node, qn_error *err)
{
    const bool computed =
        l->binding->values[node->inputs[0]].known == NULL && l->binding->values[node->inputs[1]].known == NULL;
    if (!computed) {
        return qn_lower_gemm(l, node, err);
    }
    return qn_lower_is_coded(l, node) ? qn_lower_product(l, node, err) : qn_lower_code_product(l, node, err);
}
