/* The sign map: what cannot be negative is found, and what is found is never negative. */
#include "support.h"

#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"
#include "graph_builder.h"
#include "ptq/ptq.h"

typedef struct {
    qn_graph graph;
    qn_calibration calibration;
    qn_ptq ptq;
    qn_error err;
} bench;

static void setup(bench *b)
{
    memset(b, 0, sizeof *b);
    qn_error_init(&b->err);
    b->graph.opset = 13;
    b->graph.file = "test.onnx";
    b->ptq = (qn_ptq){.graph = &b->graph, .calibration = &b->calibration};
}

static void teardown(bench *b)
{
    qn_graph_free(&b->graph);
    qn_arena_free(&b->ptq.scratch);
    qn_calibration_release(&b->calibration);
}

static void expect(const bench *b, const char *names, bool nonnegative)
{
    char copy[256];
    strcpy(copy, names);
    for (char *name = strtok(copy, " "); name != NULL; name = strtok(NULL, " ")) {
        qn_value_id id = qn_graph_find(&b->graph, name);
        assert_true(id != QN_NO_VALUE);
        if (qn_ptq_nonnegative(&b->ptq, id) != nonnegative) {
            fail_msg("'%s' should%s be nonnegative", name, nonnegative ? "" : " not");
        }
    }
}

static void signs_follow_the_graph(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    qn_graph *g = &b.graph;
    const float bounds[] = {0, 6, -1};
    qn_range *range;
    float *absmax;
    qn_test_input(g, "x", DIMS(-1, 4, 6, 6));
    qn_test_input(g, "pixels", DIMS(-1, 4, 6, 6));
    qn_assert_ok(qn_calibration_add(&b.calibration, "x", 4, &range, &absmax, &b.err), &b.err);
    range->min = -1, range->max = 1;
    qn_assert_ok(qn_calibration_add(&b.calibration, "pixels", 4, &range, &absmax, &b.err), &b.err);
    range->min = 0, range->max = 255;
    qn_test_floats(g, "w", DIMS(4, 4, 1, 1), NULL);
    qn_test_floats(g, "plus", DIMS(1, 1, 1, 1), (const float[]){2});
    qn_test_floats(g, "minus", DIMS(1, 1, 1, 1), (const float[]){-2});
    qn_test_floats(g, "w_plus", DIMS(2, 4, 1, 1), (const float[]){1, 0, 2, 3, 4, 5, 6, 7});
    qn_test_floats(g, "lo", 0, NULL, &bounds[0]);
    qn_test_floats(g, "hi", 0, NULL, &bounds[1]);
    qn_test_floats(g, "below", 0, NULL, &bounds[2]);
    NODE(g, "Conv", "pixels w", "conv");
    NODE(g, "Relu", "conv", "relu");
    NODE(g, "Sigmoid", "conv", "sigmoid");
    NODE(g, "Clip", "conv lo hi", "relu6");
    NODE(g, "Clip", "conv below hi", "clip");
    NODE(g, "Clip", "relu below hi", "clip_relu");
    NODE_WITH(g, "LeakyRelu", "conv", "leaky", A_FLOAT("alpha", 0.1f));
    NODE(g, "Add", "relu sigmoid", "both");
    NODE(g, "Add", "relu conv", "mixed");
    NODE(g, "Add", "relu plus", "raised");
    NODE(g, "Add", "relu minus", "lowered");
    NODE(g, "Sub", "relu sigmoid", "difference");
    NODE(g, "Mul", "relu minus", "flipped");
    NODE(g, "Mul", "conv conv", "square");
    NODE_WITH(g, "Concat", "relu relu6", "cat", A_INT("axis", 1));
    NODE_WITH(g, "Concat", "relu conv", "cat_mixed", A_INT("axis", 1));
    NODE(g, "GlobalAveragePool", "cat", "gap");
    NODE(g, "Flatten", "gap", "flat");
    NODE(g, "Conv", "relu w_plus", "conv_plus");
    NODE(g, "Conv", "x w_plus", "conv_any");
    NODE_WITH(g, "Softmax", "flat", "softmax", A_INT("axis", 1));
    const char *const outputs[] = {"clip",      "clip_relu", "leaky",      "both",    "mixed",
                                   "raised",    "lowered",   "difference", "flipped", "square",
                                   "cat_mixed", "conv_plus", "conv_any",   "softmax"};
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
        qn_test_output(g, outputs[i]);
    }
    qn_assert_ok(qn_ptq_run_pass(&b.ptq, qn_ptq_sign_map, &b.err), &b.err);
    expect(&b, "pixels relu sigmoid relu6 clip_relu both raised square cat gap flat conv_plus softmax w_plus", true);
    expect(&b, "x conv clip leaky mixed lowered difference flipped cat_mixed conv_any w", false);
    assert_false(qn_ptq_nonnegative(&b.ptq, QN_NO_VALUE));
    assert_false(qn_ptq_nonnegative(&b.ptq, (qn_value_id)g->n_values));
    teardown(&b);
}

/* On real networks no value that is called nonnegative was ever seen below 0. */
static void what_was_seen_agrees(void **state)
{
    (void)state;
    const char *const files[][2] = {
        {"data/models/resnet8_cifar10.onnx", "data/inputs/cifar10_lossless_calib500_x_u8.npy"},
        {"data/models/kws_dscnn.onnx", "data/inputs/kws_calib100_x_f32.npy"},
    };
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        qn_error err;
        qn_error_init(&err);
        if (qn_shared(files[f][0]) == NULL || qn_shared(files[f][1]) == NULL) {
            skip();
        }
        qn_model *model;
        qn_dataset *data;
        qn_calibration *calibration;
        qn_assert_ok(qn_model_load(&model, qn_shared(files[f][0]), &err), &err);
        qn_assert_ok(qn_dataset_open(&data, qn_shared(files[f][1]), NULL, &err), &err);
        qn_assert_ok(qn_calibrate(&calibration, model, data, NULL, &err), &err);
        bench b;
        setup(&b);
        qn_graph_free(&b.graph);
        qn_assert_ok(qn_graph_clone(&b.graph, &model->graph, &err), &err);
        b.ptq.calibration = calibration;
        qn_assert_ok(qn_ptq_run_pass(&b.ptq, qn_ptq_sign_map, &err), &err);
        int n = 0;
        for (size_t i = 0; i < qn_calibration_count(calibration); i++) {
            const qn_range *range = qn_calibration_at(calibration, i);
            if (qn_ptq_nonnegative(&b.ptq, qn_graph_find(&b.graph, range->value_name))) {
                n++;
                assert_true(range->min >= 0);
            }
        }
        assert_true(n >= 7);
        teardown(&b);
        qn_calibration_free(calibration);
        qn_dataset_close(data);
        qn_model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_follow_the_graph),
        cmocka_unit_test(what_was_seen_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
