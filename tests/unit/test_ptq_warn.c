/* Remarks on data and weights: each where it applies, and not where it does not. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "calib/calib.h"
#include "format/row.h"
#include "graph_builder.h"
#include "ptq/settings.h"

typedef struct {
    qn_graph graph;
    qn_calibration calibration;
    qn_ptq_settings settings;
    qn_ptq ptq;
    qn_error err;
} bench;

/* x -> Conv of n channels 'y' -> MaxPool 'z', values coded in 8 bits over -1..1. */
static void setup(bench *b, int64_t n)
{
    memset(b, 0, sizeof *b);
    qn_error_init(&b->err);
    b->graph.opset = 13;
    b->graph.file = "test.onnx";
    b->ptq = (qn_ptq){.graph = &b->graph, .calibration = &b->calibration, .settings = &b->settings};
    b->calibration.n_items = 100;
    qn_test_input(&b->graph, "x", DIMS(-1, 1, 4, 4));
    qn_test_floats(&b->graph, "w", DIMS(n, 1, 3, 3), NULL);
    NODE(&b->graph, "Conv", "x w", "y");
    NODE_WITH(&b->graph, "MaxPool", "y", "z", A_INTS("kernel_shape", 1, 1));
    qn_test_output(&b->graph, "z");
}

static void teardown(bench *b)
{
    qn_graph_free(&b->graph);
    qn_arena_free(&b->ptq.scratch);
    qn_calibration_release(&b->calibration);
}

/* Give a value a quantizer that reaches over its range, and channels that are all as large. */
static float *give(bench *b, const char *name, const char *format, float min, float max, int64_t n_channels)
{
    qn_range *r;
    qn_range_arrays arrays;
    qn_format f;
    qn_assert_ok(qn_calibration_add_arrays(&b->calibration, name, n_channels, true, &r, &arrays, &b->err), &b->err);
    r->min = min;
    r->max = max;
    for (int64_t c = 0; c < n_channels; c++) {
        arrays.absmax[c] = fmaxf(max, -min);
    }
    qn_assert_ok(qn_format_parse(&f, format, &b->err), &b->err);
    qn_params params = qn_format_params_neutral();
    params.scale = fmaxf(fmaxf(max, -min), 1e-3F) / 127;
    qn_assert_ok(qn_ptq_set_params(&b->graph, qn_graph_find(&b->graph, name), f, &params, &b->err), &b->err);
    return arrays.absmax;
}

/* 100000 values in -1..1, and one as large as the range of `name`. */
static void give_histogram(bench *b, const char *name)
{
    enum { N = 100000 };
    static double x[N + 1];
    for (int i = 0; i < N; i++) {
        x[i] = 2.0 * i / (N - 1) - 1;
    }
    qn_range *r = NULL;
    for (size_t i = 0; i < b->calibration.n_ranges; i++) {
        r = strcmp(b->calibration.ranges[i].value_name, name) == 0 ? &b->calibration.ranges[i] : r;
    }
    assert_non_null(r);
    x[N] = (double)r->max;
    qn_tensor t = {.dtype = QN_DTYPE_F64, .rank = 1, .dims = {N + 1}, .data = x};
    qn_histogram *histogram;
    qn_assert_ok(qn_histogram_new(&histogram, 0, &b->err), &b->err);
    qn_assert_ok(qn_histogram_add(histogram, &t, QN_NAN_REFUSE, QN_INF_REFUSE, &b->err), &b->err);
    qn_calibration_keep(&b->calibration, r, histogram);
}

/* Run the pass; exactly the remarks given, in any order. */
static void expect(bench *b, const char *const *remarks)
{
    qn_assert_ok(qn_ptq_warn_of_weights(&b->ptq, &b->err), &b->err);
    qn_assert_ok(qn_ptq_warn_of_values(&b->ptq, &b->err), &b->err);
    size_t n = 0, n_found = 0;
    for (; remarks[n] != NULL; n++) {
        bool found = false;
        for (const qn_ptq_remark *r = b->ptq.remarks; r != NULL; r = r->next) {
            found = found || strstr(r->text, remarks[n]) != NULL;
        }
        if (!found) {
            fail_msg("no remark '%s'", remarks[n]);
        }
    }
    for (const qn_ptq_remark *r = b->ptq.remarks; r != NULL; r = r->next, n_found++) {
        if (n_found >= n) {
            fail_msg("'%s' is said too", r->text);
        }
    }
}
#define REMARKS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NONE         ((const char *const[]){NULL})

static void nothing_is_said_of_what_is_in_order(void **state)
{
    (void)state;
    bench b;
    setup(&b, 2);
    give(&b, "x", "int8", -1, 1, 1);
    give(&b, "y", "int8", -1, 1, 2);
    give_histogram(&b, "y");
    expect(&b, NONE);
    teardown(&b);
}

static void outliers_are_named_with_their_ratio(void **state)
{
    (void)state;
    bench b;
    setup(&b, 2);
    give(&b, "x", "int8", -1, 1, 1);
    give(&b, "y", "int8", -1, 128, 2);
    give(&b, "z", "int8", -1, 128, 2); /* moves the codes of y: not another one */
    give_histogram(&b, "y");
    give_histogram(&b, "z");
    expect(&b, REMARKS("1 value's greatest element is far beyond 99.99 % of the others: 'y' (128 times);"));
    teardown(&b);
}

/* A range that leaves them out, a format whose steps grow, and 90 times, are no cause. */
static void outliers_that_do_no_harm_are_not_named(void **state)
{
    (void)state;
    bench b;
    for (int i = 0; i < 3; i++) {
        setup(&b, 2);
        give(&b, "x", "int8", -1, 1, 1);
        give(&b, "y", i == 1 ? "fp8e4m3" : "int8", -1, i == 2 ? 90 : 128, 2);
        give_histogram(&b, "y");
        if (i == 0) {
            qn_params params = qn_format_params_neutral();
            params.scale = 1.0F / 127;
            qn_format f;
            qn_assert_ok(qn_format_parse(&f, "int8", &b.err), &b.err);
            qn_assert_ok(qn_ptq_set_params(&b.graph, qn_graph_find(&b.graph, "y"), f, &params, &b.err), &b.err);
        }
        expect(&b, NONE);
        teardown(&b);
    }
}

static void constant_and_dead_values_are_named(void **state)
{
    (void)state;
    bench b;
    setup(&b, 2);
    give(&b, "x", "int8", 7, 7, 1);
    give(&b, "y", "int8", 0, 0, 2);
    expect(&b, REMARKS("1 value is always the same: 'x' (7);", "1 value is always 0: 'y';"));
    teardown(&b);
}

static void dead_channels_are_counted(void **state)
{
    (void)state;
    bench b;
    setup(&b, 8);
    give(&b, "x", "int8", -1, 1, 1);
    float *absmax = give(&b, "y", "int8", -1, 1, 8);
    absmax[2] = absmax[3] = absmax[7] = 0;
    expect(&b, REMARKS("1 value has channels that are always 0: 'y' (3 of 8);"));
    teardown(&b);
}

static void few_items_are_told(void **state)
{
    (void)state;
    static const struct {
        int64_t n;
        const char *text;
    } rows[] = {{1, "those of 1 item, "}, {31, "those of 31 items, "}, {32, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench b;
        setup(&b, 2);
        give(&b, "x", "int8", -1, 1, 1);
        b.calibration.n_items = rows[i].n;
        expect(&b, REMARKS(rows[i].text));
        teardown(&b);
    }
}

static void set_grid(bench *b, bool per_channel)
{
    qn_quantizer q = {.axis = per_channel ? 0 : -1, .n = 1};
    qn_assert_ok(qn_format_parse(&q.format, "int8", &b->err), &b->err);
    qn_assert_ok(qn_ptq_set_grid(&b->ptq, qn_graph_find(&b->graph, "w"), &q, &b->err), &b->err);
}

/* A weight among its channel's counts where channels have scales of their own, a channel among channels where not. */
static void outlying_weights_are_named(void **state)
{
    (void)state;
    static const struct {
        bool per_channel, one_weight;
        const char *text;
    } rows[] = {{true, true, "1 node's greatest weights are far beyond the median: 'y' (channel 1: 200 times);"},
                {true, false, NULL},
                {false, true, "'y' (channel 1: 200 times);"},
                {false, false, "'y' (channel 1: 200 times);"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench b;
        setup(&b, 3);
        float *w = b.graph.values[qn_graph_find(&b.graph, "w")].constant->data;
        for (int k = 0; k < 27; k++) {
            w[k] = (k % 2 == 0 ? 0.5F : -0.5F) * (!rows[i].one_weight && k / 9 == 1 ? 200 : 1);
        }
        w[12] = -100;
        set_grid(&b, rows[i].per_channel);
        expect(&b, REMARKS(rows[i].text));
        teardown(&b);
    }
}

/* No more than five names, the worst first, and the number of all. */
static void the_worst_five_are_listed(void **state)
{
    (void)state;
    bench b;
    setup(&b, 8);
    give(&b, "x", "int8", -1, 1, 1);
    char name[8];
    for (int i = 1; i <= 7; i++) {
        snprintf(name, sizeof name, "c%d", i);
        NODE(&b.graph, "Conv", "x w", name);
        qn_test_output(&b.graph, name);
        float *absmax = give(&b, name, "int8", -1, 1, 8);
        for (int c = 0; c < (i * 3) % 8; c++) { /* 3 6 1 4 7 2 5 */
            absmax[c] = 0;
        }
    }
    expect(&b, REMARKS("7 values have channels that are always 0: 'c5' (7 of 8), 'c2' (6 of 8), 'c7' (5 of 8), 'c4' (4 "
                       "of 8), 'c1' (3 of 8), ...; "));
    teardown(&b);
}

static void diagnosis_tells_of_outliers(void **state)
{
    (void)state;
    bench b;
    for (int i = 0; i < 2; i++) {
        setup(&b, 2);
        give(&b, "y", "int8", -1, i == 0 ? 128 : 90, 2);
        give_histogram(&b, "y");
        char text[256];
        const qn_node *node = &b.graph.nodes[b.graph.values[qn_graph_find(&b.graph, "y")].producer];
        qn_assert_ok(qn_ptq_diagnose(&b.ptq, node, text, sizeof text, &b.err), &b.err);
        if (i == 0) {
            assert_string_equal(
                text, "output has outliers: the greatest is 128 times what 99.99 % of its elements stay below");
        } else {
            assert_string_equal(text, "");
        }
        teardown(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_said_of_what_is_in_order),
        cmocka_unit_test(outliers_are_named_with_their_ratio),
        cmocka_unit_test(outliers_that_do_no_harm_are_not_named),
        cmocka_unit_test(constant_and_dead_values_are_named),
        cmocka_unit_test(dead_channels_are_counted),
        cmocka_unit_test(few_items_are_told),
        cmocka_unit_test(outlying_weights_are_named),
        cmocka_unit_test(the_worst_five_are_listed),
        cmocka_unit_test(diagnosis_tells_of_outliers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
