/* Widths of sums against brute force: every input there is, every partial sum in every order. */
#include "graph_builder.h"

#include <string.h>

#include "graph/arithmetic.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { ZERO_X = 100, CHANNELS = 3 };
static const int8_t weights[2 * CHANNELS] = {127, -3, 5, -90, -127, 1}; /* input j, channel k at j * CHANNELS + k */
static const int32_t biases[CHANNELS] = {-7000, 12345, 0};

static void code(qn_graph *g, const char *name, int bits, bool is_signed, int axis, int64_t n, const float *scale,
                 const int32_t *zero_point)
{
    qn_quantizer q = {.format = {.bits = bits, .is_signed = is_signed},
                      .axis = axis,
                      .n = n,
                      .scale = scale,
                      .zero_point = zero_point};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, name), &q, &err), &err);
}

static void coded(qn_graph *g, const char *name, qn_dtype dtype, int rank, const int64_t *dims, const void *codes)
{
    qn_error err;
    qn_error_init(&err);
    qn_value_id id = qn_test_floats(g, name, rank, dims, NULL);
    qn_tensor t;
    qn_assert_ok(qn_tensor_alloc(&t, dtype, rank, dims, &err), &err);
    memcpy(t.data, codes, qn_tensor_bytes(&t));
    qn_assert_ok(qn_graph_set_codes(g, id, &t, &err), &err);
    qn_tensor_free(&t);
}

/* Two inputs of code 0..255 with zero point 100 times a matrix; or the same weights as windows of a padded row. */
static qn_model tiny(bool conv)
{
    qn_model model = {.graph = {.name = "g", .file = "test.onnx", .producer = "", .opset = 13, .ir_version = 8}};
    qn_graph *g = &model.graph;
    const float one = 1, ones[CHANNELS] = {1, 1, 1}, coarse = 300;
    const int32_t zero_x = ZERO_X, zeros[CHANNELS] = {0, 0, 0}, middle = 128;
    coded(g, "b", QN_DTYPE_S32, DIMS(CHANNELS), biases);
    if (conv) {
        int8_t rows[2 * CHANNELS];
        for (int i = 0; i < 2 * CHANNELS; i++) {
            rows[i % CHANNELS * 2 + i / CHANNELS] = weights[i];
        }
        qn_test_input(g, "x", DIMS(-1, 1, 1, 2));
        coded(g, "w", QN_DTYPE_S8, DIMS(CHANNELS, 1, 1, 2), rows);
        NODE_WITH(g, "Conv", "x w b", "y", A_INTS("pads", 0, 1, 0, 1));
    } else {
        qn_test_input(g, "x", DIMS(-1, 2));
        coded(g, "w", QN_DTYPE_S8, DIMS(2, CHANNELS), weights);
        NODE(g, "Gemm", "x w b", "y");
    }
    qn_test_output(g, "y");
    code(g, "x", 8, false, -1, 1, &one, &zero_x);
    code(g, "w", 8, true, conv ? 0 : 1, CHANNELS, ones, zeros);
    code(g, "b", 32, true, 0, CHANNELS, ones, zeros);
    code(g, "y", 8, false, -1, 1, &coarse, &middle);
    return model;
}

typedef struct {
    int64_t min, max;
} span;

static void take(span *s, int64_t sum)
{
    s->min = sum < s->min ? sum : s->min;
    s->max = sum > s->max ? sum : s->max;
}

/* Sums of every subset of {bias, product 0, product 1} over all inputs; and of all three, or at borders of two. */
static void brute(span partial[CHANNELS], span *finished, bool conv)
{
    *finished = (span){INT64_MAX, INT64_MIN};
    for (int k = 0; k < CHANNELS; k++) {
        partial[k] = (span){0, 0};
        for (int pair = 0; pair < 65536; pair++) {
            int64_t a = (pair / 256 - ZERO_X) * weights[k], b = (pair % 256 - ZERO_X) * weights[CHANNELS + k];
            for (int subset = 0; subset < 8; subset++) {
                take(&partial[k], (subset & 1 ? a : 0) + (subset & 2 ? b : 0) + (subset & 4 ? biases[k] : 0));
            }
            take(finished, a + b + biases[k]);
            if (conv) {
                take(finished, a + biases[k]);
                take(finished, b + biases[k]);
            }
        }
    }
}

/* The least b with -2^(b-1) <= min and max < 2^(b-1), by trying. */
static int bits_for(span s)
{
    for (int bits = 1;; bits++) {
        if (s.min >= -((int64_t)1 << (bits - 1)) && s.max < (int64_t)1 << (bits - 1)) {
            return bits;
        }
    }
}

static void check(bool conv, int n_threads)
{
    qn_error err;
    qn_error_init(&err);
    qn_model model = tiny(conv);
    qn_widths *widths;
    qn_assert_ok(qn_widths_prove(&widths, &model, &err), &err);
    qn_graph_free(&model.graph);
    assert_int_equal(qn_widths_count(widths), 1);
    assert_null(qn_widths_at(widths, 1));
    const qn_layer_width *layer = qn_widths_at(widths, 0);
    span partial[CHANNELS], finished, all = {0, 0};
    brute(partial, &finished, conv);
    int most = 0, first = 0;
    for (int k = 0; k < CHANNELS; k++) {
        assert_int_equal(layer->channel_bits[k], bits_for(partial[k]));
        first = bits_for(partial[k]) > most ? k : first;
        most = bits_for(partial[k]) > most ? bits_for(partial[k]) : most;
        take(&all, partial[k].min);
        take(&all, partial[k].max);
    }
    assert_int_equal(layer->n_channels, CHANNELS);
    assert_int_equal(layer->proven_min, all.min);
    assert_int_equal(layer->proven_max, all.max);
    assert_int_equal(layer->proven_bits, most);
    assert_int_equal(layer->worst_channel, first);
    assert_int_equal(layer->bias_bits, 15); /* of 12345 */
    assert_int_equal(layer->accumulator_bits, 32);
    assert_int_equal(layer->headroom_bits, 32 - most);
    assert_int_equal(qn_widths_n_items(widths), 0);

    qn_tensor x;
    int64_t dims[4] = {65536, 1, 1, 2};
    dims[1] = conv ? 1 : 2;
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, conv ? 4 : 2, dims, &err), &err);
    for (int pair = 0; pair < 65536; pair++) {
        ((float *)x.data)[2 * pair] = (float)(pair / 256 - ZERO_X);
        ((float *)x.data)[2 * pair + 1] = (float)(pair % 256 - ZERO_X);
    }
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, NULL, &err), &err);
    qn_assert_ok(qn_widths_observe(widths, data, n_threads, NULL, NULL, &err), &err);
    assert_int_equal(qn_widths_n_items(widths), 65536);
    assert_int_equal(layer->observed_min, finished.min);
    assert_int_equal(layer->observed_max, finished.max);
    assert_int_equal(layer->observed_bits, bits_for(finished));
    qn_dataset_close(data);
    qn_tensor_free(&x);
    qn_widths_free(widths);
}

static void a_matrix_needs_what_brute_force_finds(void **state)
{
    (void)state;
    check(false, 1);
    check(false, 2);
}

static void a_padded_convolution_needs_what_brute_force_finds(void **state)
{
    (void)state;
    check(true, 1);
}

/* The model's own accumulator is what headroom is measured to. */
static void headroom_is_to_the_models_accumulator(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model model = tiny(false);
    const qn_arithmetic narrow = {.accumulator_bits = 16};
    qn_assert_ok(qn_graph_set_arithmetic(&model.graph, &narrow, &err), &err);
    qn_widths *widths;
    qn_status status = qn_widths_prove(&widths, &model, &err);
    if (status == QN_OK) { /* else the engine has no such accumulator, and says so */
        const qn_layer_width *layer = qn_widths_at(widths, 0);
        assert_int_equal(layer->accumulator_bits, 16);
        assert_int_equal(layer->headroom_bits, 16 - layer->proven_bits);
    } else {
        assert_int_equal(status, QN_EUNSUPPORTED);
    }
    qn_widths_free(widths);
    qn_graph_free(&model.graph);
}

static void a_float_network_has_no_widths(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model *model;
    qn_widths *widths;
    qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    assert_int_not_equal(qn_widths_prove(&widths, model, &err), QN_OK);
    assert_null(widths);
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_matrix_needs_what_brute_force_finds),
        cmocka_unit_test(a_padded_convolution_needs_what_brute_force_finds),
        cmocka_unit_test(headroom_is_to_the_models_accumulator),
        cmocka_unit_test(a_float_network_has_no_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
