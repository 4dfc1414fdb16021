/* PipeEdge's five tensors. Items are packed one by one, each in words of its own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/codec.h"
#include "link/link.h"
#include "tensor/alloc.h"
#include "tensor/npz_write.h"

enum { N_ARRAYS = 5 };
static const char *const names[N_ARRAYS] = {"comm", "shape", "scale", "shift", "bit"};

static qn_tensor *array_of(qn_pipeedge *sent, int i)
{
    qn_tensor *const arrays[N_ARRAYS] = {&sent->comm, &sent->shape, &sent->scale, &sent->shift, &sent->bit};
    return arrays[i];
}

void qn_pipeedge_free(qn_pipeedge *sent)
{
    for (int i = 0; i < N_ARRAYS; i++) {
        qn_tensor_free(array_of(sent, i));
    }
}

size_t qn_pipeedge_bytes(const qn_pipeedge *sent)
{
    return qn_tensor_bytes(&sent->comm) + qn_tensor_bytes(&sent->shape) + qn_tensor_bytes(&sent->scale) +
           qn_tensor_bytes(&sent->shift) + qn_tensor_bytes(&sent->bit);
}

/* The one parameter set of an item. */
static qn_quantizer set_of(const qn_pipeedge *sent, qn_format format, int64_t item)
{
    return (qn_quantizer){.format = format,
                          .axis = -1,
                          .n = 1,
                          .scale = (const float *)sent->scale.data + item,
                          .shift = (const float *)sent->shift.data + item};
}

/* All but comm. */
static qn_status make_arrays(qn_pipeedge *sent, const qn_tensor *x, int bits, qn_error *err)
{
    const int64_t items = x->dims[0];
    const int rank = x->rank - 1;
    QN_TRY(
        qn_tensor_alloc(&sent->shape, bits == 0 ? QN_DTYPE_S64 : QN_DTYPE_S32, 2, (const int64_t[]){items, rank}, err));
    QN_TRY(qn_tensor_alloc(&sent->scale, QN_DTYPE_F32, 1, &items, err));
    QN_TRY(qn_tensor_alloc(&sent->shift, QN_DTYPE_F32, 1, &items, err));
    QN_TRY(qn_tensor_alloc(&sent->bit, QN_DTYPE_S8, 1, &items, err));
    for (int64_t item = 0; item < items; item++) {
        for (int d = 0; d < rank; d++) {
            if (bits == 0) {
                ((int64_t *)sent->shape.data)[item * rank + d] = x->dims[d + 1];
            } else {
                ((int32_t *)sent->shape.data)[item * rank + d] = (int32_t)x->dims[d + 1];
            }
        }
        ((float *)sent->scale.data)[item] = 1.0f;
        ((int8_t *)sent->bit.data)[item] = (int8_t)bits;
    }
    return QN_OK;
}

static qn_status encode_items(qn_pipeedge *sent, qn_frame_coder *coder, const qn_tensor *x, const qn_format *f,
                              const qn_link_options *o, qn_error *err)
{
    const int64_t items = x->dims[0], n = qn_tensor_count(x) / items;
    size_t n_bytes;
    QN_TRY(qn_packed_bytes(&n_bytes, n, f->bits, QN_PACKING_WORD32, err));
    QN_TRY(qn_tensor_alloc(&sent->comm, QN_DTYPE_U8, 2, (const int64_t[]){items, (int64_t)n_bytes}, err));
    const qn_quantizer *q;
    qn_status status = qn_link_fit(&q, coder, x, f, 0, 0, o->clamp, err);
    if (status == QN_OK) {
        memcpy(sent->scale.data, q->scale, (size_t)items * sizeof(float));
        memcpy(sent->shift.data, q->shift, (size_t)items * sizeof(float));
    }
    const qn_format_kernel kernel = qn_format_kernel_default(f);
    for (int64_t item = 0; item < items && status == QN_OK; item++) {
        const qn_quantizer set = set_of(sent, *f, item);
        qn_packed packed = {(unsigned char *)sent->comm.data + (size_t)item * n_bytes, n, f->bits, QN_PACKING_WORD32};
        const qn_codec codec = {.x = (const float *)x->data + item * n, .packed = &packed, .seed = o->seed};
        qn_codec_run(&codec, &set, &kernel, 1, &n); /* bits of a last word that codes do not fill stay 0 */
    }
    return status;
}

/* float32 of a tensor; *narrow owns data only where x is f64. */
static qn_status narrow_to_f32(qn_tensor *narrow, const qn_tensor *x, qn_error *err)
{
    *narrow = *x;
    narrow->owns_data = false;
    if (x->dtype == QN_DTYPE_F32) {
        return QN_OK;
    }
    if (x->dtype != QN_DTYPE_F64) {
        return qn_fail(err, QN_EINVAL, NULL, "elements are %s; links take float32 and float64",
                       qn_dtype_text(x->dtype));
    }
    QN_TRY(qn_tensor_alloc(narrow, QN_DTYPE_F32, x->rank, x->dims, err));
    for (int64_t i = 0, n = qn_tensor_count(x); i < n; i++) {
        const double v = ((const double *)x->data)[i];
        ((float *)narrow->data)[i] = (float)v;
        if (isinf(((float *)narrow->data)[i]) && !isinf(v)) {
            qn_tensor_free(narrow);
            return qn_fail(err, QN_ERANGE, NULL, "element %lld is %g, beyond float32; scale the data", (long long)i, v);
        }
    }
    return QN_OK;
}

static qn_status encode_raw(qn_pipeedge *sent, const qn_tensor *x, const qn_link_options *o, qn_error *err)
{
    if (o->clamp != QN_LINK_CLAMP_NONE) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "a clamp follows from a format's bits, and fp32 keeps numbers as they are");
    }
    QN_TRY(qn_tensor_alloc(&sent->comm, QN_DTYPE_F32, x->rank, x->dims, err));
    memcpy(sent->comm.data, x->data, qn_tensor_bytes(x));
    return QN_OK;
}

static qn_status encode(qn_pipeedge *sent, const qn_tensor *x, const qn_format *f, const qn_link_options *o,
                        qn_error *err)
{
    QN_TRY(make_arrays(sent, x, f->bits, err));
    if (f->bits == 0) {
        return encode_raw(sent, x, o, err);
    }
    qn_frame_coder coder = {0};
    qn_link_values values;
    qn_status status = qn_link_prepare(&values, &coder, x, f, o, err);
    status = status == QN_OK ? encode_items(sent, &coder, values.x, f, o, err) : status;
    qn_coder_empty(&coder);
    return status;
}

qn_status qn_pipeedge_encode(qn_pipeedge *sent, const qn_tensor *x, const qn_link_options *options, qn_error *err)
{
    qn_link_options o;
    QN_TRY(qn_link_take_options(&o, options, err));
    qn_format f = {0}; /* no bits: raw */
    if (strcmp(o.format, qn_link_raw_name) != 0) {
        QN_TRY(qn_format_parse(&f, o.format, err));
        if (f.kind != QN_FORMAT_PIPEEDGE) {
            return qn_fail(err, QN_EINVAL, NULL, "PipeEdge's arrays hold pipeedge<1> to pipeedge<32>, or fp32, not %s",
                           o.format);
        }
    }
    if (o.per != QN_LINK_PER_ITEM) {
        return qn_fail(err, QN_EINVAL, NULL, "PipeEdge has parameters per item; no other granularity");
    }
    if (x->rank == 0 || x->dims[0] == 0) {
        return qn_fail(err, QN_EINVAL, NULL, "PipeEdge's arrays cannot hold a tensor without items; a frame can");
    }
    for (int d = 1; d < x->rank; d++) {
        if (x->dims[d] > INT32_MAX) {
            return qn_fail(err, QN_ELIMIT, NULL, "dimension %d is %lld; PipeEdge's are int32", d,
                           (long long)x->dims[d]);
        }
    }
    qn_tensor narrow;
    QN_TRY(narrow_to_f32(&narrow, x, err));
    qn_pipeedge made = {0};
    qn_status status = encode(&made, &narrow, &f, &o, err);
    qn_tensor_free(&narrow);
    if (status != QN_OK) {
        qn_pipeedge_free(&made);
        return status;
    }
    *sent = made;
    return QN_OK;
}

static bool is_array(const qn_tensor *t, qn_dtype dtype, int rank, int64_t items)
{
    return t->dtype == dtype && t->rank == rank && t->dims[0] == items;
}

/* Do the arrays agree? What they say goes to bits, rank and dims of the result. */
static qn_status check_arrays(int *bits, int *rank, int64_t dims[QN_MAX_RANK], const qn_pipeedge *sent, qn_error *err)
{
    const int64_t items = sent->bit.rank == 1 ? sent->bit.dims[0] : 0;
    const bool raw = items > 0 && sent->bit.dtype == QN_DTYPE_S8 && ((const int8_t *)sent->bit.data)[0] == 0;
    const qn_dtype dtype = raw ? QN_DTYPE_S64 : QN_DTYPE_S32;
    if (items == 0 || !is_array(&sent->bit, QN_DTYPE_S8, 1, items) || !is_array(&sent->shape, dtype, 2, items) ||
        !is_array(&sent->scale, QN_DTYPE_F32, 1, items) || !is_array(&sent->shift, QN_DTYPE_F32, 1, items) ||
        sent->comm.rank < 1 || sent->comm.dims[0] != items || sent->shape.dims[1] >= QN_MAX_RANK) {
        return qn_fail(err, QN_EFORMAT, NULL,
                       "these are not PipeEdge's arrays: comm, shape, scale, shift and bit with an entry per item");
    }
    *bits = ((const int8_t *)sent->bit.data)[0];
    *rank = (int)sent->shape.dims[1] + 1;
    dims[0] = items;
    for (int64_t item = 0; item < items; item++) {
        const float scale = ((const float *)sent->scale.data)[item], shift = ((const float *)sent->shift.data)[item];
        if (((const int8_t *)sent->bit.data)[item] != *bits || *bits < 0 || *bits > 32) {
            return qn_fail(err, QN_EFORMAT, "bit", "item %lld has %d bits; all items have the same 0 to 32",
                           (long long)item, ((const int8_t *)sent->bit.data)[item]);
        }
        if (!isfinite(scale) || scale < 0.0f || !isfinite(shift)) {
            return qn_fail(err, QN_EFORMAT, "scale and shift",
                           "item %lld has scale %g, shift %g; both must be finite, "
                           "the scale not negative",
                           (long long)item, (double)scale, (double)shift);
        }
        for (int d = 1; d < *rank; d++) {
            const int64_t at = item * (*rank - 1) + d - 1;
            const int64_t dim = raw ? ((const int64_t *)sent->shape.data)[at] : ((const int32_t *)sent->shape.data)[at];
            if (dim < 0 || (item > 0 && dim != dims[d])) {
                return qn_fail(err, QN_EFORMAT, "shape", "item %lld differs in shape from item 0, or is negative",
                               (long long)item);
            }
            dims[d] = dim;
        }
    }
    return QN_OK;
}

static qn_status decode_raw(qn_tensor *y, const qn_pipeedge *sent, int rank, const int64_t *dims, qn_error *err)
{
    const qn_tensor *comm = &sent->comm;
    if (comm->dtype != QN_DTYPE_F32 || comm->rank != rank ||
        memcmp(comm->dims, dims, (size_t)rank * sizeof *dims) != 0) {
        return qn_fail(err, QN_EFORMAT, "comm", "is not the float32 of the shape that `shape` says");
    }
    QN_TRY(qn_tensor_alloc(y, QN_DTYPE_F32, rank, dims, err));
    memcpy(y->data, comm->data, qn_tensor_bytes(y));
    return QN_OK;
}

qn_status qn_pipeedge_decode(qn_tensor *y, const qn_pipeedge *sent, qn_error *err)
{
    int bits = 0, rank = 0;
    int64_t dims[QN_MAX_RANK], n;
    QN_TRY(check_arrays(&bits, &rank, dims, sent, err));
    if (bits == 0) {
        return decode_raw(y, sent, rank, dims, err);
    }
    char name[QN_FORMAT_NAME_MAX];
    qn_format format;
    snprintf(name, sizeof name, "pipeedge<%d>", bits);
    QN_TRY(qn_format_parse(&format, name, err));
    size_t n_bytes;
    QN_TRY(qn_shape_count(dims, rank, &n, err));
    n /= dims[0];
    QN_TRY(qn_packed_bytes(&n_bytes, n, bits, QN_PACKING_WORD32, err));
    if (sent->comm.dtype != QN_DTYPE_U8 || sent->comm.rank != 2 || sent->comm.dims[1] != (int64_t)n_bytes) {
        return qn_fail(err, QN_EFORMAT, "comm", "%lld codes of %d bits are %zu bytes of uint8 in words of 32 bits",
                       (long long)n, bits, n_bytes);
    }
    QN_TRY(qn_tensor_alloc_uncleared(y, QN_DTYPE_F32, rank, dims, err));
    const qn_format_kernel kernel = qn_format_kernel_default(&format);
    for (int64_t item = 0; item < dims[0]; item++) {
        const qn_packed packed = {(unsigned char *)sent->comm.data + (size_t)item * n_bytes, n, bits,
                                  QN_PACKING_WORD32};
        const qn_quantizer set = set_of(sent, format, item);
        const qn_codec codec = {.y = (float *)y->data + item * n, .const_packed = &packed};
        qn_codec_run(&codec, &set, &kernel, 1, &n);
    }
    return QN_OK;
}

qn_status qn_pipeedge_write(const qn_pipeedge *sent, const char *path, bool overwrite, qn_error *err)
{
    const qn_tensor *const arrays[N_ARRAYS] = {&sent->comm, &sent->shape, &sent->scale, &sent->shift, &sent->bit};
    qn_npz_out *out;
    QN_TRY(qn_npz_begin(&out, err));
    qn_npz_store(out);
    for (int i = 0; i < N_ARRAYS; i++) {
        qn_status status = qn_npz_add(out, names[i], arrays[i], err);
        if (status != QN_OK) {
            qn_npz_abandon(out);
            return status;
        }
    }
    return qn_npz_write(out, path, overwrite, err);
}

qn_status qn_pipeedge_read(qn_pipeedge *sent, const char *path, qn_error *err)
{
    enum { MEMBER_MAX = 8 };
    qn_pipeedge made = {0};
    const size_t size = strlen(path) + MEMBER_MAX;
    char *member = qn_alloc(size);
    if (member == NULL) {
        return qn_fail_memory(err, path, size);
    }
    qn_status status = QN_OK;
    for (int i = 0; i < N_ARRAYS && status == QN_OK; i++) {
        snprintf(member, size, "%s:%s", path, names[i]);
        status = qn_tensor_read(array_of(&made, i), member, err);
    }
    qn_free(member);
    if (status != QN_OK) {
        qn_pipeedge_free(&made);
        return status;
    }
    *sent = made;
    return QN_OK;
}
