/* The recipe `aidge`: its golden vector, refusals, forks done right, runs and files that agree. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/model.h"
#include "graph_builder.h"
#include "ptq/aidge/aidge.h"
#include "support.h"

static qn_error err;

static qn_model *new_model(void)
{
    qn_error_init(&err);
    qn_model *model = qn_alloc(sizeof *model);
    assert_non_null(model);
    model->graph.opset = 13;
    model->graph.file = "net.onnx";
    return model;
}

static void constant(qn_graph *graph, const char *name, int rank, const int64_t *dims, float value)
{
    float values[16];
    int64_t n = 1;
    for (int d = 0; d < rank; d++) {
        n *= dims[d];
    }
    for (int64_t i = 0; i < n; i++) {
        values[i] = value;
    }
    qn_test_floats(graph, name, rank, dims, values);
}

/* FC(3,3) of 0.5 and 0.1, Relu, FC(3,3) of -0.3 and 0.2; inputs of 1.0, -0.7, 0.3. */
static qn_model *golden_model(void)
{
    qn_model *model = new_model();
    qn_graph *g = &model->graph;
    qn_test_input(g, "x", DIMS(-1, 3));
    constant(g, "w1", DIMS(3, 3), 0.5F);
    constant(g, "b1", DIMS(3), 0.1F);
    constant(g, "w2", DIMS(3, 3), -0.3F);
    constant(g, "b2", DIMS(3), 0.2F);
    NODE_WITH(g, "Gemm", "x w1 b1", "fc1", A_INT("transB", 1));
    NODE(g, "Relu", "fc1", "relu");
    NODE_WITH(g, "Gemm", "relu w2 b2", "fc2", A_INT("transB", 1));
    qn_test_output(g, "fc2");
    return model;
}

static qn_aidge *quantize(const qn_model *model, const float *x, int rank, const int64_t *dims, const char *text)
{
    qn_aidge_options options;
    qn_aidge_options_init(&options);
    qn_assert_ok(qn_aidge_options_parse(&options, text, &err), &err);
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = rank};
    memcpy(t.dims, dims, (size_t)rank * sizeof *dims);
    union {
        const float *from;
        void *to;
    } data = {x};
    t.data = data.to;
    qn_dataset *set = NULL;
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    qn_aidge *aidge = NULL;
    qn_assert_ok(qn_aidge_quantize(&aidge, model, set, &options, &err), &err);
    qn_dataset_close(set);
    return aidge;
}

static const qn_aidge_node *node_named(const qn_aidge *aidge, const char *name)
{
    for (int k = 0; k < aidge->net.n_nodes; k++) {
        if (strcmp(aidge->net.nodes[k].name, name) == 0) {
            return &aidge->net.nodes[k];
        }
    }
    fail_msg("no node '%s'", name);
    return NULL;
}

static const float golden_inputs[9] = {1, 1, 1, -0.7F, -0.7F, -0.7F, 0.3F, 0.3F, 0.3F};

static void expect_layer(const qn_aidge *aidge, const char *name, double weight, double bias, double tolerance)
{
    const qn_aidge_node *node = node_named(aidge, name);
    for (int i = 0; i < 9; i++) {
        assert_true(node->weight[i] == weight);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(node->bias[i] - bias) <= tolerance);
    }
}

static void expect_scale(const qn_aidge *aidge, const char *name, double scale, double tolerance)
{
    assert_true(fabs(node_named(aidge, name)->scale - scale) <= tolerance);
}

static void golden_vector_of_the_library(void **state)
{
    (void)state;
    qn_model *model = golden_model();
    qn_aidge *aidge = quantize(model, golden_inputs, DIMS(3, 3), "signs=1");
    expect_layer(aidge, "fc1", 127, 3226, 0);
    expect_layer(aidge, "fc2", -127, 13494, 0);
    expect_scale(aidge, "fc1_Scaling", 0.00494, 5e-6);
    expect_scale(aidge, "fc2_Scaling", 0.00152, 5e-6);
    assert_true(node_named(aidge, "fc1_Scaling")->lo == 0 && node_named(aidge, "fc1_Scaling")->hi == 255);
    assert_true(node_named(aidge, "fc2_Scaling")->lo == -128 && node_named(aidge, "fc2_Scaling")->hi == 127);
    qn_aidge_free(aidge);

    aidge = quantize(model, golden_inputs, DIMS(3, 3), "signs=1,shift=1");
    expect_layer(aidge, "fc1", 80, 2040, 0);
    expect_layer(aidge, "fc2", -99, 10488, 0);
    expect_scale(aidge, "fc1_Scaling", 0x1p-7, 0);
    expect_scale(aidge, "fc2_Scaling", 0x1p-9, 0);
    qn_aidge_free(aidge);

    aidge = quantize(model, golden_inputs, DIMS(3, 3), "round=0");
    expect_layer(aidge, "fc1", 127, 3225.8, 1e-4);
    expect_scale(aidge, "fc1_Scaling", 0.00246, 5e-6);
    assert_true(fabs(node_named(aidge, "fc2")->bias[0] - 6720.41667) < 5e-4 /* parameters are f32 */);
    qn_aidge_free(aidge);
    qn_model_free(model);
}

static void options_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fragment;
    } rows[] = {
        {"bits=1", "2 to 16"},
        {"bits=17", "2 to 16"},
        {"bits=4x", "2 to 16"},
        {"bits=", "2 to 16"},
        {"bits", "2 to 16"},
        {"clip=mean", "max, mse, aa or kl"},
        {"width=4", "bits, clip"},
        {"signs=yes", "0 or 1"},
        {"bits=4,bits=8", "twice"},
        {"bits=4,", "last comma"},
        {"forks=x", "residual or library"},
        {",", "unknown option ''"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_aidge_options options;
        qn_aidge_options_init(&options);
        qn_error_init(&err);
        qn_assert_fails(qn_aidge_options_parse(&options, rows[i].text, &err), &err, QN_EINVAL, rows[i].fragment);
        assert_int_equal(options.bits, 8);
    }
    qn_error_init(&err);
    qn_aidge_options options;
    qn_aidge_options_init(&options);
    qn_assert_ok(qn_aidge_options_parse(&options, "", &err), &err);
    qn_assert_ok(qn_aidge_options_parse(&options, "bits=4,clip=kl,signs=1,shift=1,round=0,forks=library", &err), &err);
    assert_true(options.bits == 4 && options.clip == QN_AIDGE_CLIP_KL && options.signs && options.shift &&
                !options.round && options.forks == QN_AIDGE_FORKS_LIBRARY);
}

static qn_status try_quantize(const qn_model *model, const float *x, int rank, const int64_t *dims,
                              const qn_aidge_options *options)
{
    qn_error_init(&err);
    qn_tensor t = {0};
    qn_status status = qn_tensor_alloc(&t, QN_DTYPE_F32, rank, dims, &err);
    qn_assert_ok(status, &err);
    memcpy(t.data, x, qn_tensor_bytes(&t));
    qn_dataset *set = NULL;
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    qn_aidge *aidge = NULL;
    status = qn_aidge_quantize(&aidge, model, set, options, &err);
    assert_true((aidge != NULL) == (status == QN_OK));
    qn_aidge_free(aidge);
    qn_dataset_close(set);
    qn_tensor_free(&t);
    return status;
}

static void all_unknown_nodes_are_listed(void **state)
{
    (void)state;
    qn_model *model = new_model();
    qn_graph *g = &model->graph;
    qn_test_input(g, "x", DIMS(-1, 3));
    qn_test_floats(g, "w", DIMS(3, 3), NULL);
    NODE(g, "Sigmoid", "x", "s");
    NODE(g, "MatMul", "s w", "m");
    NODE(g, "Mul", "m s", "p");
    NODE(g, "Clip", "p", "c");
    NODE(g, "Tanh", "c", "t");
    NODE(g, "Gemm", "t w", "y");
    qn_test_output(g, "y");
    qn_status status = try_quantize(model, golden_inputs, DIMS(3, 3), NULL);
    static const char *const types[] = {"Sigmoid", "MatMul", "Mul", "Clip", "Tanh"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        qn_assert_fails(status, &err, QN_EUNSUPPORTED, types[i]);
    }
    qn_model_free(model);
}

static void numbers_without_a_scale_are_refused(void **state)
{
    (void)state;
    qn_model *model = golden_model();
    const float zeros[3] = {0};
    qn_status status = try_quantize(model, golden_inputs, DIMS(3, 2), NULL);
    qn_assert_fails(status, &err, QN_ESHAPE, "rank 1");
    status = try_quantize(model, zeros, DIMS(0, 3), NULL);
    qn_assert_fails(status, &err, QN_EINVAL, "no items");
    qn_aidge_options options;
    qn_aidge_options_init(&options);
    options.signs = true;
    options.round = false;
    status = try_quantize(model, golden_inputs, DIMS(3, 3), &options);
    qn_assert_fails(status, &err, QN_ECONFLICT, "signs=0 or round=1");
    qn_model_free(model);

    model = new_model();
    qn_test_input(&model->graph, "x", DIMS(-1, 3));
    constant(&model->graph, "w", DIMS(3, 3), 0);
    NODE(&model->graph, "Gemm", "x w", "y");
    qn_test_output(&model->graph, "y");
    status = try_quantize(model, golden_inputs, DIMS(3, 3), NULL);
    qn_assert_fails(status, &err, QN_ERANGE, "all weights are 0");
    qn_model_free(model);

    model = new_model();
    qn_test_input(&model->graph, "x", DIMS(-1, 3));
    constant(&model->graph, "w", DIMS(3, 3), 1);
    NODE(&model->graph, "Gemm", "x w", "y");
    qn_test_output(&model->graph, "y");
    status = try_quantize(model, zeros, DIMS(1, 3), NULL);
    qn_assert_fails(status, &err, QN_ERANGE, "all values are 0");
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vector_of_the_library),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(all_unknown_nodes_are_listed),
        cmocka_unit_test(numbers_without_a_scale_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
