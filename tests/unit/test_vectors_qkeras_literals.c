/* qkeras-*: the literals in QKeras' own tests, at the tolerances stated there. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "quern/fit.h"

enum { NAME_SIZE = 2 * QN_FORMAT_NAME_MAX };

static int integer(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_true(value) ? 1 : (int)json_integer_value(value);
}

static double number(const json_t *row, const char *key, double otherwise)
{
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static const char *text(const json_t *row, const char *key)
{
    const char *value = json_string_value(json_object_get(row, key));
    return value != NULL ? value : "";
}

static void flatten(float **at, const json_t *value)
{
    size_t i;
    json_t *element;
    if (json_is_number(value)) {
        *(*at)++ = (float)json_number_value(value);
    }
    json_array_foreach(value, i, element)
    {
        flatten(at, element);
    }
}

/* Nested lists as a tensor. */
static qn_tensor tensor_of(const json_t *list)
{
    int64_t dims[QN_MAX_RANK];
    int rank = 0;
    for (const json_t *at = list; json_is_array(at); at = json_array_get(at, 0)) {
        dims[rank++] = (int64_t)json_array_size(at);
    }
    qn_tensor t = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_F32, rank, dims, &err), &err);
    float *end = t.data;
    flatten(&end, list);
    assert_int_equal(end - (float *)t.data, qn_tensor_count(&t));
    return t;
}

/* The name of the quantizer that a case calls. */
static void name_of(char name[NAME_SIZE], const json_t *row)
{
    const char *fn = text(row, "fn");
    int bits = integer(row, "bits"), whole = integer(row, "integer"), symmetric = integer(row, "symmetric");
    double alpha = number(row, "alpha", 1.0);
    if (strcmp(fn, "quantized_relu") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-relu<%d,%d,%d>", bits, whole, integer(row, "use_sigmoid"));
    } else if (strcmp(fn, "quantized_sigmoid") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-sigmoid<%d,%d,%s>", bits, symmetric, text(row, "sigmoid"));
    } else if (strcmp(fn, "quantized_tanh") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-tanh<%d,%d,%d>", bits, symmetric, integer(row, "real"));
    } else if (strcmp(fn, "quantized_hswish") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-hswish<%d,%d,%d>", bits, whole, symmetric);
    } else if (strcmp(fn, "ternary") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-ternary<%g,%g>", alpha, number(row, "threshold", 0.33));
    } else if (strcmp(fn, "binary") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-binary<%d,%g>", integer(row, "use_01"), alpha);
    } else if (strcmp(fn, "quantized_linear") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-linear<%d,%d,1,1,%s>", bits, whole, text(row, "alpha"));
    } else {
        const json_t *negative = json_object_get(row, "keep_negative");
        assert_true(strncmp(fn, "quantized_bits", 14) == 0 || strncmp(fn, "model_save", 10) == 0);
        snprintf(name, NAME_SIZE, "qkeras-bits<%d,%d,%d,%d%s>", bits, whole, symmetric, json_is_false(negative) ? 0 : 1,
                 text(row, "alpha")[0] != '\0' ? ",auto_po2" : "");
    }
}

/* What QKeras makes of step and value: its `scale`, a factor of 2^(integer-bits+1) less, and the weights that it
 * exports, values without that factor though its scale stays in them, so that weight times scale is not the value. */
static qn_tensor results_of(const json_t *row, qn_quantizer *q, qn_tensor *y, const qn_tensor *x)
{
    const char *fn = text(row, "fn");
    float factor = ldexpf(1.0f, integer(row, "bits") - 1 - integer(row, "integer"));
    bool scale = strcmp(fn, "quantized_bits.scale") == 0, export = strncmp(fn, "model_save", 10) == 0;
    qn_tensor steps = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {q->n}, .data = (void *)(uintptr_t)q->scale};
    qn_tensor result = *y;
    if (scale || (export && strstr(fn, "scales") != NULL)) {
        result = steps;
    }
    float *v = result.data, noise = (float)number(row, "qnoise", 1.0);
    for (int64_t i = 0; i < qn_tensor_count(&result); i++) {
        v[i] *= scale || (export && result.data == y->data) ? factor : 1.0f;
        if (noise != 1.0f) {
            float real = ((const float *)x->data)[i];
            v[i] = real + noise * (v[i] - real);
        }
    }
    return result;
}

static void check_equal(const char *key, const qn_tensor *got, const qn_tensor *want, double tolerance)
{
    assert_int_equal(qn_tensor_count(got), qn_tensor_count(want));
    for (int64_t i = 0; i < qn_tensor_count(want); i++) {
        double a = (double)((const float *)got->data)[i], b = (double)((const float *)want->data)[i];
        if (!(fabs(a - b) <= tolerance * fabs(b))) {
            fail_msg("%s[%d]: %.9g for %.9g", key, (int)i, a, b);
        }
    }
}

/* The values of all codes, in the order of the codes. */
static qn_tensor values_of_codes(qn_format format)
{
    int64_t n = (int64_t)1 << format.bits;
    qn_tensor y = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&y, QN_DTYPE_F32, 1, &n, &err), &err);
    qn_params p = {.scale = ldexpf(1.0f, format.integer_bits - format.bits + 1), .multiplier = 1.0f};
    for (int64_t code = 0; code < n; code++) {
        ((float *)y.data)[code] = (float)qn_format_value(format, &p, (uint32_t)code);
    }
    return y;
}

static int64_t check_case(const char *key, const json_t *row)
{
    char name[NAME_SIZE];
    qn_format format;
    qn_error err;
    qn_error_init(&err);
    name_of(name, row);
    qn_assert_ok(qn_format_parse(&format, name, &err), &err);
    qn_tensor want = tensor_of(json_object_get(row, "expected")), y = {0};
    int64_t n = qn_tensor_count(&want);
    const json_t *input = json_object_get(row, "x");
    if (input == NULL) {
        assert_string_equal(text(row, "fn"), "quantized_bits.range");
        y = values_of_codes(format);
        check_equal(key, &y, &want, 0.0);
    } else {
        qn_tensor x = tensor_of(input), codes;
        qn_fit_options fit;
        qn_fit_options_init(&fit);
        fit.axis = format.fit == QN_FIT_DEFAULT ? -1 : x.rank - 1;
        qn_quantizer *q;
        qn_assert_ok(qn_fit(&q, &x, format, &fit, &err), &err);
        qn_assert_ok(qn_encode(&codes, &x, q, NULL, &err), &err);
        qn_assert_ok(qn_decode(&y, &codes, q, &err), &err);
        qn_tensor got = results_of(row, q, &y, &x);
        check_equal(key, &got, &want, number(row, "rtol", 0.0));
        qn_tensor_free(&x);
        qn_tensor_free(&codes);
        qn_quantizer_free(q);
    }
    qn_tensor_free(&y);
    qn_tensor_free(&want);
    return n;
}

static void test_literals(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/qkeras/expected_from_tests.json");
    if (path == NULL) {
        skip();
    }
    json_error_t error;
    json_t *file = json_load_file(path, 0, &error), *row;
    assert_non_null(file);
    int n_cases = 0, n_disabled = 0, n_wrong = 0, n_exports = 0;
    int64_t n_values = 0;
    const char *key;
    json_object_foreach(json_object_get(file, "cases"), key, row)
    {
        if (json_is_true(json_object_get(row, "disabled_in_qkeras"))) {
            printf("left out: %s: QKeras does not run it\n", key);
            n_disabled++;
        } else if (strstr(text(row, "note"), "do not use") != NULL) {
            printf("left out: %s: %s\n", key, text(row, "note"));
            n_wrong++;
        } else {
            n_values += check_case(key, row);
            n_cases++;
            n_exports += strncmp(text(row, "fn"), "model_save", 10) == 0 ? 1 : 0;
        }
    }
    printf(
        "qkeras literals: %d cases, %lld values equal, %d of the cases through QKeras' export, whose weights are not "
        "values over scale; left out %d that its tests do not run, %d unusable\n",
        n_cases, (long long)n_values, n_exports, n_disabled, n_wrong);
    assert_int_equal(n_wrong, 2);
    assert_true(n_cases > 30 && n_values > 300);
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_literals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
