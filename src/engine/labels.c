#include "engine/labels.h"

#define READ_LABEL(enumerator, type)                                                                                   \
    case enumerator:                                                                                                   \
        return (int64_t)((const type *)labels->data)[index];

int64_t qn_label_at(const qn_tensor *labels, int64_t index)
{
    switch (labels->dtype) {
        READ_LABEL(QN_DTYPE_S8, int8_t)
        READ_LABEL(QN_DTYPE_U8, uint8_t)
        READ_LABEL(QN_DTYPE_BOOL, uint8_t)
        READ_LABEL(QN_DTYPE_S16, int16_t)
        READ_LABEL(QN_DTYPE_U16, uint16_t)
        READ_LABEL(QN_DTYPE_S32, int32_t)
        READ_LABEL(QN_DTYPE_U32, uint32_t)
        READ_LABEL(QN_DTYPE_S64, int64_t)
    case QN_DTYPE_U64: {
        uint64_t label = ((const uint64_t *)labels->data)[index];
        return label <= INT64_MAX ? (int64_t)label : -1;
    }
    default:
        return -1;
    }
}

int64_t qn_argmax(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

static bool is_integer_dtype(qn_dtype dtype)
{
    return dtype >= QN_DTYPE_S8 && dtype <= QN_DTYPE_BOOL;
}

qn_status qn_labels_check(const qn_tensor *labels, const char *name, const qn_dataset *data, qn_error *err)
{
    name = name != NULL ? name : "labels";
    if (labels == NULL) {
        return QN_OK;
    }
    if (!is_integer_dtype(labels->dtype)) {
        return qn_fail(err, QN_EINVAL, name, "labels are %s; they must be integers, the index of a class for each item",
                       qn_dtype_text(labels->dtype));
    }
    if (labels->rank < 1 || labels->dims[0] != qn_dataset_count(data) || qn_tensor_count(labels) != labels->dims[0]) {
        return qn_fail(err, QN_ESHAPE, name, "holds %lld labels, but %s holds %lld items; one label for each is needed",
                       (long long)qn_tensor_count(labels), qn_dataset_name(data), (long long)qn_dataset_count(data));
    }
    return QN_OK;
}
