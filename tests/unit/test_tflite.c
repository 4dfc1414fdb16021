/* TFLite's arithmetic with the scales its converter chose: the same int8 logits as an integer emulation of its kernels
 * gave; and descriptions of .tflite files that are wrong. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/arithmetic.h"
#include "graph/graph_copy.h"
#include "graph/model.h"
#include "ptq/ptq.h"
#include "quern/quern.h"

static const char *json_path;

static qn_status given_scales(qn_ptq *ptq, qn_error *err)
{
    return qn_ptq_given_scales(ptq, json_path, err);
}

/* A float model with the parameters of `json`, in the arithmetic of a profile. */
static qn_status quantize(qn_model *model, const char *json, const char *profile_name, qn_error *err)
{
    static const qn_ptq_pass_fn passes[] = {
        qn_ptq_settle_constants, qn_ptq_drop_identities, qn_ptq_fold_batchnorm, qn_ptq_fuse_bias,
        qn_ptq_plain_gemm,       qn_ptq_floor_pool,      qn_ptq_whole_map_pool, qn_ptq_constant_second,
        qn_ptq_check_forms,      given_scales,           qn_ptq_fuse_activation};
    qn_ptq ptq = {.graph = &model->graph};
    const qn_profile *profile;
    qn_assert_ok(qn_profile_find(&profile, profile_name, err), err);
    json_path = json;
    qn_status status = QN_OK;
    for (size_t i = 0; status == QN_OK && i < sizeof passes / sizeof passes[0]; i++) {
        status = qn_ptq_run_pass(&ptq, passes[i], err);
    }
    qn_arena_free(&ptq.scratch);
    return status == QN_OK ? qn_graph_set_arithmetic(&model->graph, &profile->arithmetic, err) : status;
}

/* Codes of the only output for n items of floats. */
static void run(const qn_model *model, const float *x, int64_t n, int8_t *codes)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    const int64_t n_in = qn_program_input_count(program, 0), n_out = qn_program_output_count(program, 0);
    const qn_quantizer *q = model->graph.values[model->graph.outputs[0]].quantizer;
    float *y = malloc((size_t)n_out * sizeof *y);
    for (int64_t i = 0; i < n; i++) {
        const float *item = x + i * n_in;
        qn_assert_ok(qn_program_run(program, workspace, &item, 1, &y, &err), &err);
        for (int64_t k = 0; k < n_out; k++) {
            codes[i * n_out + k] = (int8_t)(lrintf(y[k] / q->scale[0]) + q->zero_point[0]);
        }
    }
    free(y);
    qn_workspace_free(workspace);
    qn_program_free(program);
}

typedef struct agreement {
    int64_t n, equal, within_one;
} agreement;

static void compare(agreement *a, const int8_t *codes, const int8_t *expected, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const int difference = abs(codes[i] - expected[i]);
        a->n++;
        a->equal += difference == 0;
        a->within_one += difference <= 1;
    }
}

static void check(const char *name, const agreement *a)
{
    print_message("%s: %.3f %% of %lld logits equal, %lld further than 1\n", name,
                  100.0 * (double)a->equal / (double)a->n, (long long)a->n, (long long)(a->n - a->within_one));
    assert_true((double)a->equal >= 0.99 * (double)a->n);
    assert_int_equal(a->within_one, a->n);
}

/* All items, or a few on slow kernels: those give the same bytes (the engine's own tests). */
static int64_t some(int64_t n)
{
    return getenv("QUERN_CPU") == NULL ? n : n < 16 ? n : 16;
}

static bool open_model(qn_model **model, const char *path, const char *json)
{
    qn_error err;
    qn_error_init(&err);
    const char *model_path = qn_shared(path), *file = qn_shared(json);
    if (model_path == NULL || file == NULL) {
        return false;
    }
    qn_assert_ok(qn_model_load(model, model_path, &err), &err);
    qn_assert_ok(quantize(*model, file, "tflite", &err), &err);
    return true;
}

static void read_shared(qn_tensor *t, const char *path, qn_dtype dtype)
{
    qn_error err;
    qn_error_init(&err);
    const char *full = qn_shared(path);
    assert_non_null(full);
    qn_assert_ok(qn_tensor_read(t, full, &err), &err);
    assert_int_equal(t->dtype, dtype);
}

static const char resnet8[] = "data/models/resnet8_cifar10.onnx";
static const char resnet8_json[] = "data/tflite_int8/pretrainedResnet_quant.json";
static const char kws[] = "data/models/kws_dscnn_tflite.onnx", kws_json[] = "data/tflite_int8/kws_ref_model.json";

static void resnet8_has_the_logits_of_tflite(void **unused)
{
    (void)unused;
    qn_model *model;
    if (!open_model(&model, resnet8, resnet8_json)) {
        skip();
    }
    qn_tensor pixels = {0}, expected = {0};
    read_shared(&pixels, "data/inputs/cifar10_lossless932_x_u8.npy", QN_DTYPE_U8);
    read_shared(&expected, "data/tflite_int8/pretrainedResnet_quant__lossless932_logits_i8.npy", QN_DTYPE_S8);
    const int64_t n = some(pixels.dims[0]), n_in = qn_tensor_count(&pixels) / pixels.dims[0];
    float *x = malloc((size_t)(n * n_in) * sizeof *x);
    int8_t *codes = malloc((size_t)(n * expected.dims[1]));
    for (int64_t i = 0; i < n * n_in; i++) {
        x[i] = ((const uint8_t *)pixels.data)[i];
    }
    run(model, x, n, codes);
    agreement a = {0};
    compare(&a, codes, expected.data, n * expected.dims[1]);
    check("resnet8", &a);
    free(x);
    free(codes);
    qn_tensor_free(&pixels);
    qn_tensor_free(&expected);
    qn_model_free(model);
}

/* The weights of the full convolutions in this float file lie on a grid of 127 steps per tensor: they were rounded
 * before, as the file that they come from keeps them. The codes per channel of the int8 file were made from the weights
 * before that rounding, which no file here has. */
static bool was_rounded(const qn_graph *graph)
{
    bool rounded = true;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        if (node->op != QN_OP_CONV || qn_node_int(node, "group", 1) != 1) {
            continue;
        }
        const qn_tensor *w = graph->values[node->inputs[1]].constant;
        float most = 0;
        for (int64_t i = 0; i < qn_tensor_count(w); i++) {
            most = fmaxf(most, fabsf(((const float *)w->data)[i]));
        }
        for (int64_t i = 0; i < qn_tensor_count(w); i++) {
            double code = (double)((const float *)w->data)[i] / ((double)most / 127);
            rounded = rounded && fabs(code - rint(code)) < 1e-4;
        }
    }
    return rounded;
}

/* dB of reference against what codes mean, over rows of n_out. */
static double sqnr(const float *reference, const int8_t *codes, int64_t n, const qn_quantizer *q)
{
    double signal = 0, noise = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = (double)reference[i], y = (double)(codes[i] - q->zero_point[0]) * (double)q->scale[0];
        signal += x * x;
        noise += (x - y) * (x - y);
    }
    return 10 * log10(signal / noise);
}

/* The codes of the rows that are not the calibration set's, in order: those of kws_eval900. */
static int64_t rows_of_eval(int8_t *rows, const qn_tensor *all, const qn_tensor *index)
{
    int64_t n = 0, n_out = all->dims[1];
    for (int64_t row = 0; row < all->dims[0]; row++) {
        bool calibrates = false;
        for (int64_t i = 0; i < index->dims[0]; i++) {
            int64_t at =
                index->dtype == QN_DTYPE_S64 ? ((const int64_t *)index->data)[i] : ((const int32_t *)index->data)[i];
            calibrates = calibrates || at == row;
        }
        if (!calibrates) {
            memcpy(rows + n++ * n_out, (const int8_t *)all->data + row * n_out, (size_t)n_out);
        }
    }
    return n;
}

static void keyword_spotting_is_as_good_as_tflite(void **unused)
{
    (void)unused;
    qn_model *model, *plain;
    qn_error err;
    qn_error_init(&err);
    if (!open_model(&model, kws, kws_json)) {
        skip();
    }
    qn_tensor eval = {0}, index = {0}, theirs = {0}, reference = {0};
    read_shared(&eval, "data/inputs/kws_eval900_x_f32.npy", QN_DTYPE_F32);
    read_shared(&theirs, "data/tflite_int8/kws_ref_model__kws_eval1000_logits_i8.npy", QN_DTYPE_S8);
    read_shared(&reference, "data/reference/kws_dscnn_tflite__kws_eval900.npy", QN_DTYPE_F32);
    qn_assert_ok(qn_tensor_read(&index, qn_shared("data/inputs/kws_calib100_idx.npy"), &err), &err);
    int8_t *expected = malloc((size_t)qn_tensor_count(&theirs)), *codes = malloc((size_t)qn_tensor_count(&theirs));
    assert_int_equal(rows_of_eval(expected, &theirs, &index), eval.dims[0]);
    const int64_t n_rows = some(eval.dims[0]), n = n_rows * theirs.dims[1];
    run(model, eval.data, n_rows, codes);
    const qn_quantizer *q = model->graph.values[model->graph.outputs[0]].quantizer;
    const double ours_db = sqnr(reference.data, codes, n, q), theirs_db = sqnr(reference.data, expected, n, q);
    agreement a = {0};
    compare(&a, codes, expected, n);
    print_message("kws_dscnn: %.2f dB, the int8 file %.2f dB; %.3f %% of logits equal\n", ours_db, theirs_db,
                  100.0 * (double)a.equal / (double)a.n);
    assert_true(ours_db >= theirs_db - 0.5);
    qn_assert_ok(qn_model_load(&plain, qn_shared(kws), &err), &err);
    if (was_rounded(&plain->graph)) {
        print_message("kws_dscnn: the float weights were rounded per tensor before; equal codes cannot be had\n");
    } else {
        check("kws_dscnn", &a);
    }
    free(expected);
    free(codes);
    qn_tensor_free(&eval);
    qn_tensor_free(&index);
    qn_tensor_free(&theirs);
    qn_tensor_free(&reference);
    qn_model_free(plain);
    qn_model_free(model);
}

/* A network of one convolution of 1 to 2 channels, as JSON with pieces to be replaced. */
static void write_json(const char *path, const char *what, const char *with)
{
    static const char text[] = "{\"inputs\": [0], \"tensors\": [\n"
                               "{\"index\": 0, \"name\": \"x\", \"shape_nhwc\": [1, 3, 3, 1], \"type\": \"int8\", "
                               "\"scale\": [0.5], \"zero_point\": [3]},\n"
                               "{\"index\": 1, \"name\": \"w\", \"shape_nhwc\": [2, 1, 1, 1], \"type\": \"int8\", "
                               "\"const\": true, \"scale\": [0.25, 0.125], \"zero_point\": [0, 0]},\n"
                               "{\"index\": 2, \"name\": \"y\", \"shape_nhwc\": [1, 3, 3, 2], \"type\": \"int8\", "
                               "\"scale\": [0.75], \"zero_point\": [-7]}],\n"
                               "\"ops\": [{\"op\": \"CONV_2D\", \"inputs\": [0, 1, -1], \"outputs\": [2]}]}";
    char changed[2048];
    const char *at = what != NULL ? strstr(text, what) : text;
    assert_non_null(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, what != NULL ? with : "",
             at + (what != NULL ? strlen(what) : 0));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(changed, 1, strlen(changed), file), strlen(changed));
    assert_int_equal(fclose(file), 0);
}

static qn_model small_model(void)
{
    qn_model model = {.graph = {.name = "g", .file = "small.onnx", .producer = "", .opset = 13, .ir_version = 8}};
    qn_test_input(&model.graph, "x", DIMS(-1, 1, 3, 3));
    qn_test_floats(&model.graph, "w", DIMS(2, 1, 1, 1), (const float[]){31, -1.3f});
    qn_test_floats(&model.graph, "b", DIMS(2), (const float[]){1, -2});
    NODE(&model.graph, "Conv", "x w b", "y");
    qn_test_output(&model.graph, "y");
    return model;
}

static void given_scales_are_taken_as_they_are(void **unused)
{
    (void)unused;
    const char *path = qn_scratch_file("scales.json");
    qn_error err;
    qn_error_init(&err);
    write_json(path, NULL, NULL);
    qn_model model = small_model();
    qn_assert_ok(quantize(&model, path, "tflite", &err), &err);
    const qn_value *x = &model.graph.values[qn_graph_find(&model.graph, "x")];
    const qn_value *w = &model.graph.values[qn_graph_find(&model.graph, "w")];
    const qn_value *b = &model.graph.values[qn_graph_find(&model.graph, "b")];
    const qn_value *y = &model.graph.values[qn_graph_find(&model.graph, "y")];
    assert_true(x->quantizer->scale[0] == 0.5f && x->quantizer->zero_point[0] == 3 && x->quantizer->format.is_signed);
    assert_true(y->quantizer->scale[0] == 0.75f && y->quantizer->zero_point[0] == -7);
    assert_int_equal(((const int8_t *)w->codes->data)[0], 124);
    assert_int_equal(((const int8_t *)w->codes->data)[1], -10); /* -10.4 */
    assert_int_equal(((const int32_t *)b->codes->data)[0], 8);
    assert_int_equal(((const int32_t *)b->codes->data)[1], -32);
    int8_t codes[18];
    run(&model, (const float[]){0, 1, 2, 3, 4, 5, 6, 7, 8}, 1, codes);
    assert_int_equal(codes[1], -7 + 43); /* (2 * 124 + 8) / 6 = 42.67 */
    assert_int_equal(codes[10], -7 - 4); /* (2 * -10 - 32) / 12 = -4.33 */
    qn_graph_free(&model.graph);
}

static void wrong_descriptions_are_refused_with_the_reason(void **unused)
{
    (void)unused;
    static const struct {
        const char *what, *with;
        qn_status status;
        const char *reason;
    } cases[] = {
        {"{\"inputs\"", "[\"inputs\"", QN_EFORMAT, "line 1"},
        {"\"tensors\": [", "\"tensors\": 5, \"more\": [", QN_EFORMAT, "needs arrays \"tensors\" and \"ops\""},
        {"[0.5]", "[-0.5]", QN_EFORMAT, "tensor 0: a scale is not a positive number"},
        {"[0.5]", "[1e-60]", QN_EFORMAT, "tensor 0: a scale is not a positive number"},
        {"[0.5]", "[\"a\"]", QN_EFORMAT, "tensor 0: a scale is not a positive number"},
        {"[0.5]", "7", QN_EFORMAT, "tensor 0: \"scale\" needs"},
        {"[0.5]", "[0.5, 0.5, 0.5]", QN_EINVAL, "it is not int8 with one scale"},
        {"[3]", "[300]", QN_EFORMAT, "tensor 0: a zero point"},
        {"[3]", "[1.5]", QN_EFORMAT, "tensor 0: a zero point"},
        {"[3]", "[]", QN_EFORMAT, "tensor 0: \"scale\" needs"},
        {"\"index\": 1", "\"index\": 4", QN_EFORMAT, "tensor 1: its \"index\" is another"},
        {"\"name\": \"w\"", "\"name\": 3", QN_EFORMAT, "tensor 1: it needs strings"},
        {"[2, 1, 1, 1]", "[2, 1, 0, 1]", QN_EFORMAT, "tensor 1: a dimension"},
        {"[2, 1, 1, 1]", "[2, 1, 1, 1, 1, 1, 1]", QN_EFORMAT, "tensor 1: it needs strings"},
        {"[2, 1, 1, 1]", "[2, 1, 3, 1]", QN_EINVAL, "no operator for node 0 Conv"},
        {"[1, 3, 3, 1]", "[1, 3, 4, 1]", QN_EINVAL, "tensor 0 'x', for value 'x': the shapes differ"},
        {"[1, 3, 3, 2]", "[1, 3, 2, 3]", QN_EINVAL, "tensor 2 'y', for value 'y': the shapes differ"},
        {"[0, 1, -1]", "[0, 9, -1]", QN_EFORMAT, "operator 0: it names a tensor that is not there"},
        {"[0, 1, -1]", "7", QN_EFORMAT, "operator 0: a list of tensors is missing"},
        {"[0, 1, -1]", "[2, 1]", QN_EINVAL, "no operator for node 0 Conv"},
        {"[0, 1, -1]", "[0]", QN_EINVAL, "no operator for node 0 Conv"},
        {"\"outputs\": [2]", "\"outputs\": []", QN_EFORMAT, "operator 0: it has no output"},
        {"\"outputs\": [2]", "\"outputs\": [-1]", QN_EFORMAT, "operator 0: it names a tensor"},
        {"\"inputs\": [0],", "\"inputs\": [0, 1],", QN_EINVAL, "it has 2 inputs, the network 1"},
        {"\"CONV_2D\"", "\"MUL\"", QN_EINVAL, "no operator for node 0 Conv"},
        {"\"CONV_2D\"", "null", QN_EFORMAT, "operator 0: it needs a string"},
        {"[0, 0]", "[0, 1]", QN_EINVAL, "tensor 1 'w', for value 'w': weights have zero point 0"},
        {"[0.25, 0.125]", "[0.25, 1.2e-38]", QN_EINVAL, "tensor 1 'w', for value 'w': weights have zero point 0"},
        {"[0.25, 0.125]", "[0.25, 1e-30]", QN_EINVAL, "the bias does not fit an int32"},
        {"[0.25, 0.125]", "[0.25, 0.1, 0.3]", QN_EFORMAT, "tensor 1: \"scale\" needs"},
    };
    const char *path = qn_scratch_file("wrong.json");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        write_json(path, cases[i].what, cases[i].with);
        qn_model model = small_model();
        qn_assert_fails(quantize(&model, path, "tflite", &err), &err, cases[i].status, cases[i].reason);
        assert_non_null(strstr(err.where, "wrong.json"));
        qn_graph_free(&model.graph);
    }
    qn_error err;
    qn_error_init(&err);
    qn_model model = small_model();
    assert_int_not_equal(quantize(&model, qn_scratch_file("absent.json"), "tflite", &err), QN_OK);
    assert_non_null(strstr(err.where, "absent.json"));
    qn_graph_free(&model.graph);
}

/* However memory runs out, the pass fails cleanly and leaks nothing. */
static void running_out_of_memory_is_survived(void **unused)
{
    (void)unused;
    const char *path = qn_scratch_file("memory.json");
    write_json(path, NULL, NULL);
    qn_status status = QN_ENOMEM;
    for (int64_t countdown = 0; status != QN_OK; countdown++) {
        qn_error err;
        qn_error_init(&err);
        qn_model model = small_model();
        qn_ptq ptq = {.graph = &model.graph};
        json_path = path;
        qn_alloc_fail_after(countdown);
        status = qn_ptq_run_pass(&ptq, given_scales, &err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || status == QN_ENOMEM);
        qn_arena_free(&ptq.scratch);
        qn_graph_free(&model.graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet8_has_the_logits_of_tflite),
        cmocka_unit_test(keyword_spotting_is_as_good_as_tflite),
        cmocka_unit_test(given_scales_are_taken_as_they_are),
        cmocka_unit_test(wrong_descriptions_are_refused_with_the_reason),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests_name("tflite", tests, NULL, NULL);
}
