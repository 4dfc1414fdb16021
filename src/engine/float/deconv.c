/* ConvTranspose: oneDNN's deconvolution, which chooses the layouts itself; the plain loops of graph/compute where it has
 * none. */
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"

enum { SPATIAL = 3 };

typedef struct {
    qn_transposed shape;
    dnnl_dims_t strides, dilates, pad_begin, pad_end; /* dilates as oneDNN counts: 0 is dense */
    qn_float_id source, weights, bias;
    dnnl_memory_desc_t bias_md, output_md;
} deconv;

/* False where oneDNN's rule gives another size of the input. */
static bool read_geometry(deconv *d, int n_spatial)
{
    const qn_transposed *t = &d->shape;
    bool fits = true;
    for (int i = 0; i < n_spatial; i++) {
        const int a = SPATIAL - n_spatial + i;
        const int64_t window = (t->kernel[a] - 1) * t->dilation[a] + 1;
        const int64_t left = (t->in[a] - 1) * t->stride[a] + window - t->pad[a] - t->out[a];
        d->strides[i] = t->stride[a];
        d->dilates[i] = t->dilation[a] - 1;
        d->pad_begin[i] = t->pad[a];
        d->pad_end[i] = left > 0 ? left : 0;
        const int64_t room = t->out[a] - window + d->pad_begin[i] + d->pad_end[i];
        fits &= room >= 0 && room / t->stride[a] + 1 == t->in[a];
    }
    return fits;
}

/* ONNX has input channels before the group's output channels, oneDNN the other way round, behind the group. */
static qn_status turn_weights(qn_float_builder *b, deconv *d, qn_error *err)
{
    const qn_float_tensor w = *qn_float_at(b, d->weights);
    const qn_transposed *t = &d->shape;
    const int grouped = t->group > 1 ? 1 : 0, ndims = w.rank + grouped;
    dnnl_dims_t dims = {0}, strides = {0};
    int64_t taps = 1;
    for (int i = w.rank - 1; i >= 2; i--) {
        dims[i + grouped] = w.dims[i];
        strides[i + grouped] = taps;
        taps *= w.dims[i];
    }
    dims[grouped] = w.dims[1];
    strides[grouped] = taps;
    dims[grouped + 1] = t->c_in / t->group;
    strides[grouped + 1] = taps * w.dims[1];
    if (grouped != 0) {
        dims[0] = t->group;
        strides[0] = taps * w.dims[1] * dims[2];
    }
    QN_TRY(qn_float_view(b, d->weights, ndims, dims, &d->weights, err));
    qn_float_tensor *turned = qn_float_at(b, d->weights);
    turned->layout = QN_FLOAT_OTHER;
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(&turned->md, ndims, dims, dnnl_f32, strides);
    return status == dnnl_success ? QN_OK : qn_float_fail_dnnl(b, err, status, "layout of weights");
}

static qn_status read_operands(qn_float_builder *b, const qn_node *node, deconv *d, qn_error *err)
{
    QN_TRY(qn_float_read(b, node->inputs[0], &d->source, err));
    QN_TRY(qn_float_read_plain(b, node->inputs[1], &d->weights, err));
    QN_TRY(turn_weights(b, d, err));
    d->bias = QN_FLOAT_NONE;
    if (qn_float_has_input(node, 2)) {
        QN_TRY(qn_float_read_plain(b, node->inputs[2], &d->bias, err));
        d->bias_md = qn_float_at(b, d->bias)->md;
    }
    const qn_bound_value *output = qn_float_bound(b, node->outputs[0]);
    d->output_md = qn_float_md_any(output->rank, output->dims);
    return QN_OK;
}

/* `pd` stays NULL where oneDNN has no such primitive. */
static qn_status describe(const qn_float_builder *b, const deconv *d, qn_float_clamp clamp, dnnl_primitive_desc_t *pd,
                          qn_error *err)
{
    const qn_float_tensor *source = qn_float_at(b, d->source), *weights = qn_float_at(b, d->weights);
    dnnl_memory_desc_t source_md = qn_float_md_any(source->rank, source->dims);
    dnnl_memory_desc_t weights_md = qn_float_md_any(weights->rank, weights->dims);
    dnnl_primitive_attr_t attr;
    QN_TRY(qn_float_attr(b, &attr, clamp, err));
    dnnl_deconvolution_desc_t desc;
    dnnl_status_t status = dnnl_dilated_deconvolution_forward_desc_init(
        &desc, dnnl_forward_inference, dnnl_deconvolution_direct, &source_md, &weights_md,
        d->bias == QN_FLOAT_NONE ? NULL : &d->bias_md, &d->output_md, d->strides, d->dilates, d->pad_begin, d->pad_end);
    *pd = NULL;
    status = status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &desc, attr, b->code->engine, NULL);
    (void)dnnl_primitive_attr_destroy(attr);
    *pd = status == dnnl_success ? *pd : NULL;
    return status == dnnl_out_of_memory ? qn_float_fail_dnnl(b, err, status, "transposed convolution") : QN_OK;
}

static qn_status add_step(qn_float_builder *b, const deconv *d, const_dnnl_primitive_desc_t pd, qn_float_id *output,
                          qn_error *err)
{
    qn_float_id source, weights;
    QN_TRY(qn_float_reorder(b, d->source, dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), &source, err));
    QN_TRY(qn_float_reorder(b, d->weights, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), &weights, err));
    QN_TRY(qn_float_new_md(b, dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), output, err));
    const int kinds[] = {DNNL_ARG_DST, DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS};
    const qn_float_id args[] = {*output, source, weights, d->bias};
    return qn_float_add_primitive(b, pd, d->bias == QN_FLOAT_NONE ? 3 : 4, kinds, args, err);
}

qn_status qn_float_lower_deconv(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    const qn_bound_value *x = qn_float_bound(b, node->inputs[0]), *y = qn_float_bound(b, node->outputs[0]);
    const qn_float_clamp none = {-INFINITY, INFINITY};
    deconv d;
    dnnl_primitive_desc_t pd = NULL;
    memset(&d, 0, sizeof d);
    QN_TRY(qn_transposed_of_node(&d.shape, b->binding, node, err));
    if (y->n_elems == 0 || !read_geometry(&d, x->rank - 2)) {
        return qn_float_lower_compute(b, node, err);
    }
    QN_TRY(read_operands(b, node, &d, err));
    QN_TRY(describe(b, &d, none, &pd, err));
    if (pd == NULL) {
        return qn_float_lower_compute(b, node, err);
    }
    qn_float_clamp clamp;
    qn_value_id result;
    qn_float_id output;
    qn_status status = qn_float_fuse_clamp(b, node, &result, &clamp, err);
    if (status == QN_OK && qn_float_clamps(clamp)) {
        (void)dnnl_primitive_desc_destroy(pd);
        status = describe(b, &d, clamp, &pd, err);
        if (status == QN_OK && pd == NULL) {
            status = qn_float_fail_dnnl(b, err, dnnl_unimplemented, "clamp behind a transposed convolution");
        }
    }
    status = status == QN_OK ? add_step(b, &d, pd, &output, err) : status;
    (void)dnnl_primitive_desc_destroy(pd);
    QN_TRY(status);
    return qn_float_define(b, result, output, err);
}
