/* Tensors of ONNX files: every storage form, external data, and what is wrong with them. */
#include "support.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "graph/model.h"
#include "onnx_build.h"
#include "tensor/tensor_proto.h"

enum {
    FLOAT = 1,
    UINT8 = 2,
    INT8 = 3,
    UINT16 = 4,
    INT16 = 5,
    INT32 = 6,
    INT64 = 7,
    STRING = 8,
    BOOL = 9,
    FLOAT16 = 10,
    DOUBLE = 11,
    UINT32 = 12,
    UINT64 = 13,
    BFLOAT16 = 16
};

static const int64_t two[] = {2};

/* x -> Relu -> y, to be spoilt. */
static void begin_relu(onnx_build *b)
{
    build_begin(b, 13);
    build_input(b, "x", FLOAT, 1, two);
    build_output(b, "y", FLOAT, 1, two);
    build_node(b, "Relu", "relu", "x", "y");
}

static void refused(onnx_build *b, qn_status expected, const char *fragment)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    build_bytes(b);
    qn_status status = qn_model_load_memory(&model, b->bytes, b->n_bytes, "made.onnx", &err);
    qn_assert_fails(status, &err, expected, fragment);
    assert_int_equal(strncmp(err.where, "made.onnx", 9), 0);
    assert_null(model);
    build_end(b);
}

/* Every type from its typed field and from raw_data gives the same elements. */
static void every_storage_form_gives_the_elements(void **state)
{
    (void)state;
    static const int32_t small[] = {1, 100}, halves[] = {0x3C00, 0xC000}, flags[] = {1, 0}, negative[] = {-1, 100};
    static const int64_t longs[] = {-1, INT64_MAX};
    static const uint64_t words[] = {1, UINT32_MAX}, long_words[] = {1, UINT64_MAX};
    static const float floats[] = {1.5f, -0.0f};
    static const double doubles[] = {1.5, 1e300};
    static const struct {
        int data_type;
        const int32_t *int32;
        const int64_t *int64;
        const uint64_t *uint64;
        const float *f;
        const double *d;
        const void *raw;
        size_t n_bytes;
    } forms[] = {
        {.data_type = FLOAT, .f = floats, .raw = floats, .n_bytes = 8},
        {.data_type = DOUBLE, .d = doubles, .raw = doubles, .n_bytes = 16},
        {.data_type = UINT8, .int32 = small, .raw = "\x01\x64", .n_bytes = 2},
        {.data_type = INT8, .int32 = negative, .raw = "\xFF\x64", .n_bytes = 2},
        {.data_type = UINT16, .int32 = small, .raw = "\x01\x00\x64\x00", .n_bytes = 4},
        {.data_type = INT16, .int32 = negative, .raw = "\xFF\xFF\x64\x00", .n_bytes = 4},
        {.data_type = INT32, .int32 = negative, .raw = negative, .n_bytes = 8},
        {.data_type = INT64, .int64 = longs, .raw = longs, .n_bytes = 16},
        {.data_type = UINT32, .uint64 = words, .raw = "\x01\x00\x00\x00\xFF\xFF\xFF\xFF", .n_bytes = 8},
        {.data_type = UINT64, .uint64 = long_words, .raw = long_words, .n_bytes = 16},
        {.data_type = BOOL, .int32 = flags, .raw = "\x01\x00", .n_bytes = 2},
        {.data_type = FLOAT16, .int32 = halves, .raw = "\x00\x3C\x00\xC0", .n_bytes = 4},
        {.data_type = BFLOAT16, .int32 = halves, .raw = "\x00\x3C\x00\xC0", .n_bytes = 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        for (int raw = 0; raw < 2; raw++) {
            Onnx__TensorProto proto = ONNX__TENSOR_PROTO__INIT;
            int64_t dims[] = {2};
            proto.n_dims = 1;
            proto.dims = dims;
            proto.has_data_type = 1;
            proto.data_type = forms[i].data_type;
            proto.n_float_data = !raw && forms[i].f != NULL ? 2 : 0;
            proto.float_data = (void *)(uintptr_t)forms[i].f;
            proto.n_double_data = !raw && forms[i].d != NULL ? 2 : 0;
            proto.double_data = (void *)(uintptr_t)forms[i].d;
            proto.n_int32_data = !raw && forms[i].int32 != NULL ? 2 : 0;
            proto.int32_data = (void *)(uintptr_t)forms[i].int32;
            proto.n_int64_data = !raw && forms[i].int64 != NULL ? 2 : 0;
            proto.int64_data = (void *)(uintptr_t)forms[i].int64;
            proto.n_uint64_data = !raw && forms[i].uint64 != NULL ? 2 : 0;
            proto.uint64_data = (void *)(uintptr_t)forms[i].uint64;
            proto.has_raw_data = raw;
            proto.raw_data = (ProtobufCBinaryData){.len = forms[i].n_bytes, .data = (void *)(uintptr_t)forms[i].raw};
            qn_tensor tensor;
            qn_error err;
            qn_error_init(&err);
            qn_assert_ok(qn_tensor_from_proto(&tensor, &proto, NULL, "it", &err), &err);
            assert_int_equal(qn_dtype_to_onnx(tensor.dtype), forms[i].data_type);
            assert_int_equal(qn_tensor_bytes(&tensor), forms[i].n_bytes);
            assert_memory_equal(tensor.data, forms[i].raw, forms[i].n_bytes);
            qn_tensor_free(&tensor);
        }
    }
}

static void bad_tensors_are_refused_by_name(void **state)
{
    (void)state;
    static const float values[] = {1.0f, 2.0f, 3.0f};
    onnx_build b;
    static const struct {
        int data_type;
        const char *fragment;
    } types[] = {{STRING, "unsupported data type 8 (string)"},
                 {14, "unsupported data type 14 (complex64)"},
                 {23, "unsupported data type 23 (float4e2m1)"},
                 {24, "unsupported data type 24 (float8e8m0)"},
                 {99, "unsupported data type 99"}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        begin_relu(&b);
        build_raw(&b, "w", types[i].data_type, 1, two, values, 8);
        refused(&b, QN_EUNSUPPORTED, types[i].fragment);
    }
    begin_relu(&b);
    build_raw(&b, "w", FLOAT, 1, two, values, 12);
    refused(&b, QN_EFORMAT, "raw_data has 12 bytes, but the shape and type take 8");
    begin_relu(&b);
    build_raw(&b, "w", FLOAT, 3, (const int64_t[]){INT64_MAX / 2, 4, 4}, values, 8);
    refused(&b, QN_ELIMIT, "initializer 0 'w'");
    begin_relu(&b);
    build_raw(&b, "w", FLOAT, 2, (const int64_t[]){1 << 20, 1 << 20}, values,
              8); /* refused before 4 TiB are asked for */
    refused(&b, QN_EFORMAT, "raw_data has 8 bytes");
    begin_relu(&b);
    build_tensor(&b, "w", FLOAT, 9, (const int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1});
    refused(&b, QN_ELIMIT, "has 9 dimensions");
    begin_relu(&b);
    Onnx__TensorProto *wide = build_tensor(&b, "w", INT8, 1, two);
    int32_t out_of_range[] = {1, 128};
    wide->n_int32_data = 2;
    wide->int32_data = out_of_range;
    refused(&b, QN_ERANGE, "element 1 is 128, which no int8 can be");
    begin_relu(&b);
    build_raw(&b, "w", FLOAT, 1, two, "\x00\x00\x80\x3f\x00\x00\xc0\x7f", 8);
    refused(&b, QN_ERANGE, "element 1 is NaN");
    build_begin(&b, 13); /* a mask may be infinite, weights may not */
    build_input(&b, "x", FLOAT, 1, two);
    build_output(&b, "y", FLOAT, 1, two);
    build_node(&b, "Add", "", "x,w", "s");
    build_node(&b, "MatMul", "", "s,v", "y");
    build_raw(&b, "w", FLOAT, 1, two, "\x00\x00\x80\x3f\x00\x00\x80\xff", 8);
    build_raw(&b, "v", FLOAT, 1, two, "\x00\x00\x80\x3f\x00\x00\x80\xff", 8);
    refused(&b, QN_ERANGE, "element 1 of 'v' is infinite");
}

/* "model.onnx" in scratch with one external tensor. */
static qn_status load_external(const char *location, const char *offset, const char *length, qn_error *err)
{
    onnx_build b;
    build_begin(&b, 13);
    build_input(&b, "x", FLOAT, 1, two);
    build_output(&b, "y", FLOAT, 1, two);
    build_node(&b, "Add", "", "x,w", "y");
    Onnx__TensorProto *w = build_tensor(&b, "w", FLOAT, 1, two);
    build_external(&b, w, "location", location);
    if (offset != NULL) {
        build_external(&b, w, "offset", offset);
    }
    if (length != NULL) {
        build_external(&b, w, "length", length);
    }
    const char *path = qn_scratch_file("model.onnx");
    build_file(&b, path);
    build_end(&b);
    qn_error_init(err);
    qn_model *model = NULL;
    qn_status status = qn_model_load(&model, path, err);
    if (status == QN_OK) {
        const float *data = model->graph.values[qn_graph_find(&model->graph, "w")].constant->data;
        assert_true(data[0] == 1.0f && data[1] == 2.0f);
    }
    qn_model_free(model);
    return status;
}

static void external_data_stays_inside_the_folder(void **state)
{
    (void)state;
    static const float stored[] = {0.0f, 1.0f, 2.0f};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_file_write_all(qn_scratch_file("w.bin"), true, stored, sizeof stored, &err), &err);
    qn_assert_ok(load_external("w.bin", "4", "8", &err), &err);
    qn_assert_ok(load_external("./w.bin", "4", NULL, &err), &err);
    assert_int_equal(symlink("/etc/passwd", qn_scratch_file("escape")), 0);
    assert_int_equal(symlink("w.bin", qn_scratch_file("inside")), 0);
    qn_assert_ok(load_external("inside", "4", "8", &err), &err);
    static const struct {
        const char *location, *offset, *length;
        qn_status status;
        const char *fragment;
    } bad[] = {
        {"/etc/passwd", NULL, NULL, QN_EFORMAT, "not a path inside the model's directory"},
        {"../w.bin", NULL, NULL, QN_EFORMAT, "not a path inside the model's directory"},
        {"a/../../w.bin", NULL, NULL, QN_EFORMAT, "not a path inside the model's directory"},
        {"escape", NULL, NULL, QN_EFORMAT, "is a link out of the model's directory"},
        {"absent.bin", NULL, NULL, QN_EIO, "absent.bin"},
        {"", NULL, NULL, QN_EFORMAT, "names no location"},
        {"w.bin", "8", NULL, QN_EFORMAT, "has 12 bytes, but 8 are needed from offset 8 on"},
        {"w.bin", "-1", NULL, QN_EFORMAT, "offset '-1' is not a number"},
        {"w.bin", "18446744073709551615", NULL, QN_EFORMAT, "has 12 bytes"},
        {"w.bin", "4", "4", QN_EFORMAT, "has length 4, but the shape takes 8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        qn_status status = load_external(bad[i].location, bad[i].offset, bad[i].length, &err);
        qn_assert_fails(status, &err, bad[i].status, bad[i].fragment);
        assert_non_null(strstr(err.where, "model.onnx, initializer 0 'w'"));
    }
}

/* What qn_model_info says of "model.onnx" in scratch. */
static void model_hash(char sha256[65])
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model;
    qn_assert_ok(qn_model_load(&model, qn_scratch_file("model.onnx"), &err), &err);
    memcpy(sha256, model->graph.sha256, 65);
    qn_model_free(model);
}

static void the_hash_of_a_model_covers_its_external_data(void **state)
{
    (void)state;
    float stored[] = {0.0f, 1.0f, 2.0f};
    qn_error err;
    qn_error_init(&err);
    const char *path = qn_scratch_file("w.bin");
    qn_assert_ok(qn_file_write_all(path, true, stored, sizeof stored, &err), &err);
    qn_assert_ok(load_external("w.bin", "4", "8", &err), &err);
    char found[65], wanted[65];
    model_hash(found);

    qn_file_bytes file;
    qn_assert_ok(qn_file_read(&file, qn_scratch_file("model.onnx"), &err), &err);
    unsigned char *joined = qn_alloc(file.size + 8);
    assert_non_null(joined);
    memcpy(joined, file.data, file.size);
    memcpy(joined + file.size, stored + 1, 8);
    qn_sha256_hex(wanted, joined, file.size + 8);
    assert_string_equal(found, wanted);
    qn_free(joined);
    qn_file_bytes_free(&file);

    stored[0] = 5.0f; /* outside the tensor */
    qn_assert_ok(qn_file_write_all(path, true, stored, sizeof stored, &err), &err);
    model_hash(found);
    assert_string_equal(found, wanted);
    stored[2] = 3.0f;
    qn_assert_ok(qn_file_write_all(path, true, stored, sizeof stored, &err), &err);
    model_hash(found);
    assert_string_not_equal(found, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_storage_form_gives_the_elements),
        cmocka_unit_test(bad_tensors_are_refused_by_name),
        cmocka_unit_test(external_data_stays_inside_the_folder),
        cmocka_unit_test(the_hash_of_a_model_covers_its_external_data),
    };
    return cmocka_run_group_tests_name("onnx tensors", tests, NULL, NULL);
}
