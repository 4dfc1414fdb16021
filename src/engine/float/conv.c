/* Conv: a oneDNN convolution that chooses the layouts of input, weights and output itself. */
#include <string.h>

#include "engine/float/ops.h"

typedef struct {
    qn_window window;
    int n_spatial;
    dnnl_dims_t strides, dilates, pad_begin, pad_end; /* dilates as oneDNN counts: 0 is dense */
    qn_float_id source, weights, bias;
    dnnl_memory_desc_t bias_md, output_md;
} conv;

static qn_status read_geometry(qn_float_builder *b, const qn_node *node, conv *c, qn_error *err)
{
    QN_TRY(qn_window_of_node(&c->window, b->binding, node, err));
    c->n_spatial = qn_float_bound(b, node->inputs[0])->rank - 2;
    for (int i = 0; i < c->n_spatial; i++) {
        int from = 2 - c->n_spatial + i; /* the window of a rank 3 input has height 1 */
        c->strides[i] = c->window.stride[from];
        c->dilates[i] = c->window.dilation[from] - 1;
        c->pad_begin[i] = c->window.pad_begin[from];
        c->pad_end[i] = c->window.pad_end[from];
    }
    return QN_OK;
}

/* oneDNN wants the group as a leading dimension of the weights. */
static qn_status read_operands(qn_float_builder *b, const qn_node *node, conv *c, qn_error *err)
{
    QN_TRY(qn_float_read(b, node->inputs[0], &c->source, err));
    QN_TRY(qn_float_read_plain(b, node->inputs[1], &c->weights, err));
    if (c->window.group > 1) {
        const qn_float_tensor *weights = qn_float_at(b, c->weights);
        int64_t dims[QN_MAX_RANK + 1] = {c->window.group, weights->dims[0] / c->window.group};
        memcpy(dims + 2, weights->dims + 1, (size_t)(weights->rank - 1) * sizeof dims[0]);
        QN_TRY(qn_float_view(b, c->weights, weights->rank + 1, dims, &c->weights, err));
    }
    c->bias = QN_FLOAT_NONE;
    if (qn_float_has_input(node, 2)) {
        QN_TRY(qn_float_read_plain(b, node->inputs[2], &c->bias, err));
        c->bias_md = qn_float_at(b, c->bias)->md;
    }
    const qn_bound_value *output = qn_float_bound(b, node->outputs[0]);
    c->output_md = qn_float_md_any(output->rank, output->dims);
    return QN_OK;
}

static dnnl_status_t describe(const qn_float_builder *b, conv *c, dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd)
{
    const qn_float_tensor *source = qn_float_at(b, c->source), *weights = qn_float_at(b, c->weights);
    dnnl_memory_desc_t source_md = qn_float_md_any(source->rank, source->dims);
    dnnl_memory_desc_t weights_md = qn_float_md_any(weights->rank, weights->dims);
    dnnl_convolution_desc_t desc;
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &desc, dnnl_forward_inference, dnnl_convolution_direct, &source_md, &weights_md,
        c->bias == QN_FLOAT_NONE ? NULL : &c->bias_md, &c->output_md, c->strides, c->dilates, c->pad_begin, c->pad_end);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &desc, attr, b->code->engine, NULL);
}

static qn_status add_step(qn_float_builder *b, conv *c, const_dnnl_primitive_desc_t pd, qn_float_id *output,
                          qn_error *err)
{
    qn_float_id source, weights;
    QN_TRY(qn_float_reorder(b, c->source, dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), &source, err));
    QN_TRY(qn_float_reorder(b, c->weights, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), &weights, err));
    QN_TRY(qn_float_new_md(b, dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), output, err));
    const int kinds[] = {DNNL_ARG_DST, DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS};
    const qn_float_id args[] = {*output, source, weights, c->bias};
    return qn_float_add_primitive(b, pd, c->bias == QN_FLOAT_NONE ? 3 : 4, kinds, args, err);
}

qn_status qn_float_lower_conv(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    conv c;
    QN_TRY(read_geometry(b, node, &c, err));
    QN_TRY(read_operands(b, node, &c, err));
    qn_float_clamp clamp;
    qn_value_id result;
    QN_TRY(qn_float_fuse_clamp(b, node, &result, &clamp, err));
    qn_float_id output;
    if (qn_float_bound(b, result)->n_elems == 0) {
        QN_TRY(qn_float_new_output(b, result, &output, err));
        return qn_float_define(b, result, output, err);
    }
    dnnl_primitive_attr_t attr;
    const bool silu = !qn_float_clamps(clamp) && qn_float_fuse_silu(b, node, &result);
    QN_TRY(silu ? qn_float_attr_silu(b, &attr, err) : qn_float_attr(b, &attr, clamp, err));
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = describe(b, &c, attr, &pd);
    (void)dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success) {
        return qn_float_fail_dnnl(b, err, status, "convolution");
    }
    qn_status made = add_step(b, &c, pd, &output, err);
    (void)dnnl_primitive_desc_destroy(pd);
    QN_TRY(made);
    return qn_float_define(b, result, output, err);
}
