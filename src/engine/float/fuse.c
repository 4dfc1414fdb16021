/* Relu and Clip folded into the step that makes their input. */
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

static qn_status append_clamp(const qn_float_builder *b, dnnl_primitive_attr_t attr, qn_float_clamp clamp,
                              qn_error *err)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success) {
        status = clamp.lo == 0 && clamp.hi == INFINITY
                     ? dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f)
                     : dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_clip, clamp.lo, clamp.hi);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_set_post_ops(attr, ops); /* copies */
    }
    (void)dnnl_post_ops_destroy(ops);
    return status == dnnl_success ? QN_OK : qn_float_fail_dnnl(b, err, status, "post-operations");
}

qn_status qn_float_attr(const qn_float_builder *b, dnnl_primitive_attr_t *attr, qn_float_clamp clamp, qn_error *err)
{
    *attr = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status != dnnl_success) {
        *attr = NULL;
        return qn_float_fail_dnnl(b, err, status, "attributes");
    }
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    qn_status made = status == dnnl_success ? QN_OK : qn_float_fail_dnnl(b, err, status, "attributes");
    if (made == QN_OK && qn_float_clamps(clamp)) {
        made = append_clamp(b, *attr, clamp, err);
    }
    if (made != QN_OK) {
        (void)dnnl_primitive_attr_destroy(*attr);
        *attr = NULL;
    }
    return made;
}
