/* mrfi-*: the results of MRFI's own quantizers, bit for bit. Rows whose input is not finite, and rows that MRFI itself
 * turns into NaN, follow the rules for what is not a number instead. */
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

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(json_object_get(row, "args"), key));
}

/* The format's name and the fit's rule for a row. */
static void name_row(char format[64], char rule[64], const json_t *row)
{
    const json_t *range = json_object_get(json_object_get(row, "args"), "dynamic_range");
    if (strcmp(text(row, "method"), "FixPointQuantization") == 0) {
        snprintf(format, 64, "mrfi-fixpoint<%d,%d>", (int)number(row, "integer_bit"), (int)number(row, "decimal_bit"));
        snprintf(rule, 64, "minmax");
        return;
    }
    snprintf(format, 64, "mrfi-%s<%d>", text(row, "method")[0] == 'P' ? "positive" : "symmetric",
             (int)number(row, "bit_width"));
    const json_t *factor = json_object_get(json_object_get(row, "args"), "scale_factor");
    double times = factor != NULL ? json_number_value(factor) : 1.0;
    if (json_is_number(range)) {
        snprintf(rule, 64, "range=%.17g*%.17g", json_number_value(range), times);
    } else {
        snprintf(rule, 64, "absmax*%.17g", times);
    }
}

typedef struct counts {
    int64_t rows, values, policy;
    int64_t without; /* rows whose results are not stored */
} counts;

static void check_policy(const qn_tensor *x, const qn_tensor *codes, const qn_tensor *y)
{
    for (int64_t i = 0; i < qn_tensor_count(x); i++) {
        assert_true(isfinite(((const float *)y->data)[i]));
    }
    assert_int_equal(qn_tensor_count(codes), qn_tensor_count(x));
}

/* A code as the number that torch keeps in f32. */
static float integer_of(const qn_tensor *codes, int64_t i, qn_format f)
{
    uint32_t code = codes->dtype == QN_DTYPE_U8    ? ((const uint8_t *)codes->data)[i]
                    : codes->dtype == QN_DTYPE_U16 ? ((const uint16_t *)codes->data)[i]
                                                   : ((const uint32_t *)codes->data)[i];
    int64_t integer = code;
    if (f.is_signed && (code >> (f.bits - 1) & 1) != 0) {
        integer -= (int64_t)1 << f.bits;
    }
    return (float)integer;
}

static void check_row(const char *path, const json_t *row, counts *total)
{
    char format_name[64], rule[64], q_name[32], d_name[32];
    name_row(format_name, rule, row);
    snprintf(q_name, sizeof q_name, "q_%s", text(row, "key"));
    snprintf(d_name, sizeof d_name, "d_%s", text(row, "key"));
    qn_tensor q_expected = npz_read_optional(path, q_name), d_expected = npz_read_optional(path, d_name);
    if (q_expected.data == NULL) {
        total->without++; /* the long inputs' results are kept only for some widths */
        return;
    }
    qn_tensor x = npz_read(path, text(row, "input")), codes, y;
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
    qn_assert_ok(qn_fit(&q, &x, format, &fit, &err), &err);
    qn_assert_ok(qn_encode(&codes, &x, q, &codec, &err), &err);
    qn_assert_ok(qn_decode(&y, &codes, q, &err), &err);
    check_policy(&x, &codes, &y);
    total->rows++;
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        float q_value = ((const float *)q_expected.data)[i], d_value = ((const float *)d_expected.data)[i];
        if (!isfinite(((const float *)x.data)[i]) || !isfinite(q_value) || !isfinite(d_value)) {
            total->policy++;
            continue;
        }
        total->values++;
        if (integer_of(&codes, i, format) != q_value || ((const float *)y.data)[i] != d_value) {
            fail_msg("%s %s %s %s[%d] = %.9g: code %.9g for %.9g, value %.9g for %.9g", text(row, "key"), format_name,
                     rule, text(row, "input"), (int)i, (double)((const float *)x.data)[i],
                     (double)integer_of(&codes, i, format), (double)q_value, (double)((const float *)y.data)[i],
                     (double)d_value);
        }
    }
    qn_quantizer_free(q);
    qn_tensor_free(&codes);
    qn_tensor_free(&y);
    qn_tensor_free(&x);
    qn_tensor_free(&q_expected);
    qn_tensor_free(&d_expected);
}

static void test_quant(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/mrfi/quant.npz");
    if (path == NULL) {
        skip();
    }
    json_t *meta = npz_meta_read(path, "meta_json");
    counts total = {0};
    size_t i;
    json_t *row;
    json_array_foreach(meta, i, row)
    {
        check_row(path, row, &total);
    }
    printf("mrfi: %lld rows, %lld codes and values equal, %lld by policy; %lld rows have no results to compare with\n",
           (long long)total.rows, (long long)total.values, (long long)total.policy, (long long)total.without);
    assert_int_equal(total.rows + total.without, json_array_size(meta));
    assert_true(total.rows > total.without && total.values > 10 * total.policy);
    json_decref(meta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quant)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
