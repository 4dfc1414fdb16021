/* The public calls on tensors: checks, allocation, then the driver. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "format/codec.h"
#include "format/quantizer.h"
#include "format/values.h"
#include "tensor/alloc.h"

void qn_codec_options_init(qn_codec_options *options)
{
    *options = (qn_codec_options){.struct_size = sizeof *options};
}

/* `options` may be NULL for the defaults. */
static qn_status take_options(qn_codec_options *taken, const qn_codec_options *options, qn_error *err)
{
    qn_codec_options_init(taken);
    if (options != NULL) {
        QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_codec_options_init", err));
        *taken = *options;
    }
    return QN_OK;
}

static void run(const qn_codec *codec, const qn_quantizer *q, int rank, const int64_t *dims)
{
    qn_format_kernel kernel = qn_format_kernel_default(&q->format);
    qn_codec_run(codec, q, &kernel, rank, dims);
}

/* Encode x, which has been checked. NaN that the policy lets pass becomes 0. */
static qn_status run_input(qn_codec *codec, const qn_tensor *x, const qn_quantizer *q, const qn_codec_options *options,
                           bool has_nan, qn_error *err)
{
    qn_tensor clean = {0};
    if (has_nan) {
        QN_TRY(qn_values_without_nan(&clean, x, err));
        x = &clean;
    }
    codec->x = x->dtype == QN_DTYPE_F32 ? x->data : NULL;
    codec->x64 = x->dtype == QN_DTYPE_F64 ? x->data : NULL;
    codec->seed = options->seed;
    run(codec, q, x->rank, x->dims);
    qn_tensor_free(&clean);
    return QN_OK;
}

/* The quantizer fits the shape and has parameters. */
static qn_status check_kept(const qn_quantizer *q, int rank, const int64_t *dims, qn_error *err)
{
    if (q->dynamic) {
        return qn_fail(err, QN_EINVAL, NULL, "the quantizer is dynamic and keeps no parameters; qn_fit makes them");
    }
    return qn_quantizer_check(q, rank, dims, NULL, err);
}

/* The tensor's dtype is one that is encoded, the quantizer fits it, and no element is one that the policies refuse. */
static qn_status check_input(const qn_tensor *x, const qn_quantizer *q, const qn_codec_options *options, bool *has_nan,
                             qn_error *err)
{
    QN_TRY(qn_values_check(x, options->nan, options->inf, has_nan, err));
    return check_kept(q, x->rank, x->dims, err);
}

qn_status qn_encode(qn_tensor *codes, const qn_tensor *x, const qn_quantizer *q, const qn_codec_options *options,
                    qn_error *err)
{
    qn_codec_options o;
    QN_TRY(take_options(&o, options, err));
    bool has_nan;
    QN_TRY(check_input(x, q, &o, &has_nan, err));
    qn_dtype dtype = qn_format_code_dtype(q->format);
    qn_tensor result;
    QN_TRY(qn_tensor_alloc_uncleared(&result, dtype, x->rank, x->dims, err));
    qn_codec codec = {.codes = result.data, .code_size = qn_dtype_size(dtype)};
    qn_status status = run_input(&codec, x, q, &o, has_nan, err);
    if (status != QN_OK) {
        qn_tensor_free(&result);
        return status;
    }
    *codes = result;
    return QN_OK;
}

qn_status qn_fake_quantize(qn_tensor *y, const qn_tensor *x, const qn_quantizer *q, const qn_codec_options *options,
                           qn_error *err)
{
    qn_codec_options o;
    QN_TRY(take_options(&o, options, err));
    bool has_nan;
    QN_TRY(check_input(x, q, &o, &has_nan, err));
    qn_tensor result;
    QN_TRY(qn_tensor_alloc_uncleared(&result, QN_DTYPE_F32, x->rank, x->dims, err));
    qn_codec codec = {.y = result.data};
    qn_status status = run_input(&codec, x, q, &o, has_nan, err);
    if (status != QN_OK) {
        qn_tensor_free(&result);
        return status;
    }
    *y = result;
    return QN_OK;
}

static bool holds_codes(qn_dtype dtype, size_t size)
{
    bool integer = dtype == QN_DTYPE_U8 || dtype == QN_DTYPE_S8 || dtype == QN_DTYPE_U16 || dtype == QN_DTYPE_S16 ||
                   dtype == QN_DTYPE_U32 || dtype == QN_DTYPE_S32;
    return integer && qn_dtype_size(dtype) == size;
}

qn_status qn_decode(qn_tensor *y, const qn_tensor *codes, const qn_quantizer *q, qn_error *err)
{
    QN_TRY(check_kept(q, codes->rank, codes->dims, err));
    size_t size = qn_dtype_size(qn_format_code_dtype(q->format));
    if (!holds_codes(codes->dtype, size)) {
        char name[QN_FORMAT_NAME_MAX];
        qn_format_name(name, q->format);
        return qn_fail(err, QN_EINVAL, NULL, "codes of %s are %s, these are %s", name,
                       qn_dtype_text(qn_format_code_dtype(q->format)), qn_dtype_text(codes->dtype));
    }
    qn_tensor result;
    QN_TRY(qn_tensor_alloc_uncleared(&result, QN_DTYPE_F32, codes->rank, codes->dims, err));
    run(&(qn_codec){.y = result.data, .const_codes = codes->data, .code_size = size}, q, codes->rank, codes->dims);
    *y = result;
    return QN_OK;
}

static qn_status check_packed(const qn_packed *packed, const qn_quantizer *q, int64_t n, qn_error *err)
{
    if (packed->bits != q->format.bits || packed->n != n) {
        return qn_fail(err, QN_EINVAL, NULL, "the packed array is for %lld codes of %d bits; %lld of %d are needed",
                       (long long)packed->n, packed->bits, (long long)n, q->format.bits);
    }
    return QN_OK;
}

qn_status qn_encode_packed(qn_packed *packed, const qn_tensor *x, const qn_quantizer *q,
                           const qn_codec_options *options, qn_error *err)
{
    qn_codec_options o;
    QN_TRY(take_options(&o, options, err));
    bool has_nan;
    QN_TRY(check_input(x, q, &o, &has_nan, err));
    QN_TRY(check_packed(packed, q, qn_tensor_count(x), err));
    size_t n_bytes;
    QN_TRY(qn_packed_bytes(&n_bytes, packed->n, packed->bits, packed->packing, err));
    if (n_bytes > 0 && packed->packing == QN_PACKING_WORD32) {
        memset(packed->data, 0, n_bytes); /* the padding of every word */
    } else if (n_bytes > 0) {
        ((unsigned char *)packed->data)[n_bytes - 1] = 0;
    }
    qn_codec codec = {.packed = packed};
    return run_input(&codec, x, q, &o, has_nan, err);
}

qn_status qn_decode_packed(qn_tensor *y, const qn_packed *packed, const qn_quantizer *q, int rank, const int64_t *dims,
                           qn_error *err)
{
    int64_t n;
    QN_TRY(qn_shape_count(dims, rank, &n, err));
    QN_TRY(check_kept(q, rank, dims, err));
    QN_TRY(check_packed(packed, q, n, err));
    qn_tensor result;
    QN_TRY(qn_tensor_alloc_uncleared(&result, QN_DTYPE_F32, rank, dims, err));
    run(&(qn_codec){.y = result.data, .const_packed = packed}, q, rank, dims);
    *y = result;
    return QN_OK;
}
