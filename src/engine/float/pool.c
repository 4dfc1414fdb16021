/* MaxPool, AveragePool and the global pools: oneDNN where its definition is ONNX's, a plain loop elsewhere. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"

typedef struct {
    qn_window window;
    bool max;
} pool;

/* ONNX counts padding (when it does) only inside the padded input; ceil_mode windows may reach beyond it. */
static float average(const qn_window *w, const float *plane, const int64_t from[2], const int64_t to[2])
{
    double sum = 0;
    int64_t inside = 0, counted = 0;
    for (int64_t h = from[0]; h < to[0]; h += w->dilation[0]) {
        for (int64_t v = from[1]; v < to[1]; v += w->dilation[1]) {
            bool in_padded = h < w->in[0] + w->pad_end[0] && v < w->in[1] + w->pad_end[1];
            if (h >= 0 && h < w->in[0] && v >= 0 && v < w->in[1]) {
                sum += plane[h * w->in[1] + v];
                inside++;
            }
            counted += in_padded;
        }
    }
    int64_t n = w->count_include_pad ? counted : inside;
    return n > 0 ? (float)(sum / (double)n) : 0.0f;
}

static float greatest(const qn_window *w, const float *plane, const int64_t from[2], const int64_t to[2])
{
    float result = -FLT_MAX;
    for (int64_t h = from[0]; h < to[0]; h += w->dilation[0]) {
        for (int64_t v = from[1]; v < to[1]; v += w->dilation[1]) {
            if (h >= 0 && h < w->in[0] && v >= 0 && v < w->in[1]) {
                float x = plane[h * w->in[1] + v];
                result = x > result ? x : result;
            }
        }
    }
    return result;
}

static void run_pool(const void *params, void *const *args)
{
    const pool *p = params;
    const qn_window *w = &p->window;
    float *y = args[0];
    const float *plane = args[1];
    for (int64_t c = 0; c < w->n * w->c_in; c++) {
        for (int64_t oh = 0; oh < w->out[0]; oh++) {
            for (int64_t ow = 0; ow < w->out[1]; ow++) {
                const int64_t from[2] = {oh * w->stride[0] - w->pad_begin[0], ow * w->stride[1] - w->pad_begin[1]};
                const int64_t to[2] = {from[0] + (w->kernel[0] - 1) * w->dilation[0] + 1,
                                       from[1] + (w->kernel[1] - 1) * w->dilation[1] + 1};
                *y++ = p->max ? greatest(w, plane, from, to) : average(w, plane, from, to);
            }
        }
        plane += w->in[0] * w->in[1];
    }
}

/* oneDNN's arguments along one axis; false where it would compute something else. */
static bool fits_onednn(const pool *p, int axis, int64_t *pad_end)
{
    const qn_window *w = &p->window;
    int64_t reached = (w->out[axis] - 1) * w->stride[axis] + w->kernel[axis] - w->in[axis] - w->pad_begin[axis];
    *pad_end = reached > w->pad_end[axis] ? reached : w->pad_end[axis]; /* ceil_mode reaches further */
    bool counts_beyond = !p->max && w->count_include_pad && *pad_end != w->pad_end[axis];
    return w->dilation[axis] == 1 && w->pad_begin[axis] < w->kernel[axis] && *pad_end < w->kernel[axis] &&
           !counts_beyond;
}

typedef struct {
    dnnl_dims_t strides, kernel, dilation, pad_begin, pad_end;
} onednn_pool;

static bool use_onednn(const pool *p, int n_spatial, onednn_pool *o)
{
    memset(o, 0, sizeof *o);
    for (int i = 0; i < n_spatial; i++) {
        int from = 2 - n_spatial + i; /* the window of a rank 3 input has height 1 */
        if (!fits_onednn(p, from, &o->pad_end[i])) {
            return false;
        }
        o->strides[i] = p->window.stride[from];
        o->kernel[i] = p->window.kernel[from];
        o->pad_begin[i] = p->window.pad_begin[from];
    }
    return true;
}

static dnnl_status_t describe(const qn_float_builder *b, const pool *p, const onednn_pool *o, qn_float_id x,
                              const qn_bound_value *output, dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd)
{
    dnnl_memory_desc_t output_md = qn_float_md_any(output->rank, output->dims);
    dnnl_alg_kind_t kind = p->max                        ? dnnl_pooling_max
                           : p->window.count_include_pad ? dnnl_pooling_avg_include_padding
                                                         : dnnl_pooling_avg_exclude_padding;
    dnnl_pooling_v2_desc_t desc;
    dnnl_status_t status =
        dnnl_pooling_v2_forward_desc_init(&desc, dnnl_forward_inference, kind, &qn_float_at(b, x)->md, &output_md,
                                          o->strides, o->kernel, o->dilation, o->pad_begin, o->pad_end);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &desc, attr, b->code->engine, NULL);
}

static qn_status add_onednn(qn_float_builder *b, const pool *p, const onednn_pool *o, qn_float_id x,
                            const qn_bound_value *output, qn_float_id *y, qn_error *err)
{
    dnnl_primitive_attr_t attr;
    QN_TRY(qn_float_attr(b, &attr, (qn_float_clamp){-INFINITY, INFINITY}, err));
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = describe(b, p, o, x, output, attr, &pd);
    (void)dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success) {
        return qn_float_fail_dnnl(b, err, status, "pooling");
    }
    qn_status made = qn_float_new_md(b, dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), y, err);
    if (made == QN_OK) {
        const int kinds[] = {DNNL_ARG_DST, DNNL_ARG_SRC};
        const qn_float_id args[] = {*y, x};
        made = qn_float_add_primitive(b, pd, 2, kinds, args, err);
    }
    (void)dnnl_primitive_desc_destroy(pd);
    return made;
}

qn_status qn_float_lower_pool(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    pool p = {.max = node->op == QN_OP_MAX_POOL || node->op == QN_OP_GLOBAL_MAX_POOL};
    QN_TRY(qn_window_of_node(&p.window, b->binding, node, err));
    qn_float_id x, y;
    QN_TRY(qn_float_read(b, node->inputs[0], &x, err));
    const qn_bound_value *output = qn_float_bound(b, node->outputs[0]);
    onednn_pool o;
    if (output->n_elems == 0) {
        QN_TRY(qn_float_new_output(b, node->outputs[0], &y, err));
    } else if (use_onednn(&p, output->rank - 2, &o)) {
        QN_TRY(add_onednn(b, &p, &o, x, output, &y, err));
    } else {
        QN_TRY(qn_float_to_plain(b, x, &x, err));
        QN_TRY(qn_float_new_output(b, node->outputs[0], &y, err));
        QN_TRY(qn_float_add_kernel(b, run_pool, &p, sizeof p, y, 1, &x, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}
