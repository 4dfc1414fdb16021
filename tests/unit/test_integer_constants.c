/* Constant operands of the integer engine: each node aligns and broadcasts them by its own output's shape. All codes are
 * the numbers themselves (scale 1, zero point 0), so that results can be told by hand. */
#include "graph_builder.h"

#include <string.h>

#include "graph/model.h"
#include "quern/quern.h"

static qn_model new_model(void)
{
    return (qn_model){.graph = {.name = "g", .file = "test.onnx", .producer = "", .opset = 13, .ir_version = 8}};
}

static void code_value(qn_graph *graph, const char *name)
{
    const float scale = 1;
    const int32_t zero_point = 0;
    const qn_quantizer q = {.format = {.bits = 8}, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero_point};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_graph_set_quantizer(graph, qn_graph_find(graph, name), &q, &err), &err);
}

/* A coded constant of at most 8 elements. */
static void coded_constant(qn_graph *graph, const char *name, int rank, const int64_t *dims, const uint8_t *codes)
{
    float values[8];
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_U8, rank, dims, &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
        values[i] = codes[i];
    }
    memcpy(t.data, codes, qn_tensor_bytes(&t));
    qn_value_id id = qn_test_floats(graph, name, rank, dims, values);
    code_value(graph, name);
    qn_assert_ok(qn_graph_set_codes(graph, id, &t, &err), &err);
    qn_tensor_free(&t);
}

/* The output for one item of a model of one input, which this releases. */
static void run(qn_model *model, const float *x, float *y, int64_t n_outputs)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    assert_int_equal(qn_program_output_count(program, 0), n_outputs);
    qn_assert_ok(qn_program_run(program, workspace, &x, 1, &y, &err), &err);
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_graph_free(&model->graph);
}

/* c is one number per channel to the first Add, and one per column to the second. */
static void one_constant_serves_two_shapes(void **state)
{
    (void)state;
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 4));
    coded_constant(g, "c", DIMS(4), (const uint8_t[]){1, 20, 3, 50});
    qn_test_ints(g, "shape", 4, (const int64_t[]){0, 4, 1, 1});
    NODE(g, "Add", "x c", "a");
    NODE(g, "Reshape", "a shape", "r");
    NODE(g, "Add", "r c", "y");
    qn_test_output(g, "y");
    code_value(g, "x"), code_value(g, "a"), code_value(g, "r"), code_value(g, "y");
    float y[16];
    run(&model, (const float[]){100, 110, 120, 130}, y, 16);
    const float a[4] = {101, 130, 123, 180}, c[4] = {1, 20, 3, 50};
    for (int i = 0; i < 16; i++) {
        assert_float_equal(y[i], a[i / 4] + c[i % 4], 0);
    }
}

static void one_channel_is_added_to_all(void **state)
{
    (void)state;
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 2, 1, 3));
    coded_constant(g, "c", DIMS(1, 1, 3), (const uint8_t[]){1, 20, 3});
    NODE(g, "Add", "x c", "y");
    qn_test_output(g, "y");
    code_value(g, "x"), code_value(g, "y");
    float y[6];
    run(&model, (const float[]){1, 2, 3, 4, 5, 6}, y, 6);
    assert_memory_equal(y, ((const float[]){2, 22, 6, 5, 25, 9}), sizeof y);
}

static void one_channel_is_concatenated_once(void **state)
{
    (void)state;
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(1, 2, 1, 2));
    coded_constant(g, "c", DIMS(1, 1, 1, 2), (const uint8_t[]){7, 8});
    NODE_WITH(g, "Concat", "c x", "y", A_INT("axis", 1));
    qn_test_output(g, "y");
    code_value(g, "x"), code_value(g, "y");
    float y[6];
    run(&model, (const float[]){1, 2, 3, 4}, y, 6);
    assert_memory_equal(y, ((const float[]){7, 8, 1, 2, 3, 4}), sizeof y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_constant_serves_two_shapes),
        cmocka_unit_test(one_channel_is_added_to_all),
        cmocka_unit_test(one_channel_is_concatenated_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
