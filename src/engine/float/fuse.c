/* Relu, Clip and x * Sigmoid(x) folded into the step that makes their input. */
#include <math.h>

#include "engine/float/float_program.h"

qn_status qn_float_clamp_of_node(const qn_float_builder *b, const qn_node *node, qn_float_clamp *clamp, qn_error *err)
{
    *clamp = (qn_float_clamp){0, INFINITY};
    if (node->op == QN_OP_CLIP) {
        qn_clip clip;
        QN_TRY(qn_clip_of_node(&clip, b->binding, node, err));
        *clamp = (qn_float_clamp){(float)clip.lo, (float)clip.hi};
    }
    return QN_OK;
}

bool qn_float_clamps(qn_float_clamp clamp)
{
    return clamp.lo > -INFINITY || clamp.hi < INFINITY;
}

qn_status qn_float_fuse_clamp(qn_float_builder *b, const qn_node *node, qn_value_id *result, qn_float_clamp *clamp,
                              qn_error *err)
{
    *clamp = (qn_float_clamp){-INFINITY, INFINITY};
    *result = node->outputs[0];
    int32_t reader = b->reader[*result];
    bool may_vanish = !b->program->options.keep_values && (!b->program->watched || qn_float_derived(b, *result));
    if (!may_vanish || qn_float_applied(b, *result) != NULL || b->n_uses[*result] != 1 || reader < 0) {
        return QN_OK;
    }
    const qn_node *next = &b->graph->nodes[reader];
    if (next->op != QN_OP_RELU && next->op != QN_OP_CLIP) {
        return QN_OK;
    }
    qn_float_clamp found;
    QN_TRY(qn_float_clamp_of_node(b, next, &found, err));
    if (found.lo <= found.hi) { /* oneDNN does not know what else means */
        QN_TRY(qn_float_derive(b, next->outputs[0], *result, NULL, NULL, found, err));
        *clamp = found;
        *result = next->outputs[0];
        b->done[reader] = true;
    }
    return QN_OK;
}

/* The node that makes the other operand of `product`, where that is Sigmoid(x) and nothing else reads it. */
static int32_t sigmoid_beside(const qn_float_builder *b, const qn_node *product, qn_value_id x)
{
    const qn_value_id other = product->inputs[product->inputs[0] == x ? 1 : 0];
    const int32_t producer = other != x && other != QN_NO_VALUE ? b->graph->values[other].producer : -1;
    if (producer < 0 || b->n_uses[other] != 1 || qn_float_applied(b, other) != NULL) {
        return -1;
    }
    const qn_node *node = &b->graph->nodes[producer];
    return node->op == QN_OP_SIGMOID && node->inputs[0] == x ? producer : -1;
}

bool qn_float_fuse_silu(qn_float_builder *b, const qn_node *node, qn_value_id *result)
{
    const qn_value_id x = node->outputs[0];
    const int32_t last = b->reader[x];
    if (b->program->options.keep_values || b->program->watched || qn_float_applied(b, x) != NULL || b->n_uses[x] != 2 ||
        last < 0 || b->graph->nodes[last].op != QN_OP_MUL) {
        return false;
    }
    const qn_node *product = &b->graph->nodes[last];
    const int32_t sigmoid = sigmoid_beside(b, product, x);
    if (sigmoid >= 0) {
        b->done[sigmoid] = b->done[last] = true;
        *result = product->outputs[0];
    }
    return sigmoid >= 0;
}

/* Of one function after the primitive: `op` with its two numbers. */
static qn_status append(const qn_float_builder *b, dnnl_primitive_attr_t attr, dnnl_alg_kind_t op, float alpha,
                        float beta, qn_error *err)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success) {
        status = dnnl_post_ops_append_eltwise(ops, 1.0f, op, alpha, beta);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_set_post_ops(attr, ops); /* copies */
    }
    (void)dnnl_post_ops_destroy(ops);
    return status == dnnl_success ? QN_OK : qn_float_fail_dnnl(b, err, status, "post-operations");
}

static qn_status make_attr(const qn_float_builder *b, dnnl_primitive_attr_t *attr, qn_error *err)
{
    *attr = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status != dnnl_success) {
        *attr = NULL;
        return qn_float_fail_dnnl(b, err, status, "attributes");
    }
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    return status == dnnl_success ? QN_OK : qn_float_fail_dnnl(b, err, status, "attributes");
}

static qn_status settle(dnnl_primitive_attr_t *attr, qn_status made)
{
    if (made != QN_OK) {
        (void)dnnl_primitive_attr_destroy(*attr);
        *attr = NULL;
    }
    return made;
}

qn_status qn_float_attr(const qn_float_builder *b, dnnl_primitive_attr_t *attr, qn_float_clamp clamp, qn_error *err)
{
    qn_status made = make_attr(b, attr, err);
    if (made == QN_OK && qn_float_clamps(clamp)) {
        made = clamp.lo == 0 && clamp.hi == INFINITY ? append(b, *attr, dnnl_eltwise_relu, 0.0f, 0.0f, err)
                                                     : append(b, *attr, dnnl_eltwise_clip, clamp.lo, clamp.hi, err);
    }
    return settle(attr, made);
}

qn_status qn_float_attr_silu(const qn_float_builder *b, dnnl_primitive_attr_t *attr, qn_error *err)
{
    qn_status made = make_attr(b, attr, err);
    made = made == QN_OK ? append(b, *attr, dnnl_eltwise_swish, 1.0f, 0.0f, err) : made;
    return settle(attr, made);
}
