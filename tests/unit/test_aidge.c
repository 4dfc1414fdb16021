/* The recipe `aidge`: its golden vector, refusals, forks done right, runs and files that agree. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/arithmetic.h"
#include "graph/model.h"
#include "graph_builder.h"
#include "npz_json.h"
#include "ptq/aidge/aidge.h"
#include "quern/engine.h"
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
        {"input=0", "above 0"},
        {"input=-1", "above 0"},
        {"input=1.2.3", "above 0"},
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
    qn_assert_ok(
        qn_aidge_options_parse(&options, "bits=4,clip=kl,signs=1,shift=1,round=0,forks=library,input=0.25", &err),
        &err);
    assert_true(options.bits == 4 && options.clip == QN_AIDGE_CLIP_KL && options.signs && options.shift &&
                !options.round && options.forks == QN_AIDGE_FORKS_LIBRARY && options.input == 0.25);
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

/* x -> conv -> relu, then a join of its pooled maps with a signed layer over them: the fork is above the join's branch. */
static qn_model *forked_model(void)
{
    qn_model *model = new_model();
    qn_graph *g = &model->graph;
    qn_test_input(g, "x", DIMS(-1, 2, 6, 6));
    qn_test_floats(g, "w1", DIMS(3, 2, 3, 3), NULL);
    qn_test_floats(g, "b1", DIMS(3), NULL);
    qn_test_floats(g, "w2", DIMS(3, 3, 2, 2), NULL);
    qn_test_floats(g, "w3", DIMS(2, 27), NULL);
    NODE(g, "Conv", "x w1 b1", "conv1");
    NODE(g, "Relu", "conv1", "relu");
    NODE_WITH(g, "MaxPool", "relu", "pool", A_INTS("kernel_shape", 2, 2));
    NODE(g, "Conv", "relu w2", "conv2");
    NODE(g, "Add", "pool conv2", "sum");
    NODE_WITH(g, "Flatten", "sum", "flat", A_INT("axis", 1));
    NODE_WITH(g, "Gemm", "flat w3", "fc", A_INT("transB", 1));
    qn_test_output(g, "fc");
    return model;
}

enum { N_ITEMS = 8, N_PIXELS = 72 };

static void fill_inputs(float x[N_ITEMS * N_PIXELS])
{
    uint64_t state = 7;
    for (int i = 0; i < N_ITEMS * N_PIXELS; i++) {
        x[i] = qn_test_uniform(&state, -1, 1);
    }
}

/* Relative error of the network without rounding against the float engine, over all outputs. */
static double error_of(const qn_model *model, const qn_aidge *aidge, const float *x)
{
    qn_program *program = NULL;
    qn_workspace *workspace = NULL;
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    double y[N_ITEMS * 2], difference = 0, norm = 0;
    qn_assert_ok(qn_aidge_run(aidge, x, N_ITEMS, y, &err), &err);
    for (int item = 0; item < N_ITEMS; item++) {
        float z[2], *outputs[1] = {z};
        const float *inputs[1] = {x + item * N_PIXELS};
        qn_assert_ok(qn_program_run(program, workspace, inputs, 1, outputs, &err), &err);
        for (int i = 0; i < 2; i++) {
            double real = y[item * 2 + i] * qn_aidge_output_scale(aidge);
            difference += (real - (double)z[i]) * (real - (double)z[i]);
            norm += (double)z[i] * (double)z[i];
        }
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    return sqrt(difference / norm);
}

static bool is_noted(const qn_aidge *aidge, const char *fragment)
{
    bool noted = false;
    for (size_t i = 0; qn_aidge_note(aidge, i) != NULL; i++) {
        noted = noted || strstr(qn_aidge_note(aidge, i), fragment) != NULL;
    }
    return noted;
}

/* Without rounding a right network is the float network; with it, and with signs, one that is close. */
static void forks_above_a_branch_are_right(void **state)
{
    (void)state;
    float x[N_ITEMS * N_PIXELS];
    fill_inputs(x);
    qn_model *model = forked_model();
    qn_aidge *aidge = quantize(model, x, DIMS(N_ITEMS, 2, 6, 6), "round=0");
    assert_true(is_noted(aidge, "'pool'"));
    assert_true(node_named(aidge, "pool_Res")->is_residual);
    assert_true(error_of(model, aidge, x) < 1e-5);
    qn_aidge_free(aidge);
    aidge = quantize(model, x, DIMS(N_ITEMS, 2, 6, 6), "signs=1");
    assert_true(node_named(aidge, "pool_Res")->lo == -128); /* the other branch is signed */
    assert_true(node_named(aidge, "conv1_Scaling")->lo == 0);
    assert_true(error_of(model, aidge, x) < 0.05);
    qn_aidge_free(aidge);
    aidge = quantize(model, x, DIMS(N_ITEMS, 2, 6, 6), "round=0,forks=library");
    assert_true(error_of(model, aidge, x) > 0.01);
    qn_aidge_free(aidge);
    qn_aidge_options options;
    qn_aidge_options_init(&options);
    options.signs = true;
    options.forks = QN_AIDGE_FORKS_LIBRARY;
    qn_status status = try_quantize(model, x, DIMS(N_ITEMS, 2, 6, 6), &options);
    qn_assert_fails(status, &err, QN_EUNSUPPORTED, "'pool'");
    assert_string_equal(err.where, "sum");
    qn_model_free(model);
}

/* A network that is told the range of its inputs is as good as one whose inputs lie in -1..1. */
static void inputs_of_other_ranges_are_scaled(void **state)
{
    (void)state;
    float x[N_ITEMS * N_PIXELS], big[N_ITEMS * N_PIXELS];
    fill_inputs(x);
    for (int i = 0; i < N_ITEMS * N_PIXELS; i++) {
        big[i] = x[i] * 64;
    }
    qn_model *model = forked_model();
    qn_aidge *aidge = quantize(model, big, DIMS(N_ITEMS, 2, 6, 6), "signs=1,input=64");
    assert_true(error_of(model, aidge, big) < 0.05);
    assert_true(qn_aidge_input_scale(aidge) == 127.0 / 64);
    assert_false(is_noted(aidge, "saturates"));
    qn_aidge_free(aidge);
    aidge = quantize(model, big, DIMS(N_ITEMS, 2, 6, 6), "round=0,input=64");
    assert_true(error_of(model, aidge, big) < 1e-5);
    qn_aidge_free(aidge);
    aidge = quantize(model, big, DIMS(N_ITEMS, 2, 6, 6), "");
    assert_true(is_noted(aidge, "input=64"));
    qn_aidge_free(aidge);
    qn_model_free(model);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    float x[N_ITEMS * N_PIXELS];
    fill_inputs(x);
    qn_model *model = forked_model();
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 4, .dims = {N_ITEMS, 2, 6, 6}, .data = x};
    qn_dataset *set = NULL;
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    qn_aidge *made[2];
    for (int i = 0; i < 2; i++) {
        qn_aidge_options options;
        qn_aidge_options_init(&options);
        options.clip = QN_AIDGE_CLIP_KL;
        options.n_threads = i == 0 ? 1 : 5;
        qn_assert_ok(qn_aidge_quantize(&made[i], model, set, &options, &err), &err);
    }
    for (int k = 0; k < made[0]->net.n_nodes; k++) {
        assert_true(made[0]->net.nodes[k].scale == made[1]->net.nodes[k].scale);
        assert_true(made[0]->net.nodes[k].range == made[1]->net.nodes[k].range);
    }
    qn_aidge_free(made[0]);
    qn_aidge_free(made[1]);
    qn_dataset_close(set);
    qn_model_free(model);
}

static qn_tensor read_member(const char *file, const char *name)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s:%s", file, name);
    qn_tensor t = {0};
    qn_assert_ok(qn_tensor_read(&t, whole, &err), &err);
    assert_int_equal(t.dtype, QN_DTYPE_F64);
    return t;
}

static void archive_holds_the_numbers(void **state)
{
    (void)state;
    qn_model *model = golden_model();
    qn_aidge *aidge = quantize(model, golden_inputs, DIMS(3, 3), "signs=1,shift=1");
    char file[512];
    snprintf(file, sizeof file, "%s", qn_scratch_file("golden.npz"));
    qn_assert_ok(qn_aidge_write_npz(aidge, file, false, &err), &err);
    static const struct {
        const char *name;
        int rank;
        int64_t n;
        double first, last;
    } rows[] = {
        {"weight/fc1", 2, 9, 80, 80},
        {"bias/fc1", 1, 3, 2040, 2040},
        {"weight/fc2", 2, 9, -99, -99},
        {"bias/fc2", 1, 3, 10488, 10488},
        {"scale", 1, 2, 0x1p-7, 0x1p-9},
        {"clip", 2, 4, 0, 127},
        {"coef", 1, 2, (double)NAN, (double)NAN},
        {"input_scale", 0, 1, 127, 127},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_tensor t = read_member(file, rows[i].name);
        assert_int_equal(t.rank, rows[i].rank);
        assert_int_equal(qn_tensor_count(&t), rows[i].n);
        const double *x = t.data;
        assert_true(x[0] == rows[i].first || (isnan(x[0]) && isnan(rows[i].first)));
        assert_true(x[rows[i].n - 1] == rows[i].last || isnan(rows[i].last));
        qn_tensor_free(&t);
    }
    json_t *meta = npz_meta_read(file, "meta_json");
    json_t *names = json_object_get(meta, "scaling_nodes");
    assert_int_equal(json_array_size(names), 2);
    assert_string_equal(json_string_value(json_array_get(names, 1)), "fc2_Scaling");
    json_decref(meta);
    qn_status status = qn_aidge_write_npz(aidge, file, false, &err);
    qn_assert_fails(status, &err, QN_EEXIST, "golden.npz");
    qn_error_init(&err);
    qn_assert_ok(qn_aidge_write_npz(aidge, file, true, &err), &err);
    qn_aidge_free(aidge);
    qn_model_free(model);
}

/* Every allocation failing once: no crash, no leak (the sanitizers look), QN_ENOMEM each time. */
static void memory_may_run_out(void **state)
{
    (void)state;
    float x[N_ITEMS * N_PIXELS];
    fill_inputs(x);
    qn_model *model = forked_model();
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 4, .dims = {N_ITEMS, 2, 6, 6}, .data = x};
    qn_dataset *set = NULL;
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    qn_aidge_options options;
    qn_aidge_options_init(&options);
    options.clip = QN_AIDGE_CLIP_MSE;
    options.n_threads = 1;
    qn_status status = QN_ENOMEM;
    int n_failed = 0;
    for (int countdown = 0; status == QN_ENOMEM; countdown++) {
        qn_aidge *aidge = NULL;
        qn_model *quantized = NULL;
        qn_error_init(&err);
        qn_alloc_fail_after(countdown);
        status = qn_aidge_quantize(&aidge, model, set, &options, &err);
        if (status == QN_OK) {
            status = qn_aidge_model(&quantized, aidge, model, &err);
        }
        if (status == QN_OK) {
            status = qn_aidge_write_npz(aidge, qn_scratch_file("memory.npz"), true, &err);
        }
        qn_alloc_fail_after(-1);
        n_failed += status != QN_OK;
        qn_aidge_free(aidge);
        qn_model_free(quantized);
    }
    qn_assert_ok(status, &err);
    assert_true(n_failed > 20);
    qn_dataset_close(set);
    qn_model_free(model);
}

static void models_tell_how_they_were_made(void **state)
{
    (void)state;
    qn_model *model = golden_model(), *quantized = NULL;
    for (int shift = 0; shift < 2; shift++) {
        qn_aidge *aidge = quantize(model, golden_inputs, DIMS(3, 3), shift == 1 ? "bits=4,shift=1" : "bits=4");
        qn_assert_ok(qn_aidge_model(&quantized, aidge, model, &err), &err);
        assert_string_equal(qn_model_metadata(quantized, "quern.recipe"), "aidge");
        qn_preprocess pre;
        bool found = false;
        qn_assert_ok(qn_model_preprocess(quantized, &pre, &found, &err), &err);
        assert_true(found && qn_preprocess_is_identity(&pre));
        qn_arithmetic arithmetic;
        qn_assert_ok(qn_graph_get_arithmetic(&quantized->graph, &arithmetic, &err), &err);
        assert_int_equal(arithmetic.requantize, shift == 1 ? QN_REQUANTIZE_SHIFT : QN_REQUANTIZE_FLOAT);
        qn_graph *g = &quantized->graph;
        const qn_quantizer *x = g->values[g->inputs[0]].quantizer;
        assert_true(x->format.bits == 4 && x->format.is_signed && x->scale[0] == 1.0F / 7);
        qn_model_free(quantized);
        qn_aidge_free(aidge);
    }
    qn_model_free(model);
}

static void models_refuse_what_integers_cannot_hold(void **state)
{
    (void)state;
    qn_model *model = golden_model(), *quantized = NULL;
    static const char *const texts[] = {"round=0", "bits=9"};
    for (int i = 0; i < 2; i++) {
        qn_aidge *aidge = quantize(model, golden_inputs, DIMS(3, 3), texts[i]);
        qn_status status = qn_aidge_model(&quantized, aidge, model, &err);
        qn_assert_fails(status, &err, QN_EUNSUPPORTED, "bits=2 to 8");
        assert_null(quantized);
        qn_error_init(&err);
        qn_aidge_free(aidge);
    }
    qn_model_free(model);

    model = new_model();
    qn_graph *g = &model->graph;
    qn_test_input(g, "x", DIMS(-1, 3));
    constant(g, "w", DIMS(3, 3), 1e-6F);
    constant(g, "b", DIMS(3), 1);
    NODE(g, "Gemm", "x w b", "y");
    qn_test_output(g, "y");
    qn_aidge *aidge = quantize(model, golden_inputs, DIMS(3, 3), "");
    qn_status status = qn_aidge_model(&quantized, aidge, model, &err);
    qn_assert_fails(status, &err, QN_ERANGE, "beyond 32 bits");
    qn_aidge_free(aidge);
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vector_of_the_library),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(all_unknown_nodes_are_listed),
        cmocka_unit_test(numbers_without_a_scale_are_refused),
        cmocka_unit_test(forks_above_a_branch_are_right),
        cmocka_unit_test(inputs_of_other_ranges_are_scaled),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(archive_holds_the_numbers),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(models_tell_how_they_were_made),
        cmocka_unit_test(models_refuse_what_integers_cannot_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
