/* What programs and workspaces promise, whatever the engine: shapes, refusals, no allocation in a run, threads. */
#include "graph_builder.h"

#include <string.h>

#include "base/threads.h"
#include "graph/model.h"
#include "quern/quern.h"

static qn_model new_model(void)
{
    return (qn_model){.graph = {.name = "g", .file = "test.onnx", .producer = "", .opset = 13, .ir_version = 8}};
}

/* x[N,3,9,7] -> Conv -> Relu -> MaxPool -> Flatten -> Gemm -> y[N,5], in each way quern has to plan memory. */
static qn_model small_network(int64_t batch)
{
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(batch, 3, 9, 7));
    qn_test_floats(g, "w", DIMS(20, 3, 3, 3), NULL);
    qn_test_floats(g, "b", DIMS(20), NULL);
    qn_test_floats(g, "fw", DIMS(5, 20 * 4 * 3), NULL);
    qn_test_floats(g, "fb", DIMS(5), NULL);
    NODE_WITH(g, "Conv", "x w b", "c", A_INTS("pads", 1, 1, 1, 1));
    NODE(g, "Relu", "c", "r");
    NODE(g, "Add", "r c", "s");
    NODE_WITH(g, "MaxPool", "s", "p", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    NODE(g, "Flatten", "p", "f");
    NODE_WITH(g, "Gemm", "f fw fb", "y", A_INT("transB", 1));
    qn_test_output(g, "y");
    return model;
}

enum { IN = 3 * 9 * 7, OUT = 5 };

static qn_program *make_program(const qn_model *model, int64_t batch)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    options.batch = batch;
    qn_program *program;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    return program;
}

static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = qn_test_uniform(&seed, -2, 2);
    }
}

static void run(const qn_program *program, qn_workspace *workspace, const float *x, int64_t n, float *y)
{
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_program_run(program, workspace, &x, n, &y, &err), &err);
}

static void defaults_are_told(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    assert_int_equal(options.batch, 8);
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    assert_int_equal(options.batch, 1);
    assert_false(options.keep_values);
    qn_assert_fails(qn_program_options_init(&options, (qn_engine)7, &err), &err, QN_EINVAL, "unknown engine");
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    qn_model model = small_network(-1);
    qn_program_options good;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_program_options_init(&good, QN_ENGINE_FLOAT, &err), &err);
    qn_program *program = NULL;
    qn_program_options bad = good;
    bad.batch = 0;
    qn_assert_fails(qn_program_create(&program, &model, &bad, &err), &err, QN_EINVAL, "batch is 0");
    qn_error_init(&err);
    bad.batch = 4097;
    qn_assert_fails(qn_program_create(&program, &model, &bad, &err), &err, QN_EINVAL, "between 1 and 4096");
    qn_error_init(&err);
    bad = good;
    bad.struct_size--;
    qn_assert_fails(qn_program_create(&program, &model, &bad, &err), &err, QN_EINVAL, "qn_program_options_init");
    assert_null(program);
    qn_graph_free(&model.graph);
}

static void every_node_that_cannot_run_is_listed(void **state)
{
    (void)state;
    qn_model model = new_model();
    qn_test_input(&model.graph, "x", DIMS(-1, 4));
    NODE(&model.graph, "MaxRoiPool", "x", "a");
    NODE(&model.graph, "Relu", "a", "r");
    NODE(&model.graph, "Det", "r", "y");
    qn_test_output(&model.graph, "y");
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    qn_program *program = NULL;
    qn_status status = qn_program_create(&program, &model, &options, &err);
    qn_assert_fails(status, &err, QN_EUNSUPPORTED, "2 of 3 nodes");
    assert_non_null(strstr(err.message, "MaxRoiPool (1 node: 'a')"));
    assert_non_null(strstr(err.message, "Det (1 node: 'y')"));
    qn_graph_free(&model.graph);
}

static void shapes_are_those_of_one_item(void **state)
{
    (void)state;
    qn_model model = small_network(-1);
    qn_program *program = make_program(&model, 4);
    int64_t dims[QN_MAX_RANK];
    assert_int_equal(qn_program_batch(program), 4);
    assert_int_equal(qn_program_n_inputs(program), 1);
    assert_int_equal(qn_program_n_outputs(program), 1);
    assert_int_equal(qn_program_input_shape(program, 0, dims), 3);
    assert_int_equal(dims[0], 3);
    assert_int_equal(dims[2], 7);
    assert_int_equal(qn_program_input_count(program, 0), IN);
    assert_int_equal(qn_program_output_shape(program, 0, dims), 1);
    assert_int_equal(qn_program_output_count(program, 0), OUT);
    qn_program_free(program);
    qn_graph_free(&model.graph);
}

static void a_fixed_batch_is_kept(void **state)
{
    (void)state;
    qn_model model = small_network(3);
    qn_program *program = make_program(&model, 8);
    assert_int_equal(qn_program_batch(program), 3);
    qn_program_free(program);
    qn_graph_free(&model.graph);
}

static void a_network_for_one_item_gets_one(void **state)
{
    (void)state;
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 3));
    qn_test_floats(g, "w", DIMS(3, 2), (const float[]){1, 0, 0, 1, 1, 1});
    NODE_WITH(g, "Flatten", "x", "f", A_INT("axis", 0));
    NODE(g, "Gemm", "f w", "y");
    qn_test_output(g, "y");
    qn_program *program = make_program(&model, 8);
    assert_int_equal(qn_program_batch(program), 1);
    qn_error err;
    qn_error_init(&err);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    float y[2];
    run(program, workspace, (const float[]){1, 2, 3}, 1, y);
    assert_memory_equal(y, ((const float[]){4, 5}), sizeof y);
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_graph_free(&model.graph);
}

static void a_model_without_common_leading_dimension_runs_whole(void **state)
{
    (void)state;
    qn_model model = new_model();
    qn_test_input(&model.graph, "x", DIMS(2, 3));
    NODE_WITH(&model.graph, "Transpose", "x", "y", A_INTS("perm", 1, 0));
    qn_test_output(&model.graph, "y");
    qn_program *program = make_program(&model, 8);
    assert_int_equal(qn_program_batch(program), 1);
    assert_int_equal(qn_program_input_count(program, 0), 6);
    qn_error err;
    qn_error_init(&err);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    float y[6];
    run(program, workspace, (const float[]){0, 1, 2, 3, 4, 5}, 1, y);
    assert_memory_equal(y, ((const float[]){0, 3, 1, 4, 2, 5}), sizeof y);
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_graph_free(&model.graph);
}

static void a_batch_dimension_that_moves_is_refused(void **state)
{
    (void)state;
    qn_model model = new_model();
    qn_test_input(&model.graph, "x", DIMS(-1, 3));
    NODE_WITH(&model.graph, "Transpose", "x", "y", A_INTS("perm", 1, 0));
    qn_test_output(&model.graph, "y");
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    qn_program *program = NULL;
    qn_assert_fails(qn_program_create(&program, &model, &options, &err), &err, QN_EUNSUPPORTED, "leading");
    qn_graph_free(&model.graph);
}

static void a_batch_of_nothing_is_refused(void **state)
{
    (void)state;
    qn_model model = new_model();
    qn_test_input(&model.graph, "x", DIMS(0, 3));
    NODE(&model.graph, "Relu", "x", "y");
    qn_test_output(&model.graph, "y");
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    qn_program *program = NULL;
    qn_assert_fails(qn_program_create(&program, &model, &options, &err), &err, QN_EUNSUPPORTED, "batch dimension is 0");
    qn_graph_free(&model.graph);
}

static void part_of_a_batch_gives_what_single_items_give(void **state)
{
    (void)state;
    enum { N = 5 };
    qn_model model = small_network(-1);
    qn_program *one = make_program(&model, 1), *eight = make_program(&model, 8);
    qn_error err;
    qn_error_init(&err);
    qn_workspace *single, *batched;
    qn_assert_ok(qn_workspace_create(&single, one, &err), &err);
    qn_assert_ok(qn_workspace_create(&batched, eight, &err), &err);
    float x[8 * IN], y[N * OUT], wanted[N * OUT], untouched[8 * OUT];
    fill(x, 8 * IN, 5);
    run(eight, batched, x, 8, untouched); /* leaves other items behind */
    fill(x, 8 * IN, 6);
    run(eight, batched, x, N, y);
    for (int i = 0; i < N; i++) {
        run(one, single, x + i * IN, 1, wanted + i * OUT);
    }
    for (int i = 0; i < N * OUT; i++) {
        assert_float_equal(y[i], wanted[i], 1e-4);
    }
    qn_workspace_free(single);
    qn_workspace_free(batched);
    qn_program_free(one);
    qn_program_free(eight);
    qn_graph_free(&model.graph);
}

static void wrong_runs_are_refused(void **state)
{
    (void)state;
    qn_model model = small_network(-1);
    qn_program *program = make_program(&model, 2), *other = make_program(&model, 2);
    qn_error err;
    qn_error_init(&err);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    float x[3 * IN] = {0}, y[3 * OUT];
    const float *inputs[] = {x};
    float *outputs[] = {y};
    qn_assert_fails(qn_program_run(program, workspace, inputs, 3, outputs, &err), &err, QN_EINVAL, "run of 3 items");
    qn_error_init(&err);
    qn_assert_fails(qn_program_run(program, workspace, inputs, 0, outputs, &err), &err, QN_EINVAL, "run of 0 items");
    qn_error_init(&err);
    qn_assert_fails(qn_program_run(other, workspace, inputs, 1, outputs, &err), &err, QN_EINVAL, "another program");
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_program_free(other);
    qn_graph_free(&model.graph);
}

static void running_allocates_nothing(void **state)
{
    (void)state;
    qn_model model = small_network(-1);
    qn_program *program = make_program(&model, 8);
    qn_error err;
    qn_error_init(&err);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    float x[8 * IN], y[8 * OUT];
    fill(x, 8 * IN, 1);
    uint64_t before = qn_alloc_count();
    run(program, workspace, x, 8, y);
    run(program, workspace, x, 3, y);
    assert_int_equal(qn_alloc_count(), before);
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_graph_free(&model.graph);
}

/* Let allocation number `countdown` fail, for every countdown until all is made. */
static void no_allocation_failure_leaks_or_crashes(void **state)
{
    (void)state;
    qn_model model = small_network(-1);
    qn_program_options options;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    int failures = 0;
    for (int64_t countdown = 0;; countdown++) {
        qn_program *program = NULL;
        qn_workspace *workspace = NULL;
        qn_error_init(&err);
        qn_alloc_fail_after(countdown);
        qn_status status = qn_program_create(&program, &model, &options, &err);
        if (status == QN_OK) {
            status = qn_workspace_create(&workspace, program, &err);
        }
        qn_alloc_fail_after(-1);
        qn_workspace_free(workspace);
        qn_program_free(program);
        if (status == QN_OK) {
            break;
        }
        assert_int_equal(status, QN_ENOMEM);
        failures++;
    }
    assert_true(failures > 10);
    qn_graph_free(&model.graph);
}

enum { N_ITEMS = 64 };

typedef struct {
    const qn_program *program;
    qn_workspace *workspaces[4];
    float x[N_ITEMS * IN], y[N_ITEMS * OUT];
} shared_run;

static qn_status run_item(void *ctx, int worker, int64_t item, qn_error *err)
{
    shared_run *s = ctx;
    const float *inputs[] = {s->x + item * IN};
    float *outputs[] = {s->y + item * OUT};
    return qn_program_run(s->program, s->workspaces[worker], inputs, 1, outputs, err);
}

static void threads_share_a_program(void **state)
{
    (void)state;
    static shared_run s;
    static float alone[N_ITEMS * OUT];
    qn_model model = small_network(-1);
    qn_program *program = make_program(&model, 1);
    qn_error err;
    qn_error_init(&err);
    s.program = program;
    fill(s.x, N_ITEMS * IN, 9);
    for (int t = 0; t < 4; t++) {
        qn_assert_ok(qn_workspace_create(&s.workspaces[t], program, &err), &err);
    }
    qn_assert_ok(qn_parallel_for(1, N_ITEMS, run_item, &s, &err), &err);
    memcpy(alone, s.y, sizeof alone);
    memset(s.y, 0, sizeof s.y);
    qn_assert_ok(qn_parallel_for(4, N_ITEMS, run_item, &s, &err), &err);
    assert_memory_equal(s.y, alone, sizeof alone);
    for (int t = 0; t < 4; t++) {
        qn_workspace_free(s.workspaces[t]);
    }
    qn_program_free(program);
    qn_graph_free(&model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_told),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(every_node_that_cannot_run_is_listed),
        cmocka_unit_test(shapes_are_those_of_one_item),
        cmocka_unit_test(a_fixed_batch_is_kept),
        cmocka_unit_test(a_network_for_one_item_gets_one),
        cmocka_unit_test(a_model_without_common_leading_dimension_runs_whole),
        cmocka_unit_test(a_batch_dimension_that_moves_is_refused),
        cmocka_unit_test(a_batch_of_nothing_is_refused),
        cmocka_unit_test(part_of_a_batch_gives_what_single_items_give),
        cmocka_unit_test(wrong_runs_are_refused),
        cmocka_unit_test(running_allocates_nothing),
        cmocka_unit_test(no_allocation_failure_leaks_or_crashes),
        cmocka_unit_test(threads_share_a_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
