/* Equalization of whole networks, made by dice and real: by powers of two no bit changes. */
#include "equalize_bench.h"

#include <stdio.h>

#include "quern/quern.h"

/* A network made by dice: convolutions (dense, grouped, depthwise, padded or not), activations, pools, sums and Concats of
 * any earlier values of the same shape. */
static qn_model random_network(uint64_t seed)
{
    enum { LAYERS = 14, CHANNELS = 6 };
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    char names[LAYERS + 1][16] = {"x"}, weights[32], bias[32], inputs[96];
    uint64_t state = seed * 2654435761u + 1;
    int n = 0, first = 0; /* values first..n have the same shape */
    qn_test_input(g, "x", DIMS(-1, CHANNELS, 14, 14));
    for (int i = 1; i <= LAYERS; i++) {
        unsigned dice = (unsigned)(qn_test_random(&state) >> 33);
        const char *from = names[first + (int)(dice / 64 % (unsigned)(n - first + 1))], *last = names[n];
        snprintf(names[i], sizeof names[i], "v%d", i);
        snprintf(weights, sizeof weights, "w%d", i);
        snprintf(bias, sizeof bias, "b%d", i);
        snprintf(inputs, sizeof inputs, "%s %s %s", from, weights, bias);
        unsigned kind = i == 1 || i == LAYERS ? 0 : dice % 8;
        if (kind <= 2) {
            const int64_t groups = kind == 0 ? 1 : kind == 1 ? 2 : CHANNELS;
            uneven(g, weights, DIMS(CHANNELS, CHANNELS / groups, 3, 3), false);
            qn_test_floats(g, bias, DIMS(CHANNELS), NULL);
            NODE_WITH(g, "Conv", inputs, names[i], A_INTS("pads", 1, 1, 1, 1), A_INT("group", groups));
        } else if (kind == 3) {
            NODE(g, dice & 8 ? "Relu" : "LeakyRelu", last, names[i]);
        } else if (kind == 4) {
            snprintf(inputs, sizeof inputs, "%s %s", last, from);
            NODE(g, dice & 8 ? "Add" : "Sub", inputs, names[i]);
        } else if (kind == 5) {
            NODE_WITH(g, dice & 8 ? "MaxPool" : "AveragePool", last, names[i], A_INTS("kernel_shape", 3, 3),
                      A_INTS("pads", 1, 1, 1, 1));
        } else if (kind == 6) {
            char joined[32];
            snprintf(joined, sizeof joined, "cat%d", i);
            snprintf(inputs, sizeof inputs, "%s %s", last, from);
            NODE_WITH(g, "Concat", inputs, joined, A_INT("axis", 1));
            snprintf(inputs, sizeof inputs, "%s %s", joined, weights);
            uneven(g, weights, DIMS(CHANNELS, 2 * CHANNELS, 1, 1), false);
            NODE(g, "Conv", inputs, names[i]);
        } else {
            NODE(g, dice & 8 ? "Relu" : "Sigmoid", last, names[i]);
        }
        n = i;
    }
    qn_test_output(g, names[LAYERS]);
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_graph_tidy(g, &err), &err); /* dead branches go */
    return model;
}

static void random_networks_change_no_bit(void **state)
{
    (void)state;
    int n_changed = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        qn_model model = random_network(seed), copy;
        qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
        options.powers_of_two = true;
        n_changed += equalized(&copy, &model, &options, NULL) > 0;
        expect_same(&model, &copy, 0);
        qn_graph_free(&copy.graph);
        options.powers_of_two = false;
        equalized(&copy, &model, &options, NULL);
        expect_same(&model, &copy, 1e-4); /* differences of large values amplify the roundings of weights */
        qn_graph_free(&copy.graph);
        qn_graph_free(&model.graph);
    }
    assert_true(n_changed >= 30);
}

static void shared_models_keep_every_bit(void **state)
{
    (void)state;
    const char *const files[] = {"data/models/resnet8_cifar10.onnx", "data/models/kws_dscnn.onnx",
                                 "data/models/kws_dscnn_tflite.onnx", "data/models/lenet_cifar10.onnx",
                                 "data/models/vit_cifar10.onnx"};
    const int changed[] = {1, 1, 1, 1,
                           0}; /* at least; nothing in a transformer commutes with factors but LayerNorm's */
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *path = qn_shared(files[i]);
        if (path == NULL) {
            skip();
        }
        qn_error err;
        qn_error_init(&err);
        qn_model *model, copy, plain;
        qn_assert_ok(qn_model_load(&model, path, &err), &err);
        plain = (qn_model){0};
        qn_assert_ok(qn_graph_clone(&plain.graph, &model->graph, &err), &err);
        qn_ptq ptq = {.graph = &plain.graph};
        const qn_ptq_pass_fn passes[] = {qn_ptq_settle_constants, qn_ptq_drop_identities, qn_ptq_fold_batchnorm,
                                         qn_ptq_fuse_bias, qn_ptq_plain_gemm};
        for (size_t p = 0; p < sizeof passes / sizeof passes[0]; p++) {
            qn_assert_ok(qn_ptq_run_pass(&ptq, passes[p], &err), &err);
        }
        qn_arena_free(&ptq.scratch);
        qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
        options.powers_of_two = true;
        assert_true(equalized(&copy, &plain, &options, NULL) >= changed[i]);
        expect_same(&plain, &copy, 0);
        qn_graph_free(&copy.graph);
        qn_graph_free(&plain.graph);
        qn_model_free(model);
    }
}

static double sqnr_of_int8(const qn_model *network, const qn_model *model, const qn_dataset *data,
                           const qn_dataset *set)
{
    qn_error err;
    qn_error_init(&err);
    qn_calibration *calibration;
    qn_model *quantized;
    qn_evaluate_options options;
    qn_evaluation result;
    qn_assert_ok(qn_calibrate(&calibration, network, data, NULL, &err), &err);
    qn_quantize_options how;
    qn_quantize_options_init(&how);
    how.recipe = "minmax";
    qn_assert_ok(qn_quantize(&quantized, network, calibration, &how, NULL, &err), &err);
    qn_assert_ok(qn_evaluate_options_init(&options, quantized, &err), &err);
    options.against = model;
    qn_assert_ok(qn_evaluate(&result, quantized, set, &options, NULL, &err), &err);
    qn_model_free(quantized);
    qn_calibration_free(calibration);
    return result.sqnr_db;
}

/* Depthwise networks are what it is for: a network of keywords gains 2 dB at least over its int8 form without. */
static void activations_quantize_better(void **state)
{
    (void)state;
    if (qn_shared("data/models/kws_dscnn_tflite.onnx") == NULL ||
        qn_shared("data/inputs/kws_calib100_x_f32.npy") == NULL ||
        qn_shared("data/inputs/kws_eval900_x_f32.npy") == NULL) {
        skip();
    }
    qn_error err;
    qn_error_init(&err);
    qn_model *model, copy;
    qn_dataset *data, *set;
    qn_calibration *calibration;
    qn_assert_ok(qn_model_load(&model, qn_shared("data/models/kws_dscnn_tflite.onnx"), &err), &err);
    qn_assert_ok(qn_dataset_open(&data, qn_shared("data/inputs/kws_calib100_x_f32.npy"), NULL, &err), &err);
    qn_assert_ok(qn_dataset_open(&set, qn_shared("data/inputs/kws_eval900_x_f32.npy"), NULL, &err), &err);
    qn_assert_ok(qn_calibrate(&calibration, model, data, NULL, &err), &err);
    const qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_ACTIVATIONS);
    assert_true(equalized(&copy, model, &options, calibration) > 0);
    copy.graph.sha256[0] = '\0'; /* another network than the file's */
    double before = sqnr_of_int8(model, model, data, set), after = sqnr_of_int8(&copy, model, data, set);
    if (!(after > before + 2)) {
        fail_msg("%.2f dB, and %.2f dB equalized", before, after);
    }
    qn_graph_free(&copy.graph);
    qn_calibration_free(calibration);
    qn_dataset_close(set);
    qn_dataset_close(data);
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_networks_change_no_bit),
        cmocka_unit_test(shared_models_keep_every_bit),
        cmocka_unit_test(activations_quantize_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
