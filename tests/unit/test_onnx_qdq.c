/* QuantizeLinear and DequantizeLinear: what folds into quantizers, what is refused, and what an export gives back. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "graph/model.h"
#include "onnx/onnx.h"
#include "onnx_build.h"

enum { FLOAT = 1, UINT8 = 2, INT8 = 3, INT32 = 6 };

static const int64_t vector4[] = {4}, shape[] = {1, 4};

static void add_scalars(onnx_build *b, const char *scale_name, float scale, const char *zero_name, uint8_t zero)
{
    build_raw(b, scale_name, FLOAT, 0, NULL, &scale, sizeof scale);
    build_raw(b, zero_name, UINT8, 0, NULL, &zero, sizeof zero);
}

static qn_model *load(onnx_build *b)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    build_bytes(b);
    qn_assert_ok(qn_model_load_memory(&model, b->bytes, b->n_bytes, "made.onnx", &err), &err);
    return model;
}

static void refused(onnx_build *b, qn_status status, const char *fragment)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    build_bytes(b);
    qn_assert_fails(qn_model_load_memory(&model, b->bytes, b->n_bytes, "made.onnx", &err), &err, status, fragment);
    build_end(b);
}

static const qn_value *value(const qn_model *model, const char *name)
{
    qn_value_id id = qn_graph_find(&model->graph, name);
    assert_int_not_equal(id, QN_NO_VALUE);
    return &model->graph.values[id];
}

/* x -> Q -> DQ -> Relu -> Q -> DQ -> y */
static void begin_chain(onnx_build *b)
{
    build_begin(b, 13);
    build_input(b, "x", FLOAT, 2, shape);
    build_output(b, "y", FLOAT, 2, shape);
    add_scalars(b, "s", 0.5f, "z", 3);
    build_node(b, "QuantizeLinear", "q1", "x,s,z", "xq");
    build_node(b, "DequantizeLinear", "dq1", "xq,s,z", "xd");
    build_node(b, "Relu", "relu", "xd", "r");
    build_node(b, "QuantizeLinear", "q2", "r,s,z", "rq");
    build_node(b, "DequantizeLinear", "dq2", "rq,s,z", "y");
}

static void pairs_become_quantizers_and_io_names_stay(void **state)
{
    (void)state;
    onnx_build b;
    begin_chain(&b);
    qn_model *model = load(&b);
    assert_int_equal(model->graph.n_nodes, 1);
    const qn_node *relu = &model->graph.nodes[0];
    assert_ptr_equal(&model->graph.values[relu->inputs[0]], value(model, "x"));
    assert_ptr_equal(&model->graph.values[relu->outputs[0]], value(model, "y"));
    assert_int_equal(model->graph.outputs[0], relu->outputs[0]);
    const qn_quantizer *q = value(model, "y")->quantizer;
    assert_non_null(q);
    assert_int_equal(q->format.bits, 8);
    assert_false(q->format.is_signed);
    assert_true(q->scale[0] == 0.5f);
    assert_int_equal(q->zero_point[0], 3);
    assert_non_null(value(model, "x")->quantizer);
    assert_true(qn_model_is_quantized(model));
    qn_model_free(model);
    build_end(&b);
}

static void value_with_other_readers_gets_an_identity(void **state)
{
    (void)state;
    onnx_build b;
    begin_chain(&b);
    build_node(&b, "Neg", "neg", "r", "n");
    build_output(&b, "n", FLOAT, 2, shape);
    qn_model *model = load(&b);
    assert_null(value(model, "r")->quantizer);
    const qn_value *y = value(model, "y");
    assert_non_null(y->quantizer);
    assert_string_equal(model->graph.nodes[y->producer].op_type, "Identity");
    qn_model_free(model);
    build_end(&b);
}

static void constants_keep_their_codes(void **state)
{
    (void)state;
    onnx_build b;
    build_begin(&b, 13);
    build_input(&b, "x", FLOAT, 2, shape);
    build_output(&b, "y", FLOAT, 2, shape);
    static const int8_t codes[] = {-127, 5, 0, 100}, zeros[] = {0, 0, 0, 0};
    static const float scales[] = {1.0f, 0.5f, 0.25f, 2.0f}, floats[] = {0.3f, -0.3f, 100.0f, 0.75f};
    static const int32_t bias[] = {1 << 20, -7, 0, 1};
    build_raw(&b, "wq", INT8, 1, vector4, codes, sizeof codes);
    build_raw(&b, "s", FLOAT, 1, vector4, scales, sizeof scales);
    build_raw(&b, "z", INT8, 1, vector4, zeros, sizeof zeros);
    build_raw(&b, "bq", INT32, 1, vector4, bias, sizeof bias);
    build_raw(&b, "f", FLOAT, 1, vector4, floats, sizeof floats);
    add_scalars(&b, "fs", 0.5f, "fz", 128);
    build_int(&b, build_node(&b, "DequantizeLinear", "dw", "wq,s,z", "w"), "axis", -1);
    build_int(&b, build_node(&b, "DequantizeLinear", "db", "bq,s", "bias"), "axis", 0);
    build_node(&b, "QuantizeLinear", "qf", "f,fs,fz", "fq");
    build_node(&b, "DequantizeLinear", "df", "fq,fs,fz", "fd");
    build_node(&b, "Mul", "", "x,w", "a");
    build_node(&b, "Add", "", "a,bias", "c");
    build_node(&b, "Add", "", "c,fd", "y");
    qn_model *model = load(&b);
    const qn_value *w = value(model, "w");
    assert_int_equal(w->quantizer->axis, 0);
    assert_int_equal(w->quantizer->n, 4);
    assert_memory_equal(w->codes->data, codes, sizeof codes);
    static const float decoded[] = {-127.0f, 2.5f, 0.0f, 200.0f};
    assert_memory_equal(w->constant->data, decoded, sizeof decoded);
    const qn_value *c = value(model, "bias");
    assert_int_equal(c->quantizer->format.bits, 32);
    assert_memory_equal(c->codes->data, bias, sizeof bias);
    static const uint8_t encoded[] = {129, 127, 255, 130}; /* 0.75 / 0.5 is a tie: to even */
    assert_memory_equal(value(model, "fd")->codes->data, encoded, sizeof encoded);
    qn_model_free(model);
    build_end(&b);
}

static bool has_node(const qn_model *model, const char *name)
{
    for (size_t i = 0; i < model->graph.n_nodes; i++) {
        if (strcmp(model->graph.nodes[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void end(onnx_build *b, qn_model *model)
{
    qn_model_free(model);
    build_end(b);
}

static void what_is_no_pair_stays_and_computes(void **state)
{
    (void)state;
    onnx_build b;
    begin_chain(&b);
    build_node(&b, "QuantizeLinear", "lone_q", "xd,s,z", "lq");
    build_output(&b, "lq", UINT8, 2, shape);
    build_input(&b, "codes", UINT8, 2, shape);
    Onnx__NodeProto *microsoft = build_node(&b, "DequantizeLinear", "lone_dq", "codes,s,z", "ld");
    microsoft->domain = "com.microsoft";
    build_output(&b, "ld", FLOAT, 2, shape);
    qn_model *model = load(&b);
    assert_int_equal(model->graph.n_nodes, 3);
    assert_true(has_node(model, "lone_q") && has_node(model, "lone_dq"));
    assert_null(value(model, "lq")->quantizer);
    assert_null(value(model, "codes")->quantizer);
    assert_non_null(value(model, "ld")->quantizer);
    assert_int_equal(value(model, "ld")->quantizer->zero_point[0], 3);
    end(&b, model);

    /* Codes that somebody else reads, too: the pair folds, and Q stays. */
    begin_chain(&b);
    build_output(&b, "xq", UINT8, 2, shape);
    model = load(&b);
    assert_int_equal(model->graph.n_nodes, 2);
    assert_true(has_node(model, "q1") && value(model, "x")->quantizer != NULL);
    end(&b, model);

    static const struct {
        float scale;
        uint8_t zero;
    } mismatches[] = {{0.25f, 3}, {0.5f, 4}};
    for (size_t i = 0; i < 2; i++) {
        begin_chain(&b);
        add_scalars(&b, "s2", mismatches[i].scale, "z2", mismatches[i].zero);
        b.graph.node[4]->input[1] = b.graph.initializer[2]->name;
        b.graph.node[4]->input[2] = b.graph.initializer[3]->name;
        model = load(&b);
        assert_true(has_node(model, "q2") && has_node(model, "dq2"));
        assert_true(value(model, "r")->quantizer->scale[0] == 0.5f);
        assert_true(value(model, "y")->quantizer->scale[0] == mismatches[i].scale);
        end(&b, model);
    }
    begin_chain(&b);
    b.graph.node[0]->input[1] = b.graph.input[0]->name; /* a scale that is computed */
    model = load(&b);
    assert_true(has_node(model, "q1") && has_node(model, "dq1") && value(model, "x")->quantizer == NULL);
    assert_non_null(value(model, "xd")->quantizer);
    end(&b, model);
}

/* Codes that are moved between Q and DQ, or before DQ, and whose type no zero point says. */
static void moved_codes_keep_their_type(void **state)
{
    (void)state;
    static const int64_t turned[] = {4, 1};
    onnx_build b;
    for (int with_q = 0; with_q < 2; with_q++) {
        build_begin(&b, 21);
        build_input(&b, with_q ? "x" : "codes", with_q ? FLOAT : INT8, 2, shape);
        build_output(&b, "y", FLOAT, 2, turned);
        add_scalars(&b, "s", 0.5f, "z", 3);
        if (with_q) {
            build_int(&b, build_node(&b, "QuantizeLinear", "q", "x,s", "codes"), "output_dtype", INT8);
        }
        build_node(&b, "Transpose", "turn", "codes", "moved");
        build_node(&b, "DequantizeLinear", "dq", "moved,s", "y");
        qn_model *model = load(&b);
        assert_true(has_node(model, "turn"));
        const qn_quantizer *q = value(model, "y")->quantizer;
        assert_non_null(q);
        assert_true(q->format.is_signed && q->format.bits == 8 && q->scale[0] == 0.5f && q->zero_point[0] == 0);
        end(&b, model);
    }
    build_begin(&b, 21); /* no QuantizeLinear makes int32: these stay what they are */
    build_input(&b, "sums", INT32, 2, shape);
    build_output(&b, "y", FLOAT, 2, turned);
    add_scalars(&b, "s", 0.5f, "z", 3);
    build_node(&b, "Transpose", "turn", "sums", "moved");
    build_node(&b, "DequantizeLinear", "dq", "moved,s", "y");
    qn_model *model = load(&b);
    assert_true(has_node(model, "turn") && has_node(model, "dq"));
    end(&b, model);
}

/* Scales of a list lie along the rows of a and of the result, and along the columns of b. */
static void matrices_of_codes_have_scales_for_rows(void **state)
{
    (void)state;
    static const int64_t a[] = {2, 3, 4}, b_dims[] = {4, 1}, y[] = {2, 3, 1}, rows[] = {3};
    static const float scales[] = {1, 2, 3};
    static const uint8_t zeros[] = {0, 1, 2, 3};
    onnx_build b;
    build_begin(&b, 13);
    build_input(&b, "a", UINT8, 3, a);
    build_output(&b, "y", UINT8, 3, y);
    add_scalars(&b, "s", 0.5f, "z", 3);
    build_raw(&b, "b", UINT8, 2, b_dims, zeros, sizeof zeros);
    build_raw(&b, "sy", FLOAT, 1, rows, scales, sizeof scales);
    build_raw(&b, "zy", UINT8, 1, rows, zeros, 3);
    build_node(&b, "QLinearMatMul", "product", "a,s,z,b,s,z,sy,zy", "y");
    qn_model *model = load(&b);
    const qn_node *node = &model->graph.nodes[value(model, "y")->producer];
    assert_int_equal(node->op, QN_OP_QUANTIZE_LINEAR);
    assert_int_equal(qn_node_int(node, "axis", 1), -2);
    end(&b, model);
}

/* What is wrong with a node behind a sum of codes is told once all is read; reading does not look for its inputs. */
static void sum_before_a_node_without_inputs_is_refused(void **state)
{
    (void)state;
    onnx_build b;
    begin_chain(&b);
    build_node(&b, "Add", "sum", "xd,y", "total");
    build_node(&b, "Relu", "bare", "", "nothing");
    b.graph.node[6]->n_input = 0;
    build_output(&b, "total", FLOAT, 2, shape);
    build_output(&b, "nothing", FLOAT, 2, shape);
    refused(&b, QN_EFORMAT, "0 inputs, expected at least 1");
}

static void wrong_quantization_is_refused_by_name(void **state)
{
    (void)state;
    onnx_build b;
    static const int32_t zero = 0;
    begin_chain(&b); /* all are listed */
    build_raw(&b, "z32", INT32, 0, NULL, &zero, sizeof zero);
    build_node(&b, "QuantizeLinear", "lone_q", "xd,s,z32", "lq");
    build_output(&b, "lq", INT32, 2, shape);
    build_int(&b, b.graph.node[0], "output_dtype", INT8);
    refused(&b, QN_EUNSUPPORTED, "'q1'): output_dtype and zero point have different types");
    begin_chain(&b);
    build_raw(&b, "z32", INT32, 0, NULL, &zero, sizeof zero);
    build_node(&b, "QuantizeLinear", "lone_q", "xd,s,z32", "lq");
    build_output(&b, "lq", INT32, 2, shape);
    refused(&b, QN_EUNSUPPORTED, "'lone_q'): it cannot encode as int32");
    begin_chain(&b);
    memset(b.graph.initializer[0]->raw_data.data, 0, sizeof(float));
    refused(&b, QN_EFORMAT, "node 0 QuantizeLinear 'q1'");
}

static void assert_same_graph(const qn_graph *a, const qn_graph *b)
{
    assert_int_equal(a->n_nodes, b->n_nodes);
    assert_int_equal(a->n_metadata, b->n_metadata);
    for (size_t i = 0; i < a->n_metadata; i++) {
        assert_string_equal(a->metadata[i].key, b->metadata[i].key);
        assert_string_equal(a->metadata[i].value, b->metadata[i].value);
    }
    for (size_t n = 0; n < a->n_nodes; n++) {
        const qn_node *left = &a->nodes[n], *right = &b->nodes[n];
        assert_string_equal(left->name, right->name);
        assert_string_equal(left->op_type, right->op_type);
        assert_int_equal(left->n_inputs, right->n_inputs);
        assert_int_equal(left->n_attributes, right->n_attributes);
        for (int i = 0; i < left->n_inputs; i++) {
            const qn_value *x = &a->values[left->inputs[i]], *y = &b->values[right->inputs[i]];
            assert_string_equal(x->name, y->name);
            assert_int_equal(x->quantizer != NULL, y->quantizer != NULL);
            assert_true(x->quantizer == NULL || qn_quantizer_equal(x->quantizer, y->quantizer));
            assert_int_equal(x->constant != NULL, y->constant != NULL);
            if (x->constant != NULL) {
                assert_int_equal(qn_tensor_bytes(x->constant), qn_tensor_bytes(y->constant));
                assert_memory_equal(x->constant->data, y->constant->data, qn_tensor_bytes(x->constant));
            }
            if (x->codes != NULL) {
                assert_memory_equal(x->codes->data, y->codes->data, qn_tensor_bytes(x->codes));
            }
        }
        assert_string_equal(a->values[left->outputs[0]].name, b->values[right->outputs[0]].name);
    }
}

static void check_round_trip(const qn_model *model)
{
    qn_error err;
    qn_error_init(&err);
    const char *path = qn_scratch_file("again.onnx");
    qn_assert_ok(qn_model_save(model, path, true, &err), &err);
    qn_model *again;
    qn_assert_ok(qn_model_load(&again, path, &err), &err);
    assert_same_graph(&model->graph, &again->graph);
    assert_string_equal(again->graph.producer, "quern");
    unsigned char *first, *second;
    size_t n_first, n_second;
    qn_assert_ok(qn_onnx_export(&first, &n_first, &model->graph, &err), &err);
    qn_assert_ok(qn_onnx_export(&second, &n_second, &again->graph, &err), &err);
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
    qn_free(first);
    qn_free(second);
    qn_assert_fails(qn_model_save(model, path, false, &err), &err, QN_EEXIST, "again.onnx");
    qn_model_free(again);
}

static void exports_import_as_the_same_graph(void **state)
{
    (void)state;
    onnx_build b;
    begin_chain(&b);
    build_metadata(&b, "quern.preprocess", "{}");
    build_metadata(&b, "author", "somebody");
    qn_model *model = load(&b);
    check_round_trip(model);
    qn_model_free(model);
    build_end(&b);
    static const char *const shared[] = {"data/models/resnet8_cifar10.onnx", "data/models/vit_cifar10_torchraw.onnx"};
    for (size_t i = 0; i < 2; i++) {
        const char *path = qn_shared(shared[i]);
        if (path == NULL) {
            skip();
        }
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_model_load(&model, path, &err), &err);
        check_round_trip(model);
        qn_model_free(model);
    }
}

/* Opset 9 with a pair has to become 13, where axes are an input; the pair sits on a value per channel. */
static void older_nodes_are_rewritten_for_qdq(void **state)
{
    (void)state;
    onnx_build b;
    build_begin(&b, 9);
    build_input(&b, "x", FLOAT, 2, shape);
    build_output(&b, "y", FLOAT, 3, (const int64_t[]){1, 1, 4});
    add_scalars(&b, "s", 0.5f, "z", 3);
    build_node(&b, "QuantizeLinear", "q", "x,s,z", "xq");
    build_node(&b, "DequantizeLinear", "dq", "xq,s,z", "xd");
    build_ints(&b, build_node(&b, "Unsqueeze", "un", "xd", "y"), "axes", 1, (const int64_t[]){1});
    qn_model *model = load(&b);
    unsigned char *bytes;
    size_t n_bytes;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_onnx_export(&bytes, &n_bytes, &model->graph, &err), &err);
    Onnx__ModelProto *proto = onnx__model_proto__unpack(NULL, n_bytes, bytes);
    assert_non_null(proto);
    assert_int_equal(proto->opset_import[0]->version, 13);
    assert_int_equal(proto->ir_version, 7);
    const Onnx__NodeProto *last = proto->graph->node[proto->graph->n_node - 1];
    assert_string_equal(last->op_type, "Unsqueeze");
    assert_int_equal(last->n_attribute, 0);
    assert_string_equal(last->input[1], "un_axes");
    onnx__model_proto__free_unpacked(proto, NULL);
    qn_free(bytes);
    qn_model_free(model);
    build_end(&b);
}

/* What quern cannot run is refused while loading, all of it at once; it can be looked at, but not written. */
static void unknown_nodes_are_refused_all_at_once(void **state)
{
    (void)state;
    onnx_build b;
    build_begin(&b, 13);
    build_input(&b, "x", FLOAT, 2, shape);
    build_output(&b, "y", FLOAT, 2, shape);
    build_node(&b, "Relu", "mine", "x", "a")->domain = qn_arena_string(&b.arena, "com.example");
    build_node(&b, "Nonsense", "other", "a", "b");
    build_node(&b, "Nonsense", "another", "b", "c");
    build_int(&b, build_node(&b, "Relu", "painted", "c", "d"), "colour", 1);
    build_node(&b, "Add", "lonely", "d", "e");
    build_node(&b, "Gelu", "early", "e", "f");
    build_node(&b, "Upsample", "late", "f", "g");
    build_node(&b, "LayerNormalization", "early but usual", "g,g", "h");
    build_node(&b, "MultiThreshold", "finn", "h", "i")->domain = qn_arena_string(&b.arena, "finn.custom_op.general");
    build_node(&b, "FusedConv", "fused", "i", "y")->domain = qn_arena_string(&b.arena, "com.microsoft");
    build_bytes(&b);
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    qn_assert_fails(qn_model_load_memory(&model, b.bytes, b.n_bytes, "made.onnx", &err), &err, QN_EUNSUPPORTED,
                    "com.example.Relu (1 node: 'mine'): an operator of another tool");
    static const char *const parts[] = {
        "Nonsense (2 nodes: 'other', 'another'): not among quern's operators",
        "Relu (1 node: 'painted'): attribute colour is not one",
        "Add (1 node: 'lonely'): 1 inputs, expected at least 2",
        "Gelu (1 node: 'early'): its opsets are from 20, but the file imports 13",
        "Upsample (1 node: 'late'): its opsets are up to 9, but the file imports 13",
        "finn.custom_op.general.MultiThreshold (1 node: 'finn'): of QONNX quern has Quant",
        "com.microsoft.FusedConv (1 node: 'fused'): made by ONNX Runtime's optimizer",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strstr(err.message, parts[i]) == NULL) {
            fail_msg("'%s' is not in: %s", parts[i], err.message);
        }
    }
    assert_null(strstr(err.message, "LayerNormalization"));
    const char *given = qn_scratch_file("unknown.onnx");
    build_file(&b, given);
    qn_error_init(&err);
    qn_assert_ok(qn_model_load_any(&model, given, &err), &err);
    assert_int_equal(model->graph.nodes[0].op, QN_OP_UNKNOWN);
    const char *path = qn_scratch_file("never.onnx");
    qn_status status = qn_model_save(model, path, false, &err);
    qn_assert_fails(status, &err, QN_EUNSUPPORTED, "com.example.Relu (1 node: 'mine')");
    assert_non_null(strstr(err.message, "Nonsense (2 nodes: 'other', 'another')"));
    FILE *file = fopen(path, "rb");
    assert_null(file);
    qn_model_free(model);
    build_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_become_quantizers_and_io_names_stay),
        cmocka_unit_test(value_with_other_readers_gets_an_identity),
        cmocka_unit_test(constants_keep_their_codes),
        cmocka_unit_test(what_is_no_pair_stays_and_computes),
        cmocka_unit_test(moved_codes_keep_their_type),
        cmocka_unit_test(matrices_of_codes_have_scales_for_rows),
        cmocka_unit_test(sum_before_a_node_without_inputs_is_refused),
        cmocka_unit_test(wrong_quantization_is_refused_by_name),
        cmocka_unit_test(exports_import_as_the_same_graph),
        cmocka_unit_test(older_nodes_are_rewritten_for_qdq),
        cmocka_unit_test(unknown_nodes_are_refused_all_at_once),
    };
    return cmocka_run_group_tests_name("onnx qdq", tests, NULL, NULL);
}
