/* The forms of quantized ONNX: what is written in each, what is refused, and that all are read as the same network. */
#include "random_networks.h"

#include "onnx/onnx.h"
#include "proto/onnx.pb-c.h"

enum { N_NETS = 40, N_FORMS = 5 };

typedef struct {
    unsigned char *data;
    size_t n;
} bytes;

static bytes export_as(const qn_graph *graph, qn_onnx_form form)
{
    qn_error err;
    qn_error_init(&err);
    bytes b = {0};
    qn_assert_ok(qn_onnx_export_form(&b.data, &b.n, graph, form, &err), &err);
    return b;
}

static qn_model *load(const bytes *b)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    qn_assert_ok(qn_model_load_memory(&model, b->data, b->n, "form.onnx", &err), &err);
    return model;
}

/* Nodes of an operator in a file; NULL: of all. */
static size_t count_nodes(const bytes *b, const char *domain, const char *op_type)
{
    Onnx__ModelProto *proto = onnx__model_proto__unpack(NULL, b->n, b->data);
    assert_non_null(proto);
    size_t n = 0;
    for (size_t i = 0; i < proto->graph->n_node; i++) {
        const Onnx__NodeProto *node = proto->graph->node[i];
        n += strcmp(node->domain != NULL ? node->domain : "", domain) == 0 &&
             (op_type == NULL || strcmp(node->op_type, op_type) == 0);
    }
    onnx__model_proto__free_unpacked(proto, NULL);
    return n;
}

static int64_t imported(const bytes *b, const char *domain)
{
    Onnx__ModelProto *proto = onnx__model_proto__unpack(NULL, b->n, b->data);
    assert_non_null(proto);
    int64_t version = 0;
    for (size_t i = 0; i < proto->n_opset_import; i++) {
        version = strcmp(proto->opset_import[i]->domain, domain) == 0 ? proto->opset_import[i]->version : version;
    }
    onnx__model_proto__free_unpacked(proto, NULL);
    return version;
}

/* A small network with everything on codes: Conv, Add, Concat, pools, moves, Gemm. */
static void make_coded_of(random_net *t, int channels)
{
    qn_graph *g = net_start(t, 1);
    qn_test_input(g, "x", DIMS(-1, 3, 8, 8));
    net_code(t, "x", -5, 100, false);
    net_coded(t, "w", DIMS(channels, 3, 3, 3), 0, -7, 8, false);
    const qn_quantizer *qw = g->values[qn_graph_find(g, "w")].quantizer;
    float scale[4];
    int32_t zero[4] = {0};
    for (int i = 0; i < channels; i++) {
        scale[i] = ldexpf(1, -5) * qw->scale[i];
    }
    net_coded(t, "b", DIMS(channels), -1, 0, 32, false);
    const qn_quantizer q = {
        .format = {.bits = 32, .is_signed = true}, .axis = 0, .n = channels, .scale = scale, .zero_point = zero};
    qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, "b"), &q, &t->err), &t->err);
    NODE_WITH(g, "Conv", "x w b", "c", A_INTS("pads", 1, 1, 1, 1));
    net_code(t, "c", -4, 3, false);
    NODE_WITH(g, "MaxPool", "c", "m", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    net_code(t, "m", -4, 3, false);
    NODE(g, "Add", "m m", "a");
    net_code(t, "a", -3, 5, false);
    NODE_WITH(g, "Concat", "a m", "k", A_INT("axis", 1));
    net_code(t, "k", -3, 5, false);
    NODE(g, "GlobalAveragePool", "k", "p");
    net_code(t, "p", -4, 9, false);
    NODE(g, "Flatten", "p", "f");
    net_code(t, "f", -4, 9, false);
    net_coded(t, "v", DIMS(2 * channels, 5), -1, -6, 8, false);
    NODE(g, "MatMul", "f v", "y");
    net_code(t, "y", -3, 7, false);
    qn_test_output(g, "y");
}

static void make_coded(random_net *t)
{
    make_coded_of(t, 4);
}

static void nodes_are_those_of_the_form(void **state)
{
    (void)state;
    random_net t;
    make_coded(&t);
    bytes b[N_FORMS];
    for (int i = 0; i < N_FORMS; i++) {
        b[i] = export_as(&t.model.graph, (qn_onnx_form)i);
    }
    static const char microsoft[] = "com.microsoft", qonnx[] = "qonnx.custom_op.general", org[] = "org.quern";
    assert_int_equal(b[QN_ONNX_AUTO].n, b[QN_ONNX_QDQ].n);
    assert_memory_equal(b[QN_ONNX_AUTO].data, b[QN_ONNX_QDQ].data, b[QN_ONNX_QDQ].n);
    assert_int_equal(count_nodes(&b[QN_ONNX_QDQ], "", "QuantizeLinear"), 8);
    assert_int_equal(count_nodes(&b[QN_ONNX_QDQ], "", "DequantizeLinear"), 11);

    const bytes *op = &b[QN_ONNX_QOPERATOR];
    static const char *const once[][2] = {
        {"", "QuantizeLinear"},       {"", "DequantizeLinear"},  {"", "QLinearConv"},
        {"", "QLinearMatMul"},        {"", "MaxPool"},           {"", "Flatten"},
        {microsoft, "QLinearConcat"}, {microsoft, "QLinearAdd"}, {microsoft, "QLinearGlobalAveragePool"},
    };
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++) {
        if (count_nodes(op, once[i][0], once[i][1]) != 1) {
            fail_msg("%zu nodes %s, not one", count_nodes(op, once[i][0], once[i][1]), once[i][1]);
        }
    }
    assert_int_equal(count_nodes(op, "", NULL) + count_nodes(op, microsoft, NULL), 9);
    assert_int_equal(imported(op, microsoft), 1);
    assert_int_equal(imported(op, ""), 13);
    assert_int_equal(imported(op, org), 0);

    assert_int_equal(count_nodes(&b[QN_ONNX_QONNX], qonnx, "Quant"), 11);
    assert_int_equal(count_nodes(&b[QN_ONNX_QONNX], "", NULL), 7);
    assert_int_equal(imported(&b[QN_ONNX_QONNX], qonnx), 1);
    assert_int_equal(count_nodes(&b[QN_ONNX_ORG], org, NULL), 11);
    assert_int_equal(imported(&b[QN_ONNX_ORG], org), 1);
    for (int i = 0; i < N_FORMS; i++) {
        qn_free(b[i].data);
    }
    net_release(&t);
}

/* Where both types or a bias do not fit, the node stays between DequantizeLinear and QuantizeLinear. */
static void what_has_no_operator_stays_in_floats(void **state)
{
    (void)state;
    random_net t;
    make_coded(&t);
    net_code(&t, "c", -4, 3, true); /* int8 out of uint8 */
    net_code(&t, "m", -4, 3, true);
    bytes b = export_as(&t.model.graph, QN_ONNX_QOPERATOR);
    assert_int_equal(count_nodes(&b, "", "QLinearConv"), 0);
    assert_int_equal(count_nodes(&b, "", "Conv"), 1);
    assert_int_equal(count_nodes(&b, "com.microsoft", "QLinearAdd"), 0);
    assert_int_equal(count_nodes(&b, "", "MaxPool"), 1);
    assert_int_equal(count_nodes(&b, "com.microsoft", "QLinearGlobalAveragePool"), 1);
    qn_free(b.data);
    net_release(&t);
    make_coded(&t);
    net_coded(&t, "b2", DIMS(4), -1, -11, 32, false); /* at another scale than the sums */
    t.model.graph.nodes[0].inputs[2] = qn_graph_find(&t.model.graph, "b2");
    b = export_as(&t.model.graph, QN_ONNX_QOPERATOR);
    assert_int_equal(count_nodes(&b, "", "QLinearConv"), 0);
    assert_int_equal(count_nodes(&b, "", "QLinearMatMul"), 1);
    qn_free(b.data);
    net_release(&t);
}

/* Relu behind Conv goes into the codes where they begin at 0, and only there. */
static void clamps_that_do_nothing_are_left_out(void **state)
{
    (void)state;
    for (int zero = 0; zero < 2; zero++) {
        random_net t;
        qn_graph *g = net_start(&t, 2);
        qn_test_input(g, "x", DIMS(-1, 3, 8, 8));
        net_code(&t, "x", -5, 100, false);
        net_coded(&t, "w", DIMS(4, 3, 3, 3), 0, -7, 8, false);
        NODE(g, "Conv", "x w", "c");
        NODE(g, "Relu", "c", "r");
        net_code(&t, "r", -4, zero, false);
        NODE(g, "Add", "r r", "a");
        NODE_WITH(g, "Clip", "a", "y", A_FLOAT("min", -1.0f), A_FLOAT("max", zero != 0 ? 6.0f : 255.0f));
        net_code(&t, "y", -4, 0, false);
        qn_test_output(g, "y");
        g->opset = 10;
        bytes b = export_as(g, QN_ONNX_QOPERATOR);
        assert_int_equal(count_nodes(&b, "", "QLinearConv"), 1 - zero);
        assert_int_equal(count_nodes(&b, "", "Relu"), zero);
        assert_int_equal(count_nodes(&b, "com.microsoft", "QLinearAdd"), 1 - zero);
        assert_int_equal(count_nodes(&b, "", "Clip"), zero);
        qn_free(b.data);
        net_release(&t);
    }
}

/* w of some format, and maybe y, in a MatMul. */
static void make_formats(random_net *t, const char *weights, const char *values)
{
    qn_graph *g = net_start(t, 3);
    qn_test_input(g, "x", DIMS(-1, 4));
    qn_test_floats(g, "w", DIMS(4, 6), NULL);
    NODE(g, "MatMul", "x w", "y");
    qn_test_output(g, "y");
    const char *const names[] = {"w", "y"}, *const formats[] = {weights, values};
    for (int i = 0; i < 2; i++) {
        if (formats[i] != NULL) {
            float scale = 0.25f, multiplier = 1, shift = 0;
            int32_t zero = 0, bias = 0;
            qn_quantizer q = {.axis = -1,
                              .n = 1,
                              .scale = &scale,
                              .zero_point = &zero,
                              .exp_bias = &bias,
                              .shift = &shift,
                              .multiplier = &multiplier};
            qn_assert_ok(qn_format_parse(&q.format, formats[i], &t->err), &t->err);
            qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, names[i]), &q, &t->err), &t->err);
        }
    }
}

static void each_form_holds_what_it_says(void **state)
{
    (void)state;
    static const struct {
        const char *weights, *values;
        const char *reasons[N_FORMS]; /* fragment of the refusal; NULL: held */
    } rows[] = {
        {"int8", "uint8", {NULL}},
        {"int16", "int16", {NULL}},
        {"int4", NULL, {[QN_ONNX_QOPERATOR] = "int4 of 'w': integer operators have codes of 8 bits; --store int8"}},
        {"int6", NULL, {NULL, "int6 of 'w': ONNX has no type of so few bits", "int6 of 'w'", NULL, NULL}},
        {"int8", "int6:narrow", {NULL, "int6:narrow of 'y': QuantizeLinear uses all codes", "'y'", NULL, NULL}},
        {"int1", NULL, {NULL, "int1 of 'w'", "int1 of 'w'", "Quant with one signed bit means -1 and 1", NULL}},
        {"fp8e4m3", "fp8e4m3", {[QN_ONNX_QOPERATOR] = "fp8e4m3 of 'w', 'y': integer operators have no codes"}},
        {"fp6e2m3", NULL, {NULL, "fp6e2m3 of 'w': QuantizeLinear has no codes", "'w'", NULL, NULL}},
        {"binary", NULL, {NULL, "ONNX has no type for its codes", "binary of 'w'", NULL, NULL}},
        {"ap_fixed<8,3,RND_CONV,SAT>", "ap_fixed<8,3,TRN,SAT>", {NULL, "'w'", "'w'", NULL, NULL}},
        {NULL, "ap_fixed<8,3,TRN,WRAP>", {NULL, "'y'", "'y'", "of 'y': Quant saturates; ap_fixed with SAT", NULL}},
        {NULL, "int8:floor", {NULL, "rounds to nearest even", "'y'", NULL, NULL}},
        {NULL, "int8:stochastic", {NULL, "rounds to nearest even", "'y'", "QONNX has no such rounding", NULL}},
        {"adaptivfloat<8,3>", NULL, {NULL, "adaptivfloat<8,3> of 'w'", "'w'", "QONNX has integers, floats", NULL}},
        {"posit<8,1>", "posit<8,1>", {NULL, "posit<8,1> of 'w', 'y'", "'w', 'y'", "posit<8,1> of 'w', 'y'", NULL}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        random_net t;
        make_formats(&t, rows[i].weights, rows[i].values);
        for (int form = 0; form < N_FORMS; form++) {
            qn_error err;
            qn_error_init(&err);
            bytes b = {0};
            const qn_status status = qn_onnx_export_form(&b.data, &b.n, &t.model.graph, (qn_onnx_form)form, &err);
            const char *reason = rows[i].reasons[form];
            if (reason == NULL && status != QN_OK) {
                fail_msg("row %zu as %s: %s", i, qn_onnx_form_text((qn_onnx_form)form), err.message);
            }
            if (reason != NULL) {
                qn_assert_fails(status, &err, QN_EUNSUPPORTED, reason);
                assert_non_null(strstr(err.message, qn_onnx_form_text((qn_onnx_form)form)));
                assert_non_null(strpbrk(err.message, ";")); /* a remedy */
            }
            qn_free(b.data);
        }
        net_release(&t);
    }
}

/* From float32 no more than 2^24 integers of each sign come back. */
static void constants_of_qonnx_come_back_or_are_refused(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++) {
        random_net t;
        make_formats(&t, NULL, "uint8");
        qn_graph *g = &t.model.graph;
        int32_t codes[6] = {1, -2, (1 << 24) - 1, -(1 << 24), 5, big ? (1 << 25) + 1 : 6}, zero = 0;
        float scale = 0.1f;
        const qn_tensor z = {.dtype = QN_DTYPE_S32, .rank = 1, .dims = {6}, .data = codes};
        const qn_quantizer q = {
            .format = {.bits = 32, .is_signed = true}, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero};
        const qn_value_id id = qn_test_floats(g, "b", DIMS(6), NULL);
        qn_assert_ok(qn_ptq_set_coded(g, id, &q, &z, &t.err), &t.err);
        NODE(g, "Add", "y b", "s");
        qn_test_output(g, "s");
        bytes b = {0};
        const qn_status status = qn_onnx_export_form(&b.data, &b.n, g, QN_ONNX_QONNX, &t.err);
        if (big) {
            qn_assert_fails(status, &t.err, QN_EUNSUPPORTED, "int32 of 'b': QONNX keeps constants as float32");
        } else {
            qn_assert_ok(status, &t.err);
        }
        qn_free(b.data);
        net_release(&t);
    }
}

static void float_networks_have_no_form(void **state)
{
    (void)state;
    random_net t;
    make_formats(&t, NULL, NULL);
    bytes b = {0};
    for (int form = 1; form < N_FORMS; form++) {
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_onnx_export_form(&b.data, &b.n, &t.model.graph, (qn_onnx_form)form, &err), &err, QN_EINVAL,
                        "has no quantizers");
    }
    b = export_as(&t.model.graph, QN_ONNX_AUTO);
    qn_free(b.data);
    net_release(&t);
    qn_error err;
    qn_error_init(&err);
    qn_onnx_form form;
    qn_assert_fails(qn_onnx_form_parse(&form, "QDQ", &err), &err, QN_EINVAL, "did you mean qdq? There are auto, qdq");
    assert_null(qn_onnx_form_text((qn_onnx_form)N_FORMS));
}

static void compare_values(const qn_graph *a, qn_value_id ia, const qn_graph *b, qn_value_id ib)
{
    assert_int_equal(ia == QN_NO_VALUE, ib == QN_NO_VALUE);
    if (ia == QN_NO_VALUE) {
        return;
    }
    const qn_value *x = &a->values[ia], *y = &b->values[ib];
    assert_string_equal(x->name, y->name);
    if (x->rank != y->rank || x->dtype != y->dtype || (x->quantizer == NULL) != (y->quantizer == NULL) ||
        (x->constant == NULL) != (y->constant == NULL) || (x->codes == NULL) != (y->codes == NULL)) {
        fail_msg("'%s': rank %d and %d, dtype %d and %d, or quantizer, numbers or codes of one alone", x->name, x->rank,
                 y->rank, (int)x->dtype, (int)y->dtype);
    }
    for (int i = 0; i < x->rank; i++) {
        assert_int_equal(x->dims[i], y->dims[i]);
    }
    if (x->quantizer != NULL && !qn_quantizer_equal(x->quantizer, y->quantizer)) {
        char p[QN_FORMAT_NAME_MAX], q[QN_FORMAT_NAME_MAX];
        qn_format_name(p, x->quantizer->format);
        qn_format_name(q, y->quantizer->format);
        fail_msg("'%s': %s axis %d with %lld sets, then %s axis %d with %lld", x->name, p, x->quantizer->axis,
                 (long long)x->quantizer->n, q, y->quantizer->axis, (long long)y->quantizer->n);
    }
    const qn_tensor *const pairs[][2] = {{x->constant, y->constant}, {x->codes, y->codes}};
    for (int i = 0; i < 2; i++) {
        if (pairs[i][0] != NULL) {
            assert_int_equal(pairs[i][0]->dtype, pairs[i][1]->dtype);
            assert_int_equal(qn_tensor_bytes(pairs[i][0]), qn_tensor_bytes(pairs[i][1]));
            assert_memory_equal(pairs[i][0]->data, pairs[i][1]->data, qn_tensor_bytes(pairs[i][0]));
        }
    }
}

static void compare_attributes(const qn_node *x, const qn_node *y)
{
    assert_int_equal(x->n_attributes, y->n_attributes);
    for (int i = 0; i < x->n_attributes; i++) {
        const qn_attribute *p = &x->attributes[i], *q = qn_node_attribute(y, p->name);
        assert_non_null(q);
        assert_int_equal(p->type, q->type);
        assert_int_equal(p->i, q->i);
        assert_memory_equal(&p->f, &q->f, sizeof p->f);
        assert_int_equal(p->n, q->n);
        assert_true(p->type != QN_ATTRIBUTE_INTS || memcmp(p->ints, q->ints, (size_t)p->n * sizeof *p->ints) == 0);
        assert_true(p->type != QN_ATTRIBUTE_STRING || strcmp(p->s, q->s) == 0);
    }
}

/* Names, nodes, shapes, numbers, quantizers, codes, metadata. */
static void compare_graphs(const qn_graph *a, const qn_graph *b)
{
    assert_int_equal(a->opset, b->opset);
    assert_int_equal(a->n_nodes, b->n_nodes);
    assert_int_equal(a->n_inputs, b->n_inputs);
    assert_int_equal(a->n_outputs, b->n_outputs);
    for (size_t n = 0; n < a->n_nodes; n++) {
        const qn_node *x = &a->nodes[n], *y = &b->nodes[n];
        assert_string_equal(x->name, y->name);
        assert_string_equal(x->op_type, y->op_type);
        assert_string_equal(x->domain, y->domain);
        assert_int_equal(x->n_inputs, y->n_inputs);
        assert_int_equal(x->n_outputs, y->n_outputs);
        for (int i = 0; i < x->n_inputs; i++) {
            compare_values(a, x->inputs[i], b, y->inputs[i]);
        }
        for (int i = 0; i < x->n_outputs; i++) {
            compare_values(a, x->outputs[i], b, y->outputs[i]);
        }
        compare_attributes(x, y);
    }
    for (size_t i = 0; i < a->n_inputs; i++) {
        compare_values(a, a->inputs[i], b, b->inputs[i]);
    }
    for (size_t i = 0; i < a->n_outputs; i++) {
        compare_values(a, a->outputs[i], b, b->outputs[i]);
    }
    assert_int_equal(a->n_metadata, b->n_metadata);
    for (size_t i = 0; i < a->n_metadata; i++) {
        const char *value = qn_graph_get_metadata(b, a->metadata[i].key);
        assert_non_null(value);
        assert_string_equal(a->metadata[i].value, value);
    }
}

/* A file of any form is read as the network that the default form is; in its form again, it is the same bytes. */
static void check_round_trip(const qn_graph *graph, qn_onnx_form form)
{
    bytes plain = export_as(graph, QN_ONNX_AUTO);
    qn_model *as_pairs = load(&plain);
    bytes made = export_as(&as_pairs->graph, form);
    qn_model *read = load(&made);
    bytes twice = export_as(&read->graph, form);
    compare_graphs(&as_pairs->graph, &read->graph);
    assert_int_equal(twice.n, made.n);
    assert_memory_equal(twice.data, made.data, made.n);
    qn_free(plain.data);
    qn_free(made.data);
    qn_free(twice.data);
    qn_model_free(as_pairs);
    qn_model_free(read);
}

static const qn_onnx_form read_back[] = {QN_ONNX_QDQ, QN_ONNX_QOPERATOR, QN_ONNX_QONNX, QN_ONNX_ORG};

static void random_networks_come_back(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof read_back / sizeof read_back[0]; f++) {
        for (int channels = 1; channels <= 4; channels++) {
            random_net t;
            make_coded_of(&t, channels);
            check_round_trip(&t.model.graph, read_back[f]);
            net_release(&t);
        }
        for (uint64_t seed = 0; seed < N_NETS; seed++) {
            random_net t;
            seed % 2 == 0 ? net_of_maps(&t, seed) : net_of_tokens(&t, seed);
            check_round_trip(&t.model.graph, read_back[f]);
            net_release(&t);
        }
    }
}

static void quantized_models_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *model, *data;
        double scale;
    } rows[] = {
        {QN_SOURCE_DIR "/examples/digits/digits.onnx", QN_SOURCE_DIR "/examples/digits/calib_x_u8.npy", 1.0 / 255},
        {"data/models/resnet8_cifar10.onnx", "data/inputs/cifar10_lossless_calib500_x_u8.npy", 1},
        {"data/models/kws_dscnn_tflite.onnx", "data/inputs/kws_calib100_x_f32.npy", 1},
        {"data/models/vit_cifar10_torchraw.onnx", "data/inputs/cifar10_calib500_x_u8.npy", 1.0 / 255},
        {"data/models/lenet_cifar10.onnx", "data/inputs/cifar10_lossless_calib500_x_u8.npy", 1.0 / 255},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const bool own = rows[i].model[0] == '/';
        const char *path = own ? rows[i].model : qn_shared(rows[i].model);
        if (path == NULL) {
            print_message("skipped: %s; the shared material is not there\n", rows[i].model);
            continue;
        }
        qn_error err;
        qn_error_init(&err);
        qn_model *model = NULL, *quantized = NULL;
        qn_dataset *data = NULL;
        qn_preprocess pre;
        qn_preprocess_init(&pre);
        pre.scale = rows[i].scale;
        qn_assert_ok(qn_model_load(&model, path, &err), &err);
        qn_assert_ok(qn_dataset_open(&data, own ? rows[i].data : qn_shared(rows[i].data), &pre, &err), &err);
        qn_quantize_options options;
        qn_quantize_options_init(&options);
        options.recipe = "minmax";
        options.data = data;
        qn_assert_ok(qn_quantize(&quantized, model, NULL, &options, NULL, &err), &err);
        for (size_t f = 0; f < sizeof read_back / sizeof read_back[0]; f++) {
            check_round_trip(&quantized->graph, read_back[f]);
        }
        qn_model_free(quantized);
        qn_model_free(model);
        qn_dataset_close(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_those_of_the_form),
        cmocka_unit_test(what_has_no_operator_stays_in_floats),
        cmocka_unit_test(clamps_that_do_nothing_are_left_out),
        cmocka_unit_test(each_form_holds_what_it_says),
        cmocka_unit_test(constants_of_qonnx_come_back_or_are_refused),
        cmocka_unit_test(float_networks_have_no_form),
        cmocka_unit_test(random_networks_come_back),
        cmocka_unit_test(quantized_models_come_back),
    };
    return cmocka_run_group_tests_name("onnx forms", tests, NULL, NULL);
}
