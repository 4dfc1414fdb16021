/* Equalization: the network computes what it computed, and ranges are what was asked for. */
#include "equalize_bench.h"

#include "calib/calib.h"
#include "quern/dataset.h"

/* A branch, a residual sum, depthwise layers with padding, pools, a Concat, added constants, a Flatten into a Gemm, a MatMul. */
static qn_model branches(void)
{
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 3, 12, 10));
    uneven(g, "w1", DIMS(10, 3, 3, 3), false);
    qn_test_floats(g, "b1", DIMS(10), NULL);
    uneven(g, "w2", DIMS(10, 1, 3, 3), false);
    qn_test_floats(g, "b2", DIMS(10), NULL);
    uneven(g, "w3", DIMS(10, 10, 1, 1), false);
    uneven(g, "w4", DIMS(6, 10, 3, 3), false);
    qn_test_floats(g, "b4", DIMS(6), NULL);
    uneven(g, "w5", DIMS(8, 5, 1, 1), false); /* two groups */
    qn_test_floats(g, "shift", DIMS(1, 14, 1, 1), NULL);
    uneven(g, "w6", DIMS(7, 14 * 6 * 5), false);
    qn_test_floats(g, "b6", DIMS(7), NULL);
    uneven(g, "w7", DIMS(7, 9), true);
    uneven(g, "w8", DIMS(9, 4), true);
    NODE_WITH(g, "Conv", "x w1 b1", "c1", A_INTS("pads", 1, 1, 1, 1));
    NODE(g, "Relu", "c1", "r1");
    NODE_WITH(g, "Conv", "r1 w2 b2", "c2", A_INTS("pads", 1, 1, 1, 1), A_INT("group", 10));
    NODE_WITH(g, "LeakyRelu", "c2", "r2", A_FLOAT("alpha", 0.1f));
    NODE(g, "Conv", "r2 w3", "c3");
    NODE(g, "Add", "c3 r1", "sum");
    NODE(g, "Relu", "sum", "r3");
    NODE_WITH(g, "MaxPool", "r3", "p", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    NODE_WITH(g, "Conv", "p w4 b4", "c4", A_INTS("pads", 1, 1, 1, 1));
    NODE_WITH(g, "Conv", "p w5", "c5", A_INT("group", 2));
    NODE_WITH(g, "Concat", "c4 c5", "cat", A_INT("axis", 1));
    NODE(g, "Add", "cat shift", "shifted");
    NODE(g, "Relu", "shifted", "r4");
    NODE_WITH(g, "AveragePool", "r4", "ap", A_INTS("kernel_shape", 3, 3), A_INTS("pads", 1, 1, 1, 1));
    NODE(g, "Flatten", "ap", "flat");
    NODE_WITH(g, "Gemm", "flat w6 b6", "g6", A_INT("transB", 1));
    NODE(g, "Relu", "g6", "r6");
    NODE(g, "MatMul", "r6 w7", "m7");
    NODE(g, "Relu", "m7", "r7");
    NODE(g, "MatMul", "r7 w8", "y");
    qn_test_output(g, "y");
    return model;
}

/* Channel ranges as greatest |w| along axis 0 or 1 of a constant. */
static double range_of(const qn_model *model, const char *name, int axis, int64_t channel)
{
    qn_value_id id = qn_graph_find(&model->graph, name);
    assert_true(id != QN_NO_VALUE);
    const qn_tensor *t = model->graph.values[id].constant;
    int64_t inner = 1;
    for (int d = axis + 1; d < t->rank; d++) {
        inner *= t->dims[d];
    }
    double most = 0;
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        double w = fabs((double)((const float *)t->data)[i]);
        if (i / inner % t->dims[axis] == channel && w > most) {
            most = w;
        }
    }
    return most;
}

static void powers_of_two_change_no_bit(void **state)
{
    (void)state;
    qn_model model = branches(), copy;
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
    options.powers_of_two = true;
    assert_true(equalized(&copy, &model, &options, NULL) >= 12);
    expect_same(&model, &copy, 0);
    qn_graph_free(&copy.graph);
    qn_graph_free(&model.graph);
}

static void free_factors_round_once(void **state)
{
    (void)state;
    qn_model model = branches(), copy;
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
    assert_true(equalized(&copy, &model, &options, NULL) >= 12);
    expect_same(&model, &copy, 1e-5);
    qn_graph_free(&copy.graph);
    qn_graph_free(&model.graph);
}

/* Two layers, a pair: afterwards the ranges of each channel are equal, to the geometric mean of what they were. */
static void a_pair_has_equal_ranges(void **state)
{
    (void)state;
    qn_model model = new_model(), copy;
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 4, 6, 6));
    uneven(g, "w1", DIMS(9, 4, 3, 3), false);
    uneven(g, "w2", DIMS(5, 9, 1, 1), false);
    NODE(g, "Conv", "x w1", "c1");
    NODE(g, "Relu", "c1", "r1");
    NODE(g, "Conv", "r1 w2", "y");
    qn_test_output(g, "y");
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
    assert_int_equal(equalized(&copy, &model, &options, NULL), 2);
    for (int64_t c = 0; c < 9; c++) {
        double mean = sqrt(range_of(&model, "w1", 0, c) * range_of(&model, "w2", 1, c));
        assert_true(fabs(range_of(&copy, "w1", 0, c) / mean - 1) < 1e-5);
        assert_true(fabs(range_of(&copy, "w2", 1, c) / mean - 1) < 1e-5);
    }
    qn_graph_free(&copy.graph);
    options.powers_of_two = true;
    equalized(&copy, &model, &options, NULL);
    for (int64_t c = 0; c < 9; c++) {
        double ratio = range_of(&copy, "w1", 0, c) / range_of(&copy, "w2", 1, c);
        assert_true(ratio <= 2.0001 && ratio >= 1 / 2.0001); /* the factor is off by at most sqrt(2) */
    }
    expect_same(&model, &copy, 0);
    qn_graph_free(&copy.graph);
    qn_graph_free(&model.graph);
}

/* Conv, depthwise, Conv: three ranges per channel, equal in the end. */
static void a_depthwise_triple_has_equal_ranges(void **state)
{
    (void)state;
    qn_model model = new_model(), copy;
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 4, 6, 6));
    uneven(g, "w1", DIMS(8, 4, 1, 1), false);
    uneven(g, "w2", DIMS(8, 1, 3, 3), false);
    uneven(g, "w3", DIMS(5, 8, 1, 1), false);
    NODE(g, "Conv", "x w1", "c1");
    NODE(g, "Relu", "c1", "r1");
    NODE_WITH(g, "Conv", "r1 w2", "c2", A_INT("group", 8));
    NODE(g, "Relu", "c2", "r2");
    NODE(g, "Conv", "r2 w3", "y");
    qn_test_output(g, "y");
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
    assert_int_equal(equalized(&copy, &model, &options, NULL), 4);
    for (int64_t c = 0; c < 8; c++) {
        double mean = cbrt(range_of(&model, "w1", 0, c) * range_of(&model, "w2", 0, c) * range_of(&model, "w3", 1, c));
        assert_true(fabs(range_of(&copy, "w1", 0, c) / mean - 1) < 5e-3);
        assert_true(fabs(range_of(&copy, "w2", 0, c) / mean - 1) < 5e-3);
        assert_true(fabs(range_of(&copy, "w3", 1, c) / mean - 1) < 5e-3);
    }
    expect_same(&model, &copy, 1e-5);
    qn_graph_free(&copy.graph);
    qn_graph_free(&model.graph);
}

/* What does not commute with a factor keeps its channels: a sigmoid, a cap, an input, an output, a product. */
static void nonlinear_values_keep_their_scale(void **state)
{
    (void)state;
    qn_model model = new_model(), copy;
    qn_graph *g = &model.graph;
    const float six = 6, zero = 0;
    qn_test_input(g, "x", DIMS(-1, 4, 6, 6));
    uneven(g, "w1", DIMS(8, 4, 1, 1), false);
    uneven(g, "w2", DIMS(8, 8, 1, 1), false);
    uneven(g, "w3", DIMS(8, 8, 1, 1), false);
    uneven(g, "w4", DIMS(8, 8, 1, 1), false);
    uneven(g, "w5", DIMS(4, 8, 1, 1), false);
    qn_test_floats(g, "zero", 0, NULL, &zero);
    qn_test_floats(g, "six", 0, NULL, &six);
    NODE(g, "Conv", "x w1", "c1");
    NODE(g, "Sigmoid", "c1", "s1");
    NODE(g, "Conv", "s1 w2", "c2");
    NODE(g, "Clip", "c2 zero six", "r2");
    NODE(g, "Conv", "r2 w3", "c3");
    NODE(g, "Conv", "r2 w4", "c4");
    NODE(g, "Mul", "c3 c4", "m");
    NODE(g, "Conv", "m w5", "c5");
    NODE(g, "Add", "c5 x", "y");
    qn_test_output(g, "y");
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
    assert_int_equal(equalized(&copy, &model, &options, NULL), 0);
    expect_same(&model, &copy, 0);
    qn_graph_free(&copy.graph);
    qn_graph_free(&model.graph);
}

/* Channels of zeros on either side, and one that only its bias feeds. */
static void dead_channels_stay(void **state)
{
    (void)state;
    qn_model model = new_model(), copy;
    qn_graph *g = &model.graph;
    float w1[6] = {0, 0, 5, -3, 0.001f, 0}, w2[6] = {1, 0, 2, 3, 0, 4};
    qn_test_input(g, "x", DIMS(-1, 2));
    qn_test_floats(g, "w1", DIMS(2, 3), (const float[]){w1[0], w1[2], w1[4], w1[1], w1[3], w1[5]});
    qn_test_floats(g, "b1", DIMS(3), NULL);
    qn_test_floats(g, "w2", DIMS(3, 2), w2);
    NODE(g, "Gemm", "x w1 b1", "c1");
    NODE(g, "Relu", "c1", "r1");
    NODE(g, "MatMul", "r1 w2", "y");
    qn_test_output(g, "y");
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
    options.powers_of_two = true;
    equalized(&copy, &model, &options, NULL);
    assert_true(range_of(&copy, "w2", 0, 0) == 1); /* its channel has no weights before */
    assert_true(range_of(&copy, "w2", 0, 2) < 0.1);
    expect_same(&model, &copy, 0);
    qn_graph_free(&copy.graph);
    qn_graph_free(&model.graph);
}

/* Two layers read one constant: each gets its own. */
static void shared_weights_are_copied(void **state)
{
    (void)state;
    qn_model model = new_model(), copy;
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 5));
    uneven(g, "w", DIMS(5, 5), true);
    NODE(g, "MatMul", "x w", "m1");
    NODE(g, "Relu", "m1", "r1");
    NODE(g, "MatMul", "r1 w", "m2");
    NODE(g, "Relu", "m2", "r2");
    NODE(g, "MatMul", "r2 w", "y");
    qn_test_output(g, "y");
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
    options.powers_of_two = true;
    assert_int_equal(equalized(&copy, &model, &options, NULL), 4);
    expect_same(&model, &copy, 0);
    qn_graph_free(&copy.graph);
    qn_graph_free(&model.graph);
}

/* A calibration of `model` with noise. */
static qn_calibration *calibrated(const qn_model *model, int64_t channels, int64_t height, int64_t width)
{
    qn_error err;
    qn_error_init(&err);
    qn_tensor x;
    qn_dataset *data;
    qn_calibration *calibration;
    uint64_t state = 5;
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, DIMS(20, channels, height, width), &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        ((float *)x.data)[i] = qn_test_uniform(&state, -1, 2);
    }
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, NULL, &err), &err);
    qn_assert_ok(qn_calibrate(&calibration, model, data, NULL, &err), &err);
    qn_dataset_close(data);
    qn_tensor_free(&x);
    return calibration;
}

/* Greatest over least channel magnitude that a calibration has for a value. */
static double unevenness(const qn_calibration *calibration, const char *name)
{
    const qn_range *range = qn_calibration_find(calibration, name);
    double least = INFINITY, most = 0;
    for (int64_t c = 0; c < range->n_channels; c++) {
        double a = (double)range->absmax[c];
        least = a < least ? a : least;
        most = a > most ? a : most;
    }
    return most / least;
}

/* The network stays what it was, chosen by noise or told how far to go. */
static void activations_keep_the_network(void **state)
{
    (void)state;
    qn_model model = branches(), copy;
    qn_calibration *calibration = calibrated(&model, 3, 12, 10);
    for (int i = 0; i < 3; i++) {
        qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_ACTIVATIONS);
        options.alpha = i == 0 ? -1 : 0.5;
        options.powers_of_two = i == 2;
        assert_true(equalized(&copy, &model, &options, calibration) > 0);
        expect_same(&model, &copy, i == 2 ? 0 : 1e-5);
        qn_graph_free(&copy.graph);
    }
    qn_calibration_free(calibration);
    qn_graph_free(&model.graph);
}

/* With alpha 1 all channels of an activation become equally large; before a depthwise layer any choice does so, as its
 * weights have scales of their own. */
static void activations_become_even(void **state)
{
    (void)state;
    qn_model model = new_model(), copy;
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 4, 6, 6));
    uneven(g, "w1", DIMS(8, 4, 1, 1), false);
    uneven(g, "w2", DIMS(8, 1, 3, 3), false);
    uneven(g, "w3", DIMS(5, 8, 1, 1), false);
    NODE(g, "Conv", "x w1", "c1");
    NODE(g, "Relu", "c1", "r1");
    NODE_WITH(g, "Conv", "r1 w2", "c2", A_INT("group", 8));
    NODE(g, "Relu", "c2", "r2");
    NODE(g, "Conv", "r2 w3", "y");
    qn_test_output(g, "y");
    qn_calibration *before = calibrated(&model, 4, 6, 6);
    assert_true(unevenness(before, "r1") > 50 && unevenness(before, "r2") > 65536);
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_ACTIVATIONS);
    equalized(&copy, &model, &options, before);
    qn_calibration *after = calibrated(&copy, 4, 6, 6);
    assert_true(unevenness(after, "r1") < 1.0001);
    assert_true(unevenness(after, "r2") < unevenness(before, "r2"));
    qn_calibration_free(after);
    qn_graph_free(&copy.graph);
    options.alpha = 1;
    options.max_exponent = 30; /* r2's channels are more than 2^16 apart */
    equalized(&copy, &model, &options, before);
    after = calibrated(&copy, 4, 6, 6);
    assert_true(unevenness(after, "r1") < 1.0001 && unevenness(after, "r2") < 1.0001);
    expect_same(&model, &copy, 1e-5);
    qn_calibration_free(after);
    qn_graph_free(&copy.graph);
    qn_calibration_free(before);
    qn_graph_free(&model.graph);
}

/* A cap that the calibration never reached gives way when that is asked for, and only then; one that it reached stays. */
static void caps_give_way_when_asked(void **state)
{
    (void)state;
    const float caps[] = {1e6f, 0.5f}, zero = 0;
    for (int i = 0; i < 2; i++) {
        qn_model model = new_model(), copy;
        qn_graph *g = &model.graph;
        qn_test_input(g, "x", DIMS(-1, 4, 6, 6));
        uneven(g, "w1", DIMS(8, 4, 1, 1), false);
        uneven(g, "w2", DIMS(5, 8, 1, 1), false);
        qn_test_floats(g, "zero", 0, NULL, &zero);
        qn_test_floats(g, "cap", 0, NULL, &caps[i]);
        NODE(g, "Conv", "x w1", "c1");
        NODE(g, "Clip", "c1 zero cap", "r1");
        NODE(g, "Conv", "r1 w2", "y");
        qn_test_output(g, "y");
        qn_calibration *calibration = calibrated(&model, 4, 6, 6);
        qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
        assert_int_equal(equalized(&copy, &model, &options, calibration), 0);
        qn_graph_free(&copy.graph);
        options.free_caps = true;
        assert_int_equal(equalized(&copy, &model, &options, calibration), i == 0 ? 2 : 0);
        const qn_value *capped = &copy.graph.values[qn_graph_find(&copy.graph, "r1")];
        assert_int_equal(copy.graph.nodes[capped->producer].op, i == 0 ? QN_OP_RELU : QN_OP_CLIP);
        expect_same(&model, &copy, 1e-5);
        qn_graph_free(&copy.graph);
        qn_calibration_free(calibration);
        qn_graph_free(&model.graph);
    }
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    qn_model model = branches();
    qn_error err;
    qn_error_init(&err);
    qn_ptq ptq = {.graph = &model.graph};
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_ACTIVATIONS);
    qn_assert_fails(qn_ptq_equalize_with(&ptq, &options, &err), &err, QN_EINVAL, "needs a calibration");
    options.alpha = 1.5;
    qn_error_init(&err);
    qn_assert_fails(qn_ptq_equalize_with(&ptq, &options, &err), &err, QN_EINVAL, "out of range");
    options = qn_ptq_equalize_defaults(QN_PTQ_BALANCE_WEIGHTS);
    options.weight_bits = 1;
    qn_error_init(&err);
    qn_assert_fails(qn_ptq_equalize_with(&ptq, &options, &err), &err, QN_EINVAL, "out of range");
    /* Ranges of scaled values are not to be trusted. */
    qn_calibration *calibration = calibrated(&model, 3, 12, 10);
    ptq.calibration = calibration;
    qn_error_init(&err);
    qn_assert_ok(qn_ptq_run_pass(&ptq, qn_ptq_equalize, &err), &err);
    qn_assert_fails(qn_ptq_run_pass(&ptq, qn_ptq_smooth, &err), &err, QN_EINVAL, "calibrate again");
    qn_arena_free(&ptq.scratch);
    qn_calibration_free(calibration);
    qn_graph_free(&model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers_of_two_change_no_bit),       cmocka_unit_test(free_factors_round_once),
        cmocka_unit_test(a_pair_has_equal_ranges),           cmocka_unit_test(a_depthwise_triple_has_equal_ranges),
        cmocka_unit_test(nonlinear_values_keep_their_scale), cmocka_unit_test(dead_channels_stay),
        cmocka_unit_test(shared_weights_are_copied),         cmocka_unit_test(activations_keep_the_network),
        cmocka_unit_test(activations_become_even),           cmocka_unit_test(caps_give_way_when_asked),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
