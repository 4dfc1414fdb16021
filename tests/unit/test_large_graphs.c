/* Networks of many small nodes: every step from ranges to logits takes time in proportion to them, or nearly so. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "graph/model.h"
#include "graph_builder.h"
#include "quern/quern.h"

enum { N_NODES = 20000 };

/* Generous, for slow machines and sanitizers; what grows with the square of the nodes takes many minutes. */
static const double MAX_SECONDS = 60;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Calibrates, quantizes and evaluates the model, and releases it. */
static void run_all(qn_model *model)
{
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_graph_tidy(&model->graph, &err), &err);
    float numbers[2 * 4] = {-1, 0.25f, 0.5f, 1, 0.75f, -0.5f, 0.125f, 0.625f};
    const qn_tensor x = {.dtype = QN_DTYPE_F32, .rank = 4, .dims = {2, 4, 1, 1}, .data = numbers};
    qn_dataset *data = NULL;
    qn_calibration *calibration = NULL;
    qn_model *quantized = NULL;
    qn_evaluation result;
    qn_evaluate_options options;
    double start = now();
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, NULL, &err), &err);
    qn_assert_ok(qn_calibrate(&calibration, model, data, NULL, &err), &err);
    qn_assert_ok(qn_quantize(&quantized, model, calibration, NULL, NULL, &err), &err);
    qn_assert_ok(qn_evaluate_options_init(&options, quantized, &err), &err);
    options.against = model;
    qn_assert_ok(qn_evaluate(&result, quantized, data, &options, NULL, &err), &err);
    assert_int_equal(result.n, 2);
    double seconds = now() - start;
    if (seconds > MAX_SECONDS) {
        fail_msg("%d nodes took %.0f s", N_NODES, seconds);
    }
    qn_model_free(quantized);
    qn_calibration_free(calibration);
    qn_dataset_close(data);
    qn_model_free(model);
}

static qn_model *new_model(void)
{
    qn_model *model = qn_alloc(sizeof *model);
    assert_non_null(model);
    model->graph.opset = 13;
    model->graph.file = "large.onnx";
    qn_test_input(&model->graph, "x", DIMS(-1, 4, 1, 1));
    return model;
}

/* Pooling that moves codes, and a Relu behind each; where `all_out`, every value is a graph output and lives to the end. */
static void run_chain(bool all_out)
{
    qn_model *model = new_model();
    char input[32], pooled[32], output[32] = "x";
    for (int i = 0; i < N_NODES / 2; i++) {
        snprintf(input, sizeof input, "%s", output);
        snprintf(pooled, sizeof pooled, "pooled%d", i);
        snprintf(output, sizeof output, "relu%d", i);
        NODE_WITH(&model->graph, "MaxPool", input, pooled, A_INTS("kernel_shape", 1, 1));
        NODE(&model->graph, "Relu", pooled, output);
        if (all_out) {
            qn_test_output(&model->graph, output);
        }
    }
    if (!all_out) {
        qn_test_output(&model->graph, output);
    }
    run_all(model);
}

static void a_long_chain_takes_seconds(void **state)
{
    (void)state;
    run_chain(false);
}

static void values_that_all_live_long_take_seconds(void **state)
{
    (void)state;
    run_chain(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_chain_takes_seconds),
        cmocka_unit_test(values_that_all_live_long_take_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
