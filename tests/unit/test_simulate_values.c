/* Simulation: what values are quantized, by which items, and which quantizers are refused. */
#include "simulate_places.h"

/* One-hot rows times W show what the engines make of W: kept and dynamic quantizers of reals, along either axis. */
static void weights_are_faked_along_any_axis(void **state)
{
    (void)state;
    enum { ROWS = 12, COLUMNS = 10 };
    static const char *const names[] = {"int4", "uint8", "bfp<4,5>", "mx<fp4e2m1,4>", "adaptivfloat<6,3>", "ternary"};
    float x[ROWS * ROWS] = {0};
    for (int i = 0; i < ROWS; i++) {
        x[i * ROWS + i] = 1;
    }
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        for (int i = 0; i < 12; i++) {
            const bool dynamic = i % 2 == 1, simulate = i / 2 % 2 == 1;
            const int axis = i / 4;
            qn_error err;
            qn_error_init(&err);
            qn_format format;
            qn_assert_ok(qn_format_parse(&format, names[f], &err), &err);
            qn_fit_options fit;
            qn_fit_options_init(&fit);
            fit.axis = axis < 2 ? axis : 0;
            fit.group = format.block > 0 ? format.block : axis < 2 ? 0 : 5;
            qn_model model = new_model();
            qn_graph *g = &model.graph;
            qn_test_input(g, "x", DIMS(-1, ROWS));
            qn_value_id w = qn_test_floats(g, "w", DIMS(ROWS, COLUMNS), NULL);
            NODE(g, "MatMul", "x w", "y");
            qn_test_output(g, "y");
            qn_quantizer *q;
            qn_tensor wanted;
            qn_assert_ok(qn_fit(&q, g->values[w].constant, format, &fit, &err), &err);
            qn_assert_ok(qn_fake_quantize(&wanted, g->values[w].constant, q, NULL, &err), &err);
            if (dynamic) {
                set_dynamic(g, "w", format, fit.axis, fit.group);
            } else {
                qn_assert_ok(qn_graph_set_quantizer(g, w, q, &err), &err);
            }
            int64_t out;
            float *y = run_model(&model, simulate ? QN_ENGINE_SIMULATE : QN_ENGINE_FLOAT, 4, x, ROWS, &out);
            for (int64_t k = 0; k < ROWS * COLUMNS; k++) {
                assert_float_equal(y[k], ((const float *)wanted.data)[k], 0);
            }
            qn_free(y);
            qn_tensor_free(&wanted);
            qn_quantizer_free(q);
            qn_graph_free(g);
        }
    }
}

/* c [3, 4], made of constants, has no batch dimension, though it is as long as the batch: one item. x [N, 2, 4] reshaped to
 * [2N, 4] has items of one row. */
static void items_are_what_the_batch_counts(void **state)
{
    (void)state;
    const qn_format int4 = {.bits = 4, .is_signed = true};
    for (int64_t batch = 1; batch <= 3; batch++) {
        qn_model model = new_model();
        qn_graph *g = &model.graph;
        const float a[12] = {1, 2, 3, 4, 50, 60, 70, 80, 0.1f, 0.2f, 0.3f, 7}, zeros[12] = {0};
        qn_test_floats(g, "a", DIMS(3, 4), a);
        qn_test_floats(g, "b", DIMS(3, 4), zeros);
        qn_test_ints(g, "rows", 2, (const int64_t[]){-1, 4});
        qn_test_ints(g, "back", 3, (const int64_t[]){-1, 2, 4});
        qn_test_ints(g, "one", 3, (const int64_t[]){1, 3, 4});
        qn_test_ints(g, "axis", 1, (const int64_t[]){1});
        qn_test_input(g, "x", DIMS(-1, 2, 4));
        NODE(g, "Add", "a b", "c");
        NODE(g, "Reshape", "x rows", "r");
        NODE(g, "Reshape", "r back", "s");
        NODE(g, "Reshape", "c one", "d");
        NODE_WITH(g, "ReduceMean", "x", "m", A_INTS("axes", 1), A_INT("keepdims", 1));
        NODE(g, "Sub", "m m", "z"); /* zeros [N, 1, 4] */
        NODE(g, "Add", "z d", "t"); /* c for each item */
        NODE_WITH(g, "Concat", "s t", "y", A_INT("axis", 1));
        qn_test_output(g, "y");
        set_dynamic(g, "c", int4, -1, 0);
        set_dynamic(g, "r", int4, -1, 0);
        float x[N_ITEMS * 8], wanted_c[12], wanted[N_ITEMS * 20];
        fill_items(x, 8, true);
        expect_item(wanted_c, a, int4, -1, 0, 2, (const int64_t[]){3, 4});
        for (int64_t i = 0; i < N_ITEMS; i++) {
            expect_item(wanted + i * 20, x + i * 8, int4, -1, 0, 2, (const int64_t[]){1, 4});
            expect_item(wanted + i * 20 + 4, x + i * 8 + 4, int4, -1, 0, 2, (const int64_t[]){1, 4});
            memcpy(wanted + i * 20 + 8, wanted_c, sizeof wanted_c);
        }
        int64_t out;
        float *y = run_model(&model, QN_ENGINE_SIMULATE, batch, x, N_ITEMS, &out);
        for (int64_t i = 0; i < N_ITEMS * 20; i++) {
            assert_float_equal(y[i], wanted[i], 0);
        }
        qn_free(y);
        qn_graph_free(g);
    }
}

static void quantizers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const float scales[3] = {1, 1, 1};
    static const int32_t zeros[3] = {0, 0, 0};
    const qn_format int8 = {.bits = 8, .is_signed = true},
                    bfp = {.kind = QN_FORMAT_BFP, .bits = 8, .is_signed = true, .block = 4};
    const struct {
        qn_quantizer q;
        const char *said;
    } wrong[] = {
        {{.format = int8, .axis = 1, .n = 3, .scale = scales, .zero_point = zeros},
         "3 quantization parameters where 6"},
        {{.format = int8, .axis = 2, .dynamic = true}, "axis 2"},
        {{.format = int8, .axis = -1, .n = 1, .scale = scales, .zero_point = zeros, .dynamic = true},
         "keeps no parameters"},
        {{.format = bfp, .axis = 1, .group = 3, .dynamic = true}, "blocks of 4"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_model model = new_model();
        qn_test_input(&model.graph, "x", DIMS(-1, 6));
        NODE(&model.graph, "Relu", "x", "y");
        qn_test_output(&model.graph, "y");
        qn_assert_ok(qn_graph_set_quantizer(&model.graph, qn_graph_find(&model.graph, "y"), &wrong[i].q, &err), &err);
        qn_program_options options;
        qn_program *program = NULL;
        qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_SIMULATE, &err), &err);
        qn_assert_fails(qn_program_create(&program, &model, &options, &err), &err, QN_EINVAL, wrong[i].said);
        assert_non_null(strstr(err.message, "'y'"));
        qn_graph_free(&model.graph);
    }
}

/* x -> Conv -> Relu with one format all over, parameters kept: only plain integers of 8 bits have an integer form. */
static void engines_are_chosen_by_format(void **state)
{
    (void)state;
    static const char *const names[] = {"fp16", "adaptivfloat<8,3>", "posit<8,1>", "ap_fixed<8,3>", "int4", "binary"};
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        qn_error err;
        qn_error_init(&err);
        qn_model model = new_model();
        qn_graph *g = &model.graph;
        qn_test_input(g, "x", DIMS(-1, 4, 5, 5));
        qn_test_floats(g, "w", DIMS(4, 4, 3, 3), NULL);
        NODE(g, "Conv", "x w", "c");
        NODE(g, "Relu", "c", "y");
        qn_test_output(g, "y");
        const qn_tensor *weights = g->values[qn_graph_find(g, "w")].constant;
        qn_format format;
        qn_quantizer *q;
        qn_engine engine;
        qn_assert_ok(qn_engine_choose(&engine, &model, &err), &err);
        assert_int_equal(engine, QN_ENGINE_FLOAT);
        qn_assert_ok(qn_format_parse(&format, names[f], &err), &err);
        qn_assert_ok(qn_fit(&q, weights, format, NULL, &err), &err);
        for (const char *value = "xwcy"; *value != '\0'; value++) {
            const char name[] = {*value, '\0'};
            qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, name), q, &err), &err);
        }
        qn_assert_ok(qn_engine_choose(&engine, &model, &err), &err);
        assert_int_equal(engine, QN_ENGINE_SIMULATE);
        qn_quantizer_free(q);
        qn_graph_free(g);
    }
}

static void copies_of_graphs_stay_dynamic(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model model = new_model();
    qn_value_id x = qn_test_input(&model.graph, "x", DIMS(-1, 6));
    NODE(&model.graph, "Relu", "x", "y");
    qn_test_output(&model.graph, "y");
    set_dynamic(&model.graph, "x", (qn_format){.bits = 8}, 1, 2);
    qn_graph copy;
    qn_assert_ok(qn_graph_clone(&copy, &model.graph, &err), &err);
    const qn_quantizer *q = copy.values[x].quantizer;
    assert_true(q != model.graph.values[x].quantizer && qn_quantizer_equal(q, model.graph.values[x].quantizer));
    assert_true(q->dynamic && q->n == 0 && q->scale == NULL && q->zero_point == NULL);
    qn_assert_ok(qn_quantizer_check(q, 2, (const int64_t[]){1, 6}, NULL, &err), &err);
    qn_graph_free(&copy);

    /* and are for simulation alone */
    qn_program_options options;
    qn_program *program = NULL;
    qn_engine engine;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    qn_assert_fails(qn_program_create(&program, &model, &options, &err), &err, QN_EUNSUPPORTED,
                    "'x', which is dynamic uint8");
    qn_error_init(&err);
    qn_assert_ok(qn_engine_choose(&engine, &model, &err), &err);
    assert_int_equal(engine, QN_ENGINE_SIMULATE);
    float row[6] = {0};
    const qn_tensor tensor = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {1, 6}, .data = row};
    qn_tensor codes;
    qn_assert_fails(qn_encode(&codes, &tensor, model.graph.values[x].quantizer, NULL, &err), &err, QN_EINVAL, "qn_fit");
    qn_graph_free(&model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_faked_along_any_axis),       cmocka_unit_test(items_are_what_the_batch_counts),
        cmocka_unit_test(quantizers_that_do_not_fit_are_refused), cmocka_unit_test(engines_are_chosen_by_format),
        cmocka_unit_test(copies_of_graphs_stay_dynamic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
