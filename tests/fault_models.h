/* Shared models, quantized as tests of faults need them. */
#ifndef QN_TESTS_FAULT_MODELS_H
#define QN_TESTS_FAULT_MODELS_H

#include "support.h"

#include <stdio.h>
#include <string.h>

#include "engine/program.h"
#include "fault/fault.h"
#include "graph/model.h"
#include "graph_builder.h"
#include "quern/quern.h"

/* Recipe minmax on x * scale; the nodes that the n globs `keep` match stay in float. */
static inline qn_model *qn_test_quantize_but(const qn_model *model, const qn_tensor *x, double scale,
                                             const char *format, const char *const *keep, size_t n)
{
    qn_error err;
    qn_error_init(&err);
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.scale = scale;
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, x, &pre, &err), &err);
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    options.data = data;
    options.weights = options.activations = format;
    options.keep_float = keep;
    options.n_keep_float = n;
    qn_model *quantized;
    qn_assert_ok(qn_quantize(&quantized, model, NULL, &options, NULL, &err), &err);
    qn_dataset_close(data);
    return quantized;
}

static inline qn_model *qn_test_quantize(const qn_model *model, const qn_tensor *x, double scale, const char *format)
{
    return qn_test_quantize_but(model, x, scale, format, NULL, 0);
}

/* x [3,6,6] - c1, a 3x3 convolution of 4 channels, Relu - d1, depthwise of stride 2 - g1, a matrix of 36 by 10, quantized
 * with minmax; `format` of weights and activations, NULL for int8. */
static inline qn_model *qn_test_small_model(const char *format)
{
    qn_error err;
    qn_error_init(&err);
    qn_model model = {0};
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 3, 6, 6));
    qn_test_floats(g, "c1.w", DIMS(4, 3, 3, 3), NULL);
    qn_test_floats(g, "c1.b", DIMS(4), NULL);
    NODE_WITH(g, "Conv", "x c1.w c1.b", "c1", A_INTS("pads", 1, 1, 1, 1), A_INTS("kernel_shape", 3, 3));
    NODE(g, "Relu", "c1", "r1");
    qn_test_floats(g, "d1.w", DIMS(4, 1, 3, 3), NULL);
    qn_test_floats(g, "d1.b", DIMS(4), NULL);
    NODE_WITH(g, "Conv", "r1 d1.w d1.b", "d1", A_INTS("pads", 1, 1, 1, 1), A_INTS("kernel_shape", 3, 3),
              A_INTS("strides", 2, 2), A_INT("group", 4));
    NODE_WITH(g, "Flatten", "d1", "f1", A_INT("axis", 1));
    qn_test_floats(g, "g1.w", DIMS(10, 36), NULL);
    qn_test_floats(g, "g1.b", DIMS(10), NULL);
    NODE_WITH(g, "Gemm", "f1 g1.w g1.b", "g1", A_INT("transB", 1));
    qn_test_output(g, "g1");
    g->opset = 13;
    qn_tensor x;
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, 4, (const int64_t[]){8, 3, 6, 6}, &err), &err);
    uint64_t state = 7;
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        ((float *)x.data)[i] = qn_test_uniform(&state, -1.0F, 1.0F);
    }
    qn_model *quantized = qn_test_quantize(&model, &x, 1, format);
    qn_tensor_free(&x);
    qn_graph_free(g);
    return quantized;
}

/* A shared float model ("resnet8_cifar10"); skips the test where there is none. */
static inline qn_model *qn_test_float_model(const char *name)
{
    qn_error err;
    qn_error_init(&err);
    char path[128];
    snprintf(path, sizeof path, "data/models/%s.onnx", name);
    const char *file = qn_shared(path);
    if (file == NULL) {
        skip();
    }
    qn_model *model;
    qn_assert_ok(qn_model_load(&model, file, &err), &err);
    return model;
}

/* The same quantized with recipe minmax on 16 calibration images; `format` of weights and activations, NULL for int8; the
 * nodes that the n globs `keep` match stay in float. */
static inline qn_model *qn_test_quantized_model_but(const char *name, const char *format, const char *const *keep,
                                                    size_t n)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model = qn_test_float_model(name), *quantized;
    const bool kws = strncmp(name, "kws", 3) == 0;
    const char *images = kws ? "data/inputs/kws_calib100_x_f32.npy" : "data/inputs/cifar10_calib500_x_u8.npy";
    qn_tensor x;
    qn_assert_ok(qn_tensor_read(&x, qn_shared(images), &err), &err);
    x.dims[0] = 16;
    quantized = qn_test_quantize_but(model, &x, kws ? 1.0 : 1.0 / 255, format, keep, n);
    qn_tensor_free(&x);
    qn_model_free(model);
    return quantized;
}

static inline qn_model *qn_test_quantized_model(const char *name, const char *format)
{
    return qn_test_quantized_model_but(name, format, NULL, 0);
}

/* A program that keeps values, and its targets. */
static inline qn_program *qn_test_fault_program(const qn_model *model, qn_engine engine, qn_fault_targets *targets)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_assert_ok(qn_program_options_init(&options, engine, &err), &err);
    options.keep_values = true;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_fault_targets_make(targets, program, &err), &err);
    return program;
}

#endif
