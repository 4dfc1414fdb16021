/* ONNX import: networks from outside load whole, and each thing that can be wrong has its message. */
#include "support.h"

#include <string.h>

#include "graph/model.h"
#include "onnx/onnx.h"
#include "onnx_build.h"

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

enum { FLOAT = 1, UINT8 = 2 };

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

static void structural_faults_name_their_node(void **state)
{
    (void)state;
    onnx_build b;
    begin_relu(&b);
    build_node(&b, "Relu", "second", "x", "y");
    refused(&b, QN_EFORMAT, "node 1 Relu 'second'");
    begin_relu(&b);
    build_node(&b, "Relu", "reader", "nothing", "z");
    refused(&b, QN_EFORMAT, "reads 'nothing', which nothing in the graph makes");
    begin_relu(&b);
    build_output(&b, "absent", FLOAT, 1, two);
    refused(&b, QN_EFORMAT, "graph output 1 'absent'");
    begin_relu(&b);
    build_output(&b, "y", FLOAT, 1, two);
    refused(&b, QN_EFORMAT, "is listed twice");
    begin_relu(&b);
    build_input(&b, "x", FLOAT, 1, two);
    refused(&b, QN_EFORMAT, "another input has this name");
    begin_relu(&b);
    build_node(&b, "Relu", "up", "q", "p");
    build_node(&b, "Relu", "down", "p", "q");
    build_output(&b, "p", FLOAT, 1, two);
    refused(&b, QN_EFORMAT, "cycle");
    begin_relu(&b);
    build_int(&b, b.graph.node[0], "a", 1);
    build_int(&b, b.graph.node[0], "a", 2);
    refused(&b, QN_EFORMAT, "attribute a occurs twice");
    begin_relu(&b);
    build_node(&b, "Constant", "c", "", "k");
    refused(&b, QN_EUNSUPPORTED, "a Constant must hold a dense tensor");
    begin_relu(&b);
    b.graph.input[0]->type->tensor_type->elem_type = 8;
    refused(&b, QN_EUNSUPPORTED, "unsupported data type 8 (string)");
    begin_relu(&b);
    build_metadata(&b, "k", "1");
    build_metadata(&b, "k", "2");
    refused(&b, QN_EFORMAT, "key 'k' occurs twice");
    static const struct {
        int64_t opset, ir_version;
        const char *fragment;
    } versions[] = {{6, 7, "opset 6 is not supported; 7 to 21"},
                    {22, 7, "opset 22 is not supported; 7 to 21"},
                    {13, 2, "IR version 2 is not supported; 3 to 10"},
                    {13, 11, "IR version 11 is not supported; 3 to 10"}};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        begin_relu(&b);
        b.model.opset_import[0]->version = versions[i].opset;
        b.model.ir_version = versions[i].ir_version;
        refused(&b, QN_EUNSUPPORTED, versions[i].fragment);
    }
}

/* Nested deeper than any model; protobuf-c alone would run out of stack. */
static void deep_nesting_is_refused(void **state)
{
    (void)state;
    onnx_build deep;
    begin_relu(&deep);
    Onnx__AttributeProto *attribute =
        build_attribute(&deep, deep.graph.node[0], "g", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
    enum { LEVELS = 64 };
    Onnx__GraphProto graphs[LEVELS];
    Onnx__NodeProto nodes[LEVELS], *node_lists[LEVELS];
    Onnx__AttributeProto attributes[LEVELS], *attribute_lists[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        onnx__graph_proto__init(&graphs[i]);
        onnx__node_proto__init(&nodes[i]);
        onnx__attribute_proto__init(&attributes[i]);
        node_lists[i] = &nodes[i];
        attribute_lists[i] = &attributes[i];
        graphs[i].n_node = 1;
        graphs[i].node = &node_lists[i];
        nodes[i].n_attribute = 1;
        nodes[i].attribute = &attribute_lists[i];
        attribute->g = &graphs[i];
        attribute = &attributes[i];
    }
    refused(&deep, QN_ELIMIT, "nest deeper than");
}

static void constants_order_and_subgraphs(void **state)
{
    (void)state;
    onnx_build b;
    build_begin(&b, 13);
    build_output(&b, "y", FLOAT, 1, two);
    build_node(&b, "Add", "last", "a,c", "y"); /* before what it reads */
    build_node(&b, "Relu", "first", "c", "a");
    Onnx__NodeProto *constant = build_node(&b, "Constant", "", "", "c");
    Onnx__AttributeProto *floats =
        build_attribute(&b, constant, "value_floats", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS);
    float numbers[] = {1.0f, 2.0f};
    floats->n_floats = 2;
    floats->floats = numbers;
    Onnx__GraphProto body = ONNX__GRAPH_PROTO__INIT;
    Onnx__NodeProto *loop = build_node(&b, "Relu", "has_body", "a", "z");
    build_attribute(&b, loop, "body", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH)->g = &body;
    build_output(&b, "z", FLOAT, 1, two);
    build_bytes(&b);
    qn_error err;
    qn_error_init(&err);
    qn_model *model;
    qn_assert_ok(qn_model_load_any_memory(&model, b.bytes, b.n_bytes, "made.onnx", &err), &err);
    assert_int_equal(model->graph.n_nodes, 3);
    assert_string_equal(model->graph.nodes[0].name, "first");
    qn_value_id id = qn_graph_find(&model->graph, "c");
    assert_memory_equal(model->graph.values[id].constant->data, numbers, sizeof numbers);
    for (size_t i = 0; i < 3; i++) {
        bool has_body = strcmp(model->graph.nodes[i].name, "has_body") == 0;
        assert_int_equal(model->graph.nodes[i].op == QN_OP_UNKNOWN, has_body);
    }
    qn_model_free(model);
    build_end(&b);
}

static void begin_everything(onnx_build *b)
{
    static const float scale = 0.5f, weights[] = {1.0f, -2.0f};
    static const uint8_t zero = 3;
    build_begin(b, 13);
    build_input(b, "x", FLOAT, 1, (const int64_t[]){-1});
    build_output(b, "y", FLOAT, 1, (const int64_t[]){-1});
    build_raw(b, "s", FLOAT, 0, NULL, &scale, sizeof scale);
    build_raw(b, "z", UINT8, 0, NULL, &zero, sizeof zero);
    build_raw(b, "w", FLOAT, 1, two, weights, sizeof weights);
    build_metadata(b, "k", "v");
    build_node(b, "QuantizeLinear", "q", "x,s,z", "xq");
    build_node(b, "DequantizeLinear", "dq", "xq,s,z", "xd");
    build_ints(b, build_node(b, "Add", "add", "xd,w", "a"), "ints", 2, (const int64_t[]){1, 2});
    build_node(b, "QuantizeLinear", "qw", "w,s,z", "wq");
    build_node(b, "DequantizeLinear", "dqw", "wq,s,z", "wd");
    build_node(b, "Mul", "mul", "a,wd", "y");
    build_bytes(b);
}

static void failed_allocations_leave_nothing_behind(void **state)
{
    (void)state;
    onnx_build b;
    begin_everything(&b);
    bool loaded = false;
    int64_t n = 0;
    for (; !loaded && n < 1000; n++) {
        qn_error err;
        qn_error_init(&err);
        qn_model *model = NULL;
        qn_alloc_fail_after(n);
        qn_status status = qn_model_load_any_memory(&model, b.bytes, b.n_bytes, "made.onnx", &err);
        unsigned char *bytes = NULL;
        size_t n_bytes;
        if (status == QN_OK) {
            status = qn_onnx_export(&bytes, &n_bytes, &model->graph, &err);
        }
        qn_alloc_fail_after(-1);
        loaded = status == QN_OK;
        if (!loaded) {
            qn_assert_fails(status, &err, QN_ENOMEM, "cannot allocate");
        }
        qn_model_free(model);
        qn_free(bytes);
    }
    assert_true(loaded);
    assert_true(n > 10);
    build_end(&b);
}

/* Loaded or refused with one line, never more. */
static void damaged_files_end_in_one_line(void **state)
{
    (void)state;
    onnx_build b;
    begin_everything(&b);
    size_t n_refused = 0;
    for (size_t i = 0; i < 9 * b.n_bytes; i++) {
        size_t length = i < b.n_bytes ? i : b.n_bytes;
        unsigned char *copy = qn_alloc(length);
        memcpy(copy, b.bytes, length);
        if (i >= b.n_bytes) {
            copy[(i - b.n_bytes) / 8] ^= (unsigned char)(1u << (i - b.n_bytes) % 8);
        }
        qn_error err;
        qn_error_init(&err);
        qn_model *model = NULL;
        if (qn_model_load_memory(&model, copy, length, "made.onnx", &err) != QN_OK) {
            n_refused++;
            assert_true(err.message[0] != '\0' && strchr(err.message, '\n') == NULL);
            assert_null(model);
        }
        qn_model_free(model);
        qn_free(copy);
    }
    assert_true(n_refused > b.n_bytes);
    build_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_models_load_whole),
        cmocka_unit_test(files_that_are_no_models_say_what_they_are),
        cmocka_unit_test(structural_faults_name_their_node),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(constants_order_and_subgraphs),
        cmocka_unit_test(failed_allocations_leave_nothing_behind),
        cmocka_unit_test(damaged_files_end_in_one_line),
    };
    return cmocka_run_group_tests_name("onnx import", tests, NULL, NULL);
}
