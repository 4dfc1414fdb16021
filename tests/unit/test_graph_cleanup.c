/* Constants that are settled, nodes that do nothing, and what looks like them and is not. */
#include "graph_text.h"

#include "graph/passes.h"

static qn_error err;

static int reset_error(void **state)
{
    (void)state;
    qn_error_init(&err);
    return 0;
}

static void start(qn_model *model, const char *text)
{
    memset(model, 0, sizeof *model);
    model->graph.opset = 13;
    model->graph.file = "clean.onnx";
    qn_test_input(&model->graph, "x", DIMS(-1, 3, 8));
    qn_test_floats(&model->graph, "w", DIMS(8, 8), NULL);
    qn_test_floats(&model->graph, "b", DIMS(8), NULL);
    text_graph(&model->graph, text);
    qn_test_output(&model->graph, "y");
}

typedef qn_status pass_fn(qn_graph *graph, qn_error *err);

/* How many nodes are left, and that the outputs are the same. */
static void expect_left(pass_fn *pass, size_t left, const char *text)
{
    qn_model model;
    int64_t n, n_after;
    start(&model, text);
    float *before = text_run(&model, -3, 3, &n);
    qn_assert_ok(pass(&model.graph, &err), &err);
    qn_assert_ok(qn_graph_verify(&model.graph, &err), &err);
    if (model.graph.n_nodes != left) {
        print_error("%d nodes left, expected %d: %s\n", (int)model.graph.n_nodes, (int)left, text);
    }
    assert_int_equal(model.graph.n_nodes, left);
    float *after = text_run(&model, -3, 3, &n_after);
    assert_int_equal(n, n_after);
    text_expect_near(after, before, n, 1e-6f);
    free(before);
    free(after);
    qn_graph_free(&model.graph);
}

static void constants_are_settled(void **state)
{
    (void)state;
    static const struct {
        size_t left;
        const char *text;
    } cases[] = {
        {1, "t = Transpose w; y = MatMul x t"},
        {1, "a = Add b 2; c = Mul a b; d = Sqrt 2; e = Div c d; f = Erf e; y = Add x f"},
        {1, "a = Exp b; c = Tanh a; d = Sigmoid c; e = Relu d; f = Neg e; y = Mul x f"},
        {1, "a = Cast b to:7; c = Cast a to:1; y = Add x c"},
        {1, "a = ReduceMean w axes=1 keepdims:0; c = Pow a 2; y = Add x c"},
        {1, "c = Concat b b axis:0; s = Slice c [4] [12] [0]; y = Add x s"},
        {1, "s = Shape x; d = Gather s [1] axis:0; k = Concat [-1] d [4,2] axis:0; y = Reshape x k"},
        {2, "s = Shape x; d = Gather s [0] axis:0; k = Concat d [24] axis:0; r = Reshape x k; y = Relu r"},
        {5, "s = Shape x; d = Gather s [0] axis:0; k = Concat d [-1] axis:0; r = Reshape x k; y = Relu r"},
        {2, "t = Transpose x perm=0,2,1; y = Relu t"},
        {2, "e = Expand b [64,8,8]; s = ReduceSum e [0,1] keepdims:0; t = Add x s; y = Relu t"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_left(qn_graph_settle_constants, cases[i].left, cases[i].text);
    }
}

/* What comes from codes stays: the codes are what counts. */
static void codes_are_not_settled(void **state)
{
    (void)state;
    qn_model model;
    start(&model, "t = Transpose w; s = Mul t 2; y = MatMul x s");
    const qn_quantizer q = {.format = {.bits = 8, .is_signed = true},
                            .axis = -1,
                            .n = 1,
                            .scale = (float[]){0.1F},
                            .zero_point = (int32_t[]){0}};
    qn_assert_ok(qn_graph_set_quantizer(&model.graph, qn_graph_find(&model.graph, "w"), &q, &err), &err);
    qn_assert_ok(qn_graph_settle_constants(&model.graph, &err), &err);
    assert_true(text_count(&model.graph, "Transpose") == 1);
    qn_graph_free(&model.graph);
}

static void a_huge_result_is_not_stored(void **state)
{
    (void)state;
    expect_left(qn_graph_settle_constants, 3, "e = Expand b [1,700,8]; m = ReduceMax e axes=1; y = Add x m");
}

static void no_ops_go(void **state)
{
    (void)state;
    static const struct {
        size_t left;
        const char *text;
    } cases[] = {
        {1, "r = Reshape x [0,3,8]; y = Relu r"},
        {1, "r = Reshape x [-1,3,8]; y = Relu r"},
        {2, "r = Reshape x [-1,8,3]; y = Relu r"},
        {1, "t = Transpose x perm=0,1,2; y = Relu t"},
        {2, "t = Transpose x perm=0,2,1; y = Relu t"},
        {1, "c = Cast x to:1; y = Relu c"},
        {3, "c = Cast x to:7; d = Cast c to:1; y = Relu d"},
        {3, "c = Cast x to:10; d = Cast c to:1; y = Relu d"}, /* rounds */
        {1, "s = Slice x [0] [8] [2]; y = Relu s"},
        {1, "s = Slice x [0,0] [99,3] [2,1]; y = Relu s"},
        {2, "s = Slice x [-1] [-99] [2] [-1]; y = Relu s"}, /* backwards */
        {1, "p = Pad x [0,0,0,0,0,0]; y = Relu p"},
        {2, "p = Pad x [0,0,1,0,0,-1]; y = Relu p"}, /* shifts */
        {1, "e = Expand x [1,3,8]; y = Relu e"},
        {3, "r = Reshape x [-1,1,3,8]; e = Expand r [1,2,1,1]; y = Relu e"},
        {1, "c = Concat x axis:1; y = Relu c"},
        {2, "c = Concat x x axis:1; y = Relu c"},
        {1, "c = Sum x; d = Max c; y = Relu d"},
        {1, "c = Mul 1 x; d = Add x 0; e = Div d 1; f = Sub e 0; y = Relu f"},
        {2, "c = Sub 0 x; y = Relu c"},
        {2, "c = Div 1 x; y = Tanh c"},
        {1, "d = Dropout x; e = Identity d; y = Relu e"},
        {3, "r = Relu x; u = Unsqueeze r [1]; s = Squeeze u [1]; t = Identity s; y = Reshape t [0,3,8]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_left(qn_graph_drop_identities, cases[i].left, cases[i].text);
    }
}

/* A Reshape that is none for one item only; a Slice that is one for more than two. */
static void batches_are_tried(void **state)
{
    (void)state;
    static const char *const cases[] = {"r = Reshape x [1,-1,8]; y = Relu r", "s = Slice x [0] [2] [0]; y = Relu s"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_model model;
        memset(&model, 0, sizeof model);
        model.graph.opset = 13;
        qn_test_input(&model.graph, "x", DIMS(-1, 1, 8));
        text_graph(&model.graph, cases[i]);
        qn_test_output(&model.graph, "y");
        qn_assert_ok(qn_graph_drop_identities(&model.graph, &err), &err);
        assert_int_equal(model.graph.n_nodes, 2);
        qn_graph_free(&model.graph);
    }
}

/* Products of matrices and transposed convolutions, with groups, take a normalization in; products of tokens whose
 * channels are another axis do not, though its length is the same. */
static void normalizations_fold_into_other_layers(void **state)
{
    (void)state;
    static const struct {
        int rank;
        int64_t dims[4];
        int w_rank;
        int64_t w_dims[4];
        int64_t channels;
        const char *text;
        size_t left;
    } cases[] = {
        {2, {-1, 6}, 2, {6, 5}, 5, "a = MatMul x w; y = BatchNormalization a gamma beta mean var epsilon~0.001", 1},
        {3, {-1, 5, 6}, 2, {6, 5}, 5, "a = MatMul x w; y = BatchNormalization a gamma beta mean var epsilon~0.001", 2},
        {4,
         {-1, 4, 3, 3},
         4,
         {4, 3, 2, 2},
         6,
         "a = ConvTranspose x w group:2 strides=2,2; y = BatchNormalization a gamma beta mean var epsilon~0.001",
         1},
        {4,
         {-1, 4, 3, 3},
         4,
         {4, 5, 2, 3},
         5,
         "a = ConvTranspose x w bias; y = BatchNormalization a gamma beta mean var epsilon~0.001",
         1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_model model;
        int64_t n;
        const int64_t c = cases[i].channels;
        memset(&model, 0, sizeof model);
        model.graph.opset = 13;
        qn_test_input(&model.graph, "x", cases[i].rank, cases[i].dims);
        qn_test_floats(&model.graph, "w", cases[i].w_rank, cases[i].w_dims, NULL);
        qn_test_floats(&model.graph, "gamma", 1, &c, NULL);
        qn_test_floats(&model.graph, "beta", 1, &c, NULL);
        qn_test_floats(&model.graph, "mean", 1, &c, NULL);
        qn_test_floats(&model.graph, "var", 1, &c, (float[]){0.5F, 1.5F, 0.1F, 2.0F, 0.3F, 0.9F});
        qn_test_floats(&model.graph, "bias", 1, &c, NULL);
        text_graph(&model.graph, cases[i].text);
        qn_test_output(&model.graph, "y");
        float *before = text_run(&model, -3, 3, &n);
        qn_assert_ok(qn_graph_fold_batchnorm(&model.graph, &err), &err);
        qn_assert_ok(qn_graph_verify(&model.graph, &err), &err);
        assert_int_equal(model.graph.n_nodes, cases[i].left);
        float *after = text_run(&model, -3, 3, &n);
        text_expect_near(after, before, n, 1e-5f);
        free(before);
        free(after);
        qn_graph_free(&model.graph);
    }
}

#define HEADS                                                                                                          \
    "q0 = MatMul x w; q1 = Add q0 b; q2 = Reshape q1 [0,3,2,4]; q = Transpose q2 perm=0,2,1,3; "                       \
    "k0 = MatMul x w; k1 = Add b k0; k2 = Reshape k1 [0,3,2,4]; k = Transpose k2 perm=0,2,3,1; "

/* Factors of attention: behind the product, on one side or on both, as Mul or Div, before a mask. */
static void factors_go_into_weights(void **state)
{
    (void)state;
    static const struct {
        int left; /* Mul and Div */
        const char *text;
    } cases[] = {
        {0, HEADS "s = MatMul q k; t = Mul s 0.35355339; y = Softmax t"},
        {0, HEADS "s = MatMul q k; t = Div s 2.8284271; y = Softmax t"},
        {0, HEADS "qs = Mul 0.5 q; s = MatMul qs k; y = Softmax s"},
        {0, HEADS "qs = Mul q 0.594; ks = Mul 0.594 k; s = MatMul qs ks; y = Softmax s"},
        {0, HEADS "qs = Div q 2; s = MatMul qs k; t = Mul s 0.7; y = Softmax t"},
        {0, HEADS "s = MatMul q k; t = Mul s 0.5; m = Add t mask; y = Softmax m"},
        {0, HEADS "s = MatMul q k; m = Add mask s; t = Mul m 0.5; y = Softmax t"}, /* the mask, too */
        {1, HEADS "s = MatMul q k; t = Mul s 0.5; u = Softmax t; y = Add u s"},    /* read twice */
        {1, HEADS "s = MatMul q k; t = Mul s 0; y = Softmax t"},
        {1, HEADS "s = MatMul q k; t = Mul s mask; y = Softmax t"}, /* more than one number */
        {1, HEADS "s = MatMul q k; t = Div 2 s; y = Tanh t"},
        {1, HEADS "s = MatMul q k; r = Relu s; t = Mul r 0.5; y = Softmax t"},
        {1, HEADS "s = MatMul q k; t = Mul s 1e-38; y = Softmax t"}, /* would not stay normal */
        {1, "y = Mul x 0.5"},
        {1, HEADS
         "p = Add q0 q1; f = Reshape p [0,24]; z = Mul f 0.5; s = MatMul q k; r = ReduceMean s axes=1,2,3 keepdims:0; "
         "g = Unsqueeze r [1]; y = Add g z"}, /* an inner value is read twice */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_model model;
        int64_t n, n_after;
        memset(&model, 0, sizeof model);
        model.graph.opset = 13;
        qn_test_input(&model.graph, "x", DIMS(-1, 3, 8));
        qn_test_floats(&model.graph, "w", DIMS(8, 8), NULL);
        qn_test_floats(&model.graph, "b", DIMS(8), NULL);
        qn_test_floats(&model.graph, "mask", DIMS(3, 3), (float[]){0, -9, -9, 0, 0, -9, 0, 0, 0});
        text_graph(&model.graph, cases[i].text);
        qn_test_output(&model.graph, "y");
        float *before = text_run(&model, -1, 1, &n);
        qn_assert_ok(qn_graph_fold_scales(&model.graph, NULL, &err), &err);
        qn_assert_ok(qn_graph_verify(&model.graph, &err), &err);
        const int left = text_count(&model.graph, "Mul") + text_count(&model.graph, "Div");
        if (left != cases[i].left) {
            print_error("%d left, expected %d: %s\n", left, cases[i].left, cases[i].text);
        }
        assert_int_equal(left, cases[i].left);
        float *after = text_run(&model, -1, 1, &n_after);
        assert_int_equal(n, n_after);
        text_expect_near(after, before, n, 1e-5f);
        free(before);
        free(after);
        qn_graph_free(&model.graph);
    }
}

/* The weights of the keys, which others read too, are left as they were; the scores keep their name. */
static void shared_weights_are_scaled_apart(void **state)
{
    (void)state;
    qn_model model;
    start(&model, HEADS "s = MatMul q k; t = Mul s 0.25; y = Softmax t");
    const float first = ((const float *)model.graph.values[qn_graph_find(&model.graph, "w")].constant->data)[0];
    qn_assert_ok(qn_graph_fold_scales(&model.graph, NULL, &err), &err);
    const qn_graph *graph = &model.graph;
    const qn_value *w = &graph->values[qn_graph_find(graph, "w")],
                   *scaled = &graph->values[qn_graph_find(graph, "w_scaled")];
    assert_true(((const float *)w->constant->data)[0] == first);
    assert_true(((const float *)scaled->constant->data)[0] == first * 0.25F);
    const qn_value *scores = &graph->values[qn_graph_find(graph, "t")];
    assert_int_equal(graph->nodes[scores->producer].op, QN_OP_MATMUL);
    assert_int_equal(graph->values[qn_graph_find(graph, "q1")].producer, -1);
    assert_true(graph->values[qn_graph_find(graph, "q1_scaled")].producer >= 0);
    assert_true(graph->values[qn_graph_find(graph, "k1")].producer >= 0);
    qn_graph_free(&model.graph);
}

/* The same network in two files, with other names and Constant nodes. */
static void two_exports_of_a_network_become_one(void **state)
{
    (void)state;
    static const char *const files[] = {"data/models/vit_cifar10.onnx", "data/models/vit_cifar10_torchraw.onnx"};
    qn_model *models[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        const char *path = qn_shared(files[i]);
        if (path == NULL) {
            skip();
        }
        qn_assert_ok(qn_model_load(&models[i], path, &err), &err);
        qn_assert_ok(qn_graph_clean_up(&models[i]->graph, &err), &err);
        assert_int_equal(text_count(&models[i]->graph, "LayerNormalization"), 9);
        assert_int_equal(text_count(&models[i]->graph, "Gelu"), 4);
        assert_int_equal(text_count(&models[i]->graph, "Mul") + text_count(&models[i]->graph, "Div"), 0);
    }
    const qn_graph *a = &models[0]->graph, *b = &models[1]->graph;
    qn_value_id *same = malloc(a->n_values * sizeof *same); /* of a to b */
    for (size_t i = 0; i < a->n_values; i++) {
        same[i] = QN_NO_VALUE;
    }
    assert_int_equal(a->n_inputs, b->n_inputs);
    same[a->inputs[0]] = b->inputs[0];
    assert_int_equal(a->n_nodes, b->n_nodes);
    for (size_t n = 0; n < a->n_nodes; n++) {
        const qn_node *x = &a->nodes[n], *y = &b->nodes[n];
        assert_string_equal(x->op_type, y->op_type);
        assert_int_equal(x->n_inputs, y->n_inputs);
        assert_int_equal(x->n_attributes, y->n_attributes);
        for (int k = 0; k < x->n_attributes; k++) {
            const qn_attribute *p = &x->attributes[k], *q = qn_node_attribute(y, p->name);
            assert_non_null(q);
            assert_true(p->type == q->type && p->i == q->i && memcmp(&p->f, &q->f, sizeof p->f) == 0 && p->n == q->n);
            assert_true(p->type != QN_ATTRIBUTE_INTS || memcmp(p->ints, q->ints, (size_t)p->n * sizeof *p->ints) == 0);
        }
        for (int k = 0; k < x->n_inputs; k++) {
            const qn_tensor *s = a->values[x->inputs[k]].constant, *t = b->values[y->inputs[k]].constant;
            assert_true((s == NULL) == (t == NULL));
            if (s == NULL) {
                assert_int_equal(same[x->inputs[k]], y->inputs[k]);
            } else {
                assert_true(s->dtype == t->dtype && s->rank == t->rank &&
                            memcmp(s->dims, t->dims, (size_t)s->rank * sizeof s->dims[0]) == 0);
                assert_memory_equal(s->data, t->data, qn_tensor_bytes(s));
            }
        }
        same[x->outputs[0]] = y->outputs[0];
    }
    assert_int_equal(same[a->outputs[0]], b->outputs[0]);
    free(same);
    qn_model_free(models[0]);
    qn_model_free(models[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(constants_are_settled, reset_error),
        cmocka_unit_test_setup(codes_are_not_settled, reset_error),
        cmocka_unit_test_setup(a_huge_result_is_not_stored, reset_error),
        cmocka_unit_test_setup(no_ops_go, reset_error),
        cmocka_unit_test_setup(batches_are_tried, reset_error),
        cmocka_unit_test_setup(normalizations_fold_into_other_layers, reset_error),
        cmocka_unit_test_setup(factors_go_into_weights, reset_error),
        cmocka_unit_test_setup(shared_weights_are_scaled_apart, reset_error),
        cmocka_unit_test_setup(two_exports_of_a_network_become_one, reset_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
