/* Ranges of calibration against a search through every value of a program that keeps them all; peak memory. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"

enum { BATCH = 4 };

typedef struct {
    float min, max, *absmax; /* per channel */
    int64_t n_channels;
} range;

static void widen(range *r, const qn_value_view *view)
{
    if (r->absmax == NULL) {
        *r = (range){INFINITY, -INFINITY, calloc((size_t)view->channels, sizeof(float)), view->channels};
        assert_non_null(r->absmax);
    }
    for (int64_t n = 0; n < view->n; n++) {
        for (int64_t c = 0; c < view->channels; c++) {
            const float *x = view->data + n * view->stride_n + c / view->block * view->stride_block + c % view->block;
            for (int64_t i = 0; i < view->inner; i++) {
                float v = x[i * view->stride_inner];
                r->min = fminf(r->min, v);
                r->max = fmaxf(r->max, v);
                r->absmax[c] = fmaxf(r->absmax[c], fabsf(v));
            }
        }
    }
}

static range *search(const qn_model *model, const qn_tensor *x, qn_error *err)
{
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, err), err);
    options.batch = BATCH;
    options.keep_values = true;
    qn_program *program = NULL;
    qn_workspace *workspace = NULL;
    qn_assert_ok(qn_program_create(&program, model, &options, err), err);
    qn_assert_ok(qn_workspace_create(&workspace, program, err), err);
    range *ranges = calloc(model->graph.n_values, sizeof *ranges);
    float *y = malloc((size_t)(BATCH * qn_program_output_count(program, 0)) * sizeof *y);
    assert_true(ranges != NULL && y != NULL);
    for (int64_t first = 0; first < x->dims[0]; first += BATCH) {
        int64_t n = x->dims[0] - first < BATCH ? x->dims[0] - first : BATCH;
        const float *inputs[] = {(const float *)x->data + first * qn_program_input_count(program, 0)};
        float *outputs[] = {y};
        qn_assert_ok(qn_program_run(program, workspace, inputs, n, outputs, err), err);
        for (size_t v = 0; v < model->graph.n_values; v++) {
            qn_value_view view;
            if (qn_program_view(program, workspace, (qn_value_id)v, n, &view)) {
                widen(&ranges[v], &view);
            }
        }
    }
    free(y);
    qn_workspace_free(workspace);
    qn_program_free(program);
    return ranges;
}

static qn_calibration *calibrate(const qn_model *model, const qn_tensor *x, int n_threads, qn_error *err)
{
    qn_dataset *set = NULL;
    qn_calibration *c = NULL;
    qn_calibrate_options options;
    qn_calibrate_options_init(&options);
    options.batch = BATCH;
    options.n_threads = n_threads;
    qn_assert_ok(qn_dataset_of_tensor(&set, x, NULL, err), err);
    qn_assert_ok(qn_calibrate(&c, model, set, &options, err), err);
    qn_dataset_close(set);
    return c;
}

/* Every range is exactly that of the value, and no value is left out. */
static void check(const qn_model *model, const qn_tensor *x)
{
    qn_error err;
    qn_error_init(&err);
    range *expected = search(model, x, &err);
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        qn_calibration *c = calibrate(model, x, n_threads, &err);
        size_t n = 0;
        for (size_t v = 0; v < model->graph.n_values; v++) {
            const qn_range *r = qn_calibration_find(c, model->graph.values[v].name);
            assert_int_equal(r != NULL, expected[v].absmax != NULL);
            if (r == NULL) {
                continue;
            }
            n++;
            if (r->min != expected[v].min || r->max != expected[v].max) {
                fail_msg("'%s' is %.9g..%.9g, expected %.9g..%.9g", r->value_name, (double)r->min, (double)r->max,
                         (double)expected[v].min, (double)expected[v].max);
            }
            assert_false((r->min == 0 && signbit(r->min)) || (r->max == 0 && signbit(r->max)));
            for (int64_t k = 0; k < r->n_channels; k++) {
                assert_int_equal(r->n_channels, expected[v].n_channels);
                assert_true(r->absmax[k] == expected[v].absmax[k]);
            }
        }
        assert_int_equal(n, qn_calibration_count(c));
        qn_calibration_free(c);
    }
    for (size_t v = 0; v < model->graph.n_values; v++) {
        free(expected[v].absmax);
    }
    free(expected);
}

static void noise(qn_tensor *x, int rank, const int64_t *dims)
{
    qn_error err;
    qn_error_init(&err);
    uint64_t random = 7;
    qn_assert_ok(qn_tensor_alloc(x, QN_DTYPE_F32, rank, dims, &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(x); i++) {
        ((float *)x->data)[i] = qn_test_uniform(&random, -3, 2);
    }
}

static void batchnorm(qn_graph *graph, const char *x, const char *y, const char *gamma, int64_t channels)
{
    char inputs[128], name[4][32];
    static const char *const rest[] = {"beta", "mean", "variance"};
    for (int i = 0; i < 3; i++) {
        float values[64];
        for (int64_t c = 0; c < channels; c++) {
            values[c] = i == 2 ? 0.5F + 0.1F * (float)c : 0.3F * (float)(c % 5) - 0.6F;
        }
        snprintf(name[i], sizeof name[i], "%s_%s", y, rest[i]);
        qn_test_floats(graph, name[i], 1, &channels, values);
    }
    snprintf(inputs, sizeof inputs, "%s %s %s %s %s", x, gamma, name[0], name[1], name[2]);
    NODE(graph, "BatchNormalization", inputs, y);
}

/* BatchNorm before Relu and Clip, alone and read twice, in blocked layouts with and without padding and in plain ones,
 * with negative and zero scales; a Clip that moves zero; chains of clamps; values that nothing reads, one of them another
 * shape of memory whose last reader has run. */
static void ranges_are_those_of_the_values(void **state)
{
    (void)state;
    static const int64_t channels[] = {3, 16, 20};
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        const int64_t k = channels[i];
        qn_model model = {.graph = {.opset = 13, .file = "norms.onnx"}};
        qn_graph *g = &model.graph;
        float gamma[64];
        for (int64_t c = 0; c < k; c++) {
            gamma[c] = (float)(c % 4) - 1;
        }
        qn_test_input(g, "x", DIMS(-1, 3, 9, 7));
        qn_test_floats(g, "w", DIMS(k, 3, 3, 3), NULL);
        qn_test_floats(g, "gamma", 1, &k, gamma);
        qn_test_floats(g, "gamma3", 1, (const int64_t[]){3}, (const float[]){-2, 0, 1});
        const float quarter = 0.25F, half = 0.5F;
        qn_test_floats(g, "lo", 0, NULL, &quarter);
        qn_test_floats(g, "hi", 0, NULL, &half);
        batchnorm(g, "x", "xb", "gamma3", 3);
        NODE(g, "Relu", "xb", "xr");
        NODE(g, "Conv", "xr w", "c");
        batchnorm(g, "c", "b1", "gamma", k);
        NODE(g, "Relu", "b1", "r1");
        batchnorm(g, "r1", "b2", "gamma", k);
        NODE(g, "Clip", "b2 lo hi", "k2");
        batchnorm(g, "k2", "b3", "gamma", k);
        NODE(g, "Relu", "b3", "r3");
        NODE(g, "Add", "b3 r3", "a3");
        NODE(g, "Clip", "a3 - hi", "k3");
        NODE(g, "Relu", "k3", "r4");
        NODE(g, "Relu", "r4", "r5");
        NODE(g, "Relu", "c", "unread");
        NODE(g, "Neg", "x", "n1");
        NODE(g, "Exp", "n1", "n2");
        NODE(g, "Neg", "n2", "n3");
        NODE(g, "Flatten", "n1", "late");
        NODE(g, "GlobalAveragePool", "r5", "p");
        NODE(g, "Flatten", "p", "f");
        batchnorm(g, "f", "y", "gamma", k);
        qn_test_output(g, "y");
        qn_tensor x = {0};
        noise(&x, 4, (const int64_t[]){11, 3, 9, 7});
        check(&model, &x);
        qn_tensor_free(&x);
        qn_graph_free(g);
    }
}

/* The first items of a file, as float32. */
static bool shared_items(qn_tensor *x, const char *path, int64_t n)
{
    const char *found = qn_shared(path);
    qn_error err;
    qn_error_init(&err);
    qn_dataset *set = NULL;
    if (found == NULL) {
        return false;
    }
    qn_assert_ok(qn_dataset_open(&set, found, NULL, &err), &err);
    int64_t dims[QN_MAX_RANK + 1] = {n};
    int rank = 1 + qn_dataset_item_shape(set, dims + 1);
    qn_assert_ok(qn_tensor_alloc(x, QN_DTYPE_F32, rank, dims, &err), &err);
    qn_assert_ok(qn_dataset_read(set, 0, n, x->data, &err), &err);
    qn_dataset_close(set);
    return true;
}

static void ranges_of_real_networks_are_those_of_their_values(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"data/models/resnet8_cifar10.onnx", "data/inputs/cifar10_lossless932_x_u8.npy"},
        {"data/models/kws_dscnn.onnx", "data/inputs/kws_eval900_x_f32.npy"},
        {"data/models/kws_dscnn_tflite.onnx", "data/inputs/kws_eval900_x_f32.npy"},
        {"data/models/lenet_cifar10.onnx", "data/inputs/cifar10_lossless932_x_u8.npy"},
        {"data/models/vit_cifar10_torchraw.onnx", "data/inputs/cifar10_lossless932_x_u8.npy"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *path = qn_shared(rows[i][0]);
        qn_tensor x = {0};
        if (path == NULL || !shared_items(&x, rows[i][1], 10)) {
            skip();
        }
        qn_error err;
        qn_error_init(&err);
        qn_model *model = NULL;
        qn_assert_ok(qn_model_load(&model, path, &err), &err);
        check(model, &x);
        qn_model_free(model);
        qn_tensor_free(&x);
    }
}

/* A scale that overflows in the last node, which nothing reads: named all the same. */
static void an_overflow_in_a_derived_value_is_named(void **state)
{
    (void)state;
    qn_model model = {.graph = {.opset = 13, .file = "norms.onnx"}};
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 3, 1, 1));
    qn_test_floats(g, "gamma", 1, (const int64_t[]){3}, (const float[]){1, 1e38F, 1});
    batchnorm(g, "x", "normed", "gamma", 3);
    NODE(g, "Clip", "normed", "same");
    NODE(g, "Relu", "same", "y");
    qn_test_output(g, "y");
    qn_tensor x = {0};
    noise(&x, 4, (const int64_t[]){11, 3, 1, 1});
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        ((float *)x.data)[i] = i == 3 * 9 + 1 ? 50 : 0;
    }
    qn_error err;
    qn_error_init(&err);
    qn_dataset *set = NULL;
    qn_calibration *c = NULL;
    qn_assert_ok(qn_dataset_of_tensor(&set, &x, NULL, &err), &err);
    qn_assert_fails(qn_calibrate(&c, &model, set, NULL, &err), &err, QN_ERANGE, "value 'normed'");
    assert_non_null(strstr(err.message, "item 9 "));
    assert_null(c);
    qn_dataset_close(set);
    qn_tensor_free(&x);
    qn_graph_free(g);
}

/* Most memory the process has had, in bytes; -1 where the system does not say. */
static long peak_memory(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kilobytes = -1;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmHWM: %ld", &kilobytes) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kilobytes < 0 ? -1 : kilobytes * 1024;
}

enum { ITEM_SIDE = 128 };

/* A .npy of n items of ITEM_SIDE x ITEM_SIDE bytes. */
static const char *write_items(const char *name, int n)
{
    const char *path = qn_scratch_file(name);
    FILE *file = fopen(path, "wb");
    char header[118];
    snprintf(header, sizeof header, "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 1, %d, %d), }", n,
             ITEM_SIDE, ITEM_SIDE);
    assert_non_null(file);
    fprintf(file, "%cNUMPY%c%c%c%c%-117s\n", 0x93, 1, 0, 118, 0, header);
    for (int i = 0; i < n * ITEM_SIDE * ITEM_SIDE; i++) {
        fputc(i * 7 % 251, file);
    }
    assert_int_equal(fclose(file), 0);
    return path;
}

static void calibrate_file(const qn_model *model, const char *path)
{
    qn_error err;
    qn_error_init(&err);
    qn_dataset *set = NULL;
    qn_calibration *c = NULL;
    qn_assert_ok(qn_dataset_open(&set, path, NULL, &err), &err);
    qn_assert_ok(qn_calibrate(&c, model, set, NULL, &err), &err);
    assert_true(qn_calibration_at(c, 0)->max == 250);
    qn_calibration_free(c);
    qn_dataset_close(set);
}

/* Four times the items, 12 MiB more as bytes and 48 MiB as floats, must not raise the peak by 8 MiB; sanitizers keep some of what
 * the first calibration freed. */
static void peak_memory_does_not_grow_with_the_set(void **state)
{
    (void)state;
    if (peak_memory() < 0) {
        print_message("skipped: the system does not tell the peak of memory\n");
        skip();
    }
    qn_model model = {.graph = {.opset = 13, .file = "peak.onnx"}};
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 1, ITEM_SIDE, ITEM_SIDE));
    NODE(g, "Relu", "x", "r");
    NODE(g, "GlobalAveragePool", "r", "y");
    qn_test_output(g, "y");
    const char *few = write_items("few.npy", 256), *many = write_items("many.npy", 1024);
    calibrate_file(&model, few);
    long before = peak_memory();
    calibrate_file(&model, many);
    assert_in_range(peak_memory() - before, 0, 8 << 20);
    qn_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peak_memory_does_not_grow_with_the_set), /* first: its peak is of all that ran before */
        cmocka_unit_test(ranges_are_those_of_the_values),
        cmocka_unit_test(ranges_of_real_networks_are_those_of_their_values),
        cmocka_unit_test(an_overflow_in_a_derived_value_is_named),
    };
    return cmocka_run_group_tests_name("calib ranges", tests, NULL, NULL);
}
