/* High biases move to the next layer: the network computes the same where inputs are as they were said to be. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "calib/calib.h"
#include "engine/program.h"
#include "graph/model.h"
#include "graph_builder.h"
#include "ptq/ptq.h"

enum { ITEMS = 16 };

/* Conv (a BatchNorm), Relu, then `reader`: a Conv without padding, one with, or pools and a MatMul. Pre-activations are about
 * 10 + k in channel k. */
static qn_model network(bool norm, const char *reader)
{
    qn_model model = {.graph = {.opset = 13, .file = "test.onnx"}};
    qn_graph *g = &model.graph;
    float weights[4 * 2], bias[4], zeros[4] = {0}, ones[4] = {1, 1, 1, 1};
    uint64_t state = 3;
    for (int i = 0; i < 8; i++) {
        weights[i] = qn_test_uniform(&state, -1, 1);
    }
    for (int k = 0; k < 4; k++) {
        bias[k] = 10 + (float)k;
    }
    qn_test_input(g, "x", DIMS(-1, 2, 4, 4));
    qn_test_floats(g, "w1", DIMS(4, 2, 1, 1), weights);
    qn_test_floats(g, "b1", DIMS(4), bias);
    qn_test_floats(g, "zeros", DIMS(4), zeros);
    qn_test_floats(g, "ones", DIMS(4), ones);
    qn_test_floats(g, "w2", DIMS(6, 2, 3, 3), NULL);
    qn_test_floats(g, "w3", DIMS(4, 5), NULL);
    if (norm) {
        NODE(g, "Conv", "x w1", "c1");
        NODE(g, "BatchNormalization", "c1 ones b1 zeros ones", "pre"); /* mean 10 + k, deviation 1 */
    } else {
        NODE(g, "Conv", "x w1 b1", "pre");
    }
    NODE(g, "Relu", "pre", "r1");
    if (strcmp(reader, "pools") == 0) {
        NODE_WITH(g, "MaxPool", "r1", "p", A_INTS("kernel_shape", 2, 2));
        NODE(g, "GlobalAveragePool", "p", "gap");
        NODE(g, "Flatten", "gap", "flat");
        NODE(g, "MatMul", "flat w3", "y");
    } else if (strcmp(reader, "padded") == 0) {
        NODE_WITH(g, "Conv", "r1 w2", "y", A_INTS("pads", 1, 1, 1, 1), A_INT("group", 2));
    } else {
        NODE_WITH(g, "Conv", "r1 w2", "y", A_INT("group", 2));
    }
    qn_test_output(g, "y");
    return model;
}

static void fill(qn_tensor *x)
{
    qn_error err;
    qn_error_init(&err);
    uint64_t state = 11;
    qn_assert_ok(qn_tensor_alloc(x, QN_DTYPE_F32, DIMS(ITEMS, 2, 4, 4), &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(x); i++) {
        ((float *)x->data)[i] = qn_test_uniform(&state, -1, 1);
    }
}

static qn_calibration *calibrate(const qn_model *model, const qn_tensor *x)
{
    qn_error err;
    qn_error_init(&err);
    qn_dataset *data;
    qn_calibration *calibration;
    qn_assert_ok(qn_dataset_of_tensor(&data, x, NULL, &err), &err);
    qn_assert_ok(qn_calibrate(&calibration, model, data, NULL, &err), &err);
    qn_dataset_close(data);
    return calibration;
}

static void run(const qn_model *model, const qn_tensor *x, float *y, int64_t *count)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    options.batch = ITEMS;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    *count = ITEMS * qn_program_output_count(program, 0);
    assert_true(*count <= 4096);
    const float *in = x->data;
    qn_assert_ok(qn_program_run(program, workspace, &in, ITEMS, &y, &err), &err);
    qn_workspace_free(workspace);
    qn_program_free(program);
}

/* The float network before and after: the same outputs, and the least pre-activation; whether anything changed. */
static bool absorbed(bool norm, const char *reader, bool calibrated, float *least)
{
    qn_error err;
    qn_error_init(&err);
    qn_model model = network(norm, reader);
    qn_tensor x;
    fill(&x);
    qn_ptq ptq = {.graph = &model.graph};
    qn_assert_ok(qn_ptq_run_pass(&ptq, qn_ptq_fold_batchnorm, &err), &err);
    qn_calibration *calibration = calibrate(&model, &x), *after;
    ptq.calibration = calibrated ? calibration : NULL;
    float y[4096], z[4096];
    int64_t n, m;
    run(&model, &x, y, &n);
    qn_assert_ok(qn_ptq_run_pass(&ptq, qn_ptq_absorb_bias, &err), &err);
    qn_assert_ok(qn_graph_verify(&model.graph, &err), &err);
    run(&model, &x, z, &m);
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++) {
        assert_true(fabsf(y[i] - z[i]) <= 1e-5f * (1 + fabsf(y[i])) * 10);
    }
    after = calibrate(&model, &x);
    const qn_range *pre = qn_calibration_find(after, "pre");
    *least = pre->min;
    for (int64_t c = 0; calibrated && c < pre->n_channels && qn_ptq_is_stale(&ptq, qn_graph_find(&model.graph, "pre"));
         c++) {
        assert_true(fabsf(pre->channel_min[c]) < 1e-5f); /* each gave up its own least */
    }
    bool changed = qn_ptq_is_stale(&ptq, qn_graph_find(&model.graph, "pre"));
    assert_int_equal(changed, qn_ptq_is_stale(&ptq, qn_graph_find(&model.graph, "r1")));
    assert_int_equal(changed, *least != qn_calibration_find(calibration, "pre")->min);
    qn_calibration_free(after);
    qn_calibration_free(calibration);
    qn_arena_free(&ptq.scratch);
    qn_tensor_free(&x);
    qn_graph_free(&model.graph);
    return changed;
}

static void what_the_calibration_saw_moves(void **state)
{
    (void)state;
    float least;
    assert_true(absorbed(false, "plain", true, &least));
    assert_true(fabsf(least) < 1e-5f); /* the least pre-activation of all was given up */
    assert_true(absorbed(false, "pools", true, &least));
    assert_true(fabsf(least) < 1e-5f);
}

/* Means are 10 + k and deviations 1: 7 + k of them goes, in every channel. */
static void what_batch_normalization_says_moves(void **state)
{
    (void)state;
    float least;
    assert_true(absorbed(true, "plain", false, &least));
    assert_true(least > 0 && least < 5);
    assert_true(absorbed(true, "pools", false, &least));
}

static void borders_and_ignorance_stop_it(void **state)
{
    (void)state;
    float least;
    assert_false(absorbed(false, "padded", true, &least));
    assert_false(absorbed(true, "padded", false, &least));
    assert_false(absorbed(false, "plain", false, &least));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_calibration_saw_moves),
        cmocka_unit_test(what_batch_normalization_says_moves),
        cmocka_unit_test(borders_and_ignorance_stop_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
