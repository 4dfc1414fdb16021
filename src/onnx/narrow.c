#include "onnx/narrow.h"

#include <string.h>

enum { TYPE_UINT8 = 2, TYPE_FIRST = 17, TYPE_UINT4 = 21, TYPE_INT4 = 22 };

bool qn_narrow_is_type(int64_t data_type)
{
    return data_type >= TYPE_FIRST && data_type <= TYPE_INT4;
}

qn_dtype qn_narrow_dtype(int64_t data_type)
{
    return data_type == TYPE_INT4 ? QN_DTYPE_S8 : data_type == TYPE_UINT4 ? QN_DTYPE_U8 : QN_DTYPE_F32;
}

static bool is_half_byte(int64_t data_type)
{
    return data_type == TYPE_UINT4 || data_type == TYPE_INT4;
}

/* The first of two elements is in the low bits. */
static void unpack_halves(qn_tensor *t, const unsigned char *bytes, bool is_signed)
{
    unsigned char *to = t->data;
    int64_t n = qn_tensor_count(t);
    for (int64_t i = 0; i < n; i++) {
        unsigned half = i % 2 == 0 ? bytes[i / 2] & 15u : bytes[i / 2] >> 4u;
        to[i] = (unsigned char)(is_signed && half > 7 ? half | 0xF0u : half);
    }
}

qn_status qn_narrow_from_proto(qn_tensor *t, const Onnx__TensorProto *proto, const qn_tensor_home *home,
                               const char *where, qn_error *err)
{
    Onnx__TensorProto bytes = *proto;
    bytes.data_type = TYPE_UINT8;
    if (!is_half_byte(proto->data_type)) {
        return qn_tensor_from_proto(t, &bytes, home, where, err);
    }
    if (proto->n_dims > QN_MAX_RANK) {
        return qn_fail(err, QN_ELIMIT, where, "has %zu dimensions, %d at most are supported", proto->n_dims,
                       QN_MAX_RANK);
    }
    int64_t n;
    qn_status status = qn_shape_count(proto->dims, (int)proto->n_dims, &n, err);
    if (status != QN_OK) {
        qn_error_prefix(err, where);
        return status;
    }
    int64_t n_pairs = n / 2 + n % 2;
    bytes.n_dims = 1;
    bytes.dims = &n_pairs;
    qn_tensor packed, made;
    QN_TRY(qn_tensor_from_proto(&packed, &bytes, home, where, err));
    bool is_signed = proto->data_type == TYPE_INT4;
    status = qn_tensor_alloc(&made, is_signed ? QN_DTYPE_S8 : QN_DTYPE_U8, (int)proto->n_dims, proto->dims, err);
    if (status == QN_OK) {
        unpack_halves(&made, packed.data, is_signed);
        *t = made;
    }
    qn_tensor_free(&packed);
    return status;
}

void *qn_narrow_pack(size_t *n_bytes, qn_arena *arena, const qn_tensor *t, int32_t data_type)
{
    size_t n = qn_tensor_bytes(t);
    if (!is_half_byte(data_type)) {
        *n_bytes = n;
        return t->data;
    }
    *n_bytes = n / 2 + n % 2;
    unsigned char *packed = qn_arena_alloc(arena, *n_bytes);
    const unsigned char *codes = t->data;
    for (size_t i = 0; packed != NULL && i < n; i++) {
        packed[i / 2] = (unsigned char)(packed[i / 2] | (codes[i] & 15u) << (i % 2 * 4));
    }
    return packed;
}
