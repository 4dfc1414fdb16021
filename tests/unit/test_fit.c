/* Range rules and histograms, against plain definitions: sorted arrays, exhaustive scans, counting one by one. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/lambert.h"
#include "quern/fit.h"

static qn_format parse(const char *name)
{
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&f, name, &err), &err);
    return f;
}

static qn_fit_rule rule_of(const char *text)
{
    qn_fit_rule rule;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fit_rule_parse(&rule, text, &err), &err);
    return rule;
}

/* Values with long tails, some of them zero. */
static void fill(float *x, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        float u = qn_test_uniform(&seed, -1.0f, 1.0f);
        x[i] = qn_test_random(&seed) % 8 == 0 ? 0.0f : u * u * u / (1.02f - fabsf(u));
    }
}

static void test_rule_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "format",     "minmax",  "absmax",        "percentile:99.9",  "abs-percentile:50", "mse",
        "l1",         "kl",      "aciq-laplace",  "aciq-gelu",        "ds-aciq",           "range=2.5",
        "range=-1,3", "mse*0.5", "range=2.7*1.3", "params=a*b:c.json"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        qn_fit_rule rule = rule_of(texts[i]);
        char name[QN_RULE_NAME_MAX];
        qn_fit_rule_name(name, &rule);
        assert_string_equal(name, texts[i]);
    }
    qn_fit_rule rule = rule_of("range=0.1*3");
    assert_true(rule.lo == -0.1 && rule.hi == 0.1 && rule.factor == 3.0);
}

static void test_rule_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fragment;
    } cases[] = {{"msee", "the nearest is 'mse'"},
                 {"percentile", "as in percentile:99.9"},
                 {"percentile:0", "above 0, at most 100"},
                 {"percentile:x", "not a finite number"},
                 {"range=3,1", "from 3 down to 1"},
                 {"range=-2", "range=R with R of 0 or more"},
                 {"range=nan", "not a finite number"},
                 {"minmax:3", "':3' after 'minmax'"},
                 {"mse*0", "must be above 0"},
                 {"format*2", "takes no factor"},
                 {"params=", "the name of a file"},
                 {"", "is no range rule"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_fit_rule rule;
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_fit_rule_parse(&rule, cases[i].text, &err), &err, QN_EINVAL, cases[i].fragment);
    }
}

/* W e^W = x, over many orders of magnitude. */
static void test_lambert(void **state)
{
    (void)state;
    for (double x = 1e-12; x < 1e300; x *= 1.7) {
        double w = qn_lambert_w(x), error = x < 3.0 ? w * exp(w) / x - 1.0 : (w + log(w) - log(x)) / log(x);
        assert_true(fabs(error) < 1e-14);
    }
    assert_true(qn_lambert_w(0.0) == 0.0);
    assert_true(fabs(qn_lambert_w(2.718281828459045) - 1.0) < 1e-15);
}

static qn_params fit(const float *x, int64_t n, const char *format, const char *rule)
{
    const qn_tensor tensor = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {n}, .data = (void *)(uintptr_t)x};
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.rule = rule;
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fit(&q, &tensor, parse(format), &options, &err), &err);
    qn_params params = qn_quantizer_get(q, 0);
    qn_quantizer_free(q);
    return params;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* pipeedge's shift and scale are the ends of the range. */
static void test_percentiles(void **state)
{
    (void)state;
    enum { N = 1001 };
    static float x[N], sorted[N];
    fill(x, N, 5);
    memcpy(sorted, x, sizeof x);
    qsort(sorted, N, sizeof sorted[0], compare_floats);
    qn_params p = fit(x, N, "pipeedge<8>", "percentile:90"); /* 5 % and 95 % of 1000 steps: exact order statistics */
    assert_true(p.shift == sorted[50] && p.scale == sorted[950] - sorted[50]);
    p = fit(x, N, "pipeedge<8>", "percentile:100");
    assert_true(p.shift == sorted[0] && p.scale == sorted[N - 1] - sorted[0]);
    for (int i = 0; i < N; i++) {
        sorted[i] = fabsf(x[i]);
    }
    qsort(sorted, N, sizeof sorted[0], compare_floats);
    p = fit(x, N, "pipeedge<8>", "abs-percentile:99");
    assert_true(p.shift == -sorted[990]);
    p = fit(x, N, "pipeedge<8>", "range=-1,3*2");
    assert_true(p.shift == -2.0f && p.scale == 8.0f);
}

/* Sum of errors of x under parameters, by single codes. */
static double error_under(qn_format f, const qn_params *p, const float *x, int64_t n, bool squared)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)(float)qn_format_value(f, p, qn_format_code(f, p, (double)x[i], 0)) - (double)x[i];
        sum += squared ? d * d : fabs(d);
    }
    return sum;
}

/* No candidate range of the grid has a lesser error than the one that was found. */
static void check_search(const float *x, int64_t n, const char *format, const char *rule)
{
    qn_format f = parse(format);
    bool squared = strcmp(rule, "mse") == 0;
    qn_params found = fit(x, n, format, rule);
    double error = error_under(f, &found, x, n, squared), lo = 0.0, hi = 0.0, best = INFINITY;
    for (int64_t i = 0; i < n; i++) {
        lo = fmin(lo, (double)x[i]), hi = fmax(hi, (double)x[i]);
    }
    qn_params last = {0};
    for (int c = 1; c <= 1000; c++) {
        char range[96];
        snprintf(range, sizeof range, "range=%.17g,%.17g", lo * (c / 1000.0), hi * (c / 1000.0));
        qn_params p = fit(x, 1, format, range);
        if (memcmp(&p, &last, sizeof p) != 0) {
            best = fmin(best, error_under(f, &p, x, n, squared));
        }
        last = p;
    }
    if (error > best * (1.0 + 1e-12)) {
        fail_msg("%s %s: error %.9g, an exhaustive scan has %.9g", format, rule, error, best);
    }
}

static void test_searches_find_the_best(void **state)
{
    (void)state;
    enum { N = 600 };
    static float x[N];
    static const char *const formats[] = {
        "int8",   "int4",       "uint4", "int3:symmetric-full", "adaptivfloat<8,3>", "adaptivfloat<4,2>",
        "po2<4>", "pipeedge<3>"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        fill(x, N, 77 + i);
        check_search(x, N, formats[i], "mse");
        check_search(x, N, formats[i], "l1");
    }
}

/* Of many values, candidates are chosen by a histogram first. */
static void test_search_of_many_values(void **state)
{
    (void)state;
    enum { N = 70000 };
    static float x[N];
    fill(x, N, 3);
    check_search(x, N, "int4", "mse");
}

static qn_histogram *histogram_of(const float *x, int64_t n, int64_t batch)
{
    qn_histogram *h;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_histogram_new(&h, 0, &err), &err);
    for (int64_t at = 0; at < n; at += batch) {
        const qn_tensor t = {.dtype = QN_DTYPE_F32,
                             .rank = 1,
                             .dims = {n - at < batch ? n - at : batch},
                             .data = (void *)(uintptr_t)(x + at)};
        qn_assert_ok(qn_histogram_add(h, &t, QN_NAN_REFUSE, QN_INF_REFUSE, &err), &err);
    }
    return h;
}

static void assert_same_histograms(const qn_histogram *a, const qn_histogram *b)
{
    qn_histogram_view v, w;
    qn_histogram_get(&v, a);
    qn_histogram_get(&w, b);
    assert_true(v.n == w.n && v.n_zeros == w.n_zeros && v.min == w.min && v.max == w.max && v.width == w.width &&
                v.first_bin == w.first_bin && v.n_bins == w.n_bins);
    assert_memory_equal(v.counts, w.counts, (size_t)v.n_bins * sizeof v.counts[0]);
}

static void test_histogram_counts(void **state)
{
    (void)state;
    enum { N = 5000 };
    static float x[N];
    fill(x, N, 11);
    qn_histogram *h = histogram_of(x, N, 64);
    qn_histogram_view v;
    qn_histogram_get(&v, h);
    assert_true(v.n_bins > 1024 - 2 && v.n_bins <= 2048);
    int64_t total = v.n_zeros;
    for (int b = 0; b < v.n_bins; b++) {
        double lo = (double)(v.first_bin + b) * v.width, hi = lo + v.width;
        int64_t count = 0;
        for (int i = 0; i < N; i++) {
            count += x[i] != 0.0f && (double)x[i] >= lo && (double)x[i] < hi ? 1 : 0;
        }
        assert_int_equal(count, v.counts[b]);
        total += count;
    }
    assert_int_equal(total, N);
    qn_histogram_free(h);
}

/* Batches, order and merging make no difference, however the range grows. */
static void test_histogram_order(void **state)
{
    (void)state;
    enum { N = 3000 };
    static float x[N], y[N];
    fill(x, N, 13);
    x[N - 1] = 4000.0f;
    x[1700] = -1e-30f;
    for (int i = 0; i < N; i++) {
        y[i] = x[N - 1 - i];
    }
    qn_histogram *whole = histogram_of(x, N, N);
    for (int64_t batch = 1; batch < N; batch = batch * 3 + 1) {
        qn_histogram *forward = histogram_of(x, N, batch), *backward = histogram_of(y, N, batch);
        assert_same_histograms(whole, forward);
        assert_same_histograms(whole, backward);
        qn_histogram_free(forward);
        qn_histogram_free(backward);
    }
    qn_error err;
    qn_error_init(&err);
    qn_histogram *a = histogram_of(x, 1000, 100), *b = histogram_of(x + 1000, N - 1000, 77);
    qn_assert_ok(qn_histogram_merge(a, b, &err), &err);
    assert_same_histograms(whole, a);
    qn_histogram_free(a);
    qn_histogram_free(b);
    qn_histogram_free(whole);
}

/* Ranges of a histogram are those of its values to within a bin; the search's error to within a percent; and it takes
 * less than a millisecond where the build is one to be measured. */
static void test_fit_histogram(void **state)
{
    (void)state;
    enum { N = 50000 };
    static float x[N];
    fill(x, N, 21);
    qn_histogram *h = histogram_of(x, N, 997);
    qn_histogram_view v;
    qn_histogram_get(&v, h);
    qn_error err;
    qn_error_init(&err);
    static const char *const rules[] = {"minmax",       "absmax",    "percentile:99", "abs-percentile:99.5",
                                        "aciq-laplace", "aciq-gelu", "range=1,2"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        qn_fit_rule rule = rule_of(rules[i]);
        qn_params exact = fit(x, N, "pipeedge<4>", rules[i]), p;
        qn_assert_ok(qn_fit_histogram(&p, parse("pipeedge<4>"), &rule, h, &err), &err);
        if (fabs((double)(p.shift - exact.shift)) > 1.01 * v.width ||
            fabs((double)(p.scale - exact.scale)) > 2.01 * v.width) {
            fail_msg("%s: from %g, width %g; of the values from %g, width %g", rules[i], (double)p.shift,
                     (double)p.scale, (double)exact.shift, (double)exact.scale);
        }
    }
    static const char *const searches[] = {"mse", "l1"};
    for (int i = 0; i < 2; i++) {
        qn_fit_rule rule = rule_of(searches[i]);
        qn_format f = parse("int4");
        qn_params exact = fit(x, N, "int4", searches[i]), p;
        qn_assert_ok(qn_fit_histogram(&p, f, &rule, h, &err), &err);
        assert_true(error_under(f, &p, x, N, i == 0) <= 1.01 * error_under(f, &exact, x, N, i == 0));
    }
    qn_histogram_free(h);
}

/* The divergence keeps the bulk and gives up outliers: with one value far away, most of the range is cut. */
static void test_kl_cuts_outliers(void **state)
{
    (void)state;
    enum { N = 50000 };
    static float x[N];
    uint64_t seed = 4;
    for (int i = 0; i < N; i++) {
        float sum = 0.0f;
        for (int k = 0; k < 12; k++) {
            sum += qn_test_uniform(&seed, -0.5f, 0.5f);
        }
        x[i] = sum;
    }
    float bulk = fit(x, N, "int8", "kl").scale;
    x[0] = 500.0f;
    float cut = fit(x, N, "int8", "kl").scale, whole = fit(x, N, "int8", "minmax").scale;
    assert_true(bulk > 0.0f && cut < 0.1f * whole);
}

/* Options of another version of the library are refused, not half understood. */
static void test_options_size(void **state)
{
    (void)state;
    float x[2] = {1.0f, -1.0f};
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {2}, .data = x};
    qn_error err;
    qn_error_init(&err);
    qn_quantizer *q;
    qn_fit_options fit_options;
    qn_fit_options_init(&fit_options);
    fit_options.struct_size--;
    qn_assert_fails(qn_fit(&q, &t, parse("int8"), &fit_options, &err), &err, QN_EINVAL, "qn_fit_options_init");
    fit_options.struct_size++;
    qn_error_init(&err);
    qn_assert_ok(qn_fit(&q, &t, parse("int8"), &fit_options, &err), &err);
    qn_codec_options codec_options;
    qn_codec_options_init(&codec_options);
    codec_options.struct_size++;
    qn_tensor y = {0};
    qn_assert_fails(qn_fake_quantize(&y, &t, q, &codec_options, &err), &err, QN_EINVAL, "qn_codec_options_init");
    qn_quantizer_free(q);
}

static void test_params_files(void **state)
{
    (void)state;
    enum { ROWS = 3, COLUMNS = 50 };
    static float x[ROWS * COLUMNS];
    fill(x, ROWS * COLUMNS, 8);
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {ROWS, COLUMNS}, .data = x};
    static const char *const formats[] = {"uint8", "adaptivfloat<8,3>", "pipeedge<5>", "mrfi-symmetric<12>", "fp16"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_fit_options options;
        qn_fit_options_init(&options);
        options.axis = 0;
        qn_quantizer *q, *read, *fitted;
        qn_assert_ok(qn_fit(&q, &t, parse(formats[i]), &options, &err), &err);
        char path[512], rule[600];
        snprintf(path, sizeof path, "%s", qn_scratch_file("p.json"));
        qn_assert_ok(qn_quantizer_write_json(q, t.rank, t.dims, path, true, &err), &err);
        int rank;
        int64_t dims[QN_MAX_RANK];
        qn_assert_ok(qn_quantizer_read_json(&read, &rank, dims, path, &err), &err);
        assert_true(qn_quantizer_equal(q, read) && rank == 2 && dims[0] == ROWS && dims[1] == COLUMNS);
        snprintf(rule, sizeof rule, "params=%s", path);
        options.rule = rule;
        qn_assert_ok(qn_fit(&fitted, &t, parse(formats[i]), &options, &err), &err);
        assert_true(qn_quantizer_equal(q, fitted));
        qn_quantizer_free(fitted);
        qn_assert_fails(qn_fit(&fitted, &t, parse("int5"), &options, &err), &err, QN_EINVAL, "are for");
        qn_quantizer_free(q);
        qn_quantizer_free(read);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_texts),
        cmocka_unit_test(test_rule_errors),
        cmocka_unit_test(test_lambert),
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_searches_find_the_best),
        cmocka_unit_test(test_search_of_many_values),
        cmocka_unit_test(test_histogram_counts),
        cmocka_unit_test(test_histogram_order),
        cmocka_unit_test(test_fit_histogram),
        cmocka_unit_test(test_kl_cuts_outliers),
        cmocka_unit_test(test_options_size),
        cmocka_unit_test(test_params_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
