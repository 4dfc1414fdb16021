/* A tensor into a frame. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/codec.h"
#include "link/link.h"

/* Lay out a frame whose format, name, per and group are set. */
static qn_status plan(qn_frame *frame, qn_frame f, int rank, const int64_t *dims, qn_error *err)
{
    f.version = 1;
    f.rank = rank;
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

qn_status qn_frame_plan(qn_frame *frame, const qn_link_options *options, int rank, const int64_t *dims, qn_error *err)
{
    qn_link_options o;
    QN_TRY(qn_link_take_options(&o, options, err));
    qn_frame f = {.per = o.per, .group = o.group};
    if (strcmp(o.format, qn_link_raw_name) == 0) {
        snprintf(f.name, sizeof f.name, "%s", qn_link_raw_name);
    } else {
        QN_TRY(qn_format_parse(&f.format, o.format, err));
        qn_format_name(f.name, f.format);
    }
    return plan(frame, f, rank, dims, err);
}

qn_status qn_frame_plan_for(qn_frame *frame, const qn_quantizer *q, const qn_link_options *options, int rank,
                            const int64_t *dims, qn_error *err)
{
    qn_link_options o;
    QN_TRY(qn_link_take_options(&o, options, err));
    if (q->dynamic) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "the quantizer is dynamic; a frame's parameters are then made of its values");
    }
    QN_TRY(qn_quantizer_check(q, rank, dims, "quantizer", err));
    /* The first granularity that has the same sets. */
    static const qn_link_per order[] = {QN_LINK_PER_TENSOR, QN_LINK_PER_ITEM,  QN_LINK_PER_CHANNEL,
                                        QN_LINK_PER_TOKEN,  QN_LINK_PER_GROUP, QN_LINK_PER_BLOCK};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        qn_frame f = {.per = order[i], .group = order[i] == QN_LINK_PER_GROUP ? q->group : 0, .format = q->format};
        qn_format_name(f.name, f.format);
        if (plan(&f, f, rank, dims, NULL) == QN_OK && f.axis == q->axis && f.axis_group == q->group) {
            *frame = f;
            return QN_OK;
        }
    }
    return qn_fail(
        err, QN_EINVAL, NULL,
        "a frame cannot hold parameters along axis %d in groups of %lld (0: none) of a tensor of rank %d; it "
        "has one set, or sets per item (axis 0), channel (axis %d), token or group of consecutive elements",
        q->axis, (long long)q->group, rank,
        rank == 1   ? 0
        : rank <= 3 ? rank - 1
                    : 1);
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
                return qn_fail(err, QN_EINVAL, NULL, "exponent %lld is %ld, beyond what a frame holds: %d to %d",
                               (long long)set, (long)p.exp_bias, arrays[i].bytes == 1 ? -E8M0_BIAS : INT16_MIN,
                               arrays[i].bytes == 1 ? E8M0_MAX - E8M0_BIAS : INT16_MAX);
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

static void write_codes(unsigned char *at, const qn_frame *f, const qn_tensor *x, const qn_quantizer *q, uint64_t seed)
{
    if (f->code_bytes == 0) {
        return;
    }
    qn_packed packed = {at, f->n_elems, f->format.bits, QN_PACKING_DENSE};
    at[f->code_bytes - 1] = 0; /* the bits after the last code */
    const bool narrow = x->dtype == QN_DTYPE_F32;
    const qn_codec codec = {
        .x = narrow ? x->data : NULL, .x64 = narrow ? NULL : x->data, .packed = &packed, .seed = seed};
    const qn_format_kernel kernel = qn_format_kernel_default(&f->format);
    qn_codec_run(&codec, q, &kernel, x->rank, x->dims);
}

/* Elements of a size that holds the format's codes, which are to travel as they are? */
static bool are_codes(const qn_tensor *x, const qn_format *f)
{
    const bool integers = x->dtype == QN_DTYPE_U8 || x->dtype == QN_DTYPE_S8 || x->dtype == QN_DTYPE_U16 ||
                          x->dtype == QN_DTYPE_S16 || x->dtype == QN_DTYPE_U32 || x->dtype == QN_DTYPE_S32;
    return integers && qn_dtype_size(x->dtype) == qn_dtype_size(qn_format_code_dtype(*f));
}

static qn_status check_known(const qn_frame *f, const qn_tensor *x, const qn_quantizer *q, const qn_link_options *o,
                             qn_error *err)
{
    if (q->dynamic) {
        return qn_fail(err, QN_EINVAL, NULL, "the quantizer is dynamic and keeps no parameters; leave it out");
    }
    if (o->clamp != QN_LINK_CLAMP_NONE) {
        return qn_fail(err, QN_EINVAL, NULL, "a clamp makes parameters of values, but these are known");
    }
    if (f->raw || !qn_format_equal(q->format, f->format) || q->axis != f->axis || q->group != f->axis_group) {
        char name[QN_FORMAT_NAME_MAX];
        qn_format_name(name, q->format);
        return qn_fail(err, QN_EINVAL, NULL,
                       "the quantizer is of %s with axis %d and group %lld, the frame of %s with axis %d and group "
                       "%lld; plan the frame for the quantizer",
                       name, q->axis, (long long)q->group, f->name, f->axis, (long long)f->axis_group);
    }
    return qn_quantizer_check(q, x->rank, x->dims, "quantizer", err);
}

static qn_status write_body(unsigned char *body, qn_frame *f, const qn_tensor *x, const qn_quantizer *q,
                            const qn_link_options *o, qn_frame_coder *coder, qn_error *err)
{
    unsigned char *codes = body + f->parameter_bytes;
    if (q != NULL) {
        QN_TRY(check_known(f, x, q, o, err));
    }
    if (q != NULL && are_codes(x, &f->format)) {
        QN_TRY(write_parameters(body, f, q, err));
        qn_packed packed = {codes, f->n_elems, f->format.bits, QN_PACKING_DENSE};
        qn_pack(&packed, x->data, qn_dtype_size(x->dtype));
        return QN_OK;
    }
    qn_link_values values;
    QN_TRY(qn_link_prepare(&values, coder, x, &f->format, o, err));
    if (q == NULL) {
        QN_TRY(qn_link_fit(&q, coder, values.x, &f->format, f->axis, f->axis_group, o->clamp, err));
    }
    QN_TRY(write_parameters(body, f, q, err));
    write_codes(codes, f, values.x, q, o->seed);
    f->flags |= values.flags;
    return QN_OK;
}

qn_status qn_frame_encode_with(void *data, qn_frame *frame, const qn_tensor *x, const qn_quantizer *q,
                               const qn_link_options *options, qn_frame_coder *coder, qn_error *err)
{
    qn_link_options o;
    QN_TRY(qn_link_take_options(&o, options, err));
    if (x->rank != frame->rank || memcmp(x->dims, frame->dims, (size_t)x->rank * sizeof x->dims[0]) != 0) {
        return qn_fail(err, QN_EINVAL, NULL, "the frame was planned for a tensor of another shape");
    }
    unsigned char *body = (unsigned char *)data + frame->header_bytes;
    frame->flags = o.checksum == QN_LINK_CHECKSUM_OFF ? QN_FRAME_UNCHECKED : 0;
    if (!frame->raw || q != NULL) {
        qn_frame_coder own = {0};
        qn_status status = write_body(body, frame, x, q, &o, coder != NULL ? coder : &own, err);
        qn_coder_empty(&own);
        if (status != QN_OK) {
            return status;
        }
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

qn_status qn_frame_encode(void *data, qn_frame *frame, const qn_tensor *x, const qn_link_options *options,
                          qn_error *err)
{
    return qn_frame_encode_with(data, frame, x, NULL, options, NULL, err);
}
