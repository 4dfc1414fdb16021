/* Quantizers of every format in files: which nodes hold them, and that a file gives the same graph back. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "graph/model.h"
#include "graph_builder.h"
#include "onnx/onnx.h"
#include "onnx_build.h"
#include "quern/fit.h"
#include "quern/inspect.h"

enum { RANK = 4 };
static const int64_t dims[RANK] = {2, 5, 1, 7};

static const struct {
    int axis;
    int64_t group;
} granularities[] = {{-1, 0}, {0, 0}, {1, 0}, {2, 0}, {3, 0}, {1, 2}, {3, 3}, {-1, 4}, {-1, 1000}};
enum { N_GRANULARITIES = sizeof granularities / sizeof granularities[0] };

/* What doc/spec/onnx.md says QuantizeLinear and DequantizeLinear hold. */
static bool is_qdq(const qn_value *value, int64_t opset)
{
    const qn_quantizer *q = value->quantizer;
    const bool is_constant = value->constant != NULL;
    static const char *const float8[] = {"fp8e4m3", "float<4,3,fnuz>", "fp8e5m2", "float<5,2,fnuz>"};
    char name[QN_FORMAT_NAME_MAX];
    const qn_format f = q->format;
    if (q->dynamic || q->group != 0 || (q->axis >= 0 && q->n == 1 && value->rank < 0)) {
        return false;
    }
    qn_format_name(name, f);
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(name, float8[i]) == 0) {
            return opset >= 19 && (is_constant || q->axis < 0);
        }
    }
    bool plain = !f.narrow && f.rounding == QN_ROUND_NEAREST_EVEN;
    return f.kind == QN_FORMAT_INT && (is_constant || plain) &&
           (f.bits == 8 || f.bits == 16 || (f.bits == 4 && opset >= 21) || (f.bits == 32 && is_constant));
}

/* The graph under test: x, y and the output carry the quantizer, w is coded with it; between y and the output lies an
 * island without any. The shapes of x and the output are declared, that of y is not. */
typedef struct network {
    qn_graph graph;
    qn_value_id x, w, y, out;
} network;

static void make_network(network *n, int64_t opset)
{
    *n = (network){.graph = {.opset = opset}};
    qn_graph *g = &n->graph;
    g->name = g->file = g->producer = "";
    n->x = qn_test_input(g, "x", RANK, dims);
    n->w = qn_test_floats(g, "w", RANK, dims, NULL);
    qn_test_floats(g, "c", RANK, dims, NULL);
    n->y = NODE(g, "Mul", "x w", "y");
    NODE(g, "Relu", "y", "island");
    n->out = NODE(g, "Add", "island c", "out");
    qn_value *out = &g->values[n->out];
    out->dtype = QN_DTYPE_F32;
    out->rank = RANK;
    memcpy(out->dims, dims, sizeof dims);
    qn_test_output(g, "out");
}

static void quantize(network *n, const qn_quantizer *weights, const qn_quantizer *activations)
{
    qn_error err;
    qn_error_init(&err);
    const qn_tensor *w = n->graph.values[n->w].constant;
    qn_tensor codes, decoded;
    qn_assert_ok(qn_tensor_alloc(&codes, qn_format_dtype(weights->format), RANK, dims, &err), &err);
    qn_assert_ok(qn_tensor_alloc(&decoded, QN_DTYPE_F32, RANK, dims, &err), &err);
    qn_quantizer_encode(codes.data, w->data, weights, RANK, dims);
    qn_quantizer_decode(decoded.data, codes.data, weights, RANK, dims);
    qn_assert_ok(qn_graph_set_constant(&n->graph, n->w, &decoded, &err), &err);
    qn_assert_ok(qn_graph_set_codes(&n->graph, n->w, &codes, &err), &err);
    qn_assert_ok(qn_graph_set_quantizer(&n->graph, n->w, weights, &err), &err);
    qn_assert_ok(qn_graph_set_quantizer(&n->graph, n->x, activations, &err), &err);
    qn_assert_ok(qn_graph_set_quantizer(&n->graph, n->y, activations, &err), &err);
    qn_assert_ok(qn_graph_set_quantizer(&n->graph, n->out, activations, &err), &err);
    qn_tensor_free(&codes);
    qn_tensor_free(&decoded);
}

/* A quantizer as QDQ gives it back: an integer's narrowness, rounding and fit are lost. */
static qn_quantizer expected_after(const qn_quantizer *q, bool qdq)
{
    qn_quantizer e = *q;
    if (qdq && e.format.kind == QN_FORMAT_INT) {
        e.format = (qn_format){.bits = e.format.bits, .is_signed = e.format.is_signed};
    }
    return e;
}

static void compare_value(const qn_graph *graph, const char *name, const qn_graph *original, int64_t opset)
{
    qn_value_id from = qn_graph_find(original, name), to = qn_graph_find(graph, name);
    assert_int_not_equal(to, QN_NO_VALUE);
    const qn_value *a = &original->values[from], *b = &graph->values[to];
    assert_non_null(b->quantizer);
    qn_quantizer expected = expected_after(a->quantizer, is_qdq(a, opset));
    assert_true(qn_quantizer_equal(&expected, b->quantizer));
    assert_int_equal(a->codes != NULL, b->codes != NULL);
    if (a->codes != NULL) {
        assert_int_equal(a->codes->dtype, b->codes->dtype);
        assert_memory_equal(a->codes->data, b->codes->data, qn_tensor_bytes(a->codes));
        assert_memory_equal(a->constant->data, b->constant->data, qn_tensor_bytes(a->constant));
        assert_memory_equal(a->codes->dims, b->codes->dims, sizeof dims);
    }
}

/* Do the nodes of the file have the domains they should? */
static void expect_nodes(const unsigned char *bytes, size_t n_bytes, const qn_graph *graph)
{
    Onnx__ModelProto *proto = onnx__model_proto__unpack(NULL, n_bytes, bytes);
    assert_non_null(proto);
    const int64_t opset = proto->opset_import[0]->version;
    size_t n_org = 0, expected = 0;
    for (size_t i = 0; i < proto->graph->n_node; i++) {
        const Onnx__NodeProto *node = proto->graph->node[i];
        bool org = node->domain != NULL && strcmp(node->domain, "org.quern") == 0;
        n_org += org ? 1 : 0;
        assert_true(org || node->domain == NULL || node->domain[0] == '\0');
    }
    for (size_t v = 0; v < graph->n_values; v++) {
        const qn_value *value = &graph->values[v];
        expected += value->quantizer != NULL && !is_qdq(value, opset) ? 1 : 0;
    }
    assert_int_equal(n_org, expected);
    assert_int_equal(proto->n_opset_import, n_org > 0 ? 2 : 1);
    if (n_org > 0) {
        assert_string_equal(proto->opset_import[1]->domain, "org.quern");
        assert_int_equal(proto->opset_import[1]->version, 1);
    }
    onnx__model_proto__free_unpacked(proto, NULL);
}

static void check_round_trip(const qn_graph *graph)
{
    qn_error err;
    qn_error_init(&err);
    unsigned char *first, *second;
    size_t n_first, n_second;
    qn_model *again;
    qn_assert_ok(qn_onnx_export(&first, &n_first, graph, &err), &err);
    qn_assert_ok(qn_model_load_memory(&again, first, n_first, "first.onnx", &err), &err);
    qn_assert_ok(qn_onnx_export(&second, &n_second, &again->graph, &err), &err);
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
    assert_true(qn_model_is_quantized(again));
    assert_int_equal(again->graph.n_nodes, graph->n_nodes);
    const int64_t opset = again->graph.opset;
    expect_nodes(first, n_first, graph);
    compare_value(&again->graph, "x", graph, opset);
    compare_value(&again->graph, "w", graph, opset);
    compare_value(&again->graph, "y", graph, opset);
    compare_value(&again->graph, "out", graph, opset);
    static const char *const plain[] = {"island", "c"};
    for (size_t i = 0; i < 2; i++) {
        qn_value_id id = qn_graph_find(&again->graph, plain[i]);
        assert_int_not_equal(id, QN_NO_VALUE);
        assert_null(again->graph.values[id].quantizer);
    }
    qn_model_free(again);
    qn_free(first);
    qn_free(second);
}

/* Save and load a network with this format; false when the format cannot be fitted so. */
static bool try_format(qn_format format, int axis, int64_t group, bool dynamic, int64_t opset, uint64_t seed)
{
    qn_error err;
    qn_error_init(&err);
    network n;
    make_network(&n, opset);
    qn_tensor x;
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, RANK, dims, &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        ((float *)x.data)[i] = qn_test_uniform(&seed, -3.0f, 5.0f);
    }
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.axis = axis;
    options.group = group;
    qn_quantizer *weights = NULL, *activations = NULL;
    bool fits = qn_fit(&weights, n.graph.values[n.w].constant, format, &options, NULL) == QN_OK &&
                qn_fit(&activations, &x, format, &options, NULL) == QN_OK;
    if (fits) {
        qn_quantizer live = {.format = format, .axis = axis, .group = group, .dynamic = true};
        quantize(&n, weights, dynamic ? &live : activations);
        check_round_trip(&n.graph);
    }
    qn_quantizer_free(weights);
    qn_quantizer_free(activations);
    qn_tensor_free(&x);
    qn_graph_free(&n.graph);
    return fits;
}

static int try_name(const char *name)
{
    static const int64_t opsets[] = {9, 13, 19, 21};
    qn_error err;
    qn_error_init(&err);
    qn_format format;
    qn_assert_ok(qn_format_parse(&format, name, &err), &err);
    int n = 0;
    for (size_t g = 0; g < N_GRANULARITIES; g++) {
        int64_t group = format.block > 0 ? format.block : granularities[g].group;
        int axis = format.block > 0 && g < 4 ? (int)(g % RANK) : granularities[g].axis;
        for (size_t o = 0; o < 4; o++) {
            n += try_format(format, axis, group, o % 2 == 1, opsets[o], g * 4 + o + 1) ? 1 : 0;
            n += try_format(format, axis, group, false, opsets[o], g * 4 + o + 100) ? 1 : 0;
        }
    }
    return n;
}

static void every_format_round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < qn_format_count(); i++) {
        char examples[512];
        assert_true(strlen(qn_format_describe(i).examples) < sizeof examples);
        strcpy(examples, qn_format_describe(i).examples);
        int n = 0;
        char *rest = examples;
        for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
            n += try_name(name);
        }
        if (n == 0) {
            fail_msg("%s was never tried", qn_format_describe(i).synopsis);
        }
    }
}

static void widths_and_words_round_trip(void **state)
{
    (void)state;
    static const char *const names[] = {"int1",
                                        "int2",
                                        "int3",
                                        "int4",
                                        "uint4",
                                        "int5",
                                        "int6",
                                        "uint7",
                                        "int9",
                                        "uint12",
                                        "int16",
                                        "uint16",
                                        "int4:narrow",
                                        "int8:symmetric",
                                        "uint8:affine",
                                        "int8:po2",
                                        "int8:stochastic",
                                        "uint8:toward-zero",
                                        "int16:narrow",
                                        "ap_fixed<32,8>",
                                        "ap_fixed<17,4,RND,SAT>",
                                        "ap_ufixed<24,3>",
                                        "fp8e4m3",
                                        "fp8e5m2",
                                        "fp8e5m2:inf",
                                        "fp8e4m3:stochastic",
                                        "float<4,3,fnuz>",
                                        "float<5,2,fnuz>",
                                        "float<4,3,fnuz,7>",
                                        "posit<12,1>",
                                        "bfp<5,3>",
                                        "mx<fp4e2m1,4>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (try_name(names[i]) == 0) {
            fail_msg("%s was never tried", names[i]);
        }
    }
}

/* int4 weights per channel, dynamic activations behind every Conv: a file of a fraction of the size. */
static void a_four_bit_network_is_small(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model *model, *again;
    qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    qn_graph *g = &model->graph;
    unsigned char *whole, *first, *second;
    size_t n_whole, n_first, n_second, n_weights = 0;
    qn_assert_ok(qn_onnx_export(&whole, &n_whole, g, &err), &err);
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.axis = 0;
    const qn_quantizer live = {.format = {.bits = 6, .is_signed = true}, .axis = -1, .dynamic = true};
    for (size_t i = 0; i < g->n_nodes; i++) {
        const qn_node *node = &g->nodes[i];
        if (node->op != QN_OP_CONV) {
            continue;
        }
        const qn_format int4 = {.bits = 4, .is_signed = true};
        qn_quantizer *q;
        qn_assert_ok(qn_fit(&q, g->values[node->inputs[1]].constant, int4, &options, &err), &err);
        qn_assert_ok(qn_graph_set_quantizer(g, node->inputs[1], q, &err), &err);
        qn_assert_ok(qn_graph_set_quantizer(g, node->outputs[0], &live, &err), &err);
        qn_quantizer_free(q);
        n_weights++;
    }
    assert_true(n_weights > 5);
    qn_assert_ok(qn_onnx_export(&first, &n_first, g, &err), &err);
    assert_true(n_first < n_whole / 3);
    qn_assert_ok(qn_model_load_memory(&again, first, n_first, "small.onnx", &err), &err);
    qn_assert_ok(qn_onnx_export(&second, &n_second, &again->graph, &err), &err);
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
    qn_format_use uses[4];
    assert_int_equal(qn_model_formats(again, uses, 4), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(uses[i].org_quern);
        assert_true(uses[i].dynamic == (strcmp(uses[i].format, "int6") == 0));
        assert_int_equal(uses[i].n_constants + uses[i].n_activations, n_weights);
    }
    qn_free(whole);
    qn_free(first);
    qn_free(second);
    qn_model_free(again);
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_round_trips),
        cmocka_unit_test(widths_and_words_round_trip),
        cmocka_unit_test(a_four_bit_network_is_small),
    };
    return cmocka_run_group_tests_name("onnx org.quern", tests, NULL, NULL);
}
