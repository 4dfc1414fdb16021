/* Nodes of older opsets rewritten for a later one compute the same. */
#include "run_network.h"

#include "onnx/onnx.h"

enum { ITEMS = 2, N_X = 4 * 6 };

#define A_FLOATS(name_, ...)                                                                                           \
    {                                                                                                                  \
        .name = name_, .type = QN_ATTRIBUTE_FLOATS, .floats = (const float[]){__VA_ARGS__},                            \
        .n = (int64_t)(sizeof((float[]){__VA_ARGS__}) / sizeof(float))                                                 \
    }

static void old_network(qn_graph *g)
{
    g->opset = 8;
    qn_test_input(g, "x", DIMS(-1, 1, 4, 6));
    NODE_WITH(g, "Split", "x", "a b", A_INT("axis", 3), A_INTS("split", 2, 4));
    NODE_WITH(g, "Split", "b", "c d", A_INT("axis", 3));
    NODE_WITH(g, "TopK", "c", "top at", A_INT("axis", 2), A_INT("k", 4));
    NODE_WITH(g, "ReduceSum", "d", "sum", A_INTS("axes", 3), A_INT("keepdims", 1));
    NODE_WITH(g, "ReduceMax", "d", "most", A_INTS("axes", 2), A_INT("keepdims", 1));
    NODE_WITH(g, "LogSoftmax", "a", "log", A_INT("axis", 3));
    NODE(g, "Sum", "top sum most log", "all");
    NODE_WITH(g, "Upsample", "all", "y", A_STRING("mode", "nearest"), A_FLOATS("scales", 1, 1, 1.5f, 2));
    qn_test_output(g, "y");
}

static void raised_nodes_compute_the_same(void **unused)
{
    (void)unused;
    enum { N_Y = 6 * 4 };
    static float x[ITEMS * N_X], y[2][ITEMS * N_Y];
    fill(x, ITEMS * N_X, 3);
    for (int64_t opset = 13; opset <= 21; opset += 4) {
        for (int raised = 0; raised < 2; raised++) {
            net t;
            qn_graph *g = start(&t);
            old_network(g);
            for (size_t i = 0; i < g->n_values; i++) { /* as a file declares them */
                g->values[i].rank = 4;
            }
            if (raised == 1) {
                qn_assert_ok(qn_opset_raise(g, opset, &t.err), &t.err);
                assert_int_equal(g->opset, opset);
            }
            run(&t, QN_ENGINE_FLOAT, x, N_X, ITEMS, y[raised], N_Y);
            qn_graph_free(g);
        }
        assert_memory_equal(y[0], y[1], sizeof y[0]);
    }
}

static void scales_of_groups_are_refused(void **unused)
{
    (void)unused;
    net t;
    qn_graph *g = start(&t);
    g->opset = 18;
    qn_test_input(g, "x", DIMS(-1, 4, 6));
    qn_test_floats(g, "scale", DIMS(2), NULL);
    NODE_WITH(g, "GroupNormalization", "x scale scale", "y", A_INT("num_groups", 2));
    qn_test_output(g, "y");
    qn_assert_fails(qn_opset_raise(g, 21, &t.err), &t.err, QN_EUNSUPPORTED, "scales are those of groups");
    qn_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raised_nodes_compute_the_same),
        cmocka_unit_test(scales_of_groups_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
