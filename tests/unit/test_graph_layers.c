/* Shapes of convolution, pooling, products and softmax.
 * Expected are those of ONNX's own operator tests (named beside them), of its documentation, or counted. */
#include "graph_bench.h"

static void convolutions_have_the_documented_shapes(void **state)
{
    (void)state;
    bench b;
    start(&b, 13, DIMS(1, 1, 7, 5)); /* test_conv_with_strides_padding */
    qn_test_floats(&b.graph, "w", DIMS(1, 1, 3, 3), NULL);
    NODE_WITH(&b.graph, "Conv", "x w", "y", A_INTS("pads", 1, 1, 1, 1), A_INTS("strides", 2, 2));
    expect(&b, DIMS(1, 1, 4, 3));
    start(&b, 13, DIMS(1, 1, 7, 5)); /* test_conv_with_strides_and_asymmetric_padding */
    qn_test_floats(&b.graph, "w", DIMS(1, 1, 3, 3), NULL);
    NODE_WITH(&b.graph, "Conv", "x w", "y", A_INTS("pads", 1, 0, 1, 0), A_INTS("strides", 2, 2));
    expect(&b, DIMS(1, 1, 4, 2));
    start(&b, 13, DIMS(1, 1, 5, 5)); /* test_conv_with_autopad_same */
    qn_test_floats(&b.graph, "w", DIMS(1, 1, 3, 3), NULL);
    NODE_WITH(&b.graph, "Conv", "x w", "y", A_STRING("auto_pad", "SAME_LOWER"), A_INTS("strides", 2, 2));
    expect(&b, DIMS(1, 1, 3, 3));
    start(&b, 13, DIMS(-1, 6, 9, 9)); /* groups, dilation 2: a window of 5 */
    qn_test_floats(&b.graph, "w", DIMS(4, 3, 3, 3), NULL);
    qn_test_floats(&b.graph, "bias", DIMS(4), NULL);
    NODE_WITH(&b.graph, "Conv", "x w bias", "y", A_INT("group", 2), A_INTS("dilations", 2, 2));
    expect(&b, DIMS(1, 4, 5, 5));
    start(&b, 13, DIMS(2, 3, 10)); /* one spatial dimension */
    qn_test_floats(&b.graph, "w", DIMS(8, 3, 4), NULL);
    NODE_WITH(&b.graph, "Conv", "x w", "y", A_INTS("strides", 3), A_INTS("pads", 2, 1));
    expect(&b, DIMS(2, 8, 4));
}

static void pools_have_the_documented_shapes(void **state)
{
    (void)state;
    bench b;
    start(&b, 13, DIMS(1, 1, 4, 4)); /* test_maxpool_2d_ceil */
    NODE_WITH(&b.graph, "MaxPool", "x", "y", A_INTS("kernel_shape", 3, 3), A_INTS("strides", 2, 2),
              A_INT("ceil_mode", 1));
    expect(&b, DIMS(1, 1, 2, 2));
    start(&b, 13, DIMS(1, 1, 2, 2)); /* test_maxpool_2d_ceil_output_size_reduce_by_one */
    NODE_WITH(&b.graph, "MaxPool", "x", "y", A_INTS("kernel_shape", 1, 1), A_INTS("strides", 2, 2),
              A_INT("ceil_mode", 1));
    expect(&b, DIMS(1, 1, 1, 1));
    start(&b, 13, DIMS(1, 1, 4, 4)); /* test_maxpool_2d_dilations */
    NODE_WITH(&b.graph, "MaxPool", "x", "y", A_INTS("kernel_shape", 2, 2), A_INTS("dilations", 2, 2));
    expect(&b, DIMS(1, 1, 2, 2));
    start(&b, 13, DIMS(1, 3, 28, 28)); /* test_averagepool_2d_pads */
    NODE_WITH(&b.graph, "AveragePool", "x", "y", A_INTS("kernel_shape", 3, 3), A_INTS("pads", 2, 2, 2, 2));
    expect(&b, DIMS(1, 3, 30, 30));
    start(&b, 13, DIMS(1, 3, 32, 32)); /* test_averagepool_2d_same_upper */
    NODE_WITH(&b.graph, "AveragePool", "x", "y", A_INTS("kernel_shape", 2, 2), A_STRING("auto_pad", "SAME_UPPER"));
    expect(&b, DIMS(1, 3, 32, 32));
    start(&b, 13, DIMS(2, 3, 5, 7));
    NODE(&b.graph, "GlobalAveragePool", "x", "y");
    expect(&b, DIMS(2, 3, 1, 1));
    start(&b, 13, DIMS(2, 3, 9));
    NODE(&b.graph, "GlobalMaxPool", "x", "y");
    expect(&b, DIMS(2, 3, 1));
}

/* TensorFlow's rule: with SAME the odd element of padding lies at the end (UPPER) or the start (LOWER). */
static void same_padding_is_split_by_its_name(void **state)
{
    (void)state;
    for (int upper = 0; upper < 2; upper++) {
        bench b;
        start(&b, 13, DIMS(1, 1, 8, 7));
        qn_test_floats(&b.graph, "w", DIMS(1, 1, 3, 3), NULL);
        NODE_WITH(&b.graph, "Conv", "x w", "y", A_STRING("auto_pad", upper ? "SAME_UPPER" : "SAME_LOWER"),
                  A_INTS("strides", 2, 2));
        qn_assert_ok(bind_y(&b, 1), &b.err);
        qn_window w;
        qn_assert_ok(qn_window_of_node(&w, &b.binding, &b.graph.nodes[0], &b.err), &b.err);
        assert_int_equal(w.out[0], 4); /* 8 by 2: 1 of padding, odd */
        assert_int_equal(w.pad_begin[0], upper ? 0 : 1);
        assert_int_equal(w.pad_end[0], upper ? 1 : 0);
        assert_int_equal(w.out[1], 4); /* 7 by 2: 2 of padding, even */
        assert_int_equal(w.pad_begin[1], 1);
        assert_int_equal(w.pad_end[1], 1);
        assert_int_equal(qn_node_macs(&b.binding, &b.graph.nodes[0]), 4 * 4 * 9);
        qn_binding_free(&b.binding);
        qn_graph_free(&b.graph);
    }
}

/* Windows counted one by one. With ceil_mode one more may follow that does not fit, if it starts before the end of the
 * input and the last fitting window leaves something over. */
static int64_t count_windows(int64_t in, int64_t begin, int64_t end, int64_t window, int64_t stride, bool ceil_mode)
{
    int64_t n = 0, at = -begin;
    for (; at + window <= in + end; at += stride) {
        n++;
    }
    int64_t covered = at - stride + window;
    return n + (ceil_mode && covered < in + end && at < in);
}

static void window_counts_agree_with_counting(void **state)
{
    (void)state;
    uint64_t seed = 7;
    int checked = 0;
    for (int round = 0; round < 3000; round++) {
        int64_t in = 1 + (int64_t)(qn_test_random(&seed) % 12), kernel = 1 + (int64_t)(qn_test_random(&seed) % 4);
        int64_t stride = 1 + (int64_t)(qn_test_random(&seed) % 4);
        int64_t begin = (int64_t)(qn_test_random(&seed) % (uint64_t)kernel);
        int64_t end = (int64_t)(qn_test_random(&seed) % (uint64_t)kernel);
        bool ceil_mode = qn_test_random(&seed) % 2 != 0;
        if (in + begin + end < kernel) {
            continue;
        }
        bench b;
        start(&b, 13, DIMS(1, 1, 5, in));
        NODE_WITH(&b.graph, "MaxPool", "x", "y", A_INTS("kernel_shape", 1, kernel), A_INTS("strides", 1, stride),
                  A_INTS("pads", 0, begin, 0, end), A_INT("ceil_mode", ceil_mode));
        expect(&b, DIMS(1, 1, 5, count_windows(in, begin, end, kernel, stride, ceil_mode)));
        checked++;
    }
    assert_true(checked > 2000);
}

static void products_broadcast(void **state)
{
    (void)state;
    static const struct {
        int ranks[3];
        int64_t a[4], b[4], y[4];
    } rows[] = {
        {{2, 2, 2}, {3, 4}, {4, 3}, {3, 3}}, /* test_matmul_2d, _3d, _4d; then numpy.matmul's documentation */
        {{3, 3, 3}, {2, 3, 4}, {2, 4, 3}, {2, 3, 3}},
        {{4, 4, 4}, {1, 2, 3, 4}, {1, 2, 4, 3}, {1, 2, 3, 3}},
        {{4, 3, 4}, {9, 5, 7, 4}, {1, 4, 3}, {9, 5, 7, 3}},
        {{1, 1, 0}, {4}, {4}, {0}},
        {{3, 1, 2}, {2, 3, 4}, {4}, {2, 3}},
        {{1, 3, 2}, {4}, {5, 4, 3}, {5, 3}},
    };
    bench b;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start(&b, 13, rows[i].ranks[0], rows[i].a);
        qn_test_floats(&b.graph, "b", rows[i].ranks[1], rows[i].b, NULL);
        NODE(&b.graph, "MatMul", "x b", "y");
        expect(&b, rows[i].ranks[2], rows[i].y);
    }
    start(&b, 13, DIMS(2, 3, 4));
    qn_test_floats(&b.graph, "b", DIMS(5, 4, 3), NULL);
    NODE(&b.graph, "MatMul", "x b", "y");
    refuse(&b, QN_ESHAPE, "2x3x4 and 5x4x3 cannot be multiplied");
    start(&b, 13, DIMS(6, 3));
    qn_test_floats(&b.graph, "b", DIMS(5, 6), NULL);
    qn_test_floats(&b.graph, "c", DIMS(3, 1), NULL);
    NODE_WITH(&b.graph, "Gemm", "x b c", "y", A_INT("transA", 1), A_INT("transB", 1), A_FLOAT("alpha", 0.5F));
    expect(&b, DIMS(3, 5));
    start(&b, 13, DIMS(3, 6));
    qn_test_floats(&b.graph, "b", DIMS(6, 5), NULL);
    qn_test_floats(&b.graph, "c", DIMS(4), NULL);
    NODE(&b.graph, "Gemm", "x b c", "y");
    refuse(&b, QN_ESHAPE, "bias of shape 4 does not broadcast to 3x5");
    start(&b, 13, DIMS(2, 1, 4));
    qn_test_floats(&b.graph, "b", DIMS(3, 1), NULL);
    NODE(&b.graph, "Add", "x b", "y");
    expect(&b, DIMS(2, 3, 4));
    start(&b, 13, DIMS(2, 4));
    qn_test_floats(&b.graph, "b", DIMS(2, 3), NULL);
    NODE(&b.graph, "Mul", "x b", "y");
    refuse(&b, QN_ESHAPE, "2x4 and 2x3 do not broadcast");
}

/* Opset 12 sees a matrix cut at the axis, opset 13 works along it. */
static void softmax_follows_its_opset(void **state)
{
    (void)state;
    static const struct {
        int64_t opset, expected[3];
    } rows[] = {{12, {2, 12, 1}}, {13, {2, 3, 4}}};
    for (size_t i = 0; i < 2; i++) {
        bench b;
        start(&b, rows[i].opset, DIMS(2, 3, 4));
        NODE_WITH(&b.graph, "Softmax", "x", "y", A_INT("axis", 1));
        qn_assert_ok(bind_y(&b, 1), &b.err);
        qn_softmax softmax;
        qn_assert_ok(qn_softmax_of_node(&softmax, &b.binding, &b.graph.nodes[0], &b.err), &b.err);
        assert_int_equal(softmax.outer, rows[i].expected[0]);
        assert_int_equal(softmax.n, rows[i].expected[1]);
        assert_int_equal(softmax.inner, rows[i].expected[2]);
        qn_binding_free(&b.binding);
        qn_graph_free(&b.graph);
    }
}

static void clip_bounds_come_as_attributes_or_inputs(void **state)
{
    (void)state;
    for (int as_input = 0; as_input < 2; as_input++) {
        bench b;
        start(&b, as_input ? 13 : 7, DIMS(2, 3));
        qn_test_floats(&b.graph, "six", 0, NULL, (const float[]){6.0F});
        qn_test_node(&b.graph, "Clip", as_input ? "x - six" : "x", "y", as_input ? 0 : 1,
                     &(qn_attribute)A_FLOAT("max", 6.0F));
        qn_assert_ok(bind_y(&b, 1), &b.err);
        qn_clip clip;
        qn_assert_ok(qn_clip_of_node(&clip, &b.binding, &b.graph.nodes[0], &b.err), &b.err);
        assert_true(clip.hi == 6.0);
        assert_true(clip.lo < -3.4e38);
        qn_binding_free(&b.binding);
        qn_graph_free(&b.graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_have_the_documented_shapes),
        cmocka_unit_test(pools_have_the_documented_shapes),
        cmocka_unit_test(same_padding_is_split_by_its_name),
        cmocka_unit_test(window_counts_agree_with_counting),
        cmocka_unit_test(products_broadcast),
        cmocka_unit_test(softmax_follows_its_opset),
        cmocka_unit_test(clip_bounds_come_as_attributes_or_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
