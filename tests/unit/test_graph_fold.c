/* Constant folding while binding. Expected values are worked out by hand from the operators' documentation. */
#include "graph_builder.h"

#include <string.h>

static qn_graph graph;
static qn_binding binding;
static qn_error err;

static int set_up(void **state)
{
    (void)state;
    graph = (qn_graph){.opset = 13};
    binding = (qn_binding){0};
    qn_error_init(&err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qn_binding_free(&binding);
    qn_graph_free(&graph);
    return 0;
}

static const qn_tensor *known(const char *name)
{
    return binding.values[qn_graph_find(&graph, name)].known;
}

static void expect_ints(const char *name, int n, const int64_t *values)
{
    const qn_tensor *t = known(name);
    assert_non_null(t);
    assert_int_equal(t->dtype, QN_DTYPE_S64);
    assert_int_equal(qn_tensor_count(t), n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(((const int64_t *)t->data)[i], values[i]);
    }
}

static void expect_floats(const char *name, int n, const float *values)
{
    const qn_tensor *t = known(name);
    assert_non_null(t);
    assert_int_equal(t->dtype, QN_DTYPE_F32);
    assert_int_equal(qn_tensor_count(t), n);
    for (int i = 0; i < n; i++) {
        assert_true(((const float *)t->data)[i] == values[i]);
    }
}

/* x.view(x.size(0), -1) as PyTorch exports it. */
static void build_torch_view(void)
{
    qn_test_input(&graph, "x", DIMS(-1, 4, 2, 3));
    int64_t zero = 0, minus_one = -1;
    qn_test_ints(&graph, "minus_one", 1, &minus_one);
    qn_test_ints(&graph, "axes", 1, &zero);
    NODE(&graph, "Shape", "x", "shape");
    qn_test_ints(&graph, "first", 1, &zero);
    NODE(&graph, "Squeeze", "first axes", "scalar");
    NODE_WITH(&graph, "Gather", "shape scalar", "size", A_INT("axis", 0));
    NODE(&graph, "Unsqueeze", "size axes", "size1");
    NODE_WITH(&graph, "Concat", "size1 minus_one", "target", A_INT("axis", 0));
    NODE(&graph, "Reshape", "x target", "y");
    qn_test_output(&graph, "y");
}

static void a_view_keeps_the_batch(void **state)
{
    (void)state;
    build_torch_view();
    for (int64_t batch = 1; batch <= 8; batch += 7) {
        qn_assert_ok(qn_graph_bind(&binding, &graph, batch, &err), &err);
        expect_ints("target", DIMS(batch, -1));
        assert_int_equal(known("size")->rank, 0);
        qn_test_expect_shape(&binding, "y", DIMS(batch, 24));
        assert_null(known("y"));
        qn_binding_free(&binding);
    }
}

static void integers_are_computed(void **state)
{
    (void)state;
    qn_test_input(&graph, "x", DIMS(1, 1));
    qn_test_ints(&graph, "a", DIMS(7, -7, INT64_MAX, INT64_MIN));
    qn_test_ints(&graph, "b", DIMS(2, 2, 1, -1));
    qn_test_ints(&graph, "c", DIMS(10));
    qn_test_ints(&graph, "two", DIMS(2, 2));
    NODE(&graph, "Add", "a b", "sum");
    NODE(&graph, "Sub", "a b", "difference");
    NODE(&graph, "Mul", "b c", "product");
    NODE(&graph, "Div", "a b", "quotient");
    NODE(&graph, "Reshape", "a two", "square");
    NODE(&graph, "Transpose", "square", "turned");
    NODE(&graph, "Add", "turned c", "shifted");
    NODE(&graph, "Relu", "x", "y");
    for (const char *const *name =
             (const char *const[]){"sum", "difference", "product", "quotient", "shifted", "y", NULL};
         *name != NULL; name++) {
        qn_test_output(&graph, *name);
    }
    qn_assert_ok(qn_graph_bind(&binding, &graph, 1, &err), &err);
    expect_ints("sum", DIMS(9, -5, INT64_MIN, INT64_MAX));
    expect_ints("difference", DIMS(5, -9, INT64_MAX - 1, INT64_MIN + 1));
    expect_ints("product", DIMS(20, 20, 10, -10));
    expect_ints("quotient", DIMS(3, -3, INT64_MAX, INT64_MIN));
    expect_ints("turned", DIMS(7, INT64_MAX, -7, INT64_MIN));
    expect_ints("shifted", DIMS(17, INT64_MIN + 9, 3, INT64_MIN + 10));
    assert_null(known("y"));
}

/* As exporters size a Resize: the shape in floats, times a factor. */
static void sizes_are_computed_in_floats(void **state)
{
    (void)state;
    qn_test_input(&graph, "x", DIMS(-1, 3, 5, 7));
    qn_test_floats(&graph, "factor", DIMS(1), (const float[]){1.5f});
    qn_test_ints(&graph, "first", 1, (const int64_t[]){2});
    qn_test_ints(&graph, "last", 1, (const int64_t[]){4});
    NODE(&graph, "Shape", "x", "shape");
    NODE(&graph, "Slice", "shape first last", "plane");
    NODE_WITH(&graph, "Cast", "plane", "reals", A_INT("to", 1));
    NODE(&graph, "Mul", "reals factor", "larger");
    NODE(&graph, "Floor", "larger", "whole");
    NODE_WITH(&graph, "Cast", "whole", "sizes", A_INT("to", 7));
    qn_test_output(&graph, "sizes");
    qn_assert_ok(qn_graph_bind(&binding, &graph, 2, &err), &err);
    expect_ints("sizes", DIMS(7, 10));
}

static void moves_of_floats_are_done_ahead(void **state)
{
    (void)state;
    qn_test_floats(&graph, "a", DIMS(2, 3), (const float[]){1, 2, 3, 4, 5, 6});
    qn_test_ints(&graph, "starts", DIMS(1, 2));
    qn_test_ints(&graph, "ends", DIMS(2, -4));
    qn_test_ints(&graph, "axes", DIMS(0, 1));
    qn_test_ints(&graph, "steps", DIMS(1, -2));
    qn_test_ints(&graph, "index", DIMS(-1, 0));
    qn_test_ints(&graph, "shape", DIMS(2, 2));
    NODE(&graph, "Transpose", "a", "turned");
    NODE(&graph, "Slice", "a starts ends axes steps", "part");
    NODE_WITH(&graph, "Gather", "a index", "picked", A_INT("axis", 1));
    NODE_WITH(&graph, "Concat", "a picked", "joined", A_INT("axis", 1));
    NODE(&graph, "ConstantOfShape", "shape", "zeros");
    NODE(&graph, "Flatten", "turned", "flat");
    NODE(&graph, "Dropout", "flat", "kept");
    NODE(&graph, "Add", "kept kept", "y"); /* float arithmetic is left to the engine */
    qn_test_output(&graph, "y");
    qn_assert_ok(qn_graph_bind(&binding, &graph, 1, &err), &err);
    expect_floats("turned", 6, (const float[]){1, 4, 2, 5, 3, 6});
    expect_floats("part", 2, (const float[]){6, 4});
    expect_floats("picked", 4, (const float[]){3, 1, 6, 4});
    expect_floats("joined", 10, (const float[]){1, 2, 3, 3, 1, 4, 5, 6, 6, 4});
    expect_floats("zeros", 4, (const float[]){0, 0, 0, 0});
    expect_floats("kept", 6, (const float[]){1, 4, 2, 5, 3, 6});
    assert_null(known("y"));
}

static void casts_go_towards_zero_and_saturate(void **state)
{
    (void)state;
    enum { TO_F32 = 1, TO_S8 = 3, TO_S64 = 7, TO_BOOL = 9 };
    qn_test_floats(&graph, "a", DIMS(6), (const float[]){1.9F, -1.9F, 1e30F, -1e30F, 0.0F, 0.25F});
    NODE_WITH(&graph, "Cast", "a", "ints", A_INT("to", TO_S64));
    NODE_WITH(&graph, "Cast", "a", "truths", A_INT("to", TO_BOOL));
    NODE_WITH(&graph, "Cast", "truths", "back", A_INT("to", TO_F32));
    qn_test_ints(&graph, "big", DIMS((int64_t)1 << 53 | 1, 300, -1));
    NODE_WITH(&graph, "Cast", "big", "same", A_INT("to", TO_S64));
    NODE_WITH(&graph, "Cast", "big", "bytes", A_INT("to", TO_S8));
    qn_test_output(&graph, "back");
    qn_assert_ok(qn_graph_bind(&binding, &graph, 1, &err), &err);
    expect_ints("ints", DIMS(1, -1, INT64_MAX, INT64_MIN, 0, 0));
    expect_floats("back", 6, (const float[]){1, 1, 1, 1, 0, 1});
    expect_ints("same", DIMS((int64_t)1 << 53 | 1, 300, -1));
    const int8_t *bytes = known("bytes")->data;
    assert_int_equal(bytes[0], 1);
    assert_int_equal(bytes[1], 44);
    assert_int_equal(bytes[2], -1);
}

static void division_by_zero_is_refused(void **state)
{
    (void)state;
    qn_test_ints(&graph, "a", DIMS(1, 2));
    qn_test_ints(&graph, "b", DIMS(1, 0));
    NODE(&graph, "Div", "a b", "y");
    qn_test_output(&graph, "y");
    qn_assert_fails(qn_graph_bind(&binding, &graph, 1, &err), &err, QN_EFORMAT, "division by zero");
}

static void folding_has_a_limit(void **state)
{
    (void)state;
    qn_test_ints(&graph, "shape", DIMS(1 << 10, 1 << 10, 1 << 10));
    NODE(&graph, "ConstantOfShape", "shape", "y");
    qn_test_output(&graph, "y");
    qn_assert_fails(qn_graph_bind(&binding, &graph, 1, &err), &err, QN_ELIMIT, "constant folding");
}

static void coded_values_are_not_folded(void **state)
{
    (void)state;
    qn_test_floats(&graph, "a", DIMS(2), NULL);
    qn_value_id y = NODE(&graph, "Identity", "a", "y");
    qn_test_output(&graph, "y");
    qn_quantizer q = {
        .format = {8, false, false}, .axis = -1, .n = 1, .scale = &(float){1.0F}, .zero_point = &(int32_t){0}};
    qn_assert_ok(qn_graph_set_quantizer(&graph, y, &q, &err), &err);
    qn_assert_ok(qn_graph_bind(&binding, &graph, 1, &err), &err);
    assert_null(known("y"));
}

/* Every allocation of a binding fails once; AddressSanitizer sees what is left behind. */
static void a_failed_allocation_leaves_nothing(void **state)
{
    (void)state;
    build_torch_view();
    int64_t n = 0;
    qn_status status;
    do {
        qn_error_init(&err);
        qn_alloc_fail_after(n++);
        status = qn_graph_bind(&binding, &graph, 8, &err);
        qn_alloc_fail_after(-1);
        if (status != QN_OK) {
            assert_int_equal(status, QN_ENOMEM);
            assert_null(binding.arena.blocks);
        }
    } while (status != QN_OK);
    assert_true(n > 1);
    qn_test_expect_shape(&binding, "y", DIMS(8, 24));
    n = 0;
    qn_graph copy = {0};
    do {
        qn_error_init(&err);
        qn_alloc_fail_after(n++);
        status = qn_graph_clone(&copy, &graph, &err);
        qn_alloc_fail_after(-1);
    } while (status != QN_OK);
    assert_true(n > 3);
    qn_assert_ok(qn_graph_verify(&copy, &err), &err);
    qn_graph_free(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_view_keeps_the_batch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(integers_are_computed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sizes_are_computed_in_floats, set_up, tear_down),
        cmocka_unit_test_setup_teardown(moves_of_floats_are_done_ahead, set_up, tear_down),
        cmocka_unit_test_setup_teardown(casts_go_towards_zero_and_saturate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(division_by_zero_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folding_has_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(coded_values_are_not_folded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_allocation_leaves_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
