/* Ranges tuned by the output: never worse on the data they were tuned on, moves follow, odd cases are left alone. */
#include "graph_builder.h"

#include <math.h>
#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"
#include "ptq_pass.h"
#include "quern/evaluate.h"

typedef struct {
    qn_model *model;
    qn_calibration *calibration;
    qn_tensor x;
    qn_dataset *data;
    qn_error err;
} bed;

enum { ITEMS = 48 };

/* x -> Conv -> Relu -> MaxPool -> Conv -> y; one element in a thousand is far out. */
static void bed_make(bed *b, int64_t n_items)
{
    memset(b, 0, sizeof *b);
    qn_error_init(&b->err);
    b->model = qn_alloc(sizeof *b->model);
    qn_graph *g = &b->model->graph;
    g->opset = 13;
    g->file = g->name = g->producer = "";
    qn_test_input(g, "x", DIMS(-1, 2, 8, 8));
    qn_test_floats(g, "w1", DIMS(6, 2, 3, 3), NULL);
    NODE_WITH(g, "Conv", "x w1", "c", A_INTS("pads", 1, 1, 1, 1));
    NODE(g, "Relu", "c", "r");
    NODE_WITH(g, "MaxPool", "r", "p", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    qn_test_floats(g, "w2", DIMS(4, 6, 4, 4), NULL);
    NODE(g, "Conv", "p w2", "y");
    qn_test_output(g, "y");
    qn_assert_ok(qn_graph_tidy(g, &b->err), &b->err);
    qn_assert_ok(qn_tensor_alloc(&b->x, QN_DTYPE_F32, 4, (const int64_t[]){n_items, 2, 8, 8}, &b->err), &b->err);
    uint64_t seed = 5;
    for (int64_t i = 0; i < qn_tensor_count(&b->x); i++) {
        float v = qn_test_uniform(&seed, -1, 1);
        ((float *)b->x.data)[i] = i % 1009 == 7 ? 12 * v : v;
    }
    qn_assert_ok(qn_dataset_of_tensor(&b->data, &b->x, NULL, &b->err), &b->err);
    qn_assert_ok(qn_calibrate(&b->calibration, b->model, b->data, NULL, &b->err), &b->err);
}

static void bed_free(bed *b)
{
    qn_model_free(b->model);
    qn_calibration_free(b->calibration);
    qn_dataset_close(b->data);
    qn_tensor_free(&b->x);
}

static double sqnr(bed *b, const qn_model *quantized)
{
    qn_evaluate_options options;
    qn_evaluation result;
    qn_assert_ok(qn_evaluate_options_init(&options, quantized, &b->err), &b->err);
    options.engine = QN_ENGINE_SIMULATE;
    options.against = b->model;
    qn_assert_ok(qn_evaluate(&result, quantized, b->data, &options, NULL, &b->err), &b->err);
    return result.sqnr_db;
}

static void tune_format(qn_format format, double least_gain_db)
{
    bed b;
    bed_make(&b, ITEMS);
    qn_model model = {0};
    qn_assert_ok(qn_graph_clone(&model.graph, &b.model->graph, &b.err), &b.err);
    qn_ptq_settings settings = qn_test_ptq_settings(8);
    settings.base.activations = format;
    qn_ptq ptq = {.model = &model,
                  .graph = &model.graph,
                  .calibration = b.calibration,
                  .data = b.data,
                  .n_threads = 1,
                  .settings = &settings};
    qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_choose_ranges, &b.err), &b.err);
    const double before = sqnr(&b, &model);
    qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_tune_ranges, &b.err), &b.err);
    const double after = sqnr(&b, &model);
    print_message("%d bits: %.2f dB, tuned %.2f dB\n", format.bits, before, after);
    assert_true(after >= before + least_gain_db);
    const qn_graph *g = &model.graph;
    const qn_quantizer *r = g->values[qn_graph_find(g, "r")].quantizer, *p = g->values[qn_graph_find(g, "p")].quantizer;
    assert_non_null(r);
    assert_true(qn_quantizer_equal(r, p));
    qn_arena_free(&ptq.scratch);
    qn_graph_free(&model.graph);
    bed_free(&b);
}

static void the_output_gains(void **state)
{
    (void)state;
    tune_format((qn_format){.bits = 4, .fit = QN_FIT_AFFINE}, 1); /* outliers take the range of 15 steps */
    tune_format((qn_format){.bits = 8, .fit = QN_FIT_AFFINE}, 0);
    tune_format((qn_format){.bits = 5, .is_signed = true, .fit = QN_FIT_PO2}, 0);
    tune_format(
        (qn_format){
            .kind = QN_FORMAT_ADAPTIVFLOAT, .bits = 5, .is_signed = true, .exponent_bits = 2, .mantissa_bits = 2},
        0);
}

/* A handful of items tells nothing: the ranges stay, and a remark says so. */
static void few_items_are_not_tuned_on(void **state)
{
    (void)state;
    bed b;
    bed_make(&b, 5);
    qn_ptq_settings settings = qn_test_ptq_settings(8);
    qn_ptq ptq = {.model = b.model,
                  .graph = &b.model->graph,
                  .calibration = b.calibration,
                  .data = b.data,
                  .n_threads = 1,
                  .settings = &settings};
    qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_choose_ranges, &b.err), &b.err);
    qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_tune_ranges, &b.err), &b.err);
    assert_non_null(ptq.remarks);
    assert_non_null(strstr(ptq.remarks->text, "needs 8 items"));
    qn_arena_free(&ptq.scratch);
    bed_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_output_gains),
        cmocka_unit_test(few_items_are_not_tuned_on),
    };
    return cmocka_run_group_tests_name("ptq_tune", tests, NULL, NULL);
}
