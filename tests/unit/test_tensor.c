/* Tensors in memory, and headers of array files: what is accepted and what is refused. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "quern/tensor.h"
#include "tensor/npy.h"

static void dtypes_have_names_and_sizes(void **state)
{
    (void)state;
    assert_string_equal(qn_dtype_text(QN_DTYPE_F32), "float32");
    assert_string_equal(qn_dtype_text(QN_DTYPE_BOOL), "bool");
    assert_string_equal(qn_dtype_text((qn_dtype)14), "?");
    assert_int_equal(qn_dtype_size(QN_DTYPE_NONE), 0);
    assert_int_equal(qn_dtype_size(QN_DTYPE_F64), 8);
    assert_int_equal(qn_dtype_size(QN_DTYPE_BF16), 2);
    assert_int_equal(qn_dtype_size((qn_dtype)14), 0);
}

static void shapes_are_counted_or_refused(void **state)
{
    (void)state;
    static const struct {
        int64_t dims[3];
        int rank;
        int64_t n; /* -1: refused */
    } rows[] = {
        {{0, 0, 0}, 0, 1},
        {{7, 0, 0}, 1, 7},
        {{2, 3, 4}, 3, 24},
        {{2, 0, 4}, 3, 0},
        {{INT64_MAX / 8, 1, 1}, 3, INT64_MAX / 8},
        {{INT64_MAX / 8, 2, 1}, 3, -1},
        {{(int64_t)1 << 32, (int64_t)1 << 32, 1}, 3, -1},
        {{(int64_t)1 << 32, (int64_t)1 << 32, 0}, 3, -1},
        {{0, (int64_t)1 << 32, (int64_t)1 << 32}, 3, -1},
        {{2, -1, 4}, 3, -1},
        {{-1, -1, 4}, 3, -1},
        {{0, -1, 4}, 3, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t n = -7;
        qn_error err;
        qn_error_init(&err);
        qn_status status = qn_shape_count(rows[i].dims, rows[i].rank, &n, &err);
        if (rows[i].n < 0) {
            qn_assert_fails(status, &err, QN_ELIMIT, "dimension");
        } else {
            qn_assert_ok(status, &err);
            assert_int_equal(n, rows[i].n);
        }
    }
}

static void allocation_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    const int64_t dims[3] = {3, 5, 7};
    qn_tensor t = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_S16, 3, dims, &err), &err);
    assert_int_equal(qn_tensor_count(&t), 105);
    assert_int_equal(qn_tensor_bytes(&t), 210);
    assert_int_equal((uintptr_t)t.data % 64, 0);
    for (int i = 0; i < 105; i++) {
        assert_int_equal(((int16_t *)t.data)[i], 0);
    }
    qn_tensor_free(&t);
    assert_null(t.data);
    qn_tensor_free(&t);
    qn_tensor_free(NULL);
}

static void impossible_tensors_are_refused(void **state)
{
    (void)state;
    const int64_t dims[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, huge[1] = {INT64_MAX / 8};
    qn_tensor t = {.rank = 42};
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_alloc(&t, QN_DTYPE_F32, 9, dims, &err), &err, QN_EINVAL, "rank 9");
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_alloc(&t, QN_DTYPE_NONE, 1, dims, &err), &err, QN_EINVAL, "element type");
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_alloc(&t, (qn_dtype)99, 1, dims, &err), &err, QN_EINVAL, "99");
    qn_error_init(&err);
    qn_alloc_fail_after(0);
    qn_status status = qn_tensor_alloc(&t, QN_DTYPE_F32, 1, dims, &err);
    qn_alloc_fail_after(-1);
    qn_assert_fails(status, &err, QN_ENOMEM, "cannot allocate");
#ifndef __SANITIZE_ADDRESS__ /* which ends the program on such a request */
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_alloc(&t, QN_DTYPE_F64, 1, huge, &err), &err, QN_ENOMEM, "cannot allocate");
#else
    (void)huge;
#endif
    assert_int_equal(t.rank, 42);
}

static qn_status parse(const char *dictionary, qn_array_header *h, qn_error *err)
{
    unsigned char head[1024] = "\x93NUMPY\x01";
    size_t length = strlen(dictionary);
    head[8] = (unsigned char)(length & 0xFF);
    head[9] = (unsigned char)(length >> 8);
    memcpy(head + 10, dictionary, length);
    qn_error_init(err);
    assert_true(qn_npy_recognize(head, 10 + length));
    return qn_npy_parse(h, head, 10 + length, "x.npy", err);
}

static void headers_are_read_in_any_spelling(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
        "{\"shape\" : ( 2 , 3 , ) , \"descr\" : \"<f4\" , \"fortran_order\" : False}\n",
        "  {'fortran_order': False,\n 'shape': (2L, 3L),\t'descr': '<f4'}  \n",
    };
    qn_array_header h;
    qn_error err;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        qn_assert_ok(parse(same[i], &h, &err), &err);
        assert_int_equal(h.dtype, QN_DTYPE_F32);
        assert_int_equal(h.rank, 2);
        assert_int_equal(h.dims[0], 2);
        assert_int_equal(h.dims[1], 3);
        assert_false(h.fortran);
        assert_int_equal(h.n_bytes, 24);
        assert_int_equal(h.data_offset, 10 + strlen(same[i]));
    }
    qn_assert_ok(parse("{'descr': 'u1', 'fortran_order': True, 'shape': ()}", &h, &err), &err);
    assert_int_equal(h.dtype, QN_DTYPE_U8);
    assert_int_equal(h.rank, 0);
    assert_true(h.fortran);
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
#define WITH_SHAPE(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': " shape "}"
#define WITH_DESCR(descr) "{'descr': " descr ", 'fortran_order': False, 'shape': (2, 3)}"
    static const struct {
        const char *text;
        qn_status status;
        const char *fragment;
    } rows[] = {
        {"", QN_EFORMAT, "not a dictionary"},
        {"[]", QN_EFORMAT, "not a dictionary"},
        {"{}", QN_EFORMAT, "no descr"},
        {"{'descr': '<f4', 'shape': (2, 3)}", QN_EFORMAT, "no fortran_order"},
        {"{'descr': '<f4', 'fortran_order': False}", QN_EFORMAT, "no shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)", QN_EFORMAT, "comma is missing between"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3),", QN_EFORMAT, "quoted string"},
        {"{'descr': '<f4', 'fortran_order': False 'shape': (2, 3)}", QN_EFORMAT, "comma is missing between"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}", QN_EFORMAT, "neither True nor False"},
        {"{'descr' '<f4', 'fortran_order': False, 'shape': (2, 3)}", QN_EFORMAT, "colon"},
        {"{'descr: 3}", QN_EFORMAT, "does not end"},
        {"{'de\\x73cr': 3}", QN_EFORMAT, "not the string"},
        {"{'descr': '<f4', 'descr': '<f4'}", QN_EFORMAT, "twice"},
        {"{'descr': '<f4', 'extra': 3}", QN_EFORMAT, "not one of"},
        {"{'a_very_long_key_that_nobody_uses': 3}", QN_EFORMAT, "not the string"},
        {WITH_SHAPE("(2, 3)") "}", QN_EFORMAT, "text follows"},
        {WITH_SHAPE("(3)"), QN_EFORMAT, "not a tuple"},
        {WITH_SHAPE("[2, 3]"), QN_EFORMAT, "not a tuple"},
        {WITH_SHAPE("(2 3)"), QN_EFORMAT, "comma is missing in shape"},
        {WITH_SHAPE("(,)"), QN_EFORMAT, "not a whole number"},
        {WITH_SHAPE("(2, , 3)"), QN_EFORMAT, "not a whole number"},
        {WITH_SHAPE("(2, x)"), QN_EFORMAT, "not a whole number"},
        {WITH_SHAPE("(2.5, 3)"), QN_EFORMAT, "comma is missing in shape"},
        {WITH_SHAPE("(-2, 3)"), QN_EFORMAT, "negative"},
        {WITH_SHAPE("(9223372036854775808,)"), QN_EFORMAT, "too large"},
        {WITH_SHAPE("(99999999999999999999999999,)"), QN_EFORMAT, "too large"},
        {WITH_SHAPE("(9223372036854775807,)"), QN_ELIMIT, "too large"},
        {WITH_SHAPE("(4294967296, 4294967296)"), QN_ELIMIT, "too large"},
        {WITH_SHAPE("(0, 4294967296, 4294967296)"), QN_ELIMIT, "too large"},
        {WITH_SHAPE("(1, 1, 1, 1, 1, 1, 1, 1, 1)"), QN_ELIMIT, "more than 8"},
        {WITH_DESCR("'<c8'"), QN_EUNSUPPORTED, "'<c8'"},
        {WITH_DESCR("'<U5'"), QN_EUNSUPPORTED, "'<U5'"},
        {WITH_DESCR("'|S5'"), QN_EUNSUPPORTED, "'|S5'"},
        {WITH_DESCR("'<M8[ns]'"), QN_EUNSUPPORTED, "'<M8[ns]'"},
        {WITH_DESCR("'<f16'"), QN_EUNSUPPORTED, "'<f16'"},
        {WITH_DESCR("''"), QN_EUNSUPPORTED, "''"},
        {WITH_DESCR("'<'"), QN_EUNSUPPORTED, "'<'"},
        {WITH_DESCR("'|O'"), QN_EUNSUPPORTED, "pickled"},
        {WITH_DESCR("[('a', '<f4'), ('b', '<i4')]"), QN_EUNSUPPORTED, "structured"},
        {WITH_DESCR("4"), QN_EFORMAT, "quoted string"},
        {WITH_DESCR("'<f4"), QN_EUNSUPPORTED, "'<f4, '"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_array_header h;
        qn_error err;
        qn_assert_fails(parse(rows[i].text, &h, &err), &err, rows[i].status, rows[i].fragment);
        assert_string_equal(err.where, "x.npy");
    }
}

static void bad_prefixes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        qn_status status;
        const char *fragment;
    } rows[] = {
        {"\x93NUMPY", 6, QN_EFORMAT, "cut off at byte 6"},
        {"\x93NUMPY\x01\x00\x10", 9, QN_EFORMAT, "cut off at byte 9"},
        {"\x93NUMPY\x02\x00\x10\x00\x00", 11, QN_EFORMAT, "cut off at byte 11"},
        {"\x93NUMPY\x00\x00\x10\x00\x00\x00", 12, QN_EUNSUPPORTED, "version 0.0"},
        {"\x93NUMPY\x04\x00\x10\x00\x00\x00", 12, QN_EUNSUPPORTED, "version 4.0"},
        {"\x93NUMPY\x01\x01\x10\x00\x00\x00", 12, QN_EUNSUPPORTED, "version 1.1"},
        {"\x93NUMPY\x01\x00\x10\x00{}", 12, QN_EFORMAT, "16 bytes, of which 2"},
        {"\x93NUMPY\x02\x00\x10\x00\x00\x00{}", 14, QN_EFORMAT, "16 bytes, of which 2"},
        {"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF{}", 14, QN_ELIMIT, "4294967295"},
        {"\x93NUMPY\x03\x00\x00\x00\x02\x00{}", 14, QN_ELIMIT, "131072"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_array_header h;
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_npy_parse(&h, (const unsigned char *)rows[i].bytes, rows[i].n, "x.npy", &err), &err,
                        rows[i].status, rows[i].fragment);
    }
}

static void types_that_npy_lacks_are_not_written(void **state)
{
    (void)state;
    uint16_t value = 0;
    qn_tensor t = {.dtype = QN_DTYPE_BF16, .data = &value};
    qn_error err;
    qn_error_init(&err);
    const char *path = qn_scratch_file("bf16.npy");
    qn_assert_fails(qn_tensor_write_npy(&t, path, false, &err), &err, QN_EUNSUPPORTED, "bfloat16");
    qn_file_bytes file;
    qn_error_init(&err);
    assert_int_equal(qn_file_read(&file, path, &err), QN_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtypes_have_names_and_sizes),
        cmocka_unit_test(shapes_are_counted_or_refused),
        cmocka_unit_test(allocation_gives_zeroed_aligned_memory),
        cmocka_unit_test(impossible_tensors_are_refused),
        cmocka_unit_test(headers_are_read_in_any_spelling),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(bad_prefixes_are_refused),
        cmocka_unit_test(types_that_npy_lacks_are_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
