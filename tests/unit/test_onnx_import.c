/* ONNX import: networks from outside load whole, and each thing that can be wrong has its message. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "graph/model.h"

static qn_model *load_shared(const char *relative)
{
    const char *path = qn_shared(relative);
    if (path == NULL) {
        skip();
    }
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    qn_assert_ok(qn_model_load(&model, path, &err), &err);
    return model;
}

/* Node and element counts as onnx.load in Python gives them; Constant nodes become constants. */
static void shared_models_load_whole(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t n_nodes;
        int64_t n_floats, n_ints;
    } models[] = {
        {"data/models/kws_dscnn.onnx", 30, 24908, 0},
        {"data/models/kws_dscnn_tflite.onnx", 21, 22604, 0},
        {"data/models/lenet_cifar10.onnx", 12, 62006, 0},
        {"data/models/resnet8_cifar10.onnx", 29, 78666, 0},
        {"data/models/vit_cifar10.onnx", 211, 141923, 63},
        {"data/models/vit_cifar10_torchraw.onnx", 253 - 42, 141923, 63},
    };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        qn_model *model = load_shared(models[i].path);
        const qn_graph *graph = &model->graph;
        int64_t n_floats = 0, n_ints = 0;
        for (size_t v = 0; v < graph->n_values; v++) {
            const qn_tensor *constant = graph->values[v].constant;
            int64_t n = constant != NULL ? qn_tensor_count(constant) : 0;
            n_floats += constant != NULL && constant->dtype == QN_DTYPE_F32 ? n : 0;
            n_ints += constant != NULL && constant->dtype == QN_DTYPE_S64 ? n : 0;
        }
        assert_int_equal(graph->n_nodes, models[i].n_nodes);
        assert_int_equal(n_floats, models[i].n_floats);
        assert_int_equal(n_ints, models[i].n_ints);
        assert_int_equal(graph->opset, 13);
        assert_int_equal(graph->ir_version, 7);
        qn_io_info info;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_model_input(model, 0, &info, &err), &err);
        assert_string_equal(info.name, "input");
        assert_int_equal(info.dims[0], -1);
        qn_assert_ok(qn_model_output(model, 0, &info, &err), &err);
        assert_string_equal(info.name, "logits");
        qn_assert_fails(qn_model_output(model, 1, &info, &err), &err, QN_EINVAL, "there is no number 1");
        assert_int_equal(strlen(graph->sha256), 64);
        qn_model_free(model);
    }
}

static void files_that_are_no_models_say_what_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n_bytes;
        const char *message;
    } files[] = {
        {"", 0, "it is empty"},
        {"PK\x03\x04zzzz", 8, "zip archive"},
        {"<!DOCTYPE html><html>", 21, "HTML"},
        {"Dear reader,\nthis is no model.\n", 31, "plain text"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "git lfs pull"},
        {"\x93NUMPY\x01\0v\0", 10, "NumPy array"},
        {"\x08\x07\x3a\x7fxyz", 7, "ModelProto.graph at byte 4"},
        {"\x08\x07", 2, "it has no graph"},
        {"\xff\xff\xff\xff", 4, "at byte 0"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_model *model = NULL;
        qn_status status = qn_model_load_memory(&model, files[i].bytes, files[i].n_bytes, "some.onnx", &err);
        qn_assert_fails(status, &err, QN_EFORMAT, files[i].message);
        assert_null(model);
        assert_string_equal(err.where, "some.onnx");
    }
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    qn_assert_fails(qn_model_load(&model, qn_scratch(), &err), &err, QN_EIO, "is a directory");
    qn_error_init(&err);
    qn_assert_fails(qn_model_load(&model, qn_scratch_file("absent.onnx"), &err), &err, QN_EIO, "absent.onnx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_models_load_whole),
        cmocka_unit_test(files_that_are_no_models_say_what_they_are),
    };
    return cmocka_run_group_tests_name("onnx import", tests, NULL, NULL);
}
