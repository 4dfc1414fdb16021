/* Nodes that both engines run with the same loops: values of other types, parts, reductions, against the plainest loops that say
 * the same. */
#include "run_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void choices_are_made_while_a_network_runs(void **unused)
{
    (void)unused;
    enum { ITEMS = 3, N = 35 };
    static float x[ITEMS * N], y[ITEMS * N];
    static const float zero[] = {0.0f};
    fill(x, ITEMS * N, 5);
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        net t;
        qn_graph *g = start(&t);
        qn_test_input(g, "x", DIMS(-1, 5, 7));
        qn_test_floats(g, "zero", 0, NULL, zero);
        NODE(g, "Greater", "x zero", "positive");
        NODE(g, "Not", "positive", "negative");
        NODE(g, "Neg", "x", "minus");
        NODE(g, "Where", "negative minus x", "magnitude"); /* |x| */
        NODE_WITH(g, "ArgMax", "magnitude", "where", A_INT("axis", 2));
        NODE(g, "Add", "where where", "twice");
        NODE_WITH(g, "Transpose", "twice", "turned", A_INTS("perm", 0, 2, 1));
        NODE_WITH(g, "Flatten", "turned", "flat", A_INT("axis", 1));
        NODE_WITH(g, "Cast", "flat", "number", A_INT("to", 1));
        NODE_WITH(g, "Unsqueeze", "number", "column", A_INTS("axes", 2));
        t.model.graph.opset = 12;
        NODE(g, "Max", "column magnitude x", "y");
        qn_test_output(g, "y");
        run(&t, engine, x, N, ITEMS, y, N);
        for (int row = 0; row < ITEMS * 5; row++) {
            int at = 0;
            for (int i = 0; i < 7; i++) {
                at = fabsf(x[row * 7 + i]) > fabsf(x[row * 7 + at]) ? i : at;
            }
            for (int i = 0; i < 7; i++) {
                assert_float_equal(y[row * 7 + i], fmaxf(2 * (float)at, fabsf(x[row * 7 + i])), 0);
            }
        }
        qn_graph_free(g);
    }
}

/* The value of one output over its elements v[0..n). */
static double reduced(const char *type, const double *v, int n)
{
    double sum = 0, squares = 0, magnitudes = 0, product = 1, most = v[0], least = v[0], powers = 0;
    for (int i = 0; i < n; i++) {
        sum += v[i];
        squares += v[i] * v[i];
        magnitudes += fabs(v[i]);
        product *= v[i];
        most = fmax(most, v[i]);
        least = fmin(least, v[i]);
        powers += exp(v[i]);
    }
    const struct {
        const char *type;
        double value;
    } rows[] = {{"ReduceL1", magnitudes},   {"ReduceL2", sqrt(squares)},
                {"ReduceLogSum", log(sum)}, {"ReduceLogSumExp", log(powers)},
                {"ReduceMax", most},        {"ReduceMean", sum / n},
                {"ReduceMin", least},       {"ReduceProd", product},
                {"ReduceSum", sum},         {"ReduceSumSquare", squares}};
    size_t row = 0;
    while (strcmp(rows[row].type, type) != 0) {
        row++;
    }
    return rows[row].value;
}

static void expect_reduced(const char *type, const float *x, const int *dims, const bool *out, const float *y)
{
    enum { MOST = 4096 };
    static double v[MOST];
    static int at[MOST]; /* the output each element goes into */
    const int n_x = dims[0] * dims[1] * dims[2] * dims[3];
    int n_y = 1;
    assert_in_range(n_x, 1, MOST);
    for (int d = 0; d < 4; d++) {
        n_y *= out[d] ? 1 : dims[d];
    }
    for (int i = 0; i < n_x; i++) {
        int rest = i, scale = 1;
        at[i] = 0;
        for (int d = 3; d >= 0; d--) {
            at[i] += out[d] ? 0 : rest % dims[d] * scale;
            scale *= out[d] ? 1 : dims[d];
            rest /= dims[d];
        }
    }
    for (int o = 0; o < n_y; o++) {
        int n = 0;
        for (int i = 0; i < n_x; i++) {
            if (at[i] == o) {
                v[n++] = (double)x[i];
            }
        }
        const double wanted = reduced(type, v, n);
        if (isnan(wanted) ? !isnan(y[o]) : !(fabs((double)y[o] - wanted) <= 2e-7 * (1 + fabs(wanted)))) {
            fail_msg("%s, output %d: %.9g, not %.9g", type, o, (double)y[o], wanted);
        }
    }
}

static void reductions_are_those_of_plain_loops(void **unused)
{
    (void)unused;
    static const char *const types[] = {"ReduceL1",  "ReduceL2",       "ReduceLogSum", "ReduceLogSumExp",
                                        "ReduceMax", "ReduceMean",     "ReduceMin",    "ReduceProd",
                                        "ReduceSum", "ReduceSumSquare"};
    enum { N = 3 * 17 * 9 * 5 };
    static const int dims[4] = {1, 17, 9, 15};
    static const bool reduced_axes[][4] = {{false, true, false, false}, {false, false, true, false},
                                           {false, false, false, true}, {false, true, false, true},
                                           {false, false, true, true},  {false, true, true, true}};
    static float x[N], y[N];
    fill(x, N, 11);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (size_t k = 0; k < sizeof reduced_axes / sizeof reduced_axes[0]; k++) {
            for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
                int64_t axes[4], n_axes = 0, n_y = 1;
                for (int d = 0; d < 4; d++) {
                    if (reduced_axes[k][d]) {
                        axes[n_axes++] = d;
                    } else {
                        n_y *= dims[d];
                    }
                }
                net t;
                qn_graph *g = start(&t);
                t.model.graph.opset = 18;
                qn_test_input(g, "x", DIMS(-1, 17, 9, 15));
                qn_test_ints(g, "axes", (int)n_axes, axes);
                qn_test_node(g, types[i], "x axes", "y", 0, NULL);
                qn_test_output(g, "y");
                run(&t, engine, x, N, 1, y, n_y);
                expect_reduced(types[i], x, dims, reduced_axes[k], y);
                qn_graph_free(g);
            }
        }
    }
}

/* One normalized element, over x[0..n). */
static double normalized(const float *x, int n, double v, double epsilon)
{
    double mean = 0, square = 0;
    for (int i = 0; i < n; i++) {
        mean += (double)x[i] / n;
    }
    for (int i = 0; i < n; i++) {
        square += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    }
    return (v - mean) / sqrt(square + epsilon);
}

static void expect_close(float y, double wanted)
{
    if (!(fabs((double)y - wanted) <= 3e-6 * (1 + fabs(wanted)))) {
        fail_msg("%.9g, not %.9g", (double)y, wanted);
    }
}

enum { MAPS = 3, CHANNELS = 12, PLACES = 35, ELEMENTS = CHANNELS * PLACES };
static float maps[MAPS * ELEMENTS], normal[MAPS * ELEMENTS];

static void normalize(const char *type, int64_t opset, int n_scales, int n_attributes, const qn_attribute *attributes,
                      qn_engine engine, float *scale, float *bias)
{
    net t;
    qn_graph *g = start(&t);
    t.model.graph.opset = opset;
    fill(maps, MAPS * ELEMENTS, 3);
    fill(scale, n_scales, 4);
    fill(bias, n_scales, 5);
    qn_test_input(g, "x", DIMS(-1, CHANNELS, 5, 7));
    qn_test_floats(g, "scale", DIMS(n_scales), scale);
    qn_test_floats(g, "bias", DIMS(n_scales), bias);
    qn_test_node(g, type, "x scale bias", "y", n_attributes, attributes);
    qn_test_output(g, "y");
    run(&t, engine, maps, ELEMENTS, MAPS, normal, ELEMENTS);
    qn_graph_free(g);
}

static void normalizations_are_those_of_plain_loops(void **unused)
{
    (void)unused;
    float scale[ELEMENTS], bias[ELEMENTS];
    const qn_attribute groups[] = {A_INT("num_groups", 4), A_FLOAT("epsilon", 1e-3f)};
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        normalize("InstanceNormalization", 13, CHANNELS, 0, NULL, engine, scale, bias);
        for (int i = 0; i < MAPS * ELEMENTS; i++) {
            const int c = i / PLACES % CHANNELS;
            expect_close(normal[i],
                         normalized(maps + i / PLACES * PLACES, PLACES, (double)maps[i], 1e-5) * (double)scale[c] +
                             (double)bias[c]);
        }
        for (int64_t opset = 18; opset <= 21; opset += 3) {
            enum { GROUP = 3 * PLACES };
            normalize("GroupNormalization", opset, opset == 18 ? 4 : CHANNELS, 2, groups, engine, scale, bias);
            for (int i = 0; i < MAPS * ELEMENTS; i++) {
                const int c = i / PLACES % CHANNELS / (opset == 18 ? 3 : 1);
                expect_close(normal[i],
                             normalized(maps + i / GROUP * GROUP, GROUP, (double)maps[i], 1e-3) * (double)scale[c] +
                                 (double)bias[c]);
            }
        }
        const qn_attribute axis[] = {A_INT("axis", 3)};
        normalize("LayerNormalization", 17, 7, 1, axis, engine, scale, bias);
        for (int i = 0; i < MAPS * ELEMENTS; i++) {
            expect_close(normal[i], normalized(maps + i / 7 * 7, 7, (double)maps[i], 1e-5) * (double)scale[i % 7] +
                                        (double)bias[i % 7]);
        }
    }
}

static void padding_wraps_around(void **unused)
{
    (void)unused;
    enum { ITEMS = 2, N = 5, LONG = 15 };
    float x[ITEMS * N], y[ITEMS * LONG];
    fill(x, ITEMS * N, 2);
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        net t;
        qn_graph *g = start(&t);
        t.model.graph.opset = 19;
        qn_test_input(g, "x", DIMS(-1, 1, N));
        qn_test_ints(g, "pads", 6, (const int64_t[]){0, 0, 3, 0, 0, 7});
        NODE_WITH(g, "Pad", "x pads", "y", A_STRING("mode", "wrap"));
        qn_test_output(g, "y");
        run(&t, engine, x, N, ITEMS, y, LONG);
        for (int i = 0; i < ITEMS * LONG; i++) {
            assert_float_equal(y[i], x[i / LONG * N + (i % LONG + 2) % N], 0);
        }
        qn_graph_free(g);
    }
}

/* Indices that the data bring are held within the table. */
static void rows_are_looked_up_by_inputs(void **unused)
{
    (void)unused;
    enum { ITEMS = 2, IDS = 4, ROWS = 10, WIDTH = 3 };
    static const float ids[ITEMS * IDS] = {0, 9, -1, 12, 3, -10, -11, 5};
    static const int wanted[ITEMS * IDS] = {0, 9, 9, 9, 3, 0, 0, 5};
    float table[ROWS * WIDTH], y[ITEMS * IDS * WIDTH];
    fill(table, ROWS * WIDTH, 8);
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        net t;
        qn_graph *g = start(&t);
        const qn_value_id id = qn_test_input(g, "ids", DIMS(-1, IDS));
        g->values[id].dtype = QN_DTYPE_S64;
        qn_test_floats(g, "table", DIMS(ROWS, WIDTH), table);
        NODE(g, "Gather", "table ids", "y");
        qn_test_output(g, "y");
        run(&t, engine, ids, IDS, ITEMS, y, IDS * WIDTH);
        for (int i = 0; i < ITEMS * IDS * WIDTH; i++) {
            assert_float_equal(y[i], table[wanted[i / WIDTH] * WIDTH + i % WIDTH], 0);
        }
        qn_graph_free(g);
    }
}

static void parts_of_an_axis_are_as_equal_as_can_be(void **unused)
{
    (void)unused;
    enum { ITEMS = 3, N = 10 };
    float x[ITEMS * N], y[ITEMS * N];
    fill(x, ITEMS * N, 2);
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        net t;
        qn_graph *g = start(&t);
        t.model.graph.opset = 18;
        qn_test_input(g, "x", DIMS(-1, N));
        NODE_WITH(g, "Split", "x", "a b c", A_INT("axis", 1), A_INT("num_outputs", 3)); /* 4, 4, 2 */
        NODE_WITH(g, "Concat", "c b a", "y", A_INT("axis", 1));
        qn_test_output(g, "y");
        run(&t, engine, x, N, ITEMS, y, N);
        for (int i = 0; i < ITEMS * N; i++) {
            const int at = i % N, from = at < 2 ? 8 + at : at < 6 ? at + 2 : at - 6;
            assert_float_equal(y[i], x[i / N * N + from], 0);
        }
        qn_graph_free(g);
    }
}

/* Whatever cannot run is refused with file, node and what is wrong, before anything runs. */
static void refuse(qn_engine engine, const char *type, const char *inputs, int n, const qn_attribute *attributes,
                   const char *message)
{
    net t;
    qn_graph *g = start(&t);
    qn_program_options options;
    qn_program *program = NULL;
    t.model.graph.opset = 18;
    const qn_value_id ids = qn_test_input(g, "ids", DIMS(-1, 4));
    g->values[ids].dtype = QN_DTYPE_S64;
    qn_test_input(g, "x", DIMS(-1, 4));
    qn_test_ints(g, "axes", 1, (const int64_t[]){1});
    qn_test_floats(g, "scales", DIMS(2), (const float[]){1, 2});
    qn_test_node(g, type, inputs, "y", n, attributes);
    qn_test_output(g, "y");
    qn_assert_ok(qn_program_options_init(&options, engine, &t.err), &t.err);
    qn_assert_fails(qn_program_create(&program, &t.model, &options, &t.err), &t.err, QN_EUNSUPPORTED, message);
    assert_non_null(strstr(t.err.where, "net.onnx"));
    assert_non_null(strstr(t.err.where, type));
    qn_graph_free(g);
}

static void what_cannot_be_computed_is_refused_by_name(void **unused)
{
    (void)unused;
    const qn_attribute fast[] = {A_STRING("approximate", "fast")}, strange[] = {A_STRING("mode", "fast")},
                       sum[] = {A_STRING("reduction", "sum")};
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        refuse(engine, "Gelu", "x", 1, fast, "'fast' is neither none nor tanh");
        refuse(engine, "Resize", "x - scales", 1, strange, "'fast' is not one that quern knows");
        refuse(engine, "ScatterElements", "x ids x", 1, sum, "none of none, add, mul, min, max");
        refuse(engine, "Reshape", "x ids", 0, NULL, "computed while the network runs");
    }
}

/* Of parts that are empty nothing is computed, of the others all. */
static void empty_parts_are_passed_over(void **unused)
{
    (void)unused;
    enum { ITEMS = 2, N = 6 };
    float x[ITEMS * N], y[ITEMS * N];
    fill(x, ITEMS * N, 2);
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        net t;
        qn_graph *g = start(&t);
        qn_test_input(g, "x", DIMS(-1, N));
        qn_test_ints(g, "lengths", 3, (const int64_t[]){0, 2, 4});
        NODE_WITH(g, "Split", "x lengths", "none a b", A_INT("axis", 1));
        NODE(g, "Abs", "none", "still_none");
        NODE_WITH(g, "Concat", "b still_none a", "y", A_INT("axis", 1));
        qn_test_output(g, "y");
        run(&t, engine, x, N, ITEMS, y, N);
        for (int i = 0; i < ITEMS * N; i++) {
            assert_float_equal(y[i], x[i / N * N + (i % N + 2) % N], 0);
        }
        qn_graph_free(g);
    }
}

static void groups_that_do_not_divide_the_channels_are_refused(void **unused)
{
    (void)unused;
    net t;
    qn_graph *g = start(&t);
    qn_program_options options;
    qn_program *program = NULL;
    t.model.graph.opset = 21;
    qn_test_input(g, "x", DIMS(-1, CHANNELS, 5, 7));
    qn_test_floats(g, "scale", DIMS(CHANNELS), NULL);
    NODE_WITH(g, "GroupNormalization", "x scale scale", "y", A_INT("num_groups", 5));
    qn_test_output(g, "y");
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &t.err), &t.err);
    qn_assert_fails(qn_program_create(&program, &t.model, &options, &t.err), &t.err, QN_EFORMAT,
                    "5 does not divide 12 channels");
    qn_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_are_made_while_a_network_runs),
        cmocka_unit_test(reductions_are_those_of_plain_loops),
        cmocka_unit_test(normalizations_are_those_of_plain_loops),
        cmocka_unit_test(padding_wraps_around),
        cmocka_unit_test(rows_are_looked_up_by_inputs),
        cmocka_unit_test(parts_of_an_axis_are_as_equal_as_can_be),
        cmocka_unit_test(what_cannot_be_computed_is_refused_by_name),
        cmocka_unit_test(empty_parts_are_passed_over),
        cmocka_unit_test(groups_that_do_not_divide_the_channels_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
