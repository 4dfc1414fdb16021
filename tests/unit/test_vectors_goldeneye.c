/* goldeneye-*: the results of GoldenEye's own classes (of QPyTorch with nearest rounding, where GoldenEye is stochastic),
 * bit for bit but for the sign of zeros in formats that have one zero. What is not finite follows quern's rules. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npz_json.h"
#include "quern/fit.h"

static const char *text(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

static int integer(const json_t *row, const char *key)
{
    return (int)json_integer_value(json_object_get(json_object_get(row, "args"), key));
}

static void name_format(char name[64], const json_t *row)
{
    const char *cls = text(row, "cls");
    const json_t *bias = json_object_get(json_object_get(row, "args"), "exp_bias");
    if (strcmp(cls, "num_float_n") == 0) {
        snprintf(name, 64, "goldeneye-fp<%d,%d>", integer(row, "exp_len"), integer(row, "mant_len"));
    } else if (strcmp(cls, "num_fixed_pt") == 0) {
        snprintf(name, 64, "goldeneye-fxp<%d,%d>", integer(row, "int_len"), integer(row, "frac_len"));
    } else if (strcmp(cls, "block_fp") == 0) {
        snprintf(name, 64, "goldeneye-bfp<%d,%d>", integer(row, "bit_width"), integer(row, "exp_len"));
    } else if (strcmp(cls, "adaptive_float") == 0 && json_is_integer(bias)) {
        snprintf(name, 64, "goldeneye-afp<%d,%d,%d>", integer(row, "bit_width"), integer(row, "exp_len"),
                 integer(row, "exp_bias"));
    } else if (strcmp(cls, "adaptive_float") == 0) {
        snprintf(name, 64, "goldeneye-afp<%d,%d>", integer(row, "bit_width"), integer(row, "exp_len"));
    } else {
        snprintf(name, 64, "goldeneye-%s", text(row, "tag")); /* fp32, fp16, bfloat16 */
    }
}

/* Values of x through a format, in f32. */
static qn_tensor through(const qn_tensor *x, const char *format_name, const char *rule, qn_params *params)
{
    qn_error err;
    qn_error_init(&err);
    qn_format format;
    qn_assert_ok(qn_format_parse(&format, format_name, &err), &err);
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.rule = rule;
    fit.nan = QN_NAN_ZERO;
    fit.inf = QN_INF_CLAMP;
    qn_codec_options codec;
    qn_codec_options_init(&codec);
    codec.nan = QN_NAN_ZERO;
    codec.inf = QN_INF_CLAMP;
    qn_quantizer *q;
    qn_tensor codes, y;
    qn_assert_ok(qn_fit(&q, x, format, &fit, &err), &err);
    qn_assert_ok(qn_encode(&codes, x, q, &codec, &err), &err);
    qn_assert_ok(qn_decode(&y, &codes, q, &err), &err);
    *params = qn_quantizer_get(q, 0);
    qn_quantizer_free(q);
    qn_tensor_free(&codes);
    return y;
}

static bool all_finite(const qn_tensor *x)
{
    for (int64_t i = 0; i < qn_tensor_count(x); i++) {
        if (!isfinite(((const float *)x->data)[i])) {
            return false;
        }
    }
    return true;
}

typedef struct counts {
    int64_t rows, values, policy;
} counts;

/* y against expected; an input or a result that is not finite has a finite value here. A whole tensor shares its
 * exponent, so one element that is not finite there changes all others. */
static void compare(counts *total, const qn_tensor *x, const qn_tensor *y, const qn_tensor *expected, bool shares,
                    const char *format, const char *input)
{
    bool skip_all = shares && !all_finite(x);
    total->rows++;
    for (int64_t i = 0; i < qn_tensor_count(x); i++) {
        float in = ((const float *)x->data)[i], got = ((const float *)y->data)[i],
              want = ((const float *)expected->data)[i];
        assert_true(isfinite(got));
        if (skip_all || !isfinite(in) || !isfinite(want)) {
            total->policy++;
            continue;
        }
        total->values++;
        bool one_zero = strncmp(format, "goldeneye-fxp", 13) == 0;
        if (got != want || (!one_zero && signbit(got) != signbit(want))) {
            fail_msg("%s %s[%lld] = %.9g: %.9g for %.9g", format, input, (long long)i, (double)in, (double)got,
                     (double)want);
        }
    }
}

static void check_row(counts *total, const char *path, const json_t *row)
{
    char format[64], name[32];
    name_format(format, row);
    snprintf(name, sizeof name, "out_%s", text(row, "key"));
    qn_tensor expected = npz_read_optional(path, name);
    if (expected.data == NULL) {
        return;
    }
    qn_tensor x = npz_read(path, text(row, "input"));
    qn_params params;
    qn_tensor y = through(&x, format, NULL, &params);
    bool shares = strncmp(format, "goldeneye-bfp", 13) == 0 || strncmp(format, "goldeneye-afp", 13) == 0;
    compare(total, &x, &y, &expected, shares, format, text(row, "input"));
    qn_tensor_free(&x);
    qn_tensor_free(&y);
    qn_tensor_free(&expected);
}

static void test_formats(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/goldeneye/formats.npz");
    if (path == NULL) {
        skip();
    }
    json_t *meta = npz_meta_read(path, "meta_json"), *row;
    counts total = {0};
    size_t i;
    json_array_foreach(meta, i, row)
    {
        check_row(&total, path, row);
    }
    json_decref(meta);
    printf("goldeneye formats: %lld rows, %lld values equal, %lld by policy\n", (long long)total.rows,
           (long long)total.values, (long long)total.policy);
    assert_true(total.values > 10000);
}

static void test_int(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/goldeneye/int.npz");
    if (path == NULL) {
        skip();
    }
    json_t *meta = npz_meta_read(path, "meta_json"), *row;
    counts total = {0};
    size_t i;
    json_array_foreach(meta, i, row)
    {
        const char *method = text(row, "method");
        char format[64], rule[64], name[32];
        snprintf(name, sizeof name, "out_%s", method != NULL ? text(row, "key") : "");
        qn_tensor expected = npz_read_optional(path, name);
        if (method == NULL || expected.data == NULL) {
            continue; /* flips of single values are no quantizer's business */
        }
        snprintf(format, sizeof format, "goldeneye-%sint<%d>", strcmp(method, "quantizeUnsigned") == 0 ? "u" : "",
                 (int)json_integer_value(json_object_get(row, "bits")));
        snprintf(rule, sizeof rule, "range=%.17g", json_number_value(json_object_get(row, "R")));
        qn_tensor x = npz_read(path, text(row, "input"));
        qn_params params;
        qn_tensor y = through(&x, format, rule, &params);
        compare(&total, &x, &y, &expected, false, format, text(row, "input"));
        qn_tensor_free(&x);
        qn_tensor_free(&y);
        qn_tensor_free(&expected);
    }
    json_decref(meta);
    printf("goldeneye int: %lld rows, %lld values equal, %lld by policy\n", (long long)total.rows,
           (long long)total.values, (long long)total.policy);
    assert_true(total.values > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formats), cmocka_unit_test(test_int)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
