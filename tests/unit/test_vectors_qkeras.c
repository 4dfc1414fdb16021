/* qkeras-*: QKeras' quantizers by a float32 restatement that reproduces QKeras' own tests: integers, steps and values,
 * bit for bit. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npz_json.h"
#include "qkeras_vectors.h"
#include "quern/fit.h"

static uint32_t code_at(const qn_tensor *codes, int64_t i)
{
    return codes->dtype == QN_DTYPE_U8    ? ((const uint8_t *)codes->data)[i]
           : codes->dtype == QN_DTYPE_U16 ? ((const uint16_t *)codes->data)[i]
                                          : ((const uint32_t *)codes->data)[i];
}

typedef struct result {
    qn_format format;
    qn_quantizer *q;
    qn_tensor codes, y;
} result;

static result quantize(const qn_tensor *x, const char *name, int axis, int64_t group, const float *scale)
{
    result r = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&r.format, name, &err), &err);
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = axis;
    fit.group = group;
    qn_assert_ok(qn_fit(&r.q, x, r.format, &fit, &err), &err);
    for (int64_t set = 0; scale != NULL && set < r.q->n; set++) {
        qn_params p = qn_quantizer_get(r.q, set);
        p.scale = scale[set];
        qn_quantizer_set(r.q, set, p);
    }
    qn_assert_ok(qn_encode(&r.codes, x, r.q, NULL, &err), &err);
    qn_assert_ok(qn_decode(&r.y, &r.codes, r.q, &err), &err);
    return r;
}

static void result_free(result *r)
{
    qn_quantizer_free(r->q);
    qn_tensor_free(&r->codes);
    qn_tensor_free(&r->y);
}

/* Twice the integer of element i: codes of one signed bit are a sign, of 1 in quantized_bits and 1/2 in
 * quantized_linear. */
static int twice_integer(const result *r, int64_t i)
{
    uint32_t code = code_at(&r->codes, i);
    if (r->format.bits == 1 && r->format.is_signed) {
        int unit = r->format.kind == QN_FORMAT_QKERAS_BITS ? 2 : 1;
        return code == 1 ? unit : -unit;
    }
    int64_t value = code;
    if (r->format.is_signed && (code >> (r->format.bits - 1) & 1) != 0) {
        value -= (int64_t)1 << r->format.bits;
    }
    return (int)(2 * value);
}

static void test_fixed_alpha(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/qkeras/fixed_alpha.npz");
    if (path == NULL) {
        skip();
    }
    qn_tensor x = npz_read(path, "x"), z2 = npz_read(path, "z2"), s_eff = npz_read(path, "s_eff"),
              xq = npz_read(path, "xq");
    json_t *cfg = npz_meta_read(path, "cfg_json"), *row;
    int64_t n = qn_tensor_count(&x), n_equal = 0;
    size_t c;
    json_array_foreach(cfg, c, row)
    {
        char name[NAME_SIZE];
        name_uniform(name, row);
        result r = quantize(&x, name, -1, 0, NULL);
        if (r.q->scale[0] != ((const float *)s_eff.data)[c]) {
            fail_msg("%s: step %.9g for %.9g", name, (double)r.q->scale[0], (double)((const float *)s_eff.data)[c]);
        }
        for (int64_t i = 0; i < n; i++, n_equal++) {
            size_t at = c * (size_t)n + (size_t)i;
            int got = twice_integer(&r, i), want = ((const int32_t *)z2.data)[at];
            float y = ((const float *)r.y.data)[i], expected = ((const float *)xq.data)[at];
            if (got != want || y != expected) {
                fail_msg("%s, x = %.9g: 2z = %d for %d, value %.9g for %.9g", name, (double)((const float *)x.data)[i],
                         got, want, (double)y, (double)expected);
            }
        }
        result_free(&r);
    }
    printf("qkeras fixed_alpha: %zu quantizers, %lld codes and values equal\n", json_array_size(cfg),
           (long long)n_equal);
    assert_true(n_equal > 10000);
    json_decref(cfg);
    qn_tensor *owned[] = {&x, &z2, &s_eff, &xq};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        qn_tensor_free(owned[i]);
    }
}

/* Bring the blocks of each matrix (the last two dimensions) together, in place. */
static void gather_blocks(qn_tensor *t, const json_t *row)
{
    const json_t *sizes = json_object_get(row, "elements_per_scale");
    int64_t height = json_integer_value(json_array_get(sizes, 0)), width = json_integer_value(json_array_get(sizes, 1));
    int64_t n_columns = t->dims[t->rank - 1], n = t->dims[t->rank - 2] * n_columns;
    size_t size = qn_dtype_size(t->dtype);
    assert_true(height > 0 && width > 0 && n_columns % width == 0 && n % (height * n_columns) == 0);
    char *sorted = malloc((size_t)n * size);
    assert_non_null(sorted);
    for (char *matrix = t->data; matrix < (char *)t->data + qn_tensor_bytes(t); matrix += (size_t)n * size) {
        for (int64_t k = 0; k < n; k++) {
            int64_t block = k / (height * width), within = k % (height * width);
            int64_t line = block / (n_columns / width) * height + within / width;
            int64_t column = block % (n_columns / width) * width + within % width;
            memcpy(sorted + (size_t)k * size, matrix + (size_t)(line * n_columns + column) * size, size);
        }
        memcpy(matrix, sorted, (size_t)n * size);
    }
    free(sorted);
}

/* Number of elements; *n_zero_steps grows by the channels of zeros whose step is 0 there and 1 here. */
static int64_t check_auto(const char *path, const json_t *row, int64_t *n_zero_steps)
{
    int64_t n_zero = 0;
    char key[64], name[NAME_SIZE];
    snprintf(key, sizeof key, "%s_x", text(row, "tensor"));
    qn_tensor x = npz_read(path, key);
    snprintf(key, sizeof key, "%d_z2", integer(row, "id"));
    qn_tensor z2 = npz_read(path, key);
    snprintf(key, sizeof key, "%d_s", integer(row, "id"));
    qn_tensor s = npz_read(path, key);
    snprintf(key, sizeof key, "%d_xq", integer(row, "id"));
    qn_tensor xq = npz_read_optional(path, key), *arrays[] = {&x, &z2, &s, &xq};
    for (size_t i = 0; has_blocks(row) && i < sizeof arrays / sizeof arrays[0]; i++) {
        gather_blocks(arrays[i], row);
    }
    name_uniform(name, row);
    int64_t n = qn_tensor_count(&x), n_sets = qn_tensor_count(&s) / 2;
    const float *steps = (const float *)s.data + n_sets;
    bool frozen = json_object_get(row, "post_training_scale") != NULL;
    bool blocks = has_blocks(row);
    result r = quantize(&x, name, blocks ? -1 : axis_of(row, x.rank), blocks ? 1 : 0, frozen ? steps : NULL);
    assert_int_equal(r.q->n, n_sets);
    for (int64_t set = 0; set < n_sets; set++) {
        if (steps[set] == 0.0f && r.q->scale[set] == 1.0f) {
            n_zero++;
        } else if (r.q->scale[set] != steps[set]) {
            fail_msg("%d %s: step %.9g for %.9g", integer(row, "id"), name, (double)r.q->scale[set],
                     (double)steps[set]);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        int want = z2.dtype == QN_DTYPE_S16 ? ((const int16_t *)z2.data)[i] : ((const int32_t *)z2.data)[i];
        if (twice_integer(&r, i) != want) {
            fail_msg("%d %s, x = %.9g: 2z = %d for %d", integer(row, "id"), name, (double)((const float *)x.data)[i],
                     twice_integer(&r, i), want);
        }
    }
    for (int64_t i = 0; xq.data != NULL && i < n; i++) {
        assert_true(((const float *)r.y.data)[i] == ((const float *)xq.data)[i]);
    }
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        qn_tensor_free(arrays[i]);
    }
    *n_zero_steps += n_zero;
    result_free(&r);
    return n;
}

static void test_auto_alpha(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/qkeras/auto_alpha.npz");
    if (path == NULL) {
        skip();
    }
    json_t *cfg = npz_meta_read(path, "cfg_json"), *row;
    int64_t n_equal = 0, n_zero_steps = 0;
    size_t c;
    json_array_foreach(cfg, c, row)
    {
        n_equal += check_auto(path, row, &n_zero_steps);
    }
    printf(
        "qkeras auto_alpha: %zu quantizers, %lld codes equal, with steps and values; %lld channels of zeros have the "
        "step 0 there, 1 here\n",
        json_array_size(cfg), (long long)n_equal, (long long)n_zero_steps);
    assert_true(n_equal > 10000);
    json_decref(cfg);
}

static const char *number_or_none(char text_of[32], const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    snprintf(text_of, 32, json_is_number(value) ? "%g" : "None", json_number_value(value));
    return text_of;
}

static void name_other(char name[NAME_SIZE], const json_t *row)
{
    const char *fn = text(row, "fn");
    char a[32], b[32];
    if (strcmp(fn, "quantized_relu") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-relu<%d,%d,0,%g>", integer(row, "bits"), integer(row, "integer"),
                 json_number_value(json_object_get(row, "negative_slope")));
    } else if (strcmp(fn, "quantized_po2") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-po2<%d,%s,%d,%s>", integer(row, "bits"), number_or_none(a, row, "max_value"),
                 integer(row, "quadratic_approximation"), text(row, "log2_rounding"));
    } else if (strcmp(fn, "quantized_relu_po2") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-relu-po2<%d,%s>", integer(row, "bits"), number_or_none(a, row, "max_value"));
    } else if (strcmp(fn, "quantized_sigmoid") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-sigmoid<%d,%d,%s>", integer(row, "bits"), integer(row, "symmetric"),
                 text(row, "sigmoid"));
    } else if (strcmp(fn, "quantized_tanh") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-tanh<%d,%d,%d>", integer(row, "bits"), integer(row, "symmetric"),
                 integer(row, "real"));
    } else if (strcmp(fn, "quantized_hswish") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-hswish<%d,%d>", integer(row, "bits"), integer(row, "integer"));
    } else if (strcmp(fn, "ternary") == 0) {
        snprintf(name, NAME_SIZE, "qkeras-ternary<%s,%s>", number_or_none(a, row, "alpha"),
                 number_or_none(b, row, "threshold"));
    } else {
        assert_string_equal(fn, "binary");
        snprintf(name, NAME_SIZE, "qkeras-binary<0,%s>", number_or_none(a, row, "alpha"));
    }
}

static void test_other_quantizers(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/qkeras/other_quantizers.npz");
    if (path == NULL) {
        skip();
    }
    qn_tensor x = npz_read(path, "x"), xq = npz_read(path, "xq");
    json_t *cfg = npz_meta_read(path, "cfg_json"), *row;
    int64_t n = qn_tensor_count(&x), n_equal = 0;
    size_t c;
    json_array_foreach(cfg, c, row)
    {
        char name[NAME_SIZE];
        name_other(name, row);
        result r = quantize(&x, name, -1, 0, NULL);
        for (int64_t i = 0; i < n; i++, n_equal++) {
            float y = ((const float *)r.y.data)[i], expected = ((const float *)xq.data)[c * (size_t)n + (size_t)i];
            if (y != expected) {
                fail_msg("%s, x = %.9g: %.9g for %.9g", name, (double)((const float *)x.data)[i], (double)y,
                         (double)expected);
            }
        }
        result_free(&r);
    }
    printf("qkeras other_quantizers: %zu quantizers, %lld values equal\n", json_array_size(cfg), (long long)n_equal);
    assert_true(n_equal > 10000);
    json_decref(cfg);
    qn_tensor_free(&x);
    qn_tensor_free(&xq);
}

/* ternary and binary with fitted scales, a channel being an index of the last axis. */
static void test_fitted_few_levels(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/qkeras/other_quantizers.npz");
    if (path == NULL) {
        skip();
    }
    static const struct {
        const char *name, *arrays;
    } cases[] = {{"qkeras-ternary<auto>", "ternary_auto"},
                 {"qkeras-binary<0,auto>", "binary_auto"},
                 {"qkeras-ternary<auto_po2>", "ternary_auto_po2"},
                 {"qkeras-binary<0,auto_po2>", "binary_auto_po2"}};
    qn_tensor w = npz_read(path, "w");
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        char name[64];
        snprintf(name, sizeof name, "%s_z", cases[c].arrays);
        qn_tensor z = npz_read(path, name);
        snprintf(name, sizeof name, "%s_s", cases[c].arrays);
        qn_tensor s = npz_read(path, name);
        result r = quantize(&w, cases[c].name, w.rank - 1, 0, NULL);
        for (int64_t set = 0; set < r.q->n; set++) {
            if (r.q->scale[set] != ((const float *)s.data)[set]) {
                fail_msg("%s channel %d: %.9g for %.9g", cases[c].name, (int)set, (double)r.q->scale[set],
                         (double)((const float *)s.data)[set]);
            }
        }
        for (int64_t i = 0; i < qn_tensor_count(&w); i++) {
            int got = r.format.bits == 1 ? (code_at(&r.codes, i) == 1 ? 1 : -1) : twice_integer(&r, i) / 2;
            if (got != ((const int8_t *)z.data)[i]) {
                fail_msg("%s[%d] = %.9g: %d for %d", cases[c].name, (int)i, (double)((const float *)w.data)[i], got,
                         ((const int8_t *)z.data)[i]);
            }
        }
        result_free(&r);
        qn_tensor_free(&z);
        qn_tensor_free(&s);
    }
    qn_tensor_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fixed_alpha), cmocka_unit_test(test_auto_alpha),
                                       cmocka_unit_test(test_other_quantizers),
                                       cmocka_unit_test(test_fitted_few_levels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
