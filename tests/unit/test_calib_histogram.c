/* Histograms and moments of calibration, against counting every element of a program that keeps all values; bad input. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"

enum { BATCH = 4, MOST_CHANNELS = 64 };

/* All elements of a value, and the channel of each. */
typedef struct {
    float *x;
    int *channel;
    int64_t n, n_channels;
} elements;

static void append(elements *e, const qn_value_view *view)
{
    int64_t more = view->n * view->channels * view->inner;
    e->x = realloc(e->x, (size_t)(e->n + more) * sizeof *e->x);
    e->channel = realloc(e->channel, (size_t)(e->n + more) * sizeof *e->channel);
    assert_true(e->x != NULL && e->channel != NULL);
    e->n_channels = view->channels;
    for (int64_t n = 0; n < view->n; n++) {
        for (int64_t c = 0; c < view->channels; c++) {
            const float *x = view->data + n * view->stride_n + c / view->block * view->stride_block + c % view->block;
            for (int64_t i = 0; i < view->inner; i++) {
                e->x[e->n] = x[i * view->stride_inner];
                e->channel[e->n++] = (int)c;
            }
        }
    }
}

static elements *gather(const qn_model *model, const qn_tensor *x, qn_error *err)
{
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, err), err);
    options.batch = BATCH;
    options.keep_values = true;
    qn_program *program = NULL;
    qn_workspace *workspace = NULL;
    qn_assert_ok(qn_program_create(&program, model, &options, err), err);
    qn_assert_ok(qn_workspace_create(&workspace, program, err), err);
    elements *all = calloc(model->graph.n_values, sizeof *all);
    float *y = malloc((size_t)(BATCH * qn_program_output_count(program, 0)) * sizeof *y);
    assert_true(all != NULL && y != NULL);
    for (int64_t first = 0; first < x->dims[0]; first += BATCH) {
        int64_t n = x->dims[0] - first < BATCH ? x->dims[0] - first : BATCH;
        const float *inputs[] = {(const float *)x->data + first * qn_program_input_count(program, 0)};
        float *outputs[] = {y};
        qn_assert_ok(qn_program_run(program, workspace, inputs, n, outputs, err), err);
        for (size_t v = 0; v < model->graph.n_values; v++) {
            qn_value_view view;
            if (qn_program_view(program, workspace, (qn_value_id)v, n, &view)) {
                append(&all[v], &view);
            }
        }
    }
    free(y);
    qn_workspace_free(workspace);
    qn_program_free(program);
    return all;
}

static qn_status calibrate(qn_calibration **c, const qn_model *model, const qn_tensor *x, int n_threads, int64_t batch,
                           qn_error *err)
{
    qn_dataset *set = NULL;
    qn_calibrate_options options;
    qn_calibrate_options_init(&options);
    options.batch = batch;
    options.n_threads = n_threads;
    qn_assert_ok(qn_dataset_of_tensor(&set, x, NULL, err), err);
    qn_status status = qn_calibrate(c, model, set, &options, err);
    qn_dataset_close(set);
    return status;
}

/* Every element is in the bin that its value says, and the bins are fine. */
static void check_counts(const qn_range *r, const elements *e)
{
    qn_histogram_view v;
    assert_non_null(r->histogram);
    qn_histogram_get(&v, r->histogram);
    int64_t n_zeros = 0, *counts = calloc((size_t)v.n_bins + 1, sizeof *counts);
    assert_non_null(counts);
    for (int64_t i = 0; i < e->n; i++) {
        double bin = floor((double)e->x[i] / v.width) - (double)v.first_bin;
        if (e->x[i] == 0.0F) {
            n_zeros++;
        } else if (bin >= 0 && bin < v.n_bins) {
            counts[(int)bin]++;
        } else {
            fail_msg("'%s': %g is in no bin", r->value_name, (double)e->x[i]);
        }
    }
    assert_int_equal(v.n, e->n);
    assert_int_equal(v.n_zeros, n_zeros);
    assert_memory_equal(v.counts, counts, (size_t)v.n_bins * sizeof *counts);
    assert_true(v.n_bins <= 2048 && v.min == (double)r->min && v.max == (double)r->max);
    int exponent;
    assert_true(v.n == v.n_zeros || frexp(v.width, &exponent) == 0.5);
    double reach = fmax(v.max, 0) - fmin(v.min, 0);
    assert_true(v.n == v.n_zeros || v.width <= fmax(reach / 512, ldexp(1, -126)));
    free(counts);
}

static void check_moments(const qn_range *r, const elements *e)
{
    long double sum[MOST_CHANNELS] = {0}, squares[MOST_CHANNELS] = {0};
    float min[MOST_CHANNELS], max[MOST_CHANNELS];
    long double n = (long double)(e->n / e->n_channels);
    assert_true(r->n_channels <= MOST_CHANNELS);
    for (int64_t i = 0; r->n_channels > 0 && i < e->n; i++) {
        int c = e->channel[i];
        sum[c] += (long double)e->x[i];
        squares[c] += (long double)e->x[i] * (long double)e->x[i];
    }
    for (int64_t c = 0; c < r->n_channels; c++) {
        min[c] = INFINITY, max[c] = -INFINITY;
        for (int64_t i = 0; i < e->n; i++) {
            if (e->channel[i] == c) {
                min[c] = fminf(min[c], e->x[i]), max[c] = fmaxf(max[c], e->x[i]);
            }
        }
        long double mean = sum[c] / n, variance = squares[c] / n - mean * mean, scale = squares[c] / n;
        if (fabsl((long double)r->mean[c] - mean) > 1e-13L * sqrtl(scale) ||
            fabsl((long double)r->variance[c] - variance) > 1e-13L * scale || r->variance[c] < 0) {
            fail_msg("'%s', channel %d: mean %.17g, variance %.17g; expected %.17Lg, %.17Lg", r->value_name, (int)c,
                     r->mean[c], r->variance[c], mean, variance);
        }
        assert_true(r->channel_min[c] == min[c] && r->channel_max[c] == max[c]);
    }
}

static void assert_same_ranges(const qn_calibration *a, const qn_calibration *b)
{
    assert_int_equal(qn_calibration_count(a), qn_calibration_count(b));
    for (size_t i = 0; i < qn_calibration_count(a); i++) {
        const qn_range *r = qn_calibration_at(a, i), *s = qn_calibration_find(b, r->value_name);
        qn_histogram_view v, w;
        assert_non_null(s);
        size_t n = (size_t)r->n_channels;
        assert_true(r->min == s->min && r->max == s->max && r->n_channels == s->n_channels);
        assert_memory_equal(r->mean, s->mean, n * sizeof(double));
        assert_memory_equal(r->variance, s->variance, n * sizeof(double));
        assert_memory_equal(r->channel_min, s->channel_min, n * sizeof(float));
        assert_memory_equal(r->channel_max, s->channel_max, n * sizeof(float));
        qn_histogram_get(&v, r->histogram);
        qn_histogram_get(&w, s->histogram);
        assert_true(v.n == w.n && v.n_zeros == w.n_zeros && v.width == w.width && v.first_bin == w.first_bin &&
                    v.n_bins == w.n_bins && v.min == w.min && v.max == w.max);
        assert_memory_equal(v.counts, w.counts, (size_t)v.n_bins * sizeof v.counts[0]);
    }
}

/* Counts and moments are those of the elements, for any number of threads, and survive a file. */
static void check(const qn_model *model, const qn_tensor *x)
{
    qn_error err;
    qn_error_init(&err);
    elements *all = gather(model, x, &err);
    qn_calibration *one = NULL, *two = NULL, *read = NULL;
    qn_assert_ok(calibrate(&one, model, x, 1, BATCH, &err), &err);
    qn_assert_ok(calibrate(&two, model, x, 3, BATCH, &err), &err);
    size_t n = 0;
    for (size_t v = 0; v < model->graph.n_values; v++) {
        const qn_range *r = qn_calibration_find(one, model->graph.values[v].name);
        if (r != NULL) {
            check_counts(r, &all[v]);
            check_moments(r, &all[v]);
            n++;
        }
        free(all[v].x);
        free(all[v].channel);
    }
    free(all);
    assert_int_equal(n, qn_calibration_count(one));
    assert_same_ranges(one, two);
    const char *path = qn_scratch_file("histograms.json");
    qn_assert_ok(qn_calibration_save(one, path, true, &err), &err);
    qn_assert_ok(qn_calibration_load(&read, path, &err), &err);
    assert_same_ranges(one, read);
    qn_calibration_free(one);
    qn_calibration_free(two);
    qn_calibration_free(read);
}

static void noise(qn_tensor *x, int rank, const int64_t *dims)
{
    qn_error err;
    qn_error_init(&err);
    uint64_t random = 7;
    qn_assert_ok(qn_tensor_alloc(x, QN_DTYPE_F32, rank, dims, &err), &err);
    int64_t per_item = qn_tensor_count(x) / dims[0];
    for (int64_t i = 0; i < qn_tensor_count(x); i++) { /* later items reach further */
        float v = qn_test_uniform(&random, -3, 2) * (1 + (float)(i / per_item) * 0.7F);
        ((float *)x->data)[i] = qn_test_random(&random) % 16 == 0 ? 0.0F : v;
    }
}

static void batchnorm(qn_graph *graph, const char *x, const char *y, const char *gamma, int64_t channels)
{
    char inputs[128], name[3][32];
    static const char *const rest[] = {"beta", "mean", "variance"};
    for (int i = 0; i < 3; i++) {
        float values[MOST_CHANNELS];
        for (int64_t c = 0; c < channels; c++) {
            values[c] = i == 2 ? 0.5F + 0.1F * (float)c : 0.3F * (float)(c % 5) - 0.6F;
        }
        snprintf(name[i], sizeof name[i], "%s_%s", y, rest[i]);
        qn_test_floats(graph, name[i], 1, &channels, values);
    }
    snprintf(inputs, sizeof inputs, "%s %s %s %s %s", x, gamma, name[0], name[1], name[2]);
    NODE(graph, "BatchNormalization", inputs, y);
}

/* Values that follow from others in every way: alone, several from one, in chains, with scales of both signs and zero, plain
 * ReLU with and without followers; in blocked layouts with and without padding, plain ones, and channels side by side. */
static void every_element_is_counted(void **state)
{
    (void)state;
    static const int64_t channels[] = {3, 16, 20};
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        const int64_t k = channels[i];
        qn_model model = {.graph = {.opset = 13, .file = "norms.onnx"}};
        qn_graph *g = &model.graph;
        float gamma[MOST_CHANNELS];
        for (int64_t c = 0; c < k; c++) {
            gamma[c] = (float)(c % 4) - 1;
        }
        qn_test_input(g, "x", DIMS(-1, 3, 9, 7));
        qn_test_floats(g, "w", DIMS(k, 3, 3, 3), NULL);
        qn_test_floats(g, "gamma", 1, &k, gamma);
        qn_test_floats(g, "gamma3", 1, (const int64_t[]){3}, (const float[]){-2, 0, 1});
        const float quarter = 0.25F, half = 0.5F, six = 6;
        qn_test_floats(g, "lo", 0, NULL, &quarter);
        qn_test_floats(g, "hi", 0, NULL, &half);
        qn_test_floats(g, "zero", 0, NULL, &(const float){0});
        qn_test_floats(g, "six", 0, NULL, &six);
        batchnorm(g, "x", "xb", "gamma3", 3);
        NODE(g, "Relu", "xb", "xr");
        NODE(g, "Conv", "xr w", "c");
        NODE(g, "Clip", "c zero six", "c6");
        NODE(g, "Relu", "c", "cr");
        batchnorm(g, "c", "b1", "gamma", k);
        NODE(g, "Relu", "b1", "r1");
        batchnorm(g, "r1", "b2", "gamma", k);
        NODE(g, "Clip", "b2 lo hi", "k2");
        NODE(g, "Relu", "b2", "r2");
        batchnorm(g, "k2", "b3", "gamma", k);
        NODE(g, "Relu", "b3", "r3");
        NODE(g, "Add", "b3 r3", "a3");
        NODE(g, "Clip", "a3 - hi", "k3");
        NODE(g, "Relu", "k3", "r4");
        NODE(g, "Neg", "x", "n1");
        NODE(g, "Exp", "n1", "n2");
        NODE(g, "Relu", "n2", "positive");
        NODE(g, "Neg", "n2", "n3");
        NODE(g, "Relu", "n3", "dead");
        NODE(g, "GlobalAveragePool", "r4", "p");
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

/* x -> Relu -> y of items of n elements in 2 channels. */
static qn_calibration *calibrate_items(const float *x, int64_t n_items, int64_t n, int64_t batch)
{
    qn_error err;
    qn_error_init(&err);
    qn_model model = {.graph = {.opset = 13, .file = "small.onnx"}};
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 2, n / 2));
    NODE(g, "Relu", "x", "r");
    NODE(g, "Neg", "r", "y");
    qn_test_output(g, "y");
    qn_tensor t = {0};
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_F32, 3, (const int64_t[]){n_items, 2, n / 2}, &err), &err);
    memcpy(t.data, x, (size_t)(n_items * n) * sizeof *x);
    qn_calibration *c = NULL;
    qn_assert_ok(calibrate(&c, &model, &t, 2, batch, &err), &err);
    qn_tensor_free(&t);
    qn_graph_free(g);
    return c;
}

static void batches_of_any_size_agree(void **state)
{
    (void)state;
    enum { ITEMS = 23, N = 40 };
    static float x[ITEMS * N];
    uint64_t random = 5;
    for (int i = 0; i < ITEMS * N; i++) { /* magnitudes of all sizes, so that the order of sums would show */
        x[i] = qn_test_uniform(&random, -1, 1) * powf(10, (float)(qn_test_random(&random) % 30) - 15);
    }
    qn_calibration *whole = calibrate_items(x, ITEMS, N, ITEMS);
    static const int64_t batches[] = {1, 3, 8};
    for (int i = 0; i < 3; i++) {
        qn_calibration *c = calibrate_items(x, ITEMS, N, batches[i]);
        assert_same_ranges(whole, c);
        qn_calibration_free(c);
    }
    qn_calibration_free(whole);
}

/* One item each: what it holds, and what its statistics must be. */
static void odd_inputs_give_finite_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        float x[8];
        double mean, variance; /* of channel 0 */
        double ratio_least, ratio_most;
    } rows[] = {
        {"constant", {3, 3, 3, 3, 3, 3, 3, 3}, 3, 0, 1, 1},
        {"constant 0.1", {0.1F, 0.1F, 0.1F, 0.1F, 0.1F, 0.1F, 0.1F, 0.1F}, (double)0.1F, 0, 1, 1},
        {"dead", {0, 0, 0, 0, 0, 0, 0, -0.0F}, 0, 0, 1, 1},
        {"denormal", {1e-45F, -1e-45F, 1e-45F, -1e-45F, 0, 0, 0, 1e-42F}, 0, 0, 0, 2048},
        {"outlier", {1, -1, 1, -1, 1, -1, 1, 1e30F}, 0, 1, 1, 1},
        {"greatest", {3e38F, -3e38F, 3e38F, -3e38F, 3.4028234e38F, 1, 1, 1}, 0, 9e76, 1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_calibration *c = calibrate_items(rows[i].x, 1, 8, 1);
        for (size_t v = 0; v < qn_calibration_count(c); v++) {
            const qn_range *r = qn_calibration_at(c, v);
            qn_histogram_view view;
            qn_histogram_get(&view, r->histogram);
            assert_int_equal(view.n, 8);
            assert_true(isfinite(r->mean[1]) && isfinite(r->variance[1]) && isfinite(qn_range_outlier_ratio(r)));
        }
        const qn_range *r = qn_calibration_find(c, "x");
        if (r->mean[0] != rows[i].mean || fabs(r->variance[0] - rows[i].variance) > 1e-6 * rows[i].variance + 1e-80) {
            fail_msg("%s: mean %g, variance %g", rows[i].what, r->mean[0], r->variance[0]);
        }
        double ratio = qn_range_outlier_ratio(r);
        assert_true(ratio >= rows[i].ratio_least && ratio <= rows[i].ratio_most);
        qn_calibration_free(c);
    }
}

/* One element in twenty thousand that is far away is an outlier; one in two is none. */
static void outliers_are_told(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float x[N];
    for (int sign = -1; sign <= 1; sign += 2) {
        uint64_t random = 5;
        for (int i = 0; i < N; i++) {
            x[i] = (float)sign * qn_test_uniform(&random, 0.5F, 1);
        }
        for (int far = 0; far < 2; far++) {
            x[N / 3] = (float)sign * (far != 0 ? 100.0F : 1.0F);
            qn_calibration *c = calibrate_items(x, 1, N, 1);
            double ratio = qn_range_outlier_ratio(qn_calibration_find(c, "x"));
            assert_true(far != 0 ? ratio > 90 && ratio <= 100.1 : ratio >= 1 && ratio < 1.01);
            qn_calibration_free(c);
        }
    }
}

#define HEAD                                                                                                           \
    "{\"quern\": \"1\", \"model\": {\"file\": \"m\", \"sha256\": \"\"}, \"data\": {\"file\": \"d\", \"sha256\": "      \
    "\"\", \"count\": 3}"
#define VALUE(channel, histogram)                                                                                      \
    HEAD ", \"schema\": 2, \"values\": {\"v\": {\"min\": -1, \"max\": 2, \"absmax\": [2], " channel                    \
         ", \"histogram\": " histogram "}}}"
#define CHANNEL "\"channel_min\": [-1], \"channel_max\": [2], \"mean\": [0.5], \"variance\": [1]"
#define COUNTS(n, zeros, width, first, counts)                                                                         \
    "{\"n\": " n ", \"zeros\": " zeros ", \"width_log2\": " width ", \"first\": " first ", \"counts\": \"" counts "\"" \
                                                                                                                  "}"

static void malformed_histograms_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fragment;
    } rows[] = {
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "3 0*2 4")), NULL},
        {VALUE(CHANNEL, COUNTS("8", "2", "0", "-1", "3 0*2 4")), "add up"},
        {VALUE(CHANNEL, COUNTS("9", "-2", "0", "-1", "7 0*2 4")), "0 or more"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "-3 0*2 10")), "counts"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "3 0*2  4")), "counts"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "3 0* 4")), "counts"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "3 0*2 4 ")), "counts"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "3 nan 4")), "counts"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "3 1*99999 4")), "counts"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "3 9223372036854775808 4")), "counts"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "9223372036854775807 9223372036854775807 1")), "add up"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-1", "0 3 0 4")), "the first and the last above 0"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "-2", "3 0*3 4")), "do not reach"},
        {VALUE(CHANNEL, COUNTS("9", "2", "1", "-1", "3 0*2 4")), "do not reach"},
        {VALUE(CHANNEL, COUNTS("9", "2", "4000", "-1", "3 0*2 4")), "width_log2"},
        {VALUE(CHANNEL, COUNTS("9", "2", "0", "9223372036854775807", "3 0*2 4")), "indices"},
        {VALUE(CHANNEL, COUNTS("9.0", "2", "0", "-1", "3 0*2 4")), "\"n\""},
        {VALUE(CHANNEL, "3"), "\"n\""},
        {VALUE("\"mean\": [0]", COUNTS("9", "2", "0", "-1", "3 0*2 4")), "channel_min"},
        {VALUE("\"channel_min\": [-1], \"channel_max\": [2], \"mean\": [0.5, 3], \"variance\": [1]",
               COUNTS("9", "2", "0", "-1", "3 0*2 4")),
         "mean"},
        {VALUE("\"channel_min\": [-1], \"channel_max\": [2], \"mean\": [0.5], \"variance\": [-1]",
               COUNTS("9", "2", "0", "-1", "3 0*2 4")),
         "contradicts"},
        {VALUE("\"channel_min\": [-1], \"channel_max\": [1], \"mean\": [0.5], \"variance\": [1]",
               COUNTS("9", "2", "0", "-1", "3 0*2 4")),
         "contradicts"},
        {HEAD ", \"schema\": 3, \"values\": {}}", "schema 3"},
        {HEAD ", \"schema\": 0, \"values\": {}}", "schema"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        const char *path = qn_scratch_file("bad.json");
        qn_calibration *read = NULL;
        qn_assert_ok(qn_file_write_all(path, true, rows[i].text, strlen(rows[i].text), &err), &err);
        qn_status status = qn_calibration_load(&read, path, &err);
        if (rows[i].fragment == NULL) {
            qn_assert_ok(status, &err);
            qn_histogram_view v;
            qn_histogram_get(&v, qn_calibration_find(read, "v")->histogram);
            assert_true(v.n == 9 && v.n_zeros == 2 && v.first_bin == -1 && v.n_bins == 4 && v.counts[3] == 4);
            qn_calibration_free(read);
            continue;
        }
        qn_assert_fails(status, &err, QN_EFORMAT, rows[i].fragment);
        assert_null(read);
        assert_non_null(strstr(err.where, "bad.json"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_is_counted),         cmocka_unit_test(batches_of_any_size_agree),
        cmocka_unit_test(odd_inputs_give_finite_numbers),   cmocka_unit_test(outliers_are_told),
        cmocka_unit_test(malformed_histograms_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
