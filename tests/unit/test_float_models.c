/* The float engine on real networks. Oracle: logits that ONNX Runtime computed, and how many of them are right. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "quern/quern.h"

enum { N_CLASSES_MAX = 16 };

/*  largest  relative error allowed, of the greatest logit of the whole reference */
typedef struct {
    const char *model, *data, *labels, *reference; /* reference may be NULL */
    double scale, mean[3], std[3];
    int n_mean;
    int64_t correct; /* -1: not checked */
} network;

#define CIFAR_MEAN                                                                                                     \
    {                                                                                                                  \
        0.4914, 0.4822, 0.4465                                                                                         \
    }
#define CIFAR_STD                                                                                                      \
    {                                                                                                                  \
        0.2470, 0.2435, 0.2616                                                                                         \
    }

static const network networks[] = {
    {"resnet8_cifar10",
     "cifar10_lossless932",
     "cifar10_lossless932",
     "resnet8_cifar10__lossless932",
     1,
     {0},
     {0},
     0,
     818},
    {"resnet8_cifar10", "cifar10_eval2000", "cifar10_eval2000", "resnet8_cifar10__jpeg_eval2000", 1, {0}, {0}, 0, 1521},
    {"kws_dscnn", "kws_eval900", "kws_eval900", "kws_dscnn__kws_eval900", 1, {0}, {0}, 0, 826},
    {"kws_dscnn_tflite", "kws_eval900", "kws_eval900", "kws_dscnn_tflite__kws_eval900", 1, {0}, {0}, 0, 813},
    {"lenet_cifar10",
     "cifar10_lossless932",
     "cifar10_lossless932",
     "lenet_cifar10__lossless932",
     1.0 / 255,
     {0.5},
     {0.5},
     1,
     589},
    {"vit_cifar10", "cifar10_eval2000", "cifar10_eval2000", "vit_cifar10__jpeg_eval2000", 1.0 / 255, CIFAR_MEAN,
     CIFAR_STD, 3, 1443},
    {"vit_cifar10_torchraw", "cifar10_eval2000", "cifar10_eval2000", "vit_cifar10__jpeg_eval2000", 1.0 / 255,
     CIFAR_MEAN, CIFAR_STD, 3, 1443},
};

static const char *shared_file(const char *folder, const char *name, const char *suffix)
{
    char path[256];
    snprintf(path, sizeof path, "data/%s/%s%s", folder, name, suffix);
    const char *found = qn_shared(path);
    if (found == NULL) {
        skip();
    }
    return found;
}

static qn_dataset *open_data(const network *net)
{
    qn_error err;
    qn_error_init(&err);
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.scale = net->scale;
    pre.n_mean = pre.n_std = net->n_mean;
    memcpy(pre.mean, net->mean, sizeof net->mean);
    memcpy(pre.std, net->std, sizeof net->std);
    bool pixels = strncmp(net->data, "cifar", 5) == 0;
    qn_dataset *set;
    qn_assert_ok(
        qn_dataset_open(&set, shared_file("inputs", net->data, pixels ? "_x_u8.npy" : "_x_f32.npy"), &pre, &err), &err);
    return set;
}

static int64_t argmax(const float *logits, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

/* Logits of the whole set in batches of `batch`, the last one short. */
static float *run_all(const qn_program *program, const qn_dataset *set)
{
    qn_error err;
    qn_error_init(&err);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    int64_t n = qn_dataset_count(set), batch = qn_program_batch(program);
    int64_t in = qn_program_input_count(program, 0), out = qn_program_output_count(program, 0);
    float *x = qn_alloc((size_t)(batch * in) * sizeof *x), *logits = qn_alloc((size_t)(n * out) * sizeof *logits);
    assert_non_null(x);
    assert_non_null(logits);
    for (int64_t i = 0; i < n; i += batch) {
        int64_t now = n - i < batch ? n - i : batch;
        const float *inputs[] = {x};
        float *outputs[] = {logits + i * out};
        qn_assert_ok(qn_dataset_read(set, i, now, x, &err), &err);
        qn_assert_ok(qn_program_run(program, workspace, inputs, now, outputs, &err), &err);
    }
    qn_free(x);
    qn_workspace_free(workspace);
    return logits;
}

static void check_logits(const network *net, const float *logits, int64_t n, int64_t out)
{
    qn_error err;
    qn_error_init(&err);
    qn_tensor reference, labels;
    qn_assert_ok(qn_tensor_read(&reference, shared_file("reference", net->reference, ".npy"), &err), &err);
    qn_assert_ok(qn_tensor_read(&labels, shared_file("inputs", net->labels, "_y_u8.npy"), &err), &err);
    assert_int_equal(qn_tensor_count(&reference), n * out);
    const float *wanted = reference.data;
    double greatest = 0, worst = 0;
    int64_t correct = 0;
    for (int64_t i = 0; i < n * out; i++) {
        greatest = fmax(greatest, fabs((double)wanted[i]));
        worst = fmax(worst, fabs((double)logits[i] - (double)wanted[i]));
    }
    for (int64_t i = 0; i < n; i++) {
        correct += argmax(logits + i * out, out) == ((const unsigned char *)labels.data)[i];
    }
    print_message("%s: largest difference %.2g of the greatest logit, %lld of %lld correct\n", net->model,
                  worst / greatest, (long long)correct, (long long)n);
    assert_true(worst <= 1e-4 * greatest);
    assert_int_equal(correct, net->correct);
    qn_tensor_free(&reference);
    qn_tensor_free(&labels);
}

static void matches_onnx_runtime(const network *net, int64_t batch, bool keep_values)
{
    qn_error err;
    qn_error_init(&err);
    const char *path = shared_file("models", net->model, ".onnx");
    qn_dataset *set = open_data(net);
    qn_model *model;
    qn_assert_ok(qn_model_load(&model, path, &err), &err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    options.batch = batch;
    options.keep_values = keep_values;
    qn_program *program;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_model_free(model); /* the program needs it no more */
    float *logits = run_all(program, set);
    check_logits(net, logits, qn_dataset_count(set), qn_program_output_count(program, 0));
    qn_free(logits);
    qn_program_free(program);
    qn_dataset_close(set);
}

static void networks_match_onnx_runtime(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        matches_onnx_runtime(&networks[i], 8, false);
    }
}

static void batch_of_one_matches_onnx_runtime(void **state)
{
    (void)state;
    matches_onnx_runtime(&networks[0], 1, false);
}

static void kept_values_match_onnx_runtime(void **state)
{
    (void)state;
    matches_onnx_runtime(&networks[0], 7, true);
    matches_onnx_runtime(&networks[2], 16, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_match_onnx_runtime),
        cmocka_unit_test(batch_of_one_matches_onnx_runtime),
        cmocka_unit_test(kept_values_match_onnx_runtime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
