/* Bias correction without data, against numerical integration. */
#include "graph_builder.h"

#include <math.h>
#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"
#include "ptq_pass.h"

/* Mean and variance of min(max(x, lo), hi) by the midpoint rule over 12 deviations. */
static void integrate(double mean, double deviation, double lo, double hi, double *m, double *variance)
{
    enum { STEPS = 400000 };
    double sum = 0, squares = 0, weights = 0;
    for (int i = 0; i < STEPS; i++) {
        double z = -12 + 24 * (i + 0.5) / STEPS, weight = exp(-0.5 * z * z), x = mean + deviation * z;
        x = x < lo ? lo : x > hi ? hi : x;
        weights += weight;
        sum += weight * x;
        squares += weight * x * x;
    }
    *m = sum / weights;
    *variance = squares / weights - *m * *m;
}

static void clipped_normals_have_these_moments(void **state)
{
    (void)state;
    static const double cases[][4] = {
        {0, 1, 0, INFINITY},    {0.7, 0.4, 0, INFINITY}, {-1.5, 1.1, 0, INFINITY},
        {2, 3, 0, 6},           {5.5, 1, 0, 6},          {-3, 0.5, 0, 6},
        {1, 2, -INFINITY, 1.5}, {0.2, 0.9, -1, 1},       {0.3, 1.7, -INFINITY, INFINITY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const double *c = cases[i];
        double mean, variance, expected_mean, expected_variance;
        qn_ptq_clipped_normal(c[0], c[1], c[2], c[3], &mean, &variance);
        integrate(c[0], c[1], c[2], c[3], &expected_mean, &expected_variance);
        assert_true(fabs(mean - expected_mean) < 1e-6);
        assert_true(fabs(variance - expected_variance) < 1e-5);
    }
    double mean, variance;
    qn_ptq_clipped_normal(-2, 0, 0, INFINITY, &mean, &variance);
    assert_true(mean == 0 && variance == 0);
    qn_ptq_clipped_normal(9, 0, 0, 6, &mean, &variance);
    assert_true(mean == 6 && variance == 0);
}

/* x -> Conv -> BatchNormalization -> Relu -> Conv(2 groups) -> mean -> Flatten -> Gemm without a bias. */
static void build(qn_graph *g, float gamma[4], float beta[4])
{
    static const float ones[4] = {1, 1, 1, 1}, zeros[4] = {0, 0, 0, 0};
    g->opset = 13;
    g->file = g->name = g->producer = "";
    qn_test_input(g, "x", DIMS(-1, 2, 5, 5));
    qn_test_floats(g, "w1", DIMS(4, 2, 3, 3), NULL);
    NODE(g, "Conv", "x w1", "c1");
    qn_test_floats(g, "gamma", DIMS(4), gamma);
    qn_test_floats(g, "beta", DIMS(4), beta);
    qn_test_floats(g, "mean", DIMS(4), zeros);
    qn_test_floats(g, "var", DIMS(4), ones);
    NODE(g, "BatchNormalization", "c1 gamma beta mean var", "n1");
    NODE(g, "Relu", "n1", "r1");
    NODE(g, "GlobalAveragePool", "r1", "p");
    NODE(g, "Flatten", "p", "f");
    qn_test_floats(g, "w2", DIMS(4, 3), NULL);
    NODE(g, "Gemm", "f w2", "y");
    qn_test_floats(g, "w3", DIMS(6, 2, 2, 2), NULL);
    qn_test_floats(g, "b3", DIMS(6), NULL);
    NODE_WITH(g, "Conv", "r1 w3 b3", "z", A_INT("group", 2));
    qn_test_output(g, "y");
    qn_test_output(g, "z");
}

static void biases_make_good_what_rounding_takes_from_means(void **state)
{
    (void)state;
    float gamma[4] = {0.5f, -1.25f, 2, 0.75f}, beta[4] = {0.25f, 1, -0.5f, 0};
    qn_error err;
    qn_error_init(&err);
    qn_graph graph = {0};
    build(&graph, gamma, beta);
    float w2[12], w3[48], b3[6];
    memcpy(w2, graph.values[qn_graph_find(&graph, "w2")].constant->data, sizeof w2);
    memcpy(w3, graph.values[qn_graph_find(&graph, "w3")].constant->data, sizeof w3);
    memcpy(b3, graph.values[qn_graph_find(&graph, "b3")].constant->data, sizeof b3);
    const qn_ptq_settings settings = qn_test_ptq_settings(3);
    qn_ptq ptq = {.graph = &graph, .settings = &settings};
    qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_fold_batchnorm, &err), &err);
    qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_choose_weights, &err), &err);
    qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_correct_bias_analytic, &err), &err);
    double mean[4], unused, largest = 0;
    for (int c = 0; c < 4; c++) {
        integrate((double)beta[c], fabs((double)gamma[c]), 0, INFINITY, &mean[c], &unused);
    }
    const float *v2 = graph.values[qn_graph_find(&graph, "w2")].constant->data;
    const float *v3 = graph.values[qn_graph_find(&graph, "w3")].constant->data;
    const qn_node *gemm = NULL;
    for (size_t n = 0; n < graph.n_nodes; n++) {
        gemm = graph.nodes[n].op == QN_OP_GEMM ? &graph.nodes[n] : gemm;
    }
    assert_int_equal(gemm->n_inputs, 3);
    const float *b2 = graph.values[gemm->inputs[2]].constant->data;
    const float *new_b3 = graph.values[qn_graph_find(&graph, "b3")].constant->data;
    for (int c = 0; c < 3; c++) {
        double expected = 0;
        for (int i = 0; i < 4; i++) {
            expected += ((double)w2[i * 3 + c] - (double)v2[i * 3 + c]) * mean[i];
        }
        largest = fabs(expected) > largest ? fabs(expected) : largest;
        assert_true(fabs((double)b2[c] - expected) < 1e-5);
    }
    for (int c = 0; c < 6; c++) {
        double expected = (double)b3[c];
        for (int i = 0; i < 8; i++) {
            expected += ((double)w3[c * 8 + i] - (double)v3[c * 8 + i]) * mean[c / 3 * 2 + i / 4];
        }
        assert_true(fabs((double)new_b3[c] - expected) < 1e-5);
    }
    assert_true(largest > 0.01);
    qn_arena_free(&ptq.scratch);
    qn_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clipped_normals_have_these_moments),
        cmocka_unit_test(biases_make_good_what_rounding_takes_from_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
