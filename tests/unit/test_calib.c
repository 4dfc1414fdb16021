/* Calibration: ranges against ONNX Runtime's logits and brute force, the file, and what is refused. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"

static const qn_range *find(const qn_calibration *calibration, const char *name)
{
    const qn_range *range = qn_calibration_find(calibration, name);
    if (range == NULL) {
        fail_msg("no range for '%s'", name);
    }
    return range;
}

static void assert_same(const qn_calibration *a, const qn_calibration *b)
{
    assert_int_equal(qn_calibration_count(a), qn_calibration_count(b));
    for (size_t i = 0; i < qn_calibration_count(a); i++) {
        const qn_range *x = qn_calibration_at(a, i), *y = qn_calibration_at(b, i);
        assert_string_equal(x->value_name, y->value_name);
        assert_memory_equal(&x->min, &y->min, sizeof x->min);
        assert_memory_equal(&x->max, &y->max, sizeof x->max);
        assert_int_equal(x->n_channels, y->n_channels);
        assert_memory_equal(x->absmax, y->absmax, (size_t)x->n_channels * sizeof *x->absmax);
    }
}

/* A calibration of a network that never was, with numbers that are hard to write down. */
static qn_calibration *awkward(void)
{
    static const float numbers[] = {0.1f, 1e-45f, 3.4028235e38f, 1.17549435e-38f, 16777217.0f, 0.3333333433f};
    qn_calibration *c = qn_alloc(sizeof *c);
    assert_non_null(c);
    qn_error err;
    qn_error_init(&err);
    c->version = "1.2.3";
    c->model_file = "a model.onnx";
    c->data_file = "x.npy";
    memset(c->model_sha256, 'a', QN_SHA256_HEX - 1);
    c->n_items = 7;
    c->has_preprocess = true;
    qn_preprocess_init(&c->preprocess);
    c->preprocess.scale = 1.0 / 255;
    for (int v = 0; v < 3; v++) {
        qn_range *range;
        float *absmax;
        char name[32];
        snprintf(name, sizeof name, "value \"%d\" \xC3\xA9", v);
        qn_assert_ok(qn_calibration_add(c, name, 2 * v, &range, &absmax, &err), &err);
        range->min = -numbers[v];
        range->max = numbers[v + 1] > -numbers[v] ? numbers[v + 1] : 0;
        for (int k = 0; k < 2 * v; k++) {
            absmax[k] = numbers[k + 1];
        }
    }
    return c;
}

static void the_file_brings_every_number_back(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    const char *path = qn_scratch_file("awkward.json");
    qn_calibration *c = awkward(), *read = NULL;
    qn_assert_ok(qn_calibration_save(c, path, false, &err), &err);
    qn_assert_ok(qn_calibration_load(&read, path, &err), &err);
    assert_same(c, read);
    assert_int_equal(qn_calibration_n_items(read), 7);
    assert_string_equal(read->model_sha256, c->model_sha256);
    assert_string_equal(read->data_sha256, "");
    assert_string_equal(read->model_file, "a model.onnx");
    qn_preprocess pre;
    bool found;
    qn_assert_ok(qn_calibration_preprocess(read, &pre, &found, &err), &err);
    assert_true(found);
    assert_true(qn_preprocess_equal(&pre, &c->preprocess));
    qn_assert_fails(qn_calibration_save(c, path, false, &err), &err, QN_EEXIST, "awkward.json");
    qn_calibration_free(c);
    qn_calibration_free(read);
}

#define HEAD                                                                                                           \
    "{\"quern\": \"1\", \"model\": {\"file\": \"m\", \"sha256\": \"\"}, \"data\": {\"file\": \"d\", \"sha256\": "      \
    "\"\", \"count\": 3}"

static void malformed_files_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fragment;
    } rows[] = {
        {"", "line 1"},
        {"{\"quern\": \"1\",\n oops}", "line 2, column 5"},
        {"[]", "not a calibration file"},
        {"{}", "not a calibration file"},
        {HEAD "}", "no object \"values\""},
        {HEAD ", \"values\": []}", "no object \"values\""},
        {HEAD ", \"values\": {\"v\": 3}}", "value 'v'"},
        {HEAD ", \"values\": {\"v\": {\"min\": 0, \"max\": 1}}}", "value 'v'"},
        {HEAD ", \"values\": {\"v\": {\"min\": 2, \"max\": 1, \"absmax\": []}}}", "min <= max"},
        {HEAD ", \"values\": {\"v\": {\"min\": 0, \"max\": 1e39, \"absmax\": []}}}", "value 'v'"},
        {HEAD ", \"values\": {\"v\": {\"min\": 0, \"max\": \"1\", \"absmax\": []}}}", "value 'v'"},
        {HEAD ", \"values\": {\"v\": {\"min\": 0, \"max\": 1, \"absmax\": [1, -1]}}}", "channel 1"},
        {HEAD ", \"values\": {\"v\": {\"min\": 0, \"max\": 1, \"absmax\": []}, \"v\": {}}}", "duplicate"},
        {HEAD ", \"preprocess\": {\"scale\": \"a\"}, \"values\": {}}", "scale"},
        {"{\"quern\": \"1\", \"model\": {\"file\": \"m\", \"sha256\": \"abc\"}, \"data\": {\"file\": \"d\", "
         "\"sha256\": \"\", "
         "\"count\": 3}, \"values\": {}}",
         "sha256"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        const char *path = qn_scratch_file("bad.json");
        qn_calibration *read = NULL;
        qn_assert_ok(qn_file_write_all(path, true, rows[i].text, strlen(rows[i].text), &err), &err);
        qn_status status = qn_calibration_load(&read, path, &err);
        qn_assert_fails(status, &err, status == QN_EINVAL ? QN_EINVAL : QN_EFORMAT, rows[i].fragment);
        assert_null(read);
        assert_non_null(strstr(err.where, "bad.json"));
    }
}

/* x -> Mul by 1e38 -> y: overflows above 3.4. */
static qn_model *overflowing_model(void)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model = qn_alloc(sizeof *model);
    assert_non_null(model);
    qn_graph *graph = &model->graph;
    graph->opset = 13;
    graph->file = "mul.onnx";
    qn_value_id ids[2], y;
    qn_assert_ok(qn_graph_add_value(graph, "x", &ids[0], &err), &err);
    qn_assert_ok(qn_graph_add_value(graph, "big", &ids[1], &err), &err);
    qn_assert_ok(qn_graph_add_value(graph, "y", &y, &err), &err);
    graph->values[ids[0]].dtype = QN_DTYPE_F32;
    graph->values[ids[0]].rank = 2;
    graph->values[ids[0]].dims[0] = -1;
    graph->values[ids[0]].dims[1] = 3;
    float big = 1e38f;
    qn_tensor scalar = {.dtype = QN_DTYPE_F32, .data = &big};
    qn_assert_ok(qn_graph_set_constant(graph, ids[1], &scalar, &err), &err);
    qn_assert_ok(qn_graph_add_io(graph, false, ids[0], &err), &err);
    qn_assert_ok(qn_graph_add_io(graph, true, y, &err), &err);
    qn_node node = {.name = "mul",
                    .op_type = "Mul",
                    .domain = "",
                    .op = QN_OP_MUL,
                    .n_inputs = 2,
                    .n_outputs = 1,
                    .inputs = ids,
                    .outputs = &y};
    qn_assert_ok(qn_graph_add_node(graph, &node, &err), &err);
    return model;
}

/* Items i = 0..n-1 are (0, i / n, -1). */
static void ramp(qn_tensor *t, int64_t n)
{
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(t, QN_DTYPE_F32, 2, (int64_t[]){n, 3}, &err), &err);
    for (int64_t i = 0; i < n; i++) {
        ((float *)t->data)[3 * i + 1] = (float)i / (float)n;
        ((float *)t->data)[3 * i + 2] = -1;
    }
}

static qn_status calibrate_tensor(qn_calibration **c, const qn_model *model, const qn_tensor *t, int n_threads,
                                  int64_t batch, qn_error *err)
{
    qn_dataset *set = NULL;
    qn_error_init(err);
    qn_status status = qn_dataset_of_tensor(&set, t, NULL, err);
    if (status == QN_OK) {
        qn_calibrate_options options;
        qn_calibrate_options_init(&options);
        options.n_threads = n_threads;
        options.batch = batch;
        status = qn_calibrate(c, model, set, &options, err);
    }
    qn_dataset_close(set);
    return status;
}

static void ranges_cover_inputs_and_outputs_per_channel(void **state)
{
    (void)state;
    qn_error err;
    qn_tensor t = {0};
    ramp(&t, 64);
    qn_model *model = overflowing_model();
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        for (int64_t batch = 1; batch <= 9; batch += 4) {
            qn_calibration *c = NULL;
            qn_assert_ok(calibrate_tensor(&c, model, &t, n_threads, batch, &err), &err);
            assert_int_equal(qn_calibration_count(c), 2);
            const qn_range *x = find(c, "x"), *y = find(c, "y");
            assert_true(x->min == -1 && x->max == 63.0f / 64);
            assert_int_equal(x->n_channels, 3);
            assert_true(x->absmax[0] == 0 && x->absmax[1] == 63.0f / 64 && x->absmax[2] == 1);
            assert_true(y->min == -1e38f && y->max == 63.0f / 64 * 1e38f);
            qn_calibration_free(c);
        }
    }
    qn_model_free(model);
    qn_tensor_free(&t);
}

static void ranges_behind_relus_are_those_of_their_outputs(void **state)
{
    (void)state;
    qn_error err;
    qn_tensor t = {0};
    ramp(&t, 64);
    qn_model *model = qn_alloc(sizeof *model);
    assert_non_null(model);
    model->graph.opset = 13;
    model->graph.file = "relus.onnx";
    qn_test_input(&model->graph, "x", DIMS(-1, 3));
    qn_test_floats(&model->graph, "k", DIMS(1), (const float[]){-2});
    NODE(&model->graph, "Relu", "x", "once");
    NODE(&model->graph, "Relu", "once", "twice");
    NODE(&model->graph, "Mul", "x k", "negated");
    NODE(&model->graph, "Relu", "negated", "rest");
    NODE(&model->graph, "Add", "twice rest", "y");
    qn_test_output(&model->graph, "y");
    qn_calibration *c = NULL;
    qn_assert_ok(calibrate_tensor(&c, model, &t, 2, 3, &err), &err);
    assert_int_equal(qn_calibration_count(c), 6);
    const float top = 63.0f / 64;
    const qn_range *twice = find(c, "twice"), *rest = find(c, "rest"), *y = find(c, "y");
    assert_true(twice->min == 0 && twice->max == top && find(c, "once")->max == top);
    assert_true(twice->absmax[0] == 0 && twice->absmax[1] == top && twice->absmax[2] == 0);
    assert_true(rest->min == 0 && rest->max == 2);
    assert_true(rest->absmax[0] == 0 && rest->absmax[1] == 0 && rest->absmax[2] == 2);
    assert_true(y->min == 0 && y->max == 2);
    qn_calibration_free(c);
    qn_model_free(model);
    qn_tensor_free(&t);
}

static void an_overflow_names_value_and_item(void **state)
{
    (void)state;
    qn_error err;
    qn_tensor t = {0};
    ramp(&t, 64);
    ((float *)t.data)[3 * 41] = 4;
    ((float *)t.data)[3 * 43 + 2] = -4;
    qn_model *model = overflowing_model();
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        for (int64_t batch = 1; batch <= 9; batch += 4) {
            qn_calibration *c = NULL;
            qn_status status = calibrate_tensor(&c, model, &t, n_threads, batch, &err);
            qn_assert_fails(status, &err, QN_ERANGE, "value 'y'");
            assert_non_null(strstr(err.message, "item 41"));
            assert_null(c);
        }
    }
    qn_model_free(model);
    qn_tensor_free(&t);
}

static void empty_and_ill_shaped_sets_are_refused(void **state)
{
    (void)state;
    qn_error err;
    qn_calibration *c = NULL;
    qn_model *model = overflowing_model();
    qn_tensor t = {0};
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_F32, 2, (int64_t[]){0, 3}, &err), &err);
    qn_assert_fails(calibrate_tensor(&c, model, &t, 1, 0, &err), &err, QN_EINVAL, "no items");
    qn_tensor_free(&t);
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_F32, 2, (int64_t[]){2, 4}, &err), &err);
    qn_assert_fails(calibrate_tensor(&c, model, &t, 1, 0, &err), &err, QN_ESHAPE, "(3)");
    assert_non_null(strstr(err.message, "(4)"));
    qn_tensor_free(&t);
    qn_model_free(model);
}

static bool stop_at_half(void *ctx, int64_t done, int64_t total)
{
    int64_t *last = ctx;
    assert_true(done > *last && done <= total);
    *last = done;
    return 2 * done < total;
}

static void progress_can_stop_it(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_tensor t = {0};
    ramp(&t, 64);
    qn_model *model = overflowing_model();
    qn_dataset *set = NULL;
    qn_calibration *c = NULL;
    int64_t done = 0;
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    qn_calibrate_options options;
    qn_calibrate_options_init(&options);
    options.n_threads = 1;
    options.progress = stop_at_half;
    options.progress_ctx = &done;
    options.struct_size--;
    qn_assert_fails(qn_calibrate(&c, model, set, &options, &err), &err, QN_EINVAL, "qn_calibrate_options_init");
    qn_error_init(&err);
    options.struct_size++;
    qn_assert_fails(qn_calibrate(&c, model, set, &options, &err), &err, QN_ECANCELED, "");
    assert_int_equal(done, 32);
    qn_dataset_close(set);
    qn_model_free(model);
    qn_tensor_free(&t);
}

static uint64_t allocations(const qn_model *model, int64_t n_items)
{
    qn_error err;
    qn_tensor t = {0};
    qn_calibration *c = NULL;
    ramp(&t, n_items);
    uint64_t before = qn_alloc_count();
    qn_assert_ok(calibrate_tensor(&c, model, &t, 1, 4, &err), &err);
    uint64_t after = qn_alloc_count();
    qn_calibration_free(c);
    qn_tensor_free(&t);
    return after - before;
}

static void memory_does_not_grow_with_the_set(void **state)
{
    (void)state;
    qn_model *model = overflowing_model();
    assert_int_equal(allocations(model, 8), allocations(model, 800));
    qn_model_free(model);
}

/* The logits' range must be that of ONNX Runtime's logits, to its own closeness. */
static void ranges_of_logits_agree_with_onnx_runtime(void **state)
{
    (void)state;
    const char *model_path = qn_shared("data/models/kws_dscnn.onnx"),
               *data_path = qn_shared("data/inputs/kws_eval900_x_f32.npy");
    const char *reference_path = qn_shared("data/reference/kws_dscnn__kws_eval900.npy");
    if (model_path == NULL || data_path == NULL || reference_path == NULL) {
        skip();
    }
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    qn_tensor logits = {0}, x = {0};
    qn_calibration *one = NULL, *three = NULL;
    qn_assert_ok(qn_model_load(&model, model_path, &err), &err);
    qn_assert_ok(qn_tensor_read(&logits, reference_path, &err), &err);
    qn_assert_ok(qn_tensor_read(&x, data_path, &err), &err);
    qn_assert_ok(calibrate_tensor(&one, model, &x, 1, 0, &err), &err);
    qn_assert_ok(calibrate_tensor(&three, model, &x, 3, 0, &err), &err);
    assert_same(one, three);
    const qn_range *range = find(one, "logits");
    assert_int_equal(range->n_channels, 12);
    const float *f = logits.data;
    float largest = 0;
    for (int64_t i = 0; i < qn_tensor_count(&logits); i++) {
        largest = fmaxf(largest, fabsf(f[i]));
    }
    float absmax[12] = {0}, min = INFINITY, max = -INFINITY;
    for (int64_t i = 0; i < qn_tensor_count(&logits); i++) {
        absmax[i % 12] = fmaxf(absmax[i % 12], fabsf(f[i]));
        min = fminf(min, f[i]);
        max = fmaxf(max, f[i]);
    }
    assert_true(fabsf(range->min - min) < 1e-4f * largest && fabsf(range->max - max) < 1e-4f * largest);
    for (int c = 0; c < 12; c++) {
        assert_true(fabsf(range->absmax[c] - absmax[c]) < 1e-4f * largest);
    }
    qn_calibration_free(one);
    qn_calibration_free(three);
    qn_tensor_free(&logits);
    qn_tensor_free(&x);
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_brings_every_number_back),
        cmocka_unit_test(malformed_files_are_refused_with_the_reason),
        cmocka_unit_test(ranges_cover_inputs_and_outputs_per_channel),
        cmocka_unit_test(ranges_behind_relus_are_those_of_their_outputs),
        cmocka_unit_test(an_overflow_names_value_and_item),
        cmocka_unit_test(empty_and_ill_shaped_sets_are_refused),
        cmocka_unit_test(progress_can_stop_it),
        cmocka_unit_test(memory_does_not_grow_with_the_set),
        cmocka_unit_test(ranges_of_logits_agree_with_onnx_runtime),
    };
    return cmocka_run_group_tests_name("calib", tests, NULL, NULL);
}
