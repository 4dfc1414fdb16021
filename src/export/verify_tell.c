/* Telling differences: elements, lines, bytes. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "export/verify.h"
#include "tensor/npy.h"

void qn_export_differs(qn_export_checking *c, const char *format, ...)
{
    char line[1024];
    c->check->n_differences++;
    if (c->n_told == QN_EXPORT_TOLD_MAX) {
        return;
    }
    c->n_told++;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *p = line; *p != '\0'; p++) { /* names may hold anything */
        *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    }
    qn_export_printf(&c->text, "%s\n", line);
}

void qn_export_element_differs(qn_export_checking *c, const char *path, const char *tensor, int rank,
                               const int64_t *dims, int64_t index, double expected, double found)
{
    char place[160] = "";
    int64_t at[QN_MAX_RANK], rest = index;
    for (int i = rank - 1; i >= 0; i--) {
        at[i] = rest % dims[i];
        rest /= dims[i];
    }
    size_t n = 0;
    for (int i = 0; i < rank && n < sizeof place; i++) {
        n += (size_t)snprintf(place + n, sizeof place - n, i == 0 ? "%lld" : ", %lld", (long long)at[i]);
    }
    /* f32 need 9 digits, sums of 32 bits 10 */
    qn_export_differs(c, "%s: '%s'[%s]: is %.*g, should be %.*g", path, tensor, place, found == rint(found) ? 10 : 9,
                      found, expected == rint(expected) ? 10 : 9, expected);
}

static double value_at(const qn_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case QN_DTYPE_F32:
        return (double)((const float *)t->data)[i];
    default:
        return (double)qn_export_code_at(t, i);
    }
}

static bool same_shape(const qn_tensor *a, const qn_tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

bool qn_export_compare_tensors(qn_export_checking *c, const char *path, const char *name, const qn_tensor *expected,
                               const qn_tensor *found)
{
    c->check->n_tensors++;
    if (!same_shape(expected, found)) {
        qn_export_differs(c, "%s: '%s': is %s of %d axes and %lld elements, should be %s of %d axes and %lld", path,
                          name, qn_dtype_text(found->dtype), found->rank, (long long)qn_tensor_count(found),
                          qn_dtype_text(expected->dtype), expected->rank, (long long)qn_tensor_count(expected));
        return true;
    }
    const int64_t n = qn_tensor_count(expected);
    const size_t size = qn_dtype_size(expected->dtype);
    c->check->n_elements += n;
    if (n == 0 || memcmp(expected->data, found->data, (size_t)n * size) == 0) {
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        const char *a = (const char *)expected->data + (size_t)i * size,
                   *b = (const char *)found->data + (size_t)i * size;
        if (memcmp(a, b, size) != 0) {
            qn_export_element_differs(c, path, name, expected->rank, expected->dims, i, value_at(expected, i),
                                      value_at(found, i));
        }
    }
    return true;
}

qn_status qn_export_read_npy(qn_tensor *t, const void *bytes, size_t n_bytes, const char *path, qn_error *err)
{
    qn_array_header h;
    QN_TRY(qn_npy_parse(&h, bytes, n_bytes < QN_ARRAY_HEAD_MAX ? n_bytes : QN_ARRAY_HEAD_MAX, path, err));
    if (h.swapped || (h.fortran && h.rank > 1)) {
        return qn_fail(err, QN_EFORMAT, path, "is not little-endian in C order");
    }
    if (h.data_offset < 0 || h.n_bytes < 0 || (uint64_t)h.data_offset + (uint64_t)h.n_bytes != n_bytes) {
        return qn_fail(err, QN_EFORMAT, path, "has other than the %lld bytes that its header says",
                       (long long)h.n_bytes);
    }
    *t = (qn_tensor){.dtype = h.dtype, .rank = h.rank, .data = (char *)(uintptr_t)bytes + h.data_offset};
    memcpy(t->dims, h.dims, sizeof t->dims);
    return QN_OK;
}

static bool is_text(const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char b = (unsigned char)data[i];
        if (b < 0x20 && b != '\n' && b != '\t' && b != '\r') {
            return false;
        }
    }
    return true;
}

/* A line around byte `at`: where it starts, and how long it is. */
static size_t line_of(const char *data, size_t n, size_t at, size_t *start)
{
    *start = at < n ? at : n;
    while (*start > 0 && data[*start - 1] != '\n') {
        (*start)--;
    }
    size_t end = at < n ? at : n;
    while (end < n && data[end] != '\n') {
        end++;
    }
    return end - *start;
}

void qn_export_bytes_differ(qn_export_checking *c, const char *path, const char *expected, size_t n_expected,
                            const char *found, size_t n_found)
{
    size_t at = 0, a, b, number = 1;
    const size_t least = n_expected < n_found ? n_expected : n_found;
    while (at < least && expected[at] == found[at]) {
        at++;
    }
    if (!is_text(expected, n_expected)) {
        if (at < least) {
            qn_export_differs(c, "%s: byte %zu is 0x%02x, should be 0x%02x", path, at, (unsigned char)found[at],
                              (unsigned char)expected[at]);
        } else {
            qn_export_differs(c, "%s: has %zu bytes, should have %zu", path, n_found, n_expected);
        }
        return;
    }
    const size_t n_a = line_of(expected, n_expected, at, &a), n_b = line_of(found, n_found, at, &b);
    for (size_t i = 0; i < a; i++) {
        number += expected[i] == '\n';
    }
    const size_t skip = at - a > 60 ? at - a - 60 : 0; /* long lines: from shortly before what differs */
    const int show_a = (int)(n_a - skip < 120 ? n_a - skip : 120), show_b = (int)(n_b - skip < 120 ? n_b - skip : 120);
    qn_export_differs(c, "%s: line %zu, character %zu: is '%.*s', should be '%.*s'", path, number, at - a + 1, show_b,
                      found + b + skip, show_a, expected + a + skip);
}
