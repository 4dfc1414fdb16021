/* Decomposed operators in the forms of exporters, and near misses: the networks compute the same afterwards, in the
 * float engine and to 1e-5. */
#include "graph_text.h"

#include "graph/passes.h"
#include "graph/pattern.h"

static qn_error err;

static int reset_error(void **state)
{
    (void)state;
    qn_error_init(&err);
    return 0;
}

/* The graph reads x [N, 3, 8] and vectors w, b of 8 numbers, and its output is y. */
static void start(qn_model *model, const char *text)
{
    memset(model, 0, sizeof *model);
    model->graph.opset = 13;
    model->graph.file = "patterns.onnx";
    qn_test_input(&model->graph, "x", DIMS(-1, 3, 8));
    qn_test_floats(&model->graph, "w", DIMS(8), NULL);
    qn_test_floats(&model->graph, "b", DIMS(8), NULL);
    text_graph(&model->graph, text);
    qn_test_output(&model->graph, "y");
}

/* Recognized `wanted` times by the patterns of a pass, and one node of `type` is what is left (when any is wanted). */
static void expect(const char *pass, const char *type, int wanted, const char *text)
{
    qn_model model;
    int64_t n, n_after, count;
    start(&model, text);
    const size_t n_nodes = model.graph.n_nodes;
    float *before = text_run(&model, -3, 3, &n);
    qn_assert_ok(qn_graph_recognize(&model.graph, pass, &count, &err), &err);
    qn_assert_ok(qn_graph_verify(&model.graph, &err), &err);
    if (count != wanted) {
        print_error("%s: %d found, expected %d, in %s\n", pass, (int)count, wanted, text);
        fail();
    }
    assert_int_equal(text_count(&model.graph, type), wanted);
    if (wanted == 0) {
        assert_int_equal(model.graph.n_nodes, n_nodes);
    } else {
        assert_int_equal(model.graph.n_nodes, 1);
        assert_string_equal(model.graph.nodes[0].name, "y"); /* that of the last node */
    }
    float *after = text_run(&model, -3, 3, &n_after);
    assert_int_equal(n, n_after);
    text_expect_near(after, before, n, 1e-5f);
    free(before);
    free(after);
    qn_graph_free(&model.graph);
}

static void rows_are_patterns(void **state)
{
    (void)state;
    qn_assert_ok(qn_graph_check_patterns(&err), &err);
    qn_pattern pattern;
    static const char *const wrong[] = {"",
                                        "y",
                                        "y =",
                                        "y = Nothing(x)",
                                        "y = Add(x, 1",
                                        "y = Add(x, 1) z",
                                        "y = Add(#a, @a)",
                                        "y = Add(a, b, c, d, e)"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        qn_error_init(&err);
        qn_assert_fails(qn_pattern_parse(&pattern, wrong[i], &err), &err, QN_EINVAL, "is no pattern");
    }
}

#define MEANS "m = ReduceMean x axes=-1; d = Sub x m; "
#define ROOT  "v = ReduceMean s axes=-1; e = Add v 1e-5; r = Sqrt e; "

static void layer_normalization_is_found(void **state)
{
    (void)state;
    static const char *const forms[] = {
        MEANS "s = Mul d d; " ROOT "n = Div d r; g = Mul n w; y = Add g b",
        MEANS "s = Pow d 2; " ROOT "n = Div d r; g = Mul w n; y = Add b g",
        MEANS "s = Mul d d; " ROOT "n = Div d r; y = Mul n w",
        MEANS "s = Mul d d; " ROOT "y = Div d r",
        MEANS "s = Mul d d; " ROOT "n = Div d r; y = Add n b",
        MEANS "s = Mul d d; " ROOT "i = Reciprocal r; n = Mul d i; g = Mul n w; y = Add g b",
        MEANS "s = Mul d d; " ROOT "i = Div 1 r; n = Mul i d; y = Mul n 2.5",
        MEANS "s = Mul d d; v = ReduceMean s axes=-1; e = Add 1e-5 v; i = Pow e -0.5; y = Mul d i",
        MEANS "s = Mul d d; v = ReduceMean s axes=2; e = Add 1e-5 v; r = Pow e 0.5; y = Div d r",
        /* the difference computed twice, from two means */
        MEANS "m2 = ReduceMean x axes=2; d2 = Sub x m2; s = Mul d2 d2; " ROOT "n = Div d r; g = Mul n w; y = Add g b",
        /* over two axes, in any order */
        "m = ReduceMean x axes=2,1; d = Sub x m; s = Mul d d; v = ReduceMean s axes=-2,-1; e = Add v 1e-5; r = Sqrt e; "
        "y = Div d r",
        /* tf.nn.batch_normalization */
        MEANS "s = Mul d d; " ROOT "i = Reciprocal r; k = Mul i w; p = Mul x k; q = Mul m k; o = Sub b q; y = Add p o",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        expect("layer-normalization", "LayerNormalization", 1, forms[i]);
    }
}

static void layer_normalization_is_not_guessed(void **state)
{
    (void)state;
    static const char *const misses[] = {
        "m = ReduceMean x axes=1; d = Sub x m; s = Mul d d; v = ReduceMean s axes=1; e = Add v 1e-5; r = Sqrt e; y = "
        "Div d r",
        "m = ReduceMean x axes=1; d = Sub x m; s = Mul d d; " ROOT "y = Div d r",               /* two different axes */
        MEANS "s = Mul d d; v = ReduceMean s axes=-1; r = Sqrt v; e = Add r 1e-5; y = Div d e", /* epsilon outside */
        MEANS "s = Mul d x; " ROOT "y = Div d r",                                               /* no square */
        MEANS "s = Pow d 3; s2 = Mul s d; v = ReduceMean s2 axes=-1; e = Add v 1e-5; r = Sqrt e; y = Div d r",
        MEANS "s = Mul d d; v = ReduceSum s [-1]; e = Add v 1e-5; r = Sqrt e; y = Div d r", /* no mean */
        MEANS "s = Mul d d; " ROOT "n = Div d r; y = Add n r", /* an inner value is read twice */
        MEANS "s = Mul d d; " ROOT "n = Div d r; y = Mul n v",
        MEANS "s = Mul d d; " ROOT "y = Div x r",              /* the mean is not taken off */
        MEANS "s = Mul d d; " ROOT "n = Div r d; y = Mul n w", /* upside down */
        MEANS "s = Mul d d; v = ReduceMean s axes=-1; e = Add v x; r = Abs e; r1 = Sqrt r; y = Div d r1",
    };
    for (size_t i = 0; i < sizeof misses / sizeof misses[0]; i++) {
        expect("layer-normalization", "LayerNormalization", 0, misses[i]);
    }
    /* what is inside is an output of the graph, or coded */
    for (int coded = 0; coded < 2; coded++) {
        qn_model model;
        int64_t count;
        start(&model, MEANS "s = Mul d d; " ROOT "n = Div d r; g = Mul n w; y = Add g b");
        if (coded) {
            const qn_quantizer q = {
                .format = {.bits = 8}, .axis = -1, .n = 1, .scale = (float[]){0.1F}, .zero_point = (int32_t[]){0}};
            qn_assert_ok(qn_graph_set_quantizer(&model.graph, qn_graph_find(&model.graph, "d"), &q, &err), &err);
        } else {
            qn_test_output(&model.graph, "d");
        }
        qn_assert_ok(qn_graph_recognize(&model.graph, NULL, &count, &err), &err);
        assert_int_equal(count, 0);
        qn_graph_free(&model.graph);
    }
}

/* The normalization is found where only what follows does not fit: a scale along another axis stays a Mul. */
static void what_does_not_fit_stays_behind(void **state)
{
    (void)state;
    qn_model model;
    int64_t n, count;
    memset(&model, 0, sizeof model);
    model.graph.opset = 13;
    qn_test_input(&model.graph, "x", DIMS(-1, 3, 8));
    qn_test_floats(&model.graph, "rows", DIMS(3, 1), NULL);
    text_graph(&model.graph, MEANS "s = Mul d d; " ROOT "n = Div d r; y = Mul n rows");
    qn_test_output(&model.graph, "y");
    float *before = text_run(&model, -3, 3, &n);
    qn_assert_ok(qn_graph_recognize(&model.graph, "layer-normalization", &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(model.graph.n_nodes, 2);
    assert_int_equal(model.graph.nodes[1].op, QN_OP_MUL);
    float *after = text_run(&model, -3, 3, &n);
    text_expect_near(after, before, n, 1e-5f);
    free(before);
    free(after);
    qn_graph_free(&model.graph);
}

#define ERF  "z = Div x 1.4142135; f = Erf z; p = Add f 1; "
#define CUBE "u = Pow x 3; s = Mul u 0.044715; a = Add x s; z = Mul a 0.7978846; t = Tanh z; p = Add 1 t; "

static void gelu_is_found(void **state)
{
    (void)state;
    static const char *const forms[] = {
        ERF "h = Mul x 0.5; y = Mul h p",
        ERF "h = Mul 0.5 x; y = Mul p h",
        ERF "t = Mul x p; y = Mul t 0.5",
        ERF "t = Mul p x; y = Mul 0.5 t",
        ERF "t = Mul p x; y = Div t 2",
        ERF "q = Mul p 0.5; y = Mul x q",
        ERF "q = Div p 2; y = Mul q x",
        ERF "h = Div x 2; y = Mul h p",
        "z = Mul x 0.70710677; f = Erf z; p = Add 1 f; h = Mul x 0.5; y = Mul h p",
        "z = Mul x 0.70710677; f = Erf z; g = Mul f 0.5; p = Add 0.5 g; y = Mul x p",
        CUBE "h = Mul x 0.5; y = Mul h p",
        CUBE "k = Mul p x; y = Mul 0.5 k",
        "q = Mul x x; u = Mul q x; s = Mul 0.044715 u; a = Add s x; z = Mul 0.7978846 a; t = Tanh z; p = Add t 1; h = "
        "Mul x 0.5; "
        "y = Mul h p",
        /* x (1 + 0.044715 x^2) */
        "q = Mul x x; s = Mul q 0.044715; a = Add s 1; k = Mul x 0.7978846; z = Mul k a; t = Tanh z; p = Add t 1; "
        "h = Mul 0.5 x; y = Mul h p",
        "q = Mul x 0.044715; s = Mul q x; a = Add 1 s; k = Mul x a; z = Mul k 0.7978846; t = Tanh z; p = Add t 1; "
        "h = Mul 0.5 x; y = Mul h p",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        expect("gelu", "Gelu", 1, forms[i]);
    }
}

static void gelu_is_not_guessed(void **state)
{
    (void)state;
    static const char *const misses[] = {
        "z = Div x 1.414; f = Erf z; p = Add f 1; h = Mul x 0.5; y = Mul h p", /* 1.5e-4 off */
        "z = Mul x 1.4142135; f = Erf z; p = Add f 1; h = Mul x 0.5; y = Mul h p",
        ERF "h = Mul x 0.25; y = Mul h p",
        ERF "h = Mul f 0.5; y = Mul h p",
        ERF "h = Mul x 0.5; g = Mul h p; y = Add g f",
        ERF "h = Mul x 0.5; g = Mul h p; y = Add g h",
        "f = Erf x; p = Add f 1; h = Mul x 0.5; y = Mul h p",
        "z = Mul x 1.702; s = Sigmoid z; y = Mul x s",
        "u = Pow x 2; s = Mul u 0.044715; a = Add x s; z = Mul a 0.7978846; t = Tanh z; p = Add 1 t; h = Mul x 0.5; y "
        "= Mul h p",
        "u = Pow x 3; s = Mul u 0.044; a = Add x s; z = Mul a 0.7978846; t = Tanh z; p = Add 1 t; h = Mul x 0.5; y = "
        "Mul h p",
    };
    for (size_t i = 0; i < sizeof misses / sizeof misses[0]; i++) {
        expect("gelu", "Gelu", 0, misses[i]);
    }
}

#define SIX "a = Add x 3; c = Clip a 0 6; "

static void activations_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *pass, *type;
        int wanted;
        const char *text;
    } cases[] = {
        {"hard-swish", "HardSwish", 1, SIX "t = Mul x c; y = Div t 6"},
        {"hard-swish", "HardSwish", 1, SIX "t = Mul c x; y = Mul 0.16666667 t"},
        {"hard-swish", "HardSwish", 1, SIX "s = Div c 6; y = Mul x s"},
        {"hard-swish", "HardSwish", 1, SIX "s = Div x 6; y = Mul s c"},
        {"hard-swish", "HardSwish", 1, "s = HardSigmoid x alpha~0.16666667 beta~0.5; y = Mul s x"},
        {"hard-swish", "HardSwish", 1, "s = HardSigmoid x alpha~0.16666667; y = Mul s x"},
        {"hard-swish", "HardSwish", 0, "s = HardSigmoid x; y = Mul s x"}, /* alpha is 0.2 */
        {"hard-swish", "HardSwish", 0, "s = HardSigmoid x alpha~0.16666667 beta~0.6; y = Mul s x"},
        {"hard-swish", "HardSwish", 0, "a = Add x 3; c = Clip a 0 5; t = Mul x c; y = Div t 6"},
        {"hard-swish", "HardSwish", 0, "a = Add x 3; c = Clip a 0; t = Mul x c; y = Div t 6"},
        {"hard-swish", "HardSwish", 0, "a = Add x 2; c = Clip a 0 6; t = Mul x c; y = Div t 6"},
        {"hard-swish", "HardSwish", 0, SIX "t = Mul a c; y = Div t 6"},
        {"hard-swish", "HardSwish", 0, SIX "t = Mul x c; u = Div t 6; y = Sub u c"},
        {"hard-sigmoid", "HardSigmoid", 1, SIX "y = Div c 6"},
        {"hard-sigmoid", "HardSigmoid", 1, SIX "y = Mul 0.16666667 c"},
        {"hard-sigmoid", "HardSigmoid", 0, SIX "y = Div 6 c"},
        {"hard-sigmoid", "HardSigmoid", 0, SIX "y = Div c 3"},
        {"clip", "Clip", 1, "r = Relu x; y = Min r 2"},
        {"clip", "Clip", 1, "r = Max x -1; y = Min 2 r"},
        {"clip", "Clip", 1, "r = Min x 2; y = Max -1 r"},
        {"clip", "Clip", 0, "r = Min x -2; y = Max -1 r"},
        {"clip", "Clip", 0, "r = Max x w; y = Min 2 r"},
        {"softplus", "Softplus", 1, "e = Exp x; a = Add 1 e; y = Log a"},
        {"softplus", "Softplus", 0, "e = Exp x; a = Add 2 e; y = Log a"},
        {"softplus", "Softplus", 0, "e = Exp x; a = Add 1 e; l = Log a; y = Add l e"},
        {"mish", "Mish", 1, "s = Softplus x; t = Tanh s; y = Mul x t"},
        {"mish", "Mish", 1, "e = Exp x; a = Add e 1; s = Log a; t = Tanh s; y = Mul t x"},
        {"mish", "Mish", 0, "s = Softplus x; t = Tanh x; u = Mul s t; y = Mul x u"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(cases[i].pass, cases[i].type, cases[i].wanted, cases[i].text);
    }
}

/* A constant with more dimensions than x makes a larger result. */
static void shapes_that_grow_are_left(void **state)
{
    (void)state;
    qn_model model;
    int64_t count;
    const float half = 0.5F;
    memset(&model, 0, sizeof model);
    model.graph.opset = 13;
    qn_test_input(&model.graph, "x", DIMS(-1, 8));
    qn_test_floats(&model.graph, "half", DIMS(1, 1, 1), &half);
    text_graph(&model.graph, ERF "h = Mul x half; y = Mul h p");
    qn_test_output(&model.graph, "y");
    qn_assert_ok(qn_graph_recognize(&model.graph, NULL, &count, &err), &err);
    assert_int_equal(count, 0);
    qn_graph_free(&model.graph);
}

static void maps_start(qn_model *model, const char *text)
{
    memset(model, 0, sizeof *model);
    model->graph.opset = 21;
    model->graph.file = "maps.onnx";
    qn_test_input(&model->graph, "x", DIMS(-1, 6, 4, 5));
    qn_test_floats(&model->graph, "w", DIMS(6, 1, 1), NULL);
    qn_test_floats(&model->graph, "b", DIMS(6, 1, 1), NULL);
    qn_test_floats(&model->graph, "ones", DIMS(2), (float[]){1, 1});
    qn_test_floats(&model->graph, "twos", DIMS(2), (float[]){1, 2});
    qn_test_floats(&model->graph, "zeros", DIMS(2), (float[]){0, 0});
    text_graph(&model->graph, text);
    qn_test_output(&model->graph, "y");
}

static void maps_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *pass, *type;
        int wanted, nodes;
        const char *text;
    } cases[] = {
        {"group-normalization", "GroupNormalization", 1, 1,
         "r = Reshape x [0,2,-1]; i = InstanceNormalization r ones zeros epsilon~0.001; n = Reshape i [-1,6,4,5]; g = "
         "Mul n w; "
         "y = Add g b"},
        {"group-normalization", "GroupNormalization", 1, 1,
         "r = Reshape x [0,2,-1]; i = InstanceNormalization r ones zeros epsilon~0.001; y = Reshape i [-1,6,4,5]"},
        {"group-normalization", "GroupNormalization", 0, 5,
         "r = Reshape x [0,2,-1]; i = InstanceNormalization r twos zeros epsilon~0.001; n = Reshape i [-1,6,4,5]; g = "
         "Mul n w; "
         "y = Add g b"},
        {"group-normalization", "GroupNormalization", 0, 3,
         "r = Reshape x [0,2,-1]; i = InstanceNormalization r ones zeros epsilon~0.001; y = Reshape i [-1,5,4,6]"},
        {"whole-map-pool", "GlobalAveragePool", 1, 1, "y = ReduceMean x [2,3]"},
        {"whole-map-pool", "GlobalAveragePool", 1, 1, "y = ReduceMean x [-1,-2]"},
        {"whole-map-pool", "GlobalMaxPool", 1, 1, "y = ReduceMax x [-1,-2]"},
        {"whole-map-pool", "GlobalAveragePool", 1, 3, "m = ReduceMean x [2,3] keepdims:0; y = Relu m"},
        {"whole-map-pool", "GlobalAveragePool", 0, 1, "y = ReduceMean x [2,3] keepdims:0"}, /* would rename an output */
        {"whole-map-pool", "GlobalAveragePool", 0, 1, "y = ReduceMean x [1,2]"},
        {"whole-map-pool", "GlobalAveragePool", 0, 1, "y = ReduceMean x [3]"},
        {"whole-map-pool", "GlobalAveragePool", 0, 2, "r = Reshape x [0,6,20]; y = ReduceMean r [2]"},
        {"whole-map-pool", "GlobalAveragePool", 0, 1, "y = ReduceSum x [2,3]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_model model;
        int64_t n, n_after, count;
        maps_start(&model, cases[i].text);
        float *before = text_run(&model, -3, 3, &n);
        qn_assert_ok(qn_graph_recognize(&model.graph, cases[i].pass, &count, &err), &err);
        qn_assert_ok(qn_graph_verify(&model.graph, &err), &err);
        if (count != cases[i].wanted) {
            print_error("%d found, expected %d, in %s\n", (int)count, cases[i].wanted, cases[i].text);
        }
        assert_int_equal(count, cases[i].wanted);
        assert_int_equal(text_count(&model.graph, cases[i].type), cases[i].wanted);
        assert_int_equal(model.graph.n_nodes, cases[i].nodes);
        float *after = text_run(&model, -3, 3, &n_after);
        assert_int_equal(n, n_after);
        text_expect_near(after, before, n, 1e-5f);
        free(before);
        free(after);
        qn_graph_free(&model.graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_are_patterns, reset_error),
        cmocka_unit_test_setup(layer_normalization_is_found, reset_error),
        cmocka_unit_test_setup(layer_normalization_is_not_guessed, reset_error),
        cmocka_unit_test_setup(what_does_not_fit_stays_behind, reset_error),
        cmocka_unit_test_setup(gelu_is_found, reset_error),
        cmocka_unit_test_setup(gelu_is_not_guessed, reset_error),
        cmocka_unit_test_setup(activations_are_found, reset_error),
        cmocka_unit_test_setup(shapes_that_grow_are_left, reset_error),
        cmocka_unit_test_setup(maps_are_found, reset_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
