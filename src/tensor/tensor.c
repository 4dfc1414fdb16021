/* Dense tensors in memory: the dtype table, shapes, allocation. */
#include "quern/tensor.h"

#include <stddef.h>

#include "base/error.h"
#include "base/memory.h"
#include "tensor/alloc.h"
#include "tensor/source.h"

typedef struct dtype_row {
    const char *text;
    size_t size;
} dtype_row;

static const dtype_row dtypes[] = {
#define DTYPE_ROW(name, value, text, bytes) [value] = {text, bytes},
    QN_DTYPE_LIST(DTYPE_ROW)
#undef DTYPE_ROW
};

enum { N_DTYPES = (int)(sizeof dtypes / sizeof dtypes[0]) };

const char *qn_dtype_text(qn_dtype dtype)
{
    return (unsigned)dtype < N_DTYPES ? dtypes[dtype].text : "?";
}

size_t qn_dtype_size(qn_dtype dtype)
{
    return (unsigned)dtype < N_DTYPES ? dtypes[dtype].size : 0;
}

/* Dimensions of 0 count as 1 for the limit, so that strides of empty tensors cannot overflow either; the factor 8
 * leaves room for the widest element. */
qn_status qn_shape_count(const int64_t *dims, int rank, int64_t *n_elems, qn_error *err)
{
    int64_t product = 1;
    bool empty = false;
    for (int d = 0; d < rank; d++) {
        if (dims[d] < 0) {
            return qn_fail(err, QN_ELIMIT, NULL, "dimension %d is negative (%lld)", d, (long long)dims[d]);
        }
        empty = empty || dims[d] == 0;
        if (__builtin_mul_overflow(product, dims[d] > 0 ? dims[d] : 1, &product) || product > INT64_MAX / 8) {
            return qn_fail(err, QN_ELIMIT, NULL, "the product of the dimensions is too large");
        }
    }
    *n_elems = empty ? 0 : product;
    return QN_OK;
}

int64_t qn_tensor_count(const qn_tensor *t)
{
    int64_t n = 1;
    for (int d = 0; d < t->rank; d++) {
        n *= t->dims[d];
    }
    return n;
}

size_t qn_tensor_bytes(const qn_tensor *t)
{
    return (size_t)qn_tensor_count(t) * qn_dtype_size(t->dtype);
}

static qn_status alloc_with(void *(*alloc)(size_t n_bytes), qn_tensor *t, qn_dtype dtype, int rank, const int64_t *dims,
                            qn_error *err)
{
    if (qn_dtype_size(dtype) == 0) {
        return qn_fail(err, QN_EINVAL, NULL, "%d is not an element type", (int)dtype);
    }
    if (rank < 0 || rank > QN_MAX_RANK) {
        return qn_fail(err, QN_EINVAL, NULL, "a tensor cannot have rank %d; the most is %d", rank, QN_MAX_RANK);
    }
    qn_tensor made = {.dtype = dtype, .rank = rank, .owns_data = true};
    int64_t n_elems;
    QN_TRY(qn_shape_count(dims, rank, &n_elems, err));
    for (int d = 0; d < rank; d++) {
        made.dims[d] = dims[d];
    }
    size_t n_bytes = (size_t)n_elems * qn_dtype_size(dtype);
    made.data = alloc(n_bytes);
    if (made.data == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    *t = made;
    return QN_OK;
}

qn_status qn_tensor_alloc(qn_tensor *t, qn_dtype dtype, int rank, const int64_t *dims, qn_error *err)
{
    return alloc_with(qn_alloc, t, dtype, rank, dims, err);
}

qn_status qn_tensor_alloc_uncleared(qn_tensor *t, qn_dtype dtype, int rank, const int64_t *dims, qn_error *err)
{
    return alloc_with(qn_alloc_uncleared, t, dtype, rank, dims, err);
}

void qn_tensor_free(qn_tensor *t)
{
    if (t == NULL) {
        return;
    }
    if (t->owns_data) {
        qn_free(t->data);
    }
    *t = (qn_tensor){0};
}

qn_status qn_tensor_read(qn_tensor *t, const char *path, qn_error *err)
{
    qn_source source;
    QN_TRY(qn_source_open(&source, path, err));
    qn_tensor read = {0};
    qn_status status = qn_tensor_alloc(&read, source.header.dtype, source.header.rank, source.header.dims, err);
    if (status == QN_OK) {
        status = qn_source_read(&source, 0, qn_tensor_count(&read), read.data, err);
    } else {
        qn_error_prefix(err, path);
    }
    qn_source_close(&source);
    if (status != QN_OK) {
        qn_tensor_free(&read);
        return status;
    }
    *t = read;
    return QN_OK;
}
