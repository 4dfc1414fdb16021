/* Writing .npy, version 1.0, byte for byte as numpy does. */
#include "tensor/npy_write.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* numpy leaves room for the first dimension to grow to this many digits, and pads the header to this alignment. */
enum { GROWTH_DIGITS = 21, ALIGNMENT = 64, PREFIX = 10, HEADER_MAX = QN_NPY_HEADER_MAX };

static const char *const descrs[] = {
    [QN_DTYPE_F32] = "f4", [QN_DTYPE_F64] = "f8", [QN_DTYPE_F16] = "f2", [QN_DTYPE_S8] = "i1",
    [QN_DTYPE_U8] = "u1",  [QN_DTYPE_S16] = "i2", [QN_DTYPE_U16] = "u2", [QN_DTYPE_S32] = "i4",
    [QN_DTYPE_U32] = "u4", [QN_DTYPE_S64] = "i8", [QN_DTYPE_U64] = "u8", [QN_DTYPE_BOOL] = "b1",
};

static char byte_order(qn_dtype dtype)
{
    const uint16_t probe = 1;
    return qn_dtype_size(dtype) == 1 ? '|' : *(const unsigned char *)&probe == 1 ? '<' : '>';
}

/* At most 8 dimensions of 20 characters: HEADER_MAX holds it. */
static size_t make_header(char header[HEADER_MAX], const char *descr, int rank, const int64_t *dims)
{
    size_t n = PREFIX;
    n += (size_t)snprintf(header + n, HEADER_MAX - n, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    int first_digits = 0;
    for (int d = 0; d < rank; d++) {
        int digits = snprintf(header + n, HEADER_MAX - n, "%lld", (long long)dims[d]);
        n += (size_t)digits;
        first_digits = d == 0 ? digits : first_digits;
        n += (size_t)snprintf(header + n, HEADER_MAX - n, "%s", d + 1 < rank ? ", " : rank == 1 ? "," : "");
    }
    n += (size_t)snprintf(header + n, HEADER_MAX - n, "), }%*s", rank > 0 ? GROWTH_DIGITS - first_digits : 0, "");
    size_t padding = ALIGNMENT - (n + 1) % ALIGNMENT;
    memset(header + n, ' ', padding);
    n += padding;
    header[n++] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((n - PREFIX) & 0xFF);
    header[9] = (char)((n - PREFIX) >> 8);
    return n;
}

qn_status qn_npy_make_header(char header[QN_NPY_HEADER_MAX], size_t *n, const qn_tensor *t, const char *where,
                             qn_error *err)
{
    if ((size_t)t->dtype >= sizeof descrs / sizeof descrs[0] || descrs[t->dtype] == NULL) {
        return qn_fail(err, QN_EUNSUPPORTED, where, ".npy cannot hold elements of type %s", qn_dtype_text(t->dtype));
    }
    char descr[8];
    snprintf(descr, sizeof descr, "%c%s", byte_order(t->dtype), descrs[t->dtype]);
    *n = make_header(header, descr, t->rank, t->dims);
    return QN_OK;
}

size_t qn_npy_make_text_header(char header[QN_NPY_HEADER_MAX], size_t n_characters)
{
    char descr[32];
    snprintf(descr, sizeof descr, "%cU%zu", byte_order(QN_DTYPE_U32), n_characters);
    return make_header(header, descr, 0, NULL);
}

qn_status qn_tensor_write_npy(const qn_tensor *t, const char *path, bool overwrite, qn_error *err)
{
    char header[HEADER_MAX];
    size_t n_header;
    QN_TRY(qn_npy_make_header(header, &n_header, t, path, err));
    qn_file_out out;
    QN_TRY(qn_file_create(&out, path, overwrite, err));
    qn_status status = qn_file_write(&out, header, n_header, err);
    if (status == QN_OK) {
        status = qn_file_write(&out, t->data, qn_tensor_bytes(t), err);
    }
    if (status != QN_OK) {
        qn_file_abandon(&out);
        return status;
    }
    return qn_file_commit(&out, err);
}
