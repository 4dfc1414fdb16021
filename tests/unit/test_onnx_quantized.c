/* Files with org.quern nodes, int4 and float8, made by hand: what they mean, what is refused, what is written. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "graph/model.h"
#include "graph_builder.h"
#include "onnx/onnx.h"
#include "onnx_build.h"

enum { FLOAT = 1, UINT8 = 2, INT8 = 3, INT32 = 6, INT64 = 7, FLOAT8E4M3FN = 17, UINT4 = 21, INT4 = 22 };

static const int64_t one[] = {1}, two[] = {2}, shape[] = {2, 4};

static qn_status load(qn_model **model, onnx_build *b, qn_error *err)
{
    qn_error_init(err);
    build_bytes(b);
    return qn_model_load_memory(model, b->bytes, b->n_bytes, "made.onnx", err);
}

static qn_model *load_ok(onnx_build *b)
{
    qn_error err;
    qn_model *model = NULL;
    qn_assert_ok(load(&model, b, &err), &err);
    return model;
}

static void refused(onnx_build *b, qn_status status, const char *fragment)
{
    qn_error err;
    qn_model *model = NULL;
    qn_assert_fails(load(&model, b, &err), &err, status, fragment);
    build_end(b);
}

static void add_string(onnx_build *b, Onnx__NodeProto *node, const char *name, const char *text)
{
    Onnx__AttributeProto *a = build_attribute(b, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s = (ProtobufCBinaryData){.len = strlen(text), .data = (void *)qn_arena_string(&b->arena, text)};
}

static void import_org(onnx_build *b, int64_t version)
{
    static const Onnx__OperatorSetIdProto initial = ONNX__OPERATOR_SET_ID_PROTO__INIT;
    Onnx__OperatorSetIdProto *set = qn_arena_alloc(&b->arena, sizeof *set);
    *set = initial;
    set->domain = qn_arena_string(&b->arena, "org.quern");
    set->has_version = 1;
    set->version = version;
    b->model.opset_import[b->model.n_opset_import++] = set;
}

/* x -> Relu -> r; a node of org.quern reads what its inputs say and makes q; q + x -> y. */
typedef struct spec {
    const char *op, *inputs, *format;
    struct {
        const char *name;
        int64_t value;
    } ints[3];
    int rank; /* of attribute shape; 0: none */
    int64_t dims[2];
    qn_status status;
    const char *fragment;
} spec;

static Onnx__NodeProto *build_spec(onnx_build *b, const spec *s)
{
    static const float half[] = {0.5f, 0.5f}, negative = -1.0f;
    static const int32_t zeros[] = {0, 0}, far = 9999;
    static const int64_t longs[] = {0};
    /* int6: 1, -1, 31, -32; then 1, -1, 31 with a bit after the last code; then the posit that is no number */
    static const uint8_t codes[] = {0xC1, 0xFF, 0x81}, dirty[] = {0xC1, 0xFF, 0x05}, nar[] = {0x80};
    build_begin(b, 13);
    import_org(b, 1);
    build_input(b, "x", FLOAT, 2, shape);
    build_output(b, "y", FLOAT, 2, shape);
    build_raw(b, "s1", FLOAT, 1, one, half, 4);
    build_raw(b, "s2", FLOAT, 1, two, half, 8);
    build_raw(b, "s0", FLOAT, 0, NULL, half, 4);
    build_raw(b, "minus", FLOAT, 1, one, &negative, 4);
    build_raw(b, "z1", INT32, 1, one, zeros, 4);
    build_raw(b, "z2", INT32, 1, two, zeros, 8);
    build_raw(b, "far", INT32, 1, one, &far, 4);
    build_raw(b, "long", INT64, 1, one, longs, 8);
    build_raw(b, "codes", UINT8, 1, (const int64_t[]){3}, codes, sizeof codes);
    build_raw(b, "dirty", UINT8, 1, (const int64_t[]){3}, dirty, sizeof dirty);
    build_raw(b, "nar", UINT8, 1, one, nar, sizeof nar);
    build_node(b, "Relu", "relu", "x", "r");
    Onnx__NodeProto *node = build_node(b, s->op, "wrong", s->inputs, "q");
    node->domain = qn_arena_string(&b->arena, "org.quern");
    if (s->format != NULL) {
        add_string(b, node, "format", s->format);
    }
    for (int i = 0; i < 3 && s->ints[i].name != NULL; i++) {
        build_int(b, node, s->ints[i].name, s->ints[i].value);
    }
    if (s->rank > 0) {
        build_ints(b, node, "shape", (size_t)s->rank, s->dims);
    }
    build_node(b, "Add", "", "q,x", "y");
    return node;
}

#define FAKE  .op = "FakeQuantize"
#define CODED .op = "Dequantize"

static void wrong_nodes_are_refused_by_name(void **state)
{
    (void)state;
    static const spec specs[] = {
        {FAKE, .inputs = "r,s1,z1", .format = NULL, .fragment = "needs the attribute format"},
        {FAKE, .inputs = "r,s1,z1", .format = "int99", .fragment = "int99"},
        {FAKE, .inputs = "r,s1,z1", .format = "nonsense", .fragment = "nonsense"},
        {FAKE, .inputs = "r,s1", .format = "int6", .fragment = "quantization parameters where 1 are needed"},
        {FAKE, .inputs = "r", .format = "int6", .fragment = "quantization parameters where 1 are needed"},
        {FAKE, .inputs = "r,s2,z2", .format = "int6", .fragment = "scale has 2 elements where 1 are needed"},
        {FAKE, .inputs = "r,s2,z1", .format = "int6", .ints = {{"axis", 0}, {"sets", 2}},
         .fragment = "zero_point has 1"},
        {FAKE, .inputs = "x,s2,z2", .format = "int6", .ints = {{"axis", 2}, {"sets", 2}},
         .fragment = "axis 2 is outside"},
        {FAKE, .inputs = "r,s2,z2", .format = "int6", .ints = {{"sets", 2}}, .fragment = "2 quantization parameters"},
        {FAKE, .inputs = "r,s1,z1", .format = "int6", .ints = {{"axis", -2}}, .fragment = "attribute axis is -2"},
        {FAKE, .inputs = "r,s1,z1", .format = "int6", .ints = {{"group", -1}}, .fragment = "attribute group is -1"},
        {FAKE, .inputs = "r,s1,z1", .format = "int6", .ints = {{"sets", -1}}, .fragment = "attribute sets is -1"},
        {FAKE, .inputs = "r,s1,z1", .format = "int6", .ints = {{"dynamic", 2}}, .fragment = "attribute dynamic is 2"},
        {FAKE, .inputs = "r,s1,z1", .format = "int6", .ints = {{"colour", 2}},
         .fragment = "attribute colour is not one"},
        {FAKE, .inputs = "r,s1,z1", .format = "int6", .ints = {{"dynamic", 1}},
         .fragment = "dynamic quantizer does not keep"},
        {FAKE, .inputs = "r", .format = "int6", .ints = {{"dynamic", 1}, {"sets", 1}},
         .fragment = "attribute sets is 1"},
        {FAKE, .inputs = "r,s0,z1", .format = "int6",
         .fragment = "scale must be a constant of float32 with one dimension"},
        {FAKE, .inputs = "r,x,z1", .format = "int6", .fragment = "scale must be a constant"},
        {FAKE, .inputs = "r,s1,long", .format = "int6", .fragment = "zero_point must be a constant of int32"},
        {FAKE, .inputs = "r,minus,z1", .format = "int6", .fragment = "scale 0 is -1"},
        {FAKE, .inputs = "r,s1,far", .format = "int6", .fragment = "zero point 0 is 9999"},
        {FAKE, .inputs = "r,,,far", .format = "adaptivfloat<6,3>", .fragment = "exponent bias 0 is 9999"},
        {FAKE, .inputs = "r,s1", .format = "posit<8,1>", .fragment = "a scale, which its format does not use"},
        {FAKE, .inputs = "r", .format = "bfp<8,16>", .fragment = "groups of 0 elements for a format with blocks of 16"},
        {FAKE, .inputs = "r,s1,z1,,,,s1", .format = "int6", .fragment = "1 to 6 inputs"},
        {FAKE, .inputs = ",s1,z1", .format = "int6", .fragment = "1 to 6 inputs"},
        {FAKE, .inputs = "s2,s1,z1", .format = "int6", .ints = {{"axis", 1}}, .fragment = "axis 1 is outside"},
        {FAKE, .inputs = "s2", .format = "int6", .ints = {{"dynamic", 1}}, .fragment = "its input is a constant"},
        {CODED, .inputs = "codes,s1,z1", .format = "int6", .fragment = "needs the attribute shape"},
        {CODED, .inputs = "codes,s1,z1", .format = "int6", .rank = 2, .dims = {2, 3},
         .fragment = "3 bytes, but the shape and format take 5"},
        {CODED, .inputs = "codes,s1,z1", .format = "int6", .rank = 2, .dims = {-1, -4}, .fragment = "negative"},
        {CODED, .inputs = "codes,s1,z1", .format = "int6", .rank = 2, .dims = {INT64_MAX, 4},
         .fragment = "dimensions is too large"},
        {CODED, .inputs = "dirty,s1,z1", .format = "int6", .rank = 1, .dims = {3},
         .fragment = "bits after its last code"},
        {CODED, .inputs = "r,s1,z1", .format = "int6", .rank = 1, .dims = {4},
         .fragment = "codes must be a constant of uint8"},
        {CODED, .inputs = "s1,s1,z1", .format = "int6", .rank = 1, .dims = {4},
         .fragment = "codes must be a constant of uint8"},
        {CODED, .inputs = "codes,s2,z2", .format = "int6", .rank = 1, .dims = {4}, .fragment = "scale has 2 elements"},
        {CODED, .inputs = "codes,s1,z1", .format = "int6", .rank = 1, .dims = {4}, .ints = {{"dynamic", 1}},
         .fragment = "attribute dynamic is not one"},
        {CODED, .inputs = "codes,s1,z1", .format = "int6", .rank = 1, .dims = {4}, .ints = {{"axis", 1}},
         .fragment = "axis 1 is outside"},
        {CODED, .inputs = "nar", .format = "posit<8,1>", .rank = 1, .dims = {1}, .status = QN_ERANGE,
         .fragment = "NaN or infinity"},
    };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        onnx_build b;
        build_spec(&b, &specs[i]);
        refused(&b, specs[i].status != QN_OK ? specs[i].status : QN_EFORMAT, specs[i].fragment);
        build_spec(&b, &specs[i]); /* and the message names the node */
        refused(&b, specs[i].status != QN_OK ? specs[i].status : QN_EFORMAT, "'wrong'");
    }
}

static void nodes_mean_what_the_specification_says(void **state)
{
    (void)state;
    static const spec fake = {FAKE, .inputs = "r,s2,z2", .format = "int6", .ints = {{"axis", 0}, {"sets", 2}}};
    onnx_build b;
    build_spec(&b, &fake);
    qn_model *model = load_ok(&b);
    const qn_quantizer *q = model->graph.values[qn_graph_find(&model->graph, "r")].quantizer;
    assert_non_null(q); /* the node is gone: r has no other reader */
    assert_int_equal(model->graph.n_nodes, 2);
    assert_int_equal(q->format.bits, 6);
    assert_int_equal(q->axis, 0);
    assert_int_equal(q->n, 2);
    assert_true(q->scale[1] == 0.5f);
    qn_model_free(model);
    build_end(&b);

    static const spec coded = {CODED, .inputs = "codes,s1,z1", .format = "int6", .rank = 1, .dims = {4}};
    static const float expected[] = {0.5f, -0.5f, 15.5f, -16.0f};
    static const int8_t codes[] = {1, -1, 31, -32};
    build_spec(&b, &coded);
    model = load_ok(&b);
    const qn_value *value = &model->graph.values[qn_graph_find(&model->graph, "q")];
    assert_int_equal(value->codes->dtype, QN_DTYPE_S8);
    assert_memory_equal(value->codes->data, codes, sizeof codes);
    qn_error err;
    qn_error_init(&err);
    qn_tensor t;
    qn_assert_ok(qn_model_constant(&t, model, "q", &err), &err);
    assert_int_equal(t.rank, 1);
    assert_memory_equal(t.data, expected, sizeof expected);
    qn_tensor_free(&t);
    qn_model_free(model);
    build_end(&b);

    /* A constant behind a FakeQuantize is encoded: 0.5 at scale 0.5. */
    static const spec encoded = {FAKE, .inputs = "s2,s1,z1", .format = "int6"};
    build_spec(&b, &encoded);
    model = load_ok(&b);
    value = &model->graph.values[qn_graph_find(&model->graph, "q")];
    assert_memory_equal(value->codes->data, ((const int8_t[]){1, 1}), 2);
    qn_model_free(model);
    build_end(&b);
}

static void versions_and_arithmetic_are_checked(void **state)
{
    (void)state;
    static const spec fake = {FAKE, .inputs = "r,s1,z1", .format = "int6"};
    onnx_build b;
    build_spec(&b, &fake);
    b.model.opset_import[1]->version = 2;
    refused(&b, QN_EUNSUPPORTED, "version 2 of domain org.quern is not supported");
    build_spec(&b, &fake);
    b.model.n_opset_import = 1;
    refused(&b, QN_EFORMAT, "node 1 'wrong' is of domain org.quern, which opset_import does not list");
    Onnx__NodeProto *node = build_spec(&b, &fake);
    build_attribute(&b, node, "body", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
    refused(&b, QN_EFORMAT, "nodes of domain org.quern have no graphs");
    static const struct {
        const char *key, *value, *fragment;
    } broken[] = {{"quern.requantize", "magic", "unknown requantization 'magic'"},
                  {"quern.rounding", "sideways", "unknown rounding 'sideways'"},
                  {"quern.sums", "none", "sums 'none'"},
                  {"quern.accumulator", "7 wrap", "accumulator"}};
    for (size_t i = 0; i < 4; i++) {
        build_spec(&b, &fake);
        build_metadata(&b, broken[i].key, broken[i].value);
        refused(&b, QN_EFORMAT, broken[i].fragment);
    }
}

/* x * w, w being codes of a type without dtype behind DequantizeLinear. */
static void begin_narrow(onnx_build *b, int type, int64_t n, const void *bytes, size_t n_bytes, const void *zero)
{
    static const float unit = 1.0f;
    build_begin(b, 21);
    b->model.ir_version = 10;
    build_input(b, "x", FLOAT, 1, &n);
    build_output(b, "y", FLOAT, 1, &n);
    build_raw(b, "w_quantized", type, 1, &n, bytes, n_bytes);
    build_raw(b, "w_scale", FLOAT, 0, NULL, &unit, sizeof unit);
    build_raw(b, "w_zero_point", type, 0, NULL, zero, 1);
    build_node(b, "DequantizeLinear", "dq", "w_quantized,w_scale,w_zero_point", "w");
    build_node(b, "Mul", "", "x,w", "y");
}

static const Onnx__TensorProto *initializer(const Onnx__ModelProto *proto, const char *name)
{
    for (size_t i = 0; i < proto->graph->n_initializer; i++) {
        if (strcmp(proto->graph->initializer[i]->name, name) == 0) {
            return proto->graph->initializer[i];
        }
    }
    fail_msg("no initializer %s", name);
    return NULL;
}

/* What was read is written with the same type and bytes. */
static void expect_written(const qn_model *model, int type, const void *bytes, size_t n_bytes)
{
    qn_error err;
    qn_error_init(&err);
    unsigned char *data;
    size_t size;
    qn_assert_ok(qn_onnx_export(&data, &size, &model->graph, &err), &err);
    Onnx__ModelProto *proto = onnx__model_proto__unpack(NULL, size, data);
    assert_non_null(proto);
    const Onnx__TensorProto *codes = initializer(proto, "w_quantized");
    assert_int_equal(codes->data_type, type);
    assert_int_equal(codes->raw_data.len, n_bytes);
    assert_memory_equal(codes->raw_data.data, bytes, n_bytes);
    const Onnx__TensorProto *zero = initializer(proto, "w_zero_point");
    assert_int_equal(zero->data_type, type);
    assert_int_equal(zero->raw_data.len, 1);
    onnx__model_proto__free_unpacked(proto, NULL);
    qn_free(data);
}

static void narrow_types_of_onnx_are_read_and_written(void **state)
{
    (void)state;
    static const uint8_t zero = 0;
    static const struct {
        int type;
        const char *format;
        int64_t n;
        uint8_t bytes[5];
        size_t n_bytes;
        float values[5];
    } cases[] = {
        {INT4, "int4", 5, {0xF1, 0x87, 0x03}, 3, {1, -1, 7, -8, 3}},
        {UINT4, "uint4", 5, {0xF1, 0x87, 0x03}, 3, {1, 15, 7, 8, 3}},
        {FLOAT8E4M3FN, "fp8e4m3", 4, {0x38, 0x7E, 0x01, 0xB8}, 4, {1, 448, 0x1p-9f, -1}},
        {18, "float<4,3,fnuz>", 3, {0x40, 0x7F, 0xC0}, 3, {1, 240, -1}},
        {19, "fp8e5m2", 3, {0x3C, 0x7B, 0x01}, 3, {1, 57344, 0x1p-16f}},
        {20, "float<5,2,fnuz>", 3, {0x40, 0x7F, 0x01}, 3, {1, 57344, 0x1p-17f}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int stored = 0; stored < 2; stored++) { /* raw_data, int32_data */
            onnx_build b;
            begin_narrow(&b, cases[i].type, cases[i].n, cases[i].bytes, cases[i].n_bytes, &zero);
            Onnx__TensorProto *codes = b.graph.initializer[0];
            if (stored == 1) {
                codes->has_raw_data = 0;
                codes->n_int32_data = cases[i].n_bytes;
                codes->int32_data = qn_arena_array(&b.arena, cases[i].n_bytes, sizeof(int32_t));
                for (size_t k = 0; k < cases[i].n_bytes; k++) {
                    codes->int32_data[k] = cases[i].bytes[k];
                }
            }
            qn_model *model = load_ok(&b);
            const qn_value *w = &model->graph.values[qn_graph_find(&model->graph, "w")];
            char name[QN_FORMAT_NAME_MAX];
            qn_format_name(name, w->quantizer->format);
            assert_string_equal(name, cases[i].format);
            assert_memory_equal(w->constant->data, cases[i].values, (size_t)cases[i].n * sizeof(float));
            expect_written(model, cases[i].type, cases[i].bytes, cases[i].n_bytes);
            qn_model_free(model);
            build_end(&b);
        }
    }
}

static void narrow_types_have_their_limits(void **state)
{
    (void)state;
    static const uint8_t zero = 0, one_code = 0x38, bytes[] = {0xF1, 0x87};
    static const float two_exactly = 2.0f;
    onnx_build b;
    begin_narrow(&b, INT4, 5, bytes, sizeof bytes, &zero);
    refused(&b, QN_EFORMAT, "raw_data has 2 bytes");
    begin_narrow(&b, INT4, 4, bytes, sizeof bytes, &zero);
    b.graph.node[1]->input[1] = b.graph.initializer[0]->name;
    refused(&b, QN_EUNSUPPORTED, "'w_quantized': unsupported data type 22 (int4), except as codes");
    begin_narrow(&b, FLOAT8E4M3FN, 2, bytes, sizeof bytes, &one_code);
    refused(&b, QN_EUNSUPPORTED, "'dq'): float8 codes with a zero point other than 0");
    begin_narrow(&b, FLOAT8E4M3FN, 2, bytes, sizeof bytes, &zero); /* -(1 + 1/8) 2^7, (7/8) 2^-6 */
    memcpy(b.graph.initializer[1]->raw_data.data, &two_exactly, sizeof two_exactly);
    qn_model *model;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(load(&model, &b, &err), &err);
    const qn_value *w = &model->graph.values[qn_graph_find(&model->graph, "w")];
    assert_true(w->quantizer == NULL && w->constant != NULL);
    assert_true(((const float *)w->constant->data)[0] == -288 && ((const float *)w->constant->data)[1] == -7 * 0x1p-8F);
    qn_model_free(model);
    build_end(&b);
    static const uint8_t nan[] = {0x7F, 0x38};
    begin_narrow(&b, FLOAT8E4M3FN, 2, nan, sizeof nan, &zero);
    refused(&b, QN_ERANGE, "'dq'");
}

/* x * w with a quantizer on w alone. */
static void start_graph(qn_graph *g, const float *w)
{
    *g = (qn_graph){.opset = 13, .name = "", .file = "", .producer = ""};
    qn_test_input(g, "x", 1, (const int64_t[]){4});
    qn_test_floats(g, "w", 1, (const int64_t[]){4}, w);
    NODE(g, "Mul", "x w", "y");
    qn_test_output(g, "y");
}

static void constants_without_codes_are_encoded(void **state)
{
    (void)state;
    static const float scale = 0.5f, w[] = {0.3f, -0.8f, 100.0f, 0.75f};
    static const int32_t zero_point = 0;
    static const int8_t expected[] = {1, -2, 31, 2}; /* 0.6, -1.6, 200, 1.5 (a tie: to even) */
    qn_quantizer q = {
        .format = {.bits = 6, .is_signed = true}, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero_point};
    qn_graph g;
    qn_error err;
    qn_error_init(&err);
    start_graph(&g, w);
    qn_value_id id = qn_graph_find(&g, "w");
    qn_assert_ok(qn_graph_set_quantizer(&g, id, &q, &err), &err);
    unsigned char *data;
    size_t n;
    qn_assert_ok(qn_onnx_export(&data, &n, &g, &err), &err);
    qn_model *model;
    qn_assert_ok(qn_model_load_memory(&model, data, n, "again.onnx", &err), &err);
    const qn_value *value = &model->graph.values[qn_graph_find(&model->graph, "w")];
    assert_memory_equal(value->codes->data, expected, sizeof expected);
    qn_model_free(model);
    qn_free(data);
    qn_graph_free(&g);
}

static void refused_at_save(const float *w, const qn_quantizer *q, const qn_tensor *codes, qn_status status,
                            const char *fragment)
{
    qn_graph g;
    qn_error err;
    qn_error_init(&err);
    start_graph(&g, w);
    qn_value_id id = qn_graph_find(&g, "w");
    qn_assert_ok(qn_graph_set_quantizer(&g, id, q, &err), &err);
    if (codes != NULL) {
        qn_assert_ok(qn_graph_set_codes(&g, id, codes, &err), &err);
    }
    unsigned char *data;
    size_t n;
    qn_assert_fails(qn_onnx_export(&data, &n, &g, &err), &err, status, fragment);
    qn_graph_free(&g);
}

static void what_would_not_load_is_not_saved(void **state)
{
    (void)state;
    static const float scale = 0.5f, no_scale = 0.0f, w[] = {1, 2, 3, 4};
    const float nan[] = {1, 2, NAN, 4};
    static const int32_t zero_point = 0;
    uint8_t bytes[4] = {0};
    qn_tensor codes = {.dtype = QN_DTYPE_U8, .rank = 1, .dims = {4}, .data = bytes};
    qn_quantizer q = {
        .format = {.bits = 6, .is_signed = true}, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero_point};
    refused_at_save(nan, &q, NULL, QN_EUNSUPPORTED, "value 'w' is quantized and holds NaN");
    refused_at_save(w, &q, &codes, QN_EUNSUPPORTED, "value 'w' has codes of another type or shape");
    q.scale = &no_scale;
    refused_at_save(w, &q, NULL, QN_EINVAL, "value 'w': scale 0 is 0");
    q = (qn_quantizer){.format = q.format, .axis = -1, .dynamic = true};
    refused_at_save(w, &q, NULL, QN_EUNSUPPORTED, "value 'w' is a constant, which no dynamic quantizer");
}

/* Integers of 2 to 7 bits are int8 to others; a key says how many bits they have. */
static void few_bits_are_int8_with_a_key(void **state)
{
    (void)state;
    static const uint8_t zero = 0, far = 9;
    static const int8_t codes[] = {3, -4, 0, 1};
    static const struct {
        const char *key, *value;
        int bits; /* 0: refused */
        const char *fragment;
    } cases[] = {{"quern.bits.w", "3", 3, NULL},
                 {"quern.bits.w", "7", 7, NULL},
                 {"quern.bits.gone", "3", 8, NULL}, /* another tool renamed it: the numbers are the same */
                 {"quern.bits.w", "2", 0, "'quern.bits.w' says 2 bits, but its codes have 3"},
                 {"quern.bits.w", "8", 0, "not a number of bits from 2 to 7"},
                 {"quern.bits.w", "33", 0, "not a number of bits"},
                 {"quern.bits.gone", "", 0, "not a number of bits"},
                 {"quern.store", "int9", 0, "quern.store is 'int9'"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        onnx_build b;
        begin_narrow(&b, INT8, 4, codes, sizeof codes, &zero);
        build_metadata(&b, cases[i].key, cases[i].value);
        if (cases[i].bits != 0) {
            build_metadata(&b, "quern.store", "int8");
        }
        if (cases[i].bits == 0) {
            refused(&b, QN_EFORMAT, cases[i].fragment);
            continue;
        }
        qn_model *model = load_ok(&b);
        const qn_value *w = &model->graph.values[qn_graph_find(&model->graph, "w")];
        assert_int_equal(w->quantizer->format.bits, cases[i].bits);
        expect_written(model, INT8, codes, sizeof codes);
        qn_model_free(model);
        build_end(&b);
    }
    onnx_build b;
    begin_narrow(&b, INT8, 4, codes, sizeof codes, &far);
    build_metadata(&b, "quern.bits.w", "3");
    refused(&b, QN_EFORMAT, "a zero point is 9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_nodes_are_refused_by_name),
        cmocka_unit_test(nodes_mean_what_the_specification_says),
        cmocka_unit_test(versions_and_arithmetic_are_checked),
        cmocka_unit_test(narrow_types_of_onnx_are_read_and_written),
        cmocka_unit_test(narrow_types_have_their_limits),
        cmocka_unit_test(few_bits_are_int8_with_a_key),
        cmocka_unit_test(constants_without_codes_are_encoded),
        cmocka_unit_test(what_would_not_load_is_not_saved),
    };
    return cmocka_run_group_tests_name("onnx quantized", tests, NULL, NULL);
}
