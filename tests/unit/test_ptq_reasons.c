/* Arbitration of joins, and the reasons that diagnosis finds: each where it applies and not where it does not. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "calib/calib.h"
#include "graph_builder.h"
#include "ptq_pass.h"

typedef struct {
    qn_graph graph;
    qn_calibration calibration;
    qn_ptq_settings settings;
    qn_ptq ptq;
    qn_error err;
} bench;

static void setup(bench *b)
{
    memset(b, 0, sizeof *b);
    qn_error_init(&b->err);
    b->graph.opset = 13;
    b->graph.file = "test.onnx";
    b->settings = qn_test_ptq_settings(8);
    b->ptq = (qn_ptq){.graph = &b->graph, .calibration = &b->calibration, .settings = &b->settings};
}

static void teardown(bench *b)
{
    qn_graph_free(&b->graph);
    qn_arena_free(&b->ptq.scratch);
    qn_calibration_release(&b->calibration);
}

/* Channels that are all as large as the range. */
static float *range(bench *b, const char *name, float min, float max, int64_t n_channels)
{
    qn_range *r;
    float *absmax;
    qn_assert_ok(qn_calibration_add(&b->calibration, name, n_channels, &r, &absmax, &b->err), &b->err);
    r->min = min;
    r->max = max;
    for (int64_t c = 0; c < n_channels; c++) {
        absmax[c] = max > -min ? max : -min;
    }
    return absmax;
}

static const qn_quantizer *quantizer(const bench *b, const char *name)
{
    const qn_quantizer *q = b->graph.values[qn_graph_find(&b->graph, name)].quantizer;
    assert_non_null(q);
    return q;
}

/* A sum whose one operand is a pooled layer, and a Concat of one of its operands with another layer. */
static void joins_share_the_widest_scale(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    qn_graph *g = &b.graph;
    qn_test_input(g, "x", DIMS(-1, 2, 4, 4));
    qn_test_floats(g, "w", DIMS(2, 2, 1, 1), NULL);
    NODE(g, "Conv", "x w", "a");
    NODE(g, "Conv", "x w", "b");
    NODE(g, "Conv", "x w", "c");
    NODE(g, "Conv", "x w", "alone");
    NODE_WITH(g, "MaxPool", "a", "pa", A_INTS("kernel_shape", 1, 1));
    NODE(g, "Add", "pa b", "sum");
    NODE_WITH(g, "Concat", "b c", "cat", A_INT("axis", 1));
    qn_test_output(g, "sum");
    qn_test_output(g, "cat");
    qn_test_output(g, "alone");
    const struct {
        const char *name;
        float min, max;
        int64_t n;
    } ranges[] = {{"x", -1, 1, 2},    {"a", 0, 2, 2},  {"b", -3, 1, 2},   {"c", -1, 9, 2},
                  {"alone", 0, 1, 2}, {"pa", 0, 2, 2}, {"sum", -2, 3, 2}, {"cat", -3, 9, 4}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        range(&b, ranges[i].name, ranges[i].min, ranges[i].max, ranges[i].n);
    }
    qn_assert_ok(qn_test_ptq_pass(&b.ptq, qn_ptq_choose_ranges, &b.err), &b.err);
    const qn_quantizer before_sum = *quantizer(&b, "sum"), before_alone = *quantizer(&b, "alone");
    qn_assert_ok(qn_test_ptq_pass(&b.ptq, qn_ptq_arbitrate_joins, &b.err), &b.err);
    const char *const joined[] = {"a", "pa", "b", "c", "cat"};
    for (size_t i = 0; i < sizeof joined / sizeof joined[0]; i++) {
        const qn_quantizer *q = quantizer(&b, joined[i]);
        assert_true(qn_quantizer_equal(q, quantizer(&b, "a")));
        /* -3..9 in 255 steps, give or take what the operands' own zero points were rounded by */
        assert_true(fabsf(q->scale[0] * 255 / 12 - 1) < 0.01f);
        assert_int_equal(q->zero_point[0], 64);
    }
    assert_true(qn_quantizer_equal(quantizer(&b, "sum"), &before_sum));
    assert_true(qn_quantizer_equal(quantizer(&b, "alone"), &before_alone));
    teardown(&b);
}

/* A class token, copied for each item, and tokens on codes: their Concat is on codes as well. A sum with copies, which
 * may be a mask, is not. */
static void copies_of_a_constant_join_codes(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    qn_graph *g = &b.graph;
    qn_test_input(g, "x", DIMS(-1, 4, 8));
    qn_test_floats(g, "w", DIMS(8, 8), NULL);
    qn_test_floats(g, "token", DIMS(1, 1, 8), NULL);
    NODE(g, "MatMul", "x w", "t");
    NODE(g, "Shape", "x", "shape");
    NODE(g, "Expand", "token shape", "copies");
    NODE_WITH(g, "Concat", "copies t", "cat", A_INT("axis", 1));
    NODE(g, "Expand", "token shape", "mask");
    NODE(g, "Add", "t mask", "masked");
    NODE_WITH(g, "Concat", "masked t", "uncoded", A_INT("axis", 1));
    qn_test_output(g, "cat");
    qn_test_output(g, "uncoded");
    const char *const names[] = {"x", "t", "copies", "cat", "mask", "masked", "uncoded"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        range(&b, names[i], -1, 2, i == 3 || i == 6 ? 8 : 4);
    }
    qn_assert_ok(qn_test_ptq_pass(&b.ptq, qn_ptq_choose_ranges, &b.err), &b.err);
    for (size_t i = 0; i < 4; i++) {
        (void)quantizer(&b, names[i]);
    }
    for (size_t i = 4; i < sizeof names / sizeof names[0]; i++) {
        assert_null(g->values[qn_graph_find(g, names[i])].quantizer);
    }
    teardown(&b);
}

/* With the same zero point nothing but the greatest scale is chosen: max arbitration to the letter. */
static void unsigned_joins_take_the_greatest_scale(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    qn_graph *g = &b.graph;
    qn_test_input(g, "x", DIMS(-1, 2, 4, 4));
    NODE(g, "Relu", "x", "a");
    qn_test_input(g, "x2", DIMS(-1, 2, 4, 4));
    NODE(g, "Relu", "x2", "b");
    NODE(g, "Add", "a b", "sum");
    qn_test_output(g, "sum");
    range(&b, "x", -4, 4, 2), range(&b, "x2", -1, 0.99f, 2);
    range(&b, "a", 0, 4, 2), range(&b, "b", 0, 0.99f, 2), range(&b, "sum", 0, 5, 2);
    qn_assert_ok(qn_test_ptq_pass(&b.ptq, qn_ptq_choose_ranges, &b.err), &b.err);
    float greatest = quantizer(&b, "a")->scale[0];
    qn_assert_ok(qn_test_ptq_pass(&b.ptq, qn_ptq_arbitrate_joins, &b.err), &b.err);
    assert_true(quantizer(&b, "b")->scale[0] == greatest && quantizer(&b, "a")->scale[0] == greatest);
    assert_int_equal(quantizer(&b, "b")->zero_point[0], 0);
    teardown(&b);
}

static void joins_of_two_formats_are_refused(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    qn_graph *g = &b.graph;
    const float scale = 0.5f;
    const int32_t zero_point = 0;
    qn_quantizer q = {.format = {.bits = 4}, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero_point};
    qn_test_input(g, "x", DIMS(-1, 2));
    NODE(g, "Relu", "x", "a");
    qn_test_input(g, "x2", DIMS(-1, 2, 4, 4));
    NODE(g, "Relu", "x2", "b");
    NODE(g, "Add", "a b", "sum");
    qn_test_output(g, "sum");
    qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, "a"), &q, &b.err), &b.err);
    q.format.bits = 8;
    qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, "b"), &q, &b.err), &b.err);
    qn_assert_fails(qn_test_ptq_pass(&b.ptq, qn_ptq_arbitrate_joins, &b.err), &b.err, QN_EINVAL, "other formats");
    teardown(&b);
}

static void expect_reason(bench *b, const char *output, const char *reason)
{
    char text[512];
    const qn_node *node = &b->graph.nodes[b->graph.values[qn_graph_find(&b->graph, output)].producer];
    qn_assert_ok(qn_ptq_diagnose(&b->ptq, node, text, sizeof text, &b->err), &b->err);
    if (reason == NULL ? text[0] != '\0' : strstr(text, reason) == NULL) {
        fail_msg("'%s' of '%s', not '%s'", text, output, reason != NULL ? reason : "");
    }
}

static void reasons_are_found(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    qn_graph *g = &b.graph;
    float even[16 * 16], uneven[16 * 16];
    for (int i = 0; i < 256; i++) {
        even[i] = i % 2 == 0 ? 1 : -1;
        uneven[i] = even[i] * (i / 16 == 3 ? 20.0f : i / 16 == 5 ? 0.0f : 1.0f);
    }
    qn_test_input(g, "x", DIMS(-1, 16, 2, 2));
    qn_test_floats(g, "even", DIMS(16, 16, 1, 1), even);
    qn_test_floats(g, "uneven", DIMS(16, 16, 1, 1), uneven);
    NODE(g, "Conv", "x even", "good");
    NODE(g, "Conv", "x uneven", "bad");
    NODE(g, "Relu", "bad", "relu");
    NODE(g, "Relu", "good", "constant");
    NODE(g, "Add", "good bad", "join");
    NODE(g, "Add", "good relu", "fair");
    const char *const outputs[] = {"constant", "join", "fair"};
    for (size_t i = 0; i < 3; i++) {
        qn_test_output(g, outputs[i]);
    }
    range(&b, "x", -1, 1, 16);
    range(&b, "good", -1, 1, 16);
    range(&b, "bad", -3, 2, 16); /* 2.5 times as wide as good */
    range(&b, "fair", -1, 1, 16);
    range(&b, "join", -1, 1, 16);
    range(&b, "constant", 0, 0, 16);
    float *relu = range(&b, "relu", 0, 8, 16);
    for (int c = 0; c < 16; c++) {
        relu[c] = c == 2 ? 8 : c < 5 ? 0 : 0.1f;
    }
    expect_reason(&b, "good", NULL);
    expect_reason(&b, "bad", "weights uneven: channel 3 is 20 times the median");
    expect_reason(&b, "bad", "1 of 16 channels have no weights");
    expect_reason(&b, "relu", "channel 2 is 80 times the median");
    expect_reason(&b, "relu", "4 of 16 channels that are always 0");
    expect_reason(&b, "constant", "output is always 0");
    expect_reason(&b, "join", NULL);
    qn_assert_ok(qn_ptq_add_note(&b.ptq, qn_graph_find(g, "even"), 3, &b.err, "raised"), &b.err);
    expect_reason(&b, "good", "raised the weight scale of 3 of 16 channels");

    char text[24];
    const qn_node *bad = &g->nodes[g->values[qn_graph_find(g, "bad")].producer];
    qn_assert_ok(qn_ptq_diagnose(&b.ptq, bad, text, sizeof text, &b.err), &b.err);
    assert_string_equal(text, ""); /* whole sentences or none */
    teardown(&b);
}

static void joins_and_outliers_are_found(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    qn_graph *g = &b.graph;
    float outlier[2 * 400];
    for (int i = 0; i < 800; i++) {
        outlier[i] = i == 437 ? 40.0f : i % 2 == 0 ? 1 : -1; /* RMS of its channel: sqrt(1999 / 400) = 2.24 */
    }
    qn_test_input(g, "x", DIMS(-1, 400, 1, 1));
    qn_test_floats(g, "w", DIMS(2, 400, 1, 1), outlier);
    NODE(g, "Conv", "x w", "a");
    NODE(g, "Sigmoid", "a", "b");
    NODE(g, "Add", "a b", "sum");
    qn_test_output(g, "sum");
    range(&b, "a", -30, 10, 2), range(&b, "b", 0, 1, 2), range(&b, "sum", -30, 11, 2);
    expect_reason(&b, "a", "a weight of channel 1 is 18 times the channel's RMS");
    expect_reason(&b, "sum", "joins ranges of unequal width: 1 and 40");
    expect_reason(&b, "b", NULL);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_share_the_widest_scale),
        cmocka_unit_test(unsigned_joins_take_the_greatest_scale),
        cmocka_unit_test(copies_of_a_constant_join_codes),
        cmocka_unit_test(joins_of_two_formats_are_refused),
        cmocka_unit_test(reasons_are_found),
        cmocka_unit_test(joins_and_outliers_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
