#include "tensor/tensor_proto.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/external_data.h"
#include "tensor/protobuf.h"

/* Which field of TensorProto holds the elements when raw_data does not. */
typedef enum storage {
    STORAGE_NONE,
    STORAGE_FLOAT,
    STORAGE_INT32,
    STORAGE_INT64,
    STORAGE_DOUBLE,
    STORAGE_UINT64
} storage;

/* By ONNX data type number. The table goes beyond the types of the schema quern is built with, to name newer ones. */
static const struct {
    const char *name;
    qn_dtype dtype;
    storage storage;
} types[] = {
    [0] = {"undefined", QN_DTYPE_NONE, STORAGE_NONE},
    [1] = {"float32", QN_DTYPE_F32, STORAGE_FLOAT},
    [2] = {"uint8", QN_DTYPE_U8, STORAGE_INT32},
    [3] = {"int8", QN_DTYPE_S8, STORAGE_INT32},
    [4] = {"uint16", QN_DTYPE_U16, STORAGE_INT32},
    [5] = {"int16", QN_DTYPE_S16, STORAGE_INT32},
    [6] = {"int32", QN_DTYPE_S32, STORAGE_INT32},
    [7] = {"int64", QN_DTYPE_S64, STORAGE_INT64},
    [8] = {"string", QN_DTYPE_NONE, STORAGE_NONE},
    [9] = {"bool", QN_DTYPE_BOOL, STORAGE_INT32},
    [10] = {"float16", QN_DTYPE_F16, STORAGE_INT32},
    [11] = {"float64", QN_DTYPE_F64, STORAGE_DOUBLE},
    [12] = {"uint32", QN_DTYPE_U32, STORAGE_UINT64},
    [13] = {"uint64", QN_DTYPE_U64, STORAGE_UINT64},
    [14] = {"complex64", QN_DTYPE_NONE, STORAGE_NONE},
    [15] = {"complex128", QN_DTYPE_NONE, STORAGE_NONE},
    [16] = {"bfloat16", QN_DTYPE_BF16, STORAGE_INT32},
    [17] = {"float8e4m3fn", QN_DTYPE_NONE, STORAGE_NONE},
    [18] = {"float8e4m3fnuz", QN_DTYPE_NONE, STORAGE_NONE},
    [19] = {"float8e5m2", QN_DTYPE_NONE, STORAGE_NONE},
    [20] = {"float8e5m2fnuz", QN_DTYPE_NONE, STORAGE_NONE},
    [21] = {"uint4", QN_DTYPE_NONE, STORAGE_NONE},
    [22] = {"int4", QN_DTYPE_NONE, STORAGE_NONE},
    [23] = {"float4e2m1", QN_DTYPE_NONE, STORAGE_NONE},
    [24] = {"float8e8m0", QN_DTYPE_NONE, STORAGE_NONE},
};
enum { N_TYPES = sizeof types / sizeof types[0] };

qn_dtype qn_dtype_of_onnx(int64_t data_type)
{
    return data_type >= 0 && data_type < N_TYPES ? types[data_type].dtype : QN_DTYPE_NONE;
}

int32_t qn_dtype_to_onnx(qn_dtype dtype)
{
    for (int32_t i = 1; i < N_TYPES && dtype != QN_DTYPE_NONE; i++) { /* some types have no dtype */
        if (types[i].dtype == dtype) {
            return i;
        }
    }
    return 0;
}

const char *qn_onnx_type_name(int64_t data_type)
{
    return data_type >= 0 && data_type < N_TYPES ? types[data_type].name : "unknown to quern";
}

/* Elements stored in the fields other than raw_data. */
static size_t typed_count(const Onnx__TensorProto *proto)
{
    return proto->n_float_data + proto->n_int32_data + proto->n_string_data + proto->n_int64_data +
           proto->n_double_data + proto->n_uint64_data;
}

static size_t storage_count(const Onnx__TensorProto *proto, storage from)
{
    switch (from) {
    case STORAGE_FLOAT:
        return proto->n_float_data;
    case STORAGE_INT32:
        return proto->n_int32_data;
    case STORAGE_INT64:
        return proto->n_int64_data;
    case STORAGE_DOUBLE:
        return proto->n_double_data;
    case STORAGE_UINT64:
        return proto->n_uint64_data;
    case STORAGE_NONE:
        break;
    }
    return 0;
}

static bool is_external(const Onnx__TensorProto *proto)
{
    return proto->has_data_location && proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* What the declared shape needs must be what the message holds: nothing is allocated before this has passed. */
static qn_status check_sizes(const Onnx__TensorProto *proto, size_t n_elems, size_t n_bytes, const char *where,
                             qn_error *err)
{
    if (is_external(proto)) {
        return QN_OK;
    }
    size_t typed = typed_count(proto);
    if (proto->has_raw_data && (proto->raw_data.len > 0 || typed == 0)) {
        if (typed > 0) {
            return qn_fail(err, QN_EFORMAT, where, "holds its elements twice, in raw_data and in a typed field");
        }
        if (proto->raw_data.len != n_bytes) {
            return qn_fail(err, QN_EFORMAT, where, "raw_data has %zu bytes, but the shape and type take %zu",
                           proto->raw_data.len, n_bytes);
        }
        return QN_OK;
    }
    size_t stored = storage_count(proto, types[proto->data_type].storage);
    if (stored != typed) {
        return qn_fail(err, QN_EFORMAT, where, "%s elements are not in the field ONNX has for them",
                       qn_onnx_type_name(proto->data_type));
    }
    if (stored != n_elems) {
        return qn_fail(err, QN_EFORMAT, where, "holds %zu elements, but the shape takes %zu", stored, n_elems);
    }
    return QN_OK;
}

/* int32_data carries all narrow types, one element in each int32. */
static qn_status copy_from_int32(qn_tensor *t, const int32_t *from, size_t n, const char *where, qn_error *err)
{
    static const struct {
        int32_t lo, hi;
    } limits[] = {
        [QN_DTYPE_S8] = {INT8_MIN, INT8_MAX},    [QN_DTYPE_U8] = {0, UINT8_MAX},
        [QN_DTYPE_S16] = {INT16_MIN, INT16_MAX}, [QN_DTYPE_U16] = {0, UINT16_MAX},
        [QN_DTYPE_F16] = {0, UINT16_MAX},        [QN_DTYPE_BF16] = {0, UINT16_MAX},
        [QN_DTYPE_S32] = {INT32_MIN, INT32_MAX}, [QN_DTYPE_BOOL] = {0, 1},
    };
    size_t width = qn_dtype_size(t->dtype);
    unsigned char *to = t->data;
    for (size_t i = 0; i < n; i++) {
        if (from[i] < limits[t->dtype].lo || from[i] > limits[t->dtype].hi) {
            return qn_fail(err, QN_ERANGE, where, "element %zu is %" PRId32 ", which no %s can be", i, from[i],
                           qn_dtype_text(t->dtype));
        }
        memcpy(to + i * width, &from[i], width); /* the low bytes: little-endian */
    }
    return QN_OK;
}

static qn_status copy_from_uint64(qn_tensor *t, const uint64_t *from, size_t n, const char *where, qn_error *err)
{
    size_t width = qn_dtype_size(t->dtype);
    unsigned char *to = t->data;
    for (size_t i = 0; i < n; i++) {
        if (t->dtype == QN_DTYPE_U32 && from[i] > UINT32_MAX) {
            return qn_fail(err, QN_ERANGE, where, "element %zu is %" PRIu64 ", which no uint32 can be", i, from[i]);
        }
        memcpy(to + i * width, &from[i], width);
    }
    return QN_OK;
}

static void settle_flags(qn_tensor *t, size_t n_bytes)
{
    if (t->dtype == QN_DTYPE_BOOL) {
        unsigned char *flags = t->data;
        for (size_t i = 0; i < n_bytes; i++) {
            flags[i] = flags[i] != 0;
        }
    }
}

static qn_status copy_elements(qn_tensor *t, const Onnx__TensorProto *proto, const char *where, qn_error *err)
{
    size_t n = (size_t)qn_tensor_count(t), n_bytes = qn_tensor_bytes(t);
    if (typed_count(proto) == 0) {
        if (n_bytes > 0) {
            memcpy(t->data, proto->raw_data.data, n_bytes);
        }
        settle_flags(t, n_bytes);
        return QN_OK;
    }
    switch (types[proto->data_type].storage) {
    case STORAGE_FLOAT:
        memcpy(t->data, proto->float_data, n_bytes);
        return QN_OK;
    case STORAGE_INT32:
        return copy_from_int32(t, proto->int32_data, n, where, err);
    case STORAGE_INT64:
        memcpy(t->data, proto->int64_data, n_bytes);
        return QN_OK;
    case STORAGE_DOUBLE:
        memcpy(t->data, proto->double_data, n_bytes);
        return QN_OK;
    case STORAGE_UINT64:
        return copy_from_uint64(t, proto->uint64_data, n, where, err);
    case STORAGE_NONE:
        break;
    }
    return qn_fail(err, QN_EINTERNAL, where, "type without storage");
}

static qn_status check_type(const Onnx__TensorProto *proto, const char *where, qn_error *err)
{
    if (!proto->has_data_type || proto->data_type == 0) {
        return qn_fail(err, QN_EFORMAT, where, "has no data type");
    }
    if (qn_dtype_of_onnx(proto->data_type) == QN_DTYPE_NONE) {
        return qn_fail(err, QN_EUNSUPPORTED, where, "unsupported data type %" PRId32 " (%s)", proto->data_type,
                       qn_onnx_type_name(proto->data_type));
    }
    if (proto->segment != NULL) {
        return qn_fail(err, QN_EUNSUPPORTED, where, "is one segment of a larger tensor, which quern does not join");
    }
    if (proto->n_dims > QN_MAX_RANK) {
        return qn_fail(err, QN_ELIMIT, where, "has %zu dimensions, %d at most are supported", proto->n_dims,
                       QN_MAX_RANK);
    }
    return QN_OK;
}

/* `external` NULL: the elements are in `proto`. */
static qn_status fill(qn_tensor *t, const Onnx__TensorProto *proto, qn_external_data *external, struct sha256_ctx *hash,
                      const char *where, qn_error *err)
{
    if (external == NULL) {
        return copy_elements(t, proto, where, err);
    }
    size_t n_bytes = qn_tensor_bytes(t);
    QN_TRY(qn_external_data_read(external, t->data, n_bytes, where, err));
    if (hash != NULL) {
        sha256_update(hash, n_bytes, t->data);
    }
    settle_flags(t, n_bytes);
    return QN_OK;
}

/* raw_data that is good as it lies there: aligned, and every pattern of bits is an element. */
static bool lends(const Onnx__TensorProto *proto, qn_dtype dtype)
{
    return !is_external(proto) && dtype != QN_DTYPE_BOOL && proto->has_raw_data && proto->raw_data.len > 0 &&
           (uintptr_t)proto->raw_data.data % qn_dtype_size(dtype) == 0;
}

qn_status qn_tensor_from_proto(qn_tensor *t, const Onnx__TensorProto *proto, const qn_tensor_home *home,
                               const char *where, qn_error *err)
{
    QN_TRY(check_type(proto, where, err));
    qn_dtype dtype = qn_dtype_of_onnx(proto->data_type);
    int64_t n_elems;
    size_t n_bytes;
    qn_status status = qn_shape_count(proto->dims, (int)proto->n_dims, &n_elems, err);
    if (status != QN_OK) {
        qn_error_prefix(err, where);
        return status;
    }
    if (!qn_mul_size((size_t)n_elems, qn_dtype_size(dtype), &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, where, "its size overflows");
    }
    QN_TRY(check_sizes(proto, (size_t)n_elems, n_bytes, where, err));
    if (home != NULL && home->lasting && lends(proto, dtype)) {
        *t = (qn_tensor){.dtype = dtype, .rank = (int)proto->n_dims, .data = proto->raw_data.data};
        if (proto->n_dims > 0) { /* the list of none may be NULL */
            memcpy(t->dims, proto->dims, proto->n_dims * sizeof *proto->dims);
        }
        return QN_OK;
    }
    qn_external_data external = {.fd = -1};
    if (is_external(proto)) {
        QN_TRY(qn_external_data_open(&external, proto, n_bytes, home != NULL ? home->directory : NULL, where, err));
    }
    qn_tensor made = {0};
    status = qn_tensor_alloc(&made, dtype, (int)proto->n_dims, proto->dims, err);
    if (status != QN_OK) {
        qn_error_prefix(err, where);
    } else {
        status = fill(&made, proto, external.fd >= 0 ? &external : NULL, home != NULL ? home->hash : NULL, where, err);
    }
    if (external.fd >= 0) {
        qn_external_data_close(&external);
    }
    if (status != QN_OK) {
        qn_tensor_free(&made);
        return status;
    }
    *t = made;
    return QN_OK;
}

qn_status qn_tensor_from_pb_bytes(qn_tensor *t, const void *data, size_t n_bytes, const char *where, qn_error *err)
{
    qn_arena arena = {0};
    ProtobufCMessage *message = NULL;
    qn_status status = qn_protobuf_unpack(&message, &onnx__tensor_proto__descriptor, &arena, data, n_bytes, where, err);
    if (status == QN_OK) {
        status = qn_tensor_from_proto(t, (const Onnx__TensorProto *)message, NULL, where, err);
    }
    qn_arena_free(&arena);
    return status;
}
