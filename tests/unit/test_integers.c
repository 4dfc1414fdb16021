/* qn_integers: of every constant of quantized networks, integers, scales and reals agree, before and after a file. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quern/quern.h"

static int64_t integer_at(const qn_tensor *t, int64_t k)
{
    switch (t->dtype) {
    case QN_DTYPE_S8:
        return ((const int8_t *)t->data)[k];
    case QN_DTYPE_U8:
        return ((const uint8_t *)t->data)[k];
    case QN_DTYPE_S16:
        return ((const int16_t *)t->data)[k];
    case QN_DTYPE_U16:
        return ((const uint16_t *)t->data)[k];
    case QN_DTYPE_S32:
        return ((const int32_t *)t->data)[k];
    default:
        fail_msg("integers of type %s", qn_dtype_text(t->dtype));
        return 0;
    }
}

static void check_constant(const qn_model *model, const char *name, int64_t *n_elems)
{
    qn_error err;
    qn_error_init(&err);
    qn_integer_constant c;
    qn_tensor x = {0};
    qn_assert_ok(qn_integers(&c, model, name, &err), &err);
    qn_assert_ok(qn_model_constant(&x, model, name, &err), &err);
    assert_int_equal(c.z.rank, x.rank);
    assert_memory_equal(c.z.dims, x.dims, (size_t)x.rank * sizeof *x.dims);
    assert_int_equal(c.n_scales, c.axis < 0 ? 1 : x.dims[c.axis]);
    const int64_t count = qn_tensor_count(&x);
    for (int64_t k = 0; k < count; k++) {
        const int64_t s = k / c.run % c.n_scales, z = integer_at(&c.z, k);
        const int64_t zero = c.zero_point != NULL ? c.zero_point[s] : 0, half = INT64_C(1) << (c.bits - 1);
        volatile float difference = (float)(z - zero), product = difference * c.scale[s];
        assert_true(isnormal(c.scale[s]) && c.scale[s] > 0);
        assert_true(z >= -half && z < 2 * half);
        if (product != ((const float *)x.data)[k]) {
            fail_msg("'%s', element %lld: %.9g is not %lld * %.9g", name, (long long)k,
                     (double)((const float *)x.data)[k], (long long)(z - zero), (double)c.scale[s]);
        }
    }
    *n_elems += count;
    qn_tensor_free(&x);
}

static int64_t check_all(const qn_model *model, size_t *n_constants)
{
    int64_t n_elems = 0;
    *n_constants = 0;
    while (qn_integers_name(model, *n_constants) != NULL) {
        check_constant(model, qn_integers_name(model, (*n_constants)++), &n_elems);
    }
    return n_elems;
}

typedef struct {
    const char *name, *model, *data; /* files of the shared material */
    size_t n_constants;              /* weights and biases of its layers */
} network;

static void check_network(const network *net, const char *model_path, const char *data_path, const char *weights)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL, *quantized = NULL, *again = NULL;
    qn_dataset *data = NULL;
    qn_preprocess pre;
    bool found = false;
    qn_tensor x = {0};
    qn_assert_ok(qn_model_load(&model, model_path, &err), &err);
    qn_assert_ok(qn_model_preprocess(model, &pre, &found, &err), &err);
    qn_assert_ok(qn_tensor_read(&x, data_path, &err), &err);
    x.dims[0] = 8;
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, found ? &pre : NULL, &err), &err);
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    options.weights = weights;
    options.data = data;
    options.n_threads = 1;
    qn_assert_ok(qn_quantize(&quantized, model, NULL, &options, NULL, &err), &err);
    size_t n_constants, n_again;
    const int64_t n_elems = check_all(quantized, &n_constants);
    printf("%s, %s: %zu constants, %lld elements\n", net->name, weights, n_constants, (long long)n_elems);
    assert_int_equal(n_constants, net->n_constants);
    const char *path = qn_scratch_file("q.onnx");
    qn_assert_ok(qn_model_save(quantized, path, true, &err), &err);
    qn_assert_ok(qn_model_load(&again, path, &err), &err);
    assert_int_equal(check_all(again, &n_again), n_elems);
    assert_int_equal(n_again, n_constants);
    qn_model_free(again);
    qn_model_free(quantized);
    qn_model_free(model);
    qn_dataset_close(data);
    qn_tensor_free(&x);
}

static const char *const formats[] = {"int8", "int4", "qkeras-bits<8,0,alpha=auto>", "qkeras-bits<8,2,alpha=auto_po2>",
                                      "qkeras-bits<3,0,alpha=auto>"};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

static void test_digits(void **state)
{
    (void)state;
    static const network digits = {"digits", NULL, NULL, 20};
    for (size_t f = 0; f < N_FORMATS; f++) {
        check_network(&digits, QN_SOURCE_DIR "/examples/digits/digits.onnx",
                      QN_SOURCE_DIR "/examples/digits/calib_x_u8.npy", formats[f]);
    }
}

static void check_shared(const network *net)
{
    char model[4096];
    const char *path = qn_shared(net->model), *data = qn_shared(net->data);
    if (path == NULL || data == NULL) {
        skip();
    }
    snprintf(model, sizeof model, "%s", path);
    for (size_t f = 0; f < N_FORMATS; f++) {
        check_network(net, model, qn_shared(net->data), formats[f]);
    }
}

static void test_resnet8(void **state)
{
    (void)state;
    check_shared(&(network){"resnet8", "data/models/resnet8_cifar10.onnx",
                            "data/inputs/cifar10_lossless_calib500_x_u8.npy", 20});
}

static void test_kws(void **state)
{
    (void)state;
    check_shared(&(network){"kws", "data/models/kws_dscnn.onnx", "data/inputs/kws_calib100_x_f32.npy", 20});
}

static void test_lenet(void **state)
{
    (void)state;
    check_shared(
        &(network){"lenet", "data/models/lenet_cifar10.onnx", "data/inputs/cifar10_lossless_calib500_x_u8.npy", 10});
}

/* What has no integers says what it has. */
static void test_refusals(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL, *quantized = NULL;
    qn_integer_constant c = {.bits = -1};
    qn_tensor x = {0};
    qn_dataset *data = NULL;
    qn_preprocess pre;
    bool found = false;
    qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    assert_null(qn_integers_name(model, 0));
    qn_assert_fails(qn_integers(&c, model, "stem.conv.weight", &err), &err, QN_EINVAL, "there are none");
    qn_error_init(&err);
    qn_assert_ok(qn_model_preprocess(model, &pre, &found, &err), &err);
    qn_assert_ok(qn_tensor_read(&x, QN_SOURCE_DIR "/examples/digits/calib_x_u8.npy", &err), &err);
    x.dims[0] = 2;
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, &pre, &err), &err);
    const qn_quantize_set set = {"stem.conv", "weights=adaptivfloat<8,3>"};
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    options.data = data;
    options.sets = &set;
    options.n_sets = 1;
    qn_assert_ok(qn_quantize(&quantized, model, NULL, &options, NULL, &err), &err);
    qn_assert_fails(qn_integers(&c, quantized, "stem.conv.weight", &err), &err, QN_EUNSUPPORTED, "adaptivfloat<8,3>");
    qn_error_init(&err);
    qn_assert_fails(qn_integers(&c, quantized, "nowhere", &err), &err, QN_EINVAL, "down.conv.weight");
    assert_int_equal(c.bits, -1);
    qn_model_free(quantized);
    qn_model_free(model);
    qn_dataset_close(data);
    qn_tensor_free(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_digits), cmocka_unit_test(test_resnet8),
                                       cmocka_unit_test(test_kws), cmocka_unit_test(test_lenet),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
