/* Quantization from end to end: quality on the shared networks, files, reports and refusals. */
#include "graph_builder.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"
#include "quern/evaluate.h"
#include "quern/quantize.h"

typedef struct {
    const char *model, *calibration, *data, *labels;
    int64_t min_correct;
    double min_sqnr_db;
} target;

static const target resnet8 = {"data/models/resnet8_cifar10.onnx",
                               "data/inputs/cifar10_lossless_calib500_x_u8.npy",
                               "data/inputs/cifar10_lossless932_x_u8.npy",
                               "data/inputs/cifar10_lossless932_y_u8.npy",
                               815,
                               31.5};
static const target kws = {"data/models/kws_dscnn_tflite.onnx",
                           "data/inputs/kws_calib100_x_f32.npy",
                           "data/inputs/kws_eval900_x_f32.npy",
                           "data/inputs/kws_eval900_y_u8.npy",
                           812,
                           28.5};

/* A model, its calibration and what became of it. */
typedef struct {
    qn_model *model, *quantized;
    qn_calibration *calibration;
    qn_quantize_report *report;
    qn_error err;
} work;

static void release(work *w)
{
    qn_model_free(w->model);
    qn_model_free(w->quantized);
    qn_calibration_free(w->calibration);
    qn_quantize_report_free(w->report);
}

static void calibrate(work *w, const char *data)
{
    qn_dataset *set = NULL;
    qn_assert_ok(qn_dataset_open(&set, data, NULL, &w->err), &w->err);
    qn_assert_ok(qn_calibrate(&w->calibration, w->model, set, NULL, &w->err), &w->err);
    qn_dataset_close(set);
}

/* False when the shared material is absent. */
static bool load(work *w, const char *model, const char *data)
{
    memset(w, 0, sizeof *w);
    qn_error_init(&w->err);
    const char *model_path = qn_shared(model), *data_path = qn_shared(data);
    if (model_path == NULL || data_path == NULL) {
        return false;
    }
    qn_assert_ok(qn_model_load(&w->model, model_path, &w->err), &w->err);
    calibrate(w, data_path);
    return true;
}

static qn_status quantize(work *w)
{
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    return qn_quantize(&w->quantized, w->model, w->calibration, &options, &w->report, &w->err);
}

/* Over the first n items, 0 for all. */
static void evaluate(const qn_model *model, const target *t, int64_t n, const qn_model *against, int n_threads,
                     int64_t batch, qn_evaluation *result, qn_tensor *logits)
{
    qn_error err;
    qn_error_init(&err);
    qn_dataset *set = NULL;
    qn_tensor labels = {0}, x = {0};
    qn_evaluate_options options;
    qn_assert_ok(qn_tensor_read(&x, qn_shared(t->data), &err), &err);
    qn_assert_ok(qn_tensor_read(&labels, qn_shared(t->labels), &err), &err);
    if (n > 0) {
        x.dims[0] = labels.dims[0] = n;
    }
    qn_assert_ok(qn_dataset_of_tensor(&set, &x, NULL, &err), &err);
    qn_assert_ok(qn_evaluate_options_init(&options, model, &err), &err);
    options.labels = &labels;
    options.against = against;
    options.n_threads = n_threads;
    options.batch = batch;
    qn_assert_ok(qn_evaluate(result, model, set, &options, logits, &err), &err);
    qn_tensor_free(&labels);
    qn_dataset_close(set);
    qn_tensor_free(&x);
}

/* The integer engine gives the same bytes under every CPU mask (its own tests), so that all images need to be seen only
 * once: not on the slow kernels. */
static bool is_masked(void)
{
    return getenv("QUERN_CPU") != NULL;
}

static void check_quality(const target *t)
{
    enum { FEW = 12 };
    work w;
    if (!load(&w, t->model, t->calibration)) {
        skip();
    }
    qn_assert_ok(quantize(&w), &w.err);
    qn_evaluation result;
    qn_tensor one = {0}, many = {0}, reloaded = {0};
    if (!is_masked()) {
        evaluate(w.quantized, t, 0, w.model, 2, 0, &result, NULL);
        print_message("%s: %lld correct, %.3f dB, agreement %.4f\n", t->model, (long long)result.correct,
                      result.sqnr_db, result.argmax_agree);
        assert_true(result.correct >= t->min_correct);
        assert_true(result.sqnr_db >= t->min_sqnr_db);
    }
    evaluate(w.quantized, t, FEW, NULL, 1, 1, &result, &one);
    evaluate(w.quantized, t, FEW, NULL, 3, 5, &result, &many);
    assert_memory_equal(one.data, many.data, qn_tensor_bytes(&one));

    const char *path = qn_scratch_file("quantized.onnx");
    qn_model *again = NULL;
    qn_assert_ok(qn_model_save(w.quantized, path, true, &w.err), &w.err);
    qn_assert_ok(qn_model_load(&again, path, &w.err), &w.err);
    evaluate(again, t, FEW, NULL, 2, 1, &result, &reloaded);
    assert_memory_equal(one.data, reloaded.data, qn_tensor_bytes(&one));
    assert_string_equal(qn_model_metadata(again, "quern.recipe"), "minmax");
    assert_string_equal(qn_model_metadata(again, "quern.requantize"), "float");
    assert_string_equal(qn_model_metadata(again, "quern.version"), qn_version());
    assert_string_equal(qn_model_metadata(again, "quern.model_sha256"), w.model->graph.sha256);
    qn_model_free(again);
    qn_tensor_free(&one);
    qn_tensor_free(&many);
    qn_tensor_free(&reloaded);
    release(&w);
}

static void resnet8_stays_as_good_as_it_should(void **state)
{
    (void)state;
    check_quality(&resnet8);
}

static void keyword_spotting_stays_as_good_as_it_should(void **state)
{
    (void)state;
    check_quality(&kws);
}

static void the_report_tells_every_coded_value(void **state)
{
    (void)state;
    work w;
    if (!load(&w, kws.model, kws.calibration)) {
        skip();
    }
    qn_assert_ok(quantize(&w), &w.err);
    size_t n_values = 0, n_weights = 0, n_inputs = 0;
    const qn_graph *graph = &w.quantized->graph;
    for (size_t v = 0; v < graph->n_values; v++) {
        n_values += graph->values[v].quantizer != NULL;
    }
    assert_int_equal(qn_quantize_report_count(w.report), n_values);
    for (size_t i = 0; i < n_values; i++) {
        const qn_quantize_row *row = qn_quantize_report_at(w.report, i);
        qn_value_id id = qn_graph_find(graph, row->value_name);
        assert_true(id != QN_NO_VALUE && graph->values[id].quantizer != NULL);
        assert_int_equal(graph->values[id].quantizer->n, row->n_channels);
        assert_true(graph->values[id].quantizer->scale[0] >= row->scale_min);
        assert_true(row->min <= 0 && row->max >= 0 && row->min < row->max);
        n_weights += strcmp(row->role, "weight") == 0;
        n_inputs += strcmp(row->role, "input") == 0;
        assert_string_equal(row->format, strcmp(row->role, "weight") == 0 ? "int8 per channel"
                                         : strcmp(row->role, "bias") == 0 ? "int32 per channel"
                                                                          : "uint8");
    }
    assert_int_equal(n_inputs, 1);
    assert_int_equal(n_weights, 10); /* 4 depthwise, 4 pointwise, the first convolution, the last layer */
    char *text = NULL;
    qn_assert_ok(qn_quantize_report_to_json(w.report, &text, &w.err), &w.err);
    assert_non_null(strstr(text, "\"minmax\""));
    free(text);
    release(&w);
}

/* What LayerNormalization and Gelu are made of is one node each, behind codes; layers compute on codes. */
static void a_transformer_is_cleaned_up(void **state)
{
    (void)state;
    work w;
    if (!load(&w, "data/models/vit_cifar10.onnx", "data/inputs/cifar10_calib500_x_u8.npy")) {
        skip();
    }
    qn_assert_ok(qn_quantize_check(w.model, NULL, &w.err), &w.err);
    qn_assert_ok(quantize(&w), &w.err);
    const qn_graph *graph = &w.quantized->graph;
    int n_normalizations = 0, n_gelus = 0, n_layers = 0;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        const qn_value *y = &graph->values[node->outputs[0]], *x = &graph->values[node->inputs[0]];
        assert_true(node->op != QN_OP_SQRT && node->op != QN_OP_ERF);
        if (node->op == QN_OP_LAYER_NORMALIZATION || node->op == QN_OP_GELU) {
            assert_non_null(x->quantizer);
            *(node->op == QN_OP_GELU ? &n_gelus : &n_normalizations) += 1;
        }
        if (node->op == QN_OP_MATMUL && graph->values[node->inputs[1]].constant != NULL) {
            assert_non_null(x->quantizer);
            assert_null(y->quantizer); /* its bias goes into the sum */
            assert_non_null(graph->values[node->inputs[1]].codes);
            n_layers++;
        }
    }
    assert_int_equal(n_normalizations, 9);
    assert_int_equal(n_gelus, 4);
    assert_true(n_layers >= 16);
    release(&w);
}

static int count_nodes(const qn_graph *graph, qn_op op)
{
    int found = 0;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        found += graph->nodes[n].op == op ? 1 : 0;
    }
    return found;
}

/* A recipe without the passes that clean up takes the network as the file has it. With a calibration and no data, a pass that
 * makes other values of those that were calibrated is left out, and named. */
static void cleaning_up_can_be_left_out(void **state)
{
    (void)state;
    static const char recipe[] = "weights: int8\npasses:\n  - gelu\n  - fuse-bias\n  - plain-gemm\n  - check-forms\n"
                                 "  - choose-ranges\n  - choose-weights\n  - quantize-weights\n";
    const char *path = qn_scratch_file("raw.yaml");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(recipe, file) >= 0 && fclose(file) == 0);
    for (int raw = 0; raw < 2; raw++) {
        work w;
        if (!load(&w, "data/models/vit_cifar10.onnx", "data/inputs/cifar10_calib500_x_u8.npy")) {
            skip();
        }
        qn_quantize_options options;
        qn_quantize_options_init(&options);
        options.recipe = raw ? path : "minmax";
        qn_assert_ok(qn_quantize(&w.quantized, w.model, w.calibration, &options, &w.report, &w.err), &w.err);
        const qn_graph *graph = &w.quantized->graph;
        assert_int_equal(count_nodes(graph, QN_OP_GELU), 4);
        assert_int_equal(count_nodes(graph, QN_OP_LAYER_NORMALIZATION), raw ? 0 : 9);
        assert_int_equal(count_nodes(graph, QN_OP_SQRT), raw ? 9 : 0);
        assert_int_equal(count_nodes(graph, QN_OP_MUL), raw ? 4 + 18 : 4);
        char *text = NULL;
        qn_assert_ok(qn_quantize_report_to_json(w.report, &text, &w.err), &w.err);
        assert_true((strstr(text, "left out, for the calibration is of the network as it was: fold-scales") != NULL) ==
                    !raw);
        free(text);
        release(&w);
    }
}

static void a_calibration_of_another_file_is_refused(void **state)
{
    (void)state;
    work w;
    if (!load(&w, kws.model, kws.calibration)) {
        skip();
    }
    qn_calibration *other = w.calibration;
    other->model_sha256[0] = other->model_sha256[0] == '0' ? '1' : '0';
    qn_assert_fails(quantize(&w), &w.err, QN_EINVAL, "made of another network");
    release(&w);
}

/* x (N,1,3,3) -> Conv(2,1,3,3) with bias -> Relu -> y */
static void small(work *w, const float *weights, const float *bias)
{
    memset(w, 0, sizeof *w);
    qn_error_init(&w->err);
    w->model = qn_alloc(sizeof *w->model);
    assert_non_null(w->model);
    qn_graph *graph = &w->model->graph;
    graph->opset = 13;
    graph->file = "small.onnx";
    qn_test_input(graph, "x", DIMS(-1, 1, 3, 3));
    qn_test_floats(graph, "w", DIMS(2, 1, 3, 3), weights);
    qn_test_floats(graph, "b", DIMS(2), bias);
    NODE(graph, "Conv", "x w b", "c");
    NODE(graph, "Relu", "c", "y");
    qn_test_output(graph, "y");
    w->calibration = qn_alloc(sizeof *w->calibration);
    assert_non_null(w->calibration);
    static const struct {
        const char *name;
        int64_t n;
        float min, max;
    } ranges[] = {{"x", 1, -1, 1}, {"c", 2, -9, 9}, {"y", 2, 0, 9}};
    for (size_t i = 0; i < 3; i++) {
        qn_range *range;
        float *absmax;
        qn_assert_ok(qn_calibration_add(w->calibration, ranges[i].name, ranges[i].n, &range, &absmax, &w->err),
                     &w->err);
        range->min = ranges[i].min;
        range->max = ranges[i].max;
    }
}

static const qn_quantize_row *find_row(const qn_quantize_report *report, const char *name)
{
    for (size_t i = 0; i < qn_quantize_report_count(report); i++) {
        if (strcmp(qn_quantize_report_at(report, i)->value_name, name) == 0) {
            return qn_quantize_report_at(report, i);
        }
    }
    fail_msg("no row for '%s'", name);
    return NULL;
}

static void options_of_another_size_are_refused(void **state)
{
    (void)state;
    work w;
    small(&w, NULL, NULL);
    qn_quantize_options options = {.struct_size = 1};
    qn_assert_fails(qn_quantize(&w.quantized, w.model, w.calibration, &options, NULL, &w.err), &w.err, QN_EINVAL,
                    "qn_quantize_options_init");
    qn_error_init(&w.err);
    qn_quantize_options_init(&options);
    options.recipe = "minmax"; /* others want a histogram */
    qn_assert_ok(qn_quantize(&w.quantized, w.model, w.calibration, &options, NULL, &w.err), &w.err);
    release(&w);
}

/* An Add that broadcasts one channel over many has a row in the engine's table, but no plan. */
static void sums_without_integer_form_stay_float(void **state)
{
    (void)state;
    work w;
    small(&w, NULL, NULL);
    qn_graph *graph = &w.model->graph;
    qn_test_floats(graph, "single", DIMS(2, 1, 1, 1), NULL);
    NODE(graph, "Conv", "x single", "wide");
    NODE(graph, "Add", "wide x", "sum");
    qn_test_output(graph, "sum");
    for (int i = 0; i < 2; i++) {
        qn_range *range;
        float *absmax;
        qn_assert_ok(qn_calibration_add(w.calibration, i == 0 ? "wide" : "sum", 2, &range, &absmax, &w.err), &w.err);
        range->max = 1;
    }
    qn_assert_ok(quantize(&w), &w.err);
    for (size_t i = 0; qn_quantize_report_remark(w.report, i) != NULL;
         i++) { /* the integer engine runs it, as an island */
        assert_null(strstr(qn_quantize_report_remark(w.report, i), "simulation"));
    }
    const qn_graph *result = &w.quantized->graph;
    assert_null(result->values[qn_graph_find(result, "sum")].quantizer);
    assert_non_null(result->values[qn_graph_find(result, "wide")].quantizer);
    release(&w);
}

static void a_raised_scale_is_reported(void **state)
{
    (void)state;
    float weights[18], bias[2] = {0.5f, 300};
    for (int i = 0; i < 18; i++) {
        weights[i] = i < 9 ? 0.25f : 1e-9f;
    }
    work w;
    small(&w, weights, bias);
    qn_assert_ok(quantize(&w), &w.err);
    const qn_quantize_row *row = find_row(w.report, "w");
    assert_int_equal(row->n_raised, 1);
    assert_non_null(strstr(row->note, "raised in 1 of 2 channels"));
    const int32_t *codes = w.quantized->graph.values[qn_graph_find(&w.quantized->graph, "b")].codes->data;
    assert_true(codes[1] > INT32_MAX / 2);
    assert_non_null(strstr(find_row(w.report, "y")->note, "Relu"));
    release(&w);
}

static void quantized_networks_and_nan_weights_are_refused(void **state)
{
    (void)state;
    work w, bad;
    small(&w, NULL, NULL);
    qn_assert_ok(quantize(&w), &w.err);
    qn_model *again = NULL;
    qn_assert_fails(qn_quantize(&again, w.quantized, w.calibration, NULL, NULL, &w.err), &w.err, QN_EINVAL,
                    "quantized already");
    float weights[18] = {0};
    weights[7] = NAN;
    small(&bad, weights, NULL);
    qn_assert_fails(quantize(&bad), &bad.err, QN_ERANGE, "constant 'w' is NaN at element 7");
    release(&w);
    release(&bad);
}

/* Weights near the end of float32: the bias could reach beyond it. */
static void numbers_beyond_float_are_null_in_the_report(void **state)
{
    (void)state;
    float weights[18], bias[2] = {0, 1};
    for (int i = 0; i < 18; i++) {
        weights[i] = i % 2 == 0 ? 1e35f : -1e35f;
    }
    work w;
    small(&w, weights, bias);
    qn_assert_ok(quantize(&w), &w.err);
    const qn_quantize_row *row = find_row(w.report, "b");
    assert_true(isinf(row->max) && isfinite(row->scale_max));
    char *text = NULL;
    qn_assert_ok(qn_quantize_report_to_json(w.report, &text, &w.err), &w.err);
    assert_non_null(strstr(text, "\"max\": null"));
    free(text);
    release(&w);
}

/* A channel whose bias no scale can hold: its weights, scaled to fit, would need a scale beyond float32. */
static void a_bias_that_no_scale_can_hold_is_refused(void **state)
{
    (void)state;
    float weights[18] = {0}, bias[2] = {0, FLT_MAX};
    weights[9] = 1e-3f;
    work w;
    small(&w, weights, bias);
    qn_range *range = (qn_range *)(uintptr_t)qn_calibration_find(w.calibration, "x");
    range->min = 0;
    range->max = 1e-37f;
    qn_assert_fails(quantize(&w), &w.err, QN_ERANGE, "no weight scale keeps");
    assert_non_null(strstr(w.err.where, "small.onnx, node 0 Conv"));
    release(&w);
}

static void preprocessing_is_carried_over_and_must_agree(void **state)
{
    (void)state;
    work w;
    small(&w, NULL, NULL);
    qn_preprocess_init(&w.calibration->preprocess);
    w.calibration->preprocess.scale = 1.0 / 255;
    w.calibration->has_preprocess = true;
    qn_assert_ok(quantize(&w), &w.err);
    qn_preprocess pre;
    bool found;
    qn_assert_ok(qn_model_preprocess(w.quantized, &pre, &found, &w.err), &w.err);
    assert_true(found && qn_preprocess_equal(&pre, &w.calibration->preprocess));
    qn_assert_ok(qn_model_set_metadata(w.model, "quern.preprocess", "{\"scale\": 2}", &w.err), &w.err);
    qn_model *again = NULL;
    qn_assert_fails(qn_quantize(&again, w.model, w.calibration, NULL, NULL, &w.err), &w.err, QN_ECONFLICT,
                    "another preprocessing");
    release(&w);
}

/* However memory runs out, the call fails cleanly and leaks nothing (which the sanitizer sees). */
static void running_out_of_memory_is_survived(void **state)
{
    (void)state;
    work w;
    small(&w, NULL, NULL);
    qn_status status = QN_ENOMEM;
    for (int64_t countdown = 0; status != QN_OK; countdown++) {
        qn_error_init(&w.err);
        qn_alloc_fail_after(countdown);
        status = quantize(&w);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || status == QN_ENOMEM);
        assert_true(status == QN_OK || (w.quantized == NULL && w.report == NULL));
    }
    release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet8_stays_as_good_as_it_should),
        cmocka_unit_test(keyword_spotting_stays_as_good_as_it_should),
        cmocka_unit_test(the_report_tells_every_coded_value),
        cmocka_unit_test(a_transformer_is_cleaned_up),
        cmocka_unit_test(cleaning_up_can_be_left_out),
        cmocka_unit_test(options_of_another_size_are_refused),
        cmocka_unit_test(a_calibration_of_another_file_is_refused),
        cmocka_unit_test(sums_without_integer_form_stay_float),
        cmocka_unit_test(a_raised_scale_is_reported),
        cmocka_unit_test(numbers_beyond_float_are_null_in_the_report),
        cmocka_unit_test(a_bias_that_no_scale_can_hold_is_refused),
        cmocka_unit_test(quantized_networks_and_nan_weights_are_refused),
        cmocka_unit_test(preprocessing_is_carried_over_and_must_agree),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests_name("ptq", tests, NULL, NULL);
}
