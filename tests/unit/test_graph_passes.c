/* BatchNorm folding against a double computation of the layer and the normalization one after the other; identities. */
#include "graph_builder.h"

#include <math.h>
#include <string.h>

#include "graph/passes.h"

static qn_error err;

static int reset_error(void **state)
{
    (void)state;
    qn_error_init(&err);
    return 0;
}

enum { IN = 6, OUT = 4, SIDE = 5, KERNEL = 3, SPAN = SIDE - KERNEL + 1, ROWS = 3, MAX_RESULT = OUT * SPAN * SPAN };

static const float *floats(const qn_graph *graph, qn_value_id id)
{
    return graph->values[id].constant->data;
}

/* Convolution without padding, stride 1, of one image. */
static void convolve(const qn_graph *graph, const qn_node *node, const float *x, double *y)
{
    int64_t group = qn_node_int(node, "group", 1), per_group = IN / group;
    const float *w = floats(graph, node->inputs[1]);
    const float *b = node->n_inputs > 2 ? floats(graph, node->inputs[2]) : NULL;
    for (int64_t i = 0; i < MAX_RESULT; i++) {
        int64_t c = i / (SPAN * SPAN), row = i / SPAN % SPAN, column = i % SPAN, first = c / (OUT / group) * per_group;
        y[i] = b != NULL ? (double)b[c] : 0.0;
        for (int64_t k = 0; k < per_group * KERNEL * KERNEL; k++) {
            int64_t channel = k / (KERNEL * KERNEL), u = k / KERNEL % KERNEL, v = k % KERNEL;
            y[i] += (double)x[((first + channel) * SIDE + row + u) * SIDE + column + v] *
                    (double)w[c * per_group * KERNEL * KERNEL + k];
        }
    }
}

/* Gemm of ROWS x IN with IN x OUT. */
static void multiply(const qn_graph *graph, const qn_node *node, const float *x, double *y)
{
    bool trans_b = qn_node_int(node, "transB", 0) != 0;
    double alpha = (double)qn_node_float(node, "alpha", 1.0F), beta = (double)qn_node_float(node, "beta", 1.0F);
    const float *w = floats(graph, node->inputs[1]);
    const qn_tensor *b = node->n_inputs > 2 ? graph->values[node->inputs[2]].constant : NULL;
    for (int64_t i = 0; i < ROWS * OUT; i++) {
        int64_t row = i / OUT, c = i % OUT;
        double sum = 0.0, addend = 0.0;
        for (int64_t k = 0; k < IN; k++) {
            sum += (double)x[row * IN + k] * (double)(trans_b ? w[c * IN + k] : w[k * OUT + c]);
        }
        if (b != NULL) {
            int64_t n_rows = b->rank == 2 ? b->dims[0] : 1, n_columns = b->rank > 0 ? b->dims[b->rank - 1] : 1;
            addend = (double)((const float *)b->data)[(n_rows == 1 ? 0 : row) * n_columns + (n_columns == 1 ? 0 : c)];
        }
        y[i] = alpha * sum + beta * addend;
    }
}

static void run_layer(const qn_graph *graph, const qn_node *node, const float *x, double *y)
{
    (node->op == QN_OP_CONV ? convolve : multiply)(graph, node, x, y);
}

static void add_norm(qn_graph *graph, const char *in, const char *out)
{
    char inputs[64];
    qn_test_floats(graph, "gamma", DIMS(OUT), (const float[]){1.5F, -0.25F, 0.0F, 3.0F});
    qn_test_floats(graph, "beta", DIMS(OUT), (const float[]){0.1F, 0.2F, -0.3F, 4.0F});
    qn_test_floats(graph, "mean", DIMS(OUT), (const float[]){0.5F, -1.0F, 2.0F, 0.0F});
    qn_test_floats(graph, "var", DIMS(OUT), (const float[]){1.0F, 0.01F, 4.0F, 9.0F});
    strcpy(inputs, in);
    strcat(inputs, " gamma beta mean var");
    NODE_WITH(graph, "BatchNormalization", inputs, out, A_FLOAT("epsilon", 1e-3F));
}

/* The graph's layer, then its BatchNorm, in double; then folded. Each rounded weight errs by at most half an ulp, so the
 * sum by 2^-24 of its terms' magnitude; they are below 100 in all. */
static void expect_same_after_folding(qn_graph *graph)
{
    float x[IN * SIDE * SIDE];
    uint64_t seed = 11;
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
        x[i] = qn_test_uniform(&seed, -1.0F, 1.0F);
    }
    double before[MAX_RESULT], after[MAX_RESULT];
    const qn_node *layer = &graph->nodes[0], *norm = &graph->nodes[1];
    bool conv = layer->op == QN_OP_CONV;
    int64_t n = conv ? MAX_RESULT : ROWS * OUT;
    run_layer(graph, layer, x, before);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = conv ? i / (SPAN * SPAN) : i % OUT;
        double gamma = (double)floats(graph, norm->inputs[1])[c], beta = (double)floats(graph, norm->inputs[2])[c];
        double mean = (double)floats(graph, norm->inputs[3])[c], var = (double)floats(graph, norm->inputs[4])[c];
        before[i] = (before[i] - mean) / sqrt(var + (double)1e-3F) * gamma + beta;
    }
    qn_assert_ok(qn_graph_fold_batchnorm(graph, &err), &err);
    qn_assert_ok(qn_graph_verify(graph, &err), &err);
    assert_int_equal(graph->n_nodes, 1);
    assert_string_equal(graph->values[graph->nodes[0].outputs[0]].name, "y");
    run_layer(graph, &graph->nodes[0], x, after);
    for (int64_t i = 0; i < n; i++) {
        assert_true(fabs(before[i] - after[i]) <= 100.0 * 0x1p-24);
    }
    qn_binding binding;
    qn_assert_ok(qn_graph_bind(&binding, graph, 1, &err), &err);
    qn_binding_free(&binding);
    qn_graph_free(graph);
}

static void batchnorm_folds_into_convolutions(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        bool grouped = round % 2 != 0, with_bias = round / 2 != 0;
        qn_graph graph = {.opset = 13};
        qn_test_input(&graph, "x", DIMS(1, IN, SIDE, SIDE));
        qn_test_floats(&graph, "w", DIMS(OUT, grouped ? IN / 2 : IN, KERNEL, KERNEL), NULL);
        qn_test_floats(&graph, "b", DIMS(OUT), NULL);
        NODE_WITH(&graph, "Conv", with_bias ? "x w b" : "x w", "conv", A_INT("group", grouped ? 2 : 1));
        add_norm(&graph, "conv", "y");
        qn_test_output(&graph, "y");
        expect_same_after_folding(&graph);
    }
}

static void batchnorm_folds_into_products(void **state)
{
    (void)state;
    static const struct {
        int rank;
        int64_t dims[2];
    } addends[] = {{1, {OUT}}, {0, {0}}, {1, {1}}, {2, {1, OUT}}, {2, {ROWS, 1}}, {2, {ROWS, OUT}}};
    for (int round = 0; round < 14; round++) {
        int64_t trans_b = round % 2;
        size_t addend = (size_t)round / 2; /* the last round is without */
        bool with = addend < sizeof addends / sizeof addends[0];
        qn_graph graph = {.opset = 13};
        qn_test_input(&graph, "x", DIMS(ROWS, IN));
        qn_test_floats(&graph, "w", DIMS(trans_b ? OUT : IN, trans_b ? IN : OUT), NULL);
        if (with) {
            qn_test_floats(&graph, "b", addends[addend].rank, addends[addend].dims, NULL);
        }
        NODE_WITH(&graph, "Gemm", with ? "x w b" : "x w", "product", A_INT("transB", trans_b), A_FLOAT("alpha", 0.5F),
                  A_FLOAT("beta", -2.0F));
        add_norm(&graph, "product", "y");
        qn_test_output(&graph, "y");
        expect_same_after_folding(&graph);
    }
}

/* Two in a row, and weights that another layer reads too. */
static void shared_weights_are_not_altered(void **state)
{
    (void)state;
    qn_graph graph = {.opset = 13};
    qn_test_input(&graph, "x", DIMS(1, IN, SIDE, SIDE));
    qn_value_id w = qn_test_floats(&graph, "w", DIMS(OUT, IN, KERNEL, KERNEL), NULL);
    float first = floats(&graph, w)[0];
    NODE(&graph, "Conv", "x w", "a");
    NODE(&graph, "Conv", "x w", "other");
    add_norm(&graph, "a", "b");
    NODE(&graph, "BatchNormalization", "b gamma beta mean var", "c");
    NODE(&graph, "Add", "c other", "y");
    qn_test_output(&graph, "y");
    qn_assert_ok(qn_graph_fold_batchnorm(&graph, &err), &err);
    qn_assert_ok(qn_graph_verify(&graph, &err), &err);
    assert_int_equal(graph.n_nodes, 3);
    assert_true(floats(&graph, w)[0] == first);
    const qn_node *folded = &graph.nodes[0];
    assert_string_equal(graph.values[folded->outputs[0]].name, "c");
    double factor = 1.5 / sqrt(1.0 + (double)1e-3F), again = 1.5 / sqrt(1.0 + (double)1e-5F);
    assert_true(fabs((double)floats(&graph, folded->inputs[1])[0] - (double)first * factor * again) < 1e-6);
    double bias = (0.0 - 0.5) * factor + (double)0.1F;
    assert_true(fabs((double)floats(&graph, folded->inputs[2])[0] - ((bias - 0.5) * again + (double)0.1F)) < 1e-6);
    assert_int_equal(graph.nodes[1].inputs[1], w);
    qn_graph_free(&graph);
}

static void what_cannot_be_folded_stays(void **state)
{
    (void)state;
    for (int reason = 0; reason < 4; reason++) {
        qn_graph graph = {.opset = 13};
        qn_test_input(&graph, "x", DIMS(1, IN, SIDE, SIDE));
        qn_value_id w = qn_test_floats(&graph, "w", DIMS(OUT, IN, KERNEL, KERNEL), NULL);
        qn_value_id conv = NODE(&graph, "Conv", "x w", "conv");
        add_norm(&graph, "conv", "y");
        qn_test_output(&graph, "y");
        qn_quantizer q = {.format = {.bits = 8}, .axis = -1, .n = 1};
        q.scale = &(float){1.0F};
        q.zero_point = &(int32_t){0};
        if (reason == 0) { /* the convolution's own output is wanted */
            qn_test_output(&graph, "conv");
        } else if (reason < 3) { /* it, or the weights, are coded */
            qn_assert_ok(qn_graph_set_quantizer(&graph, reason == 1 ? conv : w, &q, &err), &err);
        } else { /* 1 / sqrt(0) */
            qn_tensor zeros = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {OUT}, .data = (float[]){0, 0, 0, -1e-3F}};
            qn_assert_ok(qn_graph_set_constant(&graph, qn_graph_find(&graph, "var"), &zeros, &err), &err);
        }
        qn_assert_ok(qn_graph_fold_batchnorm(&graph, &err), &err);
        assert_int_equal(graph.n_nodes, 2);
        qn_graph_free(&graph);
    }
}

static void identities_go_and_names_of_outputs_stay(void **state)
{
    (void)state;
    qn_graph graph = {.opset = 13};
    qn_test_input(&graph, "x", DIMS(1, 4));
    NODE(&graph, "Identity", "x", "a");
    NODE(&graph, "Dropout", "a", "b mask");
    NODE(&graph, "Relu", "b", "c");
    NODE(&graph, "Identity", "c", "d");
    NODE(&graph, "Identity", "d", "y");
    NODE(&graph, "Neg", "d", "z");
    NODE(&graph, "Identity", "x", "through"); /* from an input to an output: stays */
    qn_value_id coded = NODE(&graph, "Identity", "z", "coded");
    qn_quantizer q = {
        .format = {.bits = 8}, .axis = -1, .n = 1, .scale = &(float){1.0F}, .zero_point = &(int32_t){0}};
    qn_assert_ok(qn_graph_set_quantizer(&graph, coded, &q, &err), &err);
    for (const char *const *name = (const char *const[]){"y", "through", "coded", NULL}; *name != NULL; name++) {
        qn_test_output(&graph, *name);
    }
    qn_assert_ok(qn_graph_drop_identities(&graph, &err), &err);
    qn_assert_ok(qn_graph_verify(&graph, &err), &err);
    static const char *const left[] = {"Relu", "Neg", "Identity", "Identity"};
    assert_int_equal(graph.n_nodes, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(graph.nodes[i].op_type, left[i]);
    }
    assert_string_equal(graph.values[graph.nodes[0].inputs[0]].name, "x");
    assert_string_equal(graph.values[graph.nodes[0].outputs[0]].name, "y");
    assert_string_equal(graph.values[graph.nodes[1].inputs[0]].name, "y");
    qn_graph_free(&graph);
}

static void a_used_mask_or_training_keeps_a_dropout(void **state)
{
    (void)state;
    enum { INFERENCE, TRAINING, TRAINING_OF_ALL, N_MODES }; /* the last drops none */
    for (int training = 0; training < N_MODES; training++) {
        qn_graph graph = {.opset = 13};
        qn_test_input(&graph, "x", DIMS(1, 4));
        qn_test_floats(&graph, "ratio", 0, NULL, (const float[]){training == TRAINING_OF_ALL ? 0.0F : 0.5F});
        qn_value_id mode;
        qn_assert_ok(qn_graph_add_value(&graph, "mode", &mode, &err), &err);
        qn_tensor flag = {.dtype = QN_DTYPE_BOOL, .data = (unsigned char[]){training != INFERENCE}};
        qn_assert_ok(qn_graph_set_constant(&graph, mode, &flag, &err), &err);
        NODE(&graph, "Dropout", "x ratio mode", "a mask");
        NODE(&graph, "Relu", "a", "y");
        qn_test_output(&graph, "y");
        if (!training) {
            qn_test_output(&graph, "mask");
        }
        qn_assert_ok(qn_graph_drop_identities(&graph, &err), &err);
        assert_int_equal(graph.n_nodes, 2);
        qn_binding binding;
        if (training == TRAINING) {
            qn_assert_fails(qn_graph_bind(&binding, &graph, 1, &err), &err, QN_EUNSUPPORTED, "the node drops values");
        } else {
            qn_assert_ok(qn_graph_bind(&binding, &graph, 1, &err), &err);
            assert_int_equal(binding.values[qn_graph_find(&graph, "y")].n_elems, 4);
            assert_int_equal(binding.values[qn_graph_find(&graph, "mask")].dtype, QN_DTYPE_BOOL);
            qn_binding_free(&binding);
        }
        qn_error_init(&err);
        qn_graph_free(&graph);
    }
}

static void a_failed_allocation_leaves_a_graph_to_free(void **state)
{
    (void)state;
    qn_status status = QN_ENOMEM;
    int64_t n = 0;
    while (status != QN_OK) {
        qn_graph graph = {.opset = 13};
        qn_test_input(&graph, "x", DIMS(1, IN, SIDE, SIDE));
        qn_test_floats(&graph, "w", DIMS(OUT, IN, KERNEL, KERNEL), NULL);
        NODE(&graph, "Conv", "x w", "conv");
        add_norm(&graph, "conv", "y");
        qn_test_output(&graph, "y");
        qn_error_init(&err);
        qn_alloc_fail_after(n++);
        status = qn_graph_fold_batchnorm(&graph, &err);
        if (status == QN_OK) {
            status = qn_graph_drop_identities(&graph, &err);
        }
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || status == QN_ENOMEM);
        qn_graph_free(&graph);
    }
    assert_true(n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(batchnorm_folds_into_convolutions, reset_error),
        cmocka_unit_test_setup(batchnorm_folds_into_products, reset_error),
        cmocka_unit_test_setup(shared_weights_are_not_altered, reset_error),
        cmocka_unit_test_setup(what_cannot_be_folded_stays, reset_error),
        cmocka_unit_test_setup(identities_go_and_names_of_outputs_stay, reset_error),
        cmocka_unit_test_setup(a_used_mask_or_training_keeps_a_dropout, reset_error),
        cmocka_unit_test_setup(a_failed_allocation_leaves_a_graph_to_free, reset_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
