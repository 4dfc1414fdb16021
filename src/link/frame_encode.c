/* A tensor into a frame. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/codec.h"
#include "link/link.h"

qn_status qn_frame_plan(qn_frame *frame, const qn_link_options *options, int rank, const int64_t *dims, qn_error *err)
{
    qn_link_options o;
    QN_TRY(qn_link_take_options(&o, options, err));
    qn_frame f = {.version = 1, .per = o.per, .group = o.group, .rank = rank};
    if (strcmp(o.format, qn_link_raw_name) == 0) {
        snprintf(f.name, sizeof f.name, "%s", qn_link_raw_name);
    } else {
        QN_TRY(qn_format_parse(&f.format, o.format, err));
        qn_format_name(f.name, f.format);
    }
    if (rank < 0 || rank > QN_MAX_RANK) {
        return qn_fail(err, QN_EINVAL, NULL, "a rank of %d; frames hold 0 to %d dimensions", rank, QN_MAX_RANK);
    }
    if (rank > 0) {
        memcpy(f.dims, dims, (size_t)rank * sizeof *dims);
    }
    switch (qn_frame_lay_out(&f)) {
    case QN_FRAME_FINE:
        *frame = f;
        return QN_OK;
    case QN_FRAME_PER:
        if (f.raw) {
            return qn_fail(err, QN_EINVAL, NULL, "fp32 has no parameters; its granularity is `tensor`");
        }
        return f.format.block > 0
                   ? qn_fail(err, QN_EINVAL, NULL, "%s has a parameter per block; write block or group:%d", f.name,
                             f.format.block)
                   : qn_fail(
                         err, QN_EINVAL, NULL,
                         "%s has no blocks, or a group is less than 1; write item, tensor, channel, token or group:N",
                         f.name);
    case QN_FRAME_SHAPE:
        return qn_fail(err, QN_ELIMIT, NULL, "the tensor is too large for a frame");
    default:
        return qn_fail(err, QN_EINTERNAL, NULL, "the name of format %s does not read back", f.name);
    }
}

/* Parameters as they lie, array after array. */
static qn_status write_parameters(unsigned char *at, const qn_frame *f, const qn_quantizer *q, qn_error *err)
{
    enum { E8M0_BIAS = 127, E8M0_MAX = 255 };
    qn_frame_array arrays[QN_FRAME_PARAMETERS];
    const int n_arrays = qn_frame_arrays(arrays, &f->format);
    for (int i = 0; i < n_arrays; i++) {
        for (int64_t set = 0; set < f->n_sets; set++, at += arrays[i].bytes) {
            const qn_params p = qn_quantizer_get(q, set);
            const int32_t exponent = p.exp_bias + (arrays[i].bytes == 1 ? E8M0_BIAS : 0);
            if (arrays[i].parameter == QN_PARAM_EXP_BIAS &&
                (arrays[i].bytes == 1 ? exponent < 0 || exponent > E8M0_MAX
                                      : exponent < INT16_MIN || exponent > INT16_MAX)) {
                return qn_fail(err, QN_EINTERNAL, NULL, "exponent %ld is beyond what a frame holds", (long)p.exp_bias);
            }
            const void *value = arrays[i].parameter == QN_PARAM_SCALE        ? (const void *)&p.scale
                                : arrays[i].parameter == QN_PARAM_ZERO_POINT ? (const void *)&p.zero_point
                                : arrays[i].parameter == QN_PARAM_SHIFT      ? (const void *)&p.shift
                                : arrays[i].parameter == QN_PARAM_MULTIPLIER ? (const void *)&p.multiplier
                                                                             : (const void *)&exponent;
            memcpy(at, value, arrays[i].bytes);
        }
    }
    return QN_OK;
}

static qn_status write_raw(unsigned char *at, const qn_tensor *x, qn_error *err)
{
    const int64_t n = qn_tensor_count(x);
    if (x->dtype == QN_DTYPE_F32) {
        memcpy(at, x->data, (size_t)n * sizeof(float));
        return QN_OK;
    }
    if (x->dtype != QN_DTYPE_F64) {
        return qn_fail(err, QN_EINVAL, NULL, "elements are %s; links take float32 and float64",
                       qn_dtype_text(x->dtype));
    }
    for (int64_t i = 0; i < n; i++, at += sizeof(float)) {
        const double v = ((const double *)x->data)[i];
        const float narrow = (float)v;
        if (isinf(narrow) && !isinf(v)) {
            return qn_fail(err, QN_ERANGE, NULL, "element %lld is %g, beyond float32; scale the data", (long long)i, v);
        }
        memcpy(at, &narrow, sizeof narrow);
    }
    return QN_OK;
}

static qn_status write_codes(unsigned char *body, qn_frame *f, const qn_tensor *x, const qn_link_options *o,
                             qn_error *err)
{
    qn_link_values values;
    const qn_quantizer *q = NULL;
    void *memory = NULL;
    qn_status status = qn_link_prepare(&values, x, &f->format, o, err);
    if (status == QN_OK) {
        status = qn_link_fit(&q, &memory, values.x, &f->format, f->axis, f->axis_group, o->clamp, err);
    }
    if (status == QN_OK) {
        status = write_parameters(body, f, q, err);
    }
    if (status == QN_OK && f->code_bytes > 0) {
        qn_packed packed = {body + f->parameter_bytes, f->n_elems, f->format.bits, QN_PACKING_DENSE};
        body[f->parameter_bytes + f->code_bytes - 1] = 0; /* the bits after the last code */
        const bool narrow = x->dtype == QN_DTYPE_F32;
        const qn_codec codec = {.x = narrow ? values.x->data : NULL,
                                .x64 = narrow ? NULL : values.x->data,
                                .packed = &packed,
                                .seed = o->seed};
        const qn_format_kernel kernel = qn_format_kernel_default(&f->format);
        qn_codec_run(&codec, q, &kernel, x->rank, x->dims);
    }
    f->flags = values.flags;
    qn_free(memory);
    qn_tensor_free(&values.copy);
    return status;
}

qn_status qn_frame_encode(void *data, qn_frame *frame, const qn_tensor *x, const qn_link_options *options,
                          qn_error *err)
{
    qn_link_options o;
    QN_TRY(qn_link_take_options(&o, options, err));
    if (x->rank != frame->rank || memcmp(x->dims, frame->dims, (size_t)x->rank * sizeof x->dims[0]) != 0) {
        return qn_fail(err, QN_EINVAL, NULL, "the frame was planned for a tensor of another shape");
    }
    unsigned char *body = (unsigned char *)data + frame->header_bytes;
    frame->flags = 0;
    if (!frame->raw) {
        QN_TRY(write_codes(body, frame, x, &o, err));
    } else if (o.clamp != QN_LINK_CLAMP_NONE) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "a clamp follows from a format's bits, and fp32 keeps numbers as they are");
    } else {
        QN_TRY(write_raw(body, x, err));
    }
    qn_frame_write_header(data, frame);
    frame->parameters = body;
    frame->codes = body + frame->parameter_bytes;
    return QN_OK;
}
