/* Transposes that meet and are gone, as in networks that tf2onnx wrote, and random networks full of them: the outputs
 * are the same. */
#include "graph_text.h"

#include "graph/passes.h"

static qn_error err;

static int reset_error(void **state)
{
    (void)state;
    qn_error_init(&err);
    return 0;
}

/* x [N, 4, 5, 6] as images lie, weights of a 3x3 Conv and of a depthwise one, constants along the last axis. */
static void start(qn_model *model, const char *text)
{
    memset(model, 0, sizeof *model);
    model->graph.opset = 13;
    model->graph.file = "moves.onnx";
    qn_test_input(&model->graph, "x", DIMS(-1, 4, 5, 6));
    qn_test_floats(&model->graph, "w", DIMS(4, 4, 3, 3), NULL);
    qn_test_floats(&model->graph, "last", DIMS(4), NULL);
    qn_test_floats(&model->graph, "map", DIMS(1, 5, 6, 4), NULL);
    text_graph(&model->graph, text);
    qn_test_output(&model->graph, "y");
}

static void expect(int wanted, const char *text)
{
    qn_model model;
    int64_t n, n_after;
    start(&model, text);
    float *before = text_run(&model, -3, 3, &n);
    qn_assert_ok(qn_graph_move_transposes(&model.graph, NULL, &err), &err);
    qn_assert_ok(qn_graph_verify(&model.graph, &err), &err);
    if (text_count(&model.graph, "Transpose") != wanted) {
        print_error("%d Transposes left, expected %d: %s\n", text_count(&model.graph, "Transpose"), wanted, text);
        fail();
    }
    float *after = text_run(&model, -3, 3, &n_after);
    assert_int_equal(n, n_after);
    text_expect_near(after, before, n, 1e-6f);
    free(before);
    free(after);
    qn_graph_free(&model.graph);
}

#define TO_LAST(y, x)  #y " = Transpose " #x " perm=0,2,3,1; "
#define TO_FIRST(y, x) #y " = Transpose " #x " perm=0,3,1,2; "

static void transposes_that_meet_are_gone(void **state)
{
    (void)state;
    static const struct {
        int left;
        const char *text;
    } cases[] = {
        {0, TO_LAST(a, x) TO_FIRST(b, a) "y = Relu b"},
        {1, TO_LAST(a, x) TO_LAST(b, a) "y = Relu b"}, /* two of three turns */
        {0, TO_LAST(a, x) TO_LAST(b, a) TO_LAST(c, b) "y = Relu c"},
        {0, TO_LAST(a, x) "r = Relu a; s = Mul r last; t = Add map s; u = Clip t -1 2; " TO_FIRST(c, u) "y = Relu c"},
        /* a residual sum between convolutions */
        {0,
         "c1 = Conv x w pads=1,1,1,1; " TO_LAST(a, c1) "r = Relu a; " TO_FIRST(
             b,
             r) "c2 = Conv b w pads=1,1,1,1; " TO_LAST(d,
                                                       c2) "s = Add d r; t = Sigmoid s; " TO_FIRST(e,
                                                                                                   t) "y = Conv e w"},
        /* a mean over the map and what is scaled by it */
        {0, TO_LAST(a, x) "m = ReduceMean a axes=1,2; s = Sigmoid m; p = Mul a s; " TO_FIRST(c, p) "y = Conv c w"},
        {0, TO_LAST(a, x) "m = ReduceMean a axes=1,2 keepdims:0; y = Mul m last"},
        {0, TO_LAST(a, x) "m = ReduceMax a axes=-2,1; s = Squeeze m [1,2]; y = Softmax s"},
        {0, TO_LAST(a, x) "s = Softmax a axis:-1; " TO_FIRST(c, s) "y = Relu c"},
        {0, TO_LAST(a, x) "l = LogSoftmax a axis:2; " TO_FIRST(c, l) "y = Relu c"},
        {0, TO_LAST(a, x) "r = Neg a; k = Concat a r map axis:-1; z = Pad k [0,1,0,0,0,0,2,0]; " TO_FIRST(
                c, z) "y = Relu c"},
        {0, TO_LAST(a, x) "s = Slice a [1,0] [4,3] [1,3]; " TO_FIRST(c, s) "y = Relu c"},
        {0, TO_LAST(a, x) "s = Slice a [0,1] [9,4]; " TO_FIRST(c, s) "y = Relu c"},
        /* the Reshape does it */
        {0, "m = GlobalAveragePool x; " TO_LAST(a, m) "r = Reshape a [-1,4]; y = Relu r"},
        {0, "m = GlobalMaxPool x; " TO_LAST(a, m) "r = Flatten a; y = Relu r"},
        {1, TO_LAST(a, x) "r = Reshape a [-1,120]; y = Relu r"},
        {1, TO_LAST(a, x) "r = Relu a; y = Neg r"}, /* nothing to meet: as it was */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(cases[i].left, cases[i].text);
    }
}

static void what_depends_on_axes_stops_them(void **state)
{
    (void)state;
    static const char *const cases[] = {
        TO_LAST(a, x) "l = LayerNormalization a last; " TO_FIRST(c, l) "y = Relu c",
        TO_LAST(a, x) "m = Reshape a [0,6,5,4]; " TO_FIRST(c, m) "y = Relu c",
        TO_LAST(a, x) "q = Mul a map; k = Cast q to:1; g = Gather k [0,1,2] axis:2; " TO_FIRST(c, g) "y = Relu c",
        TO_LAST(a, x) TO_LAST(b, x) "c = Transpose x perm=0,3,2,1; d = Reshape c [0,5,6,4]; s = Add a d; " TO_FIRST(
            e, s) "f = Relu e; " TO_FIRST(g, b) "y = Add f g",
        /* an axis of one element, but for a batch of one only */
        "r = Reshape x [4,-1,30]; t = Transpose r perm=0,2,1; y = Reshape t [-1,120]",
    };
    const int left[] = {2, 2, 2, 3, 1};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(left[i], cases[i]);
    }
}

/* Names are those of the values that are left; the output keeps its own and its order. */
static void names_stay(void **state)
{
    (void)state;
    qn_model model;
    start(&model, TO_LAST(a, x) "r = Relu a; " TO_FIRST(b, r) "c = Conv b w; " TO_LAST(d, c) "y = Relu d");
    qn_assert_ok(qn_graph_move_transposes(&model.graph, NULL, &err), &err);
    const qn_graph *graph = &model.graph;
    assert_int_equal(text_count(graph, "Transpose"), 1);
    assert_int_equal(graph->nodes[0].op, QN_OP_RELU);
    assert_string_equal(graph->values[graph->nodes[0].outputs[0]].name, "r");
    assert_string_equal(graph->values[graph->outputs[0]].name, "y");
    qn_graph_free(&model.graph);
}

/* Layers of random kinds between Transposes of random axes. */
static void random_networks_stay_the_same(void **state)
{
    (void)state;
    static const char *const perms[] = {"0,2,3,1", "0,3,1,2", "0,1,3,2", "0,3,2,1", "0,2,1,3"};
    int64_t fewer = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        qn_model model;
        uint64_t random = seed * 0x9e3779b97f4a7c15u;
        char text[1800] = "", from[2][8] = {"x", "x"};
        for (int i = 0; i < 12; i++) {
            char line[120], to[8];
            const int k = (int)(qn_test_random(&random) % 2);
            snprintf(to, sizeof to, "v%d", i);
            switch (qn_test_random(&random) % 9) {
            case 0:
            case 1:
            case 2:
                snprintf(line, sizeof line, "%s = Transpose %s perm=%s; ", to, from[k],
                         perms[qn_test_random(&random) % 5]);
                break;
            case 3:
                snprintf(line, sizeof line, "%s = Relu %s; ", to, from[k]);
                break;
            case 4:
                snprintf(line, sizeof line, "%s = Mul %s 0.75; ", to, from[k]);
                break;
            case 5:
                snprintf(line, sizeof line, "%s = Softmax %s axis:%d; ", to, from[k],
                         (int)(1 + qn_test_random(&random) % 3));
                break;
            case 6:
                snprintf(line, sizeof line, "%s = Concat %s %s axis:%d; ", to, from[k], from[k],
                         (int)(1 + qn_test_random(&random) % 3));
                break;
            case 7:
                snprintf(line, sizeof line, "m%d = ReduceMean %s axes=%d; %s = Sub %s m%d; ", i, from[k],
                         (int)(1 + qn_test_random(&random) % 3), to, from[k], i);
                break;
            default:
                snprintf(line, sizeof line, "%s = Pad %s [0,%d,0,%d,0,0,%d,0]; ", to, from[k],
                         (int)(qn_test_random(&random) % 2), (int)(qn_test_random(&random) % 2),
                         (int)(qn_test_random(&random) % 2));
            }
            strcat(text, line);
            strcpy(from[k], to);
        }
        char last[200];
        snprintf(last, sizeof last, "f0 = Reshape %s [-1]; f1 = Reshape %s [-1]; y = Concat f0 f1 axis:0", from[0],
                 from[1]);
        strcat(text, last);
        int64_t n, n_after, count;
        start(&model, text);
        model.graph.values[model.graph.inputs[0]].dims[0] = 1;
        float *before = text_run(&model, -3, 3, &n);
        qn_assert_ok(qn_graph_move_transposes(&model.graph, &count, &err), &err);
        qn_assert_ok(qn_graph_verify(&model.graph, &err), &err);
        float *after = text_run(&model, -3, 3, &n_after);
        assert_int_equal(n, n_after);
        text_expect_near(after, before, n, 1e-5f);
        fewer += count;
        free(before);
        free(after);
        qn_graph_free(&model.graph);
    }
    assert_true(fewer > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(transposes_that_meet_are_gone, reset_error),
        cmocka_unit_test_setup(what_depends_on_axes_stops_them, reset_error),
        cmocka_unit_test_setup(names_stay, reset_error),
        cmocka_unit_test_setup(random_networks_stay_the_same, reset_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
