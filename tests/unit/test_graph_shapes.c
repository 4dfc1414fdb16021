/* Shapes of moves and elementwise operators; what binding refuses.
 * Expected are those of ONNX's own operator tests (named beside them), of its documentation, or counted. */
#include "graph_bench.h"

#include <string.h>

static void reshape_understands_zero_and_minus_one(void **state)
{
    (void)state;
    static const struct {
        int64_t target[4];
        int n;
        int64_t allow_zero;
        int64_t expected[4];
    } good[] = {
        /* test_reshape_{reordered_all,reordered_last,reduced,extended,one,negative,zero}_dims of a 2x3x4 */
        {{4, 2, 3}, 3, 0, {4, 2, 3}},
        {{2, 4, 3}, 3, 0, {2, 4, 3}},
        {{2, 12}, 2, 0, {2, 12}},
        {{2, 3, 2, 2}, 4, 0, {2, 3, 2, 2}},
        {{24}, 1, 0, {24}},
        {{2, -1, 2}, 3, 0, {2, 6, 2}},
        {{-1, 2, 3, 4}, 4, 0, {1, 2, 3, 4}},
        {{2, 0, 4, 1}, 4, 0, {2, 3, 4, 1}},
        {{2, 0, 1, -1}, 4, 0, {2, 3, 1, 4}},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        bench b;
        start(&b, 14, DIMS(2, 3, 4));
        qn_test_ints(&b.graph, "shape", good[i].n, good[i].target);
        NODE_WITH(&b.graph, "Reshape", "x shape", "y", A_INT("allowzero", good[i].allow_zero));
        expect(&b, good[i].n, good[i].expected);
    }
    bench b;
    start(&b, 14, DIMS(0, 3, 4)); /* test_reshape_allowzero_reordered */
    qn_test_ints(&b.graph, "shape", DIMS(3, 4, 0));
    NODE_WITH(&b.graph, "Reshape", "x shape", "y", A_INT("allowzero", 1));
    expect(&b, DIMS(3, 4, 0));
    static const int64_t bad[][3] = {{5, -1, 1}, {-1, -1, 4}, {2, 3, 5}, {-2, 3, 4}, {INT64_MAX, 2, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start(&b, 14, DIMS(2, 3, 4));
        qn_test_ints(&b.graph, "shape", 3, bad[i]);
        NODE(&b.graph, "Reshape", "x shape", "y");
        refuse(&b, QN_ESHAPE, "cannot be reshaped");
    }
}

static void axes_come_as_attribute_or_input(void **state)
{
    (void)state;
    for (int as_input = 0; as_input < 2; as_input++) {
        bench b;
        int64_t opset = as_input ? 18 : 11;
        const char *inputs = as_input ? "x axes" : "x";
        start(&b, opset, DIMS(1, 3, 1, 5));
        qn_test_ints(&b.graph, "axes", DIMS(0, -2));
        qn_test_node(&b.graph, "Squeeze", inputs, "y", as_input ? 0 : 1, &(qn_attribute)A_INTS("axes", 0, -2));
        expect(&b, DIMS(3, 5));
        start(&b, opset, DIMS(3, 5));
        qn_test_ints(&b.graph, "axes", DIMS(0, -2));
        qn_test_node(&b.graph, "Unsqueeze", inputs, "y", as_input ? 0 : 1, &(qn_attribute)A_INTS("axes", 0, -2));
        expect(&b, DIMS(1, 3, 1, 5));
        start(&b, opset, DIMS(2, 3, 4));
        qn_test_ints(&b.graph, "axes", DIMS(-1, 1));
        qn_test_node(&b.graph, "ReduceMean", inputs, "y", as_input ? 0 : 1, &(qn_attribute)A_INTS("axes", -1, 1));
        expect(&b, DIMS(2, 1, 1));
    }
    bench b;
    start(&b, 13, DIMS(1, 3, 1, 5));
    NODE(&b.graph, "Squeeze", "x", "y");
    expect(&b, DIMS(3, 5));
    start(&b, 13, DIMS(2, 3, 4));
    NODE_WITH(&b.graph, "ReduceMean", "x", "y", A_INT("keepdims", 0));
    expect(&b, 0, NULL);
    start(&b, 18, DIMS(2, 3, 4));
    NODE_WITH(&b.graph, "ReduceMean", "x", "y", A_INT("noop_with_empty_axes", 1));
    expect(&b, DIMS(2, 3, 4));
    start(&b, 18, DIMS(2, 3, 4));
    qn_test_ints(&b.graph, "axes", DIMS(1));
    NODE_WITH(&b.graph, "ReduceMean", "x axes", "y", A_INTS("axes", 1));
    refuse(&b, QN_EFORMAT, "as an attribute and as input 1");
    start(&b, 13, DIMS(1, 3, 1, 5));
    NODE_WITH(&b.graph, "Squeeze", "x", "y", A_INTS("axes", 1));
    refuse(&b, QN_ESHAPE, "axis 1 has 3 elements");
}

/* numpy's slicing of 20x10x5, as ONNX's test_slice* show it. */
static void slices_clamp_like_numpy(void **state)
{
    (void)state;
    static const struct {
        int64_t start, end, axis, step, expected;
    } rows[] = {
        {0, 3, 0, 1, 3},
        {0, -1, 1, 1, 9},
        {0, 1000, 1, 1, 10},
        {1000, 1000, 1, 1, 0},
        {20, 0, 0, -4, 5},
        {-1, INT64_MIN, 2, -1, 5},
        {INT64_MIN, INT64_MAX, 0, 7, 3},
        {3, 1, 2, -1, 2},
        {4, 0, 2, -9, 1},
        {0, 5, -1, 2, 3},
        {1, 2, 0, INT64_MAX, 1},
        {5, 2, 0, INT64_MIN, 1},
    };
    static const int64_t dims[] = {20, 10, 5};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench b;
        start(&b, 13, 3, dims);
        qn_test_ints(&b.graph, "starts", DIMS(rows[i].start));
        qn_test_ints(&b.graph, "ends", DIMS(rows[i].end));
        qn_test_ints(&b.graph, "axes", DIMS(rows[i].axis));
        qn_test_ints(&b.graph, "steps", DIMS(rows[i].step));
        NODE(&b.graph, "Slice", "x starts ends axes steps", "y");
        int64_t expected[3];
        memcpy(expected, dims, sizeof dims);
        expected[rows[i].axis < 0 ? 3 + rows[i].axis : rows[i].axis] = rows[i].expected;
        expect(&b, 3, expected);
    }
    bench b;
    start(&b, 9, DIMS(20, 10, 5));
    NODE_WITH(&b.graph, "Slice", "x", "y", A_INTS("starts", 0, 2), A_INTS("ends", -1, 4));
    expect(&b, DIMS(19, 2, 5));
    start(&b, 9, DIMS(20, 10, 5));
    NODE_WITH(&b.graph, "Slice", "x", "y", A_INTS("starts", 0, 2), A_INTS("ends", -1));
    refuse(&b, QN_EFORMAT, "differ in length");
}

static void pads_grow_and_crop(void **state)
{
    (void)state;
    bench b;
    start(&b, 13, DIMS(1, 3, 4, 5)); /* test_constant_pad */
    qn_test_ints(&b.graph, "pads", DIMS(0, 0, 1, 3, 0, 0, 2, 4));
    qn_test_floats(&b.graph, "value", 0, NULL, (const float[]){1.5F});
    NODE(&b.graph, "Pad", "x pads value", "y");
    qn_assert_ok(bind_y(&b, 1), &b.err);
    qn_test_expect_shape(&b.binding, "y", DIMS(1, 3, 7, 12));
    qn_pad pad;
    qn_assert_ok(qn_pad_of_node(&pad, &b.binding, &b.graph.nodes[0], &b.err), &b.err);
    assert_int_equal(pad.mode, QN_PAD_CONSTANT);
    assert_true(pad.value == 1.5);
    assert_int_equal(pad.begin[3], 3);
    assert_int_equal(pad.end[2], 2);
    qn_binding_free(&b.binding);
    qn_graph_free(&b.graph);
    start(&b, 9, DIMS(1, 3, 4, 5));
    NODE_WITH(&b.graph, "Pad", "x", "y", A_INTS("pads", 0, 0, -1, 0, 0, 0, -2, 1));
    expect(&b, DIMS(1, 3, 1, 6));
    start(&b, 18, DIMS(1, 3, 4, 5));
    qn_test_ints(&b.graph, "pads", DIMS(1, 2));
    qn_test_ints(&b.graph, "axes", DIMS(-1));
    NODE_WITH(&b.graph, "Pad", "x pads - axes", "y", A_STRING("mode", "edge"));
    expect(&b, DIMS(1, 3, 4, 8));
    start(&b, 9, DIMS(1, 1, 4, 4));
    NODE_WITH(&b.graph, "Pad", "x", "y", A_INTS("pads", 0, 0, 0, 4, 0, 0, 0, 0), A_STRING("mode", "reflect"));
    refuse(&b, QN_EUNSUPPORTED, "expected 0 to 3");
    start(&b, 9, DIMS(1, 1, 4, 4));
    NODE_WITH(&b.graph, "Pad", "x", "y", A_INTS("pads", 0, 0, -3, 0, 0, 0, -2, 0));
    refuse(&b, QN_EFORMAT, "do not fit axis 2 of 4");
}

static void moves_have_their_shapes(void **state)
{
    (void)state;
    bench b;
    start(&b, 13, DIMS(2, 3, 4));
    NODE(&b.graph, "Transpose", "x", "y");
    expect(&b, DIMS(4, 3, 2));
    start(&b, 13, DIMS(2, 3, 4));
    NODE_WITH(&b.graph, "Transpose", "x", "y", A_INTS("perm", 1, 0, 2));
    expect(&b, DIMS(3, 2, 4));
    start(&b, 13, DIMS(2, 3, 4));
    NODE_WITH(&b.graph, "Transpose", "x", "y", A_INTS("perm", 1, 1, 2));
    refuse(&b, QN_EFORMAT, "attribute perm");
    for (int axis = -3; axis <= 3; axis++) {
        static const int64_t expected[][2] = {{1, 24}, {2, 12}, {6, 4}, {24, 1}};
        start(&b, 13, DIMS(2, 3, 4));
        NODE_WITH(&b.graph, "Flatten", "x", "y", A_INT("axis", axis));
        expect(&b, 2, expected[axis < 0 ? axis + 3 : axis]);
    }
    start(&b, 13, DIMS(2, 3, 4));
    qn_test_floats(&b.graph, "c", DIMS(2, 5, 4), NULL);
    NODE_WITH(&b.graph, "Concat", "x c x", "y", A_INT("axis", -2));
    expect(&b, DIMS(2, 11, 4));
    start(&b, 13, DIMS(2, 3, 4));
    qn_test_floats(&b.graph, "c", DIMS(2, 5, 4), NULL);
    NODE_WITH(&b.graph, "Concat", "x c", "y", A_INT("axis", 2));
    refuse(&b, QN_ESHAPE, "does not join");
    start(&b, 13, DIMS(5, 4, 3, 2)); /* test_gather_1 */
    qn_test_ints(&b.graph, "i", DIMS(0, 1, 3));
    NODE_WITH(&b.graph, "Gather", "x i", "y", A_INT("axis", 1));
    expect(&b, DIMS(5, 3, 3, 2));
    start(&b, 13, DIMS(5, 4));
    qn_test_ints(&b.graph, "i", DIMS(0, -6));
    NODE(&b.graph, "Gather", "x i", "y");
    refuse(&b, QN_EFORMAT, "index -6 is outside an axis of 5");
}

static void refuse_node(const char *type, int n_attributes, const qn_attribute *attributes, qn_status status,
                        const char *fragment)
{
    bench b;
    start(&b, 13, DIMS(1, 4, 6, 6));
    qn_test_floats(&b.graph, "w", DIMS(8, 4, 3, 3), NULL);
    qn_test_floats(&b.graph, "p", DIMS(4), NULL);
    const char *inputs = strcmp(type, "Conv") == 0                 ? "x w"
                         : strcmp(type, "BatchNormalization") == 0 ? "x p p p p"
                                                                   : "x";
    qn_test_node(&b.graph, type, inputs, "y", n_attributes, attributes);
    refuse(&b, status, fragment);
}

static void bad_attributes_are_named(void **state)
{
    (void)state;
#define REFUSE(type, status, fragment, ...)                                                                            \
    refuse_node(type, (int)(sizeof((qn_attribute[]){__VA_ARGS__}) / sizeof(qn_attribute)),                             \
                (qn_attribute[]){__VA_ARGS__}, status, fragment)
    REFUSE("Conv", QN_EFORMAT, "attribute strides", A_INTS("strides", 0, 1));
    REFUSE("Conv", QN_EFORMAT, "attribute strides", A_INTS("strides", 1));
    REFUSE("Conv", QN_EFORMAT, "attribute dilations", A_INTS("dilations", 1, INT64_MAX));
    REFUSE("Conv", QN_EFORMAT, "attribute pads", A_INTS("pads", 0, 0, -1, 0));
    REFUSE("Conv", QN_EFORMAT, "attribute group", A_INT("group", 3));
    REFUSE("Conv", QN_EFORMAT, "attribute group", A_INT("group", 0));
    REFUSE("Conv", QN_ESHAPE, "channels per group", A_INT("group", 2));
    REFUSE("Conv", QN_ESHAPE, "attribute kernel_shape", A_INTS("kernel_shape", 5, 5));
    REFUSE("Conv", QN_ESHAPE, "does not fit", A_INTS("dilations", 4, 4));
    REFUSE("Conv", QN_EFORMAT, "attribute auto_pad", A_STRING("auto_pad", "SAME"));
    REFUSE("Conv", QN_EFORMAT, "auto_pad is VALID", A_STRING("auto_pad", "VALID"), A_INTS("pads", 1, 1, 1, 1));
    REFUSE("Conv", QN_EFORMAT, "attribute group is a float, expected an integer", A_FLOAT("group", 1.0F));
    REFUSE("Conv", QN_EUNSUPPORTED, "attribute colour", A_INT("colour", 1));
    REFUSE("MaxPool", QN_EFORMAT, "attribute kernel_shape", A_INTS("strides", 1, 1));
    REFUSE("MaxPool", QN_EFORMAT, "see nothing", A_INTS("kernel_shape", 2, 2), A_INTS("pads", 2, 0, 0, 0));
    REFUSE("Concat", QN_EFORMAT, "attribute axis", A_INT("axis", 4));
    REFUSE("Softmax", QN_EFORMAT, "attribute axis", A_INT("axis", -5));
    REFUSE("BatchNormalization", QN_EUNSUPPORTED, "attribute training_mode", A_INT("training_mode", 1));
    REFUSE("Cast", QN_EUNSUPPORTED, "attribute to", A_INT("to", 8));
    REFUSE("Relu", QN_EUNSUPPORTED, "attribute alpha", A_FLOAT("alpha", 1.0F));
#undef REFUSE
}

static void unknown_operators_are_all_listed(void **state)
{
    (void)state;
    bench b;
    start(&b, 13, DIMS(1, 4));
    b.graph.file = "net.onnx";
    NODE(&b.graph, "Foo", "x", "a");
    NODE(&b.graph, "Relu", "a", "r");
    NODE(&b.graph, "Bar", "r", "c");
    NODE(&b.graph, "Foo", "c", "y");
    refuse(&b, QN_EUNSUPPORTED, "Foo (2 nodes: 'a', 'y'), Bar (1 node: 'c')");
    assert_string_equal(b.err.where, "net.onnx");
}

static void arity_and_types_are_checked(void **state)
{
    (void)state;
    bench b;
    start(&b, 13, DIMS(1, 4));
    NODE(&b.graph, "Add", "x", "y");
    refuse(&b, QN_EFORMAT, "1 inputs, expected at least 2");
    start(&b, 13, DIMS(1, 4));
    NODE(&b.graph, "Relu", "x x", "y");
    refuse(&b, QN_EFORMAT, "2 inputs, expected at most 1");
    start(&b, 13, DIMS(1, 4));
    NODE(&b.graph, "Add", "x -", "y");
    refuse(&b, QN_EFORMAT, "input 1 is missing");
    start(&b, 13, DIMS(1, 4));
    qn_test_ints(&b.graph, "i", DIMS(1, 2, 3, 4));
    NODE(&b.graph, "Add", "x i", "y");
    refuse(&b, QN_EFORMAT, "float32 and int64");
    start(&b, 13, DIMS(1, 4));
    qn_test_ints(&b.graph, "i", DIMS(1, 2, 3, 4));
    NODE(&b.graph, "Exp", "i", "y");
    refuse(&b, QN_EUNSUPPORTED, "input 0 is int64");
    start(&b, 13, DIMS(1, 1, 4, 4)); /* the indices are read */
    NODE_WITH(&b.graph, "MaxPool", "x", "y i", A_INTS("kernel_shape", 2, 2));
    qn_test_output(&b.graph, "i");
    qn_assert_ok(bind_y(&b, 1), &b.err);
    qn_test_expect_shape(&b.binding, "i", DIMS(1, 1, 3, 3));
    assert_int_equal(b.binding.values[qn_graph_find(&b.graph, "i")].dtype, QN_DTYPE_S64);
    qn_binding_free(&b.binding);
    qn_graph_free(&b.graph);
    start(&b, 13, DIMS(1, 1, 4, 4)); /* nobody reads them */
    NODE_WITH(&b.graph, "MaxPool", "x", "y i", A_INTS("kernel_shape", 2, 2));
    expect(&b, DIMS(1, 1, 3, 3));
}

static void batches_replace_the_leading_dimension(void **state)
{
    (void)state;
    bench b;
    start(&b, 13, DIMS(-1, 3));
    NODE(&b.graph, "Relu", "x", "y");
    qn_assert_ok(bind_y(&b, 8), &b.err);
    assert_int_equal(b.binding.batch, 8);
    qn_test_expect_shape(&b.binding, "y", DIMS(8, 3));
    qn_binding_free(&b.binding);
    qn_graph_free(&b.graph);
    start(&b, 13, DIMS(2, 3));
    NODE(&b.graph, "Relu", "x", "y");
    qn_assert_ok(bind_y(&b, 8), &b.err);
    assert_int_equal(b.binding.batch, 2);
    qn_test_expect_shape(&b.binding, "y", DIMS(2, 3));
    qn_binding_free(&b.binding);
    qn_graph_free(&b.graph);
    start(&b, 13, DIMS(-1, -1));
    NODE(&b.graph, "Relu", "x", "y");
    refuse(&b, QN_EUNSUPPORTED, "dimension 1 of graph input 'x' is dynamic");
    start(&b, 13, DIMS(1, (int64_t)1 << 32));
    NODE(&b.graph, "Relu", "x", "y");
    refuse(&b, QN_ELIMIT, "more than 2^31 elements");
    start(&b, 13, DIMS(1, (int64_t)1 << 30));
    NODE_WITH(&b.graph, "Concat", "x x x", "y", A_INT("axis", 1));
    refuse(&b, QN_ELIMIT, "beyond 2^31");
    start(&b, 13, DIMS(1, 3));
    NODE(&b.graph, "Relu", "x", "y");
    qn_assert_fails(qn_graph_bind(&b.binding, &b.graph, 0, &b.err), &b.err, QN_EINVAL, "batch 0");
    qn_graph_free(&b.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_understands_zero_and_minus_one),
        cmocka_unit_test(axes_come_as_attribute_or_input),
        cmocka_unit_test(slices_clamp_like_numpy),
        cmocka_unit_test(pads_grow_and_crop),
        cmocka_unit_test(moves_have_their_shapes),
        cmocka_unit_test(bad_attributes_are_named),
        cmocka_unit_test(unknown_operators_are_all_listed),
        cmocka_unit_test(arity_and_types_are_checked),
        cmocka_unit_test(batches_replace_the_leading_dimension),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
